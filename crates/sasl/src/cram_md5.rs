//! CRAM-MD5 (RFC 2195).

use crate::Malformed;
use crate::hmac_md5::States;
use crate::text::{hex, sixteen};
use subtle::ConstantTimeEq;

/// The challenge (RFC 2195 §2): a timestamp in the form of a Message-ID. `random` must never come again.
pub fn challenge(random: &str, seconds: u64, host: &str) -> String {
    // RFC 2195 §2 has the syntax of a msg-id: nothing in it may end it early.
    let host: String = host.chars().filter(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).collect();
    format!("<{random}.{seconds}@{}>", if host.is_empty() { "localhost" } else { &host })
}

/// What the client answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// Who it is.
    pub user: &'a [u8],
    digest: [u8; 16],
}

impl<'a> Response<'a> {
    /// The user's name, a space, and the digest in hex (RFC 2195 §2).
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let malformed = Malformed { mechanism: "CRAM-MD5", expected: "user SP digest, 32 digits of hex" };
        let space = message.iter().rposition(|b| *b == b' ').ok_or(malformed)?;
        let digest = sixteen(&message[space + 1..]).ok_or(malformed)?;
        let user = &message[..space];
        if user.is_empty() { Err(malformed) } else { Ok(Self { user, digest }) }
    }

    /// Does the client know the password of which these are the states?
    pub fn verify(&self, states: States, challenge: &str) -> bool {
        states.mac(challenge.as_bytes()).ct_eq(&self.digest).into()
    }
}

/// The client's answer.
pub fn answer(user: &str, password: &[u8], challenge: &[u8]) -> String {
    format!("{user} {}", hex(&States::of(password).mac(challenge)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2195 §3.
    #[test]
    fn the_example() {
        let challenge = challenge("1896", 697_170_952, "postoffice.reston.mci.net");
        assert_eq!(challenge, "<1896.697170952@postoffice.reston.mci.net>");
        let said = "tim b913a602c7eda7a495b4e6e7334d3890";
        assert_eq!(answer("tim", b"tanstaaftanstaaf", challenge.as_bytes()), said);
        let response = Response::parse(said.as_bytes()).unwrap();
        assert_eq!(response.user, b"tim");
        assert!(response.verify(States::of(b"tanstaaftanstaaf"), &challenge));
        assert!(!response.verify(States::of(b"tanstaaf"), &challenge));
        assert!(!response.verify(States::of(b"tanstaaftanstaaf"), "<1@x>"));
    }

    #[test]
    fn names_may_have_spaces_and_all_else_is_malformed() {
        let with_space = Response::parse(b"two words b913a602c7eda7a495b4e6e7334d3890").unwrap();
        assert_eq!(with_space.user, b"two words");
        for bad in [
            &b""[..],
            b"tim",
            b"tim ",
            b" b913a602c7eda7a495b4e6e7334d3890",
            b"tim b913a602c7eda7a495b4e6e7334d389",
            b"tim b913a602c7eda7a495b4e6e7334d389g",
            b"tim b913a602c7eda7a495b4e6e7334d3890 ",
        ] {
            assert!(Response::parse(bad).is_err());
        }
    }

    #[test]
    fn a_host_name_cannot_break_the_challenge() {
        assert_eq!(challenge("1", 2, "a b>\r\n.org"), "<1.2@ab.org>");
        assert_eq!(challenge("1", 2, ""), "<1.2@localhost>");
    }
}
