//! The other side of the conversation: hands a message to an MTA by SMTP, or to a running server by LMTP.
//!
//! One message, one connection. What the server says is an answer; what breaks on the way is an error, after which
//! nothing is known of the message but that it may come twice.

use crate::message::{Message, Pieces};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use culver_lmtp::data::Stuff;
use culver_lmtp::reply::Reader;
use culver_lmtp::{Body, Lines, Reply, ReversePath, Step, xtext};
use culver_store::io::Io;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// The longest line of a reply that is taken.
const LONGEST_LINE: usize = 4096;

/// Which of the two is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// SMTP: one answer for all recipients.
    Smtp,
    /// LMTP: one for each.
    Lmtp,
}

/// What is sent.
pub struct Send<'a> {
    /// Who we are.
    pub helo: &'a str,
    /// The sender.
    pub sender: &'a ReversePath,
    /// The recipient.
    pub recipient: &'a str,
    /// The mailbox, for our own server.
    pub mailbox: Option<&'a str>,
    /// What kind of octets they are.
    pub body: Body,
    /// Is SMTPUTF8 needed?
    pub utf8: bool,
    /// Fields to be put before the message.
    pub head: &'a str,
    /// The message.
    pub message: &'a Message,
    /// Who we say that we are (RFC 4954), where the server wants to know.
    pub login: Option<&'a Login>,
    /// Patience with each step, RFC 5321 §4.5.3.2.
    pub patience: Duration,
}

/// A name and its password at the other server.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// TLS to the other server.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Whom it must prove to be.
    pub name: String,
    /// Whom we believe; an error is told when it is needed.
    pub config: Result<Arc<ClientConfig>, String>,
}

impl Tls {
    async fn handshake<S>(&self, stream: S, patience: Duration) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.config.clone().map_err(io::Error::other)?;
        let name = ServerName::try_from(self.name.clone()).map_err(io::Error::other)?;
        let made = timeout(patience, TlsConnector::from(config).connect(name, stream)).await;
        made.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|e| io::Error::new(e.kind(), format!("TLS with {}: {e}", self.name)))
    }
}

/// Sends over a connection that has just been made. The answer is that to the message, or the first refusal.
///
/// # Errors
/// When the connection breaks, takes too long, or what comes is not the protocol.
pub async fn send<S>(stream: S, dialect: Dialect, io: Arc<Io>, what: &Send<'_>) -> io::Result<Reply>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut talk = Talk::new(stream, what.patience);
    let greeting = talk.reply().await?;
    if greeting.code != 220 {
        return Ok(refusal(greeting));
    }
    converse(talk, dialect, io, what).await
}

/// The same with TLS from the first octet (RFC 8314 §3.3).
///
/// # Errors
/// As [`send`], and when TLS fails.
pub async fn send_in_tls<S>(stream: S, tls: &Tls, io: Arc<Io>, what: &Send<'_>) -> io::Result<Reply>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    send(tls.handshake(stream, what.patience).await?, Dialect::Smtp, io, what).await
}

/// The same after STARTTLS (RFC 3207), without which nothing is sent.
///
/// # Errors
/// As [`send`], when TLS fails, and when the server does not offer it.
pub async fn send_by_starttls<S>(stream: S, tls: &Tls, io: Arc<Io>, what: &Send<'_>) -> io::Result<Reply>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut talk = Talk::new(stream, what.patience);
    let greeting = talk.reply().await?;
    if greeting.code != 220 {
        return Ok(refusal(greeting));
    }
    let hello = talk.ask(&format!("EHLO {}", what.helo)).await?;
    if hello.code != 250 {
        return Ok(refusal(hello));
    }
    if !offers(&hello, "STARTTLS") {
        talk.quit().await;
        return Err(io::Error::other("the server does not offer STARTTLS (deliver.forward.tls)"));
    }
    let go_ahead = talk.ask("STARTTLS").await?;
    if go_ahead.code != 220 {
        talk.quit().await;
        return Ok(refusal(go_ahead));
    }
    if talk.at < talk.input.len() {
        // RFC 3207 §6: an attacker could have put it there.
        return Err(io::Error::new(io::ErrorKind::InvalidData, "something was said before TLS began"));
    }
    // RFC 3207 §4.2: what was learnt in the clear is forgotten; EHLO is said again.
    let stream = tls.handshake(talk.stream, what.patience).await?;
    converse(Talk::new(stream, what.patience), Dialect::Smtp, io, what).await
}

fn offers(hello: &Reply, keyword: &str) -> bool {
    parameters(hello, keyword).is_some()
}

/// What stands behind a keyword of EHLO's answer.
fn parameters<'a>(hello: &'a Reply, keyword: &str) -> Option<&'a str> {
    hello.text.split('\n').skip(1).find_map(|line| {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        word.eq_ignore_ascii_case(keyword).then_some(rest)
    })
}

