//! Commands as values (RFC 9051 §6, RFC 3501 §6), borrowed from the bytes of their frame.

pub(crate) mod append;
pub(crate) mod authenticate;
pub(crate) mod copy;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod enable;
pub(crate) mod examine;
pub(crate) mod expunge;
pub(crate) mod fetch;
pub(crate) mod getquota;
pub(crate) mod getquotaroot;
pub(crate) mod id;
pub(crate) mod list;
pub(crate) mod login;
pub(crate) mod lsub;
pub(crate) mod r#move;
pub(crate) mod rename;
pub(crate) mod search;
pub(crate) mod select;
pub(crate) mod setquota;
pub(crate) mod sort;
pub(crate) mod status;
pub(crate) mod store;
pub(crate) mod subscribe;
mod table;
pub(crate) mod thread;
pub(crate) mod transfer;
pub(crate) mod unsubscribe;

pub use append::target as append_target;
pub use table::{COMMANDS, CommandRow, Expunges, States};

use culver_base::{Flag, InternalDate, MailboxName, ModSeq, SearchKey, SequenceSet, SpecialUse, UidValidity};
use std::borrow::Cow;

/// A command with its tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tagged<'a> {
    /// As the client wrote it.
    pub tag: &'a str,
    /// What it asks for.
    pub command: Command<'a>,
}

/// Are the numbers of a command UIDs or sequence numbers?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbering {
    /// Sequence numbers.
    Sequence,
    /// UIDs: the command was prefixed by UID.
    Uid,
}

/// Every command, grouped as RFC 9051 §6.1 to §6.4 does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command<'a> {
    /// In any state.
    Any(Any<'a>),
    /// Before login.
    NotAuthenticated(NotAuthenticated<'a>),
    /// After login.
    Authenticated(Authenticated<'a>),
    /// With a mailbox selected.
    Selected(Selected<'a>),
}

/// Fields and values of ID (RFC 2971).
pub type IdPairs<'a> = Vec<(Cow<'a, [u8]>, Option<Cow<'a, [u8]>>)>;

/// RFC 9051 §6.1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Any<'a> {
    /// CAPABILITY
    Capability,
    /// NOOP
    Noop,
    /// LOGOUT
    Logout,
    /// ID (RFC 2971): pairs; `None` for NIL. Values may be NIL.
    Id(Option<IdPairs<'a>>),
}

/// RFC 9051 §6.2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NotAuthenticated<'a> {
    /// STARTTLS
    StartTls,
    /// AUTHENTICATE, with the initial response of SASL-IR still in BASE64 (`=` stands for an empty one).
    Authenticate {
        /// Mechanism name.
        mechanism: &'a str,
        /// RFC 4959.
        initial: Option<&'a [u8]>,
    },
    /// LOGIN
    Login {
        /// User name, any bytes.
        user: Cow<'a, [u8]>,
        /// Password, any bytes.
        password: Cow<'a, [u8]>,
    },
}

/// RFC 9051 §6.3.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Authenticated<'a> {
    /// ENABLE (RFC 5161)
    Enable(Vec<&'a str>),
    /// SELECT
    Select(Select),
    /// EXAMINE
    Examine(Select),
    /// CREATE, with USE of RFC 6154.
    Create {
        /// The name, a trailing separator taken off.
        mailbox: Name,
        /// Special uses wanted.
        special_use: Vec<SpecialUse>,
        /// The first one wanted that we do not know: the answer is NO [USEATTR] (RFC 6154 §3).
        unknown_use: Option<&'a str>,
    },
    /// DELETE
    Delete(Name),
    /// RENAME
    Rename {
        /// Old name.
        from: Name,
        /// New name.
        to: Name,
    },
    /// SUBSCRIBE
    Subscribe(Name),
    /// UNSUBSCRIBE
    Unsubscribe(Name),
    /// LIST, with everything of RFC 5258, 5819 and 6154.
    List(List),
    /// LSUB (RFC 3501)
    Lsub {
        /// Reference name.
        reference: String,
        /// Pattern with `*` and `%`.
        pattern: String,
    },
    /// NAMESPACE
    Namespace,
    /// STATUS
    Status {
        /// Which mailbox.
        mailbox: Name,
        /// What of it.
        items: Vec<StatusItem>,
    },
    /// GETQUOTA (RFC 9208)
    GetQuota {
        /// Name of a quota root.
        root: Cow<'a, [u8]>,
    },
    /// GETQUOTAROOT (RFC 9208)
    GetQuotaRoot(Name),
    /// SETQUOTA (RFC 9208)
    SetQuota {
        /// Name of a quota root.
        root: Cow<'a, [u8]>,
    },
    /// APPEND, one or several messages (RFC 3502).
    Append {
        /// Where to.
        mailbox: Name,
        /// At least one.
        messages: Vec<AppendMessage<'a>>,
    },
    /// IDLE (RFC 2177). Lasts until DONE, which the session reads itself.
    Idle,
}

/// A mailbox name from the client, decoded from mUTF-7 or UTF-8 as the session's dialect says. What cannot be
/// decoded can name no mailbox: it is kept to be refused with the right answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Name {
    /// A proper name.
    Known(MailboxName),
    /// Neither valid mUTF-7 nor valid UTF-8: shown lossily in the refusal.
    Undecodable(String),
}

/// SELECT and EXAMINE parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Select {
    /// Which mailbox.
    pub mailbox: Name,
    /// `(CONDSTORE)` (RFC 7162 §3.1.8).
    pub condstore: bool,
    /// `(QRESYNC (...))` (RFC 7162 §3.2.5).
    pub qresync: Option<QResync>,
}

