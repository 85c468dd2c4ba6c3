//! The system calls, all of them, as one object: the seam where a test puts a layer that fails.
//!
//! A layer implements [`Calls`] by holding an inner one, and says only what it does differently. Names given here are single components unless said
//! otherwise; callers have checked that.

use super::file::{EntryKind, Stat, Timestamp};
use super::inotify::WatchFlags;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, RenameFlags, ResolveFlags, Timespec, Timestamps,
};
use rustix::io::Errno;
use std::io;

/// How a path is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolve {
    /// From the current directory or `/`, links followed: for the roots that the configuration names.
    Anywhere,
    /// Below the directory, no link followed, no way out: for all that a user may have put there.
    Beneath,
}

/// System calls on files. Every method is one call (or a loop of one call that continues a partial result).
pub trait Calls: Send + Sync + 'static {
    /// What a layer lies on: it answers whatever the layer says nothing about. [`System`] says something about everything.
    fn inner(&self) -> &dyn Calls;
    /// openat2; without a directory the path is absolute. The path may have several components.
    fn open(
        &self,
        dir: Option<BorrowedFd<'_>>,
        path: &[u8],
        flags: OFlags,
        mode: u32,
        resolve: Resolve,
    ) -> io::Result<OwnedFd> {
        self.inner().open(dir, path, flags, mode, resolve)
    }
    /// mkdirat; without a directory the path is absolute.
    fn mkdir(&self, dir: Option<BorrowedFd<'_>>, path: &[u8], mode: u32) -> io::Result<()> {
        self.inner().mkdir(dir, path, mode)
    }
    /// renameat2: replaces `to` or, with NOREPLACE, fails when it exists.
    fn rename(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &[u8],
        to_dir: BorrowedFd<'_>,
        to: &[u8],
        flags: RenameFlags,
    ) -> io::Result<()> {
        self.inner().rename(from_dir, from, to_dir, to, flags)
    }
    /// linkat, no link followed.
    fn link(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &[u8],
        to_dir: BorrowedFd<'_>,
        to: &[u8],
    ) -> io::Result<()> {
        self.inner().link(from_dir, from, to_dir, to)
    }
    /// unlinkat of a file.
    fn unlink(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        self.inner().unlink(dir, name)
    }
    /// unlinkat of an empty directory.
    fn rmdir(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        self.inner().rmdir(dir, name)
    }
    /// fstatat, no link followed.
    fn stat_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Stat> {
        self.inner().stat_at(dir, name)
    }
    /// fstat.
    fn stat(&self, fd: BorrowedFd<'_>) -> io::Result<Stat> {
        self.inner().stat(fd)
    }
    /// getdents64 to the end. `.` and `..` are left out. The descriptor's position must be at the start.
    fn read_dir(&self, fd: BorrowedFd<'_>) -> io::Result<Entries> {
        self.inner().read_dir(fd)
    }
    /// pread.
    fn read_at(&self, fd: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner().read_at(fd, buf, offset)
    }
    /// write, at the descriptor's position.
    fn write(&self, fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
        self.inner().write(fd, buf)
    }
    /// pwrite.
    fn write_at(&self, fd: BorrowedFd<'_>, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.inner().write_at(fd, buf, offset)
    }
    /// ftruncate.
    fn truncate(&self, fd: BorrowedFd<'_>, len: u64) -> io::Result<()> {
        self.inner().truncate(fd, len)
    }
    /// fsync, of a file or a directory.
    fn sync(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.inner().sync(fd)
    }
    /// fdatasync.
    fn sync_data(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.inner().sync_data(fd)
    }
    /// futimens: the time of the last change; that of the last access is left alone.
    fn set_mtime(&self, fd: BorrowedFd<'_>, mtime: Timestamp) -> io::Result<()> {
        self.inner().set_mtime(fd, mtime)
    }
    /// utimensat, no link followed.
    fn set_mtime_at(&self, dir: BorrowedFd<'_>, name: &[u8], mtime: Timestamp) -> io::Result<()> {
        self.inner().set_mtime_at(dir, name, mtime)
    }
    /// fchmod.
    fn chmod(&self, fd: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        self.inner().chmod(fd, mode)
    }
    /// fchown, of the group only.
    fn chgrp(&self, fd: BorrowedFd<'_>, gid: u32) -> io::Result<()> {
        self.inner().chgrp(fd, gid)
    }
    /// inotify_add_watch on an open directory: needs the owner's identity. Gives the watch descriptor.
    fn watch(&self, inotify: BorrowedFd<'_>, dir: BorrowedFd<'_>, flags: WatchFlags) -> io::Result<i32> {
        self.inner().watch(inotify, dir, flags)
    }
}

