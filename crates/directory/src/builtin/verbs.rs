//! What can be done with the built-in directory. Names are in canonical form once they are in the file.

use super::{Builtin, Inner, Problem, Schemes};
use crate::login::domain_name;
use crate::{Login, Proof, QuotaLimits, Switch};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use std::sync::atomic::Ordering;

/// An account as the file has it.
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

/// An account, and its three switches in one column each: the time, a space, the reason.
const SELECT: &str = "
    SELECT local || '@' || domain, password, home, mail, uid, gid, quota_storage, quota_messages,
        (SELECT since || ' ' || reason FROM switch s WHERE s.domain = a.domain AND s.local = a.local AND what = 'login'),
        (SELECT since || ' ' || reason FROM switch s WHERE s.domain = a.domain AND s.local = a.local AND what = 'receive'),
        (SELECT since || ' ' || reason FROM switch s WHERE s.domain = a.domain AND s.local = a.local AND what = 'send')
    FROM account a";

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    let switch = |column| -> rusqlite::Result<Switch> {
        let text: Option<String> = row.get(column)?;
        let parts = text.as_deref().map(|text| text.split_once(' ').unwrap_or((text, "")));
        Ok(parts.map_or(Switch::On, |(since, reason)| Switch::Off {
            reason: reason.to_owned(),
            since: since.parse().ok(),
        }))
    };
    // SQLite's numbers have a sign; a negative limit is none.
    let limit = |column| -> rusqlite::Result<Option<u64>> {
        Ok(row.get::<_, Option<i64>>(column)?.and_then(|n| u64::try_from(n).ok()))
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

/// Finds out what can prove every password, if another process has changed the file since the last look.
pub(super) fn look_at_schemes(inner: &Inner) -> rusqlite::Result<()> {
    look(&inner.connection.lock(), &inner.schemes)
}

fn look(connection: &Connection, schemes: &Schemes) -> rusqlite::Result<()> {
    let version: i64 = connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
    if schemes.seen.load(Ordering::Relaxed) != version {
        // Passwords in the clear serve all.
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM account WHERE password NOT LIKE ?1
            AND password NOT LIKE '{PLAIN}%' AND password NOT LIKE '{PLAIN.%' AND password NOT LIKE '{CLEAR%')";
        let mut serves = 0;
        let (apps, mixed) = super::logins::hinder_scram(connection)?;
        for (proof, scheme) in PROOFS {
            let hindered = if proof == Proof::ScramSha256 { mixed } else { apps };
            if !hindered && connection.prepare_cached(sql)?.query_row([scheme], |row| row.get(0))? {
                serves |= bit(proof);
            }
        }
        schemes.serves.store(serves, Ordering::Relaxed);
        schemes.seen.store(version, Ordering::Relaxed);
    }
    Ok(())
}

/// An account, and whether it is a master user.
pub(super) fn find_with_master(inner: &Inner, login: &Login) -> Result<Option<(User, bool)>, Problem> {
    let connection = inner.connection.lock();
    let read = || {
        // One transaction: each costs eight system calls.
        let all = connection.unchecked_transaction()?;
        look(&all, &inner.schemes)?;
        let Some(user) = select(&all, login)? else { return Ok(None) };
        let master = super::logins::is_master(&all, &user.name)?;
        all.commit()?;
        Ok(Some((user, master)))
    };
    read().map_err(|e: rusqlite::Error| inner.failed(e))
}

pub(super) fn find(inner: &Inner, login: &Login) -> Result<Option<User>, Problem> {
    let connection = inner.connection.lock();
    let found = look(&connection, &inner.schemes).and_then(|()| select(&connection, login));
    found.map_err(|e| inner.failed(e))
}

pub(super) fn primary_of(inner: &Inner, domain: &str) -> Result<Option<String>, Problem> {
    primary(&inner.connection.lock(), domain).map_err(|e| inner.failed(e))
}

pub(super) fn select(connection: &Connection, login: &Login) -> rusqlite::Result<Option<User>> {
    let sql = format!(
        "{SELECT} WHERE local = ?1
         AND domain = coalesce((SELECT domain FROM domain_alias WHERE name = ?2), ?2)"
    );
    connection.prepare_cached(&sql)?.query_row([login.local(), login.domain()], user).optional()
}

pub(super) fn users_in(connection: &Connection, domain: &str) -> rusqlite::Result<Vec<User>> {
    let mut rows = connection.prepare_cached(&format!("{SELECT} WHERE domain = ?1 ORDER BY local"))?;
    rows.query_map([domain], user)?.collect()
}

pub(super) fn primary(connection: &Connection, domain: &str) -> rusqlite::Result<Option<String>> {
    let sql =
        "SELECT domain FROM domain_alias WHERE name = ?1 UNION ALL SELECT name FROM domain WHERE name = ?1";
    connection.prepare_cached(sql)?.query_row([domain], |row| row.get(0)).optional()
}

pub(super) fn domain(text: &str) -> Result<String, Problem> {
    domain_name(text.trim()).ok_or_else(|| Problem::NotADomain(text.to_owned()))
}

impl Inner {
    /// Runs one transaction that writes.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failed>,
    ) -> Result<T, Problem> {
        let mut connection = self.connection.lock();
        let done = (|| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            // Our own changes do not count for `data_version`. Nobody looks before somebody asks: accounts are often
            // added by the thousand.
            self.schemes.seen.store(-1, Ordering::Relaxed);
            Ok(done)
        })();
        done.map_err(|failed| match failed {
            Failed::Refused(problem) => problem,
            Failed::Database(why) => self.failed(why),
        })
    }
}

