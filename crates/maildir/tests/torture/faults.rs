//! The fault layer: all system calls of one engine instance pass here, one after the other, and the Nth meets its fate.
//!
//! * An **error** comes without an effect: EIO from any call; ENOSPC and EDQUOT from calls that make names or octets (and
//!   from syncs, where file systems that allocate late report them); EMFILE from calls that open. Once, or from the Nth
//!   on until [`Layer::heal`].
//! * A **short write** takes a part and goes on, or takes a part and finds the disk full at the next.
//! * A **stop** is kill -9: before the Nth call that would change the disk, behind it, or in the middle of a write. From
//!   then on nothing that this instance does has an effect; it may be dropped in any way, its answers count for nothing.
//!
//! What it does not do: fail calls on `/proc` (no disk) or on inotify.
//!
//! The kernel's boot id is read from a file that the driver writes, so that a power loss looks like one.

use super::dice::Dice;
use culver_store::io::inotify::WatchFlags;
use culver_store::io::{Calls, Entries, Resolve, Stat, Timestamp};
use parking_lot::Mutex;
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{OFlags, RenameFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Error {
    Eio,
    Enospc,
    Edquot,
    Emfile,
}

impl Error {
    pub const ALL: [Self; 4] = [Self::Eio, Self::Enospc, Self::Edquot, Self::Emfile];
    fn errno(self) -> Errno {
        match self {
            Self::Eio => Errno::IO,
            Self::Enospc => Errno::NOSPC,
            Self::Edquot => Errno::DQUOT,
            Self::Emfile => Errno::MFILE,
        }
    }
    pub fn is_full(self) -> bool {
        matches!(self, Self::Enospc | Self::Edquot)
    }
}

/// What happens at the Nth call that it can happen to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fate {
    /// This call fails.
    Once(Error),
    /// This one and all like it, until the fault ends.
    Lasting(Error),
    /// A write takes only a part.
    Short,
    /// A write takes only a part, and the next one nothing.
    ShortThenFull,
    /// The process ends before the call, ...
    StopBefore,
    /// ... right after it, ...
    StopAfter,
    /// ... or in the middle of a write.
    StopTorn,
}

impl Fate {
    pub fn is_stop(self) -> bool {
        matches!(self, Self::StopBefore | Self::StopAfter | Self::StopTorn)
    }
    /// Is it a full disk, or a quota used up?
    pub fn is_full(self) -> bool {
        matches!(self, Self::Once(e) | Self::Lasting(e) if e.is_full()) || self == Self::ShortThenFull
    }
    pub fn name(self) -> String {
        format!("{self:?}").replace(['(', ')'], " ").trim_end().to_lowercase()
    }
}

/// The sort of a call, as far as faults care.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sort {
    OpenOld,
    OpenNew,
    Read,
    Stat,
    Name,
    Write,
    Cut,
    Sync,
    Attribute,
}

impl Sort {
    fn changes_disk(self) -> bool {
        !matches!(self, Self::OpenOld | Self::Read | Self::Stat | Self::Sync)
    }
    fn can_fail_with(self, error: Error) -> bool {
        match error {
            Error::Eio => true,
            // Cutting frees; it works on a full disk.
            Error::Enospc | Error::Edquot => {
                matches!(self, Self::OpenNew | Self::Name | Self::Write | Self::Sync)
            }
            Error::Emfile => matches!(self, Self::OpenOld | Self::OpenNew),
        }
    }
    fn can_meet(self, fate: Fate) -> bool {
        match fate {
            Fate::Once(e) | Fate::Lasting(e) => self.can_fail_with(e),
            Fate::Short | Fate::ShortThenFull | Fate::StopTorn => self == Self::Write,
            // A sync changes what survives a power loss: stopping on either side of it is not the same.
            Fate::StopBefore | Fate::StopAfter => self.changes_disk() || self == Self::Sync,
        }
    }
}

/// Where a fault struck: for the counts, and for whoever reads a trace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Point {
    pub verb: &'static str,
    pub call: &'static str,
    pub file: String,
    pub fate: Fate,
}