/// What a client remembers of a mailbox (RFC 7162 §3.2.5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QResync {
    /// Last known UIDVALIDITY.
    pub uid_validity: UidValidity,
    /// Last known mod-sequence.
    pub mod_seq: ModSeq,
    /// Known UIDs; all when missing.
    pub known_uids: Option<SequenceSet>,
    /// Sequence match data: known sequence numbers and their UIDs, of the same length.
    pub sequence_match: Option<(SequenceSet, SequenceSet)>,
}

/// LIST of RFC 9051 §6.3.9.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct List {
    /// Selection options; empty for the basic command.
    pub select: Vec<ListSelect>,
    /// Reference name.
    pub reference: String,
    /// One pattern, or several in the extended form.
    pub patterns: Vec<String>,
    /// Return options.
    pub returns: Vec<ListReturn>,
    /// Was any extended syntax used? Then attributes are given in the extended form (RFC 9051 §6.3.9).
    pub extended: bool,
}

/// `list-select-opt`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ListSelect {
    /// SUBSCRIBED
    Subscribed,
    /// REMOTE
    Remote,
    /// RECURSIVEMATCH
    RecursiveMatch,
    /// SPECIAL-USE (RFC 6154)
    SpecialUse,
}

/// `return-option` of LIST.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ListReturn {
    /// SUBSCRIBED
    Subscribed,
    /// CHILDREN
    Children,
    /// SPECIAL-USE (RFC 6154)
    SpecialUse,
    /// STATUS (RFC 5819)
    Status(Vec<StatusItem>),
}

/// `status-att`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StatusItem {
    /// MESSAGES
    Messages,
    /// RECENT (RFC 3501)
    Recent,
    /// UIDNEXT
    UidNext,
    /// UIDVALIDITY
    UidValidity,
    /// UNSEEN
    Unseen,
    /// DELETED
    Deleted,
    /// DELETED-STORAGE (RFC 9208)
    DeletedStorage,
    /// SIZE
    Size,
    /// HIGHESTMODSEQ (RFC 7162)
    HighestModSeq,
    /// APPENDLIMIT (RFC 7889)
    AppendLimit,
}

