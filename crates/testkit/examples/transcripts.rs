//! Runs transcripts by hand: `cargo run -p culver-testkit --example transcripts -- PEER [FILTER]`, where PEER is
//! `dovecot` or the path of a `culver` program.
#![allow(clippy::print_stdout, reason = "a tool that prints")]

use culver_testkit::transcript::{Outcome, run_all};
use culver_testkit::{Culver, CulverOptions, Dovecot, Peer, mail};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let peer = args.next().unwrap_or_default();
    let filter = args.next().unwrap_or_default();
    let peer: Box<dyn Peer> = match peer.as_str() {
        "dovecot" => Box::new(Dovecot::start()?),
        path => Box::new(Culver::start(path.as_ref(), CulverOptions { users: 300, ..Default::default() })?),
    };
    let mut failed = 0;
    for (name, outcome) in run_all(&mail::tests_dir().join("transcripts/imap"), &filter, &*peer)? {
        match outcome {
            Outcome::Passed => println!("passed   {name}"),
            Outcome::NotRun(why) => println!("not run  {name}: {why}"),
            Outcome::Differs(why) => println!("differs  {name}: {why}"),
            Outcome::Failed(why) => {
                failed += 1;
                println!("FAILED   {name}: {why}");
            }
        }
    }
    println!("{failed} failed");
    Ok(())
}
