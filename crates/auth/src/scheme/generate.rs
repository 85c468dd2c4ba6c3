//! Making stored passwords.

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
    /// PLAIN: for tests.
    Plain,
}

/// A stored password for this one; `None` when the system gives no randomness.
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
        // In base64 no character can end a line or a field of a passwd-file.
        Make::Plain if password.contains([':', '\n', '\r']) => {
            format!("{{PLAIN.b64}}{}", STANDARD.encode(password))
        }
        Make::Plain => format!("{{PLAIN}}{password}"),
    })
}
