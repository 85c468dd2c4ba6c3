//! `dovecot-uidlist`: which base had which UID. Pure: bytes in, values out, bytes out.
//!
//! ```text
//! 3 V1700000000 N43 G5f1c3b...32 hex digits... [other header fields]
//! 41 :1700000001.M5P1.host,S=100,W=104
//! 42 S2048 W2099 :1700000002.M5P1.host
//! ```
//!
//! What is hard about it:
//!
//! * It is the only record of UIDs that survives the loss of our own state, and Dovecot and we write it in turns. So
//!   all that we do not know (header keys, record fields) is kept word for word.
//! * It is appended to without changing the header: `N` is only a lower bound, readers raise it to the last UID + 1. The
//!   last line may still be on its way: it counts once its LF is there.
//! * Dovecot deletes a broken file, and then every client downloads everything again. Here reading never fails:
//!   good lines are kept, [`Health`] says whether the file is to be written anew, or put aside first.
//! * A record proves only that the base had this UID. The same base may come twice (an expunged file was moved back):
//!   the later record counts, and that is for the caller to see, who has a table of bases anyway.
//!
//! Version 1 (Courier's `courierimapuiddb`, Dovecot 1.0) is read and written as version 3.

use culver_base::{Uid, UidValidity};
use culver_snapshot::MailboxId;
use std::fmt;
use std::io::Write as _;

/// The name of the file.
pub const NAME: &[u8] = b"dovecot-uidlist";
/// The name of its lock, which also guards `dovecot-keywords`.
pub const LOCK: &[u8] = b"dovecot-uidlist.lock";
/// The name under which it is written before it is renamed.
pub const TEMPORARY: &[u8] = b"dovecot-uidlist.tmp";

/// The largest UID that the format allows: 2^32 - 2.
pub const LAST_UID: u32 = u32::MAX - 1;

/// The first digit of the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// Courier's.
    One,
    /// Today's.
    Three,
}

/// The first line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// `V`
    pub uid_validity: UidValidity,
    /// `N`, raised above the last record's UID.
    pub next_uid: u32,
    /// `G`
    pub id: Option<MailboxId>,
    /// All other fields, as they stand, with one space between them.
    pub other: Vec<u8>,
}

/// A record.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// Its UID.
    pub uid: Uid,
    /// The base of the file's name.
    pub base: &'a [u8],
    /// The extension fields as they stand between the UID and the colon.
    pub raw_fields: &'a [u8],
}

impl<'a> Entry<'a> {
    /// A record without extension fields.
    pub fn new(uid: Uid, base: &'a [u8]) -> Self {
        Self { uid, base, raw_fields: b"" }
    }

    /// The extension fields: key and value. Known are `S` and `W` (sizes that are not in the name), `P` and `O` (POP3
    /// UIDL and order), `G` (GUID of the message, if not the base).
    pub fn fields(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        self.raw_fields.split(|b| *b == b' ').filter_map(|field| match field.split_first() {
            Some((b'G', b"")) => None,
            Some((key @ b'A'..=b'Z', value)) => Some((*key, value)),
            _ => None,
        })
    }

    /// The value of one extension field.
    pub fn field(&self, wanted: u8) -> Option<&'a [u8]> {
        self.fields().find(|(key, _)| *key == wanted).map(|(_, value)| value)
    }
}

impl PartialEq for Entry<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.uid == other.uid && self.base == other.base && self.fields().eq(other.fields())
    }
}
impl Eq for Entry<'_> {}
impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?} :{}",
            self.uid,
            self.raw_fields.escape_ascii().to_string(),
            self.base.escape_ascii()
        )
    }
}

/// In what state the file is, the worst thing found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// As it should be.
    Good,
    /// All was read, but the file should be written anew (version 1, no GUID, an odd field was dropped).
    Rewrite,
    /// Something could not be read: put the file aside and write it anew. The line, from 1, and what is wrong.
    Broken(usize, &'static str),
}

impl Health {
    fn worsen(&mut self, to: Self) {
        match (*self, to) {
            (Self::Broken(..), _) | (_, Self::Good) => (),
            _ => *self = to,
        }
    }
}

