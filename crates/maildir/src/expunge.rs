//! EXPUNGE: files first, then the records. A crash in between is found by the next look: the files are missing.

use crate::core::{Core, Result};
use crate::filename;
use crate::model::{Entry, Folder, Op, base_of};
use crate::place::Dirs;
use culver_base::{SystemFlags, Uid, UidSet};
use culver_quota::Usage;
use culver_store::io::{Entries, Fs};
use rustc_hash::FxHashMap;
use std::io;

impl Core {
    /// Removes those of `uids` that carry `\Deleted`.
    pub fn expunge(&mut self, fs: &Fs, uids: &UidSet) -> Result<UidSet> {
        let s = &self.model.snapshot;
        let deleted = s.select(uids).filter(|(_, r)| r.flags.system.contains(SystemFlags::DELETED));
        let wanted = deleted.map(|(_, r)| r.uid).collect();
        self.remove(fs, &wanted)
    }

    /// Removes these. Some may stay when their files cannot be removed; when none can, it is an error.
    pub fn remove(&mut self, fs: &Fs, wanted: &UidSet) -> Result<UidSet> {
        let dirs = self.dirs(fs)?;
        let (gone, failure) = self.unlink(&dirs, wanted);
        if !gone.is_empty() {
            let went = self.usage_of(gone.uids());
            self.commit(vec![Op::Expunge(gone.clone())]);
            self.tell_maildirsize(fs, Usage::default(), went);
        }
        match failure {
            Some(e) if gone.is_empty() => Err(self.failure("removing messages", e)),
            Some(error) => {
                tracing::warn!(place = %self.label(), %error, "some messages could not be removed");
                Ok(gone)
            }
            None => Ok(gone),
        }
    }

    /// Unlinks the files of messages. Gives back whose files are gone, and the first error.
    pub fn unlink(&mut self, dirs: &Dirs<'_>, uids: &UidSet) -> (UidSet, Option<io::Error>) {
        let mut gone = UidSet::new();
        let mut failure = None;
        let mut elsewhere = None;
        let entries: Vec<(Uid, Option<Entry>)> = {
            let names = self.model.names.read();
            uids.uids().map(|u| (u, names.get(u).cloned())).collect()
        };
        for (uid, entry) in entries {
            let Some(entry) = entry else { continue };
            let mut done = dirs.folder(entry.folder).unlink(&entry.name);
            if matches!(&done, Err(e) if e.kind() == io::ErrorKind::NotFound) {
                // Renamed by another program, or removed by it.
                let elsewhere = elsewhere.get_or_insert_with(|| Elsewhere::list_twice(dirs));
                done = match elsewhere.find(base_of(&entry.name)) {
                    Ok(Some(now)) => dirs.folder(now.folder).unlink(&now.name),
                    Ok(None) => Ok(()),
                    Err(e) => Err(e),
                };
                if matches!(&done, Err(e) if e.kind() == io::ErrorKind::NotFound) {
                    // Renamed once more: the next look will show it with its flags, still there.
                    self.doubt = true;
                    continue;
                }
            }
            match done {
                Ok(()) => gone.add(uid),
                Err(e) => {
                    failure.get_or_insert(e);
                }
            }
        }
        (gone, failure)
    }
}

/// Where files are now, by base: one listing for all that are not where they should be.
pub struct Elsewhere {
    by_base: FxHashMap<Box<[u8]>, Entry>,
    failed: Option<io::Error>,
}

impl Elsewhere {
    /// Lists both directories; what cannot be listed holds nothing.
    pub fn list(dirs: &Dirs<'_>) -> Self {
        let mut this = Self { by_base: FxHashMap::default(), failed: None };
        this.add(dirs);
        this
    }

    /// Lists twice, so that a file which is renamed meanwhile is seen.
    pub fn list_twice(dirs: &Dirs<'_>) -> Self {
        let mut this = Self::list(dirs);
        this.add(dirs);
        this
    }

    fn add(&mut self, dirs: &Dirs<'_>) {
        let (by_base, failed) = (&mut self.by_base, &mut self.failed);
        let mut take = |folder, list: io::Result<Entries>| {
            if let Err(e) = &list {
                *failed = Some(e.kind().into());
            }
            for e in list.iter().flat_map(|l| l.iter()) {
                if filename::kind(e.name) == filename::Kind::Message {
                    by_base.insert(base_of(e.name).into(), Entry { name: e.name.into(), folder });
                }
            }
        };
        take(Folder::New, dirs.new.read_dir());
        take(Folder::Cur, dirs.cur.read_dir());
    }

    /// Where the file of a base is; an error when it was not seen because a directory could not be listed.
    pub fn find(&self, base: &[u8]) -> io::Result<Option<&Entry>> {
        match (self.get(base), &self.failed) {
            (None, Some(e)) => Err(e.kind().into()),
            (found, _) => Ok(found),
        }
    }

    /// Where the file of a base is, as far as is known.
    pub fn get(&self, base: &[u8]) -> Option<&Entry> {
        self.by_base.get(base)
    }
}
