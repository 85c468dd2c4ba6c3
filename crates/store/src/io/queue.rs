//! Who is served next. Pure: jobs are any value, the clock is an argument.
//!
//! Each owner has a queue of its own. A worker prefers the owner whose identity it has, but not more than
//! [`STREAK`] times in a row and not once the oldest job of another owner has waited for [`PATIENCE`]; otherwise
//! the oldest job is next. One owner never holds more than three quarters of the workers, so that a user with
//! many slow jobs cannot stop the others.

use crate::Owner;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Jobs of one owner in a row while others wait.
const STREAK: u32 = 16;
/// How long a job of another owner may be passed over.
const PATIENCE: Duration = Duration::from_millis(5);
/// After so many jobs that somebody waits for, one that nobody waits for is served.
const LOW_EVERY: u32 = 32;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Priority {
    High,
    Low,
}

struct Queued<J> {
    number: u64,
    since: Instant,
    job: J,
}

struct Lane<J> {
    of: HashMap<Option<Owner>, VecDeque<Queued<J>>>,
    /// The first job of each owner, oldest first.
    heads: BTreeMap<u64, Option<Owner>>,
}

impl<J> Lane<J> {
    fn new() -> Self {
        Self { of: HashMap::new(), heads: BTreeMap::new() }
    }

    fn push(&mut self, owner: Option<Owner>, queued: Queued<J>) {
        let queue = self.of.entry(owner).or_default();
        if queue.is_empty() {
            self.heads.insert(queued.number, owner);
        }
        queue.push_back(queued);
    }

    fn pop(&mut self, owner: Option<Owner>) -> Option<J> {
        let queue = self.of.get_mut(&owner)?;
        let first = queue.pop_front()?;
        self.heads.remove(&first.number);
        match queue.front() {
            Some(next) => {
                self.heads.insert(next.number, owner);
            }
            None => {
                self.of.remove(&owner);
            }
        }
        Some(first.job)
    }

    fn since(&self, owner: Option<Owner>) -> Option<Instant> {
        Some(self.of.get(&owner)?.front()?.since)
    }
}

/// What a worker is handed.
pub(super) struct Picked<J> {
    pub(super) owner: Option<Owner>,
    pub(super) priority: Priority,
    pub(super) job: J,
}

/// A worker's last owner and how often in a row.
#[derive(Clone, Copy, Default)]
pub(super) struct Streak {
    owner: Option<Option<Owner>>,
    length: u32,
}

impl Streak {
    pub(super) fn is_of(&self, owner: Option<Owner>) -> bool {
        self.owner == Some(owner)
    }
}

pub(super) struct Queue<J> {
    high: Lane<J>,
    low: Lane<J>,
    number: u64,
    high_in_a_row: u32,
    running: HashMap<Owner, usize>,
    running_low: usize,
    most_per_owner: usize,
    most_low: usize,
}

