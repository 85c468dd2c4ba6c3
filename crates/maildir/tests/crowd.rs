//! Several sessions and other programs at the same time, on threads of their own: nothing is lost, nothing comes
//! twice, no UID stands for two messages, and every session's picture is right whenever it was told the differences.

mod common;

use common::*;
use culver_base::{Uid, UidSet};
use culver_maildir::MaildirMailbox;
use culver_snapshot::{Snapshot, diff};
use culver_store::{FlagChange, Mailbox, Transfer};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A generator of its own (xorshift), so that a seed tells what everybody wanted to do.
struct Dice(u64);
impl Dice {
    fn roll(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[derive(Default)]
struct Ledger {
    next: AtomicU64,
    /// Put in by sessions and other programs.
    put: Mutex<BTreeSet<u64>>,
    /// Taken out by either.
    taken: Mutex<BTreeSet<u64>>,
    /// What each UID of each mailbox says.
    says: Mutex<BTreeMap<(usize, Uid), u64>>,
    /// Arrivals in each mailbox that took a UID for sure, or perhaps.
    arrivals: [AtomicU64; 2],
}

impl Ledger {
    fn message(&self) -> (u64, String) {
        let n = self.next.fetch_add(1, Ordering::Relaxed) + 1;
        self.put.lock().insert(n);
        (n, format!("Subject: {n}\n\nx\n"))
    }
    fn note(&self, mailbox: usize, uid: Uid, text: &str) -> u64 {
        let says = number(text);
        assert_eq!(*self.says.lock().entry((mailbox, uid)).or_insert(says), says, "UID {uid} stood for two messages");
        says
    }
}

fn number(text: &str) -> u64 {
    text.trim_start_matches("Subject: ").lines().next().unwrap().trim().parse().unwrap()
}

async fn session(boxes: [Arc<MaildirMailbox>; 2], ledger: Arc<Ledger>, seed: u64) {
    let mut dice = Dice(seed);
    let home = (seed % 2) as usize;
    let mut receiver = boxes[home].watch();
    boxes[home].claim_recent();
    let mut seen: Arc<Snapshot> = receiver.borrow_and_update().clone();
    let mut picture: Vec<Uid> = seen.iter().map(|r| r.uid).collect();
    for _ in 0..60 {
        let at = dice.roll(2) as usize;
        let m = &boxes[at];
        let s = m.snapshot();
        let pick: UidSet = (0..2)
            .filter_map(|_| s.get(dice.roll(s.len().max(1) as u64) as usize).map(|r| r.uid))
            .collect();
        match dice.roll(8) {
            0 | 1 => {
                let texts: Vec<_> = (0..=dice.roll(2)).map(|_| ledger.message().1).collect();
                ledger.arrivals[at].fetch_add(texts.len() as u64, Ordering::Relaxed);
                let done = m.append(texts.iter().map(|t| message(t, "")).collect()).await.unwrap();
                for (uid, text) in done.uids.iter().zip(&texts) {
                    ledger.note(at, *uid, text);
                }
            }
            2 | 3 => {
                let change = [FlagChange::Add, FlagChange::Remove, FlagChange::Replace][dice.roll(3) as usize];
                m.set_flags(&pick, store(change, "\\Seen \\Flagged work")).await.unwrap();
            }
            4 => {
                m.set_flags(&pick, store(FlagChange::Add, "\\Deleted")).await.unwrap();
                let mut says = BTreeMap::new();
                for uid in pick.uids() {
                    if let Ok(text) = body(&**m, uid).await {
                        says.insert(uid, ledger.note(at, uid, &text));
                    }
                }
                for uid in m.expunge(&pick).await.unwrap().uids() {
                    // Gone before it could be read: somebody else's doing.
                    ledger.taken.lock().extend(says.get(&uid));
                }
            }
            5 => {
                let to: Arc<dyn Mailbox> = boxes[1 - at].clone();
                let done = m.transfer(&pick, &to, Transfer::Move).await.unwrap();
                ledger.arrivals[1 - at].fetch_add(done.target.len() as u64, Ordering::Relaxed);
            }
            6 => {
                for uid in pick.uids() {
                    if let Ok(text) = body(&**m, uid).await {
                        ledger.note(at, uid, &text);
                    }
                }
            }
            _ => m.refresh().await.unwrap(),
        }
        let now = receiver.borrow_and_update().clone();
        let d = diff(&seen, &now);
        for n in d.expunge_numbers() {
            picture.remove(n as usize - 1);
        }
        picture.extend(now.iter_from(now.len() - d.arrived).map(|r| r.uid));
        assert!(now.iter().map(|r| r.uid).eq(picture.iter().copied()));
        assert!(now.highest_mod_seq >= seen.highest_mod_seq);
        seen = now;
    }
}

/// Delivers, sets flags in names, removes files.
fn other_program(root: &Path, ledger: &Ledger, stop: &AtomicBool, seed: u64) {
    let mut dice = Dice(seed);
    while !stop.load(Ordering::Relaxed) {
        let at = dice.roll(2) as usize;
        let dir = root.join(["", ".Work"][at]);
        let all = files(&dir);
        let pick = all.get(dice.roll(all.len().max(1) as u64) as usize);
        match (dice.roll(6), pick) {
            (0, _) => {
                let (n, text) = ledger.message();
                ledger.arrivals[at].fetch_add(1, Ordering::Relaxed);
                let base = format!("{}.M{n}P7.mda", 1_600_000_000 + n);
                std::fs::write(dir.join("tmp").join(&base), text).unwrap();
                std::fs::rename(dir.join("tmp").join(&base), dir.join("new").join(&base)).unwrap();
            }
            (1, Some(name)) if all.len() > 10 => {
                let text = std::fs::read_to_string(dir.join(name));
                if let Ok(text) = text
                    && std::fs::remove_file(dir.join(name)).is_ok()
                {
                    ledger.taken.lock().insert(number(&text));
                }
            }
            (2..=4, Some(name)) => {
                let file = name.split_once('/').unwrap().1;
                let (base, info) = file.split_once(":2,").unwrap_or((file, ""));
                let info = if info.contains('R') { info.replace('R', "") } else { format!("R{info}") };
                drop(std::fs::rename(dir.join(name), dir.join(format!("cur/{base}:2,{info}"))));
            }
            _ => std::thread::yield_now(),
        }
    }
}

fn crowd(seed: u64) {
    let house = House::new();
    house.make(".Work");
    let ledger = Arc::new(Ledger::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let boxes = [house.open("").await, house.open(".Work").await];
        let stop = Arc::new(AtomicBool::new(false));
        let (root, l, s) = (house.root(), ledger.clone(), stop.clone());
        let outside = std::thread::spawn(move || other_program(&root, &l, &s, seed ^ 0x9e37_79b9));
        let sessions: Vec<_> =
            (1..=4).map(|i| tokio::spawn(session(boxes.clone(), ledger.clone(), seed * 8 + i))).collect();
        for s in sessions {
            s.await.unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        outside.join().unwrap();
        let mut there = BTreeSet::new();
        for (at, m) in boxes.iter().enumerate() {
            m.refresh().await.unwrap();
            m.close().await;
            let s = m.snapshot();
            for r in s.iter() {
                let text = body(&**m, r.uid).await.unwrap_or_else(|e| panic!("{at} UID {}: {e}", r.uid));
                assert!(there.insert(ledger.note(at, r.uid, &text)), "a message is there twice");
            }
            let most = ledger.arrivals[at].load(Ordering::Relaxed);
            assert!(u64::from(s.uid_next.get()) - 1 <= most, "UIDs were given to what had one");
            // The names say what the records say.
            drop(s);
            let again = picture(&m.snapshot());
            std::fs::remove_dir_all(house.state()).unwrap();
            let fresh = house.open(["", ".Work"][at]).await;
            assert_eq!(picture(&fresh.snapshot()), again);
        }
        let wanted: BTreeSet<u64> = ledger.put.lock().difference(&ledger.taken.lock()).copied().collect();
        assert_eq!(there, wanted);
    });
}

#[test]
fn nothing_is_lost_in_a_crowd() {
    for seed in 1..=3 {
        crowd(seed);
    }
}
