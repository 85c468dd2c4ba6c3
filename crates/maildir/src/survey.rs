//! Looking at a tree that another server served, without changing anything: what `culver adopt --dry-run` tells, and what an
//! adoption is held to afterwards.
//!
//! One mailbox at a time, so that others have their turn in between. What is found is told in numbers; what is odd in
//! sentences for the administrator that end with what to do.
//!
//! Does not open messages, but for the first few of each mailbox, to see whether they are compressed.

use crate::compressed;
use crate::courier;
use crate::dovecot_index;
use crate::filename::{self, Kind, Letters};
use crate::import::index_dir;
use crate::keywords::{self, Keywords};
use crate::layout::Names;
use crate::place::MailboxPlace;
use crate::subscriptions;
use crate::tree::{Node, Repairs, Tree};
use crate::uidlist::{self, Health, Version};
use culver_base::{MailboxName, Uid, UidSet};
use culver_snapshot::KeywordTable;
use culver_store::io::{Dir, EntryKind, Fs};
use culver_store::{Layout, Place};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::unix::ffi::OsStrExt;

/// No larger uidlist is read.
const MAX_LIST: usize = 1 << 30;
/// No larger maildirsize: Dovecot begins anew at 5120 octets.
const MAX_SIZES: usize = 1 << 20;
/// So many messages of each mailbox are looked into.
const SAMPLE: usize = 8;

/// Who kept the UIDs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keeper {
    /// `dovecot-uidlist` of version 3.
    Dovecot,
    /// `dovecot-uidlist` of version 1.
    OldDovecot,
    /// `courierimapuiddb`.
    Courier,
    /// Nobody.
    Nobody,
}

/// The account as a whole.
#[derive(Clone, Debug)]
pub struct AccountSurvey {
    /// Its mailboxes, INBOX first. None at all: there is no mail yet.
    pub mailboxes: Vec<MailboxName>,
    /// Subscribed names.
    pub subscriptions: usize,
    /// `maildirsize`: octets and messages.
    pub usage: Option<(i64, i64)>,
    /// What the administrator should know.
    pub odd: Vec<String>,
}

/// One mailbox.
#[derive(Clone, Debug)]
pub struct MailboxSurvey {
    /// Who kept its UIDs.
    pub keeper: Keeper,
    /// UIDVALIDITY, if there is one.
    pub uid_validity: Option<u32>,
    /// Messages: bases in `new` and `cur`.
    pub messages: usize,
    /// Messages that have their UID.
    pub listed: usize,
    /// Those UIDs.
    pub uids: UidSet,
    /// Keywords with letters.
    pub keywords: usize,
    /// Keywords that only the earlier server's index has, and messages with any of them.
    pub indexed: (usize, usize),
    /// Dovecot's HIGHESTMODSEQ, or a little more.
    pub mod_seq: Option<u64>,
    /// Messages with flags that are in no file name.
    pub dirty: usize,
    /// Messages with a POP3 UIDL of their own, and with a place of their own in POP3's list.
    pub pop3: (usize, usize),
    /// What the administrator should know.
    pub odd: Vec<String>,
}

/// What is in an account, and which mailboxes.
///
/// # Errors
/// When its root cannot be read.
pub fn account(fs: &Fs, place: &Place, names: Names) -> io::Result<AccountSurvey> {
    let Some(root) = found(fs.open_root(&place.root))? else {
        let odd = "there is no mail yet: the directory is missing. If there should be some, look at the mail location";
        let (mailboxes, odd) = (Vec::new(), vec![odd.to_owned()]);
        return Ok(AccountSurvey { mailboxes, subscriptions: 0, usage: None, odd });
    };
    let mut odd = Vec::new();
    if !root.exists(b"cur")? {
        odd.push("there is no INBOX (no cur/ in the root): it will be made. If there should be one, look at the mail location".to_owned());
    }
    let tree = Tree::read(&root, names, Repairs::None)?;
    for name in &tree.hidden {
        odd.push(format!(
            "the directory {} is not a name that clients could be told: it is mended if it can be, or not shown; rename it",
            name.escape_ascii()
        ));
    }
    other_layout(&root, names.layout, &mut odd)?;
    let mut mailboxes = vec![MailboxName::inbox()];
    mailboxes.extend(tree.nodes.iter().filter(|(_, n)| **n == Node::Mailbox).map(|(n, _)| n.clone()));
    let control = match &place.control {
        None => Some(root.clone()),
        Some(path) => found(fs.open_root(path))?,
    };
    let mut subscribed = 0;
    let mut usage = None;
    if let Some(control) = &control {
        match subscriptions::load(control, names.separator()) {
            Ok(list) => subscribed = list.names().len(),
            Err(e) => odd.push(format!(
                "subscriptions cannot be read ({e}): nobody is subscribed to anything until it can"
            )),
        }
        if subscribed == 0 && !control.exists(subscriptions::NAME)? {
            subscribed = courier::subscribed(&root)?.map_or(0, |names| names.len());
        }
        usage = found(control.read(b"maildirsize", MAX_SIZES))?.and_then(|text| sizes(&text));
    }
    Ok(AccountSurvey { mailboxes, subscriptions: subscribed, usage, odd })
}

