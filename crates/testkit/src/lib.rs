//! What the tests above the crates stand on: servers to talk to, a client, the transcript runner, mail.
#![allow(clippy::disallowed_methods, reason = "tests play other programs on the file system")]

pub mod differential;
pub mod lmtp;
pub mod mail;
pub mod mta;
pub mod page;
pub mod peer;
pub mod served;
pub mod servers;
pub mod transcript;
pub mod tree;

pub use client::{Client, Reply};
pub use culver_imapc::{Trust, client, value};
pub use peer::{Account, Culver, CulverOptions, Dovecot, Peer};
pub use served::Served;
pub use value::{Kind, Response, Value};
