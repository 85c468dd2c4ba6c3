//! Mail on its whole way: swaks to Debian's Postfix and Exim, which ask Culver and deliver to it by LMTP, to IMAP.
//!
//! The configuration is read out of docs/postfix.md and docs/exim.md, and what these quote is what the client must hear.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use culver_testkit::Client;
use culver_testkit::mta::{Exim, Postfix, Sink, swaks, swaks_missing};
use culver_testkit::page::Page;
use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CULVER: &str = env!("CARGO_BIN_EXE_culver");

/// Whom the mail belongs to.
const OWNER: u32 = 7000;

fn wait_for<T>(what: &str, told: impl Fn() -> String, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(40);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what} did not come; the log:\n{}", told());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A server as the page has it, on ports that the system chose.
struct Culver {
    child: Child,
    addresses: HashMap<String, SocketAddr>,
    dir: tempfile::TempDir,
    settings: String,
}

impl Culver {
    fn start(page: &Page) -> Self {
        let dir = tempfile::Builder::new().prefix("culver-mta-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        fs::create_dir(dir.path().join("mail")).unwrap();
        chown(dir.path().join("mail"), Some(OWNER), Some(OWNER)).unwrap();
        let root = dir.path().display();
        let own = page.block("# /etc/culver/culver.toml");
        let mut settings = format!(
            "state_dir = \"{root}/state\"\nlog.file = \"{root}/log\"\nmail.roots = [\"{root}/mail\"]\n\
             hostname = \"culver.example.org\"\nimap.listen = [\"127.0.0.1:0\"]\nimaps.listen = []\n{own}\n\
             [[directory]]\nsource = \"builtin\"\nhome = \"{root}/mail/%n\"\nuid = {OWNER}\ngid = {OWNER}\n"
        );
        // Beside what the page shows: tcp_table, and a unix socket.
        settings = settings.replace("[lookup]\n", "[lookup]\ntcp_mailbox = [\"127.0.0.1:0\"]\n");
        settings.push_str(&format!("[[lookup.unix]]\npath = \"{root}/lookup\"\nmode = \"0666\"\n"));
        for port in ["24", "2501", "2506"] {
            settings = settings.replace(&format!("\"127.0.0.1:{port}\""), "\"127.0.0.1:0\"");
        }
        let config = dir.path().join("culver.toml");
        fs::write(&config, &settings).unwrap();
        let errors = fs::File::create(dir.path().join("stderr")).unwrap();
        let mut serve = Command::new(CULVER);
        serve.arg("serve").arg("--config").arg(&config);
        let child = serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
        let mut culver = Self { child, addresses: HashMap::new(), dir, settings };
        culver.addresses = wait_for(
            "the line that it is ready",
            || culver.log(),
            || {
                let log = culver.log();
                let line = log.lines().find_map(|l| l.split_once("is ready on "))?.1.to_owned();
                Some(
                    line.split(", ")
                        .filter_map(|one| {
                            let (name, address) = one.split_once(' ')?;
                            Some((name.to_owned(), address.parse().ok()?))
                        })
                        .collect(),
                )
            },
        );
        culver
    }

    fn log(&self) -> String {
        ["log", "stderr"]
            .map(|name| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default())
            .concat()
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("culver.toml")
    }

    /// `culver ...`; gives what it printed.
    fn run(&self, line: &[&str]) -> String {
        let mut run = Command::new(CULVER);
        run.args(line).arg("--config").arg(self.config());
        let out = run.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        assert!(out.status.success(), "{line:?}: {said}");
        said
    }

    /// Other values for settings; told when they count.
    fn reload(&mut self, changes: &[(&str, &str)]) {
        for (old, new) in changes {
            assert!(self.settings.contains(old), "{old} in {}", self.settings);
            self.settings = self.settings.replace(old, new);
        }
        fs::write(self.config(), &self.settings).unwrap();
        let count = |log: &str| log.matches("eload").count();
        let before = count(&self.log());
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
        wait_for("the reload", || self.log(), || (count(&self.log()) > before).then_some(()));
    }

    /// The page's ports are the ones that the server has.
    fn with_ports(&self, text: &str) -> String {
        let port = |name: &str| self.addresses[name].port().to_string();
        let mut text = text.replace("127.0.0.1:2501", &format!("127.0.0.1:{}", port("lookup")));
        text = text.replace("127.0.0.1:24\n", &format!("127.0.0.1:{}\n", port("lmtp")));
        text = text.replace("port = 24\n", &format!("port = {}\n", port("lmtp")));
        match self.addresses.get("policy") {
            Some(policy) => text.replace("127.0.0.1:2506", &policy.to_string()),
            None => text,
        }
    }

    /// The people of the pages.
    fn populate(&self) {
        self.run(&["domain", "add", "example.org"]);
        self.run(&["domain", "alias", "example.net", "example.org"]);
        self.run(&["domain", "add", "example.info"]);
        for name in ["anna", "bob", "carl", "full", "small"] {
            self.run(&["user", "add", &format!("{name}@example.org"), "--hash", "{PLAIN}pass"]);
        }
        let reason = "Carl has moved to example.com";
        self.run(&["user", "disable", "carl@example.org", "--what", "receive", "--reason", reason]);
        self.run(&[
            "route",
            "add",
            "info@example.org",
            "--to",
            "anna@example.org",
            "--to",
            "bob@example.org",
        ]);
        self.run(&[
            "route",
            "add",
            "out@example.org",
            "--to",
            "boss@example.com",
            "--to",
            "anna@example.org",
        ]);
        self.run(&["route", "add", "*@example.info", "--to", "bob@example.org"]);
        self.run(&["route", "add", "old@example.org", "--reject", "Ask info@example.org instead"]);
    }

    /// The message of this subject in an account's INBOX, as soon as it is there.
    fn message(&self, user: &str, subject: &str, told: impl Fn() -> String) -> String {
        let mut client = Client::connect(self.addresses["imap"]).unwrap();
        client.login(user, "pass").unwrap();
        let told = || format!("{}\n{}", self.log(), told());
        let number = wait_for(&format!("{subject} for {user}"), told, || {
            client.ok("SELECT INBOX").unwrap();
            let reply = client.ok(&format!("SEARCH SUBJECT \"{subject}\"")).unwrap();
            let numbers = reply.data("SEARCH").flat_map(|values| values.iter().filter_map(|v| v.number()));
            numbers.last()
        });
        let reply = client.ok(&format!("FETCH {number} BODY.PEEK[]")).unwrap();
        let (_, items) = reply.fetches().next().unwrap();
        items.iter().find(|(name, _)| name.starts_with("BODY")).unwrap().1.text()
    }

    /// How many messages an account's INBOX has.
    fn messages(&self, user: &str) -> u64 {
        let mut client = Client::connect(self.addresses["imap"]).unwrap();
        client.login(user, "pass").unwrap();
        let reply = client.ok("STATUS INBOX (MESSAGES)").unwrap();
        let count = reply.data("STATUS").flat_map(<[_]>::last).find_map(|v| v.list()?.last()?.number());
        count.unwrap()
    }
}

impl Drop for Culver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What differs between the two MTAs.
trait Mta {
    fn smtp(&self) -> SocketAddr;
    fn log(&self) -> String;
    fn logs(&self, text: &str) -> String;
    /// Tries again what waits in the queue.
    fn retry(&self);
}

impl Mta for Postfix {
    fn smtp(&self) -> SocketAddr {
        Postfix::smtp(self)
    }
    fn log(&self) -> String {
        Postfix::log(self)
    }
    fn logs(&self, text: &str) -> String {
        Postfix::logs(self, text).unwrap()
    }
    fn retry(&self) {
        self.command("postqueue", &["-f"]).unwrap();
    }
}

impl Mta for Exim {
    fn smtp(&self) -> SocketAddr {
        Exim::smtp(self)
    }
    fn log(&self) -> String {
        Exim::log(self)
    }
    fn logs(&self, text: &str) -> String {
        Exim::logs(self, text).unwrap()
    }
    fn retry(&self) {
        self.command(&["-qff"]).unwrap();
    }
}

const SENDER: &str = "sender@example.com";

fn send(mta: &dyn Mta, from: &str, to: &str, subject: &str, more: &[&str]) -> (String, bool) {
    let subject = format!("Subject: {subject}");
    let args = [&["--from", from, "--to", to, "--header", &subject][..], more].concat();
    swaks(mta.smtp(), &args).unwrap()
}

fn sent(mta: &dyn Mta, to: &str, subject: &str) {
    let (talk, fine) = send(mta, SENDER, to, subject, &[]);
    assert!(fine, "{talk}\n{}", mta.log());
}

/// RCPT is refused with these words.
fn refused(mta: &dyn Mta, to: &str, words: &str) {
    let (talk, fine) = send(mta, SENDER, to, "never", &[]);
    assert!(!fine && talk.contains(&format!("<** {words}")), "{words}\n{talk}\n{}", mta.log());
}

fn everybody_gets_mail(culver: &Culver, mta: &dyn Mta, sink: &Sink) {
    let got = |user: &str, subject: &str| culver.message(user, subject, || mta.log());
    sent(mta, "anna@example.org", "plain");
    assert!(got("anna@example.org", "plain").contains("This is a test mailing"));
    // A secondary domain; any case of letters; a detail.
    sent(mta, "Anna@Example.NET", "secondary");
    got("anna@example.org", "secondary");
    sent(mta, "anna+lists@example.org", "detail");
    got("anna@example.net", "detail");
    // A route to two accounts, in the secondary domain too; a catch-all.
    sent(mta, "info@example.net", "alias");
    got("anna@example.org", "alias");
    got("bob@example.org", "alias");
    sent(mta, "whoever@example.info", "catchall");
    got("bob@example.org", "catchall");
    // Elsewhere, and here too.
    sent(mta, "out@example.org", "forward");
    got("anna@example.org", "forward");
    let gone = sink.received("boss@example.com");
    let gone = gone.unwrap_or_else(|why| panic!("{why}\n{}\n{}", mta.log(), culver.log()));
    assert!(gone.data.contains("Subject: forward"), "{}", gone.data);
    assert_eq!(culver.messages("anna@example.org"), 5);
    assert_eq!(culver.messages("bob@example.org"), 2);
    // Nobody relays for others.
    let (talk, fine) = send(mta, SENDER, "x@nowhere.example", "plain", &[]);
    assert!(fine, "the loopback may: {talk}");
}

fn refusals(page: &Page, mta: &dyn Mta) {
    refused(mta, "nobody@example.org", &page.quotes("550 5.1.1"));
    refused(mta, "carl@example.org", &page.quotes("550 5.2.1"));
    refused(mta, "old@example.org", &page.quotes("550 5.7.1"));
}

/// In one line, since MTAs break lines of bounces.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn full_mailboxes(page: &Page, culver: &mut Culver, mta: &dyn Mta, bounced: &str) {
    sent(mta, "full@example.org", "fits");
    culver.message("full@example.org", "fits", || mta.log());
    culver.run(&["user", "change", "full@example.org", "--quota", "300"]);
    refused(mta, "full@example.org", &page.marked("defer"));

