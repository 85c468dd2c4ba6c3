//! [`MaildirAccount`]: an account's mailboxes by name.
//!
//! Each mailbox in use has one slot with one shared [`MaildirMailbox`]. Opening, closing and deleting one go through its
//! slot, one after the other; what changes names (CREATE, DELETE, RENAME) goes one after the other for the whole account.
//! The list of mailboxes is read once and believed while no directory has changed (see `tree.rs`).
//!
//! The mailbox's index lies in the state folder under the mailbox's name and follows its renaming. If another program
//! renames or replaces the mailbox, the engine sees by `dovecot-uidlist` that the index is not its own and begins anew.

use crate::courier;
use crate::dotlock::Holder;
use crate::folders::{self, Deleted};
use crate::layout::Names;
use crate::mailbox::MaildirMailbox;
use crate::maildrop::MaildropClaim;
use crate::place::MailboxPlace;
use crate::special_use::{self, SpecialUses};
use crate::spool::MaildirSpool;
use crate::store::{Auto, Common};
use crate::subscriptions::{self, Subscriptions};
use crate::sync::Force;
use crate::tree::{Node, Repairs, Tree};
use crate::usage::Ledger;
use async_trait::async_trait;
use culver_base::{MailboxName, SpecialUse};
use culver_snapshot::MailboxId;
use culver_store::error::from_io;
use culver_store::io::{Dir, Durability, EntryKind, Fs, Timestamp};
use culver_store::{
    Account, AccountUsage, Claim, Failure, ListedMailbox, Look, Mailbox, Place, Refusal, Result, Spool,
    Subscribed,
};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// A special-use file is never larger.
const MAX_SPECIAL_USE: usize = 1 << 20;

mod rename;

/// One account.
pub struct MaildirAccount {
    place: Place,
    common: Arc<Common>,
    names: Names,
    state: PathBuf,
    slots: Mutex<FxHashMap<MailboxName, Arc<tokio::sync::Mutex<Slot>>>>,
    naming: tokio::sync::Mutex<()>,
    special: tokio::sync::Mutex<Option<SpecialUses>>,
    cache: Mutex<Cache>,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) ledger_written: Mutex<Option<(usize, u32)>>,
    pub(crate) counting: tokio::sync::Mutex<()>,
    prepared: OnceCell<()>,
    /// One POP3 session at a time, where that is wanted.
    only: Arc<tokio::sync::Semaphore>,
}

struct Slot {
    mailbox: Option<Arc<MaildirMailbox>>,
    used: Instant,
}

#[derive(Default)]
struct Cache {
    tree: Arc<Tree>,
    subscribed: Arc<Vec<MailboxName>>,
    subscriptions_stamp: Option<(u64, u64, Timestamp)>,
    subscriptions_read: Timestamp,
    listed: Option<Arc<Vec<ListedMailbox>>>,
}

impl MaildirAccount {
    pub(crate) fn new(place: Place, common: Arc<Common>) -> Self {
        let settings = &common.settings;
        Self {
            names: Names { layout: place.layout, escape: settings.storage_escape },
            state: settings.state_dir.join("accounts").join(state_name(&place.account)),
            place,
            slots: Mutex::default(),
            naming: tokio::sync::Mutex::default(),
            special: tokio::sync::Mutex::default(),
            cache: Mutex::default(),
            ledger: Mutex::default(),
            ledger_written: Mutex::default(),
            counting: tokio::sync::Mutex::default(),
            prepared: OnceCell::new(),
            only: Arc::new(tokio::sync::Semaphore::new(1)),
            common,
        }
    }

    /// Makes INBOX and the mailboxes of the configuration, once.
    pub(crate) async fn prepare(&self) -> Result<()> {
        self.prepared
            .get_or_try_init(|| async {
                let root = self.place.root.clone();
                let made = self.job(move |fs| folders::make_inbox(&fs.make_root(&root)?)).await?;
                match made.map_err(|e| self.failure("making INBOX", e)) {
                    // Everything but storing works without room.
                    Err(Failure::Refused(Refusal::OverQuota(_))) if self.root_is_there().await => (),
                    other => other?,
                }
                self.bring_couriers_subscriptions().await;
                self.make_configured().await;
                Ok(())
            })
            .await
            .copied()
    }