#[derive(Default)]
struct State {
    verb: &'static str,
    dead: bool,
    armed: Option<(usize, Fate)>,
    lasting: Option<Error>,
    full_next: bool,
    seen: usize,
    struck: Vec<Point>,
    /// Times that a fault struck, counting each call of a lasting one.
    blows: usize,
    sync_failed: bool,
    /// The disk did not even take the mark that something is missing in an index.
    deaf: bool,
    /// Mailboxes whose index is perhaps not being written.
    hurt: BTreeMap<String, Hurt>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hurt {
    Journal,
    Checkpoint,
}

/// See the head of the file.
pub struct Layer {
    inner: Arc<dyn Calls>,
    boot_id: PathBuf,
    state: Mutex<State>,
    dice: Mutex<Dice>,
    /// Each call is printed.
    tells: bool,
}

/// What a call is about.
enum About<'a> {
    Name(Option<BorrowedFd<'a>>, &'a [u8]),
    Open(BorrowedFd<'a>),
}

fn path_of(fd: BorrowedFd<'_>) -> Vec<u8> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    std::fs::read_link(link).map(|p| p.into_os_string().into_vec()).unwrap_or_default()
}

impl About<'_> {
    fn path(&self) -> Vec<u8> {
        match self {
            Self::Name(None, path) => path.to_vec(),
            Self::Name(Some(dir), name) => [&path_of(*dir), &b"/"[..], name].concat(),
            Self::Open(fd) => path_of(*fd),
        }
    }
}

/// The mailbox whose index a path belongs to.
fn index_of(path: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(path);
    // Folders above stand for all, and nothing says when they are well again.
    let of_state = text.split("/disk/state").nth(1)?;
    let mailbox = of_state.split("/mailboxes/").nth(1).and_then(|m| m.split('/').next());
    Some(mailbox.unwrap_or_default().to_owned())
}

/// What kind of file it is, for counting points.
fn kind_of(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let text = text.trim_end_matches(" (deleted)");
    let name = text.rsplit('/').next().unwrap_or_default();
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    if digits > 8 {
        return if name.contains(":2,") { "message:2," } else { "message" }.to_owned();
    }
    match name.strip_prefix("dovecot-uidvalidity.") {
        Some(n) if n != "tmp" => "dovecot-uidvalidity.N".to_owned(),
        _ => name.to_owned(),
    }
}

impl Layer {
    pub fn new(inner: Arc<dyn Calls>, boot_id: PathBuf, seed: u64) -> Self {
        let tells = std::env::var_os("TORTURE_CALLS").is_some();
        Self { inner, boot_id, state: Mutex::default(), dice: Mutex::new(Dice::new(seed)), tells }
    }

