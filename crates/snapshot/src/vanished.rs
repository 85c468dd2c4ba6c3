//! Which UIDs were expunged, and when: what QRESYNC and VANISHED (EARLIER) need (RFC 7162 §3.2.5.1).

use culver_base::{ModSeq, UidSet};
use std::sync::Arc;

/// A bounded tail of the expunges of a mailbox. What is older than the tail is answered with every UID that is
/// missing: more than needed, never less (RFC 7162 §3.2.6 allows it).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Vanished {
    /// Everything expunged with a mod-sequence above this is in `log`.
    complete_since: ModSeq,
    /// Ascending mod-sequences.
    log: Arc<Vec<(ModSeq, UidSet)>>,
}

impl Vanished {
    /// How many expunges are remembered.
    pub const CAPACITY: usize = 4096;

    /// Knows nothing of what happened up to and including `mod_seq`.
    pub fn since(mod_seq: ModSeq) -> Self {
        Self { complete_since: mod_seq, log: Arc::default() }
    }

    /// From stored parts; `log` must ascend.
    pub fn from_parts(complete_since: ModSeq, log: Vec<(ModSeq, UidSet)>) -> Self {
        Self { complete_since, log: Arc::new(log) }
    }

    /// The point from which on this tail is complete.
    pub fn complete_since(&self) -> ModSeq {
        self.complete_since
    }

    /// The entries, ascending.
    pub fn entries(&self) -> &[(ModSeq, UidSet)] {
        &self.log
    }

    /// Remembers an expunge. Drops the older half once the tail is full.
    pub fn record(&mut self, mod_seq: ModSeq, uids: UidSet) {
        if uids.is_empty() {
            return;
        }
        let log = Arc::make_mut(&mut self.log);
        log.push((mod_seq, uids));
        if log.len() > Self::CAPACITY {
            let dropped = log.len() - Self::CAPACITY / 2;
            self.complete_since = log[dropped - 1].0;
            log.drain(..dropped);
        }
    }

    /// UIDs expunged after `mod_seq`; `None` when the tail does not reach that far back.
    pub fn after(&self, mod_seq: ModSeq) -> Option<UidSet> {
        if mod_seq < self.complete_since {
            return None;
        }
        let from = self.log.partition_point(|(m, _)| *m <= mod_seq);
        let mut all: Vec<(u32, u32)> =
            self.log[from..].iter().flat_map(|(_, u)| u.ranges().iter().copied()).collect();
        all.sort_unstable();
        let mut set = UidSet::new();
        for (lo, hi) in all {
            set.insert_range(lo, hi);
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use culver_base::Uid;

    fn m(n: u64) -> ModSeq {
        ModSeq::new(n).unwrap()
    }

    #[test]
    fn what_was_forgotten_is_not_pretended() {
        let mut v = Vanished::since(m(10));
        for i in 0..=Vanished::CAPACITY as u32 {
            v.record(m(11 + u64::from(i)), UidSet::one(Uid::new(2 * i + 1).unwrap()));
        }
        assert!(v.entries().len() <= Vanished::CAPACITY);
        assert_eq!(v.after(m(10)), None);
        let last = v.entries().last().unwrap().0;
        assert_eq!(v.after(last), Some(UidSet::new()));
        assert_eq!(v.after(v.complete_since()).map(|s| s.len()), Some(v.entries().len() as u64));
    }
}
