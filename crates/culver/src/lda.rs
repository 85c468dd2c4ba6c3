//! `culver deliver`: a message from standard input to an account, as dovecot-lda does it: its options, and exit codes that
//! MTAs understand (sysexits.h).
//!
//! With `-d user@domain` a running server is given the message (its LMTP socket), so that routes, quotas and the index are its
//! affair. Where there is none, or its socket is closed to us, the program does all of it but the index itself, and puts the
//! file into `new` like any MDA: the next who serves the mailbox finds it there.
//!
//! Without `-d`, or with a name without a domain, the mail is the user's who calls (`.forward`) or whom root names: no
//! directory is asked, `mail.location` and the home of /etc/passwd say where it lies.
//!
//! 0 is said only when the message is on disk. What cannot be done for now is 75, so that the MTA tries again; an unknown user
//! is 67; what is refused for good is 77, with the reason on standard error behind its enhanced code, which Postfix's pipe
//! and local pass on to the sender. dovecot-lda without `-e` sends that message itself; here the MTA does, with or without.
//! A full mailbox is 75 during its grace time and 77 with `deliver.over_quota = "reject"` (Dovecot: `quota_full_tempfail`).

use crate::DEFAULT_CONFIG;
use crate::{config_command, delivery, parts, quota, sandbox};
use anyhow::{Context, Result, anyhow};
use async_trait::async_trait;
use culver_base::MailboxName;
use culver_config::Settings;
use culver_deliver::client::{self, Dialect, Send};
use culver_deliver::{
    Deliver, Envelope, Incoming, Message, Missing, NoQuota, Quota, Recipient, Request, Shelf, place,
};
use culver_directory::{Account, Directory, Login, MailLocation, Names};
use culver_events::{Events, Level};
use culver_lmtp::{Address, Body, Reply, ReversePath};
use culver_maildir::MaildirStore;
use culver_maildir::mda;
use culver_store::Shared;
use futures_util::StreamExt as _;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};

/// `culver deliver`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Whose mail it is: an address, or a user of this machine. Without it, that of the user who calls.
    #[arg(short = 'd', value_name = "USER")]
    user: Option<String>,
    /// The sender of the envelope; empty or <> for none. Without it, the one of a line "From ..." before the message.
    #[arg(short = 'f', value_name = "SENDER", allow_hyphen_values = true)]
    sender: Option<String>,
    /// The address for which the message came: for its +detail, and Delivered-To.
    #[arg(short = 'a', value_name = "ADDRESS")]
    address: Option<String>,
    /// The same, where that is another one (the final recipient); -a counts first.
    #[arg(short = 'r', value_name = "ADDRESS")]
    final_address: Option<String>,
    /// The mailbox; INBOX when it does not exist and deliver.create_mailboxes does not have it made.
    #[arg(short = 'm', value_name = "MAILBOX")]
    mailbox: Option<String>,
    /// The file with the message, instead of standard input.
    #[arg(short = 'p', value_name = "PATH")]
    path: Option<PathBuf>,
    /// Refused mail: exit with 77 and the reason on standard error. It is always so; the option is there for dovecot-lda's sake.
    #[arg(short = 'e')]
    error_to_caller: bool,
    /// Keep the environment; it is not used anyway.
    #[arg(short = 'k')]
    keep_environment: bool,
    /// The configuration.
    #[arg(short = 'c', long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

/// Exit codes of sysexits.h.
pub mod sysexits {
    /// Wrong arguments.
    pub const USAGE: u8 = 64;
    /// There is no such user.
    pub const NO_USER: u8 = 67;
    /// Try again.
    pub const TEMPORARY: u8 = 75;
    /// Refused for good.
    pub const NO_PERMISSION: u8 = 77;
}

/// Delivers. What comes back is for `exit`.
pub fn run(arguments: &Arguments) -> ExitCode {
    let code = match deliver(arguments) {
        Ok(reply) => code_of(&reply),
        Err(e) => {
            eprintln!("culver deliver: {e:#}");
            sysexits::TEMPORARY
        }
    };
    ExitCode::from(code)
}

fn code_of(reply: &Reply) -> u8 {
    if reply.is_positive() {
        return 0;
    }
    let text = reply.text.replace('\n', " ");
    match reply.enhanced {
        Some(enhanced) => eprintln!("{enhanced} {text}"),
        None => eprintln!("{text}"),
    }
    let unknown = reply.enhanced.is_some_and(|e| (e.0, e.1, e.2) == (5, 1, 1));
    match reply.code {
        400..=499 => sysexits::TEMPORARY,
        501 | 555 => sysexits::USAGE,
        _ if unknown => sysexits::NO_USER,
        _ => sysexits::NO_PERMISSION,
    }
}

