//! One message as every session sees it.

use crate::KeywordBits;
use culver_base::{InternalDate, ModSeq, SystemFlags, Uid};

/// System flags and keywords together.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flags {
    /// System flags.
    pub system: SystemFlags,
    /// Keywords, as bits of the mailbox's [`crate::KeywordTable`].
    pub keywords: KeywordBits,
}

/// What is known of a message without opening it. Where its bytes lie is the engine's secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its UID.
    pub uid: Uid,
    /// Flags and keywords.
    pub flags: Flags,
    /// The mod-sequence of its last change.
    pub mod_seq: ModSeq,
    /// INTERNALDATE.
    pub internal_date: InternalDate,
    /// RFC822.SIZE, in octets with CRLF line ends. `None` until somebody has counted.
    pub size: Option<u64>,
    /// When it came into this mailbox (RFC 8514), seconds since 1970.
    pub save_date: i64,
}
