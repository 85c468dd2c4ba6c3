//! Writes mail into a Maildir, as a server that delivered it would have named it.
//!
//! What is written belongs to whom the Maildir's folder belongs to. Nothing is synced to disk: it is test data. Folders are
//! named as Maildir++ does (`.Name` below the root).

use crate::mail;
use anyhow::{Context, Result};
use std::fs;
use std::io::{BufWriter, Write};
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An account's Maildir on this machine.
#[derive(Clone, Debug)]
pub struct Maildir {
    root: PathBuf,
    owner: (u32, u32),
}

impl Maildir {
    /// At this folder, which is made if it is missing.
    ///
    /// # Errors
    /// From the file system.
    pub fn at(root: &Path) -> Result<Maildir> {
        fs::create_dir_all(root).with_context(|| root.display().to_string())?;
        let meta = fs::metadata(root)?;
        let maildir = Maildir { root: root.to_owned(), owner: (meta.uid(), meta.gid()) };
        maildir.make(root)?;
        Ok(maildir)
    }

    /// The folder of a mailbox.
    pub fn folder(&self, mailbox: &str) -> PathBuf {
        match mailbox {
            "INBOX" => self.root.clone(),
            _ => self.root.join(format!(".{mailbox}")),
        }
    }

    fn own(&self, path: &Path) -> Result<()> {
        let meta = fs::symlink_metadata(path)?;
        if (meta.uid(), meta.gid()) != self.owner {
            lchown(path, Some(self.owner.0), Some(self.owner.1))?;
        }
        Ok(())
    }

    fn make(&self, folder: &Path) -> Result<()> {
        let new = !folder.exists();
        for dir in ["", "cur", "new", "tmp"] {
            fs::create_dir_all(folder.join(dir))?;
            self.own(&folder.join(dir))?;
        }
        if new {
            fs::write(folder.join("maildirfolder"), "")?;
            self.own(&folder.join("maildirfolder"))?;
        }
        Ok(())
    }

    /// Puts `count` messages into a mailbox, all seen; `size` says how large the body of each is.
    ///
    /// # Errors
    /// From the file system.
    pub fn fill(&self, mailbox: &str, count: u32, size: impl Fn(u64) -> usize) -> Result<()> {
        let folder = self.folder(mailbox);
        self.make(&folder)?;
        for i in 0..u64::from(count) {
            let m = mail::message(i, size(i));
            let wire = m.len() + m.bytes().filter(|b| *b == b'\n').count();
            let path = folder.join("cur").join(format!("{}:2,S", base_name(i, m.len(), wire)));
            let mut file = fs::File::create(&path)?;
            file.write_all(m.as_bytes())?;
            file.set_modified(UNIX_EPOCH + Duration::from_secs(mail::arrival(i)))?;
            self.own(&path)?;
        }
        settle(&folder)
    }

    /// Puts `count` messages into a mailbox as hard links to those of another, over and over when there are too few: for
    /// work that looks at names and not into files.
    ///
    /// # Errors
    /// From the file system, or when the other is empty.
    pub fn link(&self, from: &str, mailbox: &str, count: u32) -> Result<()> {
        let folder = self.folder(mailbox);
        self.make(&folder)?;
        let mut sources = Vec::new();
        for entry in fs::read_dir(self.folder(from).join("cur"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let size = |key| number_after(&name, key).unwrap_or(0);
            sources.push((size(",S="), size(",W="), path));
        }
        sources.sort();
        anyhow::ensure!(!sources.is_empty(), "{from} is empty");
        for (i, (size, wire, path)) in (0..u64::from(count)).zip(sources.iter().cycle()) {
            let name = format!("{}:2,S", base_name(i, *size, *wire));
            fs::hard_link(path, folder.join("cur").join(name)).with_context(|| path.display().to_string())?;
        }
        settle(&folder)
    }

    /// Puts one huge message of `size` octets into a mailbox.
    ///
    /// # Errors
    /// From the file system.
    pub fn put_huge(&self, mailbox: &str, size: u64) -> Result<()> {
        let folder = self.folder(mailbox);
        self.make(&folder)?;
        let path = folder.join("cur").join("1700000000.M1P1.bench:2,S");
        let mut out = BufWriter::with_capacity(1 << 20, fs::File::create(&path)?);
        mail::write_huge(&mut out, size, "\n")?;
        out.flush()?;
        self.own(&path)?;
        settle(&folder)
    }

    /// Delivers one message as another program would: written in `tmp`, moved into `new`.
    ///
    /// # Errors
    /// From the file system.
    pub fn deliver(&self, mailbox: &str, seed: u64) -> Result<()> {
        let folder = self.folder(mailbox);
        let m = mail::message(seed, mail::small(seed));
        let name = format!("{}.M{seed}P{}.bench", mail::arrival(seed), std::process::id());
        let from = folder.join("tmp").join(&name);
        fs::write(&from, m)?;
        self.own(&from)?;
        fs::rename(from, folder.join("new").join(name))?;
        Ok(())
    }
}

/// Dates the folder an hour back: servers read again, each time, a folder that has changed in this or the last second,
/// since more may have come in the same second.
fn settle(folder: &Path) -> Result<()> {
    let hour_ago = SystemTime::now().checked_sub(Duration::from_secs(3600)).context("an hour ago")?;
    for dir in ["cur", "new"] {
        fs::File::open(folder.join(dir))?.set_modified(hour_ago)?;
    }
    Ok(())
}

fn base_name(i: u64, size: usize, wire: usize) -> String {
    format!("{}.M{i}P1.bench,S={size},W={wire}", mail::arrival(i))
}

fn number_after(name: &str, key: &str) -> Option<usize> {
    let rest = name.split_once(key)?.1;
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_links_and_delivers() {
        let temp = tempfile::tempdir().unwrap();
        let maildir = Maildir::at(&temp.path().join("Mail")).unwrap();
        maildir.fill("A", 3, mail::small).unwrap();
        maildir.link("A", "B", 7).unwrap();
        maildir.deliver("B", 9).unwrap();
        maildir.put_huge("C", 5000).unwrap();
        let count = |m: &str, d: &str| fs::read_dir(maildir.folder(m).join(d)).unwrap().count();
        assert_eq!(
            [count("A", "cur"), count("B", "cur"), count("B", "new"), count("B", "tmp")],
            [3, 7, 1, 0]
        );
        for entry in fs::read_dir(maildir.folder("B").join("cur")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let text = fs::read_to_string(entry.path()).unwrap();
            assert_eq!(number_after(&name, ",S="), Some(text.len()));
            assert_eq!(number_after(&name, ",W="), Some(mail::on_wire(&text).len()));
        }
        assert_eq!(maildir.folder("INBOX"), temp.path().join("Mail"));
    }
}
