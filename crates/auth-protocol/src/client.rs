//! The client socket: proving who somebody is. `AUTH`, `CONT`, `CANCEL`, and their answers.

use crate::{Broken, CLIENT_MINOR, Fields, MAJOR, command, first, number, version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// What a client says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// `VERSION`, first of all.
    Version {
        /// Which parts of version 1 it knows. Before 2, failures have words in place of codes.
        minor: u32,
    },
    /// `CPID`: its process id, by which the master side names it.
    ProcessId(u32),
    /// `AUTH`: an exchange begins.
    Auth(Auth),
    /// `CONT`: the next message of one.
    Continue {
        /// Which.
        id: u32,
        /// The message.
        data: Base64,
    },
    /// `CANCEL`: an exchange is of no interest any more.
    Cancel(u32),
}

/// `AUTH`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Auth {
    /// By which the answer names it; never 0, and free again once answered.
    pub id: u32,
    /// The mechanism's name.
    pub mechanism: String,
    /// For what: `smtp`, `imap`, ...
    pub service: String,
    /// All parameters but the initial response: `lip=`, `rip=`, `secured`, ...
    pub fields: Fields,
    /// The initial response. Where it is missing, the mechanism begins with a challenge.
    pub response: Option<Base64>,
}

/// A message of a mechanism, in base64 on the wire.
#[derive(Clone, PartialEq, Eq)]
pub enum Base64 {
    /// Its octets.
    Octets(Vec<u8>),
    /// What was sent was no base64.
    Invalid,
}

/// Never the octets: they are passwords.
impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Octets(_) => "Octets(..)",
            Self::Invalid => "Invalid",
        })
    }
}

impl Base64 {
    fn decode(text: &str) -> Self {
        STANDARD.decode(text).map_or(Self::Invalid, Self::Octets)
    }
}

impl fmt::Display for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Octets(octets) => f.write_str(&STANDARD.encode(octets)),
            Self::Invalid => f.write_str("?"),
        }
    }
}

/// An id above 0.
fn id(text: &str) -> Option<u32> {
    number(text).filter(|id| *id > 0)
}

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// When it breaks the protocol.
    pub fn parse(line: &str) -> Result<Self, Broken> {
        if let Some(minor) = version(line)? {
            return Ok(Self::Version { minor });
        }
        match command(line) {
            ("CPID", rest) => {
                let pid = id(first(rest).0).ok_or(Broken::new("CPID", "a process id above 0"))?;
                Ok(Self::ProcessId(pid))
            }
            ("AUTH", rest) => Auth::parse(rest).map(Self::Auth),
            ("CONT", rest) => {
                let broken = Broken::new("CONT", "an id above 0, TAB, base64");
                let (number, data) = first(rest);
                let (id, data) = id(number).zip(data).ok_or(broken)?;
                Ok(Self::Continue { id, data: Base64::decode(data) })
            }
            ("CANCEL", rest) => id(rest).map(Self::Cancel).ok_or(Broken::new("CANCEL", "an id above 0")),
            _ => Err(Broken::new("the client's line", "VERSION, CPID, AUTH, CONT or CANCEL")),
        }
    }
}

impl Auth {
    fn parse(rest: &str) -> Result<Self, Broken> {
        let broken = |expected| Broken::new("AUTH", expected);
        let (number, rest) = first(rest);
        let id = id(number).ok_or_else(|| broken("an id above 0"))?;
        let (mechanism, rest) = first(rest.unwrap_or_default());
        if mechanism.is_empty() {
            return Err(broken("a mechanism"));
        }
        let (fields, response) = match rest.unwrap_or_default() {
            only if only.starts_with("resp=") => ("", only.strip_prefix("resp=")),
            rest => rest.split_once("\tresp=").map_or((rest, None), |(fields, resp)| (fields, Some(resp))),
        };
        if response.is_some_and(|r| r.contains('\t')) {
            return Err(broken("resp= as the last parameter"));
        }
        let fields = Fields::parse(fields);
        let service = fields.get("service").ok_or_else(|| broken("service="))?.to_owned();
        Ok(Self {
            id,
            mechanism: mechanism.to_owned(),
            service,
            fields,
            response: response.map(Base64::decode),
        })
    }
}

