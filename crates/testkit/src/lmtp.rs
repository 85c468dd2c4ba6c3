//! Transcripts of LMTP (`tests/transcripts/lmtp`), in the manner of those of IMAP (see [`crate::transcript`]).
//!
//! ```text
//! # Each recipient has its own reply.
//! rfc: 2033 §4.2
//!
//! C1: LHLO mx.example.org
//! S1: 250 PIPELINING SIZE=* !FOO
//! P1: MAIL FROM:<a@example.org>
//! C1: RCPT TO:<$a>
//! S1: 250 2.1.0
//! S1: 250 2.1.5
//! C1: DATA
//! S1: 354
//! D1: Subject: x
//! D1:
//! D1: .
//! S1: 250
//! M: $a INBOX 1 ~"Subject: x"
//! ```
//!
//! `C1:` sends a line, together with the `P1:` before it, and waits for as many replies as `S1:` lines follow; without any,
//! for one that is positive. `D1:` sends a line and waits for nothing, nor does `R1:`, which sends octets with escapes
//! (`\r \n \\ \0 \xHH`). An `S1:` line has the code, the enhanced code if it matters, and then words each of which must begin
//! a line of the reply (`!word`: must not; `WORD=*`: with something behind it; `~text`: must stand somewhere in it, blanks
//! written as `_`). `S1: closed` is the end of the connection. `T1:` starts TLS.
//! `M: account mailbox count [~"text" | !"text"]` looks into the Maildir: so many messages, with the text in the newest one.
//! `$a`, `$b`, ... are accounts that nobody has used; `$a.local` and `$a.domain` are parts of their addresses; `$_` is a blank.
//! `%{x*1000}` repeats. In the head `socket: unix` takes the unix socket, and `dovecot: differs, because` or `not run,` as
//! there; `proxy: LINE` is for servers behind a proxy, and LINE is what it sends first (`none`: nothing).

use crate::peer::{Account, Peer};
use crate::transcript::Outcome;
use anyhow::{Context, Result, bail};
use culver_imapc::Trust;
use culver_imapc::stream::{Stream, by_tls, connect};
use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Where a server speaks LMTP.
pub struct Lmtp<'a> {
    /// The server.
    pub peer: &'a dyn Peer,
    /// Its port.
    pub tcp: SocketAddr,
    /// Its unix socket.
    pub unix: Option<PathBuf>,
    /// Is the port behind a proxy? Then those transcripts are run that are for it, and no others.
    pub proxied: bool,
}

/// Runs all files of a folder whose names hold `filter`.
///
/// # Errors
/// When the folder cannot be read.
pub fn run_all(dir: &Path, filter: &str, at: &Lmtp<'_>) -> Result<Vec<(String, Outcome)>> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir)?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    files.sort();
    let mut outcomes = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !name.contains(filter) || file.extension().is_none_or(|e| e != "txt") {
            continue;
        }
        let text = fs::read_to_string(&file)?;
        if text.lines().any(|l| l.starts_with("proxy:")) != at.proxied {
            continue;
        }
        let outcome = run(&text, at);
        outcomes.push((name, outcome));
    }
    Ok(outcomes)
}

fn run(text: &str, at: &Lmtp<'_>) -> Outcome {
    let differs = text.lines().find_map(|l| l.strip_prefix("dovecot:")).map(str::trim);
    let concerned = differs.filter(|_| at.peer.name() == "dovecot");
    if let Some(why) = concerned.and_then(|d| d.strip_prefix("not run, ")) {
        return Outcome::NotRun(why.to_owned());
    }
    let unix = text.lines().any(|l| l.trim() == "socket: unix");
    let proxy = text.lines().find_map(|l| l.strip_prefix("proxy:")).map(|l| l.trim().to_owned());
    let ran = Runner { at, unix, proxy, ..Runner::new(at) }.all(text);
    match (ran, concerned.and_then(|d| d.strip_prefix("differs, because "))) {
        (Ok(()), None) => Outcome::Passed,
        (Ok(()), Some(why)) => Outcome::Failed(format!("it does not differ any more: {why}")),
        (Err(_), Some(why)) => Outcome::Differs(why.to_owned()),
        (Err(e), None) => Outcome::Failed(format!("{e:#}")),
    }
}

