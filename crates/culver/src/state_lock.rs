//! Who is at work on the state folder: servers share it, commands that rewrite mailboxes' state want it alone.
//!
//! An advisory lock on the folder itself: it leaves no file behind and goes with the process. Where the file system has no
//! such locks (some network ones) there is none, and nothing is refused.

use anyhow::{Context, Result, bail};
use rustix::fd::OwnedFd;
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::path::Path;

/// Held while the process is at work.
pub struct StateLock {
    _folder: OwnedFd,
}

impl StateLock {
    /// For a server.
    ///
    /// # Errors
    /// While a command has it alone.
    pub fn shared(state_dir: &Path) -> Result<Self> {
        let folder = open(state_dir)?;
        if !locked(&folder, FlockOperation::NonBlockingLockShared) {
            bail!(
                "culver adopt or culver release is at work on {}: start the server when it has ended",
                state_dir.display()
            );
        }
        Ok(Self { _folder: folder })
    }

    /// For a command.
    ///
    /// # Errors
    /// While a server or another such command runs.
    pub fn alone(state_dir: &Path) -> Result<Self> {
        let folder = open(state_dir)?;
        if !locked(&folder, FlockOperation::NonBlockingLockExclusive) {
            bail!(
                "a culver server (or another adopt or release) is running on {}. Stop it first: systemctl stop culver.socket \
                 culver-imaps.socket culver. While it runs, each account is adopted with its first login anyway, and \
                 --dry-run can be used",
                state_dir.display()
            );
        }
        Ok(Self { _folder: folder })
    }
}

fn open(folder: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(folder, flags, Mode::empty()).with_context(|| folder.display().to_string())
}

fn locked(folder: &OwnedFd, how: FlockOperation) -> bool {
    rustix::fs::flock(folder, how) != Err(Errno::WOULDBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_share_and_commands_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let one = StateLock::shared(dir.path()).unwrap();
        let two = StateLock::shared(dir.path()).unwrap();
        assert!(StateLock::alone(dir.path()).is_err());
        drop((one, two));
        let command = StateLock::alone(dir.path()).unwrap();
        assert!(StateLock::shared(dir.path()).is_err() && StateLock::alone(dir.path()).is_err());
        drop(command);
        StateLock::shared(dir.path()).unwrap();
    }
}
