//! What a source that is far away said a moment ago.
//!
//! Kept are accounts and credentials, and that there is no such account. A password that is looked at and wrong, when it was
//! right the last time, is asked for again: so a changed password counts at once (Dovecot's rule). Verdicts of sources that keep
//! their passwords to themselves are kept by a keyed hash of the password, and only the right ones.
//!
//! While the source cannot be asked, accounts that it knew are still used to deliver mail and to let in whoever proved the
//! password, for a limited time. Whether a password is right is never answered from there.

use crate::{Account, AppPassword, Credentials, Login, Outage, Proof, Route, Source, Verdict};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How much is kept, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CacheSettings {
    /// Answers of each kind.
    pub entries: usize,
    /// An account counts so long.
    pub ttl: Duration,
    /// That there is none counts so long.
    pub negative_ttl: Duration,
    /// While the source cannot be asked, an account counts so long.
    pub stale: Duration,
}

/// A source with a memory.
pub struct Cached {
    source: Arc<dyn Source>,
    settings: CacheSettings,
    users: Mutex<Table<Arc<Account>>>,
    credentials: Mutex<Table<Credentials>>,
    rights: Mutex<HashMap<[u8; 32], Instant>>,
    domains: Mutex<HashMap<String, (Instant, bool)>>,
    key: [u8; 32],
}

type Table<T> = HashMap<String, Entry<T>>;

struct Entry<T> {
    answer: Option<T>,
    at: Instant,
    /// Was it given out before?
    used: bool,
    /// Was the password right when it was last looked at?
    right: bool,
}

impl Cached {
    /// Over a source.
    pub fn new(source: Arc<dyn Source>, settings: CacheSettings) -> Self {
        let mut key = [0; 32];
        if getrandom::fill(&mut key).is_err() {
            // Without randomness nothing else works either; no address is known outside.
            key = *blake3::hash(format!("{:p} {:?}", &key, Instant::now()).as_bytes()).as_bytes();
        }
        let (users, credentials, rights) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { source, settings, users, credentials, rights, domains: Mutex::default(), key }
    }

    /// What is known and still counts.
    fn known<T: Clone>(&self, table: &Mutex<Table<T>>, login: &Login) -> Option<Option<T>> {
        let mut table = table.lock();
        let entry = table.get_mut(login.as_str())?;
        let ttl = if entry.answer.is_some() { self.settings.ttl } else { self.settings.negative_ttl };
        (entry.at.elapsed() < ttl).then(|| {
            entry.used = true;
            entry.answer.clone()
        })
    }

    fn keep<T>(&self, table: &Mutex<Table<T>>, login: &Login, answer: Option<T>) {
        let mut table = table.lock();
        if table.len() >= self.settings.entries && !table.contains_key(login.as_str()) {
            let oldest = self.settings.ttl.max(self.settings.stale);
            table.retain(|_, entry| entry.at.elapsed() < oldest && entry.answer.is_some());
            if table.len() >= self.settings.entries {
                table.clear();
            }
        }
        let entry = Entry { answer, at: Instant::now(), used: false, right: true };
        table.insert(login.as_str().to_owned(), entry);
    }

    fn token(&self, login: &Login, password: &[u8], remote: Option<IpAddr>) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(login.as_str().len() as u64).to_le_bytes());
        hasher.update(login.as_str().as_bytes());
        let remote = remote.map(|ip| ip.to_string()).unwrap_or_default();
        hasher.update(&(remote.len() as u64).to_le_bytes());
        hasher.update(remote.as_bytes());
        hasher.update(password);
        *hasher.finalize().as_bytes()
    }
}

#[async_trait]
impl Source for Cached {
    fn name(&self) -> &str {
        self.source.name()
    }

