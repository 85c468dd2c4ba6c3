//! Limits of the machine that thousands of sessions meet: open files of a process, and inotify instances of a user.
//!
//! Dovecot watches by one inotify instance for each session, and puts a session to sleep only when it has got one. The
//! kernel's default of 128 for all of a user's processes is raised by everybody who runs it for many; so do we, while
//! both servers run, and put it back.

use std::fs;

const INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";
/// Enough for 2,000 sessions and what else is there.
const ENOUGH: u64 = 8192;

/// Lets this process and those it starts open as many files as the machine allows at all.
pub fn raise_files() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let highest = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    // It may not be raised: then a workload with many sessions fails and says so.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, highest);
}

/// More inotify instances, until it is dropped.
#[derive(Debug)]
pub struct Inotify {
    before: Option<u64>,
}

impl Inotify {
    /// Raises the limit where it is lower and may be changed.
    pub fn raise() -> Inotify {
        let now = fs::read_to_string(INSTANCES).ok().and_then(|t| t.trim().parse::<u64>().ok());
        let before = now.filter(|n| *n < ENOUGH).filter(|_| fs::write(INSTANCES, ENOUGH.to_string()).is_ok());
        Inotify { before }
    }

    /// For the report.
    pub fn said(&self) -> String {
        match self.before {
            Some(before) => {
                format!(" `fs.inotify.max_user_instances` was {ENOUGH} meanwhile (before: {before}).")
            }
            None => String::new(),
        }
    }
}

impl Drop for Inotify {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            let _ = fs::write(INSTANCES, before.to_string());
        }
    }
}
