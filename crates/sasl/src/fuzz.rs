//! Targets for a fuzzer: bytes in, no panic out.

use crate::oauth::Bearer;
use crate::plain::Plain;
use crate::scram::{ClientFirst, Hash, Server, Stored};
use crate::{anonymous, apop, cram_md5, digest_md5, external};

/// Everything that reads a client's bytes; the two messages of SCRAM are split at the first line feed.
pub fn fuzz_sasl(data: &[u8]) {
    let _ = (Plain::parse(data), external::parse(data), anonymous::parse(data));
    for bearer in [Bearer::parse(data), Bearer::parse_xoauth2(data)].into_iter().flatten() {
        assert!(bearer.token.is_empty() || Bearer::parse(bearer.to_text().as_bytes()) == Ok(bearer));
    }
    if let Ok(response) = cram_md5::Response::parse(data) {
        assert!(
            !response.verify(crate::hmac_md5::States::of(b"unknown"), "<1.2@x>"),
            "nobody knows this password"
        );
    }
    if let Ok(response) = digest_md5::Response::parse(data) {
        assert_eq!(response.verify(&digest_md5::hashes("u", "r", b"unknown"), "nonce"), None);
    }
    assert!(!apop::verify("<1.2@x>", b"unknown", data));
    let text = String::from_utf8_lossy(data);
    let _ = (Stored::parse(Hash::Sha256, &text).map(|s| s.to_text()), crate::Mechanism::parse(&text));
    let end = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (first, last) = data.split_at(end);
    if let Ok(first) = ClientFirst::parse(first) {
        let server = Server::new(first, Stored::impossible(Hash::Sha256, &[1; 32]), "nonce", Vec::new());
        assert!(server.finish(last.get(1..).unwrap_or_default()).is_err(), "nobody knows this password");
    }
}
