//! What the engine knows of one mailbox, and the changes that lead from one state of knowledge to the next.
//!
//! A verb, a scan, a batch of inotify events: each ends in one [`Change`], a list of [`Op`]s. [`Model::apply`] is the
//! only function that alters a [`Model`]; the journal holds the very same `Change`s and a restart applies them by the
//! same function. So what comes back after a restart is what was there before, by construction.
//!
//! Pure: values only. What is beyond the snapshot (file names, stamps of directories) never leaves the engine.

use crate::codec::{Reader, Writer};
use culver_base::{InternalDate, Keyword, ModSeq, SystemFlags, Uid, UidSet, UidValidity};
use culver_quota::Usage;
use culver_snapshot::{Flags, KeywordBits, MailboxId, Record, Snapshot};
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// The directory in which a message's file lies.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Folder {
    /// `new`
    New,
    /// `cur`
    Cur,
}

/// Does a file's name say what the record says?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameState {
    /// Yes.
    Current,
    /// The record's flags are newer: a rename is due.
    Behind,
}

/// Where a message's file is, as far as we know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name, with flags.
    pub name: Box<[u8]>,
    /// Its directory.
    pub folder: Folder,
}

/// The part of a file name that never changes: all before the first colon.
pub fn base_of(name: &[u8]) -> &[u8] {
    memchr::memchr(b':', name).map_or(name, |i| &name[..i])
}

/// Octets as stored, if the name tells them (`S=`).
pub fn told_size(name: &[u8]) -> Option<u64> {
    crate::filename::stored_size(name)
}

/// File names by UID, and UIDs by base. The second direction is built when it is first asked for: opening a mailbox
/// that nobody touched does not need it.
#[derive(Default)]
pub struct Names {
    by_uid: BTreeMap<Uid, Entry>,
    /// Those in `new`.
    new: BTreeSet<Uid>,
    by_base: Option<HashMap<u64, Uid, BuildIdentity>>,
    keys: RandomState,
    /// Octets of all files whose size is known.
    octets: u64,
    /// Messages whose names do not tell their size, with what `stat` told.
    untold: BTreeMap<Uid, Option<u64>>,
}

/// Keys are hashes already, made with secret keys: nobody can choose names that collide.
#[derive(Clone, Copy, Default)]
pub struct BuildIdentity;
/// Passes a `u64` through.
pub struct Identity(u64);
impl BuildHasher for BuildIdentity {
    type Hasher = Identity;
    fn build_hasher(&self) -> Identity {
        Identity(0)
    }
}
impl std::hash::Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

