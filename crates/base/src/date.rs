//! Dates and times, as arithmetic: no clock and no time zone database.

use crate::cursor::{Cursor, Malformed};
use std::fmt;

/// A calendar day (proleptic Gregorian), as SEARCH uses it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Date {
    /// Year, 0 to 9999.
    pub year: u16,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
}

/// English month names as RFC 5322 §3.3 and RFC 9051 §9 write them.
pub const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Date {
    /// `None` when there is no such day.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => return None,
        };
        (year <= 9999 && (1..=days).contains(&day)).then_some(Self { year, month, day })
    }

    /// Days since 1970-01-01.
    pub fn days_since_epoch(self) -> i64 {
        // Counting years from March puts the leap day at the end of the year.
        let y = i64::from(self.year) - i64::from(self.month <= 2);
        let m = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * m + 2) / 5 + i64::from(self.day) - 1;
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + day_of_year - 719_468
    }

    /// The day that lies `days` after 1970-01-01, held within years 0 to 9999.
    pub fn from_days(days: i64) -> Self {
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + i64::from(month <= 2);
        if !(0..=9999).contains(&year) {
            let end = if year < 0 { (0, 1, 1) } else { (9999, 12, 31) };
            return Self { year: end.0, month: end.1, day: end.2 };
        }
        Self { year: year as u16, month: month as u8, day: (doy - (153 * mp + 2) / 5 + 1) as u8 }
    }

    /// `date-text` (RFC 9051 §9): `1-Feb-1994`, one or two digits for the day.
    pub fn parse(c: &mut Cursor<'_>) -> Result<Self, Malformed> {
        const WANT: &str = "a date such as 1-Feb-1994";
        let at = c.malformed(WANT);
        let day = c.number(31, WANT)?;
        c.expect(b'-', WANT)?;
        let month = month(c, WANT)?;
        c.expect(b'-', WANT)?;
        let year = four_digits(c, WANT)?;
        Self::new(year, month, day as u8).ok_or(at)
    }
}

fn month(c: &mut Cursor<'_>, want: &'static str) -> Result<u8, Malformed> {
    let at = c.malformed(want);
    let name = c.take_n(3, want)?;
    let i = MONTHS.iter().position(|m| m.as_bytes().eq_ignore_ascii_case(name)).ok_or(at)?;
    Ok(i as u8 + 1)
}

fn four_digits(c: &mut Cursor<'_>, want: &'static str) -> Result<u16, Malformed> {
    let at = c.malformed(want);
    let digits = c.take_n(4, want)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(at);
    }
    Ok(digits.iter().fold(0, |n, d| n * 10 + u16::from(d - b'0')))
}

fn two_digits(c: &mut Cursor<'_>, want: &'static str) -> Result<u8, Malformed> {
    let at = c.malformed(want);
    match c.take_n(2, want)? {
        [a @ b'0'..=b'9', b @ b'0'..=b'9'] => Ok((a - b'0') * 10 + (b - b'0')),
        _ => Err(at),
    }
}

/// A moment with the zone in which it is written: INTERNALDATE (RFC 9051 §2.3.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InternalDate {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix: i64,
    /// Minutes east of Greenwich.
    pub offset: i16,
}

impl InternalDate {
    /// In Greenwich time.
    pub const fn utc(unix: i64) -> Self {
        Self { unix, offset: 0 }
    }

    /// The day in its own zone, as BEFORE, ON and SINCE compare it (RFC 9051 §6.4.4: "disregarding time and
    /// timezone").
    pub fn day(self) -> Date {
        Date::from_days(self.local().div_euclid(86_400))
    }

    fn local(self) -> i64 {
        self.unix + i64::from(self.offset) * 60
    }

    /// `date-time` without its quotes (RFC 9051 §9): `17-Jul-1996 02:44:25 -0700`, the day with a leading space
    /// or a zero.
    pub fn parse(c: &mut Cursor<'_>) -> Result<Self, Malformed> {
        const WANT: &str = "a date-time such as 17-Jul-1996 02:44:25 -0700";
        let at = c.malformed(WANT);
        let day = if c.take(b' ') { c.number(9, WANT)? as u8 } else { two_digits(c, WANT)? };
        c.expect(b'-', WANT)?;
        let month = month(c, WANT)?;
        c.expect(b'-', WANT)?;
        let date = Date::new(four_digits(c, WANT)?, month, day).ok_or(at.clone())?;
        c.expect(b' ', WANT)?;
        let h = two_digits(c, WANT)?;
        c.expect(b':', WANT)?;
        let m = two_digits(c, WANT)?;
        c.expect(b':', WANT)?;
        let s = two_digits(c, WANT)?;
        c.expect(b' ', WANT)?;
        let sign = match c.next_byte(WANT)? {
            b'+' => 1,
            b'-' => -1,
            _ => return Err(at),
        };
        let (zh, zm) = (two_digits(c, WANT)?, two_digits(c, WANT)?);
        // A leap second (60) is taken as the first second of the next minute.
        if h > 23 || m > 59 || s > 60 || zm > 59 {
            return Err(at);
        }
        let offset = sign * (i16::from(zh) * 60 + i16::from(zm));
        let local = date.days_since_epoch() * 86_400 + i64::from(h) * 3600 + i64::from(m) * 60 + i64::from(s);
        Ok(Self { unix: local - i64::from(offset) * 60, offset })
    }
}

/// Without quotes, the day with two digits (`date-day-fixed`; a space in front would be as good, and is harder to
/// read): `01-Feb-1994 02:44:25 +0000`.
impl fmt::Display for InternalDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = self.day();
        let t = self.local().rem_euclid(86_400);
        let z = self.offset.unsigned_abs();
        write!(
            f,
            "{:02}-{}-{:04} {:02}:{:02}:{:02} {}{:02}{:02}",
            d.day,
            MONTHS[usize::from(d.month) - 1],
            d.year,
            t / 3600,
            t / 60 % 60,
            t % 60,
            if self.offset < 0 { '-' } else { '+' },
            z / 60,
            z % 60
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rfcs_example() {
        // RFC 9051 §7.5.2: INTERNALDATE "17-Jul-1996 02:44:25 -0700", which is 837596665 by date(1).
        let d = InternalDate::parse(&mut Cursor::new(b"17-Jul-1996 02:44:25 -0700")).unwrap();
        assert_eq!((d.unix, d.offset), (837_596_665, -420));
        assert_eq!(d.to_string(), "17-Jul-1996 02:44:25 -0700");
        assert_eq!(d.day(), Date { year: 1996, month: 7, day: 17 });
        assert_eq!(InternalDate::utc(0).to_string(), "01-Jan-1970 00:00:00 +0000");
    }

    #[test]
    fn there_is_no_thirtieth_of_february() {
        assert!(Date::new(2024, 2, 30).is_none());
        assert!(Date::new(2024, 2, 29).is_some());
        assert!(Date::new(1900, 2, 29).is_none());
        assert!(Date::parse(&mut Cursor::new(b"31-Apr-2024")).is_err());
    }

    proptest! {
        #[test]
        fn days_and_dates_are_inverse(days in -700_000i64..2_900_000) {
            prop_assert_eq!(Date::from_days(days).days_since_epoch(), days);
        }
        #[test]
        fn a_date_time_is_read_back(unix in 0i64..32_000_000_000, offset in -1439i16..1440) {
            let d = InternalDate { unix, offset };
            prop_assert_eq!(InternalDate::parse(&mut Cursor::new(d.to_string().as_bytes())), Ok(d));
        }
    }
}
