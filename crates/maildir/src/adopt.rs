//! Adopting an account ahead of time: what its first login would do, done now, and told.
//!
//! Each mailbox is first looked at ([`survey`]), then opened, which gives UIDs to what has none, takes over what only an earlier
//! server's index knows, and writes the index of our own; every message is read once for the cache; then what is there is held against what was found. A dry run
//! stops after the look and changes nothing.
//!
//! A mailbox that cannot be adopted is told and does not stop the others. To adopt twice does no harm.
//!
//! Nobody else may use the same state folder meanwhile: that is for the caller to see to. Dovecot may run.

use crate::store::MaildirStore;
use crate::survey::{self, AccountSurvey, MailboxSurvey};
use culver_base::MailboxName;
use culver_store::error::from_io;
use culver_store::{Mailbox, Place, Result};
use std::sync::Arc;

/// In earnest?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// Yes.
    Adopt,
    /// Nothing on disk is changed.
    DryRun,
}

/// A mailbox as it is now.
#[derive(Clone, Debug)]
pub struct Now {
    /// Messages.
    pub messages: usize,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT.
    pub uid_next: u32,
    /// HIGHESTMODSEQ.
    pub mod_seq: u64,
    /// Keywords.
    pub keywords: usize,
}

/// One mailbox.
#[derive(Clone, Debug)]
pub struct AdoptedMailbox {
    /// Its name.
    pub name: MailboxName,
    /// What was found; `None` when it could not be read.
    pub found: Option<MailboxSurvey>,
    /// What is there now; `None` after a dry run, and when it could not be opened.
    pub now: Option<Now>,
    /// What the administrator should know, besides what was found.
    pub odd: Vec<String>,
    /// Why it was not adopted.
    pub failure: Option<String>,
}

/// One account.
#[derive(Clone, Debug)]
pub struct AdoptedAccount {
    /// What was found.
    pub found: AccountSurvey,
    /// Its mailboxes, INBOX first.
    pub mailboxes: Vec<AdoptedMailbox>,
}

/// Adopts an account. `begins` hears of each mailbox: its place among all, their number, its name.
///
/// # Errors
/// When the account's root cannot be read, or opened.
pub async fn adopt(
    store: &MaildirStore,
    place: &Place,
    how: How,
    begins: &mut (dyn FnMut(usize, usize, &MailboxName) + Send),
) -> Result<AdoptedAccount> {
    let outside = store.unopened(place);
    let (at, names) = (place.clone(), outside.names());
    let found = store.io().run(place.owner, move |fs| survey::account(fs, &at, names)).await?;
    let found = found.map_err(|e| from_io("reading the mail root", &place.account, e))?;
    let account = match how {
        // Whoever logs in first makes what is not there yet.
        How::Adopt if !found.mailboxes.is_empty() => Some(store.maildir_account(place).await?),
        How::Adopt | How::DryRun => None,
    };
    let mut mailboxes = Vec::with_capacity(found.mailboxes.len());
    for (i, name) in found.mailboxes.iter().enumerate() {
        begins(i, found.mailboxes.len(), name);
        let mut one =
            AdoptedMailbox { name: name.clone(), found: None, now: None, odd: Vec::new(), failure: None };
        let at = Arc::new(outside.mailbox_place(name)?);
        let label = at.label();
        match store.io().run(place.owner, move |fs| survey::mailbox(fs, &at)).await? {
            Ok(found) => one.found = Some(found),
            // INBOX may be yet to be made.
            Err(e) => one.failure = Some(from_io("looking at the mailbox", &label, e).to_string()),
        }
        if let Some(account) = &account {
            match account.open_maildir(name).await {
                Ok(mailbox) => {
                    one.failure = None;
                    one.compare(&*mailbox);
                    mailbox.fill_cache().await;
                    mailbox.close().await;
                }
                Err(e) => one.failure = Some(e.to_string()),
            }
        }
        mailboxes.push(one);
    }
    drop(account);
    if how == How::Adopt {
        store.close_account(place).await;
    }
    Ok(AdoptedAccount { found, mailboxes })
}

impl AdoptedMailbox {
    /// Holds what is there against what was found.
    fn compare(&mut self, mailbox: &dyn Mailbox) {
        let s = mailbox.snapshot();
        let now = Now {
            messages: s.len(),
            uid_validity: s.uid_validity.get(),
            uid_next: s.uid_next.get(),
            mod_seq: s.highest_mod_seq.get(),
            keywords: s.keywords.names().len(),
        };
        if let Some(found) = &self.found {
            if found.messages != now.messages {
                self.odd.push(format!(
                    "{} messages were found and {} are there now: if nobody delivered or deleted meanwhile, look at the log",
                    found.messages, now.messages
                ));
            }
            if found.uid_validity.is_some_and(|v| v != now.uid_validity) {
                self.odd
                    .push("it has a new UIDVALIDITY: clients download it once; the log says why".to_owned());
            } else {
                let lost = found.uids.difference(&s.uids()).len();
                if lost > 0 {
                    self.odd.push(format!(
                        "{lost} messages have not kept their UID: they were served by Culver before under other ones, or are gone; the log says which"
                    ));
                }
            }
        }
        self.now = Some(now);
    }
}
