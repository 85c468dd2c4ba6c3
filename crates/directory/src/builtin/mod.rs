//! The built-in directory: one SQLite file that the server and the command line share.
//!
//! Each verb is one short transaction, so that `culver user add` works while the server runs: whoever finds the file busy
//! waits up to five seconds, then gets [`Problem::Database`]. The server sees a change with its next look-up, since SQLite
//! compares the file's change counter before each transaction.
//!
//! Why a rollback journal: WAL shares its index between processes through a mapped `-shm` file, and a mapped file that
//! shrinks or has no room kills the process that touches it. WAL without `-shm` exists, but only with
//! `locking_mode=EXCLUSIVE`, where the file belongs to one process alone. A rollback journal maps nothing
//! (`mmap_size=0`), still reads on a full disk, and costs a second fsync in writes that are rare here. Readers keep no
//! lock between look-ups. The journal is deleted, not kept, so no file of root's stays behind which the server's user
//! could not write; SQLite gives a journal made by root to the owner of the database.
//!
//! An account exists in its own domain and in every secondary domain of it.

mod change;
mod logins;
mod quota;
mod routes;
mod schema;
mod verbs;

pub use change::Changes;
pub use logins::Master;
pub use quota::{Changed, Kept, KeptAccount, SetLimits};
pub use verbs::{Domain, NewUser, User, What};

use crate::{
    Account, AppPassword, Defaults, Login, MailLocation, Names, Outage, Proof, Route, Secret, Source,
};
use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

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
    /// It is a primary domain.
    #[error("{0} is a primary domain already")]
    IsPrimary(String),
    /// Where an account's files are cannot be told.
    #[error("The account {0}: {1}")]
    Place(String, crate::NotALocation),
    /// It still has accounts.
    #[error("The domain {0} still has accounts ({1}): remove them first")]
    DomainInUse(String, u32),
    /// It still has routes.
    #[error("The domain {0} still has routes ({1}): remove them first")]
    DomainHasRoutes(String, u32),
    /// Routes deliver to it.
    #[error("Routes still deliver to {0}: {list}. Change or remove them first", list = .1.join(", "))]
    Routed(String, Vec<String>),
    /// No such route.
    #[error("There is no route {0}: see the list of routes")]
    NoRoute(String),
    /// It exists.
    #[error("The route {0} exists already: change it or remove it first")]
    RouteExists(String),
    /// Not an address that can have a route.
    #[error(
        "{0:?} cannot have a route: write an address, user@example.com, or *@example.com for all others of the domain"
    )]
    NotARoute(String),
    /// Not an address that mail can go to.
    #[error("{0:?} is no address: write targets like user@example.com")]
    NotATarget(String),
    /// A route without targets.
    #[error("A route needs a target or a text: to lose mail silently is not possible")]
    NoTargets,
    /// Too many targets.
    #[error("A route has {most} targets at most: let it lead to other routes", most = MOST_TARGETS)]
    TooManyTargets,
    /// The text of a refusal has line breaks or is too long.
    #[error("The text for senders must be one line of ASCII characters, {most} at most", most = LONGEST_TEXT)]
    NotAText,
    /// Not a domain.
    #[error("{0:?} is not a domain name: write it like example.com")]
    NotADomain(String),
    /// No name of a device.
    #[error("{0:?} cannot name a device: 1 to 64 characters, none of them a control character")]
    Device(String),
    /// It has no such app password.
    #[error("{0} has no app password for {1:?}: see the list of its app passwords")]
    NoDevice(String, String),
    /// It has as many as it may have.
    #[error("{0} has {1} app passwords, which is the limit: remove one first")]
    TooManyDevices(String, usize),
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

/// Targets of one route.
pub const MOST_TARGETS: usize = 100;

/// Octets of a refusal's text: with the code it is one line of SMTP (RFC 5321 §4.5.3.1.5).
pub const LONGEST_TEXT: usize = 400;

/// The built-in directory.
pub struct Builtin {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    defaults: Defaults,
    connection: Mutex<Connection>,
    schemes: Schemes,
}

/// What is known of how passwords are stored.
struct Schemes {
    /// What can prove them all, a bit for each [`Proof`].
    serves: AtomicU8,
    /// SQLite's `data_version` when it was found out; -1 for not at all.
    seen: AtomicI64,
}

