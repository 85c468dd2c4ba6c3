//! The Date field (RFC 5322 §3.3), read forgivingly.

use crate::fields;
use culver_base::date::{Date, MONTHS};

/// The day on which a message says it was sent, its time and zone ignored (RFC 9051 §6.4.4: SENTON and kin).
pub fn sent_day(header: &[u8]) -> Option<Date> {
    day(&fields::last(header, b"Date")?.unfolded())
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
        assert_eq!(sent_day(b"Date: soon\r\n\r\n"), None);
        assert_eq!(sent_day(b"\r\n"), None);
    }
}
