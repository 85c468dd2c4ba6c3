//! [`MaildirMailbox`]: the verbs, from the async side.
//!
//! Each verb takes the writer's side ([`Core`]), works on it in one job of the pool, and is done. What may lag behind the
//! answer is left to [`MaildirMailbox::kick`], which starts one task for the mailbox if none is under way.

use crate::append::{Ready, Request};
use crate::cache::Cache;
use crate::columns::KeptColumns;
use crate::core::Core;
use crate::dotlock::Contention;
use crate::flush::{EmptiesNew, Flushed};
use crate::list::Reserves;
use crate::model::{Names, Op};
use crate::open::Begin;
use crate::place::{FlagWrites, MailboxPlace};
use crate::spool::{Spun, Staged};
use crate::state::State;
use crate::sync::{Attempt, Force};
use crate::transfer;
use crate::visit::Batch;
use crate::watch::{Pending, Watches};
use async_trait::async_trait;
use culver_base::{InternalDate, Keyword, SystemFlags, Uid, UidSet, UidlFormat};
use culver_snapshot::{Presence, Snapshot};
use culver_store::io::Fs;
use culver_store::{
    Appended, ColumnTable, Failure, Mailbox, Maildrop, NewMessage, Reclaimable, Refusal, Result, Sizes,
    Spooled, StoreFlags, Stored, Transfer, Transferred, UniqueIds, Usage, Visit, Visited,
};
use parking_lot::{Mutex, RwLock};
use std::any::Any;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedMutexGuard, oneshot, watch};

/// How long new messages of another program may wait for its lock before what is known is served.
pub(crate) const ADOPTION_WAIT: Duration = Duration::from_millis(500);

/// A mailbox on Maildir. See the head of the file.
pub struct MaildirMailbox {
    pub(crate) me: Weak<Self>,
    /// Where its tasks run.
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) core: Arc<tokio::sync::Mutex<Core>>,
    pub(crate) names: Arc<RwLock<Names>>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) columns: KeptColumns,
    /// What `dovecot-uidlist` says for POP3, as last read.
    pub(crate) uidl: Mutex<crate::uidl::Fields>,
    pub(crate) place: Mutex<Arc<MailboxPlace>>,
    pub(crate) tell: watch::Sender<Arc<Snapshot>>,
    pub(crate) first_recent: AtomicU32,
    /// A session has it selected for writing.
    pub(crate) selected: AtomicBool,
    /// A background task is under way.
    pub(crate) flushing: AtomicBool,
    pub(crate) appends: Mutex<Vec<(Request, oneshot::Sender<Result<Appended>>)>>,
    /// Events that wait to be applied.
    pub(crate) pending: Mutex<Pending>,
    /// Held while they are applied.
    pub(crate) application: tokio::sync::Mutex<()>,
    /// A task that applies them is about to run.
    pub(crate) applying: AtomicBool,
    /// A task that watches is under way.
    pub(crate) watching: AtomicBool,
    /// Watches are there, and a look was had since.
    pub(crate) listening: AtomicBool,
    /// When it was last seen to be the mailbox that it was.
    pub(crate) identity: Mutex<Identity>,
    /// Its watches, once they are there.
    pub(crate) watches: Mutex<Option<Watches>>,
}

/// Is it still the same mailbox?
#[derive(Default)]
pub(crate) struct Identity {
    /// How often `dovecot-uidlist` was replaced, as far as was heard.
    pub(crate) replaced: u64,
    /// When the last look began, and what `replaced` was then.
    pub(crate) seen: Option<(Instant, u64)>,
}

impl MaildirMailbox {
    /// Opens a mailbox that exists, and looks at what is there.
    pub async fn open(place: MailboxPlace) -> Result<Arc<Self>> {
        let place = Arc::new(place);
        // Nobody hears of new UIDs before the index is written, which keeps them. If it was not, they are taken back.
        let mut opened = Self::open_with(place.clone(), Reserves::No).await?;
        if !opened.core.lock().await.keeps_uids() {
            opened = Self::open_with(place, Reserves::Yes).await?;
        }
        opened.core.lock().await.reserves = Reserves::Yes;
        opened.kick().await;
        Ok(opened)
    }

