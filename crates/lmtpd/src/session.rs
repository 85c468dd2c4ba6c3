//! One session, from greeting to goodbye.
//!
//! A session ends by QUIT; by a time-out; when the server stops; after too many commands that are none; when the peer is gone
//! or TLS fails. By nothing else. A message whose end was read is delivered whatever happens to the connection; a server that
//! stops waits for that as long as its `drain_timeout` lets it, and what was not answered then the MTA sends again.

use crate::service::LmtpService;
use crate::transaction::{Transaction, incoming};
use culver_deliver::binary::without_binary;
use culver_deliver::{Envelope, Incoming, Message, Request};
use culver_events::{Event, Origin, Transport};
use culver_lmtp::capability::{self, Circumstances};
use culver_lmtp::command::{Attribute, LONGEST_LINE};
use culver_lmtp::data::Unstuff;
use culver_lmtp::{Body, Command, Lines, Mail, Rcpt, Reply, Step, parse};
use culver_net::{Connection, Shutdown, Wire};
use futures_util::StreamExt as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// So many commands that cannot be read, one after the other, come from something that is no MTA.
const MOST_WRONG: u32 = 50;
/// A peer has so long to take replies while its mail is being delivered.
const PATIENCE: Duration = Duration::from_secs(60);
/// What one read takes at most: messages come in bulk.
const READ: usize = 64 * 1024;
/// A handshake must be done in this time.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// Serves one connection.
pub async fn run(service: Arc<LmtpService>, connection: Connection, shutdown: Shutdown) {
    let stream = &connection.stream;
    let (peer, local) = (stream.peer_addr(), stream.local_addr());
    let trusted =
        stream.is_unix() || service.settings.trusted.iter().any(|network| network.contains(peer.ip()));
    let peer = Peer {
        address: (!stream.is_unix()).then(|| peer.ip()),
        remote: peer,
        local,
        session: connection.session,
    };
    let session = Session {
        wire: Wire::new(connection.stream).reading(READ),
        service,
        shutdown,
        lines: Lines::new(LONGEST_LINE),
        trusted,
        peer,
        helo: None,
        transaction: None,
        wrong: 0,
    };
    session.serve().await;
}

/// Who is there; XCLIENT may change it.
struct Peer {
    /// For Received; `None`: a unix socket.
    address: Option<IpAddr>,
    remote: SocketAddr,
    local: SocketAddr,
    session: String,
}

struct Session {
    wire: Wire,
    service: Arc<LmtpService>,
    shutdown: Shutdown,
    lines: Lines,
    trusted: bool,
    peer: Peer,
    helo: Option<String>,
    transaction: Option<Transaction>,
    wrong: u32,
}

/// Why a session ends.
enum End {
    Quit,
    /// The peer has been told, or nobody is there to be told.
    Broken(io::Error),
    Timeout,
    Stopping,
    Wrong,
}

impl From<io::Error> for End {
    fn from(e: io::Error) -> Self {
        Self::Broken(e)
    }
}

impl Session {
    async fn serve(mut self) {
        self.greet();
        let end = loop {
            let step = match self.line().await {
                Ok(Some(())) => self.command().await,
                Ok(None) => {
                    self.refuse(&Reply::new(500, 5, 2, format!("A line has {LONGEST_LINE} octets at most")));
                    Ok(())
                }
                Err(end) => Err(end),
            };
            match step {
                Ok(()) if self.wrong >= MOST_WRONG => break End::Wrong,
                Ok(()) => {}
                Err(end) => break end,
            }
            if self.wire.is_full()
                && let Err(e) = self.wire.flush().await
            {
                break e.into();
            }
        };
        self.goodbye(end);
        self.wire.close().await;
    }

    /// Adds a reply to what waits.
    fn say(&mut self, reply: &Reply) {
        reply.write(&mut self.wire.out);
    }

    fn greet(&mut self) {
        self.say(&Reply::bare(220, format!("{} Culver LMTP", self.service.settings.host)));
    }

    /// RFC 5321 §3.8: 421, so that the peer knows what became of it.
    fn goodbye(&mut self, end: End) {
        let (reply, why) = match end {
            End::Quit => (Reply::new(221, 0, 0, "Bye"), None),
            End::Broken(e) if e.kind() == io::ErrorKind::UnexpectedEof => return,
            End::Broken(e) => {
                tracing::debug!(session = %self.peer.session, "the connection of an MTA broke: {e}");
                return;
            }
            End::Timeout => (
                Reply::new(421, 4, 2, "Nothing was heard for too long"),
                Some("nothing was heard for too long"),
            ),
            End::Stopping => {
                (Reply::new(421, 3, 2, "The server is stopping; connect again in a moment"), None)
            }
            End::Wrong => (
                Reply::new(421, 7, 0, "Too many commands that are none"),
                Some("too many commands that are none"),
            ),
        };
        self.say(&reply);
        if let Some(why) = why {
            let from = self.origin();
            self.service.events.emit(Event::session_ended(
                None,
                why,
                self.wire.received,
                self.wire.sent,
                from,
            ));
        }
    }

