//! The sequence of records itself: chunks behind `Arc`, so that a change of one message copies one chunk and two
//! snapshots share the rest.

use crate::{KeywordBits, KeywordTable, Record, Vanished};
use culver_base::{ModSeq, SystemFlags, Uid, UidSet, UidValidity};
use std::fmt;
use std::sync::Arc;

/// Records in a full chunk. A flag change copies one chunk: some 50 KB at most.
const CHUNK: usize = 512;

/// A mailbox's own identity, kept over renames: 128 bits, printed as 32 lower-case hex digits, as Dovecot does in
/// the header of `dovecot-uidlist`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MailboxId(pub [u8; 16]);

impl MailboxId {
    /// From 32 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 16];
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        for (i, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
        }
        Some(Self(id))
    }
}
impl fmt::Display for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}
impl fmt::Debug for MailboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MailboxId({self})")
    }
}

/// Is the mailbox still there? A session may hold the last snapshot of one that is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// It is.
    Here,
    /// It was deleted, or its UIDVALIDITY changed: the session is told (RFC 2180 §3.3), and every verb but
    /// leaving is refused.
    Gone,
}

/// Sums over all messages, kept with every change.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Without `\Seen`.
    pub unseen: usize,
    /// With `\Deleted`.
    pub deleted: usize,
    /// Messages whose size nobody has counted yet.
    pub unsized_messages: usize,
    /// Sum of the known sizes.
    pub size: u64,
}

impl Counts {
    fn add(&mut self, r: &Record) {
        self.unseen += usize::from(!r.flags.system.contains(SystemFlags::SEEN));
        self.deleted += usize::from(r.flags.system.contains(SystemFlags::DELETED));
        self.unsized_messages += usize::from(r.size.is_none());
        self.size += r.size.unwrap_or(0);
    }
    fn take(&mut self, r: &Record) {
        self.unseen -= usize::from(!r.flags.system.contains(SystemFlags::SEEN));
        self.deleted -= usize::from(r.flags.system.contains(SystemFlags::DELETED));
        self.unsized_messages -= usize::from(r.size.is_none());
        self.size -= r.size.unwrap_or(0);
    }
}

/// Where [`Snapshot::seek`] goes on.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Place {
    chunk: usize,
    at: usize,
}

/// A mailbox at one moment. Cloning costs a few reference counts.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Identity over renames.
    pub mailbox_id: MailboxId,
    /// UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// UIDNEXT: above every UID ever given here.
    pub uid_next: Uid,
    /// HIGHESTMODSEQ.
    pub highest_mod_seq: ModSeq,
    /// Keyword names.
    pub keywords: Arc<KeywordTable>,
    /// Expunged UIDs.
    pub vanished: Vanished,
    /// Is the mailbox still there?
    pub presence: Presence,
    chunks: Arc<Vec<Arc<Vec<Record>>>>,
    /// Position of each chunk's first record, and behind the last one the number of all.
    starts: Arc<Vec<usize>>,
    counts: Counts,
}

impl Snapshot {
    /// An empty mailbox.
    pub fn empty(mailbox_id: MailboxId, uid_validity: UidValidity, uid_next: Uid, mod_seq: ModSeq) -> Self {
        Self {
            mailbox_id,
            uid_validity,
            uid_next,
            highest_mod_seq: mod_seq,
            keywords: Arc::default(),
            vanished: Vanished::since(mod_seq),
            presence: Presence::Here,
            chunks: Arc::default(),
            starts: Arc::new(vec![0]),
            counts: Counts::default(),
        }
    }

