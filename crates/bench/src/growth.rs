//! How the cost of one step grows with the mailbox: a step that looks at one message may not cost more in a mailbox of
//! 100,000 than in one of 1,000.

use crate::mail;
use crate::measure::{self, Outcome};
use crate::server::Server;
use crate::workload::{Needs, Run, Sizes, WarmUp, bench};
use anyhow::Result;

/// How often a small step is repeated in one run.
const TIMES: u32 = 30;

/// One step.
#[derive(Debug)]
pub struct Step {
    /// What it is called.
    pub name: &'static str,
    needs: Needs,
    run: fn(&mut Run<'_>, &str, u32) -> Result<()>,
}

/// All steps.
pub const STEPS: &[Step] = &[
    Step { name: "SELECT", needs: Needs::Nothing, run: select },
    Step { name: "FETCH FLAGS, all", needs: Needs::Nothing, run: flags },
    Step { name: "FETCH FLAGS, one", needs: Needs::Nothing, run: flags_of_one },
    Step { name: "STORE, one", needs: Needs::Nothing, run: store },
    Step { name: "APPEND", needs: Needs::Nothing, run: append },
    Step { name: "file into new, NOOP", needs: Needs::Maildir, run: deliver },
    Step { name: "EXPUNGE, one", needs: Needs::Nothing, run: expunge },
];

/// A row: what came of one step on each server, by size.
#[derive(Debug)]
pub struct Row {
    /// The step.
    pub step: &'static str,
    /// One for each size; in each one for each server.
    pub outcomes: Vec<Vec<Outcome>>,
}

/// Runs all steps in mailboxes of all sizes; `told` is given the name of each before.
pub fn run(servers: &[Server], sizes: Sizes, rounds: usize, mut told: impl FnMut(&str)) -> Vec<Row> {
    let mut rows = Vec::new();
    for step in STEPS {
        told(step.name);
        let at = |count: u32| {
            let work = |run: &mut Run<'_>| {
                let mailbox = keep(run, count)?;
                (step.run)(run, &mailbox, count)
            };
            measure::in_turns(servers, sizes, rounds, step.needs, WarmUp::Once, &work)
        };
        rows.push(Row { step: step.name, outcomes: sizes.growth().map(at).into() });
    }
    rows
}

fn keep(run: &Run<'_>, count: u32) -> Result<String> {
    let mailbox = format!("Bench-{count}");
    match &run.server.maildir {
        None => run.server.keep_filled(&mailbox, count, mail::small)?,
        Some(maildir) => {
            let source = bench(run)?;
            run.server.keep(&mailbox, count, || maildir.link(source, &mailbox, count))?;
        }
    }
    Ok(mailbox)
}

fn select(run: &mut Run<'_>, mailbox: &str, _: u32) -> Result<()> {
    let mut driver = run.server.selected(mailbox)?;
    run.probe.span(|span| {
        for _ in 0..TIMES {
            span.run(&mut driver, 1, &format!("SELECT {mailbox}"))?;
        }
        Ok(())
    })
}

fn flags(run: &mut Run<'_>, mailbox: &str, _: u32) -> Result<()> {
    let mut driver = run.server.selected(mailbox)?;
    run.probe.span(|span| {
        for _ in 0..3 {
            span.run(&mut driver, 1, "UID FETCH 1:* (FLAGS)")?;
        }
        Ok(())
    })
}

fn flags_of_one(run: &mut Run<'_>, mailbox: &str, count: u32) -> Result<()> {
    let mut driver = run.server.selected(mailbox)?;
    run.probe.span(|span| {
        for i in 0..TIMES * 10 {
            span.run(&mut driver, 1, &format!("FETCH {} (UID FLAGS)", 1 + i * 97 % count))?;
        }
        Ok(())
    })
}

fn store(run: &mut Run<'_>, mailbox: &str, count: u32) -> Result<()> {
    let mut driver = run.server.selected(mailbox)?;
    run.probe.span(|span| {
        for i in 0..TIMES {
            let n = 1 + i * 97 % count;
            span.run(&mut driver, 1, &format!("STORE {n} +FLAGS.SILENT (\\Flagged)"))?;
            span.run(&mut driver, 1, &format!("STORE {n} -FLAGS.SILENT (\\Flagged)"))?;
        }
        Ok(())
    })
}

fn append(run: &mut Run<'_>, mailbox: &str, count: u32) -> Result<()> {
    let mut driver = run.server.selected(mailbox)?;
    let message = mail::on_wire(&mail::message(7, mail::small(7)));
    run.probe.span(|span| {
        for _ in 0..TIMES {
            span.timed(1, || driver.append(mailbox, &message))?;
        }
        Ok(())
    })?;
    cut(&mut driver, count)
}

fn deliver(run: &mut Run<'_>, mailbox: &str, count: u32) -> Result<()> {
    let maildir = run.server.maildir()?;
    let mut driver = run.server.selected(mailbox)?;
    run.probe.span(|span| {
        for i in 0..TIMES {
            span.timed(1, || {
                maildir.deliver(mailbox, u64::from(1_000_000 + i))?;
                driver.run("NOOP")
            })?;
        }
        Ok(())
    })?;
    // Not every server looks at once: what came must be there before it can be taken away.
    driver.run(&format!("SELECT {mailbox}"))?;
    cut(&mut driver, count)
}

fn expunge(run: &mut Run<'_>, mailbox: &str, count: u32) -> Result<()> {
    let mut driver = run.server.selected(mailbox)?;
    let message = mail::on_wire(&mail::message(7, mail::small(7)));
    for _ in 0..TIMES {
        driver.append(mailbox, &message)?;
    }
    run.probe.span(|span| {
        for _ in 0..TIMES {
            span.timed(1, || {
                Ok(driver.run(&format!("STORE {} +FLAGS.SILENT (\\Deleted)", count + 1))?
                    + driver.run("EXPUNGE")?)
            })?;
        }
        Ok(())
    })
}

/// Takes away what came behind the first `count`.
fn cut(driver: &mut crate::driver::Driver, count: u32) -> Result<()> {
    driver.run(&format!("STORE {}:* +FLAGS.SILENT (\\Deleted)", count + 1))?;
    driver.run("EXPUNGE").map(drop)
}
