//! Making stored passwords.
//!
//! SCRAM-SHA-256 is the default although a memory-hard hash resists a thief longer: it is the one form that serves PLAIN
//! and SCRAM both, and with SCRAM the password never leaves the client, so neither a false server nor a log can catch it.
//! Mechanisms are offered to all accounts alike: one account stored otherwise takes SCRAM from all.

use argon2::password_hash::PasswordHasher;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use culver_sasl::scram;

/// A scheme for new passwords.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Make {
    /// SCRAM-SHA-256: serves PLAIN and SCRAM, and clients need not send the password.
    #[default]
    ScramSha256,
    /// ARGON2ID (RFC 9106): the hardest to guess for who steals it, but serves PLAIN only.
    Argon2id,
    /// SHA512-CRYPT: what other programs and crypt(3) of every system read; serves PLAIN only.
    Sha512Crypt,
    /// BLF-CRYPT: bcrypt; serves PLAIN only, and takes passwords of at most 72 octets.
    BlfCrypt,
    /// PLAIN: for tests.
    Plain,
}

/// The rounds of SHA512-CRYPT. Its default of 5000 is from 2007.
const SHA512_ROUNDS: u32 = 100_000;
/// The cost of bcrypt, a power of two.
const BLF_COST: u32 = 10;

/// A stored password for this one; `None` when the system gives no randomness, or the scheme cannot hold the password.
pub fn make(how: Make, password: &str) -> Option<String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).ok()?;
    Some(match how {
        Make::ScramSha256 => {
            let hash = scram::Hash::Sha256;
            let stored = scram::Stored::derive(hash, password.as_bytes(), &salt, scram::ITERATIONS);
            format!("{{SCRAM-SHA-256}}{}", stored.to_text())
        }
        Make::Argon2id => {
            let argon2 = argon2::Argon2::default();
            format!("{{ARGON2ID}}{}", argon2.hash_password_with_salt(password.as_bytes(), &salt).ok()?)
        }
        Make::Sha512Crypt => {
            let parameters = sha_crypt::Params::new(SHA512_ROUNDS).ok()?;
            let crypt = sha_crypt::ShaCrypt::new(sha_crypt::Algorithm::Sha512Crypt, parameters);
            // crypt(3) takes 16 characters of salt: 12 octets, 96 bits.
            format!(
                "{{SHA512-CRYPT}}{}",
                crypt.hash_password_with_salt(password.as_bytes(), &salt[..12]).ok()?
            )
        }
        // What is behind 72 octets or a NUL would not count.
        Make::BlfCrypt if password.len() > 72 || password.contains('\0') => return None,
        Make::BlfCrypt => {
            let parts = bcrypt::hash_with_salt(password, BLF_COST, salt).ok()?;
            format!("{{BLF-CRYPT}}{}", parts.format_for_version(bcrypt::Version::TwoY))
        }
        // In base64 no character can end a line or a field of a passwd-file.
        Make::Plain if password.contains([':', '\n', '\r']) => {
            format!("{{PLAIN.b64}}{}", STANDARD.encode(password))
        }
        Make::Plain => format!("{{PLAIN}}{password}"),
    })
}
