//! Small things that several mechanisms say alike.

/// Octets in hex, small letters.
pub fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(2 * octets.len()), |mut out, octet| {
        for half in [octet >> 4, octet & 15] {
            out.push(char::from_digit(half.into(), 16).unwrap_or('0'));
        }
        out
    })
}

/// Sixteen octets out of 32 digits of hex, in any case.
pub fn sixteen(digits: &[u8]) -> Option<[u8; 16]> {
    let mut out = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (octet, pair) in out.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = pair.map(|digit| char::from(digit).to_digit(16));
        *octet = u8::try_from(high? * 16 + low?).ok()?;
    }
    Some(out)
}
