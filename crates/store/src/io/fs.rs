//! Directories, and what can be done by name in them. Only a job has the token that leads here.
//!
//! Users own the folders and may put anything there while we work. So:
//!
//! * every name but the roots is looked up from an open directory with `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS`
//!   (component by component with O_NOFOLLOW where the kernel has no openat2);
//! * what changes names (rename, link, unlink, mkdir, stat) takes one component, never a path;
//! * files are opened with O_NONBLOCK and must be regular ones, so that a FIFO named like a message blocks nobody
//!   ([`std::io::ErrorKind::InvalidInput`]);
//! * new files and directories take mode and group of their directory, as Dovecot does (execute bits removed from
//!   files); when the group cannot be given, the group's rights are not given either.

use super::calls::{Calls, Entries, Resolve};
use super::file::{EntryKind, File, Stat, Timestamp};
use super::inotify::WatchFlags;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{OFlags, RenameFlags};
use std::io;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Deepest tree that [`Dir::remove_tree`] takes away.
const DEEPEST: usize = 64;

/// The right to use the file system as the job's owner. Exists on pool threads only and cannot leave them.
pub struct Fs {
    calls: Arc<dyn Calls>,
    stays: PhantomData<*const ()>,
}

/// Permission bits and group of what is made in a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Modes {
    /// Of files.
    pub file: u32,
    /// Of directories.
    pub directory: u32,
    /// Group; set only when the group has rights.
    pub gid: u32,
}

impl Modes {
    /// From the template: a directory, or Dovecot's `dovecot-shared`.
    pub fn like(stat: &Stat) -> Self {
        let rw = stat.mode & 0o666;
        // A directory can be searched by whom it can be read.
        let directory =
            if stat.kind == EntryKind::Directory { stat.mode & 0o777 } else { rw | (rw & 0o444) >> 2 };
        Self { file: rw | 0o600, directory: directory | 0o700, gid: stat.gid }
    }
}

/// Is it on disk when the call returns?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// It is.
    OnDisk,
    /// Sooner or later.
    Later,
}

/// An open directory that outlives a job. Of no use outside of one: see [`Fs::dir`].
#[derive(Clone)]
pub struct DirHandle(Arc<OpenDir>);

struct OpenDir {
    fd: OwnedFd,
    modes: OnceLock<Modes>,
}

impl std::fmt::Debug for DirHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("DirHandle").field(&self.0.fd).finish()
    }
}

impl std::fmt::Debug for Dir<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Dir").field(&self.open.fd).finish()
    }
}

/// An open directory within a job.
#[derive(Clone)]
pub struct Dir<'fs> {
    fs: &'fs Fs,
    open: Arc<OpenDir>,
}

impl Fs {
    pub(super) fn new(calls: Arc<dyn Calls>) -> Self {
        Self { calls, stays: PhantomData }
    }

