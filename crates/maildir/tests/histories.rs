//! Random histories: sessions, other programs, restarts, crashes and damage, against a model that is a few lines long.
//!
//! What must hold at every check: each file is one message with one UID, for ever; flags are what was set last, by
//! whomever; every session that was told the differences sees the mailbox; a client that cached the mailbox at any
//! earlier HIGHESTMODSEQ and asks for what changed since, gets to the same picture (RFC 7162); HIGHESTMODSEQ and
//! UIDNEXT never go back and UIDVALIDITY stays.

#![allow(clippy::unwrap_used, reason = "a test fails where it fails")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the disk")]

mod common;

use common::*;
use culver_base::{ModSeq, Uid, UidSet, UidValidity};
use culver_maildir::MaildirMailbox;
use culver_snapshot::{Snapshot, diff};
use culver_store::{FlagChange, Mailbox, Transfer};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<u8>),
    Store(u16, u16, u8, FlagChange),
    Expunge(u16, u16),
    CopyHere(u16),
    MoveHere(u16),
    Deliver,
    PutIntoCur(u8),
    /// Another program toggles a flag of a file.
    Toggle(u16, u8),
    /// Another program moves it from new to cur.
    Seen(u16),
    Remove(u16),
    SessionSync(bool),
    Flush,
    Check,
    Reopen(Restart),
}

#[derive(Clone, Copy, Debug)]
enum Restart {
    Clean,
    Crash,
    WithoutState,
    WithoutUidlist,
    CutJournal(u32),
    FlippedCheckpoint(u32),
}

const FLAGS: [&str; 6] = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "work", "$Junk"];

fn names(bits: u8) -> String {
    let names = FLAGS.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
    names.map(|(_, n)| *n).collect::<Vec<_>>().join(" ")
}

fn step() -> impl Strategy<Value = Step> {
    let change = prop_oneof![Just(FlagChange::Add), Just(FlagChange::Remove), Just(FlagChange::Replace)];
    let restart = prop_oneof![
        2 => Just(Restart::Clean),
        3 => Just(Restart::Crash),
        1 => Just(Restart::WithoutState),
        1 => Just(Restart::WithoutUidlist),
        3 => any::<u32>().prop_map(Restart::CutJournal),
        1 => any::<u32>().prop_map(Restart::FlippedCheckpoint),
    ];
    prop_oneof![
        3 => proptest::collection::vec(0u8..64, 1..4).prop_map(Step::Append),
        6 => (any::<u16>(), any::<u16>(), 0u8..64, change).prop_map(|(a, b, f, c)| Step::Store(a, b, f, c)),
        2 => (any::<u16>(), any::<u16>()).prop_map(|(a, b)| Step::Expunge(a, b)),
        1 => any::<u16>().prop_map(Step::CopyHere),
        1 => any::<u16>().prop_map(Step::MoveHere),
        3 => Just(Step::Deliver),
        1 => (0u8..16).prop_map(Step::PutIntoCur),
        4 => (any::<u16>(), 0u8..4).prop_map(|(p, f)| Step::Toggle(p, f)),
        2 => any::<u16>().prop_map(Step::Seen),
        2 => any::<u16>().prop_map(Step::Remove),
        3 => any::<bool>().prop_map(Step::SessionSync),
        1 => Just(Step::Flush),
        2 => Just(Step::Check),
        2 => restart.prop_map(Step::Reopen),
    ]
}

/// A message as the model knows it: what it says (every message says something else) and its flags.
type Truth = BTreeMap<u64, BTreeSet<String>>;

struct Client {
    seen: Arc<Snapshot>,
    picture: Vec<(Uid, String)>,
}

fn list(s: &Snapshot) -> Vec<(Uid, String)> {
    picture(s).into_iter().map(|(u, f)| (uid(u), f)).collect()
}

