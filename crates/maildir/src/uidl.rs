//! POP3's unique identifiers, as Dovecot gives them: what a POP3 server on this tree answers to UIDL, and in which order.
//!
//! A message's own identifier is the `P` field of its record in `dovecot-uidlist` (empty: the base of its file name); else a
//! template makes one. Messages with an `O` field come first, by its number, then the others by UID.

use crate::filename::{self, Kind};
use crate::place::MailboxPlace;
use crate::uidlist;
use culver_base::{Uid, UidValidity};
use culver_store::io::Fs;
use std::collections::HashSet;
use std::io;
use std::os::unix::ffi::OsStrExt;

/// No larger uidlist is read.
const MAX_LIST: usize = 1 << 30;

/// What identifiers are made of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template(Vec<Piece>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    Uid(Radix),
    UidValidity(Radix),
    /// The base of the file's name; a message's GUID is the same unless the record says otherwise.
    Base,
    Guid,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Radix {
    Decimal,
    /// With leading zeros up to this width.
    Hex(usize),
}

impl Default for Template {
    /// Dovecot's: `%08Xu%08Xv`.
    fn default() -> Self {
        Self(vec![Piece::Uid(Radix::Hex(8)), Piece::UidValidity(Radix::Hex(8))])
    }
}

impl Template {
    /// Reads `pop3_uidl_format`, of Dovecot 2.3 (`%08Xu%08Xv`, `%v-%u`, `%f`, `%g`) or 2.4 (`%{uid | hex(8)}`). `None`: it has
    /// something that a Maildir does not (`%m`), or is not understood.
    pub fn parse(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (piece, behind) = match after.strip_prefix('{') {
                Some(inner) => {
                    let (inner, behind) = inner.split_once('}')?;
                    (long(inner)?, behind)
                }
                None => short(after)?,
            };
            pieces.push(piece);
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        (!pieces.is_empty()).then_some(Self(pieces))
    }

    fn make(&self, entry: &uidlist::Entry<'_>, validity: UidValidity) -> Vec<u8> {
        let mut out = Vec::new();
        let number = |n: u32, radix: Radix, out: &mut Vec<u8>| {
            let text = match radix {
                Radix::Decimal => n.to_string(),
                Radix::Hex(width) => format!("{n:0width$x}"),
            };
            out.extend_from_slice(text.as_bytes());
        };
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Uid(radix) => number(entry.uid.get(), *radix, &mut out),
                Piece::UidValidity(radix) => number(validity.get(), *radix, &mut out),
                Piece::Base => out.extend_from_slice(entry.base),
                Piece::Guid => out.extend_from_slice(entry.field(b'G').unwrap_or(entry.base)),
            }
        }
        out
    }
}

/// `08Xu`, `u`, `f`: digits for the width, `X` for hexadecimal, the variable.
fn short(text: &str) -> Option<(Piece, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let width: usize = if digits == 0 { 0 } else { text[..digits].parse().ok().filter(|w| *w <= 64)? };
    let (radix, at) = match text[digits..].strip_prefix('X') {
        Some(_) => (Radix::Hex(width), digits + 1),
        None => (Radix::Decimal, digits),
    };
    let piece = match text[at..].bytes().next()? {
        b'u' => Piece::Uid(radix),
        b'v' => Piece::UidValidity(radix),
        b'f' if at == 0 => Piece::Base,
        b'g' if at == 0 => Piece::Guid,
        b'%' if at == 0 => Piece::Text("%".to_owned()),
        _ => return None,
    };
    Some((piece, &text[at + 1..]))
}

/// `uid | hex(8)`
fn long(text: &str) -> Option<Piece> {
    let mut words = text.split('|').map(str::trim);
    let name = words.next()?;
    let radix = match (words.next(), words.next()) {
        (None, _) => Radix::Decimal,
        (Some("hex"), None) => Radix::Hex(0),
        (Some(filter), None) => {
            let width = filter.strip_prefix("hex(")?.strip_suffix(')')?;
            Radix::Hex(width.trim().parse().ok().filter(|w| *w <= 64)?)
        }
        _ => return None,
    };
    Some(match name {
        "uid" => Piece::Uid(radix),
        "uidvalidity" => Piece::UidValidity(radix),
        "filename" => Piece::Base,
        "guid" => Piece::Guid,
        _ => return None,
    })
}

/// The identifiers of these records, in POP3's order.
pub fn identifiers(
    entries: &[uidlist::Entry<'_>],
    validity: UidValidity,
    template: &Template,
) -> Vec<(Uid, Vec<u8>)> {
    let order = |e: &uidlist::Entry<'_>| {
        let number = e.field(b'O').and_then(|o| std::str::from_utf8(o).ok()?.parse::<u64>().ok());
        (number.is_none(), number, e.uid)
    };
    let mut sorted: Vec<&uidlist::Entry<'_>> = entries.iter().collect();
    sorted.sort_by_key(|e| order(e));
    let own = |e: &uidlist::Entry<'_>| match e.field(b'P') {
        Some(b"") => e.base.to_vec(),
        Some(own) => own.to_vec(),
        None => template.make(e, validity),
    };
    sorted.into_iter().map(|e| (e.uid, own(e))).collect()
}

/// The identifiers of a mailbox's messages as its files say. Reads; changes nothing. Messages that have no UID yet are left
/// out.
///
/// # Errors
/// From the file system; `InvalidData` when `dovecot-uidlist` has no UIDVALIDITY.
pub fn load(fs: &Fs, place: &MailboxPlace, template: &Template) -> io::Result<Vec<(Uid, Vec<u8>)>> {
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
    Ok(identifiers(&entries, header.uid_validity, template))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(list: &[u8], template: &str) -> Vec<String> {
        let read = uidlist::read(list);
        let validity = read.header.unwrap().uid_validity;
        let all = identifiers(&read.entries, validity, &Template::parse(template).unwrap());
        all.into_iter().map(|(uid, id)| format!("{uid} {}", String::from_utf8(id).unwrap())).collect()
    }

    /// Dovecot's documentation of pop3_uidl_format names these templates and where they come from.
    #[test]
    fn templates() {
        let list = b"3 V1700000000 N43 G00112233445566778899aabbccddeeff\n41 :a.b.c\n42 Gguid :d\n";
        for (template, want) in [
            ("%08Xu%08Xv", ["41 000000296553f100", "42 0000002a6553f100"]),
            ("%{uid | hex(8)}%{uidvalidity | hex(8)}", ["41 000000296553f100", "42 0000002a6553f100"]),
            ("%v-%u", ["41 1700000000-41", "42 1700000000-42"]),
            ("%u", ["41 41", "42 42"]),
            ("UID%u-%v", ["41 UID41-1700000000", "42 UID42-1700000000"]),
            ("%f", ["41 a.b.c", "42 d"]),
            ("%g", ["41 a.b.c", "42 guid"]),
        ] {
            assert_eq!(ids(list, template), want, "{template}");
        }
        assert_eq!(Template::parse("%08Xu%08Xv"), Some(Template::default()));
        for bad in ["", "%m", "%", "%{uid", "%{uid | md5}", "%999Xu"] {
            assert_eq!(Template::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn own_identifiers_and_order() {
        let list = b"3 V1 N9 G00112233445566778899aabbccddeeff\n1 :a\n2 Pold-2 O2 :b\n3 P O1 :c\n";
        assert_eq!(ids(list, "%u"), ["3 c", "2 old-2", "1 1"]);
    }
}
