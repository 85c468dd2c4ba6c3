//! The Date field (RFC 5322 §3.3), read forgivingly.

use crate::fields;
use culver_base::date::{Date, MONTHS};

/// The day on which a message says it was sent, its time and zone ignored (RFC 9051 §6.4.4: SENTON and kin).
pub fn sent_day(header: &[u8]) -> Option<Date> {
    day(&fields::last(header, b"Date")?.unfolded())
}

/// A Date field's value: the moment (RFC 5256 §2.2), and the day, its time and zone ignored.
///
/// Without a time it is midnight; a zone that is missing or unknown is UTC.
pub fn sent(value: &[u8]) -> (Option<i64>, Option<Date>) {
    let Some(day) = day(value) else { return (None, None) };
    let text = String::from_utf8_lossy(value);
    let mut words = text.split_whitespace().skip_while(|w| !w.contains(':'));
    let time = words.next().and_then(time).unwrap_or(0);
    let zone = words.next().map_or(0, zone);
    // RFC 5322 §3.3: the year is 1900 or later.
    let moment = (day.year >= 1900).then(|| day.days_since_epoch() * 86_400 + time - zone * 60);
    (moment, Some(day))
}

/// `hh:mm[:ss]` in seconds.
fn time(word: &str) -> Option<i64> {
    let mut numbers = word.split(':').map(|n| n.parse::<i64>().ok());
    let (hours, minutes) = (numbers.next()??, numbers.next()??);
    let seconds = numbers.next().flatten().unwrap_or(0);
    let valid = (0..24).contains(&hours) && (0..60).contains(&minutes) && (0..=60).contains(&seconds);
    valid.then_some(hours * 3600 + minutes * 60 + seconds)
}

/// A zone in minutes east of Greenwich, also those of RFC 5322 §4.3.
fn zone(word: &str) -> i64 {
    if let Some(digits) = word.strip_prefix(['+', '-'])
        && digits.len() == 4
        && let Ok(n) = digits.parse::<i64>()
    {
        let minutes = n / 100 * 60 + n % 100;
        return if word.starts_with('-') { -minutes } else { minutes };
    }
    let hours = match word.to_ascii_uppercase().as_str() {
        "EDT" => -4,
        "EST" | "CDT" => -5,
        "CST" | "MDT" => -6,
        "MST" | "PDT" => -7,
        "PST" => -8,
        _ => 0,
    };
    hours * 60
}

/// `[weekday ","] day month year ...`, also with a two-digit year (RFC 5322 §4.3).
fn day(value: &[u8]) -> Option<Date> {
    let text = String::from_utf8_lossy(value);
    let text = match text.split_once(',') {
        Some((weekday, rest)) if !weekday.trim().contains(' ') => rest,
        _ => &text,
    };
    let mut words = text.split(|c: char| c.is_whitespace() || c == '-').filter(|w| !w.is_empty()).peekable();
    if words.peek().is_some_and(|w| w.len() >= 3 && w.bytes().all(|b| b.is_ascii_alphabetic())) {
        // A weekday without a comma.
        words.next();
    }
    let day: u8 = words.next()?.parse().ok()?;
    let name = words.next()?;
    let month =
        MONTHS.iter().position(|m| name.get(..3).is_some_and(|n| n.eq_ignore_ascii_case(m)))? as u8 + 1;
    let digits = words.next()?;
    let year: u16 = digits.parse().ok()?;
    let year = match digits.len() {
        2 if year < 50 => year + 2000,
        2 | 3 => year + 1900,
        _ => year,
    };
    Date::new(year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_real_mail() {
        let table = [
            ("Fri, 21 Nov 1997 09:55:06 -0600", (1997, 11, 21)),
            ("21 Nov 97 09:55:06 GMT", (1997, 11, 21)),
            ("Thu, 13\r\n  Feb\r\n 1969 23:32 -0330", (1969, 2, 13)),
            ("Mon 5 Jan 2026 10:00:00 +0000", (2026, 1, 5)),
        ];
        for (value, (y, m, d)) in table {
            let header = format!("Date: {value}\r\n\r\n");
            assert_eq!(sent_day(header.as_bytes()), Date::new(y, m, d), "{value}");
        }
        // The moments by `date -u -d`.
        let moments = [
            ("Fri, 21 Nov 1997 09:55:06 -0600", 880_127_706),
            ("21 Nov 97 09:55:06 GMT", 880_106_106),
            ("21 Nov 97 09:55:06 EST", 880_124_106),
            ("21 Nov 1997", 880_070_400),
            ("21 Nov 1997 25:00:00 +0100", 880_066_800),
        ];
        for (value, unix) in moments {
            assert_eq!(sent(value.as_bytes()).0, Some(unix), "{value}");
        }
        assert_eq!(sent(b"Sat, 18 May 0102 19:56:53 -0900"), (None, Date::new(102, 5, 18)));
        assert_eq!(sent_day(b"Date: soon\r\n\r\n"), None);
        assert_eq!(sent_day(b"\r\n"), None);
    }
}
