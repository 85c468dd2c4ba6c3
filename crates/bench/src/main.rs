//! Culver beside Debian's Dovecot: the same mail, the same commands, the same machine, in turns.
//!
//! Machines are noisy, so the figure that decides is the server's CPU time for one operation, as a ratio within one
//! run; elapsed time stands beside it. Each workload runs on both servers in turn, several times, and the median
//! counts. What comes out is BENCHMARKS.md.

mod cpu;
mod driver;
mod mail;

use anyhow::{Context, Result};
use culver_testkit::peer::{Culver, CulverOptions, Dovecot, Peer};
use driver::Driver;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Messages in the mailbox that is read.
const MESSAGES: u32 = 20_000;
/// Rounds of each workload on each server.
const ROUNDS: usize = 3;

const HEADERS: &str = "INTERNALDATE FLAGS BODY.PEEK[HEADER.FIELDS \
                       (From Content-Type X-Priority Subject Importance Priority)]";
const OVERVIEW: &str = "UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE";

/// One server under load.
struct Target {
    name: &'static str,
    address: SocketAddr,
    user: String,
    password: String,
    pid: u32,
}

impl Target {
    fn log_in(&self) -> Result<Driver> {
        Driver::log_in(self.address, &self.user, &self.password)
    }
    fn selected(&self) -> Result<Driver> {
        let mut d = self.log_in()?;
        d.run("SELECT INBOX")?;
        Ok(d)
    }
}

/// A workload: its name, how many operations one run is, and the run.
struct Workload {
    name: &'static str,
    unit: &'static str,
    operations: u32,
    run: fn(&Target) -> Result<()>,
}

const WORKLOADS: &[Workload] = &[
    Workload { name: "login", unit: "login", operations: 200, run: login },
    Workload { name: "select", unit: "SELECT", operations: 200, run: select },
    Workload { name: "fetch-flags", unit: "message", operations: MESSAGES * 5, run: fetch_flags },
    Workload { name: "fetch-headers", unit: "message", operations: MESSAGES, run: fetch_headers },
    Workload { name: "fetch-overview", unit: "message", operations: MESSAGES, run: fetch_overview },
    Workload { name: "fetch-body", unit: "message", operations: MESSAGES, run: fetch_body },
    Workload { name: "search-subject", unit: "SEARCH", operations: 5, run: search_subject },
    Workload { name: "search-body", unit: "SEARCH", operations: 1, run: search_body },
    Workload { name: "store", unit: "message", operations: 5000 * 2, run: store },
    Workload { name: "store-single", unit: "STORE", operations: 400, run: store_single },
    Workload { name: "append-8k", unit: "message", operations: 300, run: append },
    Workload { name: "copy", unit: "message", operations: 1000, run: copy },
    Workload { name: "move", unit: "message", operations: 1000, run: move_back },
];

fn login(t: &Target) -> Result<()> {
    for _ in 0..200 {
        t.log_in()?.run("LOGOUT")?;
    }
    Ok(())
}
fn select(t: &Target) -> Result<()> {
    let mut d = t.log_in()?;
    for _ in 0..200 {
        d.run("SELECT INBOX")?;
    }
    Ok(())
}
fn fetch_flags(t: &Target) -> Result<()> {
    let mut d = t.selected()?;
    for _ in 0..5 {
        d.run("UID FETCH 1:* (FLAGS)")?;
    }
    Ok(())
}
fn fetch_headers(t: &Target) -> Result<()> {
    t.selected()?.run(&format!("UID FETCH 1:* ({HEADERS})")).map(drop)
}
fn fetch_overview(t: &Target) -> Result<()> {
    t.selected()?.run(&format!("UID FETCH 1:* ({OVERVIEW})")).map(drop)
}
fn fetch_body(t: &Target) -> Result<()> {
    t.selected()?.run("UID FETCH 1:* (BODY.PEEK[])").map(drop)
}
fn search_subject(t: &Target) -> Result<()> {
    let mut d = t.selected()?;
    for _ in 0..5 {
        d.run("UID SEARCH SUBJECT \"quarterly\"")?;
    }
    Ok(())
}
fn search_body(t: &Target) -> Result<()> {
    t.selected()?.run("UID SEARCH BODY \"needle in\"").map(drop)
}
fn store(t: &Target) -> Result<()> {
    let mut d = t.selected()?;
    d.run("STORE 1:5000 +FLAGS.SILENT (\\Flagged)")?;
    d.run("STORE 1:5000 -FLAGS.SILENT (\\Flagged)").map(drop)
}
fn store_single(t: &Target) -> Result<()> {
    let mut d = t.selected()?;
    for i in 0..200 {
        d.run(&format!("STORE {} +FLAGS.SILENT (\\Flagged)", 6000 + i))?;
        d.run(&format!("STORE {} -FLAGS.SILENT (\\Flagged)", 6000 + i))?;
    }
    Ok(())
}
fn append(t: &Target) -> Result<()> {
    let mut d = t.log_in()?;
    let message = mail::message(7, 8 * 1024);
    // The mailbox may be there from the round before.
    let _ = d.run("CREATE Appended");
    for _ in 0..300 {
        d.send("APPEND Appended (\\Seen)", message.as_bytes())?;
    }
    Ok(())
}
fn copy(t: &Target) -> Result<()> {
    let mut d = t.selected()?;
    let _ = d.run("CREATE Copies");
    d.run("COPY 1:1000 Copies").map(drop)
}
/// Moves the copies of this round out again, so that INBOX stays as it is.
fn move_back(t: &Target) -> Result<()> {
    let mut d = t.log_in()?;
    let _ = d.run("CREATE Moved");
    d.run("SELECT Copies")?;
    d.run("MOVE 1:1000 Moved").map(drop)
}

