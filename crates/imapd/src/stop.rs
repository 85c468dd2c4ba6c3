//! How a command ends when it does not end well, and what the client reads then.

use culver_base::{UidSet, UidValidity};
use culver_imap::response::{self, Code as WireCode, Condition};
use culver_store::{Failure, Fault, Refusal};
use std::borrow::Cow;
use std::io;

/// A response code with what it needs, until the answer is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Code {
    /// One that owns nothing.
    Plain(WireCode<'static>),
    /// CAPABILITY: as it is when the answer is written.
    Capability,
    /// MODIFIED
    Modified(UidSet),
    /// APPENDUID
    AppendUid(UidValidity, UidSet),
    /// COPYUID
    CopyUid {
        /// Of the mailbox copied to.
        uid_validity: UidValidity,
        /// UIDs there were.
        source: UidSet,
        /// UIDs there are now.
        target: UidSet,
    },
}

impl From<WireCode<'static>> for Code {
    fn from(code: WireCode<'static>) -> Self {
        Self::Plain(code)
    }
}

/// A command that was carried out, as its tagged answer says.
#[derive(Debug)]
pub struct Done {
    /// OK or NO.
    pub condition: Completion,
    /// Response code.
    pub code: Option<Code>,
    /// For people.
    pub text: Cow<'static, str>,
}

/// The condition of a tagged answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Completion {
    /// OK
    Ok,
    /// NO
    No,
    /// BAD
    Bad,
}

impl Done {
    /// OK with a text.
    pub fn ok(text: &'static str) -> Self {
        Self { condition: Completion::Ok, code: None, text: text.into() }
    }
    /// NO with a code and a text.
    pub fn no(code: impl Into<Option<Code>>, text: impl Into<Cow<'static, str>>) -> Self {
        Self { condition: Completion::No, code: code.into(), text: text.into() }
    }
    /// BAD with a text.
    pub fn bad(text: impl Into<Cow<'static, str>>) -> Self {
        Self { condition: Completion::Bad, code: None, text: text.into() }
    }
    /// With a response code.
    #[must_use]
    pub fn with(mut self, code: impl Into<Option<Code>>) -> Self {
        self.code = code.into();
        self
    }
}

/// Why a handler stopped early; `?` on anything in it.
#[derive(Debug)]
pub enum Stop {
    /// The connection is gone: nobody is left to be answered.
    Ended(io::Error),
    /// An answer that is not OK.
    Answer(Done),
    /// The tagged answer has been sent already (STARTTLS).
    Answered,
    /// Something of ours broke; logged at the edge, with an id for the client.
    Fault(Fault),
}

impl From<Done> for Stop {
    fn from(done: Done) -> Self {
        Self::Answer(done)
    }
}
/// Of the connection: nothing else in a session fails by such an error.
impl From<io::Error> for Stop {
    fn from(broken: io::Error) -> Self {
        Self::Ended(broken)
    }
}
impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::Answer(refusal.into()),
            Failure::Fault(fault) => Self::Fault(fault),
        }
    }
}
impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Answer(refusal.into())
    }
}

/// The one place that translates refusals into IMAP (RFC 5530, RFC 9051 §7.1).
impl From<Refusal> for Done {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        let code = match refusal {
            Refusal::NonExistent | Refusal::MailboxGone => WireCode::NonExistent,
            Refusal::TryCreate => WireCode::TryCreate,
            Refusal::AlreadyExists => WireCode::AlreadyExists,
            Refusal::Cannot(_) => WireCode::Cannot,
            Refusal::NoPermission(_) => WireCode::NoPerm,
            Refusal::OverQuota(_) => WireCode::OverQuota,
            Refusal::Limit(_) => WireCode::Limit,
            Refusal::TooBig { .. } => WireCode::TooBig,
            Refusal::InUse(_) => WireCode::InUse,
            Refusal::ExpungeIssued => WireCode::ExpungeIssued,
            Refusal::HasChildren => WireCode::HasChildren,
        };
        Done::no(Code::Plain(code), text)
    }
}

impl Code {
    /// Writes a status response with this code.
    pub fn status(&self, out: &mut Vec<u8>, tag: Option<&str>, condition: Condition, text: &str) {
        let code = match self {
            Self::Plain(code) => *code,
            Self::Modified(set) => WireCode::Modified(set),
            Self::AppendUid(uid_validity, uids) => WireCode::AppendUid(*uid_validity, uids),
            Self::CopyUid { uid_validity, source, target } => {
                WireCode::CopyUid { uid_validity: *uid_validity, source, destination: target }
            }
            // Only the session knows its circumstances: it writes this one itself.
            Self::Capability => return response::status(out, tag, condition, None, text),
        };
        response::status(out, tag, condition, Some(&code), text);
    }

    /// As an untagged OK.
    pub fn untagged(&self, out: &mut Vec<u8>, text: &str) {
        self.status(out, None, Condition::Ok, text);
    }
}
