//! Modified UTF-7, the form of mailbox names in IMAP4rev1 and on disk (RFC 3501 §5.1.3).

/// Encodes a Unicode name. Printable ASCII stands for itself, `&` is `&-`, all else is `&...-` in modified
/// BASE64 of UTF-16BE.
pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut shifted: Vec<u16> = Vec::new();
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            flush(&mut shifted, &mut out);
            out.push(c);
            if c == '&' {
                out.push('-');
            }
        } else {
            let mut units = [0; 2];
            shifted.extend_from_slice(c.encode_utf16(&mut units));
        }
    }
    flush(&mut shifted, &mut out);
    out
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

fn flush(units: &mut Vec<u16>, out: &mut String) {
    if units.is_empty() {
        return;
    }
    out.push('&');
    let bytes: Vec<u8> = units.drain(..).flat_map(u16::to_be_bytes).collect();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for i in 0..=chunk.len() {
            out.push(char::from(ALPHABET[(word >> (18 - 6 * i)) as usize & 63]));
        }
    }
    out.push('-');
}

/// Decodes a name. `None` when it is not the one valid encoding of a Unicode string: 8-bit or control bytes,
/// an unfinished shift, bits left over, a shift for what needs none, or a lone surrogate. Being strict keeps
/// two spellings of one mailbox apart from each other (RFC 3501 §5.1.3: no superfluous shifts).
pub fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < bytes.len() {
        match bytes[i] {
            b'&' => {
                let end = i + 1 + bytes[i + 1..].iter().position(|b| *b == b'-')?;
                if end == i + 1 {
                    out.push('&');
                } else {
                    out.push_str(&decode_shift(&bytes[i + 1..end])?);
                }
                i = end + 1;
            }
            b @ b' '..=b'~' => {
                out.push(char::from(b));
                i += 1;
            }
            _ => return None,
        }
    }
    (encode(&out) == text).then_some(out)
}

fn decode_shift(base64: &[u8]) -> Option<String> {
    let (mut word, mut bits) = (0u32, 0);
    let mut units = Vec::new();
    for b in base64 {
        let v = ALPHABET.iter().position(|a| a == b)?;
        word = word << 6 | v as u32;
        bits += 6;
        if bits >= 16 {
            bits -= 16;
            units.push((word >> bits) as u16);
            word &= (1 << bits) - 1;
        }
    }
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rfcs_examples() {
        // RFC 3501 §5.1.3
        let mixed = "~peter/mail/\u{53f0}\u{5317}/\u{65e5}\u{672c}\u{8a9e}";
        assert_eq!(encode(mixed), "~peter/mail/&U,BTFw-/&ZeVnLIqe-");
        assert_eq!(decode("~peter/mail/&U,BTFw-/&ZeVnLIqe-").as_deref(), Some(mixed));
        assert_eq!(decode("&Jjo-!").as_deref(), Some("\u{263a}!"));
        assert_eq!(decode("&Jjo!"), None);
        assert_eq!(decode("&U,BTFw-&ZeVnLIqe-"), None, "superfluous shift");
        assert_eq!(encode("A&B"), "A&-B");
    }

    proptest! {
        #[test]
        fn every_name_is_read_back(name in "\\PC{0,12}") {
            prop_assert_eq!(decode(&encode(&name)), Some(name));
        }
        #[test]
        fn what_decodes_encodes_to_the_same(text in "[ -~]{0,16}") {
            if let Some(name) = decode(&text) {
                prop_assert_eq!(encode(&name), text);
            }
        }
    }
}