    /// Opens a root that the configuration names. Links on the way are followed, as the job's owner.
    pub fn open_root(&self, path: &Path) -> io::Result<Dir<'_>> {
        if !path.is_absolute() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{} is not absolute", path.display()),
            ));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = self.calls.open(None, path.as_os_str().as_bytes(), flags, 0, Resolve::Anywhere)?;
        Ok(self.opened(fd))
    }

    /// Opens a root, made first (mode 0700, with the directories above it) when it is missing. What is made is on disk when
    /// it returns: files synced in a directory that goes with a power loss would be lost with it.
    pub fn make_root(&self, path: &Path) -> io::Result<Dir<'_>> {
        match self.open_root(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => (),
            other => return other,
        }
        let mut missing: Vec<&Path> = path.ancestors().collect();
        missing.pop();
        for step in missing.into_iter().rev() {
            match self.calls.mkdir(None, step.as_os_str().as_bytes(), 0o700) {
                Ok(()) => {
                    // The directory above may be one that we may write to and not read.
                    if let Some(above) = step.parent().and_then(|p| self.open_root(p).ok()) {
                        above.sync()?;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => (),
                // A directory above may be there without our being allowed to make it again.
                Err(_) if self.open_root(step).is_ok() => (),
                Err(e) => return Err(e),
            }
        }
        self.open_root(path)
    }

    /// A file without a name, for reading and writing, that goes with its last descriptor. It lies in memory (and in
    /// swap space).
    pub fn anonymous(&self) -> io::Result<File> {
        let fd = rustix::fs::memfd_create(c"culver", rustix::fs::MemfdFlags::CLOEXEC)?;
        Ok(File::new(fd, self.calls.clone()))
    }

    /// A directory kept from an earlier job. The kernel checks each use of it against this job's owner.
    pub fn dir(&self, handle: &DirHandle) -> Dir<'_> {
        Dir { fs: self, open: handle.0.clone() }
    }

    fn opened(&self, fd: OwnedFd) -> Dir<'_> {
        Dir { fs: self, open: Arc::new(OpenDir { fd, modes: OnceLock::new() }) }
    }
}

/// One component, and not one that leads elsewhere.
fn component(name: &[u8]) -> io::Result<&[u8]> {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
        let text = format!("{:?} is not the name of a file", String::from_utf8_lossy(name));
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(name)
}

