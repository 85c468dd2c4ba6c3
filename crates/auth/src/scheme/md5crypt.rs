//! MD5-CRYPT: `$1$salt$hash`, after Poul-Henning Kamp's crypt of FreeBSD 2.0.

use super::same;
use md5::{Digest, Md5};

/// The digits of crypt(3).
pub const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `None` when it is malformed.
pub fn verify(stored: &str, password: &[u8]) -> Option<bool> {
    let (salt, hash) = stored.strip_prefix("$1$")?.split_once('$')?;
    if hash.len() != 22 {
        return None;
    }
    let salt = &salt.as_bytes()[..salt.len().min(8)];
    Some(same(hash.as_bytes(), &hashed(password, salt)))
}

fn hashed(password: &[u8], salt: &[u8]) -> Vec<u8> {
    let mut inner = Md5::new().chain_update(password).chain_update("$1$").chain_update(salt);
    let mixed = Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize();
    for chunk in password.chunks(16) {
        inner.update(&mixed[..chunk.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        inner.update(if bits & 1 == 1 { &[0][..] } else { &password[..1] });
        bits >>= 1;
    }
    let mut sum = inner.finalize();
    for round in 0..1000 {
        let mut hash = Md5::new();
        if round % 2 == 1 {
            hash.update(password);
        } else {
            hash.update(sum);
        }
        if round % 3 != 0 {
            hash.update(salt);
        }
        if round % 7 != 0 {
            hash.update(password);
        }
        if round % 2 == 1 {
            hash.update(sum);
        } else {
            hash.update(password);
        }
        sum = hash.finalize();
    }
    let mut out = Vec::with_capacity(22);
    let mut put = |value: u32, digits: u32| {
        out.extend((0..digits).map(|d| DIGITS[(value >> (6 * d)) as usize & 63]));
    };
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        put(u32::from(sum[a]) << 16 | u32::from(sum[b]) << 8 | u32::from(sum[c]), 4);
    }
    put(u32::from(sum[11]), 2);
    out
}