impl Builtin {
    /// Opens the file; makes it when there is none.
    ///
    /// # Errors
    /// When it cannot be opened, or was written by a later version.
    pub fn open(path: &Path, defaults: Defaults) -> Result<Self, Problem> {
        let connection = schema::open(path)?;
        let schemes = Schemes { serves: AtomicU8::new(0), seen: AtomicI64::new(-1) };
        let inner = Inner { path: path.to_owned(), defaults, connection: Mutex::new(connection), schemes };
        verbs::look_at_schemes(&inner).map_err(|e| inner.failed(e))?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Works on the file where that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Outage> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.map_err(|why| Outage::new("builtin", why))?.map_err(|why| Outage::new("builtin", why))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }
}

impl Builtin {
    /// Asks the file on a thread that may wait.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Outage> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.map_err(|why| Outage::new("builtin", why))?.map_err(|why| Outage::new("builtin", why))
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
        let mail = MailLocation::parse(location, &names).map_err(bad)?;
        let (uid, gid) = (user.uid.or(self.defaults.uid), user.gid.or(self.defaults.gid));
        if uid.is_some() && gid.is_none() {
            let why = "has a uid but no gid: set gid in the configuration, or add it again with --gid";
            return Err(Outage::new("builtin", format!("account {} {why}", user.name)));
        }
        Ok(Account {
            secret: user.password.map_or(Secret::None, Secret::Stored),
            uid,
            gid,
            home,
            login: user.login,
            receive: user.receive,
            send: user.send,
            quota: user.quota,
            ..Account::new(user.name, mail)
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
            let user = verbs::find_with_master(&inner, &login).map_err(|why| Outage::new("builtin", why))?;
            let account = |(user, master)| Ok(Arc::new(Account { master, ..inner.account(user)? }));
            user.map(account).transpose()
        });
        found.await.map_err(|why| Outage::new("builtin", why))?
    }

    async fn route(&self, address: &Login) -> Result<Option<Route>, Outage> {
        let (local, domain) = (address.local().to_owned(), address.domain().to_owned());
        self.ask(move |inner| routes::find(inner, &local, &domain)).await
    }

    async fn catch_all(&self, domain: &str) -> Result<Option<Route>, Outage> {
        let domain = domain.to_owned();
        self.ask(move |inner| routes::find(inner, "", &domain)).await
    }

    async fn has_domain(&self, domain: &str) -> Result<bool, Outage> {
        let domain = domain.to_owned();
        self.ask(move |inner| verbs::primary_of(inner, &domain)).await.map(|found| found.is_some())
    }

    async fn names(&self) -> Result<Vec<String>, Outage> {
        let directory = Self { inner: self.inner.clone() };
        let users = tokio::task::spawn_blocking(move || directory.users()).await;
        let users = users.map_err(|why| Outage::new("builtin", why))?;
        let users = users.map_err(|why| Outage::new("builtin", why))?;
        Ok(users.into_iter().map(|user| user.name).collect())
    }

    async fn app_passwords(&self, account: &str) -> Result<Vec<AppPassword>, Outage> {
        let account = account.to_owned();
        self.blocking(move |inner| inner.app_passwords(&account)).await
    }

    async fn app_password_used(
        &self,
        account: &str,
        device: &str,
        at: i64,
        address: &str,
    ) -> Result<(), Outage> {
        let (account, device, address) = (account.to_owned(), device.to_owned(), address.to_owned());
        self.blocking(move |inner| inner.app_password_used(&account, &device, at, &address)).await
    }

    async fn replace_password(&self, account: &str, old: &str, new: &str) -> Result<bool, Outage> {
        let (account, old, new) = (account.to_owned(), old.to_owned(), new.to_owned());
        self.blocking(move |inner| inner.replace_password(&account, &old, &new)).await
    }

    fn serves(&self, proof: Proof) -> bool {
        // Only in the process that changes accounts has nobody looked yet; a server does so with each look-up.
        let unknown = self.inner.schemes.seen.load(Ordering::Relaxed) < 0;
        if unknown && verbs::look_at_schemes(&self.inner).is_err() {
            return false;
        }
        self.inner.schemes.serves.load(Ordering::Relaxed) & verbs::bit(proof) != 0
    }
}
