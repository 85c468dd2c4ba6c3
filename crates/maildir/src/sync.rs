//! Looking for what other programs did: the directories and `dovecot-uidlist` against what we know.
//!
//! **Cheap first.** A directory is unchanged when its mtime is what we saw last *and* we looked more than a second
//! after that time; then nothing is listed. Otherwise only the directory that changed is listed; what seems missing
//! there makes us list both again, since it may have gone from `new` to `cur`.
//!
//! **Gone means missing at least twice**, with a listing during which the directories did not change in between
//! (or five listings, if they never rest): `readdir` may skip a file that is renamed meanwhile.
//!
//! **UIDs are given under the lock**, and only after the uidlist was read under it. If nobody else can take the lock
//! either (full disk, read-only), they are given without and written down later. If another program holds it, or if
//! UIDs can be written down nowhere (`Core::reserve`), the new messages wait: what is known is served.

use crate::core::{Core, Result, keyword_ops, stamp};
use crate::dotlock::{Contention, Dotlock};
use crate::filename::{self, Sizes};
use crate::list::ListNews;
use crate::model::{Entry, Folder, NameState, Op, Stamps, base_of, told_size};
use crate::place::{Dirs, uidlist_lock};
use crate::scan::{self, Findings};
use crate::uidlist::LAST_UID;
use culver_base::{InternalDate, ModSeq, Uid, UidSet};
use culver_snapshot::Record;
use culver_store::Refusal;
use culver_store::io::{EntryKind, Fs, Stat};
use rustc_hash::FxHashSet;
use std::io;
use std::sync::Arc;

/// Listings before what is missing in all of them is taken as gone, though the directories never rest.
const LOOKS: usize = 5;
/// Two names for one file that is unchanged for so long are one too many.
const DOUBLE_AGE_SECONDS: i64 = 30;

/// So many files are looked for by the likeliest names before the directories are listed.
const MOST_GUESSES: usize = 16;

/// How hard to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Force {
    /// Is it still the same mailbox? Nothing else.
    Identity,
    /// Believe times.
    No,
    /// List both directories.
    Scan,
}

/// Files that got no UID yet, with what `stat` says of them.
pub type Unknown = Vec<(Entry, Stat)>;

/// An attempt to do something under the uidlist's lock.
pub enum Attempt<T> {
    /// Done.
    Done(T),
    /// Another program holds the lock.
    Busy,
}

impl Core {
    /// Compares with the disk. Gives back files that need a UID, which [`Self::adopt`] gives.
    pub fn look(&mut self, fs: &Fs, force: Force) -> Result<Unknown> {
        self.looks += 1;
        let dirs = self.dirs(fs)?;
        let scan = force == Force::Scan || self.doubt || self.unfinished;
        let now = self.stamps(&dirs).map_err(|e| self.failure("looking at the mailbox's directories", e))?;
        let known = self.model.stamps;
        let new_changed = scan || !(known.new.settled && known.new.matches(&now.new));
        let cur_changed = scan || !(known.cur.settled && known.cur.matches(&now.cur));
        match self.read_list(&dirs) {
            Ok(ListNews::Foreign) => {
                tracing::info!(place = %self.label(), "dovecot-uidlist was replaced by that of another mailbox or with another UIDVALIDITY; the mailbox is opened anew");
                self.leave();
                return Err(Refusal::MailboxGone.into());
            }
            Ok(ListNews::Missing)
                if !self.model.snapshot.is_empty()
                    && known.cur.ino != 0
                    && now.cur.ino != known.cur.ino
                    && self.is_bare(&dirs) =>
            {
                // Somebody took everything away, or the file system is not mounted. What we know belongs to what
                // was there.
                self.leave();
                return Err(Refusal::MailboxGone.into());
            }
            Ok(_) => (),
            Err(e) => return Err(self.failure("reading dovecot-uidlist", e)),
        }
        if force == Force::Identity {
            return Ok(Unknown::new());
        }
        self.count_untold(&dirs);
        if !std::mem::replace(&mut self.looked, true) {
            // Nobody was told a UIDNEXT by this process; what the file says of the ones before is as good.
            self.uid_floor = self.uid_floor.max(self.list.next);
        }
        if !scan && !new_changed && !cur_changed && !self.doubt {
            return Ok(Unknown::new());
        }
        self.read_letters(&dirs).map_err(|e| self.failure("reading dovecot-keywords", e))?;
        let (found, gone, stamps) = self.list_until_sure(&dirs, now, (new_changed, cur_changed))?;
        self.doubt = false;
        // What was seen now is later than any event that waits.
        self.limbo.clear();
        self.extra_names.clear();
        self.take_findings(&dirs, found, gone, stamps)
    }

