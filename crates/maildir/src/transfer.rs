//! COPY and MOVE within an account: hard links and renames, no bytes are read where the file system allows it.
//!
//! Everything gets a new base in the target: the same base may have been there before, and a base that comes back
//! would have to be told apart from its own remains in the uidlist. Sizes stay in the name; the old base becomes
//! the message's GUID in the uidlist (`G`), as Dovecot has it, so that it keeps its identity.
//!
//! **All or none.** A copy that fails in the middle is taken away again. A move renames each file (it is in one place
//! at any moment) and takes the renames back when a later one fails. The target hears of its messages before the
//! source hears that they are gone.

use crate::core::{Core, Result, keyword_ops};
use crate::dotlock::{Contention, Dotlock};
use crate::expunge::Elsewhere;
use crate::filename;
use crate::flush::rename;
use crate::list::ListNews;
use crate::model::{Entry, Folder, NameState, Op, base_of};
use crate::place::{Dirs, uidlist_lock};
use crate::sync::Attempt;
use crate::uidlist::LAST_UID;
use culver_base::{Flag, Keyword, SystemFlags, UidSet};
use culver_quota::Usage;
use culver_snapshot::Record;
use culver_store::io::{Dir, File, Fs};
use culver_store::{Refusal, Transfer, Transferred};
use std::io;

/// Octets copied at a time.
const CHUNK: usize = 256 << 10;

/// A message to be transferred: everything that is taken from the source.
struct Item {
    entry: Entry,
    /// Its size, if the name does not tell it.
    untold: Option<u64>,
    record: Record,
    flags: Vec<Flag>,
}

/// What was put in place, for taking it back.
struct Put {
    from: Entry,
    to: Entry,
    moved: bool,
}

/// Transfers between two mailboxes; `source` is `None` when it is the target itself.
pub fn transfer(
    fs: &Fs,
    mut source: Option<&mut Core>,
    target: &mut Core,
    uids: &UidSet,
    how: Transfer,
    contention: &mut Contention,
) -> Result<Attempt<Transferred>> {
    let to = target.dirs(fs)?;
    let from = match &mut source {
        Some(core) => core.dirs(fs)?,
        None => target.dirs(fs)?,
    };
    let (items, missing) = source.as_deref().unwrap_or(target).items(uids);
    let mut answer = Transferred {
        uid_validity: target.model.snapshot.uid_validity,
        source: Vec::new(),
        target: Vec::new(),
        missing,
    };
    // RFC 2180 §4.4: a copy is of all that was named or of nothing.
    if items.is_empty() || (how == Transfer::Copy && !answer.missing.is_empty()) {
        return Ok(Attempt::Done(answer));
    }
    let place = target.place.clone();
    let lock = match Dotlock::try_acquire(&to.control, &uidlist_lock(), &place.settings.locks, contention) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => return Ok(Attempt::Busy),
        Err(error) => Err(error),
    };
    if target.read_list(&to).map_err(|e| target.failure("reading dovecot-uidlist", e))? == ListNews::Foreign {
        target.leave();
        return Err(Refusal::MailboxGone.into());
    }
    target.take_in_listed(fs, &to, lock.as_ref().err())?;
    target.read_letters(&to).map_err(|e| target.failure("reading dovecot-keywords", e))?;

    let reserved = target.reserve(&to, items.len(), lock.as_ref().err());
    reserved.map_err(|e| target.failure("reserving UIDs", e))?;
    if how == Transfer::Move && lock.is_ok() {
        target.letters_first(&to, &items);
    }
    let mut batch = Batch { from: &from, to: &to, how, elsewhere: None, done: Vec::new() };
    let mut next = target.next_uid();
    let (mut added, mut ops, mut guids) = (Vec::new(), Vec::new(), Vec::new());
    let mut failure = None;
    for item in items {
        let Some(uid) = next.filter(|u| u.get() <= LAST_UID) else {
            failure = Some(Refusal::Limit("All UIDs of the target mailbox are used up".into()).into());
            break;
        };
        match batch.put(target, &item, &mut added) {
            Ok(Some((entry, flags))) => {
                let state = if flags.keywords.0 == 0 { NameState::Current } else { NameState::Behind };
                guids.push((uid, base_of(&item.entry.name).into()));
                answer.source.push(item.record.uid);
                answer.target.push(uid);
                let save_date = crate::clock::now().seconds;
                ops.push(Op::Arrive(Record { uid, flags, save_date, ..item.record }, entry, state));
                ops.extend(item.untold.map(|octets| Op::Stored(uid, octets)));
                next = uid.next();
            }
            Ok(None) => {
                answer.missing.add(item.record.uid);
                if how == Transfer::Copy {
                    batch.take_back();
                    return Ok(Attempt::Done(Transferred {
                        source: Vec::new(),
                        target: Vec::new(),
                        ..answer
                    }));
                }
            }
            Err(e) => {
                failure = Some(target.failure("copying a message", e));
                break;
            }
        }
    }
    if failure.is_none() {
        failure = batch.sync().err().map(|e| target.failure("syncing the mailbox's directory", e));
    }
    if let Some(failure) = failure {
        batch.take_back();
        return Err(failure);
    }
    target.list.guids.extend(guids);
    target.commit(keyword_ops(added).chain(ops).collect());
    target.settle_floor();
    match lock {
        Ok(lock) => {
            if target.list_wants_writing() {
                target.write_list(&to);
            }
            drop(lock);
        }
        Err(_) => target.list_is_behind(),
    }
    let uid_next = target.model.snapshot.uid_next;
    target.list.forget_below(uid_next);
    let came = target.usage_of(answer.target.iter().copied());
    if how == Transfer::Copy {
        target.tell_maildirsize(fs, came, Usage::default());
    } else if let Some(source) = source.as_deref() {
        // Nothing changes unless only one of the two is counted.
        let uncounted = &target.place.settings.uncounted;
        if uncounted.contains(&source.place.name) != uncounted.contains(&target.place.name) {
            target.tell_maildirsize(fs, came, Usage::default());
            source.tell_maildirsize(fs, Usage::default(), came);
        }
    }
    if how == Transfer::Move {
        let gone: UidSet = answer.source.iter().copied().collect();
        source.unwrap_or(target).commit(vec![Op::Expunge(gone)]);
    }
    Ok(Attempt::Done(answer))
}

