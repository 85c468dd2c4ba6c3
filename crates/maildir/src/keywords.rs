//! `dovecot-keywords`: what the keyword letters `a` to `z` in file names stand for in one mailbox. Pure but for the
//! two functions at the end.
//!
//! Lines of `<number> <keyword>`. Gaps are allowed; entries are never removed, so that a letter keeps its meaning. What
//! cannot be read is skipped. With all 26 letters in use a further keyword lives in Culver's index only.

use crate::filename::Letters;
use culver_base::Keyword;
use culver_store::io::{Dir, Durability, Stat, Timestamp};
use std::io::{self, Write as _};

/// The name of the file.
pub const NAME: &[u8] = b"dovecot-keywords";
/// Under this name it is written before it is renamed. Guarded by the uidlist's lock; what an earlier process left is
/// removed.
pub const TEMPORARY: &[u8] = b"dovecot-keywords.lock";

/// Number of letters.
pub const CAPACITY: usize = 26;
/// Larger files are not read: 26 lines are some hundred octets.
const MOST: usize = 1 << 20;

/// The table of one mailbox.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Keywords {
    names: [Option<Vec<u8>>; CAPACITY],
}

impl Keywords {
    /// Reads the file's content; never fails. A last line without LF is not complete and does not count.
    pub fn read(text: &[u8]) -> Self {
        let mut table = Self::default();
        let complete = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at);
        for line in text[..complete].split(|b| *b == b'\n') {
            let Some(space) = line.iter().position(|b| *b == b' ') else { continue };
            let number =
                std::str::from_utf8(&line[..space]).ok().filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
            let Some(number) = number.and_then(|n| n.parse::<usize>().ok()) else { continue };
            let mut name = &line[space + 1..];
            while let Some(rest) = name.strip_suffix(b"\r") {
                name = rest;
            }
            let known = table.names.iter().flatten().any(|n| n.eq_ignore_ascii_case(name));
            match table.names.get_mut(number) {
                Some(slot @ None) if !name.is_empty() && !known => *slot = Some(name.to_vec()),
                _ => (),
            }
        }
        table
    }

    /// The file's content.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (number, name) in self.names.iter().enumerate() {
            if let Some(name) = name {
                // Writing to a vector does not fail.
                drop(write!(out, "{number} "));
                out.extend_from_slice(name);
                out.push(b'\n');
            }
        }
        out
    }

    /// The number of a keyword's letter.
    pub fn find(&self, keyword: &Keyword) -> Option<u8> {
        let text = keyword.as_str().as_bytes();
        let at = self.names.iter().position(|n| n.as_ref().is_some_and(|n| n.eq_ignore_ascii_case(text)))?;
        u8::try_from(at).ok()
    }

    /// The number of a keyword's letter, the first free one if it has none yet. `None` when all are in use.
    pub fn find_or_add(&mut self, keyword: &Keyword) -> Option<u8> {
        if let Some(number) = self.find(keyword) {
            return Some(number);
        }
        let at = self.names.iter().position(Option::is_none)?;
        self.names[at] = Some(keyword.as_str().as_bytes().to_vec());
        u8::try_from(at).ok()
    }

    /// What letter `number` stands for. A letter without a line, or whose line is not an atom, is `unknown-<number>`, as
    /// in Dovecot, with `?` behind it until it is unique. `None` for numbers above 25.
    pub fn name(&self, number: u8) -> Option<Keyword> {
        let slot = self.names.get(usize::from(number))?;
        let real = slot.as_ref().and_then(|n| std::str::from_utf8(n).ok()).and_then(Keyword::new);
        if real.is_some() {
            return real;
        }
        let mut text = format!("unknown-{number}");
        loop {
            let keyword = Keyword::new(&text)?;
            if self.find(&keyword).is_none() {
                return Some(keyword);
            }
            text.push('?');
        }
    }

    /// Has letter `number` a line?
    pub fn has_line(&self, number: u8) -> bool {
        self.names.get(usize::from(number)).is_some_and(Option::is_some)
    }

    /// The keywords of some letters.
    pub fn names(&self, letters: Letters) -> impl Iterator<Item = Keyword> {
        letters.numbers().filter_map(|n| self.name(n))
    }

    /// Is no letter in use?
    pub fn is_empty(&self) -> bool {
        self.names.iter().all(Option::is_none)
    }
}

