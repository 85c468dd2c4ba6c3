//! Accounts: names, both layouts, and Dovecot on the same tree.

#![expect(clippy::unwrap_used, reason = "a test fails where it fails")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the disk")]

#[path = "common/dovecot.rs"]
mod dovecot;

use culver_base::{Flag, MailboxName, SpecialUse, SystemFlags, UidSet};
use culver_maildir::{Auto, AutoMailbox, MaildirSettings, MaildirStore, StoreSettings};
use culver_snapshot::Presence;
use culver_store::io::{Io, IoSettings};
use culver_store::{
    Account, Failure, Layout, Mailbox, NewMessage, Owner, Place, Refusal, Spooled, Store, Subscribed,
};
use dovecot::Dovecot;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

struct House {
    temp: TempDir,
    store: MaildirStore,
    place: Place,
}

impl House {
    fn new(layout: Layout) -> Self {
        Self::with(layout, None, |_| ())
    }

    fn with(layout: Layout, owner: Option<Owner>, change: impl FnOnce(&mut StoreSettings)) -> Self {
        let temp = TempDir::new().unwrap();
        let home = temp.path().join("u");
        std::fs::create_dir(&home).unwrap();
        if let Some(o) = owner {
            chown(&home, Some(o.uid), Some(o.gid)).unwrap();
        }
        let io = Io::new(IoSettings { threads: 3, ..IoSettings::default() }).unwrap();
        let mut settings =
            StoreSettings::new(temp.path().join("state"), Arc::new(MaildirSettings::new("test.example")));
        change(&mut settings);
        let place = Place {
            account: "ada@example.org".into(),
            owner,
            root: home.join("Mail"),
            control: None,
            index: None,
            layout,
        };
        Self { store: MaildirStore::new(Arc::new(io), settings), place, temp }
    }

    async fn account(&self) -> Arc<dyn Account> {
        self.store.account(&self.place).await.unwrap()
    }

    fn path(&self, below: &str) -> PathBuf {
        self.place.root.join(below)
    }
}

fn name(text: &str) -> MailboxName {
    MailboxName::new(text)
}

/// Names as a listing shows them; those that cannot be selected in brackets, children marked with `+`.
async fn listing(account: &Arc<dyn Account>) -> Vec<String> {
    let list = account.list().await.unwrap();
    let line = |m: &culver_store::ListedMailbox| {
        let children = if m.has_children { "+" } else { "" };
        if m.selectable { format!("{}{children}", m.name) } else { format!("({}){children}", m.name) }
    };
    list.iter().map(line).collect()
}

fn refusal<T>(result: culver_store::Result<T>) -> Refusal {
    match result.err().unwrap() {
        Failure::Refused(r) => r,
        Failure::Fault(f) => panic!("{f}"),
    }
}

async fn append(mailbox: &Arc<dyn Mailbox>, text: &str, flags: &[&str]) {
    let flags = flags.iter().map(|f| Flag::parse(f).unwrap()).collect();
    let body = Spooled::Memory(text.to_owned().into());
    mailbox.append(vec![NewMessage { body, flags, internal_date: None }]).await.unwrap();
}

#[tokio::test]
async fn mailboxes_are_made_and_listed_in_both_layouts() {
    for (layout, work, umlaut) in
        [(Layout::MaildirPlusPlus, ".Work.2024", ".Entw&APw-rfe"), (Layout::Fs, "Work/2024", "Entw&APw-rfe")]
    {
        let house = House::new(layout);
        let account = house.account().await;
        assert_eq!(listing(&account).await, ["INBOX"]);
        let id = account.create(&name("Work/2024"), &[]).await.unwrap();
        account.create(&name("Entwürfe"), &[]).await.unwrap();
        account.create(&name("inbox/sub"), &[]).await.unwrap();
        assert_eq!(listing(&account).await, ["INBOX+", "Entwürfe", "INBOX/sub", "(Work)+", "Work/2024"]);
        for part in ["cur", "new", "tmp"] {
            assert!(house.path(work).join(part).is_dir() && house.path(umlaut).join(part).is_dir());
        }
        assert_eq!(house.path(work).join("maildirfolder").exists(), layout == Layout::MaildirPlusPlus);
        assert_eq!(account.open(&name("Work/2024")).await.unwrap().snapshot().mailbox_id, id);
        assert_eq!(refusal(account.create(&name("Work/2024"), &[]).await), Refusal::AlreadyExists);
        assert_eq!(refusal(account.create(&name("INBOX"), &[]).await), Refusal::AlreadyExists);
        for bad in ["a//b", "a*", "~x", if layout == Layout::Fs { "cur" } else { "a.b" }] {
            assert!(matches!(refusal(account.create(&name(bad), &[]).await), Refusal::Cannot(_)), "{bad}");
        }
        // A level becomes a mailbox.
        account.create(&name("Work"), &[]).await.unwrap();
        assert!(listing(&account).await.contains(&"Work+".to_owned()));
        assert_eq!(refusal(account.open(&name("nothing")).await), Refusal::NonExistent);
        assert_eq!(refusal(account.open(&name("a//b/../c")).await), Refusal::NonExistent);
        assert_eq!(refusal(account.spool(&name("nothing")).await), Refusal::TryCreate);
        assert!(account.spool(&name("Work")).await.is_ok());
    }
}

