//! Deterministic, realistic mail: the same octets on every machine.
//!
//! Headers as mail of today has them (several Received, a DKIM signature, encoded words), threads of real depth, plain
//! text, alternatives, attachments in base64, and text in quoted-printable ISO 8859-1. Every 500th message holds the needle
//! that SEARCH BODY looks for.

use std::fmt::Write as _;
use std::io;

/// What SEARCH BODY looks for.
pub const NEEDLE: &str = "needle in";
/// A word of the subject that SEARCH looks for.
pub const SUBJECT: &str = "quarterly";
/// When the first message came, in seconds since 1970; each comes 421 seconds after the one before.
const BEGIN: u64 = 1_700_000_000;

const WORDS: &[&str] = &[
    "invoice",
    "meeting",
    "quarterly",
    "report",
    "server",
    "holiday",
    "lunch",
    "contract",
    "draft",
    "release",
    "question",
    "answer",
    "update",
    "photos",
    "weekend",
    "order",
    "delivery",
    "ticket",
    "reminder",
    "thanks",
    "budget",
    "the",
    "and",
    "of",
    "for",
    "with",
    "please",
    "tomorrow",
    "attached",
    "customer",
];
const NAMES: &[&str] = &[
    "anna", "bernd", "carla", "dmitri", "eva", "farid", "grace", "hiro", "ines", "jakob", "katrin", "li",
    "maria", "nils", "olga", "pedro",
];

/// A small generator (xorshift).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
    fn of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.roll(list.len())]
    }
}

/// Which message this one answers: a good half are answers, to one of the thirty before them.
fn parent(seed: u64) -> Option<u64> {
    let mut dice = Dice::new(seed ^ 0x5EED);
    let back = 1 + dice.roll(30) as u64;
    (dice.roll(100) < 55).then(|| seed.checked_sub(back)).flatten()
}

/// The messages above this one, the root of the thread first.
fn ancestors(seed: u64) -> Vec<u64> {
    let mut line: Vec<u64> = std::iter::successors(parent(seed), |s| parent(*s)).take(30).collect();
    line.reverse();
    line
}

/// When this message came, in seconds since 1970.
pub fn arrival(seed: u64) -> u64 {
    BEGIN + seed * 421
}

/// How large small mail is, in octets of body: 200 to 2,600, as most mail is.
pub fn small(seed: u64) -> usize {
    200 + (seed as usize * 7919) % 2400
}

/// RFC 5322 §3.3 date-time of seconds since 1970, in UTC. Days to dates after Howard Hinnant's civil_from_days.
fn date_time(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + u64::from(month <= 2);
    format!(
        "{}, {day} {} {year} {:02}:{:02}:{:02} +0000",
        DAYS[(days % 7) as usize],
        MONTHS[(month - 1) as usize],
        time / 3600,
        time / 60 % 60,
        time % 60
    )
}

fn subject(seed: u64) -> String {
    let mut dice = Dice::new(seed ^ 0x50B1);
    let words: Vec<&str> = (0..2 + dice.roll(5)).map(|_| dice.of(WORDS)).collect();
    match dice.roll(12) {
        0 => format!("=?utf-8?Q?Gr=C3=BC=C3=9Fe:_{}?=", words.join("_")),
        1 => format!("[list] {}", words.join(" ")),
        _ => words.join(" "),
    }
}

fn text(m: &mut String, size: usize, dice: &mut Dice) {
    let end = m.len() + size;
    while m.len() < end {
        for _ in 0..9 {
            m.push_str(dice.of(WORDS));
            m.push(' ');
        }
        m.push('\n');
    }
}

fn base64(m: &mut String, size: usize, dice: &mut Dice) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for _ in 0..(size / 77).max(1) {
        m.extend((0..76).map(|_| char::from(LETTERS[dice.roll(64)])));
        m.push('\n');
    }
}

fn header(m: &mut String, seed: u64, dice: &mut Dice) {
    let (from, relay) = (dice.of(NAMES), dice.roll(250));
    let date = date_time(arrival(seed));
    let above = ancestors(seed);
    // Writing to a String cannot fail.
    let _ = write!(
        m,
        "Return-Path: <{from}@example.org>\nDelivered-To: user@example.com\n\
         Received: from mx{relay}.example.net (mx{relay}.example.net [192.0.2.{relay}])\n\
         \tby mail.example.com (Postfix) with ESMTPS id {seed:010X}\n\tfor <user@example.com>; {date}\n\
         Received: from [198.51.100.{relay}] (unknown [198.51.100.{relay}])\n\
         \tby mx{relay}.example.net (Postfix) with ESMTPSA id {:010X};\n\t{date}\n\
         DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d=example.org; s=2026;\n\tt={}; bh=",
        seed ^ 0xABCDE,
        arrival(seed)
    );
    base64(m, 77, dice);
    m.push_str("\th=Date:From:To:Subject:In-Reply-To:References;\n\tb=");
    base64(m, 77, dice);
    let name = match dice.roll(8) {
        0 => "=?iso-8859-1?Q?J=FCrgen_Wei=DF?=".to_owned(),
        _ => format!("\"{from} {}\"", dice.of(NAMES)),
    };
    let _ = write!(m, "Date: {date}\nFrom: {name} <{from}@example.org>\nTo: user@example.com");
    for _ in 0..dice.roll(4) {
        let _ = write!(m, ",\n\t{}@example.com", dice.of(NAMES));
    }
    let root = above.first().copied();
    let _ = write!(
        m,
        "\nSubject: {}{}\n",
        if root.is_some() { "Re: " } else { "" },
        subject(root.unwrap_or(seed))
    );
    let _ = writeln!(m, "Message-ID: <{seed:x}.{}@example.org>", arrival(seed));
    let id = |s: &u64| format!("<{s:x}.{}@example.org>", arrival(*s));
    if let Some(last) = above.last() {
        let references: Vec<String> = above.iter().map(id).collect();
        let _ = write!(m, "In-Reply-To: {}\nReferences: {}\n", id(last), references.join("\n "));
    }
    if dice.roll(5) == 0 {
        m.push_str("X-Priority: 3\nImportance: Normal\n");
    }
    m.push_str("MIME-Version: 1.0\n");
}

