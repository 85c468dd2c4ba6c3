//! RENAME: a mailbox with all below it, and INBOX.
//!
//! While directories move nobody may open or use what lies in them: the slots are locked and the writers' sides held. Then
//! the indexes follow, and open mailboxes are told where they are now; their sessions go on. When the directories cannot be
//! renamed all stays as it was.

use super::MaildirAccount;
use crate::folders;
use crate::mailbox::MaildirMailbox;
use culver_base::{MailboxName, Uid, UidSet};
use culver_store::{Layout, Mailbox, Refusal, Result, Transfer};
use std::io;
use std::sync::Arc;

/// Messages that RENAME of INBOX moves at a time.
const MOVE_AT_ONCE: usize = 1000;

impl MaildirAccount {
    /// Renames the directories and what is open of them. `naming` is held.
    pub(super) async fn rename_tree(&self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        let (tree, _) = self.look().await?;
        if !tree.nodes.contains_key(from) {
            return Err(Refusal::NonExistent.into());
        }
        let moved: Vec<(MailboxName, MailboxName)> = std::iter::once(from)
            .chain(tree.below(from).map(|(n, _)| n))
            .filter(|n| tree.has_mailbox(n))
            .filter_map(|n| Some((n.clone(), n.moved(from, to)?)))
            .collect();
        let mut pairs = Vec::new();
        for (old, new) in &moved {
            if tree.has_mailbox(new) && !moved.iter().any(|(o, _)| o == new) {
                return Err(Refusal::AlreadyExists.into());
            }
            let path = self.names.directory(new).map_err(Refusal::Cannot)?;
            pairs.push((self.names.directory(old).map_err(|_| Refusal::NonExistent)?, path));
        }
        if self.names.layout == Layout::Fs {
            // One directory, with all that is below.
            let path = |n: &MailboxName| self.names.directory(n).map_err(Refusal::Cannot);
            pairs = vec![(path(from)?, path(to)?)];
        }
        // Nobody may open or use one of them while they move.
        let slots: Vec<_> = moved.iter().map(|(old, _)| self.slot(old)).collect();
        let mut locked = Vec::new();
        for slot in &slots {
            locked.push(slot.lock().await);
        }
        let open: Vec<Option<Arc<MaildirMailbox>>> = locked.iter_mut().map(|s| s.mailbox.take()).collect();
        let mut held = Vec::new();
        for mailbox in &open {
            held.push(match mailbox {
                Some(m) => Some(m.hold().await),
                None => None,
            });
        }
        // Under both names: a crash in between leaves the index where the mailbox is.
        for (old, new) in &moved {
            self.link_state(old, new).await;
        }
        let control = self.place.control.clone();
        let renamed = self.in_root({
            let pairs = pairs.clone();
            move |root| folders::rename(root, &pairs)
        });
        let renamed = match renamed.await? {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(Refusal::AlreadyExists.into()),
            other => other.map_err(|e| self.failure("renaming a mailbox", e)),
        };
        if let Err(e) = renamed {
            for (_, new) in &moved {
                self.forget_state(new).await;
            }
            drop(held);
            for (slot, mailbox) in locked.iter_mut().zip(open) {
                slot.mailbox = mailbox;
            }
            return Err(e);
        }
        if let Some(control) = control {
            let done = self.job(move |fs| folders::rename(&fs.open_root(&control)?, &pairs)).await?;
            done.map_err(|e| self.failure("renaming a mailbox's control files", e))?;
        }
        for ((old, new), held) in moved.iter().zip(held) {
            self.forget_state(old).await;
            match (held, self.mailbox_place(new)) {
                (Some(held), Ok(place)) => held.renamed(place),
                (Some(held), Err(_)) => held.mark_gone(),
                (None, _) => (),
            }
        }
        drop(locked);
        for ((_, new), mailbox) in moved.iter().zip(open) {
            if mailbox.is_some() {
                self.slot(new).lock().await.mailbox = mailbox;
            }
        }
        self.forget_list();
        self.change_special_uses(|all| all.rename(from, to)).await
    }

    /// RENAME of INBOX: its messages go into a new mailbox, it stays (RFC 9051 §6.3.6).
    pub(super) async fn rename_inbox(&self, to: &MailboxName) -> Result<()> {
        self.create_directory(to).await?;
        let inbox = self.open_maildir(&MailboxName::inbox()).await?;
        let target: Arc<dyn Mailbox> = self.open_maildir(to).await?;
        let uids: Vec<Uid> = inbox.snapshot().uids().uids().collect();
        for some in uids.chunks(MOVE_AT_ONCE) {
            inbox.transfer(&some.iter().copied().collect::<UidSet>(), &target, Transfer::Move).await?;
        }
        Ok(())
    }
}
