//! Stored passwords: every scheme of Dovecot verifies, five are made.
//!
//! A stored password is `{SCHEME}data` or one of the bare forms that [`Stored::parse`] lists. What cannot be read is an
//! [`Unusable`], which is an administrator's fault and never "wrong password". Comparisons take the same time wherever
//! the first difference is. Hashes are slow on purpose: call [`Stored::verify`] from a thread that may block.

mod crypt;
mod des;
mod digest;
mod generate;
mod md5crypt;

pub use generate::{Make, make};

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use culver_sasl::hmac_md5::States;
use culver_sasl::{digest_md5, scram};
use subtle::ConstantTimeEq;

/// A scheme.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scheme {
    Plain,
    PlainTrunc,
    Crypt,
    Md5Crypt,
    /// Either MD5-CRYPT or PLAIN-MD5, by its look.
    Md5,
    Argon2,
    Pbkdf2,
    Digest(digest::Kind),
    CramMd5,
    DigestMd5,
    ScramSha1,
    ScramSha256,
}

/// A stored password, taken apart.
#[derive(Clone)]
pub struct Stored {
    scheme: Scheme,
    name: String,
    data: Vec<u8>,
}

/// A stored password cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unusable {
    /// An unknown scheme.
    #[error("the password scheme {0:?} is not known: set the password again")]
    Scheme(String),
    /// The data behind the scheme.
    #[error("the data of a {0} password cannot be read: set the password again")]
    Data(String),
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl Stored {
    /// Takes a stored password apart: `{SCHEME}data`, `{SCHEME.b64}data`, `{SCHEME.hex}data`; `data[34]` and `data[56]`
    /// of libpam-pwdfile; everything else is CRYPT, as in Dovecot.
    ///
    /// # Errors
    /// When the scheme is unknown or the data does not fit it.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        if let Some((name, data)) = text.strip_prefix('{').and_then(|t| t.split_once('}')) {
            return Self::of(name, data);
        }
        if let Some((data, number)) = text.strip_suffix(']').and_then(|t| t.rsplit_once('[')) {
            let scheme = match number {
                "34" => "PLAIN-MD5",
                "56" => "DIGEST-MD5",
                _ => "CRYPT",
            };
            return Self::of(scheme, data);
        }
        Self::of("CRYPT", text)
    }

    fn of(name: &str, data: &str) -> Result<Self, Unusable> {
        let full = name.to_ascii_uppercase();
        let (name, encoding) = full.split_once('.').map_or((full.as_str(), None), |(n, e)| (n, Some(e)));
        let unknown = || Unusable::Scheme(full.clone());
        let bad = || Unusable::Data(name.to_owned());
        let scheme = scheme(name).ok_or_else(unknown)?;
        let hex = |text: &str| hex::decode(text).map_err(|_| bad());
        let base64 = |text: &str| LENIENT.decode(text).map_err(|_| bad());
        let data = match (encoding, raw_length(scheme)) {
            (Some("B64" | "BASE64"), _) => base64(data)?,
            (Some("HEX"), _) => hex(data)?,
            (Some(_), _) => return Err(unknown()),
            (None, Some(length)) if data.len() == 2 * length => hex(data)?,
            (None, Some(_)) => base64(data)?,
            (None, None) => data.as_bytes().to_vec(),
        };
        Ok(Self { scheme, name: name.to_owned(), data })
    }

    /// The scheme's name, without encoding.
    pub fn scheme(&self) -> &str {
        &self.name
    }

    /// Would somebody who steals it soon know the password?
    pub fn is_weak(&self) -> bool {
        match self.scheme {
            Scheme::Md5Crypt | Scheme::Md5 | Scheme::CramMd5 | Scheme::DigestMd5 => true,
            Scheme::Digest(kind) => kind.is_weak(),
            Scheme::Crypt => crypt::is_weak(&self.data),
            Scheme::Plain | Scheme::PlainTrunc | Scheme::Argon2 | Scheme::Pbkdf2 => false,
            Scheme::ScramSha1 | Scheme::ScramSha256 => false,
        }
    }

    /// Is this the password? `user` is the canonical name, which DIGEST-MD5 hashes too.
    ///
    /// # Errors
    /// When the stored data cannot be read.
    pub fn verify(&self, password: &[u8], user: &str) -> Result<bool, Unusable> {
        let bad = || Unusable::Data(self.name.clone());
        let text = || std::str::from_utf8(&self.data).map_err(|_| bad());
        let right = match self.scheme {
            Scheme::Plain => Some(same(&self.data, password)),
            Scheme::PlainTrunc => Some(truncated(&self.data, password)),
            Scheme::Crypt => crypt::verify(text()?, password),
            Scheme::Md5Crypt => md5crypt::verify(text()?, password),
            Scheme::Md5 if self.data.starts_with(b"$1$") => md5crypt::verify(text()?, password),
            Scheme::Md5 => {
                let data = if self.data.len() == 32 { hex::decode(text()?) } else { return Err(bad()) };
                digest::Kind::PLAIN_MD5.verify(&data.map_err(|_| bad())?, password)
            }
            Scheme::Argon2 => crypt::argon2(text()?, password),
            Scheme::Pbkdf2 => crypt::pbkdf2(text()?, password),
            Scheme::Digest(kind) => kind.verify(&self.data, password),
            Scheme::CramMd5 => Some(same(&self.data, &States::of(password).to_bytes())),
            Scheme::DigestMd5 => {
                // The name split at its last @, as Dovecot does it.
                let (local, realm) = user.rsplit_once('@').unwrap_or((user, ""));
                Some(same(&self.data, &digest_md5::hash(local, realm, password)))
            }
            Scheme::ScramSha1 => scram::Stored::parse(scram::Hash::Sha1, text()?).map(|s| s.verify(password)),
            Scheme::ScramSha256 => self.scram(scram::Hash::Sha256).map(|s| s.verify(password)),
        };
        right.ok_or_else(bad)
    }

    /// What SCRAM needs, when it is stored for this hash function.
    pub fn scram(&self, hash: scram::Hash) -> Option<scram::Stored> {
        match (self.scheme, hash) {
            (Scheme::ScramSha256, scram::Hash::Sha256) | (Scheme::ScramSha1, scram::Hash::Sha1) => {
                scram::Stored::parse(hash, std::str::from_utf8(&self.data).ok()?)
            }
            _ => None,
        }
    }

    /// What CRAM-MD5 needs, when it is stored so or in the clear.
    pub fn cram_md5(&self) -> Option<States> {
        match self.scheme {
            Scheme::CramMd5 => States::parse(&self.data),
            _ => self.clear().map(States::of),
        }
    }

    /// The hashes that DIGEST-MD5 may be proven with for this name and realm, when it is stored so or in the clear. `user`
    /// is the canonical name: a stored hash is of its two parts.
    pub fn digest_md5(&self, user: &str, name: &str, realm: &str) -> Option<Vec<[u8; 16]>> {
        match self.scheme {
            Scheme::DigestMd5 => {
                let fits = user.rsplit_once('@') == Some((name, realm));
                fits.then(|| self.data.as_slice().try_into().ok().map(|hash| vec![hash]))?
            }
            _ => self.clear().map(|clear| digest_md5::hashes(name, realm, clear).to_vec()),
        }
    }

    /// The password itself, when it is stored in the clear.
    pub fn clear(&self) -> Option<&[u8]> {
        (self.scheme == Scheme::Plain).then_some(&self.data)
    }
}

