//! What is decided from limits and usage alone, by the keeper and by whoever only asks.

use crate::keeper::KeeperSettings;
use crate::standing::Verdict;
use culver_base::MailboxName;
use culver_directory::Account;
use culver_directory::builtin::{Builtin, Kept, Problem, SetLimits};
use culver_quota::{Fit, Limits, Policy, Resource, Room, State, Usage, fit};
use culver_store::Failure;
use std::future::Future;
use std::sync::Arc;

/// The state that is kept; one of a later version counts as within.
pub(crate) fn state_of(kept: &Kept) -> State {
    State::from_parts(&kept.state, kept.percent, kept.since).unwrap_or_default()
}

/// Why an account receives nothing, as senders read it.
pub(crate) fn reason(policy: &Policy) -> String {
    format!("The mailbox has been full for {} days", policy.grace / 86_400)
}

/// Is receiving disabled, by the account's switch or by its quota?
pub(crate) fn disabled(account: &Account, kept: Option<&Kept>, policy: &Policy) -> Option<Verdict> {
    if let culver_directory::Switch::Off { reason, since } = &account.receive {
        return Some(Verdict::Disabled { reason: reason.clone(), since: *since });
    }
    match kept.map(|kept| (state_of(kept), kept.switched)) {
        Some((State::Disabled { since }, false)) => {
            Some(Verdict::Disabled { reason: reason(policy), since: Some(since) })
        }
        _ => None,
    }
}

/// What an account may keep: the first that anybody says.
pub(crate) fn limits(
    account: &Account,
    own: &SetLimits,
    domain: &SetLimits,
    settings: &KeeperSettings,
) -> Limits {
    let source =
        Limits { storage: account.quota.storage, messages: account.quota.messages, ..Limits::default() };
    as_limits(own).or(source).or(as_limits(domain)).or(settings.limits).settled()
}

fn as_limits(set: &SetLimits) -> Limits {
    Limits {
        storage: set.storage,
        messages: set.messages,
        message_size: set.message_size,
        mailboxes: set.mailboxes,
    }
}

/// What comes, and where to.
#[derive(Clone, Copy)]
pub(crate) struct Coming<'a> {
    pub mailbox: &'a MailboxName,
    pub octets: u64,
    pub messages: u64,
}

/// Does it fit?
pub(crate) fn fits(usage: Usage, limits: Limits, coming: Coming<'_>, settings: &KeeperSettings) -> Fit {
    let extra = settings.extras.iter().find(|extra| extra.mailbox == *coming.mailbox);
    let room =
        Room { extra_percent: extra.map_or(0, |extra| extra.percent), last_message: settings.last_message };
    let largest = if coming.messages > 1 { 0 } else { coming.octets };
    fit(usage, limits, room, Usage { storage: coming.octets, messages: coming.messages }, largest)
}

/// In words.
pub(crate) fn verdict(fit: Fit, settings: &KeeperSettings) -> Verdict {
    match fit {
        Fit::Fits => Verdict::Fits,
        Fit::TooBig { limit } => Verdict::TooBig { limit },
        Fit::Over(what) => {
            let what = match what {
                Resource::Storage => "storage",
                Resource::Messages => "number of messages",
            };
            let text = format!("The mailbox is full: its quota of {what} is used up");
            Verdict::Over { text, answer: settings.full }
        }
    }
}

/// Asks as the keeper would answer, and keeps nothing: for the delivery program beside no server, which may not write states.
/// Steps that follow from what it delivers are taken when the server looks next.
pub struct Bystander {
    /// Where states and limits are kept, as far as that can be read.
    pub builtin: Option<Arc<Builtin>>,
    /// What is kept to.
    pub settings: KeeperSettings,
}

impl Bystander {
    /// May a message be stored? `usage` is asked only where there is a limit.
    ///
    /// # Errors
    /// When the account's mail cannot be looked at.
    pub async fn admit(
        &self,
        account: &Account,
        mailbox: &MailboxName,
        octets: u64,
        usage: impl Future<Output = Result<Usage, Failure>>,
    ) -> Result<Verdict, Failure> {
        let (kept, own, domain) = self.read(&account.name).await.unwrap_or_else(|problem| {
            tracing::warn!(account = %account.name, "what is kept of quotas cannot be read: {problem}");
            Default::default()
        });
        if let Some(off) = disabled(account, kept.as_ref(), &self.settings.policy) {
            return Ok(off);
        }
        let limits = limits(account, &own, &domain, &self.settings);
        let usage = match (limits.storage, limits.messages) {
            (None, None) => Usage::default(),
            _ => usage.await?,
        };
        let coming = Coming { mailbox, octets, messages: 1 };
        Ok(verdict(fits(usage, limits, coming, &self.settings), &self.settings))
    }

    async fn read(&self, name: &str) -> Result<(Option<Kept>, SetLimits, SetLimits), Problem> {
        let Some(builtin) = self.builtin.clone() else { return Ok(Default::default()) };
        let (name, beside) = (name.to_owned(), builtin.clone());
        let read = tokio::task::spawn_blocking(move || builtin.quota(&name)).await;
        read.unwrap_or_else(|why| Err(beside.failed(why)))
    }
}
