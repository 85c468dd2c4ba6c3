//! Other programs: a delivery agent and a mail reader, which do what they do past the fault layer, but on the same disk.

use super::dice::Dice;
use culver_store::io::{Calls, EntryKind, Resolve, Timestamp};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{OFlags, RenameFlags};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

fn open_dir(calls: &dyn Calls, path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    calls.open(None, path.as_os_str().as_bytes(), flags, 0, Resolve::Anywhere).ok()
}

/// Delivers as it should be done: written, synced, renamed into `new`, that synced. `false`: no such mailbox.
pub fn deliver(calls: &dyn Calls, mailbox: &Path, base: &str, octets: &[u8]) -> bool {
    let (Some(tmp), Some(new)) =
        (open_dir(calls, &mailbox.join("tmp")), open_dir(calls, &mailbox.join("new")))
    else {
        return false;
    };
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    let file = calls.open(Some(tmp.as_fd()), base.as_bytes(), flags, 0o600, Resolve::Beneath).unwrap();
    let mut done = 0;
    while done < octets.len() {
        done += calls.write(file.as_fd(), &octets[done..]).unwrap();
    }
    calls.sync(file.as_fd()).unwrap();
    let (name, none) = (base.as_bytes(), RenameFlags::empty());
    calls.rename(tmp.as_fd(), name, new.as_fd(), name, none).unwrap();
    calls.sync(new.as_fd()).unwrap();
    true
}

/// Sets further flags in the name of some message, in `cur`. Gives back its octets and the letters that are new.
pub fn touch(calls: &dyn Calls, mailbox: &Path, dice: &mut Dice, letters: &str) -> Option<(Vec<u8>, String)> {
    let cur = open_dir(calls, &mailbox.join("cur"))?;
    let mut all = Vec::new();
    for sub in ["new", "cur"] {
        let dir = open_dir(calls, &mailbox.join(sub))?;
        for e in calls.read_dir(dir.as_fd()).ok()?.iter().filter(|e| e.kind == EntryKind::File) {
            all.push((sub, String::from_utf8(e.name.to_vec()).ok()?));
        }
    }
    all.sort();
    let (sub, name) = all.get(dice.roll(all.len()))?;
    let octets = std::fs::read(mailbox.join(sub).join(name)).ok()?;
    let (base, info) = name.split_once(":2,").unwrap_or((name, ""));
    // Names in `new` have no flags, whatever stands there.
    let info = if *sub == "new" { "" } else { info };
    let added: String = letters.chars().filter(|c| !info.contains(*c)).collect();
    let mut all: Vec<char> = info.chars().chain(added.chars()).collect();
    all.sort_unstable();
    let new = format!("{base}:2,{}", all.into_iter().collect::<String>());
    let from = open_dir(calls, &mailbox.join(sub))?;
    let none = RenameFlags::empty();
    calls.rename(from.as_fd(), name.as_bytes(), cur.as_fd(), new.as_bytes(), none).ok()?;
    Some((octets, added))
}

pub fn remove(calls: &dyn Calls, dir: &Path, name: &str) {
    if let Some(dir) = open_dir(calls, dir) {
        drop(calls.unlink(dir.as_fd(), name.as_bytes()));
    }
}

/// What [`age`] lets go by.
pub const AGE: Duration = Duration::from_secs(10);

/// Does the time of a file with this name change with it? A message's time is its date.
pub fn ages(name: &[u8]) -> bool {
    name.starts_with(b"dovecot-")
}

/// Ten seconds go by: everything is that much older.
pub fn age(root: &Path) {
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&path) else { continue };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                todo.push(entry.path());
            } else if !ages(entry.file_name().as_bytes()) {
                continue;
            }
            older(&entry.path());
        }
        older(&path);
    }
}

fn older(path: &Path) {
    let Ok(file) = std::fs::File::open(path) else { return };
    let Ok(time) = file.metadata().and_then(|m| m.modified()) else { return };
    drop(file.set_times(std::fs::FileTimes::new().set_modified(time - AGE)));
}

/// A clock that runs so fast that leftover locks are soon old enough: in earnest, one whose process is gone is waited for
/// two seconds, and one that a power loss left empty for two minutes.
pub struct Hurried {
    pub ticks: std::sync::atomic::AtomicU64,
}

impl culver_maildir::dotlock::Surroundings for Hurried {
    fn elapsed(&self) -> Duration {
        let ticks = self.ticks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Duration::from_secs(60 * ticks)
    }
    fn now(&self) -> Timestamp {
        let mut now = culver_maildir::clock::now();
        now.seconds += 10;
        now
    }
    fn sleep(&self, _: Duration) {}
    fn is_alive(&self, _: u32) -> bool {
        true
    }
}
