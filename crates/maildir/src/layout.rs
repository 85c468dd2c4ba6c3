//! Where a mailbox's directory is: names as people see them, and names on disk.
//!
//! Pure. On disk each level is modified UTF-7 (RFC 3501 §5.1.3). `INBOX` is the mail root itself in both layouts.
//!
//! * maildir++: one directory in the root, `.` and the levels joined by `.`; so no level may hold a dot.
//! * fs: a directory for each level; `cur`, `new`, `tmp` and the names of our files are taken.
//!
//! With an escape character (Dovecot's listescape, `\`) what a level could not hold is written as that character and
//! two hex digits, and nothing but our own separator is impossible.

use culver_base::{MailboxName, mutf7};
use culver_store::Layout;

/// Longest name of one directory, in octets, on all common file systems.
const MAX_COMPONENT: usize = 255;
/// More levels than this are not made. (The path must stay below the kernel's 4096 octets.)
pub const MAX_LEVELS: usize = 64;
/// The directory that a mailbox becomes while it is deleted.
pub const TRASH: &[u8] = b"..DOVECOT-TRASHED";
/// The same in the fs layout.
pub const TRASH_FS: &[u8] = b"..DOVECOT-TrasH";

/// How names are written on disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Names {
    /// The layout.
    pub layout: Layout,
    /// The storage escape, if configured: an ASCII character.
    pub escape: Option<u8>,
}

impl Names {
    /// What divides levels on disk.
    pub fn separator(&self) -> char {
        match self.layout {
            Layout::MaildirPlusPlus => '.',
            Layout::Fs => '/',
        }
    }

