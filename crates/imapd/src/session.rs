//! One session, from greeting to goodbye.
//!
//! A session ends by LOGOUT; by a time-out (30 minutes without a command, one minute without a login); after ten
//! failed logins; when the server stops; when the peer is gone or TLS fails; or when a literal that cannot be
//! skipped is announced by a client that does not wait. By nothing else: what cannot be parsed is BAD, what breaks
//! is NO, and the next command is read.

use crate::command::append;
use crate::context::Context;
use crate::dispatch;
use crate::service::{self, ImapService};
use crate::state::State;
use crate::stop::{Code, Completion, Done, Stop};
use crate::wire::Wire;
use culver_auth::{Peer, Secured};
use culver_events::Event;
use culver_imap::capability::Login;
use culver_imap::command::{Name, append_target};
use culver_imap::response::{self, Code as WireCode, Condition};
use culver_imap::{Announced, Dialect, Frame, Framer, Limits, Step, parse};
use culver_net::{Connection, Shutdown};
use culver_store::{Failure, Refusal, Spool};
use std::io;
use std::sync::Arc;
use tokio::time::timeout;

/// The time-out's end.
pub fn autologout() -> Stop {
    Stop::Ended(io::Error::new(io::ErrorKind::TimedOut, "no command for too long"))
}

/// The server's end.
pub fn shutting_down() -> Stop {
    Stop::Ended(io::Error::new(io::ErrorKind::ConnectionReset, "the server is stopping"))
}

/// Serves one connection.
pub async fn run(service: Arc<ImapService>, conn: Connection, shutdown: Shutdown) {
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
        service: "imap",
        session: conn.session.clone(),
        certificate: conn.stream.client_certificate(),
    };
    let cx = Context {
        wire: Wire::new(conn.stream),
        service,
        peer,
        shutdown,
        tag: String::new(),
        aside: Vec::new(),
        admitted: 0,
        failed_logins: 0,
    };
    Session { cx, framer: Framer::new(Limits::default()), state: State::NotAuthenticated }.serve().await;
}

/// A session between two commands.
pub struct Session {
    /// Its surroundings.
    pub cx: Context,
    /// Finds where commands end.
    pub framer: Framer,
    /// Where it stands.
    pub state: State,
}

/// What reading came to.
enum Read {
    Command(Frame),
    /// Answered already.
    Nothing,
}

impl Session {
    async fn serve(mut self) {
        let limits = Limits { line: self.cx.service.settings.line_limit, ..Limits::default() };
        self.framer = Framer::new(limits);
        status(&mut self.cx, Login::Before, None, Condition::Ok, "Culver ready");
        let ended = loop {
            let step = match self.read().await {
                Ok(Read::Nothing) => continue,
                Ok(Read::Command(frame)) => self.command(frame).await,
                Err(stop) => Err(stop),
            };
            match step {
                Ok(true) => {}
                Ok(false) => break "Logged out".to_owned(),
                Err(Stop::Ended(why)) => break self.goodbye(&why),
                // Handlers' other stops are answered where the command is.
                Err(Stop::Answer(_) | Stop::Fault(_) | Stop::Answered) => {}
            }
        };
        self.cx.wire.close().await;
        let user = self.state.user().map(|u| u.name.to_string());
        let (received, sent) = (self.cx.wire.received, self.cx.wire.sent);
        let from = service::origin(&self.cx.peer);
        self.cx.service.events.emit(Event::SessionEnded { account: user, why: ended, received, sent, from });
    }

    /// BYE where somebody may still read it.
    fn goodbye(&mut self, why: &io::Error) -> String {
        let text = match why.kind() {
            io::ErrorKind::TimedOut => "Autologout: no command for too long",
            io::ErrorKind::ConnectionReset => "The server is stopping; connect again in a moment",
            io::ErrorKind::PermissionDenied => "Too many failed logins",
            io::ErrorKind::InvalidData => "A literal was announced that is too large to be skipped",
            _ => return format!("Connection closed: {why}"),
        };
        let code = matches!(why.kind(), io::ErrorKind::ConnectionReset).then_some(WireCode::Unavailable);
        response::status(&mut self.cx.wire.out, None, Condition::Bye, code.as_ref(), text);
        text.to_owned()
    }

