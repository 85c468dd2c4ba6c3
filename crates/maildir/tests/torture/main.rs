//! Torture: random histories of sessions and other programs on a Maildir, with a fault at any system call, against a
//! model; see `faults.rs` for the faults, `power.rs` for the disk that loses what was not synced, `model.rs` for what is
//! promised.
//!
//! `make torture` runs 10,000 histories (`TORTURE_HISTORIES`), `make test` a few hundred with a fixed seed.
//! `TORTURE_SEED=n` runs one history and prints what it does, with `TORTURE_CALLS=1` every system call, with `TORTURE_LIST=1` what
//! is on disk in the end; `TORTURE_TIMES=n` does that so often, since not everything
//! follows from the seed: names and mod-sequences hold the time of day, and background work has its own pace.

#![allow(clippy::unwrap_used, reason = "a test fails where it fails")]
#![allow(clippy::disallowed_methods, reason = "a test looks at the disk")]
#![allow(clippy::print_stdout, reason = "counts are printed")]

mod dice;
mod faults;
mod history;
mod model;
mod outside;
mod power;
mod usage;
mod verbs;
mod world;

use history::History;
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use world::{Counts, World};

/// What `make test` runs.
const HISTORIES: u64 = 400;
/// The seed of the first history (`TORTURE_FIRST`); the others follow.
const FIRST_SEED: u64 = 1;

/// Histories that once went wrong, beside the others of [`HISTORIES`].
const ONCE_WRONG: &[u64] = &[
    // A journal that the power had cut was emptied when the disk was full; what it had reserved was forgotten.
    9732,
    // A client was told a UIDVALIDITY that was recorded nowhere, since the disk answered EIO.
    20849,
    // The model: what goes by an EXPUNGE that was not answered may come back with a power loss.
    23165,
    // A name changed before a kill, was not synced when the mailbox was then closed in order, and went with the power: as
    // if another program had changed the flags back.
    26072,
    // The look behind the installing of watches failed, and nobody looked again for what no event had told.
    26870,
    // A mailbox was opened without an index and without a dovecot-uidlist (no descriptors left); a UID that neither took later was
    // given again after a power loss.
    27399,
    // A checkpoint was replaced, but not for sure, and then the journal of the one before was emptied with what it had reserved.
    40194,
    // A lock of ours that the disk did not let us remove was waited for like another program's.
    43829,
    // A letter for a keyword went with the power, but not the journal's word that the name had it: as if another program had
    // cleared the keyword.
    46732,
    // The disk of the torture: a name that came back with a power loss did not show in its directory's time.
    40798,
    // A STORE was refused on a full disk, since the index had not been marked as incomplete when no descriptors were left, and
    // nobody tried again.
    584,
    // The last session left between an event that told of a file and the UID that the file gets: the directory was noted as
    // looked at, and after a kill nobody found the file.
    3180,
    // The model: what was expunged may come back with a power loss also to a mailbox whose UIDVALIDITY could not be recorded.
    47477,
    // The model: an expunged message that comes back with a power loss has the flags of its name; the index has forgotten it.
    4050, // The date of an appended message was set after its file had been synced.
    60216,
];

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.trim().parse().ok()
}

/// Runs one history. The error says what went wrong and what was done before.
fn run(history: History) -> Result<Counts, String> {
    let seed = history.seed;
    let mut world = World::new(history);
    let done = catch_unwind(AssertUnwindSafe(|| world.run()));
    let what = match done {
        Ok(Ok(())) => return Ok(world.counts),
        Ok(Err(what)) => what,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
        }
    };
    if std::env::var_os("TORTURE_LIST").is_some() {
        world.say(world.listing());
    }
    let h = &world.history;
    let head = format!(
        "history {seed}, power {:?}, sync_flags {}, lively {}, watched {}",
        h.power, h.sync_flags, h.lively, h.watched
    );
    Err(format!("{head}\n{}\n{what}\nagain: TORTURE_SEED={seed}", world.trace.join("\n")))
}

fn print(counts: &Counts, began: Instant) {
    println!("histories          {}", counts.histories);
    println!("steps              {}", counts.steps);
    println!("system calls       {}", counts.calls);
    println!("engines started    {}", counts.incarnations);
    let faults: u64 = counts.faults.values().sum();
    println!("faults             {faults}");
    for (fate, n) in &counts.faults {
        println!("  {fate:<16} {n}");
    }
    println!("points of fault    {} (verb, call, file, kind)", counts.points.len());
    println!("power losses       {}", counts.power_losses);
    println!("  names lost       {}", counts.lost.names);
    println!("  files cut        {}, with zeros {}", counts.lost.files_cut, counts.lost.files_zeroed);
    println!("checks             {}", counts.checks);
    println!("sums checked       {}", counts.sums);
    println!("messages checked   {}", counts.checked);
    println!(
        "  flags lost       {} (by power losses, or while no index could be written)",
        counts.flags_lost
    );
    println!("  new UIDs         {} (the same)", counts.new_uids);
    println!("  came back        {} (expunged, by power losses)", counts.came_back);
    println!("seconds            {:.1}", began.elapsed().as_secs_f64());
    println!(
        "counted: torture {} histories, {} system calls, {faults} faults at {} points, {} power losses, {} messages checked",
        counts.histories,
        counts.calls,
        counts.points.len(),
        counts.power_losses,
        counts.checked
    );
}

#[test]
fn histories() {
    let began = Instant::now();
    // As the engine sets it: what is made before the first one starts is to be like the rest.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    if let Some(seed) = number_of("TORTURE_SEED") {
        tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_test_writer().init();
        for _ in 0..number_of("TORTURE_TIMES").unwrap_or(1) {
            match run(History::from_seed(seed)) {
                Ok(counts) => print(&counts, began),
                Err(what) => panic!("{what}"),
            }
        }
        return;
    }
    let first = number_of("TORTURE_FIRST").unwrap_or(FIRST_SEED);
    let once = ONCE_WRONG.len() as u64;
    let wanted = once + number_of("TORTURE_HISTORIES").unwrap_or(HISTORIES);
    let (total, failures) = (Mutex::new(Counts::default()), Mutex::new(Vec::new()));
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= wanted || failures.lock().len() >= 5 {
                        return;
                    }
                    let seed = ONCE_WRONG.get(n as usize).copied().unwrap_or_else(|| first + n - once);
                    match run(History::from_seed(seed)) {
                        Ok(counts) => total.lock().add(counts),
                        Err(what) => failures.lock().push(what),
                    }
                }
            });
        }
        let mut told = Instant::now();
        while next.load(Ordering::Relaxed) < wanted && failures.lock().len() < 5 {
            std::thread::sleep(Duration::from_millis(20));
            if told.elapsed() > Duration::from_secs(10) {
                told = Instant::now();
                let total = total.lock();
                println!("{} histories, {:.0} s", total.histories, began.elapsed().as_secs_f64());
            }
        }
    });
    print(&total.lock(), began);
    let failures = failures.into_inner();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
