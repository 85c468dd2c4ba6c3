//! Opening a mailbox: what of our own state is to be believed.
//!
//! `dovecot-uidlist` says which mailbox this is (GUID, UIDVALIDITY); state of another one is thrown away. Without a
//! uidlist our state is all there is and counts, unless the Maildir is bare as well: then what we know belongs to
//! something that is gone or not mounted, and a new mailbox with a new UIDVALIDITY begins.
//!
//! HIGHESTMODSEQ never goes back: state that may lack changes is declared outdated as a whole (`state::rebase`), and
//! a mailbox without any begins at a number above all that can have been given: by us, as far as the time of day tells, and
//! by Dovecot, as its index tells. Dovecot may serve between two openings, and then its number counts again.
//!
//! A tree of Courier's has no `dovecot-uidlist` yet; it gets one made of Courier's list.

use crate::core::{Core, keyword_ops, stamp};
use crate::courier;
use crate::dotlock::{Contention, Dotlock};
use crate::import;
use crate::keywords::Keywords;
use crate::list::{self, List, ListNews, Reserves};
use crate::model::{Folder, Model, Op, Stamp};
use crate::place::{Dirs, MailboxPlace, uidlist_lock};
use crate::state::{State, Trust, after_crash, base_mod_seq, is_defect, rebase};
use crate::sync::Attempt;
use crate::{uidlist, uidvalidity};
use culver_base::{Uid, UidValidity};
use culver_snapshot::{Flags, MailboxId};
use culver_store::Refusal;
use culver_store::io::{Durability, EntryKind, Fs};
use std::io;
use std::sync::Arc;
use tokio::sync::watch;

/// No larger list of Courier's is read.
const MAX_COURIER: usize = 1 << 30;
/// `tmp` is looked at when nobody read it for so long.
const TMP_INTERVAL_SECONDS: i64 = 7 * 86_400;
/// Older files in `tmp` belong to nobody.
const TMP_AGE_SECONDS: i64 = 36 * 3600;

/// What was loaded, kept between attempts.
pub struct Begin {
    /// The files.
    pub state: State,
    /// What was in them.
    pub loaded: Option<(Model, Trust)>,
}