impl Core {
    /// Letters for the keywords of what is to be moved: between its rename and the journal's word of it, the name alone
    /// tells its keywords.
    fn letters_first(&mut self, dirs: &Dirs<'_>, items: &[Item]) {
        let mut keywords: Vec<Keyword> = Vec::new();
        for flag in items.iter().flat_map(|i| &i.flags) {
            if let Flag::Keyword(k) = flag
                && !keywords.contains(k)
            {
                keywords.push(k.clone());
            }
        }
        let mut added = Vec::new();
        for k in &keywords {
            // Those that find no room are passed over.
            let _ = self.model.keyword_bit(k, &mut added);
        }
        self.commit(keyword_ops(added).collect());
        self.add_letters(dirs, &keywords);
    }

    fn items(&self, uids: &UidSet) -> (Vec<Item>, UidSet) {
        let names = self.model.names.read();
        let mut seen = UidSet::new();
        let mut items = Vec::new();
        for (_, record) in self.model.snapshot.select(uids) {
            let Some(entry) = names.get(record.uid) else { continue };
            seen.add(record.uid);
            let system = SystemFlags::NAMES.iter().filter(|(f, _)| record.flags.system.contains(*f));
            let mut flags: Vec<Flag> = system.map(|(f, _)| Flag::System(*f)).collect();
            flags.extend(self.model.snapshot.keywords.of(record.flags.keywords).cloned().map(Flag::Keyword));
            let untold = names.untold(record.uid);
            items.push(Item { entry: entry.clone(), untold, record: record.clone(), flags });
        }
        (items, uids.difference(&seen))
    }
}

struct Batch<'a, 'fs> {
    from: &'a Dirs<'fs>,
    to: &'a Dirs<'fs>,
    how: Transfer,
    elsewhere: Option<Elsewhere>,
    done: Vec<Put>,
}

