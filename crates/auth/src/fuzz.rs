//! A target for a fuzzer: bytes in, no panic out.

use crate::scheme::Stored;
use culver_sasl::scram::Hash;

/// A stored password and, behind the first line feed, one that was typed. Numbers of rounds are the administrator's, so
/// texts with three digits in a row are only taken apart.
pub fn fuzz_stored(data: &[u8]) {
    let end = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (text, password) = data.split_at(end);
    let Ok(stored) = Stored::parse(&String::from_utf8_lossy(text)) else { return };
    let _ = (stored.is_weak(), stored.scram(Hash::Sha256), stored.cram_md5(), stored.clear());
    let costly =
        text.windows(3).any(|w| w.iter().all(u8::is_ascii_digit)) || text.windows(2).any(|w| w == b"$2");
    if !costly {
        let _ = stored.verify(password.get(1..).unwrap_or_default(), "a@example.com");
    }
}
