//! One user's mail: its mailboxes and what can be done to them by name.

use crate::{AccountUsage, Claim, Look, Mailbox, Result, Spool};
use async_trait::async_trait;
use culver_base::{MailboxName, SpecialUse};
use culver_snapshot::MailboxId;
use std::path::PathBuf;
use std::sync::Arc;

/// Whose files they are: what the kernel checks when a job opens them. `None` on systems with one uid for all mail.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Owner {
    /// User id for fsuid.
    pub uid: u32,
    /// Group id for fsgid.
    pub gid: u32,
}

/// How folders lie in the mail root (features known as `LAYOUT` in Dovecot).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Layout {
    /// maildir++: `.Work.2024` in the root.
    #[default]
    MaildirPlusPlus,
    /// `Work/2024` as directories.
    Fs,
}

/// Where an account's mail is and whose it is: what the directory knows and an engine needs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    /// Canonical name, `user@domain`.
    pub account: String,
    /// Identity for its files.
    pub owner: Option<Owner>,
    /// The mail root, which is INBOX in the maildir++ layout.
    pub root: PathBuf,
    /// Where `dovecot-uidlist`, `dovecot-keywords`, `subscriptions` lie, if not beside the mail.
    pub control: Option<PathBuf>,
    /// Where Dovecot's own indexes lie, if not beside the mail. They are only read.
    pub index: Option<PathBuf>,
    /// Folder layout.
    pub layout: Layout,
}

/// Storage for accounts. One in-memory owner for each account in use: two calls with the same place give the same
/// account.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Opens an account; makes its INBOX if there is none yet.
    async fn account(&self, place: &Place) -> Result<Arc<dyn Account>>;

    /// Closes everything: pending flag writes, journals. After it no verb may be called.
    async fn close(&self);
}

/// A line of LIST.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListedMailbox {
    /// Full name.
    pub name: MailboxName,
    /// Can it be selected? `false` for a level that only has children (`\NonExistent` or `\NoSelect`).
    pub selectable: bool,
    /// Has it children?
    pub has_children: bool,
    /// Special uses.
    pub special_use: Vec<SpecialUse>,
    /// Is it subscribed?
    pub subscribed: bool,
}

/// One user's mail.
#[async_trait]
pub trait Account: Send + Sync + 'static {
    /// Canonical name.
    fn name(&self) -> &str;

    /// All mailboxes that exist and the levels above them, INBOX first, the rest sorted by name.
    async fn list(&self) -> Result<Arc<Vec<ListedMailbox>>>;

    /// Subscribed names, sorted, whether or not such mailboxes exist (RFC 9051 §6.3.9.4).
    async fn subscriptions(&self) -> Result<Arc<Vec<MailboxName>>>;

    /// SUBSCRIBE, UNSUBSCRIBE: any name that could be created may be subscribed.
    async fn set_subscribed(&self, name: &MailboxName, subscribed: Subscribed) -> Result<()>;

    /// Opens a mailbox and looks for changes from outside. Two calls for one mailbox give the same object.
    async fn open(&self, name: &MailboxName) -> Result<Arc<dyn Mailbox>>;

    /// Opens a mailbox to put messages into: it is not looked through for what other programs changed.
    async fn open_target(&self, name: &MailboxName) -> Result<Arc<dyn Mailbox>>;

    /// CREATE: makes the mailbox and the levels above it.
    async fn create(&self, name: &MailboxName, special_use: &[SpecialUse]) -> Result<MailboxId>;

    /// DELETE: removes the mailbox and its messages, not its children (RFC 9051 §6.3.5).
    async fn delete(&self, name: &MailboxName) -> Result<()>;

    /// RENAME, with all children. Renaming INBOX moves its messages into a new mailbox and leaves it empty (RFC
    /// 9051 §6.3.6).
    async fn rename(&self, from: &MailboxName, to: &MailboxName) -> Result<()>;

    /// What it keeps.
    async fn usage(&self, look: Look) -> Result<AccountUsage>;

    /// The limits, for files in which other programs look for them (`maildirsize`). `None` for no limit.
    fn announce_limits(&self, storage: Option<u64>, messages: Option<u64>);

    /// A place for the bytes of a message on its way in, on the file system where `mailbox` keeps its messages,
    /// so that storing it is a rename. Nothing can be seen of it until it is appended.
    async fn spool(&self, mailbox: &MailboxName) -> Result<Box<dyn Spool>>;

    /// The right to be the only POP3 session of the account, against other servers on the same mail as well.
    /// [`Refusal::InUse`](crate::Refusal::InUse) when another session has it for longer than a client waits.
    async fn claim(&self) -> Result<Box<dyn Claim>>;
}

/// Subscribed or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subscribed {
    /// It is.
    Yes,
    /// It is not.
    No,
}
