//! A control group (cgroup v2) as a meter: the kernel adds up there, in microseconds, what every process in it has run,
//! ended ones and ended threads too. `cpu.stat` has `usage_usec` in every group, whatever controllers are on.
//!
//! A server that `culver-bench` started itself is moved into a group of its own. A server that was there before is
//! never moved; when it is alone in its group already, as a unit of systemd is, that group is only read.

use crate::procs;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A group that holds one server and nothing else.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    /// Whether we made it, and take it away.
    made: Made,
}

#[derive(Debug, PartialEq, Eq)]
enum Made {
    Here,
    Before,
}

/// Where cgroup v2 is mounted: field 5 of the line with the type `cgroup2` (proc(5), mountinfo).
fn mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = mounts.lines().find(|l| l.contains(" - cgroup2 "))?;
    Some(PathBuf::from(line.split(' ').nth(4)?))
}

/// The group of a process: the line `0::/path` of its `cgroup`.
fn group_of(pid: u32) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = text.lines().find_map(|l| l.strip_prefix("0::/"))?;
    Some(mount()?.join(path))
}

fn members(group: &Path) -> Result<Vec<u32>> {
    let file = group.join("cgroup.procs");
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(text.lines().filter_map(|l| l.parse().ok()).collect())
}

impl Cgroup {
    /// The group that the process `root` is in, if its tree is alone there.
    pub fn found(root: u32) -> Option<Cgroup> {
        let path = group_of(root)?;
        let (here, tree) = (members(&path).ok()?, procs::tree(root).ok()?);
        let alone = here.iter().all(|p| tree.contains(p)) && tree.iter().all(|p| here.contains(p));
        alone.then_some(Cgroup { path, made: Made::Before })
    }

    /// Makes a group and moves `root` and all its descendants into it; what they start later is in it by birth.
    ///
    /// # Errors
    /// When there is no cgroup v2 or we may not make a group.
    pub fn around(root: u32) -> Result<Cgroup> {
        let mount = mount().context("cgroup v2 is not mounted")?;
        let path = mount.join(format!("culver-bench-{root}"));
        fs::create_dir(&path).with_context(|| path.display().to_string())?;
        let group = Cgroup { path, made: Made::Here };
        // Again until nobody is left outside: a process may start another while we move.
        for _ in 0..16 {
            let inside = members(&group.path)?;
            let outside: Vec<u32> = procs::tree(root)?.into_iter().filter(|p| !inside.contains(p)).collect();
            if outside.is_empty() {
                return Ok(group);
            }
            for pid in outside {
                // It may have ended.
                let _ = fs::write(group.path.join("cgroup.procs"), pid.to_string());
            }
        }
        anyhow::bail!("the processes of {root} cannot be moved into {}", group.path.display())
    }

    /// CPU time of all that ever ran in it.
    ///
    /// # Errors
    /// When `cpu.stat` cannot be read.
    pub fn cpu(&self) -> Result<Duration> {
        let text = fs::read_to_string(self.path.join("cpu.stat")).context("cpu.stat")?;
        let usage =
            text.lines().find_map(|l| l.strip_prefix("usage_usec ")).context("usage_usec in cpu.stat")?;
        Ok(Duration::from_micros(usage.trim().parse()?))
    }

    /// Who is in it.
    ///
    /// # Errors
    /// When `cgroup.procs` cannot be read.
    pub fn members(&self) -> Result<Vec<u32>> {
        members(&self.path)
    }
}

impl Drop for Cgroup {
    /// A group can go when its last process has ended; the server is told to end before. One that stays costs nothing.
    fn drop(&mut self) {
        if self.made == Made::Before {
            return;
        }
        for _ in 0..100 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
