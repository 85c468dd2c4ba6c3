//! What delivery asks of quotas.

use async_trait::async_trait;
use culver_base::MailboxName;
use culver_directory::Account;

/// May a message be stored?
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Yes.
    Fits,
    /// There is no room for it, for now.
    Over {
        /// Why, for the sender.
        text: String,
    },
    /// No mailbox of the account could ever take it.
    TooBig {
        /// The limit in octets.
        limit: u64,
    },
    /// The account takes nothing any more.
    Disabled {
        /// Why, for the sender.
        reason: String,
    },
}

/// The keeper of quotas.
#[async_trait]
pub trait Quota: Send + Sync + 'static {
    /// May a message of so many octets be stored in this mailbox?
    ///
    /// # Errors
    /// When usage or limits cannot be read.
    async fn admit(
        &self,
        account: &Account,
        mailbox: &MailboxName,
        octets: u64,
    ) -> culver_store::Result<Verdict>;

    /// Something was stored.
    async fn stored(&self, account: &Account);
}

/// Everything fits.
#[derive(Clone, Copy, Debug)]
pub struct NoQuota;

#[async_trait]
impl Quota for NoQuota {
    async fn admit(&self, _: &Account, _: &MailboxName, _: u64) -> culver_store::Result<Verdict> {
        Ok(Verdict::Fits)
    }
    async fn stored(&self, _: &Account) {}
}
