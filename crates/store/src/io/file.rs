//! An open file, and what `stat` tells.
//!
//! A [`File`] may be used anywhere, outside of jobs too: the kernel asked for the identity when it was opened.
//! Its calls block.

use super::Calls;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::FileType;
use std::io;
use std::sync::Arc;

/// A moment as file systems keep it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: u32,
}

/// What kind of thing a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, FIFO or socket.
    Other,
    /// The file system does not tell with the name; `stat` does.
    Unknown,
}

/// Metadata of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Kind; never `Unknown`.
    pub kind: EntryKind,
    /// Device.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Octets.
    pub size: u64,
    /// Permission bits, with set-id and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names.
    pub links: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last change of the inode.
    pub ctime: Timestamp,
}

impl Stat {
    /// The same file (device and inode)?
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

impl From<rustix::fs::Stat> for Stat {
    #[allow(clippy::unnecessary_cast, reason = "the widths differ between architectures")]
    fn from(s: rustix::fs::Stat) -> Self {
        let time = |seconds: i64, nanoseconds| Timestamp { seconds, nanoseconds };
        Self {
            kind: match FileType::from_raw_mode(s.st_mode) {
                FileType::RegularFile => EntryKind::File,
                FileType::Directory => EntryKind::Directory,
                FileType::Symlink => EntryKind::Link,
                _ => EntryKind::Other,
            },
            dev: s.st_dev as u64,
            ino: s.st_ino as u64,
            size: s.st_size as u64,
            mode: s.st_mode & 0o7777,
            uid: s.st_uid,
            gid: s.st_gid,
            links: s.st_nlink as u64,
            atime: time(s.st_atime as i64, s.st_atime_nsec as u32),
            mtime: time(s.st_mtime as i64, s.st_mtime_nsec as u32),
            ctime: time(s.st_ctime as i64, s.st_ctime_nsec as u32),
        }
    }
}

/// An open regular file.
pub struct File {
    fd: OwnedFd,
    calls: Arc<dyn Calls>,
    /// What `stat` said when it was opened.
    opened: Option<Stat>,
}

impl File {
    pub(super) fn new(fd: OwnedFd, calls: Arc<dyn Calls>) -> Self {
        Self { fd, calls, opened: None }
    }

    pub(super) fn existing(fd: OwnedFd, calls: Arc<dyn Calls>, stat: Stat) -> Self {
        Self { fd, calls, opened: Some(stat) }
    }

    /// Metadata as it was when the file was opened, which costs nothing.
    pub fn stat_when_opened(&self) -> io::Result<Stat> {
        self.opened.map_or_else(|| self.stat(), Ok)
    }

    /// Metadata, of the open file and not of its name.
    pub fn stat(&self) -> io::Result<Stat> {
        self.calls.stat(self.fd.as_fd())
    }

    /// Reads at `offset`; fewer octets than asked for may come, none at the end.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.calls.read_at(self.fd.as_fd(), buf, offset)
    }

    /// Reads at `offset` until `buf` is full or the file ends; gives the number of octets.
    pub fn read_full_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            match self.read_at(&mut buf[done..], offset + done as u64)? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }

    /// All from `offset` on, but an error (`FileTooLarge`) when that is more than `most` octets.
    pub fn read_from(&self, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let size = self.stat_when_opened()?.size;
        let expected = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        if expected > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // One octet more than expected, so that the end is seen without another allocation.
        let mut out = vec![0; expected + 1];
        let mut done = 0;
        loop {
            if done == out.len() {
                if done > most {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                out.resize((2 * done).min(most + 1), 0);
            }
            let wanted = out.len() - done;
            let n = self.read_at(&mut out[done..], offset + done as u64)?;
            done += n;
            // Less than was asked for, and all that was expected: it is the end.
            if n == 0 || n < wanted && done >= expected {
                break;
            }
        }
        out.truncate(done);
        if done > most { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(out) }
    }

    /// Writes all octets at the current position (at the end, if opened for appending).
    pub fn write_all(&mut self, mut octets: &[u8]) -> io::Result<()> {
        while !octets.is_empty() {
            match self.calls.write(self.fd.as_fd(), octets)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => octets = octets.get(n..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    /// Writes all octets at `offset`. Not for files opened for appending.
    pub fn write_all_at(&self, mut octets: &[u8], mut offset: u64) -> io::Result<()> {
        while !octets.is_empty() {
            match self.calls.write_at(self.fd.as_fd(), octets, offset)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => {
                    octets = octets.get(n..).unwrap_or_default();
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }

    /// Cuts or lengthens the file.
    pub fn truncate(&self, len: u64) -> io::Result<()> {
        self.calls.truncate(self.fd.as_fd(), len)
    }

    /// Content and metadata are on disk when it returns.
    pub fn sync(&self) -> io::Result<()> {
        self.calls.sync(self.fd.as_fd())
    }

    /// Content (and the size) is on disk when it returns.
    pub fn sync_data(&self) -> io::Result<()> {
        self.calls.sync_data(self.fd.as_fd())
    }

    /// Sets the time of the last change.
    pub fn set_mtime(&self, mtime: Timestamp) -> io::Result<()> {
        self.calls.set_mtime(self.fd.as_fd(), mtime)
    }

    /// The descriptor, for `sendfile` and the like.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("File").field(&self.fd).finish()
    }
}
