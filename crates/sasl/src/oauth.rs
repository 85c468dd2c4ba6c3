//! OAUTHBEARER (RFC 7628), and XOAUTH2, which Google and Microsoft spoke before it. What is in a token is not our subject.

use crate::Malformed;
use crate::scram::{Binding, header};

/// What the client says.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer {
    /// Whom the client wants to be; `None` when that is for the token to say.
    pub user: Option<String>,
    /// The token; empty when the client only asks what it needs (RFC 7628 §4.3).
    pub token: String,
}

/// The longest message. Tokens with many claims have some kilobytes.
const LONGEST: usize = 16 * 1024;

/// The answer to the error message of OAUTHBEARER (RFC 7628 §3.2.3).
pub const DUMMY: &[u8] = b"\x01";

impl Bearer {
    /// `client-resp` of OAUTHBEARER (RFC 7628 §3.1).
    ///
    /// # Errors
    /// When it breaks the grammar, has no `auth`, or wants channel binding.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let malformed = |expected| Malformed { mechanism: "OAUTHBEARER", expected };
        let text = text(message).ok_or(malformed("UTF-8, at most 16384 octets"))?;
        let (binding, user, rest) = header(text, "OAUTHBEARER")?;
        if matches!(binding, Binding::Used(_)) {
            // RFC 7628 §3.1: this mechanism does not bind channels.
            return Err(malformed("n or y: channel binding is not part of OAUTHBEARER"));
        }
        let pairs = rest.strip_prefix('\x01').and_then(|r| r.strip_suffix("\x01\x01"));
        let pairs = pairs.ok_or(malformed("^A before the first pair and ^A^A behind the last"))?;
        let token = token(pairs.split('\x01')).ok_or(malformed("auth=Bearer and a token"))?;
        Ok(Self { user, token })
    }

    /// `user=name ^A auth=Bearer token ^A ^A`, the initial response of XOAUTH2.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse_xoauth2(message: &[u8]) -> Result<Self, Malformed> {
        let malformed = |expected| Malformed { mechanism: "XOAUTH2", expected };
        let text = text(message).ok_or(malformed("UTF-8, at most 16384 octets"))?;
        let pairs = text.strip_suffix("\x01\x01").ok_or(malformed("^A^A at the end"))?;
        let mut pairs = pairs.split('\x01');
        let user = pairs.next().and_then(|p| p.strip_prefix("user=")).ok_or(malformed("user=name"))?;
        let token = token(pairs).ok_or(malformed("auth=Bearer and a token"))?;
        Ok(Self { user: Some(user.to_owned()).filter(|u| !u.is_empty()), token })
    }

    /// The initial response of OAUTHBEARER.
    pub fn to_text(&self) -> String {
        let user = self.user.as_deref().map(|u| format!("a={}", crate::scram::escape(u))).unwrap_or_default();
        format!("n,{user},\x01auth=Bearer {}\x01\x01", self.token)
    }

    /// The initial response of XOAUTH2.
    pub fn to_xoauth2(&self) -> String {
        format!("user={}\x01auth=Bearer {}\x01\x01", self.user.as_deref().unwrap_or_default(), self.token)
    }
}

/// The error message of OAUTHBEARER (RFC 7628 §3.2.2): why, which scope is needed, where the provider's metadata lie.
pub fn error(scope: Option<&str>, configuration: Option<&str>) -> String {
    let mut out = "{\"status\":\"invalid_token\"".to_owned();
    for (name, value) in [("scope", scope), ("openid-configuration", configuration)] {
        if let Some(value) = value {
            out.push_str(&format!(",\"{name}\":{}", json(value)));
        }
    }
    out + "}"
}

/// The error message of XOAUTH2, as Google documents it.
pub fn error_xoauth2(scope: Option<&str>) -> String {
    let scope = json(scope.unwrap_or("mail"));
    format!("{{\"status\":\"401\",\"schemes\":\"bearer\",\"scope\":{scope}}}")
}

