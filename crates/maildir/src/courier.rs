//! What Courier keeps beside the mail, read where Dovecot's files are not there yet: UIDs, subscriptions, keywords.
//!
//! * `courierimapuiddb`, in each mailbox: the form of a `dovecot-uidlist` of version 1.
//! * `courierimapsubscribed`, in the root: a name a line, with the `INBOX.` before it that Courier's clients see.
//! * `courierimapkeywords/`, in each mailbox: `:list` has the keywords, a line each, an empty line, then `base:0 2`, the places
//!   of a message's keywords. What changed since lies in files of its own named after the base, a keyword a line: `.12.base`, of
//!   which the highest number counts, and `base`, which counts more than any of them.
//!
//! Nothing of Courier's is changed. Once Dovecot's files are there they count, and these are not looked at again. Anything
//! that cannot be read is passed over: then there is nothing to be known.

use crate::filename;
use crate::uidlist::{self, Version};
use culver_base::Keyword;
use culver_store::io::{Dir, EntryKind};
use std::collections::BTreeMap;
use std::io;

/// UIDs of a mailbox.
pub const UIDS: &[u8] = b"courierimapuiddb";
/// Subscriptions of an account.
pub const SUBSCRIBED: &[u8] = b"courierimapsubscribed";
/// The folder of keywords of a mailbox.
pub const KEYWORDS: &[u8] = b"courierimapkeywords";
/// Sizes and UIDLs of Courier's POP3 server, which are not read.
pub const POP3: &[u8] = b"courierpop3dsizelist";

const LIST: &[u8] = b":list";
/// No larger list is read.
const MAX_LIST: usize = 256 << 20;
/// Nor keywords of one message.
const MAX_ONE: usize = 1 << 16;
/// Nor subscriptions.
const MAX_SUBSCRIBED: usize = 16 << 20;

/// `courierimapuiddb` as a file that can stand as `dovecot-uidlist`. `None`: there is none, or it has no UIDVALIDITY.
///
/// # Errors
/// From the file system.
pub fn uids(mailbox: &Dir<'_>, most: usize) -> io::Result<Option<Vec<u8>>> {
    let octets = match mailbox.read(UIDS, most) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let read = uidlist::read(&octets);
    Ok(read.header.filter(|_| read.version == Version::One).map(|h| uidlist::write(&h, read.entries)))
}

/// Subscribed names in storage form, level by level. `None`: there is no such file.
///
/// # Errors
/// From the file system.
pub fn subscribed(root: &Dir<'_>) -> io::Result<Option<Vec<Vec<Vec<u8>>>>> {
    match root.read(SUBSCRIBED, MAX_SUBSCRIBED) {
        Ok(text) => Ok(Some(read_subscribed(&text))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn read_subscribed(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut all: Vec<Vec<Vec<u8>>> = Vec::new();
    for line in text.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let levels: Vec<&[u8]> = line.split(|b| *b == b'.').collect();
        let levels = match levels.as_slice() {
            [first] if first.eq_ignore_ascii_case(b"INBOX") => &[&b"INBOX"[..]][..],
            // Other namespaces (`shared.`, `#shared.`) have no place here.
            [first, rest @ ..] if first.eq_ignore_ascii_case(b"INBOX") => rest,
            _ => continue,
        };
        let levels: Vec<Vec<u8>> = levels.iter().map(|l| l.to_vec()).collect();
        if levels.iter().all(|l| !l.is_empty()) && !all.contains(&levels) {
            all.push(levels);
        }
    }
    all
}

/// The keywords of a mailbox's messages, by base. Empty when there are none.
///
/// # Errors
/// From the file system.
pub fn keywords(mailbox: &Dir<'_>) -> io::Result<BTreeMap<Vec<u8>, Vec<Keyword>>> {
    let dir = match mailbox.open_dir(KEYWORDS) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(BTreeMap::new());
        }
        open => open?,
    };
    let mut all = match dir.read(LIST, MAX_LIST) {
        Ok(text) => read_list(&text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(e) => return Err(e),
    };
    // Which file says the last word of each base: the number, and none for the base alone.
    let mut last: BTreeMap<Vec<u8>, (Option<u64>, Vec<u8>)> = BTreeMap::new();
    for entry in dir.read_dir()?.iter().filter(|e| e.name != LIST && e.kind != EntryKind::Directory) {
        let (number, base) = update(entry.name);
        let newer =
            |old: &(Option<u64>, Vec<u8>)| number.is_none() || old.0.is_some_and(|o| Some(o) < number);
        if last.get(base).is_none_or(newer) {
            last.insert(base.to_vec(), (number, entry.name.to_vec()));
        }
    }
    for (base, (_, name)) in last {
        // Gone by now, or not for us: what the list says stays.
        if let Ok(text) = dir.read(&name, MAX_ONE) {
            all.insert(base, text.split(|b| *b == b'\n').filter_map(keyword).collect());
        }
    }
    all.retain(|_, keywords| !keywords.is_empty());
    Ok(all)
}

/// `.12.base` or `base`.
fn update(name: &[u8]) -> (Option<u64>, &[u8]) {
    let numbered = || {
        let rest = name.strip_prefix(b".")?;
        let dot = rest.iter().position(|b| *b == b'.')?;
        let number = std::str::from_utf8(&rest[..dot]).ok()?.parse().ok()?;
        Some((Some(number), filename::base(&rest[dot + 1..])))
    };
    numbered().unwrap_or((None, filename::base(name)))
}

fn keyword(line: &[u8]) -> Option<Keyword> {
    Keyword::new(std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).ok()?)
}

