//! A blocking IMAP client that sends exactly what it is told.
//!
//! It neither knows commands nor corrects them. Every wait has an end: an answer that does not come within the time of
//! [`Client::set_patience`] is an error, never a hang.

use crate::stream::{self, Stream, Trust};
use crate::value::{BadResponse, Kind, Response, Value, announced, parse_response};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub use crate::stream::PATIENCE;

/// More than this in one response is taken for a server gone wild.
const MAX_RESPONSE: usize = 512 << 20;

/// One connection.
pub struct Client {
    stream: BufReader<Box<dyn Stream>>,
    socket: TcpStream,
    tags: u32,
    /// The greeting.
    pub greeting: Response,
}

/// What came in answer to one command.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Untagged responses in their order.
    pub untagged: Vec<Response>,
    /// How the command ended.
    pub kind: Kind,
    /// The response code of the tagged line.
    pub code: Vec<Value>,
    /// The text of the tagged line.
    pub text: String,
}

impl Reply {
    /// The data responses that hold this word at the first or second place (`* FETCH`, `* 3 FETCH`).
    pub fn data<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a [Value]> {
        self.untagged.iter().filter_map(move |r| match r {
            Response::Data(v) if v.iter().take(2).any(|x| x.is(word)) => Some(v.as_slice()),
            _ => None,
        })
    }

    /// The items of `* n FETCH (...)`, by message: (n, name and value).
    pub fn fetches(&self) -> impl Iterator<Item = (u32, Vec<(&str, &Value)>)> {
        self.data("FETCH").filter_map(|v| {
            let n = v[0].number()?;
            let items = v.get(2)?.list()?;
            Some((
                u32::try_from(n).ok()?,
                items.chunks(2).filter_map(|p| Some((p[0].atom()?, p.get(1)?))).collect(),
            ))
        })
    }
}

impl Client {
    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// When there is no connection, or no greeting in time.
    pub fn connect(addr: SocketAddr) -> Result<Client> {
        let socket = stream::connect(addr)?;
        let stream: Box<dyn Stream> = Box::new(socket.try_clone()?);
        Client::start(stream, socket)
    }

    /// Connects by TLS, to the server of this name.
    ///
    /// # Errors
    /// As [`Client::connect`], and when the handshake fails.
    pub fn connect_tls(addr: SocketAddr, host: &str, trust: &Trust) -> Result<Client> {
        let socket = stream::connect(addr)?;
        let stream = stream::by_tls(socket.try_clone()?, host, trust)?;
        Client::start(stream, socket)
    }

    fn start(stream: Box<dyn Stream>, socket: TcpStream) -> Result<Client> {
        let mut stream = BufReader::new(stream);
        let greeting = parse_response(&read_raw(&mut stream)?)?;
        Ok(Client { stream, socket, tags: 0, greeting })
    }

    /// Goes on by TLS, after STARTTLS was answered.
    ///
    /// # Errors
    /// When the handshake fails, or bytes had come before it.
    pub fn start_tls(&mut self, host: &str, trust: &Trust) -> Result<()> {
        if !self.stream.buffer().is_empty() {
            bail!(
                "the server sent {:?} after its answer to STARTTLS",
                self.stream.buffer().escape_ascii().to_string()
            );
        }
        self.stream = BufReader::new(stream::by_tls(self.socket.try_clone()?, host, trust)?);
        Ok(())
    }

    /// How long to wait for bytes.
    ///
    /// # Errors
    /// From the socket.
    pub fn set_patience(&mut self, patience: Duration) -> Result<()> {
        Ok(self.socket.set_read_timeout(Some(patience))?)
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// From the socket; a server which has closed the connection gives one.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        Ok(stream.flush()?)
    }

    /// Reads one response as bytes, with its literals; empty at the end of the connection.
    ///
    /// # Errors
    /// When nothing comes in time.
    pub fn read_raw(&mut self) -> Result<Vec<u8>> {
        read_raw(&mut self.stream)
    }