impl Names {
    /// The entry of a UID.
    pub fn get(&self, uid: Uid) -> Option<&Entry> {
        self.by_uid.get(&uid)
    }
    /// All, by UID.
    pub fn iter(&self) -> impl Iterator<Item = (Uid, &Entry)> {
        self.by_uid.iter().map(|(u, e)| (*u, e))
    }
    /// Those in `new`, by UID.
    pub fn in_new(&self) -> impl Iterator<Item = (Uid, &Entry)> {
        self.new.iter().filter_map(|u| Some((*u, self.by_uid.get(u)?)))
    }
    /// Those from a UID on.
    pub fn from(&self, uid: Uid) -> impl Iterator<Item = (Uid, &Entry)> {
        self.by_uid.range(uid..).map(|(u, e)| (*u, e))
    }
    /// How many.
    pub fn len(&self) -> usize {
        self.by_uid.len()
    }
    /// None?
    pub fn is_empty(&self) -> bool {
        self.by_uid.is_empty()
    }
    /// What the files hold, as quota counts: `S=` of the name, or the file's own size.
    pub fn usage(&self) -> Usage {
        Usage { storage: self.octets, messages: self.by_uid.len() as u64 }
    }
    /// Octets of one message's file, as quota counts; `None` when nobody has looked yet.
    pub fn octets(&self, uid: Uid) -> Option<u64> {
        match self.untold.get(&uid) {
            Some(octets) => *octets,
            None => told_size(&self.by_uid.get(&uid)?.name),
        }
    }
    /// Octets that no name tells.
    pub fn untold(&self, uid: Uid) -> Option<u64> {
        self.untold.get(&uid).copied().flatten()
    }
    /// Messages whose size nobody has looked at.
    pub fn uncounted(&self) -> Vec<Uid> {
        self.untold.iter().filter(|(_, octets)| octets.is_none()).map(|(uid, _)| *uid).collect()
    }
    fn count(&mut self, uid: Uid, octets: u64) {
        if let Some(known) = self.untold.get_mut(&uid) {
            self.octets = self.octets.saturating_sub(known.unwrap_or(0)).saturating_add(octets);
            *known = Some(octets);
        }
    }
    /// Makes [`Self::uid_of`] ready.
    pub fn index(&mut self) {
        if self.by_base.is_none() {
            let mut map = HashMap::with_capacity_and_hasher(self.by_uid.len(), BuildIdentity);
            map.extend(self.by_uid.iter().map(|(u, e)| (self.keys.hash_one(base_of(&e.name)), *u)));
            self.by_base = Some(map);
        }
    }
    /// The UID of a base; [`Self::index`] must have been called.
    pub fn uid_of(&self, base: &[u8]) -> Option<Uid> {
        debug_assert!(self.by_base.is_some());
        if self.by_uid.is_empty() {
            return None;
        }
        let uid = *self.by_base.as_ref()?.get(&self.keys.hash_one(base))?;
        self.by_uid.get(&uid).filter(|e| base_of(&e.name) == base).map(|_| uid)
    }
    /// From entries that ascend by UID.
    pub fn from_sorted(entries: Vec<(Uid, Entry)>) -> Self {
        let mut octets = 0u64;
        let mut untold = BTreeMap::new();
        for (uid, entry) in &entries {
            match told_size(&entry.name) {
                Some(size) => octets = octets.saturating_add(size),
                None => drop(untold.insert(*uid, None)),
            }
        }
        Self::from_counted(entries, octets, untold)
    }
    /// As [`Self::from_sorted`], with sizes that are known.
    pub fn from_counted(entries: Vec<(Uid, Entry)>, octets: u64, untold: BTreeMap<Uid, Option<u64>>) -> Self {
        let new = entries.iter().filter(|(_, e)| e.folder == Folder::New).map(|(u, _)| *u).collect();
        let by_uid = entries.into_iter().collect();
        Self { by_uid, new, by_base: None, keys: RandomState::new(), octets, untold }
    }
    fn set(&mut self, uid: Uid, entry: Entry) {
        let old = self.by_uid.get(&uid);
        let is_new = old.is_none();
        let same = old.is_some_and(|old| base_of(&old.name) == base_of(&entry.name));
        if !same {
            if !is_new {
                self.forget_size(uid);
            }
            match told_size(&entry.name) {
                Some(size) => self.octets = self.octets.saturating_add(size),
                None => drop(self.untold.insert(uid, None)),
            }
        }
        if let Some(map) = &mut self.by_base {
            if !same && let Some(old) = self.by_uid.get(&uid) {
                map.remove(&self.keys.hash_one(base_of(&old.name)));
            }
            if !same {
                map.insert(self.keys.hash_one(base_of(&entry.name)), uid);
            }
        }
        match entry.folder {
            Folder::New => self.new.insert(uid),
            Folder::Cur => !is_new && self.new.remove(&uid),
        };
        self.by_uid.insert(uid, entry);
    }
    fn forget_size(&mut self, uid: Uid) {
        self.octets = self.octets.saturating_sub(self.octets(uid).unwrap_or(0));
        self.untold.remove(&uid);
    }
    fn remove(&mut self, uid: Uid) {
        self.forget_size(uid);
        self.new.remove(&uid);
        let Some(old) = self.by_uid.remove(&uid) else { return };
        if let Some(map) = &mut self.by_base {
            let hash = self.keys.hash_one(base_of(&old.name));
            if map.get(&hash) == Some(&uid) {
                map.remove(&hash);
            }
        }
    }
}

/// What a directory or file looked like when it was last compared with what we know.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stamp {
    /// Inode number; 0 for "never seen" and "not there".
    pub ino: u64,
    /// Octets (0 for directories).
    pub size: u64,
    /// Time of the last change, seconds.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: u32,
    /// Was the look more than a second after that time? Otherwise equal times prove nothing (file systems keep
    /// time in ticks): look again.
    pub settled: bool,
}

/// The stamps of everything that other programs may change.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stamps {
    /// `new`
    pub new: Stamp,
    /// `cur`
    pub cur: Stamp,
    /// `dovecot-uidlist`
    pub uidlist: Stamp,
    /// `dovecot-keywords`
    pub keywords: Stamp,
}

