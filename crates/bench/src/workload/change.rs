//! What changes mailboxes: APPEND, STORE, COPY, MOVE, EXPUNGE. Each run leaves everything as it was.

use super::{Run, bench};
use crate::mail;
use crate::probe::Span;
use anyhow::{Context, Result};

const TARGET: &str = "Bench-target";
const SOURCE: &str = "Bench-source";

fn message_of_8k(seed: u64) -> String {
    mail::on_wire(&mail::message(seed, 7 * 1024))
}

/// One session, one message after the other.
pub fn append(run: &mut Run<'_>) -> Result<()> {
    run.server.fresh(TARGET)?;
    let mut driver = run.server.log_in()?;
    let count = run.sizes.part(300);
    run.probe.span(|span| {
        for i in 0..count {
            let message = message_of_8k(i.into());
            span.timed(1, || driver.append(TARGET, &message))?;
        }
        Ok(())
    })?;
    run.server.discard(TARGET)
}

/// 16 sessions at once into one mailbox.
pub fn append_16(run: &mut Run<'_>) -> Result<()> {
    run.server.fresh(TARGET)?;
    let mut drivers = Vec::new();
    for _ in 0..16 {
        drivers.push(run.server.log_in()?);
    }
    let each = run.sizes.part(50);
    run.probe.span(|span| {
        let all: Vec<Result<Span>> = std::thread::scope(|scope| {
            let work = |mut driver: crate::driver::Driver, first: u32| {
                move || {
                    let mut span = Span::default();
                    for i in 0..each {
                        let message = message_of_8k(u64::from(first * each + i));
                        span.timed(1, || driver.append(TARGET, &message))?;
                    }
                    Ok(span)
                }
            };
            let threads: Vec<_> = (0..).zip(drivers).map(|(n, d)| scope.spawn(work(d, n))).collect();
            threads
                .into_iter()
                .map(|t| t.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a thread"))))
                .collect()
        });
        for one in all {
            span.absorb(one?);
        }
        Ok(())
    })?;
    run.server.discard(TARGET)
}

/// A flag on a quarter of the mailbox, and off again.
pub fn store(run: &mut Run<'_>) -> Result<()> {
    let mailbox = bench(run)?;
    let mut driver = run.server.selected(mailbox)?;
    let count = run.sizes.part(5000);
    run.probe.span(|span| {
        span.run(&mut driver, count, &format!("STORE 1:{count} +FLAGS.SILENT (\\Flagged)"))?;
        span.run(&mut driver, count, &format!("STORE 1:{count} -FLAGS.SILENT (\\Flagged)"))
    })
}

/// A flag on one message after the other, and off again.
pub fn store_single(run: &mut Run<'_>) -> Result<()> {
    let mailbox = bench(run)?;
    let mut driver = run.server.selected(mailbox)?;
    let (first, count) = (run.sizes.part(6000), run.sizes.part(200));
    run.probe.span(|span| {
        for i in first..first + count {
            span.run(&mut driver, 1, &format!("STORE {i} +FLAGS.SILENT (\\Flagged)"))?;
            span.run(&mut driver, 1, &format!("STORE {i} -FLAGS.SILENT (\\Flagged)"))?;
        }
        Ok(())
    })
}

/// COPY of many messages into an empty mailbox.
pub fn copy(run: &mut Run<'_>) -> Result<()> {
    let mailbox = bench(run)?;
    run.server.fresh(TARGET)?;
    let mut driver = run.server.selected(mailbox)?;
    let count = run.sizes.part(1000);
    run.probe.span(|span| span.run(&mut driver, count, &format!("COPY 1:{count} {TARGET}")))?;
    run.server.discard(TARGET)
}

/// A mailbox with copies of many messages, selected; and how many.
fn copies(run: &mut Run<'_>) -> Result<(crate::driver::Driver, u32)> {
    let mailbox = bench(run)?;
    run.server.fresh(SOURCE)?;
    let mut driver = run.server.selected(mailbox)?;
    let count = run.sizes.part(1000);
    driver.run(&format!("COPY 1:{count} {SOURCE}")).context("copies to work on")?;
    driver.run(&format!("SELECT {SOURCE}"))?;
    Ok((driver, count))
}

/// RFC 6851 MOVE of many messages into an empty mailbox.
pub fn move_(run: &mut Run<'_>) -> Result<()> {
    let (mut driver, count) = copies(run)?;
    run.server.fresh(TARGET)?;
    run.probe.span(|span| span.run(&mut driver, count, &format!("MOVE 1:{count} {TARGET}")))?;
    driver.run("LOGOUT")?;
    run.server.discard(SOURCE)?;
    run.server.discard(TARGET)
}

/// EXPUNGE of many messages that were marked before.
pub fn expunge(run: &mut Run<'_>) -> Result<()> {
    let (mut driver, count) = copies(run)?;
    driver.run(&format!("STORE 1:{count} +FLAGS.SILENT (\\Deleted)"))?;
    run.probe.span(|span| span.run(&mut driver, count, "EXPUNGE"))?;
    driver.run("LOGOUT")?;
    run.server.discard(SOURCE)
}
