//! The bytes of a connection: input up to a limit, output at once, patience with an end.

use bytes::{Buf as _, BytesMut};
use culver_net::{Shutdown, Stream};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// MTAs keep connections for later; one from which nothing comes for so long is forgotten.
const IDLE: Duration = Duration::from_secs(600);
/// A request that has begun must be whole after this, and an answer taken.
const PATIENCE: Duration = Duration::from_secs(30);
/// One read.
const READ: usize = 4096;

pub struct Wire {
    stream: Stream,
    input: BytesMut,
    shutdown: Shutdown,
}

impl Wire {
    pub fn new(stream: Stream, shutdown: Shutdown) -> Self {
        Self { stream, input: BytesMut::new(), shutdown }
    }

    /// What came and was not used.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    pub fn consume(&mut self, octets: usize) {
        self.input.advance(octets);
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
    }

    /// Waits for more. `None`: it is over, for whatever reason.
    pub async fn fill(&mut self) -> Option<()> {
        if self.input.is_empty() {
            // Between requests the server may end.
            let waited = tokio::select! {
                waited = tokio::time::timeout(IDLE, self.stream.readable()) => waited,
                () = self.shutdown.wait() => return None,
            };
            waited.ok()?.ok()?;
        }
        self.input.reserve(READ);
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.input)).await;
        (read.ok()?.ok()? > 0).then_some(())
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Option<()> {
        let sent = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        tokio::time::timeout(PATIENCE, sent).await.ok()?.ok()
    }

    pub async fn close(mut self) {
        let _ = tokio::time::timeout(PATIENCE, self.stream.shutdown()).await;
    }
}