    /// From now on the `nth` call (from 1) that it can happen to meets `fate`.
    pub fn arm(&self, nth: usize, fate: Fate) {
        self.state.lock().armed = Some((nth, fate));
    }
    /// The fault ends, also one that has not struck yet.
    pub fn heal(&self) {
        let mut state = self.state.lock();
        state.armed = None;
        state.lasting = None;
        state.full_next = false;
    }
    /// The process is gone.
    pub fn stop(&self) {
        self.state.lock().dead = true;
    }
    pub fn is_dead(&self) -> bool {
        self.state.lock().dead
    }
    /// Did the disk say that it could not sync something? Then a power loss may take what this engine has done.
    pub fn a_sync_failed(&self) -> bool {
        self.state.lock().sync_failed
    }
    /// Was there a time when nothing at all could be written to an index, so that what clients saw then may be unknown
    /// after a stop?
    pub fn index_was_deaf(&self) -> bool {
        self.state.lock().deaf
    }
    pub fn is_failing(&self) -> bool {
        let state = self.state.lock();
        state.lasting.is_some() || state.full_next
    }
    /// What the engine is doing, for the counts.
    pub fn set_verb(&self, verb: &'static str) {
        self.state.lock().verb = verb;
    }
    /// How many calls came here, and how often a fault struck.
    pub fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.seen, state.blows)
    }
    /// Where faults began, since the last time this was asked.
    pub fn struck(&self) -> Vec<Point> {
        std::mem::take(&mut self.state.lock().struck)
    }
    /// Did a fault meet the index since it was last written anew?
    pub fn index_is_hurt(&self) -> bool {
        !self.state.lock().hurt.is_empty()
    }

    fn pass<T>(
        &self,
        call: &'static str,
        sort: Sort,
        about: About<'_>,
        run: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        if state.dead {
            return Err(Errno::IO.into());
        }
        state.seen += 1;
        if self.tells {
            tracing::debug!("    {}: {call} {}", state.verb, String::from_utf8_lossy(&about.path()));
        }
        // What stands for a file of the kernel's is not on a disk.
        let spared = || matches!(sort, Sort::Stat | Sort::Read) && about.path().ends_with(b"/boot_id");
        if let Some(error) = state.lasting.filter(|e| sort.can_fail_with(*e) && !spared()) {
            return Err(self.strike(&mut state, call, &about, Fate::Lasting(error), error));
        }
        if state.full_next && sort == Sort::Write {
            state.full_next = false;
            return Err(self.strike(&mut state, call, &about, Fate::ShortThenFull, Error::Enospc));
        }
        if let Some((left, fate)) = state.armed.filter(|(_, fate)| sort.can_meet(*fate)) {
            if left == 1 && spared() {
                return run();
            }
            if left > 1 {
                state.armed = Some((left - 1, fate));
            } else {
                state.armed = None;
                match fate {
                    Fate::Once(error) => return Err(self.strike(&mut state, call, &about, fate, error)),
                    Fate::Lasting(error) => {
                        state.lasting = Some(error);
                        return Err(self.strike(&mut state, call, &about, fate, error));
                    }
                    Fate::StopBefore => {
                        state.dead = true;
                        return Err(self.strike(&mut state, call, &about, fate, Error::Eio));
                    }
                    Fate::StopAfter => {
                        drop(run());
                        state.dead = true;
                        return Err(self.strike(&mut state, call, &about, fate, Error::Eio));
                    }
                    // `write` sees to it.
                    Fate::Short | Fate::ShortThenFull | Fate::StopTorn => (),
                }
            }
        }
        let done = run();
        if !state.hurt.is_empty() && done.is_ok() && (sort == Sort::Write || call == "rename") {
            let path = about.path();
            if path.ends_with(b"/journal")
                && let Some(mailbox) = index_of(&path)
                && let Some(how) = state.hurt.get(&mailbox)
                // A new one; or what it did not take before was written with this.
                && (call == "rename" || *how == Hurt::Journal)
            {
                state.hurt.remove(&mailbox);
            }
        }
        done
    }

    fn strike(
        &self,
        state: &mut State,
        call: &'static str,
        about: &About<'_>,
        fate: Fate,
        error: Error,
    ) -> io::Error {
        let path = about.path();
        state.blows += 1;
        state.sync_failed |= !fate.is_stop() && call.contains("sync");
        let name = kind_of(&path);
        tracing::debug!("    {fate:?} in {}: {call} {}", state.verb, String::from_utf8_lossy(&path));
        if !fate.is_stop()
            && let Some(mailbox) = index_of(&path)
        {
            // A checkpoint that failed is tried again; until then the journal goes on, or it is marked.
            let journal = name == "journal" && !matches!(call, "open" | "rename");
            let how = if journal { Hurt::Journal } else { Hurt::Checkpoint };
            state.deaf |= fate == Fate::Lasting(Error::Eio);
            let old = state.hurt.entry(mailbox).or_insert(how);
            *old = (*old).max(how);
        }
        let again = state.struck.last().is_some_and(|p| p.fate == fate);
        if !(again && matches!(fate, Fate::Lasting(_))) {
            state.struck.push(Point { verb: state.verb, call, file: name, fate });
        }
        error.errno().into()
    }

    fn write_with(
        &self,
        call: &'static str,
        fd: BorrowedFd<'_>,
        buf: &[u8],
        run: impl Fn(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let part = {
            let mut state = self.state.lock();
            let due = state.armed.filter(|(left, fate)| *left == 1 && Sort::Write.can_meet(*fate));
            match due {
                Some((_, fate @ (Fate::Short | Fate::ShortThenFull | Fate::StopTorn)))
                    if !state.dead && state.lasting.is_none() && !state.full_next =>
                {
                    state.armed = None;
                    Some(fate)
                }
                _ => None,
            }
        };
        let Some(fate) = part else {
            return self.pass(call, Sort::Write, About::Open(fd), || run(buf));
        };
        let n = match fate {
            // A signal comes between two pages; what a power loss leaves of one is not decided here.
            Fate::StopTorn => self.dice.lock().roll(buf.len().div_ceil(4096)) * 4096,
            _ => 1 + self.dice.lock().roll(buf.len().saturating_sub(1)),
        };
        let mut state = self.state.lock();
        state.seen += 1;
        let done = if n == 0 { Ok(0) } else { run(&buf[..n]) };
        tracing::debug!("    {} of {} octets are written", n, buf.len());
        let hurt = state.hurt.clone();
        let error = self.strike(&mut state, call, &About::Open(fd), fate, Error::Eio);
        match fate {
            Fate::StopTorn => {
                state.dead = true;
                return Err(error);
            }
            Fate::ShortThenFull if n < buf.len() => state.full_next = true,
            // Going on makes it whole.
            _ => state.hurt = hurt,
        }
        done
    }
}

