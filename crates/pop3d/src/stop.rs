//! How a command ends when it does not end well, and what the client reads then.

use culver_auth::Denied;
use culver_pop3::language::Text;
use culver_pop3::response::Code;
use culver_store::{Failure, Refusal};
use std::io;

/// Why a session ends.
#[derive(Debug)]
pub enum End {
    /// QUIT, answered.
    Quit,
    /// Nothing came for too long. RFC 1939 §3: the connection is closed without a word.
    Idle,
    /// The server stops.
    Stopping,
    /// Too many logins failed.
    FailedLogins,
    /// The connection is gone, or a message broke off in the middle: nobody is left to be answered.
    Broken(io::Error),
}

/// Why a handler stopped early; `?` on anything in it.
#[derive(Debug)]
pub enum Stop {
    /// The session ends.
    Ended(End),
    /// `-ERR`.
    No(Option<Code>, Text<'static>),
    /// `-ERR` to a login.
    Denied(Denied),
    /// The store refuses, or something broke.
    Failed(Failure),
    /// The client has read its answer already.
    Answered,
}

impl From<io::Error> for Stop {
    fn from(broken: io::Error) -> Self {
        Self::Ended(End::Broken(broken))
    }
}
impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// `-ERR` without a code.
pub fn no<T>(text: Text<'static>) -> Result<T, Stop> {
    Err(Stop::No(None, text))
}

/// The one place that translates refusals into POP3 (RFC 2449 §8, RFC 3206 §4). `text` is the refusal's own.
pub fn refused<'a>(refusal: &Refusal, text: &'a str) -> (Option<Code>, Text<'a>) {
    match refusal {
        Refusal::InUse(_) => (Some(Code::InUse), Text::InUse),
        Refusal::MailboxGone | Refusal::NonExistent => (Some(Code::SysPerm), Text::MailboxGone),
        Refusal::ExpungeIssued => (None, Text::MessageGone),
        Refusal::OverQuota(_) | Refusal::Limit(_) => (Some(Code::SysTemp), Text::Other(text)),
        Refusal::NoPermission(_)
        | Refusal::Cannot(_)
        | Refusal::TryCreate
        | Refusal::AlreadyExists
        | Refusal::TooBig { .. }
        | Refusal::HasChildren => (Some(Code::SysPerm), Text::Other(text)),
    }
}

/// The same for logins. RFC 3206 §5: AUTH says that the credentials are at fault, and nothing else does.
pub fn denied<'a>(denied: &'a Denied, text: &'a str) -> (Option<Code>, Text<'a>) {
    match denied {
        Denied::Credentials => (Some(Code::Auth), Text::WrongCredentials),
        Denied::Disabled { reason } => (Some(Code::Auth), Text::AccountDisabled(reason)),
        Denied::Temporary => (Some(Code::SysTemp), Text::LoginUnavailable),
        Denied::NotAllowedHere => (Some(Code::Auth), Text::NotAllowedHere),
        Denied::PrivacyRequired => (Some(Code::Auth), Text::PasswordNeedsTls),
        // Whatever was sent: it was not looked at.
        Denied::TooManyFailures { .. } | Denied::Blocked { .. } => {
            (Some(Code::SysTemp), Text::TooManyFailures)
        }
        Denied::TooManySessions { most } => (Some(Code::InUse), Text::TooManySessions(*most)),
        Denied::Policy { .. } | Denied::Syntax(_) => (Some(Code::Auth), Text::Other(text)),
    }
}