#[tokio::test]
async fn what_other_programs_make_is_seen() {
    let house = House::new(Layout::MaildirPlusPlus);
    let account = house.account().await;
    assert_eq!(listing(&account).await, ["INBOX"]);
    for dir in [".made/cur", ".without-cur", ".b&d", ".deep.down", "..DOVECOT-TRASHED", "nodot"] {
        std::fs::create_dir_all(house.path(dir)).unwrap();
    }
    std::fs::write(house.path(".file"), "").unwrap();
    std::os::unix::fs::symlink("/tmp", house.path(".link")).unwrap();
    assert_eq!(listing(&account).await, ["INBOX", "b&d", "(deep)+", "deep/down", "made", "without-cur"]);
    assert!(house.path(".b&-d").exists(), "renamed to what it says");
    assert!(account.open(&name("without-cur")).await.is_ok());
    assert_eq!(refusal(account.open(&name("deep")).await), Refusal::NonExistent);
    assert_eq!(refusal(account.open(&name("link")).await), Refusal::NonExistent);
    std::fs::remove_dir(house.path(".deep.down")).unwrap();
    assert_eq!(listing(&account).await, ["INBOX", "b&d", "made", "without-cur"]);
}

#[tokio::test]
async fn a_deleted_mailbox_is_gone_for_its_sessions_and_a_new_one_is_another() {
    for layout in [Layout::MaildirPlusPlus, Layout::Fs] {
        let house = House::new(layout);
        let account = house.account().await;
        let old_id = account.create(&name("a"), &[]).await.unwrap();
        account.create(&name("a/b"), &[]).await.unwrap();
        let open = account.open(&name("a")).await.unwrap();
        append(&open, "Subject: x\n\nx\n", &[]).await;
        let validity = open.snapshot().uid_validity;
        account.delete(&name("a")).await.unwrap();
        assert_eq!(open.snapshot().presence, Presence::Gone);
        assert!(open.refresh().await.is_err() || open.snapshot().presence == Presence::Gone);
        assert_eq!(listing(&account).await, ["INBOX", "(a)+", "a/b"]);
        assert_eq!(refusal(account.open(&name("a")).await), Refusal::NonExistent);
        let again = account.delete(&name("a")).await;
        let expected = if layout == Layout::Fs { Refusal::HasChildren } else { Refusal::NonExistent };
        assert_eq!(refusal(again), expected);
        assert_ne!(account.create(&name("a"), &[]).await.unwrap(), old_id);
        let new = account.open(&name("a")).await.unwrap().snapshot();
        assert!(new.is_empty() && new.uid_validity != validity, "{layout:?}");
        account.delete(&name("a/b")).await.unwrap();
        account.delete(&name("a")).await.unwrap();
        assert_eq!(listing(&account).await, ["INBOX"]);
        assert!(matches!(refusal(account.delete(&name("INBOX")).await), Refusal::Cannot(_)));
        let left: Vec<_> =
            std::fs::read_dir(&house.place.root).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!left.iter().any(|n| n.to_string_lossy().contains("TRASH")), "{left:?}");
    }
}

