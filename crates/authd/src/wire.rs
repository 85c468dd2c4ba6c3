//! A connection's lines.

use culver_auth_protocol::{Lines, TooLong};
use culver_net::Stream;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

/// A peer that takes none of its answers for so long is gone.
const UNREAD: Duration = Duration::from_secs(60);
const READ: usize = 4096;

/// One connection.
pub struct Wire {
    stream: Stream,
    lines: Lines,
}

/// What reading came to.
pub enum Input {
    /// A line.
    Line(String),
    /// The peer has closed, or is gone.
    End,
    /// No line ends here.
    TooLong,
}

impl Wire {
    /// Over a connected stream.
    pub fn new(stream: Stream) -> Self {
        Self { stream, lines: Lines::new() }
    }

    /// The peer's address and ours.
    pub fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.stream.peer_addr(), self.stream.local_addr())
    }

    /// The next line. Dropping it loses nothing.
    pub async fn line(&mut self) -> Input {
        loop {
            match self.lines.next_line() {
                Ok(Some(line)) => return Input::Line(line),
                Ok(None) => {}
                Err(TooLong) => return Input::TooLong,
            }
            // Waits with nothing in hand; what follows comes back at once.
            if self.stream.readable().await.is_err() {
                return Input::End;
            }
            let mut bytes = [0; READ];
            match self.stream.read(&mut bytes).await {
                Ok(n) if n > 0 => self.lines.push(&bytes[..n]),
                _ => return Input::End,
            }
        }
    }

    /// Sends lines that have their LF.
    ///
    /// # Errors
    /// When the peer is gone, or reads nothing.
    pub async fn send(&mut self, text: &str) -> io::Result<()> {
        let all = async {
            self.stream.write_all(text.as_bytes()).await?;
            self.stream.flush().await
        };
        timeout(UNREAD, all).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Ends it.
    pub async fn close(mut self) {
        let _ = self.stream.shutdown().await;
    }
}
