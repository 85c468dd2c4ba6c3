//! A simulated disk for power losses: beside the real tree a record of what is on disk for sure, so that at a loss the
//! tree can be put back to a state that a journalling file system could show after it.
//!
//! # The model
//!
//! * **Octets** of a file are on disk after fsync or fdatasync of *that file*. Of what was written since, any prefix
//!   survives, the last piece torn at any octet; or the length survives and the octets are zeros (delayed allocation).
//!   The file's times go with fsync (not fdatasync) of it, and with fsync of a directory that holds its name.
//! * **Names** (create, link, rename, unlink, mkdir, rmdir) take effect whole or not at all, and in order within each
//!   directory: a prefix of what was done there survives. A rename between two directories is one step in both.
//!   fsync of a *directory* makes all steps in it so far lasting, and with them what they follow from in other directories.
//! * [`Order::Posix`]: nothing else is promised. In particular fsync of a file says nothing about its name, and fsync of
//!   a directory nothing about the name of the directory itself. No journalling file system is as lax as this.
//! * [`Order::Journal`]: one journal for the whole file system (ext4, xfs): names survive as a prefix of everything that
//!   was done anywhere, and any fsync makes everything before it lasting, times included (octets of other files excepted).
//!
//! Inodes survive with their numbers and times, as on a real disk: an inode that lost its last name is kept aside until
//! it can no longer come back.
//!
//! Whatever other programs do goes through [`Disk`] too (`outside.rs`), else the record would not know it.

use super::dice::Dice;
use super::outside;
use culver_store::io::{Calls, EntryKind, Resolve, Stat, System, Timestamp};
use parking_lot::Mutex;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, SeekFrom, Timespec, Timestamps};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    Posix,
    Journal,
}

type Id = u64;
type Name = Vec<u8>;
type Tree = BTreeMap<Id, BTreeMap<Name, Id>>;

/// A change of a file since it was synced.
enum Piece {
    Write(u64, Vec<u8>),
    Cut(u64),
}

#[derive(Default)]
struct FileRecord {
    /// On disk for sure.
    octets: Vec<u8>,
    mtime: Timestamp,
    since: Vec<Piece>,
}

/// A step with names.
struct Step {
    what: What,
    /// Directories that it changes, with their mtime after it.
    dirs: Vec<(Id, Timestamp)>,
    lasting: bool,
}

enum What {
    Add(Id, Name, Id),
    Remove(Id, Name),
    Move(Id, Name, Id, Name),
}

#[derive(Default)]
struct Record {
    next: Id,
    by_inode: HashMap<(u64, u64), Id>,
    files: HashMap<Id, FileRecord>,
    dirs: BTreeSet<Id>,
    dir_mtime: HashMap<Id, Timestamp>,
    /// Names that are on disk for sure.
    tree: Tree,
    steps: Vec<Step>,
    buried: BTreeSet<Id>,
}

/// See the head of the file.
pub struct Disk {
    system: System,
    order: Order,
    root: PathBuf,
    grave: PathBuf,
    record: Mutex<Record>,
}

fn mtime(stat: &Stat) -> Timestamp {
    stat.mtime
}

/// What may fail, since what it is to achieve may be so already.
fn tolerate<T, E>(_: Result<T, E>) {}

fn name_of(id: Id) -> Vec<u8> {
    format!("{id}").into_bytes()
}

impl Record {
    fn id(&mut self, stat: &Stat) -> Id {
        let next = &mut self.next;
        let id = *self.by_inode.entry((stat.dev, stat.ino)).or_insert_with(|| {
            *next += 1;
            *next
        });
        if stat.kind == EntryKind::Directory {
            self.dirs.insert(id);
        }
        id
    }
}

fn apply(tree: &mut Tree, what: &What) {
    match what {
        What::Add(dir, name, id) => {
            tree.entry(*dir).or_default().insert(name.clone(), *id);
        }
        What::Remove(dir, name) => {
            tree.entry(*dir).or_default().remove(name);
        }
        What::Move(from, old, to, new) => {
            if let Some(id) = tree.entry(*from).or_default().remove(old) {
                tree.entry(*to).or_default().insert(new.clone(), id);
            }
        }
    }
}

