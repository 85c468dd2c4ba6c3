//! The states of a session (RFC 1939 §3) as types: a handler is given exactly what its state owns. UPDATE is not one: it is
//! what QUIT does with the transaction that it takes away.

use crate::context::Context;
use crate::marks::Marks;
use crate::stop::{Stop, no};
use culver_auth::Seat;
use culver_base::{Flag, SystemFlags, Uid, UidSet};
use culver_events::MaildropCounts;
use culver_pop3::command::Number;
use culver_pop3::language::Text;
use culver_store::{Claim, FlagChange, Mailbox, Maildrop, Origin, StoreFlags, UniqueIds};
use std::sync::Arc;

/// Where the session stands.
pub enum State {
    /// Before login.
    Authorization(Authorization),
    /// Logged in.
    Transaction(Box<Transaction>),
}

/// Before login.
#[derive(Default)]
pub struct Authorization {
    /// The name of USER, for a PASS right behind it.
    pub user: Option<Vec<u8>>,
}

/// Logged in, with the maildrop as it was then.
pub struct Transaction {
    /// Canonical name.
    pub name: Arc<str>,
    /// As the directory had it at login.
    pub account: Arc<culver_directory::Account>,
    /// INBOX.
    pub mailbox: Arc<dyn Mailbox>,
    /// Its messages by number.
    pub maildrop: Maildrop,
    /// Marked by DELE.
    pub deleted: Marks,
    /// Retrieved, and not marked as seen yet.
    pub newly_seen: UidSet,
    /// The highest number that was retrieved, ever (RFC 1081).
    pub last: u32,
    /// The same at login.
    pub last_at_login: u32,
    /// Unique identifiers, where they cannot be made one by one.
    pub ids: Option<Arc<UniqueIds>>,
    /// Was UIDL given?
    pub told_ids: bool,
    /// What was done, for the log.
    pub counts: MaildropCounts,
    /// The right to be the only session.
    pub claim: Option<Box<dyn Claim>>,
    /// Its place among the sessions of the account.
    pub seat: Seat,
}

/// Flags of so many messages wait at most.
const MOST_UNSTORED: u64 = 1000;

impl Transaction {
    /// The position of a message that is there and not marked as deleted (RFC 1939 §5).
    pub fn find(&self, number: Number) -> Result<usize, Stop> {
        let position = number.position();
        if position >= self.maildrop.len() {
            return no(Text::NoSuchMessage(self.maildrop.len()));
        }
        if self.deleted.has(position) {
            return no(Text::DeletedAlready(number.get()));
        }
        Ok(position)
    }

    /// How many messages are not marked as deleted.
    pub fn len(&self) -> usize {
        self.maildrop.len() - self.deleted.count()
    }

    /// None?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their octets.
    pub fn octets(&self) -> u64 {
        self.maildrop.octets().saturating_sub(self.deleted.octets())
    }

    /// A message was retrieved.
    pub async fn retrieved(&mut self, position: usize, cx: &Context) {
        let number = Number::of_position(position).get();
        self.last = self.last.max(number);
        let Some(record) = self.maildrop.record(position) else { return };
        if !cx.service.settings.no_flag_updates && !record.flags.system.contains(SystemFlags::SEEN) {
            self.newly_seen.add(record.uid);
            if self.newly_seen.len() >= MOST_UNSTORED {
                self.store_seen().await;
            }
        }
    }

    /// Marks as seen what was retrieved. Without room for it the messages stay unseen: nobody reads the worse for it.
    pub async fn store_seen(&mut self) {
        if self.newly_seen.is_empty() {
            return;
        }
        let uids = std::mem::take(&mut self.newly_seen);
        let seen = StoreFlags {
            change: FlagChange::Add,
            flags: vec![Flag::System(SystemFlags::SEEN)],
            unchanged_since: None,
        };
        if let Err(failure) = self.mailbox.set_flags(&uids, seen).await {
            tracing::debug!(account = %self.name, "messages could not be marked as seen: {failure}");
        }
    }

    /// What every end of a session does: what was retrieved is seen, identifiers that clients were told stay, the claim
    /// is given back. Nothing is removed.
    pub async fn leave(&mut self, cx: &Context) {
        self.store_seen().await;
        if cx.service.settings.save_uidl && std::mem::take(&mut self.told_ids) {
            self.keep_ids(cx).await;
        }
        if let Some(claim) = self.claim.take() {
            claim.release().await;
        }
    }

    async fn keep_ids(&self, cx: &Context) {
        let made;
        let ids = match &self.ids {
            Some(ids) => ids,
            None => {
                let format = &cx.service.settings.uidl_format;
                made = self.mailbox.unique_ids(&self.maildrop, 0..self.maildrop.len(), format);
                &made
            }
        };
        let listed = self.maildrop.iter().zip(ids.iter());
        let new: Vec<(Uid, Box<[u8]>)> = listed
            .filter(|(_, (_, origin))| *origin == Origin::Made)
            .map(|((uid, _), (id, _))| (uid, id.into()))
            .collect();
        if let Err(failure) = self.mailbox.keep_unique_ids(new).await {
            tracing::debug!(account = %self.name, "unique identifiers could not be stored: {failure}");
        }
    }
}
