//! Temporary blocks: who guesses too much is not looked at for a while.
//!
//! Counted are guesses that differ: a telephone which keeps trying its old password is one guess, however often. A block is
//! of one account from one network, or, after many more guesses, of a network as a whole; so nobody can lock an account's
//! owner out from elsewhere. Blocks are seen and lifted by `culver auth blocks`, and outlast a restart (`kept.rs`); the guesses that are
//! counted do not. Tables are bounded: when one is full, what is over goes first, then everything.

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// When somebody is blocked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockSettings {
    /// So many different guesses for an account from a network; 0 for never.
    pub guesses: u32,
    /// So many from a network for whatever accounts; 0 for never. Many people may sit behind one address.
    pub network_guesses: u32,
    /// Within this time.
    pub period: Duration,
    /// Then nothing of theirs is looked at for so long.
    pub length: Duration,
}

impl Default for BlockSettings {
    /// An hour has room for 80 guesses of one account from one network, far fewer than a list of common passwords has.
    fn default() -> Self {
        let quarter = Duration::from_secs(15 * 60);
        Self { guesses: 20, network_guesses: 200, period: quarter, length: quarter }
    }
}

/// A network, and an account from there or none for all.
type Key = (IpAddr, Option<String>);

/// Keys in each table.
const KEYS: usize = 100_000;

/// A block as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// The network, as its first address.
    pub network: IpAddr,
    /// The account, as its name was given; `None` when all are blocked from there.
    pub account: Option<String>,
    /// After so many guesses.
    pub guesses: u32,
    /// How long it still lasts.
    pub left: Duration,
}

#[derive(Default)]
struct Tables {
    counts: HashMap<Key, Count>,
    blocks: HashMap<Key, Blocked>,
}

struct Count {
    since: Instant,
    seen: HashSet<u64>,
    /// Guesses of which it is not known which they were.
    unseen: u32,
}

#[derive(Clone, Copy)]
struct Blocked {
    until: Instant,
    guesses: u32,
}

/// All counts and blocks.
#[derive(Default)]
pub struct Blocks {
    tables: Mutex<Tables>,
    changed: Notify,
}

impl Blocks {
    /// Is this network blocked, or this account from there?
    pub fn blocked(&self, network: IpAddr, account: Option<&str>, now: Instant) -> Option<Block> {
        let mut tables = self.tables.lock();
        let key = (network, account.map(str::to_owned));
        let block = tables.blocks.get(&key).copied()?;
        if block.until <= now {
            tables.blocks.remove(&key);
            return None;
        }
        Some(show(&key, block, now))
    }

    /// A guess was wrong. Gives the blocks that begin with it. `guess` tells guesses apart, where it is known which it was.
    pub fn failed(
        &self,
        network: IpAddr,
        account: Option<&str>,
        guess: Option<u64>,
        settings: &BlockSettings,
        now: Instant,
    ) -> Vec<Block> {
        let mut tables = self.tables.lock();
        let keys = [
            (account.map(|a| (network, Some(a.to_owned()))), settings.guesses),
            (Some((network, None)), settings.network_guesses),
        ];
        let mut begun = Vec::new();
        for (key, most) in keys {
            let Some(key) = key.filter(|_| most > 0) else { continue };
            // For the network it is another guess when it was for another account.
            let guess = guess.map(|guess| match key.1 {
                Some(_) => guess,
                None => guess ^ account.map_or(0, fold),
            });
            let guesses = tables.count(&key, guess, most, settings.period, now);
            if guesses >= most {
                tables.counts.remove(&key);
                let block = Blocked { until: now + settings.length, guesses };
                make_room(&mut tables.blocks, |b| b.until > now);
                tables.blocks.insert(key.clone(), block);
                begun.push(show(&key, block, now));
            }
        }
        if !begun.is_empty() {
            self.changed.notify_one();
        }
        begun
    }

