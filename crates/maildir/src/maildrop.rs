//! A mailbox as POP3 lists it: what `store::maildrop` asks for.
//!
//! Numbers, sizes and identifiers come from the index, the table of file names and `dovecot-uidlist`; no message is opened
//! unless nobody has counted its size yet. What is counted is kept.
//!
//! The session's claim is Dovecot's `dovecot-pop3-session.lock`, so that a Dovecot on the same mail knows it. Where it
//! cannot be written (full disk, quota) the claim holds within this process only, and the session goes on.

use crate::core::Core;
use crate::dotlock::{self, Contention, Dotlock, Kept};
use crate::filename;
use crate::mailbox::MaildirMailbox;
use crate::model::base_of;
use crate::place::{Dirs, MaildirSettings};
use crate::sync::Attempt;
use crate::uidl::Fields;
use async_trait::async_trait;
use culver_base::{Keyword, Uid, UidlFormat};
use culver_snapshot::{KeywordBits, Snapshot};
use culver_store::io::{Fs, Io};
use culver_store::{
    Claim, Failure, Mailbox, Maildrop, Origin, Owner, Place, Refusal, Result, Sizes, UniqueIds,
};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OwnedSemaphorePermit;

/// The wait for another program's lock before identifiers are stored another time.
const KEEP_WAIT: Duration = Duration::from_secs(2);
/// Rounds of counting: messages may arrive meanwhile.
const ROUNDS: usize = 3;

impl MaildirMailbox {
    pub(crate) async fn list_maildrop(&self, sizes: Sizes, hidden: Option<&Keyword>) -> Result<Maildrop> {
        let fields = self.uidl_fields().await?;
        let (snapshot, guessed) = self.sized(sizes).await;
        let hidden = hidden.and_then(|k| snapshot.keywords.find(k)).unwrap_or(KeywordBits(0)).0;
        let hides = hidden != 0 && snapshot.iter().any(|r| r.flags.keywords.0 & hidden != 0);
        let mut order: Option<Vec<u32>> = None;
        if hides || !fields.order.is_empty() {
            let shown = (0_u32..).zip(snapshot.iter()).filter(|(_, r)| r.flags.keywords.0 & hidden == 0);
            let mut all: Vec<(bool, u64, u32)> = shown
                .map(|(i, r)| {
                    let number = fields.order.get(&r.uid);
                    (number.is_none(), number.copied().unwrap_or(0), i)
                })
                .collect();
            all.sort_unstable();
            order = Some(all.into_iter().map(|(_, _, i)| i).collect());
        }
        Ok(Maildrop::new(snapshot, order, fields.stored, guessed))
    }

    async fn uidl_fields(&self) -> Result<Fields> {
        let place = self.place();
        let mut fields = self.uidl.lock().clone();
        let at = place.clone();
        let job =
            move |fs: &Fs| Dirs::open_control(fs, &at).and_then(|dir| fields.refresh(&dir)).map(|()| fields);
        let read = place.io.run(place.owner, job).await?;
        let fields = read.map_err(|e| place.failure("reading dovecot-uidlist", e))?;
        *self.uidl.lock() = fields.clone();
        Ok(fields)
    }

