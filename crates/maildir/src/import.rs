//! What an earlier server knew and plain Maildir does not tell, taken over when a mailbox is opened for the first time.
//!
//! Once and for all: from then on our own state knows better. So nothing comes back that a user took away since, except
//! after our state was lost as well; then what the earlier server knew last is the best there is.
//!
//! * Keywords without a letter, out of Dovecot's index. For those with letters file names are the truth.
//! * Courier's keywords, while there is no `dovecot-keywords`. They get letters with the next flush.
//! * How far Dovecot's mod-sequences went, at every opening: see [`highest_mod_seq`].
//!
//! Nothing here fails an opening: what cannot be read is told in the log, and passed over.

use crate::core::{Core, keyword_ops};
use crate::courier;
use crate::dovecot_index;
use crate::keywords;
use crate::model::{Op, base_of};
use crate::place::{Dirs, MailboxPlace};
use culver_base::{Keyword, ModSeq, Uid};
use culver_snapshot::Flags;
use culver_store::io::{Dir, Fs};
use std::io;

/// The directory of Dovecot's index, if it is there.
///
/// # Errors
/// From the file system.
pub fn index_dir<'fs>(fs: &'fs Fs, place: &MailboxPlace, mailbox: &Dir<'fs>) -> io::Result<Option<Dir<'fs>>> {
    match &place.index {
        None => Ok(Some(mailbox.clone())),
        Some(path) => match fs.open_root(path) {
            Ok(dir) => Ok(Some(dir)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        },
    }
}

/// HIGHESTMODSEQ of Dovecot's index, or a little more; zero without one. Clients remember it, so that ours must be above it
/// *before* anything that Dovecot did is looked for: then all of it is news to each of them. That holds at the first opening
/// and at every one after, since Dovecot may have served in between.
pub fn highest_mod_seq(fs: &Fs, place: &MailboxPlace, dirs: &Dirs<'_>) -> ModSeq {
    let read = || match index_dir(fs, place, &dirs.mailbox)? {
        Some(dir) => dovecot_index::load_mod_seq(&dir),
        None => Ok(None),
    };
    match read() {
        Ok(highest) => highest.unwrap_or(ModSeq::ZERO),
        Err(error) => {
            tracing::warn!(place = %place.label(), %error, "dovecot.index.log cannot be read; mod-sequences begin at the time of day");
            ModSeq::ZERO
        }
    }
}

impl Core {
    /// Takes over what is to be had, if nobody did so before. Messages have their UIDs already.
    pub fn import(&mut self, fs: &Fs) {
        if !std::mem::take(&mut self.fresh) || self.gone || self.model.snapshot.is_empty() {
            return;
        }
        if let Err(error) = self.try_import(fs) {
            tracing::warn!(place = %self.label(), %error, "what only the earlier server's index knows cannot be read; keywords without a letter are lost, all else is there");
        }
    }

    fn try_import(&mut self, fs: &Fs) -> io::Result<()> {
        let dirs = Dirs::open(fs, &self.place)?;
        let mut found: Vec<(Uid, Vec<Keyword>)> = Vec::new();
        if let Some(dir) = index_dir(fs, &self.place, &dirs.mailbox)?
            && let Some(index) = dovecot_index::load(&dir)?
            && index.uid_validity == Some(self.model.snapshot.uid_validity)
        {
            for uid in index.messages.keys().filter_map(|u| Uid::new(*u)) {
                let keywords = index.keywords_of(uid).filter(|k| self.letters.find(k).is_none());
                found.push((uid, keywords.collect()));
            }
            let dirty = index.messages.values().filter(|m| m.dirty).count();
            if dirty > 0 {
                tracing::warn!(place = %self.label(), messages = dirty, "Dovecot had not written all flags to file names; those of the names count. `doveadm force-resync` before the change would have written them");
            }
        }
        if !dirs.control.exists(keywords::NAME)? {
            let mut theirs = courier::keywords(&dirs.mailbox)?;
            if !theirs.is_empty() {
                let names = self.model.names.read();
                let of =
                    |(uid, e): (Uid, &crate::model::Entry)| Some((uid, theirs.remove(base_of(&e.name))?));
                found.extend(names.iter().filter_map(of));
            }
        }
        self.take_keywords(found);
        Ok(())
    }

    fn take_keywords(&mut self, found: Vec<(Uid, Vec<Keyword>)>) {
        let (mut added, mut ops) = (Vec::new(), Vec::new());
        let (mut messages, mut no_room) = (0usize, 0usize);
        {
            let names = self.model.names.read();
            for (uid, keywords) in found {
                let record = self.model.snapshot.by_uid(uid).filter(|_| names.get(uid).is_some());
                let Some(record) = record else { continue };
                let mut flags: Flags = record.flags;
                for keyword in &keywords {
                    match self.model.keyword_bit(keyword, &mut added) {
                        Some(bit) => flags.keywords.0 |= bit.0,
                        None => no_room += 1,
                    }
                }
                if flags != record.flags {
                    messages += 1;
                    // The flush finds letters for those that can have one.
                    ops.push(Op::Flags(uid, flags));
                }
            }
        }
        if messages > 0 {
            tracing::info!(place = %self.label(), messages, keywords = added.len(), "keywords were taken over from the earlier server's index");
        }
        if no_room > 0 {
            tracing::warn!(place = %self.label(), "the mailbox has more than 64 keywords; those above are lost");
        }
        self.commit(keyword_ops(added).chain(ops).collect());
    }
}
