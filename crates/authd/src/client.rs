//! A connection to a client socket: SASL exchanges, many at once.
//!
//! It ends when the client closes, breaks the protocol or reads nothing, when the server stops, and as the answer to
//! an exchange that could not be decided, if the client is one that takes FAIL for a wrong password (see the crate's head).
//! An exchange whose client goes away is still counted: steps that run are seen to their end.

use crate::fields::{Code, failure, may_not_send, refusal};
use crate::peer;
use crate::service::{AuthdService, WITHIN};
use crate::wire::{Input, Wire};
use culver_auth::{Denied, Exchange, Peer, Progress, Secured};
use culver_auth_protocol::client::{Answer, Auth, Base64, Handshake, Request};
use culver_auth_protocol::{Broken, Fields};
use culver_directory::{Account, Login};
use culver_events::{Attempt, Event, Origin, Transport};
use culver_net::{BoxFuture, Connection, Shutdown};
use culver_sasl::Mechanism;
use culver_sasl::plain::Plain;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Exchanges at once on one connection. An MTA has one.
const AT_ONCE: usize = 500;
/// A client that does not go on with an exchange for so long has given it up. Dovecot waits as long.
const PATIENCE: Duration = Duration::from_secs(150);
/// Dovecot's words for an exchange that it does not know (any more).
const UNKNOWN: &str = "Authentication request timed out";

/// Serves one connection.
pub async fn run(service: Arc<AuthdService>, connection: Connection, shutdown: Shutdown) {
    let number = service.finished.connection();
    let Some(cookie) = cookie() else {
        service.fault("", "the system gives no random numbers".to_owned(), &connection.session);
        return;
    };
    let mut session = Session {
        service,
        wire: Wire::new(connection.stream),
        session: connection.session,
        cookie,
        minor: None,
        client: None,
        begun: 0,
        open: HashMap::new(),
        running: FuturesUnordered::new(),
        undecided: VecDeque::new(),
        idle: VecDeque::new(),
    };
    if let End::Broken(why) = session.serve(number, &shutdown).await {
        session.service.closed("a client", &session.session, &why);
    }
    let Session { service, wire, cookie, mut running, .. } = session;
    wire.close().await;
    service.finished.forget(&cookie);
    // What was asked is counted, also when nobody waits for the answer.
    let rest = async { while running.next().await.is_some() {} };
    let _ = timeout(WITHIN, rest).await;
}

fn cookie() -> Option<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).ok()?;
    Some(hex::encode(random))
}

struct Session {
    service: Arc<AuthdService>,
    wire: Wire,
    session: String,
    cookie: String,
    /// The client's minor version, once it has said it.
    minor: Option<u32>,
    /// Its process id, the same.
    client: Option<u32>,
    /// Exchanges so far: the number of each tells apart those that had the same id.
    begun: u64,
    open: HashMap<u32, State>,
    running: FuturesUnordered<BoxFuture<'static, Stepped>>,
    /// When steps must have been answered, in the order of time.
    undecided: VecDeque<(Instant, u32, u64)>,
    /// When exchanges that wait for their client are given up, in the order of time.
    idle: VecDeque<(Instant, u32, u64)>,
}

/// Where an exchange stands.
enum State {
    /// A step of it runs.
    Running { number: u64, about: About },
    /// The client is to say something.
    Waiting { number: u64, exchange: Box<Exchange>, about: About },
    /// The client is to acknowledge the mechanism's last message.
    Final { number: u64, account: Arc<Account>, about: About },
}

impl State {
    fn number(&self) -> u64 {
        match self {
            Self::Running { number, .. } | Self::Waiting { number, .. } | Self::Final { number, .. } => {
                *number
            }
        }
    }
}

/// What is known of an exchange from its AUTH.
#[derive(Clone)]
struct About {
    mechanism: Mechanism,
    peer: Peer,
    /// For sending mail?
    sends: bool,
    /// `nologin`: nobody will ask for it on a master connection. MTAs say so.
    no_login: bool,
    /// `final-resp-ok`: the mechanism's last message may come with OK.
    final_with_ok: bool,
    /// The name that was typed, as far as it could be read: by the login rule, and as it came.
    user: Option<(String, String)>,
    /// Has it been asked for? What follows is a password.
    named: bool,
}

impl About {
    fn named(&self) -> Option<(&str, &str)> {
        self.user.as_ref().map(|(user, typed)| (user.as_str(), typed.as_str()))
    }
}

