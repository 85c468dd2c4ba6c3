//! APOP's digest (RFC 1939 §7). No mechanism of SASL, but a cousin of CRAM-MD5: the server must have the password itself.

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

/// The digest of the greeting's timestamp, angle brackets included, and the password, in hex.
pub fn digest(timestamp: &str, password: &[u8]) -> String {
    let digest: [u8; 16] = Md5::new().chain_update(timestamp).chain_update(password).finalize().into();
    crate::text::hex(&digest)
}

/// Is this the digest of that password?
pub fn verify(timestamp: &str, password: &[u8], given: &[u8]) -> bool {
    digest(timestamp, password).as_bytes().ct_eq(&given.to_ascii_lowercase()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1939 §7.
    #[test]
    fn the_example() {
        let timestamp = "<1896.697170952@dbc.mtview.ca.us>";
        assert_eq!(digest(timestamp, b"tanstaaf"), "c4c9334bac560ecc979e58001b3e22fb");
        assert!(verify(timestamp, b"tanstaaf", b"C4c9334bac560ecc979e58001b3e22fb"));
        for bad in [&b""[..], b"c4c9334bac560ecc979e58001b3e22f", b"c4c9334bac560ecc979e58001b3e22fc"] {
            assert!(!verify(timestamp, b"tanstaaf", bad));
        }
    }
}
