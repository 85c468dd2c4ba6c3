//! What a FETCH needs and how one message's answer is made.

use crate::state::Enabled;
use crate::sync::write_flags;
use culver_base::{SeqNo, Uid, UidSet};
use culver_imap::command::{Fetch, FetchItem, Numbering, Rfc822, Section, SectionOf};
use culver_imap::response::{BodyName, FetchWriter};
use culver_mime::fields::{self, Selection};
use culver_mime::transfer;
use culver_snapshot::{Place, Record, Snapshot};
use culver_store::{BodyReader, Effort, Failure, Message, Refusal};
use std::borrow::Cow;
use std::ops::Range;

/// Sections above this size are streamed instead of being gathered in the batch.
const STREAM_ABOVE: u64 = 256 * 1024;
/// Decoded parts of BINARY are made in memory up to this size.
const DECODE_UP_TO: u64 = 64 * 1024 * 1024;

/// One thing to write, in the order asked for.
#[derive(Clone, Debug)]
enum Item {
    Flags,
    InternalDate,
    Size,
    Envelope,
    Body,
    BodyStructure,
    Section {
        section: Section<'static>,
        partial: Option<(u64, u64)>,
        name: Vec<u8>,
    },
    /// HEADER.FIELDS of the message itself, none of them bulky: the hot path of webmail.
    Fields {
        names: Box<fields::Names>,
        partial: Option<(u64, u64)>,
        name: Vec<u8>,
    },
    Rfc822(Rfc822),
    Binary {
        part: Vec<u32>,
        partial: Option<(u64, u64)>,
    },
    BinarySize {
        part: Vec<u32>,
    },
    Preview(Effort),
}

/// A FETCH made ready: what to write for each message and what it takes.
#[derive(Clone, Debug)]
pub struct Plan {
    items: Vec<Item>,
    uid: bool,
    mod_seq: bool,
    enabled: Enabled,
    /// Was MODSEQ asked for by name? (Then CONDSTORE is on from here.)
    pub asks_mod_seq: bool,
    /// Does any message have to be visited?
    pub needs_message: bool,
    /// Is RFC822.SIZE among the items?
    pub needs_size: bool,
    /// Does it set `\Seen`?
    pub sets_seen: bool,
}

impl Plan {
    /// From the command.
    pub fn new(cmd: &Fetch<'_>, enabled: Enabled) -> Self {
        let mut plan = Self::empty(enabled);
        plan.uid = cmd.numbering == Numbering::Uid;
        plan.mod_seq = cmd.changed_since.is_some();
        for item in &cmd.items {
            plan.add(item);
        }
        plan
    }

    /// UID, FLAGS and MODSEQ: what SELECT (QRESYNC) sends (RFC 7162 §3.2.5.1).
    pub fn resync(enabled: Enabled) -> Self {
        Self { uid: true, mod_seq: true, items: vec![Item::Flags], ..Self::empty(enabled) }
    }

    fn empty(enabled: Enabled) -> Self {
        Self {
            items: Vec::new(),
            uid: false,
            mod_seq: false,
            enabled,
            asks_mod_seq: false,
            needs_message: false,
            needs_size: false,
            sets_seen: false,
        }
    }

    fn add(&mut self, item: &FetchItem<'_>) {
        let made = match item {
            FetchItem::Uid => return self.uid = true,
            FetchItem::ModSeq => {
                self.asks_mod_seq = true;
                return self.mod_seq = true;
            }
            FetchItem::Flags => Item::Flags,
            FetchItem::InternalDate => Item::InternalDate,
            FetchItem::Size => {
                self.needs_size = true;
                Item::Size
            }
            FetchItem::Envelope => Item::Envelope,
            FetchItem::Body => Item::Body,
            FetchItem::BodyStructure => Item::BodyStructure,
            FetchItem::Section { section, partial, peek } => {
                self.sets_seen |= !peek;
                let name = BodyName::Section { section, origin: partial.map(|p| p.0) }.ready();
                match &section.of {
                    SectionOf::HeaderFields(names)
                        if section.part.is_empty() && !names.iter().any(|n| fields::is_bulky(n)) =>
                    {
                        let names = Box::new(fields::Names::new(names));
                        Item::Fields { names, partial: *partial, name }
                    }
                    _ => Item::Section { section: owned(section), partial: *partial, name },
                }
            }
            FetchItem::Rfc822(which) => {
                self.sets_seen |= !matches!(which, Rfc822::Header);
                Item::Rfc822(*which)
            }
            FetchItem::Binary { part, partial, peek } => {
                self.sets_seen |= !peek;
                Item::Binary { part: part.clone(), partial: *partial }
            }
            FetchItem::BinarySize { part } => Item::BinarySize { part: part.clone() },
            FetchItem::Preview { lazy } => Item::Preview(if *lazy { Effort::AtHand } else { Effort::Any }),
        };
        self.needs_message |= !matches!(made, Item::Flags | Item::InternalDate | Item::Size);
        self.items.push(made);
    }

