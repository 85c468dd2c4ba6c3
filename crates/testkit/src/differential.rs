//! The same questions to two servers on copies of one Maildir, and their answers compared by meaning.
//!
//! What the RFCs leave free is not a difference: order of items, quoted or literal, case of MIME words, zone of a date,
//! `\Recent`, one language as a string or a list. Every difference must be in `tests/differential/accepted.toml` with a
//! reason and the RFC that says so; entries that nothing uses are errors too.

use crate::client::{Client, Reply};
use crate::mail::tests_dir;
use crate::peer::{Account, Peer};
use crate::value::{Kind, Response, Value};
use anyhow::{Context, Result, bail};
use culver_imapc::compare::{canonical, first_difference};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// Two answers that differ.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The question, or the FETCH item: `ENVELOPE`.
    pub item: String,
    /// The message's file, if it is about one.
    pub file: String,
    /// Where in the value: `/3/0`.
    pub path: String,
    /// What the first server says.
    pub ours: String,
    /// What the second server says.
    pub theirs: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {}\n  culver:  {}\n  dovecot: {}",
            self.item, self.file, self.path, self.ours, self.theirs
        )
    }
}

/// Two servers, ours and theirs.
pub struct Pair<'a> {
    ours: Side<'a>,
    theirs: Side<'a>,
    selected: Option<String>,
    /// What differed so far.
    pub differences: Vec<Difference>,
    /// How many values were compared.
    pub compared: usize,
    /// Questions on which the peer ended the session: they prove nothing.
    pub peer_ended: Vec<String>,
}

struct Side<'a> {
    peer: &'a dyn Peer,
    account: Account,
    client: Client,
}

impl Side<'_> {
    /// The answer, or why there is none; then the session is opened anew.
    fn ask(&mut self, parts: &[&[u8]], selected: Option<&str>) -> Result<Result<Reply, String>> {
        match self.client.command_with(parts) {
            Ok(reply) => Ok(Ok(reply)),
            Err(why) => {
                self.client = self.peer.log_in(&self.account)?;
                if let Some(mailbox) = selected {
                    self.client.ok(&format!("SELECT {mailbox}"))?;
                }
                Ok(Err(format!("{why:#}")))
            }
        }
    }
}

/// FETCH items by UID.
type Items = BTreeMap<u64, BTreeMap<String, Value>>;

impl<'a> Pair<'a> {
    /// Logs in at both.
    ///
    /// # Errors
    /// When one refuses.
    pub fn new(ours: (&'a dyn Peer, Account), theirs: (&'a dyn Peer, Account)) -> Result<Pair<'a>> {
        let side = |(peer, account): (&'a dyn Peer, Account)| -> Result<Side<'a>> {
            Ok(Side { peer, client: peer.log_in(&account)?, account })
        };
        Ok(Pair {
            ours: side(ours)?,
            theirs: side(theirs)?,
            selected: None,
            differences: Vec::new(),
            compared: 0,
            peer_ended: Vec::new(),
        })
    }

