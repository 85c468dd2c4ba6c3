//! Every transcript of `tests/transcripts`, against Culver, and against Dovecot as a check of the transcripts.
//!
//! `CULVER_TRANSCRIPT=move cargo test -p culver --test transcripts -- --nocapture` runs those with `move` in their name.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and plays other programs on the file system"
)]

use culver_testkit::transcript::{Outcome, run_all};
use culver_testkit::{Culver, CulverOptions, Dovecot, Peer, mail};

fn all_against(peer: &dyn Peer) {
    let filter = std::env::var("CULVER_TRANSCRIPT").unwrap_or_default();
    let outcomes = run_all(&mail::tests_dir().join("transcripts/imap"), &filter, peer).unwrap();
    let (mut passed, mut failed) = (0, Vec::new());
    for (name, outcome) in &outcomes {
        match outcome {
            Outcome::Passed => passed += 1,
            Outcome::NotRun(why) => println!("not run: {name} against {}: {why}", peer.name()),
            Outcome::Differs(why) => println!("differs: {name} against {}: {why}", peer.name()),
            Outcome::Failed(why) => failed.push(format!("{name}: {why}")),
        }
    }
    println!("{passed} of {} transcripts passed against {}", outcomes.len(), peer.name());
    if !failed.is_empty() {
        let log = peer.log();
        let tail = &log[log.char_indices().rev().nth(4000).map_or(0, |(i, _)| i)..];
        panic!(
            "{} transcripts failed\n\n{}\n\nend of the server's log:\n{tail}",
            failed.len(),
            failed.join("\n\n")
        );
    }
}

#[test]
fn culver() {
    let exe = env!("CARGO_BIN_EXE_culver").as_ref();
    all_against(&Culver::start(exe, CulverOptions { users: 400, ..Default::default() }).unwrap());
}

/// Dovecot counts as Culver does, by the sizes of files.
const QUOTA: &str = "mail_plugins = quota
protocol imap {
 mail_plugins = quota imap_quota
}
plugin {
 quota = maildir:User quota
 quota_rule = *:storage=100G:messages=10000000
}";

#[test]
fn dovecot() {
    match Dovecot::missing() {
        Some(why) => println!("not run: transcripts against dovecot: {why}"),
        None => all_against(&Dovecot::start_with(QUOTA).unwrap()),
    }
}
