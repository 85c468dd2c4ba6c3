//! DES-CRYPT: the crypt(3) of the seventh edition. Two characters of salt, eight of the password.
//!
//! DES (FIPS 46-3) with the salt's twelve bits swapping outputs of the expansion E, which no library of DES offers.

use super::md5crypt::DIGITS;
use super::same;

type Bits = [u8; 64];

#[rustfmt::skip]
const IP: [u8; 64] = [
    58, 50, 42, 34, 26, 18, 10, 2, 60, 52, 44, 36, 28, 20, 12, 4, 62, 54, 46, 38, 30, 22, 14, 6, 64, 56, 48, 40, 32, 24, 16, 8,
    57, 49, 41, 33, 25, 17, 9, 1, 59, 51, 43, 35, 27, 19, 11, 3, 61, 53, 45, 37, 29, 21, 13, 5, 63, 55, 47, 39, 31, 23, 15, 7,
];
#[rustfmt::skip]
const E: [u8; 48] = [
    32, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8, 9, 8, 9, 10, 11, 12, 13, 12, 13, 14, 15, 16, 17,
    16, 17, 18, 19, 20, 21, 20, 21, 22, 23, 24, 25, 24, 25, 26, 27, 28, 29, 28, 29, 30, 31, 32, 1,
];
#[rustfmt::skip]
const P: [u8; 32] = [
    16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10, 2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25,
];
#[rustfmt::skip]
const PC1: [u8; 56] = [
    57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
    63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4,
];
#[rustfmt::skip]
const PC2: [u8; 48] = [
    14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2,
    41, 52, 31, 37, 47, 55, 30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32,
];
const SHIFTS: [usize; 16] = [1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1];
#[rustfmt::skip]
const S: [[u8; 64]; 8] = [
    [14, 4, 13, 1, 2, 15, 11, 8, 3, 10, 6, 12, 5, 9, 0, 7, 0, 15, 7, 4, 14, 2, 13, 1, 10, 6, 12, 11, 9, 5, 3, 8,
     4, 1, 14, 8, 13, 6, 2, 11, 15, 12, 9, 7, 3, 10, 5, 0, 15, 12, 8, 2, 4, 9, 1, 7, 5, 11, 3, 14, 10, 0, 6, 13],
    [15, 1, 8, 14, 6, 11, 3, 4, 9, 7, 2, 13, 12, 0, 5, 10, 3, 13, 4, 7, 15, 2, 8, 14, 12, 0, 1, 10, 6, 9, 11, 5,
     0, 14, 7, 11, 10, 4, 13, 1, 5, 8, 12, 6, 9, 3, 2, 15, 13, 8, 10, 1, 3, 15, 4, 2, 11, 6, 7, 12, 0, 5, 14, 9],
    [10, 0, 9, 14, 6, 3, 15, 5, 1, 13, 12, 7, 11, 4, 2, 8, 13, 7, 0, 9, 3, 4, 6, 10, 2, 8, 5, 14, 12, 11, 15, 1,
     13, 6, 4, 9, 8, 15, 3, 0, 11, 1, 2, 12, 5, 10, 14, 7, 1, 10, 13, 0, 6, 9, 8, 7, 4, 15, 14, 3, 11, 5, 2, 12],
    [7, 13, 14, 3, 0, 6, 9, 10, 1, 2, 8, 5, 11, 12, 4, 15, 13, 8, 11, 5, 6, 15, 0, 3, 4, 7, 2, 12, 1, 10, 14, 9,
     10, 6, 9, 0, 12, 11, 7, 13, 15, 1, 3, 14, 5, 2, 8, 4, 3, 15, 0, 6, 10, 1, 13, 8, 9, 4, 5, 11, 12, 7, 2, 14],
    [2, 12, 4, 1, 7, 10, 11, 6, 8, 5, 3, 15, 13, 0, 14, 9, 14, 11, 2, 12, 4, 7, 13, 1, 5, 0, 15, 10, 3, 9, 8, 6,
     4, 2, 1, 11, 10, 13, 7, 8, 15, 9, 12, 5, 6, 3, 0, 14, 11, 8, 12, 7, 1, 14, 2, 13, 6, 15, 0, 9, 10, 4, 5, 3],
    [12, 1, 10, 15, 9, 2, 6, 8, 0, 13, 3, 4, 14, 7, 5, 11, 10, 15, 4, 2, 7, 12, 9, 5, 6, 1, 13, 14, 0, 11, 3, 8,
     9, 14, 15, 5, 2, 8, 12, 3, 7, 0, 4, 10, 1, 13, 11, 6, 4, 3, 2, 12, 9, 5, 15, 10, 11, 14, 1, 7, 6, 0, 8, 13],
    [4, 11, 2, 14, 15, 0, 8, 13, 3, 12, 9, 7, 5, 10, 6, 1, 13, 0, 11, 7, 4, 9, 1, 10, 14, 3, 5, 12, 2, 15, 8, 6,
     1, 4, 11, 13, 12, 3, 7, 14, 10, 15, 6, 8, 0, 5, 9, 2, 6, 11, 13, 8, 1, 4, 10, 7, 9, 5, 0, 15, 14, 2, 3, 12],
    [13, 2, 8, 4, 6, 15, 11, 1, 10, 9, 3, 14, 5, 0, 12, 7, 1, 15, 13, 8, 10, 3, 7, 4, 12, 5, 6, 11, 0, 14, 9, 2,
     7, 11, 4, 1, 9, 12, 14, 2, 0, 6, 10, 13, 15, 3, 5, 8, 2, 1, 14, 7, 4, 10, 8, 13, 15, 12, 9, 0, 3, 5, 6, 11],
];

