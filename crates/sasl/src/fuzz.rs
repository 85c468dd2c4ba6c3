//! Targets for a fuzzer: bytes in, no panic out.

use crate::plain::Plain;
use crate::scram::{ClientFirst, Hash, Server, Stored};

/// Everything that reads a client's bytes; the two messages of SCRAM are split at the first line feed.
pub fn fuzz_sasl(data: &[u8]) {
    let _ = Plain::parse(data);
    let text = String::from_utf8_lossy(data);
    let _ = (Stored::parse(Hash::Sha256, &text).map(|s| s.to_text()), crate::Mechanism::parse(&text));
    let end = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (first, last) = data.split_at(end);
    if let Ok(first) = ClientFirst::parse(first) {
        let server = Server::new(first, Stored::impossible(Hash::Sha256, &[1; 32]), "nonce", Vec::new());
        assert!(server.finish(last.get(1..).unwrap_or_default()).is_err(), "nobody knows this password");
    }
}