/// What a loss did, for the counts.
#[derive(Clone, Copy, Default, Debug)]
pub struct Lost {
    pub names: usize,
    pub files_cut: usize,
    pub files_zeroed: usize,
}

impl Disk {
    /// Takes `root` as it is now for being on disk. `grave` is an empty folder on the same file system.
    pub fn new(root: PathBuf, grave: PathBuf, order: Order) -> Self {
        let disk = Self { system: System::new(), order, root, grave, record: Mutex::default() };
        disk.record.lock().next = 1;
        disk.learn();
        disk
    }

    /// Everything that is there is on disk.
    fn learn(&self) {
        let mut record = self.record.lock();
        let record = &mut *record;
        record.tree.clear();
        record.steps.clear();
        record.files.clear();
        let root = open_dir(&self.root);
        let stat = self.system.stat(root.as_fd()).unwrap();
        let id = record.id(&stat);
        record.dir_mtime.insert(id, stat.mtime);
        self.learn_below(record, id, root);
    }

    fn learn_below(&self, record: &mut Record, dir: Id, fd: OwnedFd) {
        record.tree.entry(dir).or_default();
        for entry in self.system.read_dir(fd.as_fd()).unwrap().iter() {
            let stat = self.system.stat_at(fd.as_fd(), entry.name).unwrap();
            let id = record.id(&stat);
            record.tree.entry(dir).or_default().insert(entry.name.to_vec(), id);
            if stat.kind == EntryKind::Directory {
                record.dir_mtime.insert(id, stat.mtime);
                let below = open_below(fd.as_fd(), entry.name, OFlags::RDONLY | OFlags::DIRECTORY);
                self.learn_below(record, id, below);
            } else {
                let file = open_below(fd.as_fd(), entry.name, OFlags::RDONLY);
                let octets = self.read_all(file.as_fd());
                record.files.insert(id, FileRecord { octets, mtime: stat.mtime, since: Vec::new() });
            }
        }
    }

