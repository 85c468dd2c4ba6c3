//! The clock of the storage: the one place in this crate that asks for the time of day.

use culver_store::io::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, since 1970. Before 1970 (a machine without a clock) it is 1970.
#[allow(clippy::disallowed_methods, reason = "the one function that asks")]
pub fn now() -> Timestamp {
    let d = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: i64::try_from(d.as_secs()).unwrap_or(i64::MAX), nanoseconds: d.subsec_nanos() }
}
