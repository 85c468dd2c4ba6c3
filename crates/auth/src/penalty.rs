//! How long a failed login waits. It grows with the failures of the client's network and shrinks with time.
//!
//! A network is a /32 of IPv4 or a /48 of IPv6. The table is bounded: when it is full, networks that have not failed for
//! long are forgotten first.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// The longest delay.
const LONGEST: Duration = Duration::from_secs(15);
/// One failure is forgotten after this long.
const FORGIVEN: Duration = Duration::from_secs(60);
/// Waiting logins of one network; more are refused at once.
const WAITING: u32 = 50;
/// Networks in the table.
const NETWORKS: usize = 100_000;

struct Record {
    failures: u32,
    last: Instant,
    waiting: u32,
}

/// The failures of all networks.
pub struct Penalties {
    first: Duration,
    networks: Mutex<HashMap<IpAddr, Record>>,
}

/// A failed login that waits; ends with its value.
pub struct Wait<'a> {
    penalties: &'a Penalties,
    network: IpAddr,
    /// How long.
    pub delay: Duration,
}

/// The network of an address, as its first address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & (u128::MAX << 80))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Penalties {
    /// With the delay of the first failure; zero for no delay at all.
    pub fn new(first: Duration) -> Self {
        Self { first, networks: Mutex::default() }
    }

    /// Are so many failed logins of this network waiting that no more should be looked at?
    pub fn crowded(&self, address: IpAddr) -> bool {
        self.networks.lock().get(&network(address)).is_some_and(|r| r.waiting >= WAITING)
    }

    /// A login failed.
    pub fn failed(&self, address: IpAddr, now: Instant) -> Wait<'_> {
        let network = network(address);
        let mut networks = self.networks.lock();
        if networks.len() >= NETWORKS {
            networks.retain(|_, r| r.waiting > 0 || now.duration_since(r.last) < LONGEST);
            if networks.len() >= NETWORKS {
                networks.clear();
            }
        }
        let record = networks.entry(network).or_insert(Record { failures: 0, last: now, waiting: 0 });
        let forgiven = now.saturating_duration_since(record.last).as_secs() / FORGIVEN.as_secs();
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        record.failures = record.failures.saturating_sub(forgiven).saturating_add(1);
        record.last = now;
        record.waiting += 1;
        // The first three cost the same: people mistype.
        let doublings = record.failures.saturating_sub(3).min(8);
        let delay = self.first.saturating_mul(1 << doublings).min(LONGEST);
        Wait { penalties: self, network, delay }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(record) = self.penalties.networks.lock().get_mut(&self.network) {
            record.waiting = record.waiting.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_per_network_and_are_forgiven() {
        let penalties = Penalties::new(Duration::from_secs(2));
        let now = Instant::now();
        let fail = |ip: &str, at| penalties.failed(ip.parse().unwrap(), at).delay.as_secs();
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
    }

    #[test]
    fn many_that_wait_are_a_crowd() {
        let penalties = Penalties::new(Duration::from_secs(2));
        let ip = "192.0.2.1".parse().unwrap();
        let waiting: Vec<_> = (0..WAITING).map(|_| penalties.failed(ip, Instant::now())).collect();
        assert!(penalties.crowded(ip));
        drop(waiting);
        assert!(!penalties.crowded(ip));
    }
}