    /// `None` when there is nothing to compare, because one of them ended the session.
    fn both(&mut self, parts: &[&[u8]]) -> Result<Option<(Reply, Reply)>> {
        let ours = self.ours.ask(parts, self.selected.as_deref())?;
        let theirs = self.theirs.ask(parts, self.selected.as_deref())?;
        let name = String::from_utf8_lossy(&parts.concat()).into_owned();
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => Ok(Some((ours, theirs))),
            (Ok(_), Err(why)) => {
                self.peer_ended.push(format!("{name}: {why}"));
                Ok(None)
            }
            (Err(why), _) => {
                self.differ(&name, "", "", why, "?".to_owned());
                Ok(None)
            }
        }
    }

    fn differ(&mut self, item: &str, file: &str, path: &str, ours: String, theirs: String) {
        let cut = |s: String| {
            if s.len() > 500 { format!("{}...", s.chars().take(500).collect::<String>()) } else { s }
        };
        self.differences.push(Difference {
            item: item.to_owned(),
            file: file.to_owned(),
            path: path.to_owned(),
            ours: cut(ours),
            theirs: cut(theirs),
        });
    }

    /// SELECT in both; compares what does not depend on the session.
    ///
    /// # Errors
    /// When one refuses, or is gone.
    pub fn select(&mut self, mailbox: &str) -> Result<()> {
        let command = format!("SELECT {mailbox}");
        self.selected = None;
        let (ours, theirs) = self.both(&[command.as_bytes()])?.context("SELECT")?;
        self.selected = Some(mailbox.to_owned());
        if theirs.kind != Kind::Ok {
            bail!("dovecot refuses {command}: {}", theirs.text);
        }
        let facts = |reply: &Reply| {
            let mut out = BTreeMap::new();
            for response in &reply.untagged {
                match response {
                    Response::Data(v) if v.get(1).is_some_and(|w| w.is("EXISTS")) => {
                        out.insert("EXISTS".to_owned(), v[0].to_string());
                    }
                    Response::Status { code, .. }
                        if code.first().is_some_and(|c| c.is("UIDNEXT") || c.is("UIDVALIDITY")) =>
                    {
                        out.insert(
                            code[0].to_string(),
                            code.get(1).map(Value::to_string).unwrap_or_default(),
                        );
                    }
                    _ => {}
                }
            }
            out
        };
        let (a, b) = (facts(&ours), facts(&theirs));
        self.compared += 1;
        if a != b || ours.kind != Kind::Ok {
            self.differ(&command, "", "", format!("{:?} {a:?}", ours.kind), format!("{b:?}"));
        }
        Ok(())
    }

    /// UID FETCH in both, compared item by item. Gives the second server's answer.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn fetch(&mut self, uids: &str, items: &str, files: &[PathBuf]) -> Result<Items> {
        let command = format!("UID FETCH {uids} ({items})");
        let Some((ours, theirs)) = self.both(&[command.as_bytes()])? else { return Ok(Items::new()) };
        if ours.kind != theirs.kind {
            self.differ(
                &command,
                "",
                "kind",
                format!("{:?} {}", ours.kind, ours.text),
                format!("{:?} {}", theirs.kind, theirs.text),
            );
        }
        // What one refuses as a whole is one difference.
        let same_end = ours.kind == theirs.kind;
        let (ours, theirs) = (items_of(&ours), items_of(&theirs));
        for (uid, items) in &theirs {
            let file = usize::try_from(*uid - 1)
                .ok()
                .and_then(|i| files.get(i))
                .map(|p| short(p))
                .unwrap_or_default();
            let Some(have) = ours.get(uid) else {
                self.differ(&command, &file, "", "no answer".to_owned(), "an answer".to_owned());
                continue;
            };
            for (name, value) in items {
                self.compared += 1;
                let Some(mine) = have.get(name) else {
                    self.differ(name, &file, "", "missing".to_owned(), value.to_string());
                    continue;
                };
                let value = &binary_size(name, value, items, have);
                let (mine, value) = (canonical(name, mine), canonical(name, value));
                if let Some((path, mine, value)) = first_difference(&mine, &value) {
                    self.differ(name, &file, &path, mine, value);
                }
            }
            for name in have.keys().filter(|n| same_end && !items.contains_key(*n)) {
                self.differ(name, &file, "", "an answer".to_owned(), "missing".to_owned());
            }
        }
        for uid in ours.keys().filter(|u| same_end && !theirs.contains_key(u)) {
            self.differ(&command, &uid.to_string(), "", "an answer".to_owned(), "no answer".to_owned());
        }
        Ok(theirs)
    }

    /// SEARCH in both; the numbers are compared as a set. `parts` as in [`Client::command_with`].
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn search(&mut self, parts: &[&[u8]], files: &[PathBuf]) -> Result<()> {
        let Some((ours, theirs)) = self.both(parts)? else { return Ok(()) };
        let name = String::from_utf8_lossy(&parts.concat()).into_owned();
        let numbers = |reply: &Reply| {
            let mut n: Vec<u64> =
                reply.data("SEARCH").flat_map(|v| v[1..].iter().filter_map(Value::number)).collect();
            n.sort_unstable();
            n
        };
        let (a, b) = (numbers(&ours), numbers(&theirs));
        self.compared += 1;
        if ours.kind != theirs.kind {
            self.differ(
                &name,
                "",
                "kind",
                format!("{:?} {}", ours.kind, ours.text),
                format!("{:?} {}", theirs.kind, theirs.text),
            );
        }
        let file = |n: &u64| {
            usize::try_from(*n - 1).ok().and_then(|i| files.get(i)).map(|p| short(p)).unwrap_or_default()
        };
        for n in a.iter().filter(|n| !b.contains(n)) {
            self.differ(&name, &file(n), "", "found".to_owned(), "not found".to_owned());
        }
        for n in b.iter().filter(|n| !a.contains(n)) {
            self.differ(&name, &file(n), "", "not found".to_owned(), "found".to_owned());
        }
        Ok(())
    }

    /// SORT in both: the messages that have to be moved to get from one order to the other differ.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn sort(&mut self, command: &str, files: &[PathBuf]) -> Result<()> {
        let Some((ours, theirs)) = self.both(&[command.as_bytes()])? else { return Ok(()) };
        let numbers = |reply: &Reply| {
            reply.data("SORT").flat_map(|v| v[1..].iter().filter_map(Value::number)).collect::<Vec<u64>>()
        };
        let (a, b) = (numbers(&ours), numbers(&theirs));
        self.compared += 1;
        let place: BTreeMap<u64, usize> = b.iter().enumerate().map(|(i, n)| (*n, i)).collect();
        // The longest part of ours that is in their order stays; the others were moved.
        let mut ends: Vec<(usize, usize)> = Vec::new();
        let mut before: Vec<Option<usize>> = Vec::new();
        for (i, n) in a.iter().enumerate() {
            let at = place.get(n).copied().unwrap_or(usize::MAX);
            let len = ends.partition_point(|(end, _)| *end < at);
            before.push(len.checked_sub(1).map(|l| ends[l].1));
            match ends.get_mut(len) {
                Some(end) => *end = (at, i),
                None => ends.push((at, i)),
            }
        }
        let mut stays = BTreeSet::new();
        let mut at = ends.last().map(|(_, i)| *i);
        while let Some(i) = at {
            stays.insert(a[i]);
            at = before[i];
        }
        for n in b.iter().filter(|n| !stays.contains(n)) {
            let file = file_of(*n, files);
            let of = |list: &[u64]| format!("at {:?}", list.iter().position(|x| x == n));
            self.differ(command, &file, "", of(&a), of(&b));
        }
        if a.len() != b.len() {
            self.differ(command, "", "length", a.len().to_string(), b.len().to_string());
        }
        Ok(())
    }

    /// THREAD in both: the threads, and their order.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn thread(&mut self, command: &str, files: &[PathBuf]) -> Result<()> {
        let Some((ours, theirs)) = self.both(&[command.as_bytes()])? else { return Ok(()) };
        let threads = |reply: &Reply| {
            reply.data("THREAD").flat_map(|v| v[1..].iter().map(Value::to_string)).collect::<Vec<_>>()
        };
        let (a, b) = (threads(&ours), threads(&theirs));
        self.compared += b.len();
        let file = |thread: &str| {
            let digits: String =
                thread.trim_start_matches('(').chars().take_while(char::is_ascii_digit).collect();
            digits.parse().map_or_else(|_| String::new(), |n| file_of(n, files))
        };
        let same_threads = a.iter().collect::<BTreeSet<_>>() == b.iter().collect::<BTreeSet<_>>();
        for thread in a.iter().filter(|t| !b.contains(t)) {
            self.differ(command, &file(thread), "", thread.clone(), "no such thread".to_owned());
        }
        for thread in b.iter().filter(|t| !a.contains(t)) {
            self.differ(command, &file(thread), "", "no such thread".to_owned(), thread.clone());
        }
        if same_threads && let Some((x, y)) = a.iter().zip(&b).find(|(x, y)| x != y) {
            self.differ(command, &file(x), "order", x.clone(), y.clone());
        }
        Ok(())
    }

    /// LIST, LSUB or STATUS in both: the rows are compared without order, attributes as sets.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn rows(&mut self, command: &str) -> Result<()> {
        let Some((ours, theirs)) = self.both(&[command.as_bytes()])? else { return Ok(()) };
        if ours.kind != theirs.kind {
            self.differ(command, "", "kind", format!("{:?}", ours.kind), format!("{:?}", theirs.kind));
        }
        let rows = |reply: &Reply| reply.untagged.iter().filter_map(row).collect::<BTreeMap<_, _>>();
        let (a, b) = (rows(&ours), rows(&theirs));
        self.compared += b.len();
        for (name, mine) in &a {
            match b.get(name) {
                None => self.differ(command, name, "", mine.join(" "), "no such row".to_owned()),
                Some(yours) if !same_row(mine, yours) => {
                    self.differ(command, name, "", mine.join(" "), yours.join(" "))
                }
                Some(_) => {}
            }
        }
        for (name, yours) in b.iter().filter(|(n, _)| !a.contains_key(*n)) {
            self.differ(command, name, "", "no such row".to_owned(), yours.join(" "));
        }
        Ok(())
    }
}

