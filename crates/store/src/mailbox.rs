//! One mailbox: a value to read, and a dozen coarse verbs.

use crate::{ColumnTable, Maildrop, Message, Reclaimable, Refusal, Result, Sizes, Spooled, UniqueIds};
use async_trait::async_trait;
use culver_base::{Flag, InternalDate, Keyword, ModSeq, Uid, UidSet, UidValidity, UidlFormat};
use culver_snapshot::Snapshot;
use std::any::Any;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use tokio::sync::watch;

/// One mailbox, shared by every session that has it open.
///
/// Every verb ends with a new snapshot published (if anything changed), so that a session sees its own change by
/// comparing. No verb waits for a client.
#[async_trait]
pub trait Mailbox: Send + Sync + 'static {
    /// The current snapshot.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// Hears of every new snapshot. While at least one receiver is held, changes from outside are watched for.
    fn watch(&self) -> watch::Receiver<Arc<Snapshot>>;

    /// Looks for changes that other programs made (NOOP, CHECK, SELECT, STATUS); cheap when the watch is on.
    async fn refresh(&self) -> Result<()>;

    /// `\Recent` (RFC 3501 §2.3.2): the UIDs not yet announced to any session; from now on they are.
    /// The lowest such UID comes back; all from it on are recent to the caller.
    fn claim_recent(&self) -> Uid;

    /// The lowest UID that no session has claimed as recent.
    fn first_recent(&self) -> Uid;

    /// Appends messages, all or none. They are on disk when it returns.
    async fn append(&self, messages: Vec<NewMessage>) -> Result<Appended>;

    /// Changes flags of those of `uids` that exist.
    async fn set_flags(&self, uids: &UidSet, change: StoreFlags) -> Result<Stored>;

    /// Removes those of `uids` that carry `\Deleted` (RFC 4315 §2.1). Gives back what was removed.
    async fn expunge(&self, uids: &UidSet) -> Result<UidSet>;

    /// Removes `uids` whatever their flags: what POP3 marked (RFC 1939 §6). Gives back what is gone now, which is less
    /// when some could not be removed.
    async fn remove(&self, uids: &UidSet) -> Result<UidSet>;

    /// Copies or moves to `target`, a mailbox of the same account (may be this one). All or none of the copy; a
    /// moved message is in the target before it is gone here. Flags, keywords and dates go along.
    async fn transfer(&self, uids: &UidSet, target: &Arc<dyn Mailbox>, how: Transfer) -> Result<Transferred>;

    /// Runs `visit` over the messages `uids` in their order, on a thread that may read files, until it breaks
    /// off or all are done. A message that is gone or cannot be read is visited all the same: its methods fail.
    /// Returns how many were visited. UIDs without a record in the current snapshot are served as long as their
    /// file is there.
    async fn visit(&self, uids: Vec<Uid>, visit: Visit) -> Visited;

    /// A table with the columns of all of `uids` that can be read, and maybe of others.
    async fn columns(&self, uids: &UidSet) -> Arc<ColumnTable>;

    /// The mailbox as POP3 lists it: numbers, sizes and what is stored for unique identifiers. Messages with the keyword
    /// `hidden` are left out.
    async fn maildrop(&self, sizes: Sizes, hidden: Option<&Keyword>) -> Result<Maildrop>;

    /// The unique identifiers of the messages at these positions of a maildrop: the stored ones, the others by `format`.
    fn unique_ids(&self, maildrop: &Maildrop, positions: Range<usize>, format: &UidlFormat) -> UniqueIds;

    /// Stores unique identifiers for messages that have none stored.
    async fn keep_unique_ids(&self, ids: Vec<(Uid, Box<[u8]>)>) -> Result<()>;

    /// What its messages take, as quota counts; how much of it EXPUNGE would give back.
    fn usage(&self) -> Reclaimable;

    /// For the engine's own `transfer`: the concrete mailbox behind a trait object.
    fn as_any(&self) -> &dyn Any;
}

/// What is done with each message. Runs outside the async world: it may read, and must not wait for a client.
/// `Break` ends the batch after this message.
pub type Visit = Box<dyn FnMut(&mut dyn Message) -> ControlFlow<()> + Send>;

/// The end of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Visited {
    /// How many messages of the list were visited; the next batch begins behind them.
    pub count: usize,
}

/// A message to append.
pub struct NewMessage {
    /// Its bytes.
    pub body: Spooled,
    /// Its flags.
    pub flags: Vec<Flag>,
    /// INTERNALDATE; now when missing.
    pub internal_date: Option<InternalDate>,
}

/// What APPENDUID tells (RFC 4315 §3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Of the mailbox.
    pub uid_validity: UidValidity,
    /// In the order of the messages, ascending.
    pub uids: Vec<Uid>,
}

/// `+FLAGS`, `-FLAGS`, `FLAGS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlagChange {
    /// Sets these.
    Add,
    /// Clears these.
    Remove,
    /// Sets exactly these.
    Replace,
}

/// What STORE does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreFlags {
    /// How.
    pub change: FlagChange,
    /// Which flags.
    pub flags: Vec<Flag>,
    /// UNCHANGEDSINCE (RFC 7162 §3.1.3): messages changed after it are left alone and come back as failed.
    pub unchanged_since: Option<ModSeq>,
}

/// What STORE did. Messages whose flags were already as asked count as stored but get no new mod-sequence.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Stored {
    /// Changed messages.
    pub changed: UidSet,
    /// Left alone because of UNCHANGEDSINCE.
    pub modified: UidSet,
    /// Asked for but not there any more.
    pub missing: UidSet,
    /// The mod-sequence of the change; the mailbox's highest when nothing changed.
    pub mod_seq: ModSeq,
    /// Keywords that could not be stored because the table is full.
    pub refused: Option<Refusal>,
}

/// COPY or MOVE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transfer {
    /// The source stays.
    Copy,
    /// The source goes.
    Move,
}

/// What COPYUID tells (RFC 4315 §3): `source[i]` became `target[i]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transferred {
    /// Of the target mailbox.
    pub uid_validity: UidValidity,
    /// Ascending.
    pub source: Vec<Uid>,
    /// Ascending.
    pub target: Vec<Uid>,
    /// Asked for but not there any more: then the command ends in NO (RFC 9051 §6.4.7 and RFC 2180 §4.4).
    pub missing: UidSet,
}
