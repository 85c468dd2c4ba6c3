//! Checkpoint and journal together: what was written comes back, and damage is seen.

use super::*;
use crate::model::{Entry, Folder, NameState, Op, Stamp, Stamps};
use crate::{checkpoint, fuzz};
use culver_base::{InternalDate, Keyword, SystemFlags, Uid, UidSet};
use culver_snapshot::{Flags, KeywordBits, Record};
use proptest::prelude::*;

fn uid(n: u32) -> Uid {
    Uid::new(n.max(1)).unwrap()
}

fn empty() -> Model {
    Model::empty(MailboxId([7; 16]), UidValidity::new(9).unwrap(), Uid::MIN, ModSeq::new(1 << 40).unwrap())
}

fn op() -> impl Strategy<Value = Op> {
    let flags = (0u8..32, 0u64..8)
        .prop_map(|(s, k)| Flags { system: SystemFlags::from_bits(s), keywords: KeywordBits(k) });
    let entry = ("[a-z]{1,30}(:2,[A-Z]{0,3})?", any::<bool>()).prop_map(|(n, new)| Entry {
        name: n.as_bytes().into(),
        folder: if new { Folder::New } else { Folder::Cur },
    });
    let state = any::<bool>().prop_map(|b| if b { NameState::Behind } else { NameState::Current });
    let stamp = (any::<u64>(), any::<i64>(), any::<bool>()).prop_map(|(ino, seconds, settled)| Stamp {
        ino,
        size: 1,
        seconds,
        nanoseconds: 5,
        settled,
    });
    prop_oneof![
        "[a-z$]{1,4}".prop_map(|k| Op::Keyword(Keyword::new(&k).unwrap())),
        (1u32..60, flags.clone(), entry.clone(), state.clone(), any::<Option<u32>>(), -900i16..900).prop_map(
            |(u, flags, entry, state, size, offset)| {
                let record = Record {
                    uid: uid(u),
                    flags,
                    mod_seq: ModSeq::ZERO,
                    internal_date: InternalDate { unix: i64::from(u) - 20, offset },
                    size: size.map(u64::from),
                    save_date: 77,
                };
                Op::Arrive(record, entry, state)
            }
        ),
        (1u32..60, flags).prop_map(|(u, f)| Op::Flags(uid(u), f)),
        proptest::collection::vec(1u32..60, 0..5).prop_map(|v| Op::Expunge(v.into_iter().map(uid).collect())),
        (1u32..60, entry, state).prop_map(|(u, e, s)| Op::Placed(uid(u), e, s)),
        (1u32..60, 0u64..1 << 40).prop_map(|(u, s)| Op::Size(uid(u), s)),
        (1u32..60).prop_map(Op::Recent),
        (1u32..80).prop_map(|u| Op::UidNext(uid(u))),
        stamp.prop_map(|s| Op::Stamps(Stamps { new: s, cur: s, uidlist: s, keywords: s })),
        (0u32..9).prop_map(Op::UidlistBehind),
        (1u32..99).prop_map(|u| Op::Reserve(u, ModSeq::new(1 << 41).unwrap())),
        Just(Op::Boot([3; 16])),
        Just(Op::Closed),
    ]
}

