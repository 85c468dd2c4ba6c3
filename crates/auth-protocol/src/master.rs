//! The master socket: looking accounts up. `USER`, `PASS`, `LIST`, `REQUEST`, `CACHE-FLUSH`, and their answers.

use crate::{Broken, Fields, MAJOR, MASTER_MINOR, command, escape, first, number, unescape, version};
use std::fmt;

/// What a master says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// `VERSION`, first of all.
    Version {
        /// Which parts of version 1 it knows.
        minor: u32,
    },
    /// `USER`: where does the mail of this account lie, and whose is it?
    User(Lookup),
    /// `PASS`: may this account log in, and how?
    Pass(Lookup),
    /// `LIST`: the names of all accounts.
    List {
        /// By which the answers name it.
        id: u32,
        /// `service=`, `user=`.
        fields: Fields,
    },
    /// `REQUEST`: who was it that proved who they are on a client connection?
    Finished {
        /// By which the answer names it.
        id: u32,
        /// The client's process id.
        client: u32,
        /// The client's id for its exchange.
        exchange: u32,
        /// The cookie that the client was given.
        cookie: String,
        /// More.
        fields: Fields,
    },
    /// `CACHE-FLUSH`: forget what is cached, of everybody or of some.
    Flush {
        /// By which the answer names it.
        id: u32,
        /// Whose; everybody's when empty.
        users: Vec<String>,
    },
}

/// Who is looked up, and for what.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lookup {
    /// By which the answer names it.
    pub id: u32,
    /// The name as somebody typed it.
    pub user: String,
    /// For what: `lmtp`, `imap`, ...
    pub service: String,
    /// All parameters.
    pub fields: Fields,
}

impl Lookup {
    fn parse(name: &'static str, rest: &str) -> Result<Self, Broken> {
        let broken = |expected| Broken::new(name, expected);
        let (id, rest) = first(rest);
        let id = number(id).ok_or_else(|| broken("an id"))?;
        let (user, rest) = first(rest.ok_or_else(|| broken("a name"))?);
        let fields = Fields::parse(rest.unwrap_or_default());
        let service = fields.get("service").ok_or_else(|| broken("service="))?.to_owned();
        Ok(Self { id, user: unescape(user), service, fields })
    }
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\t{}\t{}", self.id, escape(&self.user))?;
        if !self.fields.has("service") {
            write!(f, "{}", Fields::new().with("service", &self.service))?;
        }
        write!(f, "{}", self.fields)
    }
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
            ("USER", rest) => Lookup::parse("USER", rest).map(Self::User),
            ("PASS", rest) => Lookup::parse("PASS", rest).map(Self::Pass),
            ("LIST", rest) => {
                let (id, rest) = first(rest);
                let id = number(id).ok_or(Broken::new("LIST", "an id"))?;
                Ok(Self::List { id, fields: Fields::parse(rest.unwrap_or_default()) })
            }
            ("REQUEST", rest) => Self::finished(rest).ok_or(Broken::new(
                "REQUEST",
                "an id, the client's process id, its exchange's id and the cookie",
            )),
            ("CACHE-FLUSH", rest) => {
                let (id, rest) = first(rest);
                let id = number(id).ok_or(Broken::new("CACHE-FLUSH", "an id"))?;
                let users = rest.unwrap_or_default().split('\t').filter(|u| !u.is_empty());
                Ok(Self::Flush { id, users: users.map(unescape).collect() })
            }
            _ => Err(Broken::new("the master's line", "VERSION, USER, PASS, LIST, REQUEST or CACHE-FLUSH")),
        }
    }

    fn finished(rest: &str) -> Option<Self> {
        let (id, rest) = first(rest);
        let (client, rest) = first(rest?);
        let (exchange, rest) = first(rest?);
        let (cookie, rest) = first(rest?);
        Some(Self::Finished {
            id: number(id)?,
            client: number(client)?,
            exchange: number(exchange)?,
            cookie: cookie.to_owned(),
            fields: Fields::parse(rest.unwrap_or_default()),
        })
    }
}

/// As a line, without its LF.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { minor } => write!(f, "VERSION\t{MAJOR}\t{minor}"),
            Self::User(lookup) => write!(f, "USER{lookup}"),
            Self::Pass(lookup) => write!(f, "PASS{lookup}"),
            Self::List { id, fields } => write!(f, "LIST\t{id}{fields}"),
            Self::Finished { id, client, exchange, cookie, fields } => {
                write!(f, "REQUEST\t{id}\t{client}\t{exchange}\t{cookie}{fields}")
            }
            Self::Flush { id, users } => {
                write!(f, "CACHE-FLUSH\t{id}")?;
                users.iter().try_for_each(|user| write!(f, "\t{}", escape(user)))
            }
        }
    }
}

/// What the server says first, each line with its LF.
pub fn greeting(process_id: u32) -> String {
    format!("VERSION\t{MAJOR}\t{MASTER_MINOR}\nSPID\t{process_id}\n")
}

