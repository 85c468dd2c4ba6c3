//! The time of day, as something that tests can move.

/// A clock.
pub trait Clock: Send + Sync {
    /// Seconds of Unix time.
    fn now(&self) -> i64;
}

/// The machine's.
#[derive(Clone, Copy, Default, Debug)]
pub struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> i64 {
        i64::try_from(culver_events::clock::now().as_secs()).unwrap_or(i64::MAX)
    }
}