/// One step of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// A keyword gets the next bit.
    Keyword(Keyword),
    /// A message arrives. Its mod-sequence is that of the change, whatever the record says.
    Arrive(Record, Entry, NameState),
    /// Flags are now these; the name is behind.
    Flags(Uid, Flags),
    /// Messages are gone.
    Expunge(UidSet),
    /// A file's name. Changes nothing that clients see.
    Placed(Uid, Entry, NameState),
    /// A size was counted. No new mod-sequence: to clients it has always been so.
    Size(Uid, u64),
    /// A file's size, whose name does not tell it. Changes nothing that clients see.
    Stored(Uid, u64),
    /// All UIDs below this have been claimed as `\Recent`.
    Recent(u32),
    /// UIDs below this are used up.
    UidNext(Uid),
    /// HIGHESTMODSEQ is at least this.
    ModSeq(ModSeq),
    /// What was seen of directories and files.
    Stamps(Stamps),
    /// Messages that are not in `dovecot-uidlist` yet, since it could not be written: UIDs from this one on. 0: none.
    UidlistBehind(u32),
    /// UIDs below the first and mod-sequences up to the second may be given without another word: after a stop
    /// that was not in order they count as used. On disk before the first of them is given.
    Reserve(u32, ModSeq),
    /// What follows was written under the kernel run with this id (all 0: unknown).
    Boot([u8; 16]),
    /// The mailbox was closed in order: what is on disk is all there was.
    Closed,
}

/// A list of steps that take effect together.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Change {
    /// In order.
    pub ops: Vec<Op>,
}

impl From<Vec<Op>> for Change {
    fn from(ops: Vec<Op>) -> Self {
        Self { ops }
    }
}

/// One mailbox as the engine knows it.
pub struct Model {
    /// What sessions see.
    pub snapshot: Arc<Snapshot>,
    /// File names; behind a lock of their own so that readers of messages never wait for a verb.
    pub names: Arc<RwLock<Names>>,
    /// Messages whose file name is behind.
    pub behind: BTreeSet<Uid>,
    /// UIDs from this one on are `\Recent` to the next session.
    pub first_recent: u32,
    /// See [`Op::UidlistBehind`].
    pub uidlist_behind: u32,
    /// What was seen last.
    pub stamps: Stamps,
    /// See [`Op::Reserve`].
    pub reserved: (u32, ModSeq),
    /// See [`Op::Boot`].
    pub boot: [u8; 16],
    /// Was the last step [`Op::Closed`]?
    pub closed: bool,
}

impl Model {
    /// An empty mailbox.
    pub fn empty(id: MailboxId, validity: UidValidity, uid_next: Uid, mod_seq: ModSeq) -> Self {
        Self {
            snapshot: Arc::new(Snapshot::empty(id, validity, uid_next, mod_seq)),
            names: Arc::default(),
            behind: BTreeSet::new(),
            first_recent: 1,
            uidlist_behind: 0,
            stamps: Stamps::default(),
            reserved: (uid_next.get(), mod_seq),
            boot: [0; 16],
            closed: false,
        }
    }

    /// Makes the steps. Tells whether sessions have something new to see. Steps about messages that are not there
    /// are passed over, so that a journal which names them does no harm.
    pub fn apply(&mut self, change: &Change) -> bool {
        let mut edit = self.snapshot.edit();
        let mod_seq = edit.mod_seq();
        let before = self.snapshot.highest_mod_seq;
        let mut names = self.names.write();
        let (mut counts, mut visible) = (false, false);
        let mut floor = before;
        self.closed = false;
        for op in &change.ops {
            match op {
                Op::Keyword(keyword) => {
                    if edit.keywords().find_or_add(keyword).is_some() {
                        edit.touch();
                        counts = true;
                    }
                }
                Op::Arrive(record, entry, state) => {
                    let uid = record.uid;
                    if edit.push(Record { mod_seq, ..record.clone() }) {
                        // Until the uidlist was seen again, it is not known to have this one.
                        self.stamps.uidlist = Stamp::default();
                        names.set(uid, entry.clone());
                        if *state == NameState::Behind {
                            self.behind.insert(uid);
                        }
                        counts = true;
                    }
                }
                Op::Flags(uid, flags) => {
                    let changed = edit.update(*uid, |r| {
                        r.flags = *flags;
                        r.mod_seq = mod_seq;
                    });
                    if changed {
                        self.behind.insert(*uid);
                        counts = true;
                    }
                }
                Op::Expunge(uids) => {
                    for uid in edit.remove(uids).uids() {
                        names.remove(uid);
                        self.behind.remove(&uid);
                        counts = true;
                    }
                }
                Op::Placed(uid, entry, state) => {
                    if names.get(*uid).is_some() {
                        names.set(*uid, entry.clone());
                        match state {
                            NameState::Current => self.behind.remove(uid),
                            NameState::Behind => self.behind.insert(*uid),
                        };
                    }
                }
                Op::Size(uid, size) => visible |= edit.update(*uid, |r| r.size = Some(*size)),
                Op::Stored(uid, octets) => names.count(*uid, *octets),
                Op::Recent(uid) => self.first_recent = self.first_recent.max(*uid),
                Op::UidNext(uid) => {
                    if *uid > edit.peek().uid_next {
                        visible = true;
                        self.stamps.uidlist = Stamp::default();
                    }
                    edit.reserve_uids(*uid);
                }
                Op::ModSeq(m) => floor = floor.max(*m),
                Op::Stamps(stamps) => self.stamps = *stamps,
                Op::UidlistBehind(uid) => self.uidlist_behind = *uid,
                Op::Reserve(uid, m) => {
                    self.reserved = (self.reserved.0.max(*uid), self.reserved.1.max(*m));
                }
                Op::Boot(id) => self.boot = *id,
                Op::Closed => self.closed = true,
            }
        }
        drop(names);
        if !counts && !visible && floor == before {
            return false;
        }
        let mut next = edit.finish();
        next.highest_mod_seq = if counts { mod_seq.max(floor) } else { floor };
        self.snapshot = Arc::new(next);
        true
    }