impl Calls for Layer {
    fn inner(&self) -> &dyn Calls {
        &*self.inner
    }
    fn open(
        &self,
        d: Option<BorrowedFd<'_>>,
        p: &[u8],
        f: OFlags,
        m: u32,
        r: Resolve,
    ) -> io::Result<OwnedFd> {
        if p == b"/proc/sys/kernel/random" {
            let folder = self.boot_id.parent().map(|p| p.as_os_str().as_bytes().to_vec()).unwrap_or_default();
            return self.inner.open(d, &folder, f, m, r);
        }
        if p == b"boot_id" {
            return self.inner.open(d, p, f, m, r);
        }
        let sort = if f.intersects(OFlags::CREATE | OFlags::TRUNC) { Sort::OpenNew } else { Sort::OpenOld };
        // "." is the directory itself.
        let about = match d {
            Some(d) if p == b"." => About::Open(d),
            _ => About::Name(d, p),
        };
        self.pass("open", sort, about, || self.inner.open(d, p, f, m, r))
    }
    fn mkdir(&self, d: Option<BorrowedFd<'_>>, p: &[u8], m: u32) -> io::Result<()> {
        self.pass("mkdir", Sort::Name, About::Name(d, p), || self.inner.mkdir(d, p, m))
    }
    fn rename(
        &self,
        a: BorrowedFd<'_>,
        b: &[u8],
        c: BorrowedFd<'_>,
        d: &[u8],
        f: RenameFlags,
    ) -> io::Result<()> {
        self.pass("rename", Sort::Name, About::Name(Some(c), d), || self.inner.rename(a, b, c, d, f))
    }
    fn link(&self, a: BorrowedFd<'_>, b: &[u8], c: BorrowedFd<'_>, d: &[u8]) -> io::Result<()> {
        self.pass("link", Sort::Name, About::Name(Some(c), d), || self.inner.link(a, b, c, d))
    }
    fn unlink(&self, d: BorrowedFd<'_>, n: &[u8]) -> io::Result<()> {
        self.pass("unlink", Sort::Attribute, About::Name(Some(d), n), || self.inner.unlink(d, n))
    }
    fn rmdir(&self, d: BorrowedFd<'_>, n: &[u8]) -> io::Result<()> {
        self.pass("rmdir", Sort::Attribute, About::Name(Some(d), n), || self.inner.rmdir(d, n))
    }
    fn stat_at(&self, d: BorrowedFd<'_>, n: &[u8]) -> io::Result<Stat> {
        self.pass("stat", Sort::Stat, About::Name(Some(d), n), || self.inner.stat_at(d, n))
    }
    fn stat(&self, f: BorrowedFd<'_>) -> io::Result<Stat> {
        self.pass("fstat", Sort::Stat, About::Open(f), || self.inner.stat(f))
    }
    fn read_dir(&self, f: BorrowedFd<'_>) -> io::Result<Entries> {
        self.pass("getdents", Sort::Read, About::Open(f), || self.inner.read_dir(f))
    }
    fn read_at(&self, f: BorrowedFd<'_>, b: &mut [u8], o: u64) -> io::Result<usize> {
        self.pass("pread", Sort::Read, About::Open(f), || self.inner.read_at(f, b, o))
    }
    fn write(&self, f: BorrowedFd<'_>, b: &[u8]) -> io::Result<usize> {
        self.write_with("write", f, b, |b| self.inner.write(f, b))
    }
    fn write_at(&self, f: BorrowedFd<'_>, b: &[u8], o: u64) -> io::Result<usize> {
        self.write_with("pwrite", f, b, |b| self.inner.write_at(f, b, o))
    }
    fn truncate(&self, f: BorrowedFd<'_>, l: u64) -> io::Result<()> {
        self.pass("ftruncate", Sort::Cut, About::Open(f), || self.inner.truncate(f, l))
    }
    fn sync(&self, f: BorrowedFd<'_>) -> io::Result<()> {
        self.pass("fsync", Sort::Sync, About::Open(f), || self.inner.sync(f))
    }
    fn sync_data(&self, f: BorrowedFd<'_>) -> io::Result<()> {
        self.pass("fdatasync", Sort::Sync, About::Open(f), || self.inner.sync_data(f))
    }
    fn set_mtime(&self, f: BorrowedFd<'_>, t: Timestamp) -> io::Result<()> {
        self.pass("futimens", Sort::Attribute, About::Open(f), || self.inner.set_mtime(f, t))
    }
    fn set_mtime_at(&self, d: BorrowedFd<'_>, n: &[u8], t: Timestamp) -> io::Result<()> {
        self.pass("utimensat", Sort::Attribute, About::Name(Some(d), n), || self.inner.set_mtime_at(d, n, t))
    }
    fn chmod(&self, f: BorrowedFd<'_>, m: u32) -> io::Result<()> {
        self.pass("fchmod", Sort::Attribute, About::Open(f), || self.inner.chmod(f, m))
    }
    fn chgrp(&self, f: BorrowedFd<'_>, g: u32) -> io::Result<()> {
        self.pass("fchown", Sort::Attribute, About::Open(f), || self.inner.chgrp(f, g))
    }
    fn watch(&self, i: BorrowedFd<'_>, d: BorrowedFd<'_>, f: WatchFlags) -> io::Result<i32> {
        if self.is_dead() {
            return Err(Errno::IO.into());
        }
        self.inner.watch(i, d, f)
    }
}
