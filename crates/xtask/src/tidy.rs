//! Promises of the repository about itself, as ordinary tests. `cargo xtask docs` mends most of them.

use crate::{docs, fuzz, rfcs, root};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_capability_has_its_transcript() {
    let missing: Vec<_> = culver_imap::capability::CAPABILITIES
        .iter()
        .filter(|c| !root().join(format!("tests/transcripts/imap/{}.txt", c.proof)).is_file())
        .map(|c| (c.token, c.proof))
        .collect();
    assert_eq!(missing, []);
    let missing: Vec<_> = culver_pop3::capability::CAPABILITIES
        .iter()
        .filter(|c| !root().join(format!("tests/transcripts/pop3/{}.txt", c.proof)).is_file())
        .map(|c| (c.token, c.proof))
        .collect();
    assert_eq!(missing, []);
}

#[test]
fn every_extension_of_lmtp_has_its_transcript() {
    let missing: Vec<_> = culver_lmtp::capability::CAPABILITIES
        .iter()
        .filter(|c| !root().join(format!("tests/transcripts/lmtp/{}.txt", c.proof)).is_file())
        .map(|c| (c.line, c.proof))
        .collect();
    assert_eq!(missing, []);
}

#[test]
fn every_fuzz_target_is_built() {
    let manifest = std::fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    let missing: Vec<_> = fuzz::targets()
        .unwrap()
        .into_iter()
        .filter(|t| !manifest.contains(&format!("name = \"{t}\"")))
        .collect();
    assert_eq!(missing, [""; 0], "fuzz/Cargo.toml has no [[bin]] for them");
}

#[test]
fn generated_pages_are_what_is_printed() {
    for (path, text) in docs::pages().unwrap() {
        let there = std::fs::read_to_string(root().join(path)).unwrap_or_default();
        assert!(there == text, "{path} is not what its source says: run `make docs`");
    }
}

#[test]
fn every_cited_rfc_and_section_is_listed_and_every_claim_is_cited() {
    let list = rfcs::list().unwrap();
    let by_number: BTreeMap<u32, &rfcs::Rfc> = list.rfc.iter().map(|r| (r.number, r)).collect();
    assert_eq!(by_number.len(), list.rfc.len(), "an RFC stands twice in rfcs.toml");
    let citations = rfcs::citations().unwrap();
    let mut wrong = Vec::new();
    for (number, files) in &citations {
        let Some(rfc) = by_number.get(number) else {
            wrong.push(format!("RFC {number} is cited in {:?} but not listed", files.keys().next()));
            continue;
        };
        if rfc.status == "planned" || rfc.status == "no" {
            wrong.push(format!("RFC {number} is {} but cited in {:?}", rfc.status, files.keys().next()));
        }
        let sections: BTreeSet<&str> = rfc.sections.split(' ').collect();
        for (file, cited) in files {
            for section in cited.iter().filter(|s| !rfc.sections.is_empty() && !sections.contains(s.as_str()))
            {
                wrong.push(format!("{file}: RFC {number} has no §{section}"));
            }
        }
    }
    for rfc in &list.rfc {
        match rfc.status.as_str() {
            "full" | "part" | "used" if !citations.contains_key(&rfc.number) => {
                wrong.push(format!("RFC {} is {} but cited nowhere", rfc.number, rfc.status));
            }
            "full" | "planned" => {}
            "part" | "used" | "no" if !rfc.gap.is_empty() => {}
            other => wrong.push(format!("RFC {}: status {other} without its word", rfc.number)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A rough bound: a file is one subject.
#[test]
fn files_are_one_subject_long_and_begin_with_their_promise() {
    let mut wrong = Vec::new();
    for path in files(&root().join("crates"), "rs") {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        if text.lines().count() > 900 {
            wrong.push(format!("{name} has {} lines", text.lines().count()));
        }
        if !text.starts_with("//!") && !name.ends_with("tests.rs") {
            wrong.push(format!("{name} has no head comment"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A language and its daemon are a pair: a manifest proves that pure crates know no files, sockets, clock or log.
#[test]
fn pure_crates_stay_pure() {
    for name in
        ["base", "imap", "pop3", "lmtp", "sasl", "auth-protocol", "mime", "snapshot", "config", "quota"]
    {
        let manifest = std::fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap();
        for word in
            ["tokio", "rustix", "libc", "tracing", "rusqlite", "culver-events", "culver-store", "culver-net"]
        {
            assert!(!manifest.lines().any(|l| l.starts_with(word)), "{name} depends on {word}");
        }
        for path in files(&root().join("crates").join(name).join("src"), "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            for word in ["std::fs", "std::net::Tcp", "SystemTime::now", "Instant::now"] {
                assert!(!text.contains(word), "{} uses {word}", path.display());
            }
        }
    }
}

/// Only the door to the file system, the sandbox and what calls libpam and NSS may leave safe Rust.
#[test]
fn unsafe_stays_where_it_is_allowed() {
    for path in files(&root().join("crates"), "rs") {
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let allowed = [
            "crates/store/src/io",
            "crates/culver/src/sandbox",
            "crates/helper/src/nss.rs",
            "crates/helper/src/pam.rs",
        ]
        .iter()
        .any(|room| name.starts_with(room));
        if allowed || name.ends_with("tidy.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["unsafe {", "unsafe fn", "unsafe impl", "allow(unsafe_code"] {
            assert!(!text.contains(word), "{name} holds `{word}`");
        }
    }
}

/// Every `pub fn fuzz_NAME` is a target of `make fuzz`.
#[test]
fn every_fuzz_function_has_its_target() {
    let targets = fuzz::targets().unwrap();
    let mut missing = Vec::new();
    for path in files(&root().join("crates"), "rs").into_iter().filter(|p| p.ends_with("fuzz.rs")) {
        if path.starts_with(root().join("crates/xtask")) {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for rest in text.split("pub fn fuzz_").skip(1) {
            let name = rest.split('(').next().unwrap_or_default();
            if !targets.iter().any(|t| t == name) {
                missing.push(name.to_owned());
            }
        }
    }
    assert_eq!(missing, [""; 0], "write fuzz/fuzz_targets/NAME.rs");
}

/// What lies on one machine has no place in the repository.
#[test]
fn no_file_names_a_place_outside_the_checkout() {
    for path in files(&root().join("crates"), "rs").into_iter().chain(files(&root().join("docs"), "md")) {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in [concat!("/wo", "rk/"), concat!("shared/", "corpus")] {
            assert!(!text.contains(word), "{} names {word}", path.display());
        }
    }
}
