//! How a verb fails: whose fault, and is it for ever?

use std::sync::Arc;
use thiserror::Error;

/// The result of a verb.
pub type Result<T> = std::result::Result<T, Failure>;

/// Why a verb did not do what was asked.
#[derive(Clone, Debug, Error)]
pub enum Failure {
    /// We understood and say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Something of ours, or the disk, broke.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A refusal, named after the response codes of RFC 5530 and RFC 9051 §7.1. Each protocol translates it in one
/// place by an exhaustive match. The text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// NONEXISTENT: no such mailbox.
    #[error("There is no mailbox of that name")]
    NonExistent,
    /// TRYCREATE: the target of APPEND, COPY or MOVE does not exist but could be created.
    #[error("There is no mailbox of that name; create it first")]
    TryCreate,
    /// ALREADYEXISTS
    #[error("A mailbox of that name exists already")]
    AlreadyExists,
    /// CANNOT: impossible for good, with the reason.
    #[error("{0}")]
    Cannot(String),
    /// NOPERM: the file system or an ACL forbids it.
    #[error("{0}")]
    NoPermission(String),
    /// OVERQUOTA, also for a full disk and used-up inodes: nothing can be stored, all else works.
    #[error("{0}")]
    OverQuota(String),
    /// LIMIT: a bound of the server; the text states it.
    #[error("{0}")]
    Limit(String),
    /// TOOBIG: a message above the limit, in octets.
    #[error("The message is larger than {limit} octets, the most that is stored here")]
    TooBig {
        /// The bound.
        limit: u64,
    },
    /// INUSE: a lock could not be had in time. Temporary.
    #[error("{0}")]
    InUse(String),
    /// EXPUNGEISSUED: some of the messages named are gone.
    #[error("Some of the messages are gone")]
    ExpungeIssued,
    /// The mailbox was deleted, or its UIDVALIDITY changed, while selected.
    #[error("The mailbox has been deleted")]
    MailboxGone,
    /// HASCHILDREN: a mailbox without messages of its own cannot be deleted while it has children.
    #[error("The mailbox has children; delete them first")]
    HasChildren,
}

/// What broke: what we were doing, for which account and mailbox, and the cause. Logged once, at the edge that
/// answers; the client gets an id to quote.
#[derive(Clone, Debug, Error)]
#[error("{doing} ({place}): {cause}")]
pub struct Fault {
    /// `"writing dovecot-uidlist"`
    pub doing: &'static str,
    /// Account and mailbox, for the log.
    pub place: String,
    /// What the system said.
    pub cause: Arc<std::io::Error>,
}

impl Fault {
    /// From an error of the system.
    pub fn new(doing: &'static str, place: impl Into<String>, cause: std::io::Error) -> Self {
        Self { doing, place: place.into(), cause: Arc::new(cause) }
    }
}

/// What an error of the file system means to the one who asked: full disks, used-up inodes and quotas are refusals
/// ([`Refusal::OverQuota`]), missing rights are [`Refusal::NoPermission`], a read-only file system is
/// [`Refusal::NoPermission`] as well; the rest is a [`Fault`].
pub fn from_io(doing: &'static str, place: &str, cause: std::io::Error) -> Failure {
    use std::io::ErrorKind as K;
    match cause.kind() {
        K::StorageFull => Refusal::OverQuota("The disk is full: nothing can be stored until space is freed; reading and deleting work".into()).into(),
        K::QuotaExceeded => Refusal::OverQuota("The quota is used up: nothing can be stored until something is deleted; reading and deleting work".into()).into(),
        K::PermissionDenied => Refusal::NoPermission("The server may not write there: its files' owner or mode forbids it".into()).into(),
        K::ReadOnlyFilesystem => Refusal::NoPermission("The mail lies on a read-only file system for now".into()).into(),
        _ => Fault::new(doing, place, cause).into(),
    }
}