/// Does the tree look like one of the other layout?
fn other_layout(root: &Dir<'_>, layout: Layout, odd: &mut Vec<String>) -> io::Result<()> {
    let mut signs = 0;
    for entry in
        root.read_dir()?.iter().filter(|e| matches!(e.kind, EntryKind::Directory | EntryKind::Unknown))
    {
        let dotted = entry.name.starts_with(b".");
        let other = match layout {
            Layout::MaildirPlusPlus => !dotted && !matches!(entry.name, b"cur" | b"new" | b"tmp"),
            Layout::Fs => dotted,
        };
        if other && root.open_dir(entry.name).is_ok_and(|d| d.exists(b"cur").unwrap_or(false)) {
            signs += 1;
        }
    }
    if signs > 0 {
        let (is, set) = match layout {
            Layout::MaildirPlusPlus => ("fs", "fs"),
            Layout::Fs => ("maildir++", "maildir++"),
        };
        odd.push(format!(
            "{signs} directories look like mailboxes of the layout {is} and are not shown: set mail.layout = \"{set}\", or LAYOUT= in the account's mail location, if that is what Dovecot had"
        ));
    }
    Ok(())
}

/// The sum of `maildirsize`; a last line that is not complete does not count.
fn sizes(text: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(text).ok()?;
    let complete = &text[..text.rfind('\n')?];
    let mut sum = (0i64, 0i64);
    for line in complete.lines().skip(1) {
        let (octets, count) = line.trim().split_once(' ')?;
        sum.0 = sum.0.checked_add(octets.parse().ok()?)?;
        sum.1 = sum.1.checked_add(count.trim().parse().ok()?)?;
    }
    Some(sum)
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

/// What is in a mailbox.
///
/// # Errors
/// When its directories cannot be read.
pub fn mailbox(fs: &Fs, place: &MailboxPlace) -> io::Result<MailboxSurvey> {
    let root = fs.open_root(&place.root)?;
    let dir = root.open_dir(place.dir.as_os_str().as_bytes())?;
    let control = if place.control == place.root.join(&place.dir) {
        Some(dir.clone())
    } else {
        found(fs.open_root(&place.control))?
    };
    let mut odd = Vec::new();
    let files = Files::read(&dir, &mut odd)?;
    let mut survey = MailboxSurvey {
        keeper: Keeper::Nobody,
        uid_validity: None,
        messages: files.bases.len(),
        listed: 0,
        uids: UidSet::new(),
        keywords: 0,
        indexed: (0, 0),
        mod_seq: None,
        dirty: 0,
        pop3: (0, 0),
        odd,
    };
    let mut letters = Keywords::default();
    let mut has_keywords = false;
    let mut list = None;
    if let Some(control) = &control {
        if let Some((table, _)) = keywords::load(control)? {
            has_keywords = true;
            survey.keywords = (0..26).filter(|n| table.has_line(*n)).count();
            letters = table;
        }
        list = found(control.read(uidlist::NAME, MAX_LIST))?;
        locks(control, &mut survey.odd)?;
    }
    let uids = survey.take_uidlist(list, &dir, &files)?;
    let mut unlined: Vec<char> = Vec::new();
    for n in files.letters.numbers().filter(|n| !letters.has_line(*n)) {
        unlined.push(char::from(b'a' + n));
    }
    if !unlined.is_empty() {
        survey.odd.push(format!(
            "file names have letters that dovecot-keywords does not explain ({}): clients see them as unknown-N until a line says what they mean",
            unlined.iter().collect::<String>()
        ));
    }
    survey.take_index(fs, place, &dir, &letters, &uids)?;
    if !has_keywords {
        survey.take_courier(&dir, &files)?;
    }
    survey.look_for_others(&dir)?;
    Ok(survey)
}

/// The names in `new` and `cur`.
#[derive(Default)]
struct Files {
    bases: HashSet<Vec<u8>>,
    letters: Letters,
}

impl Files {
    fn read(dir: &Dir<'_>, odd: &mut Vec<String>) -> io::Result<Self> {
        let mut files = Self::default();
        let (mut double, mut without_base, mut unusable, mut directories) = (0, 0, 0, 0);
        let mut packed = 0;
        let mut looked = 0;
        for sub in [b"new", b"cur"] {
            let Some(folder) = found(dir.open_dir(sub))? else {
                odd.push(format!("the directory {} is missing: it will be made", sub.escape_ascii()));
                continue;
            };
            for entry in folder.read_dir()?.iter() {
                match filename::kind(entry.name) {
                    Kind::Hidden => continue,
                    Kind::WithoutBase => {
                        without_base += 1;
                        continue;
                    }
                    Kind::Unusable => {
                        unusable += 1;
                        continue;
                    }
                    Kind::Message => (),
                }
                let kind = match entry.kind {
                    EntryKind::Unknown => folder.stat(entry.name).map_or(EntryKind::Other, |s| s.kind),
                    kind => kind,
                };
                if kind != EntryKind::File {
                    directories += 1;
                    continue;
                }
                if sub == b"cur" {
                    let (_, letters) = filename::flags(entry.name);
                    files.letters = Letters::from_bits(files.letters.bits() | letters.bits());
                }
                if looked < SAMPLE {
                    looked += 1;
                    let mut start = [0; 8];
                    let read = folder.open_file(entry.name).and_then(|f| f.read_full_at(&mut start, 0));
                    packed += usize::from(read.is_ok_and(|n| compressed::recognise(&start[..n]).is_some()));
                }
                if !files.bases.insert(filename::base(entry.name).to_vec()) {
                    double += 1;
                }
            }
        }
        let mut tell = |n: usize, text: &str| {
            if n > 0 {
                odd.push(format!("{n} {text}"));
            }
        };
        tell(double, "files have the base name of another: each second one gets a name and a UID of its own");
        tell(without_base, "file names begin with a colon: they get a new name");
        tell(unusable, "file names hold a line break and are not shown: rename them");
        tell(directories, "things in new/ or cur/ are not files and are not shown: move them away");
        if packed > 0 {
            odd.push(format!(
                "{packed} of the first {looked} messages are compressed; they are read as they are"
            ));
        }
        Ok(files)
    }
}

/// Locks that lie there, with what they say of their holder.
fn locks(control: &Dir<'_>, odd: &mut Vec<String>) -> io::Result<()> {
    for name in [uidlist::LOCK, keywords::TEMPORARY, subscriptions::LOCK] {
        let Some(stat) = found(control.stat(name))? else { continue };
        let holder = control.read(name, 256).unwrap_or_default();
        let holder =
            if name == uidlist::LOCK { String::from_utf8_lossy(&holder).into_owned() } else { String::new() };
        let age = crate::clock::now().seconds.saturating_sub(stat.mtime.seconds);
        odd.push(format!(
            "{} is there ({age} s old{}{}): another program is at work, or died; what is stale is removed",
            name.escape_ascii(),
            if holder.is_empty() { "" } else { ", of " },
            holder.escape_debug()
        ));
    }
    Ok(())
}

impl MailboxSurvey {
    /// Gives back which base has which UID.
    fn take_uidlist(
        &mut self,
        list: Option<Vec<u8>>,
        dir: &Dir<'_>,
        files: &Files,
    ) -> io::Result<HashMap<Uid, Vec<u8>>> {
        let mut uids = HashMap::default();
        let octets = match list {
            Some(octets) => octets,
            None => match courier::uids(dir, MAX_LIST)? {
                Some(octets) => {
                    self.keeper = Keeper::Courier;
                    octets
                }
                None => {
                    if !files.bases.is_empty() {
                        self.odd.push("there is no record of UIDs (dovecot-uidlist): all messages get new ones, and clients download them once".to_owned());
                    }
                    return Ok(uids);
                }
            },
        };
        let read = uidlist::read(&octets);
        if self.keeper == Keeper::Nobody {
            self.keeper = match read.version {
                Version::One => Keeper::OldDovecot,
                Version::Three => Keeper::Dovecot,
            };
        }
        let Some(header) = &read.header else {
            self.odd.push("dovecot-uidlist has no UIDVALIDITY: all messages get new UIDs, and clients download them once. If there is a backup of the file, put it back first".to_owned());
            self.keeper = Keeper::Nobody;
            return Ok(uids);
        };
        self.uid_validity = Some(header.uid_validity.get());
        if let Health::Broken(line, what) = read.health {
            self.odd.push(format!("dovecot-uidlist is damaged (line {line}: {what}): its good lines count; it will be put aside as dovecot-uidlist.damaged and written anew"));
        }
        for entry in &read.entries {
            if files.bases.contains(entry.base) {
                uids.insert(entry.uid, entry.base.to_vec());
                self.pop3.0 += usize::from(entry.field(b'P').is_some());
                self.pop3.1 += usize::from(entry.field(b'O').is_some());
            }
        }
        let listed: HashSet<&[u8]> = uids.values().map(Vec::as_slice).collect();
        self.listed = listed.len();
        self.uids = uids.keys().copied().collect();
        if self.listed < uids.len() {
            self.odd.push(format!(
                "{} messages stand in dovecot-uidlist under two UIDs: the last one counts",
                uids.len() - self.listed
            ));
        }
        Ok(uids)
    }

    fn take_index(
        &mut self,
        fs: &Fs,
        place: &MailboxPlace,
        dir: &Dir<'_>,
        letters: &Keywords,
        uids: &HashMap<Uid, Vec<u8>>,
    ) -> io::Result<()> {
        let Some(dir) = index_dir(fs, place, dir)? else { return Ok(()) };
        if dir.exists(dovecot_index::PRIVATE)? || dir.exists(b"dovecot.index.pvt.log")? {
            self.odd.push(
                "it has a private index (\\Seen of each user of a shared mailbox), which is not taken over"
                    .to_owned(),
            );
        }
        let Some(index) = dovecot_index::load(&dir)? else { return Ok(()) };
        self.mod_seq = Some(index.mod_seq).filter(|m| *m > 0);
        let theirs = index.uid_validity.map(|v| v.get());
        if theirs.is_some() && theirs != self.uid_validity {
            self.odd.push("Dovecot's index describes a mailbox with another UIDVALIDITY; nothing but its highest mod-sequence is taken from it".to_owned());
            return Ok(());
        }
        if index.incomplete {
            self.odd.push(
                "Dovecot's index is incomplete or damaged: keywords that have no letter may be missing"
                    .to_owned(),
            );
        }
        let mut more: HashSet<String> = HashSet::default();
        for (uid, message) in &index.messages {
            let Some(uid) = Uid::new(*uid).filter(|u| uids.contains_key(u)) else { continue };
            self.dirty += usize::from(message.dirty);
            let mut any = false;
            for keyword in index.keywords_of(uid).filter(|k| letters.find(k).is_none()) {
                any = true;
                more.insert(keyword.as_str().to_ascii_lowercase());
            }
            self.indexed.1 += usize::from(any);
        }
        self.indexed.0 = more.len();
        if self.dirty > 0 {
            self.odd.push(format!("{} messages have flags that Dovecot has not written to file names (full disk?): they would be lost. Before the change: doveadm force-resync -u {} {:?}", self.dirty, place.account, place.name.as_str()));
        }
        let all = self.keywords + self.indexed.0;
        if all > KeywordTable::CAPACITY {
            self.odd.push(format!(
                "it has {all} keywords; {} can be kept, the others are lost",
                KeywordTable::CAPACITY
            ));
        }
        Ok(())
    }

    fn take_courier(&mut self, dir: &Dir<'_>, files: &Files) -> io::Result<()> {
        let theirs = courier::keywords(dir)?;
        let mut all: HashSet<String> = HashSet::default();
        for (_, keywords) in theirs.iter().filter(|(base, _)| files.bases.contains(*base)) {
            self.indexed.1 += 1;
            all.extend(keywords.iter().map(|k| k.as_str().to_ascii_lowercase()));
        }
        self.indexed.0 += all.len();
        Ok(())
    }

    fn look_for_others(&mut self, dir: &Dir<'_>) -> io::Result<()> {
        for (name, text) in [
            (
                &b"dovecot-acl"[..],
                "it has an access list (dovecot-acl), which is not looked at yet: only the owner has access",
            ),
            (
                courier::POP3,
                "Courier's list of POP3 UIDLs (courierpop3dsizelist) is not taken over: POP3 clients may download once",
            ),
        ] {
            if dir.exists(name)? {
                self.odd.push(text.to_owned());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_a_sum_of_complete_lines() {
        assert_eq!(sizes(b"1000S,5C\n300 3\n-100 -1\n7 7"), Some((200, 2)));
        assert_eq!(sizes(b"0S\n"), Some((0, 0)));
        assert_eq!(sizes(b"0S\nrubbish\n"), None);
        assert_eq!(sizes(b""), None);
    }
}
