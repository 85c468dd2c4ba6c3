//! Disks that are full, folders that cannot be written: everything but storing goes on, and nothing is forgotten.

#![allow(clippy::unwrap_used, reason = "a test fails where it fails")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the disk")]

mod common;

use common::*;
use culver_store::io::{Calls, Io, IoSettings, Resolve, System};
use culver_store::{Failure, FlagChange, Mailbox, Refusal, Transfer};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{OFlags, RenameFlags};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const WELL: u8 = 0;
/// No octet can be written and no name made anywhere.
const FULL: u8 = 1;
/// The same, but only for files called after Dovecot's.
const NO_LIST: u8 = 2;

struct Faulty {
    system: System,
    mood: Arc<AtomicU8>,
}

impl Faulty {
    fn check(&self, name: &[u8]) -> io::Result<()> {
        match self.mood.load(Ordering::Relaxed) {
            FULL => Err(io::ErrorKind::StorageFull.into()),
            NO_LIST if name.starts_with(b"dovecot-") => Err(io::ErrorKind::QuotaExceeded.into()),
            _ => Ok(()),
        }
    }
}

impl Calls for Faulty {
    fn inner(&self) -> &dyn Calls {
        &self.system
    }
    fn open(
        &self,
        d: Option<BorrowedFd<'_>>,
        p: &[u8],
        f: OFlags,
        m: u32,
        r: Resolve,
    ) -> io::Result<OwnedFd> {
        if f.intersects(OFlags::CREATE | OFlags::WRONLY) {
            self.check(p)?;
        }
        self.system.open(d, p, f, m, r)
    }
    fn mkdir(&self, d: Option<BorrowedFd<'_>>, p: &[u8], m: u32) -> io::Result<()> {
        self.check(p)?;
        self.system.mkdir(d, p, m)
    }
    fn rename(
        &self,
        a: BorrowedFd<'_>,
        b: &[u8],
        c: BorrowedFd<'_>,
        d: &[u8],
        f: RenameFlags,
    ) -> io::Result<()> {
        self.check(d)?;
        self.system.rename(a, b, c, d, f)
    }
    fn link(&self, a: BorrowedFd<'_>, b: &[u8], c: BorrowedFd<'_>, d: &[u8]) -> io::Result<()> {
        self.check(d)?;
        self.system.link(a, b, c, d)
    }
    fn write(&self, f: BorrowedFd<'_>, b: &[u8]) -> io::Result<usize> {
        self.check(b"")?;
        self.system.write(f, b)
    }
    fn write_at(&self, f: BorrowedFd<'_>, b: &[u8], o: u64) -> io::Result<usize> {
        self.check(b"")?;
        self.system.write_at(f, b, o)
    }
}

fn faulty() -> (House, Arc<AtomicU8>) {
    let mood = Arc::new(AtomicU8::new(WELL));
    let mut house = House::new();
    let calls = Faulty { system: System::new(), mood: mood.clone() };
    let threads = IoSettings { threads: 3, ..IoSettings::default() };
    house.io = Arc::new(Io::with_calls(threads, Arc::new(calls)).unwrap());
    (house, mood)
}

fn is_over_quota<T>(result: culver_store::Result<T>) -> bool {
    matches!(result, Err(Failure::Refused(Refusal::OverQuota(_))))
}

#[tokio::test]
async fn on_a_full_disk_everything_but_storing_works() {
    let (h, mood) = faulty();
    let m = h.open("").await;
    m.append((0..4).map(|_| message("x\r\n", "")).collect()).await.unwrap();
    mood.store(FULL, Ordering::Relaxed);
    assert!(is_over_quota(m.append(vec![message("y\r\n", "")]).await));
    assert_eq!(body(&*m, uid(1)).await.unwrap(), "x\r\n");
    m.set_flags(&uids(&[1, 2]), store(FlagChange::Add, "\\Seen work")).await.unwrap();
    m.set_flags(&uids(&[3]), store(FlagChange::Add, "\\Deleted")).await.unwrap();
    assert_eq!(m.expunge(&uids(&[3])).await.unwrap(), uids(&[3]));
    m.refresh().await.unwrap();
    m.close().await;
    let high = m.snapshot().highest_mod_seq;
    assert_eq!(show(&m.snapshot()), "1(\\Seen work) 2(\\Seen work) 4()");
    // Space again: what was put off is written.
    mood.store(WELL, Ordering::Relaxed);
    m.append(vec![message("y\r\n", "")]).await.unwrap();
    m.close().await;
    drop(m);
    let m = h.open("").await;
    assert_eq!(show(&m.snapshot()), "1(\\Seen work) 2(\\Seen work) 4() 5()");
    assert!(m.snapshot().highest_mod_seq > high);
    assert_eq!(h.files("").iter().filter(|f| f.ends_with(":2,Sa")).count(), 2);
}