    /// The answer for one message whose record says everything.
    pub fn metadata(
        &self,
        out: &mut Vec<u8>,
        view: &Snapshot,
        recent: &UidSet,
        index: usize,
        record: &Record,
        newly_seen: &UidSet,
    ) {
        let mut fetch = FetchWriter::begin(out, SeqNo::from_index(index));
        self.head(&mut fetch, record);
        let mut flags_told = false;
        for item in &self.items {
            match item {
                Item::Flags => {
                    flags_told = true;
                    write_flags(&mut fetch, view, recent, record, self.enabled);
                }
                Item::InternalDate => fetch.internal_date(record.internal_date),
                Item::Size => fetch.size(record.size.unwrap_or(0)),
                _ => {}
            }
        }
        self.tail(&mut fetch, view, recent, record, newly_seen, flags_told);
        fetch.end();
    }

    fn head(&self, fetch: &mut FetchWriter<'_>, record: &Record) {
        if self.uid {
            fetch.uid(record.uid);
        }
    }

    /// MODSEQ, and FLAGS when this very command has changed them (RFC 9051 §6.4.5.1).
    fn tail(
        &self,
        fetch: &mut FetchWriter<'_>,
        view: &Snapshot,
        recent: &UidSet,
        record: &Record,
        newly_seen: &UidSet,
        flags_told: bool,
    ) {
        let seen_now = newly_seen.has(record.uid);
        if seen_now && !flags_told {
            write_flags(fetch, view, recent, record, self.enabled);
        }
        if self.mod_seq || (self.enabled.condstore && seen_now) {
            fetch.mod_seq(record.mod_seq);
        }
    }
}

