//! How long a failed login waits. It grows with the failures of the client's network, and with those of the account from
//! anywhere, and shrinks with time.
//!
//! A network is a /32 of IPv4 or a /48 of IPv6. Everything here is a function of what failed when: a failed login counts as
//! waiting until its delay is over even if the client has gone by then, so hanging up early lets nobody guess faster.
//! Logins that succeed never wait. The table is bounded: when it is full, those that have not failed for long are
//! forgotten first.

use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// The longest delay.
const LONGEST: Duration = Duration::from_secs(15);
/// One failure is forgotten after this long.
const FORGIVEN: Duration = Duration::from_secs(60);
/// Waiting logins of one key; more are refused at once.
const WAITING: usize = 50;
/// Keys in the table.
const KEYS: usize = 100_000;

struct Record {
    failures: u32,
    last: Instant,
    /// When each of the waiting ones may go; the latest last.
    waiting: VecDeque<Instant>,
}

/// The failures of all networks, or of all accounts.
pub struct Penalties<K> {
    records: Mutex<HashMap<K, Record>>,
}

/// The network of an address, as its first address.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & (u128::MAX << 80))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl<K: Hash + Eq> Penalties<K> {
    /// Nobody has failed yet.
    pub fn new() -> Self {
        Self { records: Mutex::default() }
    }

    /// It logged in: what it failed before is forgiven.
    pub fn forgive(&self, key: &K) {
        self.records.lock().remove(key);
    }

    /// Are so many failed logins of this key waiting that no more should be looked at? Then gives how long it takes
    /// until one of them may go.
    pub fn crowded(&self, key: &K, now: Instant) -> Option<Duration> {
        let mut records = self.records.lock();
        let waiting = &mut records.get_mut(key)?.waiting;
        while waiting.front().is_some_and(|until| *until <= now) {
            waiting.pop_front();
        }
        let first = waiting.front()?;
        (waiting.len() >= WAITING).then(|| first.saturating_duration_since(now))
    }

    /// A login failed: how long its answer waits. `first` is the delay of the first failure, zero for no delay at all.
    pub fn failed(&self, key: K, first: Duration, now: Instant) -> Duration {
        if first.is_zero() {
            return Duration::ZERO;
        }
        let mut records = self.records.lock();
        if records.len() >= KEYS {
            records.retain(|_, r| now.saturating_duration_since(r.last) < LONGEST);
            if records.len() >= KEYS {
                records.clear();
            }
        }
        let empty = Record { failures: 0, last: now, waiting: VecDeque::new() };
        let record = records.entry(key).or_insert(empty);
        let forgiven = now.saturating_duration_since(record.last).as_secs() / FORGIVEN.as_secs();
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        record.failures = record.failures.saturating_sub(forgiven).saturating_add(1);
        record.last = now;
        // The first three cost the same: people mistype.
        let doublings = record.failures.saturating_sub(3).min(8);
        let delay = first.saturating_mul(1 << doublings).min(LONGEST.max(first));
        // Delays may shrink again; whoever came later is then counted a little longer than it waits.
        let until = (now + delay).max(record.waiting.back().copied().unwrap_or(now));
        record.waiting.push_back(until);
        // Exchanges that began before the crowd was one still end here.
        if record.waiting.len() > 2 * WAITING {
            record.waiting.pop_front();
        }
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_per_network_and_are_forgiven() {
        let (penalties, first) = (Penalties::new(), Duration::from_secs(2));
        let now = Instant::now();
        let fail = |ip: &str, at| penalties.failed(network(ip.parse().unwrap()), first, at).as_secs();
        let delays: Vec<u64> = (0..8).map(|_| fail("192.0.2.1", now)).collect();
        assert_eq!(delays, [2, 2, 2, 4, 8, 15, 15, 15]);
        assert_eq!(fail("192.0.2.2", now), 2);
        assert_eq!(fail("::ffff:192.0.2.1", now), 15);
        assert_eq!(fail("192.0.2.1", now + Duration::from_secs(3600)), 2);
        for _ in 0..4 {
            fail("2001:db8:1::1", now);
        }
        assert_eq!(fail("2001:db8:1:ffff::9", now), 8);
        assert_eq!(fail("2001:db8:2::9", now), 2);
        penalties.forgive(&network("2001:db8:1::5".parse().unwrap()));
        assert_eq!(fail("2001:db8:1::1", now), 2);
    }

    #[test]
    fn many_that_wait_are_a_crowd() {
        let (penalties, first) = (Penalties::new(), Duration::from_secs(20));
        let (ip, now): (IpAddr, _) = ("192.0.2.1".parse().unwrap(), Instant::now());
        let at = |seconds| now + Duration::from_secs(seconds);
        for _ in 0..WAITING {
            assert_eq!(penalties.crowded(&ip, at(5)), None);
            assert_eq!(penalties.failed(ip, first, now).as_secs(), 20);
        }
        assert_eq!(penalties.crowded(&ip, at(5)), Some(Duration::from_secs(15)));
        assert_eq!(penalties.crowded(&"192.0.2.2".parse().unwrap(), now), None);
        assert_eq!(penalties.crowded(&ip, at(20)), None);
        // Whatever comes, the list stays short.
        for n in 0..1000 {
            penalties.failed(ip, first, at(n / 100));
        }
        assert!(penalties.records.lock()[&network(ip)].waiting.len() <= 2 * WAITING);
    }

    #[test]
    fn without_a_delay_nothing_is_counted() {
        let penalties = Penalties::new();
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        assert!((0..1000).all(|_| penalties.failed(ip, Duration::ZERO, Instant::now()).is_zero()));
        assert_eq!(penalties.crowded(&ip, Instant::now()), None);
    }
}
