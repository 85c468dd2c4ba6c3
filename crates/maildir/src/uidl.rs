//! POP3's unique identifiers, as Dovecot gives them: what a POP3 server on this tree answers to UIDL, and in which order.
//!
//! A message's own identifier is the `P` field of its record in `dovecot-uidlist` (empty: the base of its file name); else a
//! template makes one. Messages with an `O` field come first, by its number, then the others by UID.
//!
//! Few mailboxes have such fields, and those that do are seldom written: [`Fields`] keeps what the file says together with
//! its stamp, and reads what was appended rather than all.

use crate::core::stamp;
use crate::filename::{self, Kind};
use crate::model::Stamp;
use crate::place::MailboxPlace;
use crate::uidlist::{self, Health, Version};
use culver_base::{Uid, UidValidity, UidlFormat};
use culver_store::StoredId;
use culver_store::io::{Dir, Fs};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// No larger uidlist is read.
const MAX_LIST: usize = 1 << 30;

/// What `dovecot-uidlist` says for POP3.
#[derive(Clone, Default)]
pub struct Fields {
    stamp: Stamp,
    /// Octets that were read.
    used: u64,
    last: Option<Uid>,
    /// `P` and `G`.
    pub stored: Arc<HashMap<Uid, StoredId>>,
    /// `O`
    pub order: Arc<HashMap<Uid, u64>>,
}

impl Fields {
    /// Reads what is new. Without a uidlist there is nothing.
    pub fn refresh(&mut self, control: &Dir<'_>) -> io::Result<()> {
        let file = match control.open_file(uidlist::NAME) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                *self = Self::default();
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let now = stamp(&file.stat_when_opened()?);
        if self.stamp.ino != 0 && self.stamp.settled && now.matches(&self.stamp) {
            return Ok(());
        }
        let grown = self.stamp.ino == now.ino && self.used > 0 && now.size >= self.used;
        if grown {
            let octets = file.read_from(self.used, MAX_LIST)?;
            let more = uidlist::read_more(&octets, Version::Three, self.last);
            if more.health == Health::Good {
                self.stamp = now;
                self.used += more.used as u64;
                self.take(&more.entries);
                return Ok(());
            }
        }
        let octets = file.read_from(0, MAX_LIST)?;
        let read = uidlist::read(&octets);
        let appended_as_three = read.version == Version::Three;
        *self = Self {
            stamp: now,
            used: if appended_as_three { read.used as u64 } else { 0 },
            ..Self::default()
        };
        self.take(&read.entries);
        Ok(())
    }

    fn take(&mut self, entries: &[uidlist::Entry<'_>]) {
        for e in entries {
            self.last = Some(e.uid);
            if e.raw_fields.is_empty() {
                continue;
            }
            let (id, guid) = (e.field(b'P'), e.field(b'G'));
            if id.is_some() || guid.is_some() {
                let stored = StoredId { id: id.map(Into::into), guid: guid.map(Into::into) };
                Arc::make_mut(&mut self.stored).insert(e.uid, stored);
            }
            if let Some(number) = order(e) {
                Arc::make_mut(&mut self.order).insert(e.uid, number);
            }
        }
    }
}

fn order(e: &uidlist::Entry<'_>) -> Option<u64> {
    std::str::from_utf8(e.field(b'O')?).ok()?.parse().ok()
}

/// The identifiers of these records, in POP3's order.
pub fn identifiers(
    entries: &[uidlist::Entry<'_>],
    validity: UidValidity,
    format: &UidlFormat,
) -> Vec<(Uid, Vec<u8>)> {
    let mut sorted: Vec<&uidlist::Entry<'_>> = entries.iter().collect();
    sorted.sort_by_key(|e| {
        let number = order(e);
        (number.is_none(), number, e.uid)
    });
    let own = |e: &uidlist::Entry<'_>| match e.field(b'P') {
        Some(b"") => e.base.to_vec(),
        Some(own) => own.to_vec(),
        None => {
            let mut out = Vec::new();
            format.make(e.uid, validity, e.base, e.field(b'G').unwrap_or(e.base), &mut out);
            out
        }
    };
    sorted.into_iter().map(|e| (e.uid, own(e))).collect()
}

/// The identifiers of a mailbox's messages as its files say. Reads; changes nothing. Messages that have no UID yet are left
/// out.
///
/// # Errors
/// From the file system; `InvalidData` when `dovecot-uidlist` has no UIDVALIDITY.
pub fn load(fs: &Fs, place: &MailboxPlace, format: &UidlFormat) -> io::Result<Vec<(Uid, Vec<u8>)>> {
    let dir = fs.open_root(&place.root)?.open_dir(place.dir.as_os_str().as_bytes())?;
    let octets = fs.open_root(&place.control)?.read(uidlist::NAME, MAX_LIST)?;
    let read = uidlist::read(&octets);
    let header = read.header.ok_or(io::ErrorKind::InvalidData)?;
    let mut here: HashSet<Vec<u8>> = HashSet::new();
    for sub in [&b"new"[..], b"cur"] {
        let names = dir.open_dir(sub)?.read_dir()?;
        let messages = names.iter().filter(|e| filename::kind(e.name) == Kind::Message);
        here.extend(messages.map(|e| filename::base(e.name).to_vec()));
    }
    let entries: Vec<_> = read.entries.into_iter().filter(|e| here.contains(e.base)).collect();
    Ok(identifiers(&entries, header.uid_validity, format))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(list: &[u8], template: &str) -> Vec<String> {
        let read = uidlist::read(list);
        let validity = read.header.unwrap().uid_validity;
        let all = identifiers(&read.entries, validity, &UidlFormat::parse(template).unwrap());
        all.into_iter().map(|(uid, id)| format!("{uid} {}", String::from_utf8(id).unwrap())).collect()
    }

    #[test]
    fn own_identifiers_and_order() {
        let list = b"3 V1 N9 G00112233445566778899aabbccddeeff\n1 :a\n2 Pold-2 O2 :b\n3 P O1 :c\n";
        assert_eq!(ids(list, "%u"), ["3 c", "2 old-2", "1 1"]);
        let list = b"3 V1700000000 N43 G00112233445566778899aabbccddeeff\n41 :a.b.c\n42 Gguid :d\n";
        assert_eq!(ids(list, "%g"), ["41 a.b.c", "42 guid"]);
        assert_eq!(ids(list, "%f"), ["41 a.b.c", "42 d"]);
    }
}
