//! One session, from greeting to goodbye.
//!
//! A session ends by QUIT; by a time-out (10 minutes without a command, one minute without a login); after ten failed
//! logins; when the server stops; when the peer is gone or TLS fails; or when a message breaks off in the middle. By
//! nothing else: what is no command is `-ERR`, what breaks is `-ERR`, and the next line is read. Messages are removed by QUIT
//! alone (RFC 1939 §6).

use crate::context::{Context, Line};
use crate::dispatch;
use crate::service::{self, Pop3Service};
use crate::state::{Authorization, State};
use crate::stop::{End, Stop};
use culver_auth::{Peer, Secured};
use culver_events::Event;
use culver_net::{Connection, Shutdown, Wire};
use culver_pop3::command::{Malformed, parse};
use culver_pop3::frame::{Framer, LONGEST};
use culver_pop3::language::Text;
use culver_pop3::response::{self, Code, Voice};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long flags of messages that were retrieved wait for more of them.
const SEEN_AFTER: Duration = Duration::from_secs(10);
/// How often other servers are told that the session lives.
const RENEW: Duration = Duration::from_secs(60);

/// Serves one connection.
pub async fn run(service: Arc<Pop3Service>, conn: Connection, shutdown: Shutdown) {
    let secured = if conn.stream.is_tls() {
        Secured::Tls
    } else if conn.stream.is_loopback() {
        Secured::Loopback
    } else {
        Secured::No
    };
    let peer = Peer {
        remote: conn.stream.peer_addr(),
        local: conn.stream.local_addr(),
        secured,
        service: "pop3",
        session: conn.session.clone(),
        certificate: conn.stream.client_certificate(),
    };
    let timestamp = service.timestamp(&peer);
    let cx = Context {
        wire: Wire::new(conn.stream),
        framer: Framer::default(),
        service,
        peer,
        shutdown,
        voice: Voice::default(),
        utf8: false,
        timestamp,
        failed_logins: 0,
    };
    Session { cx, state: State::Authorization(Authorization::default()) }.serve().await;
}

struct Session {
    cx: Context,
    state: State,
}

impl Session {
    async fn serve(mut self) {
        response::greeting(&mut self.cx.wire.out, self.cx.timestamp.as_deref());
        let end = loop {
            let step = match self.cx.take_line() {
                Some(Line::Whole(line)) => self.command(&line).await,
                Some(Line::TooLong) => {
                    self.cx.err(None, &Text::LineTooLong(LONGEST));
                    Ok(())
                }
                None => self.wait().await,
            };
            if let Err(end) = step {
                break end;
            }
        };
        self.end(end).await;
    }

    async fn end(mut self, end: End) {
        let why = match end {
            End::Quit => "Logged out".to_owned(),
            End::Idle => "Inactivity".to_owned(),
            End::Stopping => {
                // Nobody asked, but whoever asks next reads it.
                self.cx.err(Some(Code::SysTemp), &Text::Stopping);
                "The server is stopping".to_owned()
            }
            End::FailedLogins => "Too many failed logins".to_owned(),
            End::Broken(why) => format!("Connection closed: {why}"),
        };
        if let State::Transaction(tx) = &mut self.state {
            tx.leave(&self.cx).await;
        }
        self.cx.wire.close().await;
        let (received, sent) = (self.cx.wire.received, self.cx.wire.sent);
        let from = service::origin(&self.cx.peer);
        self.cx.service.events.emit(match self.state {
            State::Authorization(_) => Event::session_ended(None, why, received, sent, from),
            State::Transaction(tx) => {
                Event::MaildropClosed { account: tx.name.to_string(), why, counts: tx.counts, from }
            }
        });
    }

    /// Waits for the client, with nothing in hand. What may wait is done meanwhile.
    async fn wait(&mut self) -> Result<(), End> {
        self.cx.rest().await?;
        let settings = &self.cx.service.settings;
        let limit = match self.state {
            State::Authorization(_) => settings.login_timeout,
            State::Transaction(_) => settings.idle_timeout,
        };
        let begun = Instant::now();
        loop {
            let left = limit.saturating_sub(begun.elapsed());
            let chore = match &self.state {
                State::Transaction(tx) if !tx.newly_seen.is_empty() => SEEN_AFTER,
                State::Transaction(tx) if tx.claim.is_some() => RENEW,
                _ => left,
            };
            match self.cx.hear(left.min(chore)).await {
                Err(End::Idle) if chore < left => self.chores().await,
                heard => return heard,
            }
        }
    }

    async fn chores(&mut self) {
        if let State::Transaction(tx) = &mut self.state {
            tx.store_seen().await;
            if let Some(claim) = &mut tx.claim {
                claim.renew().await;
            }
        }
    }

    /// Carries out one line.
    async fn command(&mut self, line: &[u8]) -> Result<(), End> {
        match parse(line) {
            Ok(command) => {
                let state =
                    std::mem::replace(&mut self.state, State::Authorization(Authorization::default()));
                let (state, done) = Box::pin(dispatch::run(state, command, &mut self.cx)).await;
                self.state = state;
                done?;
            }
            Err(malformed) => {
                // A line that is no command stands between USER and PASS as well.
                if let State::Authorization(before) = &mut self.state {
                    before.user = None;
                }
                let text = match malformed {
                    Malformed::Unknown => Text::UnknownCommand,
                    Malformed::Arguments(usage) => Text::WriteItAs(usage),
                    Malformed::Number => Text::NotANumber,
                };
                self.cx.answer(Stop::No(None, text))?;
            }
        }
        self.cx.wire.relieve().await.map_err(End::Broken)
    }
}
