//! Transcripts of LMTP against Culver and Dovecot, and what has no form of its own in them.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and plays other programs on the file system"
)]

use culver_testkit::lmtp::{Lmtp, run_all};
use culver_testkit::transcript::Outcome;
use culver_testkit::{Culver, CulverOptions, Dovecot, Served, mail};
use std::path::Path;

fn all_against(at: &Lmtp<'_>) {
    let filter = std::env::var("CULVER_TRANSCRIPT").unwrap_or_default();
    let outcomes = run_all(&mail::tests_dir().join("transcripts/lmtp"), &filter, at).unwrap();
    let (name, mut passed, mut failed) = (at.peer.name(), 0, Vec::new());
    for (transcript, outcome) in &outcomes {
        match outcome {
            Outcome::Passed => passed += 1,
            Outcome::NotRun(why) => println!("not run: {transcript} against {name}: {why}"),
            Outcome::Differs(why) => println!("differs: {transcript} against {name}: {why}"),
            Outcome::Failed(why) => failed.push(format!("{transcript}: {why}")),
        }
    }
    println!("{passed} of {} transcripts passed against {name}", outcomes.len());
    let log = at.peer.log();
    let tail = &log[log.char_indices().rev().nth(4000).map_or(0, |(i, _)| i)..];
    assert!(failed.is_empty(), "{}\n\nend of the log:\n{tail}", failed.join("\n\n"));
}

fn culver(users: u32) -> Culver {
    Culver::start(Path::new(env!("CARGO_BIN_EXE_culver")), CulverOptions { users, ..Default::default() })
        .unwrap()
}

#[test]
fn transcripts() {
    let peer = culver(100);
    all_against(&Lmtp { peer: &peer, tcp: peer.lmtp(), unix: Some(peer.lmtp_socket()), proxied: false });
}

#[test]
fn transcripts_behind_a_proxy() {
    let settings = "lmtp.listen = [\"127.0.0.1:0\"]\nlmtp.proxy_from = [\"127.0.0.0/8\"]";
    let peer = Served::start(Path::new(env!("CARGO_BIN_EXE_culver")), settings, None).unwrap();
    all_against(&Lmtp { peer: &peer, tcp: peer.address("lmtp").unwrap(), unix: None, proxied: true });
}

#[test]
fn transcripts_against_dovecot() {
    if let Some(why) = Dovecot::missing() {
        println!("not run: LMTP against dovecot: {why}");
        return;
    }
    if !Path::new("/usr/lib/dovecot/lmtp").exists() {
        println!("not run: LMTP against dovecot: apt-get install dovecot-lmtpd");
        return;
    }
    let (settings, tcp) = Dovecot::with_lmtp().unwrap();
    let peer = Dovecot::start_with(&settings).unwrap();
    all_against(&Lmtp { peer: &peer, tcp, unix: None, proxied: false });
}
