//! Keeps accounts to their quota: who may store how much, how far each has come in its life cycle, and who is told.
//!
//! [`Keeper::admit`] is asked before a delivery, [`Keeper::room`] before a user stores something, [`Keeper::stored`] is
//! told afterwards. What follows from it is `culver_quota`'s: a state that is kept in the built-in directory's file, for
//! accounts of any source, and steps, of which the user is told by a message, the administrator by an event and a hook.
//! The state and what is still to be told are written in one transaction before anybody is told, so that a stop in
//! between loses no step: it is told at the next start, at worst twice.
//!
//! Nobody waits for messages and hooks: [`Keeper::tick`], which the server calls when [`Keeper::wait`] comes back, sends
//! messages, looks at accounts whose grace time ends, and counts every file of each account once a day. Hooks may be slow: a task
//! of their own calls them ([`Keeper::run_hooks`]).
//!
//! When the file cannot be read or written, nobody is refused anything for it: the failure is logged and mail is taken.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod clock;
mod hook;
mod judge;
mod keeper;
mod notice;
mod standing;
pub mod templates;
pub mod texts;

pub use clock::{Clock, WallClock};
pub use culver_quota::State;
pub use hook::{Hook, Hooks, Told};
pub use judge::Bystander;
pub use keeper::{Extra, Keeper, KeeperSettings, Parts};
pub use notice::{InboxNotices, Notice, Notices};
pub use standing::{Alert, Full, Standing, Verdict, place};
