//! Quota in the program: the keeper is put together, delivery asks it, and `culver quota`.

use crate::{WithConfig, config_command, parts, sources, state_lock};
use anyhow::Result;
use async_trait::async_trait;
use culver_base::MailboxName;
use culver_config::Settings;
use culver_config::settings as set;
use culver_deliver::Quota;
use culver_directory::{Account, Directory};
use culver_events::Events;
use culver_keeper::{Bystander, Full, InboxNotices, Keeper, KeeperSettings, Verdict, WallClock};
use culver_maildir::MaildirStore;
use culver_store::Store;
use std::sync::Arc;

/// Keeps accounts to their quota. Its states lie in the built-in directory, whatever the sources are.
///
/// # Errors
/// When the file cannot be opened.
pub fn keeper(
    settings: &Settings,
    directory: Arc<Directory>,
    store: Arc<dyn Store>,
    events: Events,
) -> Result<Arc<Keeper>> {
    parts::make_state_dir(settings)?;
    let builtin = Arc::new(sources::builtin(settings, &sources::builtin_row(settings))?);
    let from = Some(settings.quota.notice_from.clone()).filter(|from| !from.is_empty());
    let notices = Arc::new(InboxNotices::new(store.clone(), from));
    let parts = culver_keeper::Parts {
        builtin,
        directory,
        store,
        notices,
        hooks: crate::hook::hooks(settings)?,
        events,
        clock: Arc::new(WallClock),
    };
    Ok(Arc::new(Keeper::new(parts, self::settings(settings))))
}

/// What is kept to.
pub fn settings(settings: &Settings) -> KeeperSettings {
    let quota = &settings.quota;
    let some = |n: u64| Some(n).filter(|n| *n > 0);
    let seconds = |d: std::time::Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX);
    let policy = culver_quota::Policy {
        warnings: quota.warnings.iter().filter_map(|w| u8::try_from(*w).ok()).collect(),
        hysteresis: u8::try_from(quota.hysteresis).unwrap_or(100).min(100),
        grace: seconds(quota.grace),
        enabling: match quota.enabling {
            set::Enabling::ByHand => culver_quota::Enabling::ByHand,
            set::Enabling::ByItself => culver_quota::Enabling::ByItself,
        },
    };
    let extras = settings.mailbox.iter().filter(|m| m.quota_extra > 0);
    KeeperSettings {
        policy: policy.tidied(),
        limits: culver_quota::Limits {
            storage: some(quota.storage.0),
            messages: some(quota.messages.into()),
            message_size: some(quota.message_size.0),
            mailboxes: some(quota.mailboxes.into()),
        },
        last_message: quota.last_message.0,
        extras: extras
            .map(|m| culver_keeper::Extra { mailbox: MailboxName::new(&m.name), percent: m.quota_extra })
            .collect(),
        full: match settings.deliver.over_quota {
            set::OverQuota::Defer => Full::Later,
            set::OverQuota::Reject => Full::Never,
        },
        language: culver_keeper::templates::Language::parse(&quota.language).unwrap_or_default(),
        check_every: seconds(quota.cross_check),
    }
}

/// The keeper's verdict in delivery's words.
fn as_delivery(verdict: Verdict) -> culver_deliver::Verdict {
    use culver_deliver::Verdict as V;
    match verdict {
        Verdict::Fits => V::Fits,
        Verdict::Over { text, .. } => V::Over { text },
        Verdict::TooBig { limit } => V::TooBig { limit },
        Verdict::Disabled { reason, .. } => V::Disabled { reason },
    }
}

/// What delivery asks.
pub struct ForDelivery(pub Arc<Keeper>);

#[async_trait]
impl Quota for ForDelivery {
    async fn admit(
        &self,
        account: &Account,
        mailbox: &MailboxName,
        octets: u64,
    ) -> culver_store::Result<culver_deliver::Verdict> {
        Ok(as_delivery(self.0.admit(account, mailbox, octets, 1).await?))
    }

    async fn stored(&self, account: &Account) {
        self.0.stored(account).await;
    }
}

/// What `culver deliver` asks, when it does a server's work: limits as far as it can read them, usage as the files show it. It
/// keeps nothing: states and steps are the server's, which looks at the account when it runs again.
pub struct ForProgram {
    bystander: Bystander,
    store: Arc<MaildirStore>,
}

impl ForProgram {
    /// The built-in directory is looked at where it is; a file is not made.
    pub fn new(settings: &Settings, store: Arc<MaildirStore>) -> Self {
        let builtin = parts::builtin_is_made(settings)
            .then(|| sources::builtin(settings, &sources::builtin_row(settings)))
            .and_then(|opened| {
                // A caller who may read accounts need not be let into the state folder.
                opened.inspect_err(|why| tracing::warn!("limits set here are not known: {why:#}")).ok()
            });
        let settings = self::settings(settings);
        Self { bystander: Bystander { builtin: builtin.map(Arc::new), settings }, store }
    }
}

#[async_trait]
impl Quota for ForProgram {
    async fn admit(
        &self,
        account: &Account,
        mailbox: &MailboxName,
        octets: u64,
    ) -> culver_store::Result<culver_deliver::Verdict> {
        let place = culver_keeper::place(account);
        let usage = self.store.usage_beside(&place);
        Ok(as_delivery(self.bystander.admit(account, mailbox, octets, usage).await?))
    }

    async fn stored(&self, _: &Account) {}
}

/// `culver quota`: asks the running server; without one, does it here.
///
/// # Errors
/// When it cannot be done.
pub fn run(with: &WithConfig<culver_admin::QuotaCommand>) -> Result<()> {
    let settings = config_command::read(&with.config)?.settings;
    let (verb, arguments) = with.command.request()?;
    let answer = if culver_admin::control::answers(&settings.state_dir) {
        culver_admin::control::ask(&settings.state_dir, verb, arguments)?
    } else {
        let _alone = state_lock::StateLock::alone(&settings.state_dir)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(async {
            let directory = parts::directory(&settings)?;
            let store = Arc::new(parts::store(&settings)?);
            let events = parts::events(&settings)?;
            let keeper = keeper(&settings, directory.clone(), store.clone(), events)?;
            let verbs = culver_admin::quota::QuotaVerbs { keeper: keeper.clone(), directory };
            let answer = verbs.answer(verb, &arguments.into()).await.map_err(anyhow::Error::msg);
            keeper.tick().await;
            keeper.run_hooks().await;
            keeper.keep_usages().await;
            store.close().await;
            answer
        })?
    };
    println!("{}", with.command.shown(&answer));
    Ok(())
}
