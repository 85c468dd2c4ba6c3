//! Dovecot's lock files: `NAME.lock`, made with O_CREAT | O_EXCL, with `<pid>:<host>` inside.
//!
//! Both programs may serve one tree, so the protocol is Dovecot's:
//!
//! * A lock of this host whose process is gone is removed at once, though not in its first two seconds (its maker may
//!   not have written its pid yet).
//! * A lock of another host, or without a pid, is stale when neither it nor the file it protects was seen to change for
//!   the stale time. "Seen": clocks of two hosts differ, so only our own observation counts.
//! * After a stale lock was removed we wait 0.1 to 0.2 s before we make ours: another waiter may have decided the same
//!   and would remove our new one.
//! * Who holds a lock touches it every ten seconds ([`Dotlock::touch`]).
//! * A lock that we could not remove, since the disk did not answer, is removed by whoever of us next finds it unchanged.
//! * Before a lock is removed its inode is compared; if it is another one somebody took the lock from us, and it stays.
//!
//! One thing differs. Dovecot has a process for each session and takes a lock with its own pid for a leftover. We have
//! one process, and after a restart in a container it may have the same pid as before the crash. So a [`Holder`] remembers
//! which locks it holds: its own pid in a lock that it does not hold means a leftover.
//!
//! Waiting sleeps on the pool thread that runs the job, bounded by [`LockTimes::wait`]. Who would rather not block
//! a thread calls [`Dotlock::try_acquire`] and comes back, with the same [`Contention`].
//!
//! Fails with [`io::ErrorKind::WouldBlock`] when the lock could not be had in time, and with the error of the system
//! when it cannot be made at all (disk full, quota, no permission).

use culver_store::io::{Dir, Durability, File, Stat, Timestamp};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A lock of this host is not looked at more closely while it is younger.
const YOUNG: Duration = Duration::from_secs(2);
/// Longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// What a lock file holds at most.
const MOST: usize = 4096;

/// How long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockTimes {
    /// Longest wait for the lock.
    pub wait: Duration,
    /// Without a change for so long a lock is stale, when its process cannot be looked up.
    pub stale: Duration,
}

impl LockTimes {
    /// Dovecot's for `dovecot-uidlist`.
    pub const UIDLIST: Self = Self { wait: Duration::from_secs(122), stale: Duration::from_secs(120) };
}

/// What stands in a new lock file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// `<pid>:<host>`.
    Pid,
    /// Nothing: the lock file is the new content on its way ([`Dotlock::replace`]).
    Empty,
}

/// Which lock.
#[derive(Clone, Copy, Debug)]
pub struct Lock<'a> {
    /// Name of the lock file.
    pub lock: &'a [u8],
    /// Name of the file it protects.
    pub protects: &'a [u8],
    /// What stands in it.
    pub content: Content,
    /// How long.
    pub times: LockTimes,
}

/// `dovecot-uidlist.lock`, which guards the uidlist and the keywords of a mailbox.
pub const UIDLIST: Lock<'static> = Lock {
    lock: crate::uidlist::LOCK,
    protects: crate::uidlist::NAME,
    content: Content::Pid,
    times: LockTimes::UIDLIST,
};

/// `dovecot-pop3-session.lock`: one POP3 session at a time. It protects no file.
pub const POP3_SESSION: Lock<'static> = Lock {
    lock: b"dovecot-pop3-session.lock",
    protects: b"dovecot-pop3-session.lock",
    content: Content::Pid,
    times: LockTimes { wait: Duration::from_secs(10), stale: Duration::from_secs(300) },
};

/// Clock, sleep and look at processes; tests bring their own.
pub trait Surroundings: Send + Sync {
    /// A clock that only goes forward.
    fn elapsed(&self) -> Duration;
    /// The clock that file times are compared with.
    fn now(&self) -> Timestamp;
    /// Waits on this thread.
    fn sleep(&self, time: Duration);
    /// Is there a process of this id?
    fn is_alive(&self, pid: u32) -> bool;
}

/// The machine's.
#[derive(Debug)]
pub struct Machine {
    start: std::time::Instant,
}

