//! What a server has cost: CPU time and memory, from the best source there is.
//!
//! Dovecot forks: a login process may live for one login, a mail process for one session. What ended must count. A control
//! group counts it to the microsecond ([`crate::cgroup`]) and is taken where one can be had; else the process tree
//! ([`crate::procs`]), whose error is up to 20 ms in one run for what has ended.

use crate::cgroup::Cgroup;
use crate::procs;
use anyhow::Result;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How often memory is looked at while its peak is searched.
const SAMPLE: Duration = Duration::from_millis(20);

/// Reads the costs of one server.
#[derive(Debug)]
pub struct Meter {
    root: u32,
    group: Option<Cgroup>,
}

impl Meter {
    /// Of a server that runs already: nothing about it is changed.
    pub fn of(root: u32) -> Meter {
        Meter { root, group: Cgroup::found(root) }
    }

    /// Of a server that we started: it gets a control group of its own if possible.
    pub fn of_ours(root: u32) -> Meter {
        Meter { root, group: Cgroup::around(root).ok() }
    }

    /// What counts CPU time, for the report.
    pub fn source(&self) -> &'static str {
        match self.group {
            Some(_) => "cpu.stat of its control group",
            None => "schedstat of its process tree",
        }
    }

    /// CPU time until now.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn cpu(&self) -> Result<Duration> {
        match &self.group {
            Some(group) => group.cpu(),
            None => procs::cpu(self.root),
        }
    }

    /// Memory (PSS) in KiB.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn pss(&self) -> Result<u64> {
        let pids = match &self.group {
            Some(group) => group.members()?,
            None => procs::tree(self.root)?,
        };
        Ok(procs::pss(&pids))
    }

    /// CPU time once the server has come to rest: what it still does after its last answer is part of the cost.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn cpu_at_rest(&self) -> Result<Duration> {
        let mut last = self.cpu()?;
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(25));
            let now = self.cpu()?;
            if now.saturating_sub(last) < Duration::from_micros(500) {
                return Ok(now);
            }
            last = now;
        }
        Ok(last)
    }

    /// Runs `work`; gives back with its result the highest memory (PSS) seen meanwhile, in KiB.
    pub fn peak<T>(&self, work: impl FnOnce() -> T) -> (T, u64) {
        let (highest, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    highest.fetch_max(self.pss().unwrap_or(0), Ordering::Relaxed);
                    std::thread::sleep(SAMPLE);
                }
            });
            let result = work();
            over.store(true, Ordering::Relaxed);
            result
        });
        (result, highest.into_inner())
    }
}
