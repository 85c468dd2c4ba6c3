//! Messages that Dovecot's compression plugin stored: gzip, bzip2, zstd, and lz4 in Dovecot's own frame, recognised by
//! their first octets. Reading only.
//!
//! The output is bounded: what grows beyond the limit ends in an error, as does what is damaged. Memory is bounded by the
//! decompressors' windows (zstd's is limited to 128 MiB). A message that only looks compressed does not exist in practice:
//! no header begins like this.

use std::io::{self, Read};

/// How many octets [`recognise`] wants to see.
pub const MAGIC_LEN: usize = 16;

/// Largest window that a zstd frame may ask for: 2^27 octets, zstd's own default.
const ZSTD_WINDOW_LOG: u32 = 27;
const LZ4_MAGIC: &[u8] = b"Dovecot-LZ4\x0d\x2a\x9b\xc5";
/// Dovecot writes chunks of 64 KiB and reads no larger ones.
const LZ4_CHUNK: usize = 64 * 1024;

/// How a file is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// gzip (RFC 1952).
    Gzip,
    /// bzip2.
    Bzip2,
    /// zstd (RFC 8878).
    Zstd,
    /// lz4 blocks in Dovecot's frame.
    Lz4,
}

/// What a file's first octets tell; give at least [`MAGIC_LEN`] of them if there are so many.
pub fn recognise(start: &[u8]) -> Option<Compression> {
    if start.starts_with(&[0x1f, 0x8b, 8]) {
        return Some(Compression::Gzip);
    }
    let bzip2 = start.strip_prefix(b"BZh").and_then(|s| s.split_first());
    if bzip2.is_some_and(|(level, rest)| matches!(level, b'1'..=b'9') && rest.starts_with(b"1AY&SY")) {
        return Some(Compression::Bzip2);
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Some(Compression::Zstd);
    }
    start.starts_with(LZ4_MAGIC).then_some(Compression::Lz4)
}

/// Reads the message from its file, read from the start. More than `most` octets are an error
/// ([`io::ErrorKind::FileTooLarge`]).
pub fn reader<'a>(
    compression: Compression,
    file: impl Read + Send + 'a,
    most: u64,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let plain: Box<dyn Read + Send + 'a> = match compression {
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
        Compression::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(file)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(file)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Compression::Lz4 => Box::new(Lz4::new(file)?),
    };
    Ok(Box::new(Bounded { plain, left: most }))
}

/// Decompresses a whole file that is in memory.
pub fn decompress(compression: Compression, file: &[u8], most: u64) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader(compression, file, most)?.read_to_end(&mut out)?;
    Ok(out)
}

struct Bounded<R> {
    plain: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.plain.read(buf)?;
        match self.left.checked_sub(n as u64) {
            Some(left) => {
                self.left = left;
                Ok(n)
            }
            None => Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                "a compressed message is larger than the limit",
            )),
        }
    }
}

/// Dovecot's frame: the magic, the largest chunk's size in 4 octets (big endian), then chunks: 4 octets with the
/// compressed length, and one lz4 block.
struct Lz4<R> {
    file: R,
    chunk: Vec<u8>,
    plain: Vec<u8>,
    at: usize,
    most: usize,
}

impl<R: Read> Lz4<R> {
    fn new(mut file: R) -> io::Result<Self> {
        let mut head = [0; LZ4_MAGIC.len() + 4];
        file.read_exact(&mut head)?;
        let (magic, size) = head.split_at(LZ4_MAGIC.len());
        let most = size.iter().fold(0usize, |n, b| n << 8 | usize::from(*b));
        if magic != LZ4_MAGIC || most == 0 || most > LZ4_CHUNK {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a damaged lz4 header"));
        }
        Ok(Self { file, chunk: Vec::new(), plain: Vec::new(), at: 0, most })
    }

    /// Reads the next chunk; `false` at the end.
    fn fill(&mut self) -> io::Result<bool> {
        let mut size = [0; 4];
        let mut got = 0;
        while got < size.len() {
            match self.file.read(&mut size[got..])? {
                0 if got == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => got += n,
            }
        }
        let size = u32::from_be_bytes(size) as usize;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a damaged lz4 chunk");
        if size == 0 || size > lz4_flex::block::get_maximum_output_size(self.most) {
            return Err(damaged());
        }
        self.chunk.resize(size, 0);
        self.file.read_exact(&mut self.chunk)?;
        self.plain.resize(self.most, 0);
        let n = lz4_flex::block::decompress_into(&self.chunk, &mut self.plain).map_err(|_| damaged())?;
        self.plain.truncate(n);
        self.at = 0;
        Ok(true)
    }
}

impl<R: Read> Read for Lz4<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.plain.len() {
            if !self.fill()? {
                return Ok(0);
            }
        }
        let n = buf.len().min(self.plain.len() - self.at);
        buf[..n].copy_from_slice(&self.plain[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn message() -> Vec<u8> {
        (0..5000).flat_map(|n| format!("line {n} of a message\n").into_bytes()).collect()
    }

    fn packed() -> Vec<(Compression, Vec<u8>)> {
        let text = message();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&text).unwrap();
        let mut bz = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bz.write_all(&text).unwrap();
        let mut lz4 = LZ4_MAGIC.to_vec();
        lz4.extend((LZ4_CHUNK as u32).to_be_bytes());
        for chunk in text.chunks(LZ4_CHUNK) {
            let block = lz4_flex::block::compress(chunk);
            lz4.extend((block.len() as u32).to_be_bytes());
            lz4.extend(block);
        }
        vec![
            (Compression::Gzip, gz.finish().unwrap()),
            (Compression::Bzip2, bz.finish().unwrap()),
            (Compression::Zstd, zstd::encode_all(text.as_slice(), 1).unwrap()),
            (Compression::Lz4, lz4),
        ]
    }

    #[test]
    fn all_four_are_recognised_and_read() {
        let text = message();
        for (kind, file) in packed() {
            assert_eq!(recognise(&file), Some(kind));
            assert!(decompress(kind, &file, text.len() as u64).unwrap() == text, "{kind:?}");
            let bounded = decompress(kind, &file, text.len() as u64 - 1);
            assert_eq!(bounded.unwrap_err().kind(), io::ErrorKind::FileTooLarge, "{kind:?}");
        }
        assert_eq!(recognise(b"BZh nothing"), None);
        assert_eq!(recognise(b"From: a"), None);
        assert_eq!(recognise(b""), None);
    }

    #[test]
    fn damage_is_an_error_and_no_more() {
        for (kind, file) in packed() {
            for cut in [0, 3, 10, 17, file.len() / 2, file.len() - 1] {
                assert!(decompress(kind, &file[..cut], u64::MAX).is_err(), "{kind:?} cut at {cut}");
            }
            for at in (0..file.len()).step_by(file.len() / 50 + 1) {
                let mut bad = file.clone();
                bad[at] ^= 0x55;
                drop(decompress(kind, &bad, 1 << 20));
            }
        }
    }
}