impl Client {
    fn new(s: Arc<Snapshot>) -> Self {
        Self { picture: list(&s), seen: s }
    }
    /// What a session tells and its client does.
    fn sync(&mut self, now: Arc<Snapshot>) {
        let d = diff(&self.seen, &now);
        for n in d.expunge_numbers() {
            self.picture.remove(n as usize - 1);
        }
        let all = list(&now);
        assert_eq!(self.picture.len(), now.len() - d.arrived);
        self.picture.extend_from_slice(&all[self.picture.len()..]);
        for i in d.changed {
            self.picture[i].1 = all[i].1.clone();
        }
        assert_eq!(self.picture, all, "a session that was told the differences");
        self.seen = now;
    }
}

struct World {
    house: House,
    truth: Truth,
    next: u64,
    /// What a UID says, for ever.
    uids: BTreeMap<u32, u64>,
    validity: Option<UidValidity>,
    highest: ModSeq,
    uid_next: Uid,
    cached: Vec<(ModSeq, BTreeMap<u32, String>)>,
    watched: bool,
}

impl World {
    fn new(watched: bool) -> Self {
        Self {
            house: House::new(),
            truth: Truth::new(),
            next: 0,
            uids: BTreeMap::new(),
            validity: None,
            highest: ModSeq::ZERO,
            uid_next: Uid::MIN,
            cached: Vec::new(),
            watched,
        }
    }

    fn says(&mut self, flags: &str) -> (u64, String) {
        self.next += 1;
        self.truth.insert(self.next, flags.split_whitespace().map(str::to_owned).collect());
        (self.next, format!("Subject: {}\n\nbody\n", self.next))
    }

    fn file(&self, pick: u16) -> Option<(String, u64)> {
        let files = self.house.files("");
        let name = files.get(usize::from(pick) % files.len().max(1))?.clone();
        let text = std::fs::read_to_string(self.house.root().join(&name)).ok()?;
        Some((name, number(&text)))
    }

    async fn check(&mut self, m: &MaildirMailbox) {
        m.refresh().await.unwrap();
        let s = m.snapshot();
        assert_eq!(*self.validity.get_or_insert(s.uid_validity), s.uid_validity);
        assert!(s.highest_mod_seq >= self.highest, "HIGHESTMODSEQ went back");
        assert!(s.uid_next >= self.uid_next, "UIDNEXT went back");
        (self.highest, self.uid_next) = (s.highest_mod_seq, s.uid_next);
        let pictures = picture(&s);
        let mut there = Truth::new();
        for (u, flags) in &pictures {
            assert!(*u < s.uid_next.get());
            let text = body(m, uid(*u)).await.unwrap_or_else(|e| panic!("UID {u} cannot be read: {e}"));
            assert_eq!(
                Some(text.len() as u64),
                m.snapshot().by_uid(uid(*u)).and_then(|r| r.size.or(Some(text.len() as u64)))
            );
            let says = number(&text);
            assert_eq!(*self.uids.entry(*u).or_insert(says), says, "UID {u} stood for another message");
            let flags = flags.split_whitespace().map(str::to_owned).collect();
            assert!(there.insert(says, flags).is_none(), "a message has two UIDs");
        }
        assert_eq!(there, self.truth);
        for (since, cache) in &self.cached {
            let mut now = cache.clone();
            for u in s.vanished.after(*since).unwrap_or_else(|| s.missing_uids()).iter() {
                now.remove(&u);
            }
            for r in s.iter().filter(|r| r.mod_seq > *since) {
                now.insert(r.uid.get(), pictures[&r.uid.get()].clone());
            }
            assert_eq!(now, pictures, "a client that asks what changed since {since}");
        }
        self.cached.push((s.highest_mod_seq, pictures));
    }

    fn some(m: &MaildirMailbox, a: u16, b: u16) -> UidSet {
        let s = m.snapshot();
        let at = |p: u16| s.get(usize::from(p) % s.len().max(1)).map(|r| r.uid);
        [at(a), at(b)].into_iter().flatten().collect()
    }

