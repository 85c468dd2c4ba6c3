//! What crypt(3) knows, told apart by the prefix; and Argon2 and PBKDF2, which look alike.
//!
//! A number of rounds or an amount of memory which would stop the server makes a stored password unusable.

use super::{des, md5crypt, same};
use argon2::password_hash::PasswordVerifier;

/// The most memory that one hash may take, in KiB.
const MOST_MEMORY: u64 = 1 << 20;
/// The most rounds of SHA-crypt and PBKDF2.
const MOST_ROUNDS: u32 = 50_000_000;
/// The highest cost of bcrypt.
const MOST_COST: u32 = 20;

/// Verifies any form; `None` when it is not known or malformed.
pub fn verify(stored: &str, password: &[u8]) -> Option<bool> {
    let kind = stored.strip_prefix('$').and_then(|rest| rest.split_once('$'));
    match kind {
        Some(("1", _)) => md5crypt::verify(stored, password),
        Some(("2a" | "2b" | "2y" | "2x", rest)) => {
            rest.get(..2)?.parse::<u32>().ok().filter(|cost| *cost <= MOST_COST)?;
            bcrypt::verify(password, stored).ok()
        }
        Some(("5" | "6", rest)) => {
            if let Some(rounds) = rest.strip_prefix("rounds=") {
                rounds.split('$').next()?.parse::<u32>().ok().filter(|r| *r <= MOST_ROUNDS)?;
            }
            answer(
                sha_crypt::ShaCrypt::default()
                    .verify_password(password, stored)
                    .map_err(|e| matches!(e, sha_crypt::password_hash::Error::PasswordInvalid)),
            )
        }
        Some(("y", rest)) => {
            yescrypt_is_bearable(rest)?;
            answer(
                yescrypt::Yescrypt::default()
                    .verify_password(password, stored)
                    .map_err(|e| matches!(e, yescrypt::password_hash::Error::PasswordInvalid)),
            )
        }
        Some(("argon2i" | "argon2id" | "argon2d", _)) => argon2(stored, password),
        _ => des::verify(stored, password),
    }
}

/// As Dovecot marks them: DES and MD5.
pub fn is_weak(stored: &[u8]) -> bool {
    !stored.starts_with(b"$") || stored.starts_with(b"$1$")
}

/// The verdict of a library: an error which says "wrong password" is an answer, others are not.
fn answer(verdict: Result<(), bool>) -> Option<bool> {
    match verdict {
        Ok(()) => Some(true),
        Err(true) => Some(false),
        Err(false) => None,
    }
}

/// `$argon2id$v=19$m=..,t=..,p=..$salt$hash`.
pub fn argon2(stored: &str, password: &[u8]) -> Option<bool> {
    let parameters = stored.split('$').find(|field| field.starts_with("m="))?;
    let memory: u64 = parameters.split(',').next()?.strip_prefix("m=")?.parse().ok()?;
    if memory > MOST_MEMORY {
        return None;
    }
    answer(
        argon2::Argon2::default()
            .verify_password(password, stored)
            .map_err(|e| matches!(e, argon2::password_hash::Error::PasswordInvalid)),
    )
}

/// `$1$salt$rounds$hex of 20 octets`, HMAC-SHA1.
pub fn pbkdf2(stored: &str, password: &[u8]) -> Option<bool> {
    let mut parts = stored.strip_prefix("$1$")?.split('$');
    let (salt, rounds, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let rounds = rounds.parse().ok().filter(|r| (1..=MOST_ROUNDS).contains(r))?;
    let hash = hex::decode(hash).ok().filter(|h| h.len() == 20 && parts.next().is_none())?;
    let mut computed = [0; 20];
    pbkdf2::pbkdf2_hmac::<sha1::Sha1>(password, salt.as_bytes(), rounds, &mut computed);
    Some(same(&hash, &computed))
}

/// `j9T$...`: flavour, log2 N, r. Memory is 128 r N octets. Forms with more parameters are made by nobody.
fn yescrypt_is_bearable(rest: &str) -> Option<()> {
    let digit = |b: u8| b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijkl".iter().position(|d| *d == b);
    let [_, n, r] = rest.split_once('$')?.0.as_bytes().try_into().ok()?;
    let (n, r) = (digit(n)? + 1, digit(r)? as u64 + 1);
    (n <= 24 && (128 * r) << n <= MOST_MEMORY * 1024).then_some(())
}