/// Reads a control directory's file, with its metadata to see later whether it changed. `None` when there is none.
pub fn load(control: &Dir<'_>) -> io::Result<Option<(Keywords, Stat)>> {
    let file = match control.open_file(NAME) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let stat = file.stat()?;
    Ok(Some((Keywords::read(&file.read_from(0, MOST)?), stat)))
}

/// Replaces the file; the caller holds the uidlist's lock. The new one's mtime is later than `previous`, by which other
/// programs see the change.
pub fn store(
    control: &Dir<'_>,
    table: &Keywords,
    previous: Option<Timestamp>,
    sync: Durability,
) -> io::Result<Stat> {
    match control.unlink(TEMPORARY) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => (),
    }
    let write = || {
        let mut file = control.create_new(TEMPORARY)?;
        file.write_all(&table.write())?;
        let mut stat = file.stat()?;
        if let Some(previous) = previous.filter(|p| stat.mtime.seconds <= p.seconds) {
            file.set_mtime(Timestamp { seconds: previous.seconds + 1, nanoseconds: 0 })?;
            stat = file.stat()?;
        }
        if sync == Durability::OnDisk {
            file.sync_data()?;
        }
        control.rename_to(TEMPORARY, control, NAME)?;
        if sync == Durability::OnDisk {
            control.sync()?;
        }
        Ok(stat)
    };
    let done = write();
    if done.is_err() {
        drop(control.unlink(TEMPORARY));
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn word(text: &str) -> Keyword {
        Keyword::new(text).unwrap()
    }

    /// Written by Dovecot 2.3.19.1.
    const REAL: &[u8] = include_bytes!("../tests/dovecot/dovecot-keywords");

    #[test]
    fn dovecots_own_file() {
        let table = Keywords::read(REAL);
        assert_eq!(table.find(&word("$FORWARDED")), Some(0));
        assert_eq!(table.find(&word("work")), Some(1));
        assert_eq!(table.write(), REAL);
    }

    #[test]
    fn odd_lines_are_skipped() {
        let table = Keywords::read(b".customflags\n3 a\r\n3 b\n26 c\n-1 d\n+4 e\n x\n5 \n7 A\n9 last");
        assert_eq!(table.write(), b"3 a\n");
        assert_eq!(table.find(&word("A")), Some(3));
    }

    #[test]
    fn letters_are_given_from_the_first_gap_and_run_out() {
        let mut table = Keywords::read(b"0 a\n2 c\n");
        assert_eq!(table.find_or_add(&word("C")), Some(2));
        assert_eq!(table.find_or_add(&word("b")), Some(1));
        for n in 3..26 {
            assert_eq!(table.find_or_add(&word(&format!("k{n}"))), Some(n));
        }
        assert_eq!(table.find_or_add(&word("more")), None);
    }

    #[test]
    fn letters_without_a_line_have_a_name_still() {
        let table = Keywords::read(b"0 unknown-3\n1 not(an)atom\n");
        assert_eq!(table.name(3), Some(word("unknown-3?")));
        assert_eq!(table.name(1), Some(word("unknown-1")));
        assert_eq!(table.name(26), None);
        assert_eq!(table.write(), b"0 unknown-3\n1 not(an)atom\n", "what we cannot show stays");
    }

    proptest! {
        #[test]
        fn any_bytes(data in "([0-9]{1,3} ?[a-c$]{0,4}\r?\n?){0,12}") {
            crate::fuzz::fuzz_keywords(data.as_bytes());
        }
    }
}
