//! `culver adopt --verify`: the old server and Culver are asked the same by IMAP, and what differs is told, a line each.
//!
//! Compared are mailboxes, subscriptions, STATUS, and of each message UID, flags, RFC822.SIZE, INTERNALDATE, ENVELOPE and
//! BODYSTRUCTURE, by meaning. HIGHESTMODSEQ must be above the old one. Mailboxes are opened with EXAMINE: nothing is changed.
//!
//! Culver has no POP3 server yet. The old one's UIDL and LIST are compared with what Culver's files say: the identifiers that
//! stand in INBOX's `dovecot-uidlist`, else the template, and RFC822.SIZE.

use super::{Use, Which, report, work};
use crate::parts;
use anyhow::{Context, Result, bail};
use culver_base::UidlFormat;
use culver_imapc::compare::{canonical, first_difference};
use culver_imapc::pop3::Pop3;
use culver_imapc::{Client, Response, Trust, Value};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// UIDs of a batch for ENVELOPE and BODYSTRUCTURE.
const BATCH: usize = 500;
/// Differences of an account that are printed; all are counted.
const MOST_LINES: usize = 200;
/// The first FETCH of an old server may read every message.
const PATIENCE: Duration = Duration::from_secs(300);
/// Certificate authorities on Debian and its kin.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The password, when no file is named.
const PASSWORD: &str = "CULVER_VERIFY_PASSWORD";

/// What belongs to `--verify`.
#[derive(clap::Args)]
pub struct Comparison {
    /// Compares what the old server says with what Culver says. Both must be running; nothing is changed.
    #[arg(long, requires = "server")]
    pub verify: bool,
    /// The old server's IMAP address.
    #[arg(long, value_name = "HOST[:PORT]", requires = "verify")]
    server: Option<String>,
    /// The old server's POP3 address, to compare UIDL.
    #[arg(long, value_name = "HOST[:PORT]", requires = "verify")]
    pop3: Option<String>,
    /// Culver's IMAP address.
    #[arg(long, value_name = "HOST[:PORT]", default_value = "127.0.0.1:143")]
    culver: String,
    /// The password, in the first line of a file; or the environment's CULVER_VERIFY_PASSWORD. Used on both servers.
    #[arg(long, value_name = "FILE", requires = "verify")]
    password_file: Option<PathBuf>,
    /// Passwords of many users: lines of user:password.
    #[arg(long, value_name = "FILE", requires = "verify", conflicts_with = "password_file")]
    passwords: Option<PathBuf>,
    /// A master user of the old server, who logs in there as USER*MASTER.
    #[arg(long, value_name = "MASTER", requires = "master_password_file")]
    master: Option<String>,
    /// The master user's password, in the first line of a file.
    #[arg(long, value_name = "FILE", requires = "master")]
    master_password_file: Option<PathBuf>,
    /// What stands between user and master user (auth_master_user_separator).
    #[arg(long, value_name = "CHAR", default_value_t = '*')]
    master_separator: char,
    /// TLS from the first byte, to both servers (ports 993 and 995 unless said otherwise).
    #[arg(long, requires = "verify")]
    tls: bool,
    /// Takes any certificate.
    #[arg(long, requires = "tls")]
    insecure: bool,
    /// Certificate authorities to trust, PEM.
    #[arg(long, value_name = "FILE", default_value = AUTHORITIES)]
    ca_file: PathBuf,
    /// The prefix of the old server's names, such as INBOX.
    #[arg(long, value_name = "TEXT", default_value = "")]
    prefix: String,
    /// pop3_uidl_format of the old server.
    #[arg(long, value_name = "TEMPLATE", default_value = "%08Xu%08Xv")]
    uidl: String,
}