/// `None` when it is not two characters of salt and eleven of hash.
pub fn verify(stored: &str, password: &[u8]) -> Option<bool> {
    let stored: &[u8; 13] = stored.as_bytes().try_into().ok()?;
    let digit = |b: u8| DIGITS.iter().position(|d| *d == b);
    if !stored.iter().all(|b| digit(*b).is_some()) {
        return None;
    }
    let salt = digit(stored[0])? | digit(stored[1])? << 6;
    Some(same(&stored[2..], &hashed(password, salt)))
}

fn hashed(password: &[u8], salt: usize) -> [u8; 11] {
    let mut key: Bits = [0; 64];
    // Seven bits of each of eight characters; a NUL ends a password of C.
    for (octet, letter) in key.chunks_exact_mut(8).zip(password.iter().take_while(|b| **b != 0)) {
        for (place, bit) in octet.iter_mut().take(7).enumerate() {
            *bit = letter >> (6 - place) & 1;
        }
    }
    let keys = schedule(&key);
    let mut expansion = E;
    for bit in (0..12).filter(|bit| salt >> bit & 1 == 1) {
        expansion.swap(bit, bit + 24);
    }
    let mut block: Bits = [0; 64];
    for _ in 0..25 {
        block = encrypt(&block, &keys, &expansion);
    }
    let mut out = [0; 11];
    for (place, digit) in out.iter_mut().enumerate() {
        let bits = (0..6).map(|i| block.get(place * 6 + i).copied().unwrap_or(0));
        *digit = DIGITS[bits.fold(0, |all, bit| all << 1 | usize::from(bit))];
    }
    out
}

fn schedule(key: &Bits) -> [[u8; 48]; 16] {
    let mut halves = PC1.map(|from| key[usize::from(from) - 1]);
    SHIFTS.map(|shift| {
        let (left, right) = halves.split_at_mut(28);
        left.rotate_left(shift);
        right.rotate_left(shift);
        PC2.map(|from| halves[usize::from(from) - 1])
    })
}

fn encrypt(block: &Bits, keys: &[[u8; 48]; 16], expansion: &[u8; 48]) -> Bits {
    let mixed = IP.map(|from| block[usize::from(from) - 1]);
    let (mut left, mut right) = ([0; 32], [0; 32]);
    left.copy_from_slice(&mixed[..32]);
    right.copy_from_slice(&mixed[32..]);
    for key in keys {
        let mut boxed = [0_u8; 32];
        for (number, out) in boxed.chunks_exact_mut(4).enumerate() {
            let bit = |i: usize| {
                let at = number * 6 + i;
                usize::from(right[usize::from(expansion[at]) - 1] ^ key[at])
            };
            let row = bit(0) << 1 | bit(5);
            let column = bit(1) << 3 | bit(2) << 2 | bit(3) << 1 | bit(4);
            let value = S[number][row * 16 + column];
            for (place, out) in out.iter_mut().enumerate() {
                *out = value >> (3 - place) & 1;
            }
        }
        let mut next = P.map(|from| boxed[usize::from(from) - 1]);
        for (bit, other) in next.iter_mut().zip(left) {
            *bit ^= other;
        }
        (left, right) = (right, next);
    }
    // The last round does not swap; then the inverse of IP.
    let mut out: Bits = [0; 64];
    for (place, to) in IP.iter().enumerate() {
        out[usize::from(*to) - 1] = if place < 32 { right[place] } else { left[place - 32] };
    }
    out
}
