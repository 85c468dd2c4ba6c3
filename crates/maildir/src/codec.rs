//! Numbers and strings as octets, for checkpoint and journal: LEB128 numbers, strings with their length before
//! them. Reading never allocates more than what is there to be read, and never panics.

use culver_base::Uid;

/// Collects octets.
#[derive(Default, Clone)]
pub struct Writer {
    /// What was written so far.
    pub out: Vec<u8>,
}

impl Writer {
    /// One octet.
    pub fn byte(&mut self, b: u8) {
        self.out.push(b);
    }
    /// A number, 7 bits an octet, low ones first.
    pub fn number(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.out.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.out.push(n as u8);
    }
    /// A number with a sign, small ones short (zigzag).
    pub fn signed(&mut self, n: i64) {
        self.number(((n << 1) ^ (n >> 63)) as u64);
    }
    /// A string.
    pub fn octets(&mut self, s: &[u8]) {
        self.number(s.len() as u64);
        self.out.extend_from_slice(s);
    }
}

/// Takes octets apart. Every method gives `None` when there is not enough or it makes no sense.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// From the beginning.
    pub fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }
    /// Octets left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }
    /// Nothing left?
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
    /// The next `n` octets.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(head)
    }
    /// The next `N` octets as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
    /// One octet.
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }
    /// A number.
    pub fn number(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let b = self.byte()?;
            let bits = u64::from(b & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            n |= bits << shift;
            if b & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }
    /// A number of at most 32 bits.
    pub fn number_u32(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }
    /// A number with a sign.
    pub fn signed(&mut self) -> Option<i64> {
        let n = self.number()?;
        Some((n >> 1) as i64 ^ -((n & 1) as i64))
    }
    /// A UID.
    pub fn uid(&mut self) -> Option<Uid> {
        Uid::new(self.number_u32()?)
    }
    /// A number of things that take at least `least` octets each: refused when there cannot be so many.
    pub fn count(&mut self, least: usize) -> Option<usize> {
        let n = usize::try_from(self.number()?).ok()?;
        (n.checked_mul(least)? <= self.rest.len()).then_some(n)
    }
    /// A string.
    pub fn octets(&mut self) -> Option<&'a [u8]> {
        let n = self.count(1)?;
        self.take(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(n in any::<u64>(), i in any::<i64>(), s in any::<Vec<u8>>(), cut in any::<u16>()) {
            let mut w = Writer::default();
            w.number(n);
            w.signed(i);
            w.octets(&s);
            let mut r = Reader::new(&w.out);
            prop_assert_eq!((r.number(), r.signed(), r.octets()), (Some(n), Some(i), Some(&s[..])));
            prop_assert!(r.is_at_end());
            let cut = usize::from(cut) % w.out.len();
            let mut r = Reader::new(&w.out[..cut]);
            prop_assert!(r.number().is_none() || r.signed().is_none() || r.octets().is_none());
        }
    }
}
