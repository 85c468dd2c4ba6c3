//! The checkpoint: a whole [`Model`] as one file, read in one go.
//!
//! ```text
//! "CULVCKP1"  length of the whole file u64
//! head: LEB128 fields, see `encode`; keyword names; the expunge log
//! records: 56 octets each
//! names: the octets of all file names in the order of the records
//! crc32 of all before
//! ```
//! Replaced by rename, never altered, so that a damaged one means a damaged disk (or a changed format): it is not
//! repaired but thrown away, and everything is learnt again from the Maildir and `dovecot-uidlist`. The mailbox's id
//! and UIDVALIDITY are inside: a file that was swapped or left over is recognised by whoever compares them.

use crate::codec::{Reader, Writer};
use crate::model::{Entry, Folder, Model, Names, Stamps, decode_set, encode_set, told_size};
use culver_base::{InternalDate, Keyword, ModSeq, SystemFlags, Uid, UidValidity};
use culver_snapshot::{Flags, KeywordBits, MailboxId, Record, Snapshot, Vanished};
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"CULVCKP1";
const RECORD: usize = 56;
const NO_SIZE: u64 = u64::MAX;
/// Set in a stored size that does not stand in the file's name.
const UNTOLD: u32 = 1 << 31;

/// Writes a model down.
pub fn encode(model: &Model, generation: u64) -> Vec<u8> {
    let s = &model.snapshot;
    let names = model.names.read();
    let mut w = Writer { out: Vec::with_capacity(s.len() * (RECORD + 56) + 4096) };
    w.out.extend_from_slice(MAGIC);
    w.out.extend_from_slice(&[0; 8]);
    w.out.extend_from_slice(&s.mailbox_id.0);
    w.number(generation);
    w.number(u64::from(s.uid_validity.get()));
    w.number(u64::from(s.uid_next.get()));
    w.number(s.highest_mod_seq.get());
    w.number(u64::from(model.reserved.0));
    w.number(model.reserved.1.get());
    w.number(u64::from(model.first_recent));
    w.number(u64::from(model.uidlist_behind));
    w.out.extend_from_slice(&model.boot);
    model.stamps.encode(&mut w);
    w.number(s.keywords.names().len() as u64);
    for k in s.keywords.names() {
        w.octets(k.as_str().as_bytes());
    }
    w.number(s.vanished.complete_since().get());
    w.number(s.vanished.entries().len() as u64);
    for (m, uids) in s.vanished.entries() {
        w.number(m.get());
        encode_set(uids, &mut w);
    }
    w.number(s.len() as u64);
    // Records and names are written side by side: a name is looked up once.
    let mut all = Vec::new();
    let mut files = names.iter().peekable();
    for r in s.iter() {
        while files.next_if(|(u, _)| *u < r.uid).is_some() {}
        let entry = files.next_if(|(u, _)| *u == r.uid).map(|(_, e)| e);
        let name: &[u8] = entry.map_or(b"", |e| &e.name);
        let folder = entry.map_or(Folder::Cur, |e| e.folder);
        let bits = u8::from(folder == Folder::Cur) | u8::from(model.behind.contains(&r.uid)) << 1;
        w.out.extend_from_slice(&r.uid.get().to_le_bytes());
        w.out.push(r.flags.system.bits());
        w.out.push(bits);
        w.out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        w.out.extend_from_slice(&r.flags.keywords.0.to_le_bytes());
        w.out.extend_from_slice(&r.mod_seq.get().to_le_bytes());
        w.out.extend_from_slice(&r.internal_date.unix.to_le_bytes());
        w.out.extend_from_slice(&r.size.unwrap_or(NO_SIZE).to_le_bytes());
        w.out.extend_from_slice(&r.save_date.to_le_bytes());
        w.out.extend_from_slice(&i32::from(r.internal_date.offset).to_le_bytes());
        w.out.extend_from_slice(&stored_size(&names, r.uid).to_le_bytes());
        all.extend_from_slice(name);
    }
    let mut out = w.out;
    out.extend_from_slice(&all);
    let len = out.len() as u64 + 4;
    out[8..16].copy_from_slice(&len.to_le_bytes());
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

/// A file's size and one; 0 when it is not known or too large for this. So that reading need not look into names.
fn stored_size(names: &Names, uid: Uid) -> u32 {
    let size = |octets: Option<u64>| octets.and_then(|n| u32::try_from(n + 1).ok()).filter(|n| *n < UNTOLD);
    match names.untold(uid) {
        Some(octets) => size(Some(octets)).map_or(0, |n| n | UNTOLD),
        None => size(names.octets(uid)).unwrap_or(0),
    }
}

/// Reads a model back, with its generation. `None` when anything is off.
pub fn decode(octets: &[u8]) -> Option<(Model, u64)> {
    let (body, crc) = octets.split_at_checked(octets.len().checked_sub(4)?)?;
    let mut r = Reader::new(body);
    if &r.array::<8>()? != MAGIC || u64::from_le_bytes(r.array()?) != octets.len() as u64 {
        return None;
    }
    if crc32fast::hash(body).to_le_bytes() != crc {
        return None;
    }
    decode_body(&mut r)
}

/// The part behind magic and length, whose checksum is right. Still nothing is believed: the fuzzer comes in here.
pub(crate) fn decode_body(r: &mut Reader<'_>) -> Option<(Model, u64)> {
    let id = MailboxId(r.array()?);
    let generation = r.number()?;
    let validity = UidValidity::new(r.number_u32()?)?;
    let uid_next = r.uid()?;
    let highest = ModSeq::new(r.number()?)?;
    let reserved = (r.number_u32()?, ModSeq::new(r.number()?)?);
    let first_recent = r.number_u32()?;
    let uidlist_behind = r.number_u32()?;
    let boot = r.array()?;
    let stamps = Stamps::decode(r)?;
    let mut snapshot = Snapshot::empty(id, validity, uid_next, highest);
    let mut edit = snapshot.edit();
    for _ in 0..r.count(2)? {
        let keyword = Keyword::new(std::str::from_utf8(r.octets()?).ok()?)?;
        let before = edit.keywords().names().len();
        edit.keywords().find_or_add(&keyword)?;
        if edit.keywords().names().len() == before {
            return None;
        }
    }
    let complete_since = ModSeq::new(r.number()?)?;
    let mut log: Vec<(ModSeq, _)> = Vec::new();
    for _ in 0..r.count(2)? {
        let m = ModSeq::new(r.number()?)?;
        if log.last().is_some_and(|(last, _)| *last >= m) || m > highest {
            return None;
        }
        log.push((m, decode_set(r)?));
    }
    let n = r.count(RECORD)?;
    let mut behind = BTreeSet::new();
    let mut places = Vec::with_capacity(n);
    let mut octets = 0u64;
    let mut untold = BTreeMap::new();
    for _ in 0..n {
        let mut f = Reader::new(r.take(RECORD)?);
        let uid = Uid::new(u32::from_le_bytes(f.array()?))?;
        let system = SystemFlags::from_bits(f.byte()?);
        let bits = f.byte()?;
        let name_len = usize::from(u16::from_le_bytes(f.array()?));
        let keywords = KeywordBits(u64::from_le_bytes(f.array()?));
        let mod_seq = ModSeq::new(u64::from_le_bytes(f.array()?)).filter(|m| *m <= highest)?;
        let unix = i64::from_le_bytes(f.array()?);
        let size = Some(u64::from_le_bytes(f.array()?)).filter(|s| *s != NO_SIZE);
        if size.is_some_and(|s| s > u64::from(u32::MAX) << 16) {
            return None;
        }
        let save_date = i64::from_le_bytes(f.array()?);
        let offset = i16::try_from(i32::from_le_bytes(f.array()?)).ok()?;
        let stored = u32::from_le_bytes(f.array()?);
        let internal_date = InternalDate { unix, offset };
        let record =
            Record { uid, flags: Flags { system, keywords }, mod_seq, internal_date, size, save_date };
        if uid >= uid_next || name_len == 0 || !edit.push(record) {
            return None;
        }
        if bits & 2 == 2 {
            behind.insert(uid);
        }
        let size = u64::from(stored & !UNTOLD).checked_sub(1);
        octets = octets.saturating_add(size.unwrap_or(0));
        if size.is_none() || stored & UNTOLD != 0 {
            untold.insert(uid, size);
        }
        places.push((uid, if bits & 1 == 1 { Folder::Cur } else { Folder::New }, name_len));
    }
    let mut entries = Vec::with_capacity(n);
    for (uid, folder, len) in places {
        let name = r.take(len)?;
        // Files of a gigabyte and more, and checkpoints of earlier versions.
        if untold.get(&uid) == Some(&None)
            && let Some(size) = told_size(name)
        {
            untold.remove(&uid);
            octets = octets.saturating_add(size);
        }
        entries.push((uid, Entry { name: name.into(), folder }));
    }
    if !r.is_at_end() {
        return None;
    }
    snapshot = edit.finish();
    snapshot.highest_mod_seq = highest;
    snapshot.vanished = Vanished::from_parts(complete_since, log);
    let model = Model {
        snapshot: Arc::new(snapshot),
        names: Arc::new(RwLock::new(Names::from_counted(entries, octets, untold))),
        behind,
        first_recent,
        uidlist_behind,
        stamps,
        reserved,
        boot,
        closed: false,
    };
    Some((model, generation))
}
