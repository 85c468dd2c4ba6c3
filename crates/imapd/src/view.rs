//! A session's view of its selected mailbox: a snapshot, the messages that are recent to it, and what it has
//! been told.
//!
//! Sequence numbers are positions in the view. The view changes only together with what is sent: by
//! [`View::advance`], which says what the client must hear. While an EXPUNGE must not be sent (RFC 9051 §7.5.1),
//! expunged messages stay in the view and everything else moves on.

use culver_base::{Bound, SequenceSet, Uid, UidSet};
use culver_imap::command::Numbering;
use culver_snapshot::{Diff, Snapshot, diff};
use std::sync::Arc;

/// May EXPUNGE be sent now?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expunges {
    /// It may.
    Tell,
    /// No command that uses sequence numbers may see them shift.
    Hold,
}

/// What a client must hear so that its picture equals the view.
#[derive(Debug, Default)]
pub struct News {
    /// Positions in the view before, with UIDs, ascending.
    pub expunged: Vec<(usize, Uid)>,
    /// Positions in the view now.
    pub changed: Vec<usize>,
    /// How many messages came.
    pub arrived: usize,
    /// New keywords: FLAGS is sent again.
    pub keywords_added: bool,
}

/// The view.
#[derive(Debug)]
pub struct View {
    told: Snapshot,
    recent: UidSet,
    /// The newest snapshot already worked into `told`, to see at a glance that nothing happened.
    seen: Arc<Snapshot>,
    /// UIDs still in the view although the mailbox has them no more.
    held: usize,
}

impl View {
    /// A view of `snapshot`; messages in `recent` are recent to this session.
    pub fn new(snapshot: Arc<Snapshot>, recent: UidSet) -> Self {
        Self { told: (*snapshot).clone(), recent, seen: snapshot, held: 0 }
    }

    /// The snapshot that the client's picture equals.
    pub fn snapshot(&self) -> &Snapshot {
        &self.told
    }

    /// UIDs that are `\Recent` to this session.
    pub fn recent(&self) -> &UidSet {
        &self.recent
    }

    /// How many messages in the view are recent: for the RECENT response.
    pub fn recent_count(&self) -> usize {
        self.told.select(&self.recent).count()
    }

    /// These arrivals are recent to this session.
    pub fn add_recent(&mut self, uids: UidSet) {
        for &(lo, hi) in uids.ranges() {
            self.recent.insert_range(lo, hi);
        }
    }

    /// Would [`View::advance`] tell anything?
    pub fn is_current(&self, now: &Arc<Snapshot>) -> bool {
        self.held == 0 && Arc::ptr_eq(&self.seen, now)
    }

    /// Moves the view to `now` as far as `expunges` lets it, and says what the client must hear.
    pub fn advance(&mut self, now: &Arc<Snapshot>, expunges: Expunges) -> News {
        if self.is_current(now) || (expunges == Expunges::Hold && Arc::ptr_eq(&self.seen, now)) {
            return News::default();
        }
        let d = diff(&self.told, now);
        let news = match expunges {
            Expunges::Tell => {
                self.told = (**now).clone();
                self.held = 0;
                d.into()
            }
            Expunges::Hold if d.expunged.is_empty() => {
                self.told = (**now).clone();
                self.held = 0;
                d.into()
            }
            Expunges::Hold => self.advance_holding(now, d),
        };
        self.seen = now.clone();
        news
    }

    /// As [`View::advance`], with the expunged messages left in the view.
    fn advance_holding(&mut self, now: &Snapshot, d: Diff) -> News {
        let mut edit = self.told.edit();
        *edit.keywords() = (*now.keywords).clone();
        let mut changed = Vec::with_capacity(d.changed.len());
        for record in d.changed.iter().filter_map(|i| now.get(*i)) {
            changed.extend(self.told.find(record.uid));
            edit.update(record.uid, |r| *r = record.clone());
        }
        for record in now.iter_from(now.len() - d.arrived) {
            edit.push(record.clone());
        }
        let mut told = edit.finish_loading();
        told.uid_next = now.uid_next;
        told.highest_mod_seq = now.highest_mod_seq;
        self.told = told;
        self.held = d.expunged.len();
        News { expunged: Vec::new(), changed, arrived: d.arrived, keywords_added: d.keywords_added }
    }

    /// The client has been told the state of `uids` in `now` by the answer of its own command, or does not want
    /// to hear it (`.SILENT`): the view takes it over without news.
    pub fn absorb(&mut self, uids: &UidSet, now: &Snapshot) {
        let d = diff(&self.told, now);
        let all_told = d.changed.iter().filter_map(|i| now.get(*i)).all(|r| uids.has(r.uid));
        if d.expunged.is_empty() && d.arrived == 0 && !d.keywords_added && all_told {
            // Nothing else happened: share every chunk with the mailbox again.
            self.told = now.clone();
            return;
        }
        let mut edit = self.told.edit();
        for (_, record) in now.select(uids) {
            edit.update(record.uid, |r| *r = record.clone());
        }
        let highest = self.told.highest_mod_seq;
        let mut told = edit.finish_loading();
        told.highest_mod_seq = highest;
        self.told = told;
    }

    /// Takes the keyword table of `now` over: the client is being told FLAGS.
    pub fn learn_keywords(&mut self, now: &Snapshot) {
        self.told.keywords = now.keywords.clone();
    }

