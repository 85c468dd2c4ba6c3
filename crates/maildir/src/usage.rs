//! What an account keeps: sums of its mailboxes, opened or not.
//!
//! A mailbox in use keeps its sum with every change (`model::Names`), and the journal holds what makes it; so it is right
//! after a crash as the mailbox itself is. Of one that is not in use the ledger knows the sum and what its directories
//! looked like then; when they look otherwise, its files are counted: the names tell their sizes, or `stat` does. No
//! message is ever read for it. The ledger lies in the state folder; it is derived data, and a missing or damaged one
//! costs a listing of each mailbox.
//!
//! [`Look::Known`] adds up what is in memory. [`Look::Now`] looks at every mailbox's directories first.
//! [`Look::Recount`] believes nothing.

use crate::account::MaildirAccount;
use crate::codec::{Reader, Writer};
use crate::core::{Core, stamp};
use crate::filename::{self, Kind};
use crate::mailbox::MaildirMailbox;
use crate::maildirsize;
use crate::model::{Names, Op, Stamp, base_of, told_size};
use crate::place::MailboxPlace;
use crate::store::MaildirStore;
use crate::sync::Force;
use crate::tree::{Node, Repairs, Tree};
use culver_base::MailboxName;
use culver_quota::Usage;
use culver_store::io::{Dir, Durability, EntryKind, Fs};
use culver_store::{AccountUsage, Failure, Look, Mailbox, MailboxUsage, Place, Refusal, Result};
use parking_lot::RwLock;
use rustc_hash::FxHashSet;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The ledger's file in the account's state folder.
const NAME: &[u8] = b"usage";
const MAGIC: &[u8; 8] = b"CULVUSE1";
/// A larger one is not read: more mailboxes than anybody has.
const MOST: usize = 64 << 20;
/// A mailbox whose directories do not rest is counted so often.
const COUNTS: usize = 3;

/// What is known of one mailbox.
#[derive(Clone, Default)]
struct Line {
    usage: Usage,
    new: Stamp,
    cur: Stamp,
    /// While it is in use, its sum is there.
    live: Option<Arc<RwLock<Names>>>,
}

impl Line {
    fn now(&self) -> Usage {
        self.live.as_ref().map_or(self.usage, |names| names.read().usage())
    }
    fn is_current(&self, new: &Stamp, cur: &Stamp) -> bool {
        self.new.settled && self.new.matches(new) && self.cur.settled && self.cur.matches(cur)
    }
}

/// All mailboxes of an account.
#[derive(Default)]
pub(crate) struct Ledger {
    lines: BTreeMap<MailboxName, Line>,
    /// Was the file read?
    loaded: bool,
    /// Are all mailboxes here? Not after names have changed, or at the beginning.
    complete: bool,
    /// Limits for `maildirsize`.
    limits: Option<maildirsize::Limits>,
}

impl Ledger {
    /// A mailbox is in use now.
    pub fn opened(&mut self, name: &MailboxName, mailbox: &MaildirMailbox) {
        self.lines.entry(name.clone()).or_default().live = Some(mailbox.names.clone());
    }

    /// It is no longer.
    pub fn closed(&mut self, name: &MailboxName, core: &Core) {
        let stamps = core.model.stamps;
        let usage = core.model.names.read().usage();
        if core.gone {
            self.lines.remove(name);
        } else if let Some(line) = self.lines.get_mut(name) {
            *line = Line { usage, new: stamps.new, cur: stamps.cur, live: None };
        }
    }

    /// Mailboxes were made, removed or renamed.
    pub fn names_changed(&mut self) {
        self.complete = false;
    }

    /// For `maildirsize`.
    pub fn announce(&mut self, limits: maildirsize::Limits) {
        self.limits = Some(limits);
    }

    fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.out.extend_from_slice(MAGIC);
        w.number(self.lines.len() as u64);
        for (name, line) in &self.lines {
            w.octets(name.as_str().as_bytes());
            let usage = line.now();
            w.number(usage.storage);
            w.number(usage.messages);
            // What is in use changes without a word here.
            let stamps = if line.live.is_some() { Default::default() } else { (line.new, line.cur) };
            stamps.0.encode(&mut w);
            stamps.1.encode(&mut w);
        }
        let crc = crc32fast::hash(&w.out);
        w.out.extend_from_slice(&crc.to_le_bytes());
        w.out
    }

    fn decode(octets: &[u8]) -> Option<BTreeMap<MailboxName, Line>> {
        let (body, crc) = octets.split_at_checked(octets.len().checked_sub(4)?)?;
        if crc32fast::hash(body).to_le_bytes() != crc {
            return None;
        }
        let mut r = Reader::new(body);
        if &r.array::<8>()? != MAGIC {
            return None;
        }
        let mut lines = BTreeMap::new();
        for _ in 0..r.count(4)? {
            let name = MailboxName::new(std::str::from_utf8(r.octets()?).ok()?);
            let usage = Usage { storage: r.number()?, messages: r.number()? };
            let (new, cur) = (Stamp::decode(&mut r)?, Stamp::decode(&mut r)?);
            lines.insert(name, Line { usage, new, cur, live: None });
        }
        r.is_at_end().then_some(lines)
    }
}

