//! The columns of a mailbox's messages ([`culver_mime::columns`]), in memory: what SEARCH of header fields, SORT and
//! THREAD work on.
//!
//! A table does not change; one with more messages shares the octets of the one before.

use bytes::Bytes;
use culver_base::Uid;
use culver_mime::columns::{Column, Columns};
use std::sync::{Arc, OnceLock};

/// Columns by UID.
#[derive(Default)]
pub struct ColumnTable {
    slots: Vec<Slot>,
    chunks: Vec<Bytes>,
    ranks: [OnceLock<Arc<[u32]>>; RANKED.len()],
}

#[derive(Clone, Copy)]
struct Slot {
    uid: Uid,
    chunk: u32,
    at: u32,
    len: u32,
}

/// The columns that SORT and THREAD compare.
const RANKED: [Column; 6] = [
    Column::BaseSubject,
    Column::FromMailbox,
    Column::ToMailbox,
    Column::CcMailbox,
    Column::DisplayFrom,
    Column::DisplayTo,
];

/// Collects columns for a table.
#[derive(Default)]
pub struct Gathered {
    slots: Vec<(Uid, u32, u32)>,
    octets: Vec<u8>,
}

impl Gathered {
    /// Adds a message, in any order. What is no columns is left out.
    pub fn add(&mut self, uid: Uid, columns: &[u8]) {
        if Columns::parse(columns).is_none() {
            return;
        }
        let (Ok(at), Ok(len)) = (u32::try_from(self.octets.len()), u32::try_from(columns.len())) else {
            return;
        };
        self.slots.push((uid, at, len));
        self.octets.extend_from_slice(columns);
    }
    /// Nothing yet?
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

impl ColumnTable {
    /// How many messages.
    pub fn len(&self) -> usize {
        self.slots.len()
    }
    /// None?
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// This one with more messages, and without those that `keep` does not want.
    pub fn with(&self, more: Vec<Gathered>, keep: impl Fn(Uid) -> bool) -> Self {
        let mut chunks = self.chunks.clone();
        let mut slots: Vec<Slot> = self.slots.iter().filter(|s| keep(s.uid)).copied().collect();
        for gathered in more {
            let Ok(chunk) = u32::try_from(chunks.len()) else { break };
            slots.extend(gathered.slots.iter().map(|&(uid, at, len)| Slot { uid, chunk, at, len }));
            chunks.push(gathered.octets.into());
        }
        slots.sort_by_key(|s| s.uid);
        slots.dedup_by_key(|s| s.uid);
        // Many small chunks, or much that nobody looks at any more: all in one.
        let used: usize = slots.iter().map(|s| s.len as usize).sum();
        let held: usize = chunks.iter().map(Bytes::len).sum();
        if (chunks.len() > 16 || held > 2 * used + 4096) && u32::try_from(used).is_ok() {
            let mut octets = Vec::with_capacity(used);
            for slot in &mut slots {
                let at = octets.len() as u32;
                octets.extend_from_slice(octets_of(&chunks, slot));
                (slot.chunk, slot.at) = (0, at);
            }
            chunks = vec![octets.into()];
        }
        Self { slots, chunks, ranks: Default::default() }
    }

    /// Has it this message?
    pub fn has(&self, uid: Uid) -> bool {
        self.find(uid).is_some()
    }

    /// The columns of a message; `None` if it could not be read.
    pub fn get(&self, uid: Uid) -> Option<Columns<'_>> {
        self.at(self.find(uid)?)
    }

    fn find(&self, uid: Uid) -> Option<usize> {
        self.slots.binary_search_by_key(&uid, |s| s.uid).ok()
    }

