//! UTF8=ACCEPT (RFC 6855), and what IMAP4rev2 took from it: names and quoted strings in UTF-8.
//!
//! The [`Dialect`] says how a session speaks: read by `grammar` for strings and names, by `response` for names.
//! `utf8-literal` is used by `command::append`.

use crate::command::{Literal, Name};
use crate::grammar::Parser;
use culver_base::{MailboxName, Malformed, mutf7};

/// How a session speaks. It changes when ENABLE does (RFC 9051 §6.3.1, RFC 6855 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Dialect {
    /// After ENABLE UTF8=ACCEPT or IMAP4rev2: mailbox names are UTF-8, quoted strings may hold UTF-8. Before: names
    /// are mUTF-7 (RFC 3501 §5.1.3).
    pub utf8: bool,
}

impl Dialect {
    /// IMAP4rev1.
    pub const REV1: Self = Self { utf8: false };
    /// With UTF-8.
    pub const UTF8: Self = Self { utf8: true };

    /// A mailbox name from its bytes. Before UTF-8 is enabled, raw UTF-8 is taken too: no mUTF-7 has 8-bit bytes, so
    /// that it can mean but one thing.
    pub fn name(self, bytes: &[u8]) -> Name {
        match self.decode(bytes) {
            Some(name) => Name::Known(MailboxName::new(&name)),
            None => Name::Undecodable(String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    /// A reference or pattern from its bytes. What cannot be decoded stands for itself, and matches nothing.
    pub fn text(self, bytes: &[u8]) -> String {
        self.decode(bytes).unwrap_or_else(|| String::from_utf8_lossy(bytes).into_owned())
    }

    fn decode(self, bytes: &[u8]) -> Option<String> {
        let text = std::str::from_utf8(bytes).ok()?;
        if self.utf8 || !text.is_ascii() { Some(text.to_owned()) } else { mutf7::decode(text) }
    }
}

impl<'a> Parser<'a> {
    /// `utf8-literal`: `"UTF8" SP "(" literal8 ")"` (RFC 6855 §4), if it is there.
    pub fn utf8_literal(&mut self) -> Result<Option<Literal<'a>>, Malformed> {
        if !self.take_nocase("UTF8 ") {
            return Ok(None);
        }
        self.expect(b'(', "( and a literal")?;
        let data = self.literal()?;
        self.expect(b')', ") after the literal")?;
        Ok(Some(data))
    }
}