#[tokio::test]
async fn a_process_that_dies_on_a_full_disk_is_not_believed_afterwards() {
    let (h, mood) = faulty();
    let m = h.open("").await;
    m.append((0..3).map(|_| message("x\r\n", "")).collect()).await.unwrap();
    mood.store(FULL, Ordering::Relaxed);
    m.set_flags(&uids(&[1]), store(FlagChange::Add, "\\Seen")).await.unwrap();
    let high = m.snapshot().highest_mod_seq;
    drop(m);
    mood.store(WELL, Ordering::Relaxed);
    let m = h.open("").await;
    // The flag is lost with the process; who saw it is told so.
    let s = m.snapshot();
    assert!(s.highest_mod_seq > high && s.iter().all(|r| r.mod_seq > high));
    assert_eq!(s.iter().map(|r| r.uid.get()).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test]
async fn without_a_uidlist_the_journal_keeps_uids() {
    let (h, mood) = faulty();
    let m = h.open("").await;
    m.append(vec![message("1\r\n", "")]).await.unwrap();
    mood.store(NO_LIST, Ordering::Relaxed);
    m.append(vec![message("2\r\n", "")]).await.unwrap();
    h.deliver("", "9.M1P1.h", "3\n");
    m.refresh().await.unwrap();
    assert_eq!(show(&m.snapshot()), "1() 2() 3()");
    m.close().await;
    drop(m);
    let m = h.open("").await;
    assert_eq!(show(&m.snapshot()), "1() 2() 3()");
    assert_eq!(body(&*m, uid(3)).await.unwrap(), "3\r\n");
    let list = || std::fs::read_to_string(h.root().join("dovecot-uidlist")).unwrap();
    assert_eq!(list().lines().count(), 2);
    mood.store(WELL, Ordering::Relaxed);
    m.append(vec![message("4\r\n", "")]).await.unwrap();
    assert_eq!(list().lines().count(), 5, "{}", list());
    assert!(list().contains("\n3 :9.M1P1.h\n"));
}

#[tokio::test]
async fn a_uid_that_both_gave_is_nobodys() {
    let (h, mood) = faulty();
    let m = h.open("").await;
    m.append(vec![message("1\r\n", "")]).await.unwrap();
    mood.store(NO_LIST, Ordering::Relaxed);
    m.append(vec![message("ours\r\n", "")]).await.unwrap();
    // Another program, with rights that we do not have, gives UID 2 to its own message.
    h.deliver("", "9.M1P1.h", "theirs\n");
    let path = h.root().join("dovecot-uidlist");
    let list = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{list}2 :9.M1P1.h\n")).unwrap();
    mood.store(WELL, Ordering::Relaxed);
    m.refresh().await.unwrap();
    let s = m.snapshot();
    assert_eq!(s.iter().map(|r| r.uid.get()).collect::<Vec<_>>(), [1, 3, 4]);
    m.close().await;
    let list = std::fs::read_to_string(&path).unwrap();
    assert!(!list.contains("\n2 ") && list.contains("\n3 ") && list.contains("\n4 "), "{list}");
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_made_costs_nothing_but_speed() {
    let h = House::new();
    std::fs::write(h.state(), "not a folder").unwrap();
    let m = h.open("").await;
    m.append(vec![message("1\r\n", "")]).await.unwrap();
    m.set_flags(&uids(&[1]), store(FlagChange::Add, "\\Seen")).await.unwrap();
    m.close().await;
    drop(m);
    let m = h.open("").await;
    assert_eq!(show(&m.snapshot()), "1(\\Seen)");
    std::fs::remove_file(h.state()).unwrap();
    m.set_flags(&uids(&[1]), store(FlagChange::Add, "\\Flagged")).await.unwrap();
    m.close().await;
    assert!(h.state().join("INBOX/checkpoint").exists());
}

#[tokio::test]
async fn a_uid_that_can_be_written_nowhere_is_not_given() {
    let (h, mood) = faulty();
    std::fs::write(h.state(), "not a folder").unwrap();
    let m = h.open("").await;
    m.append(vec![message("1\r\n", "")]).await.unwrap();
    mood.store(NO_LIST, Ordering::Relaxed);
    assert!(m.append(vec![message("2\r\n", "")]).await.is_err());
    assert_eq!(h.files("").len(), 1);
    // What another program delivers waits, also when the mailbox is opened anew: what was known is served.
    h.deliver("", "9.M1P1.h", "3\n");
    m.refresh().await.unwrap();
    assert_eq!(show(&m.snapshot()), "1()");
    drop(m);
    let m = h.open("").await;
    assert_eq!((show(&m.snapshot()), m.snapshot().uid_next), ("1()".to_owned(), uid(2)));
    let here: Arc<dyn Mailbox> = m.clone();
    assert!(m.transfer(&uids(&[1]), &here, Transfer::Copy).await.is_err());
    mood.store(WELL, Ordering::Relaxed);
    m.refresh().await.unwrap();
    assert_eq!(show(&m.snapshot()), "1() 2()");
    assert_eq!(body(&*m, uid(2)).await.unwrap(), "3\r\n");
    let list = std::fs::read_to_string(h.root().join("dovecot-uidlist")).unwrap();
    assert!(list.contains("\n2 :9.M1P1.h\n"), "{list}");
}

#[tokio::test]
async fn a_new_uidvalidity_is_written_down_somewhere() {
    let (h, mood) = faulty();
    std::fs::write(h.state(), "not a folder").unwrap();
    let validity = h.open("").await.snapshot().uid_validity;
    assert_eq!(h.open("").await.snapshot().uid_validity, validity);
    // On a full disk the mailbox can be read all the same.
    std::fs::remove_file(h.root().join("dovecot-uidlist")).unwrap();
    h.deliver("", "9.M1P1.h", "1\n");
    mood.store(FULL, Ordering::Relaxed);
    let m = h.open("").await;
    assert_eq!(show(&m.snapshot()), "1()");
}