    async fn root_is_there(&self) -> bool {
        matches!(self.in_root(|root| root.exists(b"cur")).await, Ok(Ok(true)))
    }

    /// Subscriptions of a tree that Courier served, once.
    async fn bring_couriers_subscriptions(&self) {
        let (root, control, separator) =
            (self.place.root.clone(), self.control_root(), self.names.separator());
        let shared = self.common.settings.shared.clone();
        let bring = move |fs: &Fs| {
            let Some(theirs) = courier::subscribed(&fs.open_root(&root)?)? else { return Ok(()) };
            let dir = fs.make_root(&control)?;
            if dir.exists(subscriptions::NAME)? {
                return Ok(());
            }
            subscriptions::change(&dir, separator, &shared.locks, |list| {
                theirs.iter().fold(false, |changed, name| list.add(name) | changed)
            })
        };
        let brought = self.job(bring).await;
        if let Ok(Err(error)) = brought.map(|done: io::Result<()>| done) {
            tracing::warn!(account = %self.place.account, %error, "courierimapsubscribed cannot be taken over for now");
        }
    }

    async fn make_configured(&self) {
        for mailbox in &self.common.settings.mailboxes {
            if mailbox.auto == Auto::No || mailbox.name.is_inbox() {
                continue;
            }
            let made = match self.create_directory(&mailbox.name).await {
                Err(Failure::Refused(Refusal::AlreadyExists)) => continue,
                Ok(()) if mailbox.auto == Auto::Subscribe => {
                    self.set_subscribed(&mailbox.name, Subscribed::Yes).await
                }
                other => other,
            };
            if let Err(error) = made {
                tracing::warn!(account = %self.place.account, mailbox = %mailbox.name, %error, "a mailbox of the configuration cannot be made");
            }
        }
    }

    // ---- jobs ------------------------------------------------------------------------------------------------------

