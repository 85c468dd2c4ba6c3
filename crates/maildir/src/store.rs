//! [`MaildirStore`]: one [`MaildirAccount`] for each account in use, kept warm for a while after its last session.
//!
//! A task looks once a minute for what nobody has used for [`StoreSettings::warm`]: mailboxes are closed (what was put
//! off is written, the journal says that nothing is missing), then accounts are forgotten. [`Store::close`] does that
//! for all at once.

use crate::account::MaildirAccount;
use crate::place::MaildirSettings;
use crate::watch::Watcher;
use async_trait::async_trait;
use culver_base::{MailboxName, SpecialUse};
use culver_store::io::Io;
use culver_store::{Account, Place, Result, Store};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often unused mailboxes are looked for.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Mailboxes that are closed at the same time.
const CLOSING: usize = 16;

/// Is a mailbox of the configuration made by itself?
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Auto {
    /// No; it only has its special use when it is there.
    #[default]
    No,
    /// When the account is opened.
    Create,
    /// And subscribed when it is made.
    Subscribe,
}

/// A mailbox that the configuration names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AutoMailbox {
    /// Its name.
    pub name: MailboxName,
    /// Its special use.
    pub special_use: Option<SpecialUse>,
    /// Is it made by itself?
    pub auto: Auto,
}

/// What the store needs to know.
#[derive(Clone)]
pub struct StoreSettings {
    /// The server's own folder; indexes lie below `accounts/` in it.
    pub state_dir: PathBuf,
    /// Mailboxes with a special use, or made by themselves.
    pub mailboxes: Vec<AutoMailbox>,
    /// Dovecot's listescape character, if the trees were written with it.
    pub storage_escape: Option<u8>,
    /// How long a mailbox and an account stay in memory after their last use.
    pub warm: Duration,
    /// What all mailboxes share.
    pub shared: Arc<MaildirSettings>,
}

impl StoreSettings {
    /// The defaults: nothing is made by itself; ten minutes warm.
    pub fn new(state_dir: impl Into<PathBuf>, shared: Arc<MaildirSettings>) -> Self {
        Self {
            state_dir: state_dir.into(),
            mailboxes: Vec::new(),
            storage_escape: None,
            warm: Duration::from_secs(600),
            shared,
        }
    }
}

/// What accounts have in common.
pub struct Common {
    /// Settings.
    pub settings: StoreSettings,
    /// The pool of threads.
    pub io: Arc<Io>,
    /// Hears of changes from outside.
    pub watcher: Arc<Watcher>,
    /// Special uses of the configuration.
    pub special_uses: Vec<(MailboxName, SpecialUse)>,
}

/// The store on Maildir.
pub struct MaildirStore {
    inner: Arc<Inner>,
}

struct Inner {
    common: Arc<Common>,
    accounts: Mutex<FxHashMap<Place, Kept>>,
    tidying: AtomicBool,
}

struct Kept {
    account: Arc<MaildirAccount>,
    used: Instant,
}

impl MaildirStore {
    /// A store that runs its jobs on `io`.
    pub fn new(io: Arc<Io>, settings: StoreSettings) -> Self {
        let special_uses =
            settings.mailboxes.iter().filter_map(|m| Some((m.name.clone(), m.special_use?))).collect();
        let common = Common { settings, io, watcher: Arc::default(), special_uses };
        let inner =
            Inner { common: Arc::new(common), accounts: Mutex::default(), tidying: AtomicBool::new(false) };
        Self { inner: Arc::new(inner) }
    }

    /// The account without opening it: nothing on disk is made.
    pub(crate) fn unopened(&self, place: &Place) -> MaildirAccount {
        MaildirAccount::new(place.clone(), self.inner.common.clone())
    }

    /// The pool of threads.
    pub fn io(&self) -> &Arc<Io> {
        &self.inner.common.io
    }

    /// The POP3 identifiers of an account's INBOX, in POP3's order, as its files say: see [`uidl`](crate::uidl).
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn pop3_identifiers(
        &self,
        place: &Place,
        format: culver_base::UidlFormat,
    ) -> Result<Vec<(culver_base::Uid, Vec<u8>)>> {
        let at = self.unopened(place).mailbox_place(&MailboxName::inbox())?;
        let label = at.label();
        let read = self.io().run(place.owner, move |fs| crate::uidl::load(fs, &at, &format)).await?;
        read.map_err(|e| culver_store::error::from_io("reading dovecot-uidlist", &label, e))
    }

    /// Writes out and closes what is open of an account, and forgets it. Nobody may be using it.
    pub async fn close_account(&self, place: &Place) {
        let kept = self.inner.accounts.lock().remove(place);
        if let Some(kept) = kept {
            for mailbox in kept.account.take_all().await {
                mailbox.close().await;
                kept.account.closed(&mailbox).await;
            }
            kept.account.keep_ledger().await;
        }
    }

