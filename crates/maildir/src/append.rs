//! APPEND: files from `tmp` into place, under UIDs of their own.
//!
//! The order: the files are synced in `tmp`; under the uidlist's lock UIDs are reserved, the files are renamed into `new` (no flags)
//! or `cur`, get their UIDs and are listed; then the directories are synced; then everybody is told. All or none: if a
//! rename fails, those before it are taken back.
//!
//! Many sessions that append at once share this: who comes while a batch is under way is taken along by the next one
//! (`MaildirMailbox::append`), so that lock, list and syncs are paid once for all.

use crate::cache::record::Learnt;
use crate::core::{Core, Result, keyword_ops};
use crate::dotlock::{Contention, Dotlock};
use crate::flush::rename;
use crate::list::ListNews;
use crate::model::{Entry, Folder, NameState, Op};
use crate::place::uidlist_lock;
use crate::spool::Staged;
use crate::sync::Attempt;
use crate::uidlist::LAST_UID;
use culver_base::{Flag, InternalDate, ModSeq, Uid, UidSet};
use culver_quota::Usage;
use culver_snapshot::Record;
use culver_store::io::{Fs, Timestamp};
use culver_store::{Appended, Refusal};

/// A message ready to be put in place.
pub struct Ready {
    /// Its file, synced with its date.
    pub staged: Staged,
    /// Its flags.
    pub flags: Vec<Flag>,
    /// Its date.
    pub date: Option<InternalDate>,
}

/// The messages of one APPEND.
pub type Request = Vec<Ready>;

/// What was put in place for all requests together.
#[derive(Default)]
struct Placed {
    ops: Vec<Op>,
    /// For the cache.
    learnt: Vec<Learnt>,
    to_new: bool,
    to_cur: bool,
}

impl Core {
    /// Stores the messages of several requests; each gets its own answer. `requests` is emptied when it is done.
    pub fn append(
        &mut self,
        fs: &Fs,
        requests: &mut Vec<Request>,
        contention: &mut Contention,
    ) -> Result<Attempt<Vec<Result<Appended>>>> {
        let dirs = self.dirs(fs)?;
        let place = self.place.clone();
        let lock =
            match Dotlock::try_acquire(&dirs.control, &uidlist_lock(), &place.settings.locks, contention) {
                Ok(Some(lock)) => Ok(lock),
                Ok(None) => return Ok(Attempt::Busy),
                Err(error) => Err(error),
            };
        if self.read_list(&dirs).map_err(|e| self.failure("reading dovecot-uidlist", e))? == ListNews::Foreign
        {
            self.leave();
            return Err(Refusal::MailboxGone.into());
        }
        self.take_in_listed(fs, &dirs, lock.as_ref().err())?;
        self.read_letters(&dirs).map_err(|e| self.failure("reading dovecot-keywords", e))?;
        let count = requests.iter().map(Vec::len).sum();
        self.reserve(&dirs, count, lock.as_ref().err()).map_err(|e| self.failure("reserving UIDs", e))?;
        let mut added = Vec::new();
        let mut placed = Placed::default();
        let mut answers = Vec::new();
        let mut next = self.next_uid();
        for request in requests.drain(..) {
            answers.push(self.place_all(&dirs, request, &mut next, &mut added, &mut placed));
        }
        let Placed { ops, learnt, to_new, to_cur } = placed;
        let came: UidSet = answers.iter().flatten().flat_map(|a| a.uids.iter().copied()).collect();
        // Letters first, so that the names need not change again at once.
        let mut synced = [(to_new, &dirs.new), (to_cur, &dirs.cur)].into_iter().filter(|(due, _)| *due);
        let synced = synced.try_for_each(|(_, dir)| dir.sync());
        self.commit(keyword_ops(added).chain(ops).collect());
        self.tell_maildirsize(fs, self.usage_of(came.uids()), Usage::default());
        if !learnt.is_empty() {
            self.cache.add(learnt, &place);
        }
        self.settle_floor();
        match lock {
            Ok(lock) => {
                if self.list_wants_writing() {
                    self.write_list(&dirs);
                }
                drop(lock);
            }
            Err(_) => self.list_is_behind(),
        }
        let uid_next = self.model.snapshot.uid_next;
        self.list.forget_below(uid_next);
        if let Err(e) = synced {
            let failure = self.failure("syncing the mailbox's directory", e);
            for answer in &mut answers {
                *answer = Err(failure.clone());
            }
        }
        Ok(Attempt::Done(answers))
    }