    fn read_all(&self, fd: BorrowedFd<'_>) -> Vec<u8> {
        // The descriptor itself may be one for writing.
        std::fs::read(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap()
    }

    fn step(&self, record: &mut Record, what: What, dirs: &[(Id, BorrowedFd<'_>)]) {
        let mut all: Vec<(Id, Timestamp)> = Vec::new();
        for (id, fd) in dirs {
            if all.iter().all(|(i, _)| i != id) {
                all.push((*id, self.system.stat(*fd).map(|s| s.mtime).unwrap_or_default()));
            }
        }
        record.steps.push(Step { what, dirs: all, lasting: false });
    }

    fn dir_id(&self, record: &mut Record, fd: BorrowedFd<'_>) -> io::Result<Id> {
        Ok(record.id(&self.system.stat(fd)?))
    }

    /// Before a name goes: keeps the inode if it is the last one.
    fn bury(&self, record: &mut Record, dir: BorrowedFd<'_>, name: &[u8]) -> Option<Id> {
        let stat = self.system.stat_at(dir, name).ok()?;
        if stat.kind != EntryKind::File || stat.links != 1 {
            return None;
        }
        let id = record.id(&stat);
        let grave = open_dir(&self.grave);
        rustix::fs::linkat(dir, name, &grave, name_of(id).as_slice(), AtFlags::empty()).ok()?;
        record.buried.insert(id);
        Some(id)
    }

    fn dig_up(&self, record: &mut Record, id: Option<Id>) {
        let Some(id) = id else { return };
        tolerate(rustix::fs::unlinkat(open_dir(&self.grave), name_of(id).as_slice(), AtFlags::empty()));
        record.buried.remove(&id);
    }

    fn wrote(&self, fd: BorrowedFd<'_>, piece: Piece) {
        let Ok(stat) = self.system.stat(fd) else { return };
        let mut record = self.record.lock();
        let Some(id) = record.by_inode.get(&(stat.dev, stat.ino)).copied() else { return };
        if let Some(file) = record.files.get_mut(&id) {
            file.since.push(piece);
        }
    }

    fn synced(&self, fd: BorrowedFd<'_>, times: bool) {
        let Ok(stat) = self.system.stat(fd) else { return };
        let mut record = self.record.lock();
        let record = &mut *record;
        let Some(id) = record.by_inode.get(&(stat.dev, stat.ino)).copied() else { return };
        if stat.kind == EntryKind::File {
            let octets = self.read_all(fd);
            if let Some(file) = record.files.get_mut(&id) {
                file.octets = octets;
                file.since.clear();
                if times || self.order == Order::Journal {
                    file.mtime = stat.mtime;
                }
            }
        }
        match self.order {
            Order::Journal => {
                record.steps.iter_mut().for_each(|s| s.lasting = true);
                self.times_are_lasting(record);
            }
            Order::Posix if stat.kind == EntryKind::Directory => {
                // What the steps in this directory follow from lasts with them.
                let mut dirs = BTreeSet::from([id]);
                for step in record.steps.iter_mut().rev() {
                    if step.dirs.iter().any(|(d, _)| dirs.contains(d)) {
                        step.lasting = true;
                        dirs.extend(step.dirs.iter().map(|(d, _)| *d));
                    }
                }
                self.times_in_are_lasting(record, fd);
            }
            Order::Posix => (),
        }
        // Steps that last have no step before them in their directories that does not.
        let steps = std::mem::take(&mut record.steps);
        for step in steps {
            if step.lasting {
                apply(&mut record.tree, &step.what);
                record.dir_mtime.extend(step.dirs.iter().copied());
            } else {
                record.steps.push(step);
            }
        }
        self.forget_graves(record);
    }

    fn times_in_are_lasting(&self, record: &mut Record, dir: BorrowedFd<'_>) {
        let Ok(own) = self.system.open(Some(dir), b".", OFlags::RDONLY, 0, Resolve::Beneath) else { return };
        for entry in self.system.read_dir(own.as_fd()).unwrap().iter() {
            if let Ok(stat) = self.system.stat_at(dir, entry.name)
                && let Some(id) = record.by_inode.get(&(stat.dev, stat.ino))
                && let Some(file) = record.files.get_mut(id).filter(|f| f.since.is_empty())
            {
                file.mtime = stat.mtime;
            }
        }
    }

    /// Times of files that have their octets on disk.
    fn times_are_lasting(&self, record: &mut Record) {
        let places = self.places(record);
        for (id, (dir, name)) in places {
            if let Some(file) = record.files.get_mut(&id).filter(|f| f.since.is_empty())
                && let Ok(stat) = self.system.stat_at(dir.as_fd(), &name)
            {
                file.mtime = stat.mtime;
            }
        }
    }

    /// Everything in `mail` was made older past the record: so is what is on disk for sure. (Not the same as what is there now: a
    /// name that a loss takes or brings back changes its directory's time with it.)
    pub fn has_aged(&self, mail: &Path) {
        let mut record = self.record.lock();
        let record = &mut *record;
        let by = outside::AGE.as_secs() as i64;
        let mut todo = vec![open_dir(mail)];
        while let Some(fd) = todo.pop() {
            for entry in self.system.read_dir(fd.as_fd()).unwrap().iter() {
                if entry.kind == EntryKind::Directory {
                    todo.push(open_below(fd.as_fd(), entry.name, OFlags::RDONLY | OFlags::DIRECTORY));
                } else if outside::ages(entry.name)
                    && let Ok(stat) = self.system.stat_at(fd.as_fd(), entry.name)
                {
                    let id = record.id(&stat);
                    record.files.entry(id).and_modify(|f| f.mtime.seconds -= by);
                }
            }
            let id = record.id(&self.system.stat(fd.as_fd()).unwrap());
            record.dir_mtime.entry(id).and_modify(|t| t.seconds -= by);
            let steps = record.steps.iter_mut().flat_map(|s| &mut s.dirs);
            steps.filter(|(d, _)| *d == id).for_each(|(_, t)| t.seconds -= by);
        }
    }

    /// Inodes that no state can bring back.
    fn forget_graves(&self, record: &mut Record) {
        if record.buried.is_empty() {
            return;
        }
        let mut can_come: BTreeSet<Id> = record.tree.values().flat_map(|d| d.values().copied()).collect();
        for step in &record.steps {
            if let What::Add(_, _, id) = step.what {
                can_come.insert(id);
            }
        }
        let gone: Vec<Id> = record.buried.iter().filter(|id| !can_come.contains(id)).copied().collect();
        let grave = open_dir(&self.grave);
        for id in gone {
            tolerate(rustix::fs::unlinkat(&grave, name_of(id).as_slice(), AtFlags::empty()));
            record.buried.remove(&id);
            record.files.remove(&id);
            record.by_inode.retain(|_, i| *i != id);
        }
    }

    /// Open directories by id, as the tree is now.
    fn open_dirs(&self, record: &mut Record) -> HashMap<Id, OwnedFd> {
        let mut out = HashMap::new();
        let mut todo = vec![open_dir(&self.root)];
        while let Some(fd) = todo.pop() {
            for entry in self.system.read_dir(fd.as_fd()).unwrap().iter() {
                if entry.kind == EntryKind::Directory {
                    todo.push(open_below(fd.as_fd(), entry.name, OFlags::RDONLY | OFlags::DIRECTORY));
                }
            }
            let id = record.id(&self.system.stat(fd.as_fd()).unwrap());
            // Read to its end: for later readers it must be at the start.
            tolerate(rustix::fs::seek(&fd, SeekFrom::Start(0)));
            out.insert(id, fd);
        }
        out
    }

    /// One name of each file that has one.
    fn places(&self, record: &mut Record) -> Vec<(Id, (std::rc::Rc<OwnedFd>, Name))> {
        let mut out = Vec::new();
        for (_, fd) in self.open_dirs(record) {
            let fd = std::rc::Rc::new(fd);
            for entry in self.system.read_dir(fd.as_fd()).unwrap().iter() {
                if entry.kind == EntryKind::File
                    && let Ok(stat) = self.system.stat_at(fd.as_fd(), entry.name)
                {
                    out.push((record.id(&stat), (fd.clone(), entry.name.to_vec())));
                }
            }
        }
        out
    }

    // ---- the loss --------------------------------------------------------------------------------------------------

    /// The power goes. Nobody may be using the tree any more.
    pub fn lose_power(&self, dice: &mut Dice) -> Lost {
        let mut record = self.record.lock();
        let record = &mut *record;
        let mut lost = Lost::default();
        let now = self.now(record);
        let (last, mtimes) = self.surviving(record, dice, &mut lost);
        let fds = self.place(record, &now, &last);
        self.spoil(record, &fds, &last, dice, &mut lost);
        for (id, time) in mtimes {
            if let Some(fd) = fds.get(&id) {
                tolerate(rustix::fs::futimens(fd, &only_mtime(time)));
            }
        }
        let grave = open_dir(&self.grave);
        for entry in self.system.read_dir(grave.as_fd()).unwrap().iter() {
            remove_all(grave.as_fd(), entry.name);
        }
        *record = Record { next: record.next, ..Record::default() };
        lost
    }

    /// To be called after [`Self::lose_power`], and after the driver changed something by itself.
    pub fn take_as_it_is(&self) {
        self.learn();
    }

    fn now(&self, record: &mut Record) -> Tree {
        let mut tree = record.tree.clone();
        for step in &record.steps {
            apply(&mut tree, &step.what);
        }
        tree
    }

    fn surviving(&self, record: &Record, dice: &mut Dice, lost: &mut Lost) -> (Tree, HashMap<Id, Timestamp>) {
        let mut tree = record.tree.clone();
        let mut times = record.dir_mtime.clone();
        let mut cut: BTreeSet<Id> = BTreeSet::new();
        let mut all_cut = false;
        // Now and then everything survives, or nothing.
        let chance = *dice.pick(&[1, 2, 4, 16, usize::MAX]);
        for step in &record.steps {
            let here = all_cut || step.dirs.iter().any(|(d, _)| cut.contains(d));
            if here || (chance != usize::MAX && dice.once_in(chance)) {
                cut.extend(step.dirs.iter().map(|(d, _)| *d));
                all_cut |= self.order == Order::Journal;
                lost.names += 1;
            } else {
                apply(&mut tree, &step.what);
                times.extend(step.dirs.iter().copied());
            }
        }
        (tree, times)
    }

    /// Makes the names as they are to be. Gives back the open directories.
    fn place(&self, record: &mut Record, now: &Tree, last: &Tree) -> HashMap<Id, OwnedFd> {
        let mut fds = self.open_dirs(record);
        let grave = open_dir(&self.grave);
        let root = self.root_id(record);
        let reached = reachable(last, &record.dirs, root);
        let empty = BTreeMap::new();
        // Out of the way what is elsewhere or nowhere.
        for (dir, names) in now {
            let Some(fd) = fds.get(dir) else { continue };
            for (name, id) in names {
                let stays = reached.contains(dir) && last.get(dir).unwrap_or(&empty).get(name) == Some(id);
                if stays {
                    continue;
                }
                let kept = name_of(*id);
                let flags = RenameFlags::NOREPLACE;
                if rustix::fs::renameat_with(fd, name.as_slice(), &grave, kept.as_slice(), flags).is_err() {
                    tolerate(rustix::fs::unlinkat(fd, name.as_slice(), AtFlags::empty()));
                }
            }
        }
        // A directory that was removed and comes back.
        for dir in &reached {
            if !fds.contains_key(dir) {
                let name = name_of(*dir);
                tolerate(rustix::fs::mkdirat(&grave, name.as_slice(), Mode::from_raw_mode(0o700)));
                fds.insert(*dir, open_below(grave.as_fd(), &name, OFlags::RDONLY | OFlags::DIRECTORY));
            }
        }
        let mut at: HashMap<Id, (Id, Name)> = HashMap::new();
        for dir in &reached {
            for (name, id) in last.get(dir).unwrap_or(&empty) {
                if now.get(dir).is_some_and(|n| n.get(name) == Some(id)) {
                    at.insert(*id, (*dir, name.clone()));
                }
            }
        }
        for dir in &reached {
            for (name, id) in last.get(dir).unwrap_or(&empty) {
                if now.get(dir).is_some_and(|n| n.get(name) == Some(id)) && fds.contains_key(dir) {
                    let fd = &fds[dir];
                    if rustix::fs::statat(fd, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW).is_ok() {
                        continue;
                    }
                }
                let (to, kept) = (&fds[dir], name_of(*id));
                if record.dirs.contains(id) {
                    rustix::fs::renameat(&grave, kept.as_slice(), to, name.as_slice())
                        .unwrap_or_else(|e| panic!("directory {id} is not to be had: {e}"));
                    continue;
                }
                let done = match at.get(id) {
                    Some((d, n)) => {
                        rustix::fs::linkat(&fds[d], n.as_slice(), to, name.as_slice(), AtFlags::empty())
                    }
                    None => {
                        rustix::fs::linkat(&grave, kept.as_slice(), to, name.as_slice(), AtFlags::empty())
                    }
                };
                done.unwrap_or_else(|e| {
                    panic!("file {id} is not to be had for {}: {e}", String::from_utf8_lossy(name))
                });
                at.insert(*id, (*dir, name.clone()));
            }
        }
        fds
    }

    fn root_id(&self, record: &mut Record) -> Id {
        record.id(&self.system.stat(open_dir(&self.root).as_fd()).unwrap())
    }

    /// Takes away octets that were not synced.
    fn spoil(
        &self,
        record: &mut Record,
        fds: &HashMap<Id, OwnedFd>,
        last: &Tree,
        dice: &mut Dice,
        lost: &mut Lost,
    ) {
        let mut seen = BTreeSet::new();
        for (dir, names) in last {
            let Some(fd) = fds.get(dir) else { continue };
            for (name, id) in names {
                let Some(file) = record.files.get(id).filter(|_| seen.insert(*id)) else { continue };
                let Ok(stat) = self.system.stat_at(fd.as_fd(), name) else { continue };
                let mut time = stat.mtime;
                if !file.since.is_empty() {
                    let octets = survivors(file, dice, lost);
                    let file = open_below(fd.as_fd(), name, OFlags::RDWR);
                    rustix::fs::ftruncate(&file, 0).unwrap();
                    let mut done = 0;
                    while done < octets.len() {
                        done += rustix::io::pwrite(&file, &octets[done..], done as u64).unwrap();
                    }
                }
                // The time may have been written with the inode, or not.
                if dice.once_in(2) {
                    time = file.mtime;
                }
                tolerate(rustix::fs::utimensat(
                    fd,
                    name.as_slice(),
                    &only_mtime(time),
                    AtFlags::SYMLINK_NOFOLLOW,
                ));
            }
        }
    }
}

fn survivors(file: &FileRecord, dice: &mut Dice, lost: &mut Lost) -> Vec<u8> {
    let mut octets = file.octets.clone();
    let n = dice.roll(file.since.len() + 1);
    for (i, piece) in file.since.iter().enumerate() {
        if i > n {
            break;
        }
        match piece {
            Piece::Cut(len) if i < n => octets.resize(*len as usize, 0),
            Piece::Cut(_) => break,
            Piece::Write(at, new) => {
                let at = *at as usize;
                let keep = if i < n { new.len() } else { dice.roll(new.len() + 1) };
                if octets.len() < at + keep {
                    octets.resize(at + keep, 0);
                }
                octets[at..at + keep].copy_from_slice(&new[..keep]);
                // The length got through and the octets did not.
                if i == n && keep < new.len() && dice.once_in(3) {
                    octets.resize(octets.len().max(at + new.len()), 0);
                    lost.files_zeroed += 1;
                }
            }
        }
    }
    lost.files_cut += usize::from(n < file.since.len());
    octets
}

fn reachable(tree: &Tree, dirs: &BTreeSet<Id>, root: Id) -> BTreeSet<Id> {
    let mut out = BTreeSet::new();
    let mut todo = vec![root];
    while let Some(dir) = todo.pop() {
        if out.insert(dir) {
            todo.extend(tree.get(&dir).into_iter().flat_map(|d| d.values()).filter(|i| dirs.contains(i)));
        }
    }
    out
}

fn only_mtime(time: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT as _ },
        last_modification: Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds as _ },
    }
}

