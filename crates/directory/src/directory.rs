//! The sources of accounts, asked in order.

use crate::{Account, AppPassword, Login, Route};
use async_trait::async_trait;
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

    /// The names of all its accounts, for verbs that go over everybody. Two domains of one account give one name.
    ///
    /// # Errors
    /// When the source cannot be asked now, or cannot name them all.
    async fn names(&self) -> Result<Vec<String>, Outage> {
        Err(Outage::new(self.name(), "it cannot name its accounts: give them one by one"))
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

/// All sources.
pub struct Directory {
    sources: Vec<Arc<dyn Source>>,
    delimiters: String,
}

impl Directory {
    /// Sources in the order in which they are asked.
    pub fn new(sources: Vec<Arc<dyn Source>>) -> Self {
        Self { sources, delimiters: "+".to_owned() }
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

    pub(crate) fn sources(&self) -> &[Arc<dyn Source>] {
        &self.sources
    }

    /// The app passwords of an account, from all sources.
    ///
    /// # Errors
    /// When a source cannot be asked now.
    pub async fn app_passwords(&self, account: &str) -> Result<Vec<AppPassword>, Outage> {
        let mut all = Vec::new();
        for source in &self.sources {
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
        for source in &self.sources {
            source.app_password_used(account, device, at, address).await?;
        }
        Ok(())
    }

    /// Stores a password anew, if a source still has it as `old`.
    ///
    /// # Errors
    /// When a source cannot be written to now.
    pub async fn replace_password(&self, account: &str, old: &str, new: &str) -> Result<bool, Outage> {
        for source in &self.sources {
            if source.replace_password(account, old, new).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Can all accounts of all sources prove their passwords so?
    pub fn serves(&self, proof: Proof) -> bool {
        self.sources.iter().all(|source| source.serves(proof))
    }

    /// The names of the accounts of all sources, sorted, each once.
    ///
    /// # Errors
    /// When a source cannot name its accounts.
    pub async fn names(&self) -> Result<Vec<String>, Outage> {
        let mut names = Vec::new();
        for source in &self.sources {
            names.extend(source.names().await?);
        }
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// The account of the first source that knows the login.
    ///
    /// # Errors
    /// When no source knows it and at least one could not be asked.
    pub async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        let mut outage = None;
        for source in &self.sources {
            match source.find(login).await {
                Ok(Some(account)) => return Ok(Some(account)),
                Ok(None) => {}
                Err(why) => outage = outage.or(Some(why)),
            }
        }
        outage.map_or(Ok(None), Err)
    }
}
