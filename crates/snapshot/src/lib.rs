//! What a mailbox is: an immutable, structurally shared, ordered sequence of message records; and what a session
//! that has seen one such value must be told about the next.
//!
//! Pure: no files, sockets, clock or log.

pub mod diff;
pub mod keywords;
pub mod record;
pub mod search;
pub mod snapshot;
pub mod vanished;

pub use diff::{Diff, diff};
pub use keywords::{KeywordBits, KeywordTable};
pub use record::{Flags, Record};
pub use snapshot::{Counts, Edit, MailboxId, Place, Presence, Snapshot};
pub use vanished::Vanished;
