//! The names of the mechanisms, and what can be said of each before it starts.

use crate::scram::Hash;

/// A mechanism that Culver speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Mechanism {
    /// SCRAM-SHA-256-PLUS (RFC 7677): bound to the TLS channel.
    ScramSha256Plus,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// SCRAM-SHA-1-PLUS (RFC 5802): bound to the TLS channel.
    ScramSha1Plus,
    /// SCRAM-SHA-1 (RFC 5802).
    ScramSha1,
    /// EXTERNAL (RFC 4422): the certificate of the client.
    External,
    /// OAUTHBEARER (RFC 7628).
    OAuthBearer,
    /// XOAUTH2: what Google and Microsoft spoke before RFC 7628, and still do.
    XOAuth2,
    /// DIGEST-MD5 (RFC 2831), obsolete since RFC 6331.
    DigestMd5,
    /// CRAM-MD5 (RFC 2195).
    CramMd5,
    /// PLAIN (RFC 4616).
    Plain,
    /// LOGIN: never more than a draft (draft-murchison-sasl-login), but old clients know nothing else.
    Login,
    /// ANONYMOUS (RFC 4505).
    Anonymous,
}

impl Mechanism {
    /// All, the ones a client should prefer first.
    pub const ALL: [Self; 12] = [
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::ScramSha1Plus,
        Self::ScramSha1,
        Self::External,
        Self::OAuthBearer,
        Self::XOAuth2,
        Self::DigestMd5,
        Self::CramMd5,
        Self::Plain,
        Self::Login,
        Self::Anonymous,
    ];

    /// The mechanism of this name, in any case of letters.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name().eq_ignore_ascii_case(name))
    }

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::External => "EXTERNAL",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::XOAuth2 => "XOAUTH2",
            Self::DigestMd5 => "DIGEST-MD5",
            Self::CramMd5 => "CRAM-MD5",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
            Self::Anonymous => "ANONYMOUS",
        }
    }

    /// Does the client speak first (RFC 4422 §3.3)? If it sent nothing yet, an empty challenge asks it to. The others begin
    /// with a challenge of the server; of them only LOGIN bears an initial response.
    pub fn client_first(self) -> bool {
        !matches!(self, Self::Login | Self::CramMd5 | Self::DigestMd5)
    }

    /// Does it need the data of a TLS channel?
    pub fn binds_channel(self) -> bool {
        matches!(self, Self::ScramSha256Plus | Self::ScramSha1Plus)
    }

    /// Does the password itself cross the wire?
    pub fn is_plaintext(self) -> bool {
        matches!(self, Self::Plain | Self::Login)
    }

    /// The hash function, when it is a SCRAM mechanism.
    pub fn scram(self) -> Option<Hash> {
        match self {
            Self::ScramSha256 | Self::ScramSha256Plus => Some(Hash::Sha256),
            Self::ScramSha1 | Self::ScramSha1Plus => Some(Hash::Sha1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::parse(mechanism.name()), Some(mechanism));
            assert_eq!(Mechanism::parse(&mechanism.name().to_lowercase()), Some(mechanism));
        }
        assert_eq!(Mechanism::parse("NTLM"), None);
        assert_eq!(Mechanism::parse(""), None);
    }
}