    /// Reads up to the end of one command.
    async fn read(&mut self) -> Result<Read, Stop> {
        let mut spool: Option<Box<dyn Spool>> = None;
        self.cx.aside.clear();
        self.cx.admitted = 0;
        loop {
            if self.cx.wire.input().is_empty() {
                if !self.framer.partial().is_empty() {
                    self.cx.wire.acknowledge();
                }
                self.wait().await?;
                continue;
            }
            let (used, step) = self.framer.push(self.cx.wire.input());
            match step {
                Step::More => self.cx.wire.consume(used),
                Step::Command => {
                    self.cx.wire.consume(used);
                    return Ok(Read::Command(self.framer.take()));
                }
                Step::TooLong => {
                    self.cx.wire.consume(used);
                    let limit = self.cx.service.settings.line_limit;
                    let text = format!("The command line is longer than {limit} octets");
                    self.complete_partial(Done::bad(text).with(Code::Plain(WireCode::TooBig)));
                    return Ok(Read::Nothing);
                }
                Step::Refused => {
                    self.cx.wire.consume(used);
                    return Ok(Read::Nothing);
                }
                Step::Literal(announced) => {
                    self.cx.wire.consume(used);
                    if self.literal(announced, &mut spool).await? {
                        return Ok(Read::Nothing);
                    }
                }
                Step::Aside { len, end } => {
                    let octets = self.cx.wire.take(len);
                    if let Some(spool) = &mut spool {
                        spool.write(octets).await;
                    }
                    if end && let Some(spool) = spool.take() {
                        self.cx.aside.push(Some(spool.finish().await));
                    }
                }
            }
        }
    }

    /// Waits for the client, with nothing in hand.
    async fn wait(&mut self) -> Result<(), Stop> {
        self.cx.wire.flush().await?;
        self.cx.wire.rest();
        let limit = match self.state {
            State::NotAuthenticated => self.cx.service.settings.login_timeout,
            _ => self.cx.service.settings.idle_timeout,
        };
        tokio::select! {
            more = timeout(limit, self.cx.wire.fill()) => match more {
                Ok(Ok(true)) => Ok(()),
                Ok(Ok(false)) => Err(Stop::Ended(io::ErrorKind::UnexpectedEof.into())),
                Ok(Err(broken)) => Err(Stop::Ended(broken)),
                Err(_) => Err(autologout()),
            },
            () = self.cx.shutdown.wait() => Err(shutting_down()),
        }
    }

    /// Decides on an announced literal. `true` when the command has been answered and ends here.
    async fn literal(
        &mut self,
        announced: Announced,
        spool: &mut Option<Box<dyn Spool>>,
    ) -> Result<bool, Stop> {
        let append = append_target(self.framer.partial(), self.dialect());
        let settings = &self.cx.service.settings;
        let small = announced.size <= settings.inline_literal as u64;
        let refusal = match (&self.state, append) {
            (State::NotAuthenticated, _) if announced.size > 8 * 1024 => Some(Done::no(
                Code::Plain(WireCode::TooBig),
                "Before login a literal may have 8192 octets at most",
            )),
            (State::Authenticated(_) | State::Selected(_), Some(name)) => {
                match self.append_literal(announced, name, small, spool).await {
                    Ok(()) => None,
                    Err(Stop::Answer(done)) => Some(done),
                    Err(Stop::Fault(fault)) => Some(self.fault(&fault)),
                    Err(ended) => return Err(ended),
                }
            }
            _ if !small => {
                let text = format!("A literal here may have {} octets at most", settings.inline_literal);
                Some(Done::bad(text).with(Code::Plain(WireCode::TooBig)))
            }
            _ => None,
        };
        if let Some(done) = refusal {
            if !announced.synchronizing && announced.size > MOST_SKIPPED {
                return Err(Stop::Ended(io::ErrorKind::InvalidData.into()));
            }
            self.complete_partial(done);
            self.framer.refuse();
            // A client that waits sends nothing more of this command; one that does not is skipped over.
            return Ok(announced.synchronizing);
        }
        match spool {
            Some(_) => self.framer.set_aside(),
            None => self.framer.accept_inline(),
        }
        if announced.synchronizing {
            response::continuation(&mut self.cx.wire.out, "OK");
        }
        Ok(false)
    }