    // A message that the account has no room for, of a size that nobody was told.
    culver.run(&["user", "change", "small@example.org", "--quota", "20K"]);
    let body = "A line of forty octets, with its end..\n".repeat(400);
    let big = |subject: &str| {
        let (talk, fine) = send(mta, "anna@example.org", "small@example.org", subject, &["--body", &body]);
        assert!(fine, "{talk}");
    };
    big("large");
    culver.message("small@example.org", "large", || mta.log());
    big("larger");
    mta.logs(" 452 4.2.2 ");
    assert_eq!(culver.messages("small@example.org"), 1);

    let reject = "[deliver]\nover_quota = \"reject\"\n[deliver.forward]";
    culver.reload(&[("[deliver.forward]", reject)]);
    refused(mta, "full@example.org", &page.marked("reject"));
    mta.retry();
    let bounce = culver.message("anna@example.org", bounced, || mta.log());
    let quoted = page.marked("bounce");
    assert!(squeezed(&bounce).contains(&squeezed(&quoted)), "{quoted}\n{bounce}");

    culver.run(&["user", "change", "full@example.org", "--quota", "none"]);
    sent(mta, "full@example.org", "again");
    culver.message("full@example.org", "again", || mta.log());
}

fn away(culver: Culver, mta: &dyn Mta) {
    drop(culver);
    let (talk, fine) = send(mta, SENDER, "anna@example.org", "away", &[]);
    assert!(!fine && talk.contains("<** 451"), "{talk}\n{}", mta.log());
    let (talk, _) = send(mta, SENDER, "nobody@example.org", "away", &[]);
    assert!(talk.contains("<** 451"), "{talk}");
}

