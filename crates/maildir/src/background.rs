//! What a mailbox does besides its verbs: work that may lag behind an answer, and changes of other programs.
//!
//! There are at most three tasks for a mailbox, each only while there is something for it: one that flushes
//! ([`MaildirMailbox::kick`]), one that applies events, one that watches for as long as a session listens. None of
//! them keeps a mailbox alive for longer than its work takes.

use crate::core::Core;
use crate::dotlock::Contention;
use crate::flush::{EmptiesNew, Flushed};
use crate::mailbox::{ADOPTION_WAIT, MaildirMailbox};
use crate::model::Op;
use crate::place::MailboxPlace;
use crate::sync::Force;
use crate::watch::{Applied, IDENTITY, LIMBO, Pending};
use culver_snapshot::Snapshot;
use culver_store::io::Fs;
use culver_store::{Failure, Refusal, Result};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Pause before what the disk did not let us do is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// How often in a row a file may be somewhere else than we thought.
const LOOKS: usize = 4;
/// Pause between looks at a mailbox that cannot be watched.
const POLL: Duration = Duration::from_secs(10);
/// So long the watches stay after the last session has left: installing them costs more than a SELECT.
const LINGER: Duration = Duration::from_secs(10);

impl MaildirMailbox {
    /// Writes what is due, and closes the journal in order. The mailbox stays usable; the next change opens it again.
    pub async fn close(&self) {
        let mut looks = 0;
        loop {
            match self.flush_once().await {
                Ok(Flushed::More) => (),
                Ok(Flushed::Look) if looks < LOOKS => looks += 1,
                _ => break,
            }
        }
        self.note_quiet().await;
        drop(self.checkpoint().await);
        self.tidy_cache().await;
        let recent = self.first_recent.load(Ordering::Relaxed);
        let shut = move |core: &mut Core, fs: &Fs| {
            if recent > core.model.first_recent {
                core.commit(vec![Op::Recent(recent)]);
            }
            core.shut(fs);
        };
        drop(self.job(shut).await);
    }

    /// A job of the service: the state folder is its own.
    pub(crate) async fn checkpoint(&self) -> Result<()> {
        let mut core = self.core.clone().lock_owned().await;
        if core.gone || !(core.state.is_behind() || core.state.wants_checkpoint()) {
            return Ok(());
        }
        let io = core.place.io.clone();
        io.run(None, move |fs| core.checkpoint_if_due(fs)).await?;
        Ok(())
    }

    /// Opens the cache if nobody has. A job of the service.
    pub(crate) async fn open_cache(&self, place: &Arc<MailboxPlace>, snapshot: &Arc<Snapshot>) {
        if !self.cache.is_closed() || self.is_gone() {
            return;
        }
        let (cache, at, snapshot) = (self.cache.clone(), place.clone(), snapshot.clone());
        drop(place.io.run(None, move |fs| cache.open(fs, &at, &snapshot)).await);
    }

    /// A job of the service that nobody waits for.
    pub(crate) async fn tidy_cache(&self) {
        let (place, snapshot) = (self.place(), self.tell.borrow().clone());
        if self.is_gone() || !self.cache.wants_tidying(&snapshot) {
            return;
        }
        let (cache, at) = (self.cache.clone(), place.clone());
        drop(place.io.run_low(None, move |fs| cache.tidy(fs, &at, &snapshot)).await);
    }

    fn empties_new(&self) -> EmptiesNew {
        if self.selected.load(Ordering::Relaxed) && self.tell.receiver_count() > 0 {
            EmptiesNew::Yes
        } else {
            EmptiesNew::No
        }
    }

    pub(crate) async fn flush_once(&self) -> Result<Flushed> {
        let empties = self.empties_new();
        let recent = self.first_recent.load(Ordering::Relaxed);
        let flushed = self
            .job(move |core, fs| {
                if recent > core.model.first_recent && !core.model.closed {
                    core.commit(vec![Op::Recent(recent)]);
                }
                if !core.flush_is_due(empties) {
                    return Ok(Flushed::All);
                }
                core.flush(fs, empties, &mut Contention::default())
            })
            .await??;
        if self.core.lock().await.doubt {
            self.look(Force::No).await?;
        }
        Ok(flushed)
    }

    /// Sees to it that what is due is done soon.
    pub(crate) async fn kick(&self) {
        let empties = self.empties_new();
        let due = {
            let core = self.core.lock().await;
            core.flush_is_due(empties)
                || core.doubt
                || core.state.wants_checkpoint()
                || core.state.wants_mending()
        };
        if !due || self.flushing.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(me) = self.me.upgrade() else { return };
        let delay = self.place().settings.flag_delay;
        self.runtime.spawn(async move {
            tokio::time::sleep(delay).await;
            me.flushing.store(false, Ordering::Release);
            me.work_off().await;
        });
    }