fn deliver(arguments: &Arguments) -> Result<Reply> {
    let settings = config_command::read(&arguments.config)?.settings;
    let whose = match whose(arguments.user.as_deref()) {
        Ok(whose) => whose,
        Err(reply) => return Ok(reply),
    };
    let mut input: Box<dyn Read> = match &arguments.path {
        Some(path) => Box::new(open(path).with_context(|| path.display().to_string())?),
        None => Box::new(std::io::stdin().lock()),
    };
    if rustix::process::geteuid().is_root() {
        // Files are made as their owner; with the powers of root alone nothing is done.
        sandbox::become_keeper(&settings)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        let store = Arc::new(parts::store(&settings)?);
        let (message, sender) = read(&mut input, &store, &settings).await?;
        let sender = match &arguments.sender {
            Some(given) => parse_sender(given)?,
            None => sender.unwrap_or(ReversePath::Null),
        };
        let job = Job { arguments, settings: &settings, message, sender };
        job.run(store, whose).await
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    done
}

#[allow(clippy::disallowed_methods, reason = "a file that the caller names, opened with the caller's rights")]
fn open(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NOCTTY).open(path)
}

/// Whose mail it is.
enum Whose {
    /// An account of the directory.
    Account(Address),
    /// A user of this machine.
    User { name: String, uid: u32, gid: u32, home: String },
}

fn whose(user: Option<&str>) -> Result<Whose, Reply> {
    let own = rustix::process::getuid();
    if let Some(user) = user
        && let Ok(login) = Login::parse(user.as_bytes())
    {
        let parsed = Address::parse(login.as_str());
        return parsed
            .map(Whose::Account)
            .ok_or_else(|| Reply::new(501, 5, 4, format!("{user} is no address")));
    }
    let entry = match user {
        Some(name) => passwd(|fields| fields[0] == name),
        None if own.is_root() => {
            return Err(Reply::new(501, 5, 4, "Whose mail is it? root says so with -d user@domain"));
        }
        None => passwd(|fields| fields[2].parse() == Ok(own.as_raw())),
    };
    entry.ok_or_else(|| {
        Reply::new(550, 1, 1, format!("There is no user {} here", user.unwrap_or("with this id")))
    })
}

/// An entry of /etc/passwd.
#[allow(clippy::disallowed_methods, reason = "the system's own file")]
fn passwd(wanted: impl Fn(&[&str]) -> bool) -> Option<Whose> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.len() >= 7 && wanted(&fields)).then_some(())?;
        let (uid, gid) = (fields[2].parse().ok()?, fields[3].parse().ok()?);
        Some(Whose::User { name: fields[0].to_owned(), uid, gid, home: fields[5].to_owned() })
    })
}

fn parse_sender(given: &str) -> Result<ReversePath> {
    let bare = given.trim().trim_start_matches('<').trim_end_matches('>');
    // Postfix and sendmail write MAILER-DAEMON for the null sender.
    if bare.is_empty() || bare.eq_ignore_ascii_case("MAILER-DAEMON") {
        return Ok(ReversePath::Null);
    }
    let parsed = Address::parse(bare).map(ReversePath::Address);
    parsed.ok_or_else(|| anyhow!("the sender {given} is no address"))
}

/// The whole message, and the sender of its "From " line, which mbox files and some MDAs put before it. A Return-Path that
/// stands first is taken away: it is written anew.
async fn read(
    input: &mut dyn Read,
    store: &MaildirStore,
    settings: &Settings,
) -> Result<(Message, Option<ReversePath>)> {
    const INLINE: usize = 1 << 20;
    let limit = Some(settings.lmtp.message_limit.0).filter(|limit| *limit > 0);
    let mut incoming = Incoming::new(store.io().clone(), std::env::temp_dir(), INLINE, limit);
    let mut buffer = vec![0; 64 << 10];
    let mut first = Some(Vec::new());
    let mut sender = None;
    loop {
        let n = match input.read(&mut buffer) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other.context("reading the message")?,
        };
        match &mut first {
            Some(start) => {
                start.extend_from_slice(&buffer[..n]);
                // What stands first is decided on once there is enough of it.
                if n == 0 || start.len() > 16 << 10 {
                    let (rest, found) = without_envelope(start);
                    sender = found;
                    incoming.push(rest).await;
                    first = None;
                }
            }
            None => incoming.push(&buffer[..n]).await,
        }
        if n == 0 {
            break;
        }
    }
    let message = incoming.finish().await.map_err(|reply| anyhow!("{reply}"))?;
    Ok((message, sender))
}

