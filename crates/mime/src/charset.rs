//! Charsets by name, and encoded words (RFC 2047).

use crate::transfer;
use encoding_rs::Encoding;

/// A charset that we can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charset(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ascii,
    Known(&'static Encoding),
    Utf7,
}

/// Looks a name up; without regard to case.
pub fn charset(name: &str) -> Option<Charset> {
    let name = name.trim();
    if name.eq_ignore_ascii_case("US-ASCII") || name.eq_ignore_ascii_case("ASCII") {
        return Some(Charset(Kind::Ascii));
    }
    if name.eq_ignore_ascii_case("UTF-7") {
        return Some(Charset(Kind::Utf7));
    }
    Encoding::for_label_no_replacement(name.as_bytes()).map(|e| Charset(Kind::Known(e)))
}

impl Charset {
    /// Decodes strictly: `None` when the octets are not valid.
    pub fn decode_strict(self, octets: &[u8]) -> Option<String> {
        match self.0 {
            Kind::Ascii => octets.is_ascii().then(|| String::from_utf8_lossy(octets).into_owned()),
            Kind::Known(e) => e.decode_without_bom_handling_and_without_replacement(octets).map(Into::into),
            Kind::Utf7 => utf7(octets),
        }
    }

    /// Decodes what can be decoded.
    pub fn decode(self, octets: &[u8]) -> String {
        match self.0 {
            // Mail that says ASCII and is not is mostly UTF-8.
            Kind::Ascii => String::from_utf8_lossy(octets).into_owned(),
            Kind::Known(e) => e.decode_without_bom_handling(octets).0.into_owned(),
            Kind::Utf7 => utf7(octets).unwrap_or_else(|| String::from_utf8_lossy(octets).into_owned()),
        }
    }
}

/// UTF-7 (RFC 2152).
fn utf7(octets: &[u8]) -> Option<String> {
    let mut out = String::new();
    let mut rest = octets;
    while let Some(&b) = rest.first() {
        rest = &rest[1..];
        if b != b'+' {
            out.push(char::from(b).is_ascii().then_some(char::from(b))?);
            continue;
        }
        let n = rest
            .iter()
            .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')))
            .unwrap_or(rest.len());
        let code = &rest[..n];
        rest = &rest[n..];
        if let Some(after) = rest.strip_prefix(b"-") {
            rest = after;
        }
        if code.is_empty() {
            out.push('+');
            continue;
        }
        let bytes = transfer::base64(code);
        let units: Vec<u16> = bytes.chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect();
        out.push_str(&String::from_utf16(&units).ok()?);
    }
    Some(out)
}

/// A field's value in Unicode: encoded words decoded, white space between two of them dropped (RFC 2047 §6.2), raw
/// octets taken as UTF-8 or, failing that, as Windows-1252.
pub fn decode_words(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    let mut after_word = false;
    while let Some(start) = memchr::memmem::find(rest, b"=?") {
        let (before, from) = rest.split_at(start);
        match encoded_word(from) {
            Some((text, used)) => {
                if !(after_word && before.trim_ascii().is_empty()) {
                    out.push_str(&raw(before));
                }
                out.push_str(&text);
                rest = &from[used..];
                after_word = true;
            }
            None => {
                out.push_str(&raw(before));
                out.push_str("=?");
                rest = &from[2..];
                after_word = false;
            }
        }
    }
    out.push_str(&raw(rest));
    out
}

fn raw(octets: &[u8]) -> String {
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(octets).0.into_owned(),
    }
}

/// An encoded word's longest form by RFC 2047 §2 is 75 octets; real mail goes beyond.
const LONGEST_WORD: usize = 4096;

/// `=?charset?encoding?text?=` at the start of `bytes`: its text, and how long it is.
fn encoded_word(bytes: &[u8]) -> Option<(String, usize)> {
    let window = &bytes[..bytes.len().min(LONGEST_WORD)];
    let body = window.strip_prefix(b"=?")?;
    let name_end = memchr::memchr(b'?', body)?;
    let name = std::str::from_utf8(&body[..name_end]).ok()?;
    // RFC 2231 §5: a language may follow.
    let charset = charset(name.split('*').next().unwrap_or(name))?;
    let how = *body.get(name_end + 1)?;
    let text = body.get(name_end + 2..)?.strip_prefix(b"?")?;
    let text_start = window.len() - text.len();
    let end = memchr::memmem::find(text, b"?=")?;
    let code = &text[..end];
    let octets = match how {
        b'B' | b'b' => transfer::base64(code),
        b'Q' | b'q' => {
            let spaced: Vec<u8> = code.iter().map(|b| if *b == b'_' { b' ' } else { *b }).collect();
            let mut out = transfer::quoted_printable(&spaced);
            // No line ends here: a trailing blank is the word's own.
            if spaced.last() == Some(&b' ') && out.last() != Some(&b' ') {
                out.push(b' ');
            }
            out
        }
        _ => return None,
    };
    Some((charset.decode(&octets), text_start + end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_examples() {
        // RFC 2047 §8.
        let table = [
            ("=?ISO-8859-1?Q?a?=", "a"),
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a?=    =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a_b?=", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=", "a b"),
            ("=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"),
            ("=?ISO-8859-1?Q?Keld_J=F8rn_Simonsen?=", "Keld J\u{f8}rn Simonsen"),
            ("=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?=", "If you can read this yo"),
            ("=?nonsense?Q?a?=", "=?nonsense?Q?a?="),
            ("plain =? text", "plain =? text"),
        ];
        for (value, want) in table {
            assert_eq!(decode_words(value.as_bytes()), want, "{value}");
        }
        // RFC 2152: "Hi Mom -☺-!"
        assert_eq!(charset("utf-7").unwrap().decode(b"Hi Mom -+Jjo--!"), "Hi Mom -\u{263a}-!");
    }
}