    /// Waits until a block has begun or was lifted since the last time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Blocks as they were before a restart.
    pub fn restore(&self, blocks: Vec<Block>, now: Instant) {
        let mut tables = self.tables.lock();
        for Block { network, account, guesses, left } in blocks {
            make_room(&mut tables.blocks, |b| b.until > now);
            tables.blocks.insert((network, account), Blocked { until: now + left, guesses });
        }
    }

    /// The account's owner was there: what was guessed for it from that network is forgotten.
    pub fn succeeded(&self, network: IpAddr, account: &str) {
        self.tables.lock().counts.remove(&(network, Some(account.to_owned())));
    }

    /// All blocks, those that last longest first.
    pub fn list(&self, now: Instant) -> Vec<Block> {
        let tables = self.tables.lock();
        let mut all: Vec<_> =
            tables.blocks.iter().filter(|(_, b)| b.until > now).map(|(key, b)| show(key, *b, now)).collect();
        all.sort_by(|a, b| (b.left, &a.account, a.network).cmp(&(a.left, &b.account, b.network)));
        all
    }

    /// Ends the blocks for which this is true, and forgets what led to them. Gives those that ended.
    pub fn lift(&self, now: Instant, which: impl Fn(IpAddr, Option<&str>) -> bool) -> Vec<Block> {
        let mut tables = self.tables.lock();
        let fits = |key: &Key| which(key.0, key.1.as_deref());
        tables.counts.retain(|key, _| !fits(key));
        let gone: Vec<_> = tables.blocks.extract_if(|key, _| fits(key)).collect();
        if !gone.is_empty() {
            self.changed.notify_one();
        }
        let shown = gone.iter().filter(|(_, b)| b.until > now).map(|(key, b)| show(key, *b, now));
        shown.collect()
    }
}

impl Tables {
    fn count(&mut self, key: &Key, guess: Option<u64>, most: u32, period: Duration, now: Instant) -> u32 {
        make_room(&mut self.counts, |c| now.saturating_duration_since(c.since) < period);
        let empty = || Count { since: now, seen: HashSet::new(), unseen: 0 };
        let count = self.counts.entry(key.clone()).or_insert_with(empty);
        if now.saturating_duration_since(count.since) >= period {
            *count = empty();
        }
        match guess {
            // It is never larger than the limit: then there is a block, and the count is gone.
            Some(guess) => {
                count.seen.insert(guess);
            }
            None => count.unseen = count.unseen.saturating_add(1),
        }
        (u32::try_from(count.seen.len()).unwrap_or(u32::MAX)).saturating_add(count.unseen).min(most)
    }
}

fn make_room<V>(table: &mut HashMap<Key, V>, keep: impl Fn(&V) -> bool) {
    if table.len() >= KEYS {
        table.retain(|_, value| keep(value));
        if table.len() >= KEYS {
            table.clear();
        }
    }
}

fn show((network, account): &Key, block: Blocked, now: Instant) -> Block {
    let left = block.until.saturating_duration_since(now);
    Block { network: *network, account: account.clone(), guesses: block.guesses, left }
}

