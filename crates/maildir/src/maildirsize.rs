//! `maildirsize`: how full an account is, for Courier, maildrop and Dovecot's `quota = maildir` on the same tree. Pure
//! but for [`load`], [`add`] and [`store`].
//!
//! The first line has the limits, `1000000S,1000C`. Each further line has octets and messages, both signed, to be added
//! up: the first of them is the sum when somebody last counted, the rest is what came and went since, appended without
//! a lock. A last line without LF is still being written and not counted.
//!
//! It is kept where it is found. Nothing here decides by it: our own sum is that of the index, and a file that says
//! something else is written anew. Between another program's rename of a message and its line, our count may come; then
//! the message is in the file twice until the next look.

use culver_quota::Usage;
use culver_store::io::{Dir, Durability};
use std::io;

/// The name of the file.
pub const NAME: &[u8] = b"maildirsize";
/// A longer one is to be written anew.
pub const LONGEST: usize = 5120;

/// Limits, as the first line has them; 0 and nothing are no limit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Limits {
    /// Octets.
    pub storage: Option<u64>,
    /// Messages.
    pub messages: Option<u64>,
}

/// What a file says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// Limits.
    pub limits: Limits,
    /// The sum; `None` when a line makes no sense or the sum is negative.
    pub usage: Option<Usage>,
}

/// Reads a file's content.
pub fn read(text: &[u8]) -> Said {
    let mut lines = text.split(|b| *b == b'\n');
    let limits = limits(lines.next().unwrap_or_default());
    let mut sums = (0i64, 0i64);
    let mut sound = !text.contains(&0);
    // What is behind the last LF is not a line yet.
    let complete = text.iter().filter(|b| **b == b'\n').count().saturating_sub(1);
    for line in lines.take(complete) {
        match numbers(line) {
            Some((octets, messages)) => {
                sums = (sums.0.saturating_add(octets), sums.1.saturating_add(messages));
            }
            None => sound = false,
        }
    }
    let sum = |n: i64| u64::try_from(n).ok().filter(|_| sound && complete > 0);
    let usage = sum(sums.0).zip(sum(sums.1)).map(|(storage, messages)| Usage { storage, messages });
    Said { limits, usage }
}

fn numbers(line: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(line).ok()?;
    let mut parts = text.split_ascii_whitespace();
    let both = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(both)
}

fn limits(line: &[u8]) -> Limits {
    let mut limits = Limits::default();
    for part in std::str::from_utf8(line).unwrap_or_default().split(',') {
        let Some(kind) = part.chars().last() else { continue };
        let number = part.get(..part.len() - kind.len_utf8()).and_then(|n| n.parse().ok());
        match kind {
            'S' => limits.storage = number.filter(|n| *n > 0),
            'C' => limits.messages = number.filter(|n| *n > 0),
            _ => (),
        }
    }
    limits
}

/// A file's content anew.
pub fn write(limits: Limits, usage: Usage) -> Vec<u8> {
    let storage = limits.storage.map(|n| format!("{n}S"));
    let messages = limits.messages.map(|n| format!("{n}C"));
    let mut parts: Vec<String> = storage.into_iter().chain(messages).collect();
    if parts.is_empty() {
        parts.push("0S".to_owned());
    }
    format!("{}\n{} {}\n", parts.join(","), usage.storage, usage.messages).into_bytes()
}

/// The file's content; `None` when there is none. A larger one than anybody lets grow is cut and will make no sense.
pub fn load(control: &Dir<'_>) -> io::Result<Option<Vec<u8>>> {
    match control.open_file(NAME) {
        Ok(file) => file.read_from(0, 2 * LONGEST).map(Some).or_else(|e| match e.kind() {
            io::ErrorKind::FileTooLarge => Ok(Some(vec![0; LONGEST])),
            _ => Err(e),
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Appends a line, if there is a file.
pub fn add(control: &Dir<'_>, octets: i64, messages: i64) -> io::Result<()> {
    match control.open_append(NAME) {
        // In one write, so that lines of several programs do not mix.
        Ok(mut file) => file.write_all(format!("{octets} {messages}\n").as_bytes()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// Replaces the file.
pub fn store(control: &Dir<'_>, limits: Limits, usage: Usage) -> io::Result<()> {
    // Another program's temporary name has no dot in front and its own host and process.
    control.write_replace(NAME, b".culver-maildirsize", &write(limits, usage), Durability::Later)
}

/// Is a file right as it is?
pub fn is_right(text: &[u8], limits: Option<Limits>, usage: Usage) -> bool {
    let said = read(text);
    text.len() < LONGEST && said.usage == Some(usage) && limits.is_none_or(|limits| limits == said.limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(storage: u64, messages: u64) -> Option<Usage> {
        Some(Usage { storage, messages })
    }

    /// Lines as Courier's README.maildirquota and Dovecot's quota-maildir.c describe them.
    #[test]
    fn reads() {
        let said = read(b"1000000S,1000C\n5000 3\n1000 1\n-2000 -1\n");
        assert_eq!(said.limits, Limits { storage: Some(1_000_000), messages: Some(1000) });
        assert_eq!(said.usage, usage(4000, 3));
        assert_eq!(read(b"0S\n0 0\n").limits, Limits::default());
        assert_eq!(read(b"1000C\n7 1\n90").usage, usage(7, 1), "a line that is still being written");
        assert_eq!(read(b"1000S\n         7            1\n").usage, usage(7, 1), "Courier pads");
        for wrong in
            [&b""[..], b"1000S", b"1000S\n", b"1S\nx y\n", b"1S\n1\n", b"1S\n5 1\n-6 0\n", b"1S\n1 1\0\n"]
        {
            assert_eq!(read(wrong).usage, None, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for (storage, messages, first) in [
            (Some(1 << 40), Some(7), "1099511627776S,7C"),
            (Some(1), None, "1S"),
            (None, Some(9), "9C"),
            (None, None, "0S"),
        ] {
            let limits = Limits { storage, messages };
            let text = write(limits, Usage { storage: 12, messages: 3 });
            assert_eq!(text, format!("{first}\n12 3\n").into_bytes());
            assert!(is_right(&text, Some(limits), Usage { storage: 12, messages: 3 }));
            assert!(!is_right(&text, None, Usage { storage: 13, messages: 3 }));
        }
        let long = [b"1S\n".as_slice(), &b"0 0\n".repeat(LONGEST / 4)].concat();
        assert!(!is_right(&long, None, Usage::default()));
    }
}
