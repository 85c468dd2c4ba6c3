//! Lines out of pieces of any size: where a command, or a reply, ends.
//!
//! A line ends with CRLF; a bare LF is taken as well, since no message is read this way (see [`crate::data`] for what that
//! must not do there). A line that is too long is skipped to its end, so that the next one is known.

/// Gathers lines.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    gathered: Vec<u8>,
    skipping: bool,
}

/// What the input came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// All is taken, and the line has not ended.
    More,
    /// A line: [`Lines::line`].
    Line,
    /// A line longer than the limit has ended.
    TooLong,
}

impl Lines {
    /// Lines of up to `limit` octets, without their end.
    pub fn new(limit: usize) -> Self {
        Self { limit, gathered: Vec::new(), skipping: false }
    }

    /// Takes input, up to the end of a line at most. Says how much was taken.
    pub fn push(&mut self, input: &[u8]) -> (usize, Step) {
        if self.gathered.last() == Some(&b'\n') {
            self.gathered.clear();
        }
        let end = memchr::memchr(b'\n', input);
        let taken = &input[..end.map_or(input.len(), |n| n + 1)];
        if !self.skipping {
            self.gathered.extend_from_slice(taken);
            // The end of the line may still be to come, and has two octets.
            if self.line().len() > self.limit + usize::from(end.is_none()) {
                self.skipping = true;
            }
        }
        if self.skipping {
            self.gathered = Vec::new();
        }
        match end {
            None => (taken.len(), Step::More),
            Some(_) if std::mem::take(&mut self.skipping) => (taken.len(), Step::TooLong),
            Some(_) => (taken.len(), Step::Line),
        }
    }

    /// The line, without its end. Valid after [`Step::Line`].
    pub fn line(&self) -> &[u8] {
        let line = self.gathered.strip_suffix(b"\n").unwrap_or(&self.gathered);
        line.strip_suffix(b"\r").unwrap_or(line)
    }

    /// Has a line begun that has not ended?
    pub fn is_partial(&self) -> bool {
        self.skipping || self.gathered.last().is_some_and(|b| *b != b'\n')
    }

    /// Forgets what was gathered: STARTTLS.
    pub fn reset(&mut self) {
        *self = Self::new(self.limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(input: &[u8], piece: usize, limit: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(limit);
        let mut out = Vec::new();
        for piece in input.chunks(piece) {
            let mut rest = piece;
            loop {
                let (used, step) = lines.push(rest);
                rest = &rest[used..];
                match step {
                    Step::More => break,
                    Step::Line => out.push(Some(lines.line().to_vec())),
                    Step::TooLong => out.push(None),
                }
            }
        }
        out
    }

    #[test]
    fn ends() {
        let some = |s: &str| Some(s.as_bytes().to_vec());
        assert_eq!(all(b"NOOP\r\nQUIT\nx", 3, 4), [some("NOOP"), some("QUIT")]);
        assert_eq!(all(b"NOOPS\r\n\r\n", 100, 4), [None, some("")]);
        assert_eq!(all(b"abcd\r\nabcde\r\nabcd\n", 1, 4), [some("abcd"), None, some("abcd")]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(input in "[a\r\n]{0,40}", piece in 1usize..9, limit in 1usize..6) {
            prop_assert_eq!(all(input.as_bytes(), piece, limit), all(input.as_bytes(), 99, limit));
        }
    }
}
