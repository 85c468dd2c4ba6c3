//! Usage equals a full count at any time: with our own verbs, other programs' deliveries, renames and deletions, mailboxes
//! opened and closed, stops in order and stops in the middle. And `maildirsize` says the same.
#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use culver_base::{Flag, MailboxName, Uid, UidSet};
use culver_maildir::{MaildirSettings, MaildirStore, StoreSettings, maildirsize};
use culver_store::io::{Io, IoSettings};
use culver_store::{
    Account, FlagChange, Layout, Look, Mailbox, NewMessage, Place, Spooled, Store, StoreFlags, Transfer,
    Usage,
};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

struct World {
    store: MaildirStore,
    place: Place,
    temp: TempDir,
    serial: u32,
}

fn store(temp: &Path) -> MaildirStore {
    let io = Io::new(IoSettings { threads: 2, ..IoSettings::default() }).unwrap();
    let mut shared = MaildirSettings::new("test.example");
    shared.uncounted = vec![MailboxName::new("Free")];
    MaildirStore::new(Arc::new(io), StoreSettings::new(temp.join("state"), Arc::new(shared)))
}

/// What the files say: every file in `new` and `cur` of every mailbox but the one that does not count.
fn recount(root: &Path) -> Usage {
    let mut usage = Usage::default();
    let mut count = |mailbox: PathBuf| {
        for sub in ["new", "cur"] {
            for file in std::fs::read_dir(mailbox.join(sub)).into_iter().flatten() {
                let file = file.unwrap();
                let name = file.file_name().into_string().unwrap();
                let told = name.split(",S=").nth(1).map(|rest| {
                    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse::<u64>().unwrap()
                });
                let size = told.unwrap_or_else(|| file.metadata().unwrap().len());
                usage = usage.plus(Usage { storage: size, messages: 1 });
            }
        }
    };
    count(root.to_owned());
    for dir in std::fs::read_dir(root).unwrap() {
        let dir = dir.unwrap();
        let name = dir.file_name().into_string().unwrap();
        if name.starts_with('.') && !name.starts_with("..") && name != ".Free" {
            count(dir.path());
        }
    }
    usage
}

impl World {
    fn new() -> Self {
        let temp = TempDir::new().unwrap();
        let place = Place {
            account: "ada@example.org".into(),
            owner: None,
            root: temp.path().join("Mail"),
            control: None,
            index: None,
            layout: Layout::MaildirPlusPlus,
        };
        Self { store: store(temp.path()), place, temp, serial: 0 }
    }

    async fn account(&self) -> Arc<dyn Account> {
        self.store.account(&self.place).await.unwrap()
    }

    async fn open(&self, name: &str) -> Option<Arc<dyn Mailbox>> {
        self.account().await.open(&MailboxName::new(name)).await.ok()
    }

    fn dir(&self, name: &str) -> PathBuf {
        match name {
            "INBOX" => self.place.root.clone(),
            name => self.place.root.join(format!(".{name}")),
        }
    }

    fn size_file(&self) -> PathBuf {
        self.place.root.join("maildirsize")
    }

    fn uids(mailbox: &Arc<dyn Mailbox>, pick: u8) -> UidSet {
        let all: Vec<Uid> = mailbox.snapshot().uids().uids().collect();
        all.into_iter().enumerate().filter(|(i, _)| pick >> (i % 8) & 1 == 1).map(|(_, u)| u).collect()
    }

