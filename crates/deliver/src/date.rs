//! Dates as header fields have them (RFC 5322 §3.3), in UTC.

use culver_base::date::Date;
use std::time::Duration;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A moment since 1970.
pub fn rfc5322(at: Duration) -> String {
    let seconds = at.as_secs();
    let days = seconds / 86_400;
    let date = Date::from_days(i64::try_from(days).unwrap_or(0));
    let month = MONTHS.get(usize::from(date.month).wrapping_sub(1)).copied().unwrap_or("Jan");
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let day = DAYS.get(usize::try_from(days % 7).unwrap_or(0)).copied().unwrap_or("Thu");
    format!("{day}, {} {month} {:04} {h:02}:{m:02}:{s:02} +0000", date.day, date.year)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Second source: `date -u -R -d @N`.
    #[test]
    fn as_date_writes_them() {
        for (seconds, text) in [
            (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_795_457_045, "Mon, 23 Nov 2026 18:04:05 +0000"),
        ] {
            assert_eq!(rfc5322(Duration::from_secs(seconds)), text);
        }
    }
}
