//! The file pool: identities (as root), links and FIFOs that users plant, panics, and the seam for faults.

#![expect(clippy::unwrap_used, reason = "a test fails where it fails")]
#![expect(clippy::disallowed_methods, reason = "a test looks at the disk past the door")]

use culver_store::Owner;
use culver_store::io::{
    Calls, Dir, Durability, EntryKind, Io, IoSettings, JobError, Modes, Resolve, Stat, System, Timestamp,
    inotify,
};
use rustix::fd::{BorrowedFd, OwnedFd};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn pool(threads: usize) -> Io {
    Io::new(IoSettings { threads, ..IoSettings::default() }).unwrap()
}

fn in_root<T: Send + 'static>(path: &Path, work: impl FnOnce(Dir<'_>) -> T + Send + 'static) -> T {
    let path = path.to_owned();
    pool(1).run_blocking(None, move |fs| work(fs.open_root(&path).unwrap())).unwrap()
}

/// Two or more users with a home of their own each, or the note that this needs root.
fn homes(users: u32) -> Option<(tempfile::TempDir, Vec<(Owner, PathBuf)>)> {
    if !rustix::process::geteuid().is_root() {
        io::stderr().write_all(b"not run: needs root\n").unwrap();
        return None;
    }
    let temp = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temp.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let homes = (0..users).map(|n| {
        let owner = Owner { uid: 64_001 + n, gid: 65_001 + n };
        let home = temp.path().join(format!("user{n}"));
        std::fs::create_dir(&home).unwrap();
        std::fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).unwrap();
        chown(&home, Some(owner.uid), Some(owner.gid)).unwrap();
        (owner, home)
    });
    let homes = homes.collect();
    Some((temp, homes))
}

#[test]
fn files_belong_to_the_owner_and_others_cannot_read_them() {
    let Some((_temp, homes)) = homes(2) else { return };
    let io = pool(2);
    let [(anna, hers), (bert, _)] = [homes[0].clone(), homes[1].clone()];
    let mail = hers.join("Mail");
    let made = mail.clone();
    io.run_blocking(Some(anna), move |fs| -> io::Result<()> {
        let root = fs.make_root(&made)?;
        let cur = root.make_dir(b"cur")?;
        cur.create_new(b"1")?.write_all(b"secret")?;
        Ok(())
    })
    .unwrap()
    .unwrap();
    for (path, mode) in [(mail.clone(), 0o700), (mail.join("cur"), 0o700), (mail.join("cur/1"), 0o600)] {
        let m = std::fs::metadata(path).unwrap();
        assert_eq!((m.uid(), m.gid(), m.mode() & 0o7777), (anna.uid, anna.gid, mode));
    }
    // Even with all directories open to everybody.
    for dir in [&hers, &mail] {
        let path = mail.clone();
        let refused = io.run_blocking(Some(bert), move |fs| fs.open_root(&path).map(drop)).unwrap();
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
        std::fs::set_permissions(dir, PermissionsExt::from_mode(0o777)).unwrap();
    }
    std::fs::set_permissions(mail.join("cur"), PermissionsExt::from_mode(0o777)).unwrap();
    let path = mail.clone();
    let handle = io
        .run_blocking(Some(bert), move |fs| {
            let cur = fs.open_root(&path).unwrap().open_dir(b"cur").unwrap();
            assert_eq!(cur.open_file(b"1").unwrap_err().kind(), ErrorKind::PermissionDenied);
            cur.keep()
        })
        .unwrap();
    // A kept directory is worth what the job's owner may do with it.
    let same = handle.clone();
    io.run_blocking(Some(anna), move |fs| assert_eq!(fs.dir(&same).read(b"1", 9).unwrap(), b"secret"))
        .unwrap();
    io.run_blocking(Some(bert), move |fs| assert!(fs.dir(&handle).open_file(b"1").is_err())).unwrap();
}