struct Runner<'a> {
    at: &'a Lmtp<'a>,
    unix: bool,
    proxy: Option<String>,
    sessions: BTreeMap<String, Session>,
    accounts: BTreeMap<String, Account>,
}

struct Session {
    stream: Link,
    input: Vec<u8>,
    pending: String,
    log: Vec<String>,
}

enum Link {
    Tcp(TcpStream),
    Other(Box<dyn Stream>),
    Gone,
}

impl<'a> Runner<'a> {
    fn new(at: &'a Lmtp<'a>) -> Self {
        Self { at, unix: false, proxy: None, sessions: BTreeMap::new(), accounts: BTreeMap::new() }
    }

    fn all(mut self, text: &str) -> Result<()> {
        let lines: Vec<&str> = text.lines().collect();
        if !text.starts_with("# ") || !lines.iter().any(|l| l.starts_with("rfc:")) {
            bail!("a transcript begins with a comment that says its subject, and `rfc:`");
        }
        let mut i = 0;
        while i < lines.len() {
            let (number, line) = (i + 1, lines[i].trim_end());
            i += 1;
            let head = ["rfc:", "dovecot:", "socket:", "proxy:"].iter().any(|h| line.starts_with(h));
            if line.is_empty() || line.starts_with('#') || head {
                continue;
            }
            let expected_from = i;
            if line.starts_with('C') {
                while i < lines.len() && lines[i].starts_with('S') {
                    i += 1;
                }
            }
            let step = self.step(line, &lines[expected_from..i]);
            step.with_context(|| format!("line {number}: {line}{}", self.logs()))?;
        }
        Ok(())
    }

    fn step(&mut self, line: &str, expected: &[&str]) -> Result<()> {
        let (who, rest) = line.split_once(':').context("neither a step nor a comment")?;
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let (letter, number) = who.split_at(1);
        if letter == "M" {
            return self.mail(rest);
        }
        let rest = self.expand(rest)?;
        let session = self.session(number)?;
        match letter {
            "P" | "D" => {
                session.pending.push_str(&rest);
                session.pending.push_str("\r\n");
                Ok(())
            }
            "R" => {
                session.flush()?;
                session.send(&unescape(&rest)?)
            }
            "C" => {
                session.pending.push_str(&rest);
                session.pending.push_str("\r\n");
                session.flush()?;
                if expected.is_empty() {
                    let reply = session.reply()?;
                    anyhow::ensure!(reply.starts_with(['2', '3']), "a positive reply was expected");
                }
                let expected: Vec<String> = expected
                    .iter()
                    .map(|e| e.split_once(':').unwrap_or(("", e)).1.trim().to_owned())
                    .collect();
                for pattern in expected {
                    let pattern = self.expand(&pattern)?;
                    self.session(number)?.expect(&pattern)?;
                }
                Ok(())
            }
            "S" => {
                session.flush()?;
                session.expect(&rest)
            }
            "T" => {
                let Link::Tcp(tcp) = std::mem::replace(&mut session.stream, Link::Gone) else {
                    bail!("TLS needs a TCP connection")
                };
                session.stream = Link::Other(by_tls(tcp, "localhost", &Trust::Anybody)?);
                Ok(())
            }
            _ => bail!("no step begins so"),
        }
    }