fn without_envelope(start: &[u8]) -> (&[u8], Option<ReversePath>) {
    let mut rest = start;
    let mut sender = None;
    let line_end = |octets: &[u8]| octets.iter().position(|b| *b == b'\n').map(|n| n + 1);
    if rest.starts_with(b"From ")
        && let Some(end) = line_end(rest)
    {
        let line = String::from_utf8_lossy(&rest[5..end]).into_owned();
        sender = line.split_whitespace().next().and_then(|word| parse_sender(word).ok());
        rest = &rest[end..];
    }
    let field = rest.get(..12).is_some_and(|name| name.eq_ignore_ascii_case(b"Return-Path:"));
    if field && let Some(end) = line_end(rest) {
        let value = String::from_utf8_lossy(&rest[12..end]).trim().to_owned();
        if let Ok(found) = parse_sender(&value) {
            sender = sender.or(Some(found));
            rest = &rest[end..];
        }
    }
    (rest, sender)
}

/// One delivery.
struct Job<'a> {
    arguments: &'a Arguments,
    settings: &'a Settings,
    message: Message,
    sender: ReversePath,
}

impl Job<'_> {
    async fn run(&self, store: Arc<MaildirStore>, whose: Whose) -> Result<Reply> {
        match whose {
            Whose::Account(address) => {
                // -a says for whom it came: its detail counts when it is the same user.
                let address = self.with_detail(address);
                if let Some(reply) = self.hand_over(&store, &address).await? {
                    return Ok(reply);
                }
                let directory = parts::directory(self.settings).context(
                    "the accounts cannot be read, and no server is running that could do it: start it, or run this as root",
                )?;
                let quota = quota::ForProgram::new(self.settings, store.clone());
                let deliver = self.deliver(store, directory, Arc::new(quota));
                let request = Request {
                    size: self.message.octets.len(),
                    mailbox: self.arguments.mailbox.as_deref(),
                    now: culver_events::clock::now(),
                };
                match deliver.recipient(&address, request).await {
                    Ok(recipient) => Ok(self.one(&deliver, recipient).await),
                    Err(reply) => Ok(reply),
                }
            }
            Whose::User { name, uid, gid, home } => {
                let location = format!(
                    "maildir:{}:LAYOUT={}",
                    self.settings.mail.location,
                    self.settings.mail.layout.word()
                );
                let names = Names { user: &name, home: Some(&home) };
                let mut account = Account::new(name.clone(), MailLocation::parse(&location, &names)?);
                let own = uid == rustix::process::geteuid().as_raw();
                (account.uid, account.gid) = if own { (None, None) } else { (Some(uid), Some(gid)) };
                let given = self.arguments.address.as_ref().or(self.arguments.final_address.as_ref());
                let address =
                    given.and_then(|a| Address::parse(a)).unwrap_or(Address { local: name, domain: None });
                let detail = detail(&address, &self.settings.mail.recipient_delimiter);
                let directory = Arc::new(Directory::new(Vec::new()));
                let deliver = self.deliver(store, directory, Arc::new(NoQuota));
                let mailbox = self.arguments.mailbox.as_deref();
                match Recipient::of_account(address, Arc::new(account), detail, mailbox) {
                    Ok(recipient) => Ok(self.one(&deliver, recipient).await),
                    Err(reply) => Ok(reply),
                }
            }
        }
    }

    /// The address, with the detail that -a or -r have.
    fn with_detail(&self, address: Address) -> Address {
        let given = self.arguments.address.as_ref().or(self.arguments.final_address.as_ref());
        let delimiters = &self.settings.mail.recipient_delimiter;
        let Some(given) = given.and_then(|a| Address::parse(a)) else { return address };
        match (detail(&given, delimiters), delimiters.chars().next()) {
            (Some(detail), Some(delimiter)) if self::detail(&address, delimiters).is_none() => {
                Address { local: format!("{}{delimiter}{detail}", address.local), domain: address.domain }
            }
            _ => address,
        }
    }

    fn deliver(&self, store: Arc<MaildirStore>, directory: Arc<Directory>, quota: Arc<dyn Quota>) -> Deliver {
        let io = store.io().clone();
        // Without a file of its own, or where it may not be written, the log is for errors, and for the caller.
        let to_file = !self.settings.log.file.as_os_str().is_empty();
        let events = parts::events(self.settings).ok().filter(|_| to_file).unwrap_or_else(quiet);
        culver_events::install(&events, if to_file { parts::level(self.settings) } else { Level::Error });
        delivery::deliver(self.settings, directory, Arc::new(DropOff(store)), quota, io, events)
    }

    async fn one(&self, deliver: &Deliver, recipient: Recipient) -> Reply {
        let envelope = Envelope {
            service: "lda",
            session: std::process::id().to_string(),
            sender: self.sender.clone(),
            body: Body::EightBitMime,
            utf8: false,
            helo: None,
            peer: None,
            tls: false,
            at: culver_events::clock::now(),
        };
        let recipients = [recipient];
        let replies: Vec<Reply> = deliver.deliver(&envelope, &self.message, &recipients).collect().await;
        replies.into_iter().next().unwrap_or_else(|| Reply::new(451, 3, 0, "There was no answer"))
    }

    /// Gives the message to a server that runs. `None`: there is none, or it is closed to us.
    async fn hand_over(&self, store: &MaildirStore, address: &Address) -> Result<Option<Reply>> {
        let host = parts::hostname(self.settings);
        let recipient = address.to_string();
        let international =
            address.is_international() || self.sender.address().is_some_and(Address::is_international);
        let what = Send {
            helo: &host,
            sender: &self.sender,
            recipient: &recipient,
            mailbox: self.arguments.mailbox.as_deref(),
            body: Body::EightBitMime,
            utf8: international,
            head: "",
            message: &self.message,
            login: None,
            patience: Duration::from_secs(300),
        };
        let io = store.io();
        for socket in &self.settings.lmtp.unix {
            if let Ok(stream) = UnixStream::connect(&socket.path).await {
                let sent = client::send(stream, Dialect::Lmtp, io.clone(), &what).await;
                return sent.map(Some).with_context(|| format!("handing over to {}", socket.path.display()));
            }
        }
        // A mailbox can be named on a unix socket only, unless we are trusted.
        let addresses = self.settings.lmtp.listen.iter().filter(|a| a.ip().is_loopback());
        for address in addresses.filter(|_| self.arguments.mailbox.is_none()) {
            if let Ok(stream) = TcpStream::connect(address).await {
                let sent = client::send(stream, Dialect::Lmtp, io.clone(), &what).await;
                return sent.map(Some).with_context(|| format!("handing over to {address}"));
            }
        }
        Ok(None)
    }
}

