//! Each verb on a Maildir, seen from both sides: the snapshot, and the files.

#![allow(clippy::unwrap_used, reason = "a test fails where it fails")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the disk")]

mod common;

use common::*;
use culver_base::SystemFlags;
use culver_snapshot::Presence;
use culver_store::{FlagChange, Mailbox, Spool, Transfer};
use std::sync::Arc;

#[tokio::test]
async fn what_is_there_gets_uids_in_the_order_of_arrival() {
    let h = House::new();
    h.deliver("", "20.M5P1.h", "b\n");
    h.deliver("", "20.M3P1.h,S=2,W=3", "a\n");
    std::fs::write(h.root().join("cur/10.M1P1.h:2,FS"), "old\n").unwrap();
    let m = h.open("").await;
    let s = m.snapshot();
    assert_eq!(show(&s), "1(\\Flagged \\Seen) 2() 3()");
    assert_eq!(s.by_uid(uid(2)).unwrap().size, Some(3));
    assert_eq!(s.uid_next, uid(4));
    let list = std::fs::read_to_string(h.root().join("dovecot-uidlist")).unwrap();
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines[0], format!("3 V{} N4 G{}", s.uid_validity, s.mailbox_id));
    assert_eq!(lines[1..], ["1 :10.M1P1.h", "2 :20.M3P1.h,S=2,W=3", "3 :20.M5P1.h"]);
    assert_eq!(body(&*m, uid(3)).await.unwrap(), "b\r\n");
}

#[tokio::test]
async fn dovecots_uids_are_kept() {
    let h = House::new();
    let id = "0123456789abcdef0123456789abcdef";
    std::fs::write(
        h.root().join("dovecot-uidlist"),
        format!("3 V77 N50 G{id} X1\n5 W9 :a\n7 P12 :b\n40 :gone\n"),
    )
    .unwrap();
    std::fs::write(h.root().join("dovecot-keywords"), "0 $Forwarded\n3 work\n").unwrap();
    std::fs::write(h.root().join("cur/a:2,Sad"), "x\n").unwrap();
    std::fs::write(h.root().join("cur/b:2,"), "y\n").unwrap();
    h.deliver("", "c", "z\n");
    let m = h.open("").await;
    let s = m.snapshot();
    assert_eq!(show(&s), "5($Forwarded \\Seen work) 7() 50()");
    assert_eq!((s.uid_validity.get(), s.mailbox_id.to_string()), (77, id.to_owned()));
    assert_eq!(s.by_uid(uid(5)).unwrap().size, Some(9));
    let list = std::fs::read_to_string(h.root().join("dovecot-uidlist")).unwrap();
    assert_eq!(list, format!("3 V77 N50 G{id} X1\n5 W9 :a\n7 P12 :b\n40 :gone\n50 :c\n"));
}