#[tokio::test]
async fn a_renamed_tree_keeps_its_messages_and_sessions() {
    for layout in [Layout::MaildirPlusPlus, Layout::Fs] {
        let house = House::new(layout);
        let account = house.account().await;
        for n in ["a", "a/b", "a/b/c", "ab", "taken"] {
            account.create(&name(n), &[]).await.unwrap();
        }
        let open = account.open(&name("a/b")).await.unwrap();
        append(&open, "Subject: x\n\nx\n", &["\\Seen"]).await;
        let before = open.snapshot();
        account.rename(&name("a"), &name("moved/place")).await.unwrap();
        let expected =
            ["INBOX", "ab", "(moved)+", "moved/place+", "moved/place/b+", "moved/place/b/c", "taken"];
        assert_eq!(listing(&account).await, expected, "{layout:?}");
        // The session goes on, and it is the same object under the new name.
        append(&open, "Subject: y\n\ny\n", &[]).await;
        assert_eq!(open.snapshot().len(), 2);
        let again = account.open(&name("moved/place/b")).await.unwrap();
        assert!(Arc::ptr_eq(&open, &again));
        assert_eq!(again.snapshot().uid_validity, before.uid_validity);
        assert_eq!(refusal(account.open(&name("a/b")).await), Refusal::NonExistent);
        assert_eq!(refusal(account.rename(&name("ab"), &name("taken")).await), Refusal::AlreadyExists);
        assert_eq!(refusal(account.rename(&name("none"), &name("x")).await), Refusal::NonExistent);
        assert!(matches!(refusal(account.rename(&name("ab"), &name("ab/c")).await), Refusal::Cannot(_)));
        assert_eq!(refusal(account.rename(&name("ab"), &name("INBOX")).await), Refusal::AlreadyExists);
        // Closed and opened again, the index is there under the new name.
        house.store.close().await;
        drop((open, again));
        let account = house.account().await;
        let snapshot = account.open(&name("moved/place/b")).await.unwrap().snapshot();
        assert_eq!((snapshot.len(), snapshot.mailbox_id), (2, before.mailbox_id));
        assert_eq!(snapshot.get(0).unwrap(), before.get(0).unwrap(), "mod-sequence and all");
    }
}

#[tokio::test]
async fn renaming_inbox_moves_its_messages() {
    let house = House::new(Layout::MaildirPlusPlus);
    let account = house.account().await;
    account.create(&name("INBOX/child"), &[]).await.unwrap();
    let inbox = account.open(&name("INBOX")).await.unwrap();
    for n in 0..5 {
        append(&inbox, &format!("Subject: {n}\n\nx\n"), &[]).await;
    }
    account.rename(&name("INBOX"), &name("old mail")).await.unwrap();
    assert!(account.open(&name("INBOX")).await.unwrap().snapshot().is_empty());
    assert_eq!(account.open(&name("old mail")).await.unwrap().snapshot().len(), 5);
    assert_eq!(listing(&account).await, ["INBOX+", "INBOX/child", "old mail"]);
}

#[tokio::test]
async fn special_uses_are_kept_and_follow_the_mailbox() {
    let auto =
        |n: &str, special_use, auto| AutoMailbox { name: name(n), special_use: Some(special_use), auto };
    let house = House::with(Layout::MaildirPlusPlus, None, |s| {
        s.mailboxes = vec![
            auto("Sent", SpecialUse::Sent, Auto::Subscribe),
            auto("Trash", SpecialUse::Trash, Auto::Create),
            auto("Junk", SpecialUse::Junk, Auto::No),
        ];
    });
    let uses = |list: Arc<Vec<culver_store::ListedMailbox>>| -> Vec<(String, Vec<SpecialUse>, bool)> {
        list.iter().map(|m| (m.name.to_string(), m.special_use.clone(), m.subscribed)).collect()
    };
    let account = house.account().await;
    let expected = vec![
        ("INBOX".to_owned(), vec![], false),
        ("Sent".to_owned(), vec![SpecialUse::Sent], true),
        ("Trash".to_owned(), vec![SpecialUse::Trash], false),
    ];
    assert_eq!(uses(account.list().await.unwrap()), expected);
    account.create(&name("Gesendet"), &[SpecialUse::Sent]).await.unwrap();
    account.rename(&name("Gesendet"), &name("Raus")).await.unwrap();
    assert!(matches!(refusal(account.create(&name("x"), &[SpecialUse::All]).await), Refusal::Cannot(_)));
    assert!(matches!(refusal(account.create(&name("x"), &[SpecialUse::Sent]).await), Refusal::Cannot(_)));
    house.store.close().await;
    let account = house.account().await;
    let now = uses(account.list().await.unwrap());
    assert!(now.contains(&("Raus".to_owned(), vec![SpecialUse::Sent], false)), "{now:?}");
    assert!(now.contains(&("Sent".to_owned(), vec![], true)), "{now:?}");
    account.delete(&name("Raus")).await.unwrap();
    assert!(uses(account.list().await.unwrap()).contains(&("Sent".to_owned(), vec![SpecialUse::Sent], true)));
}