    fn origin(&self) -> Origin {
        let tls = self.wire.stream().is_some_and(culver_net::Stream::is_tls);
        Origin {
            service: "lmtp",
            remote: self.peer.remote,
            local: self.peer.local,
            transport: match (tls, self.peer.address.is_none_or(|ip| ip.is_loopback())) {
                (true, _) => Transport::Tls,
                (false, true) => Transport::Loopback,
                (false, false) => Transport::Plain,
            },
            session: self.peer.session.clone(),
        }
    }

    fn refuse(&mut self, reply: &Reply) {
        self.wrong += 1;
        self.say(reply);
    }

    /// Waits for the peer, with nothing in hand: the replies to what was pipelined are sent together (RFC 2920 §3.2).
    async fn wait(&mut self) -> Result<(), End> {
        let sent = timeout(self.service.settings.timeout, self.wire.flush()).await;
        sent.map_err(|_| End::Timeout)??;
        self.wire.rest();
        tokio::select! {
            more = timeout(self.service.settings.timeout, self.wire.fill()) => match more {
                Ok(Ok(true)) => Ok(()),
                Ok(Ok(false)) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(Err(broken)) => Err(broken.into()),
                Err(_) => Err(End::Timeout),
            },
            () = self.shutdown.wait() => Err(End::Stopping),
        }
    }

    /// Reads one line. `None`: it was too long.
    async fn line(&mut self) -> Result<Option<()>, End> {
        loop {
            if self.wire.input().is_empty() {
                if self.lines.is_partial() {
                    self.wire.acknowledge();
                }
                self.wait().await?;
            }
            let (used, step) = self.lines.push(self.wire.input());
            self.wire.consume(used);
            match step {
                Step::More => {}
                Step::Line => return Ok(Some(())),
                Step::TooLong => return Ok(None),
            }
        }
    }

    async fn command(&mut self) -> Result<(), End> {
        let command = match parse(self.lines.line()) {
            Ok(command) => command,
            Err(reply) => {
                self.refuse(&reply);
                return Ok(());
            }
        };
        self.wrong = 0;
        let reply = match command {
            Command::Quit => return Err(End::Quit),
            Command::Data => return self.data().await,
            Command::Bdat { size, last } => return self.bdat(size, last).await,
            Command::StartTls => return self.start_tls().await,
            Command::Lhlo(name) => self.lhlo(name),
            Command::Smtp => Reply::new(500, 5, 1, "This is LMTP: say LHLO"),
            Command::Mail(mail) => self.mail(mail),
            Command::Rcpt(rcpt) => self.rcpt(&rcpt).await,
            Command::Rset => {
                self.transaction = None;
                Reply::new(250, 0, 0, "OK")
            }
            Command::Noop => Reply::new(250, 0, 0, "OK"),
            // RFC 5321 §3.5.3
            Command::Vrfy(_) => Reply::new(252, 1, 5, "RCPT TO tells whether mail is taken"),
            Command::Help => {
                Reply::new(214, 0, 0, "This is LMTP (RFC 2033): LHLO MAIL RCPT DATA BDAT RSET NOOP QUIT")
            }
            Command::Xclient(attributes) => self.xclient(&attributes),
        };
        self.say(&reply);
        Ok(())
    }

    fn lhlo(&mut self, name: String) -> Reply {
        self.helo = Some(name);
        // RFC 5321 §4.1.4: as RSET.
        self.transaction = None;
        let circumstances = Circumstances {
            starttls: self.service.tls.is_some()
                && !self.wire.stream().is_some_and(culver_net::Stream::is_tls),
            trusted: self.trusted,
            size: self.service.settings.message_limit,
        };
        let mut text = self.service.settings.host.clone();
        for line in capability::lines(circumstances) {
            text.push('\n');
            text.push_str(&line);
        }
        Reply::bare(250, text)
    }

    fn mail(&mut self, mail: Mail) -> Reply {
        if self.helo.is_none() {
            return Reply::new(503, 5, 1, "Say LHLO first");
        }
        if self.transaction.is_some() {
            return Reply::new(503, 5, 1, "There is a sender already: RSET begins anew");
        }
        match Transaction::begin(mail, &self.service) {
            Ok(transaction) => {
                self.transaction = Some(transaction);
                Reply::new(250, 1, 0, "OK")
            }
            Err(reply) => reply,
        }
    }

