//! What may lag behind an answer: file names that follow flags, messages that leave `new`, records that the uidlist
//! lacks.
//!
//! A crash in between loses nothing: the journal remembers flags, and after a restart the same renames are due. If
//! another program renames a file meanwhile, ours fails with "no such file", a scan finds the new name and
//! merges both changes (`Core::merged`): what it changed counts, what we changed stays due.
//!
//! Errors of the disk (full, over quota, no rights) leave the rest due; it is tried again later.

use crate::core::{Core, Result};
use crate::dotlock::{Contention, Dotlock};
use crate::filename;
use crate::model::{Entry, Folder, Op};
use crate::place::{Dirs, uidlist_lock};
use culver_base::{Keyword, Uid, UidSet};
use culver_store::io::{Dir, Fs};
use std::io;

/// Renames in one job, so that verbs can come in between.
const BATCH: usize = 2000;

/// How a round went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flushed {
    /// Nothing is due any more.
    All,
    /// Go on at once.
    More,
    /// A file was not where we thought: look, then go on.
    Look,
    /// Another program is about to write down what a letter means.
    Soon,
    /// Try again later: the disk does not let us, or another program holds the lock.
    Later,
}

impl Core {
    /// Is anything due? `empties_new`: are messages to be moved from `new` to `cur`?
    pub fn flush_is_due(&self, empties_new: EmptiesNew) -> bool {
        !self.gone
            && (!self.model.behind.is_empty()
                || self.waits_for_letters()
                || self.list_wants_writing()
                || self.list_is_wasteful()
                || (empties_new == EmptiesNew::Yes && self.has_new()))
    }

    fn has_new(&self) -> bool {
        self.model.names.read().in_new().next().is_some()
    }

    /// One round.
    pub fn flush(
        &mut self,
        fs: &Fs,
        empties_new: EmptiesNew,
        contention: &mut Contention,
    ) -> Result<Flushed> {
        let dirs = self.dirs(fs)?;
        self.read_letters(&dirs).map_err(|e| self.failure("reading dovecot-keywords", e))?;
        let letters = self.keywords_without_letter();
        let mut outcome = Flushed::All;
        if !letters.is_empty() || self.list_wants_writing() || self.list_is_wasteful() {
            outcome = self.flush_under_lock(&dirs, &letters, contention)?;
        }
        let mut due = Vec::new();
        {
            let names = self.model.names.read();
            for uid in self.model.behind.iter().take(BATCH) {
                let (Some(entry), Some(r)) = (names.get(*uid), self.model.snapshot.by_uid(*uid)) else {
                    continue;
                };
                due.push((*uid, entry.clone(), self.rename_for(entry, r.flags)));
            }
            if empties_new == EmptiesNew::Yes {
                for (uid, entry) in names.in_new().take(BATCH) {
                    if !self.model.behind.contains(&uid) {
                        let name = filename::with_flags(&entry.name, Default::default(), Default::default());
                        due.push((
                            uid,
                            entry.clone(),
                            Some(Entry { name: name.into(), folder: Folder::Cur }),
                        ));
                    }
                }
            }
        }
        let before = self.model.behind.len();
        let in_new = self.model.names.read().in_new().count();
        let renamed = self.rename_all(&dirs, due);
        let more_in_new = match empties_new {
            EmptiesNew::Yes => (1..in_new).contains(&self.model.names.read().in_new().count()),
            EmptiesNew::No => false,
        };
        Ok(match renamed {
            Flushed::All if more_in_new => Flushed::More,
            // It is not done until the letter's meaning is known, or given up.
            Flushed::All if self.model.behind.is_empty() && self.waits_for_letters() => Flushed::Soon,
            Flushed::All if self.model.behind.is_empty() => outcome,
            Flushed::All if self.model.behind.len() < before => Flushed::More,
            // What is left waits for letters.
            Flushed::All => Flushed::Later,
            other => other,
        })
    }

