//! What Dovecot's auth protocol says of a mechanism (`MECH`), by which a client chooses those that it offers in turn.

use crate::Mechanism;

impl Mechanism {
    /// Its properties, in the words and the order of the `MECH` line: `plaintext` (the password can be read on the wire),
    /// `dictionary` (what was overheard can be tried against a list of passwords), `active` (somebody between can take part),
    /// `forward-secrecy`, `mutual-auth`, `private` (not for clients to choose), `anonymous`.
    pub fn properties(self) -> &'static [&'static str] {
        match self {
            // Dovecot: a token can be read as a password can.
            Self::Plain | Self::Login | Self::OAuthBearer | Self::XOAuth2 => &["plaintext"],
            Self::CramMd5 => &["dictionary", "active"],
            Self::DigestMd5 => &["dictionary", "active", "mutual-auth"],
            Self::ScramSha1 | Self::ScramSha256 => &["mutual-auth"],
            Self::ScramSha1Plus | Self::ScramSha256Plus => &["mutual-auth", "channel-binding"],
            Self::External => &[],
            Self::Anonymous => &["anonymous"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of Dovecot 2.3.19, and of 2.4 for channel binding.
    #[test]
    fn as_dovecot_says() {
        let table = [
            ("PLAIN", "plaintext"),
            ("LOGIN", "plaintext"),
            ("CRAM-MD5", "dictionary active"),
            ("DIGEST-MD5", "dictionary active mutual-auth"),
            ("SCRAM-SHA-1", "mutual-auth"),
            ("SCRAM-SHA-256", "mutual-auth"),
            ("EXTERNAL", ""),
            ("ANONYMOUS", "anonymous"),
            ("OAUTHBEARER", "plaintext"),
            ("XOAUTH2", "plaintext"),
            ("SCRAM-SHA-256-PLUS", "mutual-auth channel-binding"),
        ];
        for (name, properties) in table {
            assert_eq!(Mechanism::parse(name).unwrap().properties().join(" "), properties, "{name}");
        }
    }
}
