//! Messages on the wire: stuffed dots, the end, TOP's cut (RFC 1939 §3, §7).
//!
//! Octets come in pieces of any size with CRLF line ends and go out as they are where nothing has to be changed, which is
//! nearly always: then nothing is copied.

use memchr::{memchr, memchr_iter, memmem};

/// What is done about NUL octets.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Nuls {
    /// They are sent.
    #[default]
    Kept,
    /// Outlook: it hangs at a NUL. 0x80 is sent for each, as Dovecot does.
    Replaced,
}

/// Stuffs dots over the borders of pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stuffer {
    nuls: Nuls,
    /// The octet before the next one. CRLF lies before the first.
    last: u8,
    /// Anything yet?
    begun: bool,
}

impl Stuffer {
    /// At the start of a message.
    pub fn new(nuls: Nuls) -> Self {
        Self { nuls, last: b'\n', begun: false }
    }

    /// The next piece as it is sent: itself, or what is put into `scratch`.
    pub fn piece<'a>(&mut self, octets: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let Some(last) = octets.last().copied() else { return octets };
        let first = self.last == b'\n' && octets[0] == b'.';
        let nuls = self.nuls == Nuls::Replaced && memchr(0, octets).is_some();
        self.last = last;
        self.begun = true;
        let mut dots = memmem::find_iter(octets, b"\n.").peekable();
        if !first && !nuls && dots.peek().is_none() {
            return octets;
        }
        scratch.clear();
        scratch.reserve(octets.len() + octets.len() / 64 + 16);
        if first {
            scratch.push(b'.');
        }
        let mut from = 0;
        for at in dots {
            scratch.extend_from_slice(&octets[from..=at]);
            scratch.push(b'.');
            from = at + 1;
        }
        scratch.extend_from_slice(&octets[from..]);
        if nuls {
            for octet in scratch.iter_mut().filter(|o| **o == 0) {
                *octet = 0x80;
            }
        }
        scratch
    }

    /// What comes behind the last piece: the end, on a line of its own.
    pub fn end(self) -> &'static [u8] {
        if self.begun && self.last != b'\n' { b"\r\n.\r\n" } else { b".\r\n" }
    }
}

/// Finds the end of what TOP sends: the header, the empty line, and so many lines of the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Top {
    lines: u64,
    in_header: bool,
    /// Has the line so far anything but a CR?
    empty: bool,
    done: bool,
}

impl Top {
    /// For this many lines of the body.
    pub fn new(lines: u64) -> Self {
        Self { lines, in_header: true, empty: true, done: false }
    }

    /// So many octets of the next piece are wanted.
    pub fn take(&mut self, octets: &[u8]) -> usize {
        if self.done {
            return 0;
        }
        let mut from = 0;
        for end in memchr_iter(b'\n', octets) {
            if self.in_header {
                let line = &octets[from..end];
                if self.empty && line.iter().all(|b| *b == b'\r') {
                    self.in_header = false;
                    self.done = self.lines == 0;
                }
                self.empty = true;
            } else {
                self.lines -= 1;
                self.done = self.lines == 0;
            }
            from = end + 1;
            if self.done {
                return from;
            }
        }
        self.empty &= octets[from..].iter().all(|b| *b == b'\r');
        octets.len()
    }

    /// Is everything taken that is wanted?
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// Was there no empty line?
    pub fn is_in_header(&self) -> bool {
        self.in_header
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sent(message: &[u8], piece: usize, nuls: Nuls) -> Vec<u8> {
        let (mut stuffer, mut out, mut scratch) = (Stuffer::new(nuls), Vec::new(), Vec::new());
        for piece in message.chunks(piece) {
            out.extend_from_slice(stuffer.piece(piece, &mut scratch));
        }
        out.extend_from_slice(stuffer.end());
        out
    }

    fn top(message: &[u8], piece: usize, lines: u64) -> Vec<u8> {
        let (mut top, mut out) = (Top::new(lines), Vec::new());
        for piece in message.chunks(piece) {
            let n = top.take(piece);
            out.extend_from_slice(&piece[..n]);
        }
        out
    }

    #[test]
    fn dots_are_stuffed_and_the_end_stands_alone() {
        for (message, want) in [
            (&b""[..], &b".\r\n"[..]),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b".\r\n", b"..\r\n.\r\n"),
            (b"a\r\n.\r\n..b\r\n", b"a\r\n..\r\n...b\r\n.\r\n"),
            (b"a.b\r\n", b"a.b\r\n.\r\n"),
        ] {
            assert_eq!(sent(message, 100, Nuls::Kept), want);
        }
        assert_eq!(sent(b".\0\r\n\0", 100, Nuls::Replaced), b"..\x80\r\n\x80\r\n.\r\n");
        assert_eq!(sent(b"\0", 100, Nuls::Kept), b"\0\r\n.\r\n");
    }

    #[test]
    fn top_cuts_behind_lines() {
        let message = b"A: b\r\n c\r\n\r\none\r\n\r\nthree\r\nfour";
        for (lines, want) in [
            (0, &b"A: b\r\n c\r\n\r\n"[..]),
            (1, b"A: b\r\n c\r\n\r\none\r\n"),
            (2, b"A: b\r\n c\r\n\r\none\r\n\r\n"),
            (4, message),
            (u64::MAX, message),
        ] {
            for piece in 1..=message.len() {
                assert_eq!(top(message, piece, lines), want, "{lines} {piece}");
            }
        }
        assert_eq!(top(b"\r\nbody\r\n", 3, 0), b"\r\n");
        assert_eq!(top(b"A: b\r\n", 3, 5), b"A: b\r\n");
    }

    /// What a client undoes (RFC 1939 §3), written naively.
    fn received(sent: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in sent.split_inclusive(|b| *b == b'\n') {
            if line == b".\r\n" {
                return out;
            }
            out.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        panic!("no end");
    }

    proptest! {
        #[test]
        fn a_client_gets_what_was_sent(lines in prop::collection::vec("[a.\r]{0,5}", 0..8), piece in 1usize..9) {
            let message: Vec<u8> = lines.iter().flat_map(|l| [l.as_bytes(), b"\r\n"].concat()).collect();
            prop_assert_eq!(received(&sent(&message, piece, Nuls::Kept)), message);
        }
    }
}
