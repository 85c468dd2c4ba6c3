//! A file of records: a head that says whose it is, then frames to its end.
//!
//! ```text
//! magic [8]  generation [8]  mailbox id [16]  UIDVALIDITY u32  crc32 of all before
//! ```

use super::record;
use crate::codec::Reader;
use culver_base::{Uid, UidValidity};
use culver_snapshot::MailboxId;
use culver_store::io::{Dir, File};
use std::io;

/// Octets of the head.
pub const HEAD: u64 = 40;
/// Octets read at a time when the file is gone through.
const CHUNK: usize = 1 << 20;

/// Whose records these are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owner {
    /// The mailbox.
    pub mailbox_id: MailboxId,
    /// Its UIDVALIDITY.
    pub uid_validity: UidValidity,
}

/// Where a message's record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// The message.
    pub uid: Uid,
    /// Octets of the frame.
    pub len: u32,
    /// Its place in the file.
    pub at: u64,
}

/// How a file was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// As it should be.
    Ours,
    /// There was none.
    Missing,
    /// It was damaged or another mailbox's; it has been emptied.
    Foreign,
}

/// An open file, its generation, and how it was found.
pub struct Opened {
    /// For reading and writing.
    pub file: File,
    /// Made up when the file was.
    pub generation: [u8; 8],
    /// See there.
    pub found: Found,
}

/// Opens the file, made anew when it is missing or not ours.
pub fn open(dir: &Dir<'_>, name: &[u8], magic: &[u8; 8], owner: Owner) -> io::Result<Opened> {
    let file = match dir.open_write(name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => dir.create_new(name)?,
        Err(e) if is_shut(&e) => {
            dir.unlink(name)?;
            let file = dir.create_new(name)?;
            return Ok(Opened { generation: begin(&file, magic, owner)?, file, found: Found::Foreign });
        }
        other => other?,
    };
    let mut head = [0; HEAD as usize];
    let len = file.read_full_at(&mut head, 0)?;
    if let Some(generation) = decode(&head[..len], magic, owner) {
        return Ok(Opened { file, generation, found: Found::Ours });
    }
    let generation = begin(&file, magic, owner)?;
    Ok(Opened { file, generation, found: if len == 0 { Found::Missing } else { Found::Foreign } })
}

/// Nothing but a new head.
fn begin(file: &File, magic: &[u8; 8], owner: Owner) -> io::Result<[u8; 8]> {
    let mut generation = [0; 8];
    if getrandom::fill(&mut generation).is_err() {
        generation = crate::clock::now().nanoseconds.to_le_bytes().repeat(2).try_into().unwrap_or_default();
    }
    file.truncate(0)?;
    file.write_all_at(&encode(magic, generation, owner), 0)?;
    Ok(generation)
}

/// Can what has this name not be opened, by what it is or by its modes?
fn is_shut(e: &io::Error) -> bool {
    use rustix::io::Errno;
    let by_name = [Errno::LOOP, Errno::ACCESS, Errno::PERM, Errno::NXIO];
    e.raw_os_error().is_some_and(|n| by_name.iter().any(|s| s.raw_os_error() == n))
}

/// The head as octets.
pub fn encode(magic: &[u8; 8], generation: [u8; 8], owner: Owner) -> Vec<u8> {
    let mut out =
        [&magic[..], &generation, &owner.mailbox_id.0, &owner.uid_validity.get().to_le_bytes()].concat();
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn decode(head: &[u8], magic: &[u8; 8], owner: Owner) -> Option<[u8; 8]> {
    let generation = Reader::new(head.get(8..16)?).array()?;
    (head == encode(magic, generation, owner)).then_some(generation)
}

/// Goes through the frames from `at` on and gives each to `take`, with its octets. Returns where the last sound one
/// ends; the file is cut there.
pub fn go_through(file: &File, mut at: u64, mut take: impl FnMut(Slot, &[u8])) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = file.read_full_at(&mut buffer, at)?;
        let mut rest = &buffer[..n];
        while let Some((len, uid)) = record::first(rest) {
            let (frame, next) = rest.split_at(len);
            take(Slot { uid, len: len as u32, at }, frame);
            at += len as u64;
            rest = next;
        }
        // No frame is as long as the buffer: what is left of a full one may be the beginning of a frame.
        if n < CHUNK || rest.len() > record::LONGEST + record::FRAME {
            if !rest.is_empty() {
                file.truncate(at)?;
            }
            return Ok(at);
        }
    }
}
