//! Where messages are put: through the store of a running server, or as any MDA does it. The delivery does not care.

use async_trait::async_trait;
use culver_base::MailboxName;
use culver_directory::Account;
use culver_store::{
    Failure, Layout, NewMessage, Owner, Place, Refusal, Result, Shared, Spooled, Store, Subscribed,
};
use std::sync::Arc;

/// What is done when there is no such mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// It is made.
    Create,
    /// It is made and subscribed to.
    Subscribe,
    /// [`Refusal::NonExistent`]
    Refuse,
}

/// Puts messages into mailboxes.
#[async_trait]
pub trait Shelf: Send + Sync + 'static {
    /// Stores the message; it is on disk when this comes back.
    ///
    /// # Errors
    /// As the store's. Nothing can be seen of the message then.
    async fn put(
        &self,
        account: &Account,
        mailbox: &MailboxName,
        message: Arc<Shared>,
        missing: Missing,
    ) -> Result<()>;
}

/// Through the server's store: sessions hear of it at once, and its index knows the message.
pub struct StoreShelf(pub Arc<dyn Store>);

#[async_trait]
impl Shelf for StoreShelf {
    async fn put(
        &self,
        account: &Account,
        mailbox: &MailboxName,
        message: Arc<Shared>,
        missing: Missing,
    ) -> Result<()> {
        let mail = self.0.account(&place(account)).await?;
        let target = match mail.open_target(mailbox).await {
            Err(Failure::Refused(Refusal::NonExistent | Refusal::TryCreate))
                if missing != Missing::Refuse =>
            {
                match mail.create(mailbox, &[]).await {
                    // Another delivery was faster.
                    Ok(_) | Err(Failure::Refused(Refusal::AlreadyExists)) => {}
                    Err(other) => return Err(other),
                }
                if missing == Missing::Subscribe {
                    mail.set_subscribed(mailbox, Subscribed::Yes).await?;
                }
                mail.open_target(mailbox).await?
            }
            Err(Failure::Refused(Refusal::TryCreate)) => return Err(Refusal::NonExistent.into()),
            other => other?,
        };
        let body = Spooled::Shared(message);
        target.append(vec![NewMessage { body, flags: Vec::new(), internal_date: None }]).await?;
        Ok(())
    }
}

/// Where the account's mail lies, as the store wants it.
pub fn place(account: &Account) -> Place {
    Place {
        account: account.name.clone(),
        owner: account.uid.zip(account.gid).map(|(uid, gid)| Owner { uid, gid }),
        root: account.mail.root.clone(),
        control: account.mail.control.clone(),
        index: account.mail.index.clone(),
        layout: match account.mail.layout {
            culver_directory::Layout::MaildirPlusPlus => Layout::MaildirPlusPlus,
            culver_directory::Layout::Fs => Layout::Fs,
        },
    }
}
