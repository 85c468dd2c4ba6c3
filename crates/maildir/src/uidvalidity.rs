//! `dovecot-uidvalidity`: the last UIDVALIDITY that was given to a mailbox of the account, so that no two mailboxes,
//! also one after the other under one name, have the same.
//!
//! Eight hex digits in the file, and an empty companion `dovecot-uidvalidity.<8 hex>` whose renaming to the next number is
//! the lock: of two programs that try, one finds the name gone and takes the number after. When the files are missing
//! or broken, the highest companion counts; when there is none, the time of day.
//!
//! Fails only with the errors of the file system; the caller may then take [`fallback`].

use culver_base::UidValidity;
use culver_store::io::{Dir, Durability};
use std::io;

/// The name of the file; companions add a dot and the number.
pub const NAME: &[u8] = b"dovecot-uidvalidity";
const TEMPORARY: &[u8] = b"dovecot-uidvalidity.tmp";
/// So many other programs may be ahead of us.
const TRIES: u32 = 10;

/// Without any file: the time of day, in seconds since 1970.
pub fn fallback(now: i64) -> UidValidity {
    u32::try_from(now).ok().and_then(UidValidity::new).unwrap_or(UidValidity::MIN)
}

/// What [`next`] would give, if it could be written down.
pub fn unwritten(control_root: &Dir<'_>, now: i64) -> UidValidity {
    let current = control_root.read(NAME, 64).ok().and_then(|text| parse(&text));
    let after = current.and_then(|c| UidValidity::new(c.get().wrapping_add(1)));
    after.map_or_else(|| fallback(now), |after| after.max(fallback(now)))
}

/// Gives a new UIDVALIDITY, in the account's control root.
pub fn next(control_root: &Dir<'_>, now: i64) -> io::Result<UidValidity> {
    let current = match control_root.read(NAME, 64) {
        Ok(text) => parse(&text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => None,
        Err(e) => return Err(e),
    };
    let given = match current.map(|current| raise(control_root, current, now)).transpose()?.flatten() {
        Some(given) => given,
        None => scan(control_root, now)?,
    };
    let text = format!("{:08x}", given.get());
    control_root.write_replace(NAME, TEMPORARY, text.as_bytes(), Durability::Later)?;
    Ok(given)
}

fn parse(text: &[u8]) -> Option<UidValidity> {
    let text = std::str::from_utf8(text.get(..8)?).ok()?;
    if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(text, 16).ok().and_then(UidValidity::new)
}

fn companion(value: UidValidity) -> Vec<u8> {
    format!("dovecot-uidvalidity.{:08x}", value.get()).into_bytes()
}

/// Renames the companion of `from` (or of one of those after it) to a later one. `None`: there is none.
fn raise(dir: &Dir<'_>, from: UidValidity, now: i64) -> io::Result<Option<UidValidity>> {
    let mut from = from;
    for _ in 0..TRIES {
        let to = UidValidity::new(from.get().wrapping_add(1)).unwrap_or(UidValidity::MIN);
        let given = to.max(fallback(now));
        match dir.rename_to(&companion(from), dir, &companion(given)) {
            Ok(()) => return Ok(Some(given)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => from = to,
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

fn scan(dir: &Dir<'_>, now: i64) -> io::Result<UidValidity> {
    for _ in 0..TRIES {
        let entries = dir.read_dir()?;
        let mut found: Vec<UidValidity> = entries
            .iter()
            .filter_map(|e| {
                e.name.strip_prefix(b"dovecot-uidvalidity.").filter(|n| n.len() == 8).and_then(parse)
            })
            .collect();
        found.sort_unstable();
        match found.as_slice() {
            [] => {
                let first = fallback(now);
                match dir.create_new(&companion(first)) {
                    Ok(_) => return Ok(first),
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                    Err(e) => return Err(e),
                }
            }
            [others @ .., highest] => {
                for old in others {
                    drop(dir.unlink(&companion(*old)));
                }
                if let Some(given) = raise(dir, *highest, now)? {
                    return Ok(given);
                }
            }
        }
    }
    Ok(fallback(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use culver_store::io::{Io, IoSettings};

    fn with_dir(prepare: &[(&str, &str)], count: usize) -> (Vec<u32>, Vec<String>, String) {
        let temp = tempfile::tempdir().unwrap();
        for (name, text) in prepare {
            std::fs::write(temp.path().join(name), text).unwrap();
        }
        let io = Io::new(IoSettings { threads: 1, ..IoSettings::default() }).unwrap();
        let path = temp.path().to_owned();
        let given = io
            .run_blocking(None, move |fs| {
                let dir = fs.open_root(&path).unwrap();
                (0..count).map(|_| next(&dir, 0x5000_0000).unwrap().get()).collect()
            })
            .unwrap();
        let mut names: Vec<_> = std::fs::read_dir(temp.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|n| n != "dovecot-uidvalidity")
            .collect();
        names.sort();
        (given, names, std::fs::read_to_string(temp.path().join("dovecot-uidvalidity")).unwrap())
    }

    #[test]
    fn numbers_grow_whatever_is_there() {
        let main = "dovecot-uidvalidity";
        let c = |n: &str| format!("{main}.{n}");
        for (prepare, given, left) in [
            (vec![], vec![0x5000_0000, 0x5000_0001], "50000001"),
            (vec![(main.into(), "6b048248"), (c("6b048248"), "")], vec![0x6b04_8249], "6b048249"),
            (vec![(main.into(), "6b048248"), (c("6b04824b"), "")], vec![0x6b04_824c], "6b04824c"),
            (vec![(main.into(), "6b048248"), (c("6b050000"), "")], vec![0x6b05_0001], "6b050001"),
            (
                vec![(main.into(), "rubbish!"), (c("00000007"), ""), (c("00000009"), "")],
                vec![0x5000_0000],
                "50000000",
            ),
            (vec![(main.into(), "6b048248")], vec![0x5000_0000], "50000000"),
            (vec![(c("00000007"), "")], vec![0x5000_0000], "50000000"),
        ] {
            let prepare: Vec<(&str, &str)> =
                prepare.iter().map(|(n, t): &(String, &str)| (n.as_str(), *t)).collect();
            let got = with_dir(&prepare, given.len());
            assert_eq!(got, (given, vec![c(left)], left.to_owned()), "{prepare:?}");
        }
    }
}
