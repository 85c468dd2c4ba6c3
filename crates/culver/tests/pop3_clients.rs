//! Real POP3 clients: fetchmail, getmail, mpop, curl, Python's poplib; that leave mail on the server, that delete it, and that
//! have been Dovecot's before.
//!
//! A client that is not installed is reported as not run.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and plays other programs on the file system"
)]

use culver_directory::Defaults;
use culver_directory::builtin::{Builtin, NewUser};
use culver_imapc::pop3::Pop3;
use culver_testkit::served::Pair;
use culver_testkit::{Account, Dovecot, Peer, Served, mail};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn served(settings: &str) -> Served {
    let pair = culver_net::tls::self_signed(&["localhost"]).unwrap();
    let pair = Pair { certificate: pair.certificate, key: pair.key };
    Served::start(env!("CARGO_BIN_EXE_culver").as_ref(), settings, Some(&pair)).unwrap()
}

/// Is there such a program? Says so if not.
fn have(program: &str, package: &str) -> bool {
    let found =
        std::env::var_os("PATH").is_some_and(|p| std::env::split_paths(&p).any(|d| d.join(program).exists()));
    if !found {
        println!("not run: {program}: apt-get install {package}");
    }
    found
}

/// Puts the ten messages of `ten.mbox` into an account's INBOX.
fn fill(server: &dyn Peer, account: &Account) {
    let mut client = server.log_in(account).unwrap();
    for message in mail::fixture("ten.mbox").unwrap() {
        client.append("INBOX", &format!("\"{}\" ", message.date), &message.bytes).unwrap();
    }
}

fn add_one(server: &dyn Peer, account: &Account) {
    let mut client = server.log_in(account).unwrap();
    client
        .append("INBOX", "", b"Subject: One more\r\nMessage-ID: <more@example.test>\r\n\r\nmore\r\n")
        .unwrap();
}

fn on_server(server: &dyn Peer, account: &Account) -> u64 {
    let mut client = server.log_in(account).unwrap();
    let reply = client.ok("STATUS INBOX (MESSAGES)").unwrap();
    reply.data("STATUS").next().unwrap()[2].list().unwrap()[1].number().unwrap()
}

/// Runs it to its end, a minute at most: exit code and what it said.
fn run(command: &mut Command) -> (i32, String) {
    let mut limited = Command::new("timeout");
    limited.arg("60").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    let out = limited.stdin(Stdio::null()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.code().unwrap_or(-1), text)
}

/// What a client does with mail that it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Keep,
    Delete,
}

