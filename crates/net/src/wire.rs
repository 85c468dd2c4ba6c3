//! A session's two directions: bytes that came and were not yet used, and answers that wait to be sent.
//!
//! A session that waits owns no buffers: both are given back before the wait, and the wait itself holds none.
//! Sending waits for the client, so a slow one stops the reading of files, never anybody else. One that takes nothing at all
//! for [`STALLED`] is given up: whoever stops reading would hold session and locks for as long as TCP is kept alive.

use crate::stream::Stream;
use crate::tls::TlsAcceptor;
use bytes::{Buf, Bytes, BytesMut};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Who takes no octet of an answer for so long is given up, as by Dovecot.
pub const STALLED: Duration = Duration::from_secs(5 * 60);
/// Answers are sent once so many bytes of them wait.
const SEND_AT: usize = 32 * 1024;
/// What one read takes at most, if nobody says otherwise.
const READ: usize = 16 * 1024;
/// Pipelined input is not read beyond this while a command runs.
const READ_AHEAD: usize = 64 * 1024;

/// One connection.
pub struct Wire {
    /// Missing only while a TLS handshake has it, and for good when that failed.
    stream: Option<Stream>,
    input: BytesMut,
    /// Answers not yet sent.
    pub out: Vec<u8>,
    /// Octets received, for the log.
    pub received: u64,
    /// Octets sent, for the log.
    pub sent: u64,
    /// What one read takes at most.
    read: usize,
    /// Was the peer given up?
    stalled: bool,
}

impl Wire {
    /// Over a connected stream.
    pub fn new(stream: Stream) -> Self {
        Self {
            stream: Some(stream),
            input: BytesMut::new(),
            out: Vec::new(),
            received: 0,
            sent: 0,
            read: READ,
            stalled: false,
        }
    }

    /// With so many octets for one read, for protocols whose peers send in bulk.
    pub fn reading(mut self, octets: usize) -> Self {
        self.read = octets;
        self
    }

    /// The stream, for what it knows of peers and TLS.
    pub fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    fn connected(&mut self) -> io::Result<&mut Stream> {
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The client is in the middle of something: see [`Stream::acknowledge`].
    pub fn acknowledge(&self) {
        if let Some(stream) = &self.stream {
            stream.acknowledge();
        }
    }

    /// What came and was not used.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    /// `n` octets of [`Wire::input`] are used.
    pub fn consume(&mut self, n: usize) {
        self.input.advance(n);
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Takes the first `n` octets of the input.
    pub fn take(&mut self, n: usize) -> Bytes {
        let taken = self.input.split_to(n).freeze();
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        taken
    }

    /// Waits for more input. `false` when the peer has closed its direction.
    pub async fn fill(&mut self) -> io::Result<bool> {
        if self.input.is_empty() {
            self.connected()?.readable().await?;
        }
        self.input.reserve(self.read);
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let n = stream.read_buf(&mut self.input).await?;
        self.received += n as u64;
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        Ok(n > 0)
    }

    /// Comes back only when the peer is gone; reads a bounded amount of pipelined input meanwhile. Dropping it
    /// loses nothing.
    pub async fn gone(&mut self) {
        while self.input.len() < READ_AHEAD {
            match self.fill().await {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            }
        }
        std::future::pending::<()>().await;
    }

    /// Sends what waits and gives the buffer back.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.write_out().await?;
        self.out.shrink_to(SEND_AT);
        let flushed = tokio::time::timeout(STALLED, self.connected()?.flush()).await;
        flushed.unwrap_or_else(|_| self.give_up())
    }

    /// Writes all of it, as long as the peer goes on taking some.
    async fn write_all(&mut self, octets: &[u8]) -> io::Result<()> {
        let mut rest = octets;
        while !rest.is_empty() {
            match tokio::time::timeout(STALLED, self.connected()?.write(rest)).await {
                Ok(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => rest = &rest[taken?..],
                Err(_) => return self.give_up(),
            }
        }
        self.sent += octets.len() as u64;
        Ok(())
    }

    fn give_up(&mut self) -> io::Result<()> {
        self.stalled = true;
        let why = format!("The client took no octet of an answer for {} minutes", STALLED.as_secs() / 60);
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    }

    async fn write_out(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        self.write_all(&out).await?;
        self.out = out;
        self.out.clear();
        Ok(())
    }

    /// Does enough wait to be sent?
    pub fn is_full(&self) -> bool {
        self.out.len() >= SEND_AT
    }

    /// Sends if enough waits: to be called between lines of long answers.
    pub async fn relieve(&mut self) -> io::Result<()> {
        if self.is_full() { self.flush().await } else { Ok(()) }
    }

    /// Sends octets that lie elsewhere, behind what waits.
    pub async fn send(&mut self, octets: &[u8]) -> io::Result<()> {
        if self.out.len() + octets.len() <= SEND_AT {
            self.out.extend_from_slice(octets);
            return Ok(());
        }
        self.write_out().await?;
        self.write_all(octets).await
    }

    /// Gives the send buffer back before a wait.
    pub fn rest(&mut self) {
        if self.out.is_empty() {
            self.out = Vec::new();
        }
    }

    /// Says goodbye to the stream; errors do not matter any more.
    pub async fn close(&mut self) {
        if self.stalled {
            return;
        }
        let _ = self.flush().await;
        if let Ok(stream) = self.connected() {
            let _ = tokio::time::timeout(STALLED, stream.shutdown()).await;
        }
    }

    /// STARTTLS: the handshake. What was pipelined in the clear behind the command is dropped (RFC 9051 §6.2.1: an
    /// attacker could have put it there).
    pub async fn start_tls(&mut self, acceptor: &TlsAcceptor) -> io::Result<()> {
        self.input = BytesMut::new();
        let plain = self.stream.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        self.stream = Some(plain.start_tls(acceptor).await?);
        Ok(())
    }
}
