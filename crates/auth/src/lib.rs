//! Is it really them? Passwords and SASL exchanges against the directory.
//!
//! [`Auth`] is what the daemons hold. It hides from clients whether an account exists: unknown names cost as much time
//! as wrong passwords, and every failure is delayed. Only an account's owner, who proved the password, learns that it
//! is disabled. Hashes are computed on blocking threads, as many at once as there are cores.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod auth;
mod cache;
mod denied;
mod exchange;
pub mod fuzz;
mod penalty;
pub mod scheme;

/// The mechanisms, from `culver-sasl`.
pub mod sasl {
    pub use culver_sasl::Mechanism;
}

pub use auth::{Auth, AuthSettings, ChannelBinding, Peer, Secured};
pub use denied::Denied;
pub use exchange::{Exchange, Progress};
