//! The language of IMAP: framing, grammar, responses, capabilities. What is *said*; `culver-imapd` is what is
//! *done*.
//!
//! Pure: no socket, clock, file or log. `frame` finds where a command ends without understanding it, `parse`
//! understands it, `response` writes answers, `capability` is the table that CAPABILITY, the documentation and
//! the tests read.

pub mod command;