/// What a server answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// `USER`: the account under its canonical name.
    User {
        /// To which.
        id: u32,
        /// Its name.
        user: String,
        /// `uid=`, `gid=`, `home=`, `mail=`, ...
        fields: Fields,
    },
    /// `PASS`.
    Pass {
        /// To which.
        id: u32,
        /// `user=`, `nologin`, `reason=`, ...
        fields: Fields,
    },
    /// `NOTFOUND`: there is no such account.
    NotFound(u32),
    /// `FAIL`: it cannot be known now, or no such exchange was finished.
    Fail(u32),
    /// `LIST`: one of the names.
    Listed {
        /// To which.
        id: u32,
        /// The name.
        user: String,
    },
    /// `DONE`: that were all names.
    Done {
        /// To which.
        id: u32,
        /// Could some of them not be known?
        failed: bool,
    },
    /// `OK`: forgotten.
    Flushed {
        /// To which.
        id: u32,
        /// How many.
        entries: u64,
    },
}

impl Answer {
    /// Reads a line; `None` for lines that are no answers.
    ///
    /// # Errors
    /// When it breaks the protocol.
    pub fn parse(line: &str) -> Result<Option<Self>, Broken> {
        let (word, rest) = command(line);
        if !matches!(word, "USER" | "PASS" | "NOTFOUND" | "FAIL" | "LIST" | "DONE" | "OK") {
            return Ok(None);
        }
        let broken = Broken::new("the server's answer", "an id, and what belongs to it");
        let (id, rest) = first(rest);
        let id = number(id).ok_or(broken)?;
        let rest = rest.unwrap_or_default();
        Ok(Some(match word {
            "USER" => {
                let (user, fields) = first(rest);
                Self::User { id, user: unescape(user), fields: Fields::parse(fields.unwrap_or_default()) }
            }
            "PASS" => Self::Pass { id, fields: Fields::parse(rest) },
            "NOTFOUND" => Self::NotFound(id),
            "FAIL" => Self::Fail(id),
            "LIST" => Self::Listed { id, user: unescape(rest) },
            "DONE" => Self::Done { id, failed: rest == "fail" },
            _ => Self::Flushed { id, entries: number(rest).ok_or(broken)? },
        }))
    }
}

/// As a line, without its LF.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { id, user, fields } => write!(f, "USER\t{id}\t{}{fields}", escape(user)),
            Self::Pass { id, fields } => write!(f, "PASS\t{id}{fields}"),
            Self::NotFound(id) => write!(f, "NOTFOUND\t{id}"),
            Self::Fail(id) => write!(f, "FAIL\t{id}"),
            Self::Listed { id, user } => write!(f, "LIST\t{id}\t{}", escape(user)),
            Self::Done { id, failed } => write!(f, "DONE\t{id}\t{}", if *failed { "fail" } else { "" }),
            Self::Flushed { id, entries } => write!(f, "OK\t{id}\t{entries}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_parse_and_print_back() {
        for line in [
            "VERSION\t1\t1",
            "USER\t1\tanna@example.org\tservice=lda",
            "USER\t0\tan\u{1}tna\tservice=lda\trip=192.0.2.1",
            "PASS\t2\tanna@example.org\tservice=imap",
            "LIST\t3\tservice=x\tuser=anna*",
            "LIST\t3",
            "REQUEST\t5\t4711\t1\t0123456789abcdef0123456789abcdef\tsession_pid=77",
            "CACHE-FLUSH\t1",
            "CACHE-FLUSH\t2\tanna@example.org\tbert@example.org",
        ] {
            assert_eq!(Request::parse(line).unwrap().to_string(), line);
        }
        let Ok(Request::User(lookup)) = Request::parse("USER\t7\tan\u{1}tna\tservice=lda") else { panic!() };
        assert_eq!((lookup.id, lookup.user.as_str(), lookup.service.as_str()), (7, "an\tna", "lda"));
    }

    /// What Dovecot 2.3.19 closes the connection for.
    #[test]
    fn what_breaks_the_protocol() {
        for line in [
            "",
            "FOO\t1",
            "CPID\t1",
            "CANCEL\t1",
            "USER\t1",
            "USER\tanna@example.org",
            "USER\t1\tanna@example.org",
            "REQUEST\t1\t2\t3",
            "LIST\tx",
            "CACHE-FLUSH\tx",
        ] {
            assert!(Request::parse(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn answers_parse_and_print_back() {
        for line in [
            "USER\t1\tanna@example.org\tuid=4001\tgid=4001\thome=/srv/anna\tquota_rule=*:storage=100M",
            "PASS\t1\tuser=dis@example.org\tnologin\treason=Gone",
            "NOTFOUND\t1",
            "FAIL\t1",
            "LIST\t1\tanna@example.org",
            "DONE\t1\t",
            "DONE\t3\tfail",
            "OK\t1\t0",
        ] {
            assert_eq!(Answer::parse(line).unwrap().unwrap().to_string(), line);
        }
        assert_eq!(Answer::parse("SPID\t1"), Ok(None));
        assert!(Answer::parse("OK\t1\tx").is_err());
    }
}
