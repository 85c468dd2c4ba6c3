//! Sessions that wait: what one costs, and how soon it hears.

use super::Run;
use crate::driver::Driver;
use crate::mail;
use anyhow::Result;
use std::time::Duration;

const HEARD: &str = "Bench-heard";
/// Sessions that are told of one delivery.
const LISTENERS: u32 = 50;
/// Deliveries of one run.
const DELIVERIES: u64 = 10;
/// Memory is looked at until it has been the same for so long: longer than a server takes to put an idle session to sleep.
const REST: u32 = 12;
/// No longer than this, in seconds, at all.
const LONGEST: u32 = 90;

/// Many sessions in IDLE over many accounts, ten each; the memory of one is what all have added by their number.
pub fn memory(run: &mut Run<'_>) -> Result<()> {
    let (sessions, accounts) = (run.sizes.sessions(), run.sizes.accounts);
    // Each account exists and has been seen once.
    for n in 1..=accounts {
        run.server.log_in_as(n)?.run("SELECT INBOX")?;
    }
    let before = rest(run, REST)?;
    let mut waiting: Vec<Driver> = Vec::new();
    run.probe.span(|span| {
        for i in 0..sessions {
            span.timed(1, || {
                let mut driver = run.server.log_in_as(1 + i % accounts)?;
                driver.run("SELECT INBOX")?;
                driver.idle()?;
                let octets = driver.octets;
                waiting.push(driver);
                Ok(octets)
            })?;
        }
        Ok(())
    })?;
    let after = rest(run, REST)?;
    run.probe.figures.memory = Some(after.saturating_sub(before));
    for mut driver in waiting {
        driver.done()?;
        driver.run("LOGOUT")?;
    }
    Ok(())
}

/// Memory in KiB once it has not changed by a hundredth for so many seconds.
fn rest(run: &Run<'_>, seconds: u32) -> Result<u64> {
    let mut last = run.probe.memory()?.unwrap_or(0);
    let mut quiet = 0;
    for _ in 0..LONGEST {
        std::thread::sleep(Duration::from_secs(1));
        let now = run.probe.memory()?.unwrap_or(0);
        quiet = if now.abs_diff(last) <= last / 100 { quiet + 1 } else { 0 };
        last = now;
        if quiet >= seconds {
            break;
        }
    }
    Ok(last)
}

/// Another program puts a file into `new`: until the last of all sessions has heard.
pub fn latency_file(run: &mut Run<'_>) -> Result<()> {
    let maildir = run.server.maildir()?.clone();
    latency(run, |seed| maildir.deliver(HEARD, seed))
}

/// Another session APPENDs: until the last of all sessions has heard.
pub fn latency_append(run: &mut Run<'_>) -> Result<()> {
    let mut driver = run.server.log_in()?;
    latency(run, |seed| {
        let message = mail::on_wire(&mail::message(seed, mail::small(seed)));
        driver.append(HEARD, &message).map(drop)
    })
}

fn latency(run: &mut Run<'_>, mut deliver: impl FnMut(u64) -> Result<()>) -> Result<()> {
    run.server.fresh(HEARD)?;
    let mut listeners = Vec::new();
    for _ in 0..LISTENERS {
        let mut driver = run.server.selected(HEARD)?;
        driver.idle()?;
        listeners.push(driver);
    }
    // The first delivery is not counted: from it on every session has been told once.
    for seed in 0..=DELIVERIES {
        let mut once = || {
            deliver(seed)?;
            for listener in &mut listeners {
                // One message has come since the last time, and some servers say EXISTS before RECENT.
                listener.hear(&format!("* {} EXISTS", seed + 1))?;
            }
            Ok(0)
        };
        match seed {
            0 => drop(once()?),
            _ => run.probe.span(|span| span.timed(1, once))?,
        }
    }
    for mut listener in listeners {
        listener.done()?;
        listener.run("LOGOUT")?;
    }
    run.server.discard(HEARD)
}