/// A mailbox that is counted in a job.
struct Counted {
    name: MailboxName,
    path: Vec<u8>,
    line: Line,
    /// Was it counted anew?
    fresh: bool,
}

impl MaildirAccount {
    /// See the head of the file.
    pub(crate) async fn look_at_usage(&self, look: Look) -> Result<AccountUsage> {
        if look == Look::Known && self.ledger.lock().complete {
            return Ok(self.known_usage());
        }
        // One count at a time.
        let _turn = self.counting.lock().await;
        if look == Look::Known && self.ledger.lock().complete {
            return Ok(self.known_usage());
        }
        self.load_ledger().await;
        let before = (look == Look::Recount && self.ledger.lock().complete).then(|| self.known_usage());
        self.ledger.lock().complete = true;
        let counted = self.count_all(look).await;
        if counted.is_err() {
            self.ledger.lock().complete = false;
        }
        counted?;
        let mut now = self.known_usage();
        self.keep_ledger().await;
        self.keep_maildirsize(now.counted()).await;
        now.mistaken = before.map(|b| b.counted()).filter(|b| *b != now.counted());
        Ok(now)
    }

    fn known_usage(&self) -> AccountUsage {
        let uncounted = &self.common().settings.shared.uncounted;
        let ledger = self.ledger.lock();
        let mailboxes = ledger.lines.iter().map(|(name, line)| MailboxUsage {
            name: name.clone(),
            usage: line.now(),
            counted: !uncounted.contains(name),
        });
        AccountUsage { mailboxes: mailboxes.collect(), mistaken: None }
    }

    async fn count_all(&self, look: Look) -> Result<()> {
        let (tree, _) = self.look().await?;
        let all = tree.nodes.iter().filter(|(_, node)| **node == Node::Mailbox).map(|(name, _)| name.clone());
        let all: Vec<MailboxName> = std::iter::once(MailboxName::inbox()).chain(all).collect();
        let mut closed = Vec::new();
        for name in &all {
            if !self.count_open(name, look).await? {
                let Ok(path) = self.names().directory(name) else { continue };
                let line = match look {
                    Look::Recount => Line::default(),
                    _ => self.ledger.lock().lines.get(name).cloned().unwrap_or_default(),
                };
                closed.push(Counted { name: name.clone(), path, line, fresh: false });
            }
        }
        let counted = self
            .in_root(move |root| {
                closed.iter_mut().try_for_each(|mailbox| mailbox.count(root))?;
                Ok(closed)
            })
            .await?
            .map_err(|e| self.failure("counting the messages of a mailbox", e))?;
        let mut ledger = self.ledger.lock();
        ledger.lines.retain(|name, _| all.contains(name));
        for Counted { name, line, fresh, .. } in counted {
            let entry = ledger.lines.entry(name).or_default();
            // It may have been opened meanwhile, and then knows better.
            if fresh && entry.live.is_none() {
                *entry = line;
            }
        }
        Ok(())
    }

