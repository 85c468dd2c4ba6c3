//! The tables, in Markdown. Every line is written as a whole, so that `culver-bench` can print as it goes.

use crate::growth::Row;
use crate::measure::{Outcome, Summary};
use crate::server::Server;
use crate::workload::{Decides, Goal, Sizes, Workload};

/// The head of the table of what decides.
pub fn deciding_head(servers: &[Server]) -> String {
    let names: Vec<&str> = servers.iter().map(|s| s.name.as_str()).collect();
    let head = format!("| workload | what decides | {} | ratio | target | met |\n", names.join(" | "));
    head + "|" + &" --- |".repeat(names.len() + 5) + "\n"
}

/// A row of the table of what decides. The first server is judged by the second.
pub fn deciding_row(workload: &Workload, outcomes: &[Outcome]) -> String {
    let values: Vec<Option<f64>> =
        outcomes.iter().map(|o| o.summary().and_then(|s| s.deciding(workload.decides))).collect();
    let cells: Vec<String> = outcomes
        .iter()
        .zip(&values)
        .map(|(outcome, value)| match (outcome, value) {
            (Outcome::Failed(_), _) => "failed".to_owned(),
            (_, Some(value)) => number(*value),
            (_, None) => "-".to_owned(),
        })
        .collect();
    let ours = values.first().copied().flatten();
    let theirs = values.get(1).copied().flatten();
    let ratio = ours.zip(theirs).map(|(ours, theirs)| match workload.decides {
        Decides::Rate => ours / theirs,
        _ => theirs / ours,
    });
    // Nothing by nothing: too little work to be seen.
    let ratio = ratio.filter(|r| r.is_finite());
    let (target, met) = match workload.goal {
        Goal::None => ("-".to_owned(), None),
        Goal::Times(times) => (format!("{times} x"), ratio.map(|r| r >= times)),
        Goal::AtMost(most) => (format!("at most {most}"), ours.map(|o| o <= most)),
    };
    let what = match workload.decides {
        Decides::Cpu => format!("us CPU per {}", workload.per),
        Decides::Rate => format!("per s: {}", workload.per),
        Decides::Latency => format!("ms: {}", workload.per),
        Decides::MemoryEach => format!("KiB per {}", workload.per),
        Decides::MemoryPeak => format!("MiB at the highest, one {}", workload.per),
    };
    format!(
        "| {} | {what} | {} | {} | {target} | {} |\n",
        workload.name,
        cells.join(" | "),
        ratio.map_or("-".to_owned(), |r| format!("{r:.1}")),
        met.map_or("-", |met| if met { "yes" } else { "no" })
    )
}

/// The head of the table with all figures.
pub const ALL_HEAD: &str = "| workload | server | operations/s | p50 ms | p99 ms | MB/s | CPU s | PSS MiB |\n\
                            | --- | --- | --- | --- | --- | --- | --- | --- |\n";

/// The rows of one workload in the table with all figures; one for each server.
pub fn all_rows(workload: &Workload, servers: &[Server], outcomes: &[Outcome]) -> String {
    let row = |(server, outcome): (&Server, &Outcome)| {
        let cells = match outcome {
            Outcome::Measured(s) => figures(s),
            Outcome::Missing(_) => vec!["-".to_owned(); 6],
            Outcome::Failed(_) => vec!["failed".to_owned(); 6],
        };
        format!("| {} | {} | {} |\n", workload.name, server.name, cells.join(" | "))
    };
    servers.iter().zip(outcomes).map(row).collect()
}

fn figures(s: &Summary) -> Vec<String> {
    let or_dash =
        |value: Option<f64>, decimals: usize| value.map_or("-".to_owned(), |v| format!("{v:.decimals$}"));
    vec![
        number(s.rate),
        number(s.p50.as_secs_f64() * 1e3),
        number(s.p99.as_secs_f64() * 1e3),
        format!("{:.1}", s.megabytes),
        or_dash(s.cpu, 3),
        or_dash(s.memory, 1),
    ]
}

