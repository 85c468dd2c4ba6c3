//! ANONYMOUS (RFC 4505).

use crate::Malformed;

/// The trace information: an address or a word (RFC 4505 §2), which may be empty.
///
/// # Errors
/// When it is not UTF-8, has control characters, or more than 255 characters.
pub fn parse(message: &[u8]) -> Result<&str, Malformed> {
    let fits = |text: &&str| text.chars().count() <= 255 && !text.chars().any(char::is_control);
    let text = std::str::from_utf8(message).ok().filter(fits);
    text.ok_or(Malformed {
        mechanism: "ANONYMOUS",
        expected: "at most 255 characters without control characters",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples() {
        // RFC 4505 §4.
        assert_eq!(parse(b"sirhc"), Ok("sirhc"));
        assert_eq!(parse(b""), Ok(""));
        assert_eq!(parse("ü".repeat(255).as_bytes()).map(str::len), Ok(510));
        assert!(parse("ü".repeat(256).as_bytes()).is_err());
        assert!(parse(b"a\nb").is_err() && parse(b"\xff").is_err());
    }
}
