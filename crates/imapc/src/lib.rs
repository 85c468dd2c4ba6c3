//! The other side: clients of IMAP and POP3 servers, blocking and small. For tests, and for `culver adopt --verify`, which asks
//! an old server and Culver the same questions.
//!
//! They know nothing of commands and little of answers: data comes as a tree of values, compared by meaning in [`compare`].

pub mod client;
pub mod compare;
pub mod pop3;
pub mod stream;
pub mod value;

pub use client::{Client, Reply};
pub use stream::Trust;
pub use value::{Kind, Response, Value};
