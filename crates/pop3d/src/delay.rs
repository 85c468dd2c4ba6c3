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
    /// Notes a login of now; or says how long the account has to wait.
    pub fn note(&self, account: &str, delay: Duration, now: Instant) -> Result<(), Duration> {
        if delay.is_zero() {
            return Ok(());
        }
        let mut last = self.last.lock();
        if let Some(then) = last.get(account) {
            let passed = now.saturating_duration_since(*then);
            if passed < delay {
                return Err(delay - passed);
            }
        }
        if last.len() >= MOST {
            last.retain(|_, then| now.saturating_duration_since(*then) < delay);
            if last.len() >= MOST {
                last.clear();
            }
        }
        last.insert(account.to_owned(), now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_waits_and_others_do_not() {
        let (logins, now, delay) = (LastLogins::default(), Instant::now(), Duration::from_secs(60));
        let at = |secs| now + Duration::from_secs(secs);
        assert_eq!(logins.note("a", delay, now), Ok(()));
        assert_eq!(logins.note("a", delay, at(50)), Err(Duration::from_secs(10)));
        assert_eq!(logins.note("b", delay, at(50)), Ok(()));
        assert_eq!(logins.note("a", delay, at(60)), Ok(()));
        assert_eq!(logins.note("a", Duration::ZERO, at(60)), Ok(()));
    }
}
