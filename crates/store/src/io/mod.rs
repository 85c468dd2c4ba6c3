//! The one door to files that belong to users: a pool of threads which run whole **jobs** as a given owner.
//!
//! # What it promises
//!
//! * A job runs with exactly the file-system identity (fsuid, fsgid, no supplementary groups) of its owner, so the
//!   kernel checks each path as if the user had opened it, and new files are the user's. If that identity cannot
//!   be had the job is not run and its caller gets a [`JobError`]; if the kernel says one thing and does another
//!   the process is aborted. Nothing ever runs as the wrong user.
//! * Blocking calls happen on these threads only: a [`Dir`] can be used inside a job and nowhere else, since only a
//!   job gets an [`Fs`].
//! * Symbolic links, FIFOs and `..` that a user plants are not followed, see [`Dir`].
//! * A panic in a job reaches its caller as an error; the thread lives on.
//!
//! # What it does not do
//!
//! It does not know Maildir, quotas, accounts. It does not make the process safe when it holds CAP_SETUID: that is
//! the sandbox of the program (a seccomp filter for setfsuid, Landlock).
//!
//! # Why jobs and not calls
//!
//! A hop to a thread costs some 15 us, a change of user 5 us, opening a file 4 us. So a job is "read these 200
//! files" or "deliver this"; a thread keeps the identity of its last job and prefers queued jobs of the same owner,
//! bounded so that nobody starves (see the queue in `queue.rs`).
//!
//! # The seam for faults
//!
//! All system calls go through one [`Calls`] object that [`Io::with_calls`] takes. A test can put a layer in
//! between that records, fails or cuts short any of them; no caller changes for that.

mod calls;
mod file;
mod fs;
mod identity;
mod pool;
mod queue;

pub use calls::{Calls, Entries, Entry, Resolve, System};
pub use file::{EntryKind, File, Stat, Timestamp};
pub use fs::{Dir, DirHandle, Durability, Fs, Modes};
pub use rustix::fs::inotify;

use crate::{Failure, Fault, Owner};
use pool::Pool;
use queue::Priority;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use thiserror::Error;

/// How the pool is set up.
#[derive(Clone, Debug)]
pub struct IoSettings {
    /// Number of threads; at least one is started.
    pub threads: usize,
    /// Lowest user id that a job may run as. 0 is never allowed.
    pub first_valid_uid: u32,
    /// Lowest group id that a job may run as. 0 is never allowed.
    pub first_valid_gid: u32,
}

impl Default for IoSettings {
    /// Four threads a core, between 8 and 64 (most of them wait for a disk); users from 500 on, as in Dovecot.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { threads: (4 * cores).clamp(8, 64), first_valid_uid: 500, first_valid_gid: 1 }
    }
}

/// Why a job did not give its result.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum JobError {
    /// The owner's identity cannot be taken. The text names the reason and the next step.
    #[error("{0}")]
    Identity(String),
    /// The job panicked, with this text.
    #[error("a job of the file pool panicked: {0}")]
    Panicked(String),
    /// The pool could not start, or it is closed.
    #[error("the file pool is closed")]
    Closed,
}

impl From<JobError> for std::io::Error {
    fn from(e: JobError) -> Self {
        let kind = match e {
            JobError::Identity(_) => std::io::ErrorKind::Other,
            JobError::Panicked(_) | JobError::Closed => std::io::ErrorKind::Other,
        };
        Self::new(kind, e)
    }
}

impl From<JobError> for Failure {
    fn from(e: JobError) -> Self {
        Fault::new("running a job of the file pool", "", e.into()).into()
    }
}

/// The pool. Shared behind an `Arc`; when the last one is dropped the threads finish what is queued and end.
pub struct Io {
    pool: Pool,
}

impl Io {
    /// Starts the threads. Sets the process's umask to 077: modes that are wider are set explicitly.
    ///
    /// Fails when threads cannot be started or cannot give up their supplementary groups.
    pub fn new(settings: IoSettings) -> std::io::Result<Self> {
        Self::with_calls(settings, Arc::new(System::new()))
    }

    /// The same with other system calls: for tests that make them fail.
    pub fn with_calls(settings: IoSettings, calls: Arc<dyn Calls>) -> std::io::Result<Self> {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        Ok(Self { pool: Pool::start(settings, calls)? })
    }

    /// Can jobs run as other users than the process itself?
    pub fn changes_identity(&self) -> bool {
        self.pool.changes_identity()
    }

    /// Runs `job` as `owner` (`None`: as the process itself) and gives back what it returns.
    ///
    /// The job runs to its end even when the returned future is dropped after it was first polled.
    pub async fn run<T, F>(&self, owner: Option<Owner>, job: F) -> Result<T, JobError>
    where
        T: Send + 'static,
        F: FnOnce(&Fs) -> T + Send + 'static,
    {
        self.queued(Priority::High, owner, job).await
    }

    /// As [`Self::run`], for work that nobody waits for: it gets a part of the threads only and goes behind.
    pub async fn run_low<T, F>(&self, owner: Option<Owner>, job: F) -> Result<T, JobError>
    where
        T: Send + 'static,
        F: FnOnce(&Fs) -> T + Send + 'static,
    {
        self.queued(Priority::Low, owner, job).await
    }

    /// As [`Self::run`], for callers outside of an async runtime (tests, command line). Blocks the thread.
    pub fn run_blocking<T, F>(&self, owner: Option<Owner>, job: F) -> Result<T, JobError>
    where
        T: Send + 'static,
        F: FnOnce(&Fs) -> T + Send + 'static,
    {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        self.pool.push(Priority::High, owner, guarded(job, move |result| drop(tell.send(result))));
        told.recv().unwrap_or(Err(JobError::Closed))
    }

    /// Queues `job` behind all others and forgets it: for cleaning up in a `Drop`. Failures to run it are not
    /// reported.
    pub fn send<F>(&self, owner: Option<Owner>, job: F)
    where
        F: FnOnce(&Fs) + Send + 'static,
    {
        self.pool.push(Priority::Low, owner, guarded(job, |_| ()));
    }

    async fn queued<T, F>(&self, priority: Priority, owner: Option<Owner>, job: F) -> Result<T, JobError>
    where
        T: Send + 'static,
        F: FnOnce(&Fs) -> T + Send + 'static,
    {
        let (tell, told) = tokio::sync::oneshot::channel();
        self.pool.push(priority, owner, guarded(job, move |result| drop(tell.send(result))));
        told.await.unwrap_or(Err(JobError::Closed))
    }
}

/// What the pool runs: gets the token, or why there is none.
type Work = Box<dyn FnOnce(Result<&Fs, JobError>) + Send>;

fn guarded<T, F, G>(job: F, tell: G) -> Work
where
    T: Send + 'static,
    F: FnOnce(&Fs) -> T + Send + 'static,
    G: FnOnce(Result<T, JobError>) + Send + 'static,
{
    Box::new(move |fs| {
        tell(fs.and_then(|fs| {
            catch_unwind(AssertUnwindSafe(|| job(fs)))
                .map_err(|payload| JobError::Panicked(text_of(&*payload)))
        }))
    })
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "without a text".into())
}
