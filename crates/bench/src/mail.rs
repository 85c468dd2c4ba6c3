//! Deterministic, realistic mail: sizes between 1 and 30 KB, plain and multipart, threads, odd subjects.

use anyhow::Result;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

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
];

/// A small generator (xorshift): the same mail on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

/// One message of about `size` octets, LF line ends.
pub fn message(seed: u64, size: usize) -> String {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut word = || WORDS[dice.roll(WORDS.len())];
    let (a, b, c) = (word(), word(), word());
    let mut m = String::with_capacity(size + 1024);
    // Writing to a String cannot fail.
    let _ = write!(
        m,
        "Return-Path: <{a}@example.org>\nReceived: from mx{seed}.example.net (mx.example.net [192.0.2.{}])\n\
         \tby mail.example.com with ESMTPS id {seed:x}\n\tfor <user@example.com>; Mon, 5 Jan 2026 10:00:00 +0000\n\
         From: \"{a} {b}\" <{a}.{b}@example.org>\nTo: user@example.com\nSubject: {a} {b} {c} {seed}\n\
         Date: Mon, 5 Jan 2026 10:{:02}:{:02} +0000\nMessage-ID: <{seed}@example.org>\n\
         In-Reply-To: <{}@example.org>\nMIME-Version: 1.0\nX-Priority: 3\n",
        seed % 250,
        seed / 60 % 60,
        seed % 60,
        seed.saturating_sub(1)
    );
    let text = |m: &mut String, size: usize, dice: &mut Dice| {
        let end = m.len() + size;
        while m.len() < end {
            for _ in 0..10 {
                m.push_str(WORDS[dice.roll(WORDS.len())]);
                m.push(' ');
            }
            m.push('\n');
        }
    };
    if seed.is_multiple_of(3) {
        m.push_str("Content-Type: multipart/alternative; boundary=\"=_b\"\n\n--=_b\nContent-Type: text/plain; charset=utf-8\n\n");
        text(&mut m, size / 3, &mut dice);
        m.push_str("--=_b\nContent-Type: text/html; charset=utf-8\n\n<html><body>\n");
        text(&mut m, size / 2, &mut dice);
        m.push_str("</body></html>\n--=_b--\n");
    } else {
        m.push_str("Content-Type: text/plain; charset=utf-8\n\n");
        text(&mut m, size, &mut dice);
    }
    if seed.is_multiple_of(500) {
        m.push_str("a needle in the haystack\n");
    }
    m
}

/// Fills a Maildir with `count` messages, all seen, as a server that delivered them would have named them.
///
/// # Errors
/// From the file system.
pub fn fill(maildir: &Path, count: u32) -> Result<()> {
    for dir in ["cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(dir))?;
    }
    for i in 0..u64::from(count) {
        let m = message(i, 1024 + (i as usize * 7919) % 4096);
        let wire = m.len() + m.bytes().filter(|b| *b == b'\n').count();
        let name = format!("{}.M{i}P1.bench,S={},W={wire}:2,S", 1_700_000_000 + i, m.len());
        let path = maildir.join("cur").join(name);
        fs::write(&path, m)?;
        let file = fs::File::options().write(true).open(&path)?;
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000 + i))?;
    }
    Ok(())
}
