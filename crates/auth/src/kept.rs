//! Blocks on disk, so that they outlast a restart: the file `blocks` in the state folder.
//!
//! It is derived: when it is missing, nobody is blocked; when it cannot be read, or is not what was written (its first line has the
//! hash of the rest), it is passed over and written anew, and the log has a line. It is written beside logins, whole, into a file of another
//! name that then takes its place. A disk that is full costs the file's news and nothing else, and the log says so once.
//!
//! Times in it are Unix times. No block from it lasts longer than blocks do now, whatever was done to the clock.

use crate::blocks::Block;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Its name.
const NAME: &str = "blocks";
/// The first line begins so.
const HEAD: &str = "culver blocks 1 ";
/// Blocks that are kept; with more of them, those that last longest.
const MOST: usize = 10_000;
/// A longer file is none of ours. A name has 320 octets at most, which JSON writes as six each at worst.
const LONGEST: u64 = (MOST * 2500) as u64;

/// Where they are kept.
pub(crate) struct Kept {
    path: PathBuf,
    /// Held while it is written. Could it be written the last time?
    works: Mutex<bool>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    network: std::net::IpAddr,
    account: Option<String>,
    guesses: u32,
    until: u64,
}

impl Kept {
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join(NAME), works: Mutex::new(true) }
    }

    /// What is there and still lasts at this Unix time, with what the log should say.
    pub(crate) fn read(&self, now: u64, longest: Duration) -> (Vec<Block>, Option<String>) {
        let found = match octets(&self.path) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return (Vec::new(), None),
            Err(why) => Err(why.to_string()),
            Ok(octets) => decode(&octets, now, longest),
        };
        match found {
            Ok(blocks) => (blocks, None),
            Err(why) => {
                let path = self.path.display();
                let told = format!(
                    "{path}: {why}: blocks from before the restart are forgotten, and the file is written anew"
                );
                (Vec::new(), Some(told))
            }
        }
    }

    /// Writes these; gives what the log should say.
    pub(crate) fn write(&self, blocks: &[Block], now: u64) -> Option<String> {
        let mut works = self.works.lock();
        match replace(&self.path, &encode(blocks, now)) {
            Ok(()) => {
                *works = true;
                None
            }
            Err(why) => std::mem::replace(&mut *works, false).then(|| {
                let path = self.path.display();
                format!("{path} cannot be written ({why}): blocks go on, but would not outlast a restart")
            }),
        }
    }
}

fn encode(blocks: &[Block], now: u64) -> Vec<u8> {
    let rows: Vec<_> = blocks
        .iter()
        .take(MOST)
        .map(|b| Row {
            network: b.network,
            account: b.account.clone(),
            guesses: b.guesses,
            until: now.saturating_add(b.left.as_secs()),
        })
        .collect();
    let json = serde_json::to_string(&rows).unwrap_or_else(|_| "[]".to_owned()) + "\n";
    format!("{HEAD}{}\n{json}", blake3::hash(json.as_bytes()).to_hex()).into_bytes()
}

fn decode(octets: &[u8], now: u64, longest: Duration) -> Result<Vec<Block>, String> {
    let damaged = || "it is damaged".to_owned();
    let rest = octets.strip_prefix(HEAD.as_bytes()).ok_or_else(damaged)?;
    let (hash, json) = rest.split_at_checked(65).ok_or_else(damaged)?;
    if hash != format!("{}\n", blake3::hash(json).to_hex()).as_bytes() {
        return Err(damaged());
    }
    let rows: Vec<Row> = serde_json::from_slice(json).map_err(|why| why.to_string())?;
    let lasting = rows.into_iter().filter(|row| row.until > now).take(MOST);
    Ok(lasting
        .map(|row| Block {
            network: row.network,
            account: row.account,
            guesses: row.guesses,
            left: Duration::from_secs(row.until - now).min(longest),
        })
        .collect())
}

#[allow(clippy::disallowed_methods, reason = "the server's own state, not a user's file")]
fn octets(path: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    std::fs::File::open(path)?.take(LONGEST).read_to_end(&mut octets)?;
    Ok(octets)
}