/// Elapsed and CPU time of one run.
type Figure = (Duration, Duration);

fn measure(workload: &Workload, target: &Target) -> Result<Figure> {
    let cpu = cpu::of_tree(target.pid)?;
    let start = Instant::now();
    (workload.run)(target).with_context(|| format!("{} on {}", workload.name, target.name))?;
    let elapsed = start.elapsed();
    Ok((elapsed, cpu::of_tree(target.pid)?.saturating_sub(cpu)))
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn micros(total: Duration, operations: u32) -> f64 {
    total.as_secs_f64() * 1e6 / f64::from(operations)
}

fn main() -> Result<()> {
    let program = std::env::args().nth(1).context("usage: culver-bench PATH-OF-CULVER [WORKLOAD ...]")?;
    let only: Vec<String> = std::env::args().skip(2).collect();
    if let Some(why) = Dovecot::missing() {
        anyhow::bail!("the peer is missing: {why}");
    }
    let culver =
        Culver::start(&PathBuf::from(program), CulverOptions { users: 1, ..CulverOptions::default() })?;
    let dovecot = Dovecot::start()?;
    let mut targets = Vec::new();
    for (peer, pid) in [(&culver as &dyn Peer, culver.pid()), (&dovecot as &dyn Peer, dovecot.pid())] {
        let account = peer.fresh_account();
        mail::fill(&account.maildir, MESSAGES)?;
        peer.own(account.maildir.parent().context("a Maildir has a parent")?)?;
        targets.push(Target {
            name: peer.name(),
            address: peer.imap(),
            user: account.user,
            password: account.password,
            pid,
        });
    }
    let mut table = String::new();
    row(
        &mut table,
        "workload",
        &["per", "Culver CPU us", "Dovecot CPU us", "ratio", "Culver us", "Dovecot us"],
    );
    row(&mut table, "---", &["---"; 6]);
    for t in &targets {
        // Warm: both have seen the mailbox once, and have what they keep of it.
        t.selected()?.run(&format!("UID FETCH 1:* ({OVERVIEW})"))?;
    }
    for workload in WORKLOADS.iter().filter(|w| only.is_empty() || only.iter().any(|o| o == w.name)) {
        let mut figures: Vec<Vec<Figure>> = vec![Vec::new(); targets.len()];
        for _ in 0..ROUNDS {
            for (target, figures) in targets.iter().zip(&mut figures) {
                figures.push(measure(workload, target)?);
            }
        }
        let of = |i: usize, f: fn(&Figure) -> Duration| {
            micros(median(figures[i].iter().map(f).collect()), workload.operations)
        };
        let (ours, theirs) = (of(0, |f| f.1), of(1, |f| f.1));
        let cells = [
            workload.unit.to_owned(),
            format!("{ours:.2}"),
            format!("{theirs:.2}"),
            if ours > 0.0 { format!("{:.1}", theirs / ours) } else { "below the clock".to_owned() },
            format!("{:.2}", of(0, |f| f.0)),
            format!("{:.2}", of(1, |f| f.0)),
        ];
        row(&mut table, workload.name, &cells.each_ref().map(String::as_str));
    }
    std::io::Write::write_all(&mut std::io::stdout(), table.as_bytes())?;
    if only.is_empty() {
        std::fs::write("BENCHMARKS.md", page(&table)).context("BENCHMARKS.md")?;
    }
    Ok(())
}

/// BENCHMARKS.md: what was measured, where, and how to measure again.
fn page(table: &str) -> String {
    let file = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpus = file("/proc/cpuinfo");
    let mut models =
        cpus.lines().filter_map(|l| l.strip_prefix("model name")?.split_once(": ").map(|(_, m)| m));
    let model = models.next().unwrap_or("unknown").trim().to_owned();
    let count = 1 + models.count();
    let dovecot = std::process::Command::new("dovecot").arg("--version").output();
    let dovecot = dovecot.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
    format!(
        "# Culver beside Dovecot\n\n\
         Printed by `make bench`; both servers run on one machine in turns, {ROUNDS} rounds each, the median counts. \
         A mailbox of {MESSAGES} messages; both have seen it once before. The ratio is Dovecot's CPU time by \
         Culver's: above 1 Culver needs less. CPU time is counted in ticks of 10 ms.\n\n\
         {count} x {model}; Dovecot {dovecot}; Culver {}.\n\n{table}",
        env!("CARGO_PKG_VERSION")
    )
}

fn row(table: &mut String, name: &str, cells: &[&str]) {
    // Writing to a String cannot fail.
    let _ = writeln!(table, "| {name} | {} |", cells.join(" | "));
}
