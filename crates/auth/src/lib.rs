//! Is it really them? Passwords and SASL exchanges against the directory.
//!
//! [`Auth`] is what the daemons hold. It hides from clients whether an account exists: unknown names cost work
//! too, and the wait of a failure counts from the question, however long it was looked at. Only an account's owner, who
//! proved the password, learns that it is disabled. Hashes are computed on blocking threads, as many at once as there
//! are cores.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod app_password;
mod auth;
mod blocks;
mod cache;
mod claim;
mod denied;
mod exchange;
pub mod fuzz;
mod kept;
mod no;
mod peer;
mod penalty;
pub mod policy;
pub mod scheme;
mod seats;
mod settings;

/// The mechanisms, from `culver-sasl`.
pub mod sasl {
    pub use culver_sasl::Mechanism;
}

pub use auth::{Auth, Memory};
pub use blocks::{Block, BlockSettings};
pub use claim::MASTERS;
pub use denied::Denied;
pub use exchange::{Exchange, Progress};
pub use peer::{ChannelBinding, Delay, Peer, Secured};
pub use penalty::network;
pub use seats::{Seat, Seats};
pub use settings::{AuthSettings, Backends};
