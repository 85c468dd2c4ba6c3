//! SASL (RFC 4422): the mechanisms as pure functions of bytes, server and client side.
//!
//! Nothing here knows an account, a socket or a clock. Base64 and the framing of a protocol are the caller's.

mod mechanism;

pub use mechanism::Mechanism;
