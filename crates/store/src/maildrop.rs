//! A mailbox as POP3 lists it (RFC 1939 §4): messages by number, their sizes, their unique identifiers.
//!
//! A maildrop is a value that shares the mailbox's snapshot: a session that waits keeps the numbers of its messages only
//! where they are not simply the order of UIDs.

use async_trait::async_trait;
use culver_base::Uid;
use culver_snapshot::{Record, Snapshot};
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

/// How much sizes may cost.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Sizes {
    /// Octets on the wire, counted where nobody has yet.
    #[default]
    Exact,
    /// What is known without opening a message, even if it is what its file has.
    AtHand,
}

/// What is stored of one message's identifiers.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StoredId {
    /// Its unique identifier. Empty: the base of its file's name.
    pub id: Option<Box<[u8]>>,
    /// Its GUID, if it is not the base of its file's name.
    pub guid: Option<Box<[u8]>>,
}

/// See the head of the file.
#[derive(Clone, Debug)]
pub struct Maildrop {
    /// The messages as they were when the session began.
    pub snapshot: Arc<Snapshot>,
    /// What is stored of identifiers; most messages have nothing.
    pub stored: Arc<HashMap<Uid, StoredId>>,
    /// Positions in the snapshot in the order of numbers; `None`: all in their order.
    order: Option<Arc<[u32]>>,
    /// Sizes of messages whose records have none.
    sizes: Arc<HashMap<Uid, u64>>,
    octets: u64,
}

impl Maildrop {
    /// From what an engine knows. Positions that the snapshot does not have are left out.
    pub fn new<S: BuildHasher>(
        snapshot: Arc<Snapshot>,
        order: Option<Vec<u32>>,
        stored: Arc<HashMap<Uid, StoredId>>,
        sizes: HashMap<Uid, u64, S>,
    ) -> Self {
        let order = order.map(|o| o.into_iter().filter(|i| (*i as usize) < snapshot.len()).collect());
        let sizes = Arc::new(sizes.into_iter().collect());
        let mut this = Self { snapshot, stored, order, sizes, octets: 0 };
        this.octets = match this.order {
            None => {
                let counts = this.snapshot.counts();
                counts.size + this.sizes.values().sum::<u64>()
            }
            Some(_) => (0..this.len()).filter_map(|i| this.get(i)).map(|(_, octets)| octets).sum(),
        };
        this
    }

    /// How many messages.
    pub fn len(&self) -> usize {
        self.order.as_ref().map_or_else(|| self.snapshot.len(), |o| o.len())
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets of all.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// The record at a position, from 0.
    pub fn record(&self, position: usize) -> Option<&Record> {
        match &self.order {
            None => self.snapshot.get(position),
            Some(order) => self.snapshot.get(*order.get(position)? as usize),
        }
    }

    /// UID and size of the message at a position, from 0.
    pub fn get(&self, position: usize) -> Option<(Uid, u64)> {
        self.record(position).map(|r| (r.uid, self.size(r)))
    }

    /// All of them in order.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (Uid, u64)> + Send + '_> {
        match &self.order {
            None => Box::new(self.snapshot.iter().map(|r| (r.uid, self.size(r)))),
            Some(_) => Box::new((0..self.len()).filter_map(|i| self.get(i))),
        }
    }

    fn size(&self, record: &Record) -> u64 {
        record.size.unwrap_or_else(|| self.sizes.get(&record.uid).copied().unwrap_or(0))
    }
}

/// Where an identifier comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// It is stored.
    Stored,
    /// It was made by the format.
    Made,
    /// The message is gone, and with it what its identifier is made of.
    Unknown,
}

/// Unique identifiers, one behind the other.
#[derive(Clone, Default, Debug)]
pub struct UniqueIds {
    octets: Vec<u8>,
    ends: Vec<(usize, Origin)>,
}

impl UniqueIds {
    /// Adds one, which `write` appends to the octets.
    pub fn add(&mut self, origin: Origin, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.octets);
        self.ends.push((self.octets.len(), origin));
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One of them.
    pub fn get(&self, i: usize) -> Option<(&[u8], Origin)> {
        let (end, origin) = *self.ends.get(i)?;
        let start = i.checked_sub(1).map_or(0, |before| self.ends[before].0);
        Some((&self.octets[start..end], origin))
    }

    /// All in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Origin)> {
        (0..self.len()).filter_map(|i| self.get(i))
    }
}

/// The right to be the only POP3 session of an account. Dropping it gives it back a moment later.
#[async_trait]
pub trait Claim: Send + Sync {
    /// Tells others that the session still lives; to be called every minute or so.
    async fn renew(&mut self);

    /// Gives it back; free for others when it returns.
    async fn release(self: Box<Self>);
}
