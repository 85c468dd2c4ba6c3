//! FETCH of whole mailboxes, as clients and webmail ask.

use super::{Run, bench};
use anyhow::Result;

/// What a webmail client asks to show a list.
const HEADERS: &str = "INTERNALDATE FLAGS BODY.PEEK[HEADER.FIELDS \
                       (From Content-Type X-Priority Subject Importance Priority)]";
/// What a program with a cache of its own asks.
pub const OVERVIEW: &str = "UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE";

fn all(run: &mut Run<'_>, mailbox: &str, messages: u32, times: u32, items: &str) -> Result<()> {
    let mut driver = run.server.selected(mailbox)?;
    run.probe.span(|span| {
        for _ in 0..times {
            span.run(&mut driver, messages, &format!("UID FETCH 1:* ({items})"))?;
        }
        Ok(())
    })
}

/// Flags of all messages.
pub fn flags(run: &mut Run<'_>) -> Result<()> {
    let mailbox = bench(run)?;
    all(run, mailbox, run.sizes.messages, 5, "FLAGS")
}

/// Some header fields of all messages.
pub fn headers(run: &mut Run<'_>) -> Result<()> {
    let mailbox = bench(run)?;
    all(run, mailbox, run.sizes.messages, 1, HEADERS)
}

/// Envelope and structure of all messages.
pub fn overview(run: &mut Run<'_>) -> Result<()> {
    let mailbox = bench(run)?;
    all(run, mailbox, run.sizes.messages, 1, OVERVIEW)
}

/// All messages of 30 KB.
pub fn body(run: &mut Run<'_>) -> Result<()> {
    let messages = run.sizes.large();
    run.server.keep_filled("Bench-30k", messages, |_| 30_000)?;
    all(run, "Bench-30k", messages, 3, "BODY.PEEK[]")
}
