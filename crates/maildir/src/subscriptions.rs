//! The file `subscriptions`: which mailboxes a user has subscribed. Pure but for [`load`] and [`change`].
//!
//! Version 1 has one storage name a line, its levels divided by the layout's separator. Version 2 (Dovecot since
//! 2015) begins with `V<TAB>2` and an empty line; levels are divided by TAB and each is tab-escaped. A file keeps its
//! version; new ones are of version 2. Names that mean nothing to us stay where they are.

use crate::dotlock::{Content, Contention, Dotlock, Holder, Lock, LockTimes};
use culver_store::io::{Dir, Durability};
use std::io;
use std::time::Duration;
use thiserror::Error;

/// The name of the file.
pub const NAME: &[u8] = b"subscriptions";
/// The name of its lock, which is also the new file on its way.
pub const LOCK: &[u8] = b"subscriptions.lock";
/// Larger files are not read.
const MOST: usize = 16 << 20;
const HEADER: &[u8] = b"V\t2\n\n";

/// A mailbox's name in storage form (modified UTF-7), level by level.
pub type Levels = Vec<Vec<u8>>;

/// How the file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// A storage name a line; the character divides its levels.
    One(char),
    /// Levels divided by TAB, escaped.
    Two,
}

/// The file is of a later version than we know; it is left alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the subscriptions file is of a version later than 2")]
pub struct UnknownVersion;

/// What the file holds, in its order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subscriptions {
    version: Version,
    names: Vec<Levels>,
}

impl Subscriptions {
    /// No file yet.
    pub fn new() -> Self {
        Self { version: Version::Two, names: Vec::new() }
    }

    /// Reads the file's content; `separator` divides levels in version 1. The last line may lack its LF.
    pub fn read(text: &[u8], separator: char) -> Result<Self, UnknownVersion> {
        let mut lines = text.split(|b| *b == b'\n').peekable();
        let version = match lines.peek() {
            Some(first) if *first == b"V\t2" => {
                lines.next();
                Version::Two
            }
            Some(first)
                if first.strip_prefix(b"V\t").is_some_and(|v| v.first().is_some_and(u8::is_ascii_digit)) =>
            {
                return Err(UnknownVersion);
            }
            _ => Version::One(separator),
        };
        let mut names: Vec<Levels> = Vec::new();
        for line in lines {
            let mut levels: Levels = match version {
                // No storage name holds a TAB, and such a line could pass for the header of version 2.
                Version::One(_) if line.contains(&b'\t') => continue,
                Version::One(separator) => split(line, separator).map(<[u8]>::to_vec).collect(),
                Version::Two => line.split(|b| *b == b'\t').map(unescape).collect(),
            };
            while levels.last().is_some_and(Vec::is_empty) {
                levels.pop();
            }
            if let [only] = levels.as_mut_slice()
                && only.eq_ignore_ascii_case(b"INBOX")
            {
                only.make_ascii_uppercase();
            }
            if !levels.is_empty() && !names.contains(&levels) {
                names.push(levels);
            }
        }
        Ok(Self { version, names })
    }

    /// The file's content.
    pub fn write(&self) -> Vec<u8> {
        let mut out = match self.version {
            Version::One(_) => Vec::new(),
            Version::Two => HEADER.to_vec(),
        };
        for levels in &self.names {
            for (i, level) in levels.iter().enumerate() {
                match self.version {
                    Version::One(separator) => {
                        if i > 0 {
                            out.extend_from_slice(separator.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                        out.extend_from_slice(level);
                    }
                    Version::Two => {
                        if i > 0 {
                            out.push(b'\t');
                        }
                        escape(level, &mut out);
                    }
                }
            }
            out.push(b'\n');
        }
        out
    }

    /// The names.
    pub fn names(&self) -> &[Levels] {
        &self.names
    }

    /// Adds a name at the end; `false` when it is there.
    pub fn add(&mut self, name: &[Vec<u8>]) -> bool {
        let new = !self.names.iter().any(|n| n == name);
        if new {
            self.names.push(name.to_vec());
        }
        new
    }

    /// Takes a name away; `false` when it is not there.
    pub fn remove(&mut self, name: &[Vec<u8>]) -> bool {
        let before = self.names.len();
        self.names.retain(|n| n != name);
        self.names.len() < before
    }
}

impl Default for Subscriptions {
    fn default() -> Self {
        Self::new()
    }
}

fn split(line: &[u8], separator: char) -> impl Iterator<Item = &[u8]> {
    // Separators are `.` and `/`.
    let byte = u8::try_from(separator).unwrap_or(b'/');
    line.split(move |b| *b == byte)
}

/// Undoes the tab-escape: byte 1 and then `0` NUL, `1` byte 1, `t` TAB, `r` CR, `n` LF, anything else itself.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(b) = bytes.next() {
        match b {
            1 => match bytes.next() {
                Some(b'0') => out.push(0),
                Some(b't') => out.push(b'\t'),
                Some(b'r') => out.push(b'\r'),
                Some(b'n') => out.push(b'\n'),
                Some(b'1') => out.push(1),
                Some(other) => out.push(*other),
                None => (),
            },
            b => out.push(*b),
        }
    }
    out
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    for b in text {
        match b {
            0 => out.extend_from_slice(b"\x010"),
            1 => out.extend_from_slice(b"\x011"),
            b'\t' => out.extend_from_slice(b"\x01t"),
            b'\r' => out.extend_from_slice(b"\x01r"),
            b'\n' => out.extend_from_slice(b"\x01n"),
            b => out.push(*b),
        }
    }
}

