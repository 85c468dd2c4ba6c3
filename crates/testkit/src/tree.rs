//! A Maildir of many messages, written as another server would have left it: file names, `dovecot-uidlist`, keywords,
//! subscriptions, folders. Two servers that are given copies of it must say the same about it.

use crate::mail;
use crate::peer::{Account, Peer};
use crate::transcript::actor::make_maildir;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Folders beside INBOX, as they are called on disk.
pub const FOLDERS: [&str; 7] =
    [".Sample", ".Work", ".Work.2024", ".Work.2024.May", ".Entw&APw-rfe", ".Orphan.child", ".Trash"];

/// What the subscriptions file holds, with the storage's separator.
pub const SUBSCRIBED: [&str; 4] = ["INBOX", "Work.2024", "Entw&APw-rfe", "Vanished"];

/// UIDVALIDITY of every folder.
pub const UID_VALIDITY: u32 = 1_700_000_001;

/// Letters of flags and keywords that messages get in turn.
const FLAGS: [&str; 8] = ["", "S", "RS", "FS", "T", "DS", "Sa", "Sb"];

/// Fills the Maildir of `account`: INBOX with all of `files`, every folder with some. UIDs go 1, 2, ... by position.
///
/// # Errors
/// From the file system.
pub fn fill(peer: &dyn Peer, account: &Account, files: &[PathBuf]) -> Result<()> {
    let root = &account.maildir;
    folder(root, files)?;
    for (i, name) in FOLDERS.iter().enumerate() {
        let some: Vec<PathBuf> = match *name {
            ".Sample" => files.iter().step_by((files.len() / 250).max(1)).cloned().collect(),
            _ => files.iter().skip(i * 3).step_by(97).take(i * 2).cloned().collect(),
        };
        folder(&root.join(name), &some)?;
        fs::write(root.join(name).join("maildirfolder"), b"")?;
    }
    let mut text = String::from("V\t2\n\n");
    for name in SUBSCRIBED {
        text.push_str(&name.replace('.', "\t"));
        text.push('\n');
    }
    fs::write(root.join("subscriptions"), text)?;
    peer.own(root)?;
    // The account's own folder as well, for the server may make files there.
    if let Some(home) = root.parent() {
        peer.own(home)?;
    }
    Ok(())
}

fn folder(path: &Path, files: &[PathBuf]) -> Result<()> {
    make_maildir(path)?;
    let mut list = format!("3 V{UID_VALIDITY} N{} G0123456789abcdef0123456789abcdef\n", files.len() + 1);
    for (i, file) in files.iter().enumerate() {
        let raw = fs::read(file).with_context(|| file.display().to_string())?;
        // Most programs store LF; some CRLF.
        let bytes = if i % 5 == 4 { raw } else { mail::lf(&raw) };
        let name = format!("{}.M{i:06}P1.testkit,S={}", 1_704_067_200 + i, bytes.len());
        let full = path.join("cur").join(format!("{name}:2,{}", FLAGS[i % FLAGS.len()]));
        fs::write(&full, bytes)?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_704_067_200 + 3_601 * i as u64);
        fs::File::options().write(true).open(&full)?.set_modified(time)?;
        list.push_str(&format!("{} :{name}\n", i + 1));
    }
    fs::write(path.join("dovecot-uidlist"), list)?;
    Ok(fs::write(path.join("dovecot-keywords"), b"0 $Forwarded\n1 Project\n")?)
}
