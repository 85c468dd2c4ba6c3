use super::*;
use culver_store::io::{Fs, Io, IoSettings};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// A clock that goes on when somebody sleeps, and one process, 4711, that lives.
struct Play {
    millis: AtomicU64,
    base: Timestamp,
}

impl Play {
    fn new() -> Arc<Self> {
        Arc::new(Self { millis: AtomicU64::new(0), base: Machine::default().now() })
    }
}

impl Surroundings for Play {
    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }
    fn now(&self) -> Timestamp {
        Timestamp { seconds: self.base.seconds + self.elapsed().as_secs() as i64, ..self.base }
    }
    fn sleep(&self, time: Duration) {
        self.millis.fetch_add(time.as_millis() as u64, Ordering::Relaxed);
    }
    fn is_alive(&self, pid: u32) -> bool {
        pid == 4711
    }
}

fn job<T: Send + 'static>(work: impl FnOnce(&Fs, &Path) -> T + Send + 'static) -> T {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().to_owned();
    let io = Io::new(IoSettings { threads: 1, ..IoSettings::default() }).unwrap();
    io.run_blocking(None, move |fs| work(fs, &path)).unwrap()
}

fn lock<'fs, 'h>(dir: &Dir<'fs>, holder: &'h Holder) -> io::Result<Dotlock<'fs, 'h>> {
    Dotlock::acquire(dir, &UIDLIST, holder, &mut Contention::default())
}

#[test]
fn a_lock_is_there_while_it_is_held() {
    job(|fs, path| {
        let dir = fs.open_root(path).unwrap();
        let holder = Holder::with(77, "mail", Play::new());
        let held = lock(&dir, &holder).unwrap();
        assert_eq!(dir.read(UIDLIST.lock, 100).unwrap(), b"77:mail");
        assert!(held.is_ours().unwrap());
        assert!(Dotlock::try_acquire(&dir, &UIDLIST, &holder, &mut Contention::default()).unwrap().is_none());
        held.release().unwrap();
        assert!(!dir.exists(UIDLIST.lock).unwrap());
        drop(lock(&dir, &holder).unwrap());
        assert!(!dir.exists(UIDLIST.lock).unwrap());
    });
}

#[test]
fn who_waits_how_long_for_whom() {
    // What stands in the lock, and after how many seconds it is ours (none: never, within the wait).
    for (content, after) in [
        ("4711:mail", None),
        ("4712:mail", Some(3)),
        ("77:mail", Some(3)),
        ("4711:other", Some(120)),
        ("4712:other", Some(120)),
        ("", Some(120)),
        ("rubbish", Some(120)),
    ] {
        let (got, waited) = job(move |fs, path| {
            let dir = fs.open_root(path).unwrap();
            dir.create_new(UIDLIST.lock).unwrap().write_all(content.as_bytes()).unwrap();
            let play = Play::new();
            let holder = Holder::with(77, "mail", play.clone());
            let got = lock(&dir, &holder).map(drop);
            (got.map_err(|e| e.kind()), play.elapsed().as_secs())
        });
        match after {
            Some(after) => {
                assert_eq!(got, Ok(()), "{content}");
                assert!((after..=after + 1).contains(&waited), "{content}: after {waited} s");
            }
            None => assert_eq!(got, Err(io::ErrorKind::WouldBlock)),
        }
    }
}

#[test]
fn nobody_needs_the_patience_to_see_a_torn_lock_grow_stale() {
    // A power loss left it so, and no verb waits for two minutes.
    job(|fs, path| {
        let dir = fs.open_root(path).unwrap();
        dir.create_new(UIDLIST.lock).unwrap().write_all(b"154").unwrap();
        let play = Play::new();
        let holder = Holder::with(77, "mail", play.clone());
        let mut tries = 0;
        while Dotlock::try_acquire(&dir, &UIDLIST, &holder, &mut Contention::default()).unwrap().is_none() {
            play.sleep(Duration::from_secs(10));
            tries += 1;
            assert!(tries < 20);
        }
        assert!((12..=14).contains(&tries), "{tries}");
    });
}