/// Reads the file in `dir`. A missing one is empty.
pub fn load(dir: &Dir<'_>, separator: char) -> io::Result<Subscriptions> {
    match dir.read(NAME, MOST) {
        Ok(text) => Subscriptions::read(&text, separator).map_err(io::Error::other),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Subscriptions::new()),
        Err(e) => Err(e),
    }
}

/// Dovecot's times for this lock: wait for 120 s, stale after 30 s without a change. We wait less, since somebody
/// waits for us, but longer than it takes to become stale.
pub const TIMES: LockTimes = LockTimes { wait: Duration::from_secs(35), stale: Duration::from_secs(30) };

/// Changes the file under its lock: `edit` says whether anything was changed; if not, nothing is written.
pub fn change(
    dir: &Dir<'_>,
    separator: char,
    holder: &Holder,
    edit: impl FnOnce(&mut Subscriptions) -> bool,
) -> io::Result<()> {
    let what = Lock { lock: LOCK, protects: NAME, content: Content::Empty, times: TIMES };
    let lock = Dotlock::acquire(dir, &what, holder, &mut Contention::default())?;
    let mut list = load(dir, separator)?;
    if edit(&mut list) { lock.replace(&list.write(), Durability::OnDisk) } else { lock.release() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Levels {
        text.split('/').map(|l| l.as_bytes().to_vec()).collect()
    }

    /// Written by Dovecot 2.3.19.1.
    const REAL: &[u8] = include_bytes!("../tests/dovecot/subscriptions");

    #[test]
    fn dovecots_own_file() {
        let list = Subscriptions::read(REAL, '.').unwrap();
        assert_eq!(list.names(), [name("INBOX"), name("Work/2024"), name("Entw&APw-rfe")]);
        assert_eq!(list.write(), REAL);
    }

    #[test]
    fn version_1_stays_version_1() {
        let mut list = Subscriptions::read(b"inbox\nWork.2024.\n\nOld", '.').unwrap();
        assert_eq!(list.names(), [name("INBOX"), name("Work/2024"), name("Old")]);
        assert!(list.add(&name("a/b")) && !list.add(&name("a/b")));
        assert!(list.remove(&name("Old")) && !list.remove(&name("Old")));
        assert_eq!(list.write(), b"INBOX\nWork.2024\na.b\n");
    }

    #[test]
    fn new_files_are_version_2_and_escape() {
        let mut list = Subscriptions::new();
        list.add(&[b"a\tb\x01".to_vec(), b"c\r\n\0".to_vec()]);
        assert_eq!(list.write(), b"V\t2\n\na\x01tb\x011\tc\x01r\x01n\x010\n");
        assert_eq!(Subscriptions::read(&list.write(), '.').unwrap(), list);
        assert_eq!(Subscriptions::read(b"V\t3\n\nx\n", '.'), Err(UnknownVersion));
    }

    proptest! {
        #[test]
        fn any_bytes(data in "(V\t[23]\n\n?)?([a-cA-Z./\t\x01]{0,6}\n?){0,8}") {
            crate::fuzz::fuzz_subscriptions(data.as_bytes());
        }
    }
}