    async fn rcpt(&mut self, rcpt: &Rcpt) -> Reply {
        let Some(transaction) = &mut self.transaction else {
            return Reply::new(503, 5, 1, "Say MAIL FROM first");
        };
        if transaction.chunks.is_some() {
            return Reply::new(503, 5, 1, "The message has begun already");
        }
        if !transaction.mail.utf8 && rcpt.to.is_international() {
            // RFC 6531 §3.5
            let text = "The recipient's address is not ASCII, which needs the parameter SMTPUTF8";
            return Reply::new(553, 6, 7, text);
        }
        if rcpt.mailbox.is_some() && !self.trusted {
            return Reply::new(555, 5, 4, "The parameter XMAILBOX is for trusted peers (lmtp.trusted)");
        }
        let most = self.service.settings.recipients;
        if transaction.recipients.len() >= most {
            // RFC 5321 §4.5.3.1.10
            let text = format!("{most} recipients are the most for one message; send the rest with another");
            return Reply::new(452, 5, 3, text);
        }
        let request = Request {
            size: transaction.mail.size.unwrap_or(0),
            mailbox: rcpt.mailbox.as_deref(),
            now: culver_events::clock::now(),
        };
        match self.service.deliver.recipient(&rcpt.to, request).await {
            Ok(recipient) => {
                let reply = Reply::new(250, 1, 5, "OK");
                transaction.recipients.push(recipient);
                reply
            }
            Err(reply) => {
                tracing::info!(
                    session = %self.peer.session,
                    "lmtp: <{}> from <{}> refused: {reply}", rcpt.to, transaction.mail.from
                );
                reply
            }
        }
    }

    async fn data(&mut self) -> Result<(), End> {
        let Some(transaction) = &self.transaction else {
            self.say(&Reply::new(503, 5, 1, "Say MAIL FROM and RCPT TO first"));
            return Ok(());
        };
        if let Err(reply) = transaction.may_send() {
            self.say(&reply);
            return Ok(());
        }
        self.say(&Reply::bare(354, "Go on, and end with a dot on a line of its own"));
        let mut message = incoming(&self.service);
        let (mut unstuff, mut out) = (Unstuff::default(), Vec::new());
        loop {
            if self.wire.input().is_empty() {
                self.wait().await?;
            }
            let (used, end) = unstuff.push(self.wire.input(), &mut out);
            self.wire.consume(used);
            message.push(&out).await;
            out.clear();
            if end {
                return self.end(message).await;
            }
        }
    }

    /// BDAT (RFC 3030 §2, RFC 2033 §4.3). Its octets follow in any case, and are read in any case.
    async fn bdat(&mut self, size: u64, last: bool) -> Result<(), End> {
        let refusal = match &mut self.transaction {
            None => Some(Reply::new(503, 5, 1, "Say MAIL FROM and RCPT TO first")),
            Some(t) if t.broken => {
                Some(Reply::new(503, 5, 1, "An earlier chunk was refused: RSET begins anew"))
            }
            Some(t) => {
                // Without recipients the octets go nowhere; BDAT LAST has no replies then.
                let service = &self.service;
                t.chunks.get_or_insert_with(|| incoming(service));
                None
            }
        };
        let mut left = size;
        while left > 0 {
            if self.wire.input().is_empty() {
                self.wait().await?;
            }
            let input = self.wire.input();
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
            if let Some(chunks) = self.transaction.as_mut().and_then(|t| t.chunks.as_mut())
                && refusal.is_none()
            {
                chunks.push(&input[..n]).await;
            }
            self.wire.consume(n);
            left -= n as u64;
        }
        if let Some(reply) = refusal {
            if let Some(transaction) = &mut self.transaction {
                transaction.broken = true;
            }
            self.say(&reply);
            return Ok(());
        }
        if !last {
            self.say(&Reply::new(250, 0, 0, format!("{size} octets received")));
            return Ok(());
        }
        match self.transaction.as_mut().and_then(|t| t.chunks.take()) {
            Some(message) => self.end(message).await,
            None => Ok(()),
        }
    }

    /// The message is there: a reply for each recipient, as soon as it is known.
    async fn end(&mut self, message: Incoming) -> Result<(), End> {
        let Some(transaction) = self.transaction.take() else { return Ok(()) };
        if transaction.recipients.is_empty() {
            return Ok(());
        }
        let message = match finish(&self.service, message, transaction.mail.body).await {
            Ok(message) => message,
            Err(reply) => {
                for _ in &transaction.recipients {
                    self.say(&reply);
                }
                return Ok(());
            }
        };
        let envelope = self.envelope(&transaction.mail);
        self.deliver(&envelope, &message, &transaction).await;
        Ok(())
    }

