//! Hearing of changes that other programs make: one inotify instance for the store, watches on `new` and `cur` of the
//! mailboxes that somebody looks at.
//!
//! # The problem
//!
//! A delivery must reach fifty waiting sessions in milliseconds, and in a mailbox of 100,000 messages, so nothing may be
//! listed. Events name files; from names alone we follow what happens. What makes it hard:
//!
//! * **Our own changes come back as events**, later. They are told apart by doing nothing special: an event is only a
//!   statement "this name appeared" or "this name went away". A name that we know as the message's present one has
//!   appeared already; a name that is not the present one may go away.
//! * **A rename is two events**, and so is a rename by link and unlink; between the two a message has two names or none.
//!   Two: the further one is remembered (`Core::extra_names`) in case the first goes. None, after "moved from": the
//!   other half is on its way, so the message waits in limbo for [`LIMBO`] before it counts as gone. None after
//!   "deleted": it is gone, since whoever links first has already been heard.
//! * **Events are older than the world.** A name that appeared may have gone again, so a name is looked at (`stat`) before it
//!   is believed; if it is not there, the event that says so is on its way, and if none comes: doubt.
//! * **Doubt means one scan** (`sync.rs`): after an overflow of the queue, or when a directory itself was moved.
//!
//! Between "watch added" and the first look nothing is lost: the watch comes first, and events about what the look has
//! seen already change nothing.
//!
//! # When nobody listens
//!
//! Watches stay for a while after the last session has left. Who comes back within that time need not look at the disk
//! (`MaildirMailbox::refresh`) if all of this holds:
//!
//! * the queue was read to its end after he came, and everything read was applied. What was read and applied only in part,
//!   since the session that did it was dropped, is remembered (`Core::unfinished`);
//! * it is still the same mailbox: the mailbox's own directory is watched for being moved or removed, and the one that
//!   `dovecot-uidlist` lies in for another file of that name. Directories above are not watched, so this is believed for
//!   [`IDENTITY`] only, and never for mailboxes that lie in others, since renaming the outer one is an everyday thing.

use crate::core::{Core, Result, keyword_ops};
use crate::filename::{self, Kind};
use crate::mailbox::MaildirMailbox;
use crate::model::{Entry, Folder, Op, Stamp, base_of};
use crate::place::Dirs;
use crate::sync::Unknown;
use crate::uidlist;
use culver_base::{Uid, UidSet};
use culver_store::io::Fs;
use culver_store::io::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use std::io;
use std::mem::MaybeUninit;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How long the second half of a rename may be under way.
pub const LIMBO: Duration = Duration::from_millis(10);
/// After events were read, others gather for so long. Each of our own renames is an event, and the thread would be woken
/// for each.
const GATHER: Duration = Duration::from_micros(500);
/// How long after a look a mailbox is believed to be still the same one, if nothing else is heard.
pub const IDENTITY: Duration = Duration::from_secs(10);
/// Events of one read.
const BUFFER: usize = 64 << 10;

/// What happened to a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// It is there now.
    Appeared,
    /// It was renamed to something else.
    MovedAway,
    /// It was removed.
    Deleted,
}

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// In which directory.
    pub folder: Folder,
    /// What.
    pub what: What,
    /// The name.
    pub name: Box<[u8]>,
}

/// Events of one mailbox that wait to be applied.
#[derive(Default, Debug)]
pub struct Pending {
    /// In order.
    pub events: Vec<Event>,
    /// Something was lost, or a directory itself changed.
    pub doubt: bool,
}

impl Pending {
    /// Nothing waits?
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && !self.doubt
    }
}

/// One inotify instance. Made when the first mailbox is watched.
#[derive(Default)]
pub struct Watcher {
    instance: Mutex<Option<Arc<Instance>>>,
}

struct Instance {
    fd: Arc<OwnedFd>,
    /// Ends the thread that listens.
    end: Arc<OwnedFd>,
    /// Mailboxes by watch descriptor: several if accounts share a tree, or while one object takes another's place. Held
    /// while a watch is added, so that no event comes before its mailbox is known.
    targets: Mutex<FxHashMap<i32, Vec<Target>>>,
    /// Where events are read to. Held meanwhile, so that they reach mailboxes in their order.
    reading: Mutex<Box<[MaybeUninit<u8>]>>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.end, &1u64.to_ne_bytes());
    }
}

/// What one event tells: its watch, and what happened to which name (`None`: to the directory itself).
type News = (i32, Option<(What, Box<[u8]>)>);
/// What reading the queue gave.
pub struct Pumped {
    /// Mailboxes that have something to apply.
    pub mailboxes: Vec<Arc<MaildirMailbox>>,
    /// Was the queue read to its end?
    pub drained: bool,
}

