//! A mailbox as POP3 lists it: order, sizes, identifiers stored and made, the claim.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panic and plays other programs on the file system"
)]

mod common;

use common::{House, flags, uid, uids};
use culver_base::{Keyword, UidlFormat};
use culver_maildir::{MaildirMailbox, MaildirStore, StoreSettings};
use culver_store::{FlagChange, Layout, Mailbox, Maildrop, Origin, Place, Sizes, Store, StoreFlags};
use std::fs;
use std::time::Duration;

fn ids(mailbox: &MaildirMailbox, maildrop: &Maildrop, format: &str) -> Vec<String> {
    let format = UidlFormat::parse(format).unwrap();
    let ids = mailbox.unique_ids(maildrop, 0..maildrop.len(), &format);
    ids.iter().map(|(id, _)| String::from_utf8(id.to_vec()).unwrap()).collect()
}

/// `dovecot-uidlist` as Dovecot has left it, with files for its records.
fn left_by_dovecot(house: &House, records: &[(u32, &str, &str)]) {
    let mut list = String::from("3 V1700000000 N9 G00112233445566778899aabbccddeeff\n");
    for (uid, fields, base) in records {
        let blank = if fields.is_empty() { "" } else { " " };
        list += &format!("{uid} {fields}{blank}:{base}\n");
        fs::write(house.root().join(format!("cur/{base}:2,S")), "Subject: x\n\nbody\n").unwrap();
    }
    fs::write(house.root().join("dovecot-uidlist"), list).unwrap();
}

#[tokio::test]
async fn order_and_identifiers_are_those_of_the_uidlist() {
    let house = House::new();
    left_by_dovecot(
        &house,
        &[(1, "", "a"), (2, "Pold-2 O2", "b"), (3, "P O1", "c,W=23"), (4, "Gguid W40", "d")],
    );
    let mailbox = house.open("").await;
    let maildrop = mailbox.maildrop(Sizes::Exact, None).await.unwrap();
    let listed: Vec<u32> = maildrop.iter().map(|(uid, _)| uid.get()).collect();
    assert_eq!(listed, [3, 2, 1, 4]);
    assert_eq!(ids(&mailbox, &maildrop, "%u"), ["c,W=23", "old-2", "1", "4"]);
    assert_eq!(ids(&mailbox, &maildrop, "%g"), ["c,W=23", "old-2", "a", "guid"]);
    // "Subject: x", an empty line, "body", each with CRLF; told by the name, by the list, or counted.
    let sizes: Vec<u64> = maildrop.iter().map(|(_, octets)| octets).collect();
    assert_eq!(sizes, [23, 20, 20, 40]);
    assert_eq!(maildrop.octets(), 103);

    // Dovecot stores one more: it is seen the next time, and the old list stays as it was.
    let list = fs::read_to_string(house.root().join("dovecot-uidlist")).unwrap();
    fs::write(house.root().join("new-list"), list.replace("1 :a", "1 Pnew :a")).unwrap();
    fs::rename(house.root().join("new-list"), house.root().join("dovecot-uidlist")).unwrap();
    let again = mailbox.maildrop(Sizes::Exact, None).await.unwrap();
    assert_eq!(ids(&mailbox, &again, "%u"), ["c,W=23", "old-2", "new", "4"]);
    assert_eq!(ids(&mailbox, &maildrop, "%u"), ["c,W=23", "old-2", "1", "4"]);
}

#[tokio::test]
async fn identifiers_are_stored_once_under_the_lock_and_last() {
    let house = House::new();
    left_by_dovecot(&house, &[(1, "", "a"), (2, "Pold S9", "b"), (3, "Gguid", "c")]);
    let mailbox = house.open("").await;
    let made = |n, id: &str| (uid(n), id.as_bytes().into());

    // Another program holds the lock: nothing is written, and that is no disaster.
    let lock = house.root().join("dovecot-uidlist.lock");
    fs::write(&lock, "1:elsewhere.example").unwrap();
    let before = fs::read_to_string(house.root().join("dovecot-uidlist")).unwrap();
    assert!(mailbox.keep_unique_ids(vec![made(1, "x1")]).await.is_err());
    assert_eq!(fs::read_to_string(house.root().join("dovecot-uidlist")).unwrap(), before);
    fs::remove_file(&lock).unwrap();

    mailbox.keep_unique_ids(vec![made(1, "x1"), made(2, "x2"), made(3, "x3")]).await.unwrap();
    let list = fs::read_to_string(house.root().join("dovecot-uidlist")).unwrap();
    let records: Vec<&str> = list.lines().skip(1).collect();
    assert_eq!(records, ["1 Px1 :a", "2 Pold S9 :b", "3 Gguid Px3 :c"]);
    assert!(!lock.exists());
    let maildrop = mailbox.maildrop(Sizes::Exact, None).await.unwrap();
    let format = UidlFormat::default();
    let ids = mailbox.unique_ids(&maildrop, 0..3, &format);
    assert!(ids.iter().all(|(_, origin)| origin == Origin::Stored));
    // They outlive the process, and a new message does not take them away.
    mailbox.append(vec![common::message("Subject: y\r\n\r\n", "")]).await.unwrap();
    mailbox.close().await;
    drop(mailbox);
    let mailbox = house.open("").await;
    let maildrop = mailbox.maildrop(Sizes::Exact, None).await.unwrap();
    assert_eq!(self::ids(&mailbox, &maildrop, "%u"), ["x1", "old", "x3", "9"]);
}