/// One message with a body of about `size` octets, LF line ends.
pub fn message(seed: u64, size: usize) -> String {
    let mut dice = Dice::new(seed);
    let mut m = String::with_capacity(size + 2048);
    header(&mut m, seed, &mut dice);
    let needle = if seed.is_multiple_of(500) { "a needle in the haystack\n" } else { "" };
    match dice.roll(10) {
        0..=4 => {
            m.push_str("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n");
            text(&mut m, size, &mut dice);
            m.push_str(needle);
        }
        5..=6 => {
            m.push_str("Content-Type: multipart/alternative; boundary=\"=_alt\"\n\n--=_alt\nContent-Type: text/plain; charset=utf-8\n\n");
            text(&mut m, size / 3, &mut dice);
            m.push_str(needle);
            m.push_str("--=_alt\nContent-Type: text/html; charset=utf-8\n\n<html><body>\n");
            text(&mut m, size * 2 / 3, &mut dice);
            m.push_str("</body></html>\n--=_alt--\n");
        }
        7 => {
            m.push_str("Content-Type: multipart/mixed; boundary=\"=_mixed\"\n\n--=_mixed\nContent-Type: text/plain; charset=us-ascii\n\n");
            text(&mut m, size / 5, &mut dice);
            m.push_str(needle);
            m.push_str("--=_mixed\nContent-Type: application/pdf; name=\"report.pdf\"\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=\"report.pdf\"\n\n");
            base64(&mut m, size * 4 / 5, &mut dice);
            m.push_str("--=_mixed--\n");
        }
        8 => {
            m.push_str("Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n");
            m.push_str("Gr=FC=DFe aus K=F6ln\n");
            text(&mut m, size, &mut dice);
            m.push_str(needle);
        }
        _ => {
            m.push_str("Content-Type: text/html; charset=utf-8\n\n<html><body><p>\n");
            text(&mut m, size, &mut dice);
            m.push_str(needle);
            m.push_str("</p></body></html>\n");
        }
    }
    m
}

/// The same with CRLF line ends, as it goes over the network.
pub fn on_wire(message: &str) -> String {
    message.replace('\n', "\r\n")
}

/// Writes one huge message of exactly `size` octets: a header and an attachment without an end.
///
/// # Errors
/// From `out`.
pub fn write_huge(out: &mut dyn io::Write, size: u64, line_end: &str) -> io::Result<()> {
    let header = "From: anna@example.org\nSubject: huge\nMIME-Version: 1.0\n\
                  Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n";
    let mut dice = Dice::new(1);
    let mut block = String::new();
    base64(&mut block, 1 << 20, &mut dice);
    let (header, block) = (header.replace('\n', line_end), block.replace('\n', line_end));
    let mut left = size;
    let mut next = header.as_bytes();
    while left > 0 {
        let n = next.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        out.write_all(&next[..n])?;
        left -= n as u64;
        next = block.as_bytes();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_every_time_and_about_as_large_as_asked() {
        for seed in 0..200 {
            let m = message(seed, 30_000);
            assert_eq!(m, message(seed, 30_000));
            assert!((28_000..36_000).contains(&m.len()), "{seed}: {}", m.len());
            assert!(!m.contains('\r'));
        }
    }

    /// What date(1) prints for the same seconds.
    #[test]
    fn dates() {
        assert_eq!(date_time(1_700_000_000), "Tue, 14 Nov 2023 22:13:20 +0000");
        assert_eq!(date_time(1_709_164_800), "Thu, 29 Feb 2024 00:00:00 +0000");
        assert_eq!(date_time(951_782_400), "Tue, 29 Feb 2000 00:00:00 +0000");
    }

    #[test]
    fn threads_are_many_and_not_deep() {
        let depth: Vec<usize> = (0..5000).map(|s| ancestors(s).len()).collect();
        let roots = depth.iter().filter(|d| **d == 0).count();
        assert!((1500..3500).contains(&roots), "{roots}");
        assert!(depth.iter().max().is_some_and(|d| (4..30).contains(d)));
    }

    #[test]
    fn needles_are_there() {
        for seed in (0..5000).step_by(500) {
            assert!(message(seed, 500).contains(NEEDLE), "{seed}");
        }
        assert!(!message(1, 500).contains(NEEDLE));
        assert!((0..2000).any(|s| subject(s).contains(SUBJECT)));
    }

    #[test]
    fn huge_is_exact() {
        for size in [0, 10, 5_000_001] {
            let mut out = Vec::new();
            write_huge(&mut out, size, "\r\n").unwrap();
            assert_eq!(out.len() as u64, size);
        }
    }
}
