//! Dovecot, we, and a third program that knows of neither, at work on one account at the same time: it delivers, moves what is
//! new to `cur`, and renames files for their flags, without any lock. In the end UIDs, flags, keywords, subscriptions and
//! POP3's identifiers agree, and each message is there once.

#![allow(clippy::unwrap_used, reason = "a test fails where it fails")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the disk")]

mod common;
#[path = "common/dovecot.rs"]
mod dovecot;

use common::*;
use culver_base::MailboxName;
use culver_base::UidlFormat;
use culver_maildir::{FlagWrites, MaildirStore, StoreSettings};
use culver_store::{Account, FlagChange, Layout, Mailbox, Owner, Place, Subscribed};
use dovecot::Dovecot;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Rounds of each of the three.
const ROUNDS: usize = 20;

fn own(path: &Path, owner: Option<Owner>) {
    if let Some(o) = owner {
        chown(path, Some(o.uid), Some(o.gid)).unwrap();
    }
}

/// The third program: a delivery agent and a client such as mutt.
fn third(root: PathBuf, owner: Option<Owner>, stop: Arc<AtomicBool>) -> usize {
    let mut delivered = 0usize;
    while !stop.load(Ordering::Relaxed) {
        let base = format!("{}.M{delivered}P9.third", 1_700_000_000 + delivered);
        let tmp = root.join("tmp").join(&base);
        fs::write(&tmp, format!("Subject: x\n\nt{delivered}\n")).unwrap();
        own(&tmp, owner);
        fs::rename(&tmp, root.join("new").join(&base)).unwrap();
        delivered += 1;
        // Every third of its own is read: moved or renamed, wherever it is by now.
        let number = delivered.saturating_sub(3);
        if number.is_multiple_of(3) {
            let base = format!("{}.M{number}P9.third", 1_700_000_000 + number);
            if fs::rename(root.join("new").join(&base), root.join("cur").join(format!("{base}:2,S"))).is_err()
            {
                let names = fs::read_dir(root.join("cur")).unwrap();
                let names = names.map(|e| e.unwrap().file_name().into_string().unwrap());
                for name in names.filter(|n| n.starts_with(&base) && !n.contains('S')) {
                    let (start, letters) = name.split_once(":2,").unwrap();
                    let mut letters: Vec<char> = letters.chars().chain(['S']).collect();
                    letters.sort_unstable();
                    let new = format!("{start}:2,{}", letters.into_iter().collect::<String>());
                    drop(fs::rename(root.join("cur").join(&name), root.join("cur").join(new)));
                }
            }
        }
        std::thread::sleep(Duration::from_millis(15));
    }
    delivered
}

