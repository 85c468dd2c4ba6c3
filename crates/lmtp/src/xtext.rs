//! xtext (RFC 3461 §4): how values of parameters hold any octets.

/// What it stands for. `None` when it is not xtext.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&b) = rest.next() {
        match b {
            b'+' => {
                let (high, low) = (hex(*rest.next()?)?, hex(*rest.next()?)?);
                out.push(high << 4 | low);
            }
            b'=' => return None,
            b'!'..=b'~' => out.push(b),
            _ => return None,
        }
    }
    Some(out)
}

/// `octets` as xtext.
pub fn encode(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len());
    for &b in octets {
        if matches!(b, b'!'..=b'~') && b != b'+' && b != b'=' {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("+{b:02X}"));
        }
    }
    out
}

/// RFC 3461 §4 has capitals only; small letters have been seen and mean nothing else.
fn hex(b: u8) -> Option<u8> {
    char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rfcs_example() {
        // RFC 3461 §4.1, of an address with a plus sign.
        assert_eq!(decode(b"Bob+2BX@Big-Bucks.COM").unwrap(), b"Bob+X@Big-Bucks.COM");
        for bad in [&b"a+4"[..], b"a+", b"+zz", b"a=b", b"a b", b"\xff"] {
            assert_eq!(decode(bad), None);
        }
    }

    proptest! {
        #[test]
        fn any_octets_come_back(octets: Vec<u8>) {
            prop_assert_eq!(decode(encode(&octets).as_bytes()), Some(octets));
        }
    }
}