/// A name in a directory.
type Named = (Folder, Box<[u8]>);

struct Target {
    mailbox: Weak<MaildirMailbox>,
    watched: Watched,
}

/// What is watched.
#[derive(Clone, Copy)]
enum Watched {
    /// Messages.
    Folder(Folder),
    /// The mailbox's own directory, or that of `dovecot-uidlist`.
    Around,
}

/// The watches of one mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watches {
    new: i32,
    cur: i32,
    mailbox: i32,
    control: i32,
}

impl Watches {
    /// Those that `other` does not have; -1 stands for none.
    pub fn without(self, other: Self) -> Self {
        let less = |wd| if other.all().contains(&wd) { -1 } else { wd };
        Self {
            new: less(self.new),
            cur: less(self.cur),
            mailbox: less(self.mailbox),
            control: less(self.control),
        }
    }

    fn all(self) -> [i32; 4] {
        [self.new, self.cur, self.mailbox, self.control]
    }
}

impl Watcher {
    /// The instance; made, with the thread that listens, on the first call.
    fn instance(&self) -> io::Result<Arc<Instance>> {
        let mut slot = self.instance.lock();
        if let Some(instance) = &*slot {
            return Ok(instance.clone());
        }
        let fd = Arc::new(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?);
        let end = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let instance = Arc::new(Instance {
            fd: fd.clone(),
            end: end.clone(),
            targets: Mutex::default(),
            reading: Mutex::new(vec![MaybeUninit::uninit(); BUFFER].into()),
        });
        let listening = Arc::downgrade(&instance);
        std::thread::Builder::new().name("watch".to_owned()).spawn(move || listen(&fd, &end, &listening))?;
        *slot = Some(instance.clone());
        Ok(instance)
    }

    /// Begins to watch. Not in a job of an owner: the thread that listens would keep that identity.
    pub fn prepare(&self) -> io::Result<Preparation> {
        self.instance().map(Preparation)
    }

    /// Reads what has happened until now. Never waits.
    pub fn pump(&self) -> Pumped {
        let instance = self.instance.lock().clone();
        instance.map_or_else(|| Pumped { mailboxes: Vec::new(), drained: false }, |i| i.pump())
    }

    /// Ends watches, unless another object for the same directory has them as well.
    pub fn forget(&self, watches: Watches, mailbox: &Weak<MaildirMailbox>) {
        let Some(instance) = self.instance.lock().clone() else { return };
        let mut targets = instance.targets.lock();
        for wd in watches.all() {
            let Some(of) = targets.get_mut(&wd) else { continue };
            of.retain(|t| !t.mailbox.ptr_eq(mailbox));
            if of.is_empty() {
                targets.remove(&wd);
                // It fails when the directory is gone, and the watch with it.
                let _ = inotify::remove_watch(instance.fd.as_fd(), wd);
            }
        }
    }
}

/// A thread of its own and not the runtime, which wakes for each event, and so for each file that we rename.
fn listen(fd: &OwnedFd, end: &OwnedFd, instance: &Weak<Instance>) {
    loop {
        let mut both = [PollFd::new(fd, PollFlags::IN), PollFd::new(end, PollFlags::IN)];
        match poll(&mut both, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => (),
            Err(error) => {
                tracing::error!(%error, "changes of other programs are not heard of any more");
                return;
            }
        }
        let Some(instance) = instance.upgrade() else { return };
        for mailbox in instance.pump().mailboxes {
            mailbox.apply_soon();
        }
        drop(instance);
        std::thread::sleep(GATHER);
    }
}

/// An instance ready to take watches.
pub struct Preparation(Arc<Instance>);

impl Preparation {
    /// Adds the watches of a mailbox.
    pub fn add(&self, dirs: &Dirs<'_>, mailbox: &Weak<MaildirMailbox>) -> io::Result<Watches> {
        let around =
            WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        let messages = around | WatchFlags::CREATE | WatchFlags::MOVED_FROM | WatchFlags::DELETE;
        let mut targets = self.0.targets.lock();
        let mut add = |dir: &culver_store::io::Dir<'_>, watched| {
            let flags = if matches!(watched, Watched::Around) { around } else { messages };
            let wd = dir.watch(self.0.fd.as_fd(), flags)?;
            let of = targets.entry(wd).or_default();
            of.retain(|t| !t.mailbox.ptr_eq(mailbox));
            of.push(Target { mailbox: mailbox.clone(), watched });
            Ok::<_, io::Error>(wd)
        };
        Ok(Watches {
            mailbox: add(&dirs.mailbox, Watched::Around)?,
            control: add(&dirs.control, Watched::Around)?,
            new: add(&dirs.new, Watched::Folder(Folder::New))?,
            cur: add(&dirs.cur, Watched::Folder(Folder::Cur))?,
        })
    }
}