/// Compares.
pub fn run(arguments: &Comparison, which: &Which, config: &Path, as_json: bool) -> Result<()> {
    let asked = Asked::new(arguments)?;
    let template = UidlFormat::parse(&arguments.uidl);
    let template =
        template.context("--uidl: use %u, %v, %f, %g, %08Xu, or the words of Dovecot 2.4 for these")?;
    // What only the files say is read first, as their owners.
    let accounts = work(config, Use::LookOnly, async |settings, directory| {
        let store = parts::store(settings)?;
        let mut all = Vec::new();
        for (name, account) in which.accounts(directory).await? {
            let mut identifiers = None;
            if arguments.pop3.is_some() {
                let place = culver_imapd::place(&*account?);
                identifiers = Some(store.pop3_identifiers(&place, template.clone()).await);
            }
            all.push((name, identifiers));
        }
        Ok(all)
    })?;
    if accounts.is_empty() {
        bail!("there is no such account in the directories of the configuration");
    }
    let (mut differing, mut total, mut compared) = (0, 0, 0);
    let mut rows = Vec::new();
    for (name, identifiers) in accounts {
        let mut told = Told { name: name.clone(), lines: Vec::new(), count: 0, compared: 0 };
        let done = asked.account(&name, identifiers, &mut told);
        if let Err(e) = done {
            told.differ("cannot be compared", &format!("{e:#}"));
        }
        if !as_json {
            for line in &told.lines {
                println!("{line}");
            }
            if told.count > told.lines.len() {
                println!("{name}: and {} more", told.count - told.lines.len());
            }
        }
        differing += usize::from(told.count > 0);
        total += told.count;
        compared += told.compared;
        rows.push(json!({ "user": name, "compared": told.compared, "differences": told.count, "lines": told.lines }));
    }
    let sum = format!("{compared} values of {} accounts compared, {total} differences", rows.len());
    if as_json {
        println!("{}", json!({ "accounts": rows, "compared": compared, "differences": total }));
    } else {
        println!("{sum}");
        if arguments.pop3.is_some() {
            println!("{}", report::POP3);
        }
    }
    if differing > 0 {
        bail!("{differing} of {} accounts differ", rows.len());
    }
    Ok(())
}

/// POP3 identifiers as Culver's files say, or why they cannot be read.
type Identifiers = culver_store::Result<Vec<(culver_base::Uid, Vec<u8>)>>;

/// What was found of one account.
struct Told {
    name: String,
    lines: Vec<String>,
    count: usize,
    compared: usize,
}

impl Told {
    fn differ(&mut self, what: &str, how: &str) {
        self.count += 1;
        if self.lines.len() < MOST_LINES {
            // Names and texts come from mail: nothing in them may move the cursor.
            let line: String = format!("{}: {what}: {how}", self.name);
            self.lines.push(line.chars().map(|c| if c.is_control() { '?' } else { c }).take(500).collect());
        }
    }

    fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, old: &T, ours: &T) {
        self.compared += 1;
        if old != ours {
            self.differ(what, &format!("old server {old:?}, Culver {ours:?}"));
        }
    }
}

/// Whom to ask, and as whom.
struct Asked<'a> {
    arguments: &'a Comparison,
    old: Server,
    pop3: Option<Server>,
    culver: Server,
    trust: Trust,
    password: Option<String>,
    passwords: HashMap<String, String>,
    master_password: Option<String>,
}

struct Server {
    host: String,
    addr: SocketAddr,
}

impl Server {
    fn find(text: &str, port: u16) -> Result<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, number)) if !host.contains(':') || host.ends_with(']') => {
                (host, number.parse().with_context(|| format!("{text}: the port is no number"))?)
            }
            _ => (text, port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let addr = (host.as_str(), port).to_socket_addrs().with_context(|| host.clone())?.next();
        Ok(Self { addr: addr.with_context(|| format!("{host} has no address"))?, host })
    }
}

#[allow(clippy::disallowed_methods, reason = "the administrator's file, not a user's")]
fn first_line(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[allow(clippy::disallowed_methods, reason = "the administrator's file, not a user's")]
fn pairs(file: &Path) -> Result<HashMap<String, String>> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    Ok(text
        .lines()
        .filter_map(|l| l.split_once(':'))
        .map(|(u, p)| (u.to_lowercase(), p.to_owned()))
        .collect())
}

