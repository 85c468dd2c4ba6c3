//! Comparing what directories hold with what we know: pure, on listings.
//!
//! Outside programs do not lock. While we list a directory they rename files in it (`readdir` may then show a file
//! under both names or under none), move them from `new` to `cur` (shown in both or in none), deliver and delete. So a
//! listing proves little about what it does *not* show:
//!
//! * what is there under another name was renamed; that is believed at once;
//! * what is missing is only *maybe* gone ([`Findings::missing`]): the caller lists both directories again, and only
//!   what is missing twice is taken as expunged;
//! * the same base twice is reported ([`Findings::doubles`]): only `stat` can tell a file caught in mid-rename from
//!   two files.

use crate::filename::{self, Kind};
use crate::model::{Entry, Folder, Names, base_of};
use culver_base::Uid;
use culver_store::io::{Entries, EntryKind};
use rustc_hash::{FxHashMap, FxHashSet};

/// What a comparison found.
#[derive(Default, Debug)]
pub struct Findings {
    /// Known messages under another name or in the other directory.
    pub moved: Vec<(Uid, Entry)>,
    /// Bases that nobody knows, in no order.
    pub unknown: Vec<Entry>,
    /// Known messages of the listed directories that were not seen.
    pub missing: Vec<Uid>,
    /// A second file with the base of one that was seen (or is known): the first, the second.
    pub doubles: Vec<(Entry, Entry)>,
    /// Names that begin with a colon.
    pub without_base: Vec<Entry>,
    /// Directories among the messages.
    pub directories: Vec<Entry>,
    /// How many names cannot be served (line ends in them).
    pub unusable: usize,
}

/// Compares. A directory that was not listed is taken to hold what we know of it.
pub fn compare(names: &Names, new: Option<&Entries>, cur: Option<&Entries>) -> Findings {
    let mut found = Findings::default();
    let listed = |folder| match folder {
        Folder::New => new.is_some(),
        Folder::Cur => cur.is_some(),
    };
    let mut seen: FxHashSet<Uid> = FxHashSet::default();
    let mut moved: FxHashMap<Uid, usize> = FxHashMap::default();
    let mut fresh: FxHashMap<&[u8], usize> = FxHashMap::default();
    let all = new.into_iter().flat_map(|l| l.iter().map(|e| (Folder::New, e)));
    let all = all.chain(cur.into_iter().flat_map(|l| l.iter().map(|e| (Folder::Cur, e))));
    for (folder, entry) in all {
        let here = || Entry { name: entry.name.into(), folder };
        match filename::kind(entry.name) {
            Kind::Hidden => continue,
            Kind::Unusable => {
                found.unusable += 1;
                continue;
            }
            _ if entry.kind == EntryKind::Directory => {
                found.directories.push(here());
                continue;
            }
            _ if matches!(entry.kind, EntryKind::Link | EntryKind::Other) => continue,
            Kind::WithoutBase => {
                found.without_base.push(here());
                continue;
            }
            Kind::Message => (),
        }
        let base = base_of(entry.name);
        if let Some(uid) = names.uid_of(base) {
            // `uid_of` has just found it.
            let Some(known) = names.get(uid) else { continue };
            let first_sight = seen.insert(uid);
            if known.folder == folder && *known.name == *entry.name {
                // The name we know is there: whatever else was seen of that base is the double.
                if let Some(at) = moved.remove(&uid) {
                    let other = std::mem::replace(&mut found.moved[at].1, here());
                    found.doubles.push((here(), other));
                }
            } else if first_sight {
                moved.insert(uid, found.moved.len());
                found.moved.push((uid, here()));
            } else {
                let first = moved.get(&uid).map_or_else(|| known.clone(), |at| found.moved[*at].1.clone());
                found.doubles.push((first, here()));
            }
        } else if let Some(at) = fresh.get(base) {
            found.doubles.push((found.unknown[*at].clone(), here()));
        } else {
            fresh.insert(base, found.unknown.len());
            found.unknown.push(here());
        }
    }
    // Those put back above are where they were.
    found.moved.retain(|(uid, entry)| names.get(*uid) != Some(entry));
    found.missing =
        names.iter().filter(|(u, e)| listed(e.folder) && !seen.contains(u)).map(|(u, _)| u).collect();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Entries {
        let mut out = Entries::default();
        for n in names {
            let kind = if n.ends_with('/') { EntryKind::Directory } else { EntryKind::File };
            out.push(n.trim_end_matches('/').as_bytes(), kind, 1).unwrap();
        }
        out
    }
    fn known(names: &[(u32, Folder, &str)]) -> Names {
        let entry = |(u, f, n): &(u32, Folder, &str)| {
            (Uid::new(*u).unwrap(), Entry { name: n.as_bytes().into(), folder: *f })
        };
        let mut names = Names::from_sorted(names.iter().map(entry).collect());
        names.index();
        names
    }
    fn text(e: &Entry) -> &str {
        std::str::from_utf8(&e.name).unwrap()
    }

    #[test]
    fn renamed_missing_and_new() {
        let names = known(&[(1, Folder::Cur, "a:2,"), (2, Folder::New, "b"), (3, Folder::Cur, "c:2,S")]);
        let f = compare(
            &names,
            Some(&listing(&["d"])),
            Some(&listing(&["a:2,S", "b:2,", ".x", "sub/", ":2,S", "e\n"])),
        );
        assert_eq!(
            f.moved.iter().map(|(u, e)| (u.get(), text(e))).collect::<Vec<_>>(),
            [(1, "a:2,S"), (2, "b:2,")]
        );
        assert_eq!(f.unknown.iter().map(text).collect::<Vec<_>>(), ["d"]);
        assert_eq!(f.missing, [Uid::new(3).unwrap()]);
        assert_eq!((f.directories.len(), f.without_base.len(), f.unusable), (1, 1, 1));
    }

    #[test]
    fn only_what_was_listed_can_be_missing() {
        let names = known(&[(1, Folder::Cur, "a:2,"), (2, Folder::New, "b")]);
        let f = compare(&names, Some(&listing(&[])), None);
        assert_eq!(f.missing, [Uid::new(2).unwrap()]);
        assert!(f.moved.is_empty());
    }

    #[test]
    fn the_same_base_twice() {
        let names = known(&[(1, Folder::Cur, "a:2,")]);
        for (new, cur) in
            [(vec![], vec!["a:2,", "a:2,S"]), (vec![], vec!["a:2,S", "a:2,"]), (vec!["a"], vec!["a:2,"])]
        {
            let f = compare(&names, Some(&listing(&new)), Some(&listing(&cur)));
            assert!(f.moved.is_empty() && f.missing.is_empty(), "{f:?}");
            assert_eq!(f.doubles.len(), 1);
            assert_eq!(text(&f.doubles[0].0), "a:2,");
        }
        let f = compare(&names, Some(&listing(&["x", "a"])), Some(&listing(&["x:2,S", "a:2,T"])));
        assert_eq!(f.doubles.len(), 2);
        assert_eq!((f.moved.len(), f.unknown.len()), (1, 1));
    }
}