/// A whole file, read.
#[derive(Clone, Debug)]
pub struct Read<'a> {
    /// `None` when there is no UIDVALIDITY to be had from it.
    pub header: Option<Header>,
    /// How the records are written.
    pub version: Version,
    /// Records with ascending UIDs.
    pub entries: Vec<Entry<'a>>,
    /// Octets up to the end of the last complete line: where [`read_more`] goes on.
    pub used: usize,
    /// State of the file.
    pub health: Health,
}

/// Records that were appended since.
#[derive(Clone, Debug)]
pub struct More<'a> {
    /// Records with ascending UIDs, all above the last one known.
    pub entries: Vec<Entry<'a>>,
    /// Octets of `bytes` up to the end of the last complete line.
    pub used: usize,
    /// If this is not good, read the whole file once more before believing it.
    pub health: Health,
}

/// Reads a file from its start. A last line without LF is left for later.
pub fn read(bytes: &[u8]) -> Read<'_> {
    let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
        let health = Health::Broken(1, "it has no header");
        return Read { header: None, version: Version::Three, entries: Vec::new(), used: 0, health };
    };
    let mut health = Health::Good;
    let (version, mut header) = read_header(&bytes[..end], &mut health);
    let limit = match (version, &header) {
        (Version::One, Some(h)) => h.next_uid,
        _ => u32::MAX,
    };
    let more = read_records(&bytes[end + 1..], version, 0, limit, 2);
    health.worsen(more.health);
    if let Some(header) = &mut header {
        if let Some(last) = more.entries.last() {
            header.next_uid = header.next_uid.max(last.uid.get() + 1);
        }
        if header.id.is_none() {
            health.worsen(Health::Rewrite);
        }
    }
    Read { header, version, entries: more.entries, used: end + 1 + more.used, health }
}

/// Reads what was appended behind an earlier [`Read::used`]; `last` is the last UID known.
pub fn read_more(bytes: &[u8], version: Version, last: Option<Uid>) -> More<'_> {
    read_records(bytes, version, last.map_or(0, Uid::get), u32::MAX, 1)
}

fn read_header(line: &[u8], health: &mut Health) -> (Version, Option<Header>) {
    let mut fields = line.split(|b| *b == b' ').filter(|f| !f.is_empty());
    let first = fields.next();
    if !line.starts_with(b"1 ") && !line.starts_with(b"3 ") {
        health.worsen(Health::Broken(1, "the header's version is neither 1 nor 3"));
        return (Version::Three, None);
    }
    if first == Some(b"1") {
        health.worsen(Health::Rewrite);
        let uid_validity = fields.next().and_then(number).and_then(UidValidity::new);
        let next_uid = fields.next().and_then(number).filter(|n| *n != 0);
        if uid_validity.is_none() || next_uid.is_none() {
            health.worsen(Health::Broken(1, "the header of version 1 is incomplete"));
        }
        let header = uid_validity.map(|uid_validity| Header {
            uid_validity,
            next_uid: next_uid.unwrap_or(1),
            id: None,
            other: Vec::new(),
        });
        return (Version::One, header);
    }
    let (mut uid_validity, mut next_uid, mut id, mut other) = (None, None, None, Vec::new());
    for field in fields {
        let value = &field[1..];
        match field[0] {
            b'V' => uid_validity = number(value).and_then(UidValidity::new),
            b'N' => next_uid = number(value).filter(|n| *n != 0),
            b'G' => id = std::str::from_utf8(value).ok().and_then(MailboxId::parse),
            _ => {
                if !other.is_empty() {
                    other.push(b' ');
                }
                other.extend_from_slice(field);
            }
        }
    }
    if uid_validity.is_none() {
        health.worsen(Health::Broken(1, "the header has no UIDVALIDITY"));
    } else if next_uid.is_none() {
        health.worsen(Health::Broken(1, "the header has no next UID"));
    }
    let next_uid = next_uid.unwrap_or(1);
    (Version::Three, uid_validity.map(|uid_validity| Header { uid_validity, next_uid, id, other }))
}

