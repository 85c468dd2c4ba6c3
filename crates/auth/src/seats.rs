//! How many sessions an account has from one network, for each service. The limit keeps one broken client from taking the
//! server's memory; it is far above what a household needs, and the refusal names it.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Service, account, network.
type Key = (&'static str, String, IpAddr);

/// Sessions by service, account and network.
#[derive(Clone, Default)]
pub struct Seats {
    taken: Arc<Mutex<HashMap<Key, u32>>>,
}

/// One session's place; given back when dropped.
pub struct Seat {
    key: Key,
    seats: Seats,
}

impl Seats {
    /// A place for one more session, and how many are taken then; `None` when `most` are there already.
    pub fn take(
        &self,
        service: &'static str,
        account: &str,
        client: IpAddr,
        most: u32,
    ) -> Option<(Seat, u32)> {
        let key = (service, account.to_owned(), network(client));
        let mut taken = self.taken.lock();
        let count = taken.get(&key).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        taken.insert(key.clone(), count + 1);
        drop(taken);
        Some((Seat { key, seats: self.clone() }, count + 1))
    }

    /// So many are worth a word before the limit bites: four of five.
    pub fn nearly(most: u32) -> u32 {
        most.saturating_mul(4).div_ceil(5).max(1)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock();
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
    }
}

/// A customer's network: an IPv4 address, an IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_account_and_network_and_given_back() {
        let seats = Seats::default();
        let at = |text: &str| text.parse().unwrap();
        let take = |account: &str, client: &str, most| seats.take("imap", account, at(client), most);
        let first = take("a", "2001:db8::1", 1).unwrap();
        assert_eq!(first.1, 1);
        assert!(take("a", "2001:db8::2", 1).is_none());
        assert_eq!(take("a", "2001:db8::2", 2).unwrap().1, 2);
        let others = [
            take("b", "2001:db8::1", 1),
            take("a", "2001:db8:0:1::1", 1),
            take("a", "192.0.2.1", 1),
            seats.take("pop3", "a", at("2001:db8::1"), 1),
        ];
        assert!(others.iter().all(Option::is_some));
        assert!(take("a", "::ffff:192.0.2.1", 1).is_none());
        assert_eq!([0, 1, 5, 200].map(Seats::nearly), [1, 1, 4, 160]);
        drop((first, others));
        assert!(seats.taken.lock().is_empty());
    }
}
