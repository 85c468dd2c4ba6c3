//! The cache: what clients ask of messages again and again, so that their files need not be opened.
//!
//! One append-only file of records in the mailbox's state folder ([`record`], [`file`]) and, beside it, where each of
//! them is ([`index`]). A record is made when a message is stored or first looked at. What a record says does
//! not change: a message under a UID never does.
//!
//! **What it promises.** Every record has a checksum over its octets and its UID, checked whenever it is read: a
//! damaged one is as if it were missing, the message is read instead and a new record is written. Nothing here can fail
//! a verb: if the file cannot be read or written, messages are read from their files, and one line of the log says so.
//! Records of messages that are gone, and those that newer ones replace, are dropped once they are the greater part.
//!
//! **What it does not.** Nothing is synced. After a power failure records may be missing.

pub mod file;
pub mod index;
pub mod record;

use crate::place::MailboxPlace;
use bytes::Bytes;
use culver_base::Uid;
use culver_snapshot::Snapshot;
use culver_store::io::{Durability, File, Fs};
use file::{Found, Owner, Slot};
use parking_lot::{Mutex, RwLock};
use record::{Facts, Learnt};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CACHE: &[u8] = b"cache";
const INDEX: &[u8] = b"cache-index";
const MAGIC: &[u8; 8] = b"CULVCCH1";
/// Octets that are gone through again at the next opening rather than writing the index.
const UNINDEXED: u64 = 64 << 10;
/// A cache smaller than this is not worth tidying.
const SMALL: u64 = 1 << 20;
/// No cache is larger; beyond it messages are read from their files.
const LARGEST: u64 = 64 << 30;
/// No index is larger.
const LARGEST_INDEX: usize = 1 << 30;
/// How long nothing is written after that failed.
const PAUSE: Duration = Duration::from_secs(60);
/// Octets read at once when messages are asked for in a row.
const WINDOW: u64 = 128 << 10;

/// The cache of a mailbox.
#[derive(Default)]
pub struct Cache {
    state: RwLock<State>,
    /// Held by the one that opens or writes.
    writer: Mutex<()>,
    /// It was said that records are damaged.
    told: AtomicBool,
}

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Open(Open),
    /// It cannot be had until the mailbox is opened again.
    Off,
}

struct Open {
    file: Arc<File>,
    generation: [u8; 8],
    slots: Arc<Vec<Slot>>,
    len: u64,
    /// Octets of records that newer ones replace.
    replaced: u64,
    /// Octets that the index beside the file tells of.
    covered: u64,
    /// Nothing is written before.
    pause: Option<Instant>,
    told: bool,
}

impl Cache {
    /// Must it be opened before it is of use?
    pub fn is_closed(&self) -> bool {
        matches!(*self.state.read(), State::Closed)
    }

    /// Opens it, if nobody has. A job of the service.
    pub fn open(&self, fs: &Fs, place: &MailboxPlace, snapshot: &Snapshot) {
        let _one = self.writer.lock();
        if !self.is_closed() {
            return;
        }
        let label = place.label();
        let owner = owner(snapshot);
        let opened = Open::load(fs, &place.state, owner, &label);
        *self.state.write() = match opened {
            Ok(open) => State::Open(open),
            Err(error) => {
                tracing::warn!(place = %label, folder = %place.state.display(), %error, "the cache cannot be used; messages are read from their files");
                State::Off
            }
        };
    }

    /// For one batch.
    pub fn reader(&self) -> Option<CacheReader> {
        match &*self.state.read() {
            State::Open(open) => Some(CacheReader {
                file: open.file.clone(),
                slots: open.slots.clone(),
                next: 0,
                window: Bytes::new(),
                window_at: 0,
                bad: 0,
            }),
            _ => None,
        }
    }

