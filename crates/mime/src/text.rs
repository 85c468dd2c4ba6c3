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
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut rest = text;
    // No ASCII character decomposes, and none changes its place: what lies between them is decomposed by itself.
    while !rest.is_empty() {
        let ascii = rest.bytes().position(|b| !b.is_ascii()).unwrap_or(rest.len());
        let (plain, other) = rest.split_at(ascii);
        let from = out.len();
        out.push_str(plain);
        out[from..].make_ascii_uppercase();
        let end = other.bytes().position(|b| b.is_ascii()).unwrap_or(other.len());
        out.extend(other[..end].chars().map(upper).nfkd());
        rest = &other[end..];
    }
    out
}

fn upper(c: char) -> char {
    let mut upper = c.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(u), None) => u,
        _ => c,
    }
}

/// Does a field of this name contain the folded text? An empty text: is the field there?
pub fn matches_header(header: &[u8], name: &str, needle: &str) -> bool {
    fields::iter(header)
        .filter(|f| f.is(name.as_bytes()))
        .any(|f| needle.is_empty() || fold(&charset::decode_words(&f.unfolded())).contains(needle))
}

/// Does the body contain the folded text? Decoded text parts are looked at, as Dovecot does, no headers of parts.
pub fn matches_body(message: &[u8], structure: &Structure, needle: &str) -> bool {
    matches_parts(message, &text_parts(structure), needle)
}

/// Where the text of a message is and how it is encoded: all that [`matches_parts`] needs of its structure, to be kept.
///
/// For each text part: its first octet and the one behind its last (u64, little-endian), then Content-Transfer-Encoding
/// and charset, each with its length (u8) before it.
pub fn text_parts(structure: &Structure) -> Vec<u8> {
    let mut out = Vec::new();
    for part in structure.parts.iter().filter(|p| p.is_text()) {
        out.extend_from_slice(&part.body.start.to_le_bytes());
        out.extend_from_slice(&part.body.end.to_le_bytes());
        for word in [part.encoding(), part.content.parameter("charset").unwrap_or_default()] {
            let word = &word[..word.len().min(255)];
            out.push(word.len() as u8);
            out.extend_from_slice(word);
        }
    }
    out
}

/// A part as [`text_parts`] has it.
struct TextPart<'a> {
    body: std::ops::Range<u64>,
    encoding: &'a [u8],
    charset: &'a [u8],
}

fn next_part<'a>(parts: &mut &'a [u8]) -> Option<TextPart<'a>> {
    let mut take = |n: usize| {
        let (head, rest) = parts.split_at_checked(n)?;
        *parts = rest;
        Some(head)
    };
    let start = u64::from_le_bytes(take(8)?.try_into().ok()?);
    let end = u64::from_le_bytes(take(8)?.try_into().ok()?);
    let mut word = || {
        let len = take(1)?.first().copied()?;
        take(usize::from(len))
    };
    Some(TextPart { body: start..end, encoding: word()?, charset: word()? })
}

/// As [`matches_body`], from what [`text_parts`] has kept.
pub fn matches_parts(message: &[u8], parts: &[u8], needle: &str) -> bool {
    let finder = Finder::new(needle.as_bytes());
    let mut rest = parts;
    while let Some(part) = next_part(&mut rest) {
        if part_contains(slice(message, part.body.clone()), &part, &finder) {
            return true;
        }
    }
    false
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

fn part_contains(octets: &[u8], part: &TextPart<'_>, finder: &Finder<'_>) -> bool {
    let plain = ["7bit", "8bit", "binary"].iter().any(|e| part.encoding.eq_ignore_ascii_case(e.as_bytes()));
    if plain && octets.is_ascii() && !is_escaped_charset(part.charset) {
        return finder.find(&octets.to_ascii_uppercase()).is_some();
    }
    let Ok(mut decoded) = transfer::decode(part.encoding, octets) else { return false };
    if decoded.is_ascii() && !is_escaped_charset(part.charset) {
        decoded.make_ascii_uppercase();
        return finder.find(&decoded).is_some();
    }
    let text = match std::str::from_utf8(part.charset).ok().and_then(charset) {
        Some(charset) => charset.decode(&decoded),
        None => String::from_utf8_lossy(&decoded).into_owned(),
    };
    finder.find(fold(&text).as_bytes()).is_some()
}

/// Charsets in which ASCII octets do not mean ASCII.
fn is_escaped_charset(charset: &[u8]) -> bool {
    ["iso-2022", "utf-7", "utf-16", "hz"].iter().any(|escaped| {
        charset.get(..escaped.len()).is_some_and(|c| c.eq_ignore_ascii_case(escaped.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn a_text_in_pieces_folds_as_a_whole(text in "([a-zß\u{e0}-\u{ff}\u{300}-\u{330}\u{1e9b}\u{ff21}\u{ac00}]| \\PC)*") {
            let whole: String = text.chars().map(upper).nfkd().collect();
            proptest::prop_assert_eq!(fold(&text), whole);
        }
    }

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
        let kept = text_parts(&s);
        assert!(matches_parts(m, &kept, &fold("grüße AUS")));
        for end in 0..kept.len() {
            assert!(!matches_parts(m, &kept[..end], &fold("grüße AUS")), "{end}");
        }
    }
}