#[tokio::test]
async fn two_calls_give_the_same_objects() {
    let house = House::new(Layout::MaildirPlusPlus);
    let (a, b) = (house.store.maildir_account(&house.place), house.store.maildir_account(&house.place));
    let (a, b) = tokio::join!(a, b);
    let (a, b) = (a.unwrap(), b.unwrap());
    assert!(Arc::ptr_eq(&a, &b));
    let inbox = name("inbox");
    let (x, y) = tokio::join!(a.open_maildir(&inbox), b.open_maildir(&inbox));
    assert!(Arc::ptr_eq(&x.unwrap(), &y.unwrap()));
}

#[tokio::test]
async fn control_files_may_lie_elsewhere() {
    let mut house = House::new(Layout::MaildirPlusPlus);
    house.place.control = Some(house.temp.path().join("u/control"));
    let account = house.account().await;
    account.create(&name("a/b"), &[]).await.unwrap();
    append(&account.open(&name("a/b")).await.unwrap(), "Subject: x\n\nx\n", &["work"]).await;
    account.set_subscribed(&name("a/b"), Subscribed::Yes).await.unwrap();
    let control = house.temp.path().join("u/control");
    assert!(control.join("subscriptions").exists() && control.join(".a.b/dovecot-uidlist").exists());
    account.rename(&name("a/b"), &name("c")).await.unwrap();
    assert!(control.join(".c/dovecot-uidlist").exists() && !control.join(".a.b").exists());
    account.delete(&name("c")).await.unwrap();
    assert!(!control.join(".c").exists());
}

#[tokio::test]
async fn dovecot_lists_the_same_tree_and_reads_what_we_wrote() {
    for layout in [Layout::MaildirPlusPlus, Layout::Fs] {
        let house = House::with(layout, dovecot::owner(), |_| ());
        let Some(dovecot) = Dovecot::new(house.temp.path(), &house.place.root, layout) else { return };
        let account = house.account().await;
        for n in ["Work/2024", "Entwürfe", "a&b", "日本語/台北", "INBOX/sub", "x y"] {
            account.create(&name(n), &[]).await.unwrap();
        }
        account.set_subscribed(&name("日本語/台北"), Subscribed::Yes).await.unwrap();
        account.set_subscribed(&name("INBOX"), Subscribed::Yes).await.unwrap();
        account.set_subscribed(&name("gone"), Subscribed::Yes).await.unwrap();
        let inbox = account.open(&name("INBOX")).await.unwrap();
        append(&inbox, "Subject: 1\n\none\n", &["\\Seen", "work", "$Junk"]).await;
        append(&inbox, "Subject: 2\n\ntwo\n", &[]).await;
        append(&inbox, "Subject: 3\n\nthree\n", &["\\Flagged", "$Junk"]).await;
        let gone: UidSet = inbox.snapshot().get(1).map(|r| r.uid).into_iter().collect();
        let deleted = culver_store::StoreFlags {
            change: culver_store::FlagChange::Add,
            flags: vec![Flag::parse("\\Deleted").unwrap()],
            unchanged_since: None,
        };
        inbox.set_flags(&gone, deleted).await.unwrap();
        inbox.expunge(&gone).await.unwrap();
        let validity = inbox.snapshot().uid_validity;
        drop((inbox, account));
        house.store.close().await;

        let account = house.account().await;
        let ours = |list: Arc<Vec<culver_store::ListedMailbox>>| {
            let mut all: Vec<_> = list.iter().map(|m| (m.name.to_mutf7(), m.selectable)).collect();
            all.sort();
            all
        };
        assert_eq!(dovecot.list("LIST \"\" *"), ours(account.list().await.unwrap()), "{layout:?}");
        let subscribed: Vec<_> = dovecot.list("LSUB \"\" *").into_iter().map(|(n, _)| n).collect();
        assert_eq!(subscribed, ["&ZeVnLIqe-/&U,BTFw-", "INBOX", "gone"]);
        let answer = dovecot.say(&[
            "SELECT INBOX",
            "UID FETCH 1:* (FLAGS)",
            "APPEND INBOX (\\Draft work new) {5+}\r\na:b\r\n",
        ]);
        assert!(answer.contains(&format!("[UIDVALIDITY {validity}]")), "{answer}");
        assert!(answer.contains("[UIDNEXT 4]"), "{answer}");
        let flags: Vec<_> = answer.lines().filter(|l| l.contains(" FETCH (")).collect();
        assert_eq!(flags.len(), 2, "{answer}");
        assert!(
            flags[0].contains("UID 1")
                && flags[0].contains("\\Seen")
                && flags[0].contains("work")
                && flags[0].contains("$Junk")
        );
        assert!(
            flags[1].contains("UID 3")
                && flags[1].contains("\\Flagged")
                && !flags[1].contains("work")
                && flags[1].contains("$Junk")
        );

        // And back: what Dovecot did is ours.
        dovecot.say(&["CREATE Dove/cot", "SUBSCRIBE Dove/cot", "UNSUBSCRIBE gone", "RENAME \"x y\" z"]);
        let inbox = account.open(&name("INBOX")).await.unwrap();
        let snapshot = inbox.snapshot();
        assert_eq!(snapshot.uid_validity, validity);
        let last = snapshot.get(2).unwrap();
        assert_eq!(last.uid.get(), 4);
        let mut keywords: Vec<_> = snapshot.keywords.of(last.flags.keywords).map(|k| k.as_str()).collect();
        keywords.sort_unstable();
        assert_eq!(last.flags.system, SystemFlags::DRAFT);
        assert_eq!(keywords, ["new", "work"]);
        assert_eq!(dovecot.list("LIST \"\" *"), ours(account.list().await.unwrap()), "{layout:?}");
        let names: Vec<_> =
            account.subscriptions().await.unwrap().iter().map(MailboxName::to_string).collect();
        assert_eq!(names, ["Dove/cot", "INBOX", "日本語/台北"]);
    }
}

