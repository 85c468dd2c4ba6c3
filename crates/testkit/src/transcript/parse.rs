//! From the text of a transcript to its steps.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;

/// A parsed transcript.
#[derive(Debug, Default)]
pub struct Transcript {
    /// File name without its end.
    pub name: String,
    /// The first comment.
    pub subject: String,
    /// What it cites.
    pub rfc: String,
    /// Capabilities without which it cannot run.
    pub needs: Vec<String>,
    /// The fixture that fills INBOX.
    pub fixture: Option<String>,
    /// Is the login left to the transcript?
    pub by_hand: ByHand,
    /// Settings of POP3 that the server must have, by Dovecot's names without `pop3_`.
    pub settings: Vec<(String, String)>,
    /// Must untagged responses come in the written order?
    pub ordered: bool,
    /// Are sessions in TLS from the first byte?
    pub tls: bool,
    /// Why Dovecot is not held to it: `differs, because ...` or `not run, ...`.
    pub dovecot: Option<String>,
    /// What happens.
    pub steps: Vec<Step>,
}

/// What the transcript itself does at the start of each session.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ByHand {
    /// Nothing: sessions are logged in, and INBOX is selected when there is a box.
    #[default]
    Nothing,
    /// SELECT.
    Select,
    /// LOGIN and SELECT.
    Login,
}

/// One step, with the line number of its first line.
#[derive(Debug)]
pub struct Step {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is done.
    pub action: Action,
    /// What must, and must not, come.
    pub expects: Vec<Expect>,
}

/// What a step does.
#[derive(Debug)]
pub enum Action {
    /// Send these lines in one packet and wait for the end of their commands.
    Command {
        /// Number of the session.
        session: u32,
        /// Templates; the last was `C`, those before it `P`.
        lines: Vec<String>,
    },
    /// Send until the expected has come.
    Until {
        /// Number of the session.
        session: u32,
        /// Template.
        line: String,
    },
    /// Send bytes.
    Raw {
        /// Number of the session.
        session: u32,
        /// Template with escapes.
        bytes: String,
    },
    /// Only listen.
    Listen {
        /// Number of the session.
        session: u32,
    },
    /// Another program works on the Maildir.
    Act(String),
}

impl Action {
    /// The session concerned.
    pub fn session(&self) -> Option<u32> {
        match self {
            Action::Command { session, .. }
            | Action::Until { session, .. }
            | Action::Raw { session, .. }
            | Action::Listen { session } => Some(*session),
            Action::Act(_) => None,
        }
    }
}

/// An `S` or `N` line.
#[derive(Debug)]
pub struct Expect {
    /// Line in the file, from 1.
    pub line: usize,
    /// What it says.
    pub text: String,
    /// `N`?
    pub never: bool,
}

/// Reads one file.
///
/// # Errors
/// With file and line.
pub fn load(path: &Path) -> Result<Transcript> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let mut t = parse(&text).with_context(|| path.display().to_string())?;
    t.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(t)
}

fn parse(text: &str) -> Result<Transcript> {
    let mut t = Transcript::default();
    let mut piped: Vec<String> = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    let mut i = 0;
    while i < lines.len() {
        let number = i + 1;
        let at = || format!("line {number}");
        let mut line = lines[i].trim_end().to_owned();
        i += 1;
        if let Some(comment) = line.strip_prefix('#') {
            if t.subject.is_empty() {
                t.subject = comment.trim().to_owned();
            }
            continue;
        }
        if line.trim().is_empty() {
            continue;
        }
        // A literal of several lines.
        while opens_block(&line) {
            line.push_str(&block(&lines, &mut i).with_context(at)?);
        }
        let Some((who, rest)) = line.split_once(':') else {
            bail!("line {number}: neither a step nor a comment")
        };
        let rest = rest.strip_prefix(' ').unwrap_or(rest).to_owned();
        let (letter, digits) = who.split_at(who.len().min(1));
        let session: Option<u32> = digits.parse().ok();
        match (letter, session) {
            ("C", Some(session)) => {
                let mut all = std::mem::take(&mut piped);
                all.push(rest);
                t.steps.push(Step {
                    line: number,
                    action: Action::Command { session, lines: all },
                    expects: vec![],
                });
            }
            ("P", Some(_)) => piped.push(rest),
            ("U", Some(session)) => {
                t.steps.push(Step {
                    line: number,
                    action: Action::Until { session, line: rest },
                    expects: vec![],
                });
            }
            ("R", Some(session)) => {
                t.steps.push(Step {
                    line: number,
                    action: Action::Raw { session, bytes: rest },
                    expects: vec![],
                });
            }
            ("S", Some(session)) => {
                if t.steps.last().and_then(|s| s.action.session()) != Some(session) {
                    t.steps.push(Step { line: number, action: Action::Listen { session }, expects: vec![] });
                }
                let step = t.steps.last_mut().expect("pushed above");
                step.expects.push(Expect { line: number, text: rest, never: false });
            }
            ("N", Some(session)) => {
                let step = t.steps.iter_mut().rev().find(|s| s.action.session() == Some(session));
                let step =
                    step.with_context(|| format!("line {number}: N before any step of this session"))?;
                step.expects.push(Expect { line: number, text: rest, never: true });
            }
            ("X", None) if digits.is_empty() => {
                t.steps.push(Step { line: number, action: Action::Act(rest), expects: vec![] });
            }
            _ => header(&mut t, &line).with_context(at)?,
        }
    }
    if t.subject.is_empty() || t.rfc.is_empty() {
        bail!("a transcript begins with a comment that says its subject, and `rfc:`");
    }
    Ok(t)
}