    async fn work_off(self: Arc<Self>) {
        let mut looks = 0;
        loop {
            match self.flush_once().await {
                Ok(Flushed::More) => (),
                Ok(Flushed::All) => break,
                Ok(Flushed::Look) if looks < LOOKS => looks += 1,
                Ok(Flushed::Soon) => tokio::time::sleep(self.place().settings.flag_delay).await,
                Ok(Flushed::Later | Flushed::Look) => {
                    // One waiting task for each mailbox is enough.
                    if self.flushing.swap(true, Ordering::AcqRel) {
                        return;
                    }
                    let me = Arc::downgrade(&self);
                    self.runtime.spawn(async move {
                        tokio::time::sleep(RETRY).await;
                        if let Some(me) = me.upgrade() {
                            me.flushing.store(false, Ordering::Release);
                            me.kick_later();
                        }
                    });
                    return;
                }
                Err(Failure::Refused(Refusal::MailboxGone)) => return,
                Err(error) => {
                    tracing::warn!(%error, "work that was put off could not be done");
                    return;
                }
            }
        }
        drop(self.checkpoint().await);
    }

    pub(crate) fn kick_later(self: Arc<Self>) {
        self.runtime.clone().spawn(async move { self.kick().await });
    }
}

/// Changes of other programs.
impl MaildirMailbox {
    /// Are changes of other programs heard of by events?
    pub fn is_watched(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    /// How often directories were listed since it was opened: what events are to spare.
    pub async fn listings(&self) -> u64 {
        self.core.lock().await.listings
    }

    /// How often the disk was looked at since it was opened.
    pub async fn looks(&self) -> u64 {
        self.core.lock().await.looks
    }

    /// For the watcher: where its events go.
    pub fn pending(&self) -> &Mutex<Pending> {
        &self.pending
    }

    /// For the watcher: there is something to apply.
    pub fn apply_soon(self: Arc<Self>) {
        if !self.applying.swap(true, Ordering::AcqRel) {
            self.runtime.clone().spawn(async move {
                self.applying.store(false, Ordering::Release);
                if let Err(error) = self.apply_events().await
                    && !matches!(error, Failure::Refused(Refusal::MailboxGone))
                {
                    tracing::warn!(%error, "changes of other programs could not be looked at");
                }
            });
        }
    }

    /// Applies what waits; when it returns, so is everything that another task had taken before.
    pub(crate) async fn apply_events(&self) -> Result<()> {
        let _turn = self.application.lock().await;
        if self.pending.lock().is_empty() && !self.core.lock().await.needs_care() {
            return Ok(());
        }
        let mut scans = 0;
        loop {
            let me = self.me.clone();
            let apply = move |core: &mut Core, fs: &Fs| {
                let Some(me) = me.upgrade() else { return Ok((Applied::default(), false)) };
                // The other half of a rename, if it is there by now.
                me.pump();
                let pending = std::mem::take(&mut *me.pending.lock());
                core.doubt |= pending.doubt;
                let applied = if core.doubt || core.unfinished {
                    core.look(fs, Force::No).map(|unknown| Applied { unknown, limbo: false })
                } else {
                    core.apply_events(fs, pending.events)
                };
                // The events are gone; what they told is still to be learnt.
                core.doubt |= applied.is_err();
                Ok::<_, Failure>((applied?, pending.doubt))
            };
            let (applied, lost) = self.job(apply).await??;
            if lost {
                // A directory may be another one now.
                self.rewatch().await;
            }
            if !applied.unknown.is_empty() {
                let unknown = applied.unknown;
                match self.attempt(ADOPTION_WAIT, move |core, fs, c| core.adopt(fs, &unknown, c)).await {
                    Ok(()) => (),
                    // No event will come for them again.
                    Err(failure) => {
                        self.core.lock().await.doubt = true;
                        if matches!(failure, Failure::Refused(Refusal::InUse(_))) {
                            break;
                        }
                        return Err(failure);
                    }
                }
            }
            if applied.limbo {
                tokio::time::sleep(LIMBO).await;
            } else if scans < LOOKS && self.core.lock().await.doubt {
                scans += 1;
            } else {
                break;
            }
        }
        self.kick().await;
        Ok(())
    }

    /// Starts the task that watches for as long as somebody listens.
    pub(crate) fn watch_outside(&self) {
        if self.watching.swap(true, Ordering::AcqRel) {
            return;
        }
        let me = self.me.clone();
        self.runtime.spawn(async move {
            loop {
                let Some(this) = me.upgrade() else { return };
                let installed = this.install_watches().await;
                if this.is_gone() {
                    this.remove_watches().await;
                    return;
                }
                let tell = this.tell.clone();
                drop(this);
                if installed {
                    // Webmail comes back with the next click.
                    tell.closed().await;
                    while {
                        tokio::time::sleep(LINGER).await;
                        tell.receiver_count() > 0
                    } {
                        tell.closed().await;
                    }
                } else {
                    // Without events we have to look from time to time.
                    tokio::select! { () = tell.closed() => (), () = tokio::time::sleep(POLL) => () }
                }
                let Some(this) = me.upgrade() else { return };
                if this.tell.receiver_count() > 0 {
                    continue;
                }
                this.watching.store(false, Ordering::Release);
                this.selected.store(false, Ordering::Relaxed);
                // Somebody may have come in between; then the watches stay, or another task takes them over.
                if this.tell.receiver_count() == 0 {
                    this.remove_watches().await;
                }
                if this.tell.receiver_count() == 0 || this.watching.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
        });
    }

    /// Adds the watches if they are not there, and looks once. `false`: it cannot be done.
    async fn install_watches(&self) -> bool {
        if self.watches.lock().is_none() {
            let me = self.me.clone();
            let Ok(preparation) = self.place().watcher.prepare() else { return false };
            let added = self
                .job(move |core, fs| {
                    let dirs = core.dirs(fs)?;
                    let added = preparation.add(&dirs, &me);
                    core.watched = added.is_ok();
                    added.map_err(|e| {
                        core.failure("watching the mailbox (fs.inotify.max_user_watches may be too low)", e)
                    })
                })
                .await;
            match added.and_then(|a| a) {
                Ok(watches) => *self.watches.lock() = Some(watches),
                Err(error) => {
                    tracing::warn!(%error, "changes of other programs are looked for every {} s", POLL.as_secs())
                }
            }
        }
        drop(self.look(Force::No).await);
        self.kick().await;
        let installed = self.watches.lock().is_some();
        self.listening.store(installed, Ordering::Release);
        installed
    }

    async fn rewatch(&self) {
        let Some(old) = *self.watches.lock() else { return };
        let Ok(preparation) = self.place().watcher.prepare() else { return };
        let me = self.me.clone();
        let added = self.job(move |core, fs| preparation.add(&core.dirs(fs).ok()?, &me).ok()).await;
        if let Ok(Some(new)) = added
            && new != old
        {
            *self.watches.lock() = Some(new);
            self.place().watcher.forget(old.without(new), &self.me);
            drop(self.look_in_turn(Force::Scan).await);
        }
    }

    async fn remove_watches(&self) {
        self.note_quiet().await;
        self.listening.store(false, Ordering::Release);
        self.core.lock().await.watched = false;
        if let Some(watches) = self.watches.lock().take() {
            self.place().watcher.forget(watches, &self.me);
        }
    }

    async fn note_quiet(&self) {
        // Not while files that somebody has found wait for their UIDs: no event tells of them again.
        let _turn = self.application.lock().await;
        let Ok(Some((new, cur))) = self.job(|core, fs| core.quiet_stamps(fs)).await else { return };
        if self.pump() && self.pending.lock().is_empty() {
            self.core.lock().await.note_quiet(new, cur);
        }
    }

    /// Reads events. Those of other mailboxes are applied by tasks, ours wait in `pending`. `false`: there may be more.
    pub(crate) fn pump(&self) -> bool {
        let pumped = self.place().watcher.pump();
        for mailbox in pumped.mailboxes {
            if !mailbox.me.ptr_eq(&self.me) {
                mailbox.apply_soon();
            }
        }
        pumped.drained
    }

    /// For the watcher: `dovecot-uidlist` is another file than it was.
    pub fn list_replaced(&self) {
        self.identity.lock().replaced += 1;
    }

    /// Is it still the mailbox that it was at the last look? Asked after events were read. See the head of `watch.rs`.
    pub(crate) fn is_surely_itself(&self) -> bool {
        let nested = self.place.lock().dir.components().count() > 1;
        let identity = self.identity.lock();
        !nested
            && identity
                .seen
                .is_some_and(|(at, replaced)| replaced == identity.replaced && at.elapsed() < IDENTITY)
    }
}

impl Drop for MaildirMailbox {
    fn drop(&mut self) {
        if let Some(watches) = self.watches.get_mut().take() {
            self.place.get_mut().watcher.forget(watches, &self.me);
        }
    }
}
