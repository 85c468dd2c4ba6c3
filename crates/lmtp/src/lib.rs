//! LMTP as a language (RFC 2033), and with it what SMTP shares: commands and their parameters, replies with enhanced
//! codes, addresses, and the two ways in which a message is sent (DATA, BDAT).
//!
//! Both sides are here: a server reads commands and writes replies, a client the other way round. No socket, clock or
//! log; everything takes bytes in pieces of any size.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod address;
pub mod capability;
pub mod command;
pub mod data;
pub mod fuzz;
pub mod line;
pub mod reply;
pub mod xtext;

pub use address::{Address, Domain, ReversePath};
pub use command::{Body, Command, Mail, Notify, Rcpt, parse};
pub use line::{Lines, Step};
pub use reply::{Enhanced, Reply};