    pub(crate) async fn job<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Fs) -> T + Send + 'static,
    {
        Ok(self.common.io.run(self.place.owner, work).await?)
    }

    pub(crate) async fn in_root<T, F>(&self, work: F) -> Result<io::Result<T>>
    where
        T: Send + 'static,
        F: FnOnce(&Dir<'_>) -> io::Result<T> + Send + 'static,
    {
        let root = self.place.root.clone();
        self.job(move |fs| work(&fs.open_root(&root)?)).await
    }

    pub(crate) fn failure(&self, doing: &'static str, cause: io::Error) -> Failure {
        match cause.kind() {
            io::ErrorKind::WouldBlock => {
                Refusal::InUse("Another program holds a lock; try again later".into()).into()
            }
            _ => from_io(doing, &self.place.account, cause),
        }
    }

    pub(crate) fn control_root(&self) -> PathBuf {
        self.place.control.clone().unwrap_or_else(|| self.place.root.clone())
    }

    /// Where a mailbox is. A name that cannot be on this disk does not exist.
    pub(crate) fn mailbox_place(&self, name: &MailboxName) -> Result<MailboxPlace> {
        let path = self.names.directory(name).map_err(|_| Refusal::NonExistent)?;
        let dir = PathBuf::from(OsStr::from_bytes(&path));
        let control_root = self.control_root();
        let apart = self.names.apart(&path);
        let apart = OsStr::from_bytes(&apart);
        Ok(MailboxPlace {
            account: self.place.account.clone(),
            name: name.clone(),
            owner: self.place.owner,
            root: self.place.root.clone(),
            control: match &self.place.control {
                Some(root) => root.join(apart),
                None => self.place.root.join(&dir),
            },
            index: self.place.index.as_ref().map(|root| root.join(apart)),
            dir,
            control_root,
            state: self.state_of(name),
            io: self.common.io.clone(),
            settings: self.common.settings.shared.clone(),
            watcher: self.common.watcher.clone(),
        })
    }

    fn state_of(&self, name: &MailboxName) -> PathBuf {
        self.state.join("mailboxes").join(state_name(name.as_str()))
    }

    // ---- the list --------------------------------------------------------------------------------------------------

    /// The tree of mailboxes and the subscriptions, as they are now.
    pub(crate) async fn look(&self) -> Result<(Arc<Tree>, Arc<Vec<MailboxName>>)> {
        let (tree, stamp, read) = {
            let cache = self.cache.lock();
            (cache.tree.clone(), cache.subscriptions_stamp, cache.subscriptions_read)
        };
        let (names, root, control) = (self.names, self.place.root.clone(), self.place.control.clone());
        let looked = self.job(move |fs| {
            let root = fs.open_root(&root)?;
            let tree =
                if tree.is_current(&root) { None } else { Some(Tree::read(&root, names, Repairs::Make)?) };
            let control = match control {
                Some(path) => fs.make_root(&path)?,
                None => root,
            };
            let now = crate::clock::now();
            let stat = match control.stat(subscriptions::NAME) {
                Ok(s) => Some((s.ino, s.size, s.mtime)),
                Err(e) if e.kind() == io::ErrorKind::NotFound => None,
                Err(e) => return Err(e),
            };
            let old = stat.is_none_or(|(_, _, mtime)| read.seconds > mtime.seconds + 1);
            let list = if stat == stamp && old && read != Timestamp::default() {
                None
            } else {
                Some((subscriptions::load(&control, names.separator())?, stat, now))
            };
            Ok((tree, list))
        });
        let (tree, list) = looked.await?.map_err(|e| self.failure("listing the mailboxes", e))?;
        let mut cache = self.cache.lock();
        if let Some(tree) = tree {
            cache.tree = Arc::new(tree);
            cache.listed = None;
        }
        if let Some((list, stat, now)) = list {
            cache.subscribed = Arc::new(self.shown(&list));
            (cache.subscriptions_stamp, cache.subscriptions_read) = (stat, now);
            cache.listed = None;
        }
        Ok((cache.tree.clone(), cache.subscribed.clone()))
    }

    fn shown(&self, list: &Subscriptions) -> Vec<MailboxName> {
        let mut names: Vec<MailboxName> =
            list.names().iter().filter_map(|n| self.names.shown(n.iter().map(Vec::as_slice))).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(crate) fn common(&self) -> &Common {
        &self.common
    }

    pub(crate) fn account(&self) -> &str {
        &self.place.account
    }

    pub(crate) fn state_folder(&self) -> PathBuf {
        self.state.clone()
    }

    fn forget_list(&self) {
        self.ledger.lock().names_changed();
        let mut cache = self.cache.lock();
        cache.tree = Arc::default();
        cache.listed = None;
    }

    async fn has_mailbox(&self, name: &MailboxName) -> Result<bool> {
        if name.is_inbox() {
            return Ok(true);
        }
        let Ok(path) = self.names.directory(name) else { return Ok(false) };
        let layout = self.names.layout;
        let there = self.in_root(move |root| match (root.open_dir(&path), layout) {
            (Ok(dir), culver_store::Layout::Fs) => dir.exists(b"cur"),
            (Ok(_), culver_store::Layout::MaildirPlusPlus) => Ok(true),
            (Err(e), _) if is_missing(&e) => Ok(false),
            (Err(e), _) => Err(e),
        });
        there.await?.map_err(|e| self.failure("looking for a mailbox", e))
    }

    // ---- slots -----------------------------------------------------------------------------------------------------

    fn slot(&self, name: &MailboxName) -> Arc<tokio::sync::Mutex<Slot>> {
        let new = || Arc::new(tokio::sync::Mutex::new(Slot { mailbox: None, used: Instant::now() }));
        self.slots.lock().entry(name.clone()).or_insert_with(new).clone()
    }

    /// The mailbox itself, for the engine's own use.
    pub async fn open_maildir(&self, name: &MailboxName) -> Result<Arc<MaildirMailbox>> {
        self.open_looking(name, Force::No).await
    }

    async fn open_looking(&self, name: &MailboxName, force: Force) -> Result<Arc<MaildirMailbox>> {
        let slot = self.slot(name);
        let mut slot = slot.lock().await;
        slot.used = Instant::now();
        if let Some(mailbox) = slot.mailbox.clone().filter(|m| !m.is_gone()) {
            let looked = match force {
                Force::Identity => mailbox.look(force).await,
                _ => mailbox.refresh().await,
            };
            match looked {
                Ok(()) => return Ok(mailbox),
                // Another program deleted it, and perhaps made it anew.
                Err(Failure::Refused(Refusal::MailboxGone)) => (),
                Err(e) => return Err(e),
            }
        }
        slot.mailbox = None;
        if !self.has_mailbox(name).await? {
            return Err(Refusal::NonExistent.into());
        }
        let mailbox = MaildirMailbox::open(self.mailbox_place(name)?).await?;
        self.ledger.lock().opened(name, &mailbox);
        slot.mailbox = Some(mailbox.clone());
        Ok(mailbox)
    }

    /// A mailbox that is open.
    pub(crate) async fn in_use(&self, name: &MailboxName) -> Option<Arc<MaildirMailbox>> {
        let slot = self.slots.lock().get(name).cloned()?;
        let mailbox = slot.lock().await.mailbox.clone();
        mailbox.filter(|m| !m.is_gone())
    }

    pub(crate) fn names(&self) -> Names {
        self.names
    }

    pub(crate) fn has_mailboxes(&self) -> bool {
        !self.slots.lock().is_empty()
    }

    /// Closes mailboxes that nobody holds and nobody used for `warm`.
    pub(crate) async fn close_unused(&self, now: Instant, warm: Duration) {
        let slots: Vec<_> = self.slots.lock().values().cloned().collect();
        for slot in slots {
            let Ok(mut slot) = slot.try_lock() else { continue };
            let unused = slot.mailbox.as_ref().is_some_and(|m| Arc::strong_count(m) == 1);
            if unused && now.saturating_duration_since(slot.used) >= warm {
                // Whoever opens it now waits for the slot.
                if let Some(mailbox) = slot.mailbox.take() {
                    mailbox.close().await;
                    self.closed(&mailbox).await;
                }
            } else if let Some(mailbox) = &slot.mailbox {
                mailbox.forget_columns(now);
                if !unused {
                    slot.used = now;
                }
            }
        }
        self.keep_ledger().await;
        self.slots.lock().retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|s| s.mailbox.is_some())
        });
    }

    /// A mailbox was closed: what is known of it now goes to the ledger.
    pub(crate) async fn closed(&self, mailbox: &MaildirMailbox) {
        let name = mailbox.place().name.clone();
        let core = mailbox.core.lock().await;
        self.ledger.lock().closed(&name, &core);
    }

    pub(crate) async fn take_all(&self) -> Vec<Arc<MaildirMailbox>> {
        let slots: Vec<_> = self.slots.lock().drain().map(|(_, slot)| slot).collect();
        let mut all = Vec::new();
        for slot in slots {
            all.extend(slot.lock().await.mailbox.take());
        }
        all
    }

    // ---- special uses and state ------------------------------------------------------------------------------------

    async fn special_uses(&self) -> SpecialUses {
        let mut special = self.special.lock().await;
        if let Some(all) = &*special {
            return all.clone();
        }
        let state = self.state.clone();
        let read =
            move |fs: &Fs| fs.open_root(&state).and_then(|d| d.read(special_use::NAME, MAX_SPECIAL_USE));
        let all = match self.common.io.run(None, read).await {
            Ok(Ok(text)) => SpecialUses::read(&text),
            Ok(Err(e)) if e.kind() == io::ErrorKind::NotFound => SpecialUses::default(),
            other => {
                let error = other.err().map(|e| e.to_string()).unwrap_or_default();
                tracing::warn!(account = %self.place.account, error, "special uses cannot be read; those of the configuration count");
                return SpecialUses::default();
            }
        };
        special.insert(all).clone()
    }

    async fn change_special_uses(&self, edit: impl FnOnce(&mut SpecialUses) -> bool) -> Result<()> {
        let mut all = self.special_uses().await;
        let mut special = self.special.lock().await;
        if !edit(&mut all) {
            return Ok(());
        }
        let (state, text) = (self.state.clone(), all.write());
        let write = move |fs: &Fs| {
            let temporary = [special_use::NAME, b".tmp"].concat();
            fs.make_root(&state)?.write_replace(special_use::NAME, &temporary, &text, Durability::OnDisk)
        };
        let written = self.common.io.run(None, write).await?;
        written.map_err(|e| self.failure("writing special uses", e))?;
        *special = Some(all);
        drop(special);
        self.cache.lock().listed = None;
        Ok(())
    }

    /// Removes a mailbox's index. It is derived data: failures are not told, the engine finds out.
    async fn forget_state(&self, name: &MailboxName) {
        let name = state_name(name.as_str());
        self.change_state(move |folder| folder.remove_tree(name.as_bytes())).await;
    }

    /// Gives a mailbox's index a second name: its files are linked.
    async fn link_state(&self, from: &MailboxName, to: &MailboxName) {
        let (from, to) = (state_name(from.as_str()), state_name(to.as_str()));
        self.change_state(move |folder| {
            folder.remove_tree(to.as_bytes())?;
            let from = folder.open_dir(from.as_bytes())?;
            let to = folder.make_dir(to.as_bytes())?;
            for entry in from.read_dir()?.iter().filter(|e| e.kind != EntryKind::Directory) {
                from.link_to(entry.name, &to, entry.name)?;
            }
            to.sync()
        })
        .await;
    }

    async fn change_state(&self, change: impl FnOnce(&Dir<'_>) -> io::Result<()> + Send + 'static) {
        let folder = self.state.join("mailboxes");
        let work = move |fs: &Fs| change(&fs.open_root(&folder)?);
        if let Ok(Err(e)) = self.common.io.run(None, work).await
            && !is_missing(&e)
        {
            tracing::warn!(account = %self.place.account, "a mailbox's index cannot be moved or removed: {e}");
        }
    }

    // ---- names -----------------------------------------------------------------------------------------------------

    /// Makes the directories of a mailbox unless they are there. Nothing else is touched.
    pub(crate) async fn make_path(&self, name: &MailboxName) -> Result<()> {
        self.names.can_be_created(name).map_err(Refusal::Cannot)?;
        let path = self.names.directory(name).map_err(Refusal::Cannot)?;
        let names = self.names;
        let root = self.place.root.clone();
        let made = self.job(move |fs| folders::create(&fs.make_root(&root)?, &path, names)).await?;
        match made {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map_err(|e| self.failure("making a mailbox", e)),
        }
    }

    /// Makes the directories of a mailbox.
    async fn create_directory(&self, name: &MailboxName) -> Result<()> {
        if name.is_inbox() {
            return Err(Refusal::AlreadyExists.into());
        }
        self.names.can_be_created(name).map_err(Refusal::Cannot)?;
        let path = self.names.directory(name).map_err(Refusal::Cannot)?;
        let names = self.names;
        let made = self.in_root(move |root| folders::create(root, &path, names)).await?;
        match made {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(Refusal::AlreadyExists.into()),
            other => other.map_err(|e| self.failure("making a mailbox", e))?,
        }
        self.forget_list();
        // What an earlier mailbox of this name left.
        self.forget_state(name).await;
        Ok(())
    }

    /// May a client give these uses?
    async fn check_special_uses(&self, uses: &[SpecialUse]) -> Result<()> {
        let all = self.special_uses().await;
        for use_ in uses {
            if matches!(use_, SpecialUse::All | SpecialUse::Flagged) {
                let text =
                    format!("{} is for views of several mailboxes, which are not kept here", use_.as_str());
                return Err(Refusal::Cannot(text).into());
            }
            if let Some(holder) = all.holder(*use_)
                && self.has_mailbox(holder).await?
            {
                return Err(Refusal::Cannot(format!("{} is {holder} already", use_.as_str())).into());
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Account for MaildirAccount {
    fn name(&self) -> &str {
        &self.place.account
    }

    async fn list(&self) -> Result<Arc<Vec<ListedMailbox>>> {
        let (tree, subscribed) = self.look().await?;
        let special = self.special_uses().await;
        let mut cache = self.cache.lock();
        if let Some(listed) = &cache.listed
            && Arc::ptr_eq(&tree, &cache.tree)
        {
            return Ok(listed.clone());
        }
        let line = |name: &MailboxName, node: Node, has_children: bool| ListedMailbox {
            name: name.clone(),
            selectable: node == Node::Mailbox,
            has_children,
            special_use: match node {
                Node::Mailbox => special.of(name, &self.common.special_uses),
                Node::Level => Vec::new(),
            },
            subscribed: subscribed.binary_search(name).is_ok(),
        };
        let parents: std::collections::HashSet<MailboxName> =
            tree.nodes.keys().filter_map(MailboxName::parent).collect();
        let mut all = Vec::with_capacity(tree.nodes.len() + 1);
        let inbox = MailboxName::inbox();
        all.push(line(&inbox, Node::Mailbox, parents.contains(&inbox)));
        all.extend(tree.nodes.iter().map(|(name, node)| line(name, *node, parents.contains(name))));
        let all = Arc::new(all);
        if Arc::ptr_eq(&tree, &cache.tree) {
            cache.listed = Some(all.clone());
        }
        Ok(all)
    }

    async fn subscriptions(&self) -> Result<Arc<Vec<MailboxName>>> {
        Ok(self.look().await?.1)
    }

    async fn set_subscribed(&self, name: &MailboxName, subscribed: Subscribed) -> Result<()> {
        let levels = match (self.names.stored(name), subscribed) {
            (Ok(levels), _) => levels,
            (Err(_), Subscribed::No) => return Ok(()),
            (Err(text), Subscribed::Yes) => return Err(Refusal::Cannot(text).into()),
        };
        if subscribed == Subscribed::Yes && !name.is_inbox() {
            self.names.can_be_created(name).map_err(Refusal::Cannot)?;
        }
        let (control, separator) = (self.control_root(), self.names.separator());
        let shared = self.common.settings.shared.clone();
        let change = move |fs: &Fs| {
            let dir = fs.make_root(&control)?;
            let holder: &Holder = &shared.locks;
            subscriptions::change(&dir, separator, holder, |list| match subscribed {
                Subscribed::Yes => list.add(&levels),
                Subscribed::No => list.remove(&levels),
            })
        };
        let changed = self.job(change).await?.map_err(|e| self.failure("writing subscriptions", e));
        let mut cache = self.cache.lock();
        cache.subscriptions_read = Timestamp::default();
        changed
    }

    async fn open(&self, name: &MailboxName) -> Result<Arc<dyn Mailbox>> {
        Ok(self.open_maildir(name).await?)
    }

    async fn open_target(&self, name: &MailboxName) -> Result<Arc<dyn Mailbox>> {
        Ok(self.open_looking(name, Force::Identity).await?)
    }

    async fn create(&self, name: &MailboxName, special_use: &[SpecialUse]) -> Result<MailboxId> {
        let _naming = self.naming.lock().await;
        self.check_special_uses(special_use).await?;
        self.create_directory(name).await?;
        // What a crash may have left of an earlier one.
        self.forget_state(name).await;
        let mailbox = self.open_maildir(name).await?;
        self.change_special_uses(|all| {
            if special_use.is_empty() {
                // What an earlier mailbox of this name was given.
                return all.forget(name);
            }
            all.set(name, special_use);
            true
        })
        .await?;
        Ok(mailbox.snapshot().mailbox_id)
    }

    async fn delete(&self, name: &MailboxName) -> Result<()> {
        if name.is_inbox() {
            return Err(Refusal::Cannot("INBOX cannot be deleted".into()).into());
        }
        let _naming = self.naming.lock().await;
        let path = self.names.directory(name).map_err(|_| Refusal::NonExistent)?;
        let slot = self.slot(name);
        let mut slot = slot.lock().await;
        let mailbox = slot.mailbox.clone();
        let held = match &mailbox {
            Some(mailbox) => Some(mailbox.hold().await),
            None => None,
        };
        let names = self.names;
        let at = path.clone();
        let deleted = self.in_root(move |root| folders::delete(root, &at, names)).await?;
        match deleted.map_err(|e| self.failure("deleting a mailbox", e))? {
            Deleted::Done => (),
            Deleted::OnlyLevel => return Err(Refusal::HasChildren.into()),
            Deleted::Nothing => return Err(Refusal::NonExistent.into()),
        }
        if let Some(held) = held {
            held.mark_gone();
        }
        slot.mailbox = None;
        if let Some(control) = self.place.control.clone() {
            let done = self.job(move |fs| folders::delete_control(&fs.open_root(&control)?, &path)).await?;
            if let Err(e) = done {
                tracing::warn!(account = %self.place.account, mailbox = %name, "control files cannot be removed: {e}");
            }
        }
        self.forget_state(name).await;
        self.forget_list();
        self.change_special_uses(|all| all.forget(name)).await
    }

    async fn rename(&self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        let _naming = self.naming.lock().await;
        self.names.can_be_created(to).map_err(Refusal::Cannot)?;
        if to.is_inbox() || from == to || self.has_mailbox(to).await? {
            return Err(Refusal::AlreadyExists.into());
        }
        if from.is_inbox() {
            return self.rename_inbox(to).await;
        }
        if to.is_below(from) {
            return Err(Refusal::Cannot("A mailbox cannot be moved below itself".into()).into());
        }
        self.rename_tree(from, to).await
    }

    async fn usage(&self, look: Look) -> Result<AccountUsage> {
        self.look_at_usage(look).await
    }

    fn announce_limits(&self, storage: Option<u64>, messages: Option<u64>) {
        self.ledger.lock().announce(crate::maildirsize::Limits { storage, messages });
    }

    async fn spool(&self, mailbox: &MailboxName) -> Result<Box<dyn Spool>> {
        let open = self.slots.lock().get(mailbox).cloned();
        let open = open.and_then(|slot| slot.try_lock().ok().and_then(|s| s.mailbox.clone()));
        let place = match open.filter(|m| !m.is_gone()) {
            Some(mailbox) => mailbox.place(),
            None if self.has_mailbox(mailbox).await? => Arc::new(self.mailbox_place(mailbox)?),
            None => return Err(Refusal::TryCreate.into()),
        };
        Ok(Box::new(MaildirSpool::new(place)))
    }

    async fn claim(&self) -> Result<Box<dyn Claim>> {
        let (io, shared) = (&self.common.io, &self.common.settings.shared);
        Ok(Box::new(MaildropClaim::new(&self.place, io, shared, self.only.clone()).await?))
    }
}

/// Nothing there, or nothing that we look at: a file, a symbolic link.
fn is_missing(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// A name as one path component of the state folder: letters, digits and `@._+-=` as they are, all else as `%` and hex;
/// long ones end in a hash.
fn state_name(name: &str) -> String {
    use sha1::{Digest, Sha1};
    let mut out = String::with_capacity(name.len());
    for (i, b) in name.bytes().enumerate() {
        let plain = b.is_ascii_alphanumeric() || b"@_+-=".contains(&b) || (b == b'.' && i > 0);
        if plain {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    if out.len() > 200 {
        out.truncate(150);
        out.push('%');
        out.push_str(&hex::encode(Sha1::digest(name.as_bytes())));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_names_are_one_component_each() {
        assert_eq!(state_name("anna@example.org"), "anna@example.org");
        assert_eq!(state_name("../a/b"), "%2E.%2Fa%2Fb");
        assert_eq!(state_name("%2E"), "%252E");
        let long = "ü".repeat(200);
        assert!(state_name(&long).len() < 255);
        assert_ne!(state_name(&long), state_name(&format!("{long}x")));
    }
}
