//! PLAIN (RFC 4616), and the two questions of LOGIN.

use crate::Malformed;

/// LOGIN's first challenge (draft-murchison-sasl-login §2.1); clients look at its words.
pub const LOGIN_USER: &[u8] = b"Username:";
/// LOGIN's second challenge.
pub const LOGIN_PASSWORD: &[u8] = b"Password:";

/// What PLAIN says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Plain<'a> {
    /// Whom the client wants to be; empty for itself.
    pub authorize: &'a [u8],
    /// Who it is.
    pub user: &'a [u8],
    /// Its password.
    pub password: &'a [u8],
}

impl<'a> Plain<'a> {
    /// `message = [authzid] UTF8NUL authcid UTF8NUL passwd` (RFC 4616 §2).
    ///
    /// # Errors
    /// When there are not exactly two NULs.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let malformed =
            Malformed { mechanism: "PLAIN", expected: "authorization NUL user NUL password, with two NULs" };
        let mut parts = message.split(|b| *b == 0);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(authorize), Some(user), Some(password), None) => Ok(Self { authorize, user, password }),
            _ => Err(malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples() {
        // RFC 4616 §4.
        let plain = Plain::parse(b"\0tim\0tanstaaftanstaaf").unwrap();
        assert_eq!(
            (plain.authorize, plain.user, plain.password),
            (&b""[..], &b"tim"[..], &b"tanstaaftanstaaf"[..])
        );
        let plain = Plain::parse(b"Ursel\0Kurt\0xipj3plmq").unwrap();
        assert_eq!((plain.authorize, plain.user), (&b"Ursel"[..], &b"Kurt"[..]));
        for bad in [&b""[..], b"a", b"a\0b", b"a\0b\0c\0", b"\0\0\0"] {
            assert!(Plain::parse(bad).is_err());
        }
    }
}
