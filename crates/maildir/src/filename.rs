//! The name of a message's file: `<base>[:2,<flags>[,<foreign>]]`, and how a new base is made.
//!
//! Pure functions on bytes: no name is refused, unknown letters and what follows a second comma are kept. Two names
//! are the same message when their bases are equal. The rules are Dovecot's, since both may serve one tree:
//! the base ends at the *first* `:`, the flags begin behind the *last* one.

use culver_base::SystemFlags;
use parking_lot::Mutex;
use std::cmp::Ordering;
use std::io::Write as _;

/// Keywords of a name as bits: bit 0 is the letter `a`, bit 25 is `z`. What a letter means is written in
/// `dovecot-keywords`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Letters(u32);

impl Letters {
    /// No keyword.
    pub const NONE: Self = Self(0);

    /// From bits; those above `z` are dropped.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits & 0x3ff_ffff)
    }
    /// As bits.
    pub const fn bits(self) -> u32 {
        self.0
    }
    /// With letter number `n` (0 is `a`); the same when there is no such letter.
    #[must_use]
    pub const fn with(self, n: u8) -> Self {
        if n < 26 { Self(self.0 | 1 << n) } else { self }
    }
    /// Has it letter number `n`?
    pub const fn has(self, n: u8) -> bool {
        n < 26 && self.0 >> n & 1 == 1
    }
    /// The numbers of its letters, ascending.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..26).filter(move |n| self.has(*n))
    }
}

/// What a name in `new` or `cur` is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A message.
    Message,
    /// Begins with a dot: not ours, skipped.
    Hidden,
    /// Begins with `:`, so that its base is empty: it gets a fresh base and goes to `new`.
    WithoutBase,
    /// Holds CR or LF, which cannot be written to the uidlist: ignored with a warning.
    Unusable,
}

/// What is to be done with a name that a directory scan found.
pub fn kind(name: &[u8]) -> Kind {
    match name.first() {
        None | Some(b'.') => Kind::Hidden,
        _ if name.iter().any(|b| matches!(b, b'\r' | b'\n')) => Kind::Unusable,
        Some(b':') => Kind::WithoutBase,
        Some(_) => Kind::Message,
    }
}

/// The part of the name that identifies the message: all before the first `:`.
pub fn base(name: &[u8]) -> &[u8] {
    name.split(|b| *b == b':').next().unwrap_or_default()
}

/// The letters behind `:2,`, with all that follows; `None` when the name has none (as in `new`).
fn info(name: &[u8]) -> Option<(usize, &[u8])> {
    let at = name.iter().rposition(|b| *b == b':')?;
    Some((at, name[at..].strip_prefix(b":2,").unwrap_or_default()))
}

/// System flags and keyword letters of a name. Letters that mean nothing to us are passed over.
pub fn flags(name: &[u8]) -> (SystemFlags, Letters) {
    let (mut system, mut letters) = (SystemFlags::NONE, Letters::NONE);
    let (_, info) = info(name).unwrap_or_default();
    for b in info.iter().take_while(|b| **b != b',') {
        match system_flag(*b) {
            Some(flag) => system = system.with(flag),
            None if b.is_ascii_lowercase() => letters = letters.with(b - b'a'),
            None => (),
        }
    }
    (system, letters)
}

fn system_flag(letter: u8) -> Option<SystemFlags> {
    Some(match letter {
        b'D' => SystemFlags::DRAFT,
        b'F' => SystemFlags::FLAGGED,
        b'R' => SystemFlags::ANSWERED,
        b'S' => SystemFlags::SEEN,
        b'T' => SystemFlags::DELETED,
        _ => return None,
    })
}

/// The same message's name with these flags: our letters in ASCII order, merged with the unknown ones that the
/// name has; what follows a second comma is kept. Always ends in an info part.
pub fn with_flags(name: &[u8], system: SystemFlags, letters: Letters) -> Vec<u8> {
    let (end, old) = info(name).map_or((name.len(), &b""[..]), |(at, old)| (at, old));
    let (old, foreign) = match old.iter().position(|b| *b == b',') {
        Some(comma) => old.split_at(comma),
        None => (old, &b""[..]),
    };
    let mut new = Vec::with_capacity(8);
    new.extend(b"DFRST".iter().filter(|b| system_flag(**b).is_some_and(|f| system.contains(f))));
    new.extend(letters.numbers().map(|n| b'a' + n));
    let mut out = Vec::with_capacity(end + 3 + new.len() + old.len() + foreign.len());
    out.extend_from_slice(&name[..end]);
    out.extend_from_slice(b":2,");
    let mut new = new.into_iter().peekable();
    for unknown in old.iter().filter(|b| system_flag(**b).is_none() && !b.is_ascii_lowercase()) {
        while let Some(ours) = new.next_if(|b| b < unknown) {
            out.push(ours);
        }
        out.push(*unknown);
    }
    out.extend(new);
    out.extend_from_slice(foreign);
    out
}

