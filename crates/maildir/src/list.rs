//! Our view of `dovecot-uidlist`: reading what others wrote, writing what we gave.
//!
//! The file is shared with Dovecot (and with ourselves before a restart), and it, not our index, is what keeps UIDs when
//! the server is changed. The rules:
//!
//! * **Another program's UIDs are honoured**: a file that we do not know yet and that is listed with a UID at or above
//!   our UIDNEXT gets exactly that UID. A listed UID below it cannot be given any more, as clients were told that
//!   nothing new comes there: such a file (one that was expunged and came back) gets a new UID at the end.
//! * **Nobody is overtaken.** Before we give a UID, under the lock, the files that others have listed meanwhile are
//!   looked for and taken in with theirs (`Core::catch_up`): ours would be higher, and theirs could not be given
//!   any more.
//! * **A UID never stands for two messages.** Both programs write under the lock and read before they write, so they do
//!   not collide, except after our own records could not be written (full disk, quota, read-only) and
//!   another program did not know of them. If then a UID stands for one base with us and for another in the file,
//!   neither keeps it: ours is expunged, the file's line is dropped, and both messages get new UIDs.
//! * **Appending** leaves the header alone; **writing anew** makes one file of the lines that are there (with all that we
//!   do not understand in them) and our records. Both only under the lock.
//! * It is not synced when lines are appended: UIDs are reserved in our journal, which is; after a power failure that
//!   took lines away, the messages get new UIDs, above all that were given. If the journal cannot be written, it is.
//! * **No UID is given that could be given again.** If the journal cannot reserve it, the file's next UID is raised first
//!   ([`Core::reserve`]). If that cannot be done either, APPEND and COPY fail, and what others delivered waits.

use crate::core::{Core, stamp};
use crate::model::{Op, Stamp, base_of};
use crate::place::Dirs;
use crate::state::reservation;
use crate::uidlist::{self, Health, Version};
use culver_base::{Uid, UidSet, UidValidity};
use culver_snapshot::MailboxId;
use culver_store::io::Durability;
use rustc_hash::{FxHashMap, FxHashSet};
use std::io;

/// No larger uidlist is read.
const MAX_FILE: usize = 1 << 30;

/// What we remember of the file.
#[derive(Default)]
pub struct List {
    /// Of the file that was read or written last.
    pub stamp: Stamp,
    /// Octets that were read.
    used: u64,
    /// Highest UID in it.
    last: u32,
    /// Its next UID.
    pub next: u32,
    /// Lines in it, if it was read by this process.
    lines: Option<usize>,
    /// It has to be written anew.
    pub rewrite: bool,
    /// It was found damaged: to be put aside before that.
    broken: bool,
    /// It has lines that contradict us: those that are not ours go when it is written anew.
    contradicts: bool,
    /// Bases listed with UIDs that we may honour, which we have no message for.
    listed: FxHashMap<Box<[u8]>, Listed>,
    /// GUIDs of messages that are not in the file yet and do not have their base for one (copies).
    pub guids: FxHashMap<Uid, Box<[u8]>>,
    /// POP3 identifiers to be put down with the next writing anew.
    pub ids: FxHashMap<Uid, Box<[u8]>>,
    /// A failure to write was told.
    told: bool,
    /// The file says, on disk, that UIDs below this are not to be given anew.
    reserved: u32,
}

/// What the file says of a base.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// Its UID.
    pub uid: Uid,
    /// `W`
    pub wire: Option<u64>,
}

/// Header values by which a mailbox is recognised.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// UIDVALIDITY
    pub validity: UidValidity,
    /// GUID, if there is one.
    pub id: Option<MailboxId>,
}

/// Are UIDs written down before they are given?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reserves {
    /// Yes.
    Yes,
    /// While a mailbox is opened they are written down at the end, with all else.
    No,
}

/// What looking at the file showed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListNews {
    /// As we left it.
    None,
    /// There was something to read.
    Some,
    /// There is no such file.
    Missing,
    /// It belongs to another mailbox, or UIDVALIDITY was changed: what we know is worth nothing.
    Foreign,
}

