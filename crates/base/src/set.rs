//! Sets of message numbers: as a client writes them ([`SequenceSet`]) and as we know them ([`UidSet`]).

use crate::Uid;
use std::fmt;

/// One end of a range: a number, or `*` for the highest in use (RFC 9051 §9, `seq-number`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    /// A number from 1.
    Number(u32),
    /// `*`
    Star,
}

/// `sequence-set` as written (RFC 9051 §9). Whether its numbers are UIDs or sequence numbers, the command says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SequenceSet {
    /// Ranges in the order of the client; a single number is a range of one.
    Ranges(Vec<(Bound, Bound)>),
    /// `$`: the result of the last SEARCH RETURN (SAVE) (RFC 5182).
    Saved,
}

impl SequenceSet {
    /// Sorted, disjoint, merged ranges, with `*` standing for `last`. `last` is the highest number in use, 0 when
    /// there is none; then `*` names nothing. A range with `*` holds at least `last` (RFC 9051 §9: `3:*` with a
    /// highest UID of 2 is `2:3`). [`SequenceSet::Saved`] resolves to nothing here: the session knows its value.
    pub fn resolve(&self, last: u32) -> UidSet {
        let Self::Ranges(ranges) = self else { return UidSet::new() };
        let value = |b: Bound| match b {
            Bound::Number(n) => n,
            Bound::Star => last,
        };
        let mut plain: Vec<(u32, u32)> = ranges
            .iter()
            .map(|&(a, b)| (value(a).min(value(b)), value(a).max(value(b))))
            .filter(|&(_, hi)| hi > 0)
            .map(|(lo, hi)| (lo.max(1), hi))
            .collect();
        plain.sort_unstable();
        let mut set = UidSet::new();
        for (lo, hi) in plain {
            set.push_range(lo, hi);
        }
        set
    }
}

/// A set of numbers from 1 as sorted, disjoint, non-adjacent inclusive ranges. Mostly UIDs, hence the name; it
/// prints as `sequence-set` or `uid-set`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct UidSet {
    ranges: Vec<(u32, u32)>,
}

impl UidSet {
    /// Nothing.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }
    /// Everything from 1 to 2^32 - 1.
    pub fn all() -> Self {
        Self { ranges: vec![(1, u32::MAX)] }
    }
    /// One number.
    pub fn one(uid: Uid) -> Self {
        Self { ranges: vec![(uid.get(), uid.get())] }
    }
    /// Does it hold nothing?
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
    /// How many numbers it holds.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|&(lo, hi)| u64::from(hi - lo) + 1).sum()
    }
    /// The ranges, ascending.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }
    /// Is `n` in it? By binary search.
    pub fn contains(&self, n: u32) -> bool {
        let i = self.ranges.partition_point(|&(_, hi)| hi < n);
        self.ranges.get(i).is_some_and(|&(lo, _)| lo <= n)
    }
    /// Is this UID in it?
    pub fn has(&self, uid: Uid) -> bool {
        self.contains(uid.get())
    }
    /// The smallest number.
    pub fn first(&self) -> Option<u32> {
        self.ranges.first().map(|r| r.0)
    }
    /// The largest number.
    pub fn last(&self) -> Option<u32> {
        self.ranges.last().map(|r| r.1)
    }
    /// Adds a number. Ascending order is the fast case.
    pub fn insert(&mut self, n: u32) {
        self.insert_range(n, n);
    }
    /// Adds a UID.
    pub fn add(&mut self, uid: Uid) {
        self.insert(uid.get());
    }
    /// Adds `lo..=hi`.
    pub fn insert_range(&mut self, lo: u32, hi: u32) {
        if self.ranges.last().is_none_or(|&(l, _)| l <= lo) {
            self.push_range(lo, hi);
            return;
        }
        let start = self.ranges.partition_point(|&(_, h)| h < lo.saturating_sub(1));
        let end = self.ranges.partition_point(|&(l, _)| l <= hi.saturating_add(1));
        if start >= end {
            self.ranges.insert(start, (lo, hi));
        } else {
            let merged = (lo.min(self.ranges[start].0), hi.max(self.ranges[end - 1].1));
            self.ranges.splice(start..end, [merged]);
        }
    }
    /// Adds a range that does not begin before the last one does.
    fn push_range(&mut self, lo: u32, hi: u32) {
        match self.ranges.last_mut() {
            Some(last) if lo <= last.1.saturating_add(1) => last.1 = last.1.max(hi),
            _ => self.ranges.push((lo, hi)),
        }
    }
    /// Every number, ascending. May be four thousand million of them: bound the set first.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|&(lo, hi)| lo..=hi)
    }
    /// Every number as a UID, ascending.
    pub fn uids(&self) -> impl Iterator<Item = Uid> + '_ {
        self.iter().filter_map(Uid::new)
    }
    /// What both hold.
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut i, mut j) = (0, 0);
        let mut out = Self::new();
        while let (Some(&(al, ah)), Some(&(bl, bh))) = (self.ranges.get(i), other.ranges.get(j)) {
            let (lo, hi) = (al.max(bl), ah.min(bh));
            if lo <= hi {
                out.push_range(lo, hi);
            }
            if ah < bh { i += 1 } else { j += 1 }
        }
        out
    }
    /// What this holds and `other` does not.
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = Self::new();
        for &(lo, hi) in &self.ranges {
            let mut from = u64::from(lo);
            let start = other.ranges.partition_point(|&(_, h)| h < lo);
            for &(l, h) in &other.ranges[start..] {
                if l > hi {
                    break;
                }
                if u64::from(l) > from {
                    out.push_range(from as u32, l - 1);
                }
                from = from.max(u64::from(h) + 1);
            }
            if from <= u64::from(hi) {
                out.push_range(from as u32, hi);
            }
        }
        out
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(iter: I) -> Self {
        let mut set = Self::new();
        for uid in iter {
            set.add(uid);
        }
        set
    }
}