#[test]
fn a_planted_link_leads_nowhere() {
    let Some((_temp, homes)) = homes(2) else { return };
    let io = pool(1);
    let [(anna, hers), (bert, his)] = [homes[0].clone(), homes[1].clone()];
    std::fs::set_permissions(&hers, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(hers.join("secret"), "x").unwrap();
    std::fs::create_dir(his.join("cur")).unwrap();
    chown(his.join("cur"), Some(bert.uid), Some(bert.gid)).unwrap();
    symlink(hers.join("secret"), his.join("cur/1")).unwrap();
    symlink(&hers, his.join("new")).unwrap();
    for owner in [Some(anna), Some(bert), None] {
        let path = his.clone();
        io.run_blocking(owner, move |fs| {
            let Ok(root) = fs.open_root(&path) else { return };
            let cur = root.open_dir(b"cur").unwrap();
            let refused = cur.open_file(b"1").unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(rustix::io::Errno::LOOP.raw_os_error()));
            assert!(cur.create(b"1").is_err());
            assert!(cur.open_append(b"1").is_err());
            assert!(root.open_dir(b"new").is_err());
            assert!(root.open_file(b"new/secret").is_err());
            assert!(root.open_file(b"../user0/secret").is_err());
            assert_eq!(cur.stat(b"1").unwrap().kind, EntryKind::Link);
        })
        .unwrap();
    }
}

