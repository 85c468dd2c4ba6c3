//! DIGEST-MD5 (RFC 2831), for authentication alone: no integrity, no encryption of what follows, since TLS does both. RFC 6331
//! tells why nobody should need it any more.
//!
//! No realm is named: an account's name has its domain. A client that knows the domain as realm may send the part before
//! the @ alone.

use crate::Malformed;
use crate::text::{hex, sixteen};
use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// The challenge (RFC 2831 §2.1.1). `nonce` is base64 and must never come again.
pub fn challenge(nonce: &str) -> String {
    // Dovecot sends the empty realm too: clients that find none take the server's name, which no account has.
    format!("realm=\"\",nonce=\"{nonce}\",qop=\"auth\",charset=utf-8,algorithm=md5-sess")
}

/// `digest-response` (RFC 2831 §2.1.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The name as sent.
    username: String,
    /// The realm; empty when there was none.
    realm: String,
    /// Whom the client wants to be.
    pub authorize: Option<String>,
    nonce: String,
    cnonce: String,
    nc: String,
    uri: String,
    response: [u8; 16],
}

/// Longer ones are refused (RFC 2831 §2.1.2: less than 4096 octets).
const LONGEST: usize = 4095;

fn malformed(expected: &'static str) -> Malformed {
    Malformed { mechanism: "DIGEST-MD5", expected }
}

impl Response {
    /// Reads it.
    ///
    /// # Errors
    /// When something is missing, comes twice, or is not what was offered.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        if message.len() > LONGEST {
            return Err(malformed("less than 4096 octets"));
        }
        let directives = directives(message)?;
        let once = |name: &str| {
            let mut found = directives.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
            match (found.next(), found.next()) {
                (_, Some(_)) => Err(malformed("each directive once")),
                (first, None) => Ok(first.map(|(_, value)| value.as_slice())),
            }
        };
        let utf8 = once("charset")?.is_some_and(|c| c.eq_ignore_ascii_case(b"utf-8"));
        let text = |octets: &[u8]| match (utf8, std::str::from_utf8(octets)) {
            (true, Ok(text)) => Ok(text.to_owned()),
            (true, Err(_)) => Err(malformed("UTF-8, which charset promises")),
            // RFC 2831 §2.1.1: without charset it is ISO 8859-1.
            (false, _) => Ok(octets.iter().copied().map(char::from).collect()),
        };
        let needed = |name, expected| once(name)?.ok_or_else(|| malformed(expected)).and_then(text);
        if once("qop")?.is_some_and(|qop| !qop.eq_ignore_ascii_case(b"auth")) {
            return Err(malformed("qop=auth, which alone is offered"));
        }
        let response =
            once("response")?.and_then(sixteen).ok_or_else(|| malformed("response, 32 digits of hex"))?;
        let out = Self {
            username: needed("username", "username")?,
            realm: once("realm")?.map(text).transpose()?.unwrap_or_default(),
            authorize: once("authzid")?.map(text).transpose()?.filter(|a| !a.is_empty()),
            nonce: needed("nonce", "nonce")?,
            cnonce: needed("cnonce", "cnonce")?,
            nc: needed("nc", "nc")?,
            uri: needed("digest-uri", "digest-uri")?,
            response,
        };
        if out.username.is_empty() || out.username.contains('\0') {
            return Err(malformed("a username"));
        }
        // Each nonce is used once (RFC 2831 §2.1.3).
        if out.nc != "00000001" {
            return Err(malformed("nc=00000001"));
        }
        Ok(out)
    }

    /// The account that is meant: the name, with the realm for a domain when it has none.
    pub fn user(&self) -> String {
        if self.realm.is_empty() || self.username.contains('@') {
            self.username.clone()
        } else {
            format!("{}@{}", self.username, self.realm)
        }
    }

    /// The name and the realm of which a stored hash must be.
    pub fn name_and_realm(&self) -> (&str, &str) {
        (&self.username, &self.realm)
    }

    /// Checks the proof for each of these hashes of name, realm and password; gives the server's own proof.
    pub fn verify(&self, hashes: &[[u8; 16]], nonce: &str) -> Option<String> {
        if self.nonce != nonce {
            return None;
        }
        let right = |hash: &&[u8; 16]| {
            let expected = self.value(hash, "AUTHENTICATE:");
            bool::from(expected.as_bytes().ct_eq(hex(&self.response).as_bytes()))
        };
        // All are looked at, so that the time does not tell which fits.
        let found = hashes.iter().fold(None, |found, hash| if right(&hash) { Some(hash) } else { found })?;
        Some(format!("rspauth={}", self.value(found, ":")))
    }

    /// `response-value` (RFC 2831 §2.1.2.1); A2 begins otherwise in the server's (§2.1.3).
    fn value(&self, hash: &[u8; 16], begin: &str) -> String {
        let mut a1 = Md5::new();
        a1.update(hash);
        a1.update(format!(":{}:{}", self.nonce, self.cnonce));
        if let Some(authorize) = &self.authorize {
            a1.update(format!(":{authorize}"));
        }
        let a1 = hex(&a1.finalize());
        let a2 = hex(&Md5::digest(format!("{begin}{}", self.uri)));
        hex(&Md5::digest(format!("{a1}:{}:{}:{}:auth:{a2}", self.nonce, self.nc, self.cnonce)))
    }
}

