//! Commands (RFC 1939 §5 to §7, RFC 2449 §5, RFC 2595 §4, RFC 5034 §4, RFC 6856 §2.1, §3.2, RFC 1081 for LAST).
//!
//! A command is a word and at most two arguments, so that the grammar of all of them is this file. Keywords count in any
//! case. Blanks behind the last argument are passed over, as clients send them; in a password they count.

use thiserror::Error;

/// A command, borrowing from its line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command<'a> {
    /// CAPA
    Capa,
    /// QUIT
    Quit,
    /// NOOP
    Noop,
    /// LANG, with a range or without
    Lang(Option<&'a str>),
    /// USER
    User(&'a [u8]),
    /// PASS
    Pass(&'a [u8]),
    /// APOP
    Apop {
        /// Who.
        user: &'a [u8],
        /// What was sent for a digest.
        digest: &'a [u8],
    },
    /// AUTH
    Auth {
        /// The mechanism; without one, a list is asked for, as before RFC 5034.
        mechanism: Option<&'a str>,
        /// The initial response, in BASE64 or `=`.
        initial: Option<&'a [u8]>,
    },
    /// STLS
    Stls,
    /// UTF8
    Utf8,
    /// STAT
    Stat,
    /// LIST
    List(Option<Number>),
    /// UIDL
    Uidl(Option<Number>),
    /// RETR
    Retr(Number),
    /// TOP
    Top {
        /// Which message.
        message: Number,
        /// Lines of its body.
        lines: u64,
    },
    /// DELE
    Dele(Number),
    /// RSET
    Rset,
    /// LAST
    Last,
}

/// A message-number (RFC 1939 §4), from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Number(u32);

impl Number {
    /// Of the message at this position, counted from 0.
    pub fn of_position(position: usize) -> Self {
        Self(u32::try_from(position).unwrap_or(u32::MAX - 1).saturating_add(1))
    }
    /// The position, counted from 0.
    pub fn position(self) -> usize {
        self.0 as usize - 1
    }
    /// As it is written.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// In which state a command may be given (RFC 1939 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum States {
    /// In either.
    Any,
    /// Before login only.
    Authorization,
    /// After login only.
    Transaction,
}

/// A row of [`COMMANDS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandRow {
    /// As it is written.
    pub name: &'static str,
    /// When it may be given.
    pub states: States,
    /// Its arguments, for people.
    pub usage: &'static str,
}

const fn row(name: &'static str, states: States, usage: &'static str) -> CommandRow {
    CommandRow { name, states, usage }
}

/// Every command.
pub const COMMANDS: &[CommandRow] = &[
    row("CAPA", States::Any, "CAPA"),
    row("QUIT", States::Any, "QUIT"),
    row("LANG", States::Any, "LANG [tag]"),
    row("USER", States::Authorization, "USER name"),
    row("PASS", States::Authorization, "PASS password"),
    row("APOP", States::Authorization, "APOP name digest"),
    row("AUTH", States::Authorization, "AUTH mechanism [initial-response]"),
    row("STLS", States::Authorization, "STLS"),
    row("UTF8", States::Authorization, "UTF8"),
    row("STAT", States::Transaction, "STAT"),
    row("LIST", States::Transaction, "LIST [number]"),
    row("UIDL", States::Transaction, "UIDL [number]"),
    row("RETR", States::Transaction, "RETR number"),
    row("TOP", States::Transaction, "TOP number lines"),
    row("DELE", States::Transaction, "DELE number"),
    row("NOOP", States::Transaction, "NOOP"),
    row("RSET", States::Transaction, "RSET"),
    row("LAST", States::Transaction, "LAST"),
];

/// Why a line is no command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Malformed {
    /// There is no such command.
    #[error("unknown command")]
    Unknown,
    /// The arguments are not what the command takes, which is this.
    #[error("expected {0}")]
    Arguments(&'static str),
    /// A message-number is none: not digits, zero or too high.
    #[error("not a message number")]
    Number,
}

impl Command<'_> {
    /// Facts about it.
    pub fn row(&self) -> &'static CommandRow {
        let name = match self {
            Self::Capa => "CAPA",
            Self::Quit => "QUIT",
            Self::Noop => "NOOP",
            Self::Lang(_) => "LANG",
            Self::User(_) => "USER",
            Self::Pass(_) => "PASS",
            Self::Apop { .. } => "APOP",
            Self::Auth { .. } => "AUTH",
            Self::Stls => "STLS",
            Self::Utf8 => "UTF8",
            Self::Stat => "STAT",
            Self::List(_) => "LIST",
            Self::Uidl(_) => "UIDL",
            Self::Retr(_) => "RETR",
            Self::Top { .. } => "TOP",
            Self::Dele(_) => "DELE",
            Self::Rset => "RSET",
            Self::Last => "LAST",
        };
        COMMANDS.iter().find(|row| row.name == name).unwrap_or(&COMMANDS[0])
    }
}

