//! The bytes of a message on their way out: what lies in a file, in wire form.
//!
//! Up to [`SMALL`] octets a file is read whole and its line ends are made CRLF in memory, of as much as is wanted. A larger one is never in
//! memory: its octets stream, and when its stored size equals its size on the wire (its line ends are
//! CRLF already) they are read where they are wanted.
//!
//! A size that the name tells is believed for a large file only if the name's `S` is what the file really has;
//! otherwise its lines are counted once. Compressed files (Dovecot's plugin) are served as what they hold.

use crate::compressed;
use crate::core::Result;
use crate::filename;
use crate::place::MailboxPlace;
use async_trait::async_trait;
use bytes::Bytes;
use culver_mime::lines::{WireSize, to_wire};
use culver_mime::{Limits, Scanner, Structure, scan};
use culver_store::BodyReader;
use culver_store::io::{File, Fs};
use std::cell::{Cell, OnceCell};
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Files up to this size are held in memory while they are looked at.
pub const SMALL: u64 = 1 << 20;
/// Octets read at a time from larger ones.
const CHUNK: usize = 128 << 10;

/// No message is larger after decompression.
const MOST_DECOMPRESSED: u64 = 1 << 30;

/// A file, read from its start.
struct Reading<'a> {
    file: &'a File,
    at: u64,
}
impl io::Read for Reading<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// A message's bytes.
pub enum Content {
    /// In memory.
    Small(Small),
    /// In its file.
    Large(Large),
}

/// A small message: its line ends are made when somebody wants them.
pub struct Small {
    stored: Vec<u8>,
    wire: OnceCell<Bytes>,
    counted: Cell<Option<u64>>,
}

impl Small {
    fn wire(&self) -> &Bytes {
        self.wire.get_or_init(|| {
            let mut out = Vec::with_capacity(self.stored.len() + self.stored.len() / 32);
            to_wire(&self.stored, None, &mut out);
            self.counted.set(Some(out.len() as u64));
            out.into()
        })
    }

    /// All of it behind `out`.
    fn append_to(&self, out: &mut Vec<u8>) {
        match self.wire.get() {
            Some(wire) => out.extend_from_slice(wire),
            None => {
                let before = out.len();
                to_wire(&self.stored, None, out);
                self.counted.set(Some((out.len() - before) as u64));
            }
        }
    }

    fn header(&self) -> Bytes {
        if let Some(wire) = self.wire.get() {
            return wire.slice(..header_len(wire).unwrap_or(wire.len()));
        }
        // The header alone has to be made if its end can be seen in the stored form.
        let end = match memchr::memmem::find(&self.stored, b"\n\n") {
            _ if self.stored.starts_with(b"\n") => Some(1),
            Some(i) if memchr::memchr(b'\r', &self.stored[..i]).is_none() => Some(i + 2),
            _ => None,
        };
        let Some(end) = end else {
            let wire = self.wire();
            return wire.slice(..header_len(wire).unwrap_or(wire.len()));
        };
        let mut out = Vec::with_capacity(end + end / 32);
        to_wire(&self.stored[..end], None, &mut out);
        out.into()
    }
}

/// A large message.
#[derive(Clone)]
pub struct Large {
    file: Arc<File>,
    /// Octets in the file.
    stored: u64,
    /// Octets on the wire.
    wire: u64,
}

impl Content {
    /// From an open file. `name` is its name, `wire` the size that is on record.
    pub fn open(fs: &Fs, file: File, name: &[u8], wire: Option<u64>) -> io::Result<Self> {
        let stored = file.stat_when_opened()?.size;
        let mut start = [0; compressed::MAGIC_LEN];
        if stored <= SMALL {
            let octets = file.read_from(0, usize::MAX >> 1)?;
            if let Some(how) = compressed::recognise(&octets) {
                return Self::decompress(fs, compressed::reader(how, &octets[..], MOST_DECOMPRESSED)?);
            }
            return Ok(Self::stored(octets));
        }
        let n = file.read_full_at(&mut start, 0)?;
        if let Some(how) = compressed::recognise(&start[..n]) {
            return Self::decompress(
                fs,
                compressed::reader(how, Reading { file: &file, at: 0 }, MOST_DECOMPRESSED)?,
            );
        }
        let told = filename::sizes(name);
        let wire = match wire.or(told.wire) {
            Some(wire) if told.stored == Some(stored) && wire >= stored => wire,
            _ => count(&file)?,
        };
        Ok(Self::Large(Large { file: Arc::new(file), stored, wire }))
    }

