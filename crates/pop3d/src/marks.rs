//! Messages of a maildrop that are marked, by position: a bit each, and none before the first mark.

/// Marks.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Marks {
    bits: Vec<u64>,
    count: usize,
    octets: u64,
}

impl Marks {
    /// Is this one marked?
    pub fn has(&self, position: usize) -> bool {
        self.bits.get(position / 64).is_some_and(|bits| bits >> (position % 64) & 1 == 1)
    }

    /// Marks one of so many octets. Once is enough.
    pub fn add(&mut self, position: usize, octets: u64) {
        if self.has(position) {
            return;
        }
        if self.bits.len() <= position / 64 {
            self.bits.resize(position / 64 + 1, 0);
        }
        self.bits[position / 64] |= 1 << (position % 64);
        self.count += 1;
        self.octets += octets;
    }

    /// How many are marked.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Their octets together.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// The positions.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        let bits = self.bits.iter().enumerate();
        bits.flat_map(|(i, bits)| (0..64).filter(move |b| bits >> b & 1 == 1).map(move |b| i * 64 + b))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_counted_once() {
        let mut marks = Marks::default();
        for position in [63, 0, 64, 0, 1000] {
            marks.add(position, 10);
        }
        assert_eq!(marks.iter().collect::<Vec<_>>(), [0, 63, 64, 1000]);
        assert_eq!((marks.count(), marks.octets()), (4, 40));
        assert!(marks.has(64) && !marks.has(65) && !marks.has(100_000));
    }
}
