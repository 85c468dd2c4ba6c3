//! The threads. One lock guards the queue; each worker sleeps on a condition of its own, so that a job wakes the
//! idle worker that has the job's identity already, else the one that worked last.

use super::identity::{Rights, Thread};
use super::queue::{Priority, Queue, Streak};
use super::{Calls, Fs, IoSettings, JobError, Work};
use crate::Owner;
use parking_lot::{Condvar, Mutex};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    rights: Rights,
    calls: Arc<dyn Calls>,
    state: Mutex<State>,
    wake: Vec<Condvar>,
}

struct State {
    queue: Queue<Work>,
    idle: Vec<usize>,
    streaks: Vec<Streak>,
    closing: bool,
}

impl Pool {
    pub(super) fn start(settings: IoSettings, calls: Arc<dyn Calls>) -> io::Result<Self> {
        let count = settings.threads.max(1);
        let shared = Arc::new(Shared {
            rights: Rights::detect(&settings)?,
            calls,
            state: Mutex::new(State {
                queue: Queue::new(count),
                idle: Vec::with_capacity(count),
                streaks: vec![Streak::default(); count],
                closing: false,
            }),
            wake: (0..count).map(|_| Condvar::new()).collect(),
        });
        // From here on dropping `pool` ends the threads that were started.
        let pool = Self { shared };
        let (tell, told) = mpsc::channel();
        for index in 0..count {
            let (shared, tell) = (pool.shared.clone(), tell.clone());
            std::thread::Builder::new().name(format!("files-{index}")).spawn(move || {
                let thread = Thread::prepare(shared.rights);
                match thread {
                    Ok(thread) => {
                        drop(tell.send(Ok(())));
                        drop(tell);
                        shared.work(index, thread);
                    }
                    Err(e) => drop(tell.send(Err(e))),
                }
            })?;
        }
        drop(tell);
        for _ in 0..count {
            told.recv().map_err(|_| io::Error::other("a file thread ended at once"))??;
        }
        Ok(pool)
    }

    pub(super) fn changes_identity(&self) -> bool {
        self.shared.rights.changes_identity()
    }

    pub(super) fn push(&self, priority: Priority, owner: Option<Owner>, work: Work) {
        let now = Instant::now();
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        state.queue.push(priority, owner, now, work);
        let fits = state.idle.iter().rposition(|i| state.streaks[*i].is_of(owner));
        let worker = match fits {
            Some(at) => Some(state.idle.remove(at)),
            None => state.idle.pop(),
        };
        if let Some(worker) = worker {
            self.shared.wake[worker].notify_one();
        }
    }
}

impl Drop for Pool {
    /// The threads finish what is queued and end. They are not waited for: the last owner of the pool may be a job.
    fn drop(&mut self) {
        self.shared.state.lock().closing = true;
        self.shared.wake.iter().for_each(|w| {
            w.notify_one();
        });
    }
}

impl Shared {
    fn work(&self, index: usize, mut thread: Thread) {
        let fs = Fs::new(self.calls.clone());
        let mut state = self.state.lock();
        loop {
            let mut streak = state.streaks[index];
            let picked = state.queue.pick(&mut streak, Instant::now());
            state.streaks[index] = streak;
            let Some(picked) = picked else {
                if state.closing {
                    return;
                }
                state.idle.push(index);
                self.wake[index].wait(&mut state);
                state.idle.retain(|i| *i != index);
                continue;
            };
            drop(state);
            let identity: Result<(), JobError> = thread.become_owner(picked.owner);
            // The work catches its own panics; this is for destructors of what nobody fetched.
            let run = catch_unwind(AssertUnwindSafe(|| (picked.job)(identity.map(|()| &fs))));
            if run.is_err() {
                tracing::error!(
                    "a value of a file job panicked when it was dropped; this is a defect of the server"
                );
            }
            state = self.state.lock();
            state.queue.done(picked.owner, picked.priority);
        }
    }
}
