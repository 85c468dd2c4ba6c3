//! The same requests to the auth sockets of Debian's Dovecot 2.3.19: the answers have the same form, byte for byte, apart
//! from process ids, cookies and challenges.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod common;

use common::{FAR, Raw, Server, plain};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DOVECOT: &str = "/usr/sbin/dovecot";

/// A private Dovecot with the accounts of [`common::accounts`].
struct Dovecot {
    dir: tempfile::TempDir,
    child: Child,
}

impl Dovecot {
    /// `None`, with the reason printed, where there is none.
    fn start() -> Option<Self> {
        if !Path::new(DOVECOT).exists() || !rustix::process::geteuid().is_root() {
            println!("not run: {DOVECOT} is missing (apt-get install dovecot-imapd), or this is not root");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("dovecot-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let d = dir.path().display();
        let users = "anna@example.org:{PLAIN}secret:4001:4001::/srv/anna::userdb_mail=maildir:/srv/anna/Mail \
                     userdb_quota_rule=*:storage=100M\n\
                     near@example.org:{PLAIN}secret:4001:4001::/srv/near::allow_nets=10.0.0.0/8\n";
        fs::write(dir.path().join("users"), users).unwrap();
        let text = format!(
            "protocols = imap\nlisten = 127.0.0.1\nbase_dir = {d}/run\nstate_dir = {d}/state\nlog_path = {d}/log\n\
             ssl = no\nfirst_valid_uid = 1\nfirst_valid_gid = 1\nauth_failure_delay = 0\nauth_username_format = %Lu\n\
             auth_mechanisms = plain login\n\
             passdb {{\n driver = passwd-file\n args = username_format=%u {d}/users\n}}\n\
             userdb {{\n driver = passwd-file\n args = username_format=%u {d}/users\n}}\n\
             service imap-login {{\n inet_listener imap {{\n port = 0\n }}\n inet_listener imaps {{\n port = 0\n }}\n chroot =\n}}\n\
             service anvil {{\n chroot =\n}}\n\
             service auth {{\n unix_listener client {{\n mode = 0666\n }}\n unix_listener auth-login {{\n mode = 0666\n }}\n \
             unix_listener auth-master {{\n mode = 0666\n }}\n}}\n\
             service stats {{\n unix_listener stats-writer {{\n mode = 0666\n }}\n}}\n"
        );
        let conf = dir.path().join("dovecot.conf");
        fs::write(&conf, text).unwrap();
        let mut start = Command::new(DOVECOT);
        start.arg("-F").arg("-c").arg(&conf).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let dovecot = Self { child: start.spawn().unwrap(), dir };
        let until = Instant::now() + Duration::from_secs(20);
        // It listens on one after the other.
        let listens = |name| std::os::unix::net::UnixStream::connect(dovecot.at(name)).is_ok();
        while !["auth-master", "auth-login", "client"].into_iter().all(listens) {
            assert!(
                Instant::now() < until,
                "{}",
                fs::read_to_string(dovecot.dir.path().join("log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(dovecot)
    }

    fn at(&self, socket: &str) -> PathBuf {
        self.dir.path().join("run").join(socket)
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// A handshake without what differs by nature: numbers, cookies, and which mechanisms there are beside PLAIN and LOGIN.
fn handshake(path: &Path) -> Vec<String> {
    let mut raw = Raw::connect(path);
    let mut lines: Vec<String> = Vec::new();
    while lines.last().is_none_or(|last| last != "DONE") {
        let line = raw.line().unwrap();
        let (word, rest) = line.split_once('\t').unwrap_or((&line, ""));
        lines.push(match word {
            "SPID" | "CUID" => {
                format!("{word}\t{}", if rest.parse::<u32>().is_ok() { "number" } else { rest })
            }
            "COOKIE" => format!("COOKIE\t{} digits", rest.len()),
            _ => line,
        });
    }
    let mut mechanisms: Vec<String> = lines.extract_if(.., |l| l.starts_with("MECH")).collect();
    mechanisms.retain(|m| m.contains("\tPLAIN\t") || m.contains("\tLOGIN\t"));
    lines.splice(1..1, mechanisms);
    lines
}

/// Everything that a conversation is answered, until the server is silent: it ends with a request whose answer is known to
/// be the last, or with the connection.
fn converse(mut raw: Raw, requests: &[String]) -> Vec<String> {
    requests.iter().map(|request| raw.ask(request).unwrap_or_else(|| "closed".to_owned())).collect()
}

#[test]
fn the_same_answers_on_the_client_socket() {
    let Some(dovecot) = Dovecot::start() else { return };
    let server = Server::hasty();
    assert_eq!(handshake(&dovecot.at("client")), handshake(&server.client()));
    let auth = |id: u32, user: &str, password: &str| format!("AUTH\t{id}\t{}", plain(user, password, FAR));
    let conversations: Vec<Vec<String>> = vec![
        vec![
            auth(1, "anna@example.org", "guess"),
            auth(1, "nobody@example.org", "guess"),
            // As it was typed, too.
            auth(1, "Anna@Example.ORG", "guess"),
            auth(1, "anna@example.org", ""),
            auth(u32::MAX, "near@example.org", "guess"),
            format!("AUTH\t2\tPLAIN\tservice=smtp\t{FAR}"),
            "CONT\t2\t!!!".to_owned(),
            "AUTH\t3\tPLAIN\tservice=smtp\tresp=!!!".to_owned(),
            "CONT\t77\tYQ==".to_owned(),
            // LOGIN with and without an initial response, two at once.
            format!("AUTH\t4\tLOGIN\tservice=smtp\t{FAR}"),
            format!("AUTH\t5\tLOGIN\tservice=smtp\t{FAR}\tresp=YW5uYUBleGFtcGxlLm9yZw=="),
            "CONT\t4\tYW5uYUBleGFtcGxlLm9yZw==".to_owned(),
            "CONT\t4\tZ3Vlc3M=".to_owned(),
            "CANCEL\t5\nCONT\t5\tc2VjcmV0".to_owned(),
            // Unknown parameters, and addresses that are none.
            auth(6, "nobody@example.org", "x")
                .replace(FAR, "foo=bar\tbaz\trip=x\tlport=y\tsecured=tls\tno-penalty"),
        ],
        vec![format!("AUTH\t1\tLOGIN\tservice=smtp\t{FAR}"), format!("AUTH\t1\tLOGIN\tservice=smtp\t{FAR}")],
        vec![format!("AUTH\t1\tNOSUCH\tservice=smtp\t{FAR}")],
        vec!["AUTH\t1\tPLAIN\tresp=YQ==".to_owned()],
        vec!["AUTH\t0\tPLAIN\tservice=smtp".to_owned()],
        vec!["CPID\t1".to_owned()],
        vec!["FOO\t1".to_owned()],
        vec![String::new()],
        vec![format!("AUTH\t1\tPLAIN\tservice=smtp\tresp={}", "A".repeat(20_000))],
    ];
    for requests in conversations {
        let theirs = converse(Raw::client(&dovecot.at("client"), 2), &requests);
        let ours = converse(Raw::client(&server.client(), 2), &requests);
        assert_eq!(theirs, ours, "{requests:#?}");
    }
    // Dovecot adds an empty field in place of those that are the userdb's.
    let right = [auth(1, "anna@example.org", "secret"), auth(2, "Anna@Example.ORG", "secret")];
    let theirs = converse(Raw::client(&dovecot.at("client"), 2), &right);
    let ours = converse(Raw::client(&server.client(), 2), &right);
    let theirs: Vec<String> =
        theirs.iter().map(|line| line.replace("\t\t", "\t").trim_end().to_owned()).collect();
    assert_eq!(theirs, ours);
}

#[test]
fn the_same_answers_on_the_master_socket() {
    let Some(dovecot) = Dovecot::start() else { return };
    let server = Server::hasty();
    let requests = [
        "USER\t1\tanna@example.org\tservice=lmtp",
        "USER\t0\tANNA@example.org\tservice=lmtp\trip=192.0.2.1\tfoo=bar",
        "USER\t3\tnobody@example.org\tservice=lmtp",
        "USER\t4\tanna\tservice=lmtp",
        "USER\t5\tan\u{1}tna\tservice=lmtp",
        "PASS\t6\tnobody@example.org\tservice=imap",
        "CACHE-FLUSH\t7",
        "CACHE-FLUSH\t8\tanna@example.org",
        "REQUEST\t9\t4711\t1\t0123456789abcdef0123456789abcdef",
        "FOO\t1",
    ];
    let requests = requests.map(str::to_owned);
    let theirs = converse(Raw::master(&dovecot.at("auth-master")), &requests);
    let ours = converse(Raw::master(&server.master()), &requests);
    assert_eq!(theirs, ours);
    for broken in ["USER\t1\tanna@example.org", "USER\t1", "CANCEL\t1", "CPID\t1"] {
        let broken = [broken.to_owned()];
        assert_eq!(converse(Raw::master(&dovecot.at("auth-master")), &broken), ["closed"]);
        assert_eq!(converse(Raw::master(&server.master()), &broken), ["closed"]);
    }
    let list = |mut raw: Raw| {
        raw.send("LIST\t1\tservice=x");
        let mut lines: Vec<String> = Vec::new();
        while lines.last().is_none_or(|l| l.starts_with("LIST")) {
            lines.push(raw.line().unwrap());
        }
        lines
    };
    let (theirs, ours) = (list(Raw::master(&dovecot.at("auth-master"))), list(Raw::master(&server.master())));
    assert_eq!((&theirs[0], theirs.last()), (&ours[0], ours.last()));
}

/// REQUEST: who was it that logged in on a client connection?
#[test]
fn the_same_answer_to_who_it_was() {
    let Some(dovecot) = Dovecot::start() else { return };
    let server = Server::hasty();
    let who = |client: &Path, master: &Path| {
        let mut raw = Raw::connect(client);
        let mut cookie = String::new();
        loop {
            let line = raw.line().unwrap();
            if let Some(text) = line.strip_prefix("COOKIE\t") {
                cookie = text.to_owned();
            } else if line == "DONE" {
                break;
            }
        }
        raw.send("VERSION\t1\t2\nCPID\t4711");
        let login = plain("anna@example.org", "secret", FAR).replace("service=smtp", "service=imap");
        assert!(raw.ask(&format!("AUTH\t1\t{login}")).unwrap().starts_with("OK\t1\tuser=anna@example.org"));
        let requests = [
            "REQUEST\t4\t4711\t1\tdeadbeefdeadbeefdeadbeefdeadbeef".to_owned(),
            format!("REQUEST\t5\t4711\t1\t{cookie}"),
            format!("REQUEST\t6\t4711\t1\t{cookie}"),
        ];
        converse(Raw::master(master), &requests)
    };
    let theirs = who(&dovecot.at("auth-login"), &dovecot.at("auth-master"));
    let ours = who(&server.client(), &server.master());
    // Dovecot tells first what its passdb knew of the userdb's fields.
    let sorted = |answers: &[String]| -> Vec<Vec<String>> {
        let sort = |answer: &String| {
            let mut fields: Vec<String> = answer.split('\t').map(str::to_owned).collect();
            fields.sort();
            fields
        };
        answers.iter().map(sort).collect()
    };
    assert_eq!(sorted(&theirs), sorted(&ours));
    assert!(ours[1].ends_with("\tauth_mech=PLAIN") && theirs[1].ends_with("\tauth_mech=PLAIN"));
}

#[test]
fn the_same_answers_when_the_directory_cannot_be_read() {
    let Some(dovecot) = Dovecot::start() else { return };
    let server = Server::hasty();
    // Its auth process runs as a user of its own, and looks whether the file has changed.
    let users = dovecot.dir.path().join("users");
    let before = converse(
        Raw::master(&dovecot.at("auth-master")),
        &["USER\t1\tanna@example.org\tservice=x".to_owned()],
    );
    assert!(before[0].starts_with("USER\t1\t"), "{before:?}");
    fs::set_permissions(&users, fs::Permissions::from_mode(0o000)).unwrap();
    let touched = fs::File::options().write(true).open(&users).unwrap();
    touched.set_modified(std::time::SystemTime::now() + Duration::from_secs(10)).unwrap();
    let client = |path: &Path, user: &str| {
        let request = format!("AUTH\t1\t{}", plain(user, "secret", FAR));
        let answer = converse(Raw::client(path, 2), &[request]);
        answer[0].replace(user, "USER")
    };
    let ours = client(&server.client(), "broken@example.org");
    assert_eq!(ours, "FAIL\t1\tuser=USER\tcode=temp_fail");
    // It looks once a second.
    let until = Instant::now() + Duration::from_secs(10);
    while client(&dovecot.at("client"), "anna@example.org") != ours {
        assert!(Instant::now() < until, "Dovecot still reads its file");
    }
    let master = |path: &Path, user: &str| {
        let requests = ["USER", "PASS"].map(|word| format!("{word}\t1\t{user}\tservice=x"));
        converse(Raw::master(path), &requests)
    };
    assert_eq!(
        master(&dovecot.at("auth-master"), "anna@example.org"),
        master(&server.master(), "broken@example.org")
    );
}
