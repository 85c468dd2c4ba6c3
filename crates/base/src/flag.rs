//! Flags of messages (RFC 9051 §2.3.2): the five system flags as bits, keywords as words.

use compact_str::CompactString;
use std::fmt;
use std::hash::{Hash, Hasher};

/// The system flags of one message, a bit each. `\Recent` is not among them: it belongs to a session, not to a
/// message (RFC 3501 §2.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SystemFlags(u8);

impl SystemFlags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// `\Answered`
    pub const ANSWERED: Self = Self(1);
    /// `\Flagged`
    pub const FLAGGED: Self = Self(2);
    /// `\Deleted`
    pub const DELETED: Self = Self(4);
    /// `\Seen`
    pub const SEEN: Self = Self(8);
    /// `\Draft`
    pub const DRAFT: Self = Self(16);
    /// All five.
    pub const ALL: Self = Self(31);

    /// Every single flag with its name, in the order in which we print them.
    pub const NAMES: [(Self, &'static str); 5] = [
        (Self::ANSWERED, "\\Answered"),
        (Self::FLAGGED, "\\Flagged"),
        (Self::DELETED, "\\Deleted"),
        (Self::SEEN, "\\Seen"),
        (Self::DRAFT, "\\Draft"),
    ];

    /// From stored bits; unknown bits are dropped.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }
    /// The bits, as stored.
    pub const fn bits(self) -> u8 {
        self.0
    }
    /// Are all flags of `other` set here?
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
    /// Is no flag set?
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// These without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for SystemFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for (flag, name) in Self::NAMES {
            if self.contains(flag) {
                list.entry(&name);
            }
        }
        list.finish()
    }
}

/// A keyword: an atom without a leading backslash, or one of the `$`-names of the IANA registry. Compared
/// without regard to ASCII case, kept as it was first written.
#[derive(Clone)]
pub struct Keyword(CompactString);

impl Keyword {
    /// Longest keyword that Culver takes, in bytes. RFC 9051 names no limit; file formats and tables need one.
    pub const MAX_LEN: usize = 255;

    /// `None` unless `text` is an atom (RFC 9051 §9: `flag-keyword = ... / atom`) of at most [`Self::MAX_LEN`]
    /// bytes.
    pub fn new(text: &str) -> Option<Self> {
        let ok = !text.is_empty()
            && text.len() <= Self::MAX_LEN
            && text.bytes().all(|b| crate::cursor::is_atom_char(b) && b != b'\\');
        ok.then(|| Self(text.into()))
    }

    /// As first written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}
impl Eq for Keyword {}
impl Hash for Keyword {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for b in self.0.bytes() {
            state.write_u8(b.to_ascii_lowercase());
        }
        state.write_u8(0xff);
    }
}
impl fmt::Debug for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One flag as a client names it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Flag {
    /// Exactly one system flag.
    System(SystemFlags),
    /// A keyword.
    Keyword(Keyword),
}

impl Flag {
    /// From its wire form (`\Seen`, `$Junk`, `work`); `None` for `\Recent`, unknown backslash names and what is
    /// not an atom.
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('\\') {
            SystemFlags::NAMES
                .iter()
                .find(|(_, name)| name.eq_ignore_ascii_case(text))
                .map(|(flag, _)| Self::System(*flag))
        } else {
            Keyword::new(text).map(Self::Keyword)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_without_regard_to_case() {
        assert_eq!(Flag::parse("\\sEEN"), Some(Flag::System(SystemFlags::SEEN)));
        assert_eq!(Flag::parse("\\Recent"), None);
        assert_eq!(Keyword::new("$Junk"), Keyword::new("$JUNK"));
        assert_eq!(Keyword::new("a b"), None);
        assert_eq!(Keyword::new(""), None);
    }
}
