//! A mailbox that the server has never seen: there is nothing but the files, as after a move from elsewhere. What the
//! kernel holds of the folders and files stays: all servers have that alike.

use super::fetch::OVERVIEW;
use super::{Run, bench};
use anyhow::Result;

const COLD: &str = "Bench-cold";

fn first(run: &mut Run<'_>, messages: u32, items: &str) -> Result<()> {
    let source = bench(run)?;
    // What an aborted run left behind; mostly there is nothing.
    let _ = run.server.discard(COLD);
    run.server.maildir()?.link(source, COLD, messages)?;
    let mut driver = run.server.log_in()?;
    run.probe.span(|span| {
        span.timed(messages, || {
            Ok(driver.run(&format!("SELECT {COLD}"))? + driver.run(&format!("UID FETCH 1:* ({items})"))?)
        })
    })?;
    driver.run("LOGOUT")?;
    run.server.discard(COLD)
}

/// First SELECT and flags of a very large mailbox.
pub fn open(run: &mut Run<'_>) -> Result<()> {
    first(run, run.sizes.cold(), "FLAGS")
}

/// First SELECT and overview.
pub fn overview(run: &mut Run<'_>) -> Result<()> {
    first(run, run.sizes.messages, OVERVIEW)
}