    fn session(&mut self, number: &str) -> Result<&mut Session> {
        if !self.sessions.contains_key(number) {
            let stream = match (&self.at.unix, self.unix) {
                (Some(path), true) => {
                    let stream = UnixStream::connect(path).with_context(|| path.display().to_string())?;
                    stream.set_read_timeout(Some(culver_imapc::stream::PATIENCE))?;
                    Link::Other(Box::new(stream))
                }
                (None, true) => bail!("the server has no unix socket"),
                (_, false) => Link::Tcp(connect(self.at.tcp)?),
            };
            let mut session = Session { stream, input: Vec::new(), pending: String::new(), log: Vec::new() };
            match self.proxy.as_deref() {
                // What it is told instead of a greeting is the transcript's.
                Some("none") => {}
                Some(line) => {
                    session.send(format!("{line}\r\n").as_bytes())?;
                    session.expect("220")?;
                }
                None => session.expect("220")?,
            }
            self.sessions.insert(number.to_owned(), session);
        }
        self.sessions.get_mut(number).context("a session")
    }

    fn account(&mut self, name: &str) -> &Account {
        let peer = self.at.peer;
        self.accounts.entry(name.to_owned()).or_insert_with(|| peer.fresh_account())
    }

    fn expand(&mut self, text: &str) -> Result<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['$', '%']) {
            out.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(inner) = rest.strip_prefix("%{") {
                let (inner, behind) = inner.split_once('}').context("} of a repetition")?;
                let (what, count) = inner.rsplit_once('*').context("* of a repetition")?;
                out.push_str(&what.repeat(count.parse()?));
                rest = behind;
                continue;
            }
            let end =
                rest[1..].find(|c: char| !c.is_ascii_lowercase() && c != '_').map_or(rest.len(), |n| n + 1);
            let name = &rest[1..end];
            if !rest.starts_with('$') || name.is_empty() {
                out.push_str(&rest[..1]);
                rest = &rest[1..];
                continue;
            }
            rest = &rest[end..];
            if name == "_" {
                out.push(' ');
                continue;
            }
            let user = self.account(name).user.clone();
            let (local, domain) = user.split_once('@').unwrap_or((&user, ""));
            if let Some(behind) = rest.strip_prefix(".local") {
                out.push_str(local);
                rest = behind;
            } else if let Some(behind) = rest.strip_prefix(".domain") {
                out.push_str(domain);
                rest = behind;
            } else {
                out.push_str(&user);
            }
        }
        out.push_str(rest);
        Ok(out)
    }

    /// `$a INBOX 1 ~"text"`
    fn mail(&mut self, what: &str) -> Result<()> {
        let mut words = what.splitn(4, ' ');
        let name = words.next().and_then(|w| w.strip_prefix('$')).context("an account")?;
        let mailbox = words.next().context("a mailbox")?.to_owned();
        let count: usize = words.next().context("a count")?.parse()?;
        let text = words.next().unwrap_or_default().to_owned();
        let text = self.expand(&text)?;
        let root = self.account(name).maildir.clone();
        let dir =
            if mailbox == "INBOX" { root } else { root.join(format!(".{}", mailbox.replace('/', "."))) };
        let mut files = Vec::new();
        for part in ["new", "cur"] {
            for entry in fs::read_dir(dir.join(part)).into_iter().flatten() {
                files.push(entry?.path());
            }
        }
        anyhow::ensure!(files.len() == count, "there are {} messages", files.len());
        for left in fs::read_dir(dir.join("tmp")).into_iter().flatten() {
            let left = left?.path();
            // Masters go soon after the last reply.
            let end = std::time::Instant::now() + culver_imapc::stream::PATIENCE;
            while left.exists() {
                anyhow::ensure!(std::time::Instant::now() < end, "{} was left", left.display());
                std::thread::yield_now();
            }
        }
        let (wanted, quoted) = match text.split_at_checked(1) {
            Some(("~", quoted)) => (true, quoted),
            Some(("!", quoted)) => (false, quoted),
            _ => return Ok(()),
        };
        files.sort_by_key(|f| fs::metadata(f).and_then(|m| m.modified()).ok());
        let octets = fs::read(files.last().context("no message")?)?;
        let text = unescape(quoted.trim_matches('"'))?;
        let found = memchr::memmem::find(&octets, &text).is_some();
        anyhow::ensure!(found == wanted, "the message is:\n{}", String::from_utf8_lossy(&octets));
        Ok(())
    }

    fn logs(&self) -> String {
        let mut out = String::new();
        for (n, s) in &self.sessions {
            for line in s.log.iter().rev().take(12).rev() {
                out.push_str(&format!("\n    {n} {line}"));
            }
        }
        out
    }
}

