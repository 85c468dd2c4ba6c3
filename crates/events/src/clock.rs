//! The wall clock, as lines of the log need it.

use culver_base::date::Date;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Now, since 1970. A clock before 1970 counts as 1970.
#[allow(clippy::disallowed_methods, reason = "the log's clock; nothing is decided by it")]
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `2026-11-23T18:04:05.678Z`.
pub fn rfc3339(at: Duration) -> String {
    let seconds = at.as_secs();
    let day = Date::from_days(i64::try_from(seconds / 86_400).unwrap_or(i64::MAX / 2));
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let ms = at.subsec_millis();
    format!("{:04}-{:02}-{:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z", day.year, day.month, day.day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Second source: `date -u -d @N --iso-8601=seconds`.
    #[test]
    fn times_are_written_as_date_does() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_795_457_045, "2026-11-23T18:04:05.000Z"),
        ] {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), text);
        }
        assert!(rfc3339(Duration::MAX).len() < 40);
    }
}
