//! Names and passwords against the directory.

use crate::app_password::{self, Uses};
use crate::blocks::{Block, Blocks};
use crate::cache::Cache;
use crate::claim::Claim;
use crate::denied::Denied;
use crate::exchange::Exchange;
use crate::kept::Kept;
use crate::no::No;
use crate::peer::{ChannelBinding, Delay, Peer, Secured};
use crate::penalty::{Penalties, network};
use crate::policy::{Attempted, Ended, Verdict};
use crate::scheme::{Stored, make};
use crate::seats::{Seat, Seats};
use crate::settings::{AuthSettings, Backends};
use async_trait::async_trait;
use culver_directory::{
    Account, AppPassword, Directory, Login, Outage, Outcome, Proof, Prove, Secret, Source, Verdict as Checked,
};
use culver_events::{Attempt, Event, Events, Level};
use culver_sasl::{Mechanism, scram};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A longer password is wrong: some hashes cost the square of the length.
const LONGEST_PASSWORD: usize = 1024;
/// Sessions whose failures are counted, and accounts of which a weak password was told.
const REMEMBERED: usize = 50_000;
/// The file of blocks is written once in this time at most.
const PACE: Duration = Duration::from_secs(1);
/// The longest `delay_until`, as in Dovecot: a login that would wait longer fails.
const LONGEST_WAIT: i64 = 5 * 60;

/// Logins of all services.
pub struct Auth {
    pub(crate) backends: Backends,
    pub(crate) settings: AuthSettings,
    events: Events,
    memory: Arc<Memory>,
}

/// What is remembered while the server runs, whatever happens to settings.
pub struct Memory {
    networks: Penalties<IpAddr>,
    accounts: Penalties<String>,
    cache: Cache,
    hashing: Arc<Semaphore>,
    /// For the salts of accounts that do not exist. They change when the server starts.
    secret: [u8; 32],
    weak: Mutex<HashSet<String>>,
    attempts: Mutex<HashMap<String, u32>>,
    seats: Seats,
    blocks: Blocks,
    kept: Option<Kept>,
    uses: Uses,
}

impl Memory {
    /// Who is blocked.
    pub fn blocked(&self) -> Vec<Block> {
        self.blocks.list(Instant::now().into_std())
    }

    /// Ends the blocks for which this is true: network (as its first address) and account, `None` for all from there.
    /// Gives those that ended.
    pub fn lift(&self, which: impl Fn(IpAddr, Option<&str>) -> bool) -> Vec<Block> {
        self.blocks.lift(Instant::now().into_std(), which)
    }

    /// Nothing happened yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::empty())
    }

    /// Nothing happened but the blocks which are kept in this folder, none of which lasts longer than `longest` from now.
    pub fn kept_in(state_dir: &Path, longest: Duration, events: &Events) -> Arc<Self> {
        let kept = Kept::new(state_dir);
        let (blocks, told) = kept.read(culver_events::clock::now().as_secs(), longest);
        let memory = Self { kept: Some(kept), ..Self::empty() };
        memory.blocks.restore(blocks, Instant::now().into_std());
        if let Some(told) = told {
            events.emit(Event::message(Level::Warning, "auth", told));
            memory.keep_blocks(events);
        }
        Arc::new(memory)
    }

    /// Writes the blocks to their file.
    fn keep_blocks(&self, events: &Events) {
        let Some(kept) = &self.kept else { return };
        let told = kept.write(&self.blocked(), culver_events::clock::now().as_secs());
        if let Some(told) = told {
            events.emit(Event::message(Level::Warning, "auth", told));
        }
    }

    fn empty() -> Self {
        let mut secret = [0; 32];
        if getrandom::fill(&mut secret).is_err() {
            // Without randomness nothing else works either; the time is better than nothing.
            secret = *blake3::hash(format!("{:?}", Instant::now()).as_bytes()).as_bytes();
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            networks: Penalties::new(),
            accounts: Penalties::new(),
            cache: Cache::new(blake3::derive_key("culver 2025 auth success cache", &secret)),
            hashing: Arc::new(Semaphore::new(cores)),
            secret,
            weak: Mutex::default(),
            attempts: Mutex::default(),
            seats: Seats::default(),
            blocks: Blocks::default(),
            kept: None,
            uses: Uses::default(),
        }
    }
}