impl<'a> Asked<'a> {
    fn new(arguments: &'a Comparison) -> Result<Self> {
        let (imap, pop3) = if arguments.tls { (993, 995) } else { (143, 110) };
        let trust = if !arguments.tls || arguments.insecure {
            Trust::Anybody
        } else {
            Trust::in_file(&arguments.ca_file).context("--ca-file (or --insecure)")?
        };
        let server = arguments.server.as_deref().context("--server")?;
        Ok(Self {
            old: Server::find(server, imap)?,
            pop3: arguments.pop3.as_deref().map(|text| Server::find(text, pop3)).transpose()?,
            culver: Server::find(&arguments.culver, imap)?,
            trust,
            password: match &arguments.password_file {
                Some(file) => Some(first_line(file)?),
                None => std::env::var(PASSWORD).ok(),
            },
            passwords: arguments.passwords.as_deref().map(pairs).transpose()?.unwrap_or_default(),
            master_password: arguments.master_password_file.as_deref().map(first_line).transpose()?,
            arguments,
        })
    }

    fn password(&self, name: &str) -> Result<&str> {
        let own = self.passwords.get(name).or(self.password.as_ref());
        own.map(String::as_str).with_context(|| {
            format!("no password of {name}: give --password-file, --passwords, or the variable {PASSWORD}")
        })
    }

    /// How to log in at the old server.
    fn login(&self, name: &str) -> Result<(String, &str)> {
        match (&self.arguments.master, &self.master_password) {
            (Some(master), Some(password)) => {
                Ok((format!("{name}{}{master}", self.arguments.master_separator), password))
            }
            _ => Ok((name.to_owned(), self.password(name)?)),
        }
    }

    fn connect(&self, server: &Server, user: &str, password: &str) -> Result<Client> {
        let mut client = if self.arguments.tls {
            Client::connect_tls(server.addr, &server.host, &self.trust)?
        } else {
            Client::connect(server.addr)?
        };
        client.set_patience(PATIENCE)?;
        client.login(user, password)?;
        Ok(client)
    }

    fn account(&self, name: &str, identifiers: Option<Identifiers>, told: &mut Told) -> Result<()> {
        let (user, password) = self.login(name)?;
        let mut old = self.connect(&self.old, &user, password).context("logging in at the old server")?;
        let own = self.password(name)?;
        let mut ours = self.connect(&self.culver, name, own).context("logging in at Culver")?;
        let theirs = mailboxes(&mut old, "LIST", &self.arguments.prefix)?;
        let mine = mailboxes(&mut ours, "LIST", "")?;
        names(told, "mailbox", &theirs, &mine);
        let subscribed = mailboxes(&mut old, "LSUB", &self.arguments.prefix)?;
        names(told, "subscription", &subscribed, &mailboxes(&mut ours, "LSUB", "")?);
        let mut sizes = HashMap::new();
        for (mailbox, wire) in &theirs {
            let Some(own) = mine.get(mailbox) else { continue };
            let found = compare_mailbox((&mut old, wire), (&mut ours, own), mailbox, told)?;
            if mailbox == "INBOX" {
                sizes = found;
            }
        }
        drop(old.ok("LOGOUT"));
        drop(ours.ok("LOGOUT"));
        if let (Some(server), Some(identifiers)) = (&self.pop3, identifiers) {
            let tls = self.arguments.tls.then_some((server.host.as_str(), &self.trust));
            let mut pop3 = Pop3::connect(server.addr, tls).context("POP3")?;
            pop3.login(&user, password)?;
            let (uidl, list) = (pop3.uidl()?, pop3.list()?);
            pop3.quit();
            let identifiers = identifiers?;
            let mine: Vec<String> =
                identifiers.iter().map(|(_, id)| String::from_utf8_lossy(id).into_owned()).collect();
            told.same("POP3: number of messages", &uidl.len(), &mine.len());
            for (i, (theirs, mine)) in uidl.iter().zip(&mine).enumerate() {
                told.same(&format!("POP3: UIDL of message {}", i + 1), theirs, mine);
            }
            for (i, ((uid, _), size)) in identifiers.iter().zip(&list).enumerate() {
                let mine = sizes.get(&u64::from(uid.get())).copied().unwrap_or_default();
                told.same(&format!("POP3: size of message {}", i + 1), size, &mine);
            }
        }
        Ok(())
    }
}