impl Begin {
    /// Makes the writer's side from what was loaded and what is there.
    pub fn run(
        mut self,
        fs: &Fs,
        place: &Arc<MailboxPlace>,
        reserves: Reserves,
        contention: &mut Contention,
    ) -> crate::core::Result<Result<Core, Self>> {
        let dirs = match Dirs::open(fs, place) {
            Ok(dirs) => dirs,
            Err(e) if e.kind() == io::ErrorKind::NotFound && fs.open_root(&place.root).is_ok() => {
                return Err(Refusal::NonExistent.into());
            }
            Err(e) => return Err(place.failure("opening the mailbox", e)),
        };
        clean_tmp(&dirs);
        let identity = list::identity(&dirs).map_err(|e| place.failure("reading dovecot-uidlist", e))?;
        let fits = |m: &Model| match &identity {
            Some((i, _)) => {
                m.snapshot.uid_validity == i.validity && i.id.is_none_or(|id| id == m.snapshot.mailbox_id)
            }
            // Nobody else has given UIDs here, and ours go on from where they were, whatever is left of the messages.
            None => true,
        };
        let dovecots = import::highest_mod_seq(fs, place, &dirs);
        let loaded = self.loaded.take_if(|(m, _)| fits(m));
        if loaded.is_none() && self.loaded.is_some() {
            tracing::info!(place = %place.label(), "the index is that of another mailbox; it is made anew");
            self.state.is_foreign();
        }
        let mut floor = 0;
        let mut renames = Renames::Kept;
        // A process that died has left all its frames, and a mailbox that was closed in order is as the last one
        // says: unless somebody cut the journal where a frame ends, or put back an old one. It costs nothing to stay
        // above what the missing frames may have said.
        let as_left =
            |m: &Model| m.closed && dirs.cur.stat_self().is_ok_and(|now| m.stamps.cur.matches(&stamp(&now)));
        let mut used_up = None;
        let fresh = loaded.is_none();
        let made_up = fresh && identity.is_none();
        let model = match loaded {
            Some((model, Trust::Whole)) => {
                used_up = (!as_left(&model)).then_some(model.reserved.1);
                if dovecots >= model.snapshot.highest_mod_seq {
                    used_up = used_up.max(Some(dovecots.next()));
                }
                model
            }
            Some((model, Trust::Doubtful)) => {
                floor = after_crash(&model).get();
                if !self.state.is_same_boot(&model) {
                    renames = Renames::PerhapsLost;
                }
                rebase(&model, dovecots)
            }
            None => {
                let validity = match &identity {
                    Some((i, _)) => i.validity,
                    // Two processes must not make up two of them.
                    None => match Dotlock::try_acquire(
                        &dirs.control,
                        &uidlist_lock(),
                        &place.settings.locks,
                        contention,
                    ) {
                        Ok(None) => {
                            self.loaded = None;
                            return Ok(Err(self));
                        }
                        Ok(Some(lock)) => {
                            // Another program may just have made one.
                            let now = list::identity(&dirs)
                                .map_err(|e| place.failure("reading dovecot-uidlist", e))?;
                            if now.is_some() {
                                drop(lock);
                                return Ok(Err(self));
                            }
                            if bring_couriers_uids(&dirs, place) {
                                drop(lock);
                                return Ok(Err(self));
                            }
                            new_validity(fs, place)?
                        }
                        Err(_) => new_validity(fs, place)?,
                    },
                };
                let id = identity.as_ref().and_then(|(i, _)| i.id).unwrap_or_else(new_id);
                Model::empty(id, validity, Uid::MIN, base_mod_seq(dovecots))
            }
        };
        let stamp = model.stamps.uidlist;
        let list = if stamp.ino != 0 && model.uidlist_behind == 0 {
            List::trusting(stamp, model.snapshot.uid_next)
        } else {
            List::default()
        };
        let renamed = !model.closed;
        let (tell, _) = watch::channel(model.snapshot.clone());
        let mut core = Core {
            place: place.clone(),
            doubt: model.stamps.cur == Stamp::default(),
            model,
            state: self.state,
            cache: Arc::default(),
            list,
            letters: Keywords::default(),
            letters_stamp: None,
            unlined: Default::default(),
            // What was renamed before a process died may not be on disk yet, whoever did it.
            renamed,
            names_lost: renames == Renames::PerhapsLost,
            watched: false,
            extra_names: Default::default(),
            limbo: Default::default(),
            looked: false,
            awaiting: None,
            unfinished: false,
            looks: 0,
            listings: 0,
            fresh,
            made_up,
            reserves,
            gone: false,
            uid_floor: floor,
            tell,
        };
        core.count_lines(core.model.snapshot.len());
        if let Some(given) = used_up {
            core.commit(vec![Op::ModSeq(given)]);
        }
        if floor != 0 {
            core.believe_names(&dirs, renames).map_err(|e| place.failure("reading dovecot-keywords", e))?;
        }
        Ok(Ok(core))
    }
}

/// What became of renames which were done before the journal broke off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Renames {
    /// The kernel has kept them.
    Kept,
    /// The power went, and they may have gone with it.
    PerhapsLost,
}

impl Core {
    /// Flags whose renames were due when the journal breaks off may have been changed again since; by now the names
    /// have been right for longer than the journal.
    fn believe_names(&mut self, dirs: &Dirs<'_>, renames: Renames) -> io::Result<()> {
        self.read_letters(dirs)?;
        let (mut added, mut ops) = (Vec::new(), Vec::new());
        {
            let names = self.model.names.read();
            for uid in &self.model.behind {
                let (Some(entry), Some(record)) = (names.get(*uid), self.model.snapshot.by_uid(*uid)) else {
                    continue;
                };
                let mut flags = match entry.folder {
                    Folder::New => Flags::default(),
                    Folder::Cur => self.flags_of(&entry.name, &mut added),
                };
                // What no name can show is known from the record alone, and so is what got its letter just now.
                for keyword in self.model.snapshot.keywords.of(record.flags.keywords) {
                    if renames == Renames::PerhapsLost || self.letters.find(keyword).is_none() {
                        flags.keywords.0 |= self.model.snapshot.keywords.find(keyword).map_or(0, |b| b.0);
                    }
                }
                ops.push(Op::Flags(*uid, flags));
                ops.push(Op::Placed(*uid, entry.clone(), self.name_state(entry, flags)));
            }
        }
        self.commit(keyword_ops(added).chain(ops).collect());
        Ok(())
    }

    /// After the first look: one file of everything, if there is none.
    pub fn checkpoint_if_due(&mut self, fs: &Fs) {
        let label = self.label();
        if !self.gone && (!self.state.mend(&label) || self.state.wants_checkpoint()) {
            self.keep_stamps();
            self.state.write_checkpoint(fs, &mut self.model, &label);
        }
    }

