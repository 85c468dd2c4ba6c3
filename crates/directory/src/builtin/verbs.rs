//! What can be done with the built-in directory. Names are in canonical form once they are in the file.

use super::{Builtin, Inner, Problem};
use crate::Login;
use crate::login::domain_name;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

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
    /// Why it may not log in.
    pub disabled: Option<String>,
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
}

const COLUMNS: &str = "local || '@' || domain, password, home, mail, uid, gid, disabled";

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        name: row.get(0)?,
        password: row.get(1)?,
        home: row.get(2)?,
        mail: row.get(3)?,
        uid: row.get(4)?,
        gid: row.get(5)?,
        disabled: row.get(6)?,
    })
}

pub(super) fn find(inner: &Inner, login: &Login) -> Result<Option<User>, Problem> {
    let connection = inner.connection.lock();
    select(&connection, login).map_err(|e| inner.failed(e))
}

fn select(connection: &Connection, login: &Login) -> rusqlite::Result<Option<User>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM account WHERE local = ?1
         AND domain = coalesce((SELECT domain FROM domain_alias WHERE name = ?2), ?2)"
    );
    connection.prepare_cached(&sql)?.query_row([login.local(), login.domain()], user).optional()
}

fn primary(connection: &Connection, domain: &str) -> rusqlite::Result<Option<String>> {
    let sql =
        "SELECT domain FROM domain_alias WHERE name = ?1 UNION ALL SELECT name FROM domain WHERE name = ?1";
    connection.prepare_cached(sql)?.query_row([domain], |row| row.get(0)).optional()
}

fn domain(text: &str) -> Result<String, Problem> {
    domain_name(text.trim()).ok_or_else(|| Problem::NotADomain(text.to_owned()))
}

impl Inner {
    /// Runs one transaction that writes.
    fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Failed>) -> Result<T, Problem> {
        let mut connection = self.connection.lock();
        let done = (|| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })();
        done.map_err(|failed| match failed {
            Failed::Refused(problem) => problem,
            Failed::Database(why) => self.failed(why),
        })
    }
}

enum Failed {
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
            t.execute(
                "INSERT INTO account (local, domain, password, home, mail, uid, gid)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![login.local(), domain, new.password, new.home, new.mail, new.uid, new.gid],
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
            let sql = format!("SELECT {COLUMNS} FROM account ORDER BY domain, local");
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

    /// Removes an account. Its mail stays where it is.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn remove_user(&self, name: &str) -> Result<User, Problem> {
        let login = Login::parse(name.as_bytes())?;
        self.inner.write(|t| {
            let user = select(t, &login)?.ok_or_else(|| Problem::NoUser(login.to_string()))?;
            t.execute("DELETE FROM account WHERE local || '@' || domain = ?1", [&user.name])?;
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

    /// All primary domains with their secondary ones.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn domains(&self) -> Result<Vec<Domain>, Problem> {
        let connection = self.inner.connection.lock();
        let read: rusqlite::Result<Vec<_>> = (|| {
            let sql = "SELECT name, (SELECT count(*) FROM account WHERE domain = d.name) FROM domain d ORDER BY name";
            let rows = connection
                .prepare(sql)?
                .query_map([], |row| {
                    Ok(Domain { name: row.get(0)?, users: row.get(1)?, aliases: Vec::new() })
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
