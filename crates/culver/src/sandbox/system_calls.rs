//! seccomp: system calls that the server never makes, and identities that it never takes.
//!
//! A list of what is refused, not of what is allowed: allocator, run time and libc change what they call, and a mail server
//! that dies of a new kind of futex helps nobody. Refused calls get EPERM.

use anyhow::Result;
use culver_config::Settings;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition as Condition,
    SeccompFilter, SeccompRule as Rule,
};
use std::collections::BTreeMap;

/// Installs the filter for this thread and all that it will start.
pub fn filter(settings: &Settings) -> Result<()> {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let least = (settings.auth.first_valid_uid, settings.auth.first_valid_gid);
    let program = program(own, least)?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}

fn program(own: (u32, u32), least: (u32, u32)) -> Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<Rule>> = BTreeMap::new();
    for call in REFUSED {
        rules.insert(*call, vec![]);
    }
    rules.insert(libc::SYS_setfsuid, identity(own.0, least.0)?);
    rules.insert(libc::SYS_setfsgid, identity(own.1, least.1)?);
    // The filter cannot look into the list: only the empty one.
    let some = Condition::new(0, Len::Qword, Op::Ne, 0)?;
    rules.insert(libc::SYS_setgroups, vec![Rule::new(vec![some])?]);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EPERM.unsigned_abs()),
        std::env::consts::ARCH.try_into()?,
    )?;
    Ok(filter.try_into()?)
}

/// What is refused of setfsuid and setfsgid: ids below the least valid one, but for the server's own and for the impossible
/// one, by which the present one is read. Ids have 32 bits, whatever stands in the upper half of the register.
fn identity(own: u32, least: u32) -> Result<Vec<Rule>> {
    let low = Condition::new(0, Len::Dword, Op::Lt, u64::from(least.max(1)))?;
    let other = Condition::new(0, Len::Dword, Op::Ne, u64::from(own))?;
    Ok(vec![Rule::new(vec![low, other])?])
}

/// Never needed by a running server.
const REFUSED: &[i64] = &[
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_personality,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
];

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    /// In a thread of its own: what it gives up, the others keep.
    #[test]
    fn what_a_server_never_does_is_refused() {
        std::thread::spawn(|| {
            rustix::thread::set_no_new_privs(true).unwrap();
            let own = (rustix::process::geteuid(), rustix::process::getegid());
            seccompiler::apply_filter(&program((own.0.as_raw(), own.1.as_raw()), (500, 1)).unwrap()).unwrap();
            assert_eq!(rustix::thread::set_thread_uid(own.0), Err(Errno::PERM));
            assert_eq!(rustix::thread::set_thread_res_gid(own.1, own.1, own.1), Err(Errno::PERM));
            assert_eq!(rustix::thread::set_thread_groups(&[own.1]), Err(Errno::PERM));
            let started = std::process::Command::new("/bin/true").status();
            assert_eq!(started.unwrap_err().raw_os_error(), Some(libc::EPERM));
            // And what it does go on doing.
            std::fs::write("/dev/null", "x").unwrap();
            std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        })
        .join()
        .unwrap();
        assert!(std::process::Command::new("/bin/true").status().unwrap().success());
    }
}