    /// The UIDs in the view that a command names. `saved` stands for `$`. `Err` when a sequence number lies
    /// beyond the view: such a command is BAD (RFC 9051 §9, `seq-number`: "MUST be valid"); UIDs may name nothing.
    pub fn resolve(
        &self,
        set: &SequenceSet,
        numbering: Numbering,
        saved: &UidSet,
    ) -> Result<UidSet, OutOfRange> {
        let all = &self.told;
        match (set, numbering) {
            (SequenceSet::Saved, _) => Ok(all.select(saved).map(|(_, r)| r.uid).collect()),
            (set, Numbering::Uid) => {
                let wanted = set.resolve(all.last_uid().map_or(0, Uid::get));
                Ok(all.select(&wanted).map(|(_, r)| r.uid).collect())
            }
            (SequenceSet::Ranges(ranges), Numbering::Sequence) => {
                let len = u32::try_from(all.len()).unwrap_or(u32::MAX);
                let highest = ranges.iter().flat_map(|(a, b)| [a, b]).filter_map(|b| match b {
                    Bound::Number(n) => Some(*n),
                    Bound::Star => None,
                });
                if highest.max().is_some_and(|n| n > len) || len == 0 {
                    return Err(OutOfRange { len });
                }
                Ok(all.uids_at(&set.resolve(len)))
            }
        }
    }
}

/// A sequence number names no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfRange {
    /// How many messages there are.
    pub len: u32,
}

impl From<Diff> for News {
    fn from(d: Diff) -> Self {
        Self {
            expunged: d.expunged,
            changed: d.changed,
            arrived: d.arrived,
            keywords_added: d.keywords_added,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use culver_base::{InternalDate, ModSeq, SystemFlags, UidValidity};
    use culver_snapshot::{Flags, MailboxId, Record};
    use proptest::prelude::*;

    fn grown(s: &Snapshot, n: usize) -> Snapshot {
        let mut e = s.edit();
        for _ in 0..n {
            let uid = e.peek().uid_next;
            let mod_seq = e.mod_seq();
            e.push(Record {
                uid,
                flags: Flags::default(),
                mod_seq,
                internal_date: InternalDate::utc(0),
                size: Some(1),
                save_date: 0,
            });
        }
        e.finish()
    }

    fn start() -> Snapshot {
        Snapshot::empty(MailboxId([0; 16]), UidValidity::MIN, Uid::MIN, ModSeq::new(1).unwrap())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        /// Whatever is held back and whenever, the client's picture is the view, and after a full sync the mailbox.
        #[test]
        fn holding_expunges_back_never_shifts_a_number(
            steps in proptest::collection::vec((0usize..4, any::<u16>(), any::<bool>()), 1..30),
        ) {
            let mut now = Arc::new(start());
            let mut view = View::new(now.clone(), UidSet::new());
            let mut client: Vec<(Uid, Flags)> = Vec::new();
            for (what, at, tell) in steps {
                let pick = (!now.is_empty()).then(|| now.get(usize::from(at) % now.len()).unwrap().uid);
                let next = match (what, pick) {
                    (0, Some(uid)) => {
                        let mut e = now.edit();
                        e.remove(&UidSet::one(uid));
                        e.finish()
                    }
                    (1, Some(uid)) => {
                        let mut e = now.edit();
                        let m = e.mod_seq();
                        e.update(uid, |r| {
                            r.flags.system = SystemFlags::from_bits(at as u8);
                            r.mod_seq = m;
                        });
                        e.finish()
                    }
                    _ => grown(&now, what + 1),
                };
                now = Arc::new(next);
                let expunges = if tell { Expunges::Tell } else { Expunges::Hold };
                let news = view.advance(&now, expunges);
                prop_assert!(tell || news.expunged.is_empty());
                for (i, uid) in news.expunged.iter().rev() {
                    prop_assert_eq!(client.remove(*i).0, *uid);
                }
                let len = view.snapshot().len();
                prop_assert_eq!(client.len() + news.arrived, len);
                client.extend(view.snapshot().iter_from(len - news.arrived).map(|r| (r.uid, r.flags)));
                for i in news.changed {
                    client[i].1 = view.snapshot().get(i).unwrap().flags;
                }
                let picture: Vec<_> = view.snapshot().iter().map(|r| (r.uid, r.flags)).collect();
                prop_assert_eq!(&client, &picture);
                if tell {
                    let mailbox: Vec<_> = now.iter().map(|r| (r.uid, r.flags)).collect();
                    prop_assert_eq!(picture, mailbox);
                    prop_assert!(view.is_current(&now));
                }
            }
        }
    }

    #[test]
    fn a_sequence_number_beyond_the_view_is_refused_a_uid_is_not() {
        let now = Arc::new(grown(&start(), 3));
        let view = View::new(now, UidSet::new());
        let set = SequenceSet::Ranges(vec![(Bound::Number(2), Bound::Number(9))]);
        let none = UidSet::new();
        assert!(view.resolve(&set, Numbering::Sequence, &none).is_err());
        assert_eq!(view.resolve(&set, Numbering::Uid, &none).unwrap().to_string(), "2:3");
        let star = SequenceSet::Ranges(vec![(Bound::Number(50), Bound::Star)]);
        assert_eq!(view.resolve(&star, Numbering::Uid, &none).unwrap().to_string(), "3");
    }
}