/// An account that was found, and how.
#[derive(Clone)]
pub(crate) struct Found {
    pub account: Arc<Account>,
    /// Is it of the masters' file?
    master: bool,
}

impl Found {
    fn into_master(self) -> Self {
        Self { master: true, ..self }
    }
}

impl Auth {
    /// Over a directory, with nothing remembered.
    pub fn new(directory: Arc<Directory>, settings: AuthSettings, events: Events) -> Arc<Self> {
        Self::build(Backends::new(directory), settings, events, Memory::new())
    }

    /// Of all its parts. What follows another one at a reload, or stands beside it, takes over its [memory](Auth::memory).
    pub fn build(
        backends: Backends,
        settings: AuthSettings,
        events: Events,
        memory: Arc<Memory>,
    ) -> Arc<Self> {
        Arc::new(Self { backends, settings, events, memory })
    }

    /// What it asks.
    pub fn backends(&self) -> &Backends {
        &self.backends
    }

    /// What is remembered of failures, sessions and passwords.
    pub fn memory(&self) -> Arc<Memory> {
        self.memory.clone()
    }

    /// What is offered on such a connection: what the settings name; else PLAIN and LOGIN, and what all accounts can use
    /// whose passwords are stored as they are. EXTERNAL is there only for connections with a certificate, see
    /// [`Auth::offered`].
    pub fn mechanisms(&self, secured: Secured) -> Vec<Mechanism> {
        if self.settings.tls_required && secured == Secured::No {
            return Vec::new();
        }
        let directory = &self.backends.directory;
        let offered = |m: &Mechanism| {
            let asked = self.settings.mechanisms.as_ref();
            let of_its_own = || match m {
                Mechanism::Plain | Mechanism::Login => true,
                Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => directory.serves(Proof::ScramSha256),
                Mechanism::ScramSha1 | Mechanism::ScramSha1Plus => directory.serves(Proof::ScramSha1),
                Mechanism::CramMd5 => directory.serves(Proof::CramMd5),
                // Only clients that have a certificate, or a token, take these.
                Mechanism::External | Mechanism::OAuthBearer | Mechanism::XOAuth2 => true,
                Mechanism::DigestMd5 | Mechanism::Anonymous => false,
            };
            let possible = match m {
                Mechanism::External => secured == Secured::Tls,
                Mechanism::OAuthBearer | Mechanism::XOAuth2 => self.backends.tokens.is_some(),
                Mechanism::Anonymous => self.settings.anonymous.is_some(),
                m if m.binds_channel() => secured == Secured::Tls,
                _ => true,
            };
            possible && (asked.is_some() || of_its_own())
        };
        let listed = self.settings.mechanisms.as_deref().unwrap_or(&Mechanism::ALL);
        listed.iter().copied().filter(offered).collect()
    }

    /// What is offered to this peer: EXTERNAL only if it has shown a certificate.
    pub fn offered(&self, peer: &Peer) -> Vec<Mechanism> {
        let mut all = self.mechanisms(peer.secured);
        all.retain(|m| *m != Mechanism::External || peer.certificate.is_some());
        all
    }

    /// Can every account use APOP (RFC 1939 §7)? It needs passwords in the clear.
    pub fn serves_apop(&self) -> bool {
        self.backends.directory.serves(Proof::Clear)
    }

