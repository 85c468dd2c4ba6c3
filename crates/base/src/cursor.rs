//! A cursor over the bytes of one command: peek, take, expect.
//!
//! Grammars are written on it, one method per ABNF rule. It never copies, never goes back on its own, and every
//! refusal says where it stood and what would have been right there.

use thiserror::Error;

/// The client's bytes do not fit the grammar: where, and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected {expected} at byte {at}")]
pub struct Malformed {
    /// Offset from the start of the command line, from 0.
    pub at: usize,
    /// What would have been right: a noun phrase for people.
    pub expected: &'static str,
}

/// A position in a byte slice.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
    /// Offset from the start.
    pub const fn position(&self) -> usize {
        self.at
    }
    /// What has not been taken yet.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }
    /// Is everything taken?
    pub const fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }
    /// The next byte, not taken.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
    /// A refusal at this position.
    pub const fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed { at: self.at, expected }
    }
    /// Takes one byte.
    pub fn next_byte(&mut self, expected: &'static str) -> Result<u8, Malformed> {
        let b = self.peek().ok_or(self.malformed(expected))?;
        self.at += 1;
        Ok(b)
    }
    /// Takes `byte` if it is next.
    pub fn take(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        self.at += usize::from(hit);
        hit
    }
    /// Takes `text` if it is next, without regard to ASCII case.
    pub fn take_nocase(&mut self, text: &str) -> bool {
        let hit = self.rest().get(..text.len()).is_some_and(|s| s.eq_ignore_ascii_case(text.as_bytes()));
        if hit {
            self.at += text.len();
        }
        hit
    }
    /// Takes `byte` or refuses.
    pub fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Malformed> {
        if self.take(byte) { Ok(()) } else { Err(self.malformed(expected)) }
    }
    /// Takes the longest run of bytes that satisfy `accept`; may be empty.
    pub fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let n = rest.iter().position(|&b| !accept(b)).unwrap_or(rest.len());
        self.at += n;
        &rest[..n]
    }
    /// Takes a run of at least one byte.
    pub fn take_while1(
        &mut self,
        accept: impl Fn(u8) -> bool,
        expected: &'static str,
    ) -> Result<&'a [u8], Malformed> {
        let run = self.take_while(accept);
        if run.is_empty() { Err(self.malformed(expected)) } else { Ok(run) }
    }
    /// Takes exactly `n` bytes.
    pub fn take_n(&mut self, n: usize, expected: &'static str) -> Result<&'a [u8], Malformed> {
        let run = self.rest().get(..n).ok_or(self.malformed(expected))?;
        self.at += n;
        Ok(run)
    }
    /// `number64` without sign (RFC 9051 §9): digits, at most `max`.
    pub fn number(&mut self, max: u64, expected: &'static str) -> Result<u64, Malformed> {
        let start = self.malformed(expected);
        let digits = self.take_while1(|b| b.is_ascii_digit(), expected)?;
        let mut n: u64 = 0;
        for d in digits {
            n = n
                .checked_mul(10)
                .and_then(|n| n.checked_add(u64::from(d - b'0')))
                .filter(|n| *n <= max)
                .ok_or_else(|| start.clone())?;
        }
        Ok(n)
    }
}

/// `ATOM-CHAR` (RFC 9051 §9): any CHAR except `( ) { SP CTL % * " \ ]`. Note that `atom` in flags and keywords
/// uses exactly this class.
pub const fn is_atom_char(b: u8) -> bool {
    matches!(b, 0x21..=0x7e) && !matches!(b, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stop_at_their_bound() {
        assert_eq!(Cursor::new(b"4294967295 ").number(u64::from(u32::MAX), "n"), Ok(4_294_967_295));
        let e = Cursor::new(b"4294967296").number(u64::from(u32::MAX), "n").unwrap_err();
        assert_eq!((e.at, e.expected), (0, "n"));
        assert!(Cursor::new(b"99999999999999999999999").number(u64::MAX, "n").is_err());
    }

    #[test]
    fn atom_char_is_the_rfcs_class() {
        // RFC 9051 §9, written as the ABNF reads: CHAR minus atom-specials.
        for b in 0..=255u8 {
            let specials = b"(){ %*\"\\]";
            let ctl = b < 0x20 || b == 0x7f;
            let want = (1..=0x7f).contains(&b) && !ctl && !specials.contains(&b);
            assert_eq!(is_atom_char(b), want, "byte {b:#x}");
        }
    }
}
