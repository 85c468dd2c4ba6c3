//! Runs a transcript against a server.

use super::actor;
use super::expand::{self, Vars};
use super::parse::{Action, ByHand, Expect, Step, Transcript, load};
use super::pattern::{self, Pattern};
use crate::Trust;
use crate::client::Client;
use crate::mail;
use crate::peer::{Account, Peer};
use crate::value::{Kind, Response, Value, parse_response};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// How a transcript went.
#[derive(Debug)]
pub enum Outcome {
    /// As it says.
    Passed,
    /// Not run, and why. This is not a pass.
    NotRun(String),
    /// It differs, as the transcript says that this server does.
    Differs(String),
    /// Why it failed.
    Failed(String),
}

/// How long to wait for what must come.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same where it is expected not to come.
const SHORT: Duration = Duration::from_secs(2);

/// Runs one transcript in a fresh account of `peer`.
pub fn run(transcript: &Transcript, peer: &dyn Peer) -> Outcome {
    let excuse = if peer.name() == "dovecot" { transcript.dovecot.as_deref() } else { None };
    if let Some(why) = excuse.filter(|e| e.starts_with("not run")) {
        return Outcome::NotRun(why.trim_start_matches("not run, ").to_owned());
    }
    if transcript.tls && peer.imaps().is_none() {
        return Outcome::NotRun("the peer is started without TLS".to_owned());
    }
    let account = peer.fresh_account();
    let patience = if excuse.is_some() { SHORT } else { PATIENCE };
    let mut runner = Runner {
        transcript,
        peer,
        sessions: BTreeMap::new(),
        vars: names(&account),
        account,
        patience,
        step_answers: Vec::new(),
    };
    let result = runner.whole();
    match (result, excuse) {
        (Err(why), _) if why.downcast_ref::<Lacks>().is_some() => match peer.name() {
            "dovecot" => Outcome::NotRun(why.to_string()),
            _ => Outcome::Failed(why.to_string()),
        },
        (Err(why), Some(excuse)) => Outcome::Differs(format!("{excuse} [{}]", first_line(&why))),
        (Ok(()), Some(_)) => Outcome::Failed("it says that this server differs, but it passes".to_owned()),
        (Ok(()), None) => Outcome::Passed,
        (Err(why), None) => Outcome::Failed(format!("{why:#}{}", runner.logs())),
    }
}

fn first_line(why: &anyhow::Error) -> String {
    why.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Runs all transcripts of a folder whose name holds `filter`, a few at a time. Gives name and outcome, in the order of
/// names.
///
/// # Errors
/// When a file is no transcript.
pub fn run_all(folder: &Path, filter: &str, peer: &dyn Peer) -> Result<Vec<(String, Outcome)>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| p.extension().is_some_and(|e| e == "txt"))
        .filter(|p| p.file_stem().is_some_and(|s| s.to_string_lossy().contains(filter)))
        .collect();
    paths.sort();
    let transcripts = paths.iter().map(|p| load(p)).collect::<Result<Vec<_>>>()?;
    let next = std::sync::atomic::AtomicUsize::new(0);
    let results = parking_lot::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(transcript) = transcripts.get(i) else { return };
                    let outcome = run(transcript, peer);
                    results.lock().push((transcript.name.clone(), outcome));
                }
            });
        }
    });
    let mut results = results.into_inner();
    results.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(results)
}

/// The peer lacks a capability.
#[derive(Debug)]
struct Lacks(String);

impl std::fmt::Display for Lacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "lacks {}", self.0)
    }
}

impl std::error::Error for Lacks {}

fn names(account: &Account) -> Vars {
    let (local, domain) = account.user.split_once('@').unwrap_or((&account.user, ""));
    [("user", account.user.as_str()), ("password", &account.password), ("local", local), ("domain", domain)]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .chain([("upper".to_owned(), account.user.to_uppercase())])
        .collect()
}

struct Session {
    client: Client,
    /// Commands whose end has not come.
    open: Vec<String>,
    /// What was said, for the report.
    log: Vec<String>,
    closed: bool,
}

/// An answer: as it came, and as it is understood.
#[derive(Clone)]
struct Answer {
    raw: String,
    response: Response,
    used: bool,
}

struct Runner<'a> {
    transcript: &'a Transcript,
    peer: &'a dyn Peer,
    account: Account,
    sessions: BTreeMap<u32, Session>,
    vars: Vars,
    patience: Duration,
    step_answers: Vec<Answer>,
}

