//! Trees that other servers left: what is found, what is taken over, and what is told.

#![allow(clippy::unwrap_used, reason = "a test fails where it fails")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the disk")]

mod common;

use common::*;
use culver_base::{MailboxName, ModSeq};
use culver_maildir::adopt::{AdoptedAccount, How, adopt};
use culver_maildir::release::release;
use culver_maildir::survey::Keeper;
use culver_maildir::{FlagWrites, MaildirStore, StoreSettings};
use culver_snapshot::Snapshot;
use culver_store::{Account, FlagChange, Layout, Place};
use std::fs;
use std::path::Path;

/// A log as Dovecot 2.3.19.1 wrote it: messages 1 to 3, keywords k00 to k29 on the first, UIDVALIDITY 1795480397, the
/// third expunged.
const LOG: &[u8] = include_bytes!("dovecot/index/small.log");
const VALIDITY: u32 = 1_795_480_397;

fn store_of(house: &House) -> (MaildirStore, Place) {
    let settings = StoreSettings::new(house.state(), house.settings.clone());
    let place = Place {
        account: "ada@example.org".into(),
        owner: None,
        root: house.root(),
        control: None,
        index: None,
        layout: Layout::MaildirPlusPlus,
    };
    (MaildirStore::new(house.io.clone(), settings), place)
}

async fn adopted(house: &House, how: How) -> AdoptedAccount {
    let (store, place) = store_of(house);
    adopt(&store, &place, how, &mut |_, _, _| ()).await.unwrap()
}

async fn opened(house: &House, mailbox: &str) -> std::sync::Arc<Snapshot> {
    let (store, place) = store_of(house);
    let account = store.maildir_account(&place).await.unwrap();
    let snapshot = account.open(&MailboxName::new(mailbox)).await.unwrap().snapshot();
    store.close_account(&place).await;
    snapshot
}