/// What a directory holds, in one allocation for all names.
#[derive(Clone, Default, Debug)]
pub struct Entries {
    names: Vec<u8>,
    items: Vec<(u32, u16, EntryKind, u64)>,
}

/// One name in a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// The name's bytes.
    pub name: &'a [u8],
    /// What kind of thing it is, as far as the file system tells.
    pub kind: EntryKind,
    /// Inode number.
    pub ino: u64,
}

impl Entries {
    /// Adds an entry.
    pub fn push(&mut self, name: &[u8], kind: EntryKind, ino: u64) -> io::Result<()> {
        let (Ok(at), Ok(len)) = (u32::try_from(self.names.len()), u16::try_from(name.len())) else {
            return Err(io::Error::other("the directory holds more than 4 GiB of names"));
        };
        self.names.extend_from_slice(name);
        self.items.push((at, len, kind, ino));
        Ok(())
    }
    /// How many names.
    pub fn len(&self) -> usize {
        self.items.len()
    }
    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
    /// All of them, in the order of the file system.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry<'_>> {
        self.items.iter().map(|(at, len, kind, ino)| Entry {
            name: &self.names[*at as usize..*at as usize + usize::from(*len)],
            kind: *kind,
            ino: *ino,
        })
    }
}

/// The kernel's.
#[derive(Debug)]
pub struct System {
    openat2: bool,
}

impl System {
    /// Finds out whether the kernel has openat2 (since Linux 5.6; old container filters refuse it with EPERM).
    pub fn new() -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tried = rustix::fs::openat2(CWD, c"/", flags, Mode::empty(), ResolveFlags::empty());
        Self { openat2: !matches!(tried, Err(Errno::NOSYS | Errno::PERM)) }
    }

    /// As on a kernel without openat2.
    #[cfg(test)]
    pub(super) fn without_openat2() -> Self {
        Self { openat2: false }
    }

    fn open_beneath(
        &self,
        dir: BorrowedFd<'_>,
        path: &[u8],
        flags: OFlags,
        mode: Mode,
    ) -> io::Result<OwnedFd> {
        if self.openat2 {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
            // EAGAIN: the path changed under way; the kernel asks to try again.
            for _ in 0..8 {
                match rustix::fs::openat2(dir, path, flags, mode, resolve) {
                    Err(Errno::AGAIN | Errno::INTR) => (),
                    other => return Ok(other?),
                }
            }
            return Err(Errno::AGAIN.into());
        }
        // Component by component, none of which may be a link or lead upwards.
        let mut parts = path.split(|b| *b == b'/').filter(|p| !p.is_empty() && *p != b".").peekable();
        if parts.peek().is_none() {
            return Ok(rustix::fs::openat(dir, c".", flags, mode)?);
        }
        let mut at: Option<OwnedFd> = None;
        while let Some(part) = parts.next() {
            if part == b".." || path.starts_with(b"/") {
                return Err(Errno::XDEV.into());
            }
            let from = at.as_ref().map_or(dir, |fd| rustix::fd::AsFd::as_fd(fd));
            let next = if parts.peek().is_some() {
                let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                rustix::fs::openat(from, part, way, Mode::empty())
            } else {
                rustix::fs::openat(from, part, flags | OFlags::NOFOLLOW, mode)
            };
            at = Some(next?);
        }
        at.ok_or_else(|| Errno::NOENT.into())
    }
}

impl Default for System {
    fn default() -> Self {
        Self::new()
    }
}

/// Calls that signals interrupt are made again.
fn again<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => (),
            other => return Ok(other?),
        }
    }
}

fn only_mtime(mtime: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT as _ },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds as _ },
    }
}