fn owned(section: &Section<'_>) -> Section<'static> {
    let names = |names: &[Cow<'_, [u8]>]| names.iter().map(|n| Cow::Owned(n.to_vec())).collect();
    let of = match &section.of {
        SectionOf::Everything => SectionOf::Everything,
        SectionOf::Header => SectionOf::Header,
        SectionOf::HeaderFields(n) => SectionOf::HeaderFields(names(n)),
        SectionOf::HeaderFieldsNot(n) => SectionOf::HeaderFieldsNot(names(n)),
        SectionOf::Text => SectionOf::Text,
        SectionOf::Mime => SectionOf::Mime,
    };
    Section { part: section.part.clone(), of }
}

/// A piece of the answers to send.
pub enum Piece {
    /// As it is.
    Octets(Vec<u8>),
    /// A large section.
    Stream(Box<dyn BodyReader>),
}

/// A batch of answers.
#[derive(Default)]
pub struct Rendered {
    /// In order.
    pub pieces: Vec<Piece>,
    /// What could not be read.
    pub failed: Vec<(Uid, Failure)>,
    len: usize,
    scratch: Vec<u8>,
    place: Place,
}

impl Rendered {
    /// With a buffer that was used before.
    pub fn reusing(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { pieces: vec![Piece::Octets(buffer)], ..Self::default() }
    }

    /// The position and record of a message in the view; messages are best asked for in order.
    pub fn seek<'v>(&mut self, view: &'v Snapshot, uid: Uid) -> Option<(usize, &'v Record)> {
        view.seek(uid, &mut self.place)
    }

    /// Octets gathered; streams count as a full batch each.
    pub fn octets(&self) -> usize {
        self.len
    }

    /// Adds the answer for one message; when it fails nothing of it is left behind.
    #[expect(clippy::too_many_arguments, reason = "one message in one view; a struct would only rename them")]
    pub fn message(
        &mut self,
        plan: &Plan,
        view: &Snapshot,
        recent: &UidSet,
        index: usize,
        record: &Record,
        newly_seen: &UidSet,
        message: &mut dyn Message,
    ) {
        let mut own = Vec::new();
        let mut buffer = match self.pieces.pop() {
            Some(Piece::Octets(octets)) => octets,
            Some(stream) => {
                self.pieces.push(stream);
                Vec::new()
            }
            None => Vec::new(),
        };
        let start = buffer.len();
        let mut fetch = FetchWriter::begin(&mut buffer, SeqNo::from_index(index));
        plan.head(&mut fetch, record);
        let mut flags_told = false;
        let mut outcome = Ok(());
        for item in &plan.items {
            outcome = match item {
                Item::Flags => {
                    flags_told = true;
                    write_flags(&mut fetch, view, recent, record, plan.enabled);
                    Ok(())
                }
                Item::InternalDate => {
                    fetch.internal_date(record.internal_date);
                    Ok(())
                }
                item => content(item, message, &mut fetch, &mut own, &mut self.scratch),
            };
            if outcome.is_err() {
                break;
            }
        }
        match outcome {
            Ok(()) => {
                plan.tail(&mut fetch, view, recent, record, newly_seen, flags_told);
                fetch.end();
                self.keep(buffer, start, own);
            }
            Err(failure) => {
                buffer.truncate(start);
                self.pieces.push(Piece::Octets(buffer));
                self.failed.push((record.uid, failure));
            }
        }
    }

    /// Cuts the buffer where streams belong.
    fn keep(&mut self, mut buffer: Vec<u8>, start: usize, streams: Vec<(usize, Box<dyn BodyReader>)>) {
        self.len += buffer.len() - start;
        let mut cut = 0;
        for (at, reader) in streams {
            let rest = buffer.split_off(at - cut);
            cut = at;
            self.pieces.push(Piece::Octets(std::mem::replace(&mut buffer, rest)));
            self.pieces.push(Piece::Stream(reader));
            self.len += STREAM_ABOVE as usize;
        }
        self.pieces.push(Piece::Octets(buffer));
    }
}

/// Writes one item that needs the message. Streams are noted with the place in the buffer where they belong.
fn content(
    item: &Item,
    message: &mut dyn Message,
    fetch: &mut FetchWriter<'_>,
    streams: &mut Vec<(usize, Box<dyn BodyReader>)>,
    scratch: &mut Vec<u8>,
) -> Result<(), Failure> {
    match item {
        Item::Size => fetch.size(message.size()?),
        Item::Envelope => fetch.envelope(&message.envelope()?),
        Item::Body => fetch.body(&message.body()?),
        Item::BodyStructure => fetch.body_structure(&message.body_structure()?),
        Item::Preview(how) => fetch.preview(message.preview(*how)?.as_deref()),
        Item::Fields { names, partial, name } => {
            scratch.clear();
            fields::select_to(scratch, &message.lean_header()?, names, Selection::Only);
            fetch.bytes(BodyName::Ready(name), cut(scratch, *partial));
        }
        Item::Section { section, partial, name } => {
            let name = BodyName::Ready(name);
            section_of(name, section, *partial, message, fetch, streams)?;
        }
        Item::Rfc822(which) => {
            let of = match which {
                Rfc822::All => SectionOf::Everything,
                Rfc822::Header => SectionOf::Header,
                Rfc822::Text => SectionOf::Text,
            };
            let section = Section { part: Vec::new(), of };
            section_of(BodyName::Rfc822(*which), &section, None, message, fetch, streams)?;
        }
        Item::Binary { part, partial } => {
            let name = BodyName::Binary { part, origin: partial.map(|p| p.0) };
            match decoded(message, part)? {
                None => fetch.nil(name),
                Some(octets) => fetch.bytes(name, cut(&octets, *partial)),
            }
        }
        Item::BinarySize { part } => {
            let size = decoded(message, part)?.map_or(0, |o| o.len() as u64);
            fetch.binary_size(part, size);
        }
        Item::Flags | Item::InternalDate => {}
    }
    Ok(())
}

fn section_of(
    name: BodyName<'_>,
    section: &Section<'_>,
    partial: Option<(u64, u64)>,
    message: &mut dyn Message,
    fetch: &mut FetchWriter<'_>,
    streams: &mut Vec<(usize, Box<dyn BodyReader>)>,
) -> Result<(), Failure> {
    match found(message, section)? {
        Found::Nothing => fetch.nil(name),
        Found::Octets(octets) => fetch.bytes(name, cut(&octets, partial)),
        Found::Range(range) => {
            let range = cut_range(range, partial);
            let size = range.end - range.start;
            if size > STREAM_ABOVE {
                let reader = message.reader(range)?;
                fetch.literal(name, reader.remaining());
                streams.push((fetch.out().len(), reader));
            } else {
                fetch.literal_read(name, size, |out| message.read(range, out))?;
            }
        }
    }
    Ok(())
}

enum Found {
    Nothing,
    Octets(Vec<u8>),
    Range(Range<u64>),
}

fn found(message: &mut dyn Message, section: &Section<'_>) -> Result<Found, Failure> {
    let fields = match &section.of {
        SectionOf::HeaderFields(names) => Some((names, Selection::Only)),
        SectionOf::HeaderFieldsNot(names) => Some((names, Selection::Not)),
        _ => None,
    };
    let select = |header: &[u8], (names, how): (&Vec<Cow<'_, [u8]>>, Selection)| {
        Found::Octets(fields::select(header, &fields::Names::new(names), how))
    };
    let part = &section.part;
    if part.is_empty() {
        return Ok(match (&section.of, fields) {
            (_, Some(fields)) => select(&message.header()?, fields),
            (SectionOf::Everything, _) => Found::Range(0..message.size()?),
            (SectionOf::Text, _) => {
                let header = message.header()?.len() as u64;
                Found::Range(header..message.size()?)
            }
            _ => Found::Octets(message.header()?.to_vec()),
        });
    }
    let structure = message.structure()?;
    let range = match section.of {
        SectionOf::Everything => structure.content_of(part),
        SectionOf::Header | SectionOf::HeaderFields(_) | SectionOf::HeaderFieldsNot(_) => {
            structure.header_of(part)
        }
        SectionOf::Text => structure.text_of(part),
        SectionOf::Mime => structure.mime_of(part),
    };
    let Some(range) = range else { return Ok(Found::Nothing) };
    let Some(fields) = fields else { return Ok(Found::Range(range)) };
    if range.is_empty() {
        // No header at all: not even the empty line that ends one.
        return Ok(Found::Octets(Vec::new()));
    }
    let mut header = Vec::new();
    message.read(range, &mut header)?;
    Ok(select(&header, fields))
}

/// BINARY: the part without its content transfer encoding (RFC 3516 §4.3). `None` when there is no such part.
fn decoded(message: &mut dyn Message, part: &[u32]) -> Result<Option<Vec<u8>>, Failure> {
    let structure = message.structure()?;
    let (range, encoding) = if part.is_empty() {
        (0..message.size()?, None)
    } else {
        match structure.find(part) {
            Some(found) => (structure.content_of(part).unwrap_or(0..0), structure.encoding_of(found)),
            None => return Ok(None),
        }
    };
    if range.end - range.start > DECODE_UP_TO {
        let text =
            format!("The part is larger than {DECODE_UP_TO} octets, the most that BINARY decodes here");
        return Err(Refusal::Limit(text).into());
    }
    let mut octets = Vec::with_capacity((range.end - range.start) as usize);
    message.read(range, &mut octets)?;
    match encoding {
        None => Ok(Some(octets)),
        Some(name) => transfer::decode(name, &octets)
            .map(Some)
            .map_err(|_| Refusal::Cannot("The part's Content-Transfer-Encoding is unknown".into()).into()),
    }
}

/// `<first.count>`: cut at the end; nothing when it begins behind the end (RFC 9051 §6.4.5.1).
fn cut_range(range: Range<u64>, partial: Option<(u64, u64)>) -> Range<u64> {
    match partial {
        None => range,
        Some((first, count)) => {
            let start = range.start.saturating_add(first).min(range.end);
            start..start.saturating_add(count).min(range.end)
        }
    }
}

fn cut(octets: &[u8], partial: Option<(u64, u64)>) -> &[u8] {
    let r = cut_range(0..octets.len() as u64, partial);
    &octets[r.start as usize..r.end as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_is_cut_at_the_end_and_may_be_empty() {
        assert_eq!(cut(b"abcdef", Some((2, 3))), b"cde");
        assert_eq!(cut(b"abcdef", Some((4, 30))), b"ef");
        assert_eq!(cut(b"abcdef", Some((9, 3))), b"");
        assert_eq!(cut_range(10..20, Some((u64::MAX, u64::MAX))), 20..20);
    }
}
