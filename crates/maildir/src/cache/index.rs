//! Where the records are in the cache, kept beside it so that it need not be gone through when it is opened.
//!
//! ```text
//! "CULVCIX1"  generation of the cache [8]  octets of the cache that are covered (LEB128)
//! number of records (LEB128), for each: uid (LEB128, difference), place (zigzag, from the end of the one before), length
//! crc32 of all before
//! ```
//! It is replaced as a whole and believed only if its checksum and generation are right. What it says of a record is
//! checked again when that is read.

use super::file::Slot;
use crate::codec::{Reader, Writer};
use culver_base::Uid;

const MAGIC: &[u8; 8] = b"CULVCIX1";

/// As octets. `slots` ascend by UID.
pub fn encode(generation: [u8; 8], covered: u64, slots: &[Slot]) -> Vec<u8> {
    let mut w = Writer { out: Vec::with_capacity(32 + slots.len() * 5) };
    w.out.extend_from_slice(MAGIC);
    w.out.extend_from_slice(&generation);
    w.number(covered);
    w.number(slots.len() as u64);
    let (mut uid, mut end) = (0, 0);
    for slot in slots {
        w.number(u64::from(slot.uid.get() - uid));
        w.signed(slot.at.wrapping_sub(end) as i64);
        w.number(u64::from(slot.len));
        uid = slot.uid.get();
        end = slot.at + u64::from(slot.len);
    }
    let crc = crc32fast::hash(&w.out);
    w.out.extend_from_slice(&crc.to_le_bytes());
    w.out
}

/// What is covered, and the slots; `None` when it is damaged or of another file.
pub fn decode(octets: &[u8], generation: [u8; 8]) -> Option<(u64, Vec<Slot>)> {
    let (body, crc) = octets.split_last_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return None;
    }
    let mut r = Reader::new(body);
    if &r.array::<8>()? != MAGIC || r.array::<8>()? != generation {
        return None;
    }
    let covered = r.number()?;
    let count = r.count(3)?;
    let mut slots = Vec::with_capacity(count);
    let (mut uid, mut end) = (0u32, 0u64);
    for _ in 0..count {
        let more = r.number_u32()?;
        uid = uid.checked_add(more).filter(|_| more > 0)?;
        let at = end.wrapping_add(r.signed()? as u64);
        let len = r.number_u32()?;
        end = at.checked_add(u64::from(len)).filter(|e| *e <= covered)?;
        slots.push(Slot { uid: Uid::new(uid)?, len, at });
    }
    r.is_at_end().then_some((covered, slots))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_and_what_was_damaged_is_not(
            raw in proptest::collection::btree_map(1u32.., (0u64..1 << 40, 8u32..9999), 0..9),
            at in any::<prop::sample::Index>(), mask in 1u8..,
        ) {
            let slots: Vec<Slot> =
                raw.into_iter().map(|(u, (at, len))| Slot { uid: Uid::new(u).unwrap(), len, at }).collect();
            let mut octets = encode([7; 8], 1 << 41, &slots);
            prop_assert_eq!(decode(&octets, [7; 8]), Some((1 << 41, slots)));
            prop_assert_eq!(decode(&octets, [8; 8]), None);
            let at = at.index(octets.len());
            prop_assert_eq!(decode(&octets[..at], [7; 8]), None);
            octets[at] ^= mask;
            prop_assert_eq!(decode(&octets, [7; 8]), None);
        }
    }
}