impl Calls for System {
    fn inner(&self) -> &dyn Calls {
        self
    }
    fn open(
        &self,
        dir: Option<BorrowedFd<'_>>,
        path: &[u8],
        flags: OFlags,
        mode: u32,
        resolve: Resolve,
    ) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY;
        let mode = Mode::from_raw_mode(mode);
        match (dir, resolve) {
            (Some(dir), Resolve::Beneath) => self.open_beneath(dir, path, flags, mode),
            (dir, _) => again(|| rustix::fs::openat(dir.unwrap_or(CWD), path, flags, mode)),
        }
    }
    fn mkdir(&self, dir: Option<BorrowedFd<'_>>, path: &[u8], mode: u32) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(dir.unwrap_or(CWD), path, Mode::from_raw_mode(mode))?)
    }
    fn rename(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &[u8],
        to_dir: BorrowedFd<'_>,
        to: &[u8],
        flags: RenameFlags,
    ) -> io::Result<()> {
        if flags.is_empty() {
            return Ok(rustix::fs::renameat(from_dir, from, to_dir, to)?);
        }
        Ok(rustix::fs::renameat_with(from_dir, from, to_dir, to, flags)?)
    }
    fn link(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &[u8],
        to_dir: BorrowedFd<'_>,
        to: &[u8],
    ) -> io::Result<()> {
        Ok(rustix::fs::linkat(from_dir, from, to_dir, to, AtFlags::empty())?)
    }
    fn unlink(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(dir, name, AtFlags::empty())?)
    }
    fn rmdir(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
    }
    fn stat_at(&self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Stat> {
        Ok(Stat::from(rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }
    fn stat(&self, fd: BorrowedFd<'_>) -> io::Result<Stat> {
        Ok(Stat::from(rustix::fs::fstat(fd)?))
    }
    fn read_dir(&self, fd: BorrowedFd<'_>) -> io::Result<Entries> {
        let mut out = Entries::default();
        let mut buffer = Vec::with_capacity(32 * 1024);
        let mut dir = RawDir::new(fd, buffer.spare_capacity_mut());
        while let Some(entry) = dir.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::RegularFile => EntryKind::File,
                FileType::Directory => EntryKind::Directory,
                FileType::Symlink => EntryKind::Link,
                FileType::Unknown => EntryKind::Unknown,
                _ => EntryKind::Other,
            };
            out.push(name, kind, entry.ino())?;
        }
        Ok(out)
    }
    fn read_at(&self, fd: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        again(|| rustix::io::pread(fd, &mut *buf, offset))
    }
    fn write(&self, fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
        again(|| rustix::io::write(fd, buf))
    }
    fn write_at(&self, fd: BorrowedFd<'_>, buf: &[u8], offset: u64) -> io::Result<usize> {
        again(|| rustix::io::pwrite(fd, buf, offset))
    }
    fn truncate(&self, fd: BorrowedFd<'_>, len: u64) -> io::Result<()> {
        again(|| rustix::fs::ftruncate(fd, len))
    }
    fn sync(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        again(|| rustix::fs::fsync(fd))
    }
    fn sync_data(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        again(|| rustix::fs::fdatasync(fd))
    }
    fn set_mtime(&self, fd: BorrowedFd<'_>, mtime: Timestamp) -> io::Result<()> {
        Ok(rustix::fs::futimens(fd, &only_mtime(mtime))?)
    }
    fn set_mtime_at(&self, dir: BorrowedFd<'_>, name: &[u8], mtime: Timestamp) -> io::Result<()> {
        Ok(rustix::fs::utimensat(dir, name, &only_mtime(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }
    fn chmod(&self, fd: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(fd, Mode::from_raw_mode(mode))?)
    }
    fn chgrp(&self, fd: BorrowedFd<'_>, gid: u32) -> io::Result<()> {
        Ok(rustix::fs::fchown(fd, None, Some(rustix::fs::Gid::from_raw(gid)))?)
    }
    fn watch(&self, inotify: BorrowedFd<'_>, dir: BorrowedFd<'_>, flags: WatchFlags) -> io::Result<i32> {
        use rustix::fd::AsRawFd;
        // Through the descriptor, so that nothing can have been put in the directory's place.
        let path = format!("/proc/self/fd/{}", dir.as_raw_fd());
        Ok(rustix::fs::inotify::add_watch(inotify, path, flags)?)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test looks at the disk past the door")]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    #[test]
    fn without_openat2_the_rules_are_the_same() {
        let temp = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(temp.path().join("d")).expect("made");
        std::fs::write(temp.path().join("d/f"), "x").expect("written");
        std::os::unix::fs::symlink("d", temp.path().join("l")).expect("linked");
        std::os::unix::fs::symlink("f", temp.path().join("d/l")).expect("linked");
        let root = std::fs::File::open(temp.path()).expect("opened");
        for calls in [System::new(), System::without_openat2()] {
            let open = |path: &[u8]| {
                calls.open(Some(root.as_fd()), path, OFlags::RDONLY, 0, Resolve::Beneath).is_ok()
            };
            for (path, ok) in [
                (&b"."[..], true),
                (b"d", true),
                (b"d/f", true),
                (b"./d//f", true),
                (b"l", false),
                (b"l/f", false),
                (b"d/l", false),
                (b"..", false),
                (b"/etc", false),
                (b"no", false),
            ] {
                assert_eq!(open(path), ok, "{} {calls:?}", path.escape_ascii());
            }
        }
    }
}