impl Default for Machine {
    fn default() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Surroundings for Machine {
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
    fn now(&self) -> Timestamp {
        crate::clock::now()
    }
    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
    fn is_alive(&self, pid: u32) -> bool {
        let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
        pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
    }
}

/// Who takes locks: one for the whole process.
pub struct Holder {
    pid: u32,
    host: String,
    held: Mutex<HashSet<(u64, u64)>>,
    /// What was seen of locks of others, by device and inode, and since when it is so. Remembered here and not by who
    /// waits: a torn lock is stale after two minutes, and nobody is kept waiting that long.
    observed: Mutex<HashMap<(u64, u64), (Look, Duration)>>,
    /// Locks of ours that could not be removed. They are leftovers as soon as the disk answers again.
    left: Mutex<HashSet<Key>>,
    surroundings: Arc<dyn Surroundings>,
}

/// A lock, and the file that it protects.
type Look = (Key, Option<Key>);
/// Device, inode, size, time.
type Key = (u64, u64, u64, Timestamp);

fn key(s: &Stat) -> Key {
    (s.dev, s.ino, s.size, s.mtime)
}

/// So many locks of others are remembered, and of ours that are left.
const MOST_OBSERVED: usize = 4096;

impl Holder {
    /// This process on this host. The name must be what Dovecot takes for the host's (`hostname`), so that each knows
    /// the other's locks.
    pub fn new(host: &str) -> Self {
        Self::with(std::process::id(), host, Arc::new(Machine::default()))
    }

    /// With another clock and other processes.
    pub fn with(pid: u32, host: &str, surroundings: Arc<dyn Surroundings>) -> Self {
        Self {
            pid,
            host: host.into(),
            held: Mutex::default(),
            observed: Mutex::default(),
            left: Mutex::default(),
            surroundings,
        }
    }

    /// Its clock and so on.
    pub fn surroundings(&self) -> &dyn Surroundings {
        &*self.surroundings
    }

    /// Host name as it stands in lock files.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Process id as it stands in lock files.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl std::fmt::Debug for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Holder({}:{})", self.pid, self.host)
    }
}

/// Of one who waits for a lock. Keep it between attempts.
#[derive(Clone, Default, Debug)]
pub struct Contention {
    /// After a stale lock was removed: not before this.
    not_before: Option<Duration>,
}

impl Contention {
    /// When the next attempt makes sense.
    pub fn pause(&self, holder: &Holder, attempt: u32) -> Duration {
        let now = holder.surroundings.elapsed();
        match self.not_before {
            Some(then) => then.saturating_sub(now),
            None => Duration::from_millis(2 << attempt.min(6)).min(LONGEST_PAUSE),
        }
    }
}

/// A lock that we hold. Dropping it gives it back.
#[must_use]
pub struct Dotlock<'fs, 'h> {
    dir: Dir<'fs>,
    name: Vec<u8>,
    protects: Vec<u8>,
    /// Away only when the lock is at its end.
    file: Option<File>,
    stat: Stat,
    holder: &'h Holder,
    touched: Duration,
    done: bool,
}

/// A lock that is held from one job to another.
pub struct Kept {
    name: Vec<u8>,
    protects: Vec<u8>,
    file: Option<File>,
    stat: Stat,
    touched: Duration,
}

impl Kept {
    /// Its directory is gone, and the file with it.
    pub fn forget(self, holder: &Holder) {
        holder.held.lock().remove(&(self.stat.dev, self.stat.ino));
    }
}

