//! What an MTA asks: look-ups of addresses and domains, and whether a recipient's mail would be taken.
//!
//! Three languages for look-ups are told apart by their first octets, so one listener serves all of them: Postfix's
//! socketmap (netstrings), Postfix's tcp_table (`get KEY`), and a line for Exim's `readsocket` (`MAP KEY`, then the
//! connection closes, as Exim reads to the end). [`Policy`] is the other side of Postfix's `check_policy_service`.
//!
//! Each language is a module that knows bytes only. A source that does not answer is a temporary failure in every
//! language, never "not found": an MTA bounces what is not found. Requests have limits; what is longer or cannot be
//! understood is answered with an error, and the connection ends.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod fuzz;
pub mod line;
mod maps;
pub mod policy;
mod service;
pub mod socketmap;
pub mod tcp_table;
mod wire;

pub use maps::{ByDirectory, Map, Maps, Recipients, Verdict};
pub use service::{Lookup, Policy};

/// What a look-up came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The value.
    Found(String),
    /// There is none.
    NotFound,
    /// Nobody can tell now, and why: come back.
    Temporary(String),
    /// The question makes no sense, and why.
    Wrong(String),
}

/// One line of printable characters, for texts that become part of an answer.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
