//! Bytes to lines, with a limit.

use crate::LONGEST_LINE;

/// A line is longer than [`LONGEST_LINE`]. Its sender is not one of ours: close.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a line is longer than {LONGEST_LINE} octets")]
pub struct TooLong;

/// What was received and is no whole line yet.
#[derive(Default, Debug)]
pub struct Lines {
    bytes: Vec<u8>,
    /// Up to here lines were given out.
    used: usize,
    /// Up to here there is no LF.
    seen: usize,
}

impl Lines {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.used > 0 {
            self.bytes.drain(..self.used);
            self.seen -= self.used;
            self.used = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line without its LF; octets that are not UTF-8 become U+FFFD. `None` until there is one.
    ///
    /// # Errors
    /// When it is too long, whole or not.
    pub fn next_line(&mut self) -> Result<Option<String>, TooLong> {
        let Some(end) = self.bytes[self.seen..].iter().position(|b| *b == b'\n').map(|n| n + self.seen)
        else {
            self.seen = self.bytes.len();
            return if self.seen - self.used > LONGEST_LINE { Err(TooLong) } else { Ok(None) };
        };
        let line = &self.bytes[self.used..end];
        if line.len() > LONGEST_LINE {
            return Err(TooLong);
        }
        let line = String::from_utf8_lossy(line).into_owned();
        (self.used, self.seen) = (end + 1, end + 1);
        if self.used == self.bytes.len() {
            // A session that waits owns no buffers.
            *self = Self::default();
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_at_any_byte() {
        let text = b"VERSION\t1\t2\nCPID\t7\n\nlast";
        for cut in 0..=text.len() {
            let mut lines = Lines::new();
            let mut got = Vec::new();
            for part in [&text[..cut], &text[cut..]] {
                lines.push(part);
                while let Some(line) = lines.next_line().unwrap() {
                    got.push(line);
                }
            }
            assert_eq!(got, ["VERSION\t1\t2", "CPID\t7", ""], "{cut}");
            lines.push(b"\n");
            assert_eq!(lines.next_line(), Ok(Some("last".to_owned())));
            assert_eq!(lines.next_line(), Ok(None));
        }
    }

    #[test]
    fn a_limit() {
        let mut lines = Lines::new();
        lines.push(&[b'x'; LONGEST_LINE]);
        assert_eq!(lines.next_line(), Ok(None));
        lines.push(b"\n");
        assert_eq!(lines.next_line().unwrap().unwrap().len(), LONGEST_LINE);
        lines.push(&[b'x'; LONGEST_LINE + 1]);
        assert_eq!(lines.next_line(), Err(TooLong));
        let mut lines = Lines::new();
        lines.push(&[b'x'; LONGEST_LINE + 1]);
        lines.push(b"\n");
        assert_eq!(lines.next_line(), Err(TooLong));
    }
}
