//! Names and passwords against the directory.

use crate::cache::Cache;
use crate::denied::Denied;
use crate::exchange::Exchange;
use crate::penalty::Penalties;
use crate::scheme::Stored;
use async_trait::async_trait;
use culver_directory::{Account, Directory, Login, Outage, Outcome, Prove, Secret, Source, Verdict};
use culver_events::{Attempt, Event, Events, Origin, Transport};
use culver_sasl::{Mechanism, scram};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// What hides the bytes of a connection from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Secured {
    /// Nothing.
    No,
    /// TLS.
    Tls,
    /// They do not leave the machine.
    Loopback,
}

/// Who is at the other end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The client.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// How the connection is protected.
    pub secured: Secured,
    /// The protocol, as logs name it: `imap`.
    pub service: &'static str,
    /// The session's id in logs.
    pub session: String,
}

impl Peer {
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            service: self.service,
            remote: self.remote,
            local: self.local,
            transport: match self.secured {
                Secured::No => Transport::Plain,
                Secured::Tls => Transport::Tls,
                Secured::Loopback => Transport::Loopback,
            },
            session: self.session.clone(),
        }
    }
}

/// What names a TLS channel (RFC 5056).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ChannelBinding {
    /// `tls-exporter` (RFC 9266); only TLS 1.3 has it.
    pub exporter: Option<Vec<u8>>,
    /// `tls-server-end-point` (RFC 5929 §4).
    pub end_point: Option<Vec<u8>>,
}

/// Settings, each with the reason for its default.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// How long the first failures of a network wait; it grows from the fourth on, up to 15 seconds. Zero for never.
    pub failure_delay: Duration,
    /// What may be offered, in this order.
    pub mechanisms: Vec<Mechanism>,
    /// When SCRAM is offered.
    pub scram: ScramOffer,
    /// Is nothing taken without TLS, except on loopback?
    pub tls_required: bool,
}

/// When SCRAM is among the mechanisms that are offered.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ScramOffer {
    /// When the passwords of all accounts are stored as SCRAM-SHA-256 or PLAIN. Clients take the strongest mechanism
    /// before anybody knows who they are; an account with a crypt hash could then not log in.
    #[default]
    WhenItServesAll,
    /// In any case; accounts with other schemes cannot use it.
    Always,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            failure_delay: Duration::from_secs(2),
            mechanisms: Mechanism::ALL.to_vec(),
            scram: ScramOffer::default(),
            tls_required: true,
        }
    }
}

/// A longer password is wrong: some hashes cost the square of the length.
const LONGEST_PASSWORD: usize = 1024;
/// Sessions whose failures are counted, and accounts of which a weak password was told.
const REMEMBERED: usize = 50_000;

/// Logins of all services.
pub struct Auth {
    directory: Arc<Directory>,
    settings: AuthSettings,
    events: Events,
    penalties: Penalties,
    cache: Cache,
    hashing: Arc<Semaphore>,
    /// For the salts of accounts that do not exist. They change when the server starts.
    secret: [u8; 32],
    weak: Mutex<HashSet<String>>,
    attempts: Mutex<HashMap<String, u32>>,
}

