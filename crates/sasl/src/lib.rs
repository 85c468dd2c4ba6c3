//! SASL (RFC 4422): the mechanisms as pure functions of bytes, server and client side.
//!
//! Nothing here knows an account, a socket or a clock. Base64 and the framing of a protocol are the caller's. Bytes that
//! break a mechanism's grammar are [`Malformed`]; nothing panics on any input.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod anonymous;
pub mod apop;
pub mod cram_md5;
pub mod digest_md5;
pub mod external;
pub mod fuzz;
pub mod hmac_md5;
mod mechanism;
pub mod oauth;
pub mod plain;
mod properties;
pub mod scram;
mod text;

pub use mechanism::Mechanism;

/// A message breaks the mechanism's grammar.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("The {mechanism} message is malformed: {expected}")]
pub struct Malformed {
    /// Which mechanism.
    pub mechanism: &'static str,
    /// What should have been there.
    pub expected: &'static str,
}
