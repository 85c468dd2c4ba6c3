//! FETCH (RFC 9051 §7.5.2), with MODSEQ (RFC 7162 §3.1.4.2) and BINARY (RFC 3516 §4.3).
//!
//! The hot path of the house: numbers are written by hand, nothing is allocated. Large bodies are not handed in:
//! [`FetchWriter::literal`] announces their length, and the caller sends as many bytes before it goes on.

use super::flags::flag_words;
use super::text::{astring, literal_header, nstring, number, pair};
use crate::command::{Rfc822, Section, SectionOf};
use culver_base::date::MONTHS;
use culver_base::{InternalDate, ModSeq, SeqNo, SystemFlags, Uid};

/// The name under which bytes of a message are returned. It repeats what the client asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BodyName<'a> {
    /// `BODY[...]<origin>`
    Section {
        /// As asked for.
        section: &'a Section<'a>,
        /// The first octet, if a part was asked for.
        origin: Option<u64>,
    },
    /// RFC822, RFC822.HEADER, RFC822.TEXT (RFC 3501)
    Rfc822(Rfc822),
    /// `BINARY[...]<origin>`
    Binary {
        /// As asked for.
        part: &'a [u32],
        /// The first decoded octet, if a part was asked for.
        origin: Option<u64>,
    },
    /// As [`BodyName::ready`] made it, for many messages.
    Ready(&'a [u8]),
}

impl BodyName<'_> {
    /// The name as octets.
    pub fn ready(self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(self, out: &mut Vec<u8>) {
        let origin = match self {
            Self::Section { section, origin } => {
                out.extend_from_slice(b"BODY[");
                section_spec(out, section);
                out.push(b']');
                origin
            }
            Self::Rfc822(old) => {
                out.extend_from_slice(match old {
                    Rfc822::All => b"RFC822",
                    Rfc822::Header => b"RFC822.HEADER",
                    Rfc822::Text => b"RFC822.TEXT",
                });
                None
            }
            Self::Binary { part, origin } => {
                out.extend_from_slice(b"BINARY[");
                part_numbers(out, part);
                out.push(b']');
                origin
            }
            Self::Ready(name) => {
                out.extend_from_slice(name);
                None
            }
        };
        if let Some(origin) = origin {
            out.push(b'<');
            number(out, origin);
            out.push(b'>');
        }
    }
}

