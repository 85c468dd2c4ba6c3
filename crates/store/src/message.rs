//! The bytes of a message: on the way in (a spool), and on the way out (a message under visit).

use crate::Result;
use crate::io::File;
use async_trait::async_trait;
use bytes::Bytes;
use culver_base::Uid;
use culver_mime::Structure;
use parking_lot::Mutex;
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// How much may be done for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effort {
    /// What it takes.
    Any,
    /// Only what can be had without reading the message.
    AtHand,
}

/// A message while a visitor looks at it, on a thread that may read files. Everything is lazy and asked for at
/// most once: what a cache knows never opens the file.
///
/// All octets, offsets and sizes are those of the wire form: CRLF line ends, whatever the file has.
pub trait Message {
    /// Its UID.
    fn uid(&self) -> Uid;
    /// RFC822.SIZE.
    fn size(&mut self) -> Result<u64>;
    /// Part tree.
    fn structure(&mut self) -> Result<Arc<Structure>>;
    /// ENVELOPE as ready wire bytes.
    fn envelope(&mut self) -> Result<Bytes>;
    /// BODY (without extension data) as ready wire bytes.
    fn body(&mut self) -> Result<Bytes>;
    /// BODYSTRUCTURE as ready wire bytes.
    fn body_structure(&mut self) -> Result<Bytes>;
    /// The message's own header with the empty line.
    fn header(&mut self) -> Result<Bytes>;
    /// The header decoded for SEARCH, SORT and THREAD ([`culver_mime::columns`]).
    fn columns(&mut self) -> Result<Bytes>;
    /// Where its text is ([`culver_mime::text::text_parts`]).
    fn text_parts(&mut self) -> Result<Bytes>;
    /// The first words of its text (RFC 8970), UTF-8; empty when it has none. `None`: it is not at hand, and `how`
    /// does not allow to read the message for it.
    fn preview(&mut self, how: Effort) -> Result<Option<Bytes>>;
    /// The same as [`Message::header`], but fields of which [`culver_mime::fields::is_bulky`] holds may be missing.
    fn lean_header(&mut self) -> Result<Bytes>;
    /// Appends the octets `range`, cut at the message's end, to `out`. For ranges that fit into memory.
    fn read(&mut self, range: Range<u64>, out: &mut Vec<u8>) -> Result<()>;
    /// The octets `range`, cut at the message's end, without copying them where they are in memory. For ranges that
    /// fit into memory.
    fn octets(&mut self, range: Range<u64>) -> Result<Bytes>;
    /// A reader of its own for `range`, cut at the message's end, which outlives the visit and the file's name: for
    /// what is streamed to a client.
    fn reader(&mut self, range: Range<u64>) -> Result<Box<dyn BodyReader>>;
}

/// Streams a range of a message.
#[async_trait]
pub trait BodyReader: Send {
    /// Octets still to come.
    fn remaining(&self) -> u64;
    /// The next octets, some 64 to 256 KiB; empty only when nothing remains. When the file turns out shorter
    /// than promised (somebody truncated it) the rest is filled with spaces, as the client was told a length,
    /// and one line is logged.
    async fn next(&mut self) -> Result<Bytes>;
}

/// Where a message's bytes go while they arrive. Dropping it leaves nothing behind.
#[async_trait]
pub trait Spool: Send {
    /// Takes the next octets. After the first failure (disk full, over quota) the rest is swallowed and
    /// [`Spool::finish`] says so: the protocol must read the literal to its end anyway.
    async fn write(&mut self, octets: Bytes);
    /// All octets have come; they are on disk (or in memory), not yet visible.
    async fn finish(self: Box<Self>) -> Result<Spooled>;
}

/// A message's bytes, ready to be appended.
pub enum Spooled {
    /// In memory: the wire form or the stored form, any line ends.
    Memory(Bytes),
    /// In a form that only the engine that made the spool understands (an open file in `tmp/`).
    Engine {
        /// Octets in wire form.
        size: u64,
        /// The engine's own value; dropping it removes what is behind it.
        file: Box<dyn Any + Send>,
    },
    /// One message that goes to several mailboxes.
    Shared(Arc<Shared>),
}

/// A message for several mailboxes, which may be of several accounts. An engine parses it once, and keeps it once where
/// owner and file system allow. What is kept for that goes with the last reference.
pub struct Shared {
    head: Bytes,
    body: Octets,
    copies: Copies,
    engine: Mutex<Option<Box<dyn Any + Send>>>,
}

/// How many mailboxes a message goes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Copies {
    /// One: nothing is kept for others.
    One,
    /// Several.
    Many,
}

/// Where octets are.
#[derive(Clone)]
pub enum Octets {
    /// In memory.
    Memory(Bytes),
    /// In a file of the server's own.
    File {
        /// It.
        file: Arc<File>,
        /// How many there are.
        len: u64,
    },
}

impl Octets {
    /// How many there are.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(octets) => octets.len() as u64,
            Self::File { len, .. } => *len,
        }
    }
    /// None?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shared {
    /// `head` (what was put before the message, whole header fields), then `body`; the wire form or the stored form, any
    /// line ends.
    pub fn new(head: Bytes, body: Octets, copies: Copies) -> Self {
        Self { head, body, copies, engine: Mutex::default() }
    }

    /// How many mailboxes it goes to.
    pub fn copies(&self) -> Copies {
        self.copies
    }

    /// What stands first.
    pub fn head(&self) -> &Bytes {
        &self.head
    }

    /// What stands behind it.
    pub fn body(&self) -> &Octets {
        &self.body
    }

    /// For the engine: what it keeps between mailboxes, made when there is none yet. Not to be held for long.
    pub fn keeping<T: Any + Send + Default, R>(&self, with: impl FnOnce(&mut T) -> R) -> R {
        let mut engine = self.engine.lock();
        let mut own = engine.take().and_then(|kept| kept.downcast::<T>().ok()).unwrap_or_default();
        let result = with(&mut own);
        *engine = Some(own);
        result
    }
}
