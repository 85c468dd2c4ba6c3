//! Schemes that are one hash: `SHA*`, `SSHA*`, `SMD5`, `PLAIN-MD4`, `PLAIN-MD5`, and the states of CRAM-MD5 and DIGEST-MD5.

use super::same;
use md4::Md4;
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::{Sha256, Sha512};

/// A hash function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hash {
    Md4,
    Md5,
    Sha1,
    Sha256,
    Sha512,
}

/// Is there a salt behind the digest?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Salted {
    Yes,
    No,
}

/// One of the schemes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    pub hash: Hash,
    pub salted: Salted,
}

impl Hash {
    /// Octets of its digest.
    pub fn length(self) -> usize {
        match self {
            Self::Md4 | Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn over(self, password: &[u8], salt: &[u8]) -> Vec<u8> {
        fn hash<D: Digest>(password: &[u8], salt: &[u8]) -> Vec<u8> {
            D::new().chain_update(password).chain_update(salt).finalize().to_vec()
        }
        match self {
            Self::Md4 => hash::<Md4>(password, salt),
            Self::Md5 => hash::<Md5>(password, salt),
            Self::Sha1 => hash::<Sha1>(password, salt),
            Self::Sha256 => hash::<Sha256>(password, salt),
            Self::Sha512 => hash::<Sha512>(password, salt),
        }
    }
}

impl Kind {
    /// PLAIN-MD5.
    pub const PLAIN_MD5: Self = Self { hash: Hash::Md5, salted: Salted::No };

    /// As Dovecot marks them.
    pub fn is_weak(self) -> bool {
        matches!(self.hash, Hash::Md4 | Hash::Md5)
    }

    /// `None` when the data is too short or too long.
    pub fn verify(self, data: &[u8], password: &[u8]) -> Option<bool> {
        let (digest, salt) = data.split_at_checked(self.hash.length())?;
        if self.salted == Salted::No && !salt.is_empty() {
            return None;
        }
        Some(same(digest, &self.hash.over(password, salt)))
    }
}

/// The two inner states of HMAC-MD5 (RFC 2104, RFC 2195), as Dovecot keeps them.
pub fn cram_md5(password: &[u8]) -> [u8; 32] {
    let mut key = [0; 64];
    if password.len() > 64 {
        key[..16].copy_from_slice(&Md5::digest(password));
    } else {
        key[..password.len()].copy_from_slice(password);
    }
    let mut out = [0; 32];
    // Dovecot writes the outer state first.
    for (half, pad) in out.chunks_exact_mut(16).zip([0x5c, 0x36]) {
        half.copy_from_slice(&md5_state(&key.map(|b| b ^ pad)));
    }
    out
}

/// The state of MD5 (RFC 1321 §3.4) after one block, little-endian.
fn md5_state(block: &[u8; 64]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let start: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut words = [0_u32; 16];
    for (word, octets) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = octets.iter().rev().fold(0, |all, b| (all << 8) | u32::from(*b));
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
    for ((octets, word), first) in out.chunks_exact_mut(4).zip([a, b, c, d]).zip(start) {
        octets.copy_from_slice(&word.wrapping_add(first).to_le_bytes());
    }
    out
}

/// `MD5(user:realm:password)` (RFC 2831 §2.1.2.1), the name split at its last `@`.
pub fn digest_md5(user: &str, password: &[u8]) -> [u8; 16] {
    let (local, realm) = user.rsplit_once('@').unwrap_or((user, ""));
    let hash = Md5::new().chain_update(local).chain_update(":").chain_update(realm).chain_update(":");
    hash.chain_update(password).finalize().into()
}
