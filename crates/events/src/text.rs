//! Making text from clients safe for a line of the log.

/// The text with everything replaced by `?` that could end a line, close a bracket or hide: control characters and
/// `<`, `>`. Without this a login name such as `x>, rip=192.0.2.1` would let a client have somebody else banned.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '<' | '>' | '\u{2028}' | '\u{2029}') { '?' } else { c })
        .take(LONGEST)
        .collect()
}

/// Text of ours that may quote others: one line, nothing else is changed.
pub fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The longest address is 254 octets (RFC 5321 §4.5.3.1.3); anything longer is an attack or an accident.
const LONGEST: usize = 320;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_escapes_its_bracket() {
        assert_eq!(clean("x>, rip=192.0.2.1\r\ny"), "x?, rip=192.0.2.1??y");
        assert_eq!(clean(&"a".repeat(9999)).len(), LONGEST);
        assert_eq!(clean("jörg@example.org"), "jörg@example.org");
    }
}
