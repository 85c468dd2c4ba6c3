//! LMTP as it is done (RFC 2033): sessions with MTAs.
//!
//! `culver-lmtp` is what is said, `culver-deliver` what becomes of a message; here is who may say what when.

mod service;
mod session;
mod transaction;

pub use service::{LmtpService, LmtpSettings};