    /// The table's bit of a keyword, with the step that adds it when it is new. `None` when the table is full.
    /// `added` are the steps of the same change so far.
    pub fn keyword_bit(&self, keyword: &Keyword, added: &mut Vec<Keyword>) -> Option<KeywordBits> {
        let table = &self.snapshot.keywords;
        if let Some(bit) = table.find(keyword) {
            return Some(bit);
        }
        let at = match added.iter().position(|k| k == keyword) {
            Some(i) => i,
            None => {
                if table.names().len() + added.len() >= culver_snapshot::KeywordTable::CAPACITY {
                    return None;
                }
                added.push(keyword.clone());
                added.len() - 1
            }
        };
        Some(KeywordBits(1 << (table.names().len() + at)))
    }
}

// ---- as octets ------------------------------------------------------------------------------------------------

impl Stamp {
    /// Appends itself.
    pub fn encode(&self, w: &mut Writer) {
        w.number(self.ino);
        w.number(self.size);
        w.signed(self.seconds);
        w.number(u64::from(self.nanoseconds));
        w.byte(u8::from(self.settled));
    }
    /// Reads itself back.
    pub fn decode(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            ino: r.number()?,
            size: r.number()?,
            seconds: r.signed()?,
            nanoseconds: r.number_u32()?,
            settled: r.byte()? != 0,
        })
    }
}

impl Stamps {
    /// Appends itself.
    pub fn encode(&self, w: &mut Writer) {
        for s in [&self.new, &self.cur, &self.uidlist, &self.keywords] {
            s.encode(w);
        }
    }
    /// Reads itself back.
    pub fn decode(r: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            new: Stamp::decode(r)?,
            cur: Stamp::decode(r)?,
            uidlist: Stamp::decode(r)?,
            keywords: Stamp::decode(r)?,
        })
    }
}

impl Entry {
    fn encode(&self, state: NameState, w: &mut Writer) {
        w.byte(u8::from(self.folder == Folder::Cur) | u8::from(state == NameState::Behind) << 1);
        w.octets(&self.name);
    }
    fn decode(r: &mut Reader<'_>) -> Option<(Self, NameState)> {
        let bits = r.byte()?;
        let folder = if bits & 1 == 1 { Folder::Cur } else { Folder::New };
        let state = if bits & 2 == 2 { NameState::Behind } else { NameState::Current };
        Some((Self { name: r.octets()?.into(), folder }, state))
    }
}

fn encode_record(record: &Record, w: &mut Writer) {
    w.number(u64::from(record.uid.get()));
    w.byte(record.flags.system.bits());
    w.number(record.flags.keywords.0);
    w.signed(record.internal_date.unix);
    w.signed(i64::from(record.internal_date.offset));
    w.number(record.size.map_or(0, |s| s.saturating_add(1)));
    w.signed(record.save_date);
}

fn decode_record(r: &mut Reader<'_>) -> Option<Record> {
    Some(Record {
        uid: r.uid()?,
        flags: Flags { system: SystemFlags::from_bits(r.byte()?), keywords: KeywordBits(r.number()?) },
        mod_seq: ModSeq::ZERO,
        internal_date: InternalDate { unix: r.signed()?, offset: i16::try_from(r.signed()?).ok()? },
        size: r.number()?.checked_sub(1),
        save_date: r.signed()?,
    })
}

