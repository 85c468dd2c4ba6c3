//! Header fields: where they begin and end, and HEADER.FIELDS.

use memchr::memchr;

/// Only the named fields, or all but them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Selection {
    /// HEADER.FIELDS
    Only,
    /// HEADER.FIELDS.NOT
    Not,
}

/// A field of a header block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field<'a> {
    /// Its name, without the white space before the colon. Empty for a line that is no field.
    pub name: &'a [u8],
    /// What follows the colon, folding and last line end included.
    pub value: &'a [u8],
    /// All its octets.
    pub raw: &'a [u8],
}

impl Field<'_> {
    /// Is this its name?
    pub fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
    /// The value in one line: leading white space of the first line gone, line ends gone, the white
    /// space that folded them kept (RFC 5322 §2.2.3).
    pub fn unfolded(&self) -> Vec<u8> {
        unfold(self.value)
    }
}

/// See [`Field::unfolded`].
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut first = true;
    let mut rest = value;
    while !rest.is_empty() {
        let end = memchr(b'\n', rest).map_or(rest.len(), |i| i + 1);
        let (line, next) = rest.split_at(end);
        rest = next;
        let line = line.strip_suffix(b"\n").map_or(line, |l| l.strip_suffix(b"\r").unwrap_or(l));
        if first {
            out.extend_from_slice(line.trim_ascii_start());
            first = false;
        } else {
            out.extend_from_slice(line);
        }
    }
    out
}

/// The fields of a header block, up to its empty line or the end.
pub fn iter(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        if rest.is_empty() || rest.starts_with(b"\r\n") || rest.starts_with(b"\n") {
            return None;
        }
        // Names are short: looking at each octet is faster than a search that is made for long texts.
        let colon = rest.iter().position(|b| matches!(b, b':' | b'\n')).filter(|i| rest[*i] == b':');
        let from = colon.unwrap_or(0);
        let mut end = from + line_end(&rest[from..]);
        while end < rest.len() && matches!(rest[end], b' ' | b'\t') {
            end += line_end(&rest[end..]);
        }
        let (raw, next) = rest.split_at(end);
        rest = next;
        Some(match colon {
            Some(colon) => Field { name: raw[..colon].trim_ascii_end(), value: &raw[colon + 1..], raw },
            None => Field { name: b"", value: raw, raw },
        })
    })
}

fn line_end(bytes: &[u8]) -> usize {
    memchr(b'\n', bytes).map_or(bytes.len(), |i| i + 1)
}

/// The last field of this name.
pub fn last<'a>(header: &'a [u8], name: &[u8]) -> Option<Field<'a>> {
    iter(header).filter(|f| f.is(name)).last()
}

/// Names of fields that are long and that no client asks for one by one: traces, signatures and reports.
const BULKY: [&[u8]; 12] = [
    b"Received",
    b"X-Received",
    b"DKIM-Signature",
    b"DomainKey-Signature",
    b"X-Google-DKIM-Signature",
    b"ARC-Seal",
    b"ARC-Message-Signature",
    b"ARC-Authentication-Results",
    b"X-Gm-Message-State",
    b"X-Google-Smtp-Source",
    b"X-Spam-Report",
    b"X-Spam-Status",
];
const BULKY_BEGINNINGS: [&[u8]; 3] = [b"X-MS-Exchange-", b"X-Microsoft-", b"X-Forefront-"];

/// Is a field of this name left out where headers are kept short?
pub fn is_bulky(name: &[u8]) -> bool {
    let begins = |with: &[u8]| name.get(..with.len()).is_some_and(|n| n.eq_ignore_ascii_case(with));
    BULKY.iter().any(|b| name.eq_ignore_ascii_case(b)) || BULKY_BEGINNINGS.iter().any(|b| begins(b))
}

/// The header without bulky fields; `None` when it has none. All octets of the others stay as they are.
pub fn without_bulky(header: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(header.len());
    let mut rest = header;
    for field in iter(header) {
        if !is_bulky(field.name) {
            out.extend_from_slice(field.raw);
        }
        rest = rest.get(field.raw.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    (out.len() < header.len()).then_some(out)
}

/// HEADER.FIELDS and HEADER.FIELDS.NOT (RFC 9051 §6.4.5.1): the fields in the order of the message, and the empty
/// line.
pub fn select(header: &[u8], names: &[impl AsRef<[u8]>], how: Selection) -> Vec<u8> {
    let mut out = Vec::new();
    select_to(&mut out, header, names, how);
    out
}

/// As [`select`], behind what is in `out`.
pub fn select_to(out: &mut Vec<u8>, header: &[u8], names: &[impl AsRef<[u8]>], how: Selection) {
    for field in iter(header) {
        let named = names.iter().any(|n| field.is(n.as_ref()));
        if named == (how == Selection::Only) && (!field.name.is_empty() || how == Selection::Not) {
            out.extend_from_slice(field.raw);
            if !field.raw.ends_with(b"\n") {
                out.extend_from_slice(b"\r\n");
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"From: a@b\r\nSubject: x\r\n  y\r\nnonsense\r\nTO : c@d\r\n\r\nbody: no\r\n";

    #[test]
    fn fields_are_chosen_in_the_order_of_the_message() {
        let only = select(HEADER, &[b"to".as_slice(), b"SUBJECT"], Selection::Only);
        assert_eq!(only, b"Subject: x\r\n  y\r\nTO : c@d\r\n\r\n");
        let not = select(HEADER, &[b"to".as_slice(), b"subject"], Selection::Not);
        assert_eq!(not, b"From: a@b\r\nnonsense\r\n\r\n");
    }

    #[test]
    fn bulky_fields_are_left_out() {
        let header = b"Received: from a\r\n\tby b\r\nFrom: a@b\r\nx-ms-exchange-any: 1\r\nTo: c\r\n\r\n";
        assert_eq!(without_bulky(header).as_deref(), Some(&b"From: a@b\r\nTo: c\r\n\r\n"[..]));
        assert_eq!(without_bulky(HEADER), None);
        assert!(!is_bulky(b"Receive") && is_bulky(b"RECEIVED") && !is_bulky(b""));
    }

    #[test]
    fn a_folded_value_is_one_line() {
        assert_eq!(last(HEADER, b"Subject").map(|f| f.unfolded()), Some(b"x  y".to_vec()));
    }
}
