//! Recipients: from an address to what is done with its mail, before the message has come.

use crate::answer;
use crate::deliver::Deliver;
use culver_base::MailboxName;
use culver_directory::{Account, Resolved, Target};
use culver_lmtp::{Address, Reply};
use std::sync::Arc;
use std::time::Duration;

/// A recipient that is to be had.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// As it was given.
    pub address: Address,
    /// What is done with its mail.
    pub(crate) targets: Vec<Target>,
    /// The mailbox that was asked for.
    pub(crate) mailbox: Option<MailboxName>,
}

/// What is known of the message before it comes.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Octets, as far as the peer has said.
    pub size: u64,
    /// Into which mailbox, if that is not for us to say.
    pub mailbox: Option<&'a str>,
    /// The time since 1970.
    pub now: Duration,
}

impl Recipient {
    /// An account that is known without asking a directory.
    ///
    /// # Errors
    /// When no mailbox can have this name.
    pub fn of_account(
        address: Address,
        account: Arc<Account>,
        detail: Option<String>,
        mailbox: Option<&str>,
    ) -> Result<Self, Reply> {
        let mailbox = named(mailbox)?;
        Ok(Self { address, targets: vec![Target::Mailbox { account, detail }], mailbox })
    }
}

fn named(mailbox: Option<&str>) -> Result<Option<MailboxName>, Reply> {
    let Some(name) = mailbox.map(MailboxName::new) else { return Ok(None) };
    name.can_be_created().map_err(|why| Reply::new(501, 5, 4, why))?;
    Ok(Some(name))
}

impl Deliver {
    /// Whether mail for this address is taken. What is refused here is never sent by the peer.
    ///
    /// # Errors
    /// With the reply.
    pub async fn recipient(&self, address: &Address, request: Request<'_>) -> Result<Recipient, Reply> {
        let targets = self.targets(address, request.now).await?;
        let mailbox = named(request.mailbox)?;
        let recipient = Recipient { address: address.clone(), targets, mailbox };
        // When nobody can have it, it need not be sent.
        let mut refusal = None;
        for target in &recipient.targets {
            match self.refusal(target, &recipient, request.size).await {
                None => return Ok(recipient),
                Some(reply) => refusal = refusal.or(Some(reply)),
            }
        }
        Err(refusal.unwrap_or_else(|| answer::unknown(&address.to_string())))
    }

    async fn targets(&self, address: &Address, now: Duration) -> Result<Vec<Target>, Reply> {
        let text = address.to_string();
        if let Some(back) = self.forwarder.srs.as_ref().and_then(|srs| srs.reverse(address, now)) {
            return match back {
                Ok(sender) => Ok(vec![Target::Forward { address: sender.to_string() }]),
                Err(why) => Err(Reply::new(550, 1, 0, format!("<{text}> leads nowhere: {why}"))),
            };
        }
        let Some(domain) = address.domain_name() else { return Err(answer::unknown(&text)) };
        match self.directory.resolve(&format!("{}@{domain}", address.local)).await {
            Ok(Resolved::Targets(targets)) => Ok(targets),
            Ok(Resolved::Reject { text }) => Err(answer::rejected(&text)),
            Ok(Resolved::Disabled { reason, .. }) => Err(answer::disabled(&reason)),
            Ok(Resolved::Unknown) => Err(answer::unknown(&text)),
            Err(outage) => {
                tracing::error!("delivery to {text}: {outage}");
                Err(answer::outage())
            }
        }
    }

    /// Why a target cannot have a message of this size, if it cannot.
    pub(crate) async fn refusal(&self, target: &Target, recipient: &Recipient, size: u64) -> Option<Reply> {
        let Target::Mailbox { account, detail } = target else { return None };
        let mailbox = self.mailbox_for(recipient, detail.as_deref());
        match self.quota.admit(account, &mailbox, size).await {
            Ok(verdict) => answer::over(&verdict, self.settings.over_quota),
            Err(failure) => Some(self.failed(&account.name, &failure, "")),
        }
    }

    /// The mailbox that a message should go to; INBOX when that is not there.
    pub(crate) fn mailbox_for(&self, recipient: &Recipient, detail: Option<&str>) -> MailboxName {
        if let Some(mailbox) = &recipient.mailbox {
            return mailbox.clone();
        }
        let wanted = detail.filter(|_| self.settings.detail_mailbox).map(MailboxName::new);
        wanted.filter(|name| name.can_be_created().is_ok()).unwrap_or_else(MailboxName::inbox)
    }
}
