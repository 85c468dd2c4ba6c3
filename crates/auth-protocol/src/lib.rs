//! Dovecot's auth protocol: what MTAs say to ask whether a password is right, and what panels and delivery agents say to look
//! an account up. Lines that end in LF, fields between TABs.
//!
//! There is no RFC: the source is what Dovecot 2.3.19 answers (the order of its handshake is that of all versions before 2.4,
//! for which Postfix and Exim are written), and `authd/tests/dovecot.rs` compares. Both sides are here, the client's and
//! the server's, and both kinds of sockets: [`client`] proves passwords, [`master`] looks accounts up.
//!
//! Nothing here knows a socket, a clock or an account. What cannot be parsed is [`Broken`]: both sides then close, as Dovecot
//! does, since nothing that follows can be trusted.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod client;
mod escape;
mod fields;
pub mod fuzz;
mod line;
pub mod master;

pub use escape::{escape, unescape};
pub use fields::Fields;
pub use line::{Lines, TooLong};

/// The version of the protocol; a peer with another one is not understood.
pub const MAJOR: u32 = 1;
/// What the client side of a server says: `code=` in failures came with it.
pub const CLIENT_MINOR: u32 = 2;
/// What the master side of a server says.
pub const MASTER_MINOR: u32 = 1;
/// The longest line, in octets without its LF. An initial response is the longest thing in it: Kerberos tickets, tokens.
pub const LONGEST_LINE: usize = 16 * 1024;

/// A line that breaks the protocol. The text is for the log: the peer is another program, and it is its bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{command}: {expected}")]
pub struct Broken {
    /// The command.
    pub command: &'static str,
    /// What should have been there.
    pub expected: &'static str,
}

impl Broken {
    pub(crate) fn new(command: &'static str, expected: &'static str) -> Self {
        Self { command, expected }
    }
}

/// Takes `COMMAND` and the rest behind its TAB apart.
pub(crate) fn command(line: &str) -> (&str, &str) {
    line.split_once('\t').unwrap_or((line, ""))
}

/// The first field and what follows its TAB.
pub(crate) fn first(rest: &str) -> (&str, Option<&str>) {
    match rest.split_once('\t') {
        Some((field, rest)) => (field, Some(rest)),
        None => (rest, None),
    }
}

/// A number without sign or blanks.
pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `VERSION TAB major TAB minor`, on either side of either socket. `None` when the line is another command.
///
/// # Errors
/// When it lacks a number, or the major version is not ours.
pub fn version(line: &str) -> Result<Option<u32>, Broken> {
    let ("VERSION", rest) = command(line) else { return Ok(None) };
    let broken = |expected| Broken::new("VERSION", expected);
    let (major, rest) = first(rest);
    let major: u32 = number(major).ok_or_else(|| broken("a major version"))?;
    if major != MAJOR {
        return Err(broken("major version 1: this is another protocol"));
    }
    let minor = rest.and_then(|r| number(first(r).0)).ok_or_else(|| broken("a minor version"))?;
    Ok(Some(minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("VERSION\t1\t2"), Ok(Some(2)));
        assert_eq!(version("VERSION\t1\t9"), Ok(Some(9)));
        assert_eq!(version("CPID\t1"), Ok(None));
        for bad in
            ["VERSION\t2\t0", "VERSION\t1", "VERSION", "VERSION\tx\t1", "VERSION\t1\t+1", "VERSION\t1\t"]
        {
            assert!(version(bad).is_err(), "{bad:?}");
        }
    }
}