    async fn deliver(&mut self, envelope: &Envelope, message: &Message, transaction: &Transaction) {
        let deliver = self.service.deliver.clone();
        let mut replies =
            std::pin::pin!(deliver.deliver(envelope, message, &transaction.recipients).ready_chunks(64));
        let mut gone = false;
        while let Some(ready) = replies.next().await {
            for reply in &ready {
                self.say(reply);
            }
            // RFC 2033 §5: each reply as soon as possible. A peer that is gone, or does not read, gets none; its mail is
            // delivered.
            if gone {
                continue;
            }
            let sent = timeout(PATIENCE, self.wire.flush()).await;
            if let Err(e) = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                tracing::debug!(session = %envelope.session, "an MTA is gone before its replies: {e}");
                gone = true;
            }
        }
    }

    fn envelope(&self, mail: &Mail) -> Envelope {
        Envelope {
            service: "lmtp",
            session: self.peer.session.clone(),
            sender: mail.from.clone(),
            body: match mail.body {
                Body::SevenBit => Body::SevenBit,
                // What was binary is no more.
                Body::EightBitMime | Body::BinaryMime => Body::EightBitMime,
            },
            utf8: mail.utf8,
            helo: self.helo.clone(),
            peer: self.peer.address,
            tls: self.wire.stream().is_some_and(culver_net::Stream::is_tls),
            at: culver_events::clock::now(),
        }
    }

    /// RFC 3207 §4. Afterwards nothing is known of the peer any more (§4.2).
    async fn start_tls(&mut self) -> Result<(), End> {
        let active = self.wire.stream().is_some_and(culver_net::Stream::is_tls);
        let reply = match &self.service.tls {
            _ if active => Reply::new(503, 5, 1, "TLS is active already"),
            _ if self.transaction.is_some() => Reply::new(503, 5, 1, "Not within a transaction"),
            None => Reply::new(502, 5, 1, "There is no certificate here"),
            Some(acceptor) => {
                let acceptor = acceptor.clone();
                self.say(&Reply::new(220, 0, 0, "Begin TLS now"));
                self.wire.flush().await?;
                let handshake = timeout(HANDSHAKE, self.wire.start_tls(&acceptor)).await;
                let done = handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                if let Err(e) = done {
                    let (from, why) = (self.origin(), e.to_string());
                    self.service.events.emit(Event::HandshakeFailed { from, why });
                    return Err(e.into());
                }
                self.helo = None;
                self.lines.reset();
                return Ok(());
            }
        };
        self.say(&reply);
        Ok(())
    }

    /// XCLIENT, as Postfix documents it: afterwards the session begins anew, for somebody else.
    fn xclient(&mut self, attributes: &[Attribute]) -> Reply {
        if !self.trusted {
            return Reply::new(550, 7, 0, "XCLIENT is for trusted peers (lmtp.trusted)");
        }
        if self.transaction.is_some() {
            return Reply::new(503, 5, 1, "Not within a transaction");
        }
        let mut helo = None;
        for Attribute { name, value } in attributes {
            let Some(value) = value.as_deref() else { continue };
            let address = |text: &str| -> Option<IpAddr> {
                let bare = match text.get(..5) {
                    Some(prefix) if prefix.eq_ignore_ascii_case("IPV6:") => &text[5..],
                    _ => text,
                };
                bare.parse().ok().map(|ip: IpAddr| ip.to_canonical())
            };
            let wrong = || Reply::new(501, 5, 4, format!("{value} is no value of {name}"));
            match name.as_str() {
                "ADDR" => match address(value) {
                    Some(ip) => {
                        self.peer.remote.set_ip(ip);
                        self.peer.address = Some(ip);
                    }
                    None => return wrong(),
                },
                "DESTADDR" => match address(value) {
                    Some(ip) => self.peer.local.set_ip(ip),
                    None => return wrong(),
                },
                "PORT" | "DESTPORT" => match value.parse() {
                    Ok(port) if name == "PORT" => self.peer.remote.set_port(port),
                    Ok(port) => self.peer.local.set_port(port),
                    Err(_) => return wrong(),
                },
                "SESSION" => {
                    if value.len() > 64 || !value.bytes().all(|b| b.is_ascii_graphic()) {
                        return wrong();
                    }
                    self.peer.session = value.to_owned();
                }
                "HELO" => helo = Some(value.to_owned()),
                // Of no use to a delivery.
                _ => {}
            }
        }
        self.helo = helo;
        Reply::bare(220, format!("{} Culver LMTP", self.service.settings.host))
    }
}

/// The whole message, as it can be kept.
async fn finish(service: &LmtpService, message: Incoming, body: Body) -> Result<Message, Reply> {
    let message = message.finish().await?;
    if body != Body::BinaryMime {
        return Ok(message);
    }
    match without_binary(&service.deliver.io, &message, || incoming(service)).await {
        Ok(Some(changed)) => changed.finish().await,
        Ok(None) => Ok(message),
        Err(e) => {
            tracing::error!("a BINARYMIME message cannot be read again: {e}");
            Err(Reply::new(451, 3, 0, "The message could not be taken for now; try again later"))
        }
    }
}