    /// How many messages.
    pub fn len(&self) -> usize {
        self.starts.last().copied().unwrap_or(0)
    }
    /// Has it no message?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Sums.
    pub fn counts(&self) -> Counts {
        self.counts
    }
    /// The record at a position from 0.
    pub fn get(&self, index: usize) -> Option<&Record> {
        let c = self.starts.partition_point(|s| *s <= index).checked_sub(1)?;
        self.chunks.get(c)?.get(index - self.starts[c])
    }
    /// The position of a UID.
    pub fn find(&self, uid: Uid) -> Option<usize> {
        let i = self.lower_bound(uid);
        self.get(i).filter(|r| r.uid == uid).map(|_| i)
    }
    /// The position and record of a UID, for those who go through many: cheap when it follows the one before.
    pub fn seek(&self, uid: Uid, place: &mut Place) -> Option<(usize, &Record)> {
        let next = self.chunks.get(place.chunk).and_then(|c| c.get(place.at)).is_some_and(|r| r.uid == uid);
        if !next {
            place.chunk = self.chunks.partition_point(|c| c.last().is_some_and(|r| r.uid < uid));
            place.at = self.chunks.get(place.chunk)?.partition_point(|r| r.uid < uid);
        }
        let chunk = self.chunks.get(place.chunk)?;
        let record = chunk.get(place.at).filter(|r| r.uid == uid)?;
        let index = self.starts.get(place.chunk)? + place.at;
        place.at += 1;
        if place.at == chunk.len() {
            *place = Place { chunk: place.chunk + 1, at: 0 };
        }
        Some((index, record))
    }
    /// The record of a UID.
    pub fn by_uid(&self, uid: Uid) -> Option<&Record> {
        self.find(uid).and_then(|i| self.get(i))
    }
    /// The position of the first message whose UID is at or above `uid`; the length when there is none.
    pub fn lower_bound(&self, uid: Uid) -> usize {
        let c = self.chunks.partition_point(|c| c.last().is_some_and(|r| r.uid < uid));
        match self.chunks.get(c) {
            Some(chunk) => self.starts[c] + chunk.partition_point(|r| r.uid < uid),
            None => self.len(),
        }
    }
    /// The highest UID.
    pub fn last_uid(&self) -> Option<Uid> {
        self.chunks.last().and_then(|c| c.last()).map(|r| r.uid)
    }
    /// Every record in order.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.chunks.iter().flat_map(|c| c.iter())
    }
    /// Records from a position on.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = &Record> {
        let c = self.starts.partition_point(|s| *s <= index).saturating_sub(1);
        let skip = index - self.starts[c];
        self.chunks[c.min(self.chunks.len())..].iter().flat_map(|c| c.iter()).skip(skip)
    }
    /// The records of `uids` with their positions, ascending; UIDs that are not there are passed over. Costs the
    /// size of the answer and of the set's ranges, not of the mailbox.
    pub fn select<'a>(&'a self, uids: &'a UidSet) -> impl Iterator<Item = (usize, &'a Record)> {
        uids.ranges().iter().flat_map(move |&(lo, hi)| {
            let from = Uid::new(lo).map_or(0, |u| self.lower_bound(u));
            (from..).zip(self.iter_from(from)).take_while(move |(_, r)| r.uid.get() <= hi)
        })
    }
    /// The UIDs at positions `numbers` (sequence numbers from 1); numbers past the end are passed over.
    pub fn uids_at(&self, numbers: &UidSet) -> UidSet {
        let mut out = UidSet::new();
        for &(lo, hi) in numbers.ranges() {
            let from = lo as usize - 1;
            if from >= self.len() {
                break;
            }
            let count = (hi - lo) as usize + 1;
            out.extend(self.iter_from(from).take(count).map(|r| r.uid));
        }
        out
    }
    /// All UIDs.
    pub fn uids(&self) -> UidSet {
        self.iter().map(|r| r.uid).collect()
    }
    /// UIDs up to the highest one given that no message has: the answer when the expunge log does not reach back
    /// far enough.
    pub fn missing_uids(&self) -> UidSet {
        let mut used = UidSet::new();
        if self.uid_next.get() > 1 {
            used.insert_range(1, self.uid_next.get() - 1);
        }
        used.difference(&self.uids())
    }
    /// The chunks, for the comparison of two snapshots.
    pub(crate) fn chunks(&self) -> &[Arc<Vec<Record>>] {
        &self.chunks
    }
    /// Keywords that at least one message carries.
    pub fn keywords_in_use(&self) -> KeywordBits {
        KeywordBits(self.iter().fold(0, |bits, r| bits | r.flags.keywords.0))
    }
    /// Begins a change.
    pub fn edit(&self) -> Edit {
        Edit { next: self.clone(), touched: false }
    }
}

/// A change in the making: the snapshot it began with stays as it is.
pub struct Edit {
    next: Snapshot,
    touched: bool,
}

