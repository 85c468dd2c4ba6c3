//! The sources of accounts, asked one after the other.
//!
//! Who somebody is and whether they proved it are two questions, and a source may serve either or both: passwords from PAM, say,
//! and homes from a table. A source that serves both answers both at once (what Dovecot calls prefetch). The rules of the
//! chain are in [`crate::chain`].

use crate::chain::{Answer, End, Results, Skip, Walk};
use crate::{Account, AppPassword, Login, Route, Secret, Switch};
use async_trait::async_trait;
use std::net::IpAddr;
use std::sync::Arc;

/// A source could not answer. The account may or may not exist.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{source_name}: {why}")]
pub struct Outage {
    /// Which source.
    pub source_name: String,
    /// The cause, and what an administrator may do. For the log, not for clients.
    pub why: String,
}

impl Outage {
    /// An outage of this source.
    pub fn new(source_name: impl Into<String>, why: impl ToString) -> Self {
        Self { source_name: source_name.into(), why: why.to_string() }
    }
}

/// What a source knows that a login can be proved by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// The account, with its secret.
    pub account: Arc<Account>,
    /// Does it say who the user is as well, or must a source that serves accounts?
    pub whole: bool,
}

/// What a source says of a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is right.
    Right,
    /// It is wrong, or there is no such user.
    Wrong,
    /// It may be right, but the account may not be used.
    Disabled {
        /// Why, as the user may read it; may be empty.
        reason: String,
    },
    /// It was right once and has expired.
    Expired,
}

/// What a mechanism must find stored to prove a password that does not cross the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// SCRAM-SHA-256, or the password in the clear.
    ScramSha256,
    /// SCRAM-SHA-1, or the password in the clear.
    ScramSha1,
    /// The states of CRAM-MD5, or the password in the clear.
    CramMd5,
    /// The password in the clear (APOP).
    Clear,
}

/// Something that knows accounts.
#[async_trait]
pub trait Source: Send + Sync {
    /// Its name in logs.
    fn name(&self) -> &str;

    /// The account which this login means; `None` when the source does not know it.
    ///
    /// # Errors
    /// When the source cannot be asked now.
    async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage>;

    /// What proves the login; `None` when the source does not know it.
    ///
    /// # Errors
    /// When the source cannot be asked now.
    async fn credentials(&self, login: &Login) -> Result<Option<Credentials>, Outage> {
        Ok(self.find(login).await?.map(|account| Credentials { account, whole: true }))
    }

    /// Is the password right? Asked for accounts whose secret is [`Secret::Ask`]. `remote` is the client's address, where
    /// there is one.
    ///
    /// # Errors
    /// When the source cannot be asked now.
    async fn check(&self, login: &Login, password: &[u8], remote: Option<IpAddr>) -> Result<Verdict, Outage> {
        let _ = (login, password, remote);
        Err(Outage::new(self.name(), "it does not check passwords"))
    }

    /// May its verdict on a password be another for another address?
    fn minds_addresses(&self) -> bool {
        false
    }

    /// A password was looked at with what [`Source::credentials`] gave. Says whether that was remembered from earlier and may
    /// have changed since: then it is asked once more.
    fn proved(&self, login: &Login, right: bool) -> bool {
        let _ = (login, right);
        false
    }

    /// Forgets what it remembers of this login, or of all; says of how many.
    fn flush(&self, login: Option<&Login>) -> usize {
        let _ = login;
        0
    }

    /// Does it say of every name that there is such an account? Then whether there is one is for the others to say.
    fn knows_everybody(&self) -> bool {
        false
    }

    /// The names of all its accounts, for verbs that go over everybody. Two domains of one account give one name.
    ///
    /// # Errors
    /// When the source cannot be asked now, or cannot name them all.
    async fn names(&self) -> Result<Vec<String>, Outage> {
        Err(Outage::new(self.name(), "it cannot name its accounts: give them one by one"))
    }

    /// The login in its primary domain, when this source has it from the configuration that the domain is a secondary one.
    /// Other sources' routes count in that domain too.
    fn primary(&self, _login: &Login) -> Option<Login> {
        None
    }

    /// The route of exactly this address, in whichever of its domains it is given. An account needs none: mail for its
    /// name is its own, unless a route says otherwise.
    ///
    /// # Errors
    /// When the source cannot be asked now.
    async fn route(&self, _address: &Login) -> Result<Option<Route>, Outage> {
        Ok(None)
    }

