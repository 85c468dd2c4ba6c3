//! What the cache knows of one message, as octets.
//!
//! ```text
//! length of the payload u32  crc32 of the payload u32
//! payload: uid u32, RFC822.SIZE (LEB128), then items: tag u8, length (LEB128), octets
//! ```
//! Numbers of fixed width are little-endian. An item whose tag is unknown is passed over.

use crate::codec::{Reader, Writer};
use bytes::Bytes;
use culver_base::Uid;
use std::ops::Range;

/// Octets before the payload.
pub const FRAME: usize = 8;
/// No record is longer; what would be is not cached.
pub const LONGEST: usize = 256 << 10;

/// An item of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Item {
    /// The whole header.
    Header = 1,
    /// The header without bulky fields ([`culver_mime::fields::is_bulky`]).
    LeanHeader = 2,
    /// ENVELOPE
    Envelope = 3,
    /// BODYSTRUCTURE
    BodyStructure = 4,
    /// What SEARCH, SORT and THREAD work on ([`culver_mime::columns`]).
    Columns = 5,
    /// PREVIEW, UTF-8.
    Preview = 6,
    /// Where the text is ([`culver_mime::text::text_parts`]).
    TextParts = 7,
}

const ITEMS: [Item; 7] = [
    Item::Header,
    Item::LeanHeader,
    Item::Envelope,
    Item::BodyStructure,
    Item::Columns,
    Item::Preview,
    Item::TextParts,
];

/// A record in the making.
#[derive(Clone)]
pub struct Draft {
    w: Writer,
}

impl Draft {
    /// Without items so far.
    pub fn new(size: u64) -> Self {
        let mut w = Writer { out: vec![0; FRAME + 4] };
        w.number(size);
        Self { w }
    }

    /// Adds an item.
    pub fn put(&mut self, item: Item, octets: &[u8]) {
        self.w.byte(item as u8);
        self.w.octets(octets);
    }

    /// The record of this message; `None` when it is too long to be kept.
    pub fn finish(self, uid: Uid) -> Option<Learnt> {
        let mut out = self.w.out;
        if out.len() > LONGEST {
            return None;
        }
        out[FRAME..FRAME + 4].copy_from_slice(&uid.get().to_le_bytes());
        let crc = crc32fast::hash(&out[FRAME..]);
        let len = u32::try_from(out.len() - FRAME).ok()?;
        out[..4].copy_from_slice(&len.to_le_bytes());
        out[4..FRAME].copy_from_slice(&crc.to_le_bytes());
        Some(Learnt { uid, frame: out })
    }
}

/// A record to be written.
pub struct Learnt {
    /// Whose it is.
    pub uid: Uid,
    /// Its frame.
    pub frame: Vec<u8>,
}

/// A record that was read.
#[derive(Clone, Debug)]
pub struct Facts {
    payload: Bytes,
    /// RFC822.SIZE
    pub size: u64,
    items: [Range<u32>; ITEMS.len()],
}

impl Facts {
    /// From a whole frame; `None` when it is damaged or another message's.
    pub fn read(frame: &Bytes, uid: Uid) -> Option<Self> {
        let payload = frame.slice(checked(frame)?);
        let mut r = Reader::new(&payload);
        if r.array::<4>()? != uid.get().to_le_bytes() {
            return None;
        }
        let size = r.number()?;
        let mut items = [const { 0..0 }; ITEMS.len()];
        while !r.is_at_end() {
            let tag = r.byte()?;
            let len = r.octets()?.len();
            // The record is shorter than LONGEST.
            let end = (payload.len() - r.left()) as u32;
            if let Some(slot) = items.get_mut(usize::from(tag).wrapping_sub(1)) {
                *slot = end - len as u32..end;
            }
        }
        Some(Self { payload, size, items })
    }

    /// An item, if it is there.
    pub fn get(&self, item: Item) -> Option<Bytes> {
        let range = self.items.get(item as usize - 1)?;
        (range.end > 0).then(|| self.payload.slice(range.start as usize..range.end as usize))
    }

    /// The record of a copy of this message.
    pub fn of_copy(&self, uid: Uid) -> Option<Learnt> {
        let out = [&[0; FRAME], &self.payload[..]].concat();
        Draft { w: Writer { out } }.finish(uid)
    }

    /// Has it all items that `other` has?
    pub fn covers(&self, other: &Self) -> bool {
        self.size == other.size && ITEMS.iter().all(|i| self.get(*i).is_some() || other.get(*i).is_none())
    }
}

/// Where the payload of the whole frame is, if the frame is sound.
fn checked(frame: &[u8]) -> Option<Range<usize>> {
    let len = u32::from_le_bytes(frame.first_chunk::<4>().copied()?) as usize;
    let crc = u32::from_le_bytes(frame.get(4..FRAME)?.try_into().ok()?);
    let payload = frame.get(FRAME..)?;
    (payload.len() == len && crc == crc32fast::hash(payload)).then_some(FRAME..frame.len())
}

/// The first frame of `octets`: its length and whose it is. `None`: there is no whole and sound one.
pub fn first(octets: &[u8]) -> Option<(usize, Uid)> {
    let len = u32::from_le_bytes(octets.first_chunk::<4>().copied()?) as usize;
    let frame = octets.get(..FRAME.checked_add(len)?)?;
    let payload = &frame[checked(frame)?];
    Some((frame.len(), Uid::new(u32::from_le_bytes(payload.first_chunk::<4>().copied()?))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(uid: Uid, envelope: &[u8]) -> Vec<u8> {
        let mut draft = Draft::new(77);
        draft.put(Item::Envelope, envelope);
        draft.put(Item::LeanHeader, b"");
        draft.finish(uid).unwrap().frame
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_what_was_damaged_is_not(
            uid in 1u32.., envelope in any::<Vec<u8>>(), at in any::<prop::sample::Index>(), mask in 1u8..,
        ) {
            let uid = Uid::new(uid).unwrap();
            let mut octets = frame(uid, &envelope);
            prop_assert_eq!(first(&octets), Some((octets.len(), uid)));
            let facts = Facts::read(&octets.clone().into(), uid).unwrap();
            prop_assert_eq!(facts.get(Item::Envelope), Some(envelope.clone().into()));
            prop_assert_eq!(facts.get(Item::LeanHeader), Some(Bytes::new()));
            prop_assert!(facts.get(Item::BodyStructure).is_none());
            let copy = facts.of_copy(Uid::MIN).unwrap();
            prop_assert_eq!(copy.frame, frame(Uid::MIN, &envelope));
            let at = at.index(octets.len());
            prop_assert_eq!(first(&octets[..at]), None);
            octets[at] ^= mask;
            prop_assert!(Facts::read(&octets.into(), uid).is_none());
        }
    }
}
