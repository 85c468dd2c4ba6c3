//! Where a line ends, before anybody understands it. So after any mistake the first octet of the next command is known.
//!
//! Lines end in CRLF; a bare LF is taken as well. RFC 2449 §4 asks for 255 octets, RFC 5034 §4 for as much as a mechanism
//! says: one limit serves both. A longer line is passed over to its end, in pieces, so that nothing grows.

/// The longest line, with its end. An OAuth token has a few kilobytes.
pub const LONGEST: usize = 16 * 1024;

/// Finds lines in what has come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Framer {
    /// Octets of the line that were looked at already.
    seen: usize,
    /// The rest of a line that was too long is being passed over.
    passing_over: bool,
}

/// What the input came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// It has no whole line: read more behind it.
    More,
    /// A line of so many octets and its end, of so many with its end.
    Line {
        /// Without its end.
        len: usize,
        /// With it.
        used: usize,
    },
    /// So many octets of a line that is too long: drop them and go on.
    Dropped(usize),
    /// The same, and it ended here: tell the client.
    TooLong(usize),
}

impl Framer {
    /// Looks at the input from the first octet that was not used yet.
    pub fn step(&mut self, input: &[u8]) -> Step {
        let unseen = input.get(self.seen..).unwrap_or_default();
        let Some(end) = memchr::memchr(b'\n', unseen).map(|i| self.seen + i) else {
            self.seen = input.len();
            if self.seen < LONGEST {
                return if self.passing_over && self.seen > 0 { self.drop(input.len()) } else { Step::More };
            }
            self.passing_over = true;
            return self.drop(input.len());
        };
        self.seen = 0;
        let used = end + 1;
        if std::mem::take(&mut self.passing_over) || used > LONGEST {
            return Step::TooLong(used);
        }
        let len = if end > 0 && input[end - 1] == b'\r' { end - 1 } else { end };
        Step::Line { len, used }
    }

    fn drop(&mut self, octets: usize) -> Step {
        self.seen = 0;
        Step::Dropped(octets)
    }

    /// Forgets what was begun: after STLS nothing of before counts.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines that come out when the input comes in pieces of this size; `None` for one that was too long.
    pub(crate) fn lines(data: &[u8], piece: usize) -> Vec<Option<Vec<u8>>> {
        let (mut framer, mut input, mut out) = (Framer::default(), Vec::new(), Vec::new());
        for piece in data.chunks(piece.max(1)) {
            input.extend_from_slice(piece);
            loop {
                match framer.step(&input) {
                    Step::More => break,
                    Step::Line { len, used } => {
                        out.push(Some(input[..len].to_vec()));
                        input.drain(..used);
                    }
                    Step::Dropped(n) => drop(input.drain(..n)),
                    Step::TooLong(n) => {
                        out.push(None);
                        input.drain(..n);
                    }
                }
                assert!(input.len() < LONGEST + piece.len());
            }
        }
        out
    }

    #[test]
    fn lines_end_in_crlf_or_lf_however_they_come() {
        let data = b"STAT\r\nLIST 1\nPASS a b \r\r\n\r\nQUIT";
        let want = vec![
            Some(b"STAT".to_vec()),
            Some(b"LIST 1".to_vec()),
            Some(b"PASS a b \r".to_vec()),
            Some(Vec::new()),
        ];
        for piece in 1..data.len() {
            assert_eq!(lines(data, piece), want, "{piece}");
        }
    }

    #[test]
    fn a_long_line_is_passed_over_and_the_next_one_counts() {
        let mut data = vec![b'x'; 3 * LONGEST];
        data.extend_from_slice(b"\r\nNOOP\r\n");
        for piece in [1000, 4096, LONGEST, data.len()] {
            assert_eq!(lines(&data, piece), [None, Some(b"NOOP".to_vec())], "{piece}");
        }
        let mut longest = vec![b'x'; LONGEST - 2];
        longest.extend_from_slice(b"\r\n");
        assert_eq!(lines(&longest, 100), [Some(vec![b'x'; LONGEST - 2])]);
    }
}
