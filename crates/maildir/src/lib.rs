//! The store on Maildir: what lies on disk is plain Maildir with Dovecot's companions, written under Dovecot's
//! locks, so that either program can serve the same tree, also in turns.

pub mod account;
pub mod append;
mod background;
pub mod cache;
pub mod checkpoint;
pub mod clock;
pub mod codec;
mod columns;
pub mod compressed;
pub mod content;
pub mod core;
pub mod dotlock;
pub mod expunge;
pub mod filename;
pub mod flags;
pub mod flush;
pub mod folders;
pub mod fuzz;
pub mod journal;
pub mod keywords;
pub mod layout;
pub mod list;
pub mod mailbox;
pub mod model;
pub mod open;
pub mod place;
pub mod scan;
pub mod special_use;
pub mod spool;
pub mod state;
pub mod store;
pub mod subscriptions;
pub mod sync;
pub mod transfer;
pub mod tree;
pub mod uidlist;
pub mod uidvalidity;
pub mod visit;
pub mod watch;

pub use account::MaildirAccount;
pub use mailbox::MaildirMailbox;
pub use place::{FlagWrites, MailboxPlace, MaildirSettings};
pub use spool::MaildirSpool;
pub use store::{Auto, AutoMailbox, MaildirStore, StoreSettings};