/// The table of growth.
pub fn growth(rows: &[Row], servers: &[Server], sizes: Sizes) -> String {
    let counts = sizes.growth().map(|n| n.to_string());
    let mut table = format!("| us CPU of one step | server | {} | growth |\n", counts.join(" | "));
    table += "| --- | --- | --- | --- | --- | --- |\n";
    for row in rows {
        for (i, server) in servers.iter().enumerate() {
            let cpu = |o: &Vec<Outcome>| o.get(i)?.summary()?.cpu_each;
            let values: Vec<Option<f64>> = row.outcomes.iter().map(cpu).collect();
            let cells: Vec<String> = values.iter().map(|v| v.map_or("-".to_owned(), number)).collect();
            let ends = values.first().copied().flatten().zip(values.last().copied().flatten());
            let factor = ends.map_or("-".to_owned(), |(first, last)| format!("{:.1} x", last / first));
            table += &format!("| {} | {} | {} | {factor} |\n", row.step, server.name, cells.join(" | "));
        }
    }
    table
}

/// What went wrong or was missing, a line each.
pub fn remarks(name: &str, servers: &[Server], outcomes: &[Outcome]) -> String {
    let line = |(server, outcome): (&Server, &Outcome)| match outcome {
        Outcome::Measured(_) => None,
        Outcome::Missing(what) => Some(format!("- {name} on {}: {what}\n", server.name)),
        Outcome::Failed(why) => Some(format!("- {name} on {}: {}\n", server.name, why.replace('\n', " "))),
    };
    servers.iter().zip(outcomes).filter_map(line).collect()
}

/// Three digits that say something.
fn number(value: f64) -> String {
    match value.abs() {
        x if x >= 100.0 => format!("{value:.0}"),
        x if x >= 10.0 => format!("{value:.1}"),
        x if x >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn measured(cpu_each: f64, rate: f64) -> Outcome {
        Outcome::Measured(Summary {
            cpu_each: Some(cpu_each),
            cpu: Some(1.0),
            rate,
            megabytes: 1.0,
            p50: Duration::from_millis(4),
            p99: Duration::from_millis(9),
            memory_each: None,
            memory: None,
        })
    }

    fn row(name: &str, outcomes: &[Outcome]) -> String {
        deciding_row(crate::workload::ALL.iter().find(|w| w.name == name).unwrap(), outcomes)
    }

    #[test]
    fn ratios_and_targets() {
        let two = [measured(10.0, 300.0), measured(120.0, 100.0)];
        assert_eq!(row("login", &two), "| login | us CPU per login | 10.0 | 120 | 12.0 | 10 x | yes |\n");
        assert!(row("fetch-overview", &two).ends_with("| 12.0 | 15 x | no |\n"));
        assert!(row("append-16", &two).ends_with("| 300 | 100 | 3.0 | 2 x | yes |\n"));
        assert!(row("idle-latency", &two).ends_with("| 4.00 | 4.00 | 1.0 | at most 5 | yes |\n"));
        assert!(row("expunge", &two).ends_with("| 12.0 | - | - |\n"));
    }

    #[test]
    fn what_is_missing() {
        let half = [Outcome::Missing("no SORT".to_owned()), measured(1.0, 1.0)];
        assert!(row("sort", &half).ends_with("| - | 1.00 | - | 8 x | - |\n"));
        let failed = [Outcome::Failed("x".to_owned()), measured(1.0, 1.0)];
        assert!(row("sort", &failed).ends_with("| failed | 1.00 | - | 8 x | - |\n"));
        // One server alone is judged by absolute targets only.
        assert!(row("idle-latency", &[measured(1.0, 1.0)]).ends_with("| 4.00 | - | at most 5 | yes |\n"));
        assert!(row("login", &[measured(1.0, 1.0)]).ends_with("| 1.00 | - | 10 x | - |\n"));
    }
}
