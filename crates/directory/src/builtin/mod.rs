//! The built-in directory: one SQLite file that the server and the command line share.
//!
//! Each verb is one short transaction. The journal is a rollback journal and nothing is mapped into memory, so there
//! is no `-shm` file: the command line may run as root while the server reads as its own user. Whoever finds the file
//! busy waits up to five seconds, then gets [`Problem::Database`].
//!
//! An account exists in its own domain and in every secondary domain of it.

mod schema;
mod verbs;

pub use verbs::{Domain, NewUser, User};

use crate::{Account, Defaults, Login, MailLocation, Names, Outage, Secret, Source};
use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why a verb was not done. Every text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No such account.
    #[error("There is no account {0}: see the list of users")]
    NoUser(String),
    /// It exists.
    #[error("The account {0} exists already: change its password or remove it first")]
    UserExists(String),
    /// No such domain.
    #[error("There is no domain {0}: add it first")]
    NoDomain(String),
    /// It exists.
    #[error("The domain {0} exists already")]
    DomainExists(String),
    /// It is a secondary domain.
    #[error("{0} is a secondary domain of {1}: use {1}")]
    IsAlias(String, String),
    /// Not a domain.
    #[error("{0:?} is not a domain name: write it like example.com")]
    NotADomain(String),
    /// The name breaks the login rule.
    #[error(transparent)]
    Name(#[from] crate::Syntax),
    /// The file.
    #[error("{path}: {why}: check the file, its owner and the space on its disk")]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite or the system says.
        why: String,
    },
}

/// The built-in directory.
pub struct Builtin {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    defaults: Defaults,
    connection: Mutex<Connection>,
}

impl Builtin {
    /// Opens the file; makes it when there is none.
    ///
    /// # Errors
    /// When it cannot be opened, or was written by a later version.
    pub fn open(path: &Path, defaults: Defaults) -> Result<Self, Problem> {
        let connection = schema::open(path)?;
        let inner = Inner { path: path.to_owned(), defaults, connection: Mutex::new(connection) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }
}

impl Inner {
    fn failed(&self, why: impl ToString) -> Problem {
        Problem::Database { path: self.path.clone(), why: why.to_string() }
    }

    fn account(&self, user: User) -> Result<Account, Outage> {
        let bad = |why: crate::NotALocation| Outage::new("builtin", format!("account {}: {why}", user.name));
        let names = Names { user: &user.name, home: None };
        let home = user.home.as_deref().or(self.defaults.home.as_deref());
        let home = home.map(|h| crate::location::path(h, &names)).transpose().map_err(bad)?;
        let text = home.as_deref().map(|h| h.to_string_lossy().into_owned());
        let names = Names { home: text.as_deref(), ..names };
        let location = user.mail.as_deref().unwrap_or(&self.defaults.mail);
        Ok(Account {
            mail: MailLocation::parse(location, &names).map_err(bad)?,
            secret: user.password.clone().map_or(Secret::None, Secret::Stored),
            uid: user.uid.or(self.defaults.uid),
            gid: user.gid.or(self.defaults.gid),
            disabled: user.disabled.clone(),
            allowed_networks: Vec::new(),
            home,
            name: user.name,
        })
    }
}

#[async_trait]
impl Source for Builtin {
    fn name(&self) -> &str {
        "builtin"
    }

    async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        let (inner, login) = (self.inner.clone(), login.clone());
        let found = tokio::task::spawn_blocking(move || {
            let user = verbs::find(&inner, &login).map_err(|why| Outage::new("builtin", why))?;
            user.map(|user| inner.account(user).map(Arc::new)).transpose()
        });
        found.await.map_err(|why| Outage::new("builtin", why))?
    }
}
