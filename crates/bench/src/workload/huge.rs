//! One message of a gigabyte: nobody may hold it in memory.

use super::Run;
use crate::mail;
use anyhow::Result;

const TARGET: &str = "Bench-huge";

/// APPEND of it.
pub fn append(run: &mut Run<'_>) -> Result<()> {
    run.server.fresh(TARGET)?;
    let size = run.sizes.huge_append;
    let mut driver = run.server.log_in()?;
    run.probe.span_with_peak(|span| {
        span.timed(1, || {
            driver.send(&format!("APPEND {TARGET}"), size, |out| mail::write_huge(out, size, "\r\n"))
        })
    })?;
    run.server.discard(TARGET)
}

/// FETCH of it.
pub fn fetch(run: &mut Run<'_>) -> Result<()> {
    let size = run.sizes.huge_fetch;
    let kept = &format!("Bench-huge-{size}");
    run.server.keep(kept, 1, || match &run.server.maildir {
        Some(maildir) => maildir.put_huge(kept, size),
        None => {
            let mut driver = run.server.log_in()?;
            driver.run(&format!("CREATE {kept}"))?;
            driver.send(&format!("APPEND {kept}"), size, |out| mail::write_huge(out, size, "\r\n")).map(drop)
        }
    })?;
    let mut driver = run.server.selected(kept)?;
    run.probe.span_with_peak(|span| span.run(&mut driver, 1, "UID FETCH 1:* (BODY.PEEK[])"))
}
