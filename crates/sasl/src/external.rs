//! EXTERNAL (RFC 4422 appendix A): who the client is has been proven outside of SASL, here by its certificate.

use crate::Malformed;

/// Whom the client wants to be; empty for the name that its certificate has.
///
/// # Errors
/// When it is not UTF-8 or has a NUL (RFC 4422 appendix A.1).
pub fn parse(message: &[u8]) -> Result<&str, Malformed> {
    let text = std::str::from_utf8(message).ok().filter(|text| !text.contains('\0'));
    text.ok_or(Malformed {
        mechanism: "EXTERNAL",
        expected: "an authorization identity in UTF-8 without NUL",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples() {
        // RFC 4422 appendix A.2.
        assert_eq!(parse(b""), Ok(""));
        assert_eq!(parse(b"fred@example.com"), Ok("fred@example.com"));
        assert!(parse(b"a\0b").is_err() && parse(b"\xff").is_err());
    }
}