fn open_dir(path: &Path) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path.as_os_str().as_bytes(), flags, Mode::empty()).unwrap()
}

fn open_below(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> OwnedFd {
    rustix::fs::openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

fn remove_all(dir: BorrowedFd<'_>, name: &[u8]) {
    if rustix::fs::unlinkat(dir, name, AtFlags::empty()).is_ok() {
        return;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if let Ok(below) = rustix::fs::openat(dir, name, flags, Mode::empty()) {
        for entry in System::new().read_dir(below.as_fd()).unwrap().iter() {
            remove_all(below.as_fd(), entry.name);
        }
    }
    tolerate(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR));
}

impl Calls for Disk {
    fn inner(&self) -> &dyn Calls {
        &self.system
    }
    fn open(
        &self,
        d: Option<BorrowedFd<'_>>,
        p: &[u8],
        f: OFlags,
        m: u32,
        r: Resolve,
    ) -> io::Result<OwnedFd> {
        if !f.intersects(OFlags::CREATE | OFlags::TRUNC) {
            return self.system.open(d, p, f, m, r);
        }
        let before = d.map(|d| self.system.stat_at(d, p).is_ok()).unwrap_or_default();
        let fd = self.system.open(d, p, f, m, r)?;
        let stat = self.system.stat(fd.as_fd())?;
        let Some(dir) = d else { return Ok(fd) };
        if before {
            if f.contains(OFlags::TRUNC) {
                self.wrote(fd.as_fd(), Piece::Cut(0));
            }
        } else {
            let mut record = self.record.lock();
            let record = &mut *record;
            let (parent, id) = (self.dir_id(record, dir)?, record.id(&stat));
            record.files.insert(id, FileRecord { mtime: mtime(&stat), ..FileRecord::default() });
            self.step(record, What::Add(parent, p.to_vec(), id), &[(parent, dir)]);
        }
        Ok(fd)
    }
    fn mkdir(&self, d: Option<BorrowedFd<'_>>, p: &[u8], m: u32) -> io::Result<()> {
        self.system.mkdir(d, p, m)?;
        let (above, name) = match p.iter().rposition(|b| *b == b'/') {
            Some(at) => (&p[..at.max(1)], &p[at + 1..]),
            None => (&b"."[..], p),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let parent = self.system.open(d, above, flags, 0, Resolve::Anywhere)?;
        let mut record = self.record.lock();
        let record = &mut *record;
        let dir = self.dir_id(record, parent.as_fd())?;
        let id = record.id(&self.system.stat_at(parent.as_fd(), name)?);
        self.step(record, What::Add(dir, name.to_vec(), id), &[(dir, parent.as_fd())]);
        Ok(())
    }
    fn rename(
        &self,
        a: BorrowedFd<'_>,
        b: &[u8],
        c: BorrowedFd<'_>,
        d: &[u8],
        f: RenameFlags,
    ) -> io::Result<()> {
        let mut record = self.record.lock();
        let record = &mut *record;
        let buried = f.is_empty().then(|| self.bury(record, c, d)).flatten();
        if let Err(e) = self.system.rename(a, b, c, d, f) {
            self.dig_up(record, buried);
            return Err(e);
        }
        let (from, to) = (self.dir_id(record, a)?, self.dir_id(record, c)?);
        self.step(record, What::Move(from, b.to_vec(), to, d.to_vec()), &[(from, a), (to, c)]);
        Ok(())
    }
    fn link(&self, a: BorrowedFd<'_>, b: &[u8], c: BorrowedFd<'_>, d: &[u8]) -> io::Result<()> {
        self.system.link(a, b, c, d)?;
        let mut record = self.record.lock();
        let record = &mut *record;
        let to = self.dir_id(record, c)?;
        let id = record.id(&self.system.stat_at(c, d)?);
        self.step(record, What::Add(to, d.to_vec(), id), &[(to, c)]);
        Ok(())
    }
    fn unlink(&self, d: BorrowedFd<'_>, n: &[u8]) -> io::Result<()> {
        let mut record = self.record.lock();
        let record = &mut *record;
        let buried = self.bury(record, d, n);
        if let Err(e) = self.system.unlink(d, n) {
            self.dig_up(record, buried);
            return Err(e);
        }
        let dir = self.dir_id(record, d)?;
        self.step(record, What::Remove(dir, n.to_vec()), &[(dir, d)]);
        Ok(())
    }
    fn rmdir(&self, d: BorrowedFd<'_>, n: &[u8]) -> io::Result<()> {
        let mut record = self.record.lock();
        let record = &mut *record;
        let stat = self.system.stat_at(d, n)?;
        self.system.rmdir(d, n)?;
        // Its number may be given to another one.
        record.by_inode.remove(&(stat.dev, stat.ino));
        let dir = self.dir_id(record, d)?;
        self.step(record, What::Remove(dir, n.to_vec()), &[(dir, d)]);
        Ok(())
    }
    fn write(&self, f: BorrowedFd<'_>, b: &[u8]) -> io::Result<usize> {
        let n = self.system.write(f, b)?;
        let end = rustix::fs::seek(f, SeekFrom::Current(0))?;
        self.wrote(f, Piece::Write(end - n as u64, b[..n].to_vec()));
        Ok(n)
    }
    fn write_at(&self, f: BorrowedFd<'_>, b: &[u8], o: u64) -> io::Result<usize> {
        let n = self.system.write_at(f, b, o)?;
        self.wrote(f, Piece::Write(o, b[..n].to_vec()));
        Ok(n)
    }
    fn truncate(&self, f: BorrowedFd<'_>, l: u64) -> io::Result<()> {
        self.system.truncate(f, l)?;
        self.wrote(f, Piece::Cut(l));
        Ok(())
    }
    fn sync(&self, f: BorrowedFd<'_>) -> io::Result<()> {
        self.synced(f, true);
        Ok(())
    }
    fn sync_data(&self, f: BorrowedFd<'_>) -> io::Result<()> {
        self.synced(f, false);
        Ok(())
    }
}
