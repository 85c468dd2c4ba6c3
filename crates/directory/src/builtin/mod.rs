//! The built-in directory: a file of SQLite that the server and the command line share, or PostgreSQL that several machines
//! share.
//!
//! Each verb is one short transaction, so that `culver user add` works while servers run: whoever finds another one writing
//! waits up to five seconds, then gets [`Problem::File`] or [`Problem::Server`]. A server sees a change with its next look-up.
//!
//! An account exists in its own domain and in every secondary domain of it.

mod change;
mod logins;
mod postgresql;
mod quota;
mod routes;
mod schema;
mod sqlite;
mod statement;
mod store;
mod verbs;

pub use change::Changes;
pub use logins::Master;
pub use quota::{Changed, Kept, KeptAccount, SetLimits};
pub use verbs::{Domain, NewUser, User, What};

use crate::sql::Server;
use crate::{
    Account, AppPassword, Defaults, Login, MailLocation, Names, Outage, Proof, Route, Secret, Source,
};
use async_trait::async_trait;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use verbs::Found;

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
    File {
        /// The file.
        path: PathBuf,
        /// What SQLite or the system says.
        why: String,
    },
    /// The database server.
    #[error("{place}: {why}")]
    Server {
        /// Where it is.
        place: String,
        /// What it says, or why it says nothing, and what to do.
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
    defaults: Defaults,
    store: store::Store,
    schemes: Schemes,
}

/// What is known of how passwords are stored.
struct Schemes {
    /// What can prove them all, a bit for each [`Proof`].
    serves: AtomicU8,
    /// The directory's revision when it was found out; -1 for not at all.
    seen: AtomicI64,
    /// Is somebody finding out?
    looking: AtomicBool,
}

impl Builtin {
    /// Opens the file; makes it when there is none.
    ///
    /// # Errors
    /// When it cannot be opened, or was written by another version.
    pub fn open(path: &Path, defaults: Defaults) -> Result<Self, Problem> {
        let builtin = Self::new(store::Store::Sqlite(sqlite::File::open(path)?), defaults);
        verbs::look_at_schemes(&builtin.inner)?;
        Ok(builtin)
    }

    /// The directory on a server. It need not be there yet: whoever asks before it is gets an outage.
    ///
    /// # Errors
    /// When the authorities of its certificate cannot be read.
    pub fn on_postgresql(server: Server, defaults: Defaults) -> Result<Self, Problem> {
        let place = server.hosts.iter().map(crate::postgresql::shown).collect::<Vec<_>>().join(", ");
        let server = postgresql::Server::new(server).map_err(|why| Problem::Server { place, why })?;
        let builtin = Self::new(store::Store::PostgreSql(server), defaults);
        builtin.look_aside();
        Ok(builtin)
    }

    fn new(store: store::Store, defaults: Defaults) -> Self {
        let (serves, seen, looking) = (AtomicU8::new(0), AtomicI64::new(-1), AtomicBool::new(false));
        let schemes = Schemes { serves, seen, looking };
        Self { inner: Arc::new(Inner { defaults, store, schemes }) }
    }

    /// Asks on a thread that may wait.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Outage> {
        let inner = self.inner.clone();
        let done = tokio::task::spawn_blocking(move || work(&inner)).await;
        done.map_err(|why| Outage::new("builtin", why))?.map_err(|why| Outage::new("builtin", why))
    }

    /// Finds out how passwords are stored, without letting anybody wait for a server.
    fn look_aside(&self) {
        if let store::Store::PostgreSql(server) = &self.inner.store {
            if self.inner.schemes.looking.swap(true, Ordering::Relaxed) {
                return;
            }
            let inner = Arc::downgrade(&self.inner);
            server.aside(move || {
                if let Some(inner) = inner.upgrade() {
                    // Whoever asks next hears of an outage.
                    drop(verbs::look_at_schemes(&inner));
                    inner.schemes.looking.store(false, Ordering::Relaxed);
                }
            });
        }
    }

    /// A failure that is none of the database's, told like one.
    pub fn failed(&self, why: impl ToString) -> Problem {
        self.inner.store.failed(why)
    }

    /// Where the accounts are: the file, or the server.
    pub fn place(&self) -> String {
        self.inner.store.place()
    }
}

impl Inner {
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
        let login = login.clone();
        let found = self.ask(move |inner| verbs::find(inner, &login)).await?;
        let account =
            |found: Found| Ok(Arc::new(Account { master: found.master, ..self.inner.account(found.user)? }));
        found.map(account).transpose()
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
        let users = self.ask(verbs::users).await?;
        Ok(users.into_iter().map(|user| user.name).collect())
    }

    async fn app_passwords(&self, account: &str) -> Result<Vec<AppPassword>, Outage> {
        let account = account.to_owned();
        self.ask(move |inner| inner.app_passwords(&account)).await
    }

    async fn app_password_used(
        &self,
        account: &str,
        device: &str,
        at: i64,
        address: &str,
    ) -> Result<(), Outage> {
        let (account, device, address) = (account.to_owned(), device.to_owned(), address.to_owned());
        self.ask(move |inner| inner.app_password_used(&account, &device, at, &address)).await
    }

    async fn replace_password(&self, account: &str, old: &str, new: &str) -> Result<bool, Outage> {
        let (account, old, new) = (account.to_owned(), old.to_owned(), new.to_owned());
        self.ask(move |inner| inner.replace_password(&account, &old, &new)).await
    }

    fn serves(&self, proof: Proof) -> bool {
        // Unknown it is at the start, and after a change of our own; else each look-up sees to it.
        if self.inner.schemes.seen.load(Ordering::Relaxed) < 0 {
            match &self.inner.store {
                store::Store::Sqlite(_) if verbs::look_at_schemes(&self.inner).is_err() => return false,
                store::Store::Sqlite(_) => {}
                store::Store::PostgreSql(_) => self.look_aside(),
            }
        }
        self.inner.schemes.serves.load(Ordering::Relaxed) & verbs::bit(proof) != 0
    }
}
