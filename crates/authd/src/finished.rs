//! Exchanges that ended well on a client connection and may be asked for on a master connection (REQUEST): who was it?
//!
//! A client that says `nologin`, as MTAs do, means that nobody will ask. The others are kept for a minute, as long as their
//! connection lasts, once; the table is bounded, the oldest go first.

use culver_directory::Account;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;

const KEPT: Duration = Duration::from_secs(60);
const MOST: usize = 10_000;

/// The table. Cloning gives another handle on the same.
#[derive(Clone, Default)]
pub struct Finished(Arc<Inner>);

#[derive(Default)]
struct Inner {
    connections: AtomicU32,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    entries: HashMap<Key, Entry>,
    /// The oldest first; some may be gone from `entries`.
    order: VecDeque<(Instant, Key)>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    cookie: String,
    exchange: u32,
}

struct Entry {
    client: u32,
    at: Instant,
    account: Arc<Account>,
    mechanism: &'static str,
}

impl Finished {
    /// The number of a new connection; never 0.
    pub(crate) fn connection(&self) -> u32 {
        self.0.connections.fetch_add(1, Ordering::Relaxed).checked_add(1).unwrap_or(1)
    }

    pub(crate) fn add(
        &self,
        cookie: &str,
        client: u32,
        exchange: u32,
        account: Arc<Account>,
        mechanism: &'static str,
    ) {
        let at = Instant::now();
        let key = Key { cookie: cookie.to_owned(), exchange };
        let mut table = self.0.table.lock();
        while table.order.len() >= MOST || table.order.front().is_some_and(|(then, _)| *then + KEPT < at) {
            let Some((then, old)) = table.order.pop_front() else { break };
            // The key may have been used again since.
            if table.entries.get(&old).is_some_and(|e| e.at == then) {
                table.entries.remove(&old);
            }
        }
        table.order.push_back((at, key.clone()));
        table.entries.insert(key, Entry { client, at, account, mechanism });
    }

    /// Takes one out.
    pub(crate) fn take(
        &self,
        cookie: &str,
        client: u32,
        exchange: u32,
    ) -> Option<(Arc<Account>, &'static str)> {
        let key = Key { cookie: cookie.to_owned(), exchange };
        let mut table = self.0.table.lock();
        table.entries.get(&key).filter(|e| e.client == client && e.at + KEPT >= Instant::now())?;
        table.entries.remove(&key).map(|e| (e.account, e.mechanism))
    }

    /// The connection has ended.
    pub(crate) fn forget(&self, cookie: &str) {
        self.0.table.lock().entries.retain(|key, _| key.cookie != cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use culver_directory::{Layout, MailLocation};

    fn account(name: &str) -> Arc<Account> {
        let mail = MailLocation { root: "/m".into(), control: None, index: None, layout: Layout::Fs };
        Arc::new(Account::new(name, mail))
    }

    #[tokio::test(start_paused = true)]
    async fn once_for_a_minute_and_only_with_the_cookie() {
        let finished = Finished::default();
        assert_eq!((finished.connection(), finished.connection()), (1, 2));
        finished.add("c", 4711, 1, account("a@b"), "PLAIN");
        assert!(finished.take("d", 4711, 1).is_none());
        assert!(finished.take("c", 4712, 1).is_none());
        assert!(finished.take("c", 4711, 2).is_none());
        assert_eq!(finished.take("c", 4711, 1).unwrap().0.name, "a@b");
        assert!(finished.take("c", 4711, 1).is_none());
        finished.add("c", 4711, 1, account("a@b"), "PLAIN");
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(finished.take("c", 4711, 1).is_none());
        finished.add("c", 4711, 2, account("a@b"), "PLAIN");
        assert_eq!(finished.0.table.lock().entries.len(), 1);
        finished.forget("c");
        assert!(finished.take("c", 4711, 2).is_none());
        for n in 0..20_000 {
            finished.add("c", 4711, n, account("a@b"), "PLAIN");
        }
        assert_eq!(finished.0.table.lock().entries.len(), MOST);
        assert!(finished.take("c", 4711, 19_999).is_some());
    }
}