    /// The journal did not take flags: they are safe in file names only. An error if they are safe nowhere.
    pub fn names_tell(&mut self, fs: &Fs, uids: &UidSet) -> Result<()> {
        while matches!(self.flush(fs, EmptiesNew::No, &mut Contention::default()), Ok(Flushed::More)) {}
        let is_told = !self.model.behind.iter().any(|u| uids.contains(u.get()));
        if !is_told && !self.state.mark(fs) {
            let cause = io::Error::other("neither the index nor file names can be written");
            return Err(self.failure("storing flags", cause));
        }
        Ok(())
    }

    fn rename_all(&mut self, dirs: &Dirs<'_>, due: Vec<(Uid, Entry, Option<Entry>)>) -> Flushed {
        let mut ops = Vec::new();
        let mut outcome = Flushed::All;
        for (uid, old, new) in due {
            let flags = self.model.snapshot.by_uid(uid).map(|r| r.flags).unwrap_or_default();
            let Some(new) = new else {
                let state = self.name_state(&old, flags);
                ops.push(Op::Placed(uid, old, state));
                continue;
            };
            match rename(dirs.folder(old.folder), &old.name, &dirs.cur, &new.name) {
                Ok(()) => {
                    self.renamed = true;
                    let state = self.name_state(&new, flags);
                    ops.push(Op::Placed(uid, new, state));
                }
                // Another program was faster, or there are two files with that base: a scan tells.
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) => {
                    self.doubt = true;
                    outcome = Flushed::Look;
                }
                Err(error) => {
                    tracing::debug!(place = %self.label(), %error, "flags cannot be written to file names for now");
                    outcome = Flushed::Later;
                    break;
                }
            }
        }
        self.commit(ops);
        outcome
    }

    fn flush_under_lock(
        &mut self,
        dirs: &Dirs<'_>,
        letters: &[Keyword],
        contention: &mut Contention,
    ) -> Result<Flushed> {
        let place = self.place.clone();
        let lock = match Dotlock::try_acquire(
            &dirs.control,
            &uidlist_lock(),
            &place.settings.locks,
            contention,
        ) {
            Ok(Some(lock)) => lock,
            Ok(None) => return Ok(Flushed::Later),
            Err(error) => {
                tracing::debug!(place = %self.label(), %error, "dovecot-uidlist cannot be locked for now");
                return Ok(Flushed::Later);
            }
        };
        self.read_list(dirs).map_err(|e| self.failure("reading dovecot-uidlist", e))?;
        self.add_letters(dirs, letters);
        if self.list_is_wasteful() {
            self.list.rewrite = true;
        }
        if self.list_wants_writing() {
            self.write_list(dirs);
        }
        drop(lock);
        Ok(if self.list_wants_writing() { Flushed::Later } else { Flushed::All })
    }

    /// Keywords of messages whose names are behind that have no letter, while there are letters left.
    fn keywords_without_letter(&self) -> Vec<Keyword> {
        let mut bits = 0;
        for uid in &self.model.behind {
            bits |= self.model.snapshot.by_uid(*uid).map_or(0, |r| r.flags.keywords.0);
        }
        if bits == 0 {
            return Vec::new();
        }
        let all = self.model.snapshot.keywords.of(culver_snapshot::KeywordBits(bits));
        all.filter(|k| self.letters.find(k).is_none() && self.letters.clone().find_or_add(k).is_some())
            .cloned()
            .collect()
    }
}

/// Are messages to be moved from `new` to `cur`? Only for a session that has the mailbox selected for writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EmptiesNew {
    /// Yes.
    Yes,
    /// They stay where they are.
    No,
}

/// Renames without replacing; where the file system cannot do that (NFS), as Dovecot does.
pub fn rename(from: &Dir<'_>, old: &[u8], to: &Dir<'_>, new: &[u8]) -> io::Result<()> {
    match from.rename_new(old, to, new) {
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            from.rename_to(old, to, new)
        }
        other => other,
    }
}
