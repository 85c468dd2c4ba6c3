//! Mailbox names as people see them: Unicode, levels divided by the hierarchy separator.

use crate::mutf7;
use std::fmt;

/// The hierarchy separator that clients see. One for the whole server, so that names mean the same in every
/// session; how a level is divided on disk is the storage's affair.
pub const SEPARATOR: char = '/';

/// Longest mailbox name in bytes of UTF-8. File systems take 255 bytes a component and mUTF-7 can triple a name.
pub const MAX_LEN: usize = 1000;

/// A mailbox name in Unicode. `INBOX` in any case is the one name `INBOX` (RFC 9051 §5.1), also as the first level.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName(String);

impl MailboxName {
    /// `INBOX`.
    pub fn inbox() -> Self {
        Self("INBOX".into())
    }

    /// Any string as a client may name it, `INBOX` in its one spelling. Says nothing about whether a mailbox of
    /// that name can exist: see [`Self::can_be_created`].
    pub fn new(name: &str) -> Self {
        let (first, rest) = match name.find(SEPARATOR) {
            Some(i) => name.split_at(i),
            None => (name, ""),
        };
        if first.eq_ignore_ascii_case("INBOX") { Self(format!("INBOX{rest}")) } else { Self(name.into()) }
    }

    /// From the wire form of IMAP4rev1. `None` when it is not valid mUTF-7.
    pub fn from_mutf7(text: &str) -> Option<Self> {
        mutf7::decode(text).map(|name| Self::new(&name))
    }

    /// The wire form of IMAP4rev1.
    pub fn to_mutf7(&self) -> String {
        mutf7::encode(&self.0)
    }

    /// In Unicode.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it `INBOX`?
    pub fn is_inbox(&self) -> bool {
        self.0 == "INBOX"
    }

    /// Its levels, outermost first.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split(SEPARATOR)
    }

    /// The name one level up.
    pub fn parent(&self) -> Option<Self> {
        self.0.rfind(SEPARATOR).map(|i| Self(self.0[..i].into()))
    }

    /// `level` below this name.
    #[must_use]
    pub fn child(&self, level: &str) -> Self {
        Self(format!("{}{SEPARATOR}{level}", self.0))
    }

    /// Does this name lie below `other` (at any depth)?
    pub fn is_below(&self, other: &Self) -> bool {
        self.0.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with(SEPARATOR))
    }

    /// The same place below `to` that this name has below (or at) `from`; `None` when it is not there.
    pub fn moved(&self, from: &Self, to: &Self) -> Option<Self> {
        let rest = self.0.strip_prefix(from.as_str())?;
        (rest.is_empty() || rest.starts_with(SEPARATOR)).then(|| Self(format!("{}{rest}", to.0)))
    }

    /// May a mailbox of this name be made? No empty levels, no control characters (RFC 5198 §2), no `.` or `..`
    /// as a level, no `%` or `*`, which LIST could not name, and not too long. The text says what is wrong.
    pub fn can_be_created(&self) -> Result<(), &'static str> {
        if self.0.is_empty() {
            return Err("A mailbox needs a name");
        }
        if self.0.len() > MAX_LEN {
            return Err("The name is too long");
        }
        if self.0.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')) {
            return Err("The name must not hold control characters");
        }
        if self.0.contains(['*', '%']) {
            return Err("The name must not hold * or %, which LIST uses as wildcards");
        }
        for level in self.levels() {
            if level.is_empty() {
                return Err("The name has an empty level: write / only between two names");
            }
            if matches!(level, "." | "..") {
                return Err("No level of the name may be . or ..");
            }
        }
        Ok(())
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_has_one_spelling() {
        assert!(MailboxName::new("iNBox").is_inbox());
        assert_eq!(MailboxName::new("inbox/Work").as_str(), "INBOX/Work");
        assert_eq!(MailboxName::new("inboxes").as_str(), "inboxes");
    }

    #[test]
    fn a_subtree_moves_with_its_root() {
        let (a, b) = (MailboxName::new("a"), MailboxName::new("x/y"));
        assert_eq!(MailboxName::new("a/c").moved(&a, &b), Some(MailboxName::new("x/y/c")));
        assert_eq!(MailboxName::new("ab/c").moved(&a, &b), None);
        assert!(!MailboxName::new("ab").is_below(&a));
    }

    #[test]
    fn impossible_names_say_why() {
        for name in ["", "a//b", "/a", "a/", "a/../b", "a\u{7}", "a*"] {
            assert!(MailboxName::new(name).can_be_created().is_err(), "{name:?}");
        }
        assert!(MailboxName::new("Entwürfe/2024").can_be_created().is_ok());
    }
}
