//! Making, deleting and renaming mailboxes' directories: the jobs, run as the account's owner.
//!
//! What was begun and failed is taken back as far as the disk allows. A deletion first renames (to a name that is no
//! mailbox), so that it is done at once for all; what is left of it after a crash is removed by a later LIST.

use crate::layout::Names;
use culver_store::Layout;
use culver_store::io::{Dir, EntryKind, Modes};
use std::io;

/// Dovecot's template for modes and group, copied from the root into new mailboxes.
const SHARED: &[u8] = b"dovecot-shared";
/// Marks a directory as part of a maildir++ tree.
const MARKER: &[u8] = b"maildirfolder";
const PARTS: [&[u8]; 3] = [b"tmp", b"new", b"cur"];

/// Opens a directory below, or makes it with those above it.
pub fn make_path<'fs>(root: &Dir<'fs>, path: &[u8]) -> io::Result<Dir<'fs>> {
    let mut at = root.open_dir(b"")?;
    for part in path.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
        at = at.make_dir(part)?;
    }
    Ok(at)
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

/// Makes `tmp`, `new` and `cur` of INBOX.
pub fn make_inbox(root: &Dir<'_>) -> io::Result<()> {
    PARTS.iter().try_for_each(|part| root.make_dir(part).map(drop))
}

/// Makes a mailbox at `path`. [`io::ErrorKind::AlreadyExists`] when there is one.
pub fn create(root: &Dir<'_>, path: &[u8], names: Names) -> io::Result<()> {
    let (above, name) = split(path);
    let shared = root.read(SHARED, 1 << 16).ok().and_then(|text| Some((text, root.stat(SHARED).ok()?)));
    let parent = make_path(root, above)?;
    if let Some((_, stat)) = &shared {
        parent.use_modes(Modes::like(stat));
    }
    let (dir, made) = match parent.mkdir(name) {
        Ok(()) => {
            let made = parent.open_dir(name);
            if made.is_err() {
                drop(parent.rmdir(name));
            }
            (made?, true)
        }
        // In fs it may be a level without a mailbox so far.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && names.layout == Layout::Fs => {
            let dir = parent.open_dir(name)?;
            if dir.exists(b"cur")? {
                return Err(e);
            }
            (dir, false)
        }
        Err(e) => return Err(e),
    };
    let fill = || -> io::Result<()> {
        if names.layout == Layout::MaildirPlusPlus {
            dir.create(MARKER)?;
        }
        if let Some((text, stat)) = &shared {
            dir.use_modes(Modes::like(stat));
            dir.create(SHARED)?.write_all(text)?;
        }
        PARTS.iter().try_for_each(|part| dir.make_dir(part).map(drop))
    };
    // An acknowledged message is not to be lost with the mailbox around it.
    let done = fill().and_then(|()| parent.sync());
    if done.is_err() && made {
        drop(parent.remove_tree(name));
    }
    done
}

/// What a deletion did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deleted {
    /// The mailbox is gone.
    Done,
    /// There was no mailbox, only a level with others below.
    OnlyLevel,
    /// There was nothing.
    Nothing,
}

/// Deletes the mailbox at `path`, not those below it.
pub fn delete(root: &Dir<'_>, path: &[u8], names: Names) -> io::Result<Deleted> {
    let (above, name) = split(path);
    let parent = match root.open_dir(above) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Deleted::Nothing),
        other => other?,
    };
    let trash = names.trash();
    root.remove_tree(trash)?;
    if names.layout == Layout::MaildirPlusPlus {
        return match parent.rename_to(name, root, trash) {
            Ok(()) => {
                // It is gone for all; what remains of it is removed by a later LIST.
                drop(root.sync());
                if let Err(e) = root.remove_tree(trash) {
                    tracing::warn!("what was deleted cannot be removed for now: {e}");
                }
                Ok(Deleted::Done)
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Deleted::Nothing),
            Err(e) => Err(e),
        };
    }
    let dir = match parent.open_dir(name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Deleted::Nothing),
        other => other?,
    };
    if !dir.exists(b"cur")? {
        // A level: it goes only when nothing is below.
        return match parent.rmdir(name) {
            Ok(()) => Ok(Deleted::Done),
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(Deleted::OnlyLevel),
            Err(e) => Err(e),
        };
    }
    // Mailboxes below are directories in this one; they stay. `cur` goes first: then it is a mailbox no more.
    let bin = root.make_dir(trash)?;
    for part in PARTS.iter().rev() {
        match dir.rename_to(part, &bin, part) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => (),
        }
    }
    for entry in dir.read_dir()?.iter() {
        let is_directory = match entry.kind {
            EntryKind::Unknown => dir.stat(entry.name).is_ok_and(|s| s.kind == EntryKind::Directory),
            kind => kind == EntryKind::Directory,
        };
        if !is_directory {
            dir.unlink(entry.name)?;
        }
    }
    root.remove_tree(trash)?;
    // Fails, and shall fail, when others are below. Levels above that hold nothing any more are of no use to anybody.
    let mut path = path;
    while !path.is_empty() {
        let (above, name) = split(path);
        if root.open_dir(above).and_then(|d| d.rmdir(name)).is_err() {
            break;
        }
        path = above;
    }
    Ok(Deleted::Done)
}

/// Removes what a mailbox had in a control root of its own.
pub fn delete_control(control: &Dir<'_>, path: &[u8]) -> io::Result<()> {
    let (above, name) = split(path);
    let dir = match control.open_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in dir.read_dir()?.iter().filter(|e| e.kind != EntryKind::Directory) {
        dir.unlink(entry.name)?;
    }
    drop(control.open_dir(above)?.rmdir(name));
    Ok(())
}

/// Renames directories, all or none, and on disk when it returns: pairs of old and new path. A new path that is taken is
/// [`io::ErrorKind::AlreadyExists`]; an old one that is missing is passed over.
pub fn rename(root: &Dir<'_>, pairs: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
    let mut done = 0;
    let mut rename_all = || {
        for (from, to) in pairs {
            rename_one(root, from, to)?;
            done += 1;
        }
        let mut above: Vec<&[u8]> = pairs.iter().map(|(_, to)| split(to).0).collect();
        above.dedup();
        above.into_iter().try_for_each(|path| match root.open_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other?.sync(),
        })
    };
    match rename_all() {
        Ok(()) => Ok(()),
        Err(e) => {
            for (from, to) in pairs[..done].iter().rev() {
                if let Err(e) = rename_one(root, to, from) {
                    tracing::error!(
                        from = %to.escape_ascii(), to = %from.escape_ascii(),
                        "a directory that was renamed cannot be renamed back: {e}; do it by hand"
                    );
                }
            }
            Err(e)
        }
    }
}

fn rename_one(root: &Dir<'_>, from: &[u8], to: &[u8]) -> io::Result<()> {
    let ((from_above, from_name), (to_above, to_name)) = (split(from), split(to));
    let from_dir = match root.open_dir(from_above) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let to_dir = make_path(root, to_above)?;
    match from_dir.rename_new(from_name, &to_dir, to_name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        // An empty level may be replaced.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && to_dir.rmdir(to_name).is_ok() => {
            from_dir.rename_new(from_name, &to_dir, to_name)
        }
        other => other,
    }
}
