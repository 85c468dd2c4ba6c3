//! POP3 against a running server: the transcripts of `tests/transcripts/pop3`, on Culver and on Dovecot.
//!
//! `CULVER_TRANSCRIPT=top cargo test -p culver --test pop3 -- --nocapture` runs those with `top` in their name.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and plays other programs on the file system"
)]

use culver_testkit::served::Pair;
use culver_testkit::transcript::{Outcome, Transcript, pop3};
use culver_testkit::{Dovecot, Peer, Served, mail};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Transcripts by the settings that they want.
fn groups() -> BTreeMap<Vec<(String, String)>, Vec<Transcript>> {
    let filter = std::env::var("CULVER_TRANSCRIPT").unwrap_or_default();
    let mut groups: BTreeMap<_, Vec<Transcript>> = BTreeMap::new();
    for transcript in pop3::load_all(&mail::tests_dir().join("transcripts/pop3"), &filter).unwrap() {
        groups.entry(transcript.settings.clone()).or_default().push(transcript);
    }
    groups
}

/// Each group on a server of its own, all at once.
fn all_against(start: impl Fn(&[(String, String)], &[Transcript]) -> Option<Box<dyn Peer>> + Sync) {
    let outcomes = parking_lot::Mutex::new(Vec::new());
    let groups = groups();
    let (outcomes_of, start) = (&outcomes, &start);
    std::thread::scope(|scope| {
        for (settings, transcripts) in &groups {
            scope.spawn(move || {
                let peer = start(settings, transcripts);
                for transcript in transcripts {
                    let outcome = match &peer {
                        Some(peer) => pop3::run(transcript, &**peer),
                        None => Outcome::NotRun("it has no such setting".to_owned()),
                    };
                    outcomes_of.lock().push((transcript.name.clone(), outcome));
                }
            });
        }
    });
    let (mut passed, mut failed) = (0, Vec::new());
    let mut outcomes = outcomes.into_inner();
    outcomes.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, outcome) in &outcomes {
        match outcome {
            Outcome::Passed => passed += 1,
            Outcome::NotRun(why) => println!("not run: {name}: {why}"),
            Outcome::Differs(why) => println!("differs: {name}: {why}"),
            Outcome::Failed(why) => failed.push(format!("{name}: {why}")),
        }
    }
    println!("{passed} of {} transcripts of POP3 passed", outcomes.len());
    assert!(failed.is_empty(), "{} transcripts failed\n\n{}", failed.len(), failed.join("\n\n"));
}

/// `culver serve` with these settings of `[pop3]`.
fn served(settings: &[(String, String)]) -> Served {
    let mut text = String::new();
    for (name, value) in settings {
        let value = match value.as_str() {
            "yes" => "true".to_owned(),
            "no" => "false".to_owned(),
            list if name == "client_workarounds" => {
                format!("{:?}", list.split(',').collect::<Vec<_>>())
            }
            text => format!("{text:?}"),
        };
        writeln!(text, "pop3.{name} = {value}").unwrap();
    }
    let pair = culver_net::tls::self_signed(&["localhost"]).unwrap();
    let pair = Pair { certificate: pair.certificate, key: pair.key };
    Served::start(env!("CARGO_BIN_EXE_culver").as_ref(), &text, Some(&pair)).unwrap()
}

#[test]
fn transcripts_on_culver() {
    all_against(|settings, _| Some(Box::new(served(settings))));
}

#[test]
fn transcripts_on_dovecot() {
    if let Some(why) = Dovecot::missing() {
        println!("not run: transcripts of POP3 against dovecot: {why}");
        return;
    }
    all_against(|settings, transcripts| {
        let is_run = |t: &Transcript| !t.dovecot.as_deref().is_some_and(|d| d.starts_with("not run"));
        if !transcripts.iter().any(is_run) {
            return None;
        }
        // Without the waits that grow with failed logins.
        let mut text = "service anvil {\n unix_listener anvil-auth-penalty {\n mode = 0\n }\n}\n".to_owned();
        for (name, value) in settings {
            writeln!(text, "pop3_{name} = {}", value.replace(',', " ")).unwrap();
        }
        Some(Box::new(Dovecot::start_with(&text).unwrap()))
    });
}
