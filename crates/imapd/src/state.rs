//! The states of a session (RFC 9051 §3) as types: a handler is given exactly what its state owns.

use crate::stop::{Code, Done, Stop};
use crate::view::View;
use culver_base::{MailboxName, SequenceSet, UidSet};
use culver_imap::Dialect;
use culver_imap::command::Numbering;
use culver_imap::response::Code as WireCode;
use culver_snapshot::{Presence, Snapshot};
use culver_store::{Mailbox, Refusal};
use std::sync::Arc;
use tokio::sync::watch;

/// Where the session stands. Logout is not a state: the session ends.
pub enum State {
    /// Before login.
    NotAuthenticated,
    /// Logged in.
    Authenticated(Authenticated),
    /// With a mailbox.
    Selected(Box<Selected>),
}

impl State {
    /// The user, once there is one, to note what was said.
    pub fn user_mut(&mut self) -> Option<&mut Authenticated> {
        match self {
            Self::NotAuthenticated => None,
            Self::Authenticated(user) => Some(user),
            Self::Selected(selected) => Some(&mut selected.user),
        }
    }

    /// The mailbox, if one is selected.
    pub fn selected_mut(&mut self) -> Option<&mut Selected> {
        match self {
            Self::Selected(selected) => Some(selected),
            _ => None,
        }
    }

    /// The user, once there is one.
    pub fn user(&self) -> Option<&Authenticated> {
        match self {
            Self::NotAuthenticated => None,
            Self::Authenticated(user) => Some(user),
            Self::Selected(selected) => Some(&selected.user),
        }
    }
}

/// What the client has switched on with ENABLE, or by using it (RFC 5161, RFC 7162 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Enabled {
    /// IMAP4rev2: no RECENT, ESEARCH for SEARCH, UTF-8 names.
    pub imap4rev2: bool,
    /// UTF8=ACCEPT (RFC 6855).
    pub utf8: bool,
    /// CONDSTORE: MODSEQ in every FETCH.
    pub condstore: bool,
    /// QRESYNC: VANISHED for EXPUNGE.
    pub qresync: bool,
}

impl Enabled {
    /// How strings and mailbox names are written.
    pub fn dialect(self) -> Dialect {
        Dialect { utf8: self.imap4rev2 || self.utf8 }
    }
}

/// Logged in.
pub struct Authenticated {
    /// Canonical name.
    pub name: Arc<str>,
    /// As the directory had it at login.
    pub account: Arc<culver_directory::Account>,
    /// The user's mail.
    pub mail: Arc<dyn culver_store::Account>,
    /// Extensions switched on.
    pub enabled: Enabled,
    /// Its place among the sessions of the account.
    pub seat: culver_auth::Seat,
    /// What has been said of its quota.
    pub alerted: crate::alert::Alerted,
}

/// SELECT or EXAMINE?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// SELECT
    ReadWrite,
    /// EXAMINE
    ReadOnly,
}

/// With a mailbox. Contains the user: leaving gives it back.
pub struct Selected {
    /// The user.
    pub user: Authenticated,
    /// The mailbox.
    pub mailbox: Arc<dyn Mailbox>,
    /// Under which name it was selected.
    pub name: MailboxName,
    /// What the client has been told.
    pub view: View,
    /// May it be changed?
    pub access: Access,
    /// `$` (RFC 5182).
    pub saved: UidSet,
    /// Hears of new snapshots.
    pub news: watch::Receiver<Arc<Snapshot>>,
    /// Has the client been told that the mailbox is gone?
    pub told_gone: bool,
}

impl Selected {
    /// The mailbox, if this session may change it: the only way to a verb that does.
    pub fn writable(&self) -> Result<&Arc<dyn Mailbox>, Stop> {
        self.present()?;
        match self.access {
            Access::ReadWrite => Ok(&self.mailbox),
            Access::ReadOnly => Err(Done::no(
                Code::Plain(WireCode::NoPerm),
                "The mailbox was opened read-only by EXAMINE: SELECT it to change it",
            )
            .into()),
        }
    }

    /// Refuses when the mailbox has been deleted.
    pub fn present(&self) -> Result<(), Stop> {
        match self.mailbox.snapshot().presence {
            Presence::Here => Ok(()),
            Presence::Gone => Err(Refusal::MailboxGone.into()),
        }
    }

    /// The UIDs that a command names, in this session's view.
    pub fn resolve(&self, set: &SequenceSet, numbering: Numbering) -> Result<UidSet, Stop> {
        self.view.resolve(set, numbering, &self.saved).map_err(|e| {
            Done::bad(match e.len {
                0 => "The mailbox is empty: there is no such message number".to_owned(),
                n => format!("There is no such message number: the mailbox has {n} messages"),
            })
            .into()
        })
    }
}
