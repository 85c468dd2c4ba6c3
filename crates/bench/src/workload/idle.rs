//! Sessions that wait: what one costs, and how soon it hears.

use super::Run;
use crate::driver::Driver;
use crate::mail;
use crate::server::Server;
use anyhow::Result;
use std::time::Duration;

const HEARD: &str = "Bench-heard";
const LARGE: &str = "Bench-large";
/// Sessions on one large mailbox.
const CROWD: u32 = 100;
/// Sessions that are told of one delivery.
const LISTENERS: u32 = 50;
/// Deliveries of one run.
const DELIVERIES: u64 = 10;
/// Memory is looked at until it has been the same for so long: longer than a server takes to put an idle session to sleep.
const REST: u32 = 12;
/// No longer than this, in seconds, at all.
const LONGEST: u32 = 90;

/// Many sessions in IDLE over many accounts, ten each, each account with one more before that counts not: the memory of one is
/// what they have added by their number.
pub fn memory(run: &mut Run<'_>) -> Result<()> {
    waiting(run, Server::log_in_as)
}

/// The same by TLS.
pub fn memory_by_tls(run: &mut Run<'_>) -> Result<()> {
    waiting(run, Server::log_in_by_tls)
}

fn waiting(run: &mut Run<'_>, log_in: fn(&Server, u32) -> Result<Driver>) -> Result<()> {
    let (sessions, accounts) = (run.sizes.sessions(), run.sizes.accounts);
    let idle = |server: &Server, i| {
        let mut driver = log_in(server, 1 + i % accounts)?;
        driver.run("SELECT INBOX")?;
        driver.idle()?;
        Ok(driver)
    };
    let first = (0..accounts).map(|i| idle(run.server, i)).collect::<Result<Vec<_>>>()?;
    held(run, sessions, idle)?;
    first.into_iter().try_for_each(leave)
}

/// Sessions of one account on one large mailbox, all in IDLE after they have seen all flags.
pub fn crowd(run: &mut Run<'_>) -> Result<()> {
    let (source, messages) = (super::bench(run)?, run.sizes.cold());
    let maildir = run.server.maildir()?;
    run.server.keep(LARGE, messages, || maildir.link(source, LARGE, messages))?;
    held(run, CROWD, |server, _| {
        let mut driver = server.selected(LARGE)?;
        driver.run("UID FETCH 1:* (FLAGS)")?;
        driver.idle()?;
        Ok(driver)
    })
}

/// What sessions add to the memory, and keep while they wait.
fn held(run: &mut Run<'_>, sessions: u32, begin: impl Fn(&Server, u32) -> Result<Driver>) -> Result<()> {
    let before = rest(run, REST)?;
    let mut waiting: Vec<Driver> = Vec::new();
    run.probe.span(|span| {
        for i in 0..sessions {
            span.timed(1, || {
                let driver = begin(run.server, i)?;
                let octets = driver.octets;
                waiting.push(driver);
                Ok(octets)
            })?;
        }
        Ok(())
    })?;
    let after = rest(run, REST)?;
    run.probe.figures.memory = Some(after.saturating_sub(before));
    waiting.into_iter().try_for_each(leave)
}

fn leave(mut driver: Driver) -> Result<()> {
    driver.done()?;
    driver.run("LOGOUT").map(drop)
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
