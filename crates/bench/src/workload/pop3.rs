//! POP3: logins, listings of a mailbox, and the retrieval of its messages.
//!
//! POP3 serves INBOX alone, so the last account has the mailbox of the other workloads as its INBOX, and the one before it
//! messages of 30 KB. Logins are to the first account's.

use super::Run;
use crate::mail;
use anyhow::{Context, Result, bail};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A client that sends and reads up to the end of the answer.
struct Pop3 {
    stream: TcpStream,
    buffer: Vec<u8>,
    octets: u64,
}

/// How an answer ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Line,
    Lines,
}

impl Pop3 {
    fn log_in(address: SocketAddr, user: &str, password: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut pop3 = Self { stream, buffer: vec![0; 256 * 1024], octets: 0 };
        pop3.answer(Answer::Line)?;
        pop3.say(&format!("USER {user}"), Answer::Line)?;
        pop3.say(&format!("PASS {password}"), Answer::Line)?;
        Ok(pop3)
    }

    fn say(&mut self, command: &str, answer: Answer) -> Result<u64> {
        self.octets += command.len() as u64 + 2;
        self.stream.write_all(format!("{command}\r\n").as_bytes())?;
        self.answer(answer).with_context(|| command.to_owned())
    }

    /// Bodies of our own mail have no line that is a dot.
    fn answer(&mut self, answer: Answer) -> Result<u64> {
        let (mut tail, mut octets): ([u8; 5], u64) = (*b"\r\n\r\n\r", 0);
        loop {
            let n = self.stream.read(&mut self.buffer)?;
            if n == 0 {
                bail!("the server closed the connection");
            }
            let new = &self.buffer[..n];
            if octets == 0 && !new.starts_with(b"+") {
                bail!("POP3: {}", String::from_utf8_lossy(new).trim_end());
            }
            octets += n as u64;
            let from = n.min(5);
            tail.copy_within(from.., 0);
            tail[5 - from..].copy_from_slice(&new[n - from..]);
            let done = match answer {
                Answer::Line => tail.ends_with(b"\r\n"),
                Answer::Lines => tail == *b"\r\n.\r\n",
            };
            if done {
                self.octets += octets;
                return Ok(octets);
            }
        }
    }
}

fn address(run: &Run<'_>) -> Result<SocketAddr> {
    run.server.pop3.context("an address of POP3")
}

/// USER, PASS and QUIT, each on a new connection.
pub fn login(run: &mut Run<'_>) -> Result<()> {
    let (address, (user, password)) = (address(run)?, run.server.account(1));
    run.probe.span(|span| {
        for _ in 0..200 {
            span.timed(1, || {
                let mut pop3 = Pop3::log_in(address, &user, &password)?;
                pop3.say("QUIT", Answer::Line)?;
                Ok(pop3.octets)
            })?;
        }
        Ok(())
    })
}

/// The account whose INBOX is full.
fn full(run: &Run<'_>) -> Result<(String, String)> {
    let number = run.sizes.accounts.max(1);
    run.server.keep_inbox(number, run.sizes.messages, mail::small)?;
    Ok(run.server.account(number))
}

/// What a client does that leaves its mail on the server and finds nothing new.
pub fn list(run: &mut Run<'_>) -> Result<()> {
    let (address, (user, password)) = (address(run)?, full(run)?);
    run.probe.span(|span| {
        for _ in 0..20 {
            span.timed(1, || {
                let mut pop3 = Pop3::log_in(address, &user, &password)?;
                pop3.say("STAT", Answer::Line)?;
                pop3.say("UIDL", Answer::Lines)?;
                pop3.say("LIST", Answer::Lines)?;
                pop3.say("QUIT", Answer::Line)?;
                Ok(pop3.octets)
            })?;
        }
        Ok(())
    })
}

/// One message after the other.
pub fn retr(run: &mut Run<'_>) -> Result<()> {
    let address = address(run)?;
    let (number, count) = (run.sizes.accounts.saturating_sub(1).max(1), run.sizes.large());
    run.server.keep_inbox(number, count, |_| 30 * 1024)?;
    let (user, password) = run.server.account(number);
    let mut pop3 = Pop3::log_in(address, &user, &password)?;
    run.probe.span(|span| {
        for n in 1..=count {
            span.timed(1, || pop3.say(&format!("RETR {n}"), Answer::Lines))?;
        }
        Ok(())
    })?;
    pop3.say("QUIT", Answer::Line).map(drop)
}