impl Extend<Uid> for UidSet {
    fn extend<I: IntoIterator<Item = Uid>>(&mut self, iter: I) {
        for uid in iter {
            self.add(uid);
        }
    }
}

/// As `sequence-set`: `1:3,7`. An empty set prints as nothing; the caller must not send it.
impl fmt::Display for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, &(lo, hi)) in self.ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            if lo == hi { write!(f, "{lo}")? } else { write!(f, "{lo}:{hi}")? }
        }
        Ok(())
    }
}

impl fmt::Debug for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn star_names_the_highest_and_never_nothing_else() {
        let set = SequenceSet::Ranges(vec![(Bound::Number(3), Bound::Star)]);
        assert_eq!(set.resolve(2).to_string(), "2:3"); // RFC 9051 §9: 3:* always holds the last message
        assert_eq!(set.resolve(0).to_string(), "1:3");
        let star = SequenceSet::Ranges(vec![(Bound::Star, Bound::Star)]);
        assert_eq!(star.resolve(0).to_string(), "");
        assert_eq!(star.resolve(9).to_string(), "9");
    }

    fn set_of(items: &BTreeSet<u32>) -> UidSet {
        items.iter().filter_map(|n| Uid::new(*n)).collect()
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(
            a in proptest::collection::vec(1u32..60, 0..40),
            b in proptest::collection::btree_set(1u32..60, 0..40),
        ) {
            let mut mine = UidSet::new();
            for n in &a {
                mine.insert(*n);
            }
            let model: BTreeSet<u32> = a.iter().copied().collect();
            let other = set_of(&b);
            prop_assert_eq!(mine.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(mine.len(), model.len() as u64);
            prop_assert_eq!(
                mine.intersection(&other).iter().collect::<BTreeSet<_>>(),
                model.intersection(&b).copied().collect::<BTreeSet<_>>()
            );
            prop_assert_eq!(
                mine.difference(&other).iter().collect::<BTreeSet<_>>(),
                model.difference(&b).copied().collect::<BTreeSet<_>>()
            );
            for n in 0..61 {
                prop_assert_eq!(mine.contains(n), model.contains(&n));
            }
            // Ranges are disjoint and never touch: the printed form is the shortest.
            for pair in mine.ranges().windows(2) {
                prop_assert!(pair[0].1 + 1 < pair[1].0);
            }
        }
    }
}
