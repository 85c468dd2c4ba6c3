//! How a command ends when it does not end well, and what the client reads then.

use culver_imap::response::Code;
use culver_store::{Failure, Fault, Refusal};
use std::borrow::Cow;
use std::io;

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
    pub fn no(code: Option<Code>, text: impl Into<Cow<'static, str>>) -> Self {
        Self { condition: Completion::No, code, text: text.into() }
    }
    /// BAD with a text.
    pub fn bad(text: impl Into<Cow<'static, str>>) -> Self {
        Self { condition: Completion::Bad, code: None, text: text.into() }
    }
    /// With a response code.
    #[must_use]
    pub fn with(mut self, code: Option<Code>) -> Self {
        self.code = code;
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
            Refusal::NonExistent | Refusal::MailboxGone => Some(Code::NonExistent),
            Refusal::TryCreate => Some(Code::TryCreate),
            Refusal::AlreadyExists => Some(Code::AlreadyExists),
            Refusal::Cannot(_) => Some(Code::Cannot),
            Refusal::NoPermission(_) => Some(Code::NoPerm),
            Refusal::OverQuota(_) => Some(Code::OverQuota),
            Refusal::Limit(_) => Some(Code::Limit),
            Refusal::TooBig { .. } => Some(Code::TooBig),
            Refusal::InUse(_) => Some(Code::InUse),
            Refusal::ExpungeIssued => Some(Code::ExpungeIssued),
            Refusal::HasChildren => Some(Code::HasChildren),
        };
        Done::no(code, text)
    }
}
