//! Tokens that are checked here: JWTs (RFC 7519) signed with keys that lie in files.
//!
//! Which algorithms a key serves is said by the key and never by the token: an RSA key is for RS and PS, a curve for its own
//! algorithm, `alg` of a JWK for that one alone, and HMAC is only for files named `.secret`. `none` is nobody's. Files are read
//! again when they have changed, which is looked at once a second, and at once when a token names a key that is unknown.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::Mutex;
use serde_json::{Map, Value};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long files are not looked at again.
const FRESH: Duration = Duration::from_secs(1);

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

const PRIVATE: &str = "it has a private key, which has no place here: give the public one alone";

/// A key and what it is good for.
pub(super) struct Key {
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// A file as it was read.
struct File {
    path: PathBuf,
    mark: Option<Mark>,
    keys: Vec<Key>,
}

/// What tells that a file has changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark(i64, i64, u64, u64);

/// The files.
struct Files {
    looked: Instant,
    files: Vec<File>,
}

/// The keys.
#[derive(Clone)]
pub struct Keys(Arc<Mutex<Files>>);

impl Keys {
    /// Reads these files.
    ///
    /// # Errors
    /// When one cannot be read, or has no key.
    pub fn new(paths: &[PathBuf]) -> Result<Self, String> {
        let files = paths.iter().map(|path| {
            let mark = mark(path)?;
            Ok(File { path: path.clone(), mark: Some(mark), keys: read(path)? })
        });
        let files = files.collect::<Result<_, String>>()?;
        Ok(Self(Arc::new(Mutex::new(Files { looked: Instant::now(), files }))))
    }

    /// The claims of a token that one of the keys has signed.
    ///
    /// # Errors
    /// When it is no such token; the text says why.
    pub async fn open(&self, token: &str) -> Result<Map<String, Value>, String> {
        let (keys, token) = (self.clone(), token.to_owned());
        // Files are looked at, and signatures cost a while.
        let opened = tokio::task::spawn_blocking(move || keys.0.lock().open(&token)).await;
        opened.map_err(|why| why.to_string())?
    }
}

impl Files {
    fn open(&mut self, token: &str) -> Result<Map<String, Value>, String> {
        if self.looked.elapsed() >= FRESH {
            self.look();
        }
        let parsed = Token::parse(token)?;
        if candidates(self.keys(), &parsed).next().is_none() {
            self.look();
        }
        open_with(|| self.keys(), token, "in the files")
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        self.files.iter().flat_map(|file| &file.keys)
    }

    /// Reads files that have changed. One that cannot be read leaves the keys as they were.
    fn look(&mut self) {
        self.looked = Instant::now();
        for file in &mut self.files {
            let now = mark(&file.path).ok();
            if now == file.mark {
                continue;
            }
            file.mark = now;
            match read(&file.path) {
                Ok(keys) => file.keys = keys,
                Err(why) => tracing::warn!("oauth2: {why}. Keys read earlier go on to count"),
            }
        }
    }
}

/// The keys that may have signed this token.
pub(super) fn candidates<'k>(
    keys: impl Iterator<Item = &'k Key>,
    token: &Token<'_>,
) -> impl Iterator<Item = &'k Key> {
    keys.filter(|key| {
        // RFC 7515 §4.1.4: a hint. Keys without a name may have signed any token.
        let named = key.kid.is_none() || token.kid.is_none() || key.kid == token.kid;
        named && key.algorithms.contains(&token.algorithm)
    })
}

/// The claims of a token that one of these keys has signed.
pub(super) fn open_with<'k, I: Iterator<Item = &'k Key>>(
    keys: impl Fn() -> I,
    token: &str,
    place: &str,
) -> Result<Map<String, Value>, String> {
    let token = Token::parse(token)?;
    let mut tried = false;
    for key in candidates(keys(), &token) {
        tried = true;
        let signed = token.signed.as_bytes();
        if jsonwebtoken::crypto::verify(token.signature, signed, &key.key, token.algorithm).unwrap_or(false) {
            return json(token.payload).ok_or_else(|| "what it says is no JSON object".to_owned());
        }
    }
    let of = token.kid.map(|kid| format!(" {}", shown(&kid))).unwrap_or_default();
    Err(match tried {
        true => "its signature is wrong".to_owned(),
        false => format!("there is no key{of} for {:?} {place}", token.algorithm),
    })
}