    /// A snapshot all of whose messages have a size, or one beside it.
    async fn sized(&self, sizes: Sizes) -> (Arc<Snapshot>, HashMap<Uid, u64>) {
        let mut guessed = HashMap::new();
        for _ in 0..ROUNDS {
            let snapshot = self.tell.borrow().clone();
            if snapshot.counts().unsized_messages == 0 {
                return (snapshot, HashMap::new());
            }
            let lacking = snapshot.iter().filter(|r| r.size.is_none()).map(|r| r.uid);
            let mut lacking: Vec<Uid> = lacking.filter(|u| !guessed.contains_key(u)).collect();
            if sizes == Sizes::AtHand {
                let names = self.names.read();
                lacking.retain(|uid| {
                    let told = names.get(*uid).and_then(|e| filename::sizes(&e.name).stored);
                    told.is_none_or(|octets| guessed.insert(*uid, octets).is_some())
                });
            }
            if lacking.is_empty() {
                return (snapshot, guessed);
            }
            // What can be counted is in the next snapshot; what cannot be read counts as empty.
            let failed: Arc<Mutex<Vec<Uid>>> = Arc::default();
            let into = failed.clone();
            let count = lacking.len();
            let mut at = 0;
            while at < count {
                let into = into.clone();
                let visit: culver_store::Visit = Box::new(move |message| {
                    if message.size().is_err() {
                        into.lock().push(message.uid());
                    }
                    ControlFlow::Continue(())
                });
                at += self.visit(lacking[at..].to_vec(), visit).await.count.max(1);
            }
            guessed.extend(failed.lock().drain(..).map(|uid| (uid, 0)));
        }
        (self.tell.borrow().clone(), guessed)
    }

    pub(crate) fn ids_of(
        &self,
        maildrop: &Maildrop,
        positions: Range<usize>,
        format: &UidlFormat,
    ) -> UniqueIds {
        let validity = maildrop.snapshot.uid_validity;
        let stored_bases = maildrop.stored.values().any(|s| s.id.as_deref() == Some(b""));
        let names = (format.needs_base() || stored_bases).then(|| self.names.read());
        let mut ids = UniqueIds::default();
        for position in positions {
            let Some(record) = maildrop.record(position) else { break };
            let uid = record.uid;
            let stored = maildrop.stored.get(&uid);
            let own = stored.and_then(|s| s.id.as_deref());
            if let Some(own) = own.filter(|own| !own.is_empty()) {
                ids.add(Origin::Stored, |out| out.extend_from_slice(own));
                continue;
            }
            let base = names.as_ref().map(|n| n.get(uid).map(|e| base_of(&e.name)));
            match (own, base) {
                (Some(_), Some(Some(base))) => ids.add(Origin::Stored, |out| out.extend_from_slice(base)),
                (None, None) => ids.add(Origin::Made, |out| format.make(uid, validity, b"", b"", out)),
                (None, Some(Some(base))) => {
                    let guid = stored.and_then(|s| s.guid.as_deref()).unwrap_or(base);
                    ids.add(Origin::Made, |out| format.make(uid, validity, base, guid, out));
                }
                (None, Some(None)) if !format.needs_base() => {
                    ids.add(Origin::Made, |out| format.make(uid, validity, b"", b"", out));
                }
                _ => ids.add(Origin::Unknown, |_| ()),
            }
        }
        ids
    }

    pub(crate) async fn store_ids(&self, ids: Vec<(Uid, Box<[u8]>)>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let keep = move |core: &mut Core, fs: &Fs, c: &mut Contention| core.keep_ids(fs, &ids, c);
        self.attempt(KEEP_WAIT, keep).await
    }
}

/// An account's claim.
pub struct MaildropClaim {
    io: Arc<Io>,
    owner: Option<Owner>,
    folder: PathBuf,
    settings: Arc<MaildirSettings>,
    lock: Option<Kept>,
    /// Within this process.
    _only: OwnedSemaphorePermit,
}