impl Batch<'_, '_> {
    /// Puts one message into the target. `None`: its file is gone.
    fn put(
        &mut self,
        target: &Core,
        item: &Item,
        added: &mut Vec<Keyword>,
    ) -> io::Result<Option<(Entry, culver_snapshot::Flags)>> {
        let (flags, _) = target.bits_of(&item.flags, added);
        let mut sizes = filename::sizes(&item.entry.name);
        sizes.wire = sizes.wire.or(item.record.size);
        let base = target.place.settings.base(sizes);
        let plain = item.flags.is_empty();
        let (folder, name) =
            if plain { (Folder::New, base) } else { (Folder::Cur, target.name_for(&base, flags)) };
        let entry = Entry { name: name.into(), folder };
        let mut source = item.entry.clone();
        let mut put = self.put_file(&source, &entry);
        if matches!(&put, Err(e) if e.kind() == io::ErrorKind::NotFound) {
            let elsewhere = self.elsewhere.get_or_insert_with(|| Elsewhere::list_twice(self.from));
            match elsewhere.find(base_of(&source.name))? {
                Some(now) => source = now.clone(),
                None => return Ok(None),
            }
            put = self.put_file(&source, &entry);
            if matches!(&put, Err(e) if e.kind() == io::ErrorKind::NotFound) {
                return Ok(None);
            }
        }
        let moved = put?;
        self.done.push(Put { from: source, to: entry.clone(), moved });
        Ok(Some((entry, flags)))
    }

    /// `true`: the source's name is gone with it.
    fn put_file(&self, source: &Entry, target: &Entry) -> io::Result<bool> {
        let (from, to) = (self.from.folder(source.folder), self.to.folder(target.folder));
        let first = match self.how {
            Transfer::Move => rename(from, &source.name, to, &target.name),
            Transfer::Copy => from.link_to(&source.name, to, &target.name),
        };
        match first {
            Ok(()) => Ok(self.how == Transfer::Move),
            Err(e) if !can_be_copied(&e) => Err(e),
            Err(_) => {
                self.copy(from, &source.name, &target.name, to)?;
                if self.how == Transfer::Move {
                    from.unlink(&source.name)?;
                }
                // Taking it back would be another copy; the source of a move is kept until here.
                Ok(false)
            }
        }
    }

    fn copy(&self, from: &Dir<'_>, name: &[u8], new_name: &[u8], to: &Dir<'_>) -> io::Result<()> {
        let source = from.open_file(name)?;
        let tmp = self.to.tmp()?;
        let tmp_name = base_of(new_name);
        let mut file = tmp.create_new(tmp_name)?;
        let copied = copy_file(&source, &mut file)
            .and_then(|()| file.set_mtime(source.stat()?.mtime))
            .and_then(|()| file.sync())
            .and_then(|()| rename(&tmp, tmp_name, to, new_name));
        if copied.is_err() {
            drop(tmp.unlink(tmp_name));
        }
        copied
    }

    fn sync(&self) -> io::Result<()> {
        for folder in [Folder::New, Folder::Cur] {
            if self.done.iter().any(|p| p.to.folder == folder) {
                self.to.folder(folder).sync()?;
            }
        }
        Ok(())
    }

    fn take_back(&mut self) {
        for put in self.done.drain(..).rev() {
            let (from, to) = (self.from.folder(put.from.folder), self.to.folder(put.to.folder));
            if put.moved {
                drop(to.rename_to(&put.to.name, from, &put.from.name));
            } else if self.how == Transfer::Copy {
                drop(to.unlink(&put.to.name));
            }
        }
    }
}

/// Other file system, too many links, or a file system without links.
fn can_be_copied(e: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        e.kind(),
        K::CrossesDevices | K::TooManyLinks | K::PermissionDenied | K::Unsupported | K::InvalidInput
    )
}

/// All octets of one file behind those of another.
pub fn copy_file(from: &File, to: &mut File) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    loop {
        let n = from.read_at(&mut buffer, at)?;
        if n == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..n])?;
        at += n as u64;
    }
}