#[tokio::test]
async fn appended_messages_are_files_with_both_sizes() {
    let h = House::new();
    let m = h.open("").await;
    let done = m.append(vec![message("a\r\nb\r\n", ""), message("c\r\n", "\\Seen $Junk")]).await.unwrap();
    assert_eq!(done.uids, [uid(1), uid(2)]);
    let s = m.snapshot();
    assert_eq!(show(&s), "1() 2($Junk \\Seen)");
    assert_eq!(s.by_uid(uid(1)).unwrap().size, Some(6));
    assert_eq!(s.by_uid(uid(1)).unwrap().internal_date.unix, 1_000_000_000);
    flushed(&m).await;
    let files = h.files("");
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files[0].starts_with("cur/") && files[0].ends_with(",S=2,W=3:2,Sa"), "{files:?}");
    assert!(files[1].starts_with("new/") && files[1].ends_with(",S=4,W=6"), "{files:?}");
    assert_eq!(std::fs::read_to_string(h.root().join("dovecot-keywords")).unwrap(), "0 $Junk\n");
    let mtime = std::fs::metadata(h.root().join(&files[0])).unwrap().modified().unwrap();
    assert_eq!(mtime.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(), 1_000_000_000);
    assert_eq!(body(&*m, uid(1)).await.unwrap(), "a\r\nb\r\n");
    assert_eq!(std::fs::read_dir(h.root().join("tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_literal_is_spooled() {
    let h = House::new();
    let m = h.open("").await;
    let mut spool: Box<dyn Spool> = Box::new(culver_maildir::MaildirSpool::new(m.place()));
    let line = "0123456789".repeat(7) + "\r\n";
    let whole = line.repeat(20_000);
    for piece in whole.as_bytes().chunks(1021) {
        spool.write(bytes::Bytes::copy_from_slice(piece)).await;
    }
    let spooled = spool.finish().await.unwrap();
    let new = culver_store::NewMessage { body: spooled, flags: vec![], internal_date: None };
    m.append(vec![new]).await.unwrap();
    assert_eq!(m.snapshot().by_uid(uid(1)).unwrap().size, Some(whole.len() as u64));
    assert!(body(&*m, uid(1)).await.unwrap() == whole);
    // A large one streams, from anywhere.
    let reader = Arc::new(std::sync::Mutex::new(None));
    let into = reader.clone();
    m.visit(
        vec![uid(1)],
        Box::new(move |msg| {
            *into.lock().unwrap() = Some(msg.reader(70..1_300_000).unwrap());
            std::ops::ControlFlow::Continue(())
        }),
    )
    .await;
    let mut reader = reader.lock().unwrap().take().unwrap();
    let mut got = Vec::new();
    while reader.remaining() > 0 {
        got.extend_from_slice(&reader.next().await.unwrap());
    }
    assert!(got == whole.as_bytes()[70..1_300_000]);
    // What is dropped leaves nothing behind.
    let mut spool = culver_maildir::MaildirSpool::new(m.place());
    spool.write(bytes::Bytes::from(whole.clone())).await;
    drop(spool);
    h.io.run_low(None, |_| ()).await.unwrap();
}

#[tokio::test]
async fn flags_are_stored_and_written_to_names() {
    let h = House::new();
    let m = h.open("").await;
    m.append((0..3).map(|_| message("x\r\n", "")).collect()).await.unwrap();
    let before = m.snapshot().highest_mod_seq;
    let done = m.set_flags(&uids(&[1, 2, 9]), store(FlagChange::Add, "\\Seen work")).await.unwrap();
    assert_eq!((done.changed, done.missing), (uids(&[1, 2]), uids(&[9])));
    assert!(done.mod_seq > before);
    let mut guarded = store(FlagChange::Replace, "\\Deleted");
    guarded.unchanged_since = Some(before);
    let done = m.set_flags(&uids(&[2, 3]), guarded).await.unwrap();
    assert_eq!((done.changed, done.modified), (uids(&[3]), uids(&[2])));
    let at = m.snapshot().highest_mod_seq;
    let done = m.set_flags(&uids(&[3]), store(FlagChange::Remove, "\\Seen nothing")).await.unwrap();
    assert_eq!((done.changed, done.mod_seq), (uids(&[3]), at), "nothing was different");
    assert_eq!(show(&m.snapshot()), "1(\\Seen work) 2(\\Seen work) 3(\\Deleted)");
    flushed(&m).await;
    let ends: Vec<String> = h.files("").iter().map(|f| f.rsplit(':').next().unwrap().to_owned()).collect();
    assert_eq!(ends, ["2,Sa", "2,Sa", "2,T"]);
    assert_eq!(m.expunge(&uids(&[1, 2, 3])).await.unwrap(), uids(&[3]));
    assert_eq!(h.files("").len(), 2);
    assert_eq!(m.snapshot().vanished.after(at), Some(uids(&[3])));
}

#[tokio::test]
async fn copies_and_moves() {
    let h = House::new();
    h.make(".Work");
    let (a, b) = (h.open("").await, h.open(".Work").await);
    a.append(vec![message("1\r\n", "\\Seen red"), message("2\r\n", ""), message("3\r\n", "")]).await.unwrap();
    b.append(vec![message("0\r\n", "blue")]).await.unwrap();
    let to: Arc<dyn Mailbox> = b.clone();
    let done = a.transfer(&uids(&[1, 3]), &to, Transfer::Copy).await.unwrap();
    assert_eq!((done.source, done.target), (vec![uid(1), uid(3)], vec![uid(2), uid(3)]));
    assert_eq!(show(&b.snapshot()), "1(blue) 2(\\Seen red) 3()");
    assert_eq!(body(&*b, uid(3)).await.unwrap(), "3\r\n");
    assert_eq!(b.snapshot().by_uid(uid(2)).unwrap().internal_date.unix, 1_000_000_000);
    let done = a.transfer(&uids(&[1, 2]), &to, Transfer::Move).await.unwrap();
    assert_eq!(done.target, [uid(4), uid(5)]);
    assert_eq!(show(&a.snapshot()), "3()");
    assert_eq!(body(&*b, uid(4)).await.unwrap(), "1\r\n");
    let done = a.transfer(&uids(&[3, 7]), &to, Transfer::Copy).await.unwrap();
    assert_eq!((done.target.len(), done.missing), (0, uids(&[7])), "all or none");
    // Onto itself.
    let own: Arc<dyn Mailbox> = a.clone();
    a.transfer(&uids(&[3]), &own, Transfer::Copy).await.unwrap();
    a.transfer(&uids(&[3]), &own, Transfer::Move).await.unwrap();
    assert_eq!(show(&a.snapshot()), "4() 5()");
    assert_eq!(body(&*a, uid(5)).await.unwrap(), "3\r\n");
    flushed(&b).await;
    let list = std::fs::read_to_string(h.root().join(".Work/dovecot-uidlist")).unwrap();
    assert_eq!(list.lines().count(), 6, "{list}");
    assert!(list.lines().nth(2).unwrap().starts_with("2 G"), "{list}");
}

#[tokio::test]
async fn what_other_programs_do_is_seen() {
    let h = House::new();
    let m = h.open("").await;
    m.append(vec![message("1\r\n", ""), message("2\r\n", "\\Seen")]).await.unwrap();
    h.deliver("", "1700000000.M1P1.mda", "3\n");
    m.refresh().await.unwrap();
    assert_eq!(show(&m.snapshot()), "1() 2(\\Seen) 3()");
    let files = h.files("");
    let two = files.iter().find(|f| f.starts_with("cur/")).unwrap();
    let one = files.iter().find(|f| f.starts_with("new/") && !f.contains("mda")).unwrap();
    // mutt answers the first, somebody removes the second; our own flag is still on its way, or has just come.
    m.set_flags(&uids(&[1, 3]), store(FlagChange::Add, "\\Flagged")).await.unwrap();
    let base = one.trim_start_matches("new/");
    let at = |info: &str| h.root().join(format!("cur/{base}:2,{info}"));
    std::fs::rename(h.root().join(one), at("R")).or_else(|_| std::fs::rename(at("F"), at("FR"))).unwrap();
    std::fs::remove_file(h.root().join(two)).unwrap();
    m.refresh().await.unwrap();
    assert_eq!(show(&m.snapshot()), "1(\\Answered \\Flagged) 3(\\Flagged)");
    flushed(&m).await;
    assert!(h.root().join(format!("cur/{base}:2,FR")).exists(), "{:?}", h.files(""));
}

#[tokio::test]
async fn a_session_that_writes_empties_new() {
    let h = House::new();
    h.deliver("", "1.M1P1.h", "x\n");
    let m = h.open("").await;
    let _watch = m.watch();
    assert_eq!(m.first_recent(), uid(1));
    assert_eq!(h.files(""), ["new/1.M1P1.h"]);
    assert_eq!(m.claim_recent(), uid(1));
    assert_eq!(m.claim_recent(), uid(2));
    flushed(&m).await;
    assert_eq!(h.files(""), ["cur/1.M1P1.h:2,"]);
    assert_eq!(show(&m.snapshot()), "1()");
    drop(m);
    assert_eq!(h.open("").await.first_recent(), uid(2));
}

#[tokio::test]
async fn all_of_many_leave_new() {
    // More than one round of renames, and newer ones in `cur` already.
    let h = House::in_memory(culver_maildir::FlagWrites::Lazy);
    for n in 0..4_500 {
        std::fs::write(h.root().join(format!("new/{}.M1P1.h", 1_000 + n)), "x\n").unwrap();
    }
    std::fs::write(h.root().join("cur/9999.M1P1.h:2,S"), "x\n").unwrap();
    let m = h.open("").await;
    let _watch = m.watch();
    m.claim_recent();
    flushed(&m).await;
    assert!(h.files("").iter().all(|f| f.starts_with("cur/")), "{:?}", &h.files("")[..5]);
    assert_eq!(m.snapshot().len(), 4_501);
}

#[tokio::test]
async fn a_mailbox_whose_directory_is_gone_says_so() {
    let h = House::new();
    h.make(".Work");
    let m = h.open(".Work").await;
    m.append(vec![message("1\r\n", "")]).await.unwrap();
    std::fs::remove_dir_all(h.root().join(".Work")).unwrap();
    assert!(m.refresh().await.is_err());
    assert_eq!(m.snapshot().presence, Presence::Gone);
    assert!(matches!(
        m.set_flags(&uids(&[1]), store(FlagChange::Add, "\\Seen")).await,
        Err(culver_store::Failure::Refused(culver_store::Refusal::MailboxGone))
    ));
}

#[tokio::test]
async fn many_append_at_once() {
    let h = House::new();
    let m = h.open("").await;
    let mut tasks = Vec::new();
    for i in 0..20 {
        let m = m.clone();
        tasks.push(tokio::spawn(async move {
            (i, m.append(vec![message(&format!("{i}\r\n"), "")]).await.unwrap().uids[0])
        }));
    }
    let mut seen = std::collections::BTreeSet::new();
    for t in tasks {
        let (i, uid) = t.await.unwrap();
        assert_eq!(body(&*m, uid).await.unwrap(), format!("{i}\r\n"));
        assert!(seen.insert(uid));
    }
    assert_eq!(m.snapshot().len(), 20);
}

#[tokio::test]
async fn another_programs_lock_delays_and_does_not_break() {
    let h = House::new();
    let m = h.open("").await;
    m.append(vec![message("1\r\n", "")]).await.unwrap();
    let lock = h.root().join("dovecot-uidlist.lock");
    std::fs::write(&lock, "1:test.example").unwrap();
    assert!(m.append(vec![message("2\r\n", "")]).await.unwrap_err().to_string().contains("lock"));
    h.deliver("", "9.M1P1.h", "x\n");
    m.refresh().await.unwrap();
    assert_eq!(m.snapshot().len(), 1, "what is known is served");
    m.set_flags(&uids(&[1]), store(FlagChange::Add, "\\Seen")).await.unwrap();
    std::fs::remove_file(&lock).unwrap();
    m.refresh().await.unwrap();
    assert_eq!(show(&m.snapshot()), "1(\\Seen) 2()");
    assert!(m.snapshot().iter().all(|r| !r.flags.system.contains(SystemFlags::DELETED)));
}