/// `H(username:realm:passwd)` (RFC 2831 §2.1.2.1), which can be stored in place of a password.
pub fn hash(username: &str, realm: &str, password: &[u8]) -> [u8; 16] {
    hash_octets(username.as_bytes(), realm.as_bytes(), password)
}

/// Both forms of the hash that clients make of a password: as it is, and as the RFC wants it, converted to ISO 8859-1 where
/// that is possible.
pub fn hashes(username: &str, realm: &str, password: &[u8]) -> [[u8; 16]; 2] {
    let converted = std::str::from_utf8(password).ok().and_then(latin1);
    let converted = converted.as_deref().unwrap_or(password);
    let name = latin1(username).unwrap_or_else(|| username.as_bytes().to_vec());
    let place = latin1(realm).unwrap_or_else(|| realm.as_bytes().to_vec());
    [hash(username, realm, password), hash_octets(&name, &place, converted)]
}

fn hash_octets(username: &[u8], realm: &[u8], password: &[u8]) -> [u8; 16] {
    let hash = Md5::new().chain_update(username).chain_update(":").chain_update(realm).chain_update(":");
    hash.chain_update(password).finalize().into()
}

fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// The client's answer and what the server must answer to that. For tests, and for programs that log in elsewhere.
///
/// # Errors
/// When the challenge has no nonce.
pub fn answer(
    username: &str,
    realm: &str,
    password: &[u8],
    challenge: &[u8],
    cnonce: &str,
    uri: &str,
) -> Result<(String, String), Malformed> {
    let directives = directives(challenge)?;
    let nonce = directives.iter().find(|(name, _)| name == "nonce").ok_or_else(|| malformed("nonce"))?;
    let nonce = String::from_utf8_lossy(&nonce.1).into_owned();
    let mut response = Response {
        username: username.to_owned(),
        realm: realm.to_owned(),
        authorize: None,
        nonce,
        cnonce: cnonce.to_owned(),
        nc: "00000001".to_owned(),
        uri: uri.to_owned(),
        response: [0; 16],
    };
    let hash = hashes(username, realm, password)[1];
    let value = response.value(&hash, "AUTHENTICATE:");
    response.response = sixteen(value.as_bytes()).unwrap_or_default();
    let text = format!(
        "charset=utf-8,username={},realm={},nonce={},nc=00000001,cnonce={},digest-uri={},response={value},qop=auth",
        quoted(username),
        quoted(realm),
        quoted(&response.nonce),
        quoted(cnonce),
        quoted(uri),
    );
    Ok((text, format!("rspauth={}", response.value(&hash, ":"))))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `1#( token "=" ( token | quoted-string ) )`, with the white space and the empty elements of RFC 2831 §7.1.
fn directives(message: &[u8]) -> Result<Vec<(String, Vec<u8>)>, Malformed> {
    let mut out = Vec::new();
    let mut rest = message;
    loop {
        rest = rest.trim_ascii_start();
        let Some(first) = rest.first() else { return Ok(out) };
        if *first == b',' {
            rest = &rest[1..];
            continue;
        }
        let equals = rest.iter().position(|b| *b == b'=').ok_or_else(|| malformed("name=value"))?;
        let name = rest[..equals].trim_ascii();
        if name.is_empty() || !name.iter().all(|b| b.is_ascii_graphic() && !b"\",;=".contains(b)) {
            return Err(malformed("the name of a directive"));
        }
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        rest = rest[equals + 1..].trim_ascii_start();
        let value = if let Some(inside) = rest.strip_prefix(b"\"") {
            let (value, behind) = unquote(inside)?;
            rest = behind.trim_ascii_start();
            value
        } else {
            let end = rest.iter().position(|b| *b == b',').unwrap_or(rest.len());
            let value = rest[..end].trim_ascii().to_vec();
            rest = &rest[end..];
            value
        };
        if !matches!(rest.first(), None | Some(b',')) {
            return Err(malformed("a comma between directives"));
        }
        out.push((name, value));
    }
}

fn unquote(text: &[u8]) -> Result<(Vec<u8>, &[u8]), Malformed> {
    let mut out = Vec::new();
    let mut octets = text.iter().enumerate();
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'"' => return Ok((out, &text[at + 1..])),
            b'\\' => out.push(*octets.next().ok_or_else(|| malformed("the end of a quoted string"))?.1),
            other => out.push(*other),
        }
    }
    Err(malformed("the end of a quoted string"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 2831 §4: over IMAP, and over ACAP.
    #[test]
    fn the_examples() {
        for (nonce, cnonce, uri, response, rspauth) in [
            (
                "OA6MG9tEQGm2hh",
                "OA6MHXh6VqTrRk",
                "imap/elwood.innosoft.com",
                "d388dad90d4bbd760a152321f2143af7",
                "rspauth=ea40f60335c427b5527b84dbabcdfffd",
            ),
            (
                "OA9BSXrbuRhWay",
                "OA9BSuZWMSpW8m",
                "acap/elwood.innosoft.com",
                "6084c6db3fede7352c551284490fd0fc",
                "rspauth=2f0b3d7c3c2e486600ef710726aa2eae",
            ),
        ] {
            let text = format!(
                "charset=utf-8,username=\"chris\",realm=\"elwood.innosoft.com\",nonce=\"{nonce}\",nc=00000001,\
                 cnonce=\"{cnonce}\",digest-uri=\"{uri}\",response={response},qop=auth"
            );
            let parsed = Response::parse(text.as_bytes()).unwrap();
            assert_eq!(parsed.user(), "chris@elwood.innosoft.com");
            let stored = hash("chris", "elwood.innosoft.com", b"secret");
            assert_eq!(parsed.verify(&[[0; 16], stored], nonce).as_deref(), Some(rspauth));
            assert_eq!(parsed.verify(&[stored], "other"), None);
            assert_eq!(parsed.verify(&[hash("chris", "elwood.innosoft.com", b"Secret")], nonce), None);
            let challenge = format!(
                "realm=\"elwood.innosoft.com\",nonce=\"{nonce}\",qop=\"auth\",algorithm=md5-sess,charset=utf-8"
            );
            let made =
                answer("chris", "elwood.innosoft.com", b"secret", challenge.as_bytes(), cnonce, uri).unwrap();
            assert_eq!(made, (text, rspauth.to_owned()));
        }
    }

    #[test]
    fn names_and_realms() {
        let with = |username: &str, realm: &str| {
            let (text, _) = answer(username, realm, b"x", challenge("n").as_bytes(), "c", "imap/h").unwrap();
            Response::parse(text.as_bytes()).unwrap()
        };
        assert_eq!(with("a@example.com", "").user(), "a@example.com");
        assert_eq!(with("a@example.com", "mail.example.com").user(), "a@example.com");
        assert_eq!(with("a\"\\b", "example.com").user(), "a\"\\b@example.com");
        // A password of ISO 8859-1 is hashed so; one with other characters as UTF-8.
        for password in ["pässword", "пароль"] {
            let (text, proof) =
                answer("a@b", "", password.as_bytes(), challenge("n").as_bytes(), "c", "imap/h").unwrap();
            let response = Response::parse(text.as_bytes()).unwrap();
            assert_eq!(response.verify(&hashes("a@b", "", password.as_bytes()), "n"), Some(proof));
        }
    }

    #[test]
    fn what_is_refused() {
        let good = "username=\"u\",nonce=\"n\",nc=00000001,cnonce=\"c\",digest-uri=\"imap/h\",\
                    response=d388dad90d4bbd760a152321f2143af7";
        assert!(Response::parse(good.as_bytes()).is_ok());
        assert!(Response::parse(format!(" ,, {} , ", good.replace(',', " , ")).as_bytes()).is_ok());
        for bad in [
            String::new(),
            good.replace("nc=00000001", "nc=00000002"),
            good.replace("username=\"u\",", ""),
            good.replace("\"u\"", "\"\""),
            good.replace("\"u\"", "\"u"),
            good.replace("\"u\"", "\"u\"x"),
            format!("{good},nonce=\"n\""),
            format!("{good},qop=auth-int"),
            format!("{good},=x"),
            format!("{good},x"),
            format!("{good},charset=utf-8,realm=\"\\"),
            format!("{good},x={}", "y".repeat(4096)),
        ] {
            assert!(Response::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let mut latin = good.replace("\"u\"", "\"?\"").into_bytes();
        latin[10] = 0xe4;
        assert_eq!(Response::parse(&latin).unwrap().user(), "ä");
        latin.extend(b",charset=utf-8");
        assert!(Response::parse(&latin).is_err());
    }
}
