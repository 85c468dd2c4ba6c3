//! Runs a transcript of POP3.
//!
//! They are written as those of IMAP are, with these differences. Sessions are logged in by USER and PASS unless `login: no`;
//! `box:` fills INBOX over IMAP before. `C1:` sends a line (with the `P1:` lines before it in one packet) and what the server
//! says must be the `S1:` lines, in their order and nothing else; without any, `+OK` for each line that was sent. An expected
//! line that begins with `+OK` or `-ERR` names the first words of the server's line, as human text is not compared; any other is
//! the whole line. `?` is any one word, `...` at the end of a line any rest of it, `$x` binds or must be equal, `...` alone is any number of lines. `S1: closed` is the end of
//! the connection. `N1:` is a word that must not come. `X: tls 1` goes on in TLS, `X: close 1` cuts the connection, `X:
//! unseen 1 3` asks IMAP which messages are. `settings:
//! NAME=VALUE` wants a server with these settings, by Dovecot's names without `pop3_`.

use super::parse::{Action, ByHand, Expect, Step, Transcript, load};
use super::run::Outcome;
use super::{actor, expand};
use crate::mail;
use crate::peer::{Account, Peer};
use crate::{Trust, Value};
use anyhow::{Context, Result, bail};
use culver_imapc::pop3::Pop3;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same where it is expected not to come.
const SHORT: Duration = Duration::from_secs(2);

/// The transcripts of a folder whose name holds `filter`.
///
/// # Errors
/// When a file is no transcript.
pub fn load_all(folder: &Path, filter: &str) -> Result<Vec<Transcript>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "txt"))
        .filter(|p| p.file_stem().is_some_and(|s| s.to_string_lossy().contains(filter)))
        .collect();
    paths.sort();
    paths.iter().map(|p| load(p)).collect()
}

/// Runs one transcript in a fresh account of `peer`.
pub fn run(transcript: &Transcript, peer: &dyn Peer) -> Outcome {
    let excuse = if peer.name() == "dovecot" { transcript.dovecot.as_deref() } else { None };
    if let Some(why) = excuse.filter(|e| e.starts_with("not run")) {
        return Outcome::NotRun(why.trim_start_matches("not run, ").to_owned());
    }
    if peer.pop3().is_none() || (transcript.tls && peer.pop3s().is_none()) {
        return Outcome::NotRun("the peer does not listen for that".to_owned());
    }
    let account = peer.fresh_account();
    let (local, domain) = account.user.split_once('@').unwrap_or((&account.user, ""));
    let vars =
        [("user", &*account.user), ("password", &account.password), ("local", local), ("domain", domain)];
    let vars = vars.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let patience = if excuse.is_some() { SHORT } else { PATIENCE };
    let mut runner =
        Runner { transcript, peer, account, sessions: BTreeMap::new(), vars, patience, log: Vec::new() };
    match (runner.whole(), excuse) {
        (Err(why), Some(excuse)) => {
            let why = format!("{why:#}");
            Outcome::Differs(format!("{excuse} [{}]", why.lines().next().unwrap_or_default()))
        }
        (Ok(()), Some(_)) => Outcome::Failed("it says that this server differs, but it passes".to_owned()),
        (Ok(()), None) => Outcome::Passed,
        (Err(why), None) => Outcome::Failed(format!("{why:#}\n    {}", runner.log.join("\n    "))),
    }
}

struct Runner<'a> {
    transcript: &'a Transcript,
    peer: &'a dyn Peer,
    account: Account,
    sessions: BTreeMap<u32, Pop3>,
    vars: expand::Vars,
    patience: Duration,
    log: Vec<String>,
}