#[test]
fn jobs_of_many_owners_never_mix() {
    let Some((_temp, homes)) = homes(8) else { return };
    let io = Arc::new(pool(6));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..600usize)
            .map(|n| {
                let (io, (owner, home)) = (io.clone(), homes[(n * 7 + n / 13) % 8].clone());
                let low = n % 5 == 0;
                tokio::spawn(async move {
                    let job = move |fs: &culver_store::io::Fs| -> io::Result<Stat> {
                        let root = fs.open_root(&home)?;
                        let mut file = root.create_new(format!("f{n}").as_bytes())?;
                        file.write_all(b"x")?;
                        std::thread::yield_now();
                        root.make_dir(format!("d{n}").as_bytes())?;
                        root.stat(format!("d{n}").as_bytes())
                    };
                    let stat =
                        if low { io.run_low(Some(owner), job).await } else { io.run(Some(owner), job).await };
                    let stat = stat.unwrap().unwrap();
                    assert_eq!((stat.uid, stat.gid), (owner.uid, owner.gid));
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let mut files = 0;
    for (owner, home) in &homes {
        for entry in std::fs::read_dir(home).unwrap() {
            let m = entry.unwrap().metadata().unwrap();
            assert_eq!((m.uid(), m.gid()), (owner.uid, owner.gid));
            files += 1;
        }
    }
    assert_eq!(files, 1200);
    // And back as the process itself.
    let path = homes[0].1.clone();
    let mine =
        io.run_blocking(None, move |fs| fs.open_root(&path)?.create_new(b"root")?.stat()).unwrap().unwrap();
    assert_eq!((mine.uid, mine.gid), (0, 0));
}

#[test]
fn root_and_system_users_are_refused() {
    let io = pool(1);
    for (uid, gid) in [(0, 0), (0, 1000), (1000, 0), (42, 1000)] {
        let ran = Arc::new(AtomicUsize::new(0));
        let count = ran.clone();
        let result =
            io.run_blocking(Some(Owner { uid, gid }), move |_| count.fetch_add(1, Ordering::Relaxed));
        assert!(matches!(result, Err(JobError::Identity(_))), "{uid} {gid}: {result:?}");
        assert_eq!(ran.load(Ordering::Relaxed), 0);
    }
    assert!(io.run_blocking(None, |_| ()).is_ok());
}

#[test]
fn a_panic_costs_one_job() {
    let io = pool(1);
    let result = io.run_blocking(None, |_| -> u32 { panic!("oh {}", 1 + 1) });
    assert_eq!(result, Err(JobError::Panicked("oh 2".into())));
    assert_eq!(io.run_blocking(None, |_| 7), Ok(7));
    io.send(None, |_| panic!("nobody hears it"));
    assert_eq!(io.run_blocking(None, |_| 8), Ok(8));
}

#[test]
fn queued_jobs_are_run_when_the_pool_goes() {
    let ran = Arc::new(AtomicUsize::new(0));
    let (tell, told) = std::sync::mpsc::channel::<()>();
    {
        let io = pool(1);
        for _ in 0..50 {
            let (ran, tell) = (ran.clone(), tell.clone());
            io.send(None, move |_| {
                ran.fetch_add(1, Ordering::Relaxed);
                drop(tell);
            });
        }
    }
    drop(tell);
    assert!(told.recv().is_err(), "all senders are gone once all jobs have run");
    assert_eq!(ran.load(Ordering::Relaxed), 50);
}

#[test]
fn a_fifo_blocks_nobody_and_names_stay_below() {
    let temp = tempfile::tempdir().unwrap();
    let fifo = temp.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    in_root(temp.path(), |root| {
        assert_eq!(root.open_file(b"fifo").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert!(root.open_append(b"fifo").is_err());
        assert!(root.create(b"fifo").is_err());
        root.mkdir(b"dir").unwrap();
        assert_eq!(root.open_file(b"dir").unwrap_err().kind(), ErrorKind::InvalidInput);
        for bad in [&b""[..], b".", b"..", b"a/b", b"/etc", b"a\0b"] {
            assert_eq!(root.create_new(bad).unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(root.unlink(bad).unwrap_err().kind(), ErrorKind::InvalidInput);
            assert!(root.rename_to(b"dir", &root, bad).is_err());
        }
        assert!(root.open_dir(b"..").is_err());
        assert!(root.open_dir(b"/tmp").is_err());
        assert!(root.open_dir(b"dir/../..").is_err());
    });
}

#[test]
fn the_usual_work_in_a_directory() {
    let temp = tempfile::tempdir().unwrap();
    in_root(temp.path(), |root| {
        let new = root.make_dir(b"new").unwrap();
        let cur = root.make_dir(b"cur").unwrap();
        let mut file = new.create_new(b"1").unwrap();
        file.write_all(b"hello").unwrap();
        file.sync().unwrap();
        assert_eq!(new.create_new(b"1").unwrap_err().kind(), ErrorKind::AlreadyExists);
        new.link_to(b"1", &cur, b"2").unwrap();
        new.rename_to(b"1", &cur, b"1:2,S").unwrap();
        assert_eq!(cur.rename_new(b"2", &cur, b"1:2,S").unwrap_err().kind(), ErrorKind::AlreadyExists);
        cur.set_mtime(b"2", Timestamp { seconds: 1_000_000_000, nanoseconds: 5 }).unwrap();
        let stat = cur.stat(b"1:2,S").unwrap();
        assert_eq!(
            (stat.links, stat.size, stat.mtime.seconds, stat.mtime.nanoseconds),
            (2, 5, 1_000_000_000, 5)
        );
        let mut names: Vec<_> = cur.read_dir().unwrap().iter().map(|e| (e.name.to_vec(), e.kind)).collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(names, [(b"1:2,S".to_vec(), EntryKind::File), (b"2".to_vec(), EntryKind::File)]);
        assert_eq!(cur.read_dir().unwrap().len(), 2, "a second time from the start");
        assert_eq!(root.open_file(b"cur/2").unwrap().read_from(1, 10).unwrap(), b"ello");
        assert_eq!(cur.read(b"2", 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        let mut end = cur.open_append(b"2").unwrap();
        end.write_all(b" you").unwrap();
        assert_eq!(cur.read(b"2", 9).unwrap(), b"hello you");
        cur.write_replace(b"2", b"2.tmp", b"other", Durability::OnDisk).unwrap();
        assert_eq!(cur.read(b"2", 9).unwrap(), b"other");
        assert!(!cur.exists(b"2.tmp").unwrap());
        assert!(cur.rmdir(b"2").is_err());
        let deep = cur.make_dir(b"a").unwrap().make_dir(b"b").unwrap();
        deep.create(b"f").unwrap();
        cur.remove_tree(b"a").unwrap();
        cur.remove_tree(b"nothing").unwrap();
        cur.remove_tree(b"2").unwrap();
        assert_eq!(cur.read_dir().unwrap().len(), 1);
    });
}

#[test]
fn new_files_take_modes_from_their_directory() {
    let temp = tempfile::tempdir().unwrap();
    std::fs::set_permissions(temp.path(), PermissionsExt::from_mode(0o2775)).unwrap();
    in_root(temp.path(), |root| {
        assert_eq!(root.create_new(b"f").unwrap().stat().unwrap().mode, 0o664);
        root.mkdir(b"d").unwrap();
        assert_eq!(root.stat(b"d").unwrap().mode, 0o2775);
        let private = root.open_dir(b"").unwrap();
        private.use_modes(Modes { file: 0o600, directory: 0o700, gid: 0 });
        assert_eq!(private.create_new(b"p").unwrap().stat().unwrap().mode, 0o600);
        let shared = Modes::like(&root.stat(b"f").unwrap());
        assert_eq!((shared.file, shared.directory), (0o664, 0o775));
    });
}

/// A layer between: the nth write fails as on a full disk.
struct FullAt {
    inner: System,
    left: AtomicUsize,
}

impl FullAt {
    fn count(&self) -> io::Result<()> {
        let left = self.left.fetch_sub(1, Ordering::Relaxed);
        if left == 1 { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Calls for FullAt {
    fn inner(&self) -> &dyn Calls {
        &self.inner
    }
    fn open(
        &self,
        dir: Option<BorrowedFd<'_>>,
        path: &[u8],
        flags: rustix::fs::OFlags,
        mode: u32,
        resolve: Resolve,
    ) -> io::Result<OwnedFd> {
        if flags.contains(rustix::fs::OFlags::CREATE) {
            self.count()?;
        }
        self.inner.open(dir, path, flags, mode, resolve)
    }
    fn mkdir(&self, dir: Option<BorrowedFd<'_>>, path: &[u8], mode: u32) -> io::Result<()> {
        self.count()?;
        self.inner.mkdir(dir, path, mode)
    }
    fn rename(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &[u8],
        to_dir: BorrowedFd<'_>,
        to: &[u8],
        flags: rustix::fs::RenameFlags,
    ) -> io::Result<()> {
        self.count()?;
        self.inner.rename(from_dir, from, to_dir, to, flags)
    }
    fn read_at(&self, fd: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        // Short reads must not matter.
        let len = buf.len().min(3);
        self.inner.read_at(fd, &mut buf[..len], offset)
    }
    fn write(&self, fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
        self.count()?;
        self.inner.write(fd, &buf[..buf.len().min(2)])
    }
    fn write_at(&self, fd: BorrowedFd<'_>, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.count()?;
        self.inner.write_at(fd, buf, offset)
    }
    fn sync_data(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.count()?;
        self.inner.sync_data(fd)
    }
}

#[test]
fn a_replaced_file_is_the_old_or_the_new_one_whatever_fails() {
    let mut seen_new = false;
    for nth in 1..=8 {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("f"), "old").unwrap();
        let calls = Arc::new(FullAt { inner: System::new(), left: AtomicUsize::new(nth) });
        let io = Io::with_calls(IoSettings { threads: 1, ..IoSettings::default() }, calls).unwrap();
        let path = temp.path().to_owned();
        let (done, now, names) = io
            .run_blocking(None, move |fs| {
                let root = fs.open_root(&path).unwrap();
                let done = root.write_replace(b"f", b"f.tmp", b"newer", Durability::OnDisk);
                (done, root.read(b"f", 10).unwrap(), root.read_dir().unwrap().len())
            })
            .unwrap();
        assert_eq!(names, 1, "nothing is left behind");
        match done {
            Ok(()) => assert_eq!(now, b"newer"),
            Err(e) => {
                assert_eq!((e.kind(), now.as_slice()), (ErrorKind::StorageFull, &b"old"[..]));
            }
        }
        seen_new |= now == b"newer";
    }
    assert!(seen_new);
}

#[test]
fn a_directory_can_be_watched() {
    let temp = tempfile::tempdir().unwrap();
    let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).unwrap();
    in_root(temp.path(), move |root| {
        let wd = root.watch(&fd, inotify::WatchFlags::CREATE).unwrap();
        root.create_new(b"x").unwrap();
        let mut buf = [std::mem::MaybeUninit::uninit(); 512];
        let mut events = inotify::Reader::new(&fd, &mut buf);
        let event = events.next().unwrap();
        assert_eq!((event.wd(), event.file_name().unwrap()), (wd, c"x"));
    });
}
