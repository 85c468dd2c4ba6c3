//! Forwarding: the message goes to the MTA, which has the queue. Positive answers come after the MTA's own.
//!
//! Loops are seen by three signs (RFC 5321 §6.3): our own Delivered-To of the address that forwards, an X-Loop field with
//! it, and too many Received fields. A bounce (`<>`) stays one: its sender is never rewritten.

use crate::answer;
use crate::client::{self, Dialect, Login, Send, Tls};
use crate::message::{Message, Pieces};
use crate::srs::Srs;
use crate::trace::{Envelope, delivered_to};
use culver_lmtp::{Address, Reply, ReversePath};
use culver_mime::fields;
use culver_store::io::Io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

/// A server that takes mail by SMTP.
#[derive(Clone, Debug)]
pub struct Relay {
    /// Host and port.
    pub address: String,
    /// When TLS begins, if at all.
    pub tls: Secure,
    /// Who we are there.
    pub login: Option<Login>,
}

/// TLS to the MTA.
#[derive(Clone, Debug)]
pub enum Secure {
    /// None.
    No,
    /// By STARTTLS.
    StartTls(Tls),
    /// From the first octet.
    Implicit(Tls),
}

impl From<String> for Relay {
    fn from(address: String) -> Self {
        Self { address, tls: Secure::No, login: None }
    }
}

/// How mail is handed to the MTA.
#[derive(Clone, Debug)]
pub enum Method {
    /// By SMTP to this server.
    Smtp(Relay),
    /// By the program `sendmail`, which is started for each message.
    Sendmail(PathBuf),
    /// Not at all: routes that forward are refused for now.
    Off,
}

/// Hands mail to the MTA.
#[derive(Clone, Debug)]
pub struct Forwarder {
    /// How.
    pub method: Method,
    /// Rewrites senders.
    pub srs: Option<Srs>,
    /// A message with more Received fields goes in circles. RFC 5321 §6.3: at least 100.
    pub hops: u32,
    /// Patience with each step.
    pub patience: Duration,
    /// Our name.
    pub host: String,
}

/// Does the message go in circles, when `address` forwards it? The text says by which sign.
pub fn looping(message: &Message, address: &str, hops: u32) -> Option<String> {
    let mut received = 0;
    for field in fields::iter(&message.header) {
        if field.is(b"Received") {
            received += 1;
            if received > hops {
                return Some(format!("it has more than {hops} Received fields"));
            }
        } else if (field.is(b"Delivered-To") || field.is(b"X-Loop"))
            && field.unfolded().trim_ascii().eq_ignore_ascii_case(address.as_bytes())
        {
            let name = if field.is(b"X-Loop") { "X-Loop" } else { "Delivered-To" };
            return Some(format!("{name} says that it has been at {address} before"));
        }
    }
    None
}

impl Forwarder {
    /// Hands the message over: `from` forwards to `to`.
    pub async fn forward(
        &self,
        io: &Arc<Io>,
        envelope: &Envelope,
        message: &Message,
        from: &str,
        to: &str,
    ) -> Reply {
        if let Some(why) = looping(message, from, self.hops) {
            return answer::looping(&why);
        }
        let sender = match (&envelope.sender, &self.srs) {
            (ReversePath::Address(sender), Some(srs)) => {
                ReversePath::Address(srs.forward(sender, envelope.at))
            }
            (other, _) => other.clone(),
        };
        let head = format!("{}{}", delivered_to(from), envelope.received(&self.host));
        self.hand_over(io, envelope, &sender, to, &head, message).await
    }

    async fn hand_over(
        &self,
        io: &Arc<Io>,
        envelope: &Envelope,
        sender: &ReversePath,
        to: &str,
        head: &str,
        message: &Message,
    ) -> Reply {
        let Some(recipient) = Address::parse(to) else {
            return Reply::new(550, 1, 3, format!("The route leads to {to}, which is no address"));
        };
        let international =
            recipient.is_international() || sender.address().is_some_and(Address::is_international);
        let recipient = recipient.to_string();
        let done = match &self.method {
            Method::Off => {
                let text = "Forwarding is off here (deliver.forward.method); try again later";
                return Reply::new(451, 3, 5, text);
            }
            Method::Smtp(relay) => {
                let what = Send {
                    helo: &self.host,
                    sender,
                    recipient: &recipient,
                    mailbox: None,
                    body: envelope.body,
                    utf8: envelope.utf8 || international,
                    head,
                    message,
                    login: relay.login.as_ref(),
                    patience: self.patience,
                };
                self.by_smtp(relay, io, &what).await
            }
            Method::Sendmail(program) => {
                self.by_program(program, io, sender, &recipient, head, message).await
            }
        };
        done.unwrap_or_else(|why| {
            tracing::error!(session = %envelope.session, "cannot forward to {to}: {why}. Is the MTA running, and is [deliver.forward] right?");
            Reply::new(451, 4, 1, "The server that forwards mail cannot be reached for now; try again later")
        })
    }