/// A client with a folder of its own, where it remembers what it has.
trait Client {
    /// Runs it once.
    fn fetch(&self, at: SocketAddr, account: &Account, mode: Mode, dir: &Path);
    /// Messages that it has put into the folder so far.
    fn count(&self, dir: &Path) -> usize {
        ["new", "cur"].iter().map(|sub| fs::read_dir(dir.join("mail").join(sub)).unwrap().count()).sum()
    }
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

struct Fetchmail;
impl Client for Fetchmail {
    fn fetch(&self, at: SocketAddr, account: &Account, mode: Mode, dir: &Path) {
        let keep = if mode == Mode::Keep { "keep" } else { "no keep" };
        // Each message goes to a file of its own.
        let mda = format!("mktemp -p {0}/mail/new > {0}/name && cat > $(cat {0}/name)", dir.display());
        private(
            &dir.join("fetchmailrc"),
            &format!(
                "set no bouncemail\npoll 127.0.0.1 service {} protocol pop3 uidl\n user \"{}\" password \"{}\"\n \
                 sslproto '' {keep} fetchall mda \"{mda}\"\n",
                at.port(),
                account.user,
                account.password
            )
            .replace(" fetchall", if mode == Mode::Keep { "" } else { " fetchall" }),
        );
        let mut command = Command::new("fetchmail");
        command.arg("--nosyslog").arg("-v").arg("-f").arg(dir.join("fetchmailrc"));
        command.arg("--pidfile").arg(dir.join("pid")).env("FETCHMAILHOME", dir).env("HOME", dir);
        let (code, text) = run(&mut command);
        // 1: there was nothing.
        assert!(code == 0 || code == 1, "{code}: {text}");
    }
}

/// User and group `nobody` of Debian.
const NOBODY: u32 = 65534;

struct Getmail;
impl Client for Getmail {
    fn fetch(&self, at: SocketAddr, account: &Account, mode: Mode, dir: &Path) {
        // It does not write mail as root.
        let user = if rustix::process::geteuid().is_root() { "user = nobody\n" } else { "" };
        if !user.is_empty() {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
            for sub in ["", "new", "cur", "tmp"] {
                chown(dir.join("mail").join(sub), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        private(
            &dir.join("getmailrc"),
            &format!(
                "[retriever]\ntype = SimplePOP3Retriever\nserver = 127.0.0.1\nport = {}\nusername = {}\npassword = {}\n\
                 [destination]\ntype = Maildir\npath = {}/mail/\n{user}[options]\nread_all = false\ndelete = {}\n\
                 delivered_to = false\nreceived = false\n",
                at.port(),
                account.user,
                account.password,
                dir.display(),
                mode == Mode::Delete
            ),
        );
        let mut command = Command::new("getmail");
        command.arg("--getmaildir").arg(dir).arg("--rcfile").arg("getmailrc").env("HOME", dir);
        let (code, text) = run(&mut command);
        assert_eq!(code, 0, "{text}");
    }
}

struct Mpop;
impl Client for Mpop {
    fn fetch(&self, at: SocketAddr, account: &Account, mode: Mode, dir: &Path) {
        private(
            &dir.join("mpoprc"),
            &format!(
                "account default\nhost 127.0.0.1\nport {}\nuser {}\npassword {}\nauth user\ntls off\nkeep {}\n\
                 uidls_file {}/uidls\ndelivery maildir {}/mail\n",
                at.port(),
                account.user,
                account.password,
                if mode == Mode::Keep { "on" } else { "off" },
                dir.display(),
                dir.display()
            ),
        );
        let (code, text) = run(Command::new("mpop").arg("-C").arg(dir.join("mpoprc")).env("HOME", dir));
        assert_eq!(code, 0, "{text}");
    }
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for sub in ["new", "cur", "tmp"] {
        fs::create_dir_all(dir.path().join("mail").join(sub)).unwrap();
    }
    dir
}

/// Keeps, then gets what is new, then deletes.
fn keeps_and_deletes(client: &dyn Client) {
    let server = served("");
    let at = server.pop3().unwrap();
    let account = server.fresh_account();
    fill(&server, &account);
    let dir = folder();
    client.fetch(at, &account, Mode::Keep, dir.path());
    assert_eq!((client.count(dir.path()), on_server(&server, &account)), (10, 10), "all, and they stay");
    client.fetch(at, &account, Mode::Keep, dir.path());
    assert_eq!(client.count(dir.path()), 10, "nothing is downloaded twice");
    add_one(&server, &account);
    client.fetch(at, &account, Mode::Keep, dir.path());
    assert_eq!((client.count(dir.path()), on_server(&server, &account)), (11, 11), "only what is new");

    let account = server.fresh_account();
    fill(&server, &account);
    let dir = folder();
    client.fetch(at, &account, Mode::Delete, dir.path());
    assert_eq!((client.count(dir.path()), on_server(&server, &account)), (10, 0), "all, and they are gone");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
    chown(to, Some(0), Some(0)).unwrap();
}

/// Settings of Dovecot and of Culver that belong together.
const DEFAULTS: (&str, &str) = ("", "");
const COURIERS: (&str, &str) = ("pop3_uidl_format = %v-%u\n", "pop3.uidl_format = \"%v-%u\"\n");
/// Stored with the messages: what the format says does not matter any more.
const STORED: (&str, &str) = ("pop3_uidl_format = X%u\npop3_save_uidl = yes\n", "");

/// A client that had its mail from Dovecot goes on with Culver on the same Maildir: nothing comes twice.
fn goes_on(client: &dyn Client, configurations: &[(&str, &str)]) {
    if let Some(why) = Dovecot::missing() {
        println!("not run: a client of Dovecot's before: {why}");
        return;
    }
    for (theirs, ours) in configurations {
        let dovecot = Dovecot::start_with(theirs).unwrap();
        let Some(at) = dovecot.pop3() else {
            println!("not run: a client of Dovecot's before: apt-get install dovecot-pop3d");
            return;
        };
        let account = dovecot.account("u0001@example.test");
        fill(&dovecot, &account);
        let dir = folder();
        client.fetch(at, &account, Mode::Keep, dir.path());
        assert_eq!(client.count(dir.path()), 10);
        let kept = tempfile::tempdir().unwrap();
        copy(&account.maildir, &kept.path().join("Mail"));
        drop(dovecot);

        // The same address, since clients remember by it.
        let server = served(&format!("{ours}pop3.listen = [\"{at}\"]\n"));
        let account = server.account(&account.user);
        copy(&kept.path().join("Mail"), &account.maildir);
        client.fetch(at, &account, Mode::Keep, dir.path());
        assert_eq!(client.count(dir.path()), 10, "{theirs}: nothing is downloaded twice");
        add_one(&server, &account);
        client.fetch(at, &account, Mode::Keep, dir.path());
        assert_eq!(client.count(dir.path()), 11, "{theirs}: only what is new");
    }
}

#[test]
fn fetchmail() {
    if have("fetchmail", "fetchmail") {
        keeps_and_deletes(&Fetchmail);
        goes_on(&Fetchmail, &[DEFAULTS, STORED]);
    }
}

#[test]
fn getmail() {
    if have("getmail", "getmail6") {
        keeps_and_deletes(&Getmail);
        goes_on(&Getmail, &[DEFAULTS]);
    }
}

#[test]
fn mpop() {
    if have("mpop", "mpop") {
        keeps_and_deletes(&Mpop);
        goes_on(&Mpop, &[COURIERS]);
    }
}

#[test]
fn curl() {
    if !have("curl", "curl") {
        return;
    }
    let server = served("");
    let account = server.fresh_account();
    fill(&server, &account);
    let who = format!("{}:{}", account.user, account.password);
    let (plain, tls) = (server.pop3().unwrap(), server.pop3s().unwrap());
    let bases = [format!("pop3://{plain}"), format!("pop3s://{tls}")];
    for (i, base) in bases.iter().enumerate() {
        let curl = |args: &[&str]| {
            let (code, text) = run(Command::new("curl").args(["-sS", "-k", "-u", &who]).args(args));
            assert_eq!(code, 0, "{text}");
            text
        };
        assert_eq!(curl(&[base]).lines().count(), 10 - i);
        assert!(curl(&[&format!("{base}/3")]).contains(&format!("Number {}", 3 + i)));
        assert!(curl(&[base, "-X", "UIDL"]).starts_with("1 "));
        assert!(curl(&["--login-options", "AUTH=PLAIN", &format!("{base}/1")]).contains("Number"));
        curl(&[&format!("{base}/1"), "-X", "DELE", "-I"]);
        assert_eq!(on_server(&server, &account), 9 - i as u64);
    }
    let (code, _) = run(Command::new("curl").args(["-sS", "--ssl-reqd", "-k", "-u", &who, &bases[0]]));
    assert_eq!(code, 0, "by STLS");
}

fn python(script: &str, arguments: &[&str]) {
    let path: PathBuf = mail::tests_dir().join("clients").join(script);
    let (code, text) = run(Command::new("python3").arg(path).args(arguments));
    assert!(code == 0 && text.contains("done"), "{text}");
}

#[test]
fn poplib() {
    if !have("python3", "python3") {
        return;
    }
    let server = served("");
    let account = server.fresh_account();
    fill(&server, &account);
    let (plain, tls) = (server.pop3().unwrap().port(), server.pop3s().unwrap().port());
    let (plain, tls) = (plain.to_string(), tls.to_string());
    python("poplib_session.py", &["127.0.0.1", &plain, &tls, &account.user, &account.password]);
    // The lines that other programs read.
    let log = server.log();
    for shape in [
        format!(
            "pop3-login: Login: user=<{}>, method=PLAIN, rip=127.0.0.1, lip=127.0.0.1, mpid=",
            account.user
        ),
        format!("pop3({})<", account.user),
        ">: Disconnected: Logged out top=1/".to_owned(),
        ", retr=10/".to_owned(),
        ", del=1/10, size=".to_owned(),
        "pop3-login: Disconnected: Auth failed (auth failed, 1 attempts in ".to_owned(),
    ] {
        assert!(log.contains(&shape), "{shape}:\n{log}");
    }
}

/// APOP is offered where all passwords are stored in the clear, and taken away as soon as one is not.
#[test]
fn apop() {
    if !have("python3", "python3") {
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().display().to_string();
    fs::create_dir(temp.path().join("state")).unwrap();
    let defaults = Defaults {
        mail: "maildir:~/Mail".to_owned(),
        home: Some(format!("{root}/mail/%u")),
        ..Defaults::default()
    };
    let directory = Builtin::open(&temp.path().join("state/directory.sqlite"), defaults).unwrap();
    directory.add_domain("example.test").unwrap();
    let add = |name: &str, password: &str| {
        let user = NewUser { password: Some(password.to_owned()), ..NewUser::default() };
        directory.add_user(name, &user).unwrap();
    };
    add("u@example.test", "{PLAIN}long and secret");
    let config = format!(
        "state_dir = \"{root}/state\"\nsandbox = false\nlog.file = \"{root}/log\"\nauth.failure_delay = \"0s\"\n\
         imap.listen = [\"127.0.0.1:0\"]\npop3.listen = [\"127.0.0.1:0\"]\n[[directory]]\nsource = \"builtin\"\n\
         home = \"{root}/mail/%u\"\n"
    );
    let server = Served::on(env!("CARGO_BIN_EXE_culver").as_ref(), temp, &config).unwrap();
    let at = server.pop3().unwrap();
    python("apop_session.py", &["127.0.0.1", &at.port().to_string(), "u@example.test", "long and secret"]);
    assert!(Pop3::connect(at, None).unwrap().greeting.contains('<'));

    add("v@example.test", "{SSHA256}SoB/eG15ZVnBQzRuSzmcaXsHxTYCdbQlZX6BRuUXqZGdnYvt");
    // Seen with the next look-up.
    drop(Pop3::connect(at, None).unwrap().login("u@example.test", "long and secret"));
    assert!(!Pop3::connect(at, None).unwrap().greeting.contains('<'));
}
