//! Escaping of what must not be in a field: SOH and a letter stand for NUL, SOH, TAB, CR and LF.

const ESCAPE: char = '\u{1}';
const PAIRS: [(char, char); 5] = [('\0', '0'), ('\u{1}', '1'), ('\t', 't'), ('\r', 'r'), ('\n', 'n')];

/// The text as a field may hold it.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match PAIRS.iter().find(|(plain, _)| *plain == c) {
            Some((_, letter)) => out.extend([ESCAPE, *letter]),
            None => out.push(c),
        }
    }
    out
}

/// The text that a field means. A SOH before any other letter is left out, as Dovecot does.
pub fn unescape(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        if c != ESCAPE {
            out.push(c);
            continue;
        }
        if let Some(next) = chars.next() {
            out.push(PAIRS.iter().find(|(_, letter)| *letter == next).map_or(next, |(plain, _)| *plain));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples() {
        // Dovecot's answer for the user `an<SOH>na<TAB>@example.org`.
        assert_eq!(escape("an\u{1}na\t@example.org"), "an\u{1}1na\u{1}t@example.org");
        assert_eq!(escape("\0\r\n"), "\u{1}0\u{1}r\u{1}n");
        assert_eq!(unescape("a\u{1}tb"), "a\tb");
        assert_eq!(unescape("a\u{1}xb\u{1}"), "axb");
    }

    proptest::proptest! {
        #[test]
        fn what_is_escaped_comes_back_and_holds_no_separator(text in ".*") {
            let escaped = escape(&text);
            proptest::prop_assert!(!escaped.contains(['\0', '\t', '\r', '\n']));
            proptest::prop_assert_eq!(unescape(&escaped), text);
        }
    }
}