/// One message of APPEND.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppendMessage<'a> {
    /// Flags for it. `\Recent` and unknown backslash flags are left out by the parser.
    pub flags: Vec<Flag>,
    /// INTERNALDATE for it.
    pub date: Option<InternalDate>,
    /// Its bytes.
    pub data: Literal<'a>,
    /// `UTF8 (~{...})` (RFC 6855 §4).
    pub utf8: bool,
}

/// The bytes of a literal that may be large: in the frame, or set aside while they arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Literal<'a> {
    /// In memory.
    Inline {
        /// Its bytes.
        bytes: &'a [u8],
        /// `~{n}`: literal8 (RFC 3516), NUL allowed.
        binary: bool,
    },
    /// The `index`-th literal that the session took out of this frame.
    SetAside {
        /// From 0, in the order of arrival.
        index: usize,
        /// Octets.
        size: u64,
        /// `~{n}`: literal8.
        binary: bool,
    },
}

/// RFC 9051 §6.4.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selected<'a> {
    /// CHECK (RFC 3501)
    Check,
    /// CLOSE
    Close,
    /// UNSELECT (RFC 3691)
    Unselect,
    /// EXPUNGE; with a set: UID EXPUNGE (RFC 4315).
    Expunge {
        /// UIDs to expunge; all deleted messages when missing.
        uids: Option<SequenceSet>,
    },
    /// SEARCH
    Search(Search<'a>),
    /// SORT (RFC 5256)
    Sort(Sort<'a>),
    /// THREAD (RFC 5256)
    Thread(Thread<'a>),
    /// FETCH
    Fetch(Fetch<'a>),
    /// STORE
    Store(Store),
    /// COPY
    Copy(Transfer),
    /// MOVE (RFC 6851)
    Move(Transfer),
}

/// SEARCH (RFC 9051 §6.4.4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Search<'a> {
    /// UID SEARCH?
    pub numbering: Numbering,
    /// `RETURN (...)`; `None` for the plain command, whose IMAP4rev1 answer is `* SEARCH`. `RETURN ()` is
    /// `Some` of an empty list and means ALL.
    pub returns: Option<Vec<SearchReturn>>,
    /// CHARSET as written.
    pub charset: Option<&'a str>,
    /// What to look for; texts are the client's raw bytes.
    pub key: SearchKey<Cow<'a, [u8]>>,
}

/// `search-return-opt`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SearchReturn {
    /// MIN
    Min,
    /// MAX
    Max,
    /// ALL
    All,
    /// COUNT
    Count,
    /// SAVE (RFC 5182)
    Save,
}

/// FETCH (RFC 9051 §6.4.5).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetch<'a> {
    /// UID FETCH?
    pub numbering: Numbering,
    /// Which messages.
    pub messages: SequenceSet,
    /// What of them; macros are expanded, and UID FETCH has UID in it.
    pub items: Vec<FetchItem<'a>>,
    /// CHANGEDSINCE (RFC 7162 §3.1.4.1).
    pub changed_since: Option<ModSeq>,
    /// VANISHED (RFC 7162 §3.2.6).
    pub vanished: bool,
}

/// `fetch-att`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FetchItem<'a> {
    /// UID
    Uid,
    /// FLAGS
    Flags,
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Size,
    /// ENVELOPE
    Envelope,
    /// BODY without section: BODYSTRUCTURE without extension data.
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// MODSEQ (RFC 7162)
    ModSeq,
    /// PREVIEW (RFC 8970)
    Preview {
        /// LAZY: only if it can be had without delay (RFC 8970 §4).
        lazy: bool,
    },
    /// BODY[...] and BODY.PEEK[...]
    Section {
        /// Which section.
        section: Section<'a>,
        /// `<first.count>`.
        partial: Option<(u64, u64)>,
        /// PEEK: leave `\Seen` alone.
        peek: bool,
    },
    /// RFC822, RFC822.HEADER, RFC822.TEXT (RFC 3501 §6.4.5): like BODY[], BODY.PEEK[HEADER], BODY[TEXT], under
    /// their own names.
    Rfc822(Rfc822),
    /// BINARY[...] and BINARY.PEEK[...] (RFC 3516, RFC 9051).
    Binary {
        /// Part numbers; empty for the whole message.
        part: Vec<u32>,
        /// `<first.count>`, in decoded octets.
        partial: Option<(u64, u64)>,
        /// PEEK
        peek: bool,
    },
    /// BINARY.SIZE[...]
    BinarySize {
        /// Part numbers.
        part: Vec<u32>,
    },
}