/// The parts of a compact JWS (RFC 7515 §7.1).
pub(super) struct Token<'a> {
    signed: &'a str,
    payload: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
    kid: Option<String>,
}

impl<'a> Token<'a> {
    pub(super) fn parse(token: &'a str) -> Result<Self, String> {
        let no = || "it is no signed JWT (RFC 7519)".to_owned();
        let (signed, signature) = token.rsplit_once('.').ok_or_else(no)?;
        let (header, payload) = signed.split_once('.').ok_or_else(no)?;
        if payload.contains('.') {
            return Err("it is encrypted (RFC 7516), which is not understood here".to_owned());
        }
        let header = json(header).ok_or_else(no)?;
        if header.contains_key("crit") {
            // RFC 7515 §4.1.11: what is not understood must be refused, and nothing of it is.
            return Err("its header has critical fields, of which none is understood here".to_owned());
        }
        let named = header.get("alg").and_then(Value::as_str).ok_or("its header names no algorithm")?;
        let algorithm =
            named.parse().map_err(|_| format!("its algorithm {} is not accepted", shown(named)))?;
        let kid = header.get("kid").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { signed, payload, signature, algorithm, kid })
    }
}

fn json(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// What somebody sent, for the log.
pub fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(100).collect::<String>())
}

#[allow(clippy::disallowed_methods, reason = "the administrator's file, not a user's")]
fn mark(path: &Path) -> Result<Mark, String> {
    let is = std::fs::metadata(path).map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(Mark(is.mtime(), is.mtime_nsec(), is.size(), is.ino()))
}

#[allow(clippy::disallowed_methods, reason = "the administrator's file, not a user's")]
fn read(path: &Path) -> Result<Vec<Key>, String> {
    let at = |why: String| format!("{}: {why}", path.display());
    let octets = std::fs::read(path).map_err(|why| at(why.to_string()))?;
    let keys = match path.extension().and_then(|ending| ending.to_str()) {
        Some("json" | "jwks") => jwk_set(&octets),
        Some("pem" | "crt") => pem(&octets),
        Some("secret") => secret(&octets),
        _ => Err("it must end in .json (a JWK set), .pem (public keys or certificates) or .secret (HMAC)"
            .to_owned()),
    };
    let keys = keys.map_err(at)?;
    if keys.is_empty() { Err(at("it has no key that signs tokens".to_owned())) } else { Ok(keys) }
}

/// A JWK set (RFC 7517 §5), or one JWK. Keys for something else, or of kinds that are unknown, are passed over.
pub(super) fn jwk_set(octets: &[u8]) -> Result<Vec<Key>, String> {
    let set: Value = serde_json::from_slice(octets).map_err(|why| why.to_string())?;
    let list = match set.get("keys").and_then(Value::as_array) {
        Some(list) => &list[..],
        None if set.get("kty").is_some() => std::slice::from_ref(&set),
        None => return Err("it is no JWK set (RFC 7517): it has no `keys`".to_owned()),
    };
    list.iter().filter_map(|jwk| jwk_key(jwk).transpose()).collect()
}

