//! From root to the service user, keeping what is needed to open mail as its owner, and nothing else.

use anyhow::{Context, Result, bail};
use culver_config::Settings;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// The capabilities that stay: to take owners' identities.
const KEPT: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID);

/// Becomes the user of the setting `user` when started as root; otherwise only gives up what is not needed.
pub fn become_service_user(settings: &Settings) -> Result<()> {
    let root = geteuid().is_root();
    let gives_up = !root || !settings.user.is_empty();
    if gives_up {
        // First, since it needs CAP_SETPCAP, which goes with root.
        cut_bounding_set(KEPT);
    }
    if root && !settings.user.is_empty() {
        let (uid, gid) = look_up(&settings.user)?;
        if uid == 0 {
            bail!("user = {:?} is root: name the service user, or leave the setting out", settings.user);
        }
        take(uid, gid).with_context(|| format!("cannot become the user {}", settings.user))?;
    }
    // Root that stays root (no user set) keeps its powers over files: it may be all that such a machine has.
    if gives_up {
        keep_only(KEPT).context("capabilities")?;
    }
    Ok(())
}

/// For commands that write to the state folder while no server runs: what they write must be the service user's. Started as
/// root, the calling thread becomes the user of the setting, or, without one (systemd starts the server as its user), the
/// owner of the state folder. Threads that it starts inherit that.
///
/// # Errors
/// When the user does not exist or cannot be taken.
pub fn become_keeper(settings: &Settings) -> Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = if settings.user.is_empty() {
        let dir = rustix::fs::stat(&settings.state_dir)
            .with_context(|| settings.state_dir.display().to_string())?;
        (dir.st_uid, dir.st_gid)
    } else {
        look_up(&settings.user)?
    };
    if uid == 0 {
        return Ok(());
    }
    take(uid, gid).with_context(|| format!("cannot become uid {uid}, whose the state folder is"))?;
    keep_only(KEPT).context("capabilities")
}

/// All identities of the calling thread but for its capabilities.
fn take(uid: u32, gid: u32) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    // Else the change of uid would take all capabilities away.
    rustix::thread::set_keep_capabilities(true)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
}

/// What is not in it cannot come back, not even by starting a program that has it.
fn cut_bounding_set(wanted: CapabilitySet) {
    for capability in CapabilitySet::all().iter().filter(|c| !wanted.contains(*c)) {
        // A start without privileges may not, and has none to lose; capabilities unknown to the kernel are no matter.
        let _ = rustix::thread::remove_capability_from_bounding_set(capability);
    }
}

fn keep_only(wanted: CapabilitySet) -> rustix::io::Result<()> {
    let now = rustix::thread::capabilities(None)?;
    let kept = now.permitted.intersection(wanted);
    let _ = rustix::thread::clear_ambient_capability_set();
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)
}

/// The ids of a user, from /etc/passwd: a service user is a local one.
#[allow(clippy::disallowed_methods, reason = "the system's own file, read once at start")]
fn look_up(name: &str) -> Result<(u32, u32)> {
    let text = std::fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
    ids(&text, name).with_context(|| {
        format!("there is no user {name} in /etc/passwd: useradd --system --shell /usr/sbin/nologin {name}")
    })
}

fn ids(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        found.then_some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_passwd() {
        let text =
            "root:x:0:0:root:/root:/bin/bash\nbroken\nculver:x:990:980::/var/lib/culver:/usr/sbin/nologin\n";
        assert_eq!(ids(text, "culver"), Some((990, 980)));
        assert_eq!(ids(text, "cul"), None);
        assert_eq!(ids(text, "broken"), None);
    }
}