    async fn open_with(place: Arc<MailboxPlace>, reserves: Reserves) -> Result<Arc<Self>> {
        let (folder, label) = (place.state.clone(), place.label());
        let loaded = place.io.run(None, move |fs: &Fs| State::load(fs, &folder, &label)).await?;
        let (state, loaded) = loaded.map_err(|e| place.failure("reading the index", e))?;
        let mut begin = Begin { state, loaded };
        let mut contention = Contention::default();
        let mut attempts = Attempts::new(place.settings.lock_wait);
        let core = loop {
            let at = place.clone();
            let mut contended = contention.clone();
            let job = move |fs: &Fs| (begin.run(fs, &at, reserves, &mut contended), contended);
            let (begun, contended) = place.io.run(place.owner, job).await?;
            contention = contended;
            match begun? {
                Ok(core) => break core,
                Err(again) => begin = again,
            }
            attempts.pause(&place, &contention).await?;
        };
        let this = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            runtime: tokio::runtime::Handle::current(),
            names: core.model.names.clone(),
            cache: core.cache.clone(),
            columns: KeptColumns::default(),
            uidl: Mutex::default(),
            tell: core.tell.clone(),
            first_recent: AtomicU32::new(core.model.first_recent),
            place: Mutex::new(place),
            core: Arc::new(tokio::sync::Mutex::new(core)),
            selected: AtomicBool::new(false),
            flushing: AtomicBool::new(false),
            appends: Mutex::default(),
            pending: Mutex::default(),
            application: tokio::sync::Mutex::default(),
            applying: AtomicBool::new(false),
            watching: AtomicBool::new(false),
            listening: AtomicBool::new(false),
            identity: Mutex::default(),
            watches: Mutex::new(None),
        });
        this.look(Force::No).await?;
        this.checkpoint().await?;
        this.attempt(this.place().settings.lock_wait, Core::keep_validity).await?;
        Ok(this)
    }

    /// It was deleted by ourselves: sessions are told, verbs are refused from now on.
    pub async fn mark_gone(&self) {
        self.core.lock().await.leave();
    }

    /// Keeps the writer's side while the account deletes or renames directories: no verb finds them missing meanwhile.
    pub async fn hold(&self) -> Held<'_> {
        Held { mailbox: self, core: self.core.clone().lock_owned().await }
    }

    /// Where it is now.
    pub fn place(&self) -> Arc<MailboxPlace> {
        self.place.lock().clone()
    }

    /// Is it gone?
    pub fn is_gone(&self) -> bool {
        self.tell.borrow().presence == Presence::Gone
    }

    /// Runs `work` on the writer's side, in a job.
    pub(crate) async fn job<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Core, &Fs) -> T + Send + 'static,
    {
        let core = self.core.clone().lock_owned().await;
        Self::job_on(core, work).await
    }

    pub(crate) async fn job_on<T, F>(mut core: OwnedMutexGuard<Core>, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Core, &Fs) -> T + Send + 'static,
    {
        let place = core.place.clone();
        let done = place.io.run(place.owner, move |fs| work(&mut core, fs)).await;
        done.map_err(|e| place.failure("running a job", e.into()))
    }

    /// Attempts something that needs the uidlist's lock until it is done or `wait` is over. The writer's side is free
    /// between attempts.
    pub(crate) async fn attempt<T, F>(&self, wait: Duration, mut work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Core, &Fs, &mut Contention) -> Result<Attempt<T>> + Send + 'static,
    {
        let mut contention = Contention::default();
        let mut attempts = Attempts::new(wait);
        loop {
            let job = move |core: &mut Core, fs: &Fs| {
                let done = work(core, fs, &mut contention);
                (done, work, contention)
            };
            let done;
            (done, work, contention) = self.job(job).await?;
            if let Attempt::Done(value) = done? {
                return Ok(value);
            }
            attempts.pause(&self.place(), &contention).await?;
        }
    }

    /// Looks at the disk, gives UIDs to what is new.
    pub(crate) async fn look(&self, force: Force) -> Result<()> {
        let _turn = self.application.lock().await;
        self.look_in_turn(force).await
    }

    /// As [`Self::look`], for who holds `application`: an event that a file is gone, applied between look and adoption,
    /// would be of a file that nobody knows yet.
    pub(crate) async fn look_in_turn(&self, force: Force) -> Result<()> {
        let began = (Instant::now(), self.identity.lock().replaced);
        let looked = move |core: &mut Core, fs: &Fs| {
            let looked = core.look(fs, force);
            // Events that come from now on do not tell what was there before.
            core.doubt |= looked.is_err();
            let unknown = looked?;
            if unknown.is_empty() && force != Force::Identity {
                core.settle_floor();
                core.import(fs);
            }
            Ok::<_, Failure>(unknown)
        };
        let unknown = self.job(looked).await??;
        self.identity.lock().seen = Some(began);
        if unknown.is_empty() {
            return Ok(());
        }
        let adopt = move |core: &mut Core, fs: &Fs, c: &mut Contention| {
            let adopted = core.adopt(fs, &unknown, c)?;
            if matches!(adopted, Attempt::Done(())) {
                core.import(fs);
            }
            Ok(adopted)
        };
        match self.attempt(ADOPTION_WAIT, adopt).await {
            Ok(()) => Ok(()),
            // They come with the next look.
            Err(failure) => {
                self.core.lock().await.doubt = true;
                if matches!(failure, Failure::Refused(Refusal::InUse(_))) { Ok(()) } else { Err(failure) }
            }
        }
    }

    /// With the date that it was given after it was written.
    async fn dated(&self, staged: Staged, date: Option<InternalDate>) -> Result<Staged> {
        let Some(date) = date else { return Ok(staged) };
        let place = self.place();
        let dated = place.io.run(place.owner, move |_| staged.date_later(date).map(|()| staged)).await?;
        dated.map_err(|e| place.failure("writing a message to tmp", e))
    }

    /// Brings the bytes of new messages to `tmp`.
    async fn stage(&self, messages: Vec<NewMessage>) -> Result<Request> {
        let place = self.place();
        let mut ready = Vec::with_capacity(messages.len());
        for message in messages {
            let staged = match message.body {
                Spooled::Memory(octets) => {
                    let at = place.clone();
                    let date = message.internal_date;
                    let written = move |fs: &Fs| Staged::write(fs, &at, &octets, date);
                    let staged = place.io.run(place.owner, written).await?;
                    staged.map_err(|e| place.failure("writing a message to tmp", e))?
                }
                Spooled::Shared(shared) => {
                    let at = place.clone();
                    let staged =
                        place.io.run(place.owner, move |fs| crate::shared::stage(fs, &at, &shared)).await?;
                    let staged = staged.map_err(|e| place.failure("writing a message to tmp", e))?;
                    self.dated(staged, message.internal_date).await?
                }
                Spooled::Engine { file, .. } => {
                    let Ok(spun) = file.downcast::<Spun>() else {
                        return Err(Refusal::Cannot(
                            "The message was spooled for another kind of storage".into(),
                        )
                        .into());
                    };
                    let (at, date) = (place.clone(), message.internal_date);
                    let staged = place.io.run(place.owner, move |fs| spun.settle(fs, &at, date)).await?;
                    staged.map_err(|e| place.failure("writing a message to tmp", e))?
                }
            };
            ready.push(Ready { staged, flags: message.flags, date: message.internal_date });
        }
        Ok(ready)
    }
}