fn fold(text: &str) -> u64 {
    blake3::hash(text.as_bytes()).as_bytes().iter().take(8).fold(0, |all, b| (all << 8) | u64::from(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: BlockSettings = BlockSettings {
        guesses: 3,
        network_guesses: 5,
        period: Duration::from_secs(60),
        length: Duration::from_secs(600),
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn guesses_that_differ_are_counted_and_owners_elsewhere_are_not_concerned() {
        let (blocks, now, home) = (Blocks::default(), Instant::now(), ip("192.0.2.1"));
        let fail = |account, guess, at| blocks.failed(home, Some(account), Some(guess), &SETTINGS, at);
        for _ in 0..100 {
            assert_eq!(fail("anna", 1, now), []);
        }
        assert_eq!(fail("anna", 2, now), []);
        let begun = fail("anna", 3, now);
        assert_eq!(begun.len(), 1);
        assert_eq!((begun[0].account.as_deref(), begun[0].guesses), (Some("anna"), 3));
        assert_eq!(begun[0].left.as_secs(), 600);
        let blocked = |account, at| blocks.blocked(home, account, at).is_some();
        assert!(blocked(Some("anna"), now) && !blocked(Some("bob"), now) && !blocked(None, now));
        assert!(blocks.blocked(ip("192.0.2.2"), Some("anna"), now).is_none());
        assert!(!blocked(Some("anna"), now + SETTINGS.length));
        // The same guesses for another account are others, and then it is the network's turn.
        assert_eq!(fail("bob", 1, now), []);
        let begun = fail("bob", 2, now);
        assert_eq!((begun.len(), begun[0].account.as_deref()), (1, None));
        assert!(blocked(None, now));
    }

    #[test]
    fn time_and_success_forgive() {
        let (blocks, now, home) = (Blocks::default(), Instant::now(), ip("2001:db8::"));
        let fail = |at| blocks.failed(home, Some("anna"), None, &SETTINGS, at).len();
        assert_eq!([fail(now), fail(now)], [0, 0]);
        assert_eq!([fail(now + SETTINGS.period), fail(now + SETTINGS.period)], [0, 0]);
        blocks.succeeded(home, "anna");
        assert_eq!([fail(now + SETTINGS.period), fail(now + SETTINGS.period)], [0, 0]);
        // The third of the account, and the fifth of the network, of which success forgave nothing.
        assert_eq!(fail(now + SETTINGS.period), 2);
        let never = BlockSettings { guesses: 0, network_guesses: 0, ..SETTINGS };
        assert!((0..100).all(|n| blocks.failed(home, Some("bob"), Some(n), &never, now).is_empty()));
    }

    #[test]
    fn a_restart_does_not_end_them() {
        let (before, now, home) = (Blocks::default(), Instant::now(), ip("192.0.2.1"));
        for guess in 0..3 {
            before.failed(home, Some("anna"), Some(guess), &SETTINGS, now);
        }
        let (after, later) = (Blocks::default(), now + Duration::from_secs(100));
        after.restore(before.list(later), later);
        let left = |at| after.blocked(home, Some("anna"), at).map(|b| (b.guesses, b.left.as_secs()));
        assert_eq!(left(later), Some((3, 500)));
        assert_eq!(left(now + SETTINGS.length - Duration::from_secs(1)), Some((3, 1)));
        assert_eq!(left(now + SETTINGS.length), None);
    }

    #[test]
    fn blocks_are_listed_and_lifted() {
        let (blocks, now) = (Blocks::default(), Instant::now());
        for (network, account) in [("192.0.2.1", "anna"), ("192.0.2.2", "anna"), ("192.0.2.1", "bob")] {
            for guess in 0..3 {
                blocks.failed(ip(network), Some(account), Some(guess), &SETTINGS, now);
            }
        }
        let list = blocks.list(now);
        let names: Vec<_> = list.iter().map(|b| (b.network.to_string(), b.account.as_deref())).collect();
        assert_eq!(
            names,
            [
                ("192.0.2.1".to_owned(), None),
                ("192.0.2.1".to_owned(), Some("anna")),
                ("192.0.2.2".to_owned(), Some("anna")),
                ("192.0.2.1".to_owned(), Some("bob")),
            ]
        );
        assert_eq!(blocks.lift(now, |_, account| account == Some("anna")).len(), 2);
        assert!(blocks.blocked(ip("192.0.2.1"), Some("anna"), now).is_none());
        assert_eq!(blocks.list(now).len(), 2);
        assert_eq!(blocks.lift(now, |network, _| network == ip("192.0.2.1")).len(), 2);
        assert!(blocks.list(now).is_empty());
        assert!(blocks.list(now + SETTINGS.length).is_empty());
    }
}
