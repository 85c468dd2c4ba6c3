//! `dovecot.index` and `dovecot.index.log`: what only Dovecot's binary index knows. Read, never written.
//!
//! Everything that matters lies in plain files, with three exceptions: keywords for which no letter was left, flags that
//! could not be written into file names (the dirty bit), and the highest mod-sequence that clients may remember.
//!
//! The index is a header with extensions and one fixed record for each message, as of some offset in a log; the log is a
//! list of changes. A small mailbox has a log alone, from its beginning. When a log grows too large it becomes
//! `dovecot.index.log.2`, and a new one begins.
//!
//! Promises: any octets give an answer, nothing is believed beyond its length. Dovecot may be writing meanwhile: a
//! change counts once its length, which Dovecot writes last, is there. Mod-sequences are counted so that the result is never
//! too low. Does not read: indexes of machines with the other byte order, private indexes, caches.

use culver_base::{Keyword, ModSeq, Uid, UidValidity};
use culver_store::io::Dir;
use std::collections::BTreeMap;
use std::io;

/// The names of the files.
pub const NAME: &[u8] = b"dovecot.index";
/// The log.
pub const LOG: &[u8] = b"dovecot.index.log";
/// The log before this one.
pub const OLD_LOG: &[u8] = b"dovecot.index.log.2";
/// Per-user flags of a shared mailbox.
pub const PRIVATE: &[u8] = b"dovecot.index.pvt";

/// No larger index is read: ten million messages.
const MAX_INDEX: usize = 1 << 30;
/// Dovecot begins a new log after a megabyte.
const MAX_LOG: usize = 256 << 20;
/// More keywords than anybody has.
const MAX_KEYWORDS: usize = 4096;
/// The part of the header that all versions have.
const BASE: usize = 120;

/// The flag of a record that says that its file name is behind.
const DIRTY: u8 = 0x80;

/// What it knows of one message.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Indexed {
    /// Is its file name behind its flags?
    pub dirty: bool,
    /// Its keywords, as places in [`DovecotIndex::keywords`], ascending.
    pub keywords: Vec<u16>,
}

/// What was read.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DovecotIndex {
    /// UIDVALIDITY of the mailbox that it describes.
    pub uid_validity: Option<UidValidity>,
    /// Above all UIDs that it has seen.
    pub next_uid: u32,
    /// HIGHESTMODSEQ is not above this.
    pub mod_seq: u64,
    /// All keywords, also those that have letters.
    pub keywords: Vec<Vec<u8>>,
    /// Messages with keywords or dirty flags; those without are left out.
    pub messages: BTreeMap<u32, Indexed>,
    /// Was a part missing or damaged, so that keywords may be?
    pub incomplete: bool,
}

impl DovecotIndex {
    /// The keywords of a message that could be a client's.
    pub fn keywords_of(&self, uid: Uid) -> impl Iterator<Item = Keyword> {
        let places = self.messages.get(&uid.get()).map_or(&[][..], |m| &m.keywords);
        places
            .iter()
            .filter_map(|k| Keyword::new(std::str::from_utf8(self.keywords.get(usize::from(*k))?).ok()?))
    }

    fn keyword(&mut self, name: &[u8]) -> Option<u16> {
        let at = match self.keywords.iter().position(|k| k.eq_ignore_ascii_case(name)) {
            Some(at) => at,
            None if self.keywords.len() < MAX_KEYWORDS && !name.is_empty() => {
                self.keywords.push(name.to_vec());
                self.keywords.len() - 1
            }
            None => return None,
        };
        u16::try_from(at).ok()
    }

    fn change(&mut self, uids: (u32, u32), exists: &BTreeMap<u32, ()>, change: impl Fn(&mut Indexed)) {
        let uids: Vec<u32> = range(exists, uids).collect();
        for uid in uids {
            let message = self.messages.entry(uid).or_default();
            change(message);
            if *message == Indexed::default() {
                self.messages.remove(&uid);
            }
        }
    }
}

fn range(exists: &BTreeMap<u32, ()>, (first, last): (u32, u32)) -> impl Iterator<Item = u32> {
    let empty = first > last;
    exists.range(if empty { 0..=0 } else { first..=last }).map(|(u, ())| *u).filter(move |_| !empty)
}

/// Reads a directory's index. `None`: there is none, or nothing can be learnt from it.
///
/// # Errors
/// From the file system.
pub fn load(dir: &Dir<'_>) -> io::Result<Option<DovecotIndex>> {
    let index = optional(dir.read(NAME, MAX_INDEX))?;
    let log = optional(dir.read(LOG, MAX_LOG))?;
    let old = optional(dir.read(OLD_LOG, MAX_LOG))?;
    Ok(read(index.as_deref(), log.as_deref(), old.as_deref()))
}