/// A mailbox of which only the account can change anything now. Dropping it lets the verbs go on.
pub struct Held<'a> {
    mailbox: &'a MaildirMailbox,
    core: OwnedMutexGuard<Core>,
}

impl Held<'_> {
    /// The mailbox is deleted: sessions are told, verbs are refused from now on.
    pub fn mark_gone(mut self) {
        self.core.leave();
    }

    /// Its directories have other names now.
    pub fn renamed(mut self, place: MailboxPlace) {
        let place = Arc::new(place);
        self.core.state.moved_to(place.state.clone());
        self.core.place = place.clone();
        *self.mailbox.place.lock() = place;
    }
}

/// Attempts with growing pauses until time is over.
struct Attempts {
    end: Instant,
    count: u32,
}

impl Attempts {
    fn new(wait: Duration) -> Self {
        Self { end: Instant::now() + wait, count: 0 }
    }
    async fn pause(&mut self, place: &MailboxPlace, contention: &Contention) -> Result<()> {
        let now = Instant::now();
        if now >= self.end {
            let text = "Another program holds the lock of the mailbox; try again later";
            return Err(Refusal::InUse(text.into()).into());
        }
        let pause = contention.pause(&place.settings.locks, self.count).max(Duration::from_millis(1));
        self.count += 1;
        tokio::time::sleep(pause.min(self.end - now)).await;
        Ok(())
    }
}

