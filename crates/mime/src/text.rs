//! Finding text in messages: decoded, and folded so that case and composition do not matter (i;unicode-casemap,
//! RFC 5051).

use crate::charset::{self, Charset};
use crate::structure::{Part, Structure};
use crate::{fields, transfer};
use memchr::memmem::Finder;
use unicode_normalization::UnicodeNormalization;

pub use crate::charset::charset;

/// A search text decoded from its CHARSET; `None` when it is not valid there.
pub fn decode_text(charset: Charset, octets: &[u8]) -> Option<String> {
    charset.decode_strict(octets)
}

/// The form in which texts are compared: each character in title case (upper case stands in where that is one
/// character), fully decomposed.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_uppercase();
    }
    text.chars()
        .map(|c| {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(u), None) => u,
                _ => c,
            }
        })
        .nfkd()
        .collect()
}

/// Does a field of this name contain the folded text? An empty text: is the field there?
pub fn matches_header(header: &[u8], name: &str, needle: &str) -> bool {
    fields::iter(header)
        .filter(|f| f.is(name.as_bytes()))
        .any(|f| needle.is_empty() || fold(&charset::decode_words(&f.unfolded())).contains(needle))
}

/// Does the body contain the folded text? Decoded text parts are looked at, as Dovecot does, no headers of parts.
pub fn matches_body(message: &[u8], structure: &Structure, needle: &str) -> bool {
    let finder = Finder::new(needle.as_bytes());
    structure.parts.iter().any(|part| part.is_text() && part_contains(message, part, &finder))
}

/// Do the header, a part's header or the body contain the folded text?
pub fn matches_text(message: &[u8], structure: &Structure, needle: &str) -> bool {
    let finder = Finder::new(needle.as_bytes());
    structure.parts.iter().any(|part| header_contains(message, part, &finder))
        || matches_body(message, structure, needle)
}

fn slice(message: &[u8], range: std::ops::Range<u64>) -> &[u8] {
    let end = (range.end as usize).min(message.len());
    message.get(range.start as usize..end).unwrap_or_default()
}

fn header_contains(message: &[u8], part: &Part, finder: &Finder<'_>) -> bool {
    fields::iter(slice(message, part.header.clone())).any(|f| {
        let line = [f.name, b": ", &f.unfolded()].concat();
        finder.find(fold(&charset::decode_words(&line)).as_bytes()).is_some()
    })
}

fn part_contains(message: &[u8], part: &Part, finder: &Finder<'_>) -> bool {
    let octets = slice(message, part.body.clone());
    let encoding = part.encoding();
    let plain = ["7bit", "8bit", "binary"].iter().any(|e| encoding.eq_ignore_ascii_case(e.as_bytes()));
    if plain && octets.is_ascii() && !is_escaped_charset(part) {
        return finder.find(&octets.to_ascii_uppercase()).is_some();
    }
    let Ok(decoded) = transfer::decode(encoding, octets) else { return false };
    let name = part.content.parameter("charset").and_then(|c| std::str::from_utf8(c).ok());
    let text = match name.and_then(charset) {
        Some(charset) => charset.decode(&decoded),
        None => String::from_utf8_lossy(&decoded).into_owned(),
    };
    finder.find(fold(&text).as_bytes()).is_some()
}

/// Charsets in which ASCII octets do not mean ASCII.
fn is_escaped_charset(part: &Part) -> bool {
    part.content.parameter("charset").is_some_and(|c| {
        let c = c.to_ascii_lowercase();
        c.starts_with(b"iso-2022")
            || c.starts_with(b"utf-7")
            || c.starts_with(b"utf-16")
            || c.starts_with(b"hz")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_composition_do_not_matter() {
        assert_eq!(fold("\u{e9}t\u{e9}"), fold("E\u{301}TE\u{301}"));
        assert_eq!(fold("straße"), fold("STRAßE"));
        assert!(matches_header(b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\n", "subject", &fold("GRÜ")));
        assert!(matches_header(b"X-A:\r\n\r\n", "x-a", ""));
        assert!(!matches_header(b"X-A:\r\n\r\n", "x-b", ""));
    }

    #[test]
    fn encoded_parts_are_searched_decoded() {
        let m = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\
            Content-Transfer-Encoding: base64\r\n\r\nR3LDvMOfZSBhdXM=\r\n--b\r\nContent-Type: image/png\r\n\r\nneedle\r\n--b--\r\n";
        let s = crate::scan(m);
        assert!(matches_body(m, &s, &fold("grüße AUS")));
        assert!(!matches_body(m, &s, &fold("needle")), "an image is no text");
        assert!(matches_text(m, &s, &fold("MULTIPART/mixed")));
    }
}
