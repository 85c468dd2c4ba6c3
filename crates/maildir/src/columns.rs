//! The column table of a mailbox: made when a search, sort or thread first wants it, kept while it is used.
//!
//! It comes out of the cache; messages that are not in the cache are read, by as many threads as there are processors.

use crate::mailbox::MaildirMailbox;
use culver_base::{Uid, UidSet};
use culver_store::{ColumnTable, Gathered, Mailbox};
use futures_util::future::join_all;
use parking_lot::Mutex;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a table that nobody uses is kept.
const KEPT: Duration = Duration::from_secs(120);
/// Messages that are worth another thread.
const SHARE: usize = 512;

/// The table, if there is one now.
#[derive(Default)]
pub struct KeptColumns {
    now: Mutex<Option<(Arc<ColumnTable>, Instant)>>,
    /// Held by the one that makes it.
    making: tokio::sync::Mutex<()>,
}

impl KeptColumns {
    fn current(&self) -> Option<Arc<ColumnTable>> {
        let mut now = self.now.lock();
        let (table, used) = now.as_mut()?;
        *used = Instant::now();
        Some(table.clone())
    }
}

impl MaildirMailbox {
    pub(crate) async fn column_table(&self, uids: &UidSet) -> Arc<ColumnTable> {
        if let Some(table) = self.columns.current().filter(|t| missing(t, uids).is_empty()) {
            return table;
        }
        let _one = self.columns.making.lock().await;
        let table = self.columns.current().unwrap_or_default();
        let missing = missing(&table, uids);
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
        let share = missing.len().div_ceil(threads).max(SHARE);
        let more = join_all(missing.chunks(share).map(|part| self.gather(part.to_vec()))).await;
        if more.iter().all(Gathered::is_empty) {
            return table;
        }
        let snapshot = self.snapshot();
        let table = Arc::new(table.with(more, |uid| snapshot.find(uid).is_some() || uids.has(uid)));
        *self.columns.now.lock() = Some((table.clone(), Instant::now()));
        table
    }

    async fn gather(&self, uids: Vec<Uid>) -> Gathered {
        let gathered = Arc::new(Mutex::new(Gathered::default()));
        let into = gathered.clone();
        let visit = Box::new(move |message: &mut dyn culver_store::Message| {
            if let Ok(columns) = message.columns() {
                into.lock().add(message.uid(), &columns);
            }
            ControlFlow::Continue(())
        });
        self.visit(uids, visit).await;
        std::mem::take(&mut *gathered.lock())
    }

    /// Reads every message once that the cache does not know.
    pub async fn fill_cache(&self) {
        let uids: Vec<Uid> = self.snapshot().uids().uids().collect();
        for part in uids.chunks(SHARE) {
            // What cannot be read is told to the one who asks for it.
            let visit = Box::new(|message: &mut dyn culver_store::Message| {
                drop(message.body_structure());
                ControlFlow::Continue(())
            });
            self.visit(part.to_vec(), visit).await;
        }
    }

    /// Lets go of the table if nobody has used it for a while.
    pub(crate) fn forget_columns(&self, now: Instant) {
        let mut kept = self.columns.now.lock();
        if kept.as_ref().is_some_and(|(_, used)| now.saturating_duration_since(*used) >= KEPT) {
            *kept = None;
        }
    }
}

fn missing(table: &ColumnTable, uids: &UidSet) -> Vec<Uid> {
    let mut walk = table.walk();
    uids.uids().filter(|uid| walk.get(*uid).is_none()).collect()
}
