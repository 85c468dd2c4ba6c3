//! Line ends: files have LF, the wire has CRLF.

use memchr::{memchr, memchr_iter};

/// Appends `bytes` to `out` with every line end as CRLF. `last` is the octet before `bytes` (of the chunk before);
/// give what comes back with the next chunk.
pub fn to_wire(bytes: &[u8], last: Option<u8>, out: &mut Vec<u8>) -> Option<u8> {
    out.reserve(bytes.len() + bytes.len() / 32);
    let mut begin = 0;
    for i in memchr_iter(b'\n', bytes) {
        let before = if i > 0 { Some(bytes[i - 1]) } else { last };
        if before != Some(b'\r') {
            out.extend_from_slice(&bytes[begin..i]);
            out.extend_from_slice(b"\r\n");
            begin = i + 1;
        }
    }
    out.extend_from_slice(&bytes[begin..]);
    bytes.last().copied().or(last)
}

/// Turns CRLF into LF, over chunk borders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ToStored {
    held_cr: bool,
}

impl ToStored {
    /// Appends `bytes` to `out`; a CR at the end waits for the next chunk.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.reserve(bytes.len() + 1);
        let mut rest = bytes;
        if self.held_cr && !rest.is_empty() {
            if rest[0] != b'\n' {
                out.push(b'\r');
            }
            self.held_cr = false;
        }
        while let Some(i) = memchr(b'\r', rest) {
            out.extend_from_slice(&rest[..i]);
            match rest.get(i + 1) {
                Some(b'\n') => {}
                Some(_) => out.push(b'\r'),
                None => {
                    self.held_cr = true;
                    return;
                }
            }
            rest = &rest[i + 1..];
        }
        out.extend_from_slice(rest);
    }

    /// The end: a CR that waited stands for itself.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.held_cr {
            out.push(b'\r');
        }
    }
}

/// How long the wire form of stored octets is, over chunk borders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WireSize {
    /// Octets so far.
    pub octets: u64,
    last: Option<u8>,
}

impl WireSize {
    /// Counts a chunk.
    pub fn push(&mut self, bytes: &[u8]) {
        self.octets += bytes.len() as u64;
        for i in memchr_iter(b'\n', bytes) {
            let before = if i > 0 { Some(bytes[i - 1]) } else { self.last };
            self.octets += u64::from(before != Some(b'\r'));
        }
        self.last = bytes.last().copied().or(self.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunks_do_not_matter(text in "[a\r\n]{0,24}", cut in 0usize..25) {
            let bytes = text.as_bytes();
            let cut = cut.min(bytes.len());
            // Second source: the rule written naively.
            let mut naive = Vec::new();
            for (i, b) in bytes.iter().enumerate() {
                if *b == b'\n' && (i == 0 || bytes[i - 1] != b'\r') {
                    naive.push(b'\r');
                }
                naive.push(*b);
            }
            let mut out = Vec::new();
            let last = to_wire(&bytes[..cut], None, &mut out);
            to_wire(&bytes[cut..], last, &mut out);
            prop_assert_eq!(&out, &naive);
            let mut size = WireSize::default();
            size.push(&bytes[..cut]);
            size.push(&bytes[cut..]);
            prop_assert_eq!(size.octets, naive.len() as u64);
            let mut stored = Vec::new();
            let mut s = ToStored::default();
            s.push(&bytes[..cut], &mut stored);
            s.push(&bytes[cut..], &mut stored);
            s.finish(&mut stored);
            prop_assert_eq!(String::from_utf8(stored).unwrap(), text.replace("\r\n", "\n"));
        }
    }
}