    /// So many records turned out to be damaged.
    pub fn was_bad(&self, bad: usize, place: &MailboxPlace) {
        if bad > 0 && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(place = %place.label(), "the cache is damaged; what is missing is read again");
        }
    }

    /// Writes records down. Those that are there already, with all they say, are left out.
    pub fn add(&self, learnt: Vec<Learnt>, place: &MailboxPlace) {
        let _one = self.writer.lock();
        let (file, at, known) = match &*self.state.read() {
            State::Open(open) if open.pause.is_none_or(|p| Instant::now() > p) => {
                (open.file.clone(), open.len, open.slots.clone())
            }
            _ => return,
        };
        let mut reader = self.reader();
        let mut octets = Vec::with_capacity(learnt.iter().map(|l| l.frame.len()).sum());
        let mut fresh: Vec<Slot> = Vec::with_capacity(learnt.len());
        for Learnt { uid, frame } in learnt {
            let old =
                known.binary_search_by_key(&uid, |s| s.uid).ok().and_then(|_| reader.as_mut()?.get(uid, 1));
            let frame = Bytes::from(frame);
            if let (Some(old), Some(new)) = (old, Facts::read(&frame, uid))
                && old.covers(&new)
            {
                continue;
            }
            fresh.push(Slot { uid, len: frame.len() as u32, at: at + octets.len() as u64 });
            octets.extend_from_slice(&frame);
        }
        drop((known, reader));
        if fresh.is_empty() {
            return;
        }
        let written = match at + octets.len() as u64 {
            len if len > LARGEST => {
                Err(io::Error::other(format!("it would be larger than {LARGEST} octets")))
            }
            _ => file.write_all_at(&octets, at),
        };
        match written {
            Ok(()) => {
                if let State::Open(open) = &mut *self.state.write() {
                    open.len += octets.len() as u64;
                    open.insert(fresh);
                }
            }
            Err(error) => {
                drop(file.truncate(at));
                if let State::Open(open) = &mut *self.state.write() {
                    open.pause = Some(Instant::now() + PAUSE);
                    if !std::mem::replace(&mut open.told, true) {
                        tracing::warn!(place = %place.label(), %error, "the cache cannot be written; what it lacks is read from the messages");
                    }
                }
            }
        }
    }

    /// Takes over what another cache knows of messages that were copied here: pairs of their UIDs there and here.
    pub fn take_over(&self, from: &Self, pairs: &[(Uid, Uid)], place: &MailboxPlace) {
        let Some(mut reader) = from.reader() else { return };
        let copy =
            |(i, (there, here)): (usize, &(Uid, Uid))| reader.get(*there, pairs.len() - i)?.of_copy(*here);
        let learnt: Vec<Learnt> = pairs.iter().enumerate().filter_map(copy).collect();
        if !learnt.is_empty() {
            self.add(learnt, place);
        }
    }

    /// Is there something for [`Self::tidy`]?
    pub fn wants_tidying(&self, snapshot: &Snapshot) -> bool {
        match &*self.state.read() {
            State::Open(open) => open.len > open.covered + UNINDEXED || open.is_wasteful(snapshot),
            _ => false,
        }
    }

    /// Drops what is of no use any more and writes the index. A job of the service.
    pub fn tidy(&self, fs: &Fs, place: &MailboxPlace, snapshot: &Snapshot) {
        let _one = self.writer.lock();
        let mut state = self.state.write();
        let State::Open(open) = &mut *state else { return };
        let tidied = open.tidy(fs, &place.state, snapshot);
        if let Err(error) = tidied {
            // It is as good as before.
            tracing::debug!(place = %place.label(), %error, "the cache could not be tidied");
        }
    }
}

fn owner(snapshot: &Snapshot) -> Owner {
    Owner { mailbox_id: snapshot.mailbox_id, uid_validity: snapshot.uid_validity }
}

impl Open {
    fn load(fs: &Fs, folder: &Path, owner: Owner, label: &str) -> io::Result<Self> {
        let dir = fs.make_root(folder)?;
        let opened = crate::state::out_of_the_way(&dir, &[CACHE], || file::open(&dir, CACHE, MAGIC, owner))?;
        if opened.found == Found::Foreign {
            tracing::warn!(place = %label, "the cache is damaged or another mailbox's; it is made anew");
        }
        let len = opened.file.stat()?.size;
        let index = match dir.read(INDEX, LARGEST_INDEX) {
            Ok(octets) => index::decode(&octets, opened.generation).filter(|(covered, _)| *covered <= len),
            Err(_) => None,
        };
        let (covered, slots) = index.unwrap_or((file::HEAD, Vec::new()));
        let mut this = Self {
            file: Arc::new(opened.file),
            generation: opened.generation,
            slots: Arc::new(slots),
            len: covered,
            replaced: 0,
            covered,
            pause: None,
            told: false,
        };
        let mut more = Vec::new();
        this.len = file::go_through(&this.file, covered, |slot, _| more.push(slot))?;
        if this.len < len {
            tracing::warn!(place = %label, good = this.len, of = len, "the cache is damaged; what is missing is read again");
        }
        this.insert(more);
        Ok(this)
    }

    fn insert(&mut self, mut more: Vec<Slot>) {
        let Some(first) = more.iter().map(|s| s.uid).min() else { return };
        // Of several of one message the last one counts.
        more.sort_by_key(|s| s.uid);
        let octets = |slots: &[Slot]| slots.iter().map(|s| u64::from(s.len)).sum::<u64>();
        let slots = Arc::make_mut(&mut self.slots);
        let behind = slots.partition_point(|s| s.uid < first);
        let mut tail = slots.split_off(behind);
        tail.append(&mut more);
        tail.sort_by_key(|s| s.uid);
        let before = octets(&tail);
        tail.reverse();
        tail.dedup_by_key(|s| s.uid);
        tail.reverse();
        self.replaced += before - octets(&tail);
        slots.append(&mut tail);
    }