    /// Are `new` and `cur` empty and is there no uidlist?
    fn is_bare(&self, dirs: &Dirs<'_>) -> bool {
        let empty = |d: &culver_store::io::Dir<'_>| d.read_dir().is_ok_and(|l| l.is_empty());
        empty(&dirs.new) && empty(&dirs.cur)
    }

    /// What the directories look like now. Those of the uidlist and the keywords are as last read.
    fn stamps(&self, dirs: &Dirs<'_>) -> io::Result<Stamps> {
        Ok(Stamps {
            new: stamp(&dirs.new.stat_self()?),
            cur: stamp(&dirs.cur.stat_self()?),
            uidlist: self.list.lasting_stamp(self.model.snapshot.uid_next),
            keywords: self.letters_stamp.unwrap_or_default(),
        })
    }

    fn list_until_sure(
        &mut self,
        dirs: &Dirs<'_>,
        mut now: Stamps,
        changed: (bool, bool),
    ) -> Result<(Findings, UidSet, Stamps)> {
        let mut wanted = changed;
        let mut missing: Option<UidSet> = None;
        for look in 0..LOOKS {
            self.listings += 1;
            let list = |dir: &culver_store::io::Dir<'_>, wanted: bool| {
                wanted.then(|| dir.read_dir()).transpose().map_err(|e| self.failure("listing the mailbox", e))
            };
            // `new` before `cur`: a message on its way is seen at least once.
            let new = list(&dirs.new, wanted.0)?;
            let cur = list(&dirs.cur, wanted.1)?;
            let found = {
                let mut names = self.model.names.write();
                names.index();
                scan::compare(&names, new.as_ref(), cur.as_ref())
            };
            let here: UidSet = found.missing.iter().copied().collect();
            let both = match &missing {
                Some(before) => before.intersection(&here),
                None => here,
            };
            let after =
                self.stamps(dirs).map_err(|e| self.failure("looking at the mailbox's directories", e))?;
            let rested = after.new.matches(&now.new) && after.cur.matches(&now.cur);
            if both.is_empty() || look + 1 == LOOKS || (look > 0 && rested) {
                return Ok((found, both, now));
            }
            missing = Some(both);
            wanted = (true, true);
            now = after;
        }
        Ok((Findings::default(), UidSet::new(), now))
    }

    fn take_findings(
        &mut self,
        dirs: &Dirs<'_>,
        found: Findings,
        gone: UidSet,
        mut stamps: Stamps,
    ) -> Result<Unknown> {
        let mut unknown = Unknown::new();
        let mut moved = found.moved;
        for (first, second) in found.doubles {
            self.settle_double(dirs, first, second, &mut moved, &mut unknown);
        }
        for odd in found.without_base {
            let name = self.place.settings.base(Sizes::default());
            if dirs.folder(odd.folder).rename_new(&odd.name, &dirs.new, &name).is_ok() {
                self.look_at(dirs, Entry { name: name.into(), folder: Folder::New }, &mut unknown);
            }
        }
        for entry in found.unknown {
            self.look_at(dirs, entry, &mut unknown);
        }
        let (mut added, mut ops) = (Vec::new(), Vec::new());
        self.renamed |= !moved.is_empty();
        for (uid, entry) in moved {
            self.moved(uid, entry, &mut added, &mut ops);
        }
        self.names_lost = false;
        if !gone.is_empty() {
            ops.push(Op::Expunge(gone));
        }
        self.awaiting = None;
        self.unfinished = !unknown.is_empty();
        if !unknown.is_empty() {
            // Until they have their UIDs, we have not seen what is there.
            self.awaiting = Some((stamps.new, stamps.cur));
            stamps.new.settled = false;
            stamps.cur.settled = false;
        }
        if stamps != self.model.stamps {
            ops.push(Op::Stamps(stamps));
        }
        self.commit(keyword_ops(added).chain(ops).collect());
        Ok(unknown)
    }

    /// Puts a file that is there behind `unknown`. If that cannot be said now, it is looked for again.
    pub fn look_at(&mut self, dirs: &Dirs<'_>, entry: Entry, unknown: &mut Unknown) {
        match dirs.folder(entry.folder).stat(&entry.name) {
            Ok(stat) if stat.kind == EntryKind::File => unknown.push((entry, stat)),
            Ok(_) => (),
            Err(e) => self.doubt |= e.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Two names with one base.
    fn settle_double(
        &mut self,
        dirs: &Dirs<'_>,
        first: Entry,
        second: Entry,
        moved: &mut Vec<(Uid, Entry)>,
        unknown: &mut Unknown,
    ) {
        let stat = |e: &Entry| match dirs.folder(e.folder).stat(&e.name) {
            Ok(stat) => Ok(Some(stat)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        };
        let (Ok(one), Ok(two)) = (stat(&first), stat(&second)) else {
            self.doubt = true;
            return;
        };
        match (one, two) {
            (Some(a), Some(b)) if a.is_same_file(&b) => {
                // A rename by link and unlink in progress, or its remains.
                let age = crate::clock::now().seconds - a.ctime.seconds;
                let remains = a.links > 1 && age > DOUBLE_AGE_SECONDS;
                drop(remains.then(|| dirs.folder(second.folder).unlink(&second.name)));
            }
            (Some(_), Some(b)) => {
                // Two messages. The second gets a name of its own.
                let name = self.place.settings.base(filename::sizes(&second.name));
                if dirs.folder(second.folder).rename_new(&second.name, &dirs.new, &name).is_ok() {
                    tracing::warn!(place = %self.label(), name = %second.name.escape_ascii(), "two files had the same base name; one was renamed");
                    unknown.push((Entry { name: name.into(), folder: Folder::New }, b));
                }
            }
            // Caught in mid-rename: only the second name is left.
            (None, Some(b)) => {
                let uid = self.model.names.read().uid_of(base_of(&second.name));
                match uid {
                    Some(uid) => {
                        moved.retain(|(u, _)| *u != uid);
                        moved.push((uid, second));
                    }
                    None => unknown.push((second, b)),
                }
            }
            _ => (),
        }
    }

    /// Gives UIDs to files that have none.
    pub fn adopt(&mut self, fs: &Fs, unknown: &Unknown, contention: &mut Contention) -> Result<Attempt<()>> {
        let adopted = self.try_adopt(fs, unknown, contention);
        if matches!(adopted, Ok(Attempt::Done(()))) {
            self.unfinished = false;
        }
        adopted
    }

    fn try_adopt(&mut self, fs: &Fs, unknown: &Unknown, contention: &mut Contention) -> Result<Attempt<()>> {
        self.check_here()?;
        let mut unknown = self.still_unknown(unknown);
        if unknown.is_empty() {
            return Ok(Attempt::Done(()));
        }
        // Those that another program has listed need no lock.
        let uid_next = self.model.snapshot.uid_next;
        let listed = |core: &Self, e: &Entry| core.list.get(base_of(&e.name)).filter(|l| l.uid >= uid_next);
        if unknown.iter().all(|(e, _)| listed(self, e).is_some())
            && self.list.unseen(uid_next, &unknown).is_empty()
        {
            self.arrive(&unknown);
            self.believe_the_look();
            return Ok(Attempt::Done(()));
        }
        let dirs = self.dirs(fs)?;
        let place = self.place.clone();
        let lock = Dotlock::try_acquire(&dirs.control, &uidlist_lock(), &place.settings.locks, contention);
        let lock = match lock {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => return Ok(Attempt::Busy),
            // Nobody can take it.
            Err(error) => Err(error),
        };
        if self.read_list(&dirs).map_err(|e| self.failure("reading dovecot-uidlist", e))? == ListNews::Foreign
        {
            self.leave();
            return Err(Refusal::MailboxGone.into());
        }
        let more = self.catch_up(fs, &dirs, &unknown)?;
        unknown.extend(more);
        let unknown = self.with_lasting_uids(&dirs, unknown, lock.as_ref().err());
        self.arrive(&unknown);
        match lock {
            Ok(lock) => {
                self.write_list(&dirs);
                if let Err(error) = lock.release() {
                    tracing::warn!(place = %self.label(), %error, "the lock of dovecot-uidlist could not be removed");
                }
            }
            Err(_) => self.list_is_behind(),
        }
        self.believe_the_look();
        Ok(Attempt::Done(()))
    }

    /// All that the last look found has its UID: what it saw of the directories counts.
    fn believe_the_look(&mut self) {
        let Some((new, cur)) = self.awaiting.take() else { return };
        let mut stamps = self.model.stamps;
        if !self.doubt && stamps.new.matches(&new) && stamps.cur.matches(&cur) && (new.settled || cur.settled)
        {
            (stamps.new, stamps.cur) = (new, cur);
            self.commit(vec![Op::Stamps(stamps)]);
        }
    }

    /// Files that others have listed and that we have not seen yet, besides `unknown`. The caller holds the lock, so that
    /// what is not there now is gone.
    fn catch_up(&mut self, fs: &Fs, dirs: &Dirs<'_>, unknown: &Unknown) -> Result<Unknown> {
        let unseen = self.list.unseen(self.model.snapshot.uid_next, unknown);
        let mut found = Unknown::new();
        if unseen.is_empty() {
            return Ok(found);
        }
        for base in unseen.iter().take(MOST_GUESSES) {
            let before = found.len();
            self.look_at(dirs, Entry { name: base.clone(), folder: Folder::New }, &mut found);
            if found.len() == before {
                let name = [base, &b":2,"[..]].concat().into();
                self.look_at(dirs, Entry { name, folder: Folder::Cur }, &mut found);
            }
            if found.len() == before {
                break;
            }
        }
        if found.len() < unseen.len() {
            found = self.look(fs, Force::Scan)?;
            let seen: FxHashSet<&[u8]> = unknown.iter().map(|(e, _)| base_of(&e.name)).collect();
            found.retain(|(e, _)| !seen.contains(base_of(&e.name)));
        }
        Ok(found)
    }

    /// As [`Self::adopt`] for verbs that are about to give UIDs themselves and hold the lock.
    pub fn take_in_listed(&mut self, fs: &Fs, dirs: &Dirs<'_>, lockless: Option<&io::Error>) -> Result<()> {
        let before = self.unfinished;
        let found = self.catch_up(fs, dirs, &Unknown::new())?;
        let found = self.with_lasting_uids(dirs, found, lockless);
        if !found.is_empty() {
            self.arrive(&found);
        }
        self.unfinished = before;
        self.list.forget_listed();
        Ok(())
    }

    /// Those whose UIDs are not given again after a crash; the others are looked for again.
    fn with_lasting_uids(
        &mut self,
        dirs: &Dirs<'_>,
        mut unknown: Unknown,
        lockless: Option<&io::Error>,
    ) -> Unknown {
        let uid_next = self.model.snapshot.uid_next;
        let listed =
            |core: &Self, e: &Entry| core.list.get(base_of(&e.name)).is_some_and(|l| l.uid >= uid_next);
        let unlisted = unknown.iter().filter(|(e, _)| !listed(self, e)).count();
        if let Err(error) = self.reserve(dirs, unlisted, lockless) {
            tracing::warn!(place = %self.label(), %error, "new messages wait: their UIDs can be written down nowhere");
            unknown.retain(|(e, _)| listed(self, e));
            self.doubt = true;
        }
        unknown
    }

    /// Another verb may have adopted some since they were found. If it knows them under other names, one of the two is
    /// old.
    fn still_unknown(&mut self, unknown: &Unknown) -> Unknown {
        let mut names = self.model.names.write();
        names.index();
        let mut left = Unknown::new();
        for (entry, stat) in unknown {
            match names.uid_of(base_of(&entry.name)) {
                None => left.push((entry.clone(), *stat)),
                Some(uid) => self.doubt |= names.get(uid) != Some(entry),
            }
        }
        left
    }

    /// Everything that was listed has its UID: from now on nothing below what a crashed process may have given.
    pub fn settle_floor(&mut self) {
        if let Some(floor) = Uid::new(std::mem::take(&mut self.uid_floor)) {
            self.commit(vec![Op::UidNext(floor)]);
        }
    }

    /// The UID for the next new message, above all that we and the uidlist know. `None` when they are used up.
    pub fn next_uid(&self) -> Option<Uid> {
        let next = self.model.snapshot.uid_next.get().max(self.list.next).max(self.uid_floor);
        Uid::new(next).filter(|u| u.get() <= LAST_UID)
    }

    fn arrive(&mut self, unknown: &Unknown) {
        let uid_next = self.model.snapshot.uid_next;
        let mut honoured = Vec::new();
        let mut fresh = Vec::new();
        for (entry, stat) in unknown {
            match self.list.get(base_of(&entry.name)).filter(|l| l.uid >= uid_next) {
                Some(listed) => honoured.push((listed.uid, listed.wire, entry, stat)),
                None => fresh.push((filename::arrival_key(&entry.name), entry, stat)),
            }
        }
        honoured.sort_unstable_by_key(|(uid, ..)| *uid);
        fresh.sort_unstable_by(|(a, x, _), (b, y, _)| a.cmp(b).then_with(|| x.name.cmp(&y.name)));
        // Another program may have renamed them just now.
        self.renamed |= unknown.iter().any(|(e, _)| e.folder == Folder::Cur);
        let (mut added, mut ops) = (Vec::new(), Vec::new());
        let mut last = None;
        for (uid, wire, entry, stat) in honoured {
            ops.push(self.arrival(uid, wire, entry, stat, &mut added));
            ops.extend(untold_size(uid, entry, stat));
            last = Some(uid);
        }
        let mut next = self.next_uid().map(|n| last.and_then(Uid::next).map_or(n, |l| n.max(l)));
        for (_, entry, stat) in fresh {
            let Some(uid) = next.filter(|u| u.get() <= LAST_UID) else {
                tracing::error!(place = %self.label(), "all UIDs of the mailbox are used up; new messages cannot be shown");
                break;
            };
            ops.push(self.arrival(uid, None, entry, stat, &mut added));
            ops.extend(untold_size(uid, entry, stat));
            next = uid.next();
        }
        self.commit(keyword_ops(added).chain(ops).collect());
        self.settle_floor();
        let uid_next = self.model.snapshot.uid_next;
        self.list.forget_below(uid_next);
    }

    /// Looks at files whose names do not tell their size and that nobody has looked at yet.
    pub fn count_untold(&mut self, dirs: &Dirs<'_>) {
        let uncounted = self.model.names.read().uncounted();
        if uncounted.is_empty() {
            return;
        }
        let mut ops = Vec::new();
        for uid in uncounted {
            let entry = self.model.names.read().get(uid).cloned();
            if let Some(entry) = entry
                && let Ok(stat) = dirs.folder(entry.folder).stat(&entry.name)
            {
                ops.push(Op::Stored(uid, stat.size));
            }
        }
        self.commit(ops);
    }

    fn arrival(
        &self,
        uid: Uid,
        wire: Option<u64>,
        entry: &Entry,
        stat: &Stat,
        added: &mut Vec<culver_base::Keyword>,
    ) -> Op {
        let flags = match entry.folder {
            Folder::New => culver_snapshot::Flags::default(),
            Folder::Cur => self.flags_of(&entry.name, added),
        };
        let record = Record {
            uid,
            flags,
            mod_seq: ModSeq::ZERO,
            internal_date: InternalDate::utc(stat.mtime.seconds),
            size: filename::sizes(&entry.name).wire.or(wire),
            save_date: stat.ctime.seconds,
        };
        Op::Arrive(record, entry.clone(), NameState::Current)
    }

    /// Puts what was seen last into the journal: before closing and checkpoints.
    pub fn keep_stamps(&mut self) {
        let mut stamps = self.model.stamps;
        stamps.uidlist = self.list.lasting_stamp(self.model.snapshot.uid_next);
        stamps.keywords = self.letters_stamp.unwrap_or_default();
        if stamps != self.model.stamps {
            self.commit(vec![Op::Stamps(stamps)]);
        }
    }

    /// A new snapshot to hand out.
    pub fn snapshot(&self) -> Arc<culver_snapshot::Snapshot> {
        self.model.snapshot.clone()
    }
}

/// The step that tells a size which the name does not.
fn untold_size(uid: Uid, entry: &Entry, stat: &Stat) -> Option<Op> {
    told_size(&entry.name).is_none().then_some(Op::Stored(uid, stat.size))
}
