//! Checkpoint and journal as files: loading, appending, replacing.
//!
//! They lie in the server's own state folder and belong to the service, not to the user; so they are opened in jobs
//! of the service itself. The journal stays open, and an open file may be written from the user's jobs as well.
//!
//! **When they cannot be written** (full disk, quota, a defect) the mailbox is served from memory, and [`State::is_behind`]
//! says so. Frames that the journal did not take wait and are put behind the others with the next change, or by
//! [`State::mend`]; if there is no journal to put them to, a new checkpoint mends it. Meanwhile the journal lacks its last octet, so that a
//! start after a crash sees that something is missing; cutting works on a full disk too. What is lost then is not mail: flags are
//! in file names, UIDs in `dovecot-uidlist`. If the journal can be neither written nor cut ([`State::mark`]) and
//! names cannot be changed either, a change of flags is answered with an error.
//!
//! **When they cannot be read** they are made anew from the Maildir; but not for a shortage of descriptors or memory, which passes:
//! then opening fails.

use crate::journal::{self, Head};
use crate::model::{Change, Model, Op};
use crate::{checkpoint, clock};
use culver_base::{ModSeq, Uid};
use culver_snapshot::{Record, Snapshot};
use culver_store::io::{Dir, Durability, File, Fs};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const CHECKPOINT: &[u8] = b"checkpoint";
/// Of a mailbox's folder: those of its account's mailboxes, of the account, of all accounts, and `state_dir`.
const FOLDERS_ABOVE: usize = 4;
const JOURNAL: &[u8] = b"journal";
/// No checkpoint is larger: ten million messages with long names.
const MAX_CHECKPOINT: usize = 4 << 30;
/// The journal may grow to this before it is folded into a checkpoint, even if the checkpoint is small.
const MIN_FOLD: u64 = 256 << 10;
/// UIDs given between two syncs of the journal.
const UID_BLOCK: u32 = 256;
/// Mod-sequences given between two of them. The base rule adds a million a second, so that even a machine that goes
/// down every second does not outrun it.
const MOD_SEQ_BLOCK: u64 = 1 << 12;

/// Frames that wait for the journal to be writable, at most; then a checkpoint must do.
const MOST_BACKLOG: usize = 4 << 20;
/// Pause between attempts to mend.
const MEND_EVERY: Duration = Duration::from_secs(10);

/// The files.
pub struct State {
    folder: PathBuf,
    journal: Option<File>,
    /// Octets of the head and good frames.
    len: u64,
    /// The last of them.
    last: u8,
    /// Frames that are not in the file yet.
    backlog: Vec<u8>,
    /// The file may hold something else than `len` good octets.
    dirty: bool,
    /// A start would see that something is missing.
    marked: bool,
    /// What was reserved is not synced yet.
    sync_due: bool,
    /// UIDs below this are reserved, on disk.
    reserved: u32,
    /// And below this, once the journal was synced.
    reserving: u32,
    /// Does the journal on disk say that nothing is missing? The first step that counts is synced then: else a power
    /// loss could take it and leave what looks whole.
    closed: bool,
    tried: Option<Instant>,
    checkpoint_len: u64,
    generation: u64,
    boot: [u8; 16],
    told: bool,
}

/// How far what was loaded can be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trust {
    /// Nothing is missing: it was closed in order, or the process died and the kernel has kept what it wrote.
    Whole,
    /// Changes that clients have seen may be missing. Numbers that were reserved count as used.
    Doubtful,
}