/// Appends a set as ranges.
pub fn encode_set(set: &UidSet, w: &mut Writer) {
    w.number(set.ranges().len() as u64);
    for (lo, hi) in set.ranges() {
        w.number(u64::from(*lo));
        w.number(u64::from(hi - lo));
    }
}

/// Reads a set back.
pub fn decode_set(r: &mut Reader<'_>) -> Option<UidSet> {
    let mut set = UidSet::new();
    for _ in 0..r.count(2)? {
        let lo = r.uid()?.get();
        let hi = lo.checked_add(r.number_u32()?)?;
        set.insert_range(lo, hi);
    }
    Some(set)
}

impl Op {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Keyword(k) => {
                w.byte(1);
                w.octets(k.as_str().as_bytes());
            }
            Self::Arrive(record, entry, state) => {
                w.byte(2);
                encode_record(record, w);
                entry.encode(*state, w);
            }
            Self::Flags(uid, flags) => {
                w.byte(3);
                w.number(u64::from(uid.get()));
                w.byte(flags.system.bits());
                w.number(flags.keywords.0);
            }
            Self::Expunge(uids) => {
                w.byte(4);
                encode_set(uids, w);
            }
            Self::Placed(uid, entry, state) => {
                w.byte(5);
                w.number(u64::from(uid.get()));
                entry.encode(*state, w);
            }
            Self::Size(uid, size) => {
                w.byte(6);
                w.number(u64::from(uid.get()));
                w.number(*size);
            }
            Self::Recent(uid) => {
                w.byte(7);
                w.number(u64::from(*uid));
            }
            Self::UidNext(uid) => {
                w.byte(8);
                w.number(u64::from(uid.get()));
            }
            Self::ModSeq(m) => {
                w.byte(9);
                w.number(m.get());
            }
            Self::Stamps(stamps) => {
                w.byte(10);
                stamps.encode(w);
            }
            Self::UidlistBehind(uid) => {
                w.byte(11);
                w.number(u64::from(*uid));
            }
            Self::Closed => w.byte(12),
            Self::Boot(id) => {
                w.byte(14);
                w.out.extend_from_slice(id);
            }
            Self::Stored(uid, octets) => {
                w.byte(15);
                w.number(u64::from(uid.get()));
                w.number(*octets);
            }
            Self::Reserve(uid, m) => {
                w.byte(13);
                w.number(u64::from(*uid));
                w.number(m.get());
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Option<Self> {
        Some(match r.byte()? {
            1 => Self::Keyword(Keyword::new(std::str::from_utf8(r.octets()?).ok()?)?),
            2 => {
                let record = decode_record(r)?;
                let (entry, state) = Entry::decode(r)?;
                Self::Arrive(record, entry, state)
            }
            3 => {
                let uid = r.uid()?;
                let system = SystemFlags::from_bits(r.byte()?);
                Self::Flags(uid, Flags { system, keywords: KeywordBits(r.number()?) })
            }
            4 => Self::Expunge(decode_set(r)?),
            5 => {
                let uid = r.uid()?;
                let (entry, state) = Entry::decode(r)?;
                Self::Placed(uid, entry, state)
            }
            6 => Self::Size(r.uid()?, r.number()?),
            7 => Self::Recent(r.number_u32()?),
            8 => Self::UidNext(r.uid()?),
            9 => Self::ModSeq(ModSeq::new(r.number()?)?),
            10 => Self::Stamps(Stamps::decode(r)?),
            11 => Self::UidlistBehind(r.number_u32()?),
            12 => Self::Closed,
            13 => Self::Reserve(r.number_u32()?, ModSeq::new(r.number()?)?),
            14 => Self::Boot(r.array()?),
            15 => Self::Stored(r.uid()?, r.number()?),
            _ => return None,
        })
    }
}

impl Change {
    /// Nothing to do?
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
    /// Appends its steps.
    pub fn encode(&self, w: &mut Writer) {
        w.number(self.ops.len() as u64);
        for op in &self.ops {
            op.encode(w);
        }
    }
    /// Reads it back; `None` unless the octets are exactly one change.
    pub fn decode(r: &mut Reader<'_>) -> Option<Self> {
        let n = r.count(1)?;
        let mut ops = Vec::with_capacity(n.min(1024));
        for _ in 0..n {
            ops.push(Op::decode(r)?);
        }
        Some(Self { ops })
    }
}