impl Session {
    fn send(&mut self, octets: &[u8]) -> Result<()> {
        self.log
            .push(format!("C: {}", octets.escape_ascii().to_string().chars().take(300).collect::<String>()));
        match &mut self.stream {
            Link::Tcp(s) => std::io::Write::write_all(s, octets)?,
            Link::Other(s) => {
                s.write_all(octets)?;
                s.flush()?;
            }
            Link::Gone => bail!("the connection is gone"),
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() { Ok(()) } else { self.send(pending.as_bytes()) }
    }

    /// One reply, its lines divided by LF; empty at the end of the connection.
    fn reply(&mut self) -> Result<String> {
        let mut reply = String::new();
        loop {
            let Some(end) = memchr::memchr(b'\n', &self.input) else {
                let mut buffer = [0; 4096];
                let n = match &mut self.stream {
                    Link::Tcp(s) => std::io::Read::read(s, &mut buffer),
                    Link::Other(s) => s.read(&mut buffer),
                    Link::Gone => Ok(0),
                };
                let n = match n {
                    Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => 0,
                    other => other.context("waiting for a reply")?,
                };
                if n == 0 {
                    return Ok(String::new());
                }
                self.input.extend_from_slice(&buffer[..n]);
                continue;
            };
            let line: Vec<u8> = self.input.drain(..=end).collect();
            anyhow::ensure!(
                line.ends_with(b"\r\n") && line.len() <= 512,
                "no line of a reply: {}",
                line.escape_ascii()
            );
            let line = String::from_utf8(line)?.trim_end().to_owned();
            self.log.push(format!("S: {line}"));
            let last = line.as_bytes().get(3) != Some(&b'-');
            if !reply.is_empty() {
                reply.push('\n');
            }
            reply.push_str(&line);
            if last {
                return Ok(reply);
            }
        }
    }

    fn expect(&mut self, pattern: &str) -> Result<()> {
        let reply = self.reply()?;
        if pattern == "closed" {
            anyhow::ensure!(reply.is_empty(), "the end of the connection was expected");
            return Ok(());
        }
        anyhow::ensure!(!reply.is_empty(), "{pattern} was expected, and the connection was closed");
        let mut words = pattern.split(' ').peekable();
        let code = words.next().unwrap_or_default();
        anyhow::ensure!(reply.starts_with(code), "{pattern} was expected");
        let starts = |word: &str| {
            reply.lines().any(|l| {
                let text = l.get(4..).unwrap_or_default();
                match word.strip_suffix("=*") {
                    Some(word) => text.strip_prefix(word).is_some_and(|r| r.starts_with([' ', '='])),
                    None => text == word || text.strip_prefix(word).is_some_and(|r| r.starts_with(' ')),
                }
            })
        };
        for word in words {
            let fits = if let Some(not) = word.strip_prefix('!') {
                !starts(not)
            } else if let Some(text) = word.strip_prefix('~') {
                reply.contains(&text.replace('_', " "))
            } else {
                starts(word)
            };
            anyhow::ensure!(fits, "{word} of {pattern} was expected");
        }
        Ok(())
    }
}

fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&b, behind)) = rest.split_first() {
        rest = behind;
        if b != b'\\' {
            out.push(b);
            continue;
        }
        let (&b, behind) = rest.split_first().context("an escape")?;
        rest = behind;
        out.push(match b {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let hex = std::str::from_utf8(rest.get(..2).context("two digits")?)?;
                rest = &rest[2..];
                u8::from_str_radix(hex, 16)?
            }
            _ => bail!("an unknown escape"),
        });
    }
    Ok(out)
}
