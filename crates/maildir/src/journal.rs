//! The journal: every change since the checkpoint, in frames that show where they are damaged.
//!
//! ```text
//! "CULVJRN1"  generation u64  mailbox id [16]  UIDVALIDITY u32  crc32 of all before
//! then frames:  length u32  crc32 of the payload u32  payload
//! payload:      HIGHESTMODSEQ before the change (LEB128), the change
//! ```
//! Numbers of fixed width are little-endian.
//!
//! **What it promises.** Replay applies frames up to the first that is cut, fails its checksum, makes no sense, or
//! does not fit the state before it; it never applies half a change. A journal of another mailbox, UIDVALIDITY or
//! generation is recognised by its head and not applied at all.
//!
//! **What it does not.** It is not synced for each change, so after a power failure its tail may be missing without a
//! trace. Two things stand against that: [`crate::model::Op::Reserve`], on disk before the first number of a block is
//! given, and [`crate::model::Op::Boot`]: a journal without [`crate::model::Op::Closed`] at its end that was written
//! before the last boot may lack changes that clients have seen.

use crate::codec::{Reader, Writer};
use crate::model::{Change, Model};
use culver_base::{ModSeq, UidValidity};
use culver_snapshot::MailboxId;

const MAGIC: &[u8; 8] = b"CULVJRN1";
/// Octets of the head.
pub const HEAD_LEN: usize = 8 + 8 + 16 + 4 + 4;
/// Longest frame that is believed: above any change (a first scan goes into a checkpoint, not here).
const MAX_FRAME: usize = 256 << 20;

/// What the journal belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Of the checkpoint that it continues.
    pub generation: u64,
    /// The mailbox.
    pub mailbox_id: MailboxId,
    /// Its UIDVALIDITY.
    pub uid_validity: UidValidity,
}

impl Head {
    /// As octets.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_LEN);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.mailbox_id.0);
        out.extend_from_slice(&self.uid_validity.get().to_le_bytes());
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads it back; `None` when it is not a journal or damaged.
    pub fn decode(octets: &[u8]) -> Option<Self> {
        let head = octets.get(..HEAD_LEN)?;
        let mut r = Reader::new(head);
        if &r.array::<8>()? != MAGIC {
            return None;
        }
        let this = Self {
            generation: u64::from_le_bytes(r.array()?),
            mailbox_id: MailboxId(r.array()?),
            uid_validity: UidValidity::new(u32::from_le_bytes(r.array()?))?,
        };
        let crc = u32::from_le_bytes(r.array()?);
        (crc == crc32fast::hash(&head[..HEAD_LEN - 4])).then_some(this)
    }
}

/// A change as a frame. `before` is HIGHESTMODSEQ of the state that it applies to.
pub fn frame(before: ModSeq, change: &Change) -> Vec<u8> {
    let mut w = Writer { out: vec![0; 8] };
    w.number(before.get());
    change.encode(&mut w);
    let mut out = w.out;
    let crc = crc32fast::hash(&out[8..]);
    let len = u32::try_from(out.len() - 8).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&len.to_le_bytes());
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

/// How a replay went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// Octets of head and good frames: where the next frame is to be written.
    pub good: usize,
    /// Was there something behind them?
    pub damaged: bool,
}

/// Applies a journal to the state of its checkpoint. `None` when the journal does not belong to it: then nothing was
/// applied.
pub fn replay(octets: &[u8], generation: u64, model: &mut Model) -> Option<Replayed> {
    let head = Head::decode(octets)?;
    let s = &model.snapshot;
    if head.generation != generation || head.mailbox_id != s.mailbox_id || head.uid_validity != s.uid_validity
    {
        return None;
    }
    let mut good = HEAD_LEN;
    while let Some((change, next)) =
        octets.get(good..).and_then(|rest| next_frame(rest, model.snapshot.highest_mod_seq))
    {
        model.apply(&change);
        good += next;
    }
    Some(Replayed { good, damaged: good != octets.len() })
}

/// Is there nothing but a head and good frames, whatever they say?
pub fn is_whole(octets: &[u8]) -> bool {
    let Some(mut rest) = octets.get(HEAD_LEN..) else { return false };
    while let Some(payload) = payload(rest) {
        rest = &rest[8 + payload.len()..];
    }
    rest.is_empty()
}

/// What the first frame holds.
fn payload(octets: &[u8]) -> Option<&[u8]> {
    let mut r = Reader::new(octets);
    let len = u32::from_le_bytes(r.array()?) as usize;
    let crc = u32::from_le_bytes(r.array()?);
    if len > MAX_FRAME {
        return None;
    }
    let payload = r.take(len)?;
    (crc32fast::hash(payload) == crc).then_some(payload)
}

fn next_frame(octets: &[u8], highest: ModSeq) -> Option<(Change, usize)> {
    let payload = payload(octets)?;
    let mut r = Reader::new(payload);
    if r.number()? != highest.get() {
        return None;
    }
    let change = Change::decode(&mut r)?;
    r.is_at_end().then_some((change, 8 + payload.len()))
}

#[cfg(test)]
mod tests;
