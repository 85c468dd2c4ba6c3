//! The cache: what it spares, and that it is never wrong.

#![allow(clippy::unwrap_used, reason = "a test fails where it fails")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the disk")]

mod common;

use common::*;
use culver_store::{Mailbox, Transfer};
use std::fs;
use std::sync::Arc;

fn text(n: u32) -> String {
    format!("From: a{n}@example.org\r\nReceived: by x\r\nSubject: nr {n}\r\n\r\nbody {n}\r\n")
}

/// Takes the messages' files away, behind the server's back: who knows something all the same has it from the cache.
fn hide(h: &House, dir: &str) {
    for name in h.files(dir) {
        fs::write(h.root().join(dir).join(name), "From: nobody\n\nnothing\n").unwrap();
    }
}

async fn known(m: &dyn Mailbox, n: u32) {
    assert_eq!(summary(m, uid(n)).await, summary_of(&text(n)), "{n}");
}

#[tokio::test]
async fn what_was_looked_at_or_stored_here_is_known() {
    let h = House::new();
    // Delivered by another program: known once somebody asked for anything of it.
    h.deliver("", "1.a.host", &text(1).replace("\r\n", "\n"));
    let m = h.open("").await;
    m.refresh().await.unwrap();
    known(&*m, 1).await;
    // Stored by ourselves: known from the beginning.
    m.append(vec![message(&text(2), ""), message(&text(3), "\\Seen")]).await.unwrap();
    hide(&h, "");
    for n in 1..=3 {
        known(&*m, n).await;
    }
    // And after the next start.
    m.close().await;
    drop(m);
    let m = h.open("").await;
    for n in 1..=3 {
        known(&*m, n).await;
    }
}

#[tokio::test]
async fn copies_are_known_as_their_originals_are() {
    let h = House::new();
    h.make(".Other");
    let m = h.open("").await;
    let other = h.open(".Other").await;
    m.append((1..=3).map(|n| message(&text(n), "")).collect()).await.unwrap();
    let target: Arc<dyn Mailbox> = other.clone();
    m.transfer(&uids(&[1, 2]), &target, Transfer::Copy).await.unwrap();
    m.transfer(&uids(&[3]), &target, Transfer::Move).await.unwrap();
    hide(&h, ".Other");
    for n in 1..=3 {
        known(&*other, n).await;
    }
}

#[tokio::test]
async fn another_file_under_the_same_name_is_noticed_by_its_size() {
    let h = House::new();
    let m = h.open("").await;
    h.deliver("", "1.a.host", "Subject: old\n\nold\n");
    m.refresh().await.unwrap();
    assert_eq!(summary(&*m, uid(1)).await, summary_of("Subject: old\r\n\r\nold\r\n"));
    m.close().await;
    drop(m);
    // Another message under the same UID, which only somebody who meddles with backups can bring about. Its size is
    // told by its name, and that is what the index has from now on.
    fs::remove_file(h.state().join("INBOX/checkpoint")).unwrap();
    let name = h.files("").remove(0);
    let other = "Subject: another\r\n\r\nother\r\n";
    fs::write(h.root().join(name), other).unwrap();
    let m = h.open("").await;
    body(&*m, uid(1)).await.unwrap();
    assert_eq!(summary(&*m, uid(1)).await, summary_of(other));
}

#[tokio::test]
async fn records_of_messages_that_are_gone_are_dropped() {
    let h = House::new();
    let m = h.open("").await;
    let long = |n: u32| format!("Subject: {n}\r\nX-Long: {}\r\n\r\n.\r\n", "x".repeat(40_000));
    for n in 0..5 {
        m.append((1..=10).map(|i| message(&long(n * 10 + i), "\\Deleted")).collect()).await.unwrap();
    }
    m.close().await;
    let size = || fs::metadata(h.state().join("INBOX/cache")).unwrap().len();
    let before = size();
    assert!(before > 2_000_000, "{before}");
    m.expunge(&(1..=40).map(uid).collect()).await.unwrap();
    m.close().await;
    assert!(size() < before / 4, "{} of {before}", size());
    hide(&h, "");
    for _ in 0..2 {
        for n in 41..=50 {
            assert_eq!(summary(&*m, uid(n)).await, summary_of(&long(n)), "{n}");
        }
        m.close().await;
    }
    drop(m);
    let m = h.open("").await;
    assert_eq!(summary(&*m, uid(50)).await, summary_of(&long(50)));
}
