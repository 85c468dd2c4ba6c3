//! LITERAL+ and LITERAL- (RFC 7888): literals that do not wait for a continuation request.
//!
//! Used by `frame`, which looks at the end of every line, and by `grammar`, which reads the same announcement
//! again as part of a string. The limit of LITERAL- (4096 octets, §5) is the session's affair: [`MINUS_LIMIT`].

use crate::frame::Announced;

/// The largest non-synchronizing literal under LITERAL-, in octets (RFC 7888 §5).
pub const MINUS_LIMIT: u64 = 4096;

/// More digits than any `u64` has make no announcement.
const MAX_DIGITS: usize = 20;

/// The announcement at the end of `line` (without its line end), and where it begins: `{n}`, `{n+}`, `~{n}` or
/// `~{n+}`.
pub(crate) fn announcement(line: &[u8]) -> Option<(Announced, usize)> {
    let head = line.strip_suffix(b"}")?;
    let (head, synchronizing) = match head.strip_suffix(b"+") {
        Some(head) => (head, false),
        None => (head, true),
    };
    let digits = head.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || digits > MAX_DIGITS {
        return None;
    }
    let (head, number) = head.split_at(head.len() - digits);
    let head = head.strip_suffix(b"{")?;
    let (head, binary) = match head.strip_suffix(b"~") {
        Some(head) => (head, true),
        None => (head, false),
    };
    let size = number.iter().fold(0u64, |n, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0')));
    Some((Announced { size, synchronizing, binary }, head.len()))
}

/// Can a string begin after `head`, the line so far? After a space or a parenthesis, outside of quotes.
pub(crate) fn can_begin(head: &[u8]) -> bool {
    matches!(head.last(), Some(b' ' | b'(')) && !in_quotes(head)
}

/// Does `head` end inside a quoted string? Quotes never reach over the end of a line (RFC 9051 §4.3).
fn in_quotes(head: &[u8]) -> bool {
    let mut quoted = false;
    let mut bytes = head.iter();
    while let Some(b) = bytes.next() {
        match b {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                bytes.next();
            }
            _ => {}
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_stand_at_the_end_of_a_line() {
        let of = |s: &str| announcement(s.as_bytes()).map(|(a, at)| (a.size, a.synchronizing, a.binary, at));
        assert_eq!(of("a LOGIN {11}"), Some((11, true, false, 8)));
        assert_eq!(of("A001 LOGIN {11+}"), Some((11, false, false, 11))); // RFC 7888 §3
        assert_eq!(of("a APPEND x ~{3}"), Some((3, true, true, 11)));
        assert_eq!(of("a APPEND x ~{3+}"), Some((3, false, true, 11)));
        assert_eq!(of("{0}"), Some((0, true, false, 0)));
        assert_eq!(of("{99999999999999999999}"), Some((u64::MAX, true, false, 0)));
        for none in
            ["", "}", "{}", "{+}", "{1 }", "{1}x", "{-1}", "{1-}", "{1++}", "1}", "{000000000000000000001}"]
        {
            assert_eq!(of(none), None, "{none:?}");
        }
    }

    #[test]
    fn strings_begin_after_a_space_outside_of_quotes() {
        assert!(can_begin(b"a LOGIN "));
        assert!(can_begin(b"a SEARCH ("));
        assert!(can_begin(b"a LOGIN \"x\\\"\" "));
        assert!(!can_begin(b"a LOGIN \"x "));
        assert!(!can_begin(b"a LOGIN \"x\\\" "));
        assert!(!can_begin(b"a LOGIN x"));
        assert!(!can_begin(b""));
    }
}