#[allow(clippy::disallowed_methods, reason = "the server's own state, not a user's file")]
fn replace(path: &Path, octets: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let written = (|| {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(octets)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test makes its own files")]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;
    const QUARTER: Duration = Duration::from_secs(900);

    fn blocks() -> Vec<Block> {
        let block = |network: &str, account: Option<&str>, left| Block {
            network: network.parse().unwrap(),
            account: account.map(str::to_owned),
            guesses: 20,
            left: Duration::from_secs(left),
        };
        vec![block("192.0.2.0", Some("anna@example.org"), 900), block("2001:db8::", None, 300)]
    }

    fn kept() -> (tempfile::TempDir, Kept) {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(folder.path());
        (folder, kept)
    }

    #[test]
    fn what_is_written_is_read_and_time_goes_on() {
        let (_folder, kept) = kept();
        assert_eq!(kept.read(NOW, QUARTER), (Vec::new(), None));
        assert_eq!(kept.write(&blocks(), NOW), None);
        assert_eq!(kept.read(NOW, QUARTER), (blocks(), None));
        let later = kept.read(NOW + 300, QUARTER).0;
        assert_eq!((later.len(), later[0].left), (1, Duration::from_secs(600)));
        assert_eq!(kept.read(NOW + 899, QUARTER).0[0].left, Duration::from_secs(1));
        assert_eq!(kept.read(NOW + 900, QUARTER), (Vec::new(), None));
        // A clock that was set back, and a setting that became less.
        assert!(kept.read(NOW - 86_400, QUARTER).0.iter().all(|b| b.left == QUARTER));
        assert!(kept.read(NOW, Duration::from_secs(7)).0.iter().all(|b| b.left.as_secs() == 7));
        assert_eq!(kept.write(&[], NOW), None);
        assert_eq!(kept.read(NOW, QUARTER), (Vec::new(), None));
    }

    /// Flipped, cut, emptied, zeroed, or something else: nobody is blocked, a line says so, and the next file is whole.
    #[test]
    fn a_damaged_file_is_passed_over() {
        let (_folder, kept) = kept();
        kept.write(&blocks(), NOW);
        let good = std::fs::read(&kept.path).unwrap();
        let mut damaged: Vec<Vec<u8>> =
            vec![vec![0; good.len()], b"[]\n".to_vec(), [&good[..], b"\n"].concat()];
        damaged.extend((0..good.len()).map(|end| good[..end].to_vec()));
        for bit in 0..good.len() * 8 {
            let mut flipped = good.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            damaged.push(flipped);
        }
        for octets in damaged {
            std::fs::write(&kept.path, &octets).unwrap();
            let (found, told) = kept.read(NOW, QUARTER);
            assert_eq!(found, [], "{}", String::from_utf8_lossy(&octets));
            let told = told.unwrap_or_else(|| panic!("not told: {}", String::from_utf8_lossy(&octets)));
            assert!(told.contains("it is damaged") && told.contains("written anew"), "{told}");
        }
        std::fs::remove_file(&kept.path).unwrap();
        std::fs::create_dir(&kept.path).unwrap();
        assert!(kept.read(NOW, QUARTER).1.unwrap().contains("forgotten"));
        std::fs::remove_dir(&kept.path).unwrap();
        kept.write(&blocks(), NOW);
        assert_eq!(kept.read(NOW, QUARTER), (blocks(), None));
    }

    /// What cannot be written is told once, leaves the old file, and is written as soon as that can be.
    #[test]
    fn a_disk_that_takes_nothing() {
        let (folder, kept) = kept();
        kept.write(&blocks(), NOW);
        std::fs::create_dir(folder.path().join("blocks.new")).unwrap();
        assert!(kept.write(&[], NOW).unwrap().contains("cannot be written"));
        assert_eq!(kept.write(&[], NOW), None);
        assert_eq!(kept.read(NOW, QUARTER).0, blocks());
        std::fs::remove_dir(folder.path().join("blocks.new")).unwrap();
        assert_eq!(kept.write(&[], NOW), None);
        assert_eq!(kept.read(NOW, QUARTER).0, []);
    }

    #[test]
    fn the_file_is_bounded() {
        let (_folder, kept) = kept();
        let long = "\u{1}".repeat(320);
        let many: Vec<_> = (0..MOST as u32 + 7)
            .map(|n| Block {
                account: Some(format!("{n}{long}")),
                network: n.to_be_bytes().into(),
                guesses: 3,
                left: QUARTER,
            })
            .collect();
        assert_eq!(kept.write(&many, NOW), None);
        assert!(std::fs::metadata(&kept.path).unwrap().len() < LONGEST);
        assert_eq!(kept.read(NOW, QUARTER).0, many[..MOST]);
    }
}
