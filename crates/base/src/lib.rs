//! The words that every room of the house shares.
//!
//! A type lives here when two crates need it that may not know each other; everything else lives where it is
//! used. Nothing in this crate touches a file, a socket, a clock or a log.

pub mod cursor;
pub mod date;
pub mod flag;
pub mod mailbox_name;
pub mod mutf7;
pub mod network;
pub mod num;
pub mod search;
pub mod set;
pub mod special_use;
pub mod uidl;

pub use cursor::{Cursor, Malformed};
pub use date::InternalDate;
pub use flag::{Flag, Keyword, SystemFlags};
pub use mailbox_name::MailboxName;
pub use network::Network;
pub use num::{ModSeq, SeqNo, Uid, UidValidity};
pub use search::SearchKey;
pub use set::{Bound, SequenceSet, UidSet};
pub use special_use::SpecialUse;
pub use uidl::UidlFormat;