    /// Runs until the next restart.
    async fn live(
        &mut self,
        m: &Arc<MaildirMailbox>,
        steps: &mut std::vec::IntoIter<Step>,
    ) -> Option<Restart> {
        let watch = self.watched.then(|| m.watch());
        let mut clients = [Client::new(m.snapshot()), Client::new(m.snapshot())];
        for step in steps.by_ref() {
            // Events may have been applied by now, or not.
            tokio::task::yield_now().await;
            match step {
                Step::Append(flags) => {
                    let mut all = Vec::new();
                    for bits in flags {
                        let (_, text) = self.says(&names(bits));
                        all.push(message(&text.replace('\n', "\r\n"), &names(bits)));
                    }
                    m.append(all).await.unwrap();
                }
                Step::Store(a, b, bits, change) => {
                    m.refresh().await.unwrap();
                    let set = Self::some(m, a, b);
                    m.set_flags(&set, store(change, &names(bits))).await.unwrap();
                    for u in set.iter() {
                        let says = number(&body(&**m, uid(u)).await.unwrap());
                        let wanted = names(bits);
                        let wanted = wanted.split_whitespace().map(str::to_owned);
                        let flags = self.truth.get_mut(&says).unwrap();
                        match change {
                            FlagChange::Add => flags.extend(wanted),
                            FlagChange::Remove => flags.retain(|f| !wanted.clone().any(|w| w == *f)),
                            FlagChange::Replace => *flags = wanted.collect(),
                        }
                    }
                }
                Step::Expunge(a, b) => {
                    m.refresh().await.unwrap();
                    let set = Self::some(m, a, b);
                    for u in set.iter() {
                        self.truth.remove(&number(&body(&**m, uid(u)).await.unwrap()));
                    }
                    m.set_flags(&set, store(FlagChange::Add, "\\Deleted")).await.unwrap();
                    assert_eq!(m.expunge(&set).await.unwrap(), set);
                }
                Step::CopyHere(a) => {
                    m.refresh().await.unwrap();
                    let set = Self::some(m, a, a);
                    let Some(u) = set.first() else { continue };
                    // A copy says the same: so the first one goes, and the copy is the message.
                    let own: Arc<dyn Mailbox> = m.clone();
                    let done = m.transfer(&set, &own, Transfer::Copy).await.unwrap();
                    assert_eq!(done.target.len(), 1);
                    m.set_flags(&set, store(FlagChange::Add, "\\Deleted")).await.unwrap();
                    assert_eq!(m.expunge(&set).await.unwrap(), set);
                    assert!(u < done.target[0].get());
                }
                Step::MoveHere(a) => {
                    m.refresh().await.unwrap();
                    let set = Self::some(m, a, a);
                    let own: Arc<dyn Mailbox> = m.clone();
                    m.transfer(&set, &own, Transfer::Move).await.unwrap();
                }
                Step::Deliver => {
                    let (id, text) = self.says("");
                    self.house.deliver("", &format!("{}.M{id}P9.mda", 1_600_000_000 + id), &text);
                }
                Step::PutIntoCur(bits) => {
                    let flags = names(bits & 15);
                    let (id, text) = self.says(&flags);
                    let letters = letters(bits & 15);
                    let name = format!("cur/{}.M{id}P9.mda:2,{letters}", 1_600_000_000 + id);
                    let tmp = self.house.root().join("tmp/put");
                    std::fs::write(&tmp, text).unwrap();
                    std::fs::rename(tmp, self.house.root().join(name)).unwrap();
                }
                Step::Toggle(p, f) => {
                    let Some((name, says)) = self.file(p) else { continue };
                    let file = name.split_once('/').unwrap().1;
                    let (base, info) = file.split_once(":2,").unwrap_or((file, ""));
                    let letter = letters(1 << f);
                    let (info, set) = if info.contains(&letter) {
                        (info.replace(&letter, ""), false)
                    } else {
                        let mut all: Vec<char> = info.chars().chain(letter.chars()).collect();
                        all.sort_unstable();
                        (all.into_iter().collect(), true)
                    };
                    let root = self.house.root();
                    if std::fs::rename(root.join(&name), root.join(format!("cur/{base}:2,{info}"))).is_ok() {
                        let flags = self.truth.get_mut(&says).unwrap();
                        let flag = FLAGS[usize::from(f)].to_owned();
                        if set {
                            flags.insert(flag)
                        } else {
                            flags.remove(&flag)
                        };
                    }
                    // Set and cleared again behind our back is no change: ours, still due, would count.
                    m.refresh().await.unwrap();
                }
                Step::Seen(p) => {
                    let Some((name, _)) = self.file(p) else { continue };
                    if let Some(base) = name.strip_prefix("new/") {
                        let root = self.house.root();
                        drop(std::fs::rename(root.join(&name), root.join(format!("cur/{base}:2,"))));
                    }
                }
                Step::Remove(p) => {
                    let Some((name, says)) = self.file(p) else { continue };
                    if std::fs::remove_file(self.house.root().join(name)).is_ok() {
                        self.truth.remove(&says);
                    }
                }
                Step::SessionSync(which) => clients[usize::from(which)].sync(m.snapshot()),
                Step::Flush => m.close().await,
                Step::Check => self.check(m).await,
                Step::Reopen(how) => {
                    self.check(m).await;
                    if !matches!(how, Restart::Crash) {
                        m.close().await;
                    }
                    drop(watch);
                    return Some(how);
                }
            }
        }
        m.refresh().await.unwrap();
        for client in &mut clients {
            client.sync(m.snapshot());
        }
        self.check(m).await;
        None
    }

