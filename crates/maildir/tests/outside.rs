//! What other programs do while somebody listens: seen without a look, by events.

#![allow(clippy::unwrap_used, reason = "a test fails where it fails")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the disk")]

mod common;

use common::*;
use culver_maildir::MaildirMailbox;
use culver_snapshot::{Presence, Snapshot};
use culver_store::{Failure, FlagChange, Mailbox, Refusal};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::watch::Receiver;

async fn until(seen: &mut Receiver<Arc<Snapshot>>, want: &str) {
    let reached = async {
        while show(&seen.borrow_and_update()) != want {
            seen.changed().await.unwrap();
        }
    };
    if tokio::time::timeout(Duration::from_secs(10), reached).await.is_err() {
        panic!("{} instead of {want}", show(&seen.borrow()));
    }
}

async fn until_watched(m: &MaildirMailbox) {
    let ready = async {
        while !m.is_watched() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ready).await.unwrap();
}

/// As [`watched`], after its only session has left.
async fn lingering(h: &House) -> Arc<MaildirMailbox> {
    watched(h).await.0
}

async fn watched(h: &House) -> (Arc<MaildirMailbox>, Receiver<Arc<Snapshot>>) {
    let m = h.open("").await;
    let seen = m.watch();
    until_watched(&m).await;
    (m, seen)
}

#[tokio::test]
async fn deliveries_renames_and_deletions() {
    let h = House::new();
    let (m, mut seen) = watched(&h).await;
    let listings = m.listings().await;
    h.deliver("", "1.M1P1.h", "x\n");
    until(&mut seen, "1()").await;
    h.deliver("", "2.M1P1.h", "x\n");
    until(&mut seen, "1() 2()").await;
    let at = |name: &str| h.root().join(name);
    std::fs::rename(at("new/1.M1P1.h"), at("cur/1.M1P1.h:2,S")).unwrap();
    until(&mut seen, "1(\\Seen) 2()").await;
    std::fs::rename(at("cur/1.M1P1.h:2,S"), at("cur/1.M1P1.h:2,RS")).unwrap();
    until(&mut seen, "1(\\Answered \\Seen) 2()").await;
    // A rename by link and unlink.
    std::fs::hard_link(at("cur/1.M1P1.h:2,RS"), at("cur/1.M1P1.h:2,F")).unwrap();
    std::fs::remove_file(at("cur/1.M1P1.h:2,RS")).unwrap();
    until(&mut seen, "1(\\Flagged) 2()").await;
    std::fs::remove_file(at("new/2.M1P1.h")).unwrap();
    until(&mut seen, "1(\\Flagged)").await;
    // Out of the mailbox, and in again: another message.
    std::fs::rename(at("cur/1.M1P1.h:2,F"), h.temp.path().join("kept")).unwrap();
    until(&mut seen, "").await;
    std::fs::rename(h.temp.path().join("kept"), at("cur/1.M1P1.h:2,F")).unwrap();
    until(&mut seen, "3(\\Flagged)").await;
    assert_eq!(body(&*m, uid(3)).await.unwrap(), "x\r\n");
    assert_eq!(m.listings().await, listings, "events are enough");
}

#[tokio::test]
async fn what_was_there_before_is_listed_once() {
    let h = House::new();
    for n in 1..=3 {
        h.deliver("", &format!("{n}.M1P1.h"), "x\n");
    }
    // Times that are not over yet would prove nothing.
    let before = std::time::SystemTime::now() - Duration::from_secs(60);
    for dir in ["new", "cur"] {
        let dir = std::fs::File::open(h.root().join(dir)).unwrap();
        dir.set_times(std::fs::FileTimes::new().set_modified(before)).unwrap();
    }
    let (m, mut seen) = watched(&h).await;
    until(&mut seen, "1() 2() 3()").await;
    m.refresh().await.unwrap();
    assert_eq!(m.listings().await, 1, "the look that found them counts, once they have their UIDs");
    h.deliver("", "4.M1P1.h", "x\n");
    until(&mut seen, "1() 2() 3() 4()").await;
}

#[tokio::test]
async fn our_own_changes_come_back_as_events_and_change_nothing() {
    let h = House::new();
    let (m, mut seen) = watched(&h).await;
    m.claim_recent();
    m.append((0..5).map(|_| message("x\r\n", "")).collect()).await.unwrap();
    for _ in 0..5 {
        m.set_flags(&uids(&[1, 2]), store(FlagChange::Add, "\\Seen")).await.unwrap();
        m.close().await;
        m.set_flags(&uids(&[1, 2]), store(FlagChange::Remove, "\\Seen")).await.unwrap();
        m.close().await;
    }
    m.set_flags(&uids(&[3]), store(FlagChange::Add, "\\Deleted")).await.unwrap();
    m.expunge(&uids(&[3])).await.unwrap();
    let at = m.snapshot().highest_mod_seq;
    m.refresh().await.unwrap();
    until(&mut seen, "1() 2() 4() 5()").await;
    h.deliver("", "1.M1P1.h", "x\n");
    until(&mut seen, "1() 2() 4() 5() 6()").await;
    assert_eq!(m.snapshot().highest_mod_seq, at.next());
}