/// HIGHESTMODSEQ as the log has it, or a little more. The way to know whether Dovecot was here meanwhile.
///
/// # Errors
/// From the file system.
pub fn load_mod_seq(dir: &Dir<'_>) -> io::Result<Option<ModSeq>> {
    let log = optional(dir.read(LOG, MAX_LOG))?;
    let highest = log.as_deref().and_then(|octets| Some(Log::open(octets)?.mod_seq()));
    Ok(highest.map(|m| ModSeq::new(m).unwrap_or(ModSeq::MAX)))
}

fn optional(read: io::Result<Vec<u8>>) -> io::Result<Option<Vec<u8>>> {
    match read {
        Ok(octets) => Ok(Some(octets)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Puts index and logs together.
pub fn read(index: Option<&[u8]>, log: Option<&[u8]>, old: Option<&[u8]>) -> Option<DovecotIndex> {
    let mut out = DovecotIndex::default();
    let mut exists = BTreeMap::new();
    let mut header = [0; BASE];
    let based = index.and_then(|octets| read_index(octets, &mut out, &mut exists, &mut header));
    let log = log.and_then(Log::open);
    let old = old.and_then(Log::open);
    if based.is_none() && log.is_none() {
        return None;
    }
    // From which log on, and from where in it?
    let mut steps: Vec<(&Log<'_>, usize)> = Vec::new();
    if let Some(log) = &log {
        let before = old.as_ref().filter(|o| o.sequence == log.previous && o.index_id == log.index_id);
        match &based {
            Some(base) if base.index_id != log.index_id => out.incomplete = true,
            Some(base) if base.log == log.sequence => steps.push((log, base.offset)),
            Some(base) => match before.filter(|o| o.sequence == base.log) {
                Some(before) => steps.extend([(before, base.offset), (log, log.start)]),
                None => out.incomplete = true,
            },
            None => match before {
                Some(before) => {
                    out.incomplete = before.previous != 0;
                    steps.extend([(before, before.start), (log, log.start)]);
                }
                None => {
                    out.incomplete = log.previous != 0;
                    steps.push((log, log.start));
                }
            },
        }
        out.mod_seq = out.mod_seq.max(log.mod_seq());
    }
    for (log, from) in steps {
        for change in log.changes(from) {
            apply(&change, &mut out, &mut exists, &mut header);
        }
    }
    out.uid_validity = u32_at(&header, 24).and_then(UidValidity::new);
    out.next_uid = out.next_uid.max(u32_at(&header, 28).unwrap_or(0));
    out.messages.retain(|uid, _| exists.contains_key(uid));
    Some(out)
}

// ---- the index -------------------------------------------------------------------------------------------------

struct Based {
    index_id: u32,
    log: u32,
    offset: usize,
}

fn read_index(
    octets: &[u8],
    out: &mut DovecotIndex,
    exists: &mut BTreeMap<u32, ()>,
    header: &mut [u8; BASE],
) -> Option<Based> {
    let base = octets.get(..BASE)?;
    // Version 7, little endian.
    if base[0] != 7 || base[12] & 1 == 0 {
        return None;
    }
    let base_size = usize::from(u16_at(base, 2)?);
    let header_size = usize::try_from(u32_at(base, 4)?).ok()?;
    let record_size = usize::try_from(u32_at(base, 8)?).ok()?;
    if base_size < BASE || header_size < base_size || record_size < 8 || header_size > octets.len() {
        return None;
    }
    header.copy_from_slice(base);
    let head = &octets[..header_size];
    let mut bits: Option<(usize, usize)> = None;
    let mut table = Vec::new();
    let mut at = align8(base_size);
    while let Some(extension) = Extension::read(head, at) {
        match extension.name {
            b"keywords" => {
                table = keyword_names(extension.data).unwrap_or_default();
                bits = Some((extension.record_offset, extension.record_size));
            }
            b"modseq" => out.mod_seq = u64_at(extension.data, 0).unwrap_or(0),
            _ => (),
        }
        at = extension.end;
    }
    let table: Vec<Option<u16>> = table.into_iter().map(|name| out.keyword(name)).collect();
    let count = usize::try_from(u32_at(base, 32)?).ok()?;
    for record in octets[header_size..].chunks_exact(record_size).take(count) {
        let (Some(uid), flags) = (u32_at(record, 0).filter(|u| *u != 0), record[4]) else { continue };
        exists.insert(uid, ());
        let mut message = Indexed { dirty: flags & DIRTY != 0, keywords: Vec::new() };
        let mask = bits.and_then(|(offset, size)| record.get(offset..offset.checked_add(size)?));
        for (i, keyword) in table.iter().enumerate() {
            let set = mask.and_then(|m| m.get(i / 8)).is_some_and(|b| b & 1 << (i % 8) != 0);
            message.keywords.extend(keyword.filter(|_| set));
        }
        if message != Indexed::default() {
            message.keywords.sort_unstable();
            message.keywords.dedup();
            out.messages.insert(uid, message);
        }
    }
    out.incomplete |= exists.len() < count;
    Some(Based {
        index_id: u32_at(base, 16)?,
        log: u32_at(base, 60)?,
        offset: usize::try_from(u32_at(base, 68)?).ok()?,
    })
}

/// One extension of the header: sizes, name, data, the data on a multiple of 8.
struct Extension<'a> {
    name: &'a [u8],
    data: &'a [u8],
    record_offset: usize,
    record_size: usize,
    end: usize,
}

impl<'a> Extension<'a> {
    fn read(head: &'a [u8], at: usize) -> Option<Self> {
        let size = usize::try_from(u32_at(head, at)?).ok()?;
        let name_size = usize::from(u16_at(head, at.checked_add(14)?)?);
        let name = head.get(at + 16..at + 16 + name_size)?;
        let from = align8(at + 16 + name_size);
        let data = head.get(from..from.checked_add(size)?)?;
        Some(Self {
            name,
            data,
            record_offset: usize::from(u16_at(head, at + 8)?),
            record_size: usize::from(u16_at(head, at + 10)?),
            end: align8(from + size),
        })
    }
}

/// A count, as many pairs of which the second is the place of a name, then the names, each with a NUL behind it.
fn keyword_names(data: &[u8]) -> Option<Vec<&[u8]>> {
    let count = usize::try_from(u32_at(data, 0)?).ok()?.min(MAX_KEYWORDS);
    let names = data.get(4 + count * 8..)?;
    let name = |i: usize| {
        let from = usize::try_from(u32_at(data, 4 + i * 8 + 4)?).ok()?;
        names.get(from..)?.split(|b| *b == 0).next()
    };
    Some((0..count).map(|i| name(i).unwrap_or_default()).collect())
}

// ---- the log ---------------------------------------------------------------------------------------------------

const EXPUNGE: u32 = 0x1;
const APPEND: u32 = 0x2;
const FLAG_UPDATE: u32 = 0x4;
const HEADER_UPDATE: u32 = 0x20;
const EXT_INTRO: u32 = 0x40;
const KEYWORD_UPDATE: u32 = 0x400;
const KEYWORD_RESET: u32 = 0x800;
const EXPUNGE_GUID: u32 = 0x2000;
const MODSEQ_UPDATE: u32 = 0x8000;
const ATTRIBUTE_UPDATE: u32 = 0x10_0000;
/// Stands with the two kinds of expunges, against damage.
const EXPUNGE_PROTECTION: u32 = 0xcd90;
/// It has happened, rather than being asked for.
const EXTERNAL: u32 = 0x1000_0000;

struct Log<'a> {
    octets: &'a [u8],
    start: usize,
    index_id: u32,
    sequence: u32,
    previous: u32,
    initial_mod_seq: u64,
}

/// One change.
struct Step<'a> {
    kind: u32,
    data: &'a [u8],
}

impl<'a> Log<'a> {
    fn open(octets: &'a [u8]) -> Option<Self> {
        if octets.first() != Some(&1) {
            return None;
        }
        let start = usize::from(u16_at(octets, 2)?);
        // Older versions have a shorter header: without a mod-sequence, or without the byte order.
        if start < 24 || (start > 32 && octets.get(32)? & 1 == 0) {
            return None;
        }
        Some(Self {
            octets,
            start,
            index_id: u32_at(octets, 4)?,
            sequence: u32_at(octets, 8)?,
            previous: u32_at(octets, 12)?,
            initial_mod_seq: u64_at(octets, 24).filter(|_| start >= 32).unwrap_or(0),
        })
    }

    fn changes(&self, from: usize) -> impl Iterator<Item = Step<'a>> + use<'a> {
        let (octets, mut at) = (self.octets, from.max(self.start));
        std::iter::from_fn(move || {
            let size = written_size(octets.get(at..at.checked_add(4)?)?)?;
            let kind = u32_at(octets, at + 4)?;
            let data = octets.get(at + 8..at.checked_add(size)?)?;
            at += size;
            Some(Step { kind, data })
        })
    }

    /// Each change that can raise it counts, also those that Dovecot would leave out.
    fn mod_seq(&self) -> u64 {
        let mut highest = self.initial_mod_seq;
        for step in self.changes(self.start) {
            match step.kind & 0x0fff_ffff & !protection(step.kind) {
                APPEND | FLAG_UPDATE | KEYWORD_UPDATE | KEYWORD_RESET | ATTRIBUTE_UPDATE | EXPUNGE
                | EXPUNGE_GUID => highest = highest.saturating_add(1),
                // Counting may begin here.
                EXT_INTRO => highest = highest.max(1),
                MODSEQ_UPDATE => {
                    for update in step.data.chunks_exact(12) {
                        highest = highest.max(u64_at(update, 4).unwrap_or(0));
                    }
                }
                _ => (),
            }
        }
        highest
    }
}

/// The bits of the protection, if the kind is an expunge.
fn protection(kind: u32) -> u32 {
    if kind & EXPUNGE_PROTECTION == EXPUNGE_PROTECTION { EXPUNGE_PROTECTION } else { 0 }
}

/// A length is a multiple of 4, written in four groups of seven bits, most significant first, each with its top bit set: so
/// it is there as a whole or not at all.
fn written_size(octets: &[u8]) -> Option<usize> {
    if octets.iter().any(|b| b & 0x80 == 0) {
        return None;
    }
    let value = octets.iter().fold(0usize, |n, b| n << 7 | usize::from(b & 0x7f));
    Some(value << 2).filter(|size| *size >= 8)
}

fn apply(step: &Step<'_>, out: &mut DovecotIndex, exists: &mut BTreeMap<u32, ()>, header: &mut [u8; BASE]) {
    let pair = |octets: &[u8]| Some((u32_at(octets, 0)?, u32_at(octets, 4)?));
    match step.kind & 0x0fff_ffff & !protection(step.kind) {
        APPEND => {
            for record in step.data.chunks_exact(8) {
                let Some(uid) = u32_at(record, 0).filter(|u| *u != 0) else { continue };
                exists.insert(uid, ());
                out.next_uid = out.next_uid.max(uid.saturating_add(1));
                if record[4] & DIRTY != 0 {
                    out.messages.entry(uid).or_default().dirty = true;
                }
            }
        }
        EXPUNGE if step.kind & EXTERNAL != 0 => {
            for (first, last) in step.data.chunks_exact(8).filter_map(pair) {
                let gone: Vec<u32> = range(exists, (first, last)).collect();
                for uid in gone {
                    exists.remove(&uid);
                }
            }
        }
        EXPUNGE_GUID if step.kind & EXTERNAL != 0 => {
            for record in step.data.chunks_exact(20) {
                exists.remove(&u32_at(record, 0).unwrap_or(0));
            }
        }
        FLAG_UPDATE => {
            for update in step.data.chunks_exact(12) {
                let (Some(uids), add, remove) = (pair(update), update[8], update[9]) else { continue };
                if (add | remove) & DIRTY != 0 {
                    out.change(uids, exists, |m| m.dirty = add & DIRTY != 0);
                }
            }
        }
        KEYWORD_UPDATE => {
            let (Some(kind), Some(size)) = (step.data.first(), u16_at(step.data, 2)) else { return };
            let size = usize::from(size);
            let Some(name) = step.data.get(4..4 + size) else { return };
            let Some(keyword) = out.keyword(name) else { return };
            let uids = step.data.get((4 + size).next_multiple_of(4)..).unwrap_or_default();
            let kind = *kind;
            for uids in uids.chunks_exact(8).filter_map(pair) {
                out.change(uids, exists, |m| {
                    let at = m.keywords.binary_search(&keyword);
                    match (kind, at) {
                        // Added.
                        (0, Err(at)) => m.keywords.insert(at, keyword),
                        // Removed.
                        (1, Ok(at)) => drop(m.keywords.remove(at)),
                        // In the place of all others.
                        (2, _) => m.keywords = vec![keyword],
                        _ => (),
                    }
                });
            }
        }
        KEYWORD_RESET => {
            for uids in step.data.chunks_exact(8).filter_map(pair) {
                out.change(uids, exists, |m| m.keywords.clear());
            }
        }
        HEADER_UPDATE => {
            let mut rest = step.data;
            while let (Some(offset), Some(size)) = (u16_at(rest, 0), u16_at(rest, 2)) {
                let (offset, size) = (usize::from(offset), usize::from(size));
                let Some(data) = rest.get(4..4 + size) else { break };
                if let Some(at) = header.get_mut(offset..offset + size) {
                    at.copy_from_slice(data);
                }
                rest = rest.get((4 + size).next_multiple_of(4)..).unwrap_or_default();
            }
        }
        _ => (),
    }
}

// ---- numbers ---------------------------------------------------------------------------------------------------

fn align8(n: usize) -> usize {
    n.next_multiple_of(8)
}

fn u16_at(octets: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(octets.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(octets.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(octets: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(octets.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests;
