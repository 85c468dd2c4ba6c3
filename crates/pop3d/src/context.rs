//! What a handler has besides its state: the wire, the service, who is at the other end, how it is spoken to.

use crate::service::Pop3Service;
use crate::stop::{End, Stop, denied, refused};
use bytes::Bytes;
use culver_auth::Peer;
use culver_net::{Shutdown, Wire};
use culver_pop3::frame::{Framer, LONGEST, Step};
use culver_pop3::language::Text;
use culver_pop3::response::{self, Code, Status, Voice};
use culver_store::Failure;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// One session's surroundings.
pub struct Context {
    /// Bytes in and out.
    pub wire: Wire,
    /// Finds lines in what came.
    pub framer: Framer,
    /// Shared by all sessions.
    pub service: Arc<Pop3Service>,
    /// Who connected, and how.
    pub peer: Peer,
    /// Tells when the server wants to stop.
    pub shutdown: Shutdown,
    /// Language and characters of texts.
    pub voice: Voice,
    /// Is UTF-8 mode on (RFC 6856 §2.1)?
    pub utf8: bool,
    /// APOP's timestamp, if it was offered.
    pub timestamp: Option<String>,
    /// Failed logins on this connection.
    pub failed_logins: u32,
}

/// A line that came.
pub enum Line {
    /// Without its end.
    Whole(Bytes),
    /// It was too long and is gone.
    TooLong,
}

impl Context {
    /// `+OK` with a text.
    pub fn ok(&mut self, text: &Text<'_>) {
        response::status(&mut self.wire.out, self.voice, Status::Ok, None, text);
    }

    /// `-ERR` with a text.
    pub fn err(&mut self, code: Option<Code>, text: &Text<'_>) {
        response::status(&mut self.wire.out, self.voice, Status::Err, code, text);
    }

    /// `-ERR` for what a handler stopped with; what ends the session comes back.
    pub fn answer(&mut self, stop: Stop) -> Result<(), End> {
        match stop {
            Stop::Ended(end) => return Err(end),
            Stop::Answered => {}
            Stop::No(code, text) => self.err(code, &text),
            Stop::Denied(why) => {
                self.failed_logins += 1;
                let own = why.text();
                let (code, text) = denied(&why, &own);
                self.err(code, &text);
                if self.failed_logins >= self.service.settings.failed_logins {
                    return Err(End::FailedLogins);
                }
            }
            Stop::Failed(Failure::Refused(refusal)) => {
                let own = refusal.to_string();
                let (code, text) = refused(&refusal, &own);
                self.err(code, &text);
            }
            Stop::Failed(Failure::Fault(fault)) => {
                let session = self.peer.session.clone();
                tracing::error!(%session, "{fault}");
                self.err(Some(Code::SysTemp), &Text::Fault(&session));
            }
        }
        Ok(())
    }

    /// The next line of what has come already.
    pub fn take_line(&mut self) -> Option<Line> {
        loop {
            match self.framer.step(self.wire.input()) {
                Step::More => return None,
                Step::Line { len, used } => {
                    let mut line = self.wire.take(used);
                    line.truncate(len);
                    return Some(Line::Whole(line));
                }
                Step::Dropped(n) => self.wire.consume(n),
                Step::TooLong(n) => {
                    self.wire.consume(n);
                    return Some(Line::TooLong);
                }
            }
        }
    }

    /// Waits for more, and gives up after `limit`. Sends what waits first.
    pub async fn hear(&mut self, limit: Duration) -> Result<(), End> {
        tokio::select! {
            more = timeout(limit, self.wire.fill()) => match more {
                Ok(Ok(true)) => Ok(()),
                Ok(Ok(false)) => Err(End::Broken(std::io::ErrorKind::UnexpectedEof.into())),
                Ok(Err(broken)) => Err(End::Broken(broken)),
                Err(_) => Err(End::Idle),
            },
            () = self.shutdown.wait() => Err(End::Stopping),
        }
    }

    /// Sends what waits and keeps nothing.
    pub async fn rest(&mut self) -> Result<(), End> {
        self.wire.flush().await.map_err(End::Broken)?;
        self.wire.rest();
        Ok(())
    }

    /// The answer to a challenge, before the state has changed (RFC 5034 §4).
    pub async fn ask(&mut self, challenge: &[u8]) -> Result<Bytes, Stop> {
        response::challenge(&mut self.wire.out, challenge);
        loop {
            match self.take_line() {
                Some(Line::Whole(line)) => return Ok(line),
                Some(Line::TooLong) => return Err(Stop::No(None, Text::LineTooLong(LONGEST))),
                None => {
                    self.rest().await.map_err(Stop::Ended)?;
                    self.hear(self.service.settings.login_timeout).await.map_err(Stop::Ended)?;
                }
            }
        }
    }
}
