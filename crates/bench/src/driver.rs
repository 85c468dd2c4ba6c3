//! A client that does nothing but send a command and read up to its tagged answer, as fast as the server allows.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One connection.
pub struct Driver {
    stream: TcpStream,
    buffer: Vec<u8>,
    tag: u32,
    /// Octets read in all.
    pub received: u64,
}

impl Driver {
    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// From the network.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut driver = Self { stream, buffer: vec![0; 256 * 1024], tag: 0, received: 0 };
        driver.read_until(b"* OK")?;
        Ok(driver)
    }

    /// Connects and logs in.
    ///
    /// # Errors
    /// From the network, or when the login is refused.
    pub fn log_in(address: SocketAddr, user: &str, password: &str) -> Result<Self> {
        let mut driver = Self::connect(address)?;
        driver.run(&format!("LOGIN {user} {password}"))?;
        Ok(driver)
    }

    /// Runs a command that must end in OK; gives back how many octets the answer had.
    ///
    /// # Errors
    /// From the network, or when the answer is not OK.
    pub fn run(&mut self, command: &str) -> Result<u64> {
        self.send(command, b"")
    }

    /// Runs a command that ends in a non-synchronizing literal.
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub fn send(&mut self, command: &str, literal: &[u8]) -> Result<u64> {
        self.tag += 1;
        let tag = format!("a{}", self.tag);
        let mut line = format!("{tag} {command}").into_bytes();
        if !literal.is_empty() {
            line.extend_from_slice(format!(" {{{}+}}\r\n", literal.len()).as_bytes());
            line.extend_from_slice(literal);
        }
        line.extend_from_slice(b"\r\n");
        self.stream.write_all(&line)?;
        let before = self.received;
        let last = self.read_until(format!("{tag} ").as_bytes())?;
        if !last.starts_with(format!("{tag} OK").as_bytes()) {
            bail!("{command}: {}", String::from_utf8_lossy(&last));
        }
        Ok(self.received - before)
    }

    /// Reads until a line begins with `prefix` and the input ends with that line. Bodies of our own mail hold no
    /// such line.
    fn read_until(&mut self, prefix: &[u8]) -> Result<Vec<u8>> {
        let mut tail: Vec<u8> = Vec::new();
        loop {
            let n = self.stream.read(&mut self.buffer).context("reading the answer")?;
            if n == 0 {
                bail!("the server closed the connection");
            }
            self.received += n as u64;
            // Only the last line can be the tagged one: keep no more than is needed to see it.
            tail.extend_from_slice(&self.buffer[..n]);
            if tail.len() > 4096 {
                tail.drain(..tail.len() - 4096);
            }
            if tail.ends_with(b"\r\n") {
                let body = &tail[..tail.len() - 2];
                let start = body.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
                if tail[start..].starts_with(prefix) {
                    return Ok(tail[start..].to_vec());
                }
            }
        }
    }
}