impl<'fs, 'h> Dotlock<'fs, 'h> {
    /// One attempt. `None`: somebody else has it.
    pub fn try_acquire(
        dir: &Dir<'fs>,
        what: &Lock<'_>,
        holder: &'h Holder,
        contention: &mut Contention,
    ) -> io::Result<Option<Self>> {
        if contention.not_before.is_some_and(|then| holder.surroundings.elapsed() < then) {
            return Ok(None);
        }
        contention.not_before = None;
        match Self::create(dir, what, holder) {
            Ok(lock) => return Ok(Some(lock)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => (),
            Err(e) => return Err(e),
        }
        let Some(found) = stat_if_there(dir, what.lock)? else { return Ok(None) };
        if !is_stale(dir, what, holder, &found)? {
            return Ok(None);
        }
        // It may have been replaced while we looked.
        if stat_if_there(dir, what.lock)?.is_some_and(|s| s.is_same_file(&found) && s.mtime == found.mtime) {
            match dir.unlink(what.lock) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => tracing::warn!(
                    lock = %what.lock.escape_ascii(),
                    "a lock file was left behind by a process that is gone or did nothing for {} s (or the disk had not let us remove it); it was removed",
                    what.times.stale.as_secs()
                ),
            }
            let now = holder.surroundings.now();
            let jitter = u64::from((now.nanoseconds / 1000) ^ holder.pid) % 100;
            contention.not_before = Some(holder.surroundings.elapsed() + Duration::from_millis(100 + jitter));
        }
        holder.observed.lock().remove(&(found.dev, found.ino));
        holder.left.lock().remove(&key(&found));
        Ok(None)
    }

    /// Attempts until it is had or [`LockTimes::wait`] is over ([`io::ErrorKind::WouldBlock`]). Blocks the thread.
    pub fn acquire(
        dir: &Dir<'fs>,
        what: &Lock<'_>,
        holder: &'h Holder,
        contention: &mut Contention,
    ) -> io::Result<Self> {
        let end = holder.surroundings.elapsed() + what.times.wait;
        let mut attempt = 0;
        loop {
            if let Some(lock) = Self::try_acquire(dir, what, holder, contention)? {
                return Ok(lock);
            }
            // Who has just removed a leftover has only to wait for a moment more.
            if contention.not_before.is_none() && holder.surroundings.elapsed() >= end {
                let text = format!(
                    "{} is held by another program since more than {} s",
                    what.lock.escape_ascii(),
                    what.times.wait.as_secs()
                );
                return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
            }
            holder.surroundings.sleep(contention.pause(holder, attempt).max(Duration::from_millis(1)));
            attempt += 1;
        }
    }

    /// Held on beyond the job: see [`Self::again`].
    pub fn keep(mut self) -> Kept {
        self.done = true;
        Kept {
            name: self.name.clone(),
            protects: self.protects.clone(),
            file: self.file.take(),
            stat: self.stat,
            touched: self.touched,
        }
    }

    /// In another job, in the same directory.
    pub fn again(dir: &Dir<'fs>, kept: Kept, holder: &'h Holder) -> Self {
        let Kept { name, protects, file, stat, touched } = kept;
        Self { dir: dir.clone(), name, protects, file, stat, holder, touched, done: false }
    }

    fn create(dir: &Dir<'fs>, what: &Lock<'_>, holder: &'h Holder) -> io::Result<Self> {
        // Held until the new lock is noted, so that no thread of ours takes it for a leftover of our own.
        let mut held = holder.held.lock();
        let mut file = dir.create_new(what.lock)?;
        let written = match what.content {
            Content::Pid => file.write_all(format!("{}:{}", holder.pid, holder.host).as_bytes()),
            Content::Empty => Ok(()),
        };
        let stat = match written.and_then(|()| file.stat()) {
            Ok(stat) => stat,
            Err(e) => {
                drop(dir.unlink(what.lock));
                return Err(e);
            }
        };
        held.insert((stat.dev, stat.ino));
        Ok(Self {
            dir: dir.clone(),
            name: what.lock.to_vec(),
            protects: what.protects.to_vec(),
            file: Some(file),
            stat,
            holder,
            touched: holder.surroundings.elapsed(),
            done: false,
        })
    }

    /// To be called now and then during long work: tells others every ten seconds that we live.
    pub fn touch(&mut self) -> io::Result<()> {
        let now = self.holder.surroundings.elapsed();
        if now.saturating_sub(self.touched) >= Duration::from_secs(10)
            && let Some(file) = &self.file
        {
            file.set_mtime(self.holder.surroundings.now())?;
            self.touched = now;
        }
        Ok(())
    }