/// Sizes that a base tells.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Sizes {
    /// `S`: octets as stored (before any compression).
    pub stored: Option<u64>,
    /// `W`: octets with every line end as CRLF: RFC822.SIZE.
    pub wire: Option<u64>,
}

/// The sizes in a name. A field counts only if its digits are followed by `,`, `:` or the end.
pub fn sizes(name: &[u8]) -> Sizes {
    Sizes { stored: field(name, b'S'), wire: field(name, b'W') }
}

/// The size as stored that a name tells.
pub fn stored_size(name: &[u8]) -> Option<u64> {
    field(name, b'S')
}

fn field(name: &[u8], key: u8) -> Option<u64> {
    let mut commas = memchr::memchr_iter(b',', name);
    let rest = commas.find_map(|at| name[at + 1..].strip_prefix(&[key, b'=']))?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 || !matches!(rest.get(digits), None | Some(b',' | b':')) {
        return None;
    }
    rest[..digits].iter().try_fold(0u64, |n, b| n.checked_mul(10)?.checked_add(u64::from(b - b'0')))
}

/// Where a name stands in the order in which new messages get their UIDs: the number before the first dot, then the
/// microseconds behind `M`. Names that are equal in both stand in the order of their octets.
pub fn arrival_key(name: &[u8]) -> (u64, u64) {
    fn number(text: &[u8]) -> (Option<u64>, &[u8]) {
        let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
        let value = text[..digits]
            .iter()
            .try_fold(0u64, |n, b| n.checked_mul(10)?.checked_add(u64::from(b - b'0')))
            .filter(|_| digits > 0);
        (value, &text[digits..])
    }
    let (seconds, rest) = number(name);
    let rest = if seconds.is_some() { rest.strip_prefix(b".").unwrap_or_default() } else { b"" };
    let micros = rest.strip_prefix(b"M").and_then(|r| number(r).0);
    (seconds.unwrap_or(0), micros.unwrap_or(0))
}

/// The order of [`arrival_key`].
pub fn arrival_order(a: &[u8], b: &[u8]) -> Ordering {
    arrival_key(a).cmp(&arrival_key(b)).then_with(|| a.cmp(b))
}

/// A moment since 1970, as a base has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment {
    /// Seconds.
    pub seconds: u64,
    /// Microseconds below one second.
    pub micros: u32,
}

/// Makes bases that never repeat: `<seconds>.M<microseconds>P<pid>.<host>[,S=<octets>][,W=<octets>]`. Within one maker
/// the time grows with each base, by a microsecond if need be; two processes differ in pid, two hosts in name.
#[derive(Debug)]
pub struct BaseMaker {
    pid: u32,
    host: String,
    last: Mutex<Moment>,
}

impl BaseMaker {
    /// For this process on this host. `/`, `:` and `,` in the host's name are written as octal escapes, as the
    /// Maildir specification has it; control characters and blanks too.
    pub fn new(pid: u32, host: &str) -> Self {
        let mut safe = String::with_capacity(host.len());
        for c in host.chars() {
            match c {
                '/' | ':' | ',' | '\\' | '\0'..=' ' | '\x7f' => safe.push_str(&format!("\\{:03o}", c as u32)),
                c => safe.push(c),
            }
        }
        if safe.is_empty() {
            safe.push_str("localhost");
        }
        Self { pid, host: safe, last: Mutex::new(Moment { seconds: 0, micros: 0 }) }
    }

    /// The host name as it stands in bases and in lock files.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// A new base. `now` is the clock's time.
    pub fn next(&self, now: Moment, sizes: Sizes) -> Vec<u8> {
        let at = {
            let mut last = self.last.lock();
            if now > *last {
                *last = now;
            } else if last.micros < 999_999 {
                last.micros += 1;
            } else {
                *last = Moment { seconds: last.seconds + 1, micros: 0 };
            }
            *last
        };
        let mut out = format!("{}.M{}P{}.{}", at.seconds, at.micros, self.pid, self.host).into_bytes();
        append_sizes(&mut out, sizes);
        out
    }
}

