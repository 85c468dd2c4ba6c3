//! The writer's side of a mailbox: what exactly one job at a time holds.
//!
//! Every verb locks the [`Core`], moves it into a job of the pool, works there with plain blocking code, and gives it
//! back. So a verb whose caller goes away in the middle is finished all the same, and nothing here has to be written
//! twice for async.
//!
//! [`Core::commit`] is the only way to change something: journal first, then the model, then everybody is told.

use crate::cache::Cache;
use crate::filename::{self, Letters};
use crate::keywords::{self, Keywords};
use crate::list::{List, Reserves};
use crate::model::{Change, Entry, Folder, Model, NameState, Op, Stamp};
use crate::place::{Dirs, MailboxPlace};
use crate::state::State;
use culver_base::{Keyword, SystemFlags, Uid};
use culver_snapshot::{Flags, KeywordBits, Snapshot};
use culver_store::io::{Durability, EntryKind, Fs, Stat, Timestamp};
use culver_store::{Failure, Refusal};
use rustc_hash::FxHashMap;
use std::cell::Cell;
use std::io;
use std::sync::Arc;
use tokio::sync::watch;

/// See [`Core::waits_for_letters`].
const UNLINED_LOOKS: u8 = 5;

/// Result within the engine.
pub type Result<T> = culver_store::Result<T>;

/// See the head of the file.
pub struct Core {
    /// Where it is.
    pub place: Arc<MailboxPlace>,
    /// What is known.
    pub model: Model,
    /// Checkpoint and journal.
    pub state: State,
    /// What is known of messages beyond their records.
    pub cache: Arc<Cache>,
    /// `dovecot-uidlist` as last seen.
    pub list: List,
    /// `dovecot-keywords` as last seen.
    pub letters: Keywords,
    /// Its stamp; `None` before it was first read.
    pub letters_stamp: Option<Stamp>,
    /// How often `dovecot-keywords` is still looked at for a letter that it did not have.
    pub unlined: Cell<u8>,
    /// Something was seen that only a scan can explain.
    pub doubt: bool,
    /// Names changed, by us or by others, since the directory was last synced.
    pub renamed: bool,
    /// The power went, and the disk was not looked at since: what seems to be another program's rename may be one of ours
    /// that was lost.
    pub names_lost: bool,
    /// Do events tell of every change from outside?
    pub watched: bool,
    /// While watched: further names of messages (a rename by link and unlink shows both for a moment).
    pub extra_names: FxHashMap<Uid, Vec<Entry>>,
    /// While watched: messages whose last name was moved away, and since when.
    pub limbo: FxHashMap<Uid, std::time::Instant>,
    /// What the last look saw of `new` and `cur`, while files that it found wait for their UIDs.
    pub awaiting: Option<(Stamp, Stamp)>,
    /// Files were found that have no UID yet, by whoever is about to give them one. If he was dropped in between, they are
    /// looked for again.
    pub unfinished: bool,
    /// Was the disk looked at since it was opened?
    pub looked: bool,
    /// How often the disk was looked at.
    pub looks: u64,
    /// How often directories were listed.
    pub listings: u64,
    /// Was nothing known of it before it was opened now? Then there may be something to import.
    pub fresh: bool,
    /// Was its UIDVALIDITY made up when it was opened now?
    pub made_up: bool,
    /// Are UIDs written down before they are given?
    pub reserves: Reserves,
    /// Is the mailbox gone?
    pub gone: bool,
    /// New UIDs from here on if the last stop was not in order; 0 otherwise.
    pub uid_floor: u32,
    /// Sessions hear of snapshots here.
    pub tell: watch::Sender<Arc<Snapshot>>,
}

/// What `stat` told, as it is kept.
pub fn stamp(stat: &Stat) -> Stamp {
    let now = crate::clock::now();
    let settled = (now.seconds, now.nanoseconds) > (stat.mtime.seconds + 1, stat.mtime.nanoseconds);
    Stamp {
        ino: stat.ino,
        size: if stat.kind == EntryKind::Directory { 0 } else { stat.size },
        seconds: stat.mtime.seconds,
        nanoseconds: stat.mtime.nanoseconds,
        settled,
    }
}