/// AUTH PLAIN, or LOGIN where there is no other (RFC 4954 §4, RFC 4616).
async fn log_in<S>(talk: &mut Talk<S>, hello: &Reply, login: &Login) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let offered = parameters(hello, "AUTH").unwrap_or_default();
    let knows = |name: &str| offered.split(' ').any(|m| m.eq_ignore_ascii_case(name));
    let Login { user, password } = login;
    let done = if knows("PLAIN") {
        talk.ask(&format!("AUTH PLAIN {}", STANDARD.encode(format!("\0{user}\0{password}")))).await?
    } else if knows("LOGIN") {
        let mut reply = talk.ask("AUTH LOGIN").await?;
        for answer in [user, password] {
            if reply.code == 334 {
                reply = talk.ask(&STANDARD.encode(answer)).await?;
            }
        }
        reply
    } else {
        return Err(io::Error::other(
            "the server offers neither AUTH PLAIN nor LOGIN (deliver.forward.user)",
        ));
    };
    if done.code == 235 {
        return Ok(());
    }
    // The sender of the message is not to blame: it is tried again.
    Err(io::Error::other(format!("the server does not let {user} in (deliver.forward.user): {done}")))
}

/// Everything behind the greeting.
async fn converse<S>(mut talk: Talk<S>, dialect: Dialect, io: Arc<Io>, what: &Send<'_>) -> io::Result<Reply>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let verb = if dialect == Dialect::Smtp { "EHLO" } else { "LHLO" };
    let hello = talk.ask(&format!("{verb} {}", what.helo)).await?;
    if hello.code != 250 {
        return Ok(refusal(hello));
    }
    if let Some(login) = what.login
        && let Err(why) = log_in(&mut talk, &hello, login).await
    {
        talk.quit().await;
        return Err(why);
    }
    let offers = |keyword: &str| offers(&hello, keyword);
    let mut mail = format!("MAIL FROM:<{}>", what.sender);
    if offers("SIZE") {
        let size = what.message.octets.len() + what.head.len() as u64;
        mail.push_str(&format!(" SIZE={size}"));
    }
    if what.body != Body::SevenBit && offers("8BITMIME") {
        mail.push_str(" BODY=8BITMIME");
    }
    if what.utf8 {
        if !offers("SMTPUTF8") {
            // RFC 6531 §3.2
            talk.quit().await;
            return Ok(Reply::new(550, 6, 7, "The next server takes no addresses that are not ASCII"));
        }
        mail.push_str(" SMTPUTF8");
    }
    let mut rcpt = format!("RCPT TO:<{}>", what.recipient);
    if let Some(mailbox) = what.mailbox {
        if !offers("XMAILBOX") {
            talk.quit().await;
            return Err(io::Error::other("the server does not let us choose the mailbox"));
        }
        rcpt.push_str(&format!(" XMAILBOX={}", xtext::encode(mailbox.as_bytes())));
    }
    for command in [mail.as_str(), rcpt.as_str()] {
        let reply = talk.ask(command).await?;
        if !reply.is_positive() {
            talk.quit().await;
            return Ok(reply);
        }
    }
    let go_ahead = talk.ask("DATA").await?;
    if go_ahead.code != 354 {
        talk.quit().await;
        return Ok(refusal(go_ahead));
    }
    let (mut stuff, mut out) = (Stuff::default(), Vec::new());
    stuff.push(what.head.as_bytes(), &mut out);
    let mut pieces = Pieces::of(io, what.message);
    loop {
        let piece = pieces.next().await?;
        if piece.is_empty() {
            break;
        }
        stuff.push(&piece, &mut out);
        talk.write(&out).await?;
        out.clear();
    }
    stuff.end(&mut out);
    talk.write(&out).await?;
    // RFC 5321 §4.5.3.2.6: ten minutes, since the message is being stored.
    talk.patience = what.patience * 2;
    let done = talk.reply().await?;
    talk.patience = Duration::from_secs(2);
    talk.quit().await;
    Ok(if done.code / 100 == 3 { refusal(done) } else { done })
}

/// What is positive in the wrong place is no acceptance.
fn refusal(reply: Reply) -> Reply {
    if reply.is_positive() {
        Reply::new(451, 5, 0, format!("The next server answered out of turn: {reply}"))
    } else {
        reply
    }
}

struct Talk<S> {
    stream: S,
    lines: Lines,
    input: Vec<u8>,
    at: usize,
    patience: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, lines: Lines::new(LONGEST_LINE), input: Vec::new(), at: 0, patience }
    }

    async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        timeout(self.patience, async {
            self.stream.write_all(octets).await?;
            self.stream.flush().await
        })
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn ask(&mut self, command: &str) -> io::Result<Reply> {
        if command.contains(['\r', '\n', '\0']) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a line end in a command"));
        }
        self.write(format!("{command}\r\n").as_bytes()).await?;
        self.reply().await
    }

    async fn reply(&mut self) -> io::Result<Reply> {
        let patience = self.patience;
        timeout(patience, self.read_reply()).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn read_reply(&mut self) -> io::Result<Reply> {
        let mut reader = Reader::default();
        loop {
            let (used, step) = self.lines.push(&self.input[self.at..]);
            self.at += used;
            match step {
                Step::More => {
                    self.input.resize(4096, 0);
                    let n = self.stream.read(&mut self.input).await?;
                    if n == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.input.truncate(n);
                    self.at = 0;
                }
                Step::TooLong => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a reply without an end"));
                }
                Step::Line => {
                    let read = reader.push(self.lines.line());
                    if let Some(reply) = read.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))? {
                        return Ok(reply);
                    }
                }
            }
        }
    }

    /// The message is where it is; how the goodbye goes changes nothing.
    async fn quit(&mut self) {
        let _ = self.ask("QUIT").await;
    }
}
