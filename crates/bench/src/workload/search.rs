//! SEARCH, SORT and THREAD over a whole mailbox, without a full-text index.

use super::{Run, bench};
use crate::mail;
use anyhow::Result;

fn whole(run: &mut Run<'_>, times: u32, command: &str) -> Result<()> {
    let mailbox = bench(run)?;
    let mut driver = run.server.selected(mailbox)?;
    run.probe.span(|span| {
        for _ in 0..times {
            span.run(&mut driver, 1, command)?;
        }
        Ok(())
    })
}

/// A word of the subject.
pub fn header(run: &mut Run<'_>) -> Result<()> {
    whole(run, 5, &format!("UID SEARCH SUBJECT \"{}\"", mail::SUBJECT))
}

/// Two words that one message of 500 holds.
pub fn body(run: &mut Run<'_>) -> Result<()> {
    whole(run, 1, &format!("UID SEARCH BODY \"{}\"", mail::NEEDLE))
}

/// RFC 5256 SORT.
pub fn sort(run: &mut Run<'_>) -> Result<()> {
    whole(run, 5, "UID SORT (SUBJECT) UTF-8 ALL")
}

/// RFC 5256 THREAD.
pub fn thread(run: &mut Run<'_>) -> Result<()> {
    whole(run, 5, "UID THREAD REFERENCES UTF-8 ALL")
}