/// Everything that can be told of a model.
fn state(m: &Model) -> impl PartialEq + std::fmt::Debug {
    let s = &m.snapshot;
    (
        (s.mailbox_id, s.uid_validity, s.uid_next, s.highest_mod_seq, s.counts(), s.vanished.clone()),
        s.iter().cloned().collect::<Vec<_>>(),
        s.keywords.names().iter().map(|k| k.to_string()).collect::<Vec<_>>(),
        m.names.read().iter().map(|(u, e)| (u, e.clone())).collect::<Vec<_>>(),
        (m.behind.clone(), m.first_recent, m.uidlist_behind, m.stamps, m.reserved, m.boot),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn what_was_written_comes_back(
        changes in proptest::collection::vec(proptest::collection::vec(op(), 0..6), 0..24),
        folded in 0usize..24,
        damage in any::<(u32, u8)>(),
    ) {
        let mut live = empty();
        let mut stored = checkpoint::encode(&live, 5);
        let mut generation = 5;
        let head = |g, m: &Model| Head { generation: g, mailbox_id: m.snapshot.mailbox_id, uid_validity: m.snapshot.uid_validity }.encode();
        let mut file = head(5, &live);
        let mut at: Vec<(usize, String)> = vec![(file.len(), format!("{:?}", state(&live)))];
        for (i, ops) in changes.into_iter().enumerate() {
            if i == folded {
                generation += 1;
                stored = checkpoint::encode(&live, generation);
                file = head(generation, &live);
                at = vec![(file.len(), format!("{:?}", state(&live)))];
            }
            let change = Change::from(ops);
            file.extend(frame(live.snapshot.highest_mod_seq, &change));
            live.apply(&change);
            at.push((file.len(), format!("{:?}", state(&live))));
        }
        let load = |journal: &[u8]| {
            let (mut model, g) = checkpoint::decode(&stored).unwrap();
            let replayed = replay(journal, g, &mut model);
            (model, replayed)
        };
        let (model, replayed) = load(&file);
        prop_assert_eq!(state(&model), state(&live));
        prop_assert_eq!(replayed, Some(Replayed { good: file.len(), damaged: false }));
        // Cut anywhere: the state after the last whole frame.
        let cut = damage.0 as usize % (file.len() + 1);
        let (model, replayed) = load(&file[..cut]);
        let whole = at.iter().rev().find(|(len, _)| *len <= cut);
        match (whole, replayed) {
            (Some((len, then)), Some(r)) => {
                prop_assert_eq!((r.good, r.damaged), (*len, *len != cut));
                prop_assert_eq!(&format!("{:?}", state(&model)), then);
            }
            (None, None) => (),
            other => prop_assert!(false, "{:?}", other.1),
        }
        prop_assert_eq!(is_whole(&file[..cut]), at.iter().any(|(len, _)| *len == cut));
        // A flipped bit: all before it counts, nothing after.
        if !file.is_empty() {
            let mut bad = file.clone();
            let hit = damage.0 as usize % bad.len();
            bad[hit] ^= 1 << (damage.1 % 8);
            let (model, replayed) = load(&bad);
            let before = at.iter().rev().find(|(len, _)| *len <= hit);
            match (before, replayed) {
                (Some((len, then)), Some(r)) => {
                    prop_assert_eq!((r.good, r.damaged), (*len, true));
                    prop_assert_eq!(&format!("{:?}", state(&model)), then);
                }
                (None, None) => (),
                other => prop_assert!(false, "{:?}", other.1),
            }
        }
        let mut bad = stored.clone();
        let hit = damage.0 as usize % bad.len();
        bad[hit] ^= 1 << (damage.1 % 8);
        prop_assert!(checkpoint::decode(&bad).is_none());
        prop_assert!(checkpoint::decode(&stored[..hit]).is_none());
    }

    #[test]
    fn any_octets_do_no_harm(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz::fuzz_checkpoint(&data);
        fuzz::fuzz_journal(&data);
    }
}

#[test]
fn a_journal_of_another_mailbox_is_not_applied() {
    let mut model = empty();
    let head =
        Head { generation: 5, mailbox_id: MailboxId([7; 16]), uid_validity: UidValidity::new(9).unwrap() };
    assert!(replay(&head.encode(), 5, &mut model).is_some());
    assert!(replay(&head.encode(), 6, &mut model).is_none());
    assert!(replay(&Head { mailbox_id: MailboxId([8; 16]), ..head }.encode(), 5, &mut model).is_none());
    assert!(replay(&Head { uid_validity: UidValidity::MIN, ..head }.encode(), 5, &mut model).is_none());
    assert_eq!(model.snapshot.uids(), UidSet::new());
}
