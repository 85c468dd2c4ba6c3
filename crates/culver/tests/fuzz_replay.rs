//! Every fuzz target without a fuzzer: its corpus, what was once found, and random input made from these.
//!
//! The input is the same in every run. `cargo xtask fuzz` looks further.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panic and reads its own files"
)]

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a fuzzer calls.
type Target = fn(&[u8]);

/// Name of the target and its function.
const TARGETS: &[(&str, Target)] = &[
    ("config", culver_config::fuzz::fuzz_config),
    ("frame", culver_imap::fuzz::fuzz_frame),
    ("parse", culver_imap::fuzz::fuzz_parse),
    ("pop3", culver_pop3::fuzz::fuzz_pop3),
    ("pop3_message", culver_pop3::fuzz::fuzz_pop3_message),
    ("lmtp", culver_lmtp::fuzz::fuzz_lmtp),
    ("lmtp_data", culver_lmtp::fuzz::fuzz_lmtp_data),
    ("sasl", culver_sasl::fuzz::fuzz_sasl),
    ("auth_protocol", culver_auth_protocol::fuzz::fuzz_auth_protocol),
    ("filename", culver_maildir::fuzz::fuzz_filename),
    ("uidlist", culver_maildir::fuzz::fuzz_uidlist),
    ("keywords", culver_maildir::fuzz::fuzz_keywords),
    ("subscriptions", culver_maildir::fuzz::fuzz_subscriptions),
    ("checkpoint", culver_maildir::fuzz::fuzz_checkpoint),
    ("journal", culver_maildir::fuzz::fuzz_journal),
    ("dovecot_index", culver_maildir::fuzz::fuzz_dovecot_index),
    ("login", culver_directory::fuzz::fuzz_login),
    ("system_line", culver_directory::fuzz::fuzz_system_line),
    ("passwd_line", culver_directory::fuzz::fuzz_passwd_line),
    ("stored", culver_auth::fuzz::fuzz_stored),
    ("mime_scan", culver_mime::fuzz::scan),
    ("mime_kept", culver_mime::fuzz::kept),
    ("cache_record", culver_maildir::fuzz::fuzz_cache_record),
    ("cache_index", culver_maildir::fuzz::fuzz_cache_index),
    ("mime_header", culver_mime::fuzz::header),
    ("mime_decode", culver_mime::fuzz::decode),
    ("lookup", culver_lookupd::fuzz::fuzz_lookup),
    ("policy", culver_lookupd::fuzz::fuzz_policy),
];

/// Random inputs per target, and when to stop all the same.
const ROUNDS: u32 = 3_000;
const TIME: Duration = Duration::from_millis(800);

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn files(dir: PathBuf) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        out.push((path.display().to_string(), fs::read(&path).unwrap()));
    }
    out.sort();
    out
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}

/// A seed with a few bytes changed, taken out, doubled, or crossed with another.
fn mutate(random: &mut Random, seeds: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut data = if seeds.is_empty() { Vec::new() } else { seeds[random.below(seeds.len())].1.clone() };
    for _ in 0..random.below(6) + 1 {
        let at = random.below(data.len() + 1);
        match random.below(6) {
            0 if at < data.len() => data[at] = random.below(256) as u8,
            1 if at < data.len() => data[at] ^= 1 << random.below(8),
            2 => data.truncate(at),
            3 => data.insert(at, random.below(256) as u8),
            4 => {
                let end = (at + random.below(16)).min(data.len());
                let piece = data[at..end].to_vec();
                data.splice(at..at, piece);
            }
            _ if !seeds.is_empty() => {
                let other = &seeds[random.below(seeds.len())].1;
                data.truncate(at);
                data.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
            _ => {}
        }
    }
    data
}

#[test]
fn corpora_findings_and_random_input() {
    let mut failures = Vec::new();
    for (name, target) in TARGETS {
        let seeds = files(fuzz_dir().join("corpus").join(name));
        let mut inputs = seeds.clone();
        inputs.extend(files(fuzz_dir().join("findings").join(name)));
        for (file, data) in &inputs {
            if catch_unwind(|| target(data)).is_err() {
                failures.push(format!("{name}: {file}"));
            }
        }
        let mut random = Random(0x9E37_79B9_7F4A_7C15);
        let start = Instant::now();
        for _ in 0..ROUNDS {
            let data = mutate(&mut random, &seeds);
            if catch_unwind(|| target(&data)).is_err() {
                failures.push(format!("{name}: b\"{}\"", data.escape_ascii()));
                break;
            }
            if start.elapsed() > TIME {
                break;
            }
        }
    }
    assert!(failures.is_empty(), "panics:\n{}", failures.join("\n"));
}

#[test]
fn every_target_is_here() {
    let mut there: Vec<String> = fs::read_dir(fuzz_dir().join("fuzz_targets"))
        .unwrap()
        .map(|e| e.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    there.sort();
    let mut here: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    here.sort_unstable();
    assert_eq!(there, here);
}
