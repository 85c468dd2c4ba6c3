//! CPU time of a process and all that it started, as the kernel has counted it.

use anyhow::Result;
use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// Clock ticks a second: fixed at 100 on Linux for everything that /proc shows.
const TICKS: u64 = 100;

/// User and system time of `root`, its living descendants, and the children that each of them has waited for.
///
/// # Errors
/// When /proc cannot be read.
pub fn of_tree(root: u32) -> Result<Duration> {
    let mut parent_of = HashMap::new();
    let mut ticks_of = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        // A process may end between the two calls.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
        // After the name: state, ppid, ...; utime, stime, cutime and cstime are fields 14 to 17 of proc(5).
        parent_of.insert(pid, number(1) as u32);
        ticks_of.insert(pid, (11..=14).map(number).sum::<u64>());
    }
    let in_tree = |mut pid: u32| {
        for _ in 0..64 {
            if pid == root {
                return true;
            }
            match parent_of.get(&pid) {
                Some(parent) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    let ticks: u64 = ticks_of.iter().filter(|(pid, _)| in_tree(**pid)).map(|(_, t)| *t).sum();
    Ok(Duration::from_millis(ticks * 1000 / TICKS))
}