/// A string of JSON (RFC 8259 §7).
fn json(text: &str) -> String {
    let mut out = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c) & 0xffff)),
            c => out.push(c),
        }
    }
    out + "\""
}

fn text(message: &[u8]) -> Option<&str> {
    std::str::from_utf8(message).ok().filter(|text| text.len() <= LONGEST)
}

/// The token of `auth=Bearer token`; the word Bearer in any case (RFC 7628 §4). Other pairs are read over.
fn token<'a>(mut pairs: impl Iterator<Item = &'a str>) -> Option<String> {
    let value = pairs.find_map(|pair| pair.strip_prefix("auth="))?;
    if value.is_empty() {
        return Some(String::new());
    }
    let (kind, token) = value.split_once(' ')?;
    let token = token.trim();
    // b68token (RFC 6750 §2.1), and no more than visible characters for those who know better.
    let fits = kind.eq_ignore_ascii_case("bearer") && token.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| token.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    /// RFC 7628 §4.1 and §4.3.
    #[test]
    fn the_examples() {
        let message = STANDARD
            .decode(concat!(
                "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI",
                "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
            ))
            .unwrap();
        let bearer = Bearer::parse(&message).unwrap();
        assert_eq!(bearer.user.as_deref(), Some("user@example.com"));
        assert_eq!(bearer.token, "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        let asking = STANDARD
            .decode("bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9AQE=")
            .unwrap();
        assert_eq!(Bearer::parse(&asking).unwrap().token, "");
        let expected = STANDARD
            .decode(concat!(
                "eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRpb24i",
                "OiJodHRwczovL2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0="
            ))
            .unwrap();
        let made = error(Some("example_scope"), Some("https://example.com/.well-known/openid-configuration"));
        assert_eq!(made.as_bytes(), expected);
        assert_eq!(error(Some("a\"\\\n"), None), r#"{"status":"invalid_token","scope":"a\"\\\u000a"}"#);
    }

    /// The example of <https://developers.google.com/gmail/imap/xoauth2-protocol>.
    #[test]
    fn the_example_of_google() {
        let message = "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ==";
        let bearer = Bearer::parse_xoauth2(&STANDARD.decode(message).unwrap()).unwrap();
        assert_eq!(bearer.user.as_deref(), Some("someuser@example.com"));
        assert_eq!(bearer.token, "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg");
        assert_eq!(STANDARD.encode(bearer.to_xoauth2()), message);
        assert_eq!(error_xoauth2(None), r#"{"status":"401","schemes":"bearer","scope":"mail"}"#);
    }

    #[test]
    fn both_ways_and_what_is_refused() {
        for user in [None, Some("a,=b@example.com".to_owned())] {
            let bearer = Bearer { user, token: "t.o-k".to_owned() };
            assert!(Bearer::parse(bearer.to_text().as_bytes()).unwrap() == bearer);
        }
        assert!(Bearer::parse(b"y,,\x01auth=bEARER x\x01\x01").unwrap().token == "x");
        for bad in [
            &b""[..],
            b"\x01",
            b"n,,",
            b"n,,\x01\x01",
            b"n,,\x01auth=Bearer x\x01",
            b"n,,\x01auth=Bearer\x01\x01",
            b"n,,\x01auth=MAC x\x01\x01",
            b"n,,\x01auth=Bearer x y\x01\x01",
            b"n,,auth=Bearer x\x01\x01",
            b"p=tls-exporter,,\x01auth=Bearer x\x01\x01",
            b"n,a=,\x01auth=Bearer x\x01\x01",
            b"n,,\x01auth=Bearer \xff\x01\x01",
        ] {
            assert!(Bearer::parse(bad).is_err(), "{bad:?}");
            assert!(Bearer::parse_xoauth2(bad).is_err());
        }
        let long = format!("n,,\x01auth=Bearer {}\x01\x01", "x".repeat(LONGEST));
        assert!(Bearer::parse(long.as_bytes()).is_err());
    }
}