/// Writes one FETCH response. [`Self::end`] ends it.
#[derive(Debug)]
pub struct FetchWriter<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> FetchWriter<'o> {
    /// `* n FETCH (`
    pub fn begin(out: &'o mut Vec<u8>, seq: SeqNo) -> Self {
        // One growth at most for a line of numbers and flags.
        out.reserve(160);
        out.extend_from_slice(b"* ");
        number(out, u64::from(seq.get()));
        out.extend_from_slice(b" FETCH (");
        Self { out, first: true }
    }

    /// The buffer, to be sent and emptied between two calls, or written to after [`Self::literal`].
    pub fn out(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// An item's name, after a space if it is not the first.
    fn name(&mut self, name: &[u8]) {
        if !self.first {
            self.out.push(b' ');
        }
        self.first = false;
        self.out.extend_from_slice(name);
    }

    /// UID
    pub fn uid(&mut self, uid: Uid) {
        self.name(b"UID ");
        number(self.out, u64::from(uid.get()));
    }

    /// FLAGS, by name.
    pub fn flags<'a>(&mut self, flags: impl IntoIterator<Item = &'a str>) {
        self.flags_of(SystemFlags::NONE, flags);
    }

    /// FLAGS: system flags, and by name `\Recent` where it applies and keywords. Faster than [`Self::flags`].
    pub fn flags_of<'a>(&mut self, system: SystemFlags, others: impl IntoIterator<Item = &'a str>) {
        self.name(b"FLAGS (");
        flag_words(self.out, system, others);
        self.out.push(b')');
    }

    /// MODSEQ
    pub fn mod_seq(&mut self, mod_seq: ModSeq) {
        self.name(b"MODSEQ (");
        number(self.out, mod_seq.get());
        self.out.push(b')');
    }

    /// RFC822.SIZE
    pub fn size(&mut self, octets: u64) {
        self.name(b"RFC822.SIZE ");
        number(self.out, octets);
    }

    /// INTERNALDATE
    pub fn internal_date(&mut self, date: InternalDate) {
        let day = date.day();
        let month = MONTHS.get(usize::from(day.month) - 1).copied().unwrap_or("Jan").as_bytes();
        let seconds = (date.unix + i64::from(date.offset) * 60).rem_euclid(86_400).unsigned_abs();
        let offset = u64::from(date.offset.unsigned_abs());
        let [d, c, y] = [u64::from(day.day), u64::from(day.year / 100), u64::from(day.year % 100)].map(pair);
        let [h, m, s] = [seconds / 3600, seconds / 60 % 60, seconds % 60].map(pair);
        let [oh, om] = [offset / 60, offset % 60].map(pair);
        let mut text = *b"\"DD-Mon-CCYY hh:mm:ss +0000\"";
        let mut put = |at: usize, octets: &[u8]| text[at..at + octets.len()].copy_from_slice(octets);
        put(1, &d);
        put(4, month);
        put(8, &c);
        put(10, &y);
        put(13, &h);
        put(16, &m);
        put(19, &s);
        put(22, if date.offset < 0 { b"-" } else { b"+" });
        put(23, &oh);
        put(25, &om);
        self.name(b"INTERNALDATE ");
        self.out.extend_from_slice(&text);
    }

    /// ENVELOPE, as ready bytes with their parentheses.
    pub fn envelope(&mut self, ready: &[u8]) {
        self.name(b"ENVELOPE ");
        self.out.extend_from_slice(ready);
    }

    /// BODY without section, as ready bytes with their parentheses.
    pub fn body(&mut self, ready: &[u8]) {
        self.name(b"BODY ");
        self.out.extend_from_slice(ready);
    }

    /// BODYSTRUCTURE, as ready bytes with their parentheses.
    pub fn body_structure(&mut self, ready: &[u8]) {
        self.name(b"BODYSTRUCTURE ");
        self.out.extend_from_slice(ready);
    }

    /// PREVIEW (RFC 8970 §3.2): a text, or NIL where LAZY allows it.
    pub fn preview(&mut self, text: Option<&[u8]>) {
        self.name(b"PREVIEW ");
        nstring(self.out, text);
    }

    /// BINARY.SIZE
    pub fn binary_size(&mut self, part: &[u32], octets: u64) {
        self.name(b"BINARY.SIZE[");
        part_numbers(self.out, part);
        self.out.extend_from_slice(b"] ");
        number(self.out, octets);
    }

    /// The name, and the announcement of a literal. The caller sends exactly `len` bytes next.
    pub fn literal(&mut self, name: BodyName<'_>, len: u64) {
        self.body_name(name);
        literal_header(self.out, len);
    }

    /// The name and a literal of octets that `read` puts behind what is there: so many, as far as is known before. If there are
    /// more or fewer, the literal says how many there are.
    ///
    /// # Errors
    /// Those of `read`; what it wrote stays and is to be cut off by the caller.
    pub fn literal_read<E>(
        &mut self,
        name: BodyName<'_>,
        expected: u64,
        read: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.body_name(name);
        let at = self.out.len();
        literal_header(self.out, expected);
        let from = self.out.len();
        read(self.out)?;
        let len = (self.out.len() - from) as u64;
        if len != expected {
            let octets = self.out.split_off(from);
            self.out.truncate(at);
            literal_header(self.out, len);
            self.out.extend_from_slice(&octets);
        }
        Ok(())
    }

    /// The same with a literal8, for BINARY whose bytes hold NUL.
    pub fn literal8(&mut self, name: BodyName<'_>, len: u64) {
        self.body_name(name);
        self.out.push(b'~');
        literal_header(self.out, len);
    }

    /// The name and these bytes: a literal, as a literal8 where BINARY has to hold NUL.
    pub fn bytes(&mut self, name: BodyName<'_>, bytes: &[u8]) {
        if matches!(name, BodyName::Binary { .. }) && memchr::memchr(0, bytes).is_some() {
            self.literal8(name, bytes.len() as u64);
        } else {
            self.literal(name, bytes.len() as u64);
        }
        self.out.extend_from_slice(bytes);
    }

    /// The name and NIL: there is no such part.
    pub fn nil(&mut self, name: BodyName<'_>) {
        self.body_name(name);
        self.out.extend_from_slice(b"NIL");
    }

    /// `)` and CRLF.
    pub fn end(self) {
        self.out.extend_from_slice(b")\r\n");
    }

    /// The name and a space.
    fn body_name(&mut self, name: BodyName<'_>) {
        self.name(b"");
        name.write(self.out);
        self.out.push(b' ');
    }
}

/// `section-part`
fn part_numbers(out: &mut Vec<u8>, part: &[u32]) {
    for (i, n) in part.iter().enumerate() {
        if i > 0 {
            out.push(b'.');
        }
        number(out, u64::from(*n));
    }
}

/// `section-spec`
fn section_spec(out: &mut Vec<u8>, section: &Section<'_>) {
    part_numbers(out, &section.part);
    if !section.part.is_empty() && section.of != SectionOf::Everything {
        out.push(b'.');
    }
    match &section.of {
        SectionOf::Everything => {}
        SectionOf::Header => out.extend_from_slice(b"HEADER"),
        SectionOf::Text => out.extend_from_slice(b"TEXT"),
        SectionOf::Mime => out.extend_from_slice(b"MIME"),
        SectionOf::HeaderFields(names) => header_list(out, b"HEADER.FIELDS (", names),
        SectionOf::HeaderFieldsNot(names) => header_list(out, b"HEADER.FIELDS.NOT (", names),
    }
}

fn header_list(out: &mut Vec<u8>, head: &[u8], names: &[std::borrow::Cow<'_, [u8]>]) {
    out.extend_from_slice(head);
    for (i, name) in names.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        astring(out, name);
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_says_how_many_octets_there_are() {
        for expected in [0, 3, 5, 700] {
            let mut out = b"before ".to_vec();
            let mut fetch = FetchWriter::begin(&mut out, SeqNo::from_index(0));
            let name = BodyName::Ready(b"BODY[]");
            let read = |out: &mut Vec<u8>| {
                out.extend_from_slice(b"a\r\nb\n");
                Ok::<_, ()>(())
            };
            fetch.literal_read(name, expected, read).unwrap();
            fetch.end();
            assert_eq!(out, b"before * 1 FETCH (BODY[] {5}\r\na\r\nb\n)\r\n", "{expected}");
        }
    }
}
