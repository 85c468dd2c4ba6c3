//! BINARYMIME messages (RFC 3030 §3): parts that are binary become base64.
//!
//! A Maildir keeps lines, and IMAP shows lines: a part of any octets, among them CRs and LFs that end none, would not come out
//! as it went in. In base64 it does. Everything else stays octet for octet; multiparts and messages around such parts are
//! called 8bit, since they may hold nothing binary any more (RFC 2045 §6.4).

use crate::message::{Incoming, Message, Pieces};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use culver_mime::structure::Kind;
use culver_mime::{Limits, Scanner, fields};
use culver_store::io::Io;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Octets of a line of base64 (RFC 2045 §6.8: 76 characters).
const LINE: usize = 57;
/// A part's header is read whole up to this; one that is longer stays as it is, and so does its part.
const LONGEST_HEADER: u64 = 1 << 20;

/// What is done to a part.
struct Edit {
    header: Range<u64>,
    encoding: &'static str,
    /// What becomes base64.
    body: Option<Range<u64>>,
    /// Does the message end with it?
    last: bool,
}

/// The message without binary parts, written by way of `incoming`; `None` when it has none.
///
/// # Errors
/// When it cannot be read.
pub async fn without_binary(
    io: &Arc<Io>,
    message: &Message,
    incoming: impl FnOnce() -> Incoming,
) -> io::Result<Option<Incoming>> {
    let edits = edits(io, message).await?;
    if edits.is_empty() {
        return Ok(None);
    }
    let mut out = incoming();
    let mut at = 0;
    for edit in edits {
        copy(io, message, at..edit.header.start, &mut out).await?;
        let mut header = Vec::new();
        let mut reader = Pieces::range(io.clone(), message, edit.header.clone());
        loop {
            let piece = reader.next().await?;
            if piece.is_empty() {
                break;
            }
            header.extend_from_slice(&piece);
        }
        out.push(&renamed(&header, edit.encoding)).await;
        at = edit.header.end;
        if let Some(body) = edit.body {
            copy(io, message, at..body.start, &mut out).await?;
            encode(io, message, body.clone(), &mut out).await?;
            if edit.last {
                out.push(b"\r\n").await;
            }
            at = body.end;
        }
    }
    copy(io, message, at..message.octets.len(), &mut out).await?;
    Ok(Some(out))
}

async fn edits(io: &Arc<Io>, message: &Message) -> io::Result<Vec<Edit>> {
    let mut scanner = Scanner::new(Limits::default());
    let mut pieces = Pieces::of(io.clone(), message);
    loop {
        let piece = pieces.next().await?;
        if piece.is_empty() {
            break;
        }
        scanner.feed(&piece);
    }
    let structure = scanner.finish();
    let binary = structure.parts.iter().filter(|p| p.encoding().eq_ignore_ascii_case(b"binary"));
    let mut edits: Vec<Edit> = binary
        .filter(|p| p.header.end - p.header.start <= LONGEST_HEADER)
        .filter_map(|part| {
            let header = part.header.clone();
            let last = part.body.end == message.octets.len();
            match part.kind {
                Kind::Multipart | Kind::Message => Some(Edit { header, encoding: "8bit", body: None, last }),
                // RFC 2046 §5.2.1: base64 is not for messages.
                Kind::Leaf if part.content.is_type("message") => None,
                Kind::Leaf => Some(Edit { header, encoding: "base64", body: Some(part.body.clone()), last }),
            }
        })
        .collect();
    edits.sort_by_key(|e| e.header.start);
    Ok(edits)
}

/// The header with another Content-Transfer-Encoding.
fn renamed(header: &[u8], encoding: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(header.len());
    let mut at = 0;
    for field in fields::iter(header) {
        at += field.raw.len();
        if field.is(b"Content-Transfer-Encoding") {
            out.extend_from_slice(format!("Content-Transfer-Encoding: {encoding}\r\n").as_bytes());
        } else {
            out.extend_from_slice(field.raw);
        }
    }
    out.extend_from_slice(&header[at..]);
    out
}

