//! A message sent by DATA: where it ends, and without the dots that were put before its lines (RFC 5321 §4.5.2).
//!
//! The end is CRLF, dot, CRLF and nothing else (RFC 5321 §4.1.1.4). Servers that also took LF for it let one message hold
//! another that its sender's server had never seen. So lone CRs and LFs are octets like all others here.

/// Takes dots away and finds the end.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Unstuff {
    at: At,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum At {
    /// At the beginning of a line.
    #[default]
    Start,
    /// Behind the dot that begins a line, which has not been given out.
    Dot,
    /// Behind dot and CR.
    DotCr,
    /// Within a line.
    Middle,
    /// Behind a CR.
    Cr,
}

impl Unstuff {
    /// Takes `input` and appends the message's octets to `out`. Says how much was taken, and whether that was the end;
    /// all is taken unless it was.
    pub fn push(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let mut at = 0;
        while let Some(&b) = input.get(at) {
            match (self.at, b) {
                (At::Start, b'.') => self.at = At::Dot,
                (At::Dot, b'\r') => self.at = At::DotCr,
                (At::DotCr, b'\n') => {
                    self.at = At::Start;
                    return (at + 1, true);
                }
                (At::DotCr, _) => {
                    // Dot, CR and something else: the dot is taken away, the CR stands alone.
                    out.push(b'\r');
                    self.at = At::Cr;
                    continue;
                }
                (At::Cr, b'\n') => {
                    out.push(b);
                    self.at = At::Start;
                }
                _ => {
                    let rest = &input[at..];
                    let n = memchr::memchr(b'\r', rest).map_or(rest.len(), |n| n + 1);
                    out.extend_from_slice(&rest[..n]);
                    self.at = if rest[n - 1] == b'\r' { At::Cr } else { At::Middle };
                    at += n;
                    continue;
                }
            }
            at += 1;
        }
        (at, false)
    }
}

/// Puts dots before lines that begin with one: the other side. Feed it the whole message in pieces, then [`Stuff::end`].
#[derive(Clone, Copy, Debug)]
pub struct Stuff {
    start: bool,
    cr: bool,
}

impl Default for Stuff {
    fn default() -> Self {
        Self { start: true, cr: false }
    }
}

impl Stuff {
    /// Appends `octets` (wire form) to `out`. Lone LFs become CRLF: as they stand they must not be sent (RFC 5321 §2.3.8).
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        let mut rest = octets;
        while !rest.is_empty() {
            if self.start && rest[0] == b'.' {
                out.push(b'.');
            }
            let n = memchr::memchr(b'\n', rest);
            let line = &rest[..n.unwrap_or(rest.len())];
            out.extend_from_slice(line);
            if let Some(&last) = line.last() {
                self.cr = last == b'\r';
                self.start = false;
            }
            let Some(n) = n else { return };
            if !self.cr {
                out.push(b'\r');
            }
            out.push(b'\n');
            (self.start, self.cr) = (true, false);
            rest = &rest[n + 1..];
        }
    }

    /// The end.
    pub fn end(self, out: &mut Vec<u8>) {
        if !self.start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(input: &[u8], piece: usize) -> (Vec<u8>, Option<usize>) {
        let (mut state, mut out, mut taken) = (Unstuff::default(), Vec::new(), 0);
        for piece in input.chunks(piece) {
            let (n, end) = state.push(piece, &mut out);
            taken += n;
            if end {
                return (out, Some(taken));
            }
            assert_eq!(n, piece.len());
        }
        (out, None)
    }

    #[test]
    fn ends_and_dots() {
        let table: [(&[u8], &[u8], Option<usize>); 10] = [
            (b".\r\nQUIT", b"", Some(3)),
            (b"a\r\n.\r\nQUIT", b"a\r\n", Some(6)),
            (b"..a\r\n.b\r\n...\r\n.\r\n", b".a\r\nb\r\n..\r\n", Some(17)),
            (b"a\n.\n", b"a\n.\n", None),
            (b"a\n.\r\nb\r\n.\r\n", b"a\n.\r\nb\r\n", Some(11)),
            (b"a\r.\r\n.\r\n", b"a\r.\r\n", Some(8)),
            (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n", Some(11)),
            (b"a\r\n.\n\r\n.\r\n", b"a\r\n\n\r\n", Some(10)),
            (b"a\r\n.\r\r\n.\r\n", b"a\r\n\r\r\n", Some(10)),
            (b"\0\xff\r\n.\r\n", b"\0\xff\r\n", Some(7)),
        ];
        for (input, message, end) in table {
            for piece in 1..=input.len() {
                assert_eq!(read(input, piece), (message.to_vec(), end), "{}", input.escape_ascii());
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_stuffed_comes_out_again(lines in prop::collection::vec("[.a\r]{0,4}", 0..8), piece in 1usize..6) {
            let message: String = lines.iter().map(|l| format!("{}\r\n", l.trim_end_matches('\r'))).collect();
            let (mut stuff, mut wire) = (Stuff::default(), Vec::new());
            for piece in message.as_bytes().chunks(piece) {
                stuff.push(piece, &mut wire);
            }
            stuff.end(&mut wire);
            let whole = wire.len();
            wire.extend_from_slice(b"NOOP\r\n");
            prop_assert_eq!(read(&wire, piece), (message.into_bytes(), Some(whole)));
        }
    }
}
