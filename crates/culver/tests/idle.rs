//! IDLE hears of a change within 50 ms, whether it came through Culver or from another program.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test reports what it measured, fails by panic, and plays other programs on the file system"
)]

use culver_testkit::transcript::actor;
use culver_testkit::{Client, Response, mail, peer};
use std::time::{Duration, Instant};

/// What is promised; the median is held to it, for the machine may be busy.
const LIMIT: Duration = Duration::from_millis(50);
const ROUNDS: usize = 15;

/// Waits for an untagged response with this word at its second place.
fn hear(client: &mut Client, word: &str) -> Instant {
    loop {
        if let Response::Data(v) = client.read().unwrap()
            && v.get(1).is_some_and(|w| w.is(word))
        {
            return Instant::now();
        }
    }
}

fn median(mut times: Vec<Duration>, what: &str) {
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!("{what}: median {median:?}, longest {:?}", times[times.len() - 1]);
    assert!(median < LIMIT, "{what}: {median:?}");
}

#[test]
fn idle_hears_soon() {
    let server = peer::under_test(env!("CARGO_BIN_EXE_culver")).unwrap();
    let account = server.fresh_account();
    let mut writer = server.log_in(&account).unwrap();
    let mut listener = server.log_in(&account).unwrap();
    let message = mail::fixture("four.mbox:1").unwrap().remove(0);
    writer.ok("SELECT INBOX").unwrap();
    listener.ok("SELECT INBOX").unwrap();
    listener.send(b"i IDLE\r\n").unwrap();
    assert!(matches!(listener.read().unwrap(), Response::Continue(_)));

    let mut appended = Vec::new();
    for _ in 0..ROUNDS {
        writer.append("INBOX", "", &message.bytes).unwrap();
        let start = Instant::now();
        appended.push(hear(&mut listener, "EXISTS").saturating_duration_since(start));
    }
    median(appended, "after the OK of APPEND");

    let mut delivered = Vec::new();
    for _ in 0..ROUNDS {
        actor::deliver(&*server, &account.maildir, &message.bytes).unwrap();
        let start = Instant::now();
        delivered.push(hear(&mut listener, "EXISTS").saturating_duration_since(start));
    }
    median(delivered, "after a file came into new/");

    let mut flagged = Vec::new();
    for round in 0..ROUNDS {
        let sign = if round % 2 == 0 { '+' } else { '-' };
        let start = Instant::now();
        writer.ok(&format!("STORE 1 {sign}FLAGS.SILENT (\\Flagged)")).unwrap();
        flagged.push(hear(&mut listener, "FETCH").saturating_duration_since(start));
    }
    median(flagged, "from the start of STORE");
}