async fn copy(io: &Arc<Io>, message: &Message, range: Range<u64>, out: &mut Incoming) -> io::Result<()> {
    let mut pieces = Pieces::range(io.clone(), message, range);
    loop {
        let piece = pieces.next().await?;
        if piece.is_empty() {
            return Ok(());
        }
        out.push(&piece).await;
    }
}

async fn encode(io: &Arc<Io>, message: &Message, range: Range<u64>, out: &mut Incoming) -> io::Result<()> {
    let mut pieces = Pieces::range(io.clone(), message, range);
    let mut held: Vec<u8> = Vec::new();
    let mut first = true;
    loop {
        let piece = pieces.next().await?;
        held.extend_from_slice(&piece);
        let whole = if piece.is_empty() { held.len() } else { held.len() / LINE * LINE };
        let mut text = String::new();
        for line in held[..whole].chunks(LINE) {
            if !std::mem::take(&mut first) {
                text.push_str("\r\n");
            }
            STANDARD.encode_string(line, &mut text);
        }
        out.push(text.as_bytes()).await;
        held.drain(..whole);
        if piece.is_empty() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use culver_store::Octets;
    use culver_store::io::IoSettings;

    async fn done(text: &[u8], inline: usize) -> Option<Vec<u8>> {
        let io = Arc::new(Io::new(IoSettings { threads: 1, ..IoSettings::default() }).unwrap());
        let temp = tempfile::tempdir().unwrap();
        let new = || Incoming::new(io.clone(), temp.path().to_owned(), inline, None);
        let mut message = new();
        message.push(text).await;
        let message = message.finish().await.unwrap();
        let out = without_binary(&io, &message, new).await.unwrap()?.finish().await.unwrap();
        let mut all = Vec::new();
        let mut pieces = Pieces::of(io.clone(), &out);
        loop {
            let piece = pieces.next().await.unwrap();
            if piece.is_empty() {
                break;
            }
            all.extend_from_slice(&piece);
        }
        assert_eq!(matches!(out.octets, Octets::File { .. }), all.len() > inline.max(64 << 10));
        Some(all)
    }

    #[tokio::test]
    async fn parts_that_are_binary_become_base64() {
        let octets = [0, b'\r', 1, b'\n', 0xff, b'\r', b'\n'];
        let mut text = b"Subject: x\r\nContent-Transfer-Encoding: binary\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\nJa\xe4\r\n\
            --b\r\nContent-Type: image/png\r\ncontent-transfer-encoding: BINARY\r\nX: y\r\n\r\n"
            .to_vec();
        text.extend_from_slice(&octets);
        text.extend_from_slice(b"\r\n--b--\r\nend\r\n");
        let mut expected = b"Subject: x\r\nContent-Transfer-Encoding: 8bit\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
            --b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\nJa\xe4\r\n\
            --b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\nX: y\r\n\r\n"
            .to_vec();
        // Second source: `printf '\0\r\1\n\377\r\n' | base64`.
        expected.extend_from_slice(b"AA0BCv8NCg==\r\n--b--\r\nend\r\n");
        assert_eq!(
            done(&text, 1 << 20).await.map(|o| String::from_utf8_lossy(&o).into_owned()),
            Some(String::from_utf8_lossy(&expected).into_owned())
        );
    }

    #[tokio::test]
    async fn a_message_that_is_binary_itself_and_long() {
        let body: Vec<u8> = (0..600_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let head = b"Content-Transfer-Encoding: binary\r\nContent-Type: application/x\r\n\r\n";
        let out = done(&[head, &body[..]].concat(), 1).await.unwrap();
        let text = String::from_utf8(out).unwrap();
        let (_, encoded) = text.split_once("\r\n\r\n").unwrap();
        assert!(encoded.ends_with("\r\n") && encoded.lines().all(|l| l.len() <= 76));
        assert_eq!(STANDARD.decode(encoded.replace("\r\n", "")).unwrap(), body);
    }

    #[tokio::test]
    async fn others_stay() {
        assert_eq!(done(b"Subject: x\r\n\r\nbinary\r\n", 1 << 20).await, None);
        let nested = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\nSubject: y\r\n\r\nbody\r\n";
        let out = done(nested, 1 << 20).await.unwrap();
        assert_eq!(out, b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: y\r\n\r\nbody\r\n");
    }
}