    async fn run(&mut self, step: &Step) {
        self.serial += 1;
        match step {
            Step::Append(to, size) => {
                let Some(mailbox) = self.open(to).await else { return };
                let text = format!("Subject: {}\r\n\r\n{}\r\n", self.serial, "x".repeat(*size));
                let body = Spooled::Memory(text.into());
                let message = NewMessage { body, flags: Vec::new(), internal_date: None };
                mailbox.append(vec![message]).await.unwrap();
            }
            Step::Transfer(from, to, pick, how) => {
                let (Some(source), Some(target)) = (self.open(from).await, self.open(to).await) else {
                    return;
                };
                source.transfer(&Self::uids(&source, *pick), &target, *how).await.unwrap();
            }
            Step::Expunge(from, pick) => {
                let Some(mailbox) = self.open(from).await else { return };
                let uids = Self::uids(&mailbox, *pick);
                let flags = vec![Flag::parse("\\Deleted").unwrap()];
                let change = StoreFlags { change: FlagChange::Add, flags, unchanged_since: None };
                mailbox.set_flags(&uids, change).await.unwrap();
                mailbox.expunge(&uids).await.unwrap();
            }
            Step::Create(name) => drop(self.account().await.create(&MailboxName::new(name), &[]).await),
            Step::Delete(name) => drop(self.account().await.delete(&MailboxName::new(name)).await),
            Step::Rename(from, to) => {
                drop(self.account().await.rename(&MailboxName::new(from), &MailboxName::new(to)).await);
            }
            Step::Deliver(to, size, told) => {
                let dir = self.dir(to);
                if !dir.join("new").is_dir() {
                    return;
                }
                let base = format!("17000000{:02}.P{}.host", self.serial % 100, self.serial);
                let base = if *told { format!("{base},S={size}") } else { base };
                let tmp = dir.join("tmp").join(&base);
                std::fs::create_dir_all(dir.join("tmp")).unwrap();
                std::fs::write(&tmp, "y".repeat(*size)).unwrap();
                std::fs::rename(tmp, dir.join("new").join(base)).unwrap();
            }
            Step::Remove(from, pick) => {
                for sub in ["new", "cur"] {
                    let files = std::fs::read_dir(self.dir(from).join(sub)).into_iter().flatten();
                    let mut files: Vec<PathBuf> = files.map(|f| f.unwrap().path()).collect();
                    files.sort();
                    for (i, file) in files.into_iter().enumerate() {
                        if pick >> (i % 8) & 1 == 1 {
                            std::fs::remove_file(file).unwrap();
                        }
                    }
                }
            }
            Step::Restart => {
                self.store.close().await;
                self.store = store(self.temp.path());
            }
            Step::Crash => {
                // The old one lives on without ever closing anything: nothing of it is written any more.
                let old = std::mem::replace(&mut self.store, store(self.temp.path()));
                drop(old);
            }
            Step::Recount => drop(self.account().await.usage(Look::Recount).await.unwrap()),
            Step::SizeFile => std::fs::write(self.size_file(), "5000000S,100C\n").unwrap(),
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(&'static str, usize),
    Transfer(&'static str, &'static str, u8, Transfer),
    Expunge(&'static str, u8),
    Create(&'static str),
    Delete(&'static str),
    Rename(&'static str, &'static str),
    Deliver(&'static str, usize, bool),
    Remove(&'static str, u8),
    Restart,
    Crash,
    Recount,
    SizeFile,
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop::sample::select(vec!["INBOX", "INBOX", "A", "B", "Free"]);
    let other = || prop::sample::select(vec!["A", "B", "C", "Free"]);
    let size = || 1..3000usize;
    let how = prop::sample::select(vec![Transfer::Copy, Transfer::Move]);
    prop_oneof![
        5 => (name(), size()).prop_map(|(n, s)| Step::Append(n, s)),
        3 => (name(), name(), any::<u8>(), how).prop_map(|(a, b, p, h)| Step::Transfer(a, b, p, h)),
        2 => (name(), any::<u8>()).prop_map(|(n, p)| Step::Expunge(n, p)),
        3 => other().prop_map(Step::Create),
        1 => other().prop_map(Step::Delete),
        1 => (other(), other()).prop_map(|(a, b)| Step::Rename(a, b)),
        4 => (name(), size(), any::<bool>()).prop_map(|(n, s, t)| Step::Deliver(n, s, t)),
        2 => (name(), any::<u8>()).prop_map(|(n, p)| Step::Remove(n, p)),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
        1 => Just(Step::Recount),
        1 => Just(Step::SizeFile),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn usage_is_what_is_there(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            world.account().await;
            for (n, step) in steps.iter().enumerate() {
                let own = !matches!(step, Step::Deliver(..) | Step::Remove(..));
                world.run(step).await;
                let account = world.account().await;
                let there = recount(&world.place.root);
                let at = format!("after step {n}, {step:?}");
                if own {
                    // Every step before was looked at: what we did ourselves is known without a look.
                    assert_eq!(account.usage(Look::Known).await.unwrap().counted(), there, "known {at}");
                }
                let now = account.usage(Look::Now).await.unwrap();
                assert_eq!(now.counted(), there, "now {at}");
                if let Ok(text) = std::fs::read(world.size_file()) {
                    let said = maildirsize::read(&text);
                    assert_eq!(said.usage, Some(there), "maildirsize {at}");
                    assert_eq!(said.limits.messages, Some(100), "its limits are kept");
                }
                for mailbox in &now.mailboxes {
                    let open = account.open(&mailbox.name).await.unwrap();
                    assert_eq!(open.usage().all, mailbox.usage, "{} {at}", mailbox.name);
                }
            }
        });
    }
}

/// `maildirsize` is told of each verb at once, in a line of its own, and has our limits once they are known.
#[tokio::test(flavor = "multi_thread")]
async fn maildirsize_is_kept() {
    let mut world = World::new();
    world.account().await;
    world.run(&Step::SizeFile).await;
    world.account().await.usage(Look::Now).await.unwrap();
    assert_eq!(std::fs::read_to_string(world.size_file()).unwrap(), "5000000S,100C\n0 0\n");
    world.run(&Step::Append("INBOX", 100)).await;
    world.run(&Step::Create("A")).await;
    world.run(&Step::Transfer("INBOX", "A", 0xff, Transfer::Copy)).await;
    world.run(&Step::Transfer("INBOX", "A", 0xff, Transfer::Move)).await;
    world.run(&Step::Expunge("A", 0x01)).await;
    let text = std::fs::read_to_string(world.size_file()).unwrap();
    // "Subject: 2", an empty line, 100 octets and their LF.
    assert_eq!(text, "5000000S,100C\n0 0\n113 1\n113 1\n-113 -1\n");
    world.account().await.announce_limits(Some(7_000_000), None);
    world.account().await.usage(Look::Now).await.unwrap();
    assert_eq!(std::fs::read_to_string(world.size_file()).unwrap(), "7000000S\n113 1\n");
}