/// Puts the size fields behind a base that has none.
pub fn append_sizes(base: &mut Vec<u8>, sizes: Sizes) {
    for (key, size) in [("S", sizes.stored), ("W", sizes.wire)] {
        if let Some(size) = size {
            // Writing to a vector does not fail.
            drop(write!(base, ",{key}={size}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(names: &str) -> SystemFlags {
        names.bytes().filter_map(system_flag).fold(SystemFlags::NONE, SystemFlags::with)
    }
    fn letters(text: &str) -> Letters {
        text.bytes().fold(Letters::NONE, |l, b| l.with(b - b'a'))
    }

    #[test]
    fn names_from_dovecot() {
        // As Dovecot 2.3.19 wrote them.
        let name = b"1700000000.M123456P4711.mail,S=2048,W=2099:2,FSac";
        assert_eq!(base(name), b"1700000000.M123456P4711.mail,S=2048,W=2099");
        assert_eq!(flags(name), (set("FS"), letters("ac")));
        assert_eq!(sizes(name), Sizes { stored: Some(2048), wire: Some(2099) });
    }

    #[test]
    fn flags_are_rewritten_and_the_unknown_is_kept() {
        for (old, system, keywords, new) in [
            ("b", "", "", "b:2,"),
            ("b", "S", "", "b:2,S"),
            ("b:2,", "ST", "", "b:2,ST"),
            ("b:2,PS", "T", "", "b:2,PT"),
            ("b:2,S", "SFRDT", "ba", "b:2,DFRSTab"),
            ("b:2,S,extra,S", "", "z", "b:2,z,extra,S"),
            ("b:2,AZ1~", "FS", "m", "b:2,AFSZ1m~"),
            ("b:1,exp", "S", "", "b:2,S"),
            ("b:x:2,T", "S", "", "b:x:2,S"),
        ] {
            let got = with_flags(old.as_bytes(), set(system), letters(keywords));
            assert_eq!(String::from_utf8(got).unwrap(), new, "{old}");
        }
        assert_eq!(flags(b"b:1,S"), (SystemFlags::NONE, Letters::NONE));
        assert_eq!(flags(b"b:2,S,a"), (set("S"), Letters::NONE));
        assert_eq!(flags(b"b:x:2,T").0, set("T"));
    }

    #[test]
    fn sizes_want_a_clean_end() {
        for (name, stored, wire) in [
            ("1.a.h,S=10", Some(10), None),
            ("1.a.h,W=11,S=10:2,", Some(10), Some(11)),
            ("1.a.h,S=10x", None, None),
            ("1.a.h,S=", None, None),
            ("1.a.h,S=99999999999999999999", None, None),
            ("1.a.hS=10", None, None),
        ] {
            assert_eq!(sizes(name.as_bytes()), Sizes { stored, wire }, "{name}");
        }
    }

    #[test]
    fn arrivals_are_in_order() {
        let mut names =
            ["x", "10.M5P1.h", "9.M99P1.h", "10.M40P1.h", "10.M5P1.a", "10.V1.h"].map(str::as_bytes);
        names.sort_by(|a, b| arrival_order(a, b));
        assert_eq!(
            names,
            ["x", "9.M99P1.h", "10.V1.h", "10.M5P1.a", "10.M5P1.h", "10.M40P1.h"].map(str::as_bytes)
        );
    }

    #[test]
    fn bases_never_repeat() {
        let maker = BaseMaker::new(7, "a/b:c");
        let now = Moment { seconds: 100, micros: 999_998 };
        let sizes = Sizes { stored: Some(1), wire: Some(2) };
        let made: Vec<_> = (0..3).map(|_| String::from_utf8(maker.next(now, sizes)).unwrap()).collect();
        assert_eq!(made[0], "100.M999998P7.a\\057b\\072c,S=1,W=2");
        assert_eq!(made[1], "100.M999999P7.a\\057b\\072c,S=1,W=2");
        assert_eq!(made[2], "101.M0P7.a\\057b\\072c,S=1,W=2");
        let back = Moment { seconds: 5, micros: 0 };
        assert!(maker.next(back, Sizes::default()).starts_with(b"101.M1P7."), "the clock went back");
    }

    #[test]
    fn odd_names_have_their_place() {
        assert_eq!(kind(b".nfs000"), Kind::Hidden);
        assert_eq!(kind(b":2,S"), Kind::WithoutBase);
        assert_eq!(kind(b"1\n.x"), Kind::Unusable);
        assert_eq!(kind(b"1.x"), Kind::Message);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in "[a-zA-Z0-9.,=]{1,12}(:2,[A-Za-z0-9]{0,6}(,[a-zS:]{0,4})?)?",
            bits in 0u8..32,
            keywords in 0u32..1 << 26,
        ) {
            let (system, letters) = (SystemFlags::from_bits(bits), Letters::from_bits(keywords));
            let new = with_flags(name.as_bytes(), system, letters);
            prop_assert_eq!(base(&new), base(name.as_bytes()));
            if name.matches(':').count() < 2 {
                prop_assert_eq!(flags(&new), (system, letters));
                prop_assert_eq!(with_flags(&new, system, letters), new);
            }
        }
    }
}
