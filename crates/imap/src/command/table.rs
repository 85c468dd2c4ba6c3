//! Facts about commands, a row each: what dispatch, the documentation and the tests read.
//!
//! UID commands have rows of their own: RFC 9051 §7.5.1 calls them different commands, and what may be said
//! during them differs.

use super::{Any, Authenticated, Command, NotAuthenticated, Numbering, Selected};

/// In which states a command may be given (RFC 9051 §3, §6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum States {
    /// In any (§6.1).
    Any,
    /// Before login only (§6.2).
    NotAuthenticated,
    /// After login, with or without a mailbox (§6.3).
    Authenticated,
    /// With a mailbox selected (§6.4).
    Selected,
}

/// May untagged EXPUNGE or VANISHED be sent while the command runs, or with its completion?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expunges {
    /// Yes.
    Send,
    /// No: the client counts in sequence numbers (RFC 9051 §7.5.1), or the mailbox is being left (§6.4.1).
    Hold,
}

/// A row of [`COMMANDS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandRow {
    /// As it is written.
    pub name: &'static str,
    /// When it may be given.
    pub states: States,
    /// The capability without which no client sends it; `None` for the base of either revision.
    pub capability: Option<&'static str>,
    /// Do its own arguments hold sequence numbers? Then it must not be overtaken by an EXPUNGE (RFC 9051 §5.5).
    pub numbering: Option<Numbering>,
    /// What is held back while it runs.
    pub expunges: Expunges,
}

const fn row(name: &'static str, states: States, expunges: Expunges) -> CommandRow {
    CommandRow { name, states, capability: None, numbering: None, expunges }
}

impl CommandRow {
    const fn needs(self, capability: &'static str) -> Self {
        Self { capability: Some(capability), ..self }
    }
    const fn by(self, numbering: Numbering) -> Self {
        Self { numbering: Some(numbering), ..self }
    }
}

use Expunges::{Hold, Send};
use Numbering::{Sequence, Uid};

/// Every command, in the order of RFC 9051 §6.
pub const COMMANDS: &[CommandRow] = &[
    row("CAPABILITY", States::Any, Send),
    row("NOOP", States::Any, Send),
    row("LOGOUT", States::Any, Hold),
    row("ID", States::Any, Send).needs("ID"),
    row("STARTTLS", States::NotAuthenticated, Hold).needs("STARTTLS"),
    row("AUTHENTICATE", States::NotAuthenticated, Hold),
    row("LOGIN", States::NotAuthenticated, Hold),
    row("ENABLE", States::Authenticated, Send).needs("ENABLE"),
    row("SELECT", States::Authenticated, Hold),
    row("EXAMINE", States::Authenticated, Hold),
    row("CREATE", States::Authenticated, Send),
    row("DELETE", States::Authenticated, Send),
    row("RENAME", States::Authenticated, Send),
    row("SUBSCRIBE", States::Authenticated, Send),
    row("UNSUBSCRIBE", States::Authenticated, Send),
    row("LIST", States::Authenticated, Send),
    row("LSUB", States::Authenticated, Send),
    row("NAMESPACE", States::Authenticated, Send).needs("NAMESPACE"),
    row("STATUS", States::Authenticated, Send),
    row("GETQUOTA", States::Authenticated, Send).needs("QUOTA"),
    row("GETQUOTAROOT", States::Authenticated, Send).needs("QUOTA"),
    // RFC 9208 §4.1.3: nobody sends it without QUOTASET, which is not offered.
    row("SETQUOTA", States::Authenticated, Send).needs("QUOTA"),
    row("APPEND", States::Authenticated, Send),
    row("IDLE", States::Authenticated, Send).needs("IDLE"),
    row("CHECK", States::Selected, Send),
    // RFC 9051 §6.4.1, §6.4.2: no untagged EXPUNGE.
    row("CLOSE", States::Selected, Hold),
    row("UNSELECT", States::Selected, Hold).needs("UNSELECT"),
    row("EXPUNGE", States::Selected, Send),
    // RFC 9051 §7.5.1: never during FETCH, STORE and SEARCH; their UID forms are other commands.
    row("SEARCH", States::Selected, Hold).by(Sequence),
    // RFC 5256 §3: no EXPUNGE during SORT and THREAD either.
    row("SORT", States::Selected, Hold).needs("SORT").by(Sequence),
    row("THREAD", States::Selected, Hold).needs("THREAD=REFERENCES").by(Sequence),
    row("FETCH", States::Selected, Hold).by(Sequence),
    row("STORE", States::Selected, Hold).by(Sequence),
    row("COPY", States::Selected, Send).by(Sequence),
    row("MOVE", States::Selected, Send).needs("MOVE").by(Sequence),
    row("UID EXPUNGE", States::Selected, Send).needs("UIDPLUS").by(Uid),
    row("UID SEARCH", States::Selected, Send).by(Uid),
    row("UID SORT", States::Selected, Send).needs("SORT").by(Uid),
    row("UID THREAD", States::Selected, Send).needs("THREAD=REFERENCES").by(Uid),
    row("UID FETCH", States::Selected, Send).by(Uid),
    row("UID STORE", States::Selected, Send).by(Uid),
    row("UID COPY", States::Selected, Send).by(Uid),
    row("UID MOVE", States::Selected, Send).needs("MOVE").by(Uid),
];