    /// A message in memory, as files have it.
    pub fn stored(stored: Vec<u8>) -> Self {
        Self::Small(Small { stored, wire: OnceCell::new(), counted: Cell::new(None) })
    }

    fn from_wire(octets: Vec<u8>) -> Self {
        let counted = Cell::new(Some(octets.len() as u64));
        Self::Small(Small { stored: Vec::new(), wire: OnceCell::from(Bytes::from(octets)), counted })
    }

    /// Octets on the wire, if they have been counted.
    pub fn counted(&self) -> Option<u64> {
        match self {
            Self::Small(small) => small.counted.get(),
            Self::Large(large) => Some(large.wire),
        }
    }

    /// What comes out is kept in wire form: in memory, or in a file without a name if it is large.
    fn decompress(fs: &Fs, mut plain: impl io::Read) -> io::Result<Self> {
        let mut buffer = vec![0; CHUNK];
        let (mut last, mut out) = (None, Vec::new());
        let mut spilled: Option<(File, u64)> = None;
        loop {
            let n = match plain.read(&mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            last = to_wire(&buffer[..n], last, &mut out);
            if let Some((file, len)) = &mut spilled {
                file.write_all(&out)?;
                *len += out.len() as u64;
                out.clear();
            } else if out.len() as u64 > SMALL {
                let mut file = fs.anonymous()?;
                file.write_all(&out)?;
                spilled = Some((file, out.len() as u64));
                out.clear();
            }
            if n == 0 {
                return Ok(match spilled {
                    Some((file, len)) => Self::Large(Large { file: Arc::new(file), stored: len, wire: len }),
                    None => Self::from_wire(out),
                });
            }
        }
    }

    /// Is it in memory?
    pub fn is_small(&self) -> bool {
        matches!(self, Self::Small(_))
    }

    /// Octets on the wire.
    pub fn size(&self) -> u64 {
        match self {
            Self::Small(small) => small.counted.get().unwrap_or_else(|| small.wire().len() as u64),
            Self::Large(large) => large.wire,
        }
    }

    /// Appends `range`, cut at the end.
    pub fn read(&self, range: Range<u64>, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Small(small) => {
                // It is all, or nearly: made where it is wanted.
                if range.start == 0 && range.end >= small.stored.len() as u64 && small.wire.get().is_none() {
                    let before = out.len();
                    small.append_to(out);
                    out.truncate(before.saturating_add(usize::try_from(range.end).unwrap_or(usize::MAX)));
                    return Ok(());
                }
                let octets = small.wire();
                out.extend_from_slice(&octets[cut(&range, octets.len() as u64)]);
                Ok(())
            }
            Self::Large(large) => {
                let mut stream = large.stream(range);
                loop {
                    let before = out.len();
                    stream.next(out)?;
                    if out.len() == before {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The octets `range`, cut at the end.
    pub fn octets(&self, range: Range<u64>) -> io::Result<Bytes> {
        if let Self::Small(small) = self {
            let octets = small.wire();
            return Ok(octets.slice(cut(&range, octets.len() as u64)));
        }
        let mut out = Vec::new();
        self.read(range, &mut out)?;
        Ok(out.into())
    }

    /// The part before the body, with the empty line; all if there is none.
    pub fn header(&self) -> io::Result<Bytes> {
        let large = match self {
            Self::Small(small) => return Ok(small.header()),
            Self::Large(large) => large,
        };
        let mut out = Vec::new();
        let mut stream = large.stream(0..large.wire);
        loop {
            let before = out.len();
            stream.next(&mut out)?;
            if let Some(len) = header_len(&out) {
                out.truncate(len);
                return Ok(out.into());
            }
            if out.len() == before {
                return Ok(out.into());
            }
        }
    }

    /// The part tree.
    pub fn structure(&self) -> io::Result<Structure> {
        match self {
            Self::Small(small) => Ok(scan(small.wire())),
            Self::Large(large) => {
                let mut scanner = Scanner::new(Limits::default());
                large.pieces(|octets| scanner.feed(octets))?;
                Ok(scanner.finish())
            }
        }
    }

    /// A reader for `range`, cut at the end.
    pub fn reader(&self, range: Range<u64>, place: &Arc<MailboxPlace>) -> Box<dyn BodyReader> {
        match self {
            Self::Small(small) => {
                let octets = small.wire();
                Box::new(MemoryReader(octets.slice(cut(&range, octets.len() as u64))))
            }
            Self::Large(large) => {
                Box::new(FileReader { stream: Some(large.stream(range)), place: place.clone() })
            }
        }
    }
}

fn cut(range: &Range<u64>, len: u64) -> Range<usize> {
    // What is in memory fits into a usize.
    let end = range.end.min(len) as usize;
    (range.start.min(len) as usize).min(end)..end
}

fn header_len(octets: &[u8]) -> Option<usize> {
    if octets.starts_with(b"\r\n") {
        return Some(2);
    }
    memchr::memmem::find(octets, b"\r\n\r\n").map(|i| i + 4)
}

/// Counts octets on the wire.
fn count(file: &File) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let (mut at, mut wire) = (0, WireSize::default());
    loop {
        let n = file.read_at(&mut buffer, at)?;
        if n == 0 {
            return Ok(wire.octets);
        }
        wire.push(&buffer[..n]);
        at += n as u64;
    }
}

impl Large {
    fn stream(&self, range: Range<u64>) -> Stream {
        let end = range.end.min(self.wire);
        let start = range.start.min(end);
        let same = self.stored == self.wire;
        Stream {
            file: self.file.clone(),
            form: if same { Form::Wire } else { Form::Stored { last: None } },
            at: if same { start } else { 0 },
            skip: if same { 0 } else { start },
            remaining: end - start,
            told: false,
        }
    }

    /// The whole message in pieces, for a scanner.
    fn pieces(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut stream = self.stream(0..self.wire);
        let mut out = Vec::new();
        loop {
            out.clear();
            stream.next(&mut out)?;
            if out.is_empty() {
                return Ok(());
            }
            take(&out);
        }
    }
}

/// What lies in a file.
#[derive(Clone, Copy)]
enum Form {
    /// What goes on the wire.
    Wire,
    /// Line ends have to be made. The octet before the next one, if any.
    Stored {
        /// That octet.
        last: Option<u8>,
    },
}

/// A place in a file and what is still wanted from there.
struct Stream {
    file: Arc<File>,
    form: Form,
    at: u64,
    skip: u64,
    remaining: u64,
    told: bool,
}

impl Stream {
    /// Appends the next octets; none when nothing remains.
    fn next(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        let before = out.len();
        while self.remaining > 0 && out.len() == before {
            let n = self.file.read_at(&mut buffer, self.at)?;
            if n == 0 {
                // The client was told a length.
                if !std::mem::replace(&mut self.told, true) {
                    tracing::warn!(
                        missing = self.remaining,
                        "a message's file became shorter while it was read; the rest is filled with spaces"
                    );
                }
                let fill = usize::try_from(self.remaining).unwrap_or(CHUNK).min(CHUNK);
                out.resize(before + fill, b' ');
                self.remaining -= fill as u64;
                return Ok(());
            }
            self.at += n as u64;
            match &mut self.form {
                Form::Stored { last } => *last = to_wire(&buffer[..n], *last, out),
                Form::Wire => out.extend_from_slice(&buffer[..n]),
            }
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(out.len() - before);
            out.drain(before..before + skipped);
            self.skip -= skipped as u64;
            let most = usize::try_from(self.remaining).unwrap_or(usize::MAX);
            out.truncate(before.saturating_add(most));
            self.remaining -= (out.len() - before) as u64;
        }
        Ok(())
    }
}

struct MemoryReader(Bytes);

#[async_trait]
impl BodyReader for MemoryReader {
    fn remaining(&self) -> u64 {
        self.0.len() as u64
    }
    async fn next(&mut self) -> Result<Bytes> {
        let n = self.0.len().min(2 * CHUNK);
        Ok(self.0.split_to(n))
    }
}

struct FileReader {
    /// Away only while a job has it; a reader whose job failed has none and remains at its error.
    stream: Option<Stream>,
    place: Arc<MailboxPlace>,
}

#[async_trait]
impl BodyReader for FileReader {
    fn remaining(&self) -> u64 {
        self.stream.as_ref().map_or(0, |s| s.remaining)
    }
    async fn next(&mut self) -> Result<Bytes> {
        let lost = || self.place.failure("reading a message", io::ErrorKind::Interrupted.into());
        let mut stream = self.stream.take().ok_or_else(lost)?;
        let job = move |_: &Fs| {
            let mut out = Vec::with_capacity(CHUNK + CHUNK / 16);
            let done = stream.next(&mut out);
            (stream, done.map(|()| Bytes::from(out)))
        };
        let (stream, done) = self.place.io.run(self.place.owner, job).await?;
        self.stream = Some(stream);
        done.map_err(|e| self.place.failure("reading a message", e))
    }
}
