//! Values that TOML has no type for: lengths of time and sizes, written as text with a unit.

use std::time::Duration;

/// A number of octets. 0 means without a limit where a setting says so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Size(pub u64);

/// Permissions of a file: `0660`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Mode(pub u32);

/// Octal digits, as chmod(1) has them; no special bits.
pub(crate) fn mode(text: &str) -> Option<Mode> {
    let digits = (3..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    u32::from_str_radix(text, 8).ok().filter(|bits| digits && *bits <= 0o777).map(Mode)
}

const TIMES: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// `30s`, `5 m`, `1h`, `7d`, `250ms`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let unit = match unit {
        "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hour" | "hours" => "h",
        "day" | "days" => "d",
        other => other,
    };
    let (_, factor) = TIMES.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_millis(number.checked_mul(*factor)?))
}

/// As [`duration`] reads it, in the largest unit that leaves a whole number.
pub(crate) fn print_duration(value: Duration) -> String {
    let ms = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    let (unit, factor) = TIMES.iter().rev().find(|(_, f)| ms.is_multiple_of(*f)).unwrap_or(&TIMES[0]);
    if ms == 0 { "0s".to_owned() } else { format!("{}{unit}", ms / factor) }
}

const SIZES: [(&str, u64); 5] =
    [("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// `64 MiB`, `1GiB`; also `64M`, as Dovecot writes it. Powers of 1024.
pub(crate) fn size(text: &str) -> Option<Size> {
    let (number, unit) = split(text)?;
    let unit = unit.to_ascii_lowercase();
    let (_, factor) = SIZES.iter().find(|(name, _)| {
        let name = name.to_ascii_lowercase();
        unit == name
            || (!unit.is_empty() && name.starts_with(&unit) && unit != "ki" && unit != "mi")
            || unit == name.replace('i', "")
    })?;
    number.checked_mul(*factor).map(Size)
}

/// As [`size`] reads it.
pub(crate) fn print_size(value: Size) -> String {
    let (unit, factor) =
        SIZES.iter().rev().find(|(_, f)| value.0 >= *f && value.0.is_multiple_of(*f)).unwrap_or(&SIZES[0]);
    format!("{}{unit}", value.0 / factor)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (text, ms) in
            [("30s", 30_000), ("5 m", 300_000), ("2 minutes", 120_000), ("1h", 3_600_000), ("250ms", 250)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "30", "m", "1.5h", "-1s", "99999999999999999999d", "1y"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
        for (text, octets) in [
            ("0", 0),
            ("4096", 4096),
            ("64 MiB", 64 << 20),
            ("64M", 64 << 20),
            ("1GB", 1 << 30),
            ("2k", 2048),
        ] {
            assert_eq!(size(text), Some(Size(octets)), "{text}");
        }
        for bad in ["", "MiB", "1XB", "99999999999TiB"] {
            assert_eq!(size(bad), None, "{bad}");
        }
        for value in [0, 1, 999, 60_000, 5_400_000, 86_400_000] {
            let value = Duration::from_millis(value);
            assert_eq!(duration(&print_duration(value)), Some(value));
        }
        for (text, bits) in [("0660", 0o660), ("600", 0o600), ("0777", 0o777)] {
            assert_eq!(mode(text), Some(Mode(bits)), "{text}");
        }
        for bad in ["", "66", "0888", "1777", "+660", "00660", "rw"] {
            assert_eq!(mode(bad), None, "{bad}");
        }
        for value in [0, 1, 1024, 1536, 3 << 30] {
            assert_eq!(size(&print_size(Size(value))), Some(Size(value)));
        }
    }
}