impl State {
    /// Reads what is in `folder`. A job of the service. Fails only for what is no property of the files.
    pub fn load(fs: &Fs, folder: &Path, place: &str) -> io::Result<(Self, Option<(Model, Trust)>)> {
        let mut state = Self {
            folder: folder.to_owned(),
            journal: None,
            len: 0,
            last: 0,
            backlog: Vec::new(),
            dirty: false,
            marked: false,
            sync_due: false,
            reserved: 0,
            reserving: 0,
            closed: false,
            tried: None,
            checkpoint_len: 0,
            generation: 0,
            boot: boot_id(fs),
            told: false,
        };
        let octets = match twice(|| fs.open_root(folder)?.read(CHECKPOINT, MAX_CHECKPOINT)) {
            Ok(octets) => octets,
            Err(e) if is_passing(&e) => return Err(e),
            Err(e) => {
                // Whatever else is the matter with it is so at the next start, too.
                state.marked = !is_defect(&e);
                if e.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%place, error = %e, "the index cannot be read; it is made anew");
                }
                return Ok((state, None));
            }
        };
        let Some((mut model, generation)) = checkpoint::decode(&octets) else {
            tracing::warn!(%place, "the index is damaged; it is made anew from the Maildir");
            state.marked = true;
            return Ok((state, None));
        };
        state.generation = generation;
        state.checkpoint_len = octets.len() as u64;
        let trust = state.replay(fs, &mut model, place)?;
        let is_on_disk = model.closed || state.sync_what_was_found(fs).is_ok();
        state.reserved = if is_on_disk { model.reserved.0 } else { 0 };
        state.reserving = state.reserved;
        state.marked = trust == Trust::Doubtful;
        state.closed = true;
        Ok((state, Some((model, trust))))
    }

    fn replay(&mut self, fs: &Fs, model: &mut Model, place: &str) -> io::Result<Trust> {
        let opened = twice(|| {
            let dir = fs.open_root(&self.folder)?;
            Ok((dir.read(JOURNAL, MAX_CHECKPOINT)?, dir.open_append(JOURNAL)?))
        });
        let (octets, file) = match opened {
            Ok(opened) => opened,
            Err(e) if is_passing(&e) => return Err(e),
            Err(error) => {
                tracing::warn!(%place, %error, "the index's journal is missing; flags are compared with the Maildir");
                return Ok(Trust::Doubtful);
            }
        };
        let Some(replayed) = journal::replay(&octets, self.generation, model) else {
            // The checkpoint was replaced and the process ended before the new journal was there: the old one is
            // part of the checkpoint. Else somebody mixed up files. Both are told apart by the generation. A mark behind
            // the old journal says that something came after the checkpoint.
            let older = Head::decode(&octets).is_some_and(|h| h.generation < self.generation)
                && journal::is_whole(&octets);
            return Ok(if older && self.is_same_boot(model) { Trust::Whole } else { Trust::Doubtful });
        };
        if replayed.damaged {
            tracing::warn!(%place, good = replayed.good, of = octets.len(), "the index's journal is damaged; flags are compared with the Maildir");
            return Ok(Trust::Doubtful);
        }
        if !model.closed && !self.is_same_boot(model) {
            // What is served from now on does not follow from it, so nothing can be added.
            return Ok(Trust::Doubtful);
        }
        self.journal = Some(file);
        self.len = octets.len() as u64;
        self.last = octets.last().copied().unwrap_or_default();
        Ok(Trust::Whole)
    }

    /// A process that was killed may not have come to sync what it had written, or the folders that it had made.
    fn sync_what_was_found(&self, fs: &Fs) -> io::Result<()> {
        let dir = fs.open_root(&self.folder)?;
        dir.open_append(JOURNAL)?.sync_data()?;
        dir.sync()?;
        for above in self.folder.ancestors().skip(1).take(FOLDERS_ABOVE) {
            // One that we may not read was not made by us.
            if let Ok(above) = fs.open_root(above) {
                above.sync()?;
            }
        }
        Ok(())
    }

    /// Has the kernel run since this was written?
    pub fn is_same_boot(&self, model: &Model) -> bool {
        model.boot == self.boot && self.boot != [0; 16]
    }

    /// What was loaded is that of another mailbox.
    pub fn is_foreign(&mut self) {
        self.journal = None;
        self.marked = true;
        (self.reserved, self.reserving) = (0, 0);
    }

    /// The folder was renamed.
    pub fn moved_to(&mut self, folder: PathBuf) {
        self.folder = folder;
    }

    /// Is something in memory only?
    pub fn is_behind(&self) -> bool {
        self.journal.is_none() || !self.backlog.is_empty()
    }

    /// Can frames be put behind others?
    pub fn has_journal(&self) -> bool {
        self.journal.is_some()
    }

    /// Was no checkpoint ever written or found?
    pub fn has_nothing(&self) -> bool {
        self.checkpoint_len == 0
    }

    /// Would a start after a crash take what is on disk for all there was?
    fn misleads(&self) -> bool {
        self.is_behind() && !self.marked
    }

    /// Sees to it that a start after a crash knows of what is in memory only; what stood against it before may have gone.
    /// `false`: it cannot be done.
    pub fn mark(&mut self, fs: &Fs) -> bool {
        if self.misleads() {
            self.marked = match &self.journal {
                Some(file) => file.truncate(self.len.saturating_sub(1)).is_ok(),
                None => self.mark_journal(fs),
            };
        }
        !self.misleads()
    }

    /// If the power goes, will UIDs up to this one not be given again?
    pub fn covers(&self, uid: u32) -> bool {
        uid < self.reserved
    }

    /// Is it time to try [`Self::mend`], or a new checkpoint?
    pub fn wants_mending(&self) -> bool {
        self.is_behind() && self.tried.is_none_or(|t| t.elapsed() > MEND_EVERY)
    }

    /// Has the journal grown so much that it should be folded into a new checkpoint?
    pub fn wants_checkpoint(&self) -> bool {
        self.len > MIN_FOLD.max(self.checkpoint_len / 2)
    }

    /// Steps that must stand before `model` can take the change that comes: who writes now, and numbers reserved
    /// ahead. Empty most of the time.
    pub fn preface(&self, model: &Model, uids: u32) -> Vec<Op> {
        let mut ops = Vec::new();
        if model.boot != self.boot {
            ops.push(Op::Boot(self.boot));
        }
        let next = model.snapshot.uid_next.get().saturating_add(uids);
        let mod_seq = model.snapshot.highest_mod_seq;
        if next > model.reserved.0 || mod_seq.next() > model.reserved.1 {
            ops.push(reservation(next, mod_seq));
        }
        ops
    }

    /// Writes a change down, now or later. `before` is HIGHESTMODSEQ before it. Reservations are synced.
    pub fn append(&mut self, before: ModSeq, change: &Change, place: &str) {
        if self.journal.is_none() {
            return;
        }
        self.backlog.extend(journal::frame(before, change));
        let mut closes = false;
        for op in &change.ops {
            match op {
                Op::Reserve(uid, _) => {
                    self.sync_due = true;
                    self.reserving = *uid;
                }
                Op::Arrive(..) | Op::Flags(..) | Op::Expunge(..) | Op::ModSeq(..) | Op::UidNext(..) => {
                    self.sync_due |= self.closed;
                }
                Op::Closed => {
                    self.sync_due = true;
                    closes = true;
                }
                _ => {}
            }
        }
        if !self.mend(place) && self.backlog.len() > MOST_BACKLOG {
            self.journal = None;
            self.backlog = Vec::new();
        }
        self.closed |= closes;
    }

    /// Puts what waits into the journal, if that can be done without a new checkpoint.
    pub fn mend(&mut self, place: &str) -> bool {
        let Some(file) = &mut self.journal else { return false };
        if self.backlog.is_empty() {
            return true;
        }
        let (mut octets, mut len) = (Vec::new(), self.len);
        if self.dirty {
            // Whatever stands behind the good frames goes, and the octet that was cut off as a mark comes back.
            len -= 1;
            octets.push(self.last);
            if let Err(e) = file.truncate(len) {
                self.tell(place, &e);
                return false;
            }
        }
        octets.extend_from_slice(&self.backlog);
        let sync = self.sync_due;
        let written = file.write_all(&octets).and_then(|()| if sync { file.sync_data() } else { Ok(()) });
        match written {
            Ok(()) => {
                self.len = len + octets.len() as u64;
                self.last = octets.last().copied().unwrap_or_default();
                self.reserved = self.reserving;
                self.backlog.clear();
                self.closed &= !sync;
                (self.dirty, self.marked, self.sync_due, self.told) = (false, false, false, false);
                true
            }
            Err(e) => {
                self.dirty = true;
                self.marked = file.truncate(self.len.saturating_sub(1)).is_ok();
                // A full disk may refuse even this; then only a power loss can take the mark away.
                drop(file.sync_data());
                self.tell(place, &e);
                false
            }
        }
    }

    /// Replaces the checkpoint and begins a new journal. A job of the service. If it cannot be done, the old two go on if
    /// they are still there.
    pub fn write_checkpoint(&mut self, fs: &Fs, model: &mut Model, place: &str) {
        self.tried = Some(Instant::now());
        let before = (model.boot, model.reserved);
        let mod_seq = model.snapshot.highest_mod_seq;
        model.boot = self.boot;
        if let Op::Reserve(uid, m) = reservation(model.snapshot.uid_next.get(), mod_seq) {
            model.reserved = (model.reserved.0.max(uid), model.reserved.1.max(m));
        }
        let octets = checkpoint::encode(model, self.generation + 1);
        let head = Head {
            generation: self.generation + 1,
            mailbox_id: model.snapshot.mailbox_id,
            uid_validity: model.snapshot.uid_validity,
        };
        let head = head.encode();
        let mut replaced = false;
        let mut write = || {
            let dir = fs.make_root(&self.folder)?;
            replace(&dir, CHECKPOINT, b"checkpoint.tmp", &octets, Durability::OnDisk)?;
            replaced = true;
            replace(&dir, JOURNAL, b"journal.tmp", &head, Durability::Later)?;
            let journal = dir.open_append(JOURNAL)?;
            // Both names at once, and before anything is added: a sync of the journal alone may be of a file without a name.
            dir.sync()?;
            Ok(journal)
        };
        match write() {
            Ok(file) => {
                self.generation += 1;
                self.journal = Some(file);
                self.len = head.len() as u64;
                self.last = head.last().copied().unwrap_or_default();
                self.backlog = Vec::new();
                (self.dirty, self.marked, self.sync_due, self.told) = (false, false, false, false);
                self.closed = false;
                self.checkpoint_len = octets.len() as u64;
                (self.reserved, self.reserving) = (model.reserved.0, model.reserved.0);
                self.tried = None;
            }
            Err(e) => {
                (model.boot, model.reserved) = before;
                if replaced || self.journal.is_none() {
                    // What comes now is in neither of the two. The new checkpoint may not last, and then the old journal counts.
                    if replaced {
                        self.checkpoint_len = octets.len() as u64;
                    }
                    if replaced || !self.marked {
                        self.marked = self.mark_journal(fs);
                    }
                    self.journal = None;
                    self.backlog = Vec::new();
                }
                self.tell(place, &e);
            }
        }
    }

    /// Makes a start see that something is missing behind the journal, whichever checkpoint it finds. Its frames stay, for the
    /// numbers that they reserve, but for the last one where there is no room for a mark. `false`: it cannot be done.
    fn mark_journal(&mut self, fs: &Fs) -> bool {
        // No frame is one octet long, and where the last one lacks an octet, this is another.
        let octet = [!self.last];
        let mark = |file: &mut File| {
            let cut = |file: &File| file.truncate(file.stat()?.size.saturating_sub(1));
            file.write_all(&octet).or_else(|_| cut(file))?;
            drop(file.sync_data());
            Ok(())
        };
        let opened = match &mut self.journal {
            Some(file) => mark(file),
            None => fs.open_root(&self.folder).and_then(|dir| mark(&mut dir.open_append(JOURNAL)?)),
        };
        match opened {
            Ok(()) => true,
            Err(e) => !is_defect(&e),
        }
    }

    fn tell(&mut self, place: &str, error: &io::Error) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(%place, folder = %self.folder.display(), %error, "the index cannot be written; the mailbox is served from memory until it can");
        }
    }
}

