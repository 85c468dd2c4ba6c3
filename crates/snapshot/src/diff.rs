//! What a session whose view is one snapshot must hear of a later one.
//!
//! The one place that knows it. Chunks that both share are passed over by their pointers, so the cost is that of
//! the change. The result is in the order in which the RFCs want it told: first what is gone, then what has come,
//! then what is different (RFC 9051 §7.4.1, §7.5.1).

use crate::{Record, Snapshot};
use culver_base::{Uid, UidSet};
use std::sync::Arc;

/// The difference between two snapshots of one mailbox.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Diff {
    /// Positions (from 0) in the *old* snapshot that are gone, ascending, with their UIDs.
    pub expunged: Vec<(usize, Uid)>,
    /// Positions in the *new* snapshot of messages that both have and whose flags or mod-sequence differ, ascending.
    pub changed: Vec<usize>,
    /// How many messages at the end of the new snapshot are new.
    pub arrived: usize,
    /// Have keywords been added?
    pub keywords_added: bool,
}

impl Diff {
    /// Nothing to tell?
    pub fn is_empty(&self) -> bool {
        self.expunged.is_empty() && self.changed.is_empty() && self.arrived == 0 && !self.keywords_added
    }
    /// UIDs of what is gone.
    pub fn expunged_uids(&self) -> UidSet {
        self.expunged.iter().map(|(_, uid)| *uid).collect()
    }
    /// Sequence numbers for EXPUNGE, in the order of sending: descending, so that none shifts a later one.
    pub fn expunge_numbers(&self) -> impl Iterator<Item = u32> {
        self.expunged.iter().rev().map(|(i, _)| *i as u32 + 1)
    }
}

/// Compares two snapshots of the same mailbox and UIDVALIDITY.
pub fn diff(old: &Snapshot, new: &Snapshot) -> Diff {
    let mut d =
        Diff { keywords_added: old.keywords.names().len() != new.keywords.names().len(), ..Diff::default() };
    let mut a = Walk::new(old.chunks());
    let mut b = Walk::new(new.chunks());
    loop {
        if a.skip_shared(&mut b) {
            continue;
        }
        match (a.record(), b.record()) {
            (Some(x), Some(y)) if x.uid == y.uid => {
                if x.mod_seq != y.mod_seq || x.flags != y.flags {
                    d.changed.push(b.index);
                }
                a.step();
                b.step();
            }
            (Some(x), y) if y.is_none_or(|y| x.uid < y.uid) => {
                d.expunged.push((a.index, x.uid));
                a.step();
            }
            (_, Some(_)) => {
                d.arrived += 1;
                b.step();
            }
            _ => return d,
        }
    }
}

struct Walk<'a> {
    chunks: &'a [Arc<Vec<Record>>],
    chunk: usize,
    at: usize,
    index: usize,
}

