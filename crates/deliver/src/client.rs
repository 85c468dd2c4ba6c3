//! The other side of the conversation: hands a message to an MTA by SMTP, or to a running server by LMTP.
//!
//! One message, one connection. What the server says is an answer; what breaks on the way is an error, after which
//! nothing is known of the message but that it may come twice.

use crate::message::{Message, Pieces};
use culver_lmtp::data::Stuff;
use culver_lmtp::reply::Reader;
use culver_lmtp::{Body, Lines, Reply, ReversePath, Step, xtext};
use culver_store::io::Io;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

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
    /// Patience with each step, RFC 5321 §4.5.3.2.
    pub patience: Duration,
}

/// Sends over a connection that has just been made. The answer is that to the message, or the first refusal.
///
/// # Errors
/// When the connection breaks, takes too long, or what comes is not the protocol.
pub async fn send<S>(stream: S, dialect: Dialect, io: Arc<Io>, what: &Send<'_>) -> io::Result<Reply>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut talk =
        Talk { stream, lines: Lines::new(LONGEST_LINE), input: Vec::new(), at: 0, patience: what.patience };
    let greeting = talk.reply().await?;
    if greeting.code != 220 {
        return Ok(refusal(greeting));
    }
    let verb = if dialect == Dialect::Smtp { "EHLO" } else { "LHLO" };
    let hello = talk.ask(&format!("{verb} {}", what.helo)).await?;
    if hello.code != 250 {
        return Ok(refusal(hello));
    }
    let offers = |keyword: &str| {
        hello
            .text
            .split('\n')
            .skip(1)
            .any(|l| l.split(' ').next().is_some_and(|w| w.eq_ignore_ascii_case(keyword)))
    };
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