impl<'fs> Dir<'fs> {
    fn fd(&self) -> BorrowedFd<'_> {
        self.open.fd.as_fd()
    }

    fn calls(&self) -> &dyn Calls {
        &*self.fs.calls
    }

    /// To be used in another job.
    pub fn keep(&self) -> DirHandle {
        DirHandle(self.open.clone())
    }

    /// Opens the directory `path` below; `path` may have several components, none a link. Empty: this one again.
    pub fn open_dir(&self, path: &[u8]) -> io::Result<Dir<'fs>> {
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = self.calls().open(Some(self.fd()), path, flags, 0, Resolve::Beneath)?;
        Ok(self.fs.opened(fd))
    }

    /// Makes the directory `name`.
    pub fn mkdir(&self, name: &[u8]) -> io::Result<()> {
        let modes = self.modes()?;
        self.calls().mkdir(Some(self.fd()), component(name)?, modes.directory)?;
        if modes.directory & 0o077 != 0 {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            let fd = self.calls().open(Some(self.fd()), name, flags, 0, Resolve::Beneath)?;
            self.widen(fd.as_fd(), modes.directory, modes.gid)?;
        }
        Ok(())
    }

    /// Opens the directory `name`, made first when it is missing, and then on disk.
    pub fn make_dir(&self, name: &[u8]) -> io::Result<Dir<'fs>> {
        component(name)?;
        match self.open_dir(name) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => (),
            other => return other,
        }
        match self.mkdir(name) {
            Ok(()) => self.sync()?,
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            Err(_) => (),
        }
        self.open_dir(name)
    }

    /// Removes the empty directory `name`.
    pub fn rmdir(&self, name: &[u8]) -> io::Result<()> {
        self.calls().rmdir(self.fd(), component(name)?)
    }

    /// Removes `name` and, if it is a directory, all that is in it. Links are removed, not followed. Not an
    /// error when it is missing.
    pub fn remove_tree(&self, name: &[u8]) -> io::Result<()> {
        match self.unlink(name) {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => match self.stat(name) {
                Ok(s) if s.kind == EntryKind::Directory => (),
                _ => return Err(e),
            },
        }
        // A way down: a directory, its name in the one above, and the names still to be removed in it.
        let first = self.open_dir(name)?;
        let names = first.names()?;
        let mut way = vec![(first, name.to_vec(), names)];
        while let Some((dir, _, names)) = way.last_mut() {
            let Some(next) = names.pop() else {
                if let Some((_, own_name, _)) = way.pop() {
                    way.last().map_or(self, |(above, _, _)| above).rmdir(&own_name)?;
                }
                continue;
            };
            match dir.unlink(&next) {
                Ok(()) => continue,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => match dir.stat(&next) {
                    Ok(s) if s.kind == EntryKind::Directory => (),
                    _ => return Err(e),
                },
            }
            let below = dir.open_dir(&next)?;
            let names = below.names()?;
            if way.len() == DEEPEST {
                return Err(io::Error::other("directories are nested too deeply to be removed"));
            }
            way.push((below, next, names));
        }
        Ok(())
    }

    fn names(&self) -> io::Result<Vec<Vec<u8>>> {
        Ok(self.read_dir()?.iter().map(|e| e.name.to_vec()).collect())
    }

    /// Opens a regular file for reading. `path` may have several components.
    pub fn open_file(&self, path: &[u8]) -> io::Result<File> {
        self.open_existing(path, OFlags::RDONLY)
    }

    /// Opens an existing regular file for appending.
    pub fn open_append(&self, name: &[u8]) -> io::Result<File> {
        self.open_existing(component(name)?, OFlags::WRONLY | OFlags::APPEND)
    }

    /// Opens an existing regular file for reading and writing in place.
    pub fn open_write(&self, name: &[u8]) -> io::Result<File> {
        self.open_existing(component(name)?, OFlags::RDWR)
    }

    /// Makes a new file; an error when the name is taken.
    pub fn create_new(&self, name: &[u8]) -> io::Result<File> {
        self.open_created(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    /// Makes a file, or empties the one that is there.
    pub fn create(&self, name: &[u8]) -> io::Result<File> {
        self.open_created(name, OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)
    }

    /// Opens a file for appending, made first when it is missing.
    pub fn create_append(&self, name: &[u8]) -> io::Result<File> {
        self.open_created(name, OFlags::RDWR | OFlags::CREATE | OFlags::APPEND)
    }

    fn open_existing(&self, path: &[u8], flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let fd = self.calls().open(Some(self.fd()), path, flags, 0, Resolve::Beneath)?;
        self.regular(fd)
    }

    fn open_created(&self, name: &[u8], flags: OFlags) -> io::Result<File> {
        let modes = self.modes()?;
        let flags = flags | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let fd = self.calls().open(Some(self.fd()), component(name)?, flags, modes.file, Resolve::Beneath)?;
        if modes.file & 0o077 != 0 {
            self.widen(fd.as_fd(), modes.file, modes.gid)?;
        }
        if flags.contains(OFlags::EXCL) {
            return Ok(File::new(fd, self.fs.calls.clone()));
        }
        self.regular(fd)
    }

    fn regular(&self, fd: OwnedFd) -> io::Result<File> {
        let stat = self.calls().stat(fd.as_fd())?;
        if stat.kind != EntryKind::File {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Ok(File::existing(fd, self.fs.calls.clone(), stat))
    }

    /// Gives rights beyond the umask. A file that was there already and is not ours stays as it is.
    fn widen(&self, fd: BorrowedFd<'_>, mode: u32, gid: u32) -> io::Result<()> {
        let stat = self.calls().stat(fd)?;
        let mut mode = mode | stat.mode & 0o7000;
        if mode & 0o070 != 0 && stat.gid != gid && self.calls().chgrp(fd, gid).is_err() {
            mode &= !0o070;
        }
        if stat.mode == mode {
            return Ok(());
        }
        match self.calls().chmod(fd, mode) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other,
        }
    }

    /// What new files and directories get here: [`Modes::like`] the directory itself, unless set.
    pub fn modes(&self) -> io::Result<Modes> {
        if let Some(modes) = self.open.modes.get() {
            return Ok(*modes);
        }
        let modes = Modes::like(&self.calls().stat(self.fd())?);
        Ok(*self.open.modes.get_or_init(|| modes))
    }

    /// Sets what new files get here (a `dovecot-shared` template). Has no effect once something was made here.
    pub fn use_modes(&self, modes: Modes) {
        self.open.modes.get_or_init(|| modes);
    }

    /// Renames `name` to `to_name` in `to`; what has that name there is replaced.
    pub fn rename_to(&self, name: &[u8], to: &Dir<'_>, to_name: &[u8]) -> io::Result<()> {
        self.calls().rename(self.fd(), component(name)?, to.fd(), component(to_name)?, RenameFlags::empty())
    }

    /// As [`Self::rename_to`], but an error (`AlreadyExists`) when the name is taken.
    pub fn rename_new(&self, name: &[u8], to: &Dir<'_>, to_name: &[u8]) -> io::Result<()> {
        let (name, to_name) = (component(name)?, component(to_name)?);
        match self.calls().rename(self.fd(), name, to.fd(), to_name, RenameFlags::NOREPLACE) {
            // Some file systems (NFS) cannot do it in one step.
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                if to.exists(to_name)? {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                self.rename_to(name, to, to_name)
            }
            other => other,
        }
    }

    /// Gives the file a second name; an error when that is taken.
    pub fn link_to(&self, name: &[u8], to: &Dir<'_>, to_name: &[u8]) -> io::Result<()> {
        self.calls().link(self.fd(), component(name)?, to.fd(), component(to_name)?)
    }

    /// Removes a file's name.
    pub fn unlink(&self, name: &[u8]) -> io::Result<()> {
        self.calls().unlink(self.fd(), component(name)?)
    }

    /// Metadata of `name`; of a link itself, not of what it points to.
    pub fn stat(&self, name: &[u8]) -> io::Result<Stat> {
        self.calls().stat_at(self.fd(), component(name)?)
    }

    /// Metadata of this directory.
    pub fn stat_self(&self) -> io::Result<Stat> {
        self.calls().stat(self.fd())
    }

    /// Is there anything of that name?
    pub fn exists(&self, name: &[u8]) -> io::Result<bool> {
        match self.stat(name) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// All names but `.` and `..`.
    pub fn read_dir(&self) -> io::Result<Entries> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let fd = self.calls().open(Some(self.fd()), b".", flags, 0, Resolve::Beneath)?;
        self.calls().read_dir(fd.as_fd())
    }

    /// Names made, changed and removed here so far are on disk when it returns.
    pub fn sync(&self) -> io::Result<()> {
        self.calls().sync(self.fd())
    }

    /// Sets the time of the last change of `name`.
    pub fn set_mtime(&self, name: &[u8], mtime: Timestamp) -> io::Result<()> {
        self.calls().set_mtime_at(self.fd(), component(name)?, mtime)
    }

    /// The whole of a file, but an error (`FileTooLarge`) when it has more than `most` octets.
    pub fn read(&self, name: &[u8], most: usize) -> io::Result<Vec<u8>> {
        self.open_file(name)?.read_from(0, most)
    }

    /// Replaces `name` by a file with these octets, written as `temporary` first: readers see the old or the new
    /// one. On an error the old one stays and `temporary` is removed.
    pub fn write_replace(
        &self,
        name: &[u8],
        temporary: &[u8],
        octets: &[u8],
        sync: Durability,
    ) -> io::Result<()> {
        let write = || {
            let mut file = self.create(temporary)?;
            file.write_all(octets)?;
            if sync == Durability::OnDisk {
                file.sync_data()?;
            }
            drop(file);
            self.rename_to(temporary, self, name)
        };
        let done = write();
        if done.is_err() {
            drop(self.unlink(temporary));
        } else if sync == Durability::OnDisk {
            self.sync()?;
        }
        done
    }

    /// Adds this directory to an inotify instance; needs the owner's identity, hence here.
    pub fn watch(&self, inotify: impl AsFd, flags: WatchFlags) -> io::Result<i32> {
        self.calls().watch(inotify.as_fd(), self.fd(), flags)
    }
}
