//! SCRAM (RFC 5802) with SHA-1 and with SHA-256 (RFC 7677): what is stored, and both ends of the exchange.

mod client;
mod message;
mod server;

pub use client::Client;
pub use message::{Binding, ClientFirst};
pub(crate) use message::{escape, header};
pub use server::{Refused, Server};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Digest;
use std::borrow::Cow;
use subtle::ConstantTimeEq;

/// The iterations of new passwords. RFC 7677 §4 asks for 4096 or more; that many keep a thief of the file busy for no time.
/// The client must do as much at each SCRAM login and we at each PLAIN login that is not remembered, and a telephone that
/// opens five connections should not need seconds for it: so some tens of milliseconds, not the 600,000 that are advised
/// where only a server computes.
pub const ITERATIONS: u32 = 100_000;
/// More are refused: a stored password must not stop the server.
const MOST_ITERATIONS: u32 = 10_000_000;

/// The hash function of a SCRAM mechanism.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Hash {
    /// SCRAM-SHA-1.
    Sha1,
    /// SCRAM-SHA-256.
    Sha256,
}

impl Hash {
    /// Octets of its digest.
    pub fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// H(text).
    fn digest(self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => sha1::Sha1::digest(text).to_vec(),
            Self::Sha256 => sha2::Sha256::digest(text).to_vec(),
        }
    }

    /// HMAC(key, text).
    fn hmac(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        // HMAC takes keys of any length (RFC 2104 §2): no error comes.
        match self {
            Self::Sha1 => Hmac::<sha1::Sha1>::new_from_slice(key)
                .map(|mac| mac.chain_update(text).finalize().into_bytes().to_vec())
                .unwrap_or_default(),
            Self::Sha256 => Hmac::<sha2::Sha256>::new_from_slice(key)
                .map(|mac| mac.chain_update(text).finalize().into_bytes().to_vec())
                .unwrap_or_default(),
        }
    }

    /// Hi(text, salt, i), which is PBKDF2 (RFC 5802 §2.2).
    fn salted_password(self, password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
        let mut out = vec![0; self.length()];
        match self {
            Self::Sha1 => pbkdf2::pbkdf2_hmac::<sha1::Sha1>(password, salt, iterations, &mut out),
            Self::Sha256 => pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password, salt, iterations, &mut out),
        }
        out
    }
}

/// What a server keeps of a password (RFC 5802 §3).
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    hash: Hash,
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

impl Stored {
    /// From a password as typed. Costs `iterations`: milliseconds.
    pub fn derive(hash: Hash, password: &[u8], salt: &[u8], iterations: u32) -> Self {
        Self::derive_prepared(hash, &prepare(password), salt, iterations)
    }

    fn derive_prepared(hash: Hash, password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let salted = hash.salted_password(password, salt, iterations);
        Self {
            hash,
            iterations,
            salt: salt.to_vec(),
            stored_key: hash.digest(&hash.hmac(&salted, b"Client Key")),
            server_key: hash.hmac(&salted, b"Server Key"),
        }
    }

    /// From another password, so that one exchange can prove either.
    pub fn derive_like(&self, password: &[u8]) -> Self {
        Self::derive(self.hash, password, &self.salt, self.iterations)
    }

    /// Can one exchange prove either?
    pub fn like(&self, other: &Self) -> bool {
        (self.hash, self.iterations, &self.salt) == (other.hash, other.iterations, &other.salt)
    }

    /// For a name that does not exist: looks like the others, and no proof fits. `seed` must be secret, and always the
    /// same for the same name.
    pub fn impossible(hash: Hash, seed: &[u8; 32]) -> Self {
        let key = hash.hmac(seed, b"no key");
        let salt = seed[..16].to_vec();
        Self { hash, iterations: ITERATIONS, salt, stored_key: key.clone(), server_key: key }
    }

    /// Reads `iterations,salt,StoredKey,ServerKey`, the last three in base64, as Dovecot stores it.
    pub fn parse(hash: Hash, text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let iterations = parts.next()?.parse().ok().filter(|i| (1..=MOST_ITERATIONS).contains(i))?;
        let salt = STANDARD.decode(parts.next()?).ok()?;
        let stored_key = STANDARD.decode(parts.next()?).ok().filter(|k| k.len() == hash.length())?;
        let server_key = STANDARD.decode(parts.next()?).ok().filter(|k| k.len() == hash.length())?;
        parts.next().is_none().then_some(Self { hash, iterations, salt, stored_key, server_key })
    }

    /// The text that [`Stored::parse`] reads.
    pub fn to_text(&self) -> String {
        let [salt, stored, server] =
            [&self.salt, &self.stored_key, &self.server_key].map(|part| STANDARD.encode(part));
        format!("{},{salt},{stored},{server}", self.iterations)
    }

    /// Is this the password? Costs as much as [`Stored::derive`], twice that for a password which SASLprep changes:
    /// Dovecot stores those without it.
    pub fn verify(&self, password: &[u8]) -> bool {
        let matches = |password: &[u8]| {
            let other = Self::derive_prepared(self.hash, password, &self.salt, self.iterations);
            bool::from(other.stored_key.ct_eq(&self.stored_key))
        };
        let prepared = prepare(password);
        matches(&prepared) || (*prepared != *password && matches(password))
    }
}

/// SASLprep (RFC 4013); a password which it forbids, or that is not UTF-8, is used as it is.
fn prepare(password: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(password).ok().and_then(|text| stringprep::saslprep(text).ok()) {
        Some(Cow::Owned(text)) => Cow::Owned(text.into_bytes()),
        Some(Cow::Borrowed(text)) => Cow::Borrowed(text.as_bytes()),
        None => Cow::Borrowed(password),
    }
}

/// The nonce of one end: 18 random octets in base64, which has no comma. `None` when the system gives no randomness.
pub fn nonce() -> Option<String> {
    let mut random = [0; 18];
    getrandom::fill(&mut random).ok()?;
    Some(STANDARD.encode(random))
}

#[cfg(test)]
mod tests;
