//! One session of measuring: the chosen workloads on the given servers, printed as they come, and the whole text at the
//! end.

use crate::server::Server;
use crate::workload::{self, Sizes, Workload};
use crate::{floor, growth, measure, report};
use anyhow::Result;
use std::fmt::Write as _;
use std::io::Write as _;

/// The name of the table of growth among the workloads.
pub const GROWTH: &str = "growth";

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names of workloads; all when empty.
    pub only: Vec<String>,
    /// How large everything is.
    pub sizes: Sizes,
    /// How often each workload runs on each server.
    pub rounds: usize,
}

impl Plan {
    /// Whether this workload is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|o| o == name)
    }

    /// Refuses names that nothing has.
    ///
    /// # Errors
    /// The first such name, and the names that there are.
    pub fn check(&self) -> Result<()> {
        let names: Vec<&str> = workload::ALL.iter().map(|w| w.name).chain([GROWTH]).collect();
        match self.only.iter().find(|o| !names.contains(&o.as_str())) {
            None => Ok(()),
            Some(unknown) => anyhow::bail!("there is no workload {unknown}; there are: {}", names.join(" ")),
        }
    }
}

/// Tells how it goes on the error output.
fn tell(text: &str) {
    // Who does not read it does not want it.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Measures; gives back the tables.
///
/// # Errors
/// When the output cannot be written. What fails on a server stands in the tables.
pub fn run(servers: &[Server], plan: &Plan) -> Result<String> {
    let mut sizes = plan.sizes;
    let mut remarks = String::new();
    let smallest = servers.iter().filter_map(|s| Some((s.append_limit()?, &s.name))).min();
    if let Some((limit, name)) = smallest
        && limit < sizes.huge_append
    {
        sizes.huge_append = limit;
        let _ = writeln!(
            remarks,
            "- big-append: {} MB and not {}, as {name} takes no more (APPENDLIMIT)",
            limit / 1_000_000,
            plan.sizes.huge_append / 1_000_000
        );
        if servers.iter().any(|s| s.maildir.is_none()) {
            sizes.huge_fetch = limit;
        }
    }
    let mut deciding = report::deciding_head(servers);
    let mut all = report::ALL_HEAD.to_owned();
    for workload in workload::ALL.iter().filter(|w| plan.wants(w.name)) {
        tell(&format!("{} ...", workload.name));
        // A server must come to rest before and after what waits in it, for which a minute is soon gone.
        let rounds = if workload.decides == workload::Decides::MemoryEach { 1 } else { plan.rounds };
        let outcomes = measure::workload(workload, servers, sizes, rounds);
        let row = report::deciding_row(workload, &outcomes);
        tell(row.trim_end());
        deciding += &row;
        all += &report::all_rows(workload, servers, &outcomes);
        let said = report::remarks(workload.name, servers, &outcomes);
        tell(said.trim_end());
        remarks += &said;
        if workload.name == "fetch-body" {
            remarks += &floor_remark(workload, servers, &outcomes);
        }
    }
    let mut text = String::new();
    if workload::ALL.iter().any(|w| plan.wants(w.name)) {
        let _ = write!(text, "{deciding}\n{all}");
    }
    if plan.wants(GROWTH) {
        let rows = growth::run(servers, sizes, plan.rounds, |step| tell(&format!("growth: {step} ...")));
        let _ = write!(text, "\n{}", report::growth(&rows, servers, sizes));
        for (row, count) in rows
            .iter()
            .flat_map(|r| r.outcomes.iter().zip(sizes.growth()).map(move |o| (r, o)))
            .map(|(r, (o, n))| ((r.step, o), n))
        {
            remarks += &report::remarks(&format!("{} at {count}", row.0), servers, row.1);
        }
    }
    if !remarks.is_empty() {
        let _ = write!(text, "\n{remarks}");
    }
    Ok(text)
}

/// What FETCH of bodies costs beside the floor under it.
fn floor_remark(workload: &Workload, servers: &[Server], outcomes: &[measure::Outcome]) -> String {
    let Some(folder) = servers.iter().find_map(|s| Some(s.maildir.as_ref()?.folder("Bench-30k").join("cur")))
    else {
        return String::new();
    };
    let floor = match floor::measure(&folder) {
        Ok(floor) => floor,
        Err(why) => return format!("- the floor under {}: {why:#}\n", workload.name),
    };
    let mut text = format!(
        "- the floor under {}, to read the files and write them to a socket: {:.1} us of CPU a message, {:.0} MB/s",
        workload.name, floor.cpu_each, floor.megabytes
    );
    for (server, outcome) in servers.iter().zip(outcomes) {
        if let Some(cpu) = outcome.summary().and_then(|s| s.cpu_each) {
            let _ = write!(text, "; {} {:.2} x", server.name, cpu / floor.cpu_each);
        }
    }
    text + " (target: at most 1.5 x)\n"
}
