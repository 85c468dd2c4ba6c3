//! Where a mailbox is, and what all mailboxes share.

use crate::dotlock::{Holder, LockTimes};
use crate::filename::{BaseMaker, Moment, Sizes};
use crate::usage::Maildirsize;
use crate::watch::Watcher;
use culver_base::MailboxName;
use culver_store::error::from_io;
use culver_store::io::{Dir, Fs, Io};
use culver_store::{Failure, Owner};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// When file names follow flags.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum FlagWrites {
    /// Within a second after the answer; a crash in between is made good from the journal.
    #[default]
    Lazy,
    /// Before the answer.
    Sync,
}

/// What all mailboxes of the server have in common.
pub struct MaildirSettings {
    /// When file names follow flags.
    pub flag_writes: FlagWrites,
    /// How long renames may lag behind.
    pub flag_delay: Duration,
    /// How long to wait for another program's lock before the verb is refused.
    pub lock_wait: Duration,
    /// Takes locks.
    pub locks: Holder,
    /// Makes file names.
    pub bases: BaseMaker,
    /// Is `maildirsize` written?
    pub maildirsize: Maildirsize,
    /// Mailboxes that do not count for quota.
    pub uncounted: Vec<MailboxName>,
}

impl MaildirSettings {
    /// The defaults, on the host of this name (which must be what Dovecot takes for it).
    pub fn new(host: &str) -> Self {
        Self {
            flag_writes: FlagWrites::Lazy,
            flag_delay: Duration::from_millis(500),
            lock_wait: Duration::from_secs(30),
            locks: Holder::new(host),
            bases: BaseMaker::new(std::process::id(), host),
            maildirsize: Maildirsize::Existing,
            uncounted: Vec::new(),
        }
    }

    /// A new base.
    pub fn base(&self, sizes: Sizes) -> Vec<u8> {
        let now = crate::clock::now();
        let seconds = u64::try_from(now.seconds).unwrap_or(0);
        self.bases.next(Moment { seconds, micros: now.nanoseconds / 1000 }, sizes)
    }
}

/// Where one mailbox is.
#[derive(Clone)]
pub struct MailboxPlace {
    /// The account, for logs.
    pub account: String,
    /// The mailbox's name, for logs.
    pub name: MailboxName,
    /// Whose files they are.
    pub owner: Option<Owner>,
    /// The mail root.
    pub root: PathBuf,
    /// The mailbox's directory, relative to the root; empty for the root itself.
    pub dir: PathBuf,
    /// Where `dovecot-uidlist` and `dovecot-keywords` are, absolute.
    pub control: PathBuf,
    /// The control root, absolute: where `dovecot-uidvalidity` is.
    pub control_root: PathBuf,
    /// Where Dovecot's own index of the mailbox is, absolute, if not in its directory. Only read.
    pub index: Option<PathBuf>,
    /// This mailbox's folder in the state folder, absolute.
    pub state: PathBuf,
    /// The pool of threads.
    pub io: Arc<Io>,
    /// What all mailboxes share.
    pub settings: Arc<MaildirSettings>,
    /// Hears of changes from outside.
    pub watcher: Arc<Watcher>,
}

impl MailboxPlace {
    /// For logs and faults.
    pub fn label(&self) -> String {
        format!("{} {}", self.account, self.name)
    }

    /// What an error means to the one who asked.
    pub fn failure(&self, doing: &'static str, cause: io::Error) -> Failure {
        from_io(doing, &self.label(), cause)
    }
}

/// A mailbox's directories, open within a job.
pub struct Dirs<'fs> {
    /// The mailbox's own.
    pub mailbox: Dir<'fs>,
    /// `new`
    pub new: Dir<'fs>,
    /// `cur`
    pub cur: Dir<'fs>,
    /// Where uidlist and keywords are.
    pub control: Dir<'fs>,
}

impl<'fs> Dirs<'fs> {
    /// Opens them; `new` and `cur` are made when they are missing. `NotFound`: the mailbox is not there.
    pub fn open(fs: &'fs Fs, place: &MailboxPlace) -> io::Result<Self> {
        let (root, mailbox) = Self::open_mailbox(fs, place)?;
        let control = control_of(fs, place, &root, &mailbox)?;
        Ok(Self { new: mailbox.make_dir(b"new")?, cur: mailbox.make_dir(b"cur")?, mailbox, control })
    }

    /// Only where uidlist and keywords are.
    pub fn open_control(fs: &'fs Fs, place: &MailboxPlace) -> io::Result<Dir<'fs>> {
        let (root, mailbox) = Self::open_mailbox(fs, place)?;
        control_of(fs, place, &root, &mailbox)
    }

    /// The account's root and the mailbox's own directory.
    pub fn open_mailbox(fs: &'fs Fs, place: &MailboxPlace) -> io::Result<(Dir<'fs>, Dir<'fs>)> {
        let root = fs.open_root(&place.root)?;
        let mailbox = match place.dir.as_os_str().as_bytes() {
            b"" => root.clone(),
            below => root.open_dir(below)?,
        };
        Ok((root, mailbox))
    }

    /// `tmp`, made when it is missing.
    pub fn tmp(&self) -> io::Result<Dir<'fs>> {
        self.mailbox.make_dir(b"tmp")
    }

    /// `new` or `cur`.
    pub fn folder(&self, folder: crate::model::Folder) -> &Dir<'fs> {
        match folder {
            crate::model::Folder::New => &self.new,
            crate::model::Folder::Cur => &self.cur,
        }
    }
}

fn control_of<'fs>(
    fs: &'fs Fs,
    place: &MailboxPlace,
    root: &Dir<'fs>,
    mailbox: &Dir<'fs>,
) -> io::Result<Dir<'fs>> {
    if place.control.as_os_str().is_empty() || place.control == place.root.join(&place.dir) {
        Ok(mailbox.clone())
    } else if let Ok(below) = place.control.strip_prefix(&place.root) {
        open_or_make(root, below.as_os_str().as_bytes())
    } else {
        fs.make_root(&place.control)
    }
}

fn open_or_make<'fs>(root: &Dir<'fs>, path: &[u8]) -> io::Result<Dir<'fs>> {
    match root.open_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => (),
        other => return other,
    }
    let mut at = root.open_dir(b"")?;
    for part in path.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
        at = at.make_dir(part)?;
    }
    Ok(at)
}

/// Patience with another program's `dovecot-uidlist.lock`; we come back rather than block a thread.
pub fn uidlist_lock() -> crate::dotlock::Lock<'static> {
    crate::dotlock::Lock { times: LockTimes::UIDLIST, ..crate::dotlock::UIDLIST }
}
