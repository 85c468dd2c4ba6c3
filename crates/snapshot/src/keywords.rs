//! The keywords of a mailbox: a table of names, and bits that point into it.

use culver_base::Keyword;

/// A set of keywords: bit `n` is entry `n` of the mailbox's [`KeywordTable`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash, Debug)]
pub struct KeywordBits(pub u64);

/// Which bit stands for which keyword in one mailbox. Entries are only ever added while a snapshot is in use, so
/// bits of an older snapshot mean the same in a newer table.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct KeywordTable {
    names: Vec<Keyword>,
}

impl KeywordTable {
    /// How many different keywords a mailbox can hold. Maildir has letters for 26; the rest live in Culver's index.
    pub const CAPACITY: usize = 64;

    /// The names, in the order of their bits.
    pub fn names(&self) -> &[Keyword] {
        &self.names
    }

    /// The bit of `keyword`, if the table has it.
    pub fn find(&self, keyword: &Keyword) -> Option<KeywordBits> {
        self.names.iter().position(|k| k == keyword).map(|i| KeywordBits(1 << i))
    }

    /// The bit of `keyword`, added if need be. `None` when the table is full.
    pub fn find_or_add(&mut self, keyword: &Keyword) -> Option<KeywordBits> {
        if let Some(bit) = self.find(keyword) {
            return Some(bit);
        }
        if self.names.len() == Self::CAPACITY {
            return None;
        }
        self.names.push(keyword.clone());
        Some(KeywordBits(1 << (self.names.len() - 1)))
    }

    /// May another keyword be added? (`\*` in PERMANENTFLAGS, RFC 9051 §7.1.)
    pub fn has_room(&self) -> bool {
        self.names.len() < Self::CAPACITY
    }

    /// The keywords of `bits`, in the order of their bits.
    pub fn of(&self, bits: KeywordBits) -> impl Iterator<Item = &Keyword> {
        self.names.iter().enumerate().filter(move |(i, _)| bits.0 >> i & 1 == 1).map(|(_, k)| k)
    }
}
