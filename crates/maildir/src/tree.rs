//! Which mailboxes an account has: the directories of its mail root, read once and believed while no directory has
//! changed.
//!
//! A directory is unchanged if its mtime is the same *and* it was read more than a second after that mtime (file
//! systems keep coarse times). Symbolic links are not followed, here as everywhere below the mail root: a user could
//! point them at anything. A name that is not valid modified UTF-7 is renamed to a valid one, as Dovecot does; what
//! cannot be shown at all is logged and left alone.
//!
//! In maildir++ each directory `.NAME` of the root is a mailbox, also if it has no `cur` yet; in fs a directory is one
//! if it has a `cur`, otherwise it is a level.

use crate::clock;
use crate::layout::{MAX_LEVELS, Names};
use culver_base::MailboxName;
use culver_store::Layout;
use culver_store::io::{Dir, EntryKind, Timestamp};
use std::collections::BTreeMap;
use std::io;

/// Rubbish of an interrupted deletion is removed when it is older.
const TRASH_AGE_SECONDS: i64 = 3600;

/// Is there a mailbox, or only a level with others below?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Node {
    /// It can be selected.
    Mailbox,
    /// A level: a plain directory (fs), or nothing at all (maildir++).
    Level,
}

/// An account's mailboxes at one moment.
#[derive(Clone, Default, Debug)]
pub struct Tree {
    /// All but INBOX itself, with the levels above them.
    pub nodes: BTreeMap<MailboxName, Node>,
    /// Directories that would be mailboxes but for their names, relative to the root.
    pub hidden: Vec<Vec<u8>>,
    stamps: Vec<(Vec<u8>, Timestamp)>,
    read_at: Timestamp,
}

/// May the tree be put in order while it is read?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Repairs {
    /// Invalid names are mended, old rubbish is removed.
    Make,
    /// Nothing on disk is changed. Mailboxes whose names would be mended are left out.
    None,
}

impl Tree {
    /// Reads the directories.
    pub fn read(root: &Dir<'_>, names: Names, repairs: Repairs) -> io::Result<Self> {
        let mut tree = Self { read_at: clock::now(), ..Self::default() };
        match names.layout {
            Layout::MaildirPlusPlus => tree.read_plus_plus(root, names, repairs)?,
            Layout::Fs => tree.read_fs(root, names, repairs)?,
        }
        let found: Vec<MailboxName> = tree.nodes.keys().cloned().collect();
        for name in found {
            let mut above = name.parent();
            while let Some(level) = above.filter(|l| !l.is_inbox() && !l.as_str().is_empty()) {
                above = level.parent();
                tree.nodes.entry(level).or_insert(Node::Level);
            }
        }
        Ok(tree)
    }

    /// Is it still true?
    pub fn is_current(&self, root: &Dir<'_>) -> bool {
        !self.stamps.is_empty()
            && self.stamps.iter().all(|(path, mtime)| {
                let stat = if path.is_empty() {
                    root.stat_self()
                } else {
                    root.open_dir(path).and_then(|d| d.stat_self())
                };
                stat.is_ok_and(|s| s.mtime == *mtime) && self.read_at.seconds > mtime.seconds + 1
            })
    }

    /// Is there a mailbox of this name (INBOX apart)?
    pub fn has_mailbox(&self, name: &MailboxName) -> bool {
        self.nodes.get(name) == Some(&Node::Mailbox)
    }