fn jwk_key(jwk: &Value) -> Result<Option<Key>, String> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let need = |name: &str| text(name).ok_or_else(|| format!("a key has no {name}"));
    let verifies = |list: &Vec<Value>| list.iter().any(|operation| operation == "verify");
    let operations = jwk.get("key_ops").and_then(Value::as_array).is_none_or(verifies);
    if text("use").is_some_and(|purpose| purpose != "sig") || !operations {
        return Ok(None);
    }
    if jwk.get("d").is_some() {
        return Err(PRIVATE.to_owned());
    }
    let known = |why: jsonwebtoken::errors::Error| format!("a key cannot be read: {why}");
    let (key, mut algorithms) = match (text("kty"), text("crv")) {
        (Some("RSA"), _) => {
            (DecodingKey::from_rsa_components(need("n")?, need("e")?).map_err(known)?, RSA.to_vec())
        }
        (Some("EC"), Some(curve @ ("P-256" | "P-384"))) => {
            let algorithm = if curve == "P-256" { Algorithm::ES256 } else { Algorithm::ES384 };
            (DecodingKey::from_ec_components(need("x")?, need("y")?).map_err(known)?, vec![algorithm])
        }
        // RFC 8037.
        (Some("OKP"), Some("Ed25519")) => {
            (DecodingKey::from_ed_components(need("x")?).map_err(known)?, vec![Algorithm::EdDSA])
        }
        // Among them `oct`: a secret has no place in what providers publish.
        _ => return Ok(None),
    };
    if let Some(named) = text("alg") {
        // A newer name for the same.
        let named = if named == "Ed25519" { "EdDSA" } else { named };
        algorithms.retain(|algorithm| named.parse() == Ok(*algorithm));
    }
    let kid = text("kid").map(str::to_owned);
    Ok(Some(Key { kid, algorithms, key }).filter(|key| !key.algorithms.is_empty()))
}

/// Public keys and certificates.
fn pem(octets: &[u8]) -> Result<Vec<Key>, String> {
    let text = std::str::from_utf8(octets).map_err(|_| "it is no PEM".to_owned())?;
    let mut keys = Vec::new();
    for block in text.split_inclusive("-----END").collect::<Vec<_>>().windows(2) {
        // Up to the end of the line with END.
        let Some(begin) = block[0].find("-----BEGIN") else { continue };
        let end = block[1].find('\n').unwrap_or(block[1].len());
        let whole = format!("{}{}\n", &block[0][begin..], &block[1][..end]);
        if whole.lines().next().is_some_and(|line| line.contains("PRIVATE KEY")) {
            return Err(PRIVATE.to_owned());
        }
        let octets = whole.as_bytes();
        let key = if let Ok(key) = DecodingKey::from_rsa_pem(octets) {
            (key, RSA.to_vec())
        } else if let Ok(key) = DecodingKey::from_ec_pem(octets) {
            // The curve says which of them; the other cannot be right.
            (key, vec![Algorithm::ES256, Algorithm::ES384])
        } else if let Ok(key) = DecodingKey::from_ed_pem(octets) {
            (key, vec![Algorithm::EdDSA])
        } else {
            return Err(
                "a key in it is of no kind that is known here: RSA, P-256, P-384 or Ed25519".to_owned()
            );
        };
        keys.push(Key { kid: None, algorithms: key.1, key: key.0 });
    }
    Ok(keys)
}

/// A secret that provider and server share (HMAC).
fn secret(octets: &[u8]) -> Result<Vec<Key>, String> {
    let secret = octets.strip_suffix(b"\n").unwrap_or(octets);
    let long = [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)];
    let algorithms: Vec<_> =
        long.iter().filter(|(_, n)| secret.len() >= *n).map(|(algorithm, _)| *algorithm).collect();
    if algorithms.is_empty() {
        return Err("a secret needs 32 octets at least (RFC 7518 §3.2)".to_owned());
    }
    Ok(vec![Key { kid: None, algorithms, key: DecodingKey::from_secret(secret) }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}", header in ".{0,60}", kid in ".{0,20}") {
            let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
            let _ = Token::parse(&text).err();
            let _ = Token::parse(&format!("{}.{}.{}", encoded(&header), encoded(&text), encoded(&kid))).err();
            let whole = serde_json::json!({"alg": "RS256", "kid": kid}).to_string();
            let token = format!("{}.{}.{}", encoded(&whole), encoded(&text), encoded("x"));
            let token = Token::parse(&token).map_err(TestCaseError::fail)?;
            prop_assert_eq!((token.algorithm, token.kid), (Algorithm::RS256, Some(kid)));
            let _ = (jwk_set(text.as_bytes()).err(), pem(text.as_bytes()).err(), secret(text.as_bytes()).err());
            let _ = pem(format!("-----BEGIN {header}-----\n{text}\n-----END {header}-----\n").as_bytes()).err();
        }
    }
}
