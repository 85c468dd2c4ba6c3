//! The file-system identity of a pool thread: fsuid and fsgid by raw system calls.
//!
//! Promises: after [`Thread::become_owner`] the thread *has* the identity asked for, or the caller has an error, or
//! the process is gone. `setfsuid` reports no error (`man 2 setfsuid`), so each change is read back with an
//! impossible id. glibc's wrappers are not used where they would change all threads (`setgroups`).
//!
//! Besides: pool threads give up CAP_SYS_RESOURCE, since its holder writes past hard quotas and into reserved blocks,
//! and a change of fsuid does not take it away.
//!
//! Note for the program: after the first change `/proc/self` belongs to root (the process is not dumpable).

use super::{IoSettings, JobError};
use crate::Owner;
use rustix::thread::CapabilitySet;
use std::io;

/// What the process may do, found out once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rights {
    uid: u32,
    gid: u32,
    change: bool,
    first_valid_uid: u32,
    first_valid_gid: u32,
}

impl Rights {
    pub(super) fn detect(settings: &IoSettings) -> io::Result<Self> {
        let can = rustix::thread::capabilities(None)?.effective;
        Ok(Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            change: can.contains(CapabilitySet::SETUID | CapabilitySet::SETGID),
            first_valid_uid: settings.first_valid_uid,
            first_valid_gid: settings.first_valid_gid,
        })
    }

    pub(super) fn changes_identity(&self) -> bool {
        self.change
    }

    /// The ids a job of `owner` runs with, or why it may not run.
    pub(super) fn ids_for(&self, owner: Option<Owner>) -> Result<Owner, JobError> {
        let own = Owner { uid: self.uid, gid: self.gid };
        let Some(owner) = owner else { return Ok(own) };
        if owner.uid == 0 || owner.gid == 0 {
            return Err(JobError::Identity(format!(
                "files of uid {} gid {} are asked for, but mail is never handled as root; give the account a uid and gid of its own",
                owner.uid, owner.gid
            )));
        }
        if owner == own {
            return Ok(own);
        }
        if owner.uid < self.first_valid_uid || owner.gid < self.first_valid_gid {
            return Err(JobError::Identity(format!(
                "uid {} gid {} is below first_valid_uid {} or first_valid_gid {}; correct the account, or lower the setting if such accounts are meant",
                owner.uid, owner.gid, self.first_valid_uid, self.first_valid_gid
            )));
        }
        // The kernel takes -1 for "tell only".
        if owner.uid == u32::MAX || owner.gid == u32::MAX {
            return Err(JobError::Identity(format!("uid {} gid {} does not exist", owner.uid, owner.gid)));
        }
        if !self.change {
            return Err(JobError::Identity(format!(
                "the account's files belong to uid {} gid {}, but the server runs as uid {} gid {} and may not change that; start it with CAP_SETUID and CAP_SETGID, or as that user",
                owner.uid, owner.gid, self.uid, self.gid
            )));
        }
        Ok(owner)
    }
}

/// One thread's identity, remembered so that equal owners in a row cost nothing.
pub(super) struct Thread {
    rights: Rights,
    now: Owner,
}

impl Thread {
    /// Prepares the calling thread: no supplementary groups, no CAP_SYS_RESOURCE.
    pub(super) fn prepare(rights: Rights) -> io::Result<Self> {
        if rights.change {
            rustix::thread::set_thread_groups(&[])?;
        }
        let mut sets = rustix::thread::capabilities(None)?;
        if sets.effective.contains(CapabilitySet::SYS_RESOURCE) {
            sets.effective.remove(CapabilitySet::SYS_RESOURCE);
            sets.permitted.remove(CapabilitySet::SYS_RESOURCE);
            sets.inheritable.remove(CapabilitySet::SYS_RESOURCE);
            rustix::thread::set_capabilities(None, sets)?;
        }
        let now = Owner { uid: sys::set_fsuid(u32::MAX), gid: sys::set_fsgid(u32::MAX) };
        Ok(Self { rights, now })
    }

    /// Takes the identity for a job of `owner`.
    pub(super) fn become_owner(&mut self, owner: Option<Owner>) -> Result<(), JobError> {
        let wanted = self.rights.ids_for(owner)?;
        if wanted == self.now {
            return Ok(());
        }
        if wanted.gid != self.now.gid {
            sys::set_fsgid(wanted.gid);
        }
        if wanted.uid != self.now.uid {
            sys::set_fsuid(wanted.uid);
        }
        let is = Owner { uid: sys::set_fsuid(u32::MAX), gid: sys::set_fsgid(u32::MAX) };
        if is != wanted {
            tracing::error!(
                ?wanted,
                ?is,
                "the kernel did not change the file-system identity; stopping at once"
            );
            std::process::abort();
        }
        self.now = wanted;
        Ok(())
    }
}

#[expect(unsafe_code, reason = "setfsuid and setfsgid have no safe wrapper")]
mod sys {
    /// Asks for `uid` as this thread's fsuid; gives back the one before. `u32::MAX` changes nothing.
    pub(super) fn set_fsuid(uid: u32) -> u32 {
        // SAFETY: the call takes one integer and touches no memory of ours.
        let before = unsafe { libc::syscall(libc::SYS_setfsuid, libc::c_ulong::from(uid)) };
        before as u32
    }

    /// Asks for `gid` as this thread's fsgid; gives back the one before. `u32::MAX` changes nothing.
    pub(super) fn set_fsgid(gid: u32) -> u32 {
        // SAFETY: the call takes one integer and touches no memory of ours.
        let before = unsafe { libc::syscall(libc::SYS_setfsgid, libc::c_ulong::from(gid)) };
        before as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(uid: u32, change: bool) -> Rights {
        Rights { uid, gid: uid, change, first_valid_uid: 500, first_valid_gid: 1 }
    }
    fn owner(uid: u32, gid: u32) -> Option<Owner> {
        Some(Owner { uid, gid })
    }

    #[test]
    fn who_may_become_whom() {
        for (me, change, whom, ok) in [
            (0, true, None, true),
            (0, true, owner(1000, 1000), true),
            (0, true, owner(1000, 8), true),
            (0, true, owner(0, 0), false),
            (0, true, owner(1000, 0), false),
            (0, true, owner(0, 1000), false),
            (0, true, owner(499, 1000), false),
            (0, true, owner(u32::MAX, 1000), false),
            (990, true, owner(1000, 1000), true),
            (990, false, None, true),
            (990, false, owner(990, 990), true),
            (990, false, owner(990, 1000), false),
            (990, false, owner(1000, 1000), false),
        ] {
            assert_eq!(rights(me, change).ids_for(whom).is_ok(), ok, "{me} {change} {whom:?}");
        }
    }
}
