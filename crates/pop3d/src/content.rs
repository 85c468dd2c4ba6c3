//! One message on its way to the client.
//!
//! A message of up to a quarter of a megabyte is made ready as a whole, status line and end included, where files may be
//! read, and sent in one piece. A larger one streams: what is read is sent before more is read, so that a slow client
//! holds nothing but itself up.

use crate::context::Context;
use crate::service::Pop3Settings;
use crate::stop::{End, Stop};
use culver_base::Uid;
use culver_pop3::content::{Nuls, Stuffer, Top};
use culver_pop3::language::Text;
use culver_pop3::response::{self, Status, Voice};
use culver_pop3::surrogate;
use culver_store::{BodyReader, Failure, Mailbox, Message, Refusal};
use memchr::memmem;
use parking_lot::Mutex;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Larger ones stream.
const STREAM_ABOVE: u64 = 256 * 1024;

/// How much of a message is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// RETR
    All,
    /// TOP
    Top {
        /// Lines of the body.
        lines: u64,
    },
}

/// How a message is written.
#[derive(Clone, Copy, Debug)]
struct How {
    wanted: Wanted,
    nuls: Nuls,
    end_of_header: bool,
    utf8: bool,
    voice: Voice,
    octets: u64,
}

enum Body {
    /// With status line and end.
    Whole(Vec<u8>),
    /// After so much of it (a header that had to be changed), the rest.
    Stream(Vec<u8>, Box<dyn BodyReader>),
}

/// Sends the message `uid`, of `octets` as LIST has it. Gives back how many octets of it went.
pub async fn send(
    mailbox: &Arc<dyn Mailbox>,
    uid: Uid,
    octets: u64,
    wanted: Wanted,
    cx: &mut Context,
) -> Result<u64, Stop> {
    let Pop3Settings { nuls, end_of_header, .. } = cx.service.settings;
    let how = How { wanted, nuls, end_of_header, utf8: cx.utf8, voice: cx.voice, octets };
    let made: Arc<Mutex<Option<Result<Body, Failure>>>> = Arc::default();
    let into = made.clone();
    let visit = Box::new(move |message: &mut dyn Message| {
        *into.lock() = Some(make(message, how));
        ControlFlow::Break(())
    });
    mailbox.visit(vec![uid], visit).await;
    let made = made.lock().take();
    let body = made.unwrap_or_else(|| Err(Refusal::ExpungeIssued.into()));
    match body.map_err(|failure| unreadable(failure, uid, cx))? {
        Body::Whole(octets) => {
            cx.wire.send(&octets).await?;
            // As Dovecot counts: without the end.
            Ok(octets.len() as u64 - 3)
        }
        Body::Stream(before, reader) => stream(before, reader, how, cx).await,
    }
}

/// A message that cannot be read costs only itself.
fn unreadable(failure: Failure, uid: Uid, cx: &mut Context) -> Stop {
    if let Failure::Fault(fault) = &failure {
        tracing::warn!(session = %cx.peer.session, %uid, "a message could not be sent: {fault}");
        let session = cx.peer.session.clone();
        cx.err(Some(response::Code::SysTemp), &Text::MessageUnreadable(&session));
        return Stop::Answered;
    }
    failure.into()
}

fn begin(out: &mut Vec<u8>, how: How) {
    let text = match how.wanted {
        Wanted::All => Text::Octets(how.octets),
        Wanted::Top { .. } => Text::ListFollows,
    };
    response::status(out, how.voice, Status::Ok, None, &text);
}

/// On a thread that may read files.
fn make(message: &mut dyn Message, how: How) -> Result<Body, Failure> {
    let size = message.size()?;
    let mut out = Vec::with_capacity(if size > STREAM_ABOVE { 512 } else { size as usize + 512 });
    begin(&mut out, how);
    let start = out.len();
    if how.wanted == (Wanted::Top { lines: 0 }) {
        out.extend_from_slice(&message.header()?);
    } else if size <= STREAM_ABOVE {
        message.read(0..u64::MAX, &mut out)?;
    } else {
        let Some(header) = surrogate_of(message, how)? else {
            return Ok(Body::Stream(out, message.reader(0..u64::MAX)?));
        };
        let (before, header) = header;
        out.extend_from_slice(&header);
        return Ok(Body::Stream(out, message.reader(before..u64::MAX)?));
    }
    if let Wanted::Top { lines } = how.wanted {
        let mut top = Top::new(lines);
        let wanted = top.take(&out[start..]);
        out.truncate(start + wanted);
    }
    finish(&mut out, start, how);
    Ok(Body::Whole(out))
}

/// A header that has to be changed: how long it was, and what is sent for it.
fn surrogate_of(message: &mut dyn Message, how: How) -> Result<Option<(u64, Vec<u8>)>, Failure> {
    if how.utf8 {
        return Ok(None);
    }
    let header = message.header()?;
    Ok(surrogate::header(&header).map(|made| (header.len() as u64, made)))
}

fn header_len(octets: &[u8]) -> Option<usize> {
    if octets.starts_with(b"\r\n") {
        return Some(2);
    }
    memmem::find(octets, b"\r\n\r\n").map(|i| i + 4)
}

/// A surrogate where one is needed, stuffed dots, the end.
fn finish(out: &mut Vec<u8>, start: usize, how: How) {
    let header = header_len(&out[start..]);
    if !how.utf8 {
        let end = start + header.unwrap_or(out.len() - start);
        if let Some(made) = surrogate::header(&out[start..end]) {
            out.splice(start..end, made);
        }
    }
    if how.end_of_header && header.is_none() {
        if !out.ends_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
    let (mut stuffer, mut scratch) = (Stuffer::new(how.nuls), Vec::new());
    let _ = stuffer.piece(&out[start..], &mut scratch);
    // Something had to be stuffed.
    if !scratch.is_empty() {
        out.truncate(start);
        out.append(&mut scratch);
    }
    out.extend_from_slice(stuffer.end());
}

async fn stream(
    mut before: Vec<u8>,
    mut reader: Box<dyn BodyReader>,
    how: How,
    cx: &mut Context,
) -> Result<u64, Stop> {
    let (mut stuffer, mut scratch, mut sent) = (Stuffer::new(how.nuls), Vec::new(), before.len() as u64);
    let mut top = match how.wanted {
        Wanted::All => Top::new(u64::MAX),
        Wanted::Top { lines } => Top::new(lines),
    };
    // The status line has no dot at its start and ends a line: what follows may be stuffed as if it were not there.
    let status = memchr::memchr(b'\n', &before).map_or(0, |i| i + 1);
    let header = before.split_off(status);
    cx.wire.send(&before).await?;
    if !header.is_empty() {
        top.take(&header);
        cx.wire.send(stuffer.piece(&header, &mut scratch)).await?;
    }
    while reader.remaining() > 0 && !top.is_done() {
        // The client is in the middle of an answer: a failure now cannot be told, only the session ended.
        let octets = reader.next().await.map_err(|e| {
            Stop::Ended(End::Broken(io::Error::other(format!("a message broke off in the middle: {e}"))))
        })?;
        let wanted = match how.wanted {
            Wanted::All if !how.end_of_header => octets.len(),
            _ => top.take(&octets),
        };
        let piece = stuffer.piece(&octets[..wanted], &mut scratch);
        sent += piece.len() as u64;
        cx.wire.send(piece).await?;
    }
    cx.wire.send(stuffer.end()).await?;
    Ok(sent)
}
