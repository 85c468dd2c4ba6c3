//! A POP3 client (RFC 1939): logs in and lists; all else is sent and read line by line, as it is told.

use crate::stream::{self, Stream, Trust};
use anyhow::{Context, Result, bail};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// No line of a listing is longer, with room for servers that exceed the limits of RFC 1939 §7.
const MAX_LINE: u64 = 4096;
/// No line of a message is longer.
const MAX_MESSAGE_LINE: usize = 1 << 30;
/// No mailbox has more messages.
const MAX_LINES: usize = 10_000_000;

/// One connection.
pub struct Pop3 {
    stream: BufReader<Box<dyn Stream>>,
    socket: TcpStream,
    /// The greeting, without `+OK`.
    pub greeting: String,
}

impl Pop3 {
    /// Connects and reads the greeting. By TLS from the first byte if `tls` says whom to trust, with the server's name.
    ///
    /// # Errors
    /// When there is no connection, or no greeting in time.
    pub fn connect(addr: SocketAddr, tls: Option<(&str, &Trust)>) -> Result<Self> {
        let socket = stream::connect(addr)?;
        let stream = match tls {
            Some((host, trust)) => stream::by_tls(socket.try_clone()?, host, trust)?,
            None => Box::new(socket.try_clone()?),
        };
        let mut this = Self { stream: BufReader::new(stream), socket, greeting: String::new() };
        this.greeting = this.answer().context("the greeting")?;
        Ok(this)
    }

    /// Goes on by TLS, after STLS was answered.
    ///
    /// # Errors
    /// When the handshake fails, or bytes had come before it.
    pub fn start_tls(&mut self, host: &str, trust: &Trust) -> Result<()> {
        if !self.stream.buffer().is_empty() {
            bail!("the server sent something after its answer to STLS");
        }
        self.stream = BufReader::new(stream::by_tls(self.socket.try_clone()?, host, trust)?);
        Ok(())
    }

    /// How long to wait for bytes.
    ///
    /// # Errors
    /// From the socket.
    pub fn set_patience(&mut self, patience: Duration) -> Result<()> {
        Ok(self.socket.set_read_timeout(Some(patience))?)
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// From the socket.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        Ok(stream.flush()?)
    }

    /// The next line, without its end; `None` when the server has closed the connection.
    ///
    /// # Errors
    /// From the socket, or when the line has no end.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        let limit = u64::try_from(MAX_MESSAGE_LINE).unwrap_or(u64::MAX);
        match (&mut self.stream).take(limit).read_until(b'\n', &mut line) {
            Ok(_) => {}
            // A reset is an end as well: the server did not read all that we sent.
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
            Err(e) => return Err(e).context("waiting for a line"),
        }
        if line.is_empty() {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            bail!("a line without an end");
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(line))
    }

    /// Sends a command that must end in `+OK`; what stands behind it.
    ///
    /// # Errors
    /// When refused.
    pub fn ok(&mut self, command: &str) -> Result<String> {
        self.say(command).with_context(|| command.to_owned())
    }

    /// The same with an answer of several lines, whose dots are taken away (RFC 1939 §3).
    ///
    /// # Errors
    /// When refused.
    pub fn lines(&mut self, command: &str) -> Result<Vec<Vec<u8>>> {
        self.ok(command)?;
        let mut all = Vec::new();
        loop {
            let line = self.next_line()?.context("the answer has no end")?;
            if line == b"." {
                return Ok(all);
            }
            all.push(line.strip_prefix(b".").unwrap_or(&line).to_vec());
        }
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
