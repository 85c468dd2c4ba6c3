//! What can be done with the built-in directory. Names are in canonical form once they are in it.

use super::statement::{Db, Error, Failed, Row, values};
use super::store::now;
use super::{Builtin, Inner, Problem};
use crate::login::domain_name;
use crate::{Login, Proof, QuotaLimits, Switch};
use std::sync::atomic::Ordering;

/// An account as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// `local@domain`.
    pub name: String,
    /// The password as stored; `None` when there is none and nobody can log in.
    pub password: Option<String>,
    /// The home directory when not the default.
    pub home: Option<String>,
    /// The mail location when not the default.
    pub mail: Option<String>,
    /// The owner of its files when not the default.
    pub uid: Option<u32>,
    /// Their group when not the default.
    pub gid: Option<u32>,
    /// May it log in?
    pub login: Switch,
    /// May mail be delivered to it?
    pub receive: Switch,
    /// May it submit mail?
    pub send: Switch,
    /// How much it may keep.
    pub quota: QuotaLimits,
}

/// What a switch is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Logging in.
    Login,
    /// Having mail delivered.
    Receive,
    /// Submitting mail.
    Send,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Receive => "receive",
            Self::Send => "send",
        }
    }
}

/// What an account is made of.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct NewUser {
    /// The password as stored, with its scheme.
    pub password: Option<String>,
    /// The home directory.
    pub home: Option<String>,
    /// The mail location.
    pub mail: Option<String>,
    /// The owner of its files.
    pub uid: Option<u32>,
    /// Their group.
    pub gid: Option<u32>,
    /// How much it may keep.
    pub quota: QuotaLimits,
}

/// A domain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// Its secondary domains, sorted.
    pub aliases: Vec<String>,
    /// How many accounts it has.
    pub users: u32,
    /// How many routes.
    pub routes: u32,
}

/// What is looked up of an account in one statement: its three switches are one column each, the time, a space, the reason.
const COLUMNS: &str = "local || '@' || a.domain, password, home, mail, uid, gid, quota_storage, quota_messages,
    (SELECT since || ' ' || reason FROM switch s WHERE s.domain = a.domain AND s.local = a.local AND what = 'login'),
    (SELECT since || ' ' || reason FROM switch s WHERE s.domain = a.domain AND s.local = a.local AND what = 'receive'),
    (SELECT since || ' ' || reason FROM switch s WHERE s.domain = a.domain AND s.local = a.local AND what = 'send')";

/// The account of a local part and a primary or secondary domain.
const THIS: &str =
    "a.local = ?1 AND a.domain = coalesce((SELECT domain FROM domain_alias WHERE name = ?2), ?2)";

fn user(row: &Row) -> Result<User, Error> {
    let switch = |column| -> Result<Switch, Error> {
        let text: Option<String> = row.get(column)?;
        let parts = text.as_deref().map(|text| text.split_once(' ').unwrap_or((text, "")));
        Ok(parts.map_or(Switch::On, |(since, reason)| Switch::Off {
            reason: reason.to_owned(),
            since: since.parse().ok(),
        }))
    };
    // The databases' numbers have a sign; a negative limit is none.
    let limit = |column| -> Result<Option<u64>, Error> {
        Ok(row.get::<Option<i64>>(column)?.and_then(|n| u64::try_from(n).ok()))
    };
    Ok(User {
        name: row.get(0)?,
        password: row.get(1)?,
        home: row.get(2)?,
        mail: row.get(3)?,
        uid: row.get(4)?,
        gid: row.get(5)?,
        quota: QuotaLimits { storage: limit(6)?, messages: limit(7)? },
        login: switch(8)?,
        receive: switch(9)?,
        send: switch(10)?,
    })
}

/// What a server looks up.
pub(super) struct Found {
    pub user: User,
    /// Is it a master user?
    pub master: bool,
}

/// What schemes serve which proof.
const PROOFS: [(Proof, &str); 4] = [
    (Proof::ScramSha256, "{SCRAM-SHA-256}%"),
    (Proof::ScramSha1, "{SCRAM-SHA-1}%"),
    (Proof::CramMd5, "{CRAM-MD5}%"),
    (Proof::Clear, "{PLAIN}%"),
];