    async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        if let Some(known) = self.known(&self.users, login) {
            return Ok(known);
        }
        match self.source.find(login).await {
            Ok(answer) => {
                self.keep(&self.users, login, answer.clone());
                Ok(answer)
            }
            Err(why) => {
                let table = self.users.lock();
                let old = table.get(login.as_str()).filter(|entry| entry.at.elapsed() < self.settings.stale);
                let Some(account) = old.and_then(|entry| entry.answer.clone()) else { return Err(why) };
                tracing::warn!("{why}. Meanwhile {login} is taken for what was known of it before");
                Ok(Some(account))
            }
        }
    }

    async fn credentials(&self, login: &Login) -> Result<Option<Credentials>, Outage> {
        if let Some(known) = self.known(&self.credentials, login) {
            return Ok(known);
        }
        let answer = self.source.credentials(login).await?;
        self.keep(&self.credentials, login, answer.clone());
        Ok(answer)
    }

    async fn check(&self, login: &Login, password: &[u8], remote: Option<IpAddr>) -> Result<Verdict, Outage> {
        let token = self.token(login, password, remote.filter(|_| self.source.minds_addresses()));
        if self.rights.lock().get(&token).is_some_and(|at| at.elapsed() < self.settings.ttl) {
            return Ok(Verdict::Right);
        }
        let verdict = self.source.check(login, password, remote).await?;
        let mut rights = self.rights.lock();
        if verdict == Verdict::Right {
            if rights.len() >= self.settings.entries {
                rights.retain(|_, at| at.elapsed() < self.settings.ttl);
                if rights.len() >= self.settings.entries {
                    rights.clear();
                }
            }
            rights.insert(token, Instant::now());
        } else {
            rights.remove(&token);
        }
        Ok(verdict)
    }

    fn minds_addresses(&self) -> bool {
        self.source.minds_addresses()
    }

    fn proved(&self, login: &Login, right: bool) -> bool {
        let mut table = self.credentials.lock();
        let Some(entry) = table.get_mut(login.as_str()) else { return false };
        let again = !right && entry.used && entry.right;
        entry.right = right;
        if again {
            table.remove(login.as_str());
        }
        again
    }

    fn flush(&self, login: Option<&Login>) -> usize {
        let mut forgotten = self.source.flush(login);
        match login {
            None => {
                forgotten += self.users.lock().drain().count();
                forgotten += self.credentials.lock().drain().count();
                self.domains.lock().clear();
            }
            Some(login) => {
                forgotten += usize::from(self.users.lock().remove(login.as_str()).is_some());
                forgotten += usize::from(self.credentials.lock().remove(login.as_str()).is_some());
            }
        }
        // Whose they are is not known.
        self.rights.lock().clear();
        forgotten
    }

    fn knows_everybody(&self) -> bool {
        self.source.knows_everybody()
    }

    async fn names(&self) -> Result<Vec<String>, Outage> {
        self.source.names().await
    }

    fn primary(&self, login: &Login) -> Option<Login> {
        self.source.primary(login)
    }

    async fn route(&self, address: &Login) -> Result<Option<Route>, Outage> {
        self.source.route(address).await
    }

    async fn catch_all(&self, domain: &str) -> Result<Option<Route>, Outage> {
        self.source.catch_all(domain).await
    }

    async fn has_domain(&self, domain: &str) -> Result<bool, Outage> {
        let key = domain.to_owned();
        if let Some((at, known)) = self.domains.lock().get(&key)
            && at.elapsed() < if *known { self.settings.ttl } else { self.settings.negative_ttl }
        {
            return Ok(*known);
        }
        let known = self.source.has_domain(domain).await?;
        let mut domains = self.domains.lock();
        if domains.len() >= self.settings.entries {
            domains.clear();
        }
        domains.insert(key, (Instant::now(), known));
        Ok(known)
    }

    async fn app_passwords(&self, account: &str) -> Result<Vec<AppPassword>, Outage> {
        self.source.app_passwords(account).await
    }

    async fn app_password_used(
        &self,
        account: &str,
        device: &str,
        at: i64,
        address: &str,
    ) -> Result<(), Outage> {
        self.source.app_password_used(account, device, at, address).await
    }

    async fn replace_password(&self, account: &str, old: &str, new: &str) -> Result<bool, Outage> {
        self.source.replace_password(account, old, new).await
    }

    fn serves(&self, proof: Proof) -> bool {
        self.source.serves(proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Directory, Layout, MailLocation, Outcome, Prove, Secret};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    /// What it says can be changed; it counts the questions.
    #[derive(Default)]
    struct Far {
        password: Mutex<Option<String>>,
        down: Mutex<bool>,
        /// Is only [`HOME`] let in?
        minds: Mutex<bool>,
        asked: AtomicUsize,
    }

    impl Far {
        fn asked(&self) -> usize {
            self.asked.swap(0, SeqCst)
        }
    }

    #[async_trait]
    impl Source for Far {
        fn name(&self) -> &str {
            "far"
        }

        async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
            self.asked.fetch_add(1, SeqCst);
            if *self.down.lock() {
                return Err(Outage::new("far", "nobody answers"));
            }
            let mail = MailLocation { root: "/m".into(), control: None, index: None, layout: Layout::Fs };
            Ok(self.password.lock().as_ref().map(|text| {
                let secret = Secret::Stored(text.clone());
                Arc::new(Account { secret, ..Account::new(login.as_str(), mail) })
            }))
        }

        async fn check(&self, _: &Login, password: &[u8], remote: Option<IpAddr>) -> Result<Verdict, Outage> {
            self.asked.fetch_add(1, SeqCst);
            let right = self.password.lock().as_deref().map(str::as_bytes) == Some(password);
            let here = !*self.minds.lock() || remote == HOME;
            Ok(if right && here { Verdict::Right } else { Verdict::Wrong })
        }

        fn minds_addresses(&self) -> bool {
            *self.minds.lock()
        }
    }

    const HOME: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
    const ELSEWHERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)));

    struct Clear(&'static str);

    #[async_trait]
    impl Prove for Clear {
        async fn prove(&self, _: &dyn Source, _: &Login, account: &Arc<Account>) -> Result<Verdict, Outage> {
            let right = account.secret == Secret::Stored(self.0.to_owned());
            Ok(if right { Verdict::Right } else { Verdict::Wrong })
        }
    }

    const SETTINGS: CacheSettings = CacheSettings {
        entries: 3,
        ttl: Duration::from_secs(60),
        negative_ttl: Duration::from_secs(10),
        stale: Duration::from_secs(600),
    };

    fn set_up() -> (Arc<Far>, Arc<Cached>, Login) {
        let far = Arc::new(Far::default());
        let cached = Arc::new(Cached::new(far.clone(), SETTINGS));
        (far, cached, Login::parse(b"anna@example.org").unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn answers_count_for_their_time() {
        let (far, cached, anna) = set_up();
        assert!(cached.find(&anna).await.unwrap().is_none());
        assert!(cached.find(&anna).await.unwrap().is_none());
        assert_eq!(far.asked(), 1);
        *far.password.lock() = Some("x".to_owned());
        tokio::time::advance(SETTINGS.negative_ttl).await;
        assert!(cached.find(&anna).await.unwrap().is_some());
        tokio::time::advance(SETTINGS.ttl - Duration::from_secs(1)).await;
        assert!(cached.find(&anna).await.unwrap().is_some());
        assert_eq!(far.asked(), 1);
        assert_eq!(cached.flush(Some(&anna)), 1);
        assert!(cached.find(&anna).await.unwrap().is_some());
        assert_eq!(far.asked(), 1);
        // However many names are tried, the table stays small.
        for n in 0..50 {
            let other = Login::parse(format!("u{n}@example.org").as_bytes()).unwrap();
            cached.find(&other).await.unwrap();
        }
        assert!(cached.users.lock().len() <= SETTINGS.entries);
        assert!(cached.flush(None) > 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_password_counts_at_once_and_wrong_ones_are_not_asked_for_again() {
        let (far, cached, anna) = set_up();
        let directory = Directory::new(vec![cached]);
        let right = async |password| {
            let outcome = directory.authenticate(&anna, &Clear(password)).await.unwrap();
            matches!(outcome, Outcome::Right(_))
        };
        *far.password.lock() = Some("old".to_owned());
        assert!(right("old").await && right("old").await);
        assert_eq!(far.asked(), 1);
        *far.password.lock() = Some("new".to_owned());
        assert!(right("new").await);
        assert_eq!(far.asked(), 1);
        assert!(!right("bad").await);
        assert_eq!(far.asked(), 1, "it was right before, so it may have changed");
        assert!(!right("bad").await && !right("worse").await);
        assert_eq!(far.asked(), 0, "it was wrong before");
        assert!(right("new").await);
    }

    #[tokio::test(start_paused = true)]
    async fn while_nobody_answers_known_accounts_are_used_and_passwords_are_not() {
        let (far, cached, anna) = set_up();
        *far.password.lock() = Some("x".to_owned());
        assert!(cached.find(&anna).await.unwrap().is_some());
        assert!(cached.credentials(&anna).await.unwrap().is_some());
        *far.down.lock() = true;
        tokio::time::advance(SETTINGS.ttl).await;
        assert!(cached.find(&anna).await.unwrap().is_some());
        assert!(cached.credentials(&anna).await.is_err());
        tokio::time::advance(SETTINGS.stale).await;
        assert!(cached.find(&anna).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn only_right_verdicts_are_kept() {
        let (far, cached, anna) = set_up();
        *far.password.lock() = Some("x".to_owned());
        for _ in 0..3 {
            assert_eq!(cached.check(&anna, b"x", HOME).await.unwrap(), Verdict::Right);
        }
        assert_eq!(far.asked(), 1);
        for _ in 0..3 {
            assert_eq!(cached.check(&anna, b"y", HOME).await.unwrap(), Verdict::Wrong);
        }
        assert_eq!(far.asked(), 3);
        tokio::time::advance(SETTINGS.ttl).await;
        assert_eq!(cached.check(&anna, b"x", HOME).await.unwrap(), Verdict::Right);
        assert_eq!(far.asked(), 1);
        // From elsewhere too, unless the source has a say in that.
        assert_eq!(cached.check(&anna, b"x", ELSEWHERE).await.unwrap(), Verdict::Right);
        assert_eq!(far.asked(), 0);
        *far.minds.lock() = true;
        for (from, verdict) in [(HOME, Verdict::Right), (ELSEWHERE, Verdict::Wrong), (HOME, Verdict::Right)] {
            assert_eq!(cached.check(&anna, b"x", from).await.unwrap(), verdict, "{from:?}");
        }
        assert_eq!(far.asked(), 2);
    }
}