#[test]
fn postfix() {
    if let Some(why) = Postfix::missing().or_else(swaks_missing) {
        println!("not run: mta: {why}");
        return;
    }
    let page = Page::read("postfix.md");
    let mut culver = Culver::start(&page);
    culver.populate();
    let sink = Sink::start().unwrap();
    let main = culver.with_ports(page.block("# /etc/postfix/main.cf"));
    let main = format!("{main}relayhost = [127.0.0.1]:{}\n", sink.address().port());
    let postfix = Postfix::start(&main, "").unwrap();
    culver.reload(&[("127.0.0.1:25\"", &format!("{}\"", postfix.smtp()))]);
    let unix = culver.dir.path().join("lookup");
    for table in [
        format!("socketmap:inet:{}:mailbox", culver.addresses["lookup"]),
        format!("socketmap:unix:{}:mailbox", unix.display()),
        format!("tcp:{}", culver.addresses["lookup-mailbox"]),
    ] {
        let ask = |key: &str| postfix.command("postmap", &["-q", key, &table]).unwrap();
        assert_eq!(ask("anna@example.org"), "anna@example.org\n", "{table}");
        assert_eq!(ask("nobody@example.org"), "", "{table}");
    }
    everybody_gets_mail(&culver, &postfix, &sink);
    refusals(&page, &postfix);
    full_mailboxes(&page, &mut culver, &postfix, "Undelivered Mail Returned to Sender");
    away(culver, &postfix);
}