impl Runner<'_> {
    fn whole(&mut self) -> Result<()> {
        self.needs()?;
        if let Some(fixture) = &self.transcript.fixture {
            let mut client = self.peer.log_in(&self.account)?;
            for message in mail::fixture(fixture)? {
                let reply = client.append("INBOX", &format!("\"{}\" ", message.date), &message.bytes)?;
                if reply.kind != Kind::Ok {
                    bail!("filling the box: {:?} {}", reply.kind, reply.text);
                }
            }
            client.ok("LOGOUT")?;
        }
        // All sessions are there from the start, to watch what the others do.
        for step in &self.transcript.steps {
            if let Some(number) = step.action.session() {
                self.session(number)?;
            }
        }
        for step in &self.transcript.steps {
            self.step(step).with_context(|| format!("line {}", step.line))?;
        }
        Ok(())
    }

    fn needs(&mut self) -> Result<()> {
        if self.transcript.needs.is_empty() {
            return Ok(());
        }
        // Some are shown before login only, others after it.
        let mut client = Client::connect(self.peer.imap())?;
        let mut have = HashSet::new();
        for login in [false, true] {
            if login {
                client.login(&self.account.user, &self.account.password)?;
            }
            let reply = client.ok("CAPABILITY")?;
            have.extend(reply.data("CAPABILITY").flatten().map(|v| v.text().to_ascii_uppercase()));
        }
        let lacks: Vec<&str> = self
            .transcript
            .needs
            .iter()
            .map(String::as_str)
            .filter(|n| !have.iter().any(|h| h.eq_ignore_ascii_case(n) || h.split('=').next() == Some(n)))
            .collect();
        if lacks.is_empty() { Ok(()) } else { Err(Lacks(lacks.join(" ")).into()) }
    }

    /// The session of this number, begun when it is first needed.
    fn session(&mut self, number: u32) -> Result<&mut Session> {
        if !self.sessions.contains_key(&number) {
            let mut client = match self.peer.imaps() {
                Some(addr) if self.transcript.tls => Client::connect_tls(addr, "localhost", &Trust::Anybody)?,
                _ => Client::connect(self.peer.imap())?,
            };
            client.set_patience(self.patience)?;
            let mut session = Session { open: Vec::new(), log: Vec::new(), closed: false, client };
            if self.transcript.by_hand < ByHand::Login {
                session.client.login(&self.account.user, &self.account.password)?;
                if self.transcript.by_hand < ByHand::Select && self.transcript.fixture.is_some() {
                    session.client.ok("SELECT INBOX")?;
                }
            }
            self.sessions.insert(number, session);
        }
        self.sessions.get_mut(&number).context("a session")
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        self.step_answers.clear();
        match &step.action {
            Action::Act(what) => return self.act(what),
            Action::Command { session, lines } => {
                let expected = self.command(*session, lines, &step.expects)?;
                self.compare(&step.expects, expected)?;
            }
            Action::Until { session, line } => self.until(*session, line, &step.expects)?,
            Action::Raw { session, bytes } => {
                let bytes = expand::raw(bytes, &self.vars)?;
                let s = self.session(*session)?;
                s.log.push(format!("R: {}", shown(&bytes)));
                // A server which closes while we still send is looked at below.
                let _ = s.client.send(&bytes);
                self.listen(*session, &step.expects)?;
            }
            Action::Listen { session } => self.listen(*session, &step.expects)?,
        }
        self.nevers(&step.expects)
    }

    fn act(&mut self, what: &str) -> Result<()> {
        let (verb, rest) = what.split_once(' ').unwrap_or((what, ""));
        match verb {
            "close" => {
                self.sessions.remove(&rest.trim().parse()?);
                Ok(())
            }
            "tls" => self.session(rest.trim().parse()?)?.client.start_tls("localhost", &Trust::Anybody),
            _ => actor::act(what, self.peer, &self.account),
        }
    }

    /// Sends, and reads to the end of the commands. Gives the tagged lines that are implied.
    fn command(&mut self, number: u32, lines: &[String], expects: &[Expect]) -> Result<Vec<String>> {
        let vars = self.vars.clone();
        let continues = !self.session(number)?.open.is_empty();
        let mut packet = Vec::new();
        let mut tags = Vec::new();
        let wants_go_ahead = expects.iter().rfind(|e| !e.never).is_some_and(|e| e.text.starts_with('+'));
        let wants_end = expects.iter().any(|e| e.text == "closed");
        'lines: for line in lines {
            if !continues {
                let tag = line.split(' ').next().unwrap_or_default().to_owned();
                tags.push(tag.clone());
                self.session(number)?.open.push(tag);
            }
            self.session(number)?.log.push(format!("C: {}", shown(line.as_bytes())));
            for piece in expand::line(line, &vars)? {
                packet.extend_from_slice(&piece.bytes);
                if piece.wait {
                    let s = self.session(number)?;
                    s.client.send(&std::mem::take(&mut packet))?;
                    let own = s.open.last().cloned().unwrap_or_default();
                    if self.read_until(number, |s, r| {
                        matches!(r, Response::Continue(_)) || !s.open.contains(&own)
                    })? {
                        // The go-ahead was ours; refused literals end the command.
                        if matches!(self.step_answers.last(), Some(a) if matches!(a.response, Response::Continue(_)))
                        {
                            self.step_answers.pop();
                        } else {
                            break 'lines;
                        }
                    }
                }
            }
            packet.extend_from_slice(b"\r\n");
        }
        if !packet.is_empty() {
            let s = self.session(number)?;
            let sent = s.client.send(&packet);
            if !wants_end {
                sent?;
            }
        }
        if wants_end {
            self.read_until(number, |s, _| s.closed)?;
            return Ok(Vec::new());
        }
        if wants_go_ahead {
            self.read_until(number, |s, r| matches!(r, Response::Continue(_)) || s.open.is_empty())?;
            return Ok(Vec::new());
        }
        let open = if continues { self.session(number)?.open.clone() } else { tags };
        if !self.session(number)?.open.is_empty() {
            self.read_until(number, |s, _| s.open.is_empty())?;
        }
        // Ends that the transcript does not name are OK.
        let named = |tag: &str| expects.iter().any(|e| !e.never && e.text.split(' ').next() == Some(tag));
        Ok(open.into_iter().filter(|t| !named(t)).map(|t| format!("{t} OK")).collect())
    }

    /// Reads until `enough` says so; false when the connection ended before.
    fn read_until(
        &mut self,
        number: u32,
        mut enough: impl FnMut(&Session, &Response) -> bool,
    ) -> Result<bool> {
        loop {
            let answer = {
                let s = self.sessions.get_mut(&number).context("a session")?;
                read(s)?
            };
            let s = self.sessions.get_mut(&number).context("a session")?;
            let Some(answer) = answer else {
                s.closed = true;
                s.open.clear();
                let end = Response::Continue(String::new());
                if enough(s, &end) {
                    return Ok(false);
                }
                bail!("the server closed the connection{}", self.answers());
            };
            if let Response::Status { tag, .. } = &answer.response {
                s.open.retain(|t| t != tag);
            }
            self.step_answers.push(answer);
            let s = &self.sessions[&number];
            let last = &self.step_answers.last().context("pushed above")?.response;
            if enough(s, last) {
                return Ok(true);
            }
        }
    }

    /// Every expected line finds its answer.
    fn compare(&mut self, expects: &[Expect], implied: Vec<String>) -> Result<()> {
        let mut floor = 0;
        for expect in expects.iter().filter(|e| !e.never) {
            let pattern =
                pattern::parse(&expect.text, &self.vars).with_context(|| format!("line {}", expect.line))?;
            if matches!(pattern, Pattern::Closed) {
                continue; // seen by the reader
            }
            match self.find(&pattern, floor) {
                Some(at) if self.transcript.ordered => floor = at,
                Some(_) => {}
                None => bail!("line {}: expected {}{}", expect.line, expect.text, self.answers()),
            }
        }
        for text in implied {
            let pattern = pattern::parse(&text, &self.vars)?;
            if self.find(&pattern, 0).is_none() {
                bail!("expected {text}{}", self.answers());
            }
        }
        Ok(())
    }

    /// The first unused answer from `floor` on that the pattern matches; FETCH answers of one message also together.
    fn find(&mut self, pattern: &Pattern, floor: usize) -> Option<usize> {
        for (i, answer) in self.step_answers.iter_mut().enumerate().skip(floor) {
            if !answer.used && pattern.matches(&answer.response, &mut self.vars) {
                answer.used = true;
                return Some(i);
            }
        }
        if let Pattern::Gone(wanted) = pattern {
            return self.gone(wanted);
        }
        let number = pattern.fetch_number()?;
        let mut items: Vec<Value> = Vec::new();
        let mut from = Vec::new();
        for (i, answer) in self.step_answers.iter().enumerate().skip(floor) {
            if let Response::Data(d) = &answer.response
                && let [n, word, Value::List(pairs)] = d.as_slice()
                && !answer.used
                && n.number() == Some(number)
                && word.is("FETCH")
            {
                items.extend(pairs.iter().cloned());
                from.push(i);
            }
        }
        let word = Value::Atom("FETCH".to_owned());
        let together = Response::Data(vec![Value::Atom(number.to_string()), word, Value::List(items)]);
        if from.len() > 1 && pattern.matches(&together, &mut self.vars) {
            for &i in &from {
                self.step_answers[i].used = true;
            }
            return from.last().copied();
        }
        None
    }

    fn gone(&mut self, wanted: &[(u64, u64)]) -> Option<usize> {
        let mut numbers = Vec::new();
        let mut from = Vec::new();
        for (i, answer) in self.step_answers.iter().enumerate() {
            if let Response::Data(d) = &answer.response
                && let [n, word] = d.as_slice()
                && word.is("EXPUNGE")
            {
                numbers.push(n.number()?);
                from.push(i);
            }
        }
        if pattern::numbers_before(&numbers)? != wanted {
            return None;
        }
        for &i in &from {
            self.step_answers[i].used = true;
        }
        from.last().copied()
    }

    fn listen(&mut self, number: u32, expects: &[Expect]) -> Result<()> {
        self.session(number)?;
        loop {
            let before = self.vars.clone();
            let wants_end = expects.iter().any(|e| e.text == "closed");
            let open_end = wants_end && !self.sessions[&number].closed;
            match self.compare(expects, Vec::new()) {
                Ok(()) if !open_end => return Ok(()),
                Ok(()) => {}
                Err(why) if self.sessions[&number].closed => return Err(why),
                Err(_) => {}
            }
            self.vars = before;
            for answer in &mut self.step_answers {
                answer.used = false;
            }
            let s = self.sessions.get_mut(&number).context("a session")?;
            match read(s) {
                Ok(Some(answer)) => {
                    if let Response::Status { tag, .. } = &answer.response {
                        s.open.retain(|t| t != tag);
                    }
                    self.step_answers.push(answer);
                }
                Ok(None) => s.closed = true,
                Err(why) => {
                    let why = format!("{why:#}");
                    self.compare(expects, Vec::new()).context(why)?;
                    bail!("expected the end of the connection{}", self.answers());
                }
            }
        }
    }

    fn until(&mut self, number: u32, line: &str, expects: &[Expect]) -> Result<()> {
        let end = Instant::now() + self.patience;
        loop {
            let before = self.vars.clone();
            self.command(number, &[line.to_owned()], &[])?;
            match self.compare(expects, Vec::new()) {
                Ok(()) => return Ok(()),
                Err(why) if Instant::now() > end => return Err(why),
                Err(_) => {}
            }
            self.vars = before;
            for answer in &mut self.step_answers {
                answer.used = false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn nevers(&mut self, expects: &[Expect]) -> Result<()> {
        for expect in expects.iter().filter(|e| e.never) {
            let bad = if expect.text.starts_with("* ") {
                let pattern = pattern::parse(&expect.text, &self.vars)?;
                let mut vars = self.vars.clone();
                self.step_answers.iter().find(|a| !a.used && pattern.matches(&a.response, &mut vars))
            } else {
                self.step_answers.iter().find(|a| !a.used && has_word(&a.raw, &expect.text))
            };
            if let Some(bad) = bad {
                bail!("line {}: must not come: {}: {}", expect.line, expect.text, bad.raw);
            }
        }
        Ok(())
    }

    fn answers(&self) -> String {
        let mut out = String::from("\n  but there came");
        let skipped = self.step_answers.len().saturating_sub(25);
        if skipped > 0 {
            out.push_str(&format!("\n    ({skipped} answers left out)"));
        }
        for answer in &self.step_answers[skipped..] {
            out.push_str(if answer.used { "\n    = " } else { "\n    . " });
            out.push_str(&answer.raw);
        }
        out
    }

    fn logs(&self) -> String {
        let mut out = String::new();
        for (n, s) in &self.sessions {
            out.push_str(&format!("\n  session {n}:"));
            for line in &s.log[s.log.len().saturating_sub(30)..] {
                out.push_str("\n    ");
                out.push_str(line);
            }
        }
        out
    }
}

fn read(s: &mut Session) -> Result<Option<Answer>> {
    let raw = match s.client.read_raw() {
        Ok(raw) => raw,
        // A reset is an end as well: the server did not read all that we sent.
        Err(why) if is_reset(&why) => Vec::new(),
        Err(why) => return Err(why),
    };
    if raw.is_empty() {
        s.log.push("S: (closed)".to_owned());
        return Ok(None);
    }
    let text = shown(raw.strip_suffix(b"\r\n").unwrap_or(&raw));
    s.log.push(format!("S: {text}"));
    let response = parse_response(&raw).with_context(|| format!("not a response: {text}"))?;
    Ok(Some(Answer { raw: text, response, used: false }))
}

fn is_reset(why: &anyhow::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    why.chain()
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .any(|e| [BrokenPipe, ConnectionReset].contains(&e.kind()))
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\\r\\n");
    match text.char_indices().nth(600) {
        Some((end, _)) => format!("{}... ({} octets)", &text[..end], bytes.len()),
        None => text,
    }
}

/// Does `word` stand in `text`, by itself, in any case?
fn has_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.to_ascii_uppercase(), word.to_ascii_uppercase());
    let inner = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.match_indices(&word).any(|(i, _)| {
        let runs_on_before = inner(text[..i].chars().next_back()) && inner(word.chars().next());
        let runs_on_behind = inner(text[i + word.len()..].chars().next()) && inner(word.chars().next_back());
        !runs_on_before && !runs_on_behind
    })
}