    /// All below a name.
    pub fn below<'a>(&'a self, name: &'a MailboxName) -> impl Iterator<Item = (&'a MailboxName, Node)> {
        self.nodes.iter().filter(|(n, _)| n.is_below(name)).map(|(n, node)| (n, *node))
    }

    fn hide(&mut self, name: &[u8], repairs: Repairs) {
        if repairs == Repairs::Make {
            warn_hidden(name);
        }
        self.hidden.push(name.to_vec());
    }

    fn read_plus_plus(&mut self, root: &Dir<'_>, names: Names, repairs: Repairs) -> io::Result<()> {
        self.stamps.push((Vec::new(), root.stat_self()?.mtime));
        for entry in root.read_dir()?.iter() {
            if !entry.name.starts_with(b".") || !is_directory(root, entry.name, entry.kind) {
                continue;
            }
            if entry.name == names.trash() {
                if repairs == Repairs::Make {
                    remove_old_trash(root, entry.name);
                }
                continue;
            }
            let shown = match names.of_directory(entry.name) {
                None => continue,
                Some(Some(name)) => Some(name),
                Some(None) if repairs == Repairs::None => None,
                Some(None) => repair(root, entry.name, names, b'.'),
            };
            match shown {
                Some(name) => {
                    self.nodes.insert(name, Node::Mailbox);
                }
                None => self.hide(entry.name, repairs),
            }
        }
        Ok(())
    }

    fn read_fs(&mut self, root: &Dir<'_>, names: Names, repairs: Repairs) -> io::Result<()> {
        // Directories still to be read: path, and its levels.
        let mut todo: Vec<(Vec<u8>, usize)> = vec![(Vec::new(), 0)];
        while let Some((path, depth)) = todo.pop() {
            let dir = match root.open_dir(&path) {
                Ok(dir) => dir,
                // Gone, or not for us.
                Err(_) if depth > 0 => continue,
                Err(e) => return Err(e),
            };
            self.stamps.push((path.clone(), dir.stat_self()?.mtime));
            let mut node = Node::Level;
            for entry in dir.read_dir()?.iter() {
                if !is_directory(&dir, entry.name, entry.kind) {
                    continue;
                }
                match entry.name {
                    b"cur" => node = Node::Mailbox,
                    b"new" | b"tmp" => (),
                    name if depth == 0 && name == names.trash() => {
                        if repairs == Repairs::Make {
                            remove_old_trash(root, name);
                        }
                    }
                    _ if depth == MAX_LEVELS => self.hide(entry.name, repairs),
                    name => {
                        let mut own = name.to_vec();
                        if repairs == Repairs::Make
                            && let Some(better) = names.repaired_level(name)
                            && dir.rename_new(name, &dir, &better).is_ok()
                        {
                            own = better;
                        }
                        let below = if path.is_empty() { own } else { [&path[..], b"/", &own].concat() };
                        todo.push((below, depth + 1));
                    }
                }
            }
            if depth == 0 {
                continue;
            }
            match names.shown(path.split(|b| *b == b'/')) {
                Some(name) if !name.is_inbox() => {
                    self.nodes.insert(name, node);
                }
                // The directory above INBOX's children.
                Some(_) => (),
                None if node == Node::Mailbox => self.hide(&path, repairs),
                None => (),
            }
        }
        Ok(())
    }
}

fn is_directory(dir: &Dir<'_>, name: &[u8], kind: EntryKind) -> bool {
    match kind {
        EntryKind::Unknown => dir.stat(name).is_ok_and(|s| s.kind == EntryKind::Directory),
        kind => kind == EntryKind::Directory,
    }
}

/// Renames a directory with an invalid name to a valid one, if that is free.
fn repair(root: &Dir<'_>, entry: &[u8], names: Names, separator: u8) -> Option<MailboxName> {
    let levels = entry.get(1..)?.split(|b| *b == separator);
    let better: Vec<Vec<u8>> =
        levels.map(|l| names.repaired_level(l).unwrap_or_else(|| l.to_vec())).collect();
    let better = [b".".as_slice(), &better.join(&separator)].concat();
    let name = names.of_directory(&better)??;
    (better != entry && root.rename_new(entry, root, &better).is_ok()).then_some(name)
}

fn remove_old_trash(root: &Dir<'_>, name: &[u8]) {
    if root.stat(name).is_ok_and(|s| clock::now().seconds - s.ctime.seconds > TRASH_AGE_SECONDS)
        && let Err(e) = root.remove_tree(name)
    {
        tracing::warn!(directory = %name.escape_ascii(), "what was deleted cannot be removed: {e}");
    }
}

fn warn_hidden(name: &[u8]) {
    tracing::warn!(
        directory = %name.escape_ascii(),
        "this directory is not shown as a mailbox: its name is not one that a client could be told; rename it"
    );
}