#[async_trait]
impl Mailbox for MaildirMailbox {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.tell.borrow().clone()
    }

    fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        let receiver = self.tell.subscribe();
        self.watch_outside();
        receiver
    }

    async fn refresh(&self) -> Result<()> {
        let mut heard = false;
        if self.is_watched() {
            // While nobody listens, more is asked of watches before they are trusted.
            heard = self.pump() && (self.tell.receiver_count() > 0 || self.is_surely_itself());
            if heard {
                self.apply_events().await?;
                // If the watches were taken away meanwhile, events may have gone with them.
                heard = self.is_watched();
            }
        }
        if !heard {
            self.look(Force::No).await?;
        }
        self.kick().await;
        Ok(())
    }

    fn claim_recent(&self) -> Uid {
        let before = self.selected.swap(true, Ordering::Relaxed);
        let next = self.tell.borrow().uid_next.get();
        let first = self.first_recent.fetch_max(next, Ordering::Relaxed);
        // Something is to be written down, or `new` may now be emptied.
        if (first < next || !before)
            && let Some(me) = self.me.upgrade()
        {
            me.kick_later();
        }
        Uid::new(first).unwrap_or(Uid::MIN)
    }

    fn first_recent(&self) -> Uid {
        Uid::new(self.first_recent.load(Ordering::Relaxed)).unwrap_or(Uid::MIN)
    }

    async fn append(&self, messages: Vec<NewMessage>) -> Result<Appended> {
        if messages.is_empty() {
            return Ok(Appended { uid_validity: self.snapshot().uid_validity, uids: Vec::new() });
        }
        let request = self.stage(messages).await?;
        self.open_cache(&self.place(), &self.snapshot()).await;
        let (tell, mut told) = oneshot::channel();
        self.appends.lock().push((request, tell));
        // Whoever gets the writer's side takes along everything that waits.
        let mut contention = Contention::default();
        let mut attempts = Attempts::new(self.place().settings.lock_wait);
        loop {
            let core = self.core.clone().lock_owned().await;
            if let Ok(answer) = told.try_recv() {
                return answer;
            }
            let (mut requests, mut tells) = (Vec::new(), Vec::new());
            for (request, tell) in std::mem::take(&mut *self.appends.lock()) {
                requests.push(request);
                tells.push(tell);
            }
            let job = move |core: &mut Core, fs: &Fs| {
                let done = core.append(fs, &mut requests, &mut contention);
                match done {
                    Ok(Attempt::Done(answers)) => {
                        for (tell, answer) in tells.drain(..).zip(answers) {
                            drop(tell.send(answer));
                        }
                    }
                    Ok(Attempt::Busy) => (),
                    Err(failure) => {
                        requests.clear();
                        for tell in tells.drain(..) {
                            drop(tell.send(Err(failure.clone())));
                        }
                    }
                }
                (requests, tells, contention)
            };
            let (requests, tells, contended) = Self::job_on(core, job).await?;
            contention = contended;
            if tells.is_empty() {
                let lost = || Failure::from(Refusal::InUse("The server is stopping".into()));
                let answer = told.await.unwrap_or_else(|_| Err(lost()));
                self.kick().await;
                return answer;
            }
            // Another program holds the lock: back into the queue.
            self.appends.lock().extend(requests.into_iter().zip(tells));
            if let Err(refused) = attempts.pause(&self.place(), &contention).await {
                // Ours is taken out; others have their own patience.
                drop(told);
                self.appends.lock().retain(|(_, tell)| !tell.is_closed());
                return Err(refused);
            }
        }
    }

    async fn set_flags(&self, uids: &UidSet, change: StoreFlags) -> Result<Stored> {
        let uids = uids.clone();
        let sync = self.place().settings.flag_writes == FlagWrites::Sync;
        let stored = self
            .job(move |core, fs| {
                let stored = core.set_flags(&uids, &change)?;
                if sync {
                    while core.flush(fs, EmptiesNew::No, &mut Contention::default())? == Flushed::More {}
                } else if core.state.is_behind() && core.flush_is_due(EmptiesNew::No) {
                    core.names_tell(fs, &stored.changed)?;
                }
                Ok::<_, Failure>(stored)
            })
            .await??;
        self.kick().await;
        Ok(stored)
    }

    async fn expunge(&self, uids: &UidSet) -> Result<UidSet> {
        let uids = uids.clone();
        let gone = self.job(move |core, fs| core.expunge(fs, &uids)).await??;
        self.kick().await;
        Ok(gone)
    }

    async fn remove(&self, uids: &UidSet) -> Result<UidSet> {
        let uids = uids.clone();
        let gone = self.job(move |core, fs| core.remove(fs, &uids)).await??;
        self.kick().await;
        Ok(gone)
    }

    async fn transfer(&self, uids: &UidSet, target: &Arc<dyn Mailbox>, how: Transfer) -> Result<Transferred> {
        let Some(to) = target.as_any().downcast_ref::<Self>() else {
            return Err(
                Refusal::Cannot("The target mailbox is kept in another kind of storage".into()).into()
            );
        };
        let mut contention = Contention::default();
        let mut attempts = Attempts::new(self.place().settings.lock_wait);
        let same = Arc::ptr_eq(&self.core, &to.core);
        if !self.cache.is_closed() {
            to.open_cache(&to.place(), &to.snapshot()).await;
        }
        loop {
            // Always in the same order, so that two transfers never wait for each other.
            let (a, b) = (self.core.clone(), to.core.clone());
            let (mut source, mut target) = if same {
                (None, b.lock_owned().await)
            } else if self.snapshot().mailbox_id <= to.snapshot().mailbox_id {
                let source = a.lock_owned().await;
                (Some(source), b.lock_owned().await)
            } else {
                let target = b.lock_owned().await;
                (Some(a.lock_owned().await), target)
            };
            let place = target.place.clone();
            let uids = uids.clone();
            let known = self.cache.clone();
            let job = move |fs: &Fs| {
                let done =
                    transfer::transfer(fs, source.as_deref_mut(), &mut target, &uids, how, &mut contention);
                if let Ok(Attempt::Done(t)) = &done {
                    let pairs: Vec<_> = t.source.iter().copied().zip(t.target.iter().copied()).collect();
                    target.cache.take_over(&known, &pairs, &target.place);
                }
                (done, contention)
            };
            let (done, contended) = place.io.run(place.owner, job).await?;
            contention = contended;
            if let Attempt::Done(transferred) = done? {
                self.kick().await;
                if !same {
                    to.kick().await;
                }
                return Ok(transferred);
            }
            attempts.pause(&place, &contention).await?;
        }
    }

    async fn visit(&self, uids: Vec<Uid>, mut visit: Visit) -> Visited {
        let (place, snapshot) = (self.place(), self.snapshot());
        self.open_cache(&place, &snapshot).await;
        let batch = Batch { place, names: self.names.clone(), snapshot, cache: self.cache.clone() };
        let (io, owner) = (batch.place.io.clone(), batch.place.owner);
        let begun = Arc::new(AtomicUsize::new(0));
        let counter = begun.clone();
        let counted: Visit = Box::new(move |message| {
            counter.fetch_add(1, Ordering::Relaxed);
            visit(message)
        });
        let outcome = io.run(owner, move |fs| {
            let mut counted = counted;
            batch.run(fs, &uids, &mut counted)
        });
        match outcome.await {
            Ok(outcome) => {
                if !outcome.sizes.is_empty() || outcome.doubt {
                    let mut core = self.core.lock().await;
                    core.doubt |= outcome.doubt;
                    core.commit(outcome.sizes.into_iter().map(|(u, s)| Op::Size(u, s)).collect());
                    drop(core);
                    self.kick().await;
                }
                Visited { count: outcome.count }
            }
            // The visitor panicked: its message counts as visited, so that no caller comes back to it for ever.
            Err(error) => {
                tracing::error!(place = %self.place().label(), %error, "a visit ended early");
                Visited { count: begun.load(Ordering::Relaxed).max(1) }
            }
        }
    }

    async fn columns(&self, uids: &UidSet) -> Arc<ColumnTable> {
        self.column_table(uids).await
    }

    async fn maildrop(&self, sizes: Sizes, hidden: Option<&Keyword>) -> Result<Maildrop> {
        self.list_maildrop(sizes, hidden).await
    }

    fn unique_ids(&self, maildrop: &Maildrop, positions: Range<usize>, format: &UidlFormat) -> UniqueIds {
        self.ids_of(maildrop, positions, format)
    }

    async fn keep_unique_ids(&self, ids: Vec<(Uid, Box<[u8]>)>) -> Result<()> {
        self.store_ids(ids).await
    }

    fn usage(&self) -> Reclaimable {
        let snapshot = self.snapshot();
        let names = self.names.read();
        let deleted = snapshot.iter().filter(|r| r.flags.system.contains(SystemFlags::DELETED));
        let deleted = deleted.map(|r| Usage { storage: names.octets(r.uid).unwrap_or(0), messages: 1 });
        Reclaimable {
            deleted: if snapshot.counts().deleted == 0 { Usage::default() } else { deleted.sum() },
            all: names.usage(),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