fn read_list(text: &[u8]) -> BTreeMap<Vec<u8>, Vec<Keyword>> {
    let mut lines = text.split(|b| *b == b'\n');
    // The empty line is the end of the names.
    let names: Vec<Option<Keyword>> = lines.by_ref().take_while(|l| !l.is_empty()).map(keyword).collect();
    let mut all = BTreeMap::new();
    for line in lines {
        let Some(colon) = line.iter().rposition(|b| *b == b':') else { continue };
        let Ok(places) = std::str::from_utf8(&line[colon + 1..]) else { continue };
        let places = places.split(' ').filter_map(|n| n.parse::<usize>().ok());
        let keywords: Vec<Keyword> = places.filter_map(|n| names.get(n)?.clone()).collect();
        all.insert(filename::base(&line[..colon]).to_vec(), keywords);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use culver_store::io::{Io, IoSettings};
    use proptest::prelude::*;

    /// As `maildirkw -L` of courier-base 1.0.16 wrote it.
    const REAL: &[u8] = b"$Forwarded\nProject\n\n1000.M1.host:0 1\n1001.M1.host:1\n";

    fn words(keywords: &[Keyword]) -> Vec<&str> {
        keywords.iter().map(Keyword::as_str).collect()
    }

    #[test]
    fn subscriptions_lose_their_inbox() {
        let read = read_subscribed(
            b"INBOX\nINBOX.Work.2024\r\nINBOX.Entw&APw-rfe\nshared.x\nINBOX.\n\nINBOX.Work.2024\n",
        );
        let text: Vec<String> = read.iter().map(|l| String::from_utf8(l.join(&b'/')).unwrap()).collect();
        assert_eq!(text, ["INBOX", "Work/2024", "Entw&APw-rfe"]);
    }

    #[test]
    fn the_list_and_what_changed_since() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("courierimapkeywords");
        std::fs::create_dir(&dir).unwrap();
        let files: [(&str, &[u8]); 6] = [
            (":list", REAL),
            (".9.1001.M1.host", b"Nine\n"),
            (".10.1001.M1.host", b"Ten\nMore\n"),
            (".10.1002.M1.host", b"Older\n"),
            ("1002.M1.host", b"Newest\n"),
            (".7.1000.M1.host", b""),
        ];
        for (name, text) in files {
            std::fs::write(dir.join(name), text).unwrap();
        }
        let io = Io::new(IoSettings { threads: 1, ..IoSettings::default() }).unwrap();
        let path = temp.path().to_owned();
        let all = io.run_blocking(None, move |fs| keywords(&fs.open_root(&path).unwrap()).unwrap()).unwrap();
        let all: Vec<_> = all.iter().map(|(b, k)| (std::str::from_utf8(b).unwrap(), words(k))).collect();
        // All of the first one's were taken away.
        assert_eq!(all, [("1001.M1.host", vec!["Ten", "More"]), ("1002.M1.host", vec!["Newest"])]);
    }

    #[test]
    fn the_list_alone() {
        let all = read_list(REAL);
        assert_eq!(words(&all[&b"1000.M1.host"[..]]), ["$Forwarded", "Project"]);
        assert_eq!(words(&all[&b"1001.M1.host"[..]]), ["Project"]);
        assert!(read_list(b"no names end").is_empty());
    }

    proptest! {
        #[test]
        fn any_octets(data in "([a-c:0-9. \r\n]{0,12}\n){0,8}") {
            read_list(data.as_bytes());
            read_subscribed(data.as_bytes());
        }
    }
}
