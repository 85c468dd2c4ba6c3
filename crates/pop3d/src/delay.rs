//! LOGIN-DELAY (RFC 2449 §6.5): when each account logged in last.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Accounts that are remembered; beyond it those are forgotten that may log in again anyway, then all.
const MOST: usize = 100_000;

/// Last logins. Cloning gives another handle on the same ones.
#[derive(Clone, Default)]
pub struct LastLogins {
    last: Arc<Mutex<HashMap<String, Instant>>>,
}

impl LastLogins {
    /// How long the account has to wait; `None` when it may log in.
    pub fn wait(&self, account: &str, delay: Duration, now: Instant) -> Option<Duration> {
        if delay.is_zero() {
            return None;
        }
        let passed = now.saturating_duration_since(*self.last.lock().get(account)?);
        (passed < delay).then(|| delay - passed)
    }

    /// It has logged in.
    pub fn note(&self, account: &str, delay: Duration, now: Instant) {
        if delay.is_zero() {
            return;
        }
        let mut last = self.last.lock();
        if last.len() >= MOST {
            last.retain(|_, then| now.saturating_duration_since(*then) < delay);
            if last.len() >= MOST {
                last.clear();
            }
        }
        last.insert(account.to_owned(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_waits_and_others_do_not() {
        let (logins, now, delay) = (LastLogins::default(), Instant::now(), Duration::from_secs(60));
        let at = |secs| now + Duration::from_secs(secs);
        assert_eq!(logins.wait("a", delay, now), None);
        logins.note("a", delay, now);
        assert_eq!(logins.wait("a", delay, at(50)), Some(Duration::from_secs(10)));
        assert_eq!(logins.wait("b", delay, at(50)), None);
        assert_eq!(logins.wait("a", delay, at(60)), None);
        assert_eq!(logins.wait("a", Duration::ZERO, at(1)), None);
    }
}