impl Runner<'_> {
    fn whole(&mut self) -> Result<()> {
        if let Some(fixture) = &self.transcript.fixture {
            let mut client = self.peer.log_in(&self.account)?;
            for message in mail::fixture(fixture)? {
                client.append("INBOX", &format!("\"{}\" ", message.date), &message.bytes)?;
            }
            client.ok("LOGOUT")?;
        }
        for step in &self.transcript.steps {
            self.step(step).with_context(|| format!("line {}", step.line))?;
        }
        Ok(())
    }

    fn session(&mut self, number: u32) -> Result<&mut Pop3> {
        if !self.sessions.contains_key(&number) {
            let trust = Trust::Anybody;
            let (at, tls) = match (self.transcript.tls, self.peer.pop3s()) {
                (true, Some(at)) => (at, Some(("localhost", &trust))),
                _ => (self.peer.pop3().context("an address")?, None),
            };
            let mut session = Pop3::connect(at, tls)?;
            session.set_patience(self.patience)?;
            self.vars.insert("greeting".to_owned(), session.greeting.clone());
            if let Some(at) = session.greeting.rfind('<') {
                self.vars.insert("timestamp".to_owned(), session.greeting[at..].to_owned());
            }
            if self.transcript.by_hand < ByHand::Login {
                session.login(&self.account.user, &self.account.password)?;
            }
            self.sessions.insert(number, session);
        }
        self.sessions.get_mut(&number).context("a session")
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match &step.action {
            Action::Act(what) => self.act(what),
            Action::Command { session, lines } => {
                let mut packet = Vec::new();
                for line in lines {
                    self.log.push(format!("C{session}: {line}"));
                    for piece in expand::line(line, &self.vars)? {
                        packet.extend_from_slice(&piece.bytes);
                    }
                    packet.extend_from_slice(b"\r\n");
                }
                self.session(*session)?.send(&packet)?;
                self.compare(*session, &step.expects, lines.len())
            }
            Action::Raw { session, bytes } => {
                self.log.push(format!("R{session}: {bytes}"));
                let bytes = expand::raw(bytes, &self.vars)?;
                // A server which closes while we still send is looked at below.
                drop(self.session(*session)?.send(&bytes));
                self.compare(*session, &step.expects, 0)
            }
            Action::Listen { session } => {
                self.session(*session)?;
                self.compare(*session, &step.expects, 0)
            }
            Action::Until { .. } => bail!("U: is not for POP3"),
        }
    }

    fn act(&mut self, what: &str) -> Result<()> {
        let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
        match verb {
            "close" => {
                self.sessions.remove(&rest.trim().parse()?);
                Ok(())
            }
            "unseen" => self.unseen(rest.trim()),
            "tls" => self.session(rest.trim().parse()?)?.start_tls("localhost", &Trust::Anybody),
            _ => actor::act(what, self.peer, &self.account),
        }
    }

    /// Those are the messages that IMAP calls unseen, now or soon: a server may hear later that a session was cut.
    fn unseen(&self, wanted: &str) -> Result<()> {
        let mut client = self.peer.log_in(&self.account)?;
        client.ok("EXAMINE INBOX")?;
        let end = Instant::now() + PATIENCE;
        loop {
            client.ok("NOOP")?;
            let reply = client.ok("SEARCH UNSEEN")?;
            let found = reply.data("SEARCH").next().context("SEARCH")?.to_vec();
            let numbers = found.iter().skip(1).filter_map(Value::number).map(|n| n.to_string());
            let numbers = numbers.collect::<Vec<_>>().join(" ");
            if numbers == wanted {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("unseen are {numbers:?}, not {wanted:?}");
            }
        }
    }

    fn compare(&mut self, number: u32, expects: &[Expect], sent: usize) -> Result<()> {
        let mut wanted: Vec<&str> = expects.iter().filter(|e| !e.never).map(|e| e.text.as_str()).collect();
        if wanted.is_empty() {
            wanted = vec!["+OK"; sent];
        }
        let mut came: Vec<String> = Vec::new();
        let mut at = 0;
        while at < wanted.len() {
            let line = self.read(number)?;
            let Some(line) = line else {
                if wanted[at] == "closed" {
                    break;
                }
                bail!("expected {}, but the server closed the connection", wanted[at]);
            };
            if wanted[at] == "..." {
                let next = wanted.get(at + 1).context("... is never the last")?;
                if self.matches(next, &line) {
                    at += 2;
                } else if line == "." {
                    bail!("expected {next} before the end of the answer");
                }
            } else if self.matches(wanted[at], &line) {
                at += 1;
            } else {
                bail!("expected {}, but there came {line}", wanted[at]);
            }
            came.push(line);
        }
        for never in expects.iter().filter(|e| e.never) {
            if let Some(line) = came.iter().find(|l| l.split(' ').any(|w| w == never.text)) {
                bail!("{} must not come, but there is {line}", never.text);
            }
        }
        Ok(())
    }

    fn read(&mut self, number: u32) -> Result<Option<String>> {
        let line = self.session(number)?.next_line()?;
        let line = line.map(|l| String::from_utf8_lossy(&l).into_owned());
        let shown: String = line.as_deref().unwrap_or("(closed)").chars().take(200).collect();
        self.log.push(format!("S{number}: {shown}"));
        Ok(line)
    }

    /// Binds what matched.
    fn matches(&mut self, wanted: &str, line: &str) -> bool {
        // A challenge without text ends in a blank.
        let line = line.trim_end_matches(' ');
        let is_status = wanted.starts_with("+OK") || wanted.starts_with("-ERR");
        let (mut words, mut there) = (wanted.split(' '), line.split(' '));
        let mut bound = Vec::new();
        loop {
            match (words.next(), there.next()) {
                (None, None) => break,
                (None, Some(_)) if is_status => break,
                (Some("..."), _) => break,
                (Some("?"), Some(_)) => {}
                (Some(word), Some(is)) => {
                    let variable = expand::variable(word).filter(|(_, rest)| rest.is_empty());
                    match variable.map(|(name, _)| (name, self.vars.get(name))) {
                        Some((name, None)) => bound.push((name.to_owned(), is.to_owned())),
                        Some((_, Some(value))) if value == is => {}
                        None if word == is => {}
                        _ => return false,
                    }
                }
                _ => return false,
            }
        }
        self.vars.extend(bound);
        true
    }
}
