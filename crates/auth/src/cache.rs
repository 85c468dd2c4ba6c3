//! Logins that succeeded a moment ago: clients open five connections at once, and a good hash is slow.
//!
//! The key is a hash under a key that exists only in this process, over the stored password and the one that was given. So a
//! changed password misses the cache, and a dump of memory gives nothing that can be tried offline without that key.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// How long a success is remembered.
const KEPT: Duration = Duration::from_secs(60);
/// How many.
const ENTRIES: usize = 20_000;

/// The cache of successes.
pub struct Cache {
    key: [u8; 32],
    entries: Mutex<HashMap<[u8; 32], Instant>>,
}

impl Cache {
    /// An empty one.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key, entries: Mutex::default() }
    }

    /// What stands for a name, its stored password, and the password given.
    pub fn token(&self, name: &str, stored: &str, given: &[u8]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        for part in [name.as_bytes(), stored.as_bytes(), given] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        *hasher.finalize().as_bytes()
    }

    /// Has this succeeded lately?
    pub fn knows(&self, token: &[u8; 32], now: Instant) -> bool {
        self.entries.lock().get(token).is_some_and(|at| now.saturating_duration_since(*at) < KEPT)
    }

    /// It succeeded.
    pub fn remember(&self, token: [u8; 32], now: Instant) {
        let mut entries = self.entries.lock();
        if entries.len() >= ENTRIES {
            entries.retain(|_, at| now.saturating_duration_since(*at) < KEPT);
            if entries.len() >= ENTRIES {
                entries.clear();
            }
        }
        entries.insert(token, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_is_known_for_a_minute_and_only_with_the_same_password() {
        let cache = Cache::new([7; 32]);
        let now = Instant::now();
        let token = cache.token("a@example.com", "{PLAIN}x", b"x");
        assert!(!cache.knows(&token, now));
        cache.remember(token, now);
        assert!(cache.knows(&token, now + Duration::from_secs(59)));
        assert!(!cache.knows(&token, now + Duration::from_secs(60)));
        assert_ne!(token, cache.token("a@example.com", "{PLAIN}y", b"x"));
        assert_ne!(token, cache.token("a@example.com", "{PLAIN}x", b"y"));
    }
}