#[test]
fn exim() {
    if let Some(why) = Exim::missing().or_else(swaks_missing) {
        println!("not run: mta: {why}");
        return;
    }
    let page = Page::read("exim.md");
    let mut culver = Culver::start(&page);
    culver.populate();
    let sink = Sink::start().unwrap();
    let block = |name: &str| culver.with_ports(page.block(name));
    // Around the page's lines: an ACL that relays for the loopback, and the way out.
    let configuration = format!(
        "{}acl_smtp_rcpt = rcpt\nqueue_run_max = 5\nbegin acl\nrcpt:\n{}  accept hosts = 127.0.0.1\nbegin routers\n{}\
         out:\n  driver = manualroute\n  route_list = * 127.0.0.1\n  self = send\n  transport = out\n\
         begin transports\n{}out:\n  driver = smtp\n  port = {}\n  allow_localhost\n  hosts_try_fastopen =\nbegin retry\n{}",
        block("# main"),
        block("# acl"),
        block("# routers"),
        block("# transports"),
        sink.address().port(),
        block("# retry"),
    );
    let exim = Exim::start(&configuration).unwrap();
    culver.reload(&[("127.0.0.1:25\"", &format!("{}\"", exim.smtp()))]);
    let tested = exim.command(&["-bt", "anna@example.org"]).unwrap();
    assert!(tested.contains("router = culver, transport = culver_lmtp"), "{tested}");
    everybody_gets_mail(&culver, &exim, &sink);
    refusals(&page, &exim);
    full_mailboxes(&page, &mut culver, &exim, "Mail delivery failed");
    away(culver, &exim);
}