impl Stamp {
    /// The same thing, unchanged as far as its times can tell?
    pub fn matches(&self, now: &Self) -> bool {
        (self.ino, self.size, self.seconds, self.nanoseconds)
            == (now.ino, now.size, now.seconds, now.nanoseconds)
    }
}

impl Core {
    /// The account and mailbox, for logs.
    pub fn label(&self) -> String {
        self.place.label()
    }

    /// An error of the system in a verb.
    pub fn failure(&self, doing: &'static str, cause: io::Error) -> Failure {
        self.place.failure(doing, cause)
    }

    /// Has it something that an event or a look must settle?
    pub fn needs_care(&self) -> bool {
        self.doubt || self.unfinished || !self.limbo.is_empty() || self.waits_for_letters()
    }

    /// Refuses everything once the mailbox is gone.
    pub fn check_here(&self) -> Result<()> {
        if self.gone { Err(Refusal::MailboxGone.into()) } else { Ok(()) }
    }

    /// Opens the directories; when they are not there the mailbox is gone.
    pub fn dirs<'fs>(&mut self, fs: &'fs Fs) -> Result<Dirs<'fs>> {
        self.check_here()?;
        match Dirs::open(fs, &self.place) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // A second look, since somebody may just be putting another directory in its place. A missing root
                // is not a missing mailbox: it may be a home that is not mounted.
                match Dirs::open(fs, &self.place) {
                    Err(e)
                        if e.kind() == io::ErrorKind::NotFound && fs.open_root(&self.place.root).is_ok() =>
                    {
                        self.leave();
                        Err(Refusal::MailboxGone.into())
                    }
                    other => other.map_err(|e| self.failure("opening the mailbox", e)),
                }
            }
            other => other.map_err(|e| self.failure("opening the mailbox", e)),
        }
    }

    /// The mailbox is gone: the last snapshot says so.
    pub fn leave(&mut self) {
        if !std::mem::replace(&mut self.gone, true) {
            self.model.snapshot = Arc::new(self.model.snapshot.edit().gone());
            self.tell.send_replace(self.model.snapshot.clone());
        }
    }

    /// Makes a change: journal, model, news.
    pub fn commit(&mut self, ops: Vec<Op>) {
        if ops.is_empty() || self.gone {
            return;
        }
        let arrivals = ops.iter().filter(|op| matches!(op, Op::Arrive(..))).count();
        let mut all = self.state.preface(&self.model, u32::try_from(arrivals).unwrap_or(u32::MAX));
        all.extend(ops);
        let change = Change::from(all);
        let before = self.model.snapshot.highest_mod_seq;
        self.state.append(before, &change, &self.place.label());
        if self.model.apply(&change) {
            self.tell.send_replace(self.model.snapshot.clone());
        }
    }

    // ---- keywords and names ------------------------------------------------------------------------------------

    /// Reads `dovecot-keywords` if it changed.
    pub fn read_letters(&mut self, dirs: &Dirs<'_>) -> io::Result<()> {
        let now = match dirs.control.stat(keywords::NAME) {
            Ok(stat) => stamp(&stat),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Stamp::default(),
            Err(e) => return Err(e),
        };
        self.unlined.set(self.unlined.get().saturating_sub(1));
        if self.letters_stamp.is_some_and(|s| s.matches(&now)) {
            return Ok(());
        }
        let (table, seen) = match keywords::load(&dirs.control)? {
            Some((table, stat)) => (table, stamp(&stat)),
            None => (Keywords::default(), Stamp::default()),
        };
        self.letters = table;
        self.letters_stamp = Some(seen);
        self.name_unknown_letters();
        Ok(())
    }

    /// Another program renames a file first and writes what its new letter means a moment later. Until then the
    /// keyword was called `unknown-7`; now it has its name.
    fn name_unknown_letters(&mut self) {
        let table = &self.model.snapshot.keywords;
        let (mut added, mut renamed) = (Vec::new(), Vec::new());
        for keyword in table.names() {
            let number =
                keyword.as_str().strip_prefix("unknown-").and_then(|n| n.trim_end_matches('?').parse().ok());
            let Some(name) = number.and_then(|n: u8| self.letters.name(n)).filter(|n| n != keyword) else {
                continue;
            };
            let old = table.find(keyword).unwrap_or_default();
            if let Some(new) = self.model.keyword_bit(&name, &mut added) {
                renamed.push((old, new));
            }
        }
        let mut ops: Vec<Op> = Vec::new();
        if !renamed.is_empty() {
            let names = self.model.names.read();
            for r in self.model.snapshot.iter() {
                let mut flags = r.flags;
                for (old, new) in &renamed {
                    if flags.keywords.0 & old.0 != 0 {
                        flags.keywords.0 = flags.keywords.0 & !old.0 | new.0;
                    }
                }
                if let Some(entry) = names.get(r.uid).filter(|_| flags != r.flags) {
                    let state = if self.model.behind.contains(&r.uid) {
                        NameState::Behind
                    } else {
                        NameState::Current
                    };
                    ops.push(Op::Flags(r.uid, flags));
                    ops.push(Op::Placed(r.uid, entry.clone(), state));
                }
            }
        }
        if !ops.is_empty() {
            self.commit(keyword_ops(added).chain(ops).collect());
        }
    }

    /// Was a letter seen of late whose meaning was not yet written down? Asked a few times after each.
    pub fn waits_for_letters(&self) -> bool {
        self.unlined.get() > 0
    }

    /// Flags that a name tells. Keywords that are new are put to `added`, whose steps the caller commits first.
    pub fn flags_of(&self, name: &[u8], added: &mut Vec<Keyword>) -> Flags {
        let (system, letters) = filename::flags(name);
        let mut bits = 0;
        if letters != Letters::NONE {
            for keyword in self.letters.names(letters) {
                if keyword.as_str().starts_with("unknown-") {
                    self.unlined.set(UNLINED_LOOKS);
                }
                bits |= self.model.keyword_bit(&keyword, added).map_or(0, |b| b.0);
            }
        }
        Flags { system, keywords: KeywordBits(bits) }
    }

    /// The letters that a message's name should have. Those whose keyword we have no bit for stay.
    fn letters_for(&self, old: &[u8], flags: Flags) -> Letters {
        let (_, had) = filename::flags(old);
        let mut letters = Letters::NONE;
        for n in had.numbers() {
            let known = self.letters.name(n).and_then(|k| self.model.snapshot.keywords.find(&k));
            if known.is_none() {
                letters = letters.with(n);
            }
        }
        for keyword in self.model.snapshot.keywords.of(flags.keywords) {
            if let Some(n) = self.letters.find(keyword).or_else(|| unknown_letter(&self.letters, keyword)) {
                letters = letters.with(n);
            }
        }
        letters
    }

    /// The name in `cur` that a message with these flags should have.
    pub fn name_for(&self, old: &[u8], flags: Flags) -> Vec<u8> {
        filename::with_flags(old, flags.system, self.letters_for(old, flags))
    }

    /// What a file is to be renamed to for its message to show these flags; `None` when its name does.
    pub fn rename_for(&self, entry: &Entry, flags: Flags) -> Option<Entry> {
        let letters = self.letters_for(&entry.name, flags);
        let shown = match entry.folder {
            // Names in `new` have no flags, whatever somebody may have written there.
            Folder::New => (SystemFlags::NONE, Letters::NONE),
            Folder::Cur => filename::flags(&entry.name),
        };
        if shown == (flags.system, letters) {
            return None;
        }
        let name = filename::with_flags(&entry.name, flags.system, letters);
        Some(Entry { name: name.into(), folder: Folder::Cur })
    }

    /// Is a rename due? Also for a keyword that has no letter yet but can get one.
    pub fn name_state(&self, entry: &Entry, flags: Flags) -> NameState {
        if self.rename_for(entry, flags).is_some() || self.lacks_letter(flags) {
            NameState::Behind
        } else {
            NameState::Current
        }
    }

    fn lacks_letter(&self, flags: Flags) -> bool {
        let mut keywords = self.model.snapshot.keywords.of(flags.keywords);
        keywords.any(|k| {
            self.letters.find(k).is_none()
                && unknown_letter(&self.letters, k).is_none()
                && self.letters.clone().find_or_add(k).is_some()
        })
    }

    /// Letters for keywords that have none yet, written to `dovecot-keywords`. The caller holds the lock. A failure
    /// to write is not one of the verb: the keywords then live in the index.
    pub fn add_letters(&mut self, dirs: &Dirs<'_>, keywords: &[Keyword]) {
        if self.read_letters(dirs).is_err() {
            return;
        }
        let mut table = self.letters.clone();
        let mut grown = false;
        for k in keywords {
            if table.find(k).is_none() && unknown_letter(&table, k).is_none() {
                grown |= table.find_or_add(k).is_some();
            }
        }
        if !grown {
            return;
        }
        let previous = self.letters_stamp.filter(|s| s.ino != 0);
        let previous = previous.map(|s| Timestamp { seconds: s.seconds, nanoseconds: s.nanoseconds });
        // Before a name has the letter: without its line it would mean nothing, or later another keyword.
        match keywords::store(&dirs.control, &table, previous, Durability::OnDisk) {
            Ok(stat) => {
                self.letters = table;
                self.letters_stamp = Some(stamp(&stat));
            }
            Err(error) => {
                tracing::warn!(place = %self.label(), %error, "dovecot-keywords cannot be written; new keywords are kept in the index only");
            }
        }
    }

    /// Three-way merge: `old` is the name that we knew, `new` the one that another program gave it. What it changed
    /// counts; what it left alone stays as our record has it, renamed already or not.
    pub fn merged(&self, old: &[u8], new: &[u8], ours: Flags, added: &mut Vec<Keyword>) -> Flags {
        let before = self.flags_of(old, added);
        let after = self.flags_of(new, added);
        let changed = before.system.bits() ^ after.system.bits();
        let system = (ours.system.bits() & !changed) | (after.system.bits() & changed);
        let changed = before.keywords.0 ^ after.keywords.0;
        let keywords = (ours.keywords.0 & !changed) | (after.keywords.0 & changed);
        Flags { system: SystemFlags::from_bits(system), keywords: KeywordBits(keywords) }
    }

    /// The steps for a message that another program renamed.
    pub fn moved(&self, uid: Uid, entry: Entry, added: &mut Vec<Keyword>, ops: &mut Vec<Op>) {
        let names = self.model.names.read();
        let (Some(known), Some(record)) = (names.get(uid), self.model.snapshot.by_uid(uid)) else { return };
        let mut flags = self.merged(&known.name, &entry.name, record.flags, added);
        if self.names_lost {
            // They may have been known for longer than they had letters.
            flags.keywords.0 |= record.flags.keywords.0;
        }
        if flags != record.flags {
            ops.push(Op::Flags(uid, flags));
        }
        let state = self.name_state(&entry, flags);
        ops.push(Op::Placed(uid, entry, state));
    }
}

/// `unknown-7` stands for the letter 7 that has no line: the way back from what [`Keywords::name`] makes up.
fn unknown_letter(table: &Keywords, keyword: &Keyword) -> Option<u8> {
    let text = keyword.as_str().trim_end_matches('?');
    let n: u8 = text.strip_prefix("unknown-")?.parse().ok()?;
    (n < 26 && table.name(n).as_ref() == Some(keyword)).then_some(n)
}

/// Steps for new keywords, which come before those that use them.
pub fn keyword_ops(added: Vec<Keyword>) -> impl Iterator<Item = Op> {
    added.into_iter().map(Op::Keyword)
}