    /// A UIDVALIDITY that was made up and did not get into an index is kept by `dovecot-uidlist`, before a client hears of it.
    /// On a full disk it stays in memory; a defect passes, and a client that comes back then finds what it was told.
    pub fn keep_validity(
        &mut self,
        fs: &Fs,
        contention: &mut Contention,
    ) -> crate::core::Result<Attempt<()>> {
        if !self.made_up || self.gone || !self.state.is_behind() || self.list.stamp.ino != 0 {
            return Ok(Attempt::Done(()));
        }
        let dirs = self.dirs(fs)?;
        let place = self.place.clone();
        let written =
            match Dotlock::try_acquire(&dirs.control, &uidlist_lock(), &place.settings.locks, contention) {
                Ok(None) => return Ok(Attempt::Busy),
                Ok(Some(lock)) => {
                    let written = self.read_list(&dirs).and_then(|news| match news {
                        // Somebody else has made one; the next look tells whether it fits.
                        ListNews::None | ListNews::Some | ListNews::Foreign => Ok(()),
                        ListNews::Missing => self.rewrite_list(&dirs),
                    });
                    drop(lock);
                    written
                }
                Err(e) => Err(e),
            };
        match written {
            Err(e) if is_defect(&e) => Err(self.failure("writing dovecot-uidlist", e)),
            _ => Ok(Attempt::Done(())),
        }
    }

    /// Before the mailbox leaves memory: the journal says that nothing is missing.
    pub fn shut(&mut self, fs: &Fs) {
        if self.gone || self.model.closed || self.state.is_behind() {
            return;
        }
        if std::mem::take(&mut self.renamed) {
            // After a power loss old names would look like flags that another program has changed back.
            drop(Dirs::open(fs, &self.place).and_then(|dirs| dirs.cur.sync()));
        }
        self.keep_stamps();
        self.commit(vec![Op::Closed]);
    }
}

/// Courier's UIDs as `dovecot-uidlist`, under its lock. `true`: now there is one.
fn bring_couriers_uids(dirs: &Dirs<'_>, place: &MailboxPlace) -> bool {
    let bring = || {
        let Some(octets) = courier::uids(&dirs.mailbox, MAX_COURIER)? else { return Ok(false) };
        dirs.control.write_replace(uidlist::NAME, uidlist::TEMPORARY, &octets, Durability::OnDisk)?;
        Ok::<_, io::Error>(true)
    };
    match bring() {
        Ok(brought) => {
            if brought {
                tracing::info!(place = %place.label(), "UIDs are those of Courier");
            }
            brought
        }
        Err(error) => {
            tracing::warn!(place = %place.label(), %error, "courierimapuiddb cannot be taken over; the messages get new UIDs");
            false
        }
    }
}

/// A new identity, random.
fn new_id() -> MailboxId {
    let mut id = [0; 16];
    if getrandom::fill(&mut id).is_err() {
        let now = crate::clock::now();
        id[..8].copy_from_slice(&now.seconds.to_le_bytes());
        id[8..12].copy_from_slice(&now.nanoseconds.to_le_bytes());
        id[12..].copy_from_slice(&std::process::id().to_le_bytes());
    }
    MailboxId(id)
}

/// A UIDVALIDITY that no mailbox of this account had before.
fn new_validity(fs: &Fs, place: &MailboxPlace) -> crate::core::Result<UidValidity> {
    let now = crate::clock::now().seconds;
    let given = fs.make_root(&place.control_root).and_then(|root| uidvalidity::next(&root, now));
    match given {
        Ok(given) => Ok(given),
        // It passes; a number that is too low stays.
        Err(e) if is_defect(&e) => Err(place.failure("reading dovecot-uidvalidity", e)),
        Err(error) => {
            tracing::debug!(place = %place.label(), %error, "dovecot-uidvalidity cannot be written; the next number is given all the same");
            let root = fs.open_root(&place.control_root);
            Ok(root.map_or_else(|_| uidvalidity::fallback(now), |root| uidvalidity::unwritten(&root, now)))
        }
    }
}

/// Removes what programs that died left in `tmp`. Failures do not matter.
fn clean_tmp(dirs: &Dirs<'_>) {
    let now = crate::clock::now().seconds;
    let Ok(tmp) = dirs.mailbox.open_dir(b"tmp") else { return };
    if !tmp.stat_self().is_ok_and(|s| now - s.atime.seconds > TMP_INTERVAL_SECONDS) {
        return;
    }
    let Ok(names) = tmp.read_dir() else { return };
    for entry in names.iter() {
        if let Ok(s) = tmp.stat(entry.name)
            && s.kind == EntryKind::File
            && now - s.ctime.seconds > TMP_AGE_SECONDS
        {
            drop(tmp.unlink(entry.name));
        }
    }
}
