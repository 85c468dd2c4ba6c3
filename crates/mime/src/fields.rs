//! Header fields: where they begin and end, and HEADER.FIELDS.

use memchr::{memchr, memchr_iter};

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

/// Names of fields that are looked for, made ready for many headers. An empty one names nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    names: Vec<Vec<u8>>,
    /// Octets with which one of them begins. Most fields are passed over by this alone.
    first: [bool; 256],
}

impl Names {
    /// The names of fields have neither colons nor white space at their end; what has is the name of none.
    pub fn new(names: &[impl AsRef<[u8]>]) -> Self {
        let possible = |name: &&[u8]| {
            !name.is_empty() && !name.contains(&b':') && name.trim_ascii_end().len() == name.len()
        };
        let names: Vec<_> = names.iter().map(AsRef::as_ref).filter(possible).map(<[u8]>::to_vec).collect();
        let mut first = [false; 256];
        for octet in names.iter().filter_map(|name| name.first()) {
            first[usize::from(octet.to_ascii_lowercase())] = true;
            first[usize::from(octet.to_ascii_uppercase())] = true;
        }
        Self { names, first }
    }

    /// Does a field with one of these names begin with this line?
    fn begin(&self, line: &[u8]) -> bool {
        let colon_behind = |name: &[u8]| {
            let rest = &line[name.len()..];
            rest.iter().find(|b| **b == b'\n' || !b.is_ascii_whitespace()) == Some(&b':')
        };
        line.first().is_some_and(|b| self.first[usize::from(*b)])
            && self.names.iter().any(|name| {
                line.get(..name.len()).is_some_and(|l| l.eq_ignore_ascii_case(name)) && colon_behind(name)
            })
    }
}

/// HEADER.FIELDS and HEADER.FIELDS.NOT (RFC 9051 §6.4.5.1): the fields in the order of the message, and the empty
/// line.
pub fn select(header: &[u8], names: &Names, how: Selection) -> Vec<u8> {
    let mut out = Vec::new();
    select_to(&mut out, header, names, how);
    out
}

/// As [`select`], behind what is in `out`. One pass over the lines: webmail asks this of whole mailboxes.
pub fn select_to(out: &mut Vec<u8>, header: &[u8], names: &Names, how: Selection) {
    let last = (!header.is_empty() && !header.ends_with(b"\n")).then_some(header.len());
    let mut at = 0;
    // Where those begin that are taken and not yet copied.
    let mut from = None;
    for end in memchr_iter(b'\n', header).map(|i| i + 1).chain(last) {
        let line = &header[at..end];
        if matches!(line, b"\n" | b"\r\n") {
            break;
        }
        let folded = at > 0 && matches!(line[0], b' ' | b'\t');
        if !folded {
            match (names.begin(line) == (how == Selection::Only), from) {
                (true, None) => from = Some(at),
                (false, Some(begun)) => {
                    out.extend_from_slice(&header[begun..at]);
                    from = None;
                }
                _ => {}
            }
        }
        at = end;
    }
    if let Some(begun) = from {
        out.extend_from_slice(&header[begun..at]);
        if !out.ends_with(b"\n") {
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By the definition: each field by itself, and its name compared.
    fn defined(header: &[u8], names: &[Vec<u8>], how: Selection) -> Vec<u8> {
        let mut out = Vec::new();
        for field in iter(header) {
            let named = names.iter().any(|n| field.is(n) && !n.is_empty());
            if named == (how == Selection::Only) {
                out.extend_from_slice(field.raw);
                if !field.raw.ends_with(b"\n") {
                    out.extend_from_slice(b"\r\n");
                }
            }
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn one_pass_finds_what_the_definition_says(
            header in proptest::collection::vec(
                prop::sample::select(vec![&b"\n"[..], b"\r\n", b" ", b"\t", b":", b"To", b"tO", b"Subject", b"x", b"\x0c", b"\r"]), 0..24,
            ),
            names in proptest::collection::vec(
                prop::sample::select(vec![&b"to"[..], b"SUBJECT", b"x", b"", b"To:", b"x ", b" ", b" x", b"TOx", b"\rx"]), 0..4,
            ),
        ) {
            let header = header.concat();
            let names: Vec<_> = names.into_iter().map(<[u8]>::to_vec).collect();
            for how in [Selection::Only, Selection::Not] {
                let selected = select(&header, &Names::new(&names), how);
                prop_assert_eq!(selected, defined(&header, &names, how), "{:?}", how);
            }
        }
    }

    const HEADER: &[u8] = b"From: a@b\r\nSubject: x\r\n  y\r\nnonsense\r\nTO : c@d\r\n\r\nbody: no\r\n";

    #[test]
    fn fields_are_chosen_in_the_order_of_the_message() {
        let only = select(HEADER, &Names::new(&["to", "SUBJECT"]), Selection::Only);
        assert_eq!(only, b"Subject: x\r\n  y\r\nTO : c@d\r\n\r\n");
        let not = select(HEADER, &Names::new(&["to", "subject"]), Selection::Not);
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