fn file_of(n: u64, files: &[PathBuf]) -> String {
    let index = usize::try_from(n).ok().and_then(|n| n.checked_sub(1));
    index.and_then(|i| files.get(i)).map(|p| short(p)).unwrap_or_default()
}

/// The same attributes? Children (RFC 5258 §4) and special uses (RFC 6154 §5.2) may be left unsaid where they were not asked for,
/// and \NonExistent implies \NoSelect (RFC 9051 §7.3.1).
fn same_row(a: &[String], b: &[String]) -> bool {
    const USES: [&str; 7] = ["\\all", "\\archive", "\\drafts", "\\flagged", "\\junk", "\\sent", "\\trash"];
    let child = |w: &String| w.starts_with("\\has");
    let special = |w: &String| USES.contains(&w.as_str());
    let (children, uses) =
        (a.iter().any(child) && b.iter().any(child), a.iter().any(special) && b.iter().any(special));
    let plain = |row: &[String]| {
        let kept = row.iter().filter(|w| (children || !child(w)) && (uses || !special(w)));
        let words =
            kept.map(|w| if w == "\\nonexistent" { "\\noselect" } else { w }).collect::<BTreeSet<_>>();
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    plain(a) == plain(b)
}

/// A row of LIST, LSUB or STATUS: what it is about, and its words, sorted.
fn row(response: &Response) -> Option<(String, Vec<String>)> {
    let Response::Data(values) = response else { return None };
    let word = values.first()?.atom()?.to_ascii_uppercase();
    let (name, mut words): (String, Vec<String>) = match (word.as_str(), values.as_slice()) {
        ("LIST" | "LSUB", [_, Value::List(attributes), separator, name, ..]) => (
            format!("{} {separator}", name.text()),
            attributes.iter().map(|a| a.text().to_ascii_lowercase()).collect(),
        ),
        ("STATUS", [_, name, Value::List(items)]) => {
            (name.text(), items.chunks(2).map(|p| Value::List(p.to_vec()).to_string()).collect())
        }
        _ => return None,
    };
    words.sort();
    Some((format!("{word} {name}"), words))
}

fn short(path: &Path) -> String {
    let parts: Vec<_> = path.components().rev().take(2).map(|c| c.as_os_str().to_string_lossy()).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}

fn items_of(reply: &Reply) -> Items {
    let mut out = Items::new();
    for (_, items) in reply.fetches() {
        let Some(uid) =
            items.iter().find(|(n, _)| n.eq_ignore_ascii_case("UID")).and_then(|(_, v)| v.number())
        else {
            continue;
        };
        let row = out.entry(uid).or_default();
        for (name, value) in items {
            row.insert(name.to_ascii_uppercase(), value.clone());
        }
    }
    out
}

/// What BINARY.SIZE ought to be. Where the peer's own BINARY is not of the size that it says (Dovecot 2.3.19 counts some lines
/// twice, or below zero), ours is held to our BINARY.
fn binary_size(
    name: &str,
    said: &Value,
    theirs: &BTreeMap<String, Value>,
    ours: &BTreeMap<String, Value>,
) -> Value {
    let Some(part) = name.strip_prefix("BINARY.SIZE") else { return said.clone() };
    let length = |items: &BTreeMap<String, Value>| {
        items.get(&format!("BINARY{part}")).and_then(|v| v.bytes().map(|b| b.len().to_string()))
    };
    match (length(theirs), length(ours)) {
        (Some(real), Some(own)) if said.atom() != Some(&real) => Value::Atom(own),
        _ => said.clone(),
    }
}

/// The part numbers in a BODYSTRUCTURE: (number, is it a leaf?, is it message/rfc822?).
pub fn parts(structure: &Value) -> Vec<(String, Part)> {
    let mut out = Vec::new();
    let multipart = structure.list().is_some_and(|l| l.first().is_some_and(|f| f.list().is_some()));
    if multipart {
        children(structure, "", &mut out)
    } else {
        part(structure, "1", &mut out)
    }
    out
}

/// What kind of part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Has parts.
    Multipart,
    /// message/rfc822
    Message,
    /// Anything else.
    Leaf,
}