impl<J> Queue<J> {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            high: Lane::new(),
            low: Lane::new(),
            number: 0,
            high_in_a_row: 0,
            running: HashMap::new(),
            running_low: 0,
            most_per_owner: (workers - workers / 4).max(1),
            most_low: (workers / 2).max(1),
        }
    }

    pub(super) fn push(&mut self, priority: Priority, owner: Option<Owner>, now: Instant, job: J) {
        let queued = Queued { number: self.number, since: now, job };
        self.number += 1;
        match priority {
            Priority::High => self.high.push(owner, queued),
            Priority::Low => self.low.push(owner, queued),
        }
    }

    /// The next job for a worker; [`Self::done`] must follow.
    pub(super) fn pick(&mut self, streak: &mut Streak, now: Instant) -> Option<Picked<J>> {
        let order = if self.high_in_a_row >= LOW_EVERY {
            [Priority::Low, Priority::High]
        } else {
            [Priority::High, Priority::Low]
        };
        order.into_iter().find_map(|priority| self.pick_from(priority, streak, now))
    }

    fn pick_from(&mut self, priority: Priority, streak: &mut Streak, now: Instant) -> Option<Picked<J>> {
        if priority == Priority::Low && self.running_low >= self.most_low {
            return None;
        }
        let lane = match priority {
            Priority::High => &mut self.high,
            Priority::Low => &mut self.low,
        };
        let (running, most) = (&self.running, self.most_per_owner);
        let free = |o: &Option<Owner>| o.is_none_or(|o| running.get(&o).is_none_or(|n| *n < most));
        let oldest = *lane.heads.values().find(|o| free(o))?;
        let mine = streak.owner.filter(|o| {
            streak.length < STREAK
                && free(o)
                && lane.of.contains_key(o)
                && lane.since(oldest).is_none_or(|since| now.duration_since(since) < PATIENCE)
        });
        let owner = mine.unwrap_or(oldest);
        let job = lane.pop(owner)?;
        streak.length = if streak.owner == Some(owner) { streak.length + 1 } else { 1 };
        streak.owner = Some(owner);
        if let Some(o) = owner {
            *self.running.entry(o).or_default() += 1;
        }
        match priority {
            Priority::High => self.high_in_a_row += 1,
            Priority::Low => {
                self.high_in_a_row = 0;
                self.running_low += 1;
            }
        }
        Some(Picked { owner, priority, job })
    }

    pub(super) fn done(&mut self, owner: Option<Owner>, priority: Priority) {
        if let Some(o) = owner
            && let Some(n) = self.running.get_mut(&o)
        {
            *n -= 1;
            if *n == 0 {
                self.running.remove(&o);
            }
        }
        if priority == Priority::Low {
            self.running_low -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(n: u32) -> Option<Owner> {
        Some(Owner { uid: n, gid: n })
    }

    fn drain(q: &mut Queue<u32>, now: Instant) -> Vec<u32> {
        let mut streak = Streak::default();
        let mut out = Vec::new();
        while let Some(p) = q.pick(&mut streak, now) {
            q.done(p.owner, p.priority);
            out.push(p.job);
        }
        out
    }

    #[test]
    fn a_worker_stays_with_its_owner_for_a_while() {
        let (mut q, now) = (Queue::new(4), Instant::now());
        for n in 0..40 {
            q.push(Priority::High, owner(1 + n % 2), now, n);
        }
        let order = drain(&mut q, now);
        assert_eq!(order.len(), 40);
        assert!(order[..16].iter().all(|n| n % 2 == 0), "{order:?}");
        assert_eq!(order[16] % 2, 1, "then the other one: {order:?}");
    }

    #[test]
    fn who_waited_long_is_next() {
        let (mut q, then) = (Queue::new(4), Instant::now());
        q.push(Priority::High, owner(1), then, 1);
        q.push(Priority::High, owner(2), then, 2);
        q.push(Priority::High, owner(1), then, 3);
        assert_eq!(drain(&mut q, then + PATIENCE), [1, 2, 3]);
    }

    #[test]
    fn one_owner_leaves_workers_to_others() {
        let (mut q, now) = (Queue::new(4), Instant::now());
        for n in 0..10 {
            q.push(Priority::High, owner(1), now, n);
        }
        let mut picked = Vec::new();
        for _ in 0..4 {
            picked.extend(q.pick(&mut Streak::default(), now));
        }
        assert_eq!(picked.len(), 3, "three of four workers");
        q.push(Priority::High, owner(2), now, 99);
        assert_eq!(q.pick(&mut Streak::default(), now).map(|p| p.job), Some(99));
        q.done(owner(1), Priority::High);
        assert!(q.pick(&mut Streak::default(), now).is_some());
    }

    #[test]
    fn low_priority_goes_behind_but_does_not_starve() {
        let (mut q, now) = (Queue::new(4), Instant::now());
        q.push(Priority::Low, None, now, 1000);
        for n in 0..100 {
            q.push(Priority::High, None, now, n);
        }
        let order = drain(&mut q, now);
        assert_eq!(order.iter().position(|n| *n == 1000), Some(LOW_EVERY as usize));
    }
}