impl<'a> Walk<'a> {
    fn new(chunks: &'a [Arc<Vec<Record>>]) -> Self {
        Self { chunks, chunk: 0, at: 0, index: 0 }
    }
    fn record(&self) -> Option<&'a Record> {
        self.chunks.get(self.chunk).and_then(|c| c.get(self.at))
    }
    fn step(&mut self) {
        self.at += 1;
        self.index += 1;
        if self.chunks.get(self.chunk).is_some_and(|c| self.at == c.len()) {
            self.chunk += 1;
            self.at = 0;
        }
    }
    /// Both at the start of the very same chunk: nothing in it differs.
    fn skip_shared(&mut self, other: &mut Self) -> bool {
        if self.at != 0 || other.at != 0 {
            return false;
        }
        match (self.chunks.get(self.chunk), other.chunks.get(other.chunk)) {
            (Some(a), Some(b)) if Arc::ptr_eq(a, b) => {
                for w in [self, other] {
                    w.index += a.len();
                    w.chunk += 1;
                }
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Flags, KeywordBits, MailboxId};
    use culver_base::{InternalDate, ModSeq, SystemFlags, UidValidity};
    use proptest::prelude::*;

    fn record(uid: u32, mod_seq: ModSeq) -> Record {
        Record {
            uid: Uid::new(uid).unwrap(),
            flags: Flags::default(),
            mod_seq,
            internal_date: InternalDate::utc(i64::from(uid)),
            size: Some(u64::from(uid)),
            save_date: 0,
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Append(u32),
        Expunge(Vec<u16>),
        Store(Vec<u16>, u8),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (1u32..700).prop_map(Op::Append),
            proptest::collection::vec(any::<u16>(), 1..40).prop_map(Op::Expunge),
            (proptest::collection::vec(any::<u16>(), 1..40), 0u8..32).prop_map(|(v, f)| Op::Store(v, f)),
        ]
    }

    fn apply(s: &Snapshot, op: &Op) -> Snapshot {
        let mut e = s.edit();
        let m = e.mod_seq();
        let pick = |i: &u16| (!s.is_empty()).then(|| s.get(usize::from(*i) % s.len()).unwrap().uid);
        match op {
            Op::Append(n) => {
                for _ in 0..*n {
                    let uid = e.peek().uid_next.get();
                    assert!(e.push(record(uid, m)));
                }
            }
            Op::Expunge(v) => {
                let uids: UidSet = v.iter().filter_map(pick).collect();
                assert_eq!(e.remove(&uids), uids);
            }
            Op::Store(v, f) => {
                for uid in v.iter().filter_map(pick) {
                    e.update(uid, |r| {
                        r.flags.system = SystemFlags::from_bits(*f);
                        r.mod_seq = m;
                    });
                }
            }
        }
        e.finish()
    }

    /// A client's picture: UIDs and flags by position.
    fn picture(s: &Snapshot) -> Vec<(Uid, Flags)> {
        s.iter().map(|r| (r.uid, r.flags)).collect()
    }

    /// What a client does with the answers that a diff turns into.
    fn replay(picture: &mut Vec<(Uid, Flags)>, d: &Diff, new: &Snapshot) {
        for n in d.expunge_numbers() {
            picture.remove(n as usize - 1);
        }
        let from = new.len() - d.arrived;
        assert_eq!(picture.len(), from, "EXISTS may only grow");
        picture.extend(new.iter_from(from).map(|r| (r.uid, r.flags)));
        for i in &d.changed {
            let r = new.get(*i).unwrap();
            assert_eq!(picture[*i].0, r.uid);
            picture[*i].1 = r.flags;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_session_that_is_told_the_differences_sees_the_mailbox(
            ops in proptest::collection::vec((op(), any::<bool>()), 1..14),
        ) {
            let m = ModSeq::new(1).unwrap();
            let mut now = Snapshot::empty(MailboxId([7; 16]), UidValidity::MIN, Uid::MIN, m);
            let mut seen = now.clone();
            let mut client = picture(&now);
            for (op, sync) in &ops {
                let before = now.clone();
                now = apply(&now, op);
                prop_assert!(now.highest_mod_seq > before.highest_mod_seq || picture(&now) == picture(&before));
                if *sync {
                    let d = diff(&seen, &now);
                    replay(&mut client, &d, &now);
                    seen = now.clone();
                    prop_assert_eq!(&client, &picture(&now));
                    // What vanished since any earlier moment is known from the log as well.
                    prop_assert!(diff(&now, &now).is_empty());
                }
                let counted = now.iter().filter(|r| !r.flags.system.contains(SystemFlags::SEEN)).count();
                prop_assert_eq!(now.counts().unseen, counted);
                prop_assert_eq!(now.counts().size, now.iter().filter_map(|r| r.size).sum::<u64>());
                for (i, r) in now.iter().enumerate().step_by(97) {
                    prop_assert_eq!(now.find(r.uid), Some(i));
                    prop_assert_eq!(now.get(i).map(|r| r.uid), Some(r.uid));
                }
                prop_assert_eq!(now.iter_from(now.len()).count(), 0);
                let all = UidSet::all();
                prop_assert_eq!(now.select(&all).count(), now.len());
            }
            let gone = diff(&Snapshot::empty(MailboxId([7; 16]), UidValidity::MIN, Uid::MIN, m), &now);
            prop_assert_eq!(gone.arrived, now.len());
            prop_assert_eq!(now.vanished.after(m), Some(now.missing_uids()));
        }
    }

    #[test]
    fn keyword_bits_of_an_old_view_mean_the_same_in_a_new_one() {
        let m = ModSeq::new(1).unwrap();
        let s = Snapshot::empty(MailboxId([7; 16]), UidValidity::MIN, Uid::MIN, m);
        let mut e = s.edit();
        let bit = e.keywords().find_or_add(&culver_base::Keyword::new("$Junk").unwrap());
        assert_eq!(bit, Some(KeywordBits(1)));
        e.touch();
        assert!(diff(&s, &e.finish()).keywords_added);
    }
}