impl Command<'_> {
    /// Its name, as the table has it.
    pub const fn name(&self) -> &'static str {
        use Authenticated as A;
        use NotAuthenticated as N;
        use Selected as S;
        const fn by(numbering: Numbering, plain: &'static str, uid: &'static str) -> &'static str {
            match numbering {
                Sequence => plain,
                Uid => uid,
            }
        }
        match self {
            Self::Any(Any::Capability) => "CAPABILITY",
            Self::Any(Any::Noop) => "NOOP",
            Self::Any(Any::Logout) => "LOGOUT",
            Self::Any(Any::Id(_)) => "ID",
            Self::NotAuthenticated(N::StartTls) => "STARTTLS",
            Self::NotAuthenticated(N::Authenticate { .. }) => "AUTHENTICATE",
            Self::NotAuthenticated(N::Login { .. }) => "LOGIN",
            Self::Authenticated(A::Enable(_)) => "ENABLE",
            Self::Authenticated(A::Select(_)) => "SELECT",
            Self::Authenticated(A::Examine(_)) => "EXAMINE",
            Self::Authenticated(A::Create { .. }) => "CREATE",
            Self::Authenticated(A::Delete(_)) => "DELETE",
            Self::Authenticated(A::Rename { .. }) => "RENAME",
            Self::Authenticated(A::Subscribe(_)) => "SUBSCRIBE",
            Self::Authenticated(A::Unsubscribe(_)) => "UNSUBSCRIBE",
            Self::Authenticated(A::List(_)) => "LIST",
            Self::Authenticated(A::Lsub { .. }) => "LSUB",
            Self::Authenticated(A::Namespace) => "NAMESPACE",
            Self::Authenticated(A::Status { .. }) => "STATUS",
            Self::Authenticated(A::GetQuota { .. }) => "GETQUOTA",
            Self::Authenticated(A::GetQuotaRoot(_)) => "GETQUOTAROOT",
            Self::Authenticated(A::SetQuota { .. }) => "SETQUOTA",
            Self::Authenticated(A::Append { .. }) => "APPEND",
            Self::Authenticated(A::Idle) => "IDLE",
            Self::Selected(S::Check) => "CHECK",
            Self::Selected(S::Close) => "CLOSE",
            Self::Selected(S::Unselect) => "UNSELECT",
            Self::Selected(S::Expunge { uids: None }) => "EXPUNGE",
            Self::Selected(S::Expunge { uids: Some(_) }) => "UID EXPUNGE",
            Self::Selected(S::Search(c)) => by(c.numbering, "SEARCH", "UID SEARCH"),
            Self::Selected(S::Sort(c)) => by(c.numbering, "SORT", "UID SORT"),
            Self::Selected(S::Thread(c)) => by(c.numbering, "THREAD", "UID THREAD"),
            Self::Selected(S::Fetch(c)) => by(c.numbering, "FETCH", "UID FETCH"),
            Self::Selected(S::Store(c)) => by(c.numbering, "STORE", "UID STORE"),
            Self::Selected(S::Copy(c)) => by(c.numbering, "COPY", "UID COPY"),
            Self::Selected(S::Move(c)) => by(c.numbering, "MOVE", "UID MOVE"),
        }
    }

    /// Its row. Every name has one, which a test proves; should one be missing, nothing is sent that could hurt.
    pub fn row(&self) -> &'static CommandRow {
        const MISSING: CommandRow = row("", States::Any, Hold);
        let name = self.name();
        COMMANDS.iter().find(|row| row.name == name).unwrap_or(&MISSING)
    }
}