fn opens_block(line: &str) -> bool {
    ["{{", "{{+", "{{~", "{{~+"].iter().any(|end| line.ends_with(end))
}

/// The lines of a block up to and with its `}}` line.
fn block(lines: &[&str], i: &mut usize) -> Result<String> {
    let mut out = String::new();
    loop {
        let line = lines.get(*i).context("a literal without its }} line")?;
        *i += 1;
        if line.starts_with("}}") {
            out.push_str(line.trim_end());
            return Ok(out);
        }
        out.push_str(line.strip_prefix("  ").unwrap_or(line));
        out.push_str("\r\n");
    }
}

fn header(t: &mut Transcript, line: &str) -> Result<()> {
    if let Some(why) = line.strip_prefix("dovecot:") {
        let why = why.trim();
        if !why.starts_with("differs, because ") && !why.starts_with("not run, ") {
            bail!("dovecot: `differs, because ...` or `not run, ...`");
        }
        t.dovecot = Some(why.to_owned());
        return Ok(());
    }
    for field in line.split("  ").map(str::trim).filter(|f| !f.is_empty()) {
        let (name, value) = field.split_once(':').with_context(|| format!("no `name: value`: {field}"))?;
        let value = value.trim();
        match (name, value) {
            ("rfc", v) => t.rfc = v.to_owned(),
            ("needs", v) => t.needs = v.split_whitespace().map(str::to_owned).collect(),
            ("settings", v) => {
                let pairs = v.split_whitespace().map(|pair| pair.split_once('=').context("NAME=VALUE"));
                t.settings =
                    pairs.map(|p| p.map(|(n, v)| (n.to_owned(), v.to_owned()))).collect::<Result<_>>()?;
            }
            ("box", v) => t.fixture = Some(v.to_owned()),
            ("login", "no") => t.by_hand = ByHand::Login,
            ("select", "no") => t.by_hand = t.by_hand.max(ByHand::Select),
            ("untagged", "ordered") => t.ordered = true,
            ("tls", "yes") => t.tls = true,
            _ => bail!("unknown: {field}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps() {
        let t = parse(
            "# Subject.\nrfc: 1 §2   needs: A B   box: x.mbox\ndovecot: differs, because x\n\nC1: a NOOP\nS1: * 1 EXISTS\n\
             S2: * 2 EXISTS\nP1: b NOOP\nC1: c APPEND x {{\n  A: b\n\n  c\n}} {{x}}\nN2: EXPUNGE\nX: delete q\n",
        )
        .unwrap();
        assert_eq!((t.subject.as_str(), t.needs.len(), t.steps.len()), ("Subject.", 2, 4));
        assert!(matches!(&t.steps[2].action, Action::Command { lines, .. }
            if lines == &["b NOOP", "c APPEND x {{A: b\r\n\r\nc\r\n}} {{x}}"]));
        assert_eq!(t.steps[1].expects.len(), 2);
        assert!(parse("# x\nrfc: 1\nwhat\n").is_err());
    }
}