/// A step that is done.
struct Stepped {
    id: u32,
    number: u64,
    exchange: Box<Exchange>,
    progress: Progress,
}

/// Why a connection ends.
enum End {
    /// Nothing to tell.
    Quiet,
    /// The client broke the protocol.
    Broken(String),
}

impl From<std::io::Error> for End {
    fn from(_: std::io::Error) -> Self {
        Self::Quiet
    }
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken.to_string())
    }
}

impl Session {
    async fn serve(&mut self, connection: u32, shutdown: &Shutdown) -> End {
        let handshake = Handshake {
            mechanisms: self.offered().into_iter().map(named).collect(),
            process_id: std::process::id(),
            connection,
            cookie: self.cookie.clone(),
        };
        // All at once, before the client has said anything: what 2.4 changed, and Exim then waits for ever.
        if let Err(e) = self.wire.send(&handshake.to_string()).await {
            return e.into();
        }
        loop {
            if let Err(end) = self.turn(shutdown).await {
                return end;
            }
        }
    }

    async fn turn(&mut self, shutdown: &Shutdown) -> Result<(), End> {
        let next = self.undecided.front().into_iter().chain(self.idle.front()).map(|(at, ..)| *at).min();
        let timer = async {
            match next {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(stepped) = self.running.next(), if !self.running.is_empty() => self.stepped(stepped).await,
            input = self.wire.line() => match input {
                Input::End => Err(End::Quiet),
                Input::TooLong => Err(End::Broken(culver_auth_protocol::TooLong.to_string())),
                Input::Line(line) => self.line(&line).await,
            },
            () = timer => self.late().await,
            () = shutdown.wait() => Err(End::Quiet),
        }
    }

    /// What can be used over such a socket: nobody has the data of a TLS channel here, and MTAs do not say whom a
    /// certificate names.
    fn offered(&self) -> Vec<Mechanism> {
        let mut offered = self.service.auth.mechanisms(Secured::Tls);
        offered.retain(|m| !m.binds_channel() && *m != Mechanism::External);
        offered
    }

    async fn line(&mut self, line: &str) -> Result<(), End> {
        match (Request::parse(line)?, self.minor, self.client) {
            (Request::Version { minor }, None, None) => self.minor = Some(minor),
            (Request::ProcessId(client), Some(_), None) => self.client = Some(client),
            (Request::Version { .. } | Request::ProcessId(_), ..) => {
                return Err(
                    Broken { command: "the handshake", expected: "VERSION and CPID, each once" }.into()
                );
            }
            (_, minor, client) if minor.is_none() || client.is_none() => {
                let expected = "VERSION and CPID before anything else";
                return Err(Broken { command: "the handshake", expected }.into());
            }
            (Request::Auth(auth), ..) => self.auth(auth).await?,
            (Request::Continue { id, data }, ..) => self.go_on(id, data).await?,
            (Request::Cancel(id), ..) => {
                self.open.remove(&id);
            }
        }
        Ok(())
    }

    async fn auth(&mut self, auth: Auth) -> Result<(), End> {
        let Auth { id, mechanism, service, fields, response } = auth;
        if self.open.contains_key(&id) {
            return Err(Broken { command: "AUTH", expected: "an id that no open exchange has" }.into());
        }
        let Some(mechanism) = Mechanism::parse(&mechanism) else {
            return Err(Broken { command: "AUTH", expected: "a mechanism that was offered" }.into());
        };
        // Those that were cancelled still run.
        if self.open.len() >= AT_ONCE || self.running.len() >= AT_ONCE {
            let reason = format!("More than {AT_ONCE} exchanges at once on one connection");
            return self.fail(id, None, Some(Code::Temporary), Some(&reason)).await;
        }
        // Who does say whom a certificate names may use it.
        let by_certificate = mechanism == Mechanism::External && fields.has("cert_username");
        if !by_certificate && !self.offered().contains(&mechanism) {
            return self.fail(id, None, None, Some("That mechanism is not offered here")).await;
        }
        let message = match response {
            Some(Base64::Invalid) => {
                return self.not_base64(id, "Invalid base64 data in initial response").await;
            }
            Some(Base64::Octets(octets)) => Some(octets),
            None => None,
        };
        self.begun += 1;
        let number = self.begun;
        let session = format!("{}-{number}", self.session);
        let about = About {
            mechanism,
            peer: peer::peer(self.wire.ends(), &service, &fields, session),
            sends: peer::sends(&service),
            no_login: fields.has("nologin"),
            final_with_ok: fields.has("final-resp-ok"),
            user: None,
            named: false,
        };
        let exchange = self.service.auth.start(mechanism, &about.peer, None).delayed(peer::delay(&fields));
        let exchange = Box::new(exchange);
        match message {
            // The server speaks first; of these only LOGIN takes an initial response, its user name.
            message if !mechanism.client_first() => {
                let message = message.filter(|_| mechanism == Mechanism::Login).unwrap_or_default();
                self.step(id, number, exchange, about, message);
            }
            // EXTERNAL's message is empty where the client wants to be whom its certificate names.
            Some(message) if !message.is_empty() || mechanism == Mechanism::External => {
                self.step(id, number, exchange, about, message);
            }
            // An empty challenge asks for the first message (RFC 4422 §5).
            _ => {
                self.wait(id, State::Waiting { number, exchange, about });
                self.answer(Answer::Continue { id, data: Base64::Octets(Vec::new()) }).await?;
            }
        }
        Ok(())
    }

    async fn go_on(&mut self, id: u32, data: Base64) -> Result<(), End> {
        let state = self.open.remove(&id);
        let octets = match (data, &state) {
            (_, None) => return self.fail(id, None, None, Some(UNKNOWN)).await,
            (_, Some(State::Running { .. })) => {
                return self.fail(id, None, None, Some("Unexpected continuation")).await;
            }
            (Base64::Invalid, Some(_)) => {
                return self.not_base64(id, "Invalid base64 data in continued response").await;
            }
            (Base64::Octets(octets), Some(_)) => octets,
        };
        match state {
            Some(State::Waiting { number, exchange, about }) => {
                self.step(id, number, exchange, about, octets)
            }
            Some(State::Final { account, about, .. }) => self.succeed(id, account, &about, None).await?,
            Some(State::Running { .. }) | None => {}
        }
        Ok(())
    }

    fn step(
        &mut self,
        id: u32,
        number: u64,
        mut exchange: Box<Exchange>,
        mut about: About,
        message: Vec<u8>,
    ) {
        if !about.named && !message.is_empty() {
            about.named = true;
            about.user = user(about.mechanism, &message);
        }
        self.open.insert(id, State::Running { number, about });
        self.undecided.push_back((Instant::now() + WITHIN, id, number));
        self.running.push(Box::pin(async move {
            let progress = exchange.step(&message).await;
            Stepped { id, number, exchange, progress }
        }));
    }

    /// The client is to say something, within some time.
    fn wait(&mut self, id: u32, state: State) {
        let number = state.number();
        self.open.insert(id, state);
        if self.idle.len() >= 2 * AT_ONCE {
            let open = &self.open;
            self.idle.retain(|(_, id, number)| open.get(id).is_some_and(|s| s.number() == *number));
        }
        self.idle.push_back((Instant::now() + PATIENCE, id, number));
    }

    async fn stepped(&mut self, stepped: Stepped) -> Result<(), End> {
        let Stepped { id, number, exchange, progress } = stepped;
        self.undecided.retain(|(_, i, n)| (*i, *n) != (id, number));
        // Cancelled, answered meanwhile, or its id is used again.
        let about = match self.open.get(&id) {
            Some(State::Running { number: n, about }) if *n == number => about.clone(),
            _ => return Ok(()),
        };
        self.open.remove(&id);
        match progress {
            Progress::Challenge(challenge) => {
                self.wait(id, State::Waiting { number, exchange, about });
                self.answer(Answer::Continue { id, data: Base64::Octets(challenge) }).await
            }
            Progress::Done { account, final_message } => match final_message {
                Some(message) if !about.final_with_ok => {
                    self.wait(id, State::Final { number, account, about });
                    self.answer(Answer::Continue { id, data: Base64::Octets(message) }).await
                }
                message => self.succeed(id, account, &about, message).await,
            },
            Progress::Denied(denied) => self.deny(id, &about, &denied).await,
        }
    }

    /// The password is right. May the account do what it is for?
    async fn succeed(
        &mut self,
        id: u32,
        account: Arc<Account>,
        about: &About,
        message: Option<Vec<u8>>,
    ) -> Result<(), End> {
        let method = about.mechanism.name();
        let from = origin(&about.peer);
        if about.sends
            && let Some(reason) = account.send.off()
        {
            let attempt = Attempt {
                user: account.name.clone(),
                method: method.to_owned(),
                reason: format!("sending is switched off: {reason}"),
                attempts: 1,
                elapsed: Duration::ZERO,
            };
            self.service.events.emit(Event::LoginFailed { attempt, from });
            return self
                .fail(
                    id,
                    Some((&account.name, &account.name)),
                    Some(Code::Disabled),
                    Some(&may_not_send(reason)),
                )
                .await;
        }
        self.service.events.emit(Event::login(&account.name, method, from));
        let mut fields = Fields::new().with("user", &account.name);
        if let Some((_, typed)) = about.user.as_ref().filter(|(_, typed)| *typed != account.name) {
            fields = fields.with("original_user", typed);
        }
        if let Some(message) = message {
            fields = fields.with("resp", Base64::Octets(message));
        }
        if !about.no_login
            && let Some(client) = self.client
        {
            self.service.finished.add(&self.cookie, client, id, account, method);
        }
        self.answer(Answer::Ok { id, fields }).await
    }

    async fn deny(&mut self, id: u32, about: &About, denied: &Denied) -> Result<(), End> {
        let (code, reason) = refusal(denied);
        if code == Some(Code::Temporary) {
            return self.undecidable(id, about).await;
        }
        self.fail(id, about.named(), code, reason.as_deref()).await
    }

    /// It cannot be known now. Postfix and Exim hear a temporary failure only in the connection's end.
    async fn undecidable(&mut self, id: u32, about: &About) -> Result<(), End> {
        if about.no_login && self.open.is_empty() {
            return Err(End::Quiet);
        }
        self.fail(id, about.named(), Some(Code::Temporary), None).await
    }

    /// Time is up for something.
    async fn late(&mut self) -> Result<(), End> {
        let now = Instant::now();
        while let Some((_, id, number)) = self.undecided.pop_front_if(|(at, ..)| *at <= now) {
            if self.open.get(&id).is_some_and(|s| s.number() == number)
                && let Some(State::Running { about, .. }) = self.open.remove(&id)
            {
                let what = "a login could not be checked: it was not decided in time, since the directory is slow or the \
                            machine is busy";
                self.service.fault("", what.to_owned(), &about.peer.session);
                self.undecidable(id, &about).await?;
            }
        }
        while let Some((_, id, number)) = self.idle.pop_front_if(|(at, ..)| *at <= now) {
            let waits = self
                .open
                .get(&id)
                .is_some_and(|s| s.number() == number && !matches!(s, State::Running { .. }));
            if waits {
                self.open.remove(&id);
                self.fail(id, None, None, Some(UNKNOWN)).await?;
            }
        }
        Ok(())
    }

    async fn not_base64(&mut self, id: u32, reason: &str) -> Result<(), End> {
        let fields = Fields::new().with("code", "invalid_base64").with("reason", reason);
        self.answer(Answer::Fail { id, fields }).await
    }

    async fn fail(
        &mut self,
        id: u32,
        user: Option<(&str, &str)>,
        code: Option<Code>,
        reason: Option<&str>,
    ) -> Result<(), End> {
        let fields = failure(self.minor.unwrap_or_default(), user, code, reason);
        self.answer(Answer::Fail { id, fields }).await
    }

    async fn answer(&mut self, answer: Answer) -> Result<(), End> {
        Ok(self.wire.send(&format!("{answer}\n")).await?)
    }
}

fn named(mechanism: Mechanism) -> (String, Vec<String>) {
    let properties = mechanism.properties().iter().map(|p| (*p).to_owned());
    (mechanism.name().to_owned(), properties.collect())
}

/// The name in a message, by the login rule and as it came: MTAs log it. Only where it is read at a glance.
fn user(mechanism: Mechanism, message: &[u8]) -> Option<(String, String)> {
    let name = match mechanism {
        Mechanism::Plain => Plain::parse(message).ok()?.user,
        Mechanism::Login => message,
        _ => return None,
    };
    if name.len() > Login::MAX {
        return None;
    }
    let typed = String::from_utf8_lossy(name).into_owned();
    let user = Login::parse(name).map_or_else(|_| typed.to_lowercase(), |login| login.as_str().to_owned());
    Some((user, typed))
}

fn origin(peer: &Peer) -> Origin {
    Origin {
        service: peer.service,
        remote: peer.remote,
        local: peer.local,
        transport: match peer.secured {
            Secured::No => Transport::Plain,
            Secured::Tls => Transport::Tls,
            Secured::Loopback => Transport::Loopback,
        },
        session: peer.session.clone(),
    }
}