pub(super) fn bit(proof: Proof) -> u8 {
    match proof {
        Proof::ScramSha256 => 1,
        Proof::ScramSha1 => 2,
        Proof::CramMd5 => 4,
        Proof::Clear => 8,
    }
}

/// Finds out what can prove every password.
pub(super) fn look_at_schemes(inner: &Inner) -> Result<(), Problem> {
    inner.read(|db| {
        let revision = db.value("SELECT n FROM revision", &[])?.unwrap_or(0);
        look(inner, db, revision)
    })
}

/// Finds it out, if accounts have changed since the last look.
fn look(inner: &Inner, db: &Db<'_>, revision: i64) -> Result<(), Error> {
    let schemes = &inner.schemes;
    if schemes.seen.load(Ordering::Relaxed) == revision {
        return Ok(());
    }
    // Passwords in the clear serve all.
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM account WHERE upper(password) NOT LIKE ?1
        AND upper(password) NOT LIKE '{PLAIN}%' AND upper(password) NOT LIKE '{PLAIN.%'
        AND upper(password) NOT LIKE '{CLEAR%')";
    let mut serves = 0;
    let (apps, mixed) = super::logins::hinder_scram(db)?;
    for (proof, scheme) in PROOFS {
        let hindered = if proof == Proof::ScramSha256 { mixed } else { apps };
        if !hindered && db.value(sql, values![scheme])?.unwrap_or(false) {
            serves |= bit(proof);
        }
    }
    schemes.serves.store(serves, Ordering::Relaxed);
    schemes.seen.store(revision, Ordering::Relaxed);
    Ok(())
}

/// How an account is found.
pub(super) fn found_by() -> String {
    format!(
        "SELECT {COLUMNS}, EXISTS (SELECT 1 FROM master m WHERE m.domain = a.domain AND m.local = a.local), n
         FROM revision LEFT JOIN account a ON {THIS}"
    )
}

/// One statement: a row there is always, since there is a revision.
pub(super) fn find(inner: &Inner, login: &Login) -> Result<Option<Found>, Problem> {
    let sql = found_by();
    inner.read(|db| {
        let row = db.row(&sql, values![login.local(), login.domain()])?;
        let row = row.ok_or_else(|| Error::Said("the table `revision` is empty: restore it".to_owned()))?;
        look(inner, db, row.get(12)?)?;
        if row.get::<Option<String>>(0)?.is_none() {
            return Ok(None);
        }
        Ok(Some(Found { user: user(&row)?, master: row.get(11)? }))
    })
}

pub(super) fn primary_of(inner: &Inner, domain: &str) -> Result<Option<String>, Problem> {
    inner.read(|db| primary(db, domain))
}

pub(super) fn users(inner: &Inner) -> Result<Vec<User>, Problem> {
    let sql = format!("SELECT {COLUMNS} FROM account a ORDER BY domain, local");
    inner.read(|db| db.rows(&sql, &[])?.iter().map(user).collect())
}

pub(super) fn select(db: &Db<'_>, login: &Login) -> Result<Option<User>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM account a WHERE {THIS}");
    db.row(&sql, values![login.local(), login.domain()])?.as_ref().map(user).transpose()
}

pub(super) fn users_in(db: &Db<'_>, domain: &str) -> Result<Vec<User>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM account a WHERE domain = ?1 ORDER BY local");
    db.rows(&sql, values![domain])?.iter().map(user).collect()
}

pub(super) fn primary(db: &Db<'_>, domain: &str) -> Result<Option<String>, Error> {
    let sql =
        "SELECT domain FROM domain_alias WHERE name = ?1 UNION ALL SELECT name FROM domain WHERE name = ?1";
    db.value(sql, values![domain])
}

/// The two halves of a canonical name.
pub(super) fn halves(name: &str) -> (&str, &str) {
    name.rsplit_once('@').unwrap_or((name, ""))
}

pub(super) fn domain(text: &str) -> Result<String, Problem> {
    domain_name(text.trim()).ok_or_else(|| Problem::NotADomain(text.to_owned()))
}