#[tokio::test]
async fn hidden_messages_are_left_out_and_removal_is_of_exactly_those() {
    let house = House::new();
    left_by_dovecot(&house, &[(1, "", "a"), (2, "", "b"), (3, "", "c"), (4, "", "d")]);
    let mailbox = house.open("").await;
    let hidden = Keyword::new("POP3Deleted").unwrap();
    let hide = StoreFlags { change: FlagChange::Add, flags: flags("POP3Deleted"), unchanged_since: None };
    mailbox.set_flags(&uids(&[2]), hide).await.unwrap();
    let all = mailbox.maildrop(Sizes::Exact, None).await.unwrap();
    assert_eq!((all.len(), all.octets()), (4, 80));
    let shown = mailbox.maildrop(Sizes::Exact, Some(&hidden)).await.unwrap();
    assert_eq!((shown.len(), shown.octets()), (3, 60));
    assert_eq!(shown.get(1).unwrap().0, uid(3));

    // `\Deleted` by somebody else does not count, nor is it needed.
    let deleted = StoreFlags { change: FlagChange::Add, flags: flags("\\Deleted"), unchanged_since: None };
    mailbox.set_flags(&uids(&[4]), deleted).await.unwrap();
    assert_eq!(mailbox.remove(&uids(&[3])).await.unwrap(), uids(&[3]));
    let left: Vec<u32> = mailbox.snapshot().iter().map(|r| r.uid.get()).collect();
    assert_eq!(left, [1, 2, 4]);
    // What the session saw is as it was; a message that is gone is not made up.
    assert_eq!(ids(&mailbox, &all, "%u"), ["1", "2", "3", "4"]);
    let by_name = UidlFormat::parse("%f").unwrap();
    assert_eq!(mailbox.unique_ids(&all, 2..3, &by_name).get(0).unwrap().1, Origin::Unknown);
}

/// Twenty thousand messages are listed from the index: their files could not even be read.
#[tokio::test]
async fn a_large_maildrop_is_listed_without_opening_a_message() {
    let house = House::in_memory(culver_maildir::FlagWrites::Lazy);
    let mut list = String::from("3 V1700000000 N20001 G00112233445566778899aabbccddeeff\n");
    for n in 1..=20_000_u32 {
        let base = format!("1700000000.M{n}P1.host,S=900,W=1000");
        fs::write(house.root().join(format!("cur/{base}:2,S")), "").unwrap();
        list += &format!("{n} :{base}\n");
    }
    fs::write(house.root().join("dovecot-uidlist"), list).unwrap();
    let mailbox = house.open("").await;
    let maildrop = mailbox.maildrop(Sizes::Exact, None).await.unwrap();
    // The empty files were not looked at.
    assert_eq!((maildrop.len(), maildrop.octets()), (20_000, 20_000_000));
    let ids = ids(&mailbox, &maildrop, "%08Xu%08Xv");
    assert_eq!((ids[0].as_str(), ids[19_999].as_str()), ("000000016553f100", "00004e206553f100"));
}

#[tokio::test]
async fn sizes_at_hand_open_nothing() {
    let house = House::new();
    fs::write(house.root().join("cur/a,S=17:2,S"), "Subject: x\n\nbody\n").unwrap();
    let mailbox = house.open("").await;
    let fast = mailbox.maildrop(Sizes::AtHand, None).await.unwrap();
    assert_eq!(fast.octets(), 17, "what the file has");
    let exact = mailbox.maildrop(Sizes::Exact, None).await.unwrap();
    assert_eq!(exact.octets(), 20, "with CRLF");
    let fast = mailbox.maildrop(Sizes::AtHand, None).await.unwrap();
    assert_eq!(fast.octets(), 20, "once it was counted");
}

#[tokio::test]
async fn one_claim_at_a_time_that_other_programs_see() {
    let house = House::new();
    let store =
        MaildirStore::new(house.io.clone(), StoreSettings::new(house.state(), house.settings.clone()));
    let place = Place {
        account: "ada@example.org".into(),
        owner: None,
        root: house.root(),
        control: None,
        index: None,
        layout: Layout::MaildirPlusPlus,
    };
    let account = store.account(&place).await.unwrap();
    let lock = house.root().join("dovecot-pop3-session.lock");
    let mut claim = account.claim().await.unwrap();
    let text = fs::read_to_string(&lock).unwrap();
    assert_eq!(text, format!("{}:test.example", std::process::id()));
    claim.renew().await;
    assert!(lock.exists());
    // Ours, too, waits for it.
    let second = tokio::time::timeout(Duration::from_millis(100), account.claim());
    assert!(second.await.is_err());
    claim.release().await;
    assert!(!lock.exists());
    // A session that was cut gives it back a moment later.
    drop(account.claim().await.unwrap());
    account.claim().await.unwrap().release().await;
    // A leftover of a process that is gone is no claim.
    fs::write(&lock, "999999999:test.example").unwrap();
    let old = std::time::SystemTime::now() - Duration::from_secs(60);
    fs::File::options().write(true).open(&lock).unwrap().set_modified(old).unwrap();
    account.claim().await.unwrap().release().await;
    assert!(!lock.exists());
    store.close().await;
}