fn children(structure: &Value, prefix: &str, out: &mut Vec<(String, Part)>) {
    for (i, child) in
        structure.list().unwrap_or_default().iter().take_while(|v| v.list().is_some()).enumerate()
    {
        let number = if prefix.is_empty() { format!("{}", i + 1) } else { format!("{prefix}.{}", i + 1) };
        part(child, &number, out);
    }
}

fn part(structure: &Value, number: &str, out: &mut Vec<(String, Part)>) {
    let Some(list) = structure.list() else { return };
    if list.first().is_some_and(|f| f.list().is_some()) {
        out.push((number.to_owned(), Part::Multipart));
        children(structure, number, out);
        return;
    }
    let word = |i: usize| list.get(i).map(|v: &Value| v.text().to_ascii_lowercase()).unwrap_or_default();
    // With an envelope where a message has one.
    if word(0) == "message"
        && matches!(word(1).as_str(), "rfc822" | "global")
        && list.get(8).is_some_and(|b| b.list().is_some())
    {
        out.push((number.to_owned(), Part::Message));
        let inner = &list[8];
        let multipart = inner.list().is_some_and(|l| l.first().is_some_and(|f| f.list().is_some()));
        if multipart { children(inner, number, out) } else { part(inner, &format!("{number}.1"), out) }
    } else {
        out.push((number.to_owned(), Part::Leaf));
    }
}