/// As a line, without its LF.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { minor } => write!(f, "VERSION\t{MAJOR}\t{minor}"),
            Self::ProcessId(pid) => write!(f, "CPID\t{pid}"),
            Self::Auth(auth) => {
                write!(f, "AUTH\t{}\t{}", auth.id, auth.mechanism)?;
                if !auth.fields.has("service") {
                    write!(f, "{}", Fields::new().with("service", &auth.service))?;
                }
                write!(f, "{}", auth.fields)?;
                auth.response.as_ref().map_or(Ok(()), |response| write!(f, "\tresp={response}"))
            }
            Self::Continue { id, data } => write!(f, "CONT\t{id}\t{data}"),
            Self::Cancel(id) => write!(f, "CANCEL\t{id}"),
        }
    }
}

/// What a server says before anything else, all at once.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Handshake {
    /// Mechanisms with their properties.
    pub mechanisms: Vec<(String, Vec<String>)>,
    /// The server's process id.
    pub process_id: u32,
    /// The connection's number.
    pub connection: u32,
    /// By which the master side proves that it knows this server: 32 hexadecimal digits.
    pub cookie: String,
}

/// As lines, each with its LF.
impl fmt::Display for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "VERSION\t{MAJOR}\t{CLIENT_MINOR}")?;
        for (name, properties) in &self.mechanisms {
            write!(f, "MECH\t{name}")?;
            for property in properties {
                write!(f, "\t{property}")?;
            }
            f.write_str("\n")?;
        }
        let Self { process_id, connection, cookie, .. } = self;
        write!(f, "SPID\t{process_id}\nCUID\t{connection}\nCOOKIE\t{cookie}\nDONE\n")
    }
}

impl Handshake {
    /// Takes one line of it in. `true` with the last.
    ///
    /// # Errors
    /// When the server speaks another version, or the line lacks what it must have. Unknown lines are skipped.
    pub fn read(&mut self, line: &str) -> Result<bool, Broken> {
        if version(line)?.is_some() {
            return Ok(false);
        }
        match command(line) {
            ("MECH", rest) => {
                let mut words = rest.split('\t').map(str::to_owned);
                let name = words.next().filter(|n| !n.is_empty()).ok_or(Broken::new("MECH", "a name"))?;
                self.mechanisms.push((name, words.collect()));
            }
            ("SPID", rest) => self.process_id = number(rest).ok_or(Broken::new("SPID", "a number"))?,
            ("CUID", rest) => self.connection = number(rest).ok_or(Broken::new("CUID", "a number"))?,
            ("COOKIE", rest) => self.cookie = rest.to_owned(),
            ("DONE", _) => return Ok(true),
            _ => {}
        }
        Ok(false)
    }
}

/// What a server answers to an exchange.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// `CONT`: a challenge.
    Continue {
        /// To which.
        id: u32,
        /// The challenge.
        data: Base64,
    },
    /// `OK`: they are who they say; `user=` has the name.
    Ok {
        /// To which.
        id: u32,
        /// What is known of them.
        fields: Fields,
    },
    /// `FAIL`.
    Fail {
        /// To which.
        id: u32,
        /// `user=`, `code=`, `reason=`.
        fields: Fields,
    },
}

impl Answer {
    /// Reads a line; `None` for lines that are no answers.
    ///
    /// # Errors
    /// When it breaks the protocol.
    pub fn parse(line: &str) -> Result<Option<Self>, Broken> {
        let (word, rest) = command(line);
        if !matches!(word, "CONT" | "OK" | "FAIL") {
            return Ok(None);
        }
        let (id, rest) = first(rest);
        let id = number(id).ok_or(Broken::new("the server's answer", "an id"))?;
        let rest = rest.unwrap_or_default();
        Ok(Some(match word {
            "CONT" => Self::Continue { id, data: Base64::decode(rest) },
            "OK" => Self::Ok { id, fields: Fields::parse(rest) },
            _ => Self::Fail { id, fields: Fields::parse(rest) },
        }))
    }

    /// Which exchange it is about.
    pub fn id(&self) -> u32 {
        match self {
            Self::Continue { id, .. } | Self::Ok { id, .. } | Self::Fail { id, .. } => *id,
        }
    }
}

