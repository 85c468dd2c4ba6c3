use super::*;

/// Written by Dovecot 2.3.19.1; what is expected of them is what its `imap` then said of the mailbox.
const SMALL: &[u8] = include_bytes!("../../tests/dovecot/index/small.log");
const INDEX: &[u8] = include_bytes!("../../tests/dovecot/index/large.index");
const LOG: &[u8] = include_bytes!("../../tests/dovecot/index/large.log");
const OLD: &[u8] = include_bytes!("../../tests/dovecot/index/large.log.2");

fn keywords(index: &DovecotIndex, uid: u32) -> Vec<String> {
    let mut all: Vec<_> = index.keywords_of(Uid::new(uid).unwrap()).map(|k| k.as_str().to_owned()).collect();
    all.sort();
    all
}

fn numbered(but: &[&str], more: &[&str]) -> Vec<String> {
    let all = (0..30).map(|i| format!("k{i:02}")).filter(|k| !but.contains(&k.as_str()));
    all.chain(more.iter().map(|k| (*k).to_owned())).collect()
}

#[test]
fn a_small_mailbox_has_a_log_alone() {
    let index = read(None, Some(SMALL), None).unwrap();
    assert!(!index.incomplete);
    assert_eq!(index.uid_validity.map(UidValidity::get), Some(1_795_480_397));
    assert_eq!(index.next_uid, 4);
    // Dovecot: HIGHESTMODSEQ 42
    assert!((42..=50).contains(&index.mod_seq), "{}", index.mod_seq);
    assert_eq!(index.messages.keys().copied().collect::<Vec<_>>(), [1, 2], "the third is expunged");
    assert_eq!(keywords(&index, 1), numbered(&[], &[]));
    assert_eq!(keywords(&index, 2), ["k00", "k27"]);
    assert!(index.messages.values().all(|m| !m.dirty));
}

#[test]
fn index_and_logs_are_put_together() {
    for (index, log, old) in [(Some(INDEX), Some(LOG), Some(OLD)), (Some(INDEX), Some(LOG), None)] {
        let index = read(index, log, old).unwrap();
        assert!(!index.incomplete);
        assert_eq!(index.uid_validity.map(UidValidity::get), Some(1_795_480_397));
        assert_eq!(index.next_uid, 41);
        // Dovecot: HIGHESTMODSEQ 79
        assert!((79..=85).contains(&index.mod_seq), "{}", index.mod_seq);
        assert_eq!(keywords(&index, 1), numbered(&["k28"], &["r0"]));
        assert_eq!(keywords(&index, 3), numbered(&[], &["r2"]));
        assert_eq!(keywords(&index, 5), numbered(&[], &[]));
        assert_eq!(keywords(&index, 7), ["k28", "last"]);
        assert_eq!(index.messages.len(), 6);
    }
}

#[test]
fn what_is_missing_is_said() {
    let lost = read(None, Some(LOG), Some(OLD)).unwrap();
    assert!(lost.incomplete && lost.mod_seq >= 79);
    let lost = read(Some(INDEX), None, None).unwrap();
    assert_eq!(keywords(&lost, 7), ["k28", "last"]);
    // A log of another index says nothing of this one's messages.
    let mixed = read(Some(INDEX), Some(SMALL), None).unwrap();
    assert!(mixed.incomplete);
    assert_eq!(keywords(&mixed, 7), ["k28", "last"]);
    assert_eq!(read(None, None, Some(OLD)), None);
    assert_eq!(read(Some(b"no index"), Some(b"no log"), None), None);
}

/// A change as Dovecot writes it.
fn change(kind: u32, data: &[u8]) -> Vec<u8> {
    let size = u32::try_from(8 + data.len()).unwrap() >> 2;
    let mut out: Vec<u8> =
        [21, 14, 7, 0].iter().map(|shift| 0x80 | u8::try_from(size >> shift & 0x7f).unwrap()).collect();
    out.extend(kind.to_le_bytes());
    out.extend(data);
    out
}

fn numbers(all: &[u32]) -> Vec<u8> {
    all.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// Format: Dovecot's mail-transaction-log.h.
#[test]
fn dirty_flags_and_lifted_mod_sequences() {
    let mut log = SMALL.to_vec();
    let mut update = numbers(&[1, 2]);
    update.extend([DIRTY, 0, 0, 0]);
    log.extend(change(FLAG_UPDATE, &update));
    let mut update = numbers(&[2, 2]);
    update.extend([0, DIRTY, 0, 0]);
    log.extend(change(FLAG_UPDATE, &update));
    log.extend(change(MODSEQ_UPDATE, &numbers(&[0, 5, 1])));
    log.extend(change(APPEND, &numbers(&[4, 0])));
    let index = read(None, Some(&log), None).unwrap();
    assert!(index.messages[&1].dirty && !index.messages[&2].dirty);
    assert_eq!((index.mod_seq, index.next_uid), ((1 << 32) + 6, 5));
    // Half a change is none.
    let half = read(None, Some(&log[..log.len() - 1]), None).unwrap();
    assert_eq!(half.next_uid, 4);
}

#[test]
fn cut_anywhere_it_is_read_as_far_as_it_goes() {
    for end in 0..SMALL.len() {
        if let Some(index) = read(None, Some(&SMALL[..end]), None) {
            assert!(index.mod_seq <= 50);
        }
    }
    for end in 0..INDEX.len() {
        drop(read(Some(&INDEX[..end]), Some(LOG), Some(OLD)));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
    #[test]
    fn damage_anywhere_does_no_harm(places in proptest::collection::vec((0usize..3000, 0u8..), 1..8)) {
        let mut all = [INDEX.to_vec(), LOG.to_vec(), SMALL.to_vec()];
        for (at, octet) in places {
            for file in &mut all {
                let at = at % file.len();
                file[at] = octet;
            }
        }
        drop(read(Some(&all[0]), Some(&all[1]), Some(OLD)));
        drop(read(None, Some(&all[2]), Some(&all[1])));
    }
}