/// Mailboxes that can be selected, or names that are subscribed: the name with `/` between levels, and as the server writes it.
fn mailboxes(client: &mut Client, command: &str, prefix: &str) -> Result<BTreeMap<String, Value>> {
    let reply = client.ok(&format!("{command} \"\" \"*\""))?;
    let mut all = BTreeMap::new();
    for row in reply.data(command) {
        let [_, Value::List(attributes), separator, wire, ..] = row else { continue };
        if command == "LIST" && attributes.iter().any(|a| a.is("\\Noselect") || a.is("\\NonExistent")) {
            continue;
        }
        let name = wire.text();
        let name = name.strip_prefix(prefix).unwrap_or(&name);
        let name = match separator.text().as_str() {
            "NIL" | "/" => name.to_owned(),
            separator => name.replace(separator, "/"),
        };
        let name = if name.eq_ignore_ascii_case("INBOX") { "INBOX".to_owned() } else { name };
        all.insert(name, wire.clone());
    }
    Ok(all)
}

fn names(told: &mut Told, what: &str, old: &BTreeMap<String, Value>, ours: &BTreeMap<String, Value>) {
    told.compared += old.len();
    for name in old.keys().filter(|name| !ours.contains_key(*name)) {
        told.differ(&format!("{what} {name:?}"), "only the old server has it");
    }
    for name in ours.keys().filter(|name| !old.contains_key(*name)) {
        told.differ(&format!("{what} {name:?}"), "only Culver has it");
    }
}

/// A name as a quoted string or literal in a command.
fn ask(client: &mut Client, before: &str, name: &Value, behind: &str) -> Result<culver_imapc::Reply> {
    let octets = name.bytes().unwrap_or_default();
    let plain = octets.iter().all(|b| matches!(b, b' '..=b'~') && !b"\"\\".contains(b));
    let reply = if plain {
        client.command(&format!("{before} \"{}\"{behind}", name.text()))?
    } else {
        client.command_with(&[format!("{before} ").as_bytes(), octets, behind.as_bytes()])?
    };
    if reply.kind != culver_imapc::Kind::Ok {
        bail!("{before} {}: {:?} {}", name.text(), reply.kind, reply.text);
    }
    Ok(reply)
}

