//! Rounds: each workload runs on all servers in turn, several times, so that a noisy minute of the machine meets all of
//! them. The medians count.

use crate::probe::{Figures, Probe, median, percentile};
use crate::server::Server;
use crate::workload::{Decides, Needs, Run, Sizes, WarmUp, Workload};
use anyhow::Result;
use std::time::Duration;

/// What came of a workload on one server.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It has run.
    Measured(Summary),
    /// The server has not what it needs; with what is missing.
    Missing(String),
    /// It has gone wrong; with the error.
    Failed(String),
}

impl Outcome {
    /// The figures, if there are any.
    pub fn summary(&self) -> Option<&Summary> {
        match self {
            Outcome::Measured(summary) => Some(summary),
            _ => None,
        }
    }
}

/// All rounds of a workload on one server.
#[derive(Clone, Debug)]
pub struct Summary {
    /// CPU time for one operation, microseconds.
    pub cpu_each: Option<f64>,
    /// CPU time of one run, seconds.
    pub cpu: Option<f64>,
    /// Operations in a second.
    pub rate: f64,
    /// Megabytes (10^6 octets) in a second over the connections.
    pub megabytes: f64,
    /// Half of all commands took no longer.
    pub p50: Duration,
    /// 99 of 100 commands took no longer.
    pub p99: Duration,
    /// Memory (PSS) of one operation, KiB.
    pub memory_each: Option<f64>,
    /// Memory (PSS), MiB.
    pub memory: Option<f64>,
}

impl Summary {
    fn of(rounds: &[Figures]) -> Summary {
        let each = |f: fn(&Figures) -> Option<f64>| median(rounds.iter().filter_map(f).collect());
        let latencies: Vec<Duration> = rounds.iter().flat_map(|f| f.latencies.iter().copied()).collect();
        Summary {
            cpu_each: each(|f| Some(f.cpu?.as_secs_f64() * 1e6 / f.operations as f64)),
            cpu: each(|f| Some(f.cpu?.as_secs_f64())),
            rate: each(|f| Some(f.operations as f64 / f.elapsed.as_secs_f64())).unwrap_or(0.0),
            megabytes: each(|f| Some(f.octets as f64 / 1e6 / f.elapsed.as_secs_f64())).unwrap_or(0.0),
            p50: percentile(&latencies, 50),
            p99: percentile(&latencies, 99),
            memory_each: each(|f| Some(f.memory? as f64 / f.operations as f64)),
            memory: each(|f| Some(f.memory? as f64 / 1024.0)),
        }
    }

    /// The figure that decides.
    pub fn deciding(&self, decides: Decides) -> Option<f64> {
        match decides {
            Decides::Cpu => self.cpu_each,
            Decides::Rate => Some(self.rate),
            Decides::Latency => Some(self.p50.as_secs_f64() * 1e3),
            Decides::MemoryEach => self.memory_each,
            Decides::MemoryPeak => self.memory,
        }
    }
}

/// Runs a workload on all servers.
pub fn workload(workload: &Workload, servers: &[Server], sizes: Sizes, rounds: usize) -> Vec<Outcome> {
    in_turns(servers, sizes, rounds, workload.needs, workload.warm_up, &workload.run)
}

/// Runs `work` on all servers in turn, `rounds` times, after a run that does not count if so told.
pub fn in_turns(
    servers: &[Server],
    sizes: Sizes,
    rounds: usize,
    needs: Needs,
    warm_up: WarmUp,
    work: &dyn Fn(&mut Run<'_>) -> Result<()>,
) -> Vec<Outcome> {
    let mut all: Vec<Result<Vec<Figures>, Outcome>> = servers
        .iter()
        .map(|s| needs.missing(s).map_or(Ok(Vec::new()), |what| Err(Outcome::Missing(what))))
        .collect();
    let before = usize::from(warm_up == WarmUp::Once);
    for round in 0..rounds + before {
        for (server, figures) in servers.iter().zip(&mut all) {
            let Ok(list) = figures else { continue };
            match once(server, sizes, work) {
                Ok(_) if round < before => {}
                Ok(one) => list.push(one),
                Err(why) => *figures = Err(Outcome::Failed(format!("{why:#}"))),
            }
        }
    }
    all.into_iter().map(|r| r.map_or_else(|o| o, |list| Outcome::Measured(Summary::of(&list)))).collect()
}

fn once(server: &Server, sizes: Sizes, work: &dyn Fn(&mut Run<'_>) -> Result<()>) -> Result<Figures> {
    let mut run = Run { server, sizes, probe: Probe::new(server.meter.as_ref()) };
    work(&mut run)?;
    if run.probe.figures.memory.is_none() {
        run.probe.figures.memory = run.probe.memory()?;
    }
    Ok(run.probe.figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_rounds() {
        let round = |ms: u64| Figures {
            operations: 10,
            elapsed: Duration::from_millis(ms),
            cpu: Some(Duration::from_millis(ms / 2)),
            latencies: vec![Duration::from_millis(ms); 10],
            octets: 1_000_000,
            memory: Some(2048),
        };
        let s = Summary::of(&[round(100), round(400), round(200)]);
        assert_eq!(s.deciding(Decides::Cpu), Some(10_000.0));
        assert_eq!(s.deciding(Decides::Rate), Some(50.0));
        assert_eq!(s.deciding(Decides::Latency), Some(200.0));
        assert_eq!(s.deciding(Decides::MemoryEach), Some(204.8));
        assert_eq!(s.deciding(Decides::MemoryPeak), Some(2.0));
        assert_eq!((s.megabytes, s.p99), (5.0, Duration::from_millis(400)));
    }
}
