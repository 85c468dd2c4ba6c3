//! The other program that works on a Maildir behind the server's back.
//!
//! - `deliver four.mbox:2 [in .Work]`: a new message, through `tmp/` into `new/`
//! - `flags TEXT FS [in .Work]`: the message that holds this text gets these flag letters, by rename in `cur/`
//! - `delete TEXT [in .Work]`: its file goes
//! - `mkdir NAME`, `rmdir NAME`: folders below the root, with all that is in them; `mkdir` makes a Maildir
//! - `close 1`: session 1's connection is cut; `tls 1`: session 1 goes on in TLS (these two are done by the runner)

use crate::mail;
use crate::peer::{Account, Peer};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Does what an `X:` line says.
///
/// # Errors
/// When the line is not understood, or its message is not there.
pub fn act(what: &str, peer: &dyn Peer, account: &Account) -> Result<()> {
    let (what, folder) = match what.rsplit_once(" in ") {
        Some((what, folder)) => (what, account.maildir.join(folder)),
        None => (what, account.maildir.clone()),
    };
    let mut words = what.split_whitespace();
    let verb = words.next().unwrap_or_default();
    let first = words.next().context("an X line wants a word after its verb")?;
    match verb {
        "deliver" => {
            for message in mail::fixture(first)? {
                deliver(peer, &folder, &message.bytes)?;
            }
            Ok(())
        }
        "flags" => {
            let letters = words.next().unwrap_or_default();
            on_message(&folder, first, |path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let base = name.split(":2,").next().unwrap_or_default().to_owned();
                fs::rename(path, folder.join("cur").join(format!("{base}:2,{letters}")))
            })
        }
        "delete" => on_message(&folder, first, |path| fs::remove_file(path)),
        "mkdir" => {
            let path = account.maildir.join(first);
            make_maildir(&path)?;
            peer.own(&path)
        }
        "rmdir" => Ok(fs::remove_dir_all(account.maildir.join(first))?),
        _ => bail!("X: {what}: unknown"),
    }
}

/// Makes `cur`, `new` and `tmp`.
///
/// # Errors
/// From the file system.
pub fn make_maildir(path: &Path) -> Result<()> {
    for part in ["cur", "new", "tmp"] {
        fs::create_dir_all(path.join(part))?;
    }
    Ok(())
}

/// Delivers as an MDA does. Line ends on disk are LF.
///
/// # Errors
/// From the file system.
pub fn deliver(peer: &dyn Peer, folder: &Path, message: &[u8]) -> Result<PathBuf> {
    // Names rise with the number of files, so that servers which sort by name keep the order of delivery.
    let mut n = 0;
    for part in ["cur", "new"] {
        n += fs::read_dir(folder.join(part)).map(Iterator::count).unwrap_or(0);
    }
    let name = format!("{}.M{n:06}P{}.testkit", 1_704_096_000 + n, std::process::id());
    let lf = mail::lf(message);
    let tmp = folder.join("tmp").join(&name);
    let new = folder.join("new").join(&name);
    fs::write(&tmp, lf).with_context(|| tmp.display().to_string())?;
    peer.own(&tmp)?;
    fs::rename(&tmp, &new)?;
    Ok(new)
}

/// Finds the message that holds `text` and does something to its file. A server may rename it at the same moment: then
/// it is looked for again.
fn on_message(folder: &Path, text: &str, act: impl Fn(&Path) -> std::io::Result<()>) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        for part in ["cur", "new"] {
            for entry in fs::read_dir(folder.join(part))? {
                let path = entry?.path();
                let Ok(bytes) = fs::read(&path) else { continue };
                if memchr::memmem::find(&bytes, text.as_bytes()).is_some() && act(&path).is_ok() {
                    return Ok(());
                }
            }
        }
        if Instant::now() > end {
            bail!("no message with {text:?} in {}", folder.display());
        }
    }
}
