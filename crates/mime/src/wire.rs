//! Strings of ENVELOPE and BODYSTRUCTURE as IMAP writes them: quoted where that can hold them, else literals.

/// `nstring`
pub fn nstring(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => out.extend_from_slice(b"NIL"),
        Some(value) => string(out, value),
    }
}

/// `nstring` of a text that people read: each run of white space is one space, none at the ends, as Dovecot does it.
pub fn text(out: &mut Vec<u8>, value: Option<&[u8]>) {
    let Some(value) = value else { return out.extend_from_slice(b"NIL") };
    let mut shown = Vec::with_capacity(value.len());
    for word in value.split(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n')).filter(|w| !w.is_empty()) {
        if !shown.is_empty() {
            shown.push(b' ');
        }
        shown.extend_from_slice(word);
    }
    string(out, &shown);
}

/// `string` (RFC 9051 §9). 8-bit and control octets need a literal, which every dialect reads.
pub fn string(out: &mut Vec<u8>, value: &[u8]) {
    if value.iter().all(|b| matches!(b, b'\t' | 0x20..=0x7e)) && value.len() < 1000 {
        out.reserve(value.len() + 2);
        out.push(b'"');
        let mut rest = value;
        while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
            out.extend_from_slice(&rest[..at]);
            out.extend_from_slice(&[b'\\', rest[at]]);
            rest = &rest[at + 1..];
        }
        out.extend_from_slice(rest);
        out.push(b'"');
    } else {
        out.extend_from_slice(format!("{{{}}}\r\n", value.len()).as_bytes());
        // NUL is the one octet that no literal may hold (RFC 9051 §4.3): 0x80 stands for it, as with Dovecot.
        out.extend(value.iter().map(|b| if *b == 0 { 0x80 } else { *b }));
    }
}