fn number(text: &[u8]) -> Option<u32> {
    let (value, rest) = leading_number(text)?;
    rest.is_empty().then_some(value)
}

fn leading_number(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let value =
        text[..digits].iter().try_fold(0u32, |n, b| n.checked_mul(10)?.checked_add(u32::from(b - b'0')))?;
    Some((value, &text[digits..]))
}

fn read_records(bytes: &[u8], version: Version, last: u32, limit: u32, first_line: usize) -> More<'_> {
    let mut more = More { entries: Vec::with_capacity(bytes.len() / 64), used: 0, health: Health::Good };
    let mut last = last;
    let mut line_number = first_line;
    while let Some(len) = memchr::memchr(b'\n', &bytes[more.used..]) {
        let line = &bytes[more.used..more.used + len];
        more.used += len + 1;
        match read_record(line, version, last, limit, &mut more.health) {
            Ok(entry) => {
                last = entry.uid.get();
                more.entries.push(entry);
            }
            Err(why) => more.health.worsen(Health::Broken(line_number, why)),
        }
        line_number += 1;
    }
    more
}

fn read_record<'a>(
    line: &'a [u8],
    version: Version,
    last: u32,
    limit: u32,
    health: &mut Health,
) -> Result<Entry<'a>, &'static str> {
    let (uid, rest) = leading_number(line).ok_or("a record does not begin with a UID")?;
    let rest = rest.strip_prefix(b" ").ok_or("a record has no space behind its UID")?;
    if uid <= last {
        return Err("the UIDs do not ascend");
    }
    if uid >= limit || uid > LAST_UID {
        return Err("a UID is too high");
    }
    let uid = Uid::new(uid).ok_or("a UID is zero")?;
    // Spaces alone are between fields; a tab belongs to one.
    let rest = &rest[rest.iter().take_while(|b| **b == b' ').count()..];
    let (raw_fields, name) = match version {
        Version::One => (&b""[..], rest),
        Version::Three => {
            let (mut at, mut end) = (0, 0);
            while rest.get(at).is_some_and(|b| *b != b':') {
                let len = rest[at..].iter().position(|b| *b == b' ').unwrap_or(rest.len() - at);
                if !rest[at].is_ascii_uppercase() || (rest[at] == b'G' && len == 1) {
                    health.worsen(Health::Rewrite);
                }
                at += len;
                end = at;
                at += rest[at..].iter().take_while(|b| **b == b' ').count();
            }
            (&rest[..end], rest.get(at + 1..).unwrap_or_default())
        }
    };
    let base = crate::filename::base(name);
    if base.is_empty() {
        return Err("a record has no file name");
    }
    if base.contains(&b'/') {
        return Err("a file name holds a slash");
    }
    Ok(Entry { uid, base, raw_fields })
}

/// Puts one record's line behind `out`.
pub fn append_line(out: &mut Vec<u8>, entry: Entry<'_>) {
    // Writing to a vector does not fail.
    drop(write!(out, "{} ", entry.uid));
    for (key, value) in entry.fields() {
        out.push(key);
        out.extend_from_slice(value);
        out.push(b' ');
    }
    out.push(b':');
    out.extend_from_slice(entry.base);
    out.push(b'\n');
}

/// A whole file of version 3. The next UID becomes at least the last one + 1.
pub fn write<'a>(header: &Header, entries: impl IntoIterator<Item = Entry<'a>>) -> Vec<u8> {
    let mut records = Vec::new();
    let mut next_uid = header.next_uid;
    for entry in entries {
        next_uid = next_uid.max(entry.uid.get().saturating_add(1));
        append_line(&mut records, entry);
    }
    let mut out = Vec::with_capacity(records.len() + 64 + header.other.len());
    drop(write!(out, "3 V{} N{next_uid}", header.uid_validity));
    if let Some(id) = header.id {
        drop(write!(out, " G{id}"));
    }
    if !header.other.is_empty() {
        out.push(b' ');
        out.extend_from_slice(&header.other);
    }
    out.push(b'\n');
    out.append(&mut records);
    out
}