/// The old names of three sections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rfc822 {
    /// RFC822
    All,
    /// RFC822.HEADER
    Header,
    /// RFC822.TEXT
    Text,
}

/// `section-spec`: part numbers and what of that part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section<'a> {
    /// Part numbers; empty for the message itself.
    pub part: Vec<u32>,
    /// What of it.
    pub of: SectionOf<'a>,
}

/// `section-text`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SectionOf<'a> {
    /// Nothing named: the part's content (the whole message without part numbers).
    Everything,
    /// HEADER
    Header,
    /// HEADER.FIELDS: names as written, for the answer must repeat them.
    HeaderFields(Vec<Cow<'a, [u8]>>),
    /// HEADER.FIELDS.NOT
    HeaderFieldsNot(Vec<Cow<'a, [u8]>>),
    /// TEXT
    Text,
    /// MIME
    Mime,
}

/// STORE (RFC 9051 §6.4.6).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    /// UID STORE?
    pub numbering: Numbering,
    /// Which messages.
    pub messages: SequenceSet,
    /// What to do to their flags.
    pub change: Change,
    /// The flags named. `\Recent` is refused by the parser.
    pub flags: Vec<Flag>,
    /// `.SILENT`
    pub silent: bool,
    /// UNCHANGEDSINCE (RFC 7162 §3.1.3).
    pub unchanged_since: Option<ModSeq>,
}

/// `+FLAGS`, `-FLAGS`, `FLAGS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
    /// `FLAGS`
    Replace,
}

/// COPY and MOVE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transfer {
    /// UID COPY, UID MOVE?
    pub numbering: Numbering,
    /// Which messages.
    pub messages: SequenceSet,
    /// Where to.
    pub mailbox: Name,
}

/// SORT and UID SORT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sort<'a> {
    /// UID SORT?
    pub numbering: Numbering,
    /// `RETURN (...)` (RFC 5267 §3.1); `None` for the plain command, whose answer is `* SORT`.
    pub returns: Option<Vec<SearchReturn>>,
    /// What to sort by, the most important first.
    pub program: Vec<SortCriterion>,
    /// The charset of the texts, as written.
    pub charset: &'a str,
    /// What to look for.
    pub key: SearchKey<Cow<'a, [u8]>>,
}

/// `sort-criterion`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SortCriterion {
    /// By what.
    pub key: SortKey,
    /// Which way.
    pub order: Order,
}

/// The direction of a [`SortCriterion`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Small ones first.
    Ascending,
    /// REVERSE
    Descending,
}

/// `sort-key` (RFC 5256 §3; RFC 5957 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SortKey {
    /// INTERNALDATE
    Arrival,
    /// Local part of the first address in Cc.
    Cc,
    /// When it was sent.
    Date,
    /// Display name in From.
    DisplayFrom,
    /// Display name in To.
    DisplayTo,
    /// Local part of the first address in From.
    From,
    /// RFC822.SIZE
    Size,
    /// Base subject.
    Subject,
    /// Local part of the first address in To.
    To,
}

/// THREAD and UID THREAD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Thread<'a> {
    /// UID THREAD?
    pub numbering: Numbering,
    /// How.
    pub algorithm: ThreadAlgorithm,
    /// The charset of the texts, as written.
    pub charset: &'a str,
    /// What to look for.
    pub key: SearchKey<Cow<'a, [u8]>>,
}

/// `thread-alg`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ThreadAlgorithm {
    /// ORDEREDSUBJECT
    OrderedSubject,
    /// REFERENCES
    References,
}