/// As a line, without its LF.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Continue { id, data } => write!(f, "CONT\t{id}\t{data}"),
            Self::Ok { id, fields } => write!(f, "OK\t{id}{fields}"),
            Self::Fail { id, fields } => write!(f, "FAIL\t{id}{fields}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(text: &str) -> Base64 {
        Base64::Octets(text.as_bytes().to_vec())
    }

    #[test]
    fn requests_parse_and_print_back() {
        // As Postfix 3.7 and Exim 4.96 write them.
        let postfix =
            "AUTH\t1\tPLAIN\tservice=smtp\tnologin\tlip=127.0.0.1\trip=192.0.2.1\tsecured\tresp=AGEAYg==";
        let Ok(Request::Auth(auth)) = Request::parse(postfix) else { panic!() };
        assert_eq!((auth.id, auth.mechanism.as_str(), auth.service.as_str()), (1, "PLAIN", "smtp"));
        assert_eq!(auth.fields.get("rip"), Some("192.0.2.1"));
        assert!(auth.fields.has("nologin") && auth.fields.has("secured") && !auth.fields.has("resp"));
        assert_eq!(auth.response, Some(octets("\0a\0b")));
        let exim = "AUTH\t1\tLOGIN\tservice=smtp\tsecured\trip=::1\tlip=::1\tnologin\tresp=";
        let Ok(Request::Auth(auth)) = Request::parse(exim) else { panic!() };
        assert_eq!(auth.response, Some(octets("")));
        for line in [postfix, exim, "VERSION\t1\t1", "CPID\t4711", "CONT\t7\tYWJj", "CONT\t7\t", "CANCEL\t7"]
        {
            assert_eq!(Request::parse(line).unwrap().to_string(), line);
        }
        assert_eq!(
            Request::parse("AUTH\t1\tPLAIN\tservice=x\tresp=!!!").map(|r| match r {
                Request::Auth(a) => a.response,
                _ => None,
            }),
            Ok(Some(Base64::Invalid))
        );
        let Ok(Request::Auth(auth)) = Request::parse("AUTH\t4294967295\tLOGIN\tservice=x") else { panic!() };
        assert_eq!((auth.id, auth.response), (u32::MAX, None));
    }

    /// What Dovecot 2.3.19 closes the connection for.
    #[test]
    fn what_breaks_the_protocol() {
        for line in [
            "",
            "FOO\t1",
            "CPID\t0",
            "CPID\tx",
            "AUTH",
            "AUTH\tx\tPLAIN\tservice=smtp",
            "AUTH\t0\tPLAIN\tservice=smtp",
            "AUTH\t4294967296\tPLAIN\tservice=smtp",
            "AUTH\t1\tPLAIN\tresp=YQ==",
            "AUTH\t1\tPLAIN",
            "AUTH\t1\tPLAIN\tservice=smtp\tresp=YQ==\tsecured",
            "CONT\t1",
            "CONT\tx\tYQ==",
            "CANCEL\tx",
            "auth\t1\tPLAIN\tservice=smtp",
        ] {
            assert!(Request::parse(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn a_handshake_reads_what_it_writes() {
        let handshake = Handshake {
            mechanisms: vec![
                ("PLAIN".to_owned(), vec!["plaintext".to_owned()]),
                (
                    "DIGEST-MD5".to_owned(),
                    ["dictionary", "active", "mutual-auth"].map(str::to_owned).to_vec(),
                ),
                ("EXTERNAL".to_owned(), vec![]),
            ],
            process_id: 5951,
            connection: 1,
            cookie: "e174eaf2b31264492ae968e0e723af54".to_owned(),
        };
        let text = handshake.to_string();
        // Dovecot 2.3.19's words in Dovecot's order.
        assert_eq!(
            text,
            "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tDIGEST-MD5\tdictionary\tactive\tmutual-auth\n\
             MECH\tEXTERNAL\nSPID\t5951\nCUID\t1\nCOOKIE\te174eaf2b31264492ae968e0e723af54\nDONE\n"
        );
        let mut read = Handshake::default();
        let done: Vec<bool> = text.lines().map(|line| read.read(line).unwrap()).collect();
        assert_eq!(read, handshake);
        assert_eq!(done.iter().filter(|d| **d).count(), 1);
        assert!(done.last().unwrap());
        assert!(Handshake::default().read("VERSION\t2\t0").is_err());
    }

    #[test]
    fn answers_parse_and_print_back() {
        for line in [
            "OK\t1\tuser=anna@example.org",
            "FAIL\t1\tuser=anna@example.org\tcode=temp_fail",
            "FAIL\t1",
            "CONT\t1\t",
            "CONT\t1\tVXNlcm5hbWU6",
        ] {
            assert_eq!(Answer::parse(line).unwrap().unwrap().to_string(), line);
        }
        assert_eq!(Answer::parse("NOTE\t1"), Ok(None));
        assert!(Answer::parse("OK\tx").is_err());
    }
}