impl Auth {
    /// Over a directory.
    pub fn new(directory: Arc<Directory>, settings: AuthSettings, events: Events) -> Arc<Self> {
        let mut secret = [0; 32];
        if getrandom::fill(&mut secret).is_err() {
            // Without randomness nothing else works either; the time is better than nothing.
            secret = *blake3::hash(format!("{:?}", Instant::now()).as_bytes()).as_bytes();
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            directory,
            events,
            penalties: Penalties::new(settings.failure_delay),
            settings,
            cache: Cache::new(blake3::derive_key("culver 2025 auth success cache", &secret)),
            hashing: Arc::new(Semaphore::new(cores)),
            secret,
            weak: Mutex::default(),
            attempts: Mutex::default(),
        })
    }

    /// What is offered on such a connection.
    pub fn mechanisms(&self, secured: Secured) -> Vec<Mechanism> {
        if self.settings.tls_required && secured == Secured::No {
            return Vec::new();
        }
        let scram = self.settings.scram == ScramOffer::Always || self.directory.serves_scram();
        let is_scram = |m: Mechanism| matches!(m, Mechanism::ScramSha256 | Mechanism::ScramSha256Plus);
        let offered = self.settings.mechanisms.iter().copied();
        let offered = offered.filter(|m| secured == Secured::Tls || !m.binds_channel());
        offered.filter(|m| scram || !is_scram(*m)).collect()
    }

    /// Begins an exchange. A mechanism that is not offered ends at its first step.
    pub fn start(
        self: &Arc<Self>,
        mechanism: Mechanism,
        peer: &Peer,
        channel: Option<ChannelBinding>,
    ) -> Exchange {
        Exchange::new(self.clone(), mechanism, peer.clone(), channel.unwrap_or_default())
    }

    /// Name and password of a LOGIN command. Takes long when they are wrong.
    ///
    /// # Errors
    /// When they are wrong, or the account may not log in, or it cannot be known.
    pub async fn verify(&self, user: &[u8], password: &[u8], peer: &Peer) -> Result<Arc<Account>, Denied> {
        self.verify_as("PLAIN", user, password, b"", peer).await
    }

    pub(crate) async fn verify_as(
        &self,
        method: &'static str,
        user: &[u8],
        password: &[u8],
        authorize: &[u8],
        peer: &Peer,
    ) -> Result<Arc<Account>, Denied> {
        let begun = Instant::now();
        let verdict = self.check(user, password, authorize, peer).await;
        match verdict {
            Ok(account) => {
                self.succeeded(peer);
                Ok(account)
            }
            Err(no) => Err(self.fail(method, user, no, begun, peer).await),
        }
    }

    async fn check(
        &self,
        user: &[u8],
        password: &[u8],
        authorize: &[u8],
        peer: &Peer,
    ) -> Result<Arc<Account>, No> {
        self.admit(peer)?;
        let login = Login::parse(user).map_err(|why| No::syntax(why.to_string()))?;
        let prover = PasswordProver { auth: self, password };
        let proof = self.directory.authenticate(&login, &prover).await;
        let no = |denied, reason: &str| Err(No { denied, reason: reason.to_owned() });
        let account = match proof.map_err(|why| self.outage(&why, peer))? {
            Outcome::Right(account) => account,
            Outcome::Wrong { known: true } => return no(Denied::Credentials, "password mismatch"),
            Outcome::Wrong { known: false } => {
                // As much work as for an account that exists.
                let seed = self.seed(login.as_str());
                let password = password[..password.len().min(LONGEST_PASSWORD)].to_vec();
                let stored = scram::Stored::impossible(scram::Hash::Sha256, &seed);
                self.hash(move || stored.verify(&password)).await;
                return no(Denied::Credentials, "unknown user");
            }
            Outcome::Disabled { reason } => return no(Denied::Disabled { reason }, "account disabled"),
            Outcome::Expired => {
                let reason = "the password has expired, set a new one".to_owned();
                return no(Denied::Disabled { reason }, "password expired");
            }
        };
        self.let_in(account, &login, authorize, peer)
    }

    /// Is anybody let in on this connection?
    pub(crate) fn admit(&self, peer: &Peer) -> Result<(), No> {
        if self.settings.tls_required && peer.secured == Secured::No {
            return Err(No {
                denied: Denied::PrivacyRequired,
                reason: "cleartext authentication disallowed".to_owned(),
            });
        }
        if let Some(wait) = self.penalties.crowded(peer.remote.ip(), Instant::now().into_std()) {
            return Err(No {
                denied: Denied::TooManyFailures { wait },
                reason: "too many failures of this network".to_owned(),
            });
        }
        Ok(())
    }

    /// They are who they say; may they log in?
    pub(crate) fn let_in(
        &self,
        account: Arc<Account>,
        login: &Login,
        authorize: &[u8],
        peer: &Peer,
    ) -> Result<Arc<Account>, No> {
        let denied = |denied, reason: &str| Err(No { denied, reason: reason.to_owned() });
        if !authorize.is_empty() {
            let other = Login::parse(authorize).map_err(|why| No::syntax(why.to_string()))?;
            if other != *login && other.as_str() != account.name {
                return denied(Denied::NotAllowedHere, "authorization as somebody else");
            }
        }
        let networks = &account.allowed_networks;
        if !networks.is_empty() && !networks.iter().any(|n| n.contains(peer.remote.ip())) {
            return denied(Denied::NotAllowedHere, "allow_nets does not have this address");
        }
        if let Some(reason) = account.login.off() {
            return denied(Denied::Disabled { reason: reason.to_owned() }, "account disabled");
        }
        Ok(account)
    }

    /// Does the password belong to this account, as the source describes it?
    pub(crate) async fn is_right(
        &self,
        source: &dyn Source,
        login: &Login,
        account: &Arc<Account>,
        password: &[u8],
    ) -> Result<Verdict, Outage> {
        let verdict = |right| if right { Verdict::Right } else { Verdict::Wrong };
        if password.is_empty() || password.len() > LONGEST_PASSWORD {
            return Ok(Verdict::Wrong);
        }
        let text = match &account.secret {
            Secret::AnyPassword => return Ok(Verdict::Right),
            Secret::None => return Ok(Verdict::Wrong),
            Secret::Ask => return source.check(login, password).await,
            Secret::Stored(text) => text,
        };
        let unusable = |why: &str| {
            Outage::new(
                source.name(),
                format!("the stored password of {} cannot be used: {why}", account.name),
            )
        };
        let stored = Stored::parse(text).map_err(|why| unusable(&why.to_string()))?;
        let token = self.cache.token(&account.name, text, password);
        if self.cache.knows(&token, Instant::now().into_std()) {
            return Ok(Verdict::Right);
        }
        let (weak, scheme) = (stored.is_weak(), stored.scheme().to_owned());
        let (name, password) = (account.name.clone(), password.to_vec());
        let right = self.hash(move || stored.verify(&password, &name)).await;
        let right = right
            .ok_or_else(|| unusable("the thread that hashes has ended"))?
            .map_err(|why| unusable(&why.to_string()))?;
        if right {
            self.cache.remember(token, Instant::now().into_std());
            if weak {
                self.tell_weak(&account.name, scheme);
            }
        }
        Ok(verdict(right))
    }

    /// Runs slow arithmetic on a thread that may block; `None` when that thread died.
    pub(crate) async fn hash<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let permit = self.hashing.clone().acquire_owned().await.ok()?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.ok()
    }

    /// The account with its password as it is stored; `None` when it has none that is.
    pub(crate) async fn find(&self, login: &Login, peer: &Peer) -> Result<Option<Arc<Account>>, No> {
        self.directory.credentials(login).await.map_err(|why| self.outage(&why, peer))
    }

    /// The same secret octets for the same name, as long as the server runs.
    pub(crate) fn seed(&self, name: &str) -> [u8; 32] {
        *blake3::keyed_hash(&self.secret, name.as_bytes()).as_bytes()
    }

    pub(crate) fn offers_binding(&self, peer: &Peer) -> bool {
        self.mechanisms(peer.secured).iter().any(|m| m.binds_channel())
    }

    fn outage(&self, why: &Outage, peer: &Peer) -> No {
        self.fault("", &why.to_string(), peer)
    }

    pub(crate) fn fault(&self, account: &str, why: &str, peer: &Peer) -> No {
        self.events.emit(Event::Fault {
            account: account.to_owned(),
            what: format!("a login could not be checked: {why}"),
            session: peer.session.clone(),
        });
        No { denied: Denied::Temporary, reason: "temporary failure".to_owned() }
    }

    fn tell_weak(&self, account: &str, scheme: String) {
        let mut told = self.weak.lock();
        if told.len() < REMEMBERED && told.insert(account.to_owned()) {
            drop(told);
            self.events.emit(Event::WeakPassword { account: account.to_owned(), scheme });
        }
    }

    pub(crate) fn succeeded(&self, peer: &Peer) {
        self.attempts.lock().remove(&peer.session);
    }

    /// Tells of a failure, and waits. The wait counts from when the password came (`begun`), so that the answer does not
    /// tell how long it was looked at.
    pub(crate) async fn fail(
        &self,
        method: &'static str,
        user: &[u8],
        no: No,
        begun: Instant,
        peer: &Peer,
    ) -> Denied {
        let attempts = self.count(&peer.session);
        // Guesses wait, our own faults and settings do not.
        let guess = matches!(no.denied, Denied::Credentials | Denied::Syntax(_));
        let ip = peer.remote.ip();
        let delay = if guess { self.penalties.failed(ip, begun.into_std()) } else { Duration::ZERO };
        let mut user = String::from_utf8_lossy(user).into_owned();
        if let Some((end, _)) = user.char_indices().nth(Login::MAX) {
            user.truncate(end);
        }
        // Told before the wait: who counts these lines should not have to wait too.
        self.events.emit(Event::LoginFailed {
            attempt: Attempt { user, method: method.to_owned(), reason: no.reason, attempts, elapsed: delay },
            from: peer.origin(),
        });
        if !delay.is_zero() {
            tokio::time::sleep_until(begun + delay).await;
        }
        no.denied
    }

    fn count(&self, session: &str) -> u32 {
        let mut attempts = self.attempts.lock();
        if attempts.len() >= REMEMBERED {
            attempts.clear();
        }
        let count = attempts.entry(session.to_owned()).or_insert(0);
        *count += 1;
        *count
    }
}

/// A password that was given, against what the sources know.
struct PasswordProver<'a> {
    auth: &'a Auth,
    password: &'a [u8],
}

#[async_trait]
impl Prove for PasswordProver<'_> {
    async fn prove(
        &self,
        source: &dyn Source,
        login: &Login,
        account: &Arc<Account>,
    ) -> Result<Verdict, Outage> {
        self.auth.is_right(source, login, account, self.password).await
    }
}

/// Why not: for the client, and for the log.
pub(crate) struct No {
    pub denied: Denied,
    pub reason: String,
}

impl No {
    pub fn syntax(text: String) -> Self {
        Self { reason: text.clone(), denied: Denied::Syntax(text) }
    }
}