fn write(root: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Formats: courier's documentation of maildirs; the keywords as maildirkw of courier-base 1.0.16 wrote them.
#[tokio::test]
async fn couriers_uids_subscriptions_and_keywords() {
    let house = House::with(FlagWrites::Lazy);
    house.make(".Work.2024");
    let root = house.root();
    for (name, text) in [
        ("cur/1000.M1.host:2,S", "a\n"),
        ("cur/1001.M1.host,S=2:2,", "b\n"),
        ("new/1002.M1.host", "c\n"),
        ("courierimapuiddb", "1 500000000 12\n7 1000.M1.host\n11 1001.M1.host,S=2\n"),
        ("courierimapkeywords/:list", "$Forwarded\nProject\n\n1000.M1.host:0 1\n1001.M1.host,S=2:1\n"),
        ("courierimapkeywords/.5984934.1001.M1.host,S=2", "Changed\n"),
        ("courierimapsubscribed", "INBOX\nINBOX.Work.2024\nINBOX.Gone\n"),
        ("courierpop3dsizelist", "/2 500000000 12\n"),
        (".Work.2024/cur/1003.M1.host:2,F", "d\n"),
        (".Work.2024/courierimapuiddb", "1 500000001 4\n3 1003.M1.host\n"),
    ] {
        write(&root, name, text);
    }
    let look = adopted(&house, How::DryRun).await;
    let inbox = look.mailboxes[0].found.as_ref().unwrap();
    assert_eq!((inbox.keeper, inbox.uid_validity, inbox.messages), (Keeper::Courier, Some(500_000_000), 3));
    assert_eq!((inbox.listed, inbox.indexed, look.found.subscriptions), (2, (3, 2), 3));
    assert!(inbox.odd.iter().any(|o| o.contains("courierpop3dsizelist")), "{:?}", inbox.odd);
    assert!(!root.join("dovecot-uidlist").exists() && !root.join("subscriptions").exists());

    let done = adopted(&house, How::Adopt).await;
    assert!(done.mailboxes.iter().all(|m| m.failure.is_none() && m.odd.is_empty()), "{done:?}");
    let s = opened(&house, "INBOX").await;
    assert_eq!(s.uid_validity.get(), 500_000_000);
    assert_eq!(show(&s), "7($Forwarded Project \\Seen) 11(Changed) 12()");
    let s = opened(&house, "Work/2024").await;
    assert_eq!((s.uid_validity.get(), show(&s)), (500_000_001, "3(\\Flagged)".to_owned()));
    // What Dovecot would read from now on.
    let text = fs::read_to_string(root.join("dovecot-uidlist")).unwrap();
    assert!(text.starts_with("3 V500000000 N13 G") && text.ends_with("12 :1002.M1.host\n"), "{text}");
    let mut names = house.files("");
    names.retain(|n| n.starts_with("cur/100"));
    assert_eq!(names.len(), 2);
    let keywords = fs::read_to_string(root.join("dovecot-keywords")).unwrap();
    assert_eq!(keywords.lines().count(), 3, "{keywords}");
    assert!(
        names[0].ends_with(":2,Sab") || names[0].ends_with(":2,Sbc") || names[0].ends_with(":2,Sac"),
        "{names:?}"
    );
    assert_eq!(fs::read_to_string(root.join("subscriptions")).unwrap(), "V\t2\n\nINBOX\nWork\t2024\nGone\n");
    // Courier's files are its own.
    assert!(fs::read_to_string(root.join("courierimapuiddb")).unwrap().starts_with("1 500000000 12\n"));
    // A second time, all is there.
    let again = adopted(&house, How::Adopt).await;
    assert!(again.mailboxes.iter().all(|m| m.failure.is_none() && m.odd.is_empty()), "{again:?}");
}

fn dovecots_mailbox(house: &House, log: &[u8]) {
    let root = house.root();
    for (name, text) in [
        ("cur/1000.M1.host:2,Sa", "a\n"),
        ("cur/1001.M1.host:2,ab", "b\n"),
        (
            "dovecot-uidlist",
            "3 V1795480397 N4 G0123456789abcdef0123456789abcdef\n1 :1000.M1.host\n2 Pold O1 :1001.M1.host\n",
        ),
        ("dovecot-keywords", "0 k00\n1 k01\n"),
        ("maildirsize", "0S\n4 2\n"),
    ] {
        write(&root, name, text);
    }
    write(&root, "dovecot.index.log", log);
}

/// A change of a log, in Dovecot's form (mail-transaction-log.h).
fn change(kind: u32, numbers: &[u32]) -> Vec<u8> {
    let size = u32::try_from(8 + numbers.len() * 4).unwrap() >> 2;
    let mut out: Vec<u8> =
        [21, 14, 7, 0].iter().map(|shift| 0x80 | u8::try_from(size >> shift & 0x7f).unwrap()).collect();
    out.extend(kind.to_le_bytes());
    out.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
    out
}

/// `doveadm mailbox update --min-highest-modseq` writes this.
fn lifted(to: u64) -> Vec<u8> {
    let log =
        change(0x8000, &[0, u32::try_from(to & 0xffff_ffff).unwrap(), u32::try_from(to >> 32).unwrap()]);
    [LOG, &log].concat()
}

#[tokio::test]
async fn keywords_without_letters_come_once() {
    let house = House::with(FlagWrites::Lazy);
    dovecots_mailbox(&house, LOG);
    let look = adopted(&house, How::DryRun).await;
    let inbox = look.mailboxes[0].found.as_ref().unwrap();
    // The index says k00 to k29 of the first, k00 and k27 of the second; two have letters.
    assert_eq!((inbox.keywords, inbox.indexed, inbox.pop3), (2, (28, 2), (1, 1)));
    assert_eq!(look.found.usage, Some((4, 2)));
    let done = adopted(&house, How::Adopt).await;
    assert_eq!(done.mailboxes[0].now.as_ref().unwrap().uid_validity, VALIDITY);
    let s = opened(&house, "INBOX").await;
    let all = picture(&s);
    // Where there are letters names count: the first has lost k01, the second has it.
    assert!(!all[&1].contains("k01") && all[&1].contains("k02 k03") && all[&1].ends_with("k29"), "{all:?}");
    assert_eq!(all[&2], "k00 k01 k27");
    // What the user takes away does not come back.
    let (store, place) = store_of(&house);
    let account = store.maildir_account(&place).await.unwrap();
    let inbox = account.open(&MailboxName::inbox()).await.unwrap();
    inbox.set_flags(&uids(&[2]), common::store(FlagChange::Remove, "k27")).await.unwrap();
    drop((inbox, account));
    store.close_account(&place).await;
    adopted(&house, How::Adopt).await;
    assert_eq!(picture(&*opened(&house, "INBOX").await)[&2], "k00 k01");
    // 24 letters were free; the others are named on the way back.
    let released = release(&store, &place, &mut |_, _, _| ()).await.unwrap();
    assert_eq!(released[0].failure, None);
    assert_eq!(released[0].without_letter.len(), 30 - 26);
    assert!(fs::read(house.root().join("dovecot.index.log")).unwrap() == LOG, "Dovecot's own is left alone");
}

#[tokio::test]
async fn mod_sequences_begin_above_dovecots_and_stay_there() {
    let house = House::with(FlagWrites::Lazy);
    // As after a way back with a clock that was far ahead.
    let far = 5 << 52;
    dovecots_mailbox(&house, &lifted(far));
    adopted(&house, How::Adopt).await;
    let s = opened(&house, "INBOX").await;
    assert!(s.iter().all(|r| r.mod_seq.get() > far) && s.highest_mod_seq.get() > far);
    let ours = s.highest_mod_seq;
    assert_eq!(opened(&house, "INBOX").await.highest_mod_seq, ours, "and do not grow for nothing");
    // Dovecot serves again, lifted above ours, and goes on from there. What it did is news to who knows its number.
    let theirs = ours.get() + 1000;
    write(&house.root(), "dovecot.index.log", lifted(theirs));
    let names = house.files("");
    let second = names.iter().find(|n| n.contains("1001.M1")).unwrap();
    fs::rename(house.root().join(second), house.root().join("cur/1001.M1.host:2,DF")).unwrap();
    let s = opened(&house, "INBOX").await;
    assert!(s.by_uid(uid(2)).unwrap().mod_seq > ModSeq::new(theirs).unwrap());
    assert!(s.by_uid(uid(1)).unwrap().mod_seq <= ours, "what has not changed is not sent again");
}

#[tokio::test]
async fn what_is_odd_is_said_with_what_to_do() {
    let house = House::with(FlagWrites::Lazy);
    let root = house.root();
    let mut log = LOG.to_vec();
    // Flags of the first that are in no file name.
    log.extend(change(0x4, &[1, 1, 0x80]));
    dovecots_mailbox(&house, &log);
    for (name, text) in [
        ("cur/1000.M1.host:2,F", "a again\n"),
        ("cur/:2,S", "no base\n"),
        ("cur/1004.M1.host:2,z", "letter\n"),
        ("new/line\nbreak", "x\n"),
        ("cur/1005.M1.host:2,", "\x1f\u{8b}"),
        ("cur/sub/x", ""),
        ("dovecot-acl", "anyone lr\n"),
        ("dovecot-uidlist.lock", "1:elsewhere"),
        ("dovecot.index.pvt.log", ""),
        ("Other/cur/x", ""),
        (".W\u{e4}rk/cur/x", ""),
        (".Broken/cur/1.a:2,", "x\n"),
        (".Broken/dovecot-uidlist", "not a list\n"),
        (".Bare/cur/1.a:2,", "x\n"),
        ("subscriptions", "V\t9\n\nx\n"),
    ] {
        write(&root, name, text);
    }
    let look = adopted(&house, How::DryRun).await;
    let mut said: Vec<String> = look.found.odd.clone();
    for mailbox in &look.mailboxes {
        let odd = mailbox.found.iter().flat_map(|f| &f.odd).chain(&mailbox.odd);
        said.extend(odd.map(|text| format!("{}: {text}", mailbox.name)));
    }
    for wanted in [
        "1 directories look like mailboxes of the layout fs",
        "the directory .W\\xc3\\xa4rk is not a name",
        "subscriptions cannot be read",
        "INBOX: 1 files have the base name of another",
        "INBOX: 1 file names begin with a colon",
        "INBOX: 1 file names hold a line break",
        "INBOX: 1 things in new/ or cur/ are not files",
        "INBOX: file names have letters that dovecot-keywords does not explain (z)",
        "INBOX: dovecot-uidlist.lock is there",
        "INBOX: 1 messages have flags that Dovecot has not written to file names",
        "doveadm force-resync -u ada@example.org \"INBOX\"",
        "INBOX: it has a private index",
        "INBOX: it has an access list",
        "Broken: dovecot-uidlist has no UIDVALIDITY",
        "Bare: there is no record of UIDs",
    ] {
        assert!(said.iter().any(|s| s.contains(wanted)), "{wanted}\n{}", said.join("\n"));
    }
    // Odd or not, it is adopted.
    fs::remove_file(root.join("dovecot-uidlist.lock")).unwrap();
    let done = adopted(&house, How::Adopt).await;
    assert!(done.mailboxes.iter().all(|m| m.failure.is_none()), "{done:?}");
}

#[tokio::test]
async fn an_account_without_mail_is_left_as_it_is() {
    let house = House::with(FlagWrites::Lazy);
    fs::remove_dir_all(house.root()).unwrap();
    let done = adopted(&house, How::Adopt).await;
    assert!(done.mailboxes.is_empty() && done.found.odd[0].contains("no mail yet"));
    assert!(!house.root().exists());
}