    fn place_all(
        &self,
        dirs: &crate::place::Dirs<'_>,
        request: Request,
        next: &mut Option<Uid>,
        added: &mut Vec<culver_base::Keyword>,
        placed: &mut Placed,
    ) -> Result<Appended> {
        let mut uids = Vec::with_capacity(request.len());
        let mut done: Vec<Entry> = Vec::with_capacity(request.len());
        let mut arrivals = Vec::with_capacity(request.len());
        let mut uid = *next;
        let mut failed = None;
        let mut records = Vec::new();
        for mut ready in request {
            let Some(this) = uid.filter(|u| u.get() <= LAST_UID) else {
                failed =
                    Some(Refusal::Limit("All UIDs of the mailbox are used up; make a new one".into()).into());
                break;
            };
            match self.place_one(dirs, &mut ready, this, added) {
                Ok(op) => {
                    if let Op::Arrive(_, entry, _) = &op {
                        placed.to_new |= entry.folder == Folder::New;
                        placed.to_cur |= entry.folder == Folder::Cur;
                        done.push(entry.clone());
                    }
                    arrivals.push(op);
                    records.extend(ready.staged.draft.take().and_then(|d| d.finish(this)));
                    uids.push(this);
                    uid = this.next();
                }
                Err(e) => {
                    failed = Some(e);
                    break;
                }
            }
        }
        if let Some(failure) = failed {
            for entry in done {
                drop(dirs.folder(entry.folder).unlink(&entry.name));
            }
            return Err(failure);
        }
        *next = uid;
        placed.ops.append(&mut arrivals);
        placed.learnt.append(&mut records);
        Ok(Appended { uid_validity: self.model.snapshot.uid_validity, uids })
    }

    fn place_one(
        &self,
        dirs: &crate::place::Dirs<'_>,
        ready: &mut Ready,
        uid: Uid,
        added: &mut Vec<culver_base::Keyword>,
    ) -> Result<Op> {
        let (flags, _) = self.bits_of(&ready.flags, added);
        let fail = |e| self.failure("storing a message", e);
        if ready.date.is_none() {
            // What will be read from the file later, exactly. A date that was given the file has got before it was synced.
            ready.date = Some(InternalDate::utc(ready.staged.file.stat().map_err(fail)?.mtime.seconds));
        }
        let plain = flags.system.is_empty() && flags.keywords.0 == 0;
        let base = self.place.settings.base(ready.staged.sizes);
        // Keywords that are new have no bit in the table yet: their letters come with the next rename.
        let (folder, name) =
            if plain { (Folder::New, base) } else { (Folder::Cur, self.name_for(&base, flags)) };
        let entry = Entry { name: name.into(), folder };
        // The file may have been staged for another mailbox, or for this one before it was opened.
        let (staged, own) = (&ready.staged.place, &self.place);
        if (&staged.root, &staged.dir) != (&own.root, &own.dir) {
            return self.place_foreign(dirs, ready, uid, entry, flags);
        }
        let from = dirs.tmp().map_err(fail)?;
        match rename(&from, &ready.staged.name, dirs.folder(folder), &entry.name) {
            Ok(()) => {
                ready.staged.placed = true;
                Ok(arrive_op(uid, ready, entry, flags))
            }
            // The mailbox was removed and made again meanwhile; its octets are still there.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                self.place_foreign(dirs, ready, uid, entry, flags)
            }
            Err(e) => Err(fail(e)),
        }
    }

    /// The spool lies in another mailbox's `tmp` (renamed meanwhile, or it was made for another name).
    fn place_foreign(
        &self,
        dirs: &crate::place::Dirs<'_>,
        ready: &mut Ready,
        uid: Uid,
        entry: Entry,
        flags: culver_snapshot::Flags,
    ) -> Result<Op> {
        let fail = |e| self.failure("storing a message", e);
        let tmp = dirs.tmp().map_err(fail)?;
        let name = self.place.settings.base(crate::filename::Sizes::default());
        let copy = |to: &culver_store::io::Dir<'_>| {
            let mut file = to.create_new(&name)?;
            crate::transfer::copy_file(&ready.staged.file, &mut file)?;
            if let Some(date) = ready.date {
                file.set_mtime(Timestamp { seconds: date.unix, nanoseconds: 0 })?;
            }
            file.sync()?;
            rename(to, &name, dirs.folder(entry.folder), &entry.name)
        };
        copy(&tmp).map_err(fail)?;
        Ok(arrive_op(uid, ready, entry, flags))
    }
}

fn arrive_op(uid: Uid, ready: &Ready, entry: Entry, flags: culver_snapshot::Flags) -> Op {
    let now = crate::clock::now().seconds;
    let record = Record {
        uid,
        flags,
        mod_seq: ModSeq::ZERO,
        internal_date: ready.date.unwrap_or(InternalDate::utc(now)),
        size: ready.staged.sizes.wire,
        save_date: now,
    };
    let state = if flags.keywords.0 == 0 { NameState::Current } else { NameState::Behind };
    Op::Arrive(record, entry, state)
}