/// Reads a line, without its end.
///
/// # Errors
/// When it is no command.
pub fn parse(line: &[u8]) -> Result<Command<'_>, Malformed> {
    let end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let row = COMMANDS
        .iter()
        .find(|row| row.name.as_bytes().eq_ignore_ascii_case(word.trim_ascii_end()))
        .ok_or(Malformed::Unknown)?;
    // The blank behind the keyword.
    let rest = rest.get(1..).unwrap_or_default();
    let mut words = Words { rest, wrong: Malformed::Arguments(row.usage) };
    let command = match row.name {
        "CAPA" => Command::Capa,
        "QUIT" => Command::Quit,
        "NOOP" => Command::Noop,
        "STLS" => Command::Stls,
        "UTF8" => Command::Utf8,
        "STAT" => Command::Stat,
        "RSET" => Command::Rset,
        "LAST" => Command::Last,
        "LANG" => Command::Lang(words.optional().map(|range| words.ascii(range)).transpose()?),
        // Names may hold blanks with some who migrate; the login rule decides.
        "USER" => return words.all(rest.trim_ascii()).map(Command::User),
        // RFC 1939 §7: blanks are part of the password.
        "PASS" => return words.all(rest).map(Command::Pass),
        "APOP" => {
            let rest = rest.trim_ascii();
            let blank = rest.iter().rposition(|b| *b == b' ').ok_or(words.wrong)?;
            let (user, digest) = (rest[..blank].trim_ascii_end(), &rest[blank + 1..]);
            return Ok(Command::Apop { user, digest });
        }
        "AUTH" => {
            let mechanism = words.optional().map(|m| words.ascii(m)).transpose()?;
            Command::Auth { mechanism, initial: words.optional() }
        }
        "LIST" => Command::List(words.optional().map(number).transpose()?),
        "UIDL" => Command::Uidl(words.optional().map(number).transpose()?),
        "RETR" => Command::Retr(words.number()?),
        "DELE" => Command::Dele(words.number()?),
        _ => {
            let message = words.number()?;
            let lines = words.optional().and_then(digits).ok_or(words.wrong)?;
            Command::Top { message, lines }
        }
    };
    words.end()?;
    Ok(command)
}

/// The arguments of a line.
struct Words<'a> {
    rest: &'a [u8],
    wrong: Malformed,
}