    fn spoil(&self, how: Restart) {
        let state = self.house.state().join("INBOX");
        match how {
            Restart::Clean | Restart::Crash => (),
            Restart::WithoutState => std::fs::remove_dir_all(state).unwrap(),
            Restart::WithoutUidlist => {
                std::fs::remove_file(self.house.root().join("dovecot-uidlist")).unwrap()
            }
            Restart::CutJournal(at) => {
                // A keyword without a letter stands nowhere but in the index.
                let letters = std::fs::read_to_string(self.house.root().join("dovecot-keywords"));
                if !letters.is_ok_and(|l| l.contains("$Junk") && l.contains("work")) {
                    return;
                }
                let octets = std::fs::read(state.join("journal")).unwrap();
                let cut = at as usize % octets.len();
                // Ends of frames: nobody can see that something is missing there, unless the machine was started
                // anew, and that cannot be acted here.
                let mut end = culver_maildir::journal::HEAD_LEN;
                while end < cut {
                    end += 8 + u32::from_le_bytes(octets[end..end + 4].try_into().unwrap()) as usize;
                }
                let cut = if end == cut { cut - 1 } else { cut };
                std::fs::write(state.join("journal"), &octets[..cut]).unwrap();
            }
            Restart::FlippedCheckpoint(at) => {
                let mut octets = std::fs::read(state.join("checkpoint")).unwrap();
                let at = at as usize % octets.len();
                octets[at] ^= 4;
                std::fs::write(state.join("checkpoint"), octets).unwrap();
            }
        }
    }
}

fn number(text: &str) -> u64 {
    text.trim_start_matches("Subject: ").lines().next().unwrap().trim().parse().unwrap()
}
fn letters(bits: u8) -> String {
    let all = [(1, 'F'), (2, 'R'), (3, 'D'), (0, 'S')];
    let mut out: Vec<char> = all.iter().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, c)| *c).collect();
    out.sort_unstable();
    out.into_iter().collect()
}

fn run(steps: Vec<Step>, watched: bool) {
    let mut world = World::new(watched);
    let mut steps = steps.into_iter();
    loop {
        // A runtime of its own: with it every task ends, as with the process.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let restart = runtime.block_on(async {
            let m = world.house.open("").await;
            let done = tokio::time::timeout(Duration::from_secs(60), world.live(&m, &mut steps)).await;
            done.expect("it hangs")
        });
        drop(runtime);
        world.house.next_process();
        match restart {
            Some(how) => world.spoil(how),
            None => return,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn histories_with_events(steps in proptest::collection::vec(step(), 1..60)) {
        run(steps, true);
    }
    #[test]
    fn histories_without_events(steps in proptest::collection::vec(step(), 1..60)) {
        run(steps, false);
    }
}
