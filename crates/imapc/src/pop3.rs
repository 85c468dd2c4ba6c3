//! A POP3 client that logs in and lists (RFC 1939). Nothing is retrieved or deleted.

use crate::stream::{self, Stream, Trust};
use anyhow::{Context, Result, bail};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;

/// No line of a listing is longer, with room for servers that exceed the limits of RFC 1939 §7.
const MAX_LINE: u64 = 4096;
/// No mailbox has more messages.
const MAX_LINES: usize = 10_000_000;

/// One connection.
pub struct Pop3 {
    stream: BufReader<Box<dyn Stream>>,
}

impl Pop3 {
    /// Connects and reads the greeting. By TLS from the first byte if `tls` says whom to trust, with the server's name.
    ///
    /// # Errors
    /// When there is no connection, or no greeting in time.
    pub fn connect(addr: SocketAddr, tls: Option<(&str, &Trust)>) -> Result<Self> {
        let socket = stream::connect(addr)?;
        let stream = match tls {
            Some((host, trust)) => stream::by_tls(socket, host, trust)?,
            None => Box::new(socket),
        };
        let mut this = Self { stream: BufReader::new(stream) };
        this.answer().context("the greeting")?;
        Ok(this)
    }

    /// USER and PASS (RFC 1939 §7).
    ///
    /// # Errors
    /// When refused.
    pub fn login(&mut self, user: &str, password: &str) -> Result<()> {
        if [user, password].iter().any(|s| s.contains(['\r', '\n'])) {
            bail!("user or password holds a line break");
        }
        self.say(&format!("USER {user}"))?;
        self.say(&format!("PASS {password}")).context("logging in by POP3")?;
        Ok(())
    }

    /// UIDL (RFC 1939 §7): the identifiers in their order.
    ///
    /// # Errors
    /// When refused.
    pub fn uidl(&mut self) -> Result<Vec<String>> {
        self.listing("UIDL")
    }

    /// LIST (RFC 1939 §5): the sizes in their order.
    ///
    /// # Errors
    /// When refused, or a size is no number.
    pub fn list(&mut self) -> Result<Vec<u64>> {
        self.listing("LIST")?
            .iter()
            .map(|size| size.parse().with_context(|| format!("LIST says {size}")))
            .collect()
    }

    /// QUIT. Nothing depends on the answer.
    pub fn quit(mut self) {
        drop(self.say("QUIT"));
    }

    fn listing(&mut self, command: &str) -> Result<Vec<String>> {
        self.say(command)?;
        let mut all = Vec::new();
        loop {
            let line = self.line()?;
            if line == "." {
                return Ok(all);
            }
            let value = line.split_once(' ').map(|(_, value)| value.trim());
            all.push(value.with_context(|| format!("{command} says {line:?}"))?.to_owned());
            if all.len() > MAX_LINES {
                bail!("{command} has no end");
            }
        }
    }

    fn say(&mut self, line: &str) -> Result<String> {
        let stream = self.stream.get_mut();
        stream.write_all(format!("{line}\r\n").as_bytes())?;
        stream.flush()?;
        self.answer()
    }

    fn answer(&mut self) -> Result<String> {
        let line = self.line()?;
        match line.strip_prefix("+OK") {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => bail!("the server says: {line}"),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        (&mut self.stream).take(MAX_LINE).read_until(b'\n', &mut line).context("waiting for an answer")?;
        if line.pop() != Some(b'\n') {
            bail!("the server closed the connection, or sent a line without an end");
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}