#[test]
fn a_sign_of_life_keeps_a_foreign_lock() {
    job(|fs, path| {
        let dir = fs.open_root(path).unwrap();
        dir.create_new(UIDLIST.lock).unwrap();
        let play = Play::new();
        let holder = Holder::with(77, "mail", play.clone());
        let mut contention = Contention::default();
        for n in 0..40 {
            play.sleep(Duration::from_secs(10));
            dir.set_mtime(UIDLIST.lock, Timestamp { seconds: 1_000_000 + n, nanoseconds: 0 }).unwrap();
            assert!(Dotlock::try_acquire(&dir, &UIDLIST, &holder, &mut contention).unwrap().is_none());
        }
        // A change of the protected file is one as well.
        play.sleep(Duration::from_secs(119));
        assert!(Dotlock::try_acquire(&dir, &UIDLIST, &holder, &mut contention).unwrap().is_none());
        dir.create(UIDLIST.protects).unwrap();
        play.sleep(Duration::from_secs(119));
        assert!(Dotlock::try_acquire(&dir, &UIDLIST, &holder, &mut contention).unwrap().is_none());
        assert!(dir.exists(UIDLIST.lock).unwrap());
        play.sleep(Duration::from_secs(121));
        assert!(Dotlock::try_acquire(&dir, &UIDLIST, &holder, &mut contention).unwrap().is_none());
        assert!(!dir.exists(UIDLIST.lock).unwrap(), "stale, removed");
        assert!(
            Dotlock::try_acquire(&dir, &UIDLIST, &holder, &mut contention).unwrap().is_none(),
            "not at once"
        );
        play.sleep(Duration::from_millis(200));
        assert!(Dotlock::try_acquire(&dir, &UIDLIST, &holder, &mut contention).unwrap().is_some());
    });
}

#[test]
fn an_overridden_lock_is_left_to_the_other() {
    job(|fs, path| {
        let dir = fs.open_root(path).unwrap();
        let holder = Holder::with(77, "mail", Play::new());
        let held = lock(&dir, &holder).unwrap();
        let theirs = dir.create_new(b"theirs").unwrap();
        dir.rename_to(b"theirs", &dir, UIDLIST.lock).unwrap();
        assert!(!held.is_ours().unwrap());
        held.release().unwrap();
        assert!(dir.stat(UIDLIST.lock).unwrap().is_same_file(&theirs.stat().unwrap()));
    });
}

#[test]
fn the_lock_file_can_become_the_file() {
    job(|fs, path| {
        let dir = fs.open_root(path).unwrap();
        let holder = Holder::with(77, "mail", Play::new());
        let what = Lock { content: Content::Empty, ..UIDLIST };
        let held = Dotlock::acquire(&dir, &what, &holder, &mut Contention::default()).unwrap();
        held.replace(b"new", Durability::Later).unwrap();
        assert_eq!(dir.read(UIDLIST.protects, 10).unwrap(), b"new");
        assert!(!dir.exists(UIDLIST.lock).unwrap());
        assert!(holder.held.lock().is_empty());
    });
}

#[test]
fn touching_waits_ten_seconds() {
    job(|fs, path| {
        let dir = fs.open_root(path).unwrap();
        let play = Play::new();
        let holder = Holder::with(77, "mail", play.clone());
        let mut held = lock(&dir, &holder).unwrap();
        held.touch().unwrap();
        let before = dir.stat(UIDLIST.lock).unwrap().mtime;
        play.sleep(Duration::from_secs(11));
        held.touch().unwrap();
        assert!(dir.stat(UIDLIST.lock).unwrap().mtime.seconds >= before.seconds + 10);
    });
}

#[test]
fn a_lock_that_the_disk_kept_is_not_waited_for() {
    job(|fs, path| {
        let dir = fs.open_root(path).unwrap();
        let play = Play::new();
        let holder = Holder::with(77, "mail", play.clone());
        let what = Lock { content: Content::Empty, ..UIDLIST };
        let held = Dotlock::acquire(&dir, &what, &holder, &mut Contention::default()).unwrap();
        // What `remove` notes when the disk does not answer.
        holder.left.lock().insert(key(&held.stat));
        held.forget();
        std::mem::forget(held);
        drop(Dotlock::acquire(&dir, &what, &holder, &mut Contention::default()).unwrap());
        assert!(play.elapsed() < Duration::from_secs(1), "{:?}", play.elapsed());
        assert!(holder.left.lock().is_empty() && !dir.exists(what.lock).unwrap());
    });
}