    /// The route of a domain (lower case, primary or secondary) for addresses that nobody has.
    ///
    /// # Errors
    /// When the source cannot be asked now.
    async fn catch_all(&self, _domain: &str) -> Result<Option<Route>, Outage> {
        Ok(None)
    }

    /// Is this (lower case) one of its primary or secondary domains? A source that cannot tell by itself looks through
    /// its accounts.
    ///
    /// # Errors
    /// When the source cannot be asked now.
    async fn has_domain(&self, domain: &str) -> Result<bool, Outage> {
        let names = self.names().await?;
        Ok(names.iter().any(|name| name.rsplit_once('@').is_some_and(|(_, own)| own == domain)))
    }

    /// The app passwords of one of its accounts.
    ///
    /// # Errors
    /// When the source cannot be asked now.
    async fn app_passwords(&self, _account: &str) -> Result<Vec<AppPassword>, Outage> {
        Ok(Vec::new())
    }

    /// Notes when an app password was used, and from where.
    ///
    /// # Errors
    /// When the source cannot be written to now.
    async fn app_password_used(
        &self,
        _account: &str,
        _device: &str,
        _at: i64,
        _address: &str,
    ) -> Result<(), Outage> {
        Ok(())
    }

    /// Stores a password anew, if it is still stored as `old`. `false` when it is not, or passwords here are not ours to
    /// write.
    ///
    /// # Errors
    /// When the source cannot be written to now.
    async fn replace_password(&self, _account: &str, _old: &str, _new: &str) -> Result<bool, Outage> {
        Ok(false)
    }

    /// Is every password stored so that this can be proven, as far as is known? A server names its mechanisms before it
    /// knows who comes, and clients take the strongest: one that is offered must work for all.
    fn serves(&self, _proof: Proof) -> bool {
        false
    }
}

/// What a source is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Serves {
    /// Passwords, and who the users are.
    #[default]
    Both,
    /// Passwords only (Dovecot's passdb).
    Passwords,
    /// Only who the users are (Dovecot's userdb).
    Accounts,
}

/// A source and its place in the chain.
#[derive(Clone)]
pub struct Link {
    /// The source.
    pub source: Arc<dyn Source>,
    /// Its name in the log when the configuration gives it one.
    pub name: Option<String>,
    /// What it is asked for.
    pub serves: Serves,
    /// What follows from its answers.
    pub results: Results,
    /// When it is passed over.
    pub skip: Skip,
    /// Whoever it knows may not log in.
    pub deny: bool,
    /// It has the passwords of master users, who log in as others; nobody else is looked for in it.
    pub master: bool,
    /// It is asked for logins of these domains; empty for all.
    pub domains: Vec<String>,
}

impl Link {
    /// A source that serves both, with the rules that need not be written down.
    pub fn new(source: Arc<dyn Source>) -> Self {
        Self {
            source,
            name: None,
            serves: Serves::Both,
            results: Results::default(),
            skip: Skip::Never,
            deny: false,
            master: false,
            domains: Vec::new(),
        }
    }

    /// An outage under the name that the administrator gave.
    fn named(&self, mut why: Outage) -> Outage {
        if let Some(name) = &self.name {
            why.source_name.clone_from(name);
        }
        why
    }

    /// The accounts of the source, as far as it is asked for them.
    async fn names(&self) -> Result<Vec<String>, Outage> {
        let names = self.source.names().await.map_err(|why| self.named(why))?;
        let ours = |name: &String| {
            self.domains.is_empty() || self.domains.iter().any(|d| name.rsplit('@').next() == Some(d))
        };
        Ok(names.into_iter().filter(ours).collect())
    }

    fn concerns(&self, login: &Login) -> bool {
        self.domains.is_empty() || self.domains.iter().any(|domain| domain == login.domain())
    }
}

/// Looks at a password (or what else was given in its place).
#[async_trait]
pub trait Prove: Send + Sync {
    /// Does it prove that they are this account? `source` gave the account for the login.
    ///
    /// # Errors
    /// When that cannot be known now.
    async fn prove(
        &self,
        source: &dyn Source,
        login: &Login,
        account: &Arc<Account>,
    ) -> Result<Verdict, Outage>;
}