impl Instance {
    fn pump(&self) -> Pumped {
        let mut buffer = self.reading.lock();
        let mut reader = Reader::new(self.fd.as_fd(), &mut buffer);
        let mut news: Vec<News> = Vec::new();
        let mut overflow = false;
        let drained = loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => break error == rustix::io::Errno::AGAIN,
            };
            let kind = event.events();
            let what = if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
                overflow = true;
                continue;
            } else if kind.intersects(
                ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF | ReadFlags::IGNORED | ReadFlags::UNMOUNT,
            ) {
                news.push((event.wd(), None));
                continue;
            } else if kind.contains(ReadFlags::ISDIR) {
                continue;
            } else if kind.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
                What::Appeared
            } else if kind.contains(ReadFlags::MOVED_FROM) {
                What::MovedAway
            } else {
                What::Deleted
            };
            if let Some(name) = event.file_name() {
                news.push((event.wd(), Some((what, name.to_bytes().into()))));
            }
        };
        Pumped { mailboxes: self.hand_out(news, overflow), drained }
    }

    /// Puts events into the queues of their mailboxes.
    fn hand_out(&self, news: Vec<News>, overflow: bool) -> Vec<Arc<MaildirMailbox>> {
        // Outlives the lock: the last one who has a mailbox ends its watches.
        let mut held: FxHashMap<i32, Vec<(Watched, Arc<MaildirMailbox>)>> = FxHashMap::default();
        let targets = self.targets.lock();
        let mut out: Vec<Arc<MaildirMailbox>> = Vec::new();
        let mut tell = |mailbox: &Arc<MaildirMailbox>| {
            if !out.iter().any(|m| Arc::ptr_eq(m, mailbox)) {
                out.push(mailbox.clone());
            }
        };
        if overflow {
            tracing::info!(
                "more changes came than the kernel keeps; watched mailboxes are scanned (fs.inotify.max_queued_events can be raised)"
            );
            for mailbox in targets.values().flatten().filter_map(|t| t.mailbox.upgrade()) {
                mailbox.pending().lock().doubt = true;
                mailbox.list_replaced();
                tell(&mailbox);
            }
        }
        for (wd, event) in news {
            let of = held.entry(wd).or_insert_with(|| {
                let of = targets.get(&wd).into_iter().flatten();
                of.filter_map(|t| Some((t.watched, t.mailbox.upgrade()?))).collect()
            });
            for (watched, mailbox) in of {
                match (watched, &event) {
                    (Watched::Folder(folder), Some((what, name))) => {
                        let event = Event { folder: *folder, what: *what, name: name.clone() };
                        mailbox.pending().lock().events.push(event);
                    }
                    (Watched::Around, Some((_, name))) => {
                        if **name == *uidlist::NAME {
                            mailbox.list_replaced();
                        }
                        continue;
                    }
                    (_, None) => mailbox.pending().lock().doubt = true,
                }
                tell(mailbox);
            }
        }
        drop(targets);
        out
    }
}

/// What remains to be done after events were applied.
#[derive(Default)]
pub struct Applied {
    /// Files that need UIDs.
    pub unknown: Unknown,
    /// Messages have no name for now: come back after [`LIMBO`].
    pub limbo: bool,
}

/// One message while a batch of events is followed.
struct Live {
    /// Is the name that we know still there?
    present: bool,
    /// Further names.
    extra: Vec<Entry>,
    /// Did its last name go by being removed?
    deleted: bool,
}

