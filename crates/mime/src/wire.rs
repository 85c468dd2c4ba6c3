//! Strings of ENVELOPE and BODYSTRUCTURE as IMAP writes them: quoted where that can hold them, else literals.

/// `nstring`
pub fn nstring(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => out.extend_from_slice(b"NIL"),
        Some(value) => string(out, value),
    }
}

/// `string` (RFC 9051 §9). 8-bit and control octets need a literal, which every dialect reads.
pub fn string(out: &mut Vec<u8>, value: &[u8]) {
    if value.iter().all(|b| matches!(b, b'\t' | 0x20..=0x7e)) && value.len() < 1000 {
        out.push(b'"');
        for b in value {
            if matches!(b, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(*b);
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(format!("{{{}}}\r\n", value.len()).as_bytes());
        // NUL is the one octet that no literal may hold (RFC 9051 §4.3): 0x80 stands for it, as with Dovecot.
        out.extend(value.iter().map(|b| if *b == 0 { 0x80 } else { *b }));
    }
}