pub(super) enum Failed {
    Refused(Problem),
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(why: rusqlite::Error) -> Self {
        Self::Database(why)
    }
}

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
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
            let limit = |n: Option<u64>| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
            let (storage, messages) = (limit(new.quota.storage), limit(new.quota.messages));
            t.execute(
                "INSERT INTO account (local, domain, password, home, mail, uid, gid, quota_storage, quota_messages)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    login.local(),
                    domain,
                    new.password,
                    new.home,
                    new.mail,
                    new.uid,
                    new.gid,
                    storage,
                    messages
                ],
            )?;
            Ok(name)
        })
    }

    /// All accounts, sorted by domain and name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn users(&self) -> Result<Vec<User>, Problem> {
        let connection = self.inner.connection.lock();
        let read: rusqlite::Result<Vec<_>> = (|| {
            let sql = format!("{SELECT} ORDER BY domain, local");
            connection.prepare(&sql)?.query_map([], user)?.collect()
        })();
        read.map_err(|e| self.inner.failed(e))
    }

    /// One account, by any of its names.
    ///
    /// # Errors
    /// When there is none.
    pub fn user(&self, name: &str) -> Result<User, Problem> {
        let login = Login::parse(name.as_bytes())?;
        find(&self.inner, &login)?.ok_or_else(|| Problem::NoUser(login.to_string()))
    }

    /// Stores a password (with its scheme) in place of the old one; `None` for no login at all.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn set_password(&self, name: &str, password: Option<&str>) -> Result<(), Problem> {
        let login = Login::parse(name.as_bytes())?;
        self.inner.write(|t| {
            let user = select(t, &login)?.ok_or_else(|| Problem::NoUser(login.to_string()))?;
            t.execute(
                "UPDATE account SET password = ?1 WHERE local || '@' || domain = ?2",
                params![password, user.name],
            )?;
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
            let domain = user.name.rsplit_once('@').map_or("", |(_, domain)| domain);
            let key = params![login.local(), domain, what.name()];
            t.execute("DELETE FROM switch WHERE local = ?1 AND domain = ?2 AND what = ?3", key)?;
            if let Some(reason) = off {
                let row = params![login.local(), domain, what.name(), reason];
                t.execute("INSERT INTO switch VALUES (?1, ?2, ?3, ?4, unixepoch())", row)?;
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
            t.execute("DELETE FROM account WHERE local || '@' || domain = ?1", [&user.name])?;
            t.execute("DELETE FROM quota_limit WHERE name = ?1", [&user.name])?;
            t.execute("DELETE FROM quota_state WHERE name = ?1", [&user.name])?;
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
            t.execute("INSERT INTO domain (name) VALUES (?1)", [&name])?;
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
            t.execute("INSERT INTO domain_alias (name, domain) VALUES (?1, ?2)", [&alias, &of])?;
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
            if t.execute("DELETE FROM domain_alias WHERE name = ?1", [&name])? > 0 {
                return Ok(name);
            }
            let users =
                t.query_row("SELECT count(*) FROM account WHERE domain = ?1", [&name], |row| row.get(0))?;
            if users > 0 {
                return Err(Problem::DomainInUse(name, users).into());
            }
            let routes =
                t.query_row("SELECT count(*) FROM route WHERE domain = ?1", [&name], |row| row.get(0))?;
            if routes > 0 {
                return Err(Problem::DomainHasRoutes(name, routes).into());
            }
            match t.execute("DELETE FROM domain WHERE name = ?1", [&name])? {
                0 => Err(Problem::NoDomain(name).into()),
                _ => Ok(name),
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
    /// When the file cannot be read.
    pub fn canonical(&self, address: &str) -> Result<Option<String>, Problem> {
        let Ok(login) = Login::parse(address.as_bytes()) else { return Ok(None) };
        let primary = primary_of(&self.inner, login.domain())?;
        Ok(primary.map(|domain| format!("{}@{domain}", login.local())))
    }

    /// All primary domains with their secondary ones.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn domains(&self) -> Result<Vec<Domain>, Problem> {
        let connection = self.inner.connection.lock();
        let read: rusqlite::Result<Vec<_>> = (|| {
            let sql = "SELECT name, (SELECT count(*) FROM account WHERE domain = d.name),
                    (SELECT count(*) FROM route WHERE domain = d.name)
                FROM domain d ORDER BY name";
            let rows = connection
                .prepare(sql)?
                .query_map([], |row| {
                    Ok(Domain {
                        name: row.get(0)?,
                        users: row.get(1)?,
                        routes: row.get(2)?,
                        aliases: Vec::new(),
                    })
                })?
                .collect::<Result<Vec<_>, _>>()?;
            let mut aliases =
                connection.prepare("SELECT name FROM domain_alias WHERE domain = ?1 ORDER BY name")?;
            rows.into_iter()
                .map(|mut domain| {
                    let names = aliases.query_map([&domain.name], |row| row.get(0))?;
                    domain.aliases = names.collect::<Result<_, _>>()?;
                    Ok(domain)
                })
                .collect()
        })();
        read.map_err(|e| self.inner.failed(e))
    }
}

fn vacant(connection: &Connection, name: &str) -> Result<(), Failed> {
    match primary(connection, name)? {
        None => Ok(()),
        Some(same) if same == name => Err(Problem::DomainExists(same).into()),
        Some(other) => Err(Problem::IsAlias(name.to_owned(), other).into()),
    }
}
