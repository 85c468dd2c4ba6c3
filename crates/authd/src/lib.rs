//! The auth sockets: Dovecot's auth protocol, as Postfix, Exim, panels and our own programs for PAM speak it.
//!
//! A client socket ([`ClientService`]) proves passwords by SASL exchanges, several at once on a connection. A master socket
//! ([`MasterService`]) looks accounts up without a password, so whoever may connect to it is trusted; so is who connects to a
//! client socket with what it says of its own clients (their address, and that their connection is hidden).
//!
//! **Every answer comes within five seconds**: Postfix gives up after ten, and its client then hears nothing useful. A
//! failure that should wait longer waits four; a directory that does not answer is an outage after four and a half.
//!
//! **An outage is never a wrong password.** Dovecot's own clients are told by `code=temp_fail`; Postfix and Exim do not
//! look at codes and would tell their client 535, whereupon it asks its user for a new password. Both take a connection that
//! ends for a temporary failure, so that is what they get.
//!
//! A peer that breaks the protocol is a program with a bug: its connection is closed, and the log says what was wrong.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod ask;
mod client;
mod direct;
mod fields;
mod finished;
mod master;
mod peer;
mod service;
mod wire;

pub use direct::{look_up, verify};
pub use fields::user_fields;
pub use finished::Finished;
pub use service::{AuthdService, ClientService, MasterService};