    /// As [`Store::account`], but the concrete account.
    pub async fn maildir_account(&self, place: &Place) -> Result<Arc<MaildirAccount>> {
        self.inner.start_tidying();
        let account = {
            let mut accounts = self.inner.accounts.lock();
            let kept = accounts.entry(place.clone()).or_insert_with(|| Kept {
                account: Arc::new(MaildirAccount::new(place.clone(), self.inner.common.clone())),
                used: Instant::now(),
            });
            kept.used = Instant::now();
            kept.account.clone()
        };
        account.prepare().await?;
        Ok(account)
    }
}

#[async_trait]
impl Store for MaildirStore {
    async fn account(&self, place: &Place) -> Result<Arc<dyn Account>> {
        Ok(self.maildir_account(place).await?)
    }

    async fn close(&self) {
        let accounts: Vec<_> = self.inner.accounts.lock().drain().map(|(_, kept)| kept.account).collect();
        let mut mailboxes = Vec::new();
        for account in &accounts {
            mailboxes.extend(account.take_all().await.into_iter().map(|m| (account.clone(), m)));
        }
        let mut closing = JoinSet::new();
        for (account, mailbox) in mailboxes {
            if closing.len() >= CLOSING {
                closing.join_next().await;
            }
            closing.spawn(async move {
                mailbox.close().await;
                account.closed(&mailbox).await;
            });
        }
        while closing.join_next().await.is_some() {}
        for account in accounts {
            account.keep_ledger().await;
        }
    }
}

impl Inner {
    #[allow(
        clippy::disallowed_methods,
        reason = "ends by itself when the store is dropped: it holds no strong reference"
    )]
    fn start_tidying(self: &Arc<Self>) {
        if self.tidying.swap(true, Ordering::AcqRel) {
            return;
        }
        let weak: Weak<Self> = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(TIDY_EVERY).await;
                let Some(inner) = weak.upgrade() else { return };
                inner.tidy(Instant::now()).await;
            }
        });
    }

    /// Lets go of what nobody has used for a while.
    async fn tidy(&self, now: Instant) {
        let warm = self.common.settings.warm;
        let accounts: Vec<_> = self.accounts.lock().values().map(|kept| kept.account.clone()).collect();
        for account in accounts {
            account.close_unused(now, warm).await;
        }
        self.accounts.lock().retain(|_, kept| {
            let in_use = Arc::strong_count(&kept.account) > 1 || kept.account.has_mailboxes();
            if in_use {
                kept.used = now;
            }
            in_use || now.duration_since(kept.used) < warm
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use culver_store::io::IoSettings;
    use culver_store::{Layout, Mailbox};

    #[tokio::test]
    async fn what_nobody_uses_is_closed_after_a_while() {
        let temp = tempfile::tempdir().unwrap();
        let io = Io::new(IoSettings { threads: 1, ..IoSettings::default() }).unwrap();
        let mut shared = MaildirSettings::new("test.example");
        shared.flag_delay = Duration::ZERO;
        let settings = StoreSettings::new(temp.path().join("state"), Arc::new(shared));
        let warm = settings.warm;
        let store = MaildirStore::new(Arc::new(io), settings);
        let place = Place {
            account: "ada@example.org".into(),
            owner: None,
            root: temp.path().join("mail"),
            control: None,
            index: None,
            layout: Layout::default(),
        };
        let account = store.maildir_account(&place).await.unwrap();
        let inbox = account.open_maildir(&MailboxName::inbox()).await.unwrap();
        let id = inbox.snapshot().mailbox_id;
        // Its own tasks for what may lag behind.
        while Arc::strong_count(&inbox) > 2 {
            tokio::task::yield_now().await;
        }
        let start = Instant::now();
        let kept = || store.inner.accounts.lock().len();

        store.inner.tidy(start + 2 * warm).await;
        assert!(account.has_mailboxes(), "a session has it");
        drop(inbox);
        store.inner.tidy(start + 2 * warm + warm / 2).await;
        assert!(account.has_mailboxes(), "still warm");
        store.inner.tidy(start + 3 * warm).await;
        assert!(!account.has_mailboxes());
        store.inner.tidy(start + 5 * warm).await;
        assert_eq!(kept(), 1, "a session has the account");
        drop(account);
        store.inner.tidy(start + 5 * warm + warm / 2).await;
        assert_eq!(kept(), 1, "still warm");
        store.inner.tidy(start + 6 * warm).await;
        assert_eq!(kept(), 0);

        let account = store.maildir_account(&place).await.unwrap();
        let inbox = account.open_maildir(&MailboxName::inbox()).await.unwrap();
        assert_eq!(inbox.snapshot().mailbox_id, id);
    }
}
