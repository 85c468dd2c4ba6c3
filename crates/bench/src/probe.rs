//! What one run of a workload is measured by. Only what happens inside [`Probe::span`] counts; preparing and clearing
//! away stand outside.

use crate::driver::Driver;
use crate::meter::Meter;
use anyhow::Result;
use std::time::{Duration, Instant};

/// The figures of one run.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// How many of what the workload counts.
    pub operations: u64,
    /// From the first command to the last answer.
    pub elapsed: Duration,
    /// CPU time of the server, until it rests again; absent when its process is not known.
    pub cpu: Option<Duration>,
    /// Each command, from its first octet to the end of its answer.
    pub latencies: Vec<Duration>,
    /// Octets over the connections, both ways.
    pub octets: u64,
    /// Memory of the server (PSS) in KiB: afterwards, or what the workload itself has found.
    pub memory: Option<u64>,
}

/// Collects the figures of one run on one server.
#[derive(Debug)]
pub struct Probe<'a> {
    meter: Option<&'a Meter>,
    /// What has come together.
    pub figures: Figures,
}

/// The part of a run that counts.
#[derive(Debug, Default)]
pub struct Span {
    operations: u64,
    latencies: Vec<Duration>,
    octets: u64,
}

impl<'a> Probe<'a> {
    /// Nothing measured yet.
    pub fn new(meter: Option<&'a Meter>) -> Probe<'a> {
        Probe { meter, figures: Figures::default() }
    }

    /// Measures `work` and adds it up.
    ///
    /// # Errors
    /// From `work`, or when the kernel does not tell the CPU time.
    pub fn span<T>(&mut self, work: impl FnOnce(&mut Span) -> Result<T>) -> Result<T> {
        let mut span = Span::default();
        let before = self.meter.map(Meter::cpu).transpose()?;
        let start = Instant::now();
        let result = work(&mut span)?;
        self.figures.elapsed += start.elapsed();
        if let (Some(meter), Some(before)) = (self.meter, before) {
            let used = meter.cpu_at_rest()?.saturating_sub(before);
            self.figures.cpu = Some(self.figures.cpu.unwrap_or_default() + used);
        }
        self.figures.operations += span.operations;
        self.figures.latencies.append(&mut span.latencies);
        self.figures.octets += span.octets;
        Ok(result)
    }

    /// Measures `work`, and the highest memory meanwhile.
    ///
    /// # Errors
    /// As [`Probe::span`].
    pub fn span_with_peak<T>(&mut self, work: impl FnOnce(&mut Span) -> Result<T>) -> Result<T> {
        let Some(meter) = self.meter else { return self.span(work) };
        let (result, peak) = meter.peak(|| self.span(work));
        self.figures.memory = self.figures.memory.max(Some(peak));
        result
    }

    /// Memory of the server (PSS) in KiB, when its process is known.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn memory(&self) -> Result<Option<u64>> {
        self.meter.map(Meter::pss).transpose()
    }
}

impl Span {
    /// Runs a command that does `operations` of what is counted.
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub fn run(&mut self, driver: &mut Driver, operations: u32, command: &str) -> Result<()> {
        self.timed(operations, || driver.run(command))
    }

    /// Measures one step that does `operations` of what is counted and gives back how many octets went over the network.
    ///
    /// # Errors
    /// From `step`.
    pub fn timed(&mut self, operations: u32, step: impl FnOnce() -> Result<u64>) -> Result<()> {
        let start = Instant::now();
        self.octets += step()?;
        self.latencies.push(start.elapsed());
        self.operations += u64::from(operations);
        Ok(())
    }

    /// Adds what was measured on another thread.
    pub fn absorb(&mut self, mut other: Span) {
        self.operations += other.operations;
        self.octets += other.octets;
        self.latencies.append(&mut other.latencies);
    }
}

/// The value below which `percent` of a hundred lie; nearest rank. Zero of nothing.
pub fn percentile(values: &[Duration], percent: usize) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// The median; of an even number the lower of the two in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let values: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 50), Duration::from_millis(100));
        assert_eq!(percentile(&values, 99), Duration::from_millis(198));
        assert_eq!(percentile(&values[..1], 99), Duration::from_millis(200));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![2.0, 1.0]), Some(1.0));
        assert_eq!(median(vec![]), None);
    }
}