impl Builtin {
    /// Adds an account to a domain that exists. Gives its canonical name.
    ///
    /// # Errors
    /// When it exists, its domain does not, or its name breaks the login rule.
    pub fn add_user(&self, name: &str, new: &NewUser) -> Result<String, Problem> {
        let login = Login::parse(name.as_bytes())?;
        self.inner.write(|t| {
            let domain =
                primary(t, login.domain())?.ok_or_else(|| Problem::NoDomain(login.domain().to_owned()))?;
            let name = format!("{}@{domain}", login.local());
            if select(t, &login)?.is_some() {
                return Err(Problem::UserExists(name).into());
            }
            t.execute(
                "INSERT INTO account (local, domain, password, home, mail, uid, gid, quota_storage, quota_messages)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                values![
                    login.local(),
                    domain,
                    &new.password,
                    &new.home,
                    &new.mail,
                    new.uid,
                    new.gid,
                    new.quota.storage,
                    new.quota.messages,
                ],
            )?;
            Ok(name)
        })
    }

    /// All accounts, sorted by domain and name.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn users(&self) -> Result<Vec<User>, Problem> {
        users(&self.inner)
    }

    /// One account, by any of its names.
    ///
    /// # Errors
    /// When there is none.
    pub fn user(&self, name: &str) -> Result<User, Problem> {
        let login = Login::parse(name.as_bytes())?;
        let found = find(&self.inner, &login)?;
        found.map(|found| found.user).ok_or_else(|| Problem::NoUser(login.to_string()))
    }

    /// Stores a password (with its scheme) in place of the old one; `None` for no login at all.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn set_password(&self, name: &str, password: Option<&str>) -> Result<(), Problem> {
        let login = Login::parse(name.as_bytes())?;
        self.inner.write(|t| {
            let user = select(t, &login)?.ok_or_else(|| Problem::NoUser(login.to_string()))?;
            let (local, domain) = halves(&user.name);
            let sql = "UPDATE account SET password = ?1 WHERE local = ?2 AND domain = ?3";
            t.execute(sql, values![password, local, domain])?;
            Ok(())
        })
    }

    /// Turns a switch off, with a reason and from now on, or on again. Gives the account's canonical name.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn set_switch(&self, name: &str, what: What, off: Option<&str>) -> Result<String, Problem> {
        let login = Login::parse(name.as_bytes())?;
        self.inner.write(|t| {
            let user = select(t, &login)?.ok_or_else(|| Problem::NoUser(login.to_string()))?;
            let (local, domain) = halves(&user.name);
            let sql = "DELETE FROM switch WHERE local = ?1 AND domain = ?2 AND what = ?3";
            t.execute(sql, values![local, domain, what.name()])?;
            if let Some(reason) = off {
                let sql =
                    "INSERT INTO switch (local, domain, what, reason, since) VALUES (?1, ?2, ?3, ?4, ?5)";
                t.execute(sql, values![local, domain, what.name(), reason, now()])?;
            }
            Ok(user.name)
        })
    }

    /// Removes an account. Its mail stays where it is.
    ///
    /// # Errors
    /// When there is no such account, or routes deliver to it.
    pub fn remove_user(&self, name: &str) -> Result<User, Problem> {
        let login = Login::parse(name.as_bytes())?;
        self.inner.write(|t| {
            let user = select(t, &login)?.ok_or_else(|| Problem::NoUser(login.to_string()))?;
            let routes = super::routes::leading_to(t, &user.name)?;
            if !routes.is_empty() {
                return Err(Problem::Routed(user.name, routes).into());
            }
            let (local, domain) = halves(&user.name);
            t.execute("DELETE FROM account WHERE local = ?1 AND domain = ?2", values![local, domain])?;
            t.execute("DELETE FROM quota_limit WHERE name = ?1", values![&user.name])?;
            t.execute("DELETE FROM quota_state WHERE name = ?1", values![&user.name])?;
            Ok(user)
        })
    }

    /// Adds a primary domain. Gives its canonical name.
    ///
    /// # Errors
    /// When it exists, as primary or as secondary one.
    pub fn add_domain(&self, name: &str) -> Result<String, Problem> {
        let name = domain(name)?;
        self.inner.write(|t| {
            vacant(t, &name)?;
            t.execute("INSERT INTO domain (name) VALUES (?1)", values![&name])?;
            Ok(name)
        })
    }

    /// Adds a secondary domain to a primary one.
    ///
    /// # Errors
    /// When the secondary one exists already or the primary one does not.
    pub fn add_domain_alias(&self, alias: &str, of: &str) -> Result<(), Problem> {
        let (alias, of) = (domain(alias)?, domain(of)?);
        self.inner.write(|t| {
            match primary(t, &of)? {
                None => return Err(Problem::NoDomain(of).into()),
                Some(other) if other != of => return Err(Problem::IsAlias(of, other).into()),
                Some(_) => {}
            }
            vacant(t, &alias)?;
            t.execute("INSERT INTO domain_alias (name, domain) VALUES (?1, ?2)", values![&alias, &of])?;
            Ok(())
        })
    }

    /// Removes a secondary domain, or a primary one with its secondary ones. Gives its canonical name.
    ///
    /// # Errors
    /// When there is none, or accounts or routes are left in it.
    pub fn remove_domain(&self, name: &str) -> Result<String, Problem> {
        let name = domain(name)?;
        self.inner.write(|t| {
            if t.execute("DELETE FROM domain_alias WHERE name = ?1", values![&name])? > 0 {
                return Ok(name);
            }
            let count = |sql: &str| Ok::<u32, Error>(t.value(sql, values![&name])?.unwrap_or(0));
            let users = count("SELECT count(*) FROM account WHERE domain = ?1")?;
            if users > 0 {
                return Err(Problem::DomainInUse(name, users).into());
            }
            let routes = count("SELECT count(*) FROM route WHERE domain = ?1")?;
            if routes > 0 {
                return Err(Problem::DomainHasRoutes(name, routes).into());
            }
            match t.execute("DELETE FROM domain WHERE name = ?1", values![&name])? {
                0 => Err(Problem::NoDomain(name).into()),
                _ => {
                    t.execute("DELETE FROM quota_limit WHERE name = ?1", values![&name])?;
                    Ok(name)
                }
            }
        })
    }

    /// The primary domain of this one, which may be it itself.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn primary_domain(&self, name: &str) -> Result<String, Problem> {
        let name = domain(name)?;
        primary_of(&self.inner, &name)?.ok_or(Problem::NoDomain(name))
    }

    /// The address in its primary domain, in lower case; `None` when its domain is none of ours.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn canonical(&self, address: &str) -> Result<Option<String>, Problem> {
        let Ok(login) = Login::parse(address.as_bytes()) else { return Ok(None) };
        let primary = primary_of(&self.inner, login.domain())?;
        Ok(primary.map(|domain| format!("{}@{domain}", login.local())))
    }

    /// All primary domains with their secondary ones.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn domains(&self) -> Result<Vec<Domain>, Problem> {
        // A secondary domain in each row; one that has none is a row as well.
        let sql = "SELECT d.name, (SELECT count(*) FROM account WHERE domain = d.name),
                (SELECT count(*) FROM route WHERE domain = d.name), s.name
            FROM domain d LEFT JOIN domain_alias s ON s.domain = d.name ORDER BY d.name, s.name";
        self.inner.read(|db| {
            let mut domains: Vec<Domain> = Vec::new();
            for row in db.rows(sql, &[])? {
                let (name, alias): (String, Option<String>) = (row.get(0)?, row.get(3)?);
                match domains.last_mut().filter(|last| last.name == name) {
                    Some(last) => last.aliases.extend(alias),
                    None => domains.push(Domain {
                        name,
                        users: row.get(1)?,
                        routes: row.get(2)?,
                        aliases: alias.into_iter().collect(),
                    }),
                }
            }
            Ok(domains)
        })
    }
}

fn vacant(t: &Db<'_>, name: &str) -> Result<(), Failed> {
    match primary(t, name)? {
        None => Ok(()),
        Some(same) if same == name => Err(Problem::DomainExists(same).into()),
        Some(other) => Err(Problem::IsAlias(name.to_owned(), other).into()),
    }
}
