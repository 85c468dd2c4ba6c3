//! Dovecot and we at work on one mailbox at the same time: UIDs, flags and keywords stay the same for both.

#![allow(clippy::unwrap_used, reason = "a test fails where it fails")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the disk")]

mod common;
#[path = "common/dovecot.rs"]
mod dovecot;

use common::*;
use culver_store::{FlagChange, Layout, Mailbox};
use dovecot::Dovecot;
use std::collections::BTreeMap;
use std::os::unix::fs::chown;
use std::sync::Arc;

/// UID, flags and subject of every message, as Dovecot tells.
fn theirs(dovecot: &Dovecot) -> BTreeMap<u32, (String, String)> {
    let answer = dovecot.say(&["SELECT INBOX", "UID FETCH 1:* (FLAGS BODY.PEEK[TEXT])"]);
    let mut out = BTreeMap::new();
    let mut lines = answer.lines();
    while let Some(line) = lines.next() {
        let Some((_, rest)) = line.split_once(" FETCH (UID ") else { continue };
        let (uid, rest) = rest.split_once(" FLAGS (").unwrap();
        let (flags, _) = rest.split_once(')').unwrap();
        let mut flags: Vec<&str> = flags.split_whitespace().filter(|f| *f != "\\Recent").collect();
        flags.sort_unstable();
        out.insert(
            uid.parse().unwrap(),
            (flags.join(" "), lines.next().unwrap().trim_end_matches(')').to_owned()),
        );
    }
    out
}

async fn ours(m: &dyn Mailbox) -> BTreeMap<u32, (String, String)> {
    m.refresh().await.unwrap();
    let mut out = BTreeMap::new();
    for (u, flags) in picture(&m.snapshot()) {
        let text = body(m, uid(u)).await.unwrap();
        out.insert(u, (flags, text.lines().last().unwrap().to_owned()));
    }
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_see_the_same() {
    let house = House::new();
    let Some(dovecot) = Dovecot::new(house.temp.path(), &house.root(), Layout::MaildirPlusPlus) else {
        return;
    };
    let mut place = house.place("");
    place.owner = dovecot::owner();
    if let Some(o) = place.owner {
        for dir in ["", "cur", "new", "tmp"] {
            chown(house.root().join(dir), Some(o.uid), Some(o.gid)).unwrap();
        }
    }
    let m = culver_maildir::MaildirMailbox::open(place).await.unwrap();
    let watching = m.watch();
    m.claim_recent();
    let dovecot = Arc::new(dovecot);
    for round in 0..3 {
        // Both store messages, and both set flags, at the same time.
        let d = dovecot.clone();
        let other = tokio::task::spawn_blocking(move || {
            for i in 0..4 {
                let text = format!("\r\nd{round}{i}");
                d.say(&[
                    &format!("APPEND INBOX (\\Flagged d{round}) {{{}+}}\r\n{text}", text.len()),
                    "SELECT INBOX",
                    "STORE 1 +FLAGS (\\Answered theirs)",
                ]);
            }
        });
        for i in 0..20 {
            m.append(vec![message(&format!("\r\nc{round}{i}"), "\\Seen ours")]).await.unwrap();
            m.refresh().await.unwrap();
            let first = m.snapshot().get(i % 3).map(|r| r.uid).into_iter().collect();
            m.set_flags(&first, store(FlagChange::Add, "\\Draft both")).await.unwrap();
        }
        other.await.unwrap();
        m.close().await;
        let (a, b) = (ours(&*m).await, theirs(&dovecot));
        assert_eq!(a, b);
        assert_eq!(a.len(), 24 * (round + 1) - round);
        let texts: std::collections::BTreeSet<_> = a.values().map(|(_, t)| t.clone()).collect();
        assert_eq!(texts.len(), a.len(), "each message once");
        assert!(a.values().next().unwrap().0.contains("theirs"));
        // One goes in Dovecot.
        let first = *a.keys().next().unwrap();
        dovecot.say(&["SELECT INBOX", &format!("UID STORE {first} +FLAGS (\\Deleted)"), "EXPUNGE"]);
        let left = ours(&*m).await;
        assert_eq!(left.len(), a.len() - 1);
        assert_eq!(left, theirs(&dovecot));
    }
    drop(watching);
    // Without our state: the same from what is on disk.
    let before = ours(&*m).await;
    m.close().await;
    drop(m);
    std::fs::remove_dir_all(house.state()).unwrap();
    let mut place = house.place("");
    place.owner = dovecot::owner();
    let m = culver_maildir::MaildirMailbox::open(place).await.unwrap();
    assert_eq!(ours(&*m).await, before);
}
