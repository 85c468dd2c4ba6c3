//! Accounts by the administrator's own queries, on PostgreSQL, MySQL or MariaDB, or SQLite.
//!
//! Columns have the names of Dovecot's fields. `password_query` gives what proves a login and may give the user's side as
//! `userdb_` columns; `user_query` gives the user's side alone; `iterate_query` names everybody. A column that is NULL is not
//! there. No row is an unknown user; more than one is an outage, since nobody can know which of them is meant. Whatever the
//! database refuses or does not answer in time is an outage, and the log has its words.

mod mysql;
mod postgresql;
mod query;
mod sqlite;

pub use query::{Dialect, Query};

use crate::fields::{Fields, Side};
use crate::{Account, Credentials, Defaults, Login, Outage, Source};
use async_trait::async_trait;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where a server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Host {
    /// A name or an address, and a port.
    Tcp(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

impl Host {
    /// `host`, `host:port`, `[::1]:port` or `/path`. `None` when it is none of them.
    pub fn parse(text: &str, port: u16) -> Option<Self> {
        if text.starts_with('/') {
            return Some(Self::Unix(text.into()));
        }
        if text.is_empty() || text.contains(['/', ' ']) {
            return None;
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (address, behind) = rest.split_once(']')?;
            let port = if behind.is_empty() { port } else { behind.strip_prefix(':')?.parse().ok()? };
            return Some(Self::Tcp(address.to_owned(), port));
        }
        match text.split_once(':') {
            // More than one colon: an IPv6 address alone.
            Some((_, rest)) if rest.contains(':') => Some(Self::Tcp(text.to_owned(), port)),
            Some((host, own)) => Some(Self::Tcp(host.to_owned(), own.parse().ok()?)),
            None => Some(Self::Tcp(text.to_owned(), port)),
        }
    }
}

/// Where the database is and how it is asked.
#[derive(Clone, Debug)]
pub struct Server {
    /// The servers; the first one that answers is used. For SQLite its file, as a path.
    pub hosts: Vec<Host>,
    /// The database.
    pub database: String,
    /// The user.
    pub user: String,
    /// Their password.
    pub password: String,
    /// Is TLS asked for and needed?
    pub tls: bool,
    /// The authorities; empty for those of the system.
    pub authorities: PathBuf,
    /// Connections at once.
    pub connections: u32,
    /// A connection must stand within this time.
    pub connect_timeout: Duration,
    /// An answer must come within this time.
    pub query_timeout: Duration,
}

/// The queries.
#[derive(Clone, Default, Debug)]
pub struct Queries {
    /// `password_query`.
    pub password: Option<Query>,
    /// `user_query`.
    pub user: Option<Query>,
    /// `iterate_query`.
    pub iterate: Option<Query>,
}

/// A row: columns with their values. What is NULL is left out.
type Row = Vec<(String, String)>;

/// A kind of database.
#[async_trait]
trait Database: Send + Sync {
    /// The rows that a query gives, so many at most.
    async fn rows(&self, query: &Query, values: Vec<String>, most: usize) -> Result<Vec<Row>, String>;
}

/// A source that asks a database.
pub struct Sql {
    database: Box<dyn Database>,
    queries: Queries,
    fields: Fields,
    defaults: Defaults,
    scheme: String,
}

/// Accounts that an iterate query may name.
const MOST_NAMES: usize = 10_000_000;

impl Sql {
    /// With the database of this kind. Nothing is connected yet.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub fn new(
        dialect: Dialect,
        server: Server,
        queries: Queries,
        fields: Fields,
        defaults: Defaults,
        scheme: &str,
    ) -> Result<Self, String> {
        let database: Box<dyn Database> = match dialect {
            Dialect::PostgreSql => Box::new(postgresql::PostgreSql::new(server)?),
            Dialect::MySql => Box::new(mysql::MySql::new(server)),
            Dialect::Sqlite => Box::new(sqlite::Sqlite::new(server)),
        };
        Ok(Self { database, queries, fields, defaults, scheme: scheme.to_owned() })
    }

    async fn row(&self, query: &Query, login: &Login, which: &str) -> Result<Option<Row>, Outage> {
        let values = query.values(login).map_err(|why| Outage::new("sql", why))?;
        let rows = self.database.rows(query, values, 2).await;
        let mut rows = rows.map_err(|why| Outage::new("sql", format!("{which}: {why}")))?;
        if rows.len() > 1 {
            let why = format!("{which} gives more than one row for {login}: make it give one");
            return Err(Outage::new("sql", why));
        }
        Ok(rows.pop())
    }

    /// What the password query says.
    async fn password_side(&self, query: &Query, login: &Login) -> Result<Option<(Fields, Login)>, Outage> {
        let Some(row) = self.row(query, login, "password_query").await? else { return Ok(None) };
        let mut fields = Fields::default();
        for (column, value) in row {
            fields.add(Side::Password, &column, value);
        }
        let name = fields.canonical(login);
        let name = name.map_err(|why| Outage::new("sql", format!("password_query gives {why}")))?;
        fields.complete_password(&self.scheme);
        Ok(Some((fields, name)))
    }

    /// What the user query says, added to what is known.
    async fn user_side(&self, query: &Query, login: &Login, fields: &mut Fields) -> Result<bool, Outage> {
        let Some(row) = self.row(query, login, "user_query").await? else { return Ok(false) };
        for (column, value) in row {
            fields.add(Side::User, &column, value);
        }
        Ok(true)
    }

    fn account(&self, mut fields: Fields, login: &Login) -> Result<Arc<Account>, Outage> {
        fields.fill(&self.fields);
        let account = fields.account(login.as_str(), &self.defaults);
        account.map(Arc::new).map_err(|why| Outage::new("sql", format!("account {login}: {why}")))
    }
}

#[async_trait]
impl Source for Sql {
    fn name(&self) -> &str {
        "sql"
    }

    async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        if let Some(query) = &self.queries.user {
            let mut fields = Fields::default();
            let known = self.user_side(query, login, &mut fields).await?;
            return if known { self.account(fields, login).map(Some) } else { Ok(None) };
        }
        let Some(query) = &self.queries.password else { return Ok(None) };
        let found = self.password_side(query, login).await?;
        found.map(|(fields, name)| self.account(fields, &name)).transpose()
    }

    async fn credentials(&self, login: &Login) -> Result<Option<Credentials>, Outage> {
        let Some(query) = &self.queries.password else { return Ok(None) };
        let Some((mut fields, name)) = self.password_side(query, login).await? else { return Ok(None) };
        let mut whole = fields.has_user_side();
        if let Some(query) = self.queries.user.as_ref().filter(|_| !whole) {
            whole = self.user_side(query, &name, &mut fields).await?;
        }
        Ok(Some(Credentials { account: self.account(fields, &name)?, whole }))
    }

    async fn names(&self) -> Result<Vec<String>, Outage> {
        let Some(query) = &self.queries.iterate else {
            return Err(Outage::new(
                "sql",
                "it has no iterate_query: set one; of its domains alone, name them in `domains`",
            ));
        };
        let rows = self.database.rows(query, Vec::new(), MOST_NAMES).await;
        let rows = rows.map_err(|why| Outage::new("sql", format!("iterate_query: {why}")))?;
        let mut names = Vec::with_capacity(rows.len());
        for row in rows {
            let field = |key: &str| row.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
            let whole = match (field("user").or(field("username")), field("domain")) {
                (Some(user), Some(domain)) if !user.contains('@') => format!("{user}@{domain}"),
                (Some(user), _) => user.to_owned(),
                (None, _) => {
                    let why = "iterate_query gives no column `user`, nor `username` and `domain`";
                    return Err(Outage::new("sql", why));
                }
            };
            match Login::parse(whole.as_bytes()) {
                Ok(login) => names.push(login.to_string()),
                Err(why) => tracing::warn!("iterate_query: {whole:?} cannot be an account: {why}"),
            }
        }
        Ok(names)
    }
}