impl List {
    /// Trusts the file to be as it was when `stamp` was taken: all UIDs below `uid_next` are in it.
    pub fn trusting(stamp: Stamp, uid_next: Uid) -> Self {
        Self { stamp, used: stamp.size, last: uid_next.get() - 1, next: uid_next.get(), ..Self::default() }
    }

    /// What the file says of a base that we do not know.
    pub fn get(&self, base: &[u8]) -> Option<Listed> {
        self.listed.get(base).copied()
    }

    /// Bases that it lists and we may honour, besides those of `unknown`.
    pub fn unseen(&self, uid_next: Uid, unknown: &crate::sync::Unknown) -> Vec<Box<[u8]>> {
        let mut all: Vec<&Box<[u8]>> =
            self.listed.iter().filter(|(_, l)| l.uid >= uid_next).map(|(b, _)| b).collect();
        if !all.is_empty() && !unknown.is_empty() {
            let seen: FxHashSet<&[u8]> = unknown.iter().map(|(e, _)| base_of(&e.name)).collect();
            all.retain(|b| !seen.contains(&***b));
        }
        all.into_iter().cloned().collect()
    }

    /// What is listed and was not found although nobody else could be about to put it in place.
    pub fn forget_listed(&mut self) {
        self.listed.clear();
    }

    /// May its stamp be kept over a restart? Only if there is nothing in it that we would have to read again.
    pub fn lasting_stamp(&self, uid_next: Uid) -> Stamp {
        let all_known = !self.rewrite && self.listed.is_empty() && self.next == uid_next.get();
        if all_known && self.stamp.size == self.used { self.stamp } else { Stamp::default() }
    }

    /// Forgets what can no longer be honoured.
    pub fn forget_below(&mut self, uid_next: Uid) {
        if !self.listed.is_empty() {
            self.listed.retain(|_, l| l.uid >= uid_next);
        }
    }
}

/// The header of the file, for opening: before there is a [`Core`].
pub fn identity(dirs: &Dirs<'_>) -> io::Result<Option<(Identity, Stamp)>> {
    let file = match dirs.control.open_file(uidlist::NAME) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut head = vec![0; 4096];
    let n = file.read_full_at(&mut head, 0)?;
    head.truncate(n);
    let now = stamp(&file.stat()?);
    let identity = |h: uidlist::Header| Identity { validity: h.uid_validity, id: h.id };
    let line = memchr::memchr(b'\n', &head).map_or(n, |i| i + 1);
    Ok(uidlist::read(&head[..line]).header.map(|h| (identity(h), now)))
}