    /// Reads one response.
    ///
    /// # Errors
    /// When nothing comes in time, the connection ends, or the bytes are no response.
    pub fn read(&mut self) -> Result<Response> {
        let raw = self.read_raw()?;
        if raw.is_empty() {
            bail!("the server closed the connection");
        }
        parse_response(&raw).map_err(|BadResponse(why)| {
            let shown = &raw[..raw.len().min(2000)];
            anyhow::anyhow!("not a response, {why}: {}", shown.escape_ascii())
        })
    }

    /// The next tag.
    pub fn tag(&mut self) -> String {
        self.tags += 1;
        format!("t{}", self.tags)
    }

    /// Sends a command with literals and reads its reply. `parts` are alternately text and literal:
    /// `["APPEND INBOX ", message]`. Literals are sent when the server asks for them.
    ///
    /// # Errors
    /// As [`Client::read`]. A reply of NO or BAD is no error.
    pub fn command_with(&mut self, parts: &[&[u8]]) -> Result<Reply> {
        let tag = self.tag();
        let mut untagged = Vec::new();
        let mut out = format!("{tag} ").into_bytes();
        for (i, part) in parts.iter().enumerate() {
            if i % 2 == 1 {
                out.extend_from_slice(format!("{{{}}}\r\n", part.len()).as_bytes());
                self.send(&out)?;
                out.clear();
                loop {
                    match self.read()? {
                        Response::Continue(_) => break,
                        Response::Status { tag: t, kind, code, text } if t == tag => {
                            return Ok(Reply { untagged, kind, code, text });
                        }
                        other => untagged.push(other),
                    }
                }
            }
            out.extend_from_slice(part);
        }
        out.extend_from_slice(b"\r\n");
        self.send(&out)?;
        self.finish(&tag, untagged)
    }

    /// Reads up to the tagged response of `tag`.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub fn finish(&mut self, tag: &str, mut untagged: Vec<Response>) -> Result<Reply> {
        loop {
            match self.read()? {
                Response::Status { tag: t, kind, code, text } if t == tag => {
                    return Ok(Reply { untagged, kind, code, text });
                }
                other => untagged.push(other),
            }
        }
    }

    /// Sends a command of one line and reads its reply.
    ///
    /// # Errors
    /// As [`Client::command_with`].
    pub fn command(&mut self, text: &str) -> Result<Reply> {
        self.command_with(&[text.as_bytes()])
    }

    /// As [`Client::command`], but NO and BAD are errors.
    ///
    /// # Errors
    /// Also when the command fails.
    pub fn ok(&mut self, text: &str) -> Result<Reply> {
        let reply = self.command(text)?;
        if reply.kind != Kind::Ok {
            bail!("{text}: {:?} {:?} {}", reply.kind, reply.code, reply.text);
        }
        Ok(reply)
    }

    /// LOGIN.
    ///
    /// # Errors
    /// When refused.
    pub fn login(&mut self, user: &str, password: &str) -> Result<Reply> {
        let plain = |text: &str| text.bytes().all(|b| matches!(b, b' '..=b'~') && !b"\"\\".contains(&b));
        if plain(user) && plain(password) {
            return self.ok(&format!("LOGIN \"{user}\" \"{password}\""));
        }
        let reply = self.command_with(&[b"LOGIN ", user.as_bytes(), b" ", password.as_bytes()])?;
        if reply.kind != Kind::Ok {
            bail!("LOGIN: {:?} {:?} {}", reply.kind, reply.code, reply.text);
        }
        Ok(reply)
    }

    /// APPEND of one message with flags such as `(\Seen) ` or nothing.
    ///
    /// # Errors
    /// As [`Client::command_with`].
    pub fn append(&mut self, mailbox: &str, options: &str, message: &[u8]) -> Result<Reply> {
        self.command_with(&[format!("APPEND {mailbox} {options}").as_bytes(), message])
    }
}

fn read_raw(stream: &mut BufReader<Box<dyn Stream>>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let start = out.len();
        stream.read_until(b'\n', &mut out).context("waiting for an answer")?;
        let Some(size) = announced(&out[start..]) else { return Ok(out) };
        if out.len() + size > MAX_RESPONSE {
            bail!("a response of more than {MAX_RESPONSE} octets");
        }
        let from = out.len();
        out.resize(from + size, 0);
        stream.read_exact(&mut out[from..]).context("waiting for a literal")?;
    }
}
