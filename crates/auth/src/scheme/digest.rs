//! Schemes that are one hash: `SHA*`, `SSHA*`, `SMD5`, `PLAIN-MD4`, `PLAIN-MD5`.

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
