//! What the kernel has counted for a process and all that it started: CPU time and memory, out of /proc.
//!
//! CPU time of a process is the sum of `schedstat` over its threads, in nanoseconds. A thread that has ended is no longer
//! there; `utime + stime` of the process has it still, in ticks of 10 ms rounded down: the larger of the two counts.
//! Children that have ended and were waited for stand in `cutime + cstime` of their parent. The kernel adds them up in
//! nanoseconds and rounds only what it shows, so many short children make no larger error than one: 20 ms for each
//! parent. Where that is too coarse, [`crate::cgroup`] is exact.

use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// Nanoseconds of a clock tick: /proc shows 100 a second on every Linux.
const TICK: u64 = 10_000_000;

/// One process, as its `stat` shows it.
struct Stat {
    parent: u32,
    /// User and system time of all its threads, ended ones too, in ticks.
    own: u64,
    /// The same of the children it has waited for.
    children: u64,
}

/// `PID (name) state ppid ...`: the name may hold anything, also blanks and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Fields 14 to 17 of proc(5) are utime, stime, cutime and cstime; the third is the first after the name.
    let number = |i: usize| fields.get(i - 3).and_then(|f| f.parse::<u64>().ok());
    Some(Stat {
        parent: u32::try_from(number(4)?).ok()?,
        own: number(14)? + number(15)?,
        children: number(16)? + number(17)?,
    })
}

fn all() -> Result<HashMap<u32, Stat>> {
    let mut all = HashMap::new();
    for entry in fs::read_dir("/proc").context("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        // A process may end between the two calls.
        if let Some(stat) =
            fs::read_to_string(format!("/proc/{pid}/stat")).ok().as_deref().and_then(parse_stat)
        {
            all.insert(pid, stat);
        }
    }
    Ok(all)
}

fn is_below(all: &HashMap<u32, Stat>, mut pid: u32, root: u32) -> bool {
    // Process numbers are used again while we read, so that a circle may be seen: an end in any case.
    for _ in 0..64 {
        if pid == root {
            return true;
        }
        match all.get(&pid) {
            Some(stat) => pid = stat.parent,
            None => return false,
        }
    }
    false
}

/// `root` and its living descendants.
///
/// # Errors
/// When /proc cannot be read.
pub fn tree(root: u32) -> Result<Vec<u32>> {
    let all = all()?;
    Ok(all.keys().copied().filter(|pid| is_below(&all, *pid, root)).collect())
}

/// CPU time of `root`, its descendants, and those of them that have ended and were waited for.
///
/// # Errors
/// When /proc cannot be read.
pub fn cpu(root: u32) -> Result<Duration> {
    let all = all()?;
    let mut nanos = 0;
    for (pid, stat) in all.iter().filter(|(pid, _)| is_below(&all, **pid, root)) {
        nanos += threads(*pid).max(stat.own * TICK) + stat.children * TICK;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Nanoseconds that the living threads of `pid` have run.
fn threads(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let of = |task: fs::DirEntry| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    tasks.flatten().filter_map(of).sum()
}

/// Memory of these processes in KiB: pages that several share are counted by parts (`Pss`). What ended meanwhile counts
/// nothing.
pub fn pss(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|t| field(&t, "Pss:"))
        .sum()
}

/// The number after `name` at the begin of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|l| l.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_an_ugly_name() {
        let stat = parse_stat("12 (a) b (c) S 7 1 1 0 -1 4194304 10 0 0 0 30 12 5 6 20 0 1").unwrap();
        assert_eq!((stat.parent, stat.own, stat.children), (7, 42, 11));
        assert!(parse_stat("12 (cut) S 7 1").is_none());
    }

    #[test]
    fn smaps_rollup() {
        let text = "00400000-7ffc 00:00 0 [rollup]\nRss:  1708 kB\nPss:   291 kB\nPss_Dirty: 112 kB\n";
        assert_eq!(field(text, "Pss:"), Some(291));
    }

    /// A second source: what this very process burns is seen within the tick's error.
    #[test]
    fn our_own_time_is_seen() {
        let me = std::process::id();
        let before = cpu(me).unwrap();
        let start = std::time::Instant::now();
        let mut x = 1u64;
        while start.elapsed() < Duration::from_millis(150) {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        let used = cpu(me).unwrap() - before;
        assert!(used > Duration::from_millis(20), "{used:?}");
        assert!(tree(me).unwrap().contains(&me));
        assert!(pss(&[me]) > 100);
    }
}
