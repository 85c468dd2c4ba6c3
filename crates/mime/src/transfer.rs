//! Content transfer encodings, undone (RFC 2045 §6). Forgiving: what is no code is passed over.

use memchr::memchr;

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
    let mut rest = octets;
    while !rest.is_empty() {
        let (line, end, next): (_, &[u8], _) = match memchr(b'\n', rest) {
            Some(i) if i > 0 && rest[i - 1] == b'\r' => (&rest[..i - 1], b"\r\n", &rest[i + 1..]),
            Some(i) => (&rest[..i], b"\n", &rest[i + 1..]),
            None => (rest, b"", &rest[rest.len()..]),
        };
        rest = next;
        if quoted_line(trim_blanks(line), &mut out) {
            out.extend_from_slice(end);
        }
    }
    out
}

/// White space at the end of a line was added on the way (rule 3).
fn trim_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().rev().take_while(|b| matches!(b, b' ' | b'\t')).count();
    &line[..line.len() - blanks]
}

/// A line without its end. `false`: its end is none, but a soft one.
fn quoted_line(line: &[u8], out: &mut Vec<u8>) -> bool {
    let mut rest = line;
    while let Some(i) = memchr(b'=', rest) {
        out.extend_from_slice(&rest[..i]);
        let hex = |at: usize| rest.get(at).and_then(|d| char::from(*d).to_digit(16));
        match (hex(i + 1), hex(i + 2)) {
            (Some(hi), Some(lo)) => {
                out.push((hi * 16 + lo) as u8);
                rest = &rest[i + 3..];
            }
            _ if i + 1 == rest.len() => return false,
            _ => {
                out.push(b'=');
                rest = &rest[i + 1..];
            }
        }
    }
    out.extend_from_slice(rest);
    true
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
    use proptest::prelude::*;

    /// Octet by octet.
    fn slowly(octets: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut i = 0;
        let blanks = |at: usize| octets[at..].iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        let ends = |at: usize| {
            let rest = &octets[at..];
            if rest.starts_with(b"\r\n") {
                Some(2)
            } else if rest.starts_with(b"\n") {
                Some(1)
            } else {
                rest.is_empty().then_some(0)
            }
        };
        while let Some(&b) = octets.get(i) {
            let hex = |at: usize| octets.get(at).and_then(|d| char::from(*d).to_digit(16));
            match b {
                b'=' => match (hex(i + 1), hex(i + 2), ends(i + 1 + blanks(i + 1))) {
                    (Some(hi), Some(lo), _) => {
                        out.push((hi * 16 + lo) as u8);
                        i += 3;
                    }
                    (_, _, Some(end)) => i += 1 + blanks(i + 1) + end,
                    _ => {
                        out.push(b);
                        i += 1;
                    }
                },
                b' ' | b'\t' if ends(i + blanks(i)).is_some() => i += blanks(i),
                _ => {
                    out.push(b);
                    i += 1;
                }
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn line_by_line_is_octet_by_octet(pieces in proptest::collection::vec(
            prop::sample::select(vec![&b"="[..], b"3D", b"\r", b"\n", b"\r\n", b" ", b"\t", b"a", b"F", b"x y"]), 0..16,
        )) {
            let octets = pieces.concat();
            prop_assert_eq!(quoted_printable(&octets), slowly(&octets), "{:?}", String::from_utf8_lossy(&octets));
        }
    }

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