    /// Begins an exchange. What is offered is for the caller to look at.
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
        self.verify_as("PLAIN", user, password, b"", peer, Delay::default()).await
    }

    /// APOP (RFC 1939 §7): the digest of the greeting's timestamp (angle brackets included) and the password. Takes long
    /// when it is wrong.
    ///
    /// # Errors
    /// As [`Auth::verify`]; also when the password is not stored in the clear.
    pub async fn apop(
        &self,
        user: &[u8],
        timestamp: &str,
        digest: &[u8],
        peer: &Peer,
    ) -> Result<Arc<Account>, Denied> {
        let begun = Instant::now();
        let verdict = async {
            self.admit(peer, Delay::default())?;
            let mut claim = self.claim(user, b"")?;
            self.ask_policy(&mut claim, b"", peer).await?;
            let found = self.find_stored(&claim, peer).await?.ok_or_else(|| No::wrong("unknown user"))?;
            let stored = self.stored(&found.account, peer)?;
            let clear = stored.as_ref().and_then(Stored::clear);
            let clear = clear
                .ok_or_else(|| No::wrong("APOP needs the password in the clear, and it is not stored so"))?;
            if !culver_sasl::apop::verify(timestamp, clear, digest) {
                return Err(No::wrong("password mismatch"));
            }
            self.let_in(found, &claim, peer).await
        };
        match verdict.await {
            Ok(account) => Ok(account),
            Err(no) => Err(self.fail("APOP", user, no, begun, peer, Delay::default()).await),
        }
    }

    pub(crate) async fn verify_as(
        &self,
        method: &'static str,
        user: &[u8],
        password: &[u8],
        authorize: &[u8],
        peer: &Peer,
        delay: Delay,
    ) -> Result<Arc<Account>, Denied> {
        let begun = Instant::now();
        match self.check(user, password, authorize, peer, delay).await {
            Ok(account) => Ok(account),
            Err(mut no) => {
                let policy = self.backends.policy.as_ref();
                let claim = self.claim(user, authorize).ok();
                no.pwhash = policy.zip(claim).map(|(policy, claim)| policy.hash(claim.wanted(), password));
                Err(self.fail(method, user, no, begun, peer, delay).await)
            }
        }
    }

    async fn check(
        &self,
        user: &[u8],
        password: &[u8],
        authorize: &[u8],
        peer: &Peer,
        delay: Delay,
    ) -> Result<Arc<Account>, No> {
        self.admit(peer, delay)?;
        let mut claim = self.claim(user, authorize)?;
        self.ask_policy(&mut claim, password, peer).await?;
        self.not_blocked(Some(claim.login.as_str()), peer)?;
        let prover = PasswordProver { auth: self, password, peer, device: Mutex::default() };
        let found = self.prove_password(&prover, &claim, password, peer).await?;
        if let Some(one) = prover.device.into_inner() {
            return self.let_in_by(&one, found, &claim, peer).await;
        }
        self.let_in(found, &claim, peer).await
    }

    /// Whose password it is: a master's when somebody wants to be somebody else, else an account's.
    async fn prove_password(
        &self,
        prover: &PasswordProver<'_>,
        claim: &Claim,
        password: &[u8],
        peer: &Peer,
    ) -> Result<Found, No> {
        let outage = |why| self.outage(&why, peer);
        let directory = &self.backends.directory;
        if claim.target.is_some() {
            if let Some(masters) = &self.backends.masters
                && let Some(account) = masters.find(&claim.login).await.map_err(outage)?
            {
                let verdict = prover.prove(&**masters, &claim.login, &account).await.map_err(outage)?;
                return match verdict {
                    Checked::Right => Ok(Found { account, master: true }),
                    _ => Err(No::wrong("password mismatch").of(&account).guessed(self.fingerprint(password))),
                };
            }
            match directory.authenticate_master(&claim.login, prover).await.map_err(outage)? {
                // Nobody of the masters; accounts can be masters too.
                Outcome::Wrong { account: None } => {}
                outcome => return self.proved(outcome, claim, password).await.map(Found::into_master),
            }
        }
        let outcome = directory.authenticate(&claim.login, prover).await.map_err(outage)?;
        self.proved(outcome, claim, password).await
    }

    async fn proved(&self, outcome: Outcome, claim: &Claim, password: &[u8]) -> Result<Found, No> {
        match outcome {
            Outcome::Right(account) => Ok(Found { master: account.master, account }),
            Outcome::Wrong { account: Some(account) } => {
                Err(No::wrong("password mismatch").of(&account).guessed(self.fingerprint(password)))
            }
            Outcome::Wrong { account: None } => {
                // As much work as for an account that exists.
                let seed = self.seed(claim.login.as_str());
                let password = password[..password.len().min(LONGEST_PASSWORD)].to_vec();
                let stored = scram::Stored::impossible(scram::Hash::Sha256, &seed);
                let guess = self.fingerprint(&password);
                self.hash(move || stored.verify(&password)).await;
                Err(No::wrong("unknown user").guessed(guess))
            }
            Outcome::Disabled { reason } => Err(No::because(Denied::Disabled { reason }, "account disabled")),
            Outcome::Expired => {
                let reason = "the password has expired, set a new one".to_owned();
                Err(No::because(Denied::Disabled { reason }, "password expired"))
            }
        }
    }

    /// Is anybody let in on this connection?
    pub(crate) fn admit(&self, peer: &Peer, delay: Delay) -> Result<(), No> {
        if self.settings.tls_required && peer.secured == Secured::No {
            return Err(No::because(Denied::PrivacyRequired, "cleartext authentication disallowed"));
        }
        if !delay.counted {
            return Ok(());
        }
        let network = network(peer.remote.ip());
        if let Some(wait) = self.memory.networks.crowded(&network, Instant::now().into_std()) {
            return Err(No::because(Denied::TooManyFailures { wait }, "too many failures of this network"));
        }
        self.not_blocked(None, peer)
    }

    fn not_blocked(&self, account: Option<&str>, peer: &Peer) -> Result<(), No> {
        let now = Instant::now().into_std();
        match self.memory.blocks.blocked(network(peer.remote.ip()), account, now) {
            None => Ok(()),
            Some(Block { account, guesses, left, .. }) => {
                let what = if account.is_some() {
                    "the account is blocked for this network"
                } else {
                    "the network is blocked"
                };
                Err(No::because(Denied::Blocked { guesses, wait: left }, what))
            }
        }
    }

    /// The names of somebody who asks.
    pub(crate) fn claim(&self, user: &[u8], authorize: &[u8]) -> Result<Claim, No> {
        let claim = Claim::parse(user, authorize, self.settings.master_separator);
        claim.map_err(|why| No::syntax(why.to_string()))
    }

    /// Who somebody is that proves it without a password: a master when they want to be somebody else, else an account.
    /// Nobody who is blocked.
    pub(crate) async fn find(&self, claim: &Claim, peer: &Peer) -> Result<Option<Found>, No> {
        self.not_blocked(Some(claim.login.as_str()), peer)?;
        if let Some(found) = self.master(claim, peer).await? {
            return Ok(Some(found));
        }
        let directory = &self.backends.directory;
        if directory.denies(&claim.login).await.map_err(|why| self.outage(&why, peer))? {
            return Err(No::because(Denied::Disabled { reason: String::new() }, "account disabled"));
        }
        let account = directory.find(&claim.login).await.map_err(|why| self.outage(&why, peer))?;
        Ok(account.map(|account| Found { master: account.master, account }))
    }

    /// The same with the password as it is stored, where a source has one that is.
    pub(crate) async fn find_stored(&self, claim: &Claim, peer: &Peer) -> Result<Option<Found>, No> {
        self.not_blocked(Some(claim.login.as_str()), peer)?;
        if let Some(found) = self.master(claim, peer).await? {
            return Ok(Some(found));
        }
        let account = self.backends.directory.credentials(&claim.login).await;
        let account = account.map_err(|why| self.outage(&why, peer))?;
        Ok(account.map(|account| Found { master: account.master, account }))
    }

    async fn master(&self, claim: &Claim, peer: &Peer) -> Result<Option<Found>, No> {
        let Some(masters) = self.backends.masters.as_ref().filter(|_| claim.target.is_some()) else {
            return Ok(None);
        };
        let account = masters.find(&claim.login).await.map_err(|why| self.outage(&why, peer))?;
        Ok(account.map(|account| Found { account, master: true }))
    }

    pub(crate) async fn app_passwords(&self, account: &Account, peer: &Peer) -> Result<Vec<AppPassword>, No> {
        let all = self.backends.directory.app_passwords(&account.name).await;
        all.map_err(|why| self.outage(&why, peer))
    }

    /// They have an app password; is it for this service?
    pub(crate) async fn let_in_by(
        &self,
        one: &AppPassword,
        found: Found,
        claim: &Claim,
        peer: &Peer,
    ) -> Result<Arc<Account>, No> {
        if !one.services.is_empty() && !one.services.iter().any(|s| s == peer.service) {
            let reason = format!("the app password {} is not for {}", one.device, peer.service);
            return Err(No::because(Denied::NotAllowedHere, &reason));
        }
        let owner = found.account.name.clone();
        // A device is nobody's master.
        let account = self.let_in(Found { master: false, ..found }, claim, peer).await?;
        let at = i64::try_from(culver_events::clock::now().as_secs()).unwrap_or(i64::MAX);
        let address = peer.remote.ip().to_string();
        self.memory.uses.note(&owner, &one.device, at, address, Instant::now().into_std());
        Ok(account)
    }

    /// What logins do not wait for: writes when app passwords were used last and who is blocked, tells the policy service how logins ended.
    /// As long as the server runs; what is left of the first is written when `stop` comes. For a task of its own.
    pub async fn background(self: Arc<Self>, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let reports = async {
            match &self.backends.policy {
                Some(policy) => policy.send_reports(|why| self.no_policy(&why)).await,
                None => std::future::pending().await,
            }
        };
        let blocks = async {
            loop {
                self.memory.blocks.changed().await;
                self.keep_blocks().await;
                // Whoever tries many accounts is not written down for each.
                tokio::time::sleep(PACE).await;
            }
        };
        let (mut reports, mut blocks) = (std::pin::pin!(reports), std::pin::pin!(blocks));
        let mut going = true;
        while going {
            tokio::select! {
                () = self.memory.uses.some() => {}
                () = &mut reports => {}
                () = &mut blocks => {}
                () = &mut stop => going = false,
            }
            for ((account, device), (at, address)) in self.memory.uses.take() {
                let written =
                    self.backends.directory.app_password_used(&account, &device, at, &address).await;
                if let Err(why) = written {
                    let what = format!("the last use of an app password was not written: {why}");
                    self.events.emit(Event::Fault { account, what, session: String::new() });
                }
            }
        }
        self.keep_blocks().await;
    }

    async fn keep_blocks(&self) {
        let (memory, events) = (self.memory.clone(), self.events.clone());
        let _ = tokio::task::spawn_blocking(move || memory.keep_blocks(&events)).await;
    }

    /// Stores a weak password anew, now that it is known. Whatever goes wrong, the login goes on.
    async fn rehash(&self, account: &Account, old: &str, scheme: &str, password: &[u8], peer: &Peer) -> bool {
        let (Some(how), Ok(password)) = (self.settings.rehash, std::str::from_utf8(password)) else {
            return false;
        };
        let password = password.to_owned();
        let Some(Some(new)) = self.hash(move || make(how, &password)).await else { return false };
        match self.backends.directory.replace_password(&account.name, old, &new).await {
            Ok(true) => {
                let account = account.name.clone();
                self.events.emit(Event::PasswordRehashed { account, scheme: scheme.to_owned() });
                true
            }
            Ok(false) => false,
            Err(why) => {
                self.fault(&account.name, &format!("a weak password was not stored anew: {why}"), peer);
                false
            }
        }
    }

    /// They are who they say; may they log in, and as whom? Tells what remembers failures.
    pub(crate) async fn let_in(&self, found: Found, claim: &Claim, peer: &Peer) -> Result<Arc<Account>, No> {
        let Found { account, master } = found;
        let denied = |denied, reason: &str| Err(No::because(denied, reason));
        let networks = &account.allowed_networks;
        if !networks.is_empty() && !networks.iter().any(|n| n.contains(peer.remote.ip())) {
            return denied(Denied::NotAllowedHere, "allow_nets does not have this address");
        }
        if let Some(reason) = account.login.off() {
            return denied(Denied::Disabled { reason: reason.to_owned() }, "account disabled");
        }
        let target = claim.target.as_ref().filter(|t| t.as_str() != account.name);
        let named = account.extra.get("login_user").map(|name| Login::parse(name.as_bytes()));
        let named = named
            .transpose()
            .map_err(|why| self.fault(&account.name, &format!("login_user: {why}"), peer))?;
        if target.is_some() && !master {
            return denied(Denied::NotAllowedHere, "authorization as somebody else");
        }
        self.delay_until(&account, peer).await?;
        let other = match target.or(named.as_ref()) {
            None => None,
            Some(target) => {
                match self.backends.directory.find(target).await.map_err(|why| self.outage(&why, peer))? {
                    None => return denied(Denied::NotAllowedHere, "there is no such account to log in as"),
                    found => found,
                }
            }
        };
        if let Some(login) = self.attempted(claim, peer) {
            self.allowed(&login).await?;
            self.report(&login, Ended::Success);
        }
        self.memory.attempts.lock().remove(&peer.session);
        self.memory.accounts.forgive(&claim.login.as_str().to_owned());
        self.memory.blocks.succeeded(network(peer.remote.ip()), claim.login.as_str());
        let Some(other) = other else { return Ok(account) };
        let by = account.name.strip_suffix("@localhost").unwrap_or(&account.name).to_owned();
        self.events.emit(Event::LoginAs { account: other.name.clone(), by, from: peer.origin() });
        Ok(other)
    }

    /// `delay_until` of Dovecot: seconds of Unix time, and behind a plus how many more at most, by chance.
    async fn delay_until(&self, account: &Account, peer: &Peer) -> Result<(), No> {
        let Some(text) = account.extra.get("delay_until") else { return Ok(()) };
        let (until, more) = text.split_once('+').unwrap_or((text, "0"));
        let (Ok(until), Ok(more)) = (until.parse::<i64>(), more.parse::<u32>()) else {
            return Err(self.fault(&account.name, &format!("delay_until={text} is not a time"), peer));
        };
        let now = culver_events::clock::now().as_secs();
        let wait = until.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX));
        if wait > LONGEST_WAIT {
            return Err(No::because(Denied::Temporary, "delay_until is more than five minutes away"));
        }
        if wait > 0 {
            let mut random = [0; 4];
            let _ = getrandom::fill(&mut random);
            let more = u32::from_le_bytes(random) % more.saturating_add(1).min(LONGEST_WAIT as u32);
            let wait = u64::try_from(wait).unwrap_or(0) + u64::from(more);
            tokio::time::sleep(Duration::from_secs(wait)).await;
        }
        Ok(())
    }

    /// The password as it is stored; `None` when there is none to compare with.
    pub(crate) fn stored(&self, account: &Account, peer: &Peer) -> Result<Option<Stored>, No> {
        let Secret::Stored(text) = &account.secret else { return Ok(None) };
        Stored::parse(text).map(Some).map_err(|why| self.fault(&account.name, &why.to_string(), peer))
    }

    /// Does the password belong to this account, as the source describes it?
    pub(crate) async fn is_right(
        &self,
        source: &dyn Source,
        login: &Login,
        account: &Arc<Account>,
        password: &[u8],
        peer: &Peer,
    ) -> Result<Checked, Outage> {
        let verdict = |right| if right { Checked::Right } else { Checked::Wrong };
        if password.is_empty() || password.len() > LONGEST_PASSWORD {
            return Ok(Checked::Wrong);
        }
        let text = match &account.secret {
            Secret::AnyPassword => return Ok(Checked::Right),
            Secret::None => return Ok(Checked::Wrong),
            Secret::Ask => {
                // Clients of the auth sockets need not say whose login it is.
                let remote = Some(peer.remote.ip()).filter(|ip| !ip.is_unspecified());
                return source.check(login, password, remote).await;
            }
            Secret::Stored(text) => text,
        };
        let unusable = |why: &str| {
            Outage::new(
                source.name(),
                format!("the stored password of {} cannot be used: {why}", account.name),
            )
        };
        let stored = Stored::parse(text).map_err(|why| unusable(&why.to_string()))?;
        let token = self.memory.cache.token(&account.name, text, password);
        if self.memory.cache.knows(&token, Instant::now().into_std()) {
            return Ok(Checked::Right);
        }
        let (weak, scheme) = (stored.is_weak(), stored.scheme().to_owned());
        let (name, given) = (account.name.clone(), password.to_vec());
        let right = self.hash(move || stored.verify(&given, &name)).await;
        let right = right
            .ok_or_else(|| unusable("the thread that hashes has ended"))?
            .map_err(|why| unusable(&why.to_string()))?;
        if right {
            self.memory.cache.remember(token, Instant::now().into_std());
            if weak && !self.rehash(account, text, &scheme, password, peer).await {
                self.tell_weak(&account.name, scheme);
            }
        }
        Ok(verdict(right))
    }

    /// Asks the policy service about a password that comes, or another proof that has none.
    pub(crate) async fn ask_policy(&self, claim: &mut Claim, password: &[u8], peer: &Peer) -> Result<(), No> {
        let Some(policy) = &self.backends.policy else { return Ok(()) };
        claim.pwhash = Some(policy.hash(claim.wanted(), password));
        match self.attempted(claim, peer) {
            Some(login) => self.allowed(&login).await,
            None => Ok(()),
        }
    }

    /// A login as the policy service hears of it.
    fn attempted(&self, claim: &Claim, peer: &Peer) -> Option<Attempted> {
        let policy = self.backends.policy.as_ref()?;
        let login = claim.wanted();
        Some(Attempted {
            login: login.to_owned(),
            pwhash: claim.pwhash.clone().unwrap_or_else(|| policy.hash(login, b"")),
            remote: peer.remote.ip().to_string(),
            protocol: peer.service,
            session: peer.session.clone(),
            tls: peer.secured == Secured::Tls,
        })
    }

    async fn allowed(&self, login: &Attempted) -> Result<(), No> {
        let Some(policy) = &self.backends.policy else { return Ok(()) };
        match policy.allow(login).await {
            Ok(Verdict::Allow) => Ok(()),
            Ok(Verdict::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                Ok(())
            }
            Ok(Verdict::Reject(text)) => {
                Err(No::because(Denied::Policy { text }, "the policy service refuses it"))
            }
            Err(why) => {
                self.no_policy(&why);
                Ok(())
            }
        }
    }

    fn report(&self, login: &Attempted, ended: Ended) {
        if self.backends.policy.as_ref().is_some_and(|policy| !policy.report(login, ended)) {
            self.no_policy("1000 reports wait already, which is the limit: this one is dropped");
        }
    }

    /// It fails open, and the log says so.
    fn no_policy(&self, why: &str) {
        let text = format!("the policy service has no say: {why}");
        self.events.emit(Event::message(Level::Warning, "auth", text));
    }

    /// Runs slow arithmetic on a thread that may block; `None` when that thread died.
    pub(crate) async fn hash<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let permit = self.memory.hashing.clone().acquire_owned().await.ok()?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.ok()
    }

    /// The same secret octets for the same name, as long as the server runs.
    pub(crate) fn seed(&self, name: &str) -> [u8; 32] {
        *blake3::keyed_hash(&self.memory.secret, name.as_bytes()).as_bytes()
    }

    /// Tells guesses apart, in this process alone.
    pub(crate) fn fingerprint(&self, guess: &[u8]) -> u64 {
        let hash = blake3::keyed_hash(&self.memory.secret, guess);
        hash.as_bytes().iter().take(8).fold(0, |all, b| (all << 8) | u64::from(*b))
    }

    pub(crate) fn offers_binding(&self, hash: scram::Hash, peer: &Peer) -> bool {
        self.mechanisms(peer.secured).iter().any(|m| m.binds_channel() && m.scram() == Some(hash))
    }

    pub(crate) fn outage(&self, why: &Outage, peer: &Peer) -> No {
        self.fault("", &why.to_string(), peer)
    }

    pub(crate) fn fault(&self, account: &str, why: &str, peer: &Peer) -> No {
        self.events.emit(Event::Fault {
            account: account.to_owned(),
            what: format!("a login could not be checked: {why}"),
            session: peer.session.clone(),
        });
        No::because(Denied::Temporary, "temporary failure")
    }

    fn tell_weak(&self, account: &str, scheme: String) {
        let mut told = self.memory.weak.lock();
        if told.len() < REMEMBERED && told.insert(account.to_owned()) {
            drop(told);
            self.events.emit(Event::WeakPassword { account: account.to_owned(), scheme });
        }
    }

    /// A place for one more session of an account on this service. Kept as long as the session lasts.
    ///
    /// # Errors
    /// When it has `most` from that network already; the denial names the limit.
    pub fn seat(&self, account: &str, peer: &Peer, most: u32) -> Result<Seat, Denied> {
        match self.memory.seats.take(peer.service, account, peer.remote.ip(), most) {
            Some((seat, taken)) => {
                if taken == Seats::nearly(most) {
                    let account = account.to_owned();
                    self.events.emit(Event::SessionsNearLimit {
                        account,
                        open: taken,
                        limit: most,
                        from: peer.origin(),
                    });
                }
                Ok(seat)
            }
            None => Err(Denied::TooManySessions { most }),
        }
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
        limits: Delay,
    ) -> Denied {
        let attempts = self.count(&peer.session);
        self.report_failure(user, &no, peer);
        // Guesses wait, our own faults and settings do not.
        let guess = matches!(no.denied, Denied::Credentials | Denied::Syntax(_));
        let ip = peer.remote.ip();
        let mut delay = Duration::ZERO;
        if guess {
            let (first, begun) = (self.settings.failure_delay, begun.into_std());
            let name = self.claim(user, b"").ok().map(|claim| claim.login.to_string());
            delay = first;
            if limits.counted {
                delay = self.memory.networks.failed(network(ip), first, begun);
                // A client that is set up wrongly sends the same name for ever: one guess.
                let guess = no
                    .guess
                    .or_else(|| matches!(no.denied, Denied::Syntax(_)).then(|| self.fingerprint(user)));
                let blocks = &self.settings.blocks;
                for block in self.memory.blocks.failed(network(ip), name.as_deref(), guess, blocks, begun) {
                    let Block { network, account, guesses, left } = block;
                    let seconds = left.as_secs();
                    self.events.emit(Event::Blocked {
                        network,
                        account,
                        guesses,
                        seconds,
                        from: peer.origin(),
                    });
                }
            }
            if let Some(name) = name {
                delay = delay.max(self.memory.accounts.failed(name, first, begun));
            }
            if no.no_delay {
                delay = Duration::ZERO;
            }
            delay = delay.min(limits.at_most);
        }
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

    /// Tells the policy service of a login that failed, when it was one that was looked at.
    fn report_failure(&self, user: &[u8], no: &No, peer: &Peer) {
        let why = match &no.denied {
            Denied::Credentials if no.reason == UNKNOWN => "account",
            Denied::Credentials => "credentials",
            Denied::Disabled { .. } | Denied::NotAllowedHere => "disabled",
            Denied::Policy { .. } => "policy",
            _ => return,
        };
        let Ok(mut claim) = self.claim(user, b"") else { return };
        claim.pwhash = no.pwhash.clone();
        if let Some(login) = self.attempted(&claim, peer) {
            self.report(&login, Ended::Failed(why));
        }
    }

    fn count(&self, session: &str) -> u32 {
        let mut attempts = self.memory.attempts.lock();
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
    peer: &'a Peer,
    /// The app password that it was, if it was one.
    device: Mutex<Option<AppPassword>>,
}

#[async_trait]
impl Prove for PasswordProver<'_> {
    async fn prove(
        &self,
        source: &dyn Source,
        login: &Login,
        account: &Arc<Account>,
    ) -> Result<Checked, Outage> {
        if app_password::can_be(self.password) {
            let all = self.auth.backends.directory.app_passwords(&account.name).await?;
            if let Some(one) = app_password::which(&all, self.password) {
                *self.device.lock() = Some(one.clone());
                return Ok(Checked::Right);
            }
        }
        self.auth.is_right(source, login, account, self.password, self.peer).await
    }
}

/// Why, for names that nobody has.
const UNKNOWN: &str = "unknown user";
