//! HMAC-MD5 (RFC 2104 §2) out of its two inner states, which is how passwords for CRAM-MD5 are stored: the password itself
//! need not be kept. Libraries do not let anybody continue a hash from a state, so its one function stands here.

use md5::{Digest, Md5};

/// The states of MD5 after the blocks of the outer and of the inner key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct States {
    outer: [u8; 16],
    inner: [u8; 16],
}

/// The state that MD5 begins with (RFC 1321 §3.3), as octets.
const START: [u8; 16] =
    [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10];

impl States {
    /// From a password.
    pub fn of(password: &[u8]) -> Self {
        let mut key = [0; 64];
        if password.len() > 64 {
            key[..16].copy_from_slice(&Md5::digest(password));
        } else {
            key[..password.len()].copy_from_slice(password);
        }
        let state = |pad: u8| block(START, &key.map(|b| b ^ pad));
        Self { outer: state(0x5c), inner: state(0x36) }
    }

    /// From 32 octets, the outer state first, as Dovecot stores them.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (outer, inner) = data.split_at_checked(16)?;
        Some(Self { outer: outer.try_into().ok()?, inner: inner.try_into().ok()? })
    }

    /// What [`States::parse`] reads.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut out = [0; 32];
        out[..16].copy_from_slice(&self.outer);
        out[16..].copy_from_slice(&self.inner);
        out
    }

    /// HMAC-MD5 of a text.
    pub fn mac(self, text: &[u8]) -> [u8; 16] {
        rest(self.outer, &rest(self.inner, text))
    }
}

/// MD5 of one block and a text, given the state after the block.
fn rest(state: [u8; 16], text: &[u8]) -> [u8; 16] {
    let mut padded = text.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - text.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let bits = (text.len() as u64 + 64).wrapping_mul(8);
    let end = padded.len() - 8;
    padded[end..].copy_from_slice(&bits.to_le_bytes());
    padded.as_chunks::<64>().0.iter().fold(state, block)
}

/// MD5 over one more block (RFC 1321 §3.4).
fn block(state: [u8; 16], block: &[u8; 64]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let word = |octets: &[u8; 4]| u32::from_le_bytes(*octets);
    let mut start = [0; 4];
    for (to, from) in start.iter_mut().zip(state.as_chunks::<4>().0) {
        *to = word(from);
    }
    let mut words = [0_u32; 16];
    for (to, from) in words.iter_mut().zip(block.as_chunks::<4>().0) {
        *to = word(from);
    }
    let [mut a, mut b, mut c, mut d] = start;
    for step in 0..64 {
        let (mixed, index) = match step / 16 {
            0 => ((b & c) | (!b & d), step),
            1 => ((d & b) | (!d & c), 5 * step + 1),
            2 => (b ^ c ^ d, 3 * step + 5),
            _ => (c ^ (b | !d), 7 * step),
        };
        // RFC 1321 §3.4: T[i] is the integer part of 4294967296 times abs(sin(i)).
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let table = (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
        let sum = a.wrapping_add(mixed).wrapping_add(words[index % 16]).wrapping_add(table);
        (a, d, c) = (d, c, b);
        b = b.wrapping_add(sum.rotate_left(SHIFTS[step / 16][step % 4]));
    }
    let mut out = [0; 16];
    for ((octets, word), first) in out.as_chunks_mut::<4>().0.iter_mut().zip([a, b, c, d]).zip(start) {
        *octets = word.wrapping_add(first).to_le_bytes();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use hmac::{Hmac, KeyInit, Mac};

    #[test]
    fn the_same_as_the_library_for_all_lengths() {
        for key in [0, 1, 16, 63, 64, 65, 200] {
            let key = vec![0xa7; key];
            for text in 0..200 {
                let text = vec![0x5b; text];
                let mut mac = Hmac::<Md5>::new_from_slice(&key).unwrap();
                mac.update(&text);
                assert_eq!(States::of(&key).mac(&text)[..], mac.finalize().into_bytes()[..]);
            }
        }
        let states = States::of(b"x");
        assert!(States::parse(&states.to_bytes()) == Some(states));
        assert!(States::parse(&[0; 31]).is_none() && States::parse(&[0; 33]).is_none());
    }
}