/// Equal, in a time that does not tell where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// `<n>-<text>`: if the text is exactly n long, it was cut there, and only that much is compared.
fn truncated(data: &[u8], password: &[u8]) -> bool {
    let cut = data.iter().position(|b| *b == b'-').and_then(|dash| {
        let length: usize = std::str::from_utf8(&data[..dash]).ok()?.parse().ok()?;
        Some((length, &data[dash + 1..]))
    });
    match cut {
        Some((length, text)) if length == text.len() => same(text, &password[..password.len().min(length)]),
        Some((_, text)) => same(text, password),
        None => same(data, password),
    }
}

fn scheme(name: &str) -> Option<Scheme> {
    use digest::{Hash, Kind};
    let plain = |hash| Scheme::Digest(Kind { hash, salted: digest::Salted::No });
    let salted = |hash| Scheme::Digest(Kind { hash, salted: digest::Salted::Yes });
    Some(match name {
        "PLAIN" | "CLEAR" | "CLEARTEXT" => Scheme::Plain,
        "PLAIN-TRUNC" => Scheme::PlainTrunc,
        "CRYPT" | "DES-CRYPT" | "SHA256-CRYPT" | "SHA512-CRYPT" | "BLF-CRYPT" | "YESCRYPT" => Scheme::Crypt,
        "MD5-CRYPT" => Scheme::Md5Crypt,
        "MD5" => Scheme::Md5,
        "ARGON2" | "ARGON2I" | "ARGON2ID" => Scheme::Argon2,
        "PBKDF2" => Scheme::Pbkdf2,
        "SHA" | "SHA1" => plain(Hash::Sha1),
        "SHA256" => plain(Hash::Sha256),
        "SHA512" => plain(Hash::Sha512),
        "SSHA" => salted(Hash::Sha1),
        "SSHA256" => salted(Hash::Sha256),
        "SSHA512" => salted(Hash::Sha512),
        "SMD5" => salted(Hash::Md5),
        "PLAIN-MD4" => plain(Hash::Md4),
        "PLAIN-MD5" | "LDAP-MD5" => plain(Hash::Md5),
        "HMAC-MD5" | "CRAM-MD5" => Scheme::CramMd5,
        "DIGEST-MD5" => Scheme::DigestMd5,
        "SCRAM-SHA-1" => Scheme::ScramSha1,
        "SCRAM-SHA-256" => Scheme::ScramSha256,
        _ => return None,
    })
}

/// Octets of the raw data; `Some(0)` for data that is binary but of any length, `None` for text.
fn raw_length(scheme: Scheme) -> Option<usize> {
    match scheme {
        Scheme::Digest(kind) if kind.salted == digest::Salted::Yes => Some(0),
        Scheme::Digest(kind) => Some(kind.hash.length()),
        Scheme::CramMd5 => Some(32),
        Scheme::DigestMd5 => Some(16),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