/// Gives back RFC822.SIZE by UID, as Culver has it.
fn compare_mailbox(
    (old, old_name): (&mut Client, &Value),
    (ours, our_name): (&mut Client, &Value),
    mailbox: &str,
    told: &mut Told,
) -> Result<HashMap<u64, u64>> {
    let facts = |client: &mut Client, name: &Value| -> Result<BTreeMap<String, u64>> {
        let reply =
            ask(client, "EXAMINE", name, " (CONDSTORE)").or_else(|_| ask(client, "EXAMINE", name, ""))?;
        let mut facts = BTreeMap::new();
        for response in &reply.untagged {
            match response {
                Response::Data(v) if v.get(1).is_some_and(|w| w.is("EXISTS")) => {
                    facts.insert("EXISTS".to_owned(), v[0].number().unwrap_or_default());
                }
                Response::Status { code, .. } => {
                    let word = code.first().and_then(Value::atom).unwrap_or_default().to_ascii_uppercase();
                    let number = code.get(1).and_then(Value::number);
                    if let ("UIDVALIDITY" | "UIDNEXT" | "HIGHESTMODSEQ", Some(number)) =
                        (word.as_str(), number)
                    {
                        facts.insert(word, number);
                    }
                }
                _ => {}
            }
        }
        Ok(facts)
    };
    let (mut theirs, mut mine) = (facts(old, old_name)?, facts(ours, our_name)?);
    if let (Some(theirs), Some(mine)) = (theirs.remove("HIGHESTMODSEQ"), mine.remove("HIGHESTMODSEQ")) {
        told.compared += 1;
        if mine <= theirs {
            told.differ(
                &format!("{mailbox} HIGHESTMODSEQ"),
                &format!("Culver's {mine} is not above the old {theirs}"),
            );
        }
    }
    let words: BTreeSet<String> = theirs.keys().chain(mine.keys()).cloned().collect();
    for word in words {
        told.same(&format!("{mailbox} {word}"), &theirs.get(&word), &mine.get(&word));
    }
    let mut sizes = HashMap::new();
    if theirs.get("EXISTS") == Some(&0) && mine.get("EXISTS") == Some(&0) {
        return Ok(sizes);
    }
    let light = "FLAGS INTERNALDATE RFC822.SIZE";
    let (a, b) = (fetch(old, "1:*", light)?, fetch(ours, "1:*", light)?);
    compare_items(mailbox, &a, &b, told);
    for (uid, items) in &b {
        sizes.extend(items.get("RFC822.SIZE").and_then(Value::number).map(|size| (*uid, size)));
    }
    let both: Vec<u64> = a.keys().filter(|uid| b.contains_key(uid)).copied().collect();
    for batch in both.chunks(BATCH) {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { continue };
        let set = format!("{first}:{last}");
        let heavy = "ENVELOPE BODYSTRUCTURE";
        compare_items(mailbox, &fetch(old, &set, heavy)?, &fetch(ours, &set, heavy)?, told);
    }
    Ok(sizes)
}

type Items = BTreeMap<u64, BTreeMap<String, Value>>;

fn fetch(client: &mut Client, set: &str, items: &str) -> Result<Items> {
    let reply = client.ok(&format!("UID FETCH {set} ({items})"))?;
    let mut out = Items::new();
    for (_, items) in reply.fetches() {
        let uid = items.iter().find(|(n, _)| n.eq_ignore_ascii_case("UID")).and_then(|(_, v)| v.number());
        let Some(uid) = uid else { continue };
        let row = out.entry(uid).or_default();
        for (name, value) in items.into_iter().filter(|(n, _)| !matches!(*n, "UID" | "MODSEQ")) {
            row.insert(name.to_ascii_uppercase(), value.clone());
        }
    }
    Ok(out)
}

fn compare_items(mailbox: &str, old: &Items, ours: &Items, told: &mut Told) {
    for (uid, theirs) in old {
        let Some(mine) = ours.get(uid) else {
            told.differ(&format!("{mailbox} UID {uid}"), "only the old server has it");
            continue;
        };
        for (name, value) in theirs {
            told.compared += 1;
            let Some(own) = mine.get(name) else { continue };
            let (value, own) = (canonical(name, value), canonical(name, own));
            let (value, own) =
                if name == "FLAGS" { (lower_flags(&value), lower_flags(&own)) } else { (value, own) };
            if let Some((path, old, ours)) = first_difference(&value, &own) {
                told.differ(
                    &format!("{mailbox} UID {uid} {name}{path}"),
                    &format!("old server {old}, Culver {ours}"),
                );
            }
        }
    }
    for uid in ours.keys().filter(|uid| !old.contains_key(uid)) {
        told.differ(&format!("{mailbox} UID {uid}"), "only Culver has it");
    }
}

/// Keywords are the same in any case.
fn lower_flags(flags: &Value) -> Value {
    let flags = flags.list().unwrap_or_default().iter();
    let mut flags: Vec<Value> = flags.map(|f| Value::Atom(f.text().to_lowercase())).collect();
    flags.sort();
    Value::List(flags)
}
