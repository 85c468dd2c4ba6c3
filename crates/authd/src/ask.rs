//! The other side, small and blocking: for our own programs that ask a running server, and for tests.

use culver_auth_protocol::client::{Answer, Auth, Base64, Handshake, Request};
use culver_auth_protocol::{Broken, CLIENT_MINOR, Fields, Lines, MASTER_MINOR, master};
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The socket cannot be reached, or the server is gone.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It speaks something else.
    #[error("the server broke the auth protocol: {0}")]
    Broken(#[from] Broken),
    /// The server closed the connection.
    #[error("the server closed the connection without an answer, which means that it cannot tell for now")]
    Closed,
}

struct Talk {
    stream: UnixStream,
    lines: Lines,
}

impl Talk {
    fn connect(path: &Path, patience: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { stream, lines: Lines::new() })
    }

    fn send(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\n").as_bytes())
    }

    fn line(&mut self) -> Result<String, NoAnswer> {
        loop {
            let line = self.lines.next_line();
            if let Some(line) = line.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))? {
                return Ok(line);
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(NoAnswer::Closed),
                Ok(n) => self.lines.push(&bytes[..n]),
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Err(NoAnswer::Closed),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time").into());
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// A connection to a client socket.
pub struct Client {
    talk: Talk,
    /// What the server said first.
    pub handshake: Handshake,
}

impl Client {
    /// Connects and shakes hands. Every read waits for `patience` at most.
    ///
    /// # Errors
    /// When nobody is there, or it is no client socket.
    pub fn connect(path: &Path, patience: Duration) -> Result<Self, NoAnswer> {
        let mut talk = Talk::connect(path, patience)?;
        talk.send(&Request::Version { minor: CLIENT_MINOR }.to_string())?;
        talk.send(&Request::ProcessId(std::process::id()).to_string())?;
        let mut handshake = Handshake::default();
        loop {
            let line = talk.line()?;
            if handshake.read(&line)? {
                return Ok(Self { talk, handshake });
            }
            if line.starts_with("SPID") && handshake.mechanisms.is_empty() {
                let text = "this is a master socket, or no mechanism is offered";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text).into());
            }
        }
    }

    /// Sends a line as it is.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn send(&mut self, line: &str) -> io::Result<()> {
        self.talk.send(line)
    }

    /// The next answer.
    ///
    /// # Errors
    /// When none comes.
    pub fn answer(&mut self) -> Result<Answer, NoAnswer> {
        loop {
            if let Some(answer) = Answer::parse(&self.talk.line()?)? {
                return Ok(answer);
            }
        }
    }

    /// Is this the password? By PLAIN. `fields` say for whom it is asked: `rip=`, `secured`, ...
    ///
    /// # Errors
    /// When there is no answer.
    pub fn plain(
        &mut self,
        id: u32,
        service: &str,
        user: &str,
        password: &[u8],
        fields: Fields,
    ) -> Result<Answer, NoAnswer> {
        let message = [b"\0", user.as_bytes(), b"\0", password].concat();
        let auth = Auth {
            id,
            mechanism: "PLAIN".to_owned(),
            service: service.to_owned(),
            fields,
            response: Some(Base64::Octets(message)),
        };
        self.send(&Request::Auth(auth).to_string())?;
        loop {
            let answer = self.answer()?;
            if answer.id() == id {
                return Ok(answer);
            }
        }
    }
}

/// A connection to a master socket.
pub struct Master {
    talk: Talk,
}

impl Master {
    /// Connects.
    ///
    /// # Errors
    /// When nobody is there.
    pub fn connect(path: &Path, patience: Duration) -> Result<Self, NoAnswer> {
        let mut talk = Talk::connect(path, patience)?;
        talk.send(&master::Request::Version { minor: MASTER_MINOR }.to_string())?;
        Ok(Self { talk })
    }

    /// Asks, and gives the first answer.
    ///
    /// # Errors
    /// When none comes.
    pub fn ask(&mut self, request: &master::Request) -> Result<master::Answer, NoAnswer> {
        self.talk.send(&request.to_string())?;
        self.answer()
    }

    /// The next answer.
    ///
    /// # Errors
    /// When none comes.
    pub fn answer(&mut self) -> Result<master::Answer, NoAnswer> {
        loop {
            let line = self.talk.line()?;
            if line.starts_with("MECH\t") {
                let text = "this is a client socket: look-ups need a master socket";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text).into());
            }
            if let Some(answer) = master::Answer::parse(&line)? {
                return Ok(answer);
            }
        }
    }
}
