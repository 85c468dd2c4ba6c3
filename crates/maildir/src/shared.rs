//! One message for several mailboxes: written once for each owner and file system, parsed once, and otherwise linked.
//!
//! The file that was written first stays in its `tmp` until the whole delivery is over (it is called a master here), and
//! each mailbox, the first one too, gets a link to it in its own `tmp`: from there on it is a message like any other. A
//! master is not looked for under the name that its message has got since, which a client may change at any time. After
//! a crash it is one more leftover in `tmp`.
//!
//! A link needs the same owner, the same modes and group, and a file system that can; wherever it fails, the message is
//! written. The message's inode is synced once; each mailbox syncs its own directory.

use crate::cache::record::Draft;
use crate::filename::Sizes;
use crate::place::{Dirs, MailboxPlace};
use crate::spool::{Staged, ToStored};
use culver_store::io::{File, Fs, Modes};
use culver_store::{Copies, Octets, Owner, Shared};
use std::io;
use std::sync::Arc;

/// Octets read at a time from a message that lies in a file.
const CHUNK: usize = 256 << 10;

/// What is kept between mailboxes.
#[derive(Default)]
struct Kept {
    /// Newest first: an older one may have all the links that a file can have.
    masters: Vec<Arc<Master>>,
    draft: Option<Draft>,
}

struct Master {
    owner: Option<Owner>,
    modes: Modes,
    staged: Staged,
}

/// Brings the message to the mailbox's `tmp`, synced.
pub fn stage(fs: &Fs, place: &Arc<MailboxPlace>, shared: &Shared) -> io::Result<Staged> {
    if shared.copies() == Copies::One {
        return write(fs, place, shared, None);
    }
    let dirs = Dirs::open(fs, place)?;
    let modes = dirs.mailbox.modes()?;
    let (masters, draft) = shared.keeping(|kept: &mut Kept| (kept.masters.clone(), kept.draft.clone()));
    let fitting = masters.iter().filter(|m| m.owner == place.owner && m.modes == modes);
    for master in fitting {
        if let Ok(staged) = link(fs, place, &dirs, master, draft.clone()) {
            return Ok(staged);
        }
    }
    let written = write(fs, place, shared, draft)?;
    let draft = written.draft.clone();
    let master = Arc::new(Master { owner: place.owner, modes, staged: written });
    let staged = link(fs, place, &dirs, &master, draft.clone());
    match staged {
        Ok(staged) => {
            shared.keeping(|kept: &mut Kept| {
                kept.masters.insert(0, master);
                kept.draft = kept.draft.take().or(draft);
            });
            Ok(staged)
        }
        // No links here: the master itself is the message.
        Err(e) => Arc::try_unwrap(master).map(|m| m.staged).map_err(|_| e),
    }
}

fn link(
    fs: &Fs,
    place: &Arc<MailboxPlace>,
    dirs: &Dirs<'_>,
    master: &Master,
    draft: Option<Draft>,
) -> io::Result<Staged> {
    let tmp = dirs.tmp()?;
    let from = Dirs::open(fs, &master.staged.place)?.tmp()?;
    let name = place.settings.base(Sizes::default());
    from.link_to(&master.staged.name, &tmp, &name)?;
    let file = tmp.open_file(&name).inspect_err(|_| drop(tmp.unlink(&name)))?;
    Ok(Staged { name, sizes: master.staged.sizes, file, place: place.clone(), placed: false, draft })
}

fn write(fs: &Fs, place: &Arc<MailboxPlace>, shared: &Shared, draft: Option<Draft>) -> io::Result<Staged> {
    match shared.body() {
        Octets::Memory(octets) => Staged::write_known(fs, place, shared.head(), octets, draft),
        Octets::File { file, len } => stream(fs, place, shared.head(), file, *len),
    }
}

/// A message that does not fit into memory.
fn stream(fs: &Fs, place: &Arc<MailboxPlace>, head: &[u8], file: &File, len: u64) -> io::Result<Staged> {
    let mut staged = Staged::create(fs, place)?;
    let (mut form, mut out) = (ToStored::default(), Vec::with_capacity(CHUNK + head.len()));
    form.push(head, &mut out);
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < len {
        let n = file.read_at(&mut buffer, at)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        form.push(&buffer[..n], &mut out);
        staged.file.write_all(&out)?;
        out.clear();
        at += n as u64;
    }
    form.finish(&mut out);
    staged.file.write_all(&out)?;
    staged.file.sync()?;
    staged.sizes = form.sizes();
    Ok(staged)
}
