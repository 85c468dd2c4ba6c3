//! How many sessions an account has from one network. The limit keeps one broken client from taking the server's memory;
//! it is far above what a household needs, and the refusal names it.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Sessions by account and network.
#[derive(Clone, Default)]
pub struct Seats {
    taken: Arc<Mutex<HashMap<(String, IpAddr), u32>>>,
}

/// One session's place; given back when dropped.
pub struct Seat {
    key: (String, IpAddr),
    seats: Seats,
}

impl Seats {
    /// A place for one more session; `None` when `most` are there already.
    pub fn take(&self, account: &str, client: IpAddr, most: u32) -> Option<Seat> {
        let key = (account.to_owned(), network(client));
        let mut taken = self.taken.lock();
        let count = taken.entry(key.clone()).or_insert(0);
        if *count >= most {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Seat { key, seats: self.clone() })
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
        let first = seats.take("a", at("2001:db8::1"), 1).unwrap();
        assert!(seats.take("a", at("2001:db8::2"), 1).is_none());
        let others = [
            seats.take("b", at("2001:db8::1"), 1),
            seats.take("a", at("2001:db8:0:1::1"), 1),
            seats.take("a", at("192.0.2.1"), 1),
        ];
        assert!(others.iter().all(Option::is_some));
        assert!(seats.take("a", at("::ffff:192.0.2.1"), 1).is_none());
        drop((first, others));
        assert!(seats.taken.lock().is_empty());
    }
}
