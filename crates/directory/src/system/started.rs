//! The helper that the server started: sockets to it come from its parent, which starts another when one has ended.
//!
//! The other side, with what is said, is `helper/src/parent.rs`. While the parent pauses after a helper that ends again and again,
//! questions are answered at once, as an outage.

use parking_lot::Mutex;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout_at};

/// So long a question waits for a helper that is being started.
const PATIENCE: Duration = Duration::from_secs(2);

/// The parent's socket.
pub(super) struct Started {
    given: Mutex<Option<StdStream>>,
    open: tokio::sync::Mutex<Option<Open>>,
}

struct Open {
    socket: UnixStream,
    /// When a helper was asked for that has not come yet.
    asked: Option<Instant>,
}

impl Started {
    pub(super) fn new(socket: StdStream) -> Self {
        Self { given: Mutex::new(Some(socket)), open: tokio::sync::Mutex::default() }
    }

    /// A new helper's socket, or why there is none.
    pub(super) async fn next(&self) -> Result<UnixStream, String> {
        let mut open = self.open.lock().await;
        let given = self.given.lock().take();
        if let Some(given) = given {
            let socket = given.set_nonblocking(true).and_then(|()| UnixStream::from_std(given));
            *open = Some(Open { socket: socket.map_err(|why| why.to_string())?, asked: None });
        }
        let gone = "the process that starts it has ended: restart culver";
        let Some(Open { socket, asked }) = &mut *open else { return Err(gone.to_owned()) };
        let since = match *asked {
            Some(since) => since,
            None => {
                // There is room for an octet: one is asked for at a time.
                let send = || Ok(rustix::net::send(&*socket, b"1", SendFlags::NOSIGNAL)?);
                let sent = socket.async_io(Interest::WRITABLE, send).await;
                sent.map_err(|_| gone.to_owned())?;
                *asked.insert(Instant::now())
            }
        };
        let answer = timeout_at(since + PATIENCE, socket.async_io(Interest::READABLE, || receive(socket)));
        let Ok(answer) = answer.await else {
            return Err("it has ended again and again, and is started once more after a pause: see the system's log for why".to_owned());
        };
        *asked = None;
        match answer {
            Ok((text, Some(helper))) => {
                if !text.is_empty() {
                    tracing::warn!(
                        "the helper process for PAM and NSS had ended ({text}) and was started again: see the system's log for why"
                    );
                }
                let helper = StdStream::from(helper);
                helper
                    .set_nonblocking(true)
                    .and_then(|()| UnixStream::from_std(helper))
                    .map_err(|why| why.to_string())
            }
            Ok((text, None)) if !text.is_empty() => Err(text),
            Ok(_) | Err(_) => Err(gone.to_owned()),
        }
    }
}

/// A line and the socket beside it; no line at the end.
fn receive(from: &UnixStream) -> io::Result<(String, Option<OwnedFd>)> {
    let mut octets = [0; 512];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let read = rustix::net::recvmsg(
        from,
        &mut [IoSliceMut::new(&mut octets)],
        &mut beside,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let socket = beside.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    Ok((String::from_utf8_lossy(&octets[..read.bytes]).trim_end().to_owned(), socket))
}