impl<'a> Words<'a> {
    fn optional(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.trim_ascii_start();
        let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        self.rest = behind;
        (!word.is_empty()).then_some(word)
    }
    fn number(&mut self) -> Result<Number, Malformed> {
        self.optional().ok_or(self.wrong).and_then(number)
    }
    fn ascii(&self, word: &'a [u8]) -> Result<&'a str, Malformed> {
        let plain = word.iter().all(u8::is_ascii_graphic);
        std::str::from_utf8(word).ok().filter(|_| plain).ok_or(self.wrong)
    }
    fn all(&self, text: &'a [u8]) -> Result<&'a [u8], Malformed> {
        if text.is_empty() { Err(self.wrong) } else { Ok(text) }
    }
    fn end(&self) -> Result<(), Malformed> {
        if self.rest.trim_ascii().is_empty() { Ok(()) } else { Err(self.wrong) }
    }
}

fn digits(word: &[u8]) -> Option<u64> {
    if word.is_empty() || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // More than fits is more than there is.
    Some(word.iter().fold(0_u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0'))))
}

fn number(word: &[u8]) -> Result<Number, Malformed> {
    let n = digits(word).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
    n.map(Number).ok_or(Malformed::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(number: u32) -> Number {
        Number(number)
    }

    /// RFC 1939 §5 to §7, RFC 5034 §6, RFC 6856 §3.3: the examples, and what clients send.
    #[test]
    fn commands() {
        let table: &[(&[u8], Command<'_>)] = &[
            (b"STAT", Command::Stat),
            (b"stat ", Command::Stat),
            (b"LIST", Command::List(None)),
            (b"LIST 2", Command::List(Some(n(2)))),
            (b"LIST 2 ", Command::List(Some(n(2)))),
            (b"RETR 1", Command::Retr(n(1))),
            (b"dele 1", Command::Dele(n(1))),
            (b"TOP 1 10", Command::Top { message: n(1), lines: 10 }),
            (b"TOP 1 0", Command::Top { message: n(1), lines: 0 }),
            (b"TOP 1 99999999999999999999999", Command::Top { message: n(1), lines: u64::MAX }),
            (b"UIDL", Command::Uidl(None)),
            (b"UIDL 2", Command::Uidl(Some(n(2)))),
            (b"USER mrose", Command::User(b"mrose")),
            (b"PASS a  b ", Command::Pass(b"a  b ")),
            (
                b"APOP mrose c4c9334bac560ecc979e58001b3e22fb",
                Command::Apop { user: b"mrose", digest: b"c4c9334bac560ecc979e58001b3e22fb" },
            ),
            (
                b"AUTH PLAIN dGVzdAB0ZXN0AHRlc3Q=",
                Command::Auth { mechanism: Some("PLAIN"), initial: Some(b"dGVzdAB0ZXN0AHRlc3Q=") },
            ),
            (b"AUTH DIGEST-MD5", Command::Auth { mechanism: Some("DIGEST-MD5"), initial: None }),
            (b"AUTH", Command::Auth { mechanism: None, initial: None }),
            (b"LANG", Command::Lang(None)),
            (b"LANG *", Command::Lang(Some("*"))),
            (b"LANG es", Command::Lang(Some("es"))),
            (b"STLS", Command::Stls),
            (b"UTF8", Command::Utf8),
            (b"CAPA", Command::Capa),
            (b"QUIT", Command::Quit),
            (b"NOOP", Command::Noop),
            (b"RSET", Command::Rset),
            (b"LAST", Command::Last),
        ];
        for (line, want) in table {
            assert_eq!(parse(line).as_ref(), Ok(want), "{}", line.escape_ascii());
        }
        // Every row is some command's.
        for row in COMMANDS {
            assert!(table.iter().any(|(_, c)| c.row().name == row.name), "{}", row.name);
        }
    }

    #[test]
    fn what_is_no_command_is_told_apart() {
        for (line, want) in [
            (&b""[..], Malformed::Unknown),
            (b"HELO", Malformed::Unknown),
            (b"\xff\x00", Malformed::Unknown),
            (b"RETR", Malformed::Arguments("RETR number")),
            (b"RETR 1 2", Malformed::Arguments("RETR number")),
            (b"STAT 1", Malformed::Arguments("STAT")),
            (b"TOP 1", Malformed::Arguments("TOP number lines")),
            (b"TOP 1 x", Malformed::Arguments("TOP number lines")),
            (b"TOP 1 -1", Malformed::Arguments("TOP number lines")),
            (b"USER", Malformed::Arguments("USER name")),
            (b"PASS ", Malformed::Arguments("PASS password")),
            (b"APOP mrose", Malformed::Arguments("APOP name digest")),
            (b"LANG d\xe9", Malformed::Arguments("LANG [tag]")),
            (b"RETR 0", Malformed::Number),
            (b"RETR x", Malformed::Number),
            (b"RETR +1", Malformed::Number),
            (b"DELE 4294967296", Malformed::Number),
        ] {
            assert_eq!(parse(line), Err(want), "{}", line.escape_ascii());
        }
    }
}