    fn at(&self, i: usize) -> Option<Columns<'_>> {
        Some(Columns::again(octets_of(&self.chunks, self.slots.get(i)?)))
    }

    /// Goes through messages in the order of their UIDs, which is cheap.
    pub fn walk(&self) -> Walk<'_> {
        Walk { table: self, next: 0 }
    }

    /// For one of the columns that SORT and THREAD compare: a number for each message, in the order of UIDs, so that
    /// numbers compare as texts do. Made when first asked for.
    fn ranks(&self, column: Column) -> Option<&[u32]> {
        let i = RANKED.iter().position(|c| *c == column)?;
        Some(self.ranks[i].get_or_init(|| {
            let texts: Vec<&[u8]> =
                (0..self.slots.len()).map(|i| self.at(i).map_or(&b""[..], |c| c.text(column))).collect();
            let mut order: Vec<u32> = (0..texts.len() as u32).collect();
            order.sort_unstable_by_key(|i| texts[*i as usize]);
            let mut ranks = vec![0; texts.len()];
            let mut last: &[u8] = b"";
            let mut rank = 0;
            for i in order {
                let text = texts[i as usize];
                rank += u32::from(text != last);
                ranks[i as usize] = rank;
                last = text;
            }
            ranks.into()
        }))
    }
}

fn octets_of<'a>(chunks: &'a [Bytes], slot: &Slot) -> &'a [u8] {
    let begin = slot.at as usize;
    let chunk = chunks.get(slot.chunk as usize).map_or(&b""[..], |c| &c[..]);
    chunk.get(begin..begin + slot.len as usize).unwrap_or_default()
}

/// See [`ColumnTable::walk`].
#[derive(Clone)]
pub struct Walk<'a> {
    table: &'a ColumnTable,
    next: usize,
}

impl<'a> Walk<'a> {
    fn seek(&mut self, uid: Uid) -> Option<usize> {
        let i = match self.table.slots.get(self.next) {
            Some(slot) if slot.uid == uid => self.next,
            _ => self.table.find(uid)?,
        };
        self.next = i + 1;
        Some(i)
    }

    /// The columns of a message.
    pub fn get(&mut self, uid: Uid) -> Option<Columns<'a>> {
        let i = self.seek(uid)?;
        self.table.at(i)
    }

    /// The rank of a message's text among those of the mailbox: 0 is the empty text, and what is not there. `None`
    /// for a column that is not compared.
    pub fn rank(&mut self, uid: Uid, column: Column) -> Option<u32> {
        let ranks = self.table.ranks(column)?;
        Some(self.seek(uid).and_then(|i| ranks.get(i)).copied().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn uid(n: u32) -> Uid {
        Uid::new(n).unwrap()
    }

    proptest! {
        #[test]
        fn a_table_is_a_map(steps in proptest::collection::vec((proptest::collection::vec((1u32..40, "[abB]{0,2}"), 0..6), 0u32..40), 0..30)) {
            let mut table = ColumnTable::default();
            let mut model: BTreeMap<u32, String> = BTreeMap::new();
            for (more, gone) in steps {
                let mut gathered = Gathered::default();
                model.remove(&gone);
                for (n, subject) in more {
                    if n != gone && !model.contains_key(&n) && !table.has(uid(n)) {
                        let header = format!("Subject: {subject}\r\n\r\n");
                        gathered.add(uid(n), &culver_mime::columns::columns(header.as_bytes()));
                        model.insert(n, subject);
                    }
                }
                table = table.with(vec![gathered], |u| u.get() != gone);
                prop_assert_eq!(table.len(), model.len());
                let mut walk = table.walk();
                let mut ranks = table.walk();
                let mut ranked = Vec::new();
                for (n, subject) in &model {
                    let folded = subject.to_uppercase();
                    prop_assert_eq!(walk.get(uid(*n)).unwrap().text(Column::BaseSubject), folded.as_bytes());
                    ranked.push((ranks.rank(uid(*n), Column::BaseSubject).unwrap(), folded));
                }
                for (a, x) in &ranked {
                    prop_assert_eq!(*a == 0, x.is_empty());
                    for (b, y) in &ranked {
                        prop_assert_eq!(a.cmp(b), x.cmp(y));
                    }
                }
                prop_assert!(table.get(uid(99)).is_none());
            }
        }
    }
}
