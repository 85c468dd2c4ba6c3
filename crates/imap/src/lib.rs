//! The language of IMAP: framing, grammar, responses, capabilities. What is *said*; `culver-imapd` is what is
//! *done*.
//!
//! Pure: no socket, clock, file or log. `frame` finds where a command ends without understanding it, `parse`
//! understands it, `response` writes answers, `capability` is the table that CAPABILITY, the documentation and
//! the tests read.

pub mod capability;
pub mod command;
pub mod ext;
pub mod frame;
pub mod fuzz;
mod grammar;
pub mod parse;
pub mod response;

pub use capability::{CAPABILITIES, Capability};
pub use ext::utf8::Dialect;
pub use frame::{Announced, Frame, Framer, Limits, Step};
pub use parse::{ParseError, parse};