impl Core {
    /// Reads what is new in the file.
    pub fn read_list(&mut self, dirs: &Dirs<'_>) -> io::Result<ListNews> {
        let file = match dirs.control.open_file(uidlist::NAME) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.list.rewrite = true;
                self.list.stamp = Stamp::default();
                self.list.reserved = 0;
                return Ok(ListNews::Missing);
            }
            Err(e) => return Err(e),
        };
        let now = stamp(&file.stat_when_opened()?);
        if now.matches(&self.list.stamp) {
            return Ok(ListNews::None);
        }
        let grown = now.ino == self.list.stamp.ino && now.size >= self.list.used && self.list.used > 0;
        if grown && !self.list.rewrite {
            let octets = file.read_from(self.list.used, MAX_FILE)?;
            let more = uidlist::read_more(&octets, Version::Three, Uid::new(self.list.last));
            if more.health == Health::Good {
                self.list.used += more.used as u64;
                self.list.stamp = now;
                self.list.lines = self.list.lines.map(|n| n + more.entries.len());
                self.take_entries(&more.entries);
                return Ok(ListNews::Some);
            }
        }
        let octets = file.read_from(0, MAX_FILE)?;
        let read = uidlist::read(&octets);
        let Some(header) = &read.header else {
            // Nothing can be learnt from it; ours is as good as any.
            tracing::warn!(place = %self.label(), "dovecot-uidlist is damaged; it is put aside and written anew from the index");
            self.list.rewrite = true;
            self.list.broken = true;
            self.list.stamp = now;
            self.list.reserved = 0;
            return Ok(ListNews::Some);
        };
        let s = &self.model.snapshot;
        if header.uid_validity != s.uid_validity || header.id.is_some_and(|id| id != s.mailbox_id) {
            return Ok(ListNews::Foreign);
        }
        match read.health {
            Health::Good => self.list.rewrite = false,
            Health::Rewrite => self.list.rewrite = true,
            Health::Broken(line, what) => {
                tracing::warn!(place = %self.label(), line, what, "dovecot-uidlist is damaged; good lines are kept");
                self.list.rewrite = true;
                self.list.broken = true;
            }
        }
        self.list.stamp = now;
        self.list.used = read.used as u64;
        self.list.next = header.next_uid;
        self.list.last = 0;
        self.list.lines = Some(read.entries.len());
        self.list.listed.clear();
        self.take_entries(&read.entries);
        Ok(ListNews::Some)
    }

    /// Remembers what may be honoured, and resolves what contradicts us.
    fn take_entries(&mut self, entries: &[uidlist::Entry<'_>]) {
        let uid_next = self.model.snapshot.uid_next;
        let mut clash = UidSet::new();
        {
            let mut names = self.model.names.write();
            if !names.is_empty() {
                names.index();
            }
            for e in entries {
                self.list.last = self.list.last.max(e.uid.get());
                if e.uid >= uid_next {
                    let wire = e.field(b'W').and_then(|v| std::str::from_utf8(v).ok()?.parse().ok());
                    self.list.listed.insert(e.base.into(), Listed { uid: e.uid, wire });
                }
                if names.is_empty() {
                    continue;
                }
                if names.get(e.uid).is_some_and(|ours| base_of(&ours.name) != e.base) {
                    clash.add(e.uid);
                }
                if let Some(ours) = names.uid_of(e.base)
                    && ours != e.uid
                    && e.uid >= uid_next
                {
                    clash.add(ours);
                }
            }
        }
        self.list.next = self.list.next.max(self.list.last.saturating_add(1));
        if !clash.is_empty() {
            tracing::warn!(place = %self.label(), uids = %clash, "dovecot-uidlist and the index disagree about UIDs; the messages get new ones");
            self.list.rewrite = true;
            self.list.contradicts = true;
            self.doubt = true;
            self.commit(vec![Op::Expunge(clash)]);
        }
    }

    /// Writes records that are not in the file yet. The caller holds the lock and has read the file. A failure is
    /// no failure of the verb: the journal has the truth until a later attempt succeeds.
    pub fn write_list(&mut self, dirs: &Dirs<'_>) {
        let anew = self.list.rewrite || self.model.uidlist_behind != 0 || self.list.stamp.ino == 0;
        let done =
            if anew || self.list_lacks_next() { self.rewrite_list(dirs) } else { self.append_list(dirs) };
        match done {
            Ok(()) => {
                self.list.told = false;
                if self.model.uidlist_behind != 0 {
                    self.commit(vec![Op::UidlistBehind(0)]);
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.list.told, true) {
                    tracing::warn!(place = %self.label(), %error, "dovecot-uidlist cannot be written; UIDs are kept in the index until it can");
                }
                self.list_is_behind();
            }
        }
    }

    /// The file lacks records: remembers it over a restart.
    pub fn list_is_behind(&mut self) {
        if self.model.uidlist_behind == 0 {
            let first = self.list.last.saturating_add(1);
            self.commit(vec![Op::UidlistBehind(first)]);
        }
    }

    /// Is everything in memory only? Then so is UIDVALIDITY, and another one begins after a crash.
    fn is_volatile(&self) -> bool {
        self.made_up && self.state.has_nothing() && self.list.stamp.ino == 0
    }

    /// Is every UID that was given written down in the index or the file?
    pub fn keeps_uids(&self) -> bool {
        let last = self.model.snapshot.uid_next.get() - 1;
        let listed = self.list.stamp.ino != 0 && last < self.list.next.max(self.list.reserved);
        last == 0 || listed || self.state.covers(last) || self.is_volatile()
    }

    /// Sees to it that so many UIDs from the next one on, once they are given, are not given again after a crash. The caller
    /// holds the lock, or is `lockless` since it could not be made. An error if nothing can be written down.
    pub fn reserve(&mut self, dirs: &Dirs<'_>, count: usize, lockless: Option<&io::Error>) -> io::Result<()> {
        if count == 0 || self.reserves == Reserves::No || self.is_volatile() {
            return Ok(());
        }
        let Some(next) = self.next_uid() else { return Ok(()) };
        let end = next.get().saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        if self.state.covers(end - 1) || end <= self.list.reserved {
            return Ok(());
        }
        if self.state.has_journal() {
            self.commit(vec![reservation(end, self.model.snapshot.highest_mod_seq)]);
            if self.state.covers(end - 1) {
                return Ok(());
            }
        }
        if let Some(error) = lockless {
            // That there is no room is an answer of its own.
            return Err(error
                .raw_os_error()
                .map_or_else(|| error.kind().into(), io::Error::from_raw_os_error));
        }
        self.list.reserved = end;
        let written = self.rewrite_list(dirs);
        if written.is_err() {
            self.list.reserved = 0;
        }
        written
    }

    /// Is there something that the file should have?
    pub fn list_wants_writing(&self) -> bool {
        let last = self.model.snapshot.last_uid().map_or(0, Uid::get);
        self.list.rewrite || self.model.uidlist_behind != 0 || last > self.list.last || self.list_lacks_next()
    }

    /// Is UIDNEXT above what a reader of the file would find, and not because of a message?
    fn list_lacks_next(&self) -> bool {
        let s = &self.model.snapshot;
        s.uid_next.get() > self.list.next && s.last_uid().and_then(Uid::next) != Some(s.uid_next)
    }

    fn append_list(&mut self, dirs: &Dirs<'_>) -> io::Result<()> {
        let mut lines = Vec::new();
        let mut count = 0;
        let last = {
            let names = self.model.names.read();
            let from = Uid::new(self.list.last.saturating_add(1)).unwrap_or(Uid::MAX);
            let mut last = self.list.last;
            for (uid, entry) in names.from(from) {
                let fields = self.list.guids.get(&uid).map_or(Vec::new(), |g| [b"G", &**g].concat());
                let base = base_of(&entry.name);
                uidlist::append_line(&mut lines, uidlist::Entry { uid, base, raw_fields: &fields });
                last = uid.get();
                count += 1;
            }
            last
        };
        if lines.is_empty() {
            return Ok(());
        }
        let mut file = dirs.control.open_append(uidlist::NAME)?;
        if file.stat()?.size != self.list.used {
            // A line that was never completed: ours would become a part of it.
            return self.rewrite_list(dirs);
        }
        let covered = self.state.covers(last) || last < self.list.reserved;
        let written = file.write_all(&lines).and_then(|()| if covered { Ok(()) } else { file.sync_data() });
        if let Err(e) = written {
            drop(file.truncate(self.list.used));
            return Err(e);
        }
        self.list.used += lines.len() as u64;
        self.list.stamp = stamp(&file.stat()?);
        self.list.last = last;
        self.list.next = last.saturating_add(1);
        self.list.lines = self.list.lines.map(|n| n + count);
        self.list.guids.clear();
        Ok(())
    }

    /// Makes one file of what is there and our records. The caller holds the lock.
    pub(crate) fn rewrite_list(&mut self, dirs: &Dirs<'_>) -> io::Result<()> {
        let old = match dirs.control.read(uidlist::NAME, MAX_FILE) {
            Ok(octets) => octets,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        if std::mem::take(&mut self.list.broken) {
            drop(dirs.control.unlink(b"dovecot-uidlist.damaged"));
            drop(dirs.control.link_to(uidlist::NAME, &dirs.control, b"dovecot-uidlist.damaged"));
        }
        let read = uidlist::read(&old);
        let s = &self.model.snapshot;
        let mut header = uidlist::Header {
            uid_validity: s.uid_validity,
            next_uid: s.uid_next.get(),
            id: Some(s.mailbox_id),
            other: Vec::new(),
        };
        if let Some(h) = read.header.filter(|h| h.uid_validity == s.uid_validity) {
            header.next_uid = header.next_uid.max(h.next_uid);
            header.other = h.other;
        }
        self.model.names.write().index();
        let names = self.model.names.read();
        let drops = self.list.contradicts || uidlist::drops_expunged(names.len(), read.entries.len());
        let mut out: Vec<uidlist::Entry<'_>> = Vec::with_capacity(names.len());
        let mut fields: Vec<(Uid, Vec<u8>)> = Vec::new();
        fields.extend(self.list.guids.iter().map(|(u, g)| (*u, [b"G", &**g].concat())));
        fields.sort_unstable_by_key(|(u, _)| *u);
        let mut ours = names.iter().peekable();
        for theirs in read.entries {
            while let Some((uid, e)) = ours.next_if(|(u, _)| *u < theirs.uid) {
                out.push(entry_of(uid, base_of(&e.name), &fields));
            }
            if let Some((_, e)) = ours.next_if(|(u, _)| *u == theirs.uid) {
                if base_of(&e.name) == theirs.base {
                    out.push(theirs);
                } else {
                    out.push(entry_of(theirs.uid, base_of(&e.name), &fields));
                }
            } else if theirs.uid >= s.uid_next || (!drops && names.uid_of(theirs.base).is_none()) {
                // Not ours to drop (a message that we have not seen yet), or expunged and kept for now.
                out.push(theirs);
            }
        }
        for (uid, e) in ours {
            out.push(entry_of(uid, base_of(&e.name), &fields));
        }
        let next = header.next_uid;
        header.next_uid = next.max(self.list.reserved);
        let lines = out.len();
        let last = out.last().map_or(0, |e| e.uid.get());
        let more = self.with_ids(&out);
        for (i, fields) in &more {
            out[*i].raw_fields = fields;
        }
        let octets = uidlist::write(&header, out);
        drop(names);
        dirs.control.write_replace(uidlist::NAME, uidlist::TEMPORARY, &octets, Durability::OnDisk)?;
        let stat = dirs.control.stat(uidlist::NAME)?;
        if stat.size != octets.len() as u64 {
            tracing::warn!(place = %self.label(), "dovecot-uidlist was changed while we held its lock; another program may have taken the lock from us");
            self.list.stamp = Stamp::default();
            return Ok(());
        }
        self.list.stamp = stamp(&stat);
        self.list.used = stat.size;
        self.list.last = last;
        // What is reserved is ours to give.
        self.list.next = next.max(last.saturating_add(1));
        self.list.lines = Some(lines);
        self.list.rewrite = false;
        self.list.contradicts = false;
        self.list.guids.clear();
        Ok(())
    }

    /// The fields of records that get a `P` now: those that have none.
    fn with_ids(&self, records: &[uidlist::Entry<'_>]) -> Vec<(usize, Vec<u8>)> {
        if self.list.ids.is_empty() {
            return Vec::new();
        }
        let lacking = records.iter().enumerate().filter(|(_, e)| e.field(b'P').is_none());
        let given = lacking.filter_map(|(i, e)| Some((i, e, self.list.ids.get(&e.uid)?)));
        given
            .map(|(i, e, id)| {
                let blank: &[u8] = if e.raw_fields.is_empty() { b"" } else { b" " };
                (i, [e.raw_fields, blank, b"P", id].concat())
            })
            .collect()
    }

    /// After an expunge: is it time to write the file anew without those that are gone?
    pub fn list_is_wasteful(&self) -> bool {
        self.list.lines.is_some_and(|lines| lines > 16 && uidlist::is_due(self.model.snapshot.len(), lines))
    }

    /// Reckons with lines that were read by an earlier process.
    pub fn count_lines(&mut self, at_least: usize) {
        self.list.lines.get_or_insert(at_least);
    }
}

fn entry_of<'a>(uid: Uid, base: &'a [u8], fields: &'a [(Uid, Vec<u8>)]) -> uidlist::Entry<'a> {
    let raw_fields = fields.binary_search_by_key(&uid, |(u, _)| *u).map_or(&b""[..], |i| &fields[i].1);
    uidlist::Entry { uid, base, raw_fields }
}