/// A shortage that says nothing about the files.
fn is_passing(e: &io::Error) -> bool {
    use rustix::io::Errno;
    let shortages = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN];
    e.raw_os_error().is_some_and(|n| shortages.iter().any(|s| s.raw_os_error() == n))
}

/// A disk that does not answer, or a shortage; it may be well again at the next attempt.
pub fn is_defect(e: &io::Error) -> bool {
    is_passing(e) || e.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// What failed by chance works at once.
fn twice<T>(read: impl Fn() -> io::Result<T>) -> io::Result<T> {
    read().or_else(|e| if e.kind() == io::ErrorKind::NotFound { Err(e) } else { read() })
}

/// Writes a file anew; on an error the old one stays. Its name is not synced. A folder that somebody put in its place is
/// moved out of the way, once.
fn replace(dir: &Dir<'_>, name: &[u8], temporary: &[u8], octets: &[u8], sync: Durability) -> io::Result<()> {
    let written = out_of_the_way(dir, &[name, temporary], || {
        let mut file = dir.create(temporary)?;
        file.write_all(octets)?;
        if sync == Durability::OnDisk {
            file.sync_data()?;
        }
        dir.rename_to(temporary, dir, name)
    });
    if written.is_err() {
        drop(dir.unlink(temporary));
    }
    written
}

/// Does something with files of these names. If one turns out to be a folder, that is renamed and it is done again.
pub fn out_of_the_way<T>(
    dir: &Dir<'_>,
    names: &[&[u8]],
    mut act: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    act().or_else(|error| {
        if !matches!(error.kind(), io::ErrorKind::IsADirectory | io::ErrorKind::InvalidInput) {
            return Err(error);
        }
        for taken in names {
            if dir.open_dir(taken).is_ok() {
                dir.rename_to(taken, dir, &[taken, &b".damaged"[..]].concat())?;
            }
        }
        act()
    })
}

/// The step that reserves numbers from here on.
pub fn reservation(uid_next: u32, mod_seq: ModSeq) -> Op {
    let m = ModSeq::new(mod_seq.get().saturating_add(MOD_SEQ_BLOCK)).unwrap_or(ModSeq::MAX);
    Op::Reserve(uid_next.saturating_add(UID_BLOCK), m)
}

/// The running kernel's id, so that "the process died" and "the machine died" can be told apart. All 0 if it cannot
/// be had.
fn boot_id(fs: &Fs) -> [u8; 16] {
    let read = || {
        let text = fs.open_root(Path::new("/proc/sys/kernel/random")).ok()?.read(b"boot_id", 64).ok()?;
        let hex: Vec<u8> = text.into_iter().filter(u8::is_ascii_hexdigit).collect();
        culver_snapshot::MailboxId::parse(std::str::from_utf8(&hex).ok()?).map(|id| id.0)
    };
    read().unwrap_or_default()
}

/// The mod-sequence that a mailbox starts with when its own may be lost: seconds since 1970, shifted left by 20 bits,
/// and microseconds. It is higher than any that this server or Dovecot can have given by now, since neither makes a
/// million changes a second. Everything is newer than what any client knows then, so that each is told all flags
/// once more.
///
/// Numbers that were reserved ahead may take `at_least` some milliseconds ahead of the clock. Then this waits for the clock,
/// on a thread that may block: were all state lost right after, time alone could not tell what had been given.
pub fn base_mod_seq(at_least: ModSeq) -> ModSeq {
    let now = clock::now();
    let seconds = u64::try_from(now.seconds).unwrap_or(0).min(1 << 42);
    let value = (seconds << 20) + u64::from(now.nanoseconds / 1000);
    let ahead = at_least.get().saturating_sub(value);
    if (1..=2 * MOD_SEQ_BLOCK).contains(&ahead) {
        std::thread::sleep(Duration::from_micros(ahead));
    }
    ModSeq::new(value).unwrap_or(ModSeq::MAX).max(at_least.next())
}

/// The same messages with everything that clients may know declared outdated, also what they know from another server whose
/// mod-sequences went up to `others`.
pub fn rebase(old: &Model, others: ModSeq) -> Model {
    let s = &old.snapshot;
    let base = base_mod_seq(old.reserved.1.max(s.highest_mod_seq).max(others));
    let mut fresh = Snapshot::empty(s.mailbox_id, s.uid_validity, s.uid_next, base);
    fresh.keywords = s.keywords.clone();
    let mut edit = fresh.edit();
    let mod_seq = edit.mod_seq();
    for r in s.iter() {
        edit.push(Record { mod_seq, ..r.clone() });
    }
    edit.touch();
    Model {
        snapshot: Arc::new(edit.finish()),
        names: old.names.clone(),
        behind: old.behind.clone(),
        first_recent: old.first_recent,
        uidlist_behind: old.uidlist_behind,
        stamps: crate::model::Stamps::default(),
        reserved: (old.reserved.0, mod_seq),
        boot: [0; 16],
        closed: false,
    }
}

/// The UID up to which UIDs may have been given without our knowing, none of which may be given again.
pub fn after_crash(model: &Model) -> Uid {
    Uid::new(model.reserved.0).unwrap_or(Uid::MAX).max(model.snapshot.uid_next)
}
