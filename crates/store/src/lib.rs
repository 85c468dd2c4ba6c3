//! The seam between sessions and storage.
//!
//! Above it nobody sees a path, a uid or a file name; below it nobody knows a protocol. Reading is data: a
//! [`Snapshot`](culver_snapshot::Snapshot) is had for nothing and sequence numbers, flags, searches by metadata
//! and counts come from it. The verbs are whole intentions with sets, so that what is atomic is the engine's own
//! affair.
//!
//! * [`Store`] gives [`Account`]s, an account its [`Mailbox`]es.
//! * [`io`] is the only door to the file system for files that belong to users.
//! * [`Refusal`] and [`Fault`] are the two ways in which a verb fails: we understood and say no; or something of
//!   ours broke.

pub mod account;
pub mod columns;
pub mod error;
pub mod io;
pub mod mailbox;
pub mod maildrop;
pub mod message;
pub mod usage;

pub use account::{Account, Layout, ListedMailbox, Owner, Place, Store, Subscribed};
pub use columns::{ColumnTable, Gathered};
pub use error::{Failure, Fault, Refusal, Result};
pub use mailbox::{
    Appended, FlagChange, Mailbox, NewMessage, StoreFlags, Stored, Transfer, Transferred, Visit, Visited,
};
pub use maildrop::{Claim, Maildrop, Origin, Sizes, StoredId, UniqueIds};
pub use message::{BodyReader, Copies, Effort, Message, Octets, Shared, Spool, Spooled};
pub use usage::{AccountUsage, Look, MailboxUsage, Reclaimable, Usage};