    fn is_wasteful(&self, snapshot: &Snapshot) -> bool {
        self.len > SMALL && self.slots.len() > 2 * snapshot.len() || self.replaced > SMALL.max(self.len / 2)
    }

    fn tidy(&mut self, fs: &Fs, folder: &Path, snapshot: &Snapshot) -> io::Result<()> {
        let dir = fs.make_root(folder)?;
        if self.is_wasteful(snapshot) {
            self.rewrite(&dir, snapshot)?;
        }
        let octets = index::encode(self.generation, self.len, &self.slots);
        dir.write_replace(INDEX, b"cache-index.tmp", &octets, Durability::Later)?;
        self.covered = self.len;
        Ok(())
    }

    fn rewrite(&mut self, dir: &culver_store::io::Dir<'_>, snapshot: &Snapshot) -> io::Result<()> {
        const TEMPORARY: &[u8] = b"cache.tmp";
        drop(dir.unlink(TEMPORARY));
        let fresh = file::open(dir, TEMPORARY, MAGIC, owner(snapshot))?;
        let mut slots = Vec::with_capacity(snapshot.len());
        let (mut at, mut gathered) = (file::HEAD, Vec::new());
        for slot in self.slots.iter().filter(|s| snapshot.by_uid(s.uid).is_some()) {
            let begin = gathered.len();
            gathered.resize(begin + slot.len as usize, 0);
            self.file.read_full_at(&mut gathered[begin..], slot.at)?;
            slots.push(Slot { at, ..*slot });
            at += u64::from(slot.len);
            if gathered.len() > 1 << 20 {
                fresh.file.write_all_at(&gathered, at - gathered.len() as u64)?;
                gathered.clear();
            }
        }
        fresh.file.write_all_at(&gathered, at - gathered.len() as u64)?;
        dir.rename_to(TEMPORARY, dir, CACHE)?;
        *self = Self {
            file: Arc::new(fresh.file),
            generation: fresh.generation,
            slots: Arc::new(slots),
            len: at,
            replaced: 0,
            covered: file::HEAD,
            pause: None,
            told: false,
        };
        Ok(())
    }
}

/// Reads records, best in the order of UIDs: neighbours come with one read.
pub struct CacheReader {
    file: Arc<File>,
    slots: Arc<Vec<Slot>>,
    /// Where the last one was found, and one further.
    next: usize,
    window: Bytes,
    window_at: u64,
    /// Records that were damaged.
    pub bad: usize,
}

impl CacheReader {
    /// What is known of a message. `more` messages, with this one, are about to be asked for in a row.
    pub fn get(&mut self, uid: Uid, more: usize) -> Option<Facts> {
        let i = match self.slots.get(self.next) {
            Some(slot) if slot.uid == uid => self.next,
            _ => self.slots.binary_search_by_key(&uid, |s| s.uid).ok()?,
        };
        self.next = i + 1;
        let slot = self.slots[i];
        let facts = self.frame(slot, i, more).and_then(|frame| Facts::read(&frame, uid));
        if facts.is_none() {
            self.bad += 1;
        }
        facts
    }

    fn frame(&mut self, slot: Slot, i: usize, more: usize) -> Option<Bytes> {
        let len = slot.len as usize;
        if len > record::LONGEST + record::FRAME {
            return None;
        }
        let within = |at: u64, window: &Bytes| {
            let begin = usize::try_from(slot.at.checked_sub(at)?).ok()?;
            (begin.checked_add(len)? <= window.len()).then(|| window.slice(begin..begin + len))
        };
        if let Some(frame) = within(self.window_at, &self.window) {
            return Some(frame);
        }
        let mut end = slot.at + u64::from(slot.len);
        for next in self.slots[i + 1..].iter().take(more.saturating_sub(1)) {
            let longer = next.at.wrapping_add(u64::from(next.len));
            if next.at != end || longer - slot.at > WINDOW {
                break;
            }
            end = longer;
        }
        // The last one can be used again unless somebody still looks at it.
        let mut window: Vec<u8> = match std::mem::take(&mut self.window).try_into_mut() {
            Ok(old) => old.into(),
            Err(_) => Vec::new(),
        };
        window.resize(usize::try_from(end - slot.at).ok()?, 0);
        let n = self.file.read_full_at(&mut window, slot.at).ok()?;
        window.truncate(n);
        (self.window, self.window_at) = (window.into(), slot.at);
        within(self.window_at, &self.window)
    }
}