#[tokio::test]
async fn what_dovecots_compression_stored_is_read() {
    use culver_maildir::compressed;
    let text =
        format!("Subject: x\r\n\r\n{}", "All work and no play makes Jack a dull boy.\r\n".repeat(4000));
    for kind in ["gz", "bz2", "zstd", "lz4"] {
        let house = House::with(Layout::MaildirPlusPlus, dovecot::owner(), |_| ());
        let Some(dovecot) = Dovecot::new(house.temp.path(), &house.place.root, Layout::MaildirPlusPlus)
        else {
            return;
        };
        dovecot.configure(&format!("mail_plugins = zlib\nplugin {{\n zlib_save = {kind}\n}}\n"));
        let answer = dovecot.say(&[&format!("APPEND INBOX {{{}+}}\r\n{text}", text.len())]);
        assert!(answer.contains("APPENDUID"), "{answer}");
        let dir = ["new", "cur"].into_iter().find_map(|d| std::fs::read_dir(house.path(d)).ok()?.next());
        let file = std::fs::read(dir.unwrap().unwrap().path()).unwrap();
        assert!(file.len() < text.len() / 2, "{kind}: it is compressed");
        let found = compressed::recognise(&file).unwrap();
        let plain = compressed::decompress(found, &file, 1 << 20).unwrap();
        assert_eq!(
            String::from_utf8(plain).unwrap().replace("\r\n", "\n"),
            text.replace("\r\n", "\n"),
            "{kind}"
        );
        // And as a message.
        let account = house.account().await;
        let inbox = account.open(&name("INBOX")).await.unwrap();
        let uid = inbox.snapshot().get(0).unwrap().uid;
        let (tell, told) = std::sync::mpsc::channel();
        let visit: culver_store::Visit = Box::new(move |message| {
            let mut octets = Vec::new();
            message.read(0..u64::MAX, &mut octets).unwrap();
            tell.send((message.size().unwrap(), octets)).unwrap();
            std::ops::ControlFlow::Continue(())
        });
        inbox.visit(vec![uid], visit).await;
        let (size, octets) = told.recv().unwrap();
        assert_eq!((size, octets.len()), (text.len() as u64, text.len()), "{kind}");
        assert!(octets == text.as_bytes());
    }
}
