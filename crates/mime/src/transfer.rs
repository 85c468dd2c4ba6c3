//! Content transfer encodings, undone (RFC 2045 §6). Forgiving: what is no code is passed over.

/// The encoding is none that we know (RFC 3516 §4.3: UNKNOWN-CTE).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownEncoding;

/// Undoes an encoding. 7bit, 8bit and binary are as they are.
pub fn decode(encoding: &[u8], octets: &[u8]) -> Result<Vec<u8>, UnknownEncoding> {
    match encoding.trim_ascii().to_ascii_lowercase().as_slice() {
        b"" | b"7bit" | b"8bit" | b"binary" => Ok(octets.to_vec()),
        b"quoted-printable" => Ok(quoted_printable(octets)),
        b"base64" => Ok(base64(octets)),
        _ => Err(UnknownEncoding),
    }
}

/// RFC 2045 §6.7.
pub fn quoted_printable(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut i = 0;
    while let Some(&b) = octets.get(i) {
        match b {
            b'=' => {
                let hex = |at: usize| octets.get(at).and_then(|d| char::from(*d).to_digit(16));
                // A soft line break may have white space before its end.
                let blank = octets[i + 1..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
                let end = i + 1 + blank;
                if let (Some(hi), Some(lo)) = (hex(i + 1), hex(i + 2)) {
                    out.push((hi * 16 + lo) as u8);
                    i += 3;
                } else if octets[end.min(octets.len())..].starts_with(b"\r\n") {
                    i = end + 2;
                } else if octets.get(end) == Some(&b'\n') {
                    i = end + 1;
                } else if end >= octets.len() {
                    i = end;
                } else {
                    out.push(b);
                    i += 1;
                }
            }
            b' ' | b'\t' => {
                // White space at the end of a line was added on the way (rule 3).
                let run = octets[i..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
                let next = &octets[i + run..];
                if !(next.is_empty() || next.starts_with(b"\r\n") || next.starts_with(b"\n")) {
                    out.extend_from_slice(&octets[i..i + run]);
                }
                i += run;
            }
            b => {
                out.push(b);
                i += 1;
            }
        }
    }
    out
}

/// RFC 2045 §6.8. Ends at the first padding that completes a group.
pub fn base64(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len() / 4 * 3 + 3);
    let (mut word, mut bits) = (0u32, 0u32);
    for b in octets {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                // What follows is another stretch of BASE64, as some programs write it.
                (word, bits) = (0, 0);
                continue;
            }
            _ => continue,
        };
        word = word << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
            word &= (1 << bits) - 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_examples() {
        // RFC 2045 §6.7; RFC 4648 §10.
        assert_eq!(
            quoted_printable(b"Now's the time =\r\nfor all folk to come=\r\n to the aid of their country."),
            b"Now's the time for all folk to come to the aid of their country."
        );
        assert_eq!(quoted_printable(b"a=3D=20 \r\nb=zz"), b"a= \r\nb=zz");
        for (code, plain) in [("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9v\r\nYmFy", "foobar")] {
            assert_eq!(base64(code.as_bytes()), plain.as_bytes());
        }
        assert_eq!(decode(b"x-uuencode", b""), Err(UnknownEncoding));
    }
}