fn quiet() -> Events {
    let (style, _, _) = parts::log(&Settings::default());
    let stderr = culver_events::Destination::stderr(None);
    Events::new(style, Level::Error, stderr).unwrap_or_else(|_| Events::recorder().0)
}

fn detail(address: &Address, delimiters: &str) -> Option<String> {
    let at = address.local.find(|c| delimiters.contains(c)).filter(|at| *at > 0)?;
    let detail = address.local.get(at + 1..)?;
    (!detail.is_empty()).then(|| detail.to_owned())
}

/// As any MDA puts mail away.
struct DropOff(Arc<MaildirStore>);

#[async_trait]
impl Shelf for DropOff {
    async fn put(
        &self,
        account: &Account,
        mailbox: &MailboxName,
        message: Arc<Shared>,
        missing: Missing,
    ) -> culver_store::Result<()> {
        let missing = match missing {
            Missing::Refuse => mda::Missing::Refuse,
            // Subscriptions are the server's.
            Missing::Create | Missing::Subscribe => mda::Missing::Create,
        };
        self.0.drop_off(&place(account), mailbox, message, missing).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_message() {
        let sender = |text: &str| without_envelope(text.as_bytes()).1.map(|s| s.to_string());
        let rest =
            |text: &'static str| String::from_utf8_lossy(without_envelope(text.as_bytes()).0).into_owned();
        let mbox = "From anna@example.org  Fri Nov 27 22:00:00 2026\nSubject: x\n\n";
        assert_eq!(
            (sender(mbox).as_deref(), rest(mbox).as_str()),
            (Some("anna@example.org"), "Subject: x\n\n")
        );
        let field = "Return-Path: <bob@example.org>\r\nSubject: x\r\n\r\n";
        assert_eq!(
            (sender(field).as_deref(), rest(field).as_str()),
            (Some("bob@example.org"), "Subject: x\r\n\r\n")
        );
        assert_eq!(sender("Return-Path: <>\n\n").as_deref(), Some(""));
        assert_eq!(sender("From MAILER-DAEMON Fri Nov\n\n").as_deref(), Some(""));
        for plain in ["Subject: x\n\nFrom a@b\n", "", "From", "Return-Path: no address here\n\n"] {
            assert_eq!((sender(plain), rest(plain).as_str()), (None, plain));
        }
    }

    #[test]
    fn codes() {
        for (reply, code) in [
            (Reply::new(250, 0, 0, ""), 0),
            (Reply::new(452, 2, 2, "full"), sysexits::TEMPORARY),
            (Reply::new(550, 1, 1, "unknown"), sysexits::NO_USER),
            (Reply::new(550, 2, 1, "off"), sysexits::NO_PERMISSION),
            (Reply::new(552, 2, 2, "full"), sysexits::NO_PERMISSION),
            (Reply::new(501, 5, 4, "what"), sysexits::USAGE),
        ] {
            assert_eq!(code_of(&reply), code, "{reply}");
        }
    }
}