    /// Is it still ours? `false`: somebody overrode it, and what we read under it may be old.
    pub fn is_ours(&self) -> io::Result<bool> {
        Ok(stat_if_there(&self.dir, &self.name)?.is_some_and(|s| s.is_same_file(&self.stat)))
    }

    /// Gives it back. When somebody overrode it that is logged, and theirs stays.
    pub fn release(mut self) -> io::Result<()> {
        self.done = true;
        self.remove()
    }

    /// Writes the protected file anew: `octets` go to the lock file, which is renamed over it. For locks made with
    /// [`Content::Empty`].
    pub fn replace(mut self, octets: &[u8], sync: Durability) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        file.write_all(octets)?;
        if sync == Durability::OnDisk {
            file.sync_data()?;
        }
        if !self.is_ours()? {
            self.done = true;
            self.forget();
            self.warn_overridden();
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "another program overrode our lock"));
        }
        self.dir.rename_to(&self.name, &self.dir, &self.protects)?;
        self.done = true;
        self.forget();
        if sync == Durability::OnDisk {
            self.dir.sync()?;
        }
        Ok(())
    }

    fn remove(&self) -> io::Result<()> {
        let result = match self.is_ours() {
            Ok(true) => self.dir.unlink(&self.name),
            Ok(false) => {
                self.warn_overridden();
                Ok(())
            }
            Err(e) => Err(e),
        };
        if result.is_err() {
            let mut left = self.holder.left.lock();
            if left.len() >= MOST_OBSERVED {
                left.clear();
            }
            let now = self.file.as_ref().and_then(|file| file.stat().ok());
            left.insert(key(&now.unwrap_or(self.stat)));
        }
        self.forget();
        result
    }

    fn forget(&self) {
        self.holder.held.lock().remove(&(self.stat.dev, self.stat.ino));
    }

    fn warn_overridden(&self) {
        tracing::warn!(
            lock = %self.name.escape_ascii(),
            "another program removed our lock file while we held it; its clock or its lock settings may be wrong"
        );
    }
}

impl Drop for Dotlock<'_, '_> {
    fn drop(&mut self) {
        if !self.done
            && let Err(e) = self.remove()
        {
            tracing::warn!(lock = %self.name.escape_ascii(), "a lock file of ours could not be removed: {e}");
        }
    }
}

fn stat_if_there(dir: &Dir<'_>, name: &[u8]) -> io::Result<Option<Stat>> {
    match dir.stat(name) {
        Ok(stat) => Ok(Some(stat)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn is_stale(dir: &Dir<'_>, what: &Lock<'_>, holder: &Holder, found: &Stat) -> io::Result<bool> {
    if holder.left.lock().contains(&key(found)) {
        return Ok(true);
    }
    let protected = stat_if_there(dir, what.protects)?;
    let elapsed = holder.surroundings.elapsed();
    let look = (key(found), protected.as_ref().map(key));
    let unchanged_since = {
        let mut observed = holder.observed.lock();
        if observed.len() >= MOST_OBSERVED {
            observed.clear();
        }
        let seen = observed.entry((found.dev, found.ino)).or_insert((look, elapsed));
        if seen.0 != look {
            *seen = (look, elapsed);
        }
        seen.1
    };
    if let Some(pid) = local_pid(dir, what.lock, holder) {
        let age = holder.surroundings.now().seconds - found.mtime.seconds;
        if (0..=YOUNG.as_secs() as i64).contains(&age) {
            return Ok(false);
        }
        if pid == holder.pid {
            return Ok(!holder.held.lock().contains(&(found.dev, found.ino)));
        }
        return Ok(!holder.surroundings.is_alive(pid));
    }
    Ok(elapsed.saturating_sub(unchanged_since) >= what.times.stale)
}

/// The pid in a lock of this host.
fn local_pid(dir: &Dir<'_>, lock: &[u8], holder: &Holder) -> Option<u32> {
    let text = dir.read(lock, MOST).ok()?;
    let text = std::str::from_utf8(&text).ok()?;
    let (pid, host) = text.trim_end().split_once(':')?;
    if host != holder.host {
        return None;
    }
    pid.parse().ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests;
