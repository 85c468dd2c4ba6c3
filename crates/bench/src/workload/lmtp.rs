//! Mail that comes in by LMTP: one connection, 16 of them, and one message to many recipients.
//!
//! It goes to INBOX of accounts that are there for it. What was delivered is taken away again by IMAP.

use super::Run;
use crate::mail;
use crate::probe::Span;
use anyhow::{Context, Result, bail};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A message to so many.
const RECIPIENTS: u32 = 50;

/// A connection that has said LHLO.
struct Mta {
    stream: BufReader<TcpStream>,
}

impl Mta {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut mta = Mta { stream: BufReader::new(stream) };
        mta.reply()?;
        mta.say("LHLO bench.example\r\n")?;
        mta.reply()?;
        Ok(mta)
    }

    fn say(&mut self, text: &str) -> Result<()> {
        Ok(self.stream.get_mut().write_all(text.as_bytes())?)
    }

    fn reply(&mut self) -> Result<()> {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            if !line.starts_with(['2', '3']) {
                bail!("LMTP: {}", line.trim_end());
            }
            if line.as_bytes().get(3) == Some(&b' ') {
                return Ok(());
            }
        }
    }

    /// As Postfix does it: all commands in one packet, then the message.
    fn deliver(&mut self, recipients: &[String], message: &str) -> Result<()> {
        let mut commands = String::from("MAIL FROM:<sender@bench.example>\r\n");
        for recipient in recipients {
            commands.push_str(&format!("RCPT TO:<{recipient}>\r\n"));
        }
        commands.push_str("DATA\r\n");
        self.say(&commands)?;
        for _ in 0..recipients.len() + 2 {
            self.reply()?;
        }
        self.say(&format!("{message}\r\n.\r\n"))?;
        for _ in recipients {
            self.reply()?;
        }
        Ok(())
    }
}

/// A message of 8 KB of which no line begins with a dot.
fn message_of_8k(seed: u64) -> String {
    mail::on_wire(&mail::message(seed, 7 * 1024)).replace("\r\n.", "\r\n..")
}

fn connect(run: &Run<'_>) -> Result<Mta> {
    Mta::connect(run.server.lmtp.context("an address of LMTP")?)
}

/// One connection, one message after the other, to one account.
pub fn one(run: &mut Run<'_>) -> Result<()> {
    let to = [run.server.account(1).0];
    let count = run.sizes.part(300);
    let mut mta = connect(run)?;
    run.probe.span(|span| {
        for i in 0..count {
            let message = message_of_8k(i.into());
            span.timed(1, || mta.deliver(&to, &message).map(|()| message.len() as u64))?;
        }
        Ok(())
    })?;
    empty(run, 1)
}

/// 16 connections at once, each to an account of its own, as far as there are so many.
pub fn sixteen(run: &mut Run<'_>) -> Result<()> {
    let accounts = run.sizes.accounts.clamp(1, 16);
    let each = run.sizes.part(50);
    let mut mtas = Vec::new();
    for n in 0..16 {
        mtas.push((connect(run)?, [run.server.account(n % accounts + 1).0], n));
    }
    run.probe.span(|span| {
        let all: Vec<Result<Span>> = std::thread::scope(|scope| {
            let work = |(mut mta, to, n): (Mta, [String; 1], u32)| {
                move || {
                    let mut span = Span::default();
                    for i in 0..each {
                        let message = message_of_8k(u64::from(n * each + i));
                        span.timed(1, || mta.deliver(&to, &message).map(|()| message.len() as u64))?;
                    }
                    Ok(span)
                }
            };
            let threads: Vec<_> = mtas.into_iter().map(|one| scope.spawn(work(one))).collect();
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
    empty(run, accounts)
}

/// Messages to 50 recipients each, or to all accounts that there are.
pub fn many(run: &mut Run<'_>) -> Result<()> {
    let accounts = run.sizes.accounts.clamp(1, RECIPIENTS);
    let to: Vec<String> = (1..=accounts).map(|n| run.server.account(n).0).collect();
    let count = run.sizes.part(20);
    let mut mta = connect(run)?;
    run.probe.span(|span| {
        for i in 0..count {
            let message = message_of_8k(i.into());
            span.timed(accounts, || mta.deliver(&to, &message).map(|()| message.len() as u64))?;
        }
        Ok(())
    })?;
    empty(run, accounts)
}

/// Takes away what came.
fn empty(run: &Run<'_>, accounts: u32) -> Result<()> {
    for n in 1..=accounts {
        let mut driver = run.server.log_in_as(n)?;
        driver.run("SELECT INBOX")?;
        // An empty mailbox has no message 1.
        let _ = driver.run("STORE 1:* +FLAGS.SILENT (\\Deleted)");
        driver.run("EXPUNGE")?;
    }
    Ok(())
}