/// What all sources together say of a login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is proved.
    Right(Arc<Account>),
    /// It is not.
    Wrong {
        /// The account, as the first source knows it that does; `None` when the name is unknown.
        account: Option<Arc<Account>>,
    },
    /// They may not log in, whatever the password.
    Disabled {
        /// Why, as the user may read it; may be empty.
        reason: String,
    },
    /// The password has expired.
    Expired,
}

/// All sources.
pub struct Directory {
    links: Vec<Link>,
    delimiters: String,
}

impl Directory {
    /// Sources in the order in which they are asked.
    pub fn new(sources: Vec<Arc<dyn Source>>) -> Self {
        Self::chain(sources.into_iter().map(Link::new).collect())
    }

    /// Sources with their places in the chain.
    pub fn chain(links: Vec<Link>) -> Self {
        Self { links, delimiters: "+".to_owned() }
    }

    /// Each of these characters begins the detail of an address; none for no details. Otherwise it is `+`.
    #[must_use]
    pub fn with_delimiters(mut self, delimiters: impl Into<String>) -> Self {
        self.delimiters = delimiters.into();
        self
    }

    pub(crate) fn delimiters(&self) -> &str {
        &self.delimiters
    }

    /// The sources that say who is who.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Arc<dyn Source>> {
        self.accounts().map(|link| &link.source)
    }

    fn every(&self) -> impl Iterator<Item = &Arc<dyn Source>> {
        self.links.iter().filter(|link| !link.deny && !link.master).map(|link| &link.source)
    }

    /// The app passwords of an account, from all sources.
    ///
    /// # Errors
    /// When a source cannot be asked now.
    pub async fn app_passwords(&self, account: &str) -> Result<Vec<AppPassword>, Outage> {
        let mut all = Vec::new();
        for source in self.every() {
            all.extend(source.app_passwords(account).await?);
        }
        Ok(all)
    }

    /// Notes when an app password was used, and from where.
    ///
    /// # Errors
    /// When a source cannot be written to now.
    pub async fn app_password_used(
        &self,
        account: &str,
        device: &str,
        at: i64,
        address: &str,
    ) -> Result<(), Outage> {
        for source in self.every() {
            source.app_password_used(account, device, at, address).await?;
        }
        Ok(())
    }

    /// Stores a password anew, if a source still has it as `old`.
    ///
    /// # Errors
    /// When a source cannot be written to now.
    pub async fn replace_password(&self, account: &str, old: &str, new: &str) -> Result<bool, Outage> {
        for source in self.every() {
            if source.replace_password(account, old, new).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Can all accounts of all sources prove their passwords so?
    pub fn serves(&self, proof: Proof) -> bool {
        self.passwords(false).filter(|link| !link.deny).all(|link| link.source.serves(proof))
    }

    /// The names of the accounts of all sources, sorted, each once.
    ///
    /// # Errors
    /// When a source cannot name its accounts.
    pub async fn names(&self) -> Result<Vec<String>, Outage> {
        let mut names = Vec::new();
        for link in self.accounts() {
            names.extend(link.names().await?);
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// The sources of accounts, in their order, each with the names of its accounts, or why it does not give them.
    pub async fn listing(&self) -> Vec<(String, Result<Vec<String>, Outage>)> {
        let mut listing = Vec::new();
        for link in self.accounts() {
            let name = link.name.clone().unwrap_or_else(|| link.source.name().to_owned());
            listing.push((name, link.names().await));
        }
        listing
    }

    /// The account that this login means, whoever asks.
    ///
    /// # Errors
    /// When no source knows it and at least one could not be asked.
    pub async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        self.user(login, Existence::Open).await
    }

    /// The account of this login with its password as it is stored, for mechanisms that need that. When no source has a
    /// stored one, the account has another [`Secret`].
    ///
    /// # Errors
    /// When no source has it and at least one could not be asked.
    pub async fn credentials(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        match self.authenticate(login, &Stored).await? {
            Outcome::Right(account) => Ok(Some(account)),
            Outcome::Wrong { account } => Ok(account),
            Outcome::Disabled { .. } | Outcome::Expired => Ok(None),
        }
    }

    /// Does this login prove who they are? The account says then also where the mail lies.
    ///
    /// # Errors
    /// When nobody said yes and at least one source could not be asked.
    pub async fn authenticate(&self, login: &Login, prover: &dyn Prove) -> Result<Outcome, Outage> {
        self.walk(login, prover, false).await
    }

    /// Does a master user prove who they are? Asked are the sources of masters alone; the account is the master's own.
    ///
    /// # Errors
    /// As [`Directory::authenticate`].
    pub async fn authenticate_master(&self, master: &Login, prover: &dyn Prove) -> Result<Outcome, Outage> {
        self.walk(master, prover, true).await
    }

    /// Is there a source of people who may not log in that has this one? For logins that are proved without a password.
    ///
    /// # Errors
    /// When such a source cannot be asked.
    pub async fn denies(&self, login: &Login) -> Result<bool, Outage> {
        for link in self.passwords(false).filter(|link| link.deny && link.concerns(login)) {
            let found = link.source.credentials(login).await;
            if found.map_err(|why| link.named(why))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Are there sources of master users?
    pub fn has_masters(&self) -> bool {
        self.links.iter().any(|link| link.master)
    }

    /// Forgets what sources remember of this login, or of all; says of how many.
    pub fn flush(&self, login: Option<&Login>) -> usize {
        self.links.iter().map(|link| link.source.flush(login)).sum()
    }

    fn passwords(&self, master: bool) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(move |link| link.serves != Serves::Accounts && link.master == master)
    }

    pub(crate) fn accounts(&self) -> impl Iterator<Item = &Link> {
        self.links.iter().filter(|link| link.serves != Serves::Passwords && !link.deny && !link.master)
    }

    async fn walk(&self, login: &Login, prover: &dyn Prove, master: bool) -> Result<Outcome, Outage> {
        let mut walk = Walk::default();
        let mut outage = None;
        let mut login = login.clone();
        let (mut known, mut proved): (Option<Arc<Account>>, Option<Credentials>) = (None, None);
        for link in self.passwords(master) {
            if !link.concerns(&login) || walk.skips(link.skip) {
                continue;
            }
            let found = link.source.credentials(&login).await;
            if link.deny {
                match found.map_err(|why| link.named(why))? {
                    None => continue,
                    Some(found) => {
                        let reason = found.account.login.off().unwrap_or_default().to_owned();
                        return Ok(Outcome::Disabled { reason });
                    }
                }
            }
            let answer = match found {
                Ok(None) => Answer::No,
                Ok(Some(mut found)) => {
                    known.get_or_insert_with(|| found.account.clone());
                    found.whole &= link.serves == Serves::Both;
                    match prove(link, &login, found, prover, walk.is_proved()).await {
                        Ok((Verdict::Right, found)) => {
                            if let Ok(name) = Login::parse(found.account.name.as_bytes()) {
                                login = name;
                            }
                            proved = Some(match proved {
                                Some(earlier) => found.after(&earlier),
                                None => found,
                            });
                            Answer::Yes
                        }
                        Ok((Verdict::Wrong, _)) => Answer::No,
                        // As in Dovecot, no rule of the chain is tried on these.
                        Ok((Verdict::Disabled { reason }, _)) => return Ok(Outcome::Disabled { reason }),
                        Ok((Verdict::Expired, _)) => return Ok(Outcome::Expired),
                        Err(why) => {
                            outage = outage.or_else(|| Some(link.named(why)));
                            Answer::Outage
                        }
                    }
                }
                Err(why) => {
                    outage = outage.or_else(|| Some(link.named(why)));
                    Answer::Outage
                }
            };
            if !walk.take(answer, &link.results) {
                break;
            }
        }
        match (walk.end(), outage) {
            (End::No, _) => Ok(Outcome::Wrong { account: known }),
            (End::Outage, Some(why)) => Err(why),
            (End::Outage, None) => Err(Outage::new("directory", "a source could not be asked")),
            (End::Yes, _) if master => {
                Ok(proved.map_or(Outcome::Wrong { account: known }, |found| Outcome::Right(found.account)))
            }
            (End::Yes, _) => match proved {
                Some(Credentials { account, whole: true }) => Ok(Outcome::Right(account)),
                proved => self.complete(&login, proved).await,
            },
        }
    }

    /// The password is right; who are they?
    async fn complete(&self, login: &Login, proved: Option<Credentials>) -> Result<Outcome, Outage> {
        let Some(user) = self.user(login, Existence::Proved).await? else {
            let why = format!(
                "{login} proved who they are, but no source that serves accounts knows them: add a [[directory]] for accounts, or \
                 take `serves` out"
            );
            return Err(Outage::new("directory", why));
        };
        Ok(Outcome::Right(match proved {
            None => user,
            Some(found) => {
                let mut account = Account::clone(&user);
                account.secret = found.account.secret.clone();
                account.login = merged(&account.login, &found.account.login);
                if !found.account.allowed_networks.is_empty() {
                    account.allowed_networks.clone_from(&found.account.allowed_networks);
                }
                account.extra.extend(found.account.extra.clone());
                Arc::new(account)
            }
        }))
    }

    /// The walk along the sources that say who users are.
    async fn user(&self, login: &Login, existence: Existence) -> Result<Option<Arc<Account>>, Outage> {
        let mut walk = Walk::default();
        let (mut outage, mut user) = (None, None);
        for link in self.accounts() {
            if !link.concerns(login) {
                continue;
            }
            let everybody = link.source.knows_everybody() && existence == Existence::Open;
            let found = if everybody && !self.exists(login).await? {
                Ok(None)
            } else {
                link.source.find(login).await
            };
            let answer = match found {
                Ok(Some(account)) => {
                    user = Some(account);
                    Answer::Yes
                }
                Ok(None) => Answer::No,
                Err(why) => {
                    outage = outage.or_else(|| Some(link.named(why)));
                    Answer::Outage
                }
            };
            if !walk.take(answer, &link.results) {
                break;
            }
        }
        match (walk.end(), outage) {
            (End::Yes, _) => Ok(user),
            (End::Outage, Some(why)) => Err(why),
            (End::No | End::Outage, _) => Ok(None),
        }
    }

    /// Is the name known to a source of passwords that does not know everybody?
    async fn exists(&self, login: &Login) -> Result<bool, Outage> {
        let mut outage = None;
        for link in self.passwords(false) {
            if link.deny || !link.concerns(login) || link.source.knows_everybody() {
                continue;
            }
            match link.source.credentials(login).await {
                Ok(Some(_)) => return Ok(true),
                Ok(None) => {}
                Err(why) => outage = outage.or_else(|| Some(link.named(why))),
            }
        }
        outage.map_or(Ok(false), Err)
    }
}

/// Must it be seen whether the user exists?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existence {
    /// Yes.
    Open,
    /// They proved it.
    Proved,
}

/// Looks at the password, and once more when what was known of it was old.
async fn prove(
    link: &Link,
    login: &Login,
    found: Credentials,
    prover: &dyn Prove,
    is_proved: bool,
) -> Result<(Verdict, Credentials), Outage> {
    if is_proved {
        return Ok((Verdict::Right, found));
    }
    let source = &*link.source;
    let verdict = prover.prove(source, login, &found.account).await?;
    let again = source.proved(login, verdict == Verdict::Right);
    if verdict != Verdict::Wrong || !again {
        return Ok((verdict, found));
    }
    let Some(found) = source.credentials(login).await? else { return Ok((Verdict::Wrong, found)) };
    let verdict = prover.prove(source, login, &found.account).await?;
    source.proved(login, verdict == Verdict::Right);
    Ok((verdict, found))
}

/// An account that one source has switched off stays off.
fn merged(one: &Switch, other: &Switch) -> Switch {
    if matches!(one, Switch::On) { other.clone() } else { one.clone() }
}

impl Credentials {
    /// What a later source said, with what an earlier one said beside it.
    fn after(self, earlier: &Self) -> Self {
        let mut account = if self.whole || !earlier.whole {
            Account::clone(&self.account)
        } else {
            Account { secret: self.account.secret.clone(), ..Account::clone(&earlier.account) }
        };
        account.login = merged(&self.account.login, &earlier.account.login);
        if account.allowed_networks.is_empty() {
            account.allowed_networks.clone_from(&earlier.account.allowed_networks);
        }
        for (key, value) in &earlier.account.extra {
            account.extra.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Self { account: Arc::new(account), whole: self.whole || earlier.whole }
    }
}

/// Proves nothing: takes the first password that is stored.
struct Stored;

#[async_trait]
impl Prove for Stored {
    async fn prove(&self, _: &dyn Source, _: &Login, account: &Arc<Account>) -> Result<Verdict, Outage> {
        Ok(match account.secret {
            Secret::Stored(_) => Verdict::Right,
            Secret::AnyPassword | Secret::Ask | Secret::None => Verdict::Wrong,
        })
    }
}