    /// `true`: the mailbox is in use, and its sum is as of now.
    async fn count_open(&self, name: &MailboxName, look: Look) -> Result<bool> {
        let Some(mailbox) = self.in_use(name).await else { return Ok(false) };
        let looked = match look {
            Look::Recount => mailbox.recount().await,
            _ => mailbox.refresh().await,
        };
        match looked {
            Ok(()) => {
                self.ledger.lock().opened(name, &mailbox);
                Ok(true)
            }
            Err(Failure::Refused(Refusal::MailboxGone)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn load_ledger(&self) {
        if std::mem::replace(&mut self.ledger.lock().loaded, true) {
            return;
        }
        let state = self.state_folder();
        let read = self.common().io.run(None, move |fs: &Fs| fs.open_root(&state)?.read(NAME, MOST)).await;
        let Ok(Ok(octets)) = read else { return };
        match Ledger::decode(&octets) {
            Some(lines) => {
                let mut ledger = self.ledger.lock();
                for (name, line) in lines {
                    ledger.lines.entry(name).or_insert(line);
                }
            }
            None => {
                tracing::warn!(account = %self.account(), "the sums of the mailboxes are damaged; they are counted anew");
            }
        }
    }

    /// Writes the ledger down. A failure costs a count.
    pub(crate) async fn keep_ledger(&self) {
        let octets = {
            let ledger = self.ledger.lock();
            if !ledger.complete {
                return;
            }
            ledger.encode()
        };
        {
            let mut written = self.ledger_written.lock();
            let hash = crc32fast::hash(&octets);
            if *written == Some((octets.len(), hash)) {
                return;
            }
            *written = Some((octets.len(), hash));
        }
        let state: PathBuf = self.state_folder();
        let write = move |fs: &Fs| {
            let temporary = [NAME, b".tmp"].concat();
            fs.make_root(&state)?.write_replace(NAME, &temporary, &octets, Durability::Later)
        };
        if let Ok(Err(error)) = self.common().io.run(None, write).await {
            tracing::debug!(account = %self.account(), %error, "the sums of the mailboxes are not written");
        }
    }

    /// Puts `maildirsize` right, if there is one.
    async fn keep_maildirsize(&self, usage: Usage) {
        let limits = self.ledger.lock().limits;
        let always = self.common().settings.shared.maildirsize == Maildirsize::Always;
        if self.common().settings.shared.maildirsize == Maildirsize::Never {
            return;
        }
        let control = self.control_root();
        let work = move |fs: &Fs| {
            let dir = match fs.open_root(&control) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && !always => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => fs.make_root(&control)?,
                other => other?,
            };
            let text = maildirsize::load(&dir)?;
            match &text {
                None if !always => Ok(()),
                Some(text) if maildirsize::is_right(text, limits, usage) => Ok(()),
                _ => {
                    let theirs = text.map(|text| maildirsize::read(&text).limits);
                    maildirsize::store(&dir, limits.or(theirs).unwrap_or_default(), usage)
                }
            }
        };
        if let Ok(Err(error)) = self.job(work).await {
            // Without room it cannot be; whoever reads it next finds that out by itself.
            tracing::debug!(account = %self.account(), %error, "maildirsize cannot be written for now");
        }
    }
}

impl MaildirStore {
    /// What an account keeps, for a program beside the server: nothing is opened and nothing is written. Sums of mailboxes are
    /// believed as far as the ledger can be read and their directories look as they did; the rest is counted.
    ///
    /// # Errors
    /// From the file system.
    pub async fn usage_beside(&self, place: &Place) -> Result<Usage> {
        let account = self.unopened(place);
        account.load_ledger().await;
        let lines = std::mem::take(&mut account.ledger.lock().lines);
        let (names, path) = (account.names(), place.root.clone());
        let uncounted = account.common().settings.shared.uncounted.clone();
        let work = move |fs: &Fs| {
            let root = match fs.open_root(&path) {
                // Nothing has come yet.
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Usage::default()),
                other => other?,
            };
            let tree = Tree::read(&root, names, Repairs::None)?;
            let all = tree.nodes.iter().filter(|(_, node)| **node == Node::Mailbox).map(|(name, _)| name);
            let mut sum = Usage::default();
            for name in std::iter::once(&MailboxName::inbox()).chain(all.filter(|name| !name.is_inbox())) {
                let Ok(path) = names.directory(name) else { continue };
                let line = lines.get(name).cloned().unwrap_or_default();
                let mut counted = Counted { name: name.clone(), path, line, fresh: false };
                if !uncounted.contains(name) {
                    counted.count(&root)?;
                    sum = sum.plus(counted.line.usage);
                }
            }
            Ok(sum)
        };
        let counted = self.io().run(place.owner, work).await?;
        counted.map_err(|e| account.failure("counting the messages of an account", e))
    }
}

/// Is `maildirsize` written?
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Maildirsize {
    /// Where it is found.
    #[default]
    Existing,
    /// For every account.
    Always,
    /// No: it is left to grow old.
    Never,
}

impl Counted {
    /// Counts, unless the directories look as they did.
    fn count(&mut self, root: &Dir<'_>) -> io::Result<()> {
        let dir = match root.open_dir(&self.path) {
            Ok(dir) => dir,
            // Gone meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                (self.line, self.fresh) = (Line::default(), true);
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        for _ in 0..COUNTS {
            let (new, cur) = (look_at(&dir, b"new")?, look_at(&dir, b"cur")?);
            if self.line.is_current(&new, &cur) {
                return Ok(());
            }
            self.line = Line { usage: count(&dir)?, new, cur, live: None };
            self.fresh = true;
            if look_at(&dir, b"new")?.matches(&new) && look_at(&dir, b"cur")?.matches(&cur) {
                break;
            }
            // It is counted once more; nothing of this one is believed.
            (self.line.new, self.line.cur) = Default::default();
        }
        Ok(())
    }
}

fn look_at(dir: &Dir<'_>, name: &[u8]) -> io::Result<Stamp> {
    match dir.stat(name) {
        Ok(stat) => Ok(stamp(&stat)),
        // A missing directory is an empty one, and stays so without a second look.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Stamp { settled: true, ..Stamp::default() }),
        Err(e) => Err(e),
    }
}

/// The files of a mailbox: `new` before `cur`, as a message on its way is then seen at least once; each base once.
fn count(dir: &Dir<'_>) -> io::Result<Usage> {
    let mut usage = Usage::default();
    let mut seen: FxHashSet<Box<[u8]>> = FxHashSet::default();
    for name in [&b"new"[..], b"cur"] {
        let folder = match dir.open_dir(name) {
            Ok(folder) => folder,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        for entry in folder.read_dir()?.iter() {
            if filename::kind(entry.name) != Kind::Message
                || !matches!(entry.kind, EntryKind::File | EntryKind::Unknown)
            {
                continue;
            }
            let size = match (told_size(entry.name), entry.kind) {
                (Some(size), EntryKind::File) => size,
                (told, _) => match folder.stat(entry.name) {
                    Ok(stat) if stat.kind == EntryKind::File => told.unwrap_or(stat.size),
                    _ => continue,
                },
            };
            if seen.insert(base_of(entry.name).into()) {
                usage = usage.plus(Usage { storage: size, messages: 1 });
            }
        }
    }
    Ok(usage)
}

impl MailboxPlace {
    /// Tells `maildirsize` of a change, if there is one.
    pub(crate) fn tell_maildirsize(&self, fs: &Fs, came: Usage, went: Usage) {
        let settings = &self.settings;
        let silent = settings.maildirsize == Maildirsize::Never || settings.uncounted.contains(&self.name);
        if came == went || silent {
            return;
        }
        let change = |came: u64, went: u64| {
            i64::try_from(came).unwrap_or(i64::MAX).saturating_sub(i64::try_from(went).unwrap_or(i64::MAX))
        };
        let (octets, messages) = (change(came.storage, went.storage), change(came.messages, went.messages));
        let told =
            fs.open_root(&self.control_root).and_then(|control| maildirsize::add(&control, octets, messages));
        if let Err(error) = told {
            tracing::debug!(place = %self.label(), %error, "maildirsize cannot be written for now");
        }
    }
}

impl Core {
    /// Tells `maildirsize` what one of our own verbs did.
    pub fn tell_maildirsize(&self, fs: &Fs, came: Usage, went: Usage) {
        self.place.tell_maildirsize(fs, came, went);
    }

    /// What these messages take.
    pub fn usage_of(&self, uids: impl Iterator<Item = culver_base::Uid>) -> Usage {
        let names = self.model.names.read();
        uids.filter(|uid| names.get(*uid).is_some())
            .map(|uid| Usage { storage: names.octets(uid).unwrap_or(0), messages: 1 })
            .sum()
    }

    /// Sizes that `stat` told are asked for again.
    fn recount(&mut self, fs: &Fs) -> Result<()> {
        let dirs = self.dirs(fs)?;
        let all: Vec<_> = {
            let names = self.model.names.read();
            let untold = names.iter().filter(|(_, e)| told_size(&e.name).is_none());
            untold.map(|(uid, e)| (uid, e.clone(), names.untold(uid))).collect()
        };
        let ops = all.into_iter().filter_map(|(uid, entry, known)| {
            let size = dirs.folder(entry.folder).stat(&entry.name).ok()?.size;
            (known != Some(size)).then_some(Op::Stored(uid, size))
        });
        let ops = ops.collect();
        self.commit(ops);
        Ok(())
    }
}

impl MaildirMailbox {
    /// Lists everything and asks for every size that no name tells.
    async fn recount(&self) -> Result<()> {
        self.look(Force::Scan).await?;
        self.job(|core, fs| core.recount(fs)).await??;
        self.kick().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_read_as_written_or_not_at_all() {
        let mut ledger = Ledger::default();
        for (n, name) in ["INBOX", "Sent", "a/ü"].into_iter().enumerate() {
            let at = Stamp { ino: n as u64, seconds: 7, settled: true, ..Stamp::default() };
            let usage = Usage { storage: n as u64 * 1000, messages: n as u64 };
            ledger.lines.insert(MailboxName::new(name), Line { usage, new: at, cur: at, live: None });
        }
        let octets = ledger.encode();
        let back = Ledger { lines: Ledger::decode(&octets).unwrap(), ..Ledger::default() };
        assert_eq!(back.encode(), octets);
        for i in 0..octets.len() {
            let mut bad = octets.clone();
            bad[i] ^= 0x20;
            assert!(Ledger::decode(&bad).is_none());
            assert!(Ledger::decode(&octets[..i]).is_none());
        }
    }
}