/// Is it time to write the file anew, with `live` of its `lines` records still in use? At 75 % and less.
pub fn is_due(live: usize, lines: usize) -> bool {
    live.saturating_mul(4) <= lines.saturating_mul(3)
}

/// Are expunged records left out when the file is written anew? When they are more than a quarter.
pub fn drops_expunged(live: usize, lines: usize) -> bool {
    lines.saturating_sub(live).saturating_mul(4) > lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uid(n: u32) -> Uid {
        Uid::new(n).unwrap()
    }

    /// Written by Dovecot 2.3.19.1.
    const REAL: &[u8] = include_bytes!("../tests/dovecot/dovecot-uidlist");

    #[test]
    fn dovecots_own_file_is_written_as_it_was() {
        let read = read(REAL);
        assert_eq!(read.health, Health::Good);
        let header = read.header.clone().unwrap();
        assert_eq!(header.uid_validity.get(), 1795457604);
        assert_eq!(header.next_uid, 4);
        assert_eq!(read.entries.len(), 3);
        assert_eq!(read.used, REAL.len());
        // Dovecot appends without raising N; whoever writes the file anew does.
        let written = write(&header, read.entries.iter().copied());
        assert_eq!(written, String::from_utf8_lossy(REAL).replacen(" N3 ", " N4 ", 1).as_bytes());
    }

    #[test]
    fn unknown_things_are_kept() {
        let text = b"3 X1 V5  N10 Pu=%u G00112233445566778899aabbccddeeff Zz\n7 W12 Ofoo:bar X :b,S=1:2,S\n9  P :c\n";
        let read = read(text);
        assert_eq!(read.health, Health::Good);
        let header = read.header.unwrap();
        assert_eq!(header.other, b"X1 Pu=%u Zz");
        assert_eq!(read.entries[0].fields().collect::<Vec<_>>().len(), 3);
        assert_eq!(read.entries[0].field(b'O'), Some(&b"foo:bar"[..]));
        assert_eq!(read.entries[0].base, b"b,S=1");
        assert_eq!(read.entries[1].field(b'P'), Some(&b""[..]));
        assert_eq!(
            write(&header, read.entries.iter().copied()),
            b"3 V5 N10 G00112233445566778899aabbccddeeff X1 Pu=%u Zz\n7 W12 Ofoo:bar X :b,S=1\n9 P :c\n"
        );
    }

    #[test]
    fn version_1_is_read_and_becomes_3() {
        let one = read(b"1 1234 9\n3 a.b.c:2,S\n8 name with space\n");
        assert_eq!((one.health, one.version), (Health::Rewrite, Version::One));
        assert_eq!(one.entries[1], Entry::new(uid(8), b"name with space"));
        let written = write(&one.header.unwrap(), one.entries.iter().copied());
        assert_eq!(written, b"3 V1234 N9\n3 :a.b.c\n8 :name with space\n");
        let high = read(b"1 1234 9\n9 a\n");
        assert_eq!(high.health, Health::Broken(2, "a UID is too high"));
    }

    #[test]
    fn the_next_uid_is_never_lowered() {
        let head = b"3 V5 N2 G00112233445566778899aabbccddeeff\n7 :a\n";
        assert_eq!(read(head).header.unwrap().next_uid, 8);
        let head = b"3 V5 N20 G00112233445566778899aabbccddeeff\n7 :a\n";
        assert_eq!(read(head).header.unwrap().next_uid, 20);
    }

    #[test]
    fn broken_lines_cost_themselves_only() {
        const H: &str = "3 V5 N2 G00112233445566778899aabbccddeeff\n";
        for (lines, left, why) in [
            ("1 :a\nrubbish\n2 :b\n", 2, "a record does not begin with a UID"),
            ("1 :a\n2:b\n3 :b\n", 2, "a record has no space behind its UID"),
            ("2 :a\n1 :b\n3 :b\n", 2, "the UIDs do not ascend"),
            ("0 :a\n1 :b\n", 1, "the UIDs do not ascend"),
            ("4294967295 :a\n", 0, "a UID is too high"),
            ("99999999999 :a\n", 0, "a record does not begin with a UID"),
            ("1 :\n2 :b\n", 1, "a record has no file name"),
            ("1 S1 W2\n2 :b\n", 1, "a record has no file name"),
            ("1 :a/b\n2 :b\n", 1, "a file name holds a slash"),
            ("\n2 :b\n", 1, "a record does not begin with a UID"),
        ] {
            let text = format!("{H}{lines}");
            let read = read(text.as_bytes());
            assert_eq!(read.entries.len(), left, "{lines:?}");
            assert!(matches!(read.health, Health::Broken(_, w) if w == why), "{lines:?}: {:?}", read.health);
        }
        let odd = format!("{H}1 s1 G :a\n");
        assert_eq!(read(odd.as_bytes()).health, Health::Rewrite);
        assert_eq!(read(odd.as_bytes()).entries, [Entry::new(uid(1), b"a")]);
        for (header, has) in [
            ("", false),
            ("\n", false),
            ("3\n", false),
            ("2 V1 N1\n", false),
            ("3 N1\n", false),
            ("3 V0 N1\n", false),
            ("3 V1\n", true),
            ("3 V1 N0\n", true),
            ("1 1\n", true),
        ] {
            let text = format!("{header}4 :a\n");
            let read = read(if header.is_empty() { b"" } else { text.as_bytes() });
            assert!(matches!(read.health, Health::Broken(1, _)), "{header:?}");
            assert_eq!(read.header.is_some(), has, "{header:?}");
        }
    }

    #[test]
    fn the_rules_of_rewriting() {
        assert!(is_due(75, 100) && !is_due(76, 100) && !is_due(1, 1));
        assert!(drops_expunged(74, 100) && !drops_expunged(75, 100));
    }

    fn entries() -> impl Strategy<Value = Vec<(u32, String, String)>> {
        let field = prop_oneof![Just(String::new()), "[A-FH-Z][a-z0-9:]{0,3}( [A-FH-Z][0-9]{0,2})?"];
        prop::collection::vec((1u32..50, field, "[a-zA-Z0-9.,=_]{1,8}"), 0..20)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_also_in_pieces(list in entries(), cut in any::<prop::sample::Index>()) {
            let mut last = 0;
            let list: Vec<_> = list.into_iter().map(|(step, fields, base)| { last += step; (last, fields, base) }).collect();
            let entries: Vec<_> = list
                .iter()
                .map(|(u, fields, base)| Entry { uid: uid(*u), base: base.as_bytes(), raw_fields: fields.as_bytes() })
                .collect();
            let header = Header {
                uid_validity: UidValidity::new(77).unwrap(),
                next_uid: 3,
                id: Some(MailboxId([7; 16])),
                other: b"Xx Y".to_vec(),
            };
            let text = write(&header, entries.iter().copied());
            let whole = read(&text);
            prop_assert_eq!(&whole.entries, &entries);
            prop_assert_eq!(whole.health, Health::Good);
            prop_assert_eq!(whole.header.clone().unwrap().next_uid, last.max(2) + 1);
            prop_assert_eq!(write(&whole.header.unwrap(), whole.entries.iter().copied()), text.clone());

            // The writer was interrupted anywhere, and went on.
            let first = read(&text[..cut.index(text.len())]);
            if first.header.is_some() {
                let known = first.entries.last().map(|e| e.uid);
                let more = read_more(&text[first.used..], Version::Three, known);
                prop_assert_eq!(more.health, Health::Good);
                let both: Vec<_> = first.entries.into_iter().chain(more.entries).collect();
                prop_assert_eq!(both, entries);
            }
        }

        #[test]
        fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..200)) {
            crate::fuzz::fuzz_uidlist(&data);
        }

        #[test]
        fn nearly_good_bytes(data in "[13] [VNG0-9a f]{1,20}\n([0-9]{1,2} [:A-Ga/ ]{0,8}\n){0,5}") {
            crate::fuzz::fuzz_uidlist(data.as_bytes());
        }
    }
}