#[tokio::test]
async fn a_directory_that_is_replaced_or_removed() {
    let h = House::new();
    let (m, mut seen) = watched(&h).await;
    m.append(vec![message("x\r\n", "")]).await.unwrap();
    std::fs::rename(h.root().join("cur"), h.root().join("old")).unwrap();
    std::fs::create_dir(h.root().join("cur")).unwrap();
    std::fs::write(h.root().join("cur/5.M1P1.h:2,S"), "y\n").unwrap();
    until(&mut seen, "1() 2(\\Seen)").await;
    let moved = async {
        while m.snapshot().len() < 3 {
            h.deliver("", "6.M1P1.h", "z\n");
            m.refresh().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), moved).await.unwrap();
    std::fs::write(h.root().join("cur/7.M1P1.h:2,F"), "y\n").unwrap();
    until(&mut seen, "1() 2(\\Seen) 3() 4(\\Flagged)").await;
}

#[tokio::test]
async fn a_folder_that_goes_away_under_a_session() {
    let h = House::new();
    h.make(".Work");
    let m = h.open(".Work").await;
    let mut seen = m.watch();
    until_watched(&m).await;
    std::fs::remove_dir_all(h.root().join(".Work")).unwrap();
    let gone = async {
        while seen.borrow_and_update().presence != Presence::Gone {
            seen.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_sees_what_was_delivered_before_without_a_look() {
    let h = House::new();
    let m = lingering(&h).await;
    let looks = m.looks().await;
    for n in 1..=100 {
        let base = format!("{n}.M1P1.h");
        h.deliver("", &base, "x\n");
        m.refresh().await.unwrap();
        assert_eq!(m.snapshot().len(), n);
        std::fs::rename(h.root().join("new").join(&base), h.root().join(format!("cur/{base}:2,S"))).unwrap();
        m.refresh().await.unwrap();
        assert!(show(&m.snapshot()).ends_with(&format!("{n}(\\Seen)")), "{}", show(&m.snapshot()));
    }
    // Now and then it is seen to that it is still the same mailbox; new UIDs are written to a new list once.
    let looked = m.looks().await - looks;
    assert!(looked < 10, "events are enough, but it was looked {looked} times");
}

#[tokio::test]
async fn what_a_dropped_session_had_begun_to_take_in_is_not_forgotten() {
    let h = House::new();
    let m = lingering(&h).await;
    for most in 1..20 {
        h.deliver("", &format!("{most}.M1P1.h"), "x\n");
        {
            let mut refresh = pin!(m.refresh());
            let mut polls = 0;
            poll_fn(|cx| {
                polls += 1;
                if polls > most { Poll::Ready(()) } else { refresh.as_mut().poll(cx).map(drop) }
            })
            .await;
        }
        m.refresh().await.unwrap();
        assert_eq!(m.snapshot().len(), most, "the session was dropped at step {most}");
    }
}

#[tokio::test]
async fn who_comes_back_sees_that_it_is_another_mailbox() {
    let h = House::new();
    for dir in ["", ".Work", ".Play"] {
        h.make(dir);
    }
    // Its list is replaced by one with another UIDVALIDITY, as when Dovecot makes it anew.
    h.deliver("", "1.M1P1.h", "x\n");
    let m = lingering(&h).await;
    let list = h.root().join("dovecot-uidlist");
    let text = std::fs::read_to_string(&list).unwrap();
    let old = format!("V{}", m.snapshot().uid_validity);
    assert!(text.contains(&old));
    std::fs::write(list.with_extension("new"), text.replace(&old, "V77")).unwrap();
    std::fs::rename(list.with_extension("new"), list).unwrap();
    let refused = m.refresh().await;
    assert!(matches!(refused, Err(Failure::Refused(Refusal::MailboxGone))), "{refused:?}");
    // Renamed, and removed.
    for (dir, away) in [(".Work", Some("elsewhere")), (".Play", None)] {
        let m = h.open(dir).await;
        drop(m.watch());
        until_watched(&m).await;
        match away {
            Some(to) => std::fs::rename(h.root().join(dir), h.root().join(to)).unwrap(),
            None => std::fs::remove_dir_all(h.root().join(dir)).unwrap(),
        }
        let refused = m.refresh().await;
        assert!(matches!(refused, Err(Failure::Refused(Refusal::MailboxGone))), "{dir}: {refused:?}");
    }
}

#[tokio::test]
async fn accounts_that_share_a_tree_hear_both() {
    let h = House::new();
    // With a list that both know.
    h.deliver("", "0.M1P1.h", "x\n");
    let (one, mut one_sees) = watched(&h).await;
    let mut place = h.place("");
    place.state = h.state().join("another");
    let other = MaildirMailbox::open(place).await.unwrap();
    let mut other_sees = other.watch();
    until_watched(&other).await;
    h.deliver("", "1.M1P1.h", "x\n");
    until(&mut one_sees, "1() 2()").await;
    until(&mut other_sees, "1() 2()").await;
    // When one has no more interest, the other goes on.
    drop((other_sees, other));
    h.deliver("", "2.M1P1.h", "x\n");
    until(&mut one_sees, "1() 2() 3()").await;
    drop(one);
}