    async fn by_smtp(&self, relay: &Relay, io: &Arc<Io>, what: &Send<'_>) -> std::io::Result<Reply> {
        let connected = timeout(self.patience, TcpStream::connect(&relay.address)).await;
        let stream = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
        stream.set_nodelay(true)?;
        match &relay.tls {
            Secure::No => client::send(stream, Dialect::Smtp, io.clone(), what).await,
            Secure::StartTls(tls) => client::send_by_starttls(stream, tls, io.clone(), what).await,
            Secure::Implicit(tls) => client::send_in_tls(stream, tls, io.clone(), what).await,
        }
    }

    /// RFC 5321 says nothing of it; every MTA has it: `-f` the sender, `-i` no dot ends the message.
    async fn by_program(
        &self,
        program: &std::path::Path,
        io: &Arc<Io>,
        sender: &ReversePath,
        recipient: &str,
        head: &str,
        message: &Message,
    ) -> std::io::Result<Reply> {
        let sender = match sender {
            ReversePath::Null => "<>".to_owned(),
            ReversePath::Address(address) => address.to_string(),
        };
        let mut child = Command::new(program)
            .arg("-i")
            .arg("-f")
            .arg(sender)
            .arg("--")
            .arg(recipient)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let fed = async {
            let mut input = child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
            let (mut lines, mut out) = (StoredLines::default(), Vec::new());
            lines.push(head.as_bytes(), &mut out);
            let mut pieces = Pieces::of(io.clone(), message);
            loop {
                let piece = pieces.next().await?;
                if piece.is_empty() {
                    break;
                }
                lines.push(&piece, &mut out);
                input.write_all(&out).await?;
                out.clear();
            }
            lines.finish(&mut out);
            input.write_all(&out).await?;
            input.shutdown().await?;
            drop(input);
            Ok::<_, std::io::Error>(())
        };
        let fed = timeout(self.patience * 2, fed).await;
        fed.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
        let ended = timeout(self.patience * 2, child.wait_with_output()).await;
        let output = ended.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))?;
        if output.status.success() {
            return Ok(Reply::new(250, 0, 0, "queued"));
        }
        let said: String = String::from_utf8_lossy(&output.stderr).chars().take(200).collect();
        // sysexits.h: 64, 65, 67, 68, 77 will not get better.
        Ok(match output.status.code() {
            Some(64 | 65 | 67 | 68 | 77) => {
                Reply::new(550, 3, 0, format!("The mail system refuses it: {said}"))
            }
            _ => Reply::new(451, 3, 0, format!("The mail system does not take it for now: {said}")),
        })
    }
}

/// CRLF to LF, as programs on this machine expect it.
#[derive(Default)]
struct StoredLines {
    held_cr: bool,
}

impl StoredLines {
    fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) {
        for &b in octets {
            if std::mem::take(&mut self.held_cr) && b != b'\n' {
                out.push(b'\r');
            }
            if b == b'\r' {
                self.held_cr = true;
            } else {
                out.push(b);
            }
        }
    }
    fn finish(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.held_cr) {
            out.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_a_loop() {
        let message = |text: &str| Message::in_memory(text.to_owned().into());
        let hops = "Received: x\r\n".repeat(101) + "\r\n";
        assert!(looping(&message(&hops), "a@b.example", 100).unwrap().contains("100"));
        assert_eq!(looping(&message(&hops), "a@b.example", 101), None);
        let table = [
            ("Delivered-To: a@b.example\r\n\r\n", true),
            ("delivered-to:  A@B.example \r\n\r\n", true),
            ("X-Loop: a@b.example\r\n\r\n", true),
            ("Delivered-To: c@b.example\r\nTo: a@b.example\r\n\r\n", false),
            ("To: x\r\n\r\nDelivered-To: a@b.example\r\n", false),
        ];
        for (text, expected) in table {
            assert_eq!(looping(&message(text), "a@b.example", 100).is_some(), expected, "{text}");
        }
    }
}