/// UID, flags and last line of every message, as Dovecot tells.
fn theirs(dovecot: &Dovecot) -> BTreeMap<u32, (String, String)> {
    let answer = dovecot.say(&["SELECT INBOX", "NOOP", "UID FETCH 1:* (FLAGS BODY.PEEK[TEXT])"]);
    let mut out = BTreeMap::new();
    let mut lines = answer.lines();
    while let Some(line) = lines.next() {
        let Some((_, rest)) = line.split_once(" FETCH (UID ") else { continue };
        let (uid, rest) = rest.split_once(" FLAGS (").unwrap();
        let (flags, _) = rest.split_once(')').unwrap();
        let mut flags: Vec<&str> = flags.split_whitespace().filter(|f| *f != "\\Recent").collect();
        flags.sort_unstable();
        let text = lines.next().unwrap().trim_end_matches(')').to_owned();
        out.insert(uid.parse().unwrap(), (flags.join(" "), text));
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
async fn nothing_is_lost_or_doubled_and_all_agree() {
    let house = House::with(FlagWrites::Lazy);
    let Some(dovecot) = Dovecot::new(house.temp.path(), &house.root(), Layout::MaildirPlusPlus) else {
        return;
    };
    let owner = dovecot::owner();
    for dir in ["", "cur", "new", "tmp"] {
        own(&house.root().join(dir), owner);
    }
    let store =
        MaildirStore::new(house.io.clone(), StoreSettings::new(house.state(), house.settings.clone()));
    let place = Place {
        account: "ada@example.org".into(),
        owner,
        root: house.root(),
        control: None,
        index: None,
        layout: Layout::MaildirPlusPlus,
    };
    let account = store.maildir_account(&place).await.unwrap();
    let inbox = account.open_maildir(&MailboxName::inbox()).await.unwrap();
    let _watching = inbox.watch();
    inbox.claim_recent();
    for name in ["Ours", "Theirs"] {
        account.create(&MailboxName::new(name), &[]).await.unwrap();
    }
    let dovecot = Arc::new(dovecot);
    let stop = Arc::new(AtomicBool::new(false));
    let agent = {
        let (root, stop) = (house.root(), stop.clone());
        tokio::task::spawn_blocking(move || third(root, owner, stop))
    };
    let other = {
        let d = dovecot.clone();
        tokio::task::spawn_blocking(move || {
            for i in 0..ROUNDS {
                let text = format!("Subject: x\r\n\r\nd{i}\r\n");
                d.say(&[
                    &format!("APPEND INBOX (\\Flagged theirs) {{{}+}}\r\n{text}", text.len()),
                    "SELECT INBOX",
                    &format!("STORE 1:* +FLAGS (word{})", i % 5),
                    &format!("SUBSCRIBE Theirs{}", if i % 2 == 0 { "" } else { "/none" }),
                    "COPY 1 Theirs",
                ]);
            }
        })
    };
    for i in 0..ROUNDS {
        inbox.append(vec![message(&format!("Subject: x\r\n\r\nc{i}\r\n"), "\\Seen ours")]).await.unwrap();
        inbox.refresh().await.unwrap();
        let some = inbox.snapshot().iter().step_by(3).map(|r| r.uid).collect();
        inbox
            .set_flags(&some, common::store(FlagChange::Add, &format!("\\Draft own{}", i % 4)))
            .await
            .unwrap();
        account.set_subscribed(&MailboxName::new(&format!("Ours{}", i % 3)), Subscribed::Yes).await.unwrap();
        let target: Arc<dyn Mailbox> = account.open_maildir(&MailboxName::new("Ours")).await.unwrap();
        let first = inbox.snapshot().get(0).map(|r| r.uid).into_iter().collect();
        inbox.transfer(&first, &target, culver_store::Transfer::Copy).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    other.await.unwrap();
    stop.store(true, Ordering::Relaxed);
    let delivered = agent.await.unwrap();

    // All have gone home; what lags behind is written.
    theirs(&dovecot);
    ours(&*inbox).await;
    inbox.close().await;
    let (a, b) = (ours(&*inbox).await, theirs(&dovecot));
    assert_eq!(a, b, "UIDs, flags, keywords");
    let texts: Vec<&String> = a.values().map(|(_, text)| text).collect();
    let once: BTreeSet<String> = texts.iter().map(|t| t.trim().to_owned()).collect();
    let wanted: BTreeSet<String> = (0..delivered)
        .map(|i| format!("t{i}"))
        .chain((0..ROUNDS).flat_map(|i| [format!("c{i}"), format!("d{i}")]))
        .collect();
    assert_eq!(once, wanted, "nothing is lost");
    assert_eq!(texts.len(), wanted.len(), "nothing is doubled");

    let subscribed: Vec<String> =
        account.subscriptions().await.unwrap().iter().map(|n| n.as_str().to_owned()).collect();
    let listed: Vec<String> = dovecot.list("LSUB \"\" *").into_iter().map(|(name, _)| name).collect();
    assert_eq!(subscribed, listed);
    assert_eq!(subscribed, ["Ours0", "Ours1", "Ours2", "Theirs"]);

    let identifiers = store.pop3_identifiers(&place, UidlFormat::default()).await.unwrap();
    let identifiers: Vec<String> =
        identifiers.into_iter().map(|(_, id)| String::from_utf8(id).unwrap()).collect();
    assert_eq!(identifiers.len(), a.len());
    if let Some(told) = dovecot.uidl() {
        assert_eq!(identifiers, told);
    }
    let locks = fs::read_dir(house.root()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    assert_eq!(locks.filter(|n| n.ends_with(".lock")).collect::<Vec<_>>(), [""; 0]);
}
