//! A session's two directions: bytes that came and were not yet used, and replies that wait to be sent.
//!
//! A session that waits owns no buffers.

use bytes::{Buf as _, BytesMut};
use culver_lmtp::Reply;
use culver_net::{Stream, TlsAcceptor};
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What one read takes at most.
const READ: usize = 64 * 1024;
/// Replies are sent once so many bytes of them wait: a peer that never reads must not fill our memory.
const SEND_AT: usize = 16 * 1024;

/// One connection.
pub struct Wire {
    /// Missing only while a TLS handshake has it, and for good when that failed.
    stream: Option<Stream>,
    input: BytesMut,
    out: Vec<u8>,
}

impl Wire {
    /// Over a connected stream.
    pub fn new(stream: Stream) -> Self {
        Self { stream: Some(stream), input: BytesMut::new(), out: Vec::new() }
    }

    /// The stream, for what it knows of peers and TLS.
    pub fn stream(&self) -> Option<&Stream> {
        self.stream.as_ref()
    }

    fn connected(&mut self) -> io::Result<&mut Stream> {
        self.stream.as_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The peer is in the middle of something: see [`Stream::acknowledge`].
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

    /// Waits for more input. `false` when the peer has closed its direction. Dropping it loses nothing.
    pub async fn fill(&mut self) -> io::Result<bool> {
        if self.input.is_empty() {
            self.connected()?.readable().await?;
        }
        self.input.reserve(READ);
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let n = stream.read_buf(&mut self.input).await?;
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        Ok(n > 0)
    }

    /// Adds a reply to what waits.
    pub fn say(&mut self, reply: &Reply) {
        reply.write(&mut self.out);
    }

    /// Does enough wait to be sent?
    pub fn is_full(&self) -> bool {
        self.out.len() >= SEND_AT
    }

    /// Sends what waits, and gives the buffer back.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        let stream = self.connected()?;
        stream.write_all(&out).await?;
        stream.flush().await
    }

    /// Says goodbye to the stream; errors do not matter any more.
    pub async fn close(&mut self) {
        let _ = self.flush().await;
        if let Ok(stream) = self.connected() {
            let _ = stream.shutdown().await;
        }
    }

    /// STARTTLS: the handshake. What was pipelined in the clear behind the command is dropped (RFC 3207 §4.2).
    pub async fn start_tls(&mut self, acceptor: &TlsAcceptor) -> io::Result<()> {
        self.input = BytesMut::new();
        let plain = self.stream.take().ok_or(io::ErrorKind::NotConnected)?;
        self.stream = Some(plain.start_tls(acceptor).await?);
        Ok(())
    }
}