    /// A literal of APPEND: refused early where possible, so that nobody uploads in vain.
    async fn append_literal(
        &mut self,
        announced: Announced,
        name: Name,
        small: bool,
        spool: &mut Option<Box<dyn Spool>>,
    ) -> Result<(), Stop> {
        if let Some(limit) = self.cx.service.settings.append_limit
            && announced.size > limit
        {
            return Err(Refusal::TooBig { limit }.into());
        }
        let (Name::Known(name), Some(user)) = (name, self.state.user()) else { return Ok(()) };
        if self.cx.admitted == 0 {
            append::admit(user, &name, announced.size, 1, &self.cx.service.keeper).await?;
        }
        self.cx.admitted += 1;
        if small {
            return Ok(());
        }
        let opened = user.mail.spool(&name).await.map_err(|f| match f {
            Failure::Refused(Refusal::NonExistent) => Refusal::TryCreate.into(),
            other => other,
        })?;
        *spool = Some(opened);
        Ok(())
    }

    /// Answers a command whose end has not been read.
    fn complete_partial(&mut self, done: Done) {
        self.cx.tag = self.framer.tag().unwrap_or_default().to_owned();
        let login = self.login();
        complete(&mut self.cx, login, done);
    }

    /// Parses and carries out one command. `false` ends the session.
    async fn command(&mut self, frame: Frame) -> Result<bool, Stop> {
        let dialect = self.dialect();
        match parse(&frame, dialect) {
            Ok(tagged) => {
                self.cx.tag = tagged.tag.to_owned();
                let state = std::mem::replace(&mut self.state, State::NotAuthenticated);
                let (state, outcome) =
                    Box::pin(dispatch::run(state, tagged.command, &mut self.framer, &mut self.cx)).await;
                self.state = state;
                let login = self.login();
                match outcome {
                    Ok(Some(done)) => complete(&mut self.cx, login, done),
                    Ok(None) => return Ok(false),
                    Err(Stop::Answer(done)) => complete(&mut self.cx, login, done),
                    Err(Stop::Fault(fault)) => {
                        let done = self.fault(&fault);
                        complete(&mut self.cx, login, done);
                    }
                    Err(Stop::Answered) => {}
                    Err(ended) => return Err(ended),
                }
                if self.cx.failed_logins >= self.cx.service.settings.failed_logins {
                    return Err(Stop::Ended(io::ErrorKind::PermissionDenied.into()));
                }
            }
            Err(error) => {
                self.cx.tag = error.tag.clone().unwrap_or_default();
                let login = self.login();
                complete(&mut self.cx, login, Done::bad(error.to_string()));
            }
        }
        self.cx.wire.relieve().await?;
        Ok(true)
    }

    /// Logs a fault once and makes the answer, with the session's id to quote.
    fn fault(&self, fault: &culver_store::Fault) -> Done {
        let session = &self.cx.peer.session;
        tracing::error!(%session, "{fault}");
        let text = format!("The server could not do that for now; quote {session} to its administrators");
        Done::no(Code::Plain(WireCode::ServerBug), text)
    }

    fn login(&self) -> Login {
        if self.state.user().is_some() { Login::After } else { Login::Before }
    }

    fn dialect(&self) -> Dialect {
        self.state.user().map_or(Dialect::REV1, |u| u.enabled.dialect())
    }
}

/// A non-synchronizing literal beyond this is not skipped: the peer would keep the server reading for hours.
const MOST_SKIPPED: u64 = 1 << 30;

/// The tagged answer; untagged BAD when no tag could be read.
fn complete(cx: &mut Context, login: Login, done: Done) {
    let condition = match done.condition {
        Completion::Ok => Condition::Ok,
        Completion::No => Condition::No,
        Completion::Bad => Condition::Bad,
    };
    let tag = std::mem::take(&mut cx.tag);
    let to = (!tag.is_empty()).then_some(tag.as_str());
    match done.code {
        Some(Code::Capability) => status(cx, login, to, condition, &done.text),
        Some(code) => code.status(&mut cx.wire.out, to, condition, &done.text),
        None => response::status(&mut cx.wire.out, to, condition, None, &done.text),
    }
}

/// A status response with CAPABILITY as it is now.
fn status(cx: &mut Context, login: Login, tag: Option<&str>, condition: Condition, text: &str) {
    let service = cx.service.clone();
    service.with_circumstances(login, &cx.peer, |c| {
        response::status(&mut cx.wire.out, tag, condition, Some(&WireCode::Capability(c)), text);
    });
}
