//! A client that does nothing but send a command and read up to its tagged answer, as fast as the server allows.
//!
//! It waits two minutes for octets, then fails.

use anyhow::{Context, Result, bail};
use culver_imapc::stream::{self, Stream, Trust};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
/// As much of the end of an answer is kept as is needed to see its last line.
const TAIL: usize = 4096;

/// How literals are sent (RFC 7888).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Literals {
    /// The server is asked before each one.
    Asked,
    /// LITERAL-: asked when larger than 4096 octets.
    SmallUnasked,
    /// LITERAL+.
    Unasked,
}

/// One connection.
pub struct Driver {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    tag: u32,
    literals: Literals,
    /// Octets read and written in all.
    pub octets: u64,
    /// What the server can do once logged in, in capitals.
    pub capabilities: Vec<String>,
}

impl Driver {
    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// From the network.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Self::greeted(Box::new(socket(address)?))
    }

    /// The same by TLS from the first octet on, whatever certificate the server shows.
    ///
    /// # Errors
    /// From the network.
    pub fn connect_by_tls(address: SocketAddr) -> Result<Self> {
        Self::greeted(stream::by_tls(socket(address)?, "localhost", &Trust::Anybody)?)
    }

    fn greeted(stream: Box<dyn Stream>) -> Result<Self> {
        let mut driver = Self {
            stream,
            buffer: vec![0; 256 * 1024],
            tag: 0,
            literals: Literals::Asked,
            octets: 0,
            capabilities: Vec::new(),
        };
        driver.read_until(b"* OK")?;
        Ok(driver)
    }

    /// Logs in.
    ///
    /// # Errors
    /// From the network, or when the login is refused.
    pub fn log_in(mut self, user: &str, password: &str) -> Result<Self> {
        self.run(&format!("LOGIN {} {}", quoted(user), quoted(password)))?;
        Ok(self)
    }

    /// Asks what the server can do; literals are sent accordingly from now on.
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub fn learn(&mut self) -> Result<()> {
        let answer = String::from_utf8_lossy(&self.ask("CAPABILITY")?).to_uppercase();
        let line = answer.lines().find_map(|l| l.strip_prefix("* CAPABILITY ")).context("* CAPABILITY")?;
        self.capabilities = line.split_whitespace().map(str::to_owned).collect();
        let has = |c: &str| self.capabilities.iter().any(|x| x == c);
        self.literals = match (has("LITERAL+"), has("LITERAL-")) {
            (true, _) => Literals::Unasked,
            (false, true) => Literals::SmallUnasked,
            (false, false) => Literals::Asked,
        };
        Ok(())
    }

    /// Runs a command that must end in OK; gives back how many octets went over the connection.
    ///
    /// # Errors
    /// From the network, or when the answer is not OK.
    pub fn run(&mut self, command: &str) -> Result<u64> {
        let before = self.octets;
        self.tag += 1;
        let tag = format!("a{}", self.tag);
        self.write(format!("{tag} {command}\r\n").as_bytes())?;
        self.completion(&tag, command)?;
        Ok(self.octets - before)
    }

    /// Runs a command whose answer is short and wanted.
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub fn ask(&mut self, command: &str) -> Result<Vec<u8>> {
        self.tag += 1;
        let tag = format!("a{}", self.tag);
        self.write(format!("{tag} {command}\r\n").as_bytes())?;
        let answer = self.collect(format!("{tag} ").as_bytes())?;
        let text = String::from_utf8_lossy(&answer);
        if !text.lines().any(|l| l.starts_with(&format!("{tag} OK"))) {
            bail!("{command}: {text}");
        }
        Ok(answer)
    }

    /// Runs a command that ends in a literal of `size` octets, which `literal` writes; see [`Driver::run`].
    ///
    /// # Errors
    /// As [`Driver::run`], and from `literal`.
    pub fn send(
        &mut self,
        command: &str,
        size: u64,
        literal: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<u64> {
        let before = self.octets;
        self.tag += 1;
        let tag = format!("a{}", self.tag);
        let unasked = match self.literals {
            Literals::Asked => false,
            Literals::SmallUnasked => size <= 4096,
            Literals::Unasked => true,
        };
        self.write(format!("{tag} {command} {{{size}{}}}\r\n", if unasked { "+" } else { "" }).as_bytes())?;
        if !unasked {
            self.go_ahead(command)?;
        }
        literal(&mut self.stream).with_context(|| format!("the literal of {command}"))?;
        self.octets += size;
        self.write(b"\r\n")?;
        self.completion(&tag, command)?;
        Ok(self.octets - before)
    }

    /// APPENDs one message (CRLF line ends).
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub fn append(&mut self, mailbox: &str, message: &str) -> Result<u64> {
        let bytes = message.as_bytes();
        self.send(&format!("APPEND {mailbox} (\\Seen)"), bytes.len() as u64, |out| out.write_all(bytes))
    }

    /// Begins IDLE (RFC 2177).
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub fn idle(&mut self) -> Result<()> {
        self.tag += 1;
        self.write(format!("a{} IDLE\r\n", self.tag).as_bytes())?;
        self.go_ahead("IDLE")
    }

    /// While in IDLE: waits for a line that ends in `word`.
    ///
    /// # Errors
    /// From the network.
    pub fn hear(&mut self, word: &str) -> Result<()> {
        let wanted = format!("{word}\r\n");
        let mut text: Vec<u8> = Vec::new();
        loop {
            self.read_into(&mut text)?;
            if text.windows(wanted.len()).any(|w| w == wanted.as_bytes()) {
                return Ok(());
            }
        }
    }

    /// Ends IDLE.
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub fn done(&mut self) -> Result<()> {
        let tag = format!("a{}", self.tag);
        self.write(b"DONE\r\n")?;
        self.completion(&tag, "DONE")
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.octets += bytes.len() as u64;
        self.stream.write_all(bytes).context("sending")
    }

    fn go_ahead(&mut self, command: &str) -> Result<()> {
        let tagged = format!("a{} ", self.tag);
        let mut text: Vec<u8> = Vec::new();
        loop {
            self.read_into(&mut text)?;
            if let Some(line) = last_line(&text) {
                if line.starts_with(b"+") {
                    return Ok(());
                }
                if line.starts_with(tagged.as_bytes()) {
                    bail!("{command}: {}", String::from_utf8_lossy(line));
                }
            }
        }
    }

    fn completion(&mut self, tag: &str, command: &str) -> Result<()> {
        let last = self.read_until(format!("{tag} ").as_bytes())?;
        if !last.starts_with(format!("{tag} OK").as_bytes()) {
            let command: String = command.chars().take(100).collect();
            bail!("{command}: {}", String::from_utf8_lossy(&last).trim_end());
        }
        Ok(())
    }

    fn read_into(&mut self, text: &mut Vec<u8>) -> Result<usize> {
        let n = self.stream.read(&mut self.buffer).context("reading the answer")?;
        if n == 0 {
            bail!("the server closed the connection");
        }
        self.octets += n as u64;
        text.extend_from_slice(&self.buffer[..n]);
        Ok(n)
    }

    fn collect(&mut self, prefix: &[u8]) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        loop {
            self.read_into(&mut text)?;
            if last_line(&text).is_some_and(|l| l.starts_with(prefix)) {
                return Ok(text);
            }
        }
    }

    /// Reads until a line begins with `prefix` and the input ends with that line. Bodies of our own mail hold no
    /// such line.
    fn read_until(&mut self, prefix: &[u8]) -> Result<Vec<u8>> {
        let mut tail: Vec<u8> = Vec::with_capacity(2 * TAIL);
        loop {
            let n = self.stream.read(&mut self.buffer).context("reading the answer")?;
            if n == 0 {
                bail!("the server closed the connection");
            }
            self.octets += n as u64;
            let new = &self.buffer[n.saturating_sub(TAIL)..n];
            if tail.len() + new.len() > 2 * TAIL {
                tail.drain(..tail.len().saturating_sub(TAIL));
            }
            tail.extend_from_slice(new);
            if let Some(line) = last_line(&tail).filter(|l| l.starts_with(prefix)) {
                return Ok(line.to_vec());
            }
        }
    }
}

fn socket(address: SocketAddr) -> Result<TcpStream> {
    let socket = stream::connect(address)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// The last line, without its end, when `text` ends with a whole line.
fn last_line(text: &[u8]) -> Option<&[u8]> {
    let body = text.strip_suffix(b"\r\n")?;
    let start = body.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
    Some(&body[start..])
}

/// A quoted string (RFC 9051 §4.3).
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(last_line(b"* OK x\r\na1 OK y\r\n"), Some(&b"a1 OK y"[..]));
        assert_eq!(last_line(b"a1 OK y\r\n"), Some(&b"a1 OK y"[..]));
        assert_eq!(last_line(b"a1 OK y\r"), None);
        assert_eq!(last_line(b""), None);
        assert_eq!(quoted("a\"b\\"), "\"a\\\"b\\\\\"");
    }
}
