//! What the outcomes of a delivery are called in replies (RFC 5321 §4.2, RFC 3463): one place for all of them.

use crate::quota::Verdict;
use culver_lmtp::Reply;
use culver_store::{Failure, Refusal};

/// What a mailbox that is full is answered with, while there is hope that it will not stay so.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum OverQuota {
    /// 452 4.2.2: the MTA tries again.
    #[default]
    Defer,
    /// 552 5.2.2: the sender hears of it at once.
    Reject,
}

/// A verdict of the quota that is not in favour.
pub fn over(verdict: &Verdict, how: OverQuota) -> Option<Reply> {
    Some(match verdict {
        Verdict::Fits => return None,
        Verdict::Over { text } => match how {
            OverQuota::Defer => Reply::new(452, 2, 2, text),
            OverQuota::Reject => Reply::new(552, 2, 2, text),
        },
        Verdict::TooBig { limit } => Reply::new(
            552,
            2,
            3,
            format!("The message is larger than {limit} octets, the most that this mailbox takes"),
        ),
        Verdict::Disabled { reason } => disabled(reason),
    })
}

/// The account takes no mail.
pub fn disabled(reason: &str) -> Reply {
    let reason = if reason.is_empty() { "This mailbox takes no mail" } else { reason };
    Reply::new(550, 2, 1, reason)
}

/// Nobody has this address.
pub fn unknown(address: &str) -> Reply {
    Reply::new(550, 1, 1, format!("<{address}> There is no such user here"))
}

/// The directory does not answer.
pub fn outage() -> Reply {
    Reply::new(451, 4, 3, "The directory of accounts does not answer; try again later")
}

/// A route says no.
pub fn rejected(text: &str) -> Reply {
    let text = if text.is_empty() { "This address takes no mail" } else { text };
    Reply::new(550, 7, 1, text)
}

/// The message goes in circles (RFC 5321 §6.3).
pub fn looping(why: &str) -> Reply {
    Reply::new(554, 4, 6, format!("The message goes in circles: {why}"))
}

/// The message is above the limit (RFC 1870 §6.1).
pub fn too_big(limit: u64) -> Reply {
    Reply::new(552, 3, 4, format!("The message is larger than {limit} octets, the most that is taken here"))
}

/// Something of ours broke; the log knows more.
pub fn fault(session: &str) -> Reply {
    Reply::new(451, 3, 0, format!("That could not be done for now; quote {session} to the administrators"))
}

/// What the store said. A fault is told from a refusal by the caller, who logs it.
pub fn failure(failure: &Failure, session: &str) -> Reply {
    let refusal = match failure {
        Failure::Refused(refusal) => refusal,
        Failure::Fault(_) => return fault(session),
    };
    let text = refusal.to_string();
    match refusal {
        // The disk's or the file system's quota: it may be better tomorrow, and the sender is not to blame.
        Refusal::OverQuota(_) => Reply::new(452, 2, 2, text),
        Refusal::InUse(_) | Refusal::MailboxGone | Refusal::ExpungeIssued => Reply::new(451, 2, 0, text),
        // An administrator can mend it.
        Refusal::NoPermission(_) => Reply::new(451, 3, 5, text),
        Refusal::TooBig { .. } => Reply::new(552, 2, 3, text),
        Refusal::Limit(_) => Reply::new(452, 2, 0, text),
        Refusal::NonExistent
        | Refusal::TryCreate
        | Refusal::AlreadyExists
        | Refusal::Cannot(_)
        | Refusal::HasChildren => Reply::new(550, 2, 0, text),
    }
}