impl Edit {
    /// The mod-sequence that everything changed in this edit gets.
    pub fn mod_seq(&self) -> ModSeq {
        self.next.highest_mod_seq.next()
    }
    /// The snapshot as changed so far.
    pub fn peek(&self) -> &Snapshot {
        &self.next
    }
    /// The keyword table, to add to.
    pub fn keywords(&mut self) -> &mut KeywordTable {
        Arc::make_mut(&mut self.next.keywords)
    }
    /// Adds a message behind all others. Its UID must be above every other; a lower one is not taken and `false`
    /// comes back. Raises UIDNEXT. The record's mod-sequence is kept as given.
    pub fn push(&mut self, record: Record) -> bool {
        if self.next.last_uid().is_some_and(|last| record.uid <= last) {
            return false;
        }
        if record.uid >= self.next.uid_next {
            self.next.uid_next = record.uid.next().unwrap_or(Uid::MAX);
        }
        self.touched = true;
        self.next.counts.add(&record);
        let starts = Arc::make_mut(&mut self.next.starts);
        let chunks = Arc::make_mut(&mut self.next.chunks);
        match chunks.last_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(record),
            _ => {
                chunks.push(Arc::new(vec![record]));
                let end = starts.last().copied().unwrap_or(0);
                starts.push(end);
            }
        }
        if let Some(end) = starts.last_mut() {
            *end += 1;
        }
        true
    }
    /// Changes the record of `uid` by `change`, which must not touch the UID. `false` when there is none.
    pub fn update(&mut self, uid: Uid, change: impl FnOnce(&mut Record)) -> bool {
        let Some(index) = self.next.find(uid) else { return false };
        let c = self.next.starts.partition_point(|s| *s <= index) - 1;
        let at = index - self.next.starts[c];
        let chunks = Arc::make_mut(&mut self.next.chunks);
        let record = &mut Arc::make_mut(&mut chunks[c])[at];
        self.next.counts.take(record);
        change(record);
        debug_assert_eq!(record.uid, uid);
        self.next.counts.add(record);
        self.touched = true;
        true
    }
    /// Takes messages out and remembers them as vanished with this edit's mod-sequence. Gives back those that
    /// were there.
    pub fn remove(&mut self, uids: &UidSet) -> UidSet {
        let gone: UidSet = self.next.select(uids).map(|(_, r)| r.uid).collect();
        if gone.is_empty() {
            return gone;
        }
        let mut chunks: Vec<Arc<Vec<Record>>> = Vec::with_capacity(self.next.chunks.len());
        for chunk in self.next.chunks.iter() {
            if !chunk.iter().any(|r| gone.has(r.uid)) {
                chunks.push(chunk.clone());
                continue;
            }
            let mut kept = Vec::with_capacity(chunk.len());
            for r in chunk.iter() {
                if gone.has(r.uid) { self.next.counts.take(r) } else { kept.push(r.clone()) }
            }
            if !kept.is_empty() {
                chunks.push(Arc::new(kept));
            }
        }
        self.next.starts = Arc::new(starts_of(&chunks));
        self.next.chunks = Arc::new(chunks);
        let mod_seq = self.mod_seq();
        self.next.vanished.record(mod_seq, gone.clone());
        self.touched = true;
        gone
    }
    /// Raises UIDNEXT.
    pub fn reserve_uids(&mut self, uid_next: Uid) {
        self.next.uid_next = self.next.uid_next.max(uid_next);
    }
    /// Counts as a change of the mailbox although no record was touched.
    pub fn touch(&mut self) {
        self.touched = true;
    }
    /// The mailbox is gone: the last snapshot that a session will get.
    pub fn gone(mut self) -> Snapshot {
        self.next.presence = Presence::Gone;
        self.next
    }
    /// The new snapshot. HIGHESTMODSEQ is raised to [`Edit::mod_seq`] when something was changed.
    pub fn finish(mut self) -> Snapshot {
        if self.touched {
            self.next.highest_mod_seq = self.mod_seq();
        }
        self.next
    }
    /// The new snapshot without raising HIGHESTMODSEQ, unless a record's own value is higher: for loading.
    pub fn finish_loading(mut self) -> Snapshot {
        let highest = self.next.iter().map(|r| r.mod_seq).max().unwrap_or_default();
        self.next.highest_mod_seq = self.next.highest_mod_seq.max(highest);
        self.next
    }
}

fn starts_of(chunks: &[Arc<Vec<Record>>]) -> Vec<usize> {
    let mut starts = Vec::with_capacity(chunks.len() + 1);
    let mut at = 0;
    starts.push(0);
    for c in chunks {
        at += c.len();
        starts.push(at);
    }
    // `starts` has one entry more than there are chunks: the end.
    starts
}
