//! The one place where tasks are started, and where they end.
//!
//! A task has a name. When it panics, that is told and nobody else is harmed. When the server stops, every task hears of
//! it through its [`Shutdown`]; [`Tasks::drain`] waits for them until a deadline, then cuts the rest.

use culver_events::{Event, Events};
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Who can tell everybody to stop.
#[derive(Debug)]
pub struct Stopper {
    tell: watch::Sender<bool>,
}

/// Tells a task that the server wants to stop. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Shutdown {
    told: watch::Receiver<bool>,
}

impl Default for Stopper {
    fn default() -> Self {
        Self::new()
    }
}

impl Stopper {
    /// Nobody has been told yet.
    pub fn new() -> Self {
        Self { tell: watch::Sender::new(false) }
    }

    /// What tasks are given.
    pub fn shutdown(&self) -> Shutdown {
        Shutdown { told: self.tell.subscribe() }
    }

    /// Tells all. Further calls change nothing.
    pub fn stop(&self) {
        self.tell.send_replace(true);
    }
}

impl Shutdown {
    /// Comes back when the server wants to stop; at once, if it already does. Dropping it loses nothing.
    pub async fn wait(&self) {
        let mut told = self.told.clone();
        // An error means that the stopper is gone, and with it the server.
        let _ = told.wait_for(|stop| *stop).await;
    }

    /// Does the server want to stop?
    pub fn is_stopping(&self) -> bool {
        *self.told.borrow() || self.told.has_changed().is_err()
    }
}

/// Tasks that are drained together. Cloning gives another handle on the same tasks.
#[derive(Clone)]
pub struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
    events: Events,
}

impl Tasks {
    /// No tasks yet.
    pub fn new(events: Events) -> Self {
        Self { set: Arc::default(), events }
    }

    /// Starts a task. Must be called from within the run time.
    pub fn spawn<F>(&self, name: impl Into<std::borrow::Cow<'static, str>>, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let name = name.into();
        let events = self.events.clone();
        let guarded = AssertUnwindSafe(future).catch_unwind().map(move |end| {
            if let Err(panic) = end {
                let message = message(&*panic);
                events.emit(Event::TaskPanicked { task: name.into_owned(), message });
            }
        });
        let mut set = self.set.lock();
        // What has ended is let go here, so that the set holds what lives and little more.
        while set.try_join_next().is_some() {}
        set.spawn(guarded);
    }

    /// How many run.
    pub fn running(&self) -> usize {
        let mut set = self.set.lock();
        while set.try_join_next().is_some() {}
        set.len()
    }

    /// Waits until all have ended, for `patience` at most, then cuts the rest. Says how many had to be cut.
    pub async fn drain(&self, patience: Duration) -> usize {
        let mut set = std::mem::take(&mut *self.set.lock());
        let all = async { while set.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_ok() {
            return 0;
        }
        let cut = set.len();
        set.shutdown().await;
        cut
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_listen_end_and_those_who_do_not_are_cut() {
        let (events, recorded) = Events::recorder();
        let tasks = Tasks::new(events);
        let stopper = Stopper::new();
        for _ in 0..3 {
            let shutdown = stopper.shutdown();
            tasks.spawn("polite", async move { shutdown.wait().await });
        }
        tasks.spawn("deaf", std::future::pending());
        tasks.spawn("broken", async { panic!("as the test wants") });
        tokio::task::yield_now().await;
        assert!(!stopper.shutdown().is_stopping());
        stopper.stop();
        assert!(stopper.shutdown().is_stopping());
        assert_eq!(tasks.drain(Duration::from_millis(100)).await, 1);
        assert_eq!(tasks.running(), 0);
        let panicked = Event::TaskPanicked { task: "broken".into(), message: "as the test wants".into() };
        assert_eq!(recorded.take(), [panicked]);
    }
}
