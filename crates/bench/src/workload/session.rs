//! Coming and going: login and SELECT.

use super::{Run, bench};
use crate::driver::Driver;
use anyhow::Result;

/// LOGIN ... LOGOUT, each on a new connection.
pub fn login(run: &mut Run<'_>) -> Result<()> {
    let (user, password) = run.server.account(1);
    run.probe.span(|span| {
        for _ in 0..200 {
            span.timed(1, || {
                let mut driver = Driver::connect(run.server.imap)?.log_in(&user, &password)?;
                driver.run("LOGOUT")?;
                Ok(driver.octets)
            })?;
        }
        Ok(())
    })
}

/// SELECT of a mailbox that is known.
pub fn select(run: &mut Run<'_>) -> Result<()> {
    let mailbox = bench(run)?;
    let mut driver = run.server.selected(mailbox)?;
    run.probe.span(|span| {
        for _ in 0..200 {
            span.run(&mut driver, 1, &format!("SELECT {mailbox}"))?;
        }
        Ok(())
    })
}