impl Core {
    /// Follows events, in their order.
    pub fn apply_events(&mut self, fs: &Fs, events: Vec<Event>) -> Result<Applied> {
        let dirs = self.dirs(fs)?;
        self.read_letters(&dirs).map_err(|e| self.failure("reading dovecot-keywords", e))?;
        let mut live: FxHashMap<Uid, Live> = FxHashMap::default();
        let mut fresh: FxHashMap<Box<[u8]>, FxHashSet<Named>> = FxHashMap::default();
        {
            let mut names = self.model.names.write();
            names.index();
            for uid in self.limbo.keys() {
                live.insert(*uid, Live { present: false, extra: Vec::new(), deleted: false });
            }
            for event in events {
                match filename::kind(&event.name) {
                    Kind::Message => (),
                    Kind::WithoutBase => {
                        self.doubt = true;
                        continue;
                    }
                    _ => continue,
                }
                let Some(uid) = names.uid_of(base_of(&event.name)) else {
                    let base: Box<[u8]> = base_of(&event.name).into();
                    let known = fresh.entry(base).or_default();
                    match event.what {
                        What::Appeared => known.insert((event.folder, event.name)),
                        _ => known.remove(&(event.folder, event.name)),
                    };
                    continue;
                };
                // `uid_of` has just found it.
                let Some(known) = names.get(uid) else { continue };
                let extra = &mut self.extra_names;
                let one = live.entry(uid).or_insert_with(|| Live {
                    present: true,
                    extra: extra.remove(&uid).unwrap_or_default(),
                    deleted: false,
                });
                let entry = Entry { name: event.name, folder: event.folder };
                match event.what {
                    What::Appeared if entry == *known => one.present = true,
                    What::Appeared => {
                        one.extra.retain(|e| *e != entry);
                        one.extra.push(entry);
                    }
                    What::MovedAway | What::Deleted => {
                        if entry == *known {
                            one.present = false;
                        } else {
                            one.extra.retain(|e| *e != entry);
                        }
                        one.deleted = event.what == What::Deleted;
                    }
                }
            }
        }
        self.settle_live(&dirs, live);
        let mut applied = Applied { unknown: Unknown::new(), limbo: !self.limbo.is_empty() };
        for (_, names) in fresh {
            let mut here = Unknown::new();
            for (folder, name) in names {
                self.look_at(&dirs, Entry { name, folder }, &mut here);
            }
            // A new message with two names: a scan knows what to do.
            self.doubt |= here.len() > 1;
            applied.unknown.extend(here.into_iter().next());
        }
        self.unfinished |= !applied.unknown.is_empty();
        Ok(applied)
    }

    fn settle_live(&mut self, dirs: &Dirs<'_>, live: FxHashMap<Uid, Live>) {
        let (mut added, mut ops, mut gone) = (Vec::new(), Vec::new(), UidSet::new());
        for (uid, mut one) in live {
            if one.present {
                self.limbo.remove(&uid);
                if !one.extra.is_empty() {
                    self.extra_names.insert(uid, one.extra);
                }
                continue;
            }
            let mut unsure = false;
            let found = loop {
                let Some(entry) = one.extra.pop() else { break None };
                match dirs.folder(entry.folder).stat(&entry.name) {
                    Ok(_) => break Some(entry),
                    // Gone again; the event that says so is on its way, and maybe one that says where to.
                    Err(e) => {
                        unsure |= e.kind() != io::ErrorKind::NotFound;
                        one.deleted = false;
                    }
                }
            };
            match found {
                None if unsure => self.doubt = true,
                Some(entry) => {
                    self.renamed = true;
                    self.limbo.remove(&uid);
                    self.moved(uid, entry, &mut added, &mut ops);
                    if !one.extra.is_empty() {
                        self.extra_names.insert(uid, one.extra);
                    }
                }
                None if one.deleted => gone.add(uid),
                None => {
                    let since = *self.limbo.entry(uid).or_insert_with(Instant::now);
                    if since.elapsed() >= LIMBO {
                        gone.add(uid);
                    }
                }
            }
        }
        for uid in gone.uids() {
            self.limbo.remove(&uid);
            self.extra_names.remove(&uid);
        }
        if !gone.is_empty() {
            ops.push(Op::Expunge(gone));
        }
        self.commit(keyword_ops(added).chain(ops).collect());
    }

    /// What the directories look like, if nothing is known to be unsettled. If then no event waits that is older than
    /// this look, [`Self::note_quiet`] may believe it.
    pub fn quiet_stamps(&mut self, fs: &Fs) -> Option<(Stamp, Stamp)> {
        if !self.watched || self.needs_care() {
            return None;
        }
        let dirs = self.dirs(fs).ok()?;
        let (new, cur) = (dirs.new.stat_self().ok()?, dirs.cur.stat_self().ok()?);
        let (new, cur) = (crate::core::stamp(&new), crate::core::stamp(&cur));
        // An event is queued a moment after its change: times that are not settled prove nothing.
        (new.settled && cur.settled).then_some((new, cur))
    }

    /// Every change up to these stamps was applied: the next opening need not list the directories.
    pub fn note_quiet(&mut self, new: Stamp, cur: Stamp) {
        let mut stamps = self.model.stamps;
        let same = |a: &Stamp, b: &Stamp| a.settled && a.matches(b);
        if self.watched && !self.needs_care() && !(same(&stamps.new, &new) && same(&stamps.cur, &cur)) {
            (stamps.new, stamps.cur) = (new, cur);
            self.commit(vec![Op::Stamps(stamps)]);
        }
    }
}
