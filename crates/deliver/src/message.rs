//! A message on its way: in memory while it is small, otherwise in a file of the server's own that has no name.

use crate::answer;
use bytes::{Bytes, BytesMut};
use culver_lmtp::Reply;
use culver_store::Octets;
use culver_store::io::{File, Fs, Io};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Of a header, so much is looked at: for its Message-ID and for signs of a loop.
const LONGEST_HEADER: usize = 256 << 10;

/// A whole message.
#[derive(Clone)]
pub struct Message {
    /// Its octets.
    pub octets: Octets,
    /// Its header, or the beginning of a very long one.
    pub header: Bytes,
}

impl Message {
    /// One that is in memory.
    pub fn in_memory(octets: Bytes) -> Self {
        let header = octets.slice(..header_end(&octets));
        Self { octets: Octets::Memory(octets), header }
    }

    /// The Message-ID as it stands there, without blanks around it.
    pub fn id(&self) -> Option<String> {
        let field = culver_mime::fields::iter(&self.header).find(|f| f.is(b"Message-ID"))?;
        let id = String::from_utf8_lossy(&field.unfolded()).trim().to_owned();
        (!id.is_empty()).then_some(id)
    }
}

fn header_end(octets: &[u8]) -> usize {
    let most = octets.len().min(LONGEST_HEADER);
    let mut at = 0;
    while at < most {
        let rest = &octets[at..];
        if rest.starts_with(b"\r\n") || rest.starts_with(b"\n") {
            return at;
        }
        at += memchr::memchr(b'\n', rest).map_or(rest.len(), |n| n + 1);
    }
    most
}

/// A message that is arriving. After the first failure the rest is swallowed, and [`Incoming::finish`] says what failed:
/// the peer must be heard to the end anyway.
pub struct Incoming {
    io: Arc<Io>,
    folder: PathBuf,
    limit: Option<u64>,
    inline: usize,
    size: u64,
    gathered: BytesMut,
    header: Option<Bytes>,
    file: Option<File>,
    failure: Option<Reply>,
}

impl Incoming {
    /// Up to `inline` octets stay in memory; what is longer goes to a file in `folder`, and above `limit` nowhere.
    pub fn new(io: Arc<Io>, folder: PathBuf, inline: usize, limit: Option<u64>) -> Self {
        Self {
            io,
            folder,
            limit,
            inline,
            size: 0,
            gathered: BytesMut::new(),
            header: None,
            file: None,
            failure: None,
        }
    }

    /// Octets so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next octets.
    pub async fn push(&mut self, octets: &[u8]) {
        self.size += octets.len() as u64;
        if self.failure.is_some() {
            return;
        }
        if let Some(limit) = self.limit.filter(|limit| self.size > *limit) {
            self.failure = Some(answer::too_big(limit));
            self.gathered = BytesMut::new();
            self.file = None;
            return;
        }
        self.gathered.extend_from_slice(octets);
        if self.gathered.len() > self.inline.max(64 << 10)
            && let Err(e) = self.write_out().await
        {
            self.fail(&e);
        }
    }

    fn fail(&mut self, e: &io::Error) {
        tracing::error!("a message that arrives cannot be written to the folder spool in state_dir: {e}");
        self.gathered = BytesMut::new();
        self.file = None;
        // RFC 3463 §3.4: mail system full, or another trouble of ours.
        self.failure = Some(match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Reply::new(452, 3, 1, "The server's disk is full; try again later")
            }
            _ => Reply::new(451, 3, 0, "The message could not be taken for now; try again later"),
        });
    }

    async fn write_out(&mut self) -> io::Result<()> {
        let octets = std::mem::take(&mut self.gathered).freeze();
        if self.header.is_none() {
            self.header = Some(Bytes::copy_from_slice(&octets[..header_end(&octets)]));
        }
        let (file, folder) = (self.file.take(), self.folder.clone());
        let written = self.io.run(None, move |fs| {
            let mut file = match file {
                Some(file) => file,
                None => nameless(fs, &folder)?,
            };
            file.write_all(&octets)?;
            Ok::<_, io::Error>(file)
        });
        self.file = Some(written.await.map_err(io::Error::from)??);
        Ok(())
    }

    /// All has come.
    ///
    /// # Errors
    /// With the reply for each recipient, when the message could not be taken.
    pub async fn finish(mut self) -> Result<Message, Reply> {
        if self.file.is_some()
            && self.failure.is_none()
            && !self.gathered.is_empty()
            && let Err(e) = self.write_out().await
        {
            self.fail(&e);
        }
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        Ok(match (self.file, self.header) {
            (Some(file), header) => Message {
                octets: Octets::File { file: Arc::new(file), len: self.size },
                header: header.unwrap_or_default(),
            },
            (None, _) => Message::in_memory(self.gathered.freeze()),
        })
    }
}

/// A file that goes with its last descriptor.
fn nameless(fs: &Fs, folder: &std::path::Path) -> io::Result<File> {
    let dir = fs.make_root(folder)?;
    let mut random = [0_u8; 12];
    getrandom::fill(&mut random).map_err(|e| io::Error::other(e.to_string()))?;
    let name: String = random.iter().map(|b| format!("{b:02x}")).collect();
    let file = dir.create_new(name.as_bytes())?;
    dir.unlink(name.as_bytes())?;
    Ok(file)
}

/// Reads a message from its start, in pieces.
pub struct Pieces {
    io: Arc<Io>,
    octets: Octets,
    at: u64,
    end: u64,
}

impl Pieces {
    /// Of this message.
    pub fn of(io: Arc<Io>, message: &Message) -> Self {
        Self::range(io, message, 0..message.octets.len())
    }

    /// Of these octets of it.
    pub fn range(io: Arc<Io>, message: &Message, range: std::ops::Range<u64>) -> Self {
        let end = range.end.min(message.octets.len());
        Self { io, octets: message.octets.clone(), at: range.start.min(end), end }
    }

    /// The next piece; empty at the end.
    ///
    /// # Errors
    /// When the file cannot be read, or is shorter than it was.
    pub async fn next(&mut self) -> io::Result<Bytes> {
        const PIECE: u64 = 256 << 10;
        let left = self.end - self.at;
        let n = usize::try_from(left.min(PIECE)).unwrap_or(0);
        let at = self.at;
        self.at += n as u64;
        match &self.octets {
            Octets::Memory(octets) => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                Ok(octets.slice(at..at + n))
            }
            Octets::File { file, .. } => {
                let file = file.clone();
                let read = move |_: &Fs| {
                    let mut piece = vec![0; n];
                    if file.read_full_at(&mut piece, at)? < n {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    Ok(Bytes::from(piece))
                };
                self.io.run(None, read).await.map_err(io::Error::from)?
            }
        }
    }
}
