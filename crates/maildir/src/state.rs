//! Checkpoint and journal as files: loading, appending, replacing.
//!
//! They lie in the server's own state folder and belong to the service, not to the user; so they are opened in jobs
//! of the service itself. The journal stays open, and an open file may be written from the user's jobs as well.
//!
//! Nothing here can fail a verb. When the folder cannot be written the mailbox is served from memory and
//! [`State::is_broken`] says so; a new checkpoint, tried from time to time, mends it. What is lost then is speed at the
//! next start, not mail: flags are in file names, UIDs in `dovecot-uidlist`.

use crate::journal::{self, Head};
use crate::model::{Change, Model, Op};
use crate::{checkpoint, clock};
use culver_base::{ModSeq, Uid};
use culver_snapshot::{Record, Snapshot};
use culver_store::io::{Dir, Durability, File, Fs};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CHECKPOINT: &[u8] = b"checkpoint";
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

/// The files.
pub struct State {
    folder: PathBuf,
    journal: Option<File>,
    len: u64,
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
    /// Reads what is in `folder`. A job of the service.
    pub fn load(fs: &Fs, folder: &Path, place: &str) -> (Self, Option<(Model, Trust)>) {
        let mut state = Self {
            folder: folder.to_owned(),
            journal: None,
            len: 0,
            checkpoint_len: 0,
            generation: 0,
            boot: boot_id(fs),
            told: false,
        };
        let octets = match fs.open_root(folder).and_then(|d| d.read(CHECKPOINT, MAX_CHECKPOINT)) {
            Ok(octets) => octets,
            Err(e) => {
                if e.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(%place, error = %e, "the index cannot be read; it is made anew");
                }
                return (state, None);
            }
        };
        let Some((mut model, generation)) = checkpoint::decode(&octets) else {
            tracing::warn!(%place, "the index is damaged; it is made anew from the Maildir");
            return (state, None);
        };
        state.generation = generation;
        state.checkpoint_len = octets.len() as u64;
        let trust = state.replay(fs, &mut model, place);
        (state, Some((model, trust)))
    }

    fn replay(&mut self, fs: &Fs, model: &mut Model, place: &str) -> Trust {
        let opened = fs.open_root(&self.folder).and_then(|d| {
            let octets = d.read(JOURNAL, MAX_CHECKPOINT)?;
            Ok((octets, d.open_append(JOURNAL)?))
        });
        let Ok((octets, file)) = opened else {
            tracing::warn!(%place, "the index's journal is missing; flags are compared with the Maildir");
            return Trust::Doubtful;
        };
        let Some(replayed) = journal::replay(&octets, self.generation, model) else {
            // The checkpoint was replaced and the process ended before the new journal was there: the old one is
            // part of the checkpoint. Else somebody mixed up files. Both are told apart by the generation.
            let older = Head::decode(&octets).is_some_and(|h| h.generation < self.generation);
            return if older && self.is_same_boot(model) { Trust::Whole } else { Trust::Doubtful };
        };
        if replayed.damaged {
            tracing::warn!(%place, good = replayed.good, of = octets.len(), "the index's journal is damaged; flags are compared with the Maildir");
            return Trust::Doubtful;
        }
        self.journal = Some(file);
        self.len = octets.len() as u64;
        if model.closed || self.is_same_boot(model) { Trust::Whole } else { Trust::Doubtful }
    }

    fn is_same_boot(&self, model: &Model) -> bool {
        model.boot == self.boot && self.boot != [0; 16]
    }

    /// The folder was renamed.
    pub fn moved_to(&mut self, folder: PathBuf) {
        self.folder = folder;
    }

    /// Is nothing being written, so that a checkpoint is due?
    pub fn is_broken(&self) -> bool {
        self.journal.is_none()
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

    /// Writes a change down. `before` is HIGHESTMODSEQ before it. Reservations are synced.
    pub fn append(&mut self, before: ModSeq, change: &Change, place: &str) {
        let Some(file) = &mut self.journal else { return };
        let frame = journal::frame(before, change);
        let must_sync = change.ops.iter().any(|op| matches!(op, Op::Reserve(..)));
        let done = file.write_all(&frame).and_then(|()| if must_sync { file.sync_data() } else { Ok(()) });
        match done {
            Ok(()) => self.len += frame.len() as u64,
            Err(e) => {
                // What comes now is in memory only. The next start must see that something is missing: the last frame
                // is broken on purpose, which works on a full disk too.
                drop(file.truncate(self.len.saturating_sub(1)));
                self.journal = None;
                self.tell(place, &e);
            }
        }
    }

    /// Everything so far is on disk.
    pub fn sync(&mut self) {
        if let Some(file) = &self.journal {
            drop(file.sync_data());
        }
    }

    /// Replaces the checkpoint and begins a new journal. A job of the service.
    pub fn write_checkpoint(&mut self, fs: &Fs, model: &mut Model, place: &str) {
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
        let write = || {
            let dir = fs.make_root(&self.folder)?;
            replace(&dir, CHECKPOINT, b"checkpoint.tmp", &octets, Durability::OnDisk)?;
            let head = head.encode();
            replace(&dir, JOURNAL, b"journal.tmp", &head, Durability::Later)?;
            Ok((dir.open_append(JOURNAL)?, head.len() as u64))
        };
        match write() {
            Ok((file, len)) => {
                self.generation += 1;
                self.journal = Some(file);
                self.len = len;
                self.checkpoint_len = octets.len() as u64;
                self.told = false;
            }
            Err(e) => {
                self.journal = None;
                self.tell(place, &e);
            }
        }
    }

    fn tell(&mut self, place: &str, error: &io::Error) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(%place, folder = %self.folder.display(), %error, "the index cannot be written; the mailbox is served from memory until it can");
        }
    }
}

/// Writes a file anew. A folder that somebody put in its place is moved out of the way, once.
fn replace(dir: &Dir<'_>, name: &[u8], temporary: &[u8], octets: &[u8], sync: Durability) -> io::Result<()> {
    out_of_the_way(dir, &[name, temporary], || dir.write_replace(name, temporary, octets, sync))
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

fn reservation(uid_next: u32, mod_seq: ModSeq) -> Op {
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
pub fn base_mod_seq(at_least: ModSeq) -> ModSeq {
    let now = clock::now();
    let seconds = u64::try_from(now.seconds).unwrap_or(0).min(1 << 42);
    let value = (seconds << 20) + u64::from(now.nanoseconds / 1000);
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
