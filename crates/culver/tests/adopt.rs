//! From Dovecot to Culver and back with the commands that docs/adopt.md shows, on one tree that stays where it is.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and plays other programs on the file system"
)]

use culver_imapc::pop3::Pop3;
use culver_testkit::{Client, Dovecot, Peer, Response, Value, mail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const CULVER: &str = env!("CARGO_BIN_EXE_culver");
const USER: &str = "anna@example.org";
/// Whom the mail belongs to: Debian's `nobody`, as with testkit's Dovecot.
const OWNER: u32 = 65_534;
/// Whose the state folder is.
const SERVICE: u32 = 64_400;

/// Mail, a configuration of Culver, and what is needed for a Dovecot on the same mail.
struct Site {
    dir: tempfile::TempDir,
    server: Option<Child>,
    /// Options of the mail location, in Dovecot's words.
    options: String,
}

impl Site {
    fn new() -> Self {
        Self::with("")
    }

    /// `DIR` in the options is the folder of the user's home.
    fn with(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = format!("{}/mail/%Lu", dir.path().display());
        let site = Self { dir, server: None, options: options.replace("DIR", &home) };
        for (name, owner, mode) in
            [("mail", OWNER, 0o755), ("state", SERVICE, 0o700), ("log", SERVICE, 0o700)]
        {
            fs::create_dir(site.at(name)).unwrap();
            fs::set_permissions(site.at(name), fs::Permissions::from_mode(mode)).unwrap();
            chown(site.at(name), Some(owner), Some(owner)).unwrap();
        }
        let root = site.dir.path().display();
        let text = format!(
            "state_dir = \"{root}/state\"\nlog.file = \"{root}/log/culver.log\"\nhostname = \"test.example\"\nsandbox = false\n\
             auth.require_tls = false\nmail.location = \"/nonexistent\"\nmail.roots = [\"{root}/mail\"]\n\
             imap.listen = [\"127.0.0.1:0\"]\nmailbox = []\n\
             [[directory]]\nsource = \"passwd-file\"\npath = \"{root}/users\"\ndomain = [{{ name = \"example.org\" }}]\n"
        );
        fs::write(site.at("culver.toml"), text).unwrap();
        site.add(USER);
        site
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn root(&self) -> PathBuf {
        self.at("mail").join(USER).join("Mail")
    }

    fn add(&self, user: &str) {
        let old = fs::read_to_string(self.at("users")).unwrap_or_default();
        let mail = format!("maildir:{}/%u/Mail{}", self.at("mail").display(), self.options);
        let line = format!("{user}:{{PLAIN}}pass:{OWNER}:{OWNER}::/nonexistent::userdb_mail={mail}\n");
        fs::write(self.at("users"), old + &line).unwrap();
        fs::write(self.at("passwords"), format!("{USER}:pass\n")).unwrap();
    }

    /// Runs a command that docs/adopt.md shows with these words (and other addresses).
    fn culver(&self, words: &[&str]) -> Output {
        let path = format!("{}:{}", self.at("bin").display(), std::env::var("PATH").unwrap());
        Command::new(CULVER)
            .args(words)
            .arg("--config")
            .arg(self.at("culver.toml"))
            .env("PATH", path)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn serve(&mut self) -> SocketAddr {
        let mut serve = Command::new(CULVER);
        serve.arg("serve").arg("--config").arg(self.at("culver.toml")).stdin(Stdio::null());
        drop(fs::remove_file(self.at("log/culver.log")));
        // As systemd does it: already the service user, with two capabilities.
        let errors = fs::File::create(self.at("stderr")).unwrap();
        self.server = Some(as_service(serve).stderr(errors).spawn().unwrap());
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let log = fs::read_to_string(self.at("log/culver.log")).unwrap_or_default();
            if let Some((_, rest)) = log.split_once("is ready on imap ") {
                return rest.split([',', '\n']).next().unwrap().trim().parse().unwrap();
            }
            let errors = fs::read_to_string(self.at("stderr")).unwrap_or_default();
            assert!(Instant::now() < until, "{log}\n{errors}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let pid = rustix::process::Pid::from_child(&server);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            server.wait().unwrap();
        }
    }

    /// A Dovecot on the same mail, with POP3.
    fn dovecot(&self, more: &str) -> (Dovecot, SocketAddr) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!(
            "protocols = imap pop3\nmail_location = maildir:{}/%Lu/Mail{}\n\
             service pop3-login {{\n inet_listener pop3 {{\n port = {}\n }}\n inet_listener pop3s {{\n port = 0\n }}\n chroot =\n}}\n{more}\n",
            self.at("mail").display(),
            self.options,
            port.port()
        );
        let dovecot = Dovecot::start_with(&text).unwrap();
        // `doveadm` of this configuration, for lines that name none.
        fs::create_dir_all(self.at("bin")).unwrap();
        let script = format!("#!/bin/sh\nexec /usr/bin/doveadm -c {} \"$@\"\n", dovecot.config().display());
        fs::write(self.at("bin/doveadm"), script).unwrap();
        fs::set_permissions(self.at("bin/doveadm"), fs::Permissions::from_mode(0o755)).unwrap();
        (dovecot, port)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// `setpriv` of util-linux gives the identity of a service with the two capabilities.
fn as_service(command: Command) -> Command {
    let mut set = Command::new("setpriv");
    set.args([
        &format!("--reuid={SERVICE}"),
        &format!("--regid={SERVICE}"),
        "--clear-groups",
        "--inh-caps=+setuid,+setgid",
        "--ambient-caps=+setuid,+setgid",
        "--bounding-set=-all,+setuid,+setgid",
    ]);
    set.arg(command.get_program()).args(command.get_args());
    set.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    set
}

/// Is this line in the documentation, with these words?
fn documented(line: &str) {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/adopt.md")).unwrap();
    assert!(page.contains(line), "docs/adopt.md does not show: {line}");
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Everything below: kind, mode, owner, time and content.
fn everything(dir: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let stat = fs::symlink_metadata(&path).unwrap();
            let content = if stat.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            let facts = (stat.mode(), stat.uid(), stat.ino(), stat.mtime(), stat.mtime_nsec(), content);
            all.insert(path.clone(), format!("{facts:?}"));
            if stat.is_dir() {
                open.push(path);
            }
        }
    }
    all
}

fn log_in(at: SocketAddr) -> Client {
    let mut client = Client::connect(at).unwrap();
    client.login(USER, "pass").unwrap();
    client
}

/// What a client remembers.
fn picture(at: SocketAddr) -> BTreeMap<String, String> {
    let mut client = log_in(at);
    let mut out = BTreeMap::new();
    let names = |client: &mut Client, command: &str| -> BTreeSet<String> {
        let reply = client.ok(&format!("{command} \"\" *")).unwrap();
        let there = reply.data(command).filter(|v| !v[1].list().unwrap().iter().any(|a| a.is("\\Noselect")));
        there.map(|v| v[3].text()).collect()
    };
    let mailboxes = names(&mut client, "LIST");
    out.insert("mailboxes".to_owned(), format!("{mailboxes:?}"));
    out.insert("subscribed".to_owned(), format!("{:?}", names(&mut client, "LSUB")));
    for name in mailboxes {
        let reply = client.ok(&format!("EXAMINE \"{name}\"")).unwrap();
        out.insert(name.clone(), format!("{:?} {:?}", code(&reply, "UIDVALIDITY"), code(&reply, "UIDNEXT")));
        for (uid, flags) in flags(&mut client) {
            out.insert(format!("{name} {uid}"), flags);
        }
    }
    out
}

/// Flags and dates by UID.
fn flags(client: &mut Client) -> BTreeMap<u64, String> {
    let reply = client.ok("UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE)").unwrap();
    let mut out = BTreeMap::new();
    for (_, items) in reply.fetches() {
        let value = |name: &str| items.iter().find(|(n, _)| *n == name).unwrap().1;
        let date = value("INTERNALDATE").text();
        let date = culver_base::InternalDate::parse(&mut culver_base::Cursor::new(date.as_bytes())).unwrap();
        let line = format!("{:?} {} {}", flag_set(value("FLAGS")), date.unix, value("RFC822.SIZE"));
        out.insert(value("UID").number().unwrap(), line);
    }
    out
}

fn flag_set(value: &Value) -> BTreeSet<String> {
    let all = value.list().unwrap().iter().map(|f| f.text().to_lowercase());
    all.filter(|f| f != "\\recent").collect()
}

fn code(reply: &culver_testkit::Reply, word: &str) -> Option<u64> {
    reply.untagged.iter().find_map(|r| match r {
        Response::Status { code, .. } if code.first().is_some_and(|c| c.is(word)) => code.get(1)?.number(),
        _ => None,
    })
}

fn highest(at: SocketAddr, mailbox: &str) -> u64 {
    let reply = log_in(at).ok(&format!("STATUS \"{mailbox}\" (HIGHESTMODSEQ)")).unwrap();
    let row = reply.data("STATUS").next().unwrap();
    row[2].list().unwrap()[1].number().unwrap()
}

/// What a client that was away since `mod_seq` is told by QRESYNC: flags by UID, and UIDs that are gone.
fn resync(at: SocketAddr, validity: u64, mod_seq: u64) -> (BTreeMap<u64, BTreeSet<String>>, BTreeSet<u64>) {
    let mut client = log_in(at);
    client.ok("ENABLE QRESYNC").unwrap();
    let reply = client.ok(&format!("SELECT INBOX (QRESYNC ({validity} {mod_seq}))")).unwrap();
    let mut changed = BTreeMap::new();
    for (_, items) in reply.fetches() {
        let value = |name: &str| items.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        changed.insert(value("UID").unwrap().number().unwrap(), flag_set(value("FLAGS").unwrap()));
    }
    let mut gone = BTreeSet::new();
    for row in reply.data("VANISHED") {
        for range in row[2].text().split(',') {
            let (a, b) = range.split_once(':').unwrap_or((range, range));
            gone.extend(a.parse::<u64>().unwrap()..=b.parse().unwrap());
        }
    }
    (changed, gone)
}

fn fill(at: SocketAddr) {
    let mut client = log_in(at);
    client.ok("ENABLE CONDSTORE").unwrap();
    for name in ["Work", "Work/2024", "Entw&APw-rfe", "Empty", "Vanished"] {
        client.ok(&format!("CREATE \"{name}\"")).unwrap();
    }
    for name in ["INBOX", "Work/2024", "Vanished"] {
        client.ok(&format!("SUBSCRIBE \"{name}\"")).unwrap();
    }
    client.ok("DELETE Vanished").unwrap();
    for (i, message) in mail::fixture("ten.mbox").unwrap().into_iter().enumerate() {
        let flags = ["", "(\\Seen) ", "(\\Flagged $Forwarded) ", "(\\Answered Project) "][i % 4];
        client.append("INBOX", &format!("{flags}\"{}\" ", message.date), &message.bytes).unwrap();
        if i % 3 == 0 {
            client.append("Work/2024", "(\\Draft) ", &message.bytes).unwrap();
        }
    }
    client.ok("SELECT INBOX").unwrap();
    client.ok("COPY 1:3 \"Entw&APw-rfe\"").unwrap();
    let many: Vec<String> = (0..40).map(|i| format!("tag{i:02}")).collect();
    client.ok(&format!("STORE 3 +FLAGS ({})", many.join(" "))).unwrap();
    client.ok("STORE 5,6 +FLAGS (tag38 tag39)").unwrap();
    client.ok("STORE 6 -FLAGS (tag39)").unwrap();
    client.ok("STORE 7,8 +FLAGS (\\Deleted)").unwrap();
    client.ok("EXPUNGE").unwrap();
    client.ok("LOGOUT").unwrap();
}

fn locks(dir: &Path) -> Vec<PathBuf> {
    let all = everything(dir).into_keys();
    all.filter(|p| p.to_string_lossy().ends_with(".lock")).collect()
}

#[test]
fn there_and_back_again() {
    if let Some(why) = Dovecot::missing() {
        println!("not run: there and back again: {why}");
        return;
    }
    let mut site = Site::new();

    // ---- Dovecot served for years: IMAP and POP3.
    let (dovecot, pop3) = site.dovecot("");
    fill(dovecot.imap());
    let mut session = Pop3::connect(pop3, None).unwrap();
    session.login(USER, "pass").unwrap();
    let uidl = session.uidl().unwrap();
    assert_eq!(uidl.len(), 8);
    session.quit();
    let wanted = picture(dovecot.imap());
    let old_highest = highest(dovecot.imap(), "INBOX");

    // ---- A look changes nothing, while Dovecot runs.
    documented("culver adopt --all --dry-run");
    let before = (everything(&site.at("mail")), everything(&site.at("state")));
    let look = site.culver(&["adopt", "--all", "--dry-run"]);
    assert!(look.status.success(), "{}", said(&look));
    assert!(said(&look).contains("keywords out of the earlier server's index"), "{}", said(&look));
    assert!(
        before == (everything(&site.at("mail")), everything(&site.at("state"))),
        "a dry run changes nothing"
    );
    drop(dovecot);

    // ---- Adopted.
    documented("culver adopt --all\n");
    let adopted = site.culver(&["adopt", "--all", "--json"]);
    assert!(adopted.status.success(), "{}", said(&adopted));
    let json: serde_json::Value = serde_json::from_slice(&adopted.stdout).unwrap();
    assert_eq!(json["sum"]["failed"], 0);
    assert_eq!(json["sum"]["odd"], 0, "{json}");
    assert_eq!(json["sum"]["messages"], 8 + 4 + 3);
    let inbox = &json["accounts"][0]["mailboxes"][0];
    // 26 letters are used up by $Forwarded, Project and 24 of the tags.
    assert_eq!((&inbox["found"]["keywords"], &inbox["found"]["imported_keywords"]), (&26.into(), &16.into()));
    assert_eq!(inbox["found"]["imported_messages"], 3);
    assert!(inbox["found"]["highest_mod_seq"].as_u64().unwrap() >= old_highest);
    assert!(inbox["now"]["highest_mod_seq"].as_u64().unwrap() > old_highest);
    assert!(site.root().join("dovecot.index.log").exists());
    assert_eq!(locks(&site.at("mail")), [""; 0].map(PathBuf::from));
    let state = fs::metadata(site.at("state/accounts")).unwrap();
    assert_eq!(state.uid(), SERVICE, "the server can write what the command wrote");

    // ---- Culver serves the same.
    let culver = site.serve();
    assert_eq!(picture(culver), wanted);
    let (changed, gone) = resync(culver, validity(&wanted), old_highest);
    assert_eq!(changed.len(), 8, "everything is news to who knows Dovecot's mod-sequence");
    assert_eq!(gone, [7, 8].into(), "and so is what was expunged");
    let refused = site.culver(&["adopt", "--all"]);
    assert!(!refused.status.success() && said(&refused).contains("is running on"), "{}", said(&refused));
    assert!(site.culver(&["adopt", "--dry-run", USER]).status.success());

    // ---- Compared with a running Dovecot on the same tree.
    let (dovecot, pop3) = site.dovecot(
        "auth_master_user_separator = *\npassdb {\n driver = static\n args = password=secret\n master = yes\n}\n",
    );
    documented(
        "culver adopt --verify --all --server 127.0.0.1:10143 --pop3 127.0.0.1:10110 --passwords /root/passwords",
    );
    let (server, pop3_at, at) = (dovecot.imap().to_string(), pop3.to_string(), culver.to_string());
    let passwords = site.at("passwords").display().to_string();
    let verify = |more: &[&str]| {
        let words = ["adopt", "--verify", "--all", "--server", &server, "--pop3", &pop3_at];
        site.culver(&[&words[..], &["--passwords", &passwords, "--culver", &at], more].concat())
    };
    let same = verify(&[]);
    assert!(same.status.success(), "{}", said(&same));
    assert!(said(&same).contains(" 0 differences"), "{}", said(&same));
    fs::write(site.at("secret"), "secret\n").unwrap();
    let secret = site.at("secret").display().to_string();
    let master = verify(&["--master", "boss", "--master-password-file", &secret, "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&master.stdout).unwrap();
    assert!(json["differences"] == 0 && json["compared"].as_u64().unwrap() > 80, "{}", said(&master));
    let other = verify(&["--uidl", "%v-%u"]);
    assert!(!other.status.success() && said(&other).contains("UIDL of message 1"), "{}", said(&other));
    drop(dovecot);

    // ---- A client works in Culver, is away, and others go on.
    let mut client = log_in(culver);
    client.ok("ENABLE CONDSTORE").unwrap();
    client.ok("SELECT INBOX").unwrap();
    client.ok("STORE 1 +FLAGS (\\Answered)").unwrap();
    let away_since = highest(culver, "INBOX");
    client.ok("STORE 2 -FLAGS (\\Seen)").unwrap();
    client.ok("STORE 4 +FLAGS ($Forwarded tag39)").unwrap();
    client.ok("STORE 5 +FLAGS (tag00)").unwrap();
    client.ok("STORE 6 +FLAGS (\\Deleted)").unwrap();
    client.ok("EXPUNGE").unwrap();
    client.append("INBOX", "(\\Flagged) ", b"Subject: new\r\n\r\nnew\r\n").unwrap();
    client.ok("CREATE Later").unwrap();
    client.ok("SUBSCRIBE Later").unwrap();
    client.ok("UNSUBSCRIBE Vanished").unwrap();
    client.ok("COPY 1 Later").unwrap();
    client.ok("LOGOUT").unwrap();
    let mut wanted = picture(culver);
    let our_highest = highest(culver, "INBOX");
    site.stop();

    // ---- And back.
    documented("culver release --all\n");
    let released = site.culver(&["release", "--all", "--separator", "/"]);
    let text = said(&released);
    assert!(released.status.success(), "{text}");
    assert!(text.contains("tag39 (3 messages)"), "{text}");
    assert_eq!(locks(&site.at("mail")), [""; 0].map(PathBuf::from));
    let lines: Vec<&str> = text.lines().filter(|l| l.starts_with("doveadm ")).collect();
    assert_eq!(lines.len(), 6, "{text}");
    let (dovecot, _) = site.dovecot("");
    for line in lines {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(line).env("PATH", format!("{}:/usr/bin:/bin", site.at("bin").display()));
        assert!(shell.status().unwrap().success(), "{line}\n{}", dovecot.log());
    }
    let (changed, gone) = resync(dovecot.imap(), validity(&wanted), away_since);
    let uids: BTreeSet<u64> = changed.keys().copied().collect();
    assert!(uids.is_superset(&[2, 4, 5, 11].into()), "what happened while it was away: {uids:?}");
    assert!(gone.contains(&6), "{gone:?}");
    assert!(highest(dovecot.imap(), "INBOX") >= our_highest);
    let mut there = picture(dovecot.imap());
    // Keywords without letters are as Dovecot's index had them; Culver added one.
    for map in [&mut wanted, &mut there] {
        let row = map.get_mut("INBOX 4").unwrap();
        *row = row.replace("\"tag39\", ", "").replace(", \"tag39\"", "");
    }
    assert_eq!(there, wanted);
    documented("culver release --all --run");
    let run = site.culver(&["release", "--all", "--run", "--separator", "/"]);
    assert!(run.status.success(), "{}", said(&run));

    // ---- Dovecot goes on for a while, and Culver takes over again, with the state that it had.
    let mut client = log_in(dovecot.imap());
    client.ok("SELECT INBOX").unwrap();
    let away_since = highest(dovecot.imap(), "INBOX");
    client.ok("STORE 1 +FLAGS (\\Flagged)").unwrap();
    client.ok("STORE 3 +FLAGS (\\Deleted)").unwrap();
    client.ok("EXPUNGE").unwrap();
    client.append("INBOX", "", b"Subject: newer\r\n\r\nnewer\r\n").unwrap();
    client.ok("LOGOUT").unwrap();
    let old_highest = highest(dovecot.imap(), "INBOX");
    let wanted = picture(dovecot.imap());
    drop(dovecot);
    let again = site.culver(&["adopt", &site.root().display().to_string()]);
    assert!(again.status.success(), "{}", said(&again));
    let culver = site.serve();
    assert!(highest(culver, "INBOX") > old_highest, "never back");
    let (changed, gone) = resync(culver, validity(&wanted), away_since);
    assert!(changed.contains_key(&1) && changed.contains_key(&12), "{changed:?}");
    assert!(gone.contains(&3), "{gone:?}");
    let mut there = picture(culver);
    let mut wanted = wanted;
    for map in [&mut wanted, &mut there] {
        let row = map.get_mut("INBOX 4").unwrap();
        *row = row.replace("\"tag39\", ", "").replace(", \"tag39\"", "");
    }
    assert_eq!(there, wanted);
    site.stop();
}

#[test]
fn where_files_lie_apart() {
    if let Some(why) = Dovecot::missing() {
        println!("not run: where files lie apart: {why}");
        return;
    }
    for options in [
        ":LAYOUT=fs",
        ":CONTROL=DIR/control:INDEX=DIR/index",
        ":LAYOUT=fs:CONTROL=DIR/control:INDEX=DIR/index",
    ] {
        let mut site = Site::with(options);
        let (dovecot, pop3) = site.dovecot("");
        fill(dovecot.imap());
        let mut session = Pop3::connect(pop3, None).unwrap();
        session.login(USER, "pass").unwrap();
        let uidl = session.uidl().unwrap();
        session.quit();
        let wanted = picture(dovecot.imap());
        let old_highest = highest(dovecot.imap(), "INBOX");
        drop(dovecot);
        let before = everything(&site.at("mail"));
        let look = site.culver(&["adopt", "--dry-run", USER]);
        assert!(
            look.status.success() && said(&look).contains("16 keywords out of"),
            "{options}: {}",
            said(&look)
        );
        assert!(before == everything(&site.at("mail")), "{options}: a dry run changes nothing");
        let done = site.culver(&["adopt", USER]);
        assert!(done.status.success() && !said(&done).contains("! "), "{options}: {}", said(&done));
        let culver = site.serve();
        assert_eq!(picture(culver), wanted, "{options}");
        assert!(highest(culver, "INBOX") > old_highest, "{options}");
        site.stop();
        let (dovecot, pop3) = site.dovecot("");
        assert_eq!(picture(dovecot.imap()), wanted, "{options}: and back");
        let mut session = Pop3::connect(pop3, None).unwrap();
        session.login(USER, "pass").unwrap();
        assert_eq!(session.uidl().unwrap(), uidl, "{options}");
    }
}

fn validity(picture: &BTreeMap<String, String>) -> u64 {
    let text = &picture["INBOX"];
    text.split(|c: char| !c.is_ascii_digit()).find(|n| !n.is_empty()).unwrap().parse().unwrap()
}
