//! What an account keeps, as quota counts it.
//!
//! A message counts with the octets of its file as stored (`S=` in its name, or the file's own size), not with
//! RFC822.SIZE: so does `maildirsize`, which other programs keep on the same tree, and so no message has to be read to
//! be counted.

use culver_base::MailboxName;
pub use culver_quota::Usage;

/// How closely to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// What is known, with all that we have done ourselves: for free, once it was looked at.
    Known,
    /// And what other programs have done.
    Now,
    /// Every file is counted, whatever is known. What was known wrongly is put right.
    Recount,
}

/// A mailbox's part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailboxUsage {
    /// Its name.
    pub name: MailboxName,
    /// What it holds.
    pub usage: Usage,
    /// Does it count?
    pub counted: bool,
}

/// An account's usage.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AccountUsage {
    /// All its mailboxes.
    pub mailboxes: Vec<MailboxUsage>,
    /// What was known before, if [`Look::Recount`] found it to be wrong.
    pub mistaken: Option<Usage>,
}

impl AccountUsage {
    /// What counts.
    pub fn counted(&self) -> Usage {
        self.mailboxes.iter().filter(|m| m.counted).map(|m| m.usage).sum()
    }
}

/// A mailbox's usage, and how much of it EXPUNGE would give back.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Reclaimable {
    /// All.
    pub all: Usage,
    /// With `\Deleted`.
    pub deleted: Usage,
}