    /// The name of the directory for what is being deleted.
    pub fn trash(&self) -> &'static [u8] {
        match self.layout {
            Layout::MaildirPlusPlus => TRASH,
            Layout::Fs => TRASH_FS,
        }
    }

    /// The storage form of a name, level by level, as it also stands in `subscriptions`. `Err` says to the client
    /// why there can be no such mailbox.
    pub fn stored(&self, name: &MailboxName) -> Result<Vec<Vec<u8>>, String> {
        if name.as_str().starts_with('~') && self.escape.is_none() {
            return Err("The name must not begin with ~".into());
        }
        name.levels().enumerate().map(|(i, level)| self.stored_level(level, i == 0)).collect()
    }

    fn stored_level(&self, level: &str, first: bool) -> Result<Vec<u8>, String> {
        let whole = matches!(level, "." | "..") || self.is_reserved(level.as_bytes());
        let Some(escape) = self.escape else {
            if self.layout == Layout::MaildirPlusPlus && level.contains('.') {
                return Err("The name must not hold a dot: on this server it divides levels on disk".into());
            }
            if whole {
                return Err(format!(
                    "No level of the name may be \u{201c}{level}\u{201d}: that is taken on disk"
                ));
            }
            return Ok(mutf7::encode(level).into_bytes());
        };
        let text = mutf7::encode(level).into_bytes();
        let mut out = Vec::with_capacity(text.len());
        for (i, b) in text.into_iter().enumerate() {
            let hard = b == escape
                || b == b'/'
                || (b == b'.' && self.layout == Layout::MaildirPlusPlus)
                || (b == b'~' && first && i == 0)
                || (whole && i == 0);
            if hard {
                out.push(escape);
                out.extend_from_slice(format!("{b:02x}").as_bytes());
            } else {
                out.push(b);
            }
        }
        Ok(out)
    }

    /// Taken by what lies in a mailbox's directory anyway.
    fn is_reserved(&self, level: &[u8]) -> bool {
        self.layout == Layout::Fs
            && (matches!(
                level,
                b"cur" | b"new" | b"tmp" | b"subscriptions" | b"maildirsize" | b"maildirfolder"
            ) || level.starts_with(b"dovecot-")
                || level.starts_with(b"dovecot.")
                || level.starts_with(b"..DOVECOT-")
                || level.starts_with(b"subscriptions."))
    }

    /// The name of a storage form. `None` when no client could be shown it, or when it is not the way in which we
    /// would write that name: then it could not be opened by it.
    pub fn shown<'a>(&self, stored: impl IntoIterator<Item = &'a [u8]>) -> Option<MailboxName> {
        let stored: Vec<&[u8]> = stored.into_iter().collect();
        let mut text = String::new();
        for (i, level) in stored.iter().enumerate() {
            if i > 0 {
                text.push(culver_base::mailbox_name::SEPARATOR);
            }
            text.push_str(&self.shown_level(level)?);
        }
        let name = MailboxName::new(&text);
        let same = self.stored(&name).is_ok_and(|again| again.iter().map(Vec::as_slice).eq(stored));
        (same && !text.is_empty()).then_some(name)
    }

    fn shown_level(&self, level: &[u8]) -> Option<String> {
        let mut plain = Vec::with_capacity(level.len());
        let mut at = 0;
        while let Some(b) = level.get(at) {
            let hex = level.get(at + 1..at + 3).and_then(|h| std::str::from_utf8(h).ok());
            match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
                Some(value) if Some(*b) == self.escape => {
                    plain.push(value);
                    at += 3;
                }
                _ => {
                    plain.push(*b);
                    at += 1;
                }
            }
        }
        let shown = mutf7::decode(std::str::from_utf8(&plain).ok()?)?;
        (!shown.contains(culver_base::mailbox_name::SEPARATOR)).then_some(shown)
    }

    /// A valid name for a level found on disk that is none (8-bit characters, a lone `&`): what it seems to say,
    /// written properly. `None` when it is fine as it is, or beyond help.
    pub fn repaired_level(&self, level: &[u8]) -> Option<Vec<u8>> {
        if self.shown_level(level).is_some() {
            return None;
        }
        let text = String::from_utf8_lossy(level);
        let new = mutf7::encode(&text).into_bytes();
        (self.shown_level(&new).is_some() && new.len() <= MAX_COMPONENT).then_some(new)
    }

    /// Where what belongs to the mailbox with this directory lies in another root (`CONTROL=`, `INDEX=`): there `INBOX` has
    /// a directory of its own, as Dovecot does it.
    pub fn apart(&self, directory: &[u8]) -> Vec<u8> {
        match (directory.is_empty(), self.layout) {
            (false, _) => directory.to_vec(),
            (true, Layout::MaildirPlusPlus) => b".INBOX".to_vec(),
            (true, Layout::Fs) => b"INBOX".to_vec(),
        }
    }

    /// The mailbox's directory, relative to the root; empty for `INBOX`.
    pub fn directory(&self, name: &MailboxName) -> Result<Vec<u8>, String> {
        if name.is_inbox() {
            return Ok(Vec::new());
        }
        let stored = self.stored(name)?;
        let path = match self.layout {
            Layout::MaildirPlusPlus => [b".".as_slice(), &stored.join(&b'.')].concat(),
            Layout::Fs => stored.join(&b'/'),
        };
        if stored.first().is_none_or(Vec::is_empty)
            || path.split(|b| *b == b'/').any(|c| c.is_empty() || c.contains(&0))
        {
            return Err("The name has an empty level: write / only between two names".into());
        }
        if path.split(|b| *b == b'/').any(|c| c.len() > MAX_COMPONENT) {
            return Err(format!(
                "The name is too long: on disk it would take more than {MAX_COMPONENT} octets (characters beyond ASCII take up to three times as many)"
            ));
        }
        if stored.len() > MAX_LEVELS {
            return Err(format!("The name has more than {MAX_LEVELS} levels"));
        }
        Ok(path)
    }

    /// May a mailbox of this name be made?
    pub fn can_be_created(&self, name: &MailboxName) -> Result<(), String> {
        name.can_be_created()?;
        self.directory(name).map(drop)
    }

    /// The mailbox of a directory found in the root of a maildir++ tree. The outer `None`: it is none of ours; the
    /// inner one: it is, but its name cannot be shown.
    pub fn of_directory(&self, entry: &[u8]) -> Option<Option<MailboxName>> {
        let stored = entry.strip_prefix(b".").filter(|s| !s.is_empty() && !s.starts_with(b"."))?;
        Some(self.shown(stored.split(|b| *b == b'.')).filter(|n| !n.is_inbox()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLUS: Names = Names { layout: Layout::MaildirPlusPlus, escape: None };
    const FS: Names = Names { layout: Layout::Fs, escape: None };
    const ESC: Names = Names { layout: Layout::MaildirPlusPlus, escape: Some(b'\\') };

    fn dir(names: Names, name: &str) -> Result<String, String> {
        names.directory(&MailboxName::new(name)).map(|d| String::from_utf8(d).unwrap())
    }

    #[test]
    fn directories_as_dovecot_makes_them() {
        for (name, plus, fs) in [
            ("INBOX", "", ""),
            ("inbox/sub", ".INBOX.sub", "INBOX/sub"),
            ("Work/2024", ".Work.2024", "Work/2024"),
            ("Entwürfe", ".Entw&APw-rfe", "Entw&APw-rfe"),
            ("a&b", ".a&-b", "a&-b"),
            ("x/~y", ".x.~y", "x/~y"),
            ("cur", ".cur", ""),
        ] {
            assert_eq!(dir(PLUS, name).unwrap(), plus);
            if name != "cur" {
                assert_eq!(dir(FS, name).unwrap(), fs);
            }
        }
    }

    #[test]
    fn what_cannot_be_says_why() {
        let long = format!("{}/{}", "x".repeat(200), "y".repeat(60));
        let umlauts = "ü".repeat(100);
        for (names, name) in [
            (PLUS, "a.b"),
            (PLUS, "~x"),
            (PLUS, "a//b"),
            (PLUS, long.as_str()),
            (PLUS, umlauts.as_str()),
            (FS, "~x"),
            (FS, "cur"),
            (FS, "x/new"),
            (FS, "dovecot-uidlist"),
            (FS, "a/../b"),
            (FS, "a/"),
            (ESC, "a//b"),
        ] {
            let name = MailboxName::new(name);
            assert!(names.can_be_created(&name).is_err(), "{name}");
        }
        assert!(dir(FS, &long).is_ok(), "each level is short enough");
        assert!(dir(FS, "a.b").is_ok());
        let deep = vec!["x"; MAX_LEVELS + 1].join("/");
        assert!(dir(FS, &deep).is_err() && dir(PLUS, &deep).is_err());
    }

    #[test]
    fn the_escape_makes_dots_possible() {
        assert_eq!(dir(ESC, "a.b/c\\d").unwrap(), ".a\\2eb.c\\5cd");
        assert_eq!(dir(ESC, "~x/~y").unwrap(), ".\\7ex.~y");
        assert_eq!(ESC.of_directory(b".a\\2eb.c"), Some(Some(MailboxName::new("a.b/c"))));
        assert_eq!(ESC.of_directory(b".a\\2fb"), Some(None), "our separator within a level");
        let fs = Names { escape: Some(b'%'), ..FS };
        assert_eq!(dir(fs, "cur/a.b").unwrap(), "%63ur/a.b");
    }

    #[test]
    fn what_lies_in_the_root() {
        for (entry, name) in [
            (".Work.2024", Some(Some("Work/2024"))),
            (".INBOX.sub", Some(Some("INBOX/sub"))),
            (".sp..ace", Some(Some("sp//ace"))), // Dovecot 2.3.19 lists it so, too
            (".INBOX", Some(None)),
            (".inbox.x", Some(None)),
            (".b&d", Some(None)),
            ("..DOVECOT-TRASHED", None),
            ("cur", None),
            (".", None),
            ("..", None),
        ] {
            let name = name.map(|n| n.map(MailboxName::new));
            assert_eq!(PLUS.of_directory(entry.as_bytes()), name, "{entry}");
        }
        assert_eq!(PLUS.repaired_level(b"b&d").as_deref(), Some(&b"b&-d"[..]));
        assert_eq!(PLUS.repaired_level("für".as_bytes()).as_deref(), Some(&b"f&APw-r"[..]));
        assert_eq!(PLUS.repaired_level(b"fine"), None);
    }

    proptest! {
        #[test]
        fn every_name_that_can_be_is_found_again(name in "[a-zA-Zü日.~&\\\\%]{1,4}(/[a-zA-Zü日.~&\\\\% ]{1,4}){0,3}") {
            let name = MailboxName::new(&name);
            for names in [PLUS, FS, ESC, Names { escape: Some(b'%'), ..FS }] {
                if names.can_be_created(&name).is_ok() && !name.is_inbox() {
                    let stored = names.stored(&name).unwrap();
                    prop_assert_eq!(names.shown(stored.iter().map(Vec::as_slice)), Some(name.clone()));
                    if names.layout == Layout::MaildirPlusPlus {
                        let dir = names.directory(&name).unwrap();
                        prop_assert_eq!(names.of_directory(&dir), Some(Some(name.clone())));
                    }
                }
            }
        }
    }
}