impl MaildropClaim {
    /// Waits as long as Dovecot does.
    pub(crate) async fn new(
        place: &Place,
        io: &Arc<Io>,
        settings: &Arc<MaildirSettings>,
        only: Arc<tokio::sync::Semaphore>,
    ) -> Result<Self> {
        let wait = dotlock::POP3_SESSION.times.wait;
        let end = Instant::now() + wait;
        let busy = || Failure::from(Refusal::InUse("Another POP3 session has the maildrop".into()));
        let only = tokio::time::timeout(wait, only.acquire_owned()).await;
        let only = only.map_err(|_| busy())?.map_err(|_| busy())?;
        let folder = place.index.clone().unwrap_or_else(|| place.root.clone());
        let mut this = Self {
            io: io.clone(),
            owner: place.owner,
            folder,
            settings: settings.clone(),
            lock: None,
            _only: only,
        };
        let mut contention = Contention::default();
        for attempt in 0.. {
            let (folder, shared) = (this.folder.clone(), settings.clone());
            let job = move |fs: &Fs| {
                let root = fs.open_root(&folder);
                let got = root.and_then(|root| {
                    let got =
                        Dotlock::try_acquire(&root, &dotlock::POP3_SESSION, &shared.locks, &mut contention);
                    Ok(got?.map(Dotlock::keep))
                });
                (got, contention)
            };
            let got;
            (got, contention) = io.run(place.owner, job).await?;
            match got {
                Ok(Some(lock)) => {
                    this.lock = Some(lock);
                    return Ok(this);
                }
                Ok(None) if Instant::now() >= end => return Err(busy()),
                Ok(None) => {
                    let pause = contention.pause(&settings.locks, attempt).max(Duration::from_millis(1));
                    tokio::time::sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
                }
                Err(error) => {
                    tracing::warn!(account = %place.account, %error, "dovecot-pop3-session.lock cannot be written; other servers do not see this session");
                    return Ok(this);
                }
            }
        }
        Err(busy())
    }
}

#[async_trait]
impl Claim for MaildropClaim {
    async fn renew(&mut self) {
        let Some(lock) = self.lock.take() else { return };
        let (folder, settings) = (self.folder.clone(), self.settings.clone());
        let job = move |fs: &Fs| {
            let Ok(root) = fs.open_root(&folder) else { return lock };
            let mut lock = Dotlock::again(&root, lock, &settings.locks);
            // It may be someone else's by now; releasing it tells.
            drop(lock.touch());
            lock.keep()
        };
        self.lock = self.io.run(self.owner, job).await.ok();
    }

    async fn release(mut self: Box<Self>) {
        if let Some(lock) = self.lock.take() {
            let done = self.io.run(self.owner, remove(self.folder.clone(), self.settings.clone(), lock));
            drop(done.await);
        }
    }
}

impl Drop for MaildropClaim {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            self.io.send(self.owner, remove(self.folder.clone(), self.settings.clone(), lock));
        }
    }
}

fn remove(folder: PathBuf, settings: Arc<MaildirSettings>, lock: Kept) -> impl FnOnce(&Fs) + Send + 'static {
    move |fs| match fs.open_root(&folder) {
        Ok(root) => {
            if let Err(error) = Dotlock::again(&root, lock, &settings.locks).release() {
                tracing::warn!(folder = %folder.display(), %error, "dovecot-pop3-session.lock could not be removed");
            }
        }
        Err(_) => lock.forget(&settings.locks),
    }
}

impl Core {
    /// Writes `P` fields for messages that have none, under the lock.
    pub fn keep_ids(
        &mut self,
        fs: &Fs,
        ids: &[(Uid, Box<[u8]>)],
        contention: &mut Contention,
    ) -> crate::core::Result<Attempt<()>> {
        let dirs = self.dirs(fs)?;
        let place = self.place.clone();
        let lock = Dotlock::try_acquire(
            &dirs.control,
            &crate::place::uidlist_lock(),
            &place.settings.locks,
            contention,
        );
        let Some(lock) = lock.map_err(|e| self.failure("locking dovecot-uidlist", e))? else {
            return Ok(Attempt::Busy);
        };
        self.read_list(&dirs).map_err(|e| self.failure("reading dovecot-uidlist", e))?;
        self.list.ids = ids.iter().cloned().collect();
        let written = self.rewrite_list(&dirs);
        self.list.ids.clear();
        let released = lock.release();
        written.and(released).map_err(|e| self.failure("writing dovecot-uidlist", e))?;
        Ok(Attempt::Done(()))
    }
}