/// A row of `accepted.toml`.
#[derive(Debug)]
struct Accepted {
    item: String,
    files: Vec<String>,
    ours: Option<String>,
    theirs: Option<String>,
}

/// Takes away what `tests/differential/accepted.toml` accepts. Gives what is left, and the rows that were not used.
///
/// A row has `reason` and `rfc`, the `item`, and, as narrow as can be, `files` and what `culver` and `dovecot` say; in all of
/// them `*` stands for any stretch.
///
/// # Errors
/// When the file is not as it should be.
pub fn unexplained(differences: Vec<Difference>) -> Result<(Vec<Difference>, Vec<String>)> {
    let path = tests_dir().join("differential/accepted.toml");
    let table: toml::Table =
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())?.parse()?;
    let mut rows = Vec::new();
    for row in table.get("accepted").and_then(|v| v.as_array()).map(Vec::as_slice).unwrap_or_default() {
        let text = |name: &str| row.get(name).and_then(|v| v.as_str()).map(str::to_owned);
        if text("reason").is_none() || text("rfc").is_none() {
            bail!("{}: each row has `reason` and `rfc`", path.display());
        }
        let files = row.get("files").and_then(|v| v.as_array()).map(Vec::as_slice).unwrap_or_default();
        rows.push(Accepted {
            item: text("item").context("each row has `item`")?,
            files: files.iter().filter_map(|f| f.as_str()).map(str::to_owned).collect(),
            ours: text("culver"),
            theirs: text("dovecot"),
        });
    }
    let mut used = vec![false; rows.len()];
    let left = differences
        .into_iter()
        .filter(|d| {
            let row = rows.iter().position(|r| {
                like(&r.item, &d.item)
                    && (r.files.is_empty() || r.files.iter().any(|f| like(f, &d.file)))
                    && r.ours.as_ref().is_none_or(|o| like(o, &d.ours))
                    && r.theirs.as_ref().is_none_or(|t| like(t, &d.theirs))
            });
            if let Some(row) = row {
                used[row] = true;
            }
            row.is_none()
        })
        .collect();
    let unused = rows
        .iter()
        .zip(&used)
        .filter(|(_, u)| !**u)
        .map(|(r, _)| format!("{} {:?}", r.item, r.files))
        .collect();
    Ok((left, unused))
}

/// `*` stands for any stretch.
fn like(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}
