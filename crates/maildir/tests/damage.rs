//! Every file in the state folder, damaged in every way: the Maildir is right, the index is made anew, and the log
//! says so once.

#![allow(clippy::unwrap_used, reason = "a test fails where it fails")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the disk")]

mod common;

use common::*;
use culver_maildir::FlagWrites;
use culver_store::{FlagChange, Mailbox};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Counts what an administrator would read.
struct Lines(Arc<AtomicU32>);

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= Level::INFO
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::copy(from, to).unwrap();
        let modified = fs::metadata(from).unwrap().modified().unwrap();
        fs::File::options().write(true).open(to).unwrap().set_modified(modified).unwrap();
    }
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else if path.exists() {
        fs::remove_file(path).unwrap();
    }
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip(usize, u8),
    Cut(usize),
    Zeros,
    Longer,
    Gone,
    Folder,
    /// There, and nobody can open it, not even root: a link to itself.
    Unreadable,
    Swapped,
}

impl Damage {
    /// Every octet of a small file, some of a large one.
    fn all(octets: usize) -> Vec<Self> {
        // Of a large one the beginning, the end, and what lies between at some places.
        let interesting = move |at: &usize| {
            octets < 4_000 || *at < 100 || octets - at < 300 || at.is_multiple_of(octets / 100)
        };
        let flips = (0..octets).filter(interesting);
        let flips = flips.map(|at| Self::Flip(at, if at % 2 == 0 { 0xFF } else { 1 }));
        let cuts = (0..octets).filter(interesting).map(Self::Cut);
        let whole = [Self::Zeros, Self::Longer, Self::Gone, Self::Folder, Self::Unreadable, Self::Swapped];
        flips.chain(cuts).chain(whole).collect()
    }
    fn apply(self, path: &Path, other: &Path) {
        let mut octets = fs::read(path).unwrap();
        match self {
            Self::Flip(at, mask) => octets[at] ^= mask,
            Self::Cut(at) => octets.truncate(at),
            Self::Zeros => octets.fill(0),
            Self::Longer => octets.extend_from_slice(b"something that nobody wrote here"),
            Self::Gone | Self::Folder | Self::Unreadable => {
                remove(path);
                if matches!(self, Self::Unreadable) {
                    std::os::unix::fs::symlink(path, path).unwrap();
                }
                if matches!(self, Self::Folder) {
                    fs::create_dir(path).unwrap();
                }
                return;
            }
            Self::Swapped => octets = fs::read(other).unwrap(),
        }
        fs::write(path, octets).unwrap();
    }
}

/// The first one is so large that the cache gets an index of its own.
fn text(dir: &str, n: u32) -> String {
    let long = if n == 1 { "x".repeat(70_000) } else { String::new() };
    format!("Received: from {dir}\r\nSubject: {dir}{n}\r\nX-Long: {long}\r\n\r\n{n}\r\n")
}

#[tokio::test]
async fn the_index_may_be_damaged_anywhere() {
    let lines = Arc::new(AtomicU32::new(0));
    tracing::subscriber::set_global_default(Lines(lines.clone())).unwrap();
    let mut cases = 0;
    // With and without what was not yet merged into the checkpoint.
    for closed in [true, false] {
        let h = House::in_memory(FlagWrites::Sync);
        h.make(".other");
        for (dir, count) in [("", 8u32), (".other", 3)] {
            let m = h.open(dir).await;
            let texts = (1..=count).map(|n| message(&text(dir, n), "\\Seen"));
            m.append(texts.collect()).await.unwrap();
            m.close().await;
            m.set_flags(&uids(&[1, 2]), store(FlagChange::Add, "\\Flagged $Forwarded work")).await.unwrap();
            m.set_flags(&uids(&[1]), store(FlagChange::Remove, "\\Seen")).await.unwrap();
            m.set_flags(&uids(&[3, count]), store(FlagChange::Add, "\\Deleted")).await.unwrap();
            m.expunge(&uids(&[3, count])).await.unwrap();
            if closed {
                m.close().await;
            }
        }
        let m = h.open("").await;
        let (expected, high, next) =
            (picture(&m.snapshot()), m.snapshot().highest_mod_seq, m.snapshot().uid_next);
        if closed {
            m.close().await;
        }
        drop(m);
        let kept = h.temp.path().join("kept");
        copy(&h.root(), &kept.join("mail"));
        copy(&h.state(), &kept.join("state"));
        let state = h.state().join("INBOX");
        let other = h.state().join(".other");
        let mut names: Vec<_> = fs::read_dir(&state).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert!(names.iter().any(|n| n == "checkpoint"), "{names:?}");
        for name in names {
            let size = fs::metadata(state.join(&name)).unwrap().len() as usize;
            for damage in Damage::all(size) {
                if matches!(damage, Damage::Swapped) && !other.join(&name).exists() {
                    continue;
                }
                damage.apply(&state.join(&name), &other.join(&name));
                let context = format!("closed {closed}, {name:?} of {size} octets, {damage:?}");
                lines.store(0, Ordering::Relaxed);
                let m = h.open("").await;
                let s = m.snapshot();
                assert_eq!(picture(&s), expected, "{context}");
                assert!(s.highest_mod_seq >= high, "{context}");
                assert!(s.uid_next >= next, "{context}");
                for uid in expected.keys() {
                    let text = text("", *uid);
                    let uid = common::uid(*uid);
                    assert_eq!(summary(&*m, uid).await, summary_of(&text), "{context}");
                    assert_eq!(body(&*m, uid).await.unwrap(), text, "{context}");
                }
                let said = lines.load(Ordering::Relaxed);
                assert!(said <= 1, "{said} lines: {context}");
                // The next one finds a whole index, and nothing to say.
                m.set_flags(&uids(&[2]), store(FlagChange::Remove, "work")).await.unwrap();
                m.close().await;
                drop(m);
                lines.store(0, Ordering::Relaxed);
                let m = h.open("").await;
                let mut then = expected.clone();
                then.insert(2, "$Forwarded \\Flagged \\Seen".to_owned());
                assert_eq!(picture(&m.snapshot()), then, "{context}");
                for uid in then.keys() {
                    assert_eq!(
                        summary(&*m, common::uid(*uid)).await,
                        summary_of(&text("", *uid)),
                        "{context}"
                    );
                }
                assert_eq!(lines.load(Ordering::Relaxed), 0, "{context}");
                m.close().await;
                drop(m);
                cases += 1;
                for part in ["mail", "state"] {
                    remove(&h.temp.path().join(part));
                    copy(&kept.join(part), &h.temp.path().join(part));
                }
            }
        }
    }
    println!("{cases} damaged indexes");
    assert!(cases > 1_000);
}
