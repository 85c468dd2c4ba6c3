//! Numbers with a meaning: unique identifiers, sequence numbers, mod-sequences.

use std::fmt;
use std::num::NonZeroU32;

macro_rules! nz_number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU32);

        impl $name {
            /// The smallest value.
            pub const MIN: Self = Self(NonZeroU32::MIN);
            /// The largest value.
            pub const MAX: Self = Self(NonZeroU32::MAX);

            /// `None` for 0, which the grammar (RFC 9051 §9, `nz-number`) does not allow.
            pub const fn new(value: u32) -> Option<Self> {
                match NonZeroU32::new(value) {
                    Some(v) => Some(Self(v)),
                    None => None,
                }
            }

            /// The plain number.
            pub const fn get(self) -> u32 {
                self.0.get()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

nz_number! {
    /// A message's unique identifier in its mailbox (RFC 9051 §2.3.1.1). Never used twice.
    Uid
}
nz_number! {
    /// A message's sequence number: its position in one session's view, from 1 (RFC 9051 §2.3.1.2).
    SeqNo
}
nz_number! {
    /// The unique identifier validity value (RFC 9051 §2.3.1.1).
    UidValidity
}

impl Uid {
    /// The identifier after this one; `None` when the 32 bits are used up.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(v) => Some(Self(v)),
            None => None,
        }
    }
}

impl SeqNo {
    /// The sequence number of the record at `index` (from 0).
    pub fn from_index(index: usize) -> Self {
        let n = u32::try_from(index + 1).unwrap_or(u32::MAX);
        Self(NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN))
    }

    /// The position from 0.
    pub const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// A mod-sequence (RFC 7162 §3.1.1): 63 bits, grows with every change of a mailbox. Zero stands for "older than
/// anything" in UNCHANGEDSINCE and CHANGEDSINCE.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ModSeq(u64);

impl ModSeq {
    /// Older than any message.
    pub const ZERO: Self = Self(0);
    /// The largest value that the grammar allows: 2^63 - 1.
    pub const MAX: Self = Self((1 << 63) - 1);

    /// `None` above 2^63 - 1.
    pub const fn new(value: u64) -> Option<Self> {
        if value <= Self::MAX.0 { Some(Self(value)) } else { None }
    }

    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The next mod-sequence; stays at the maximum once it is reached (in 290,000 years of a change a
    /// microsecond).
    #[must_use]
    pub const fn next(self) -> Self {
        if self.0 < Self::MAX.0 { Self(self.0 + 1) } else { self }
    }
}

impl fmt::Display for ModSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_uid_and_the_last_has_no_next() {
        assert_eq!(Uid::new(0), None);
        assert_eq!(Uid::MAX.next(), None);
        assert_eq!(Uid::MIN.next(), Uid::new(2));
    }

    #[test]
    fn mod_sequences_stay_within_63_bits() {
        assert_eq!(ModSeq::new(1 << 63), None);
        assert_eq!(ModSeq::MAX.next(), ModSeq::MAX);
    }
}
