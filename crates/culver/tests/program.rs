//! The program as an administrator meets it: configuration, signals, socket activation, users' files.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

use culver_testkit::{Client, Trust};
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

const CULVER: &str = env!("CARGO_BIN_EXE_culver");

fn run(args: &[&str]) -> Output {
    Command::new(CULVER).args(args).stdin(Stdio::null()).output().unwrap()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Waits for something that will come, or panics with what is known.
fn wait_for<T>(what: &str, log: &Path, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        let told = || fs::read_to_string(log).unwrap_or_default();
        assert!(Instant::now() < until, "{what} did not come; the log:\n{}", told());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A folder with a configuration, and the server that runs on it.
struct Site {
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Site {
    fn new(extra: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The service user must be able to come here.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let site = Self { dir, child: None };
        for (name, mode) in [("state", 0o700), ("home", 0o755)] {
            fs::create_dir(site.at(name)).unwrap();
            fs::set_permissions(site.at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        site.certificate();
        site.configure(extra);
        site
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn certificate(&self) {
        let pair = culver_net::tls::self_signed(&["localhost"]).unwrap();
        fs::write(self.at("key.pem"), pair.key).unwrap();
        fs::write(self.at("cert.pem"), pair.certificate).unwrap();
    }

    fn configure(&self, extra: &str) {
        let root = self.dir.path().display();
        let text = format!(
            "state_dir = \"{root}/state\"\nlog.file = \"{root}/log\"\nmail.roots = [\"{root}/home\"]\n\
             imaps.listen = [\"127.0.0.1:0\"]\n{extra}\n[[tls.certificate]]\ncertificate = \"{root}/cert.pem\"\n\
             key = \"{root}/key.pem\"\n[[directory]]\nsource = \"passwd-file\"\npath = \"{root}/users\"\n\
             domain = [{{ name = \"example.org\", aliases = [\"example.net\"] }}]\n"
        );
        fs::write(self.at("culver.toml"), text).unwrap();
    }

    /// An account with a home of its own; as root also with a uid of its own.
    fn account(&self, name: &str, uid: u32) {
        let home = self.at("home").join(name);
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        let (uid, gid) = if is_root() {
            chown(&home, Some(uid), Some(uid)).unwrap();
            (uid.to_string(), uid.to_string())
        } else {
            (String::new(), String::new())
        };
        let mut users = fs::File::options().create(true).append(true).open(self.at("users")).unwrap();
        writeln!(users, "{name}@example.org:{{PLAIN}}pass:{uid}:{gid}::{}", home.display()).unwrap();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    fn start(&mut self) -> Vec<(String, SocketAddr)> {
        let errors = fs::File::create(self.at("stderr")).unwrap();
        let config = self.at("culver.toml");
        let mut serve = Command::new(CULVER);
        serve
            .arg("serve")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors);
        self.child = Some(serve.spawn().unwrap());
        wait_for("the line that it is ready", &self.at("stderr"), || listeners(&self.log()))
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let log = self.at("log");
        let mut child = self.child.take().unwrap();
        wait_for("the end", &log, || child.try_wait().unwrap())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `... is ready on imap 127.0.0.1:1, imaps 127.0.0.1:2`
fn listeners(log: &str) -> Option<Vec<(String, SocketAddr)>> {
    let line = log.lines().find(|l| l.contains("is ready on "))?;
    let (_, list) = line.split_once("is ready on ")?;
    list.split(", ")
        .map(|one| one.split_once(' '))
        .map(|p| p.and_then(|(n, a)| Some((n.to_owned(), a.parse().ok()?))))
        .collect()
}

fn address(all: &[(String, SocketAddr)], name: &str) -> SocketAddr {
    all.iter().find(|(n, _)| n == name).unwrap().1
}

const LISTEN: &str = "imap.listen = [\"127.0.0.1:0\"]";

#[test]
fn the_configuration_is_checked_shown_and_printed() {
    let site = Site::new("imap.idel_timeout = \"1h\"");
    let file = site.at("culver.toml").display().to_string();
    let check = run(&["config", "--config", &file, "check"]);
    let said = String::from_utf8(check.stdout).unwrap();
    assert_eq!(check.status.code(), Some(1));
    assert!(said.contains(":5:6: error: there is no setting `imap.idel_timeout`"), "{said}");
    assert!(said.contains("= write `idle_timeout`"), "{said}");
    // A server does not start with it, and says the same.
    let serve = run(&["serve", "--config", &file]);
    assert!(
        !serve.status.success() && String::from_utf8(serve.stderr).unwrap().contains("write `idle_timeout`")
    );

    site.configure("imap.idle_timeout = \"1h\"");
    assert!(run(&["config", "check", "--config", &file]).status.success());
    let show = String::from_utf8(run(&["config", "show", "--config", &file]).stdout).unwrap();
    assert!(show.contains(&format!("idle_timeout = \"1h\"  # {file}:5")), "{show}");
    assert!(show.contains("max_connections = 50000  # default"), "{show}");
    let missing = run(&["serve", "--config", "/nowhere/culver.toml"]);
    assert!(String::from_utf8(missing.stderr).unwrap().contains("culver config default"));
    assert!(String::from_utf8(run(&["--version"]).stdout).unwrap().starts_with("culver "));
}

#[test]
fn sigterm_says_goodbye_to_every_session() {
    let mut site = Site::new(LISTEN);
    site.account("anna", 4001);
    let at = site.start();
    let mut plain = Client::connect(address(&at, "imap")).unwrap();
    let mut secret = Client::connect_tls(address(&at, "imaps"), "localhost", &Trust::Anybody).unwrap();
    secret.login("anna@example.net", "pass").unwrap();
    secret.ok("SELECT INBOX").unwrap();
    secret.append("INBOX", "", b"Subject: x\r\n\r\ny\r\n").unwrap();
    site.signal(rustix::process::Signal::TERM);
    assert!(plain.read_raw().unwrap().starts_with(b"* BYE"));
    assert!(secret.read_raw().unwrap().starts_with(b"* BYE"));
    assert!(site.wait().success());
    assert!(site.log().trim_end().ends_with("stopped"), "{}", site.log());
}

#[test]
fn sighup_reads_settings_certificates_and_log_anew() {
    let mut site = Site::new(LISTEN);
    site.account("anna", 4001);
    let at = site.start();
    let mut before = Client::connect(address(&at, "imap")).unwrap();
    before.login("anna@example.org", "pass").unwrap();

    fs::rename(site.at("log"), site.at("log.1")).unwrap();
    site.certificate();
    site.configure(&format!(
        "{LISTEN}\nhostname = \"new\"\nimap.append_limit = \"1KiB\"\nlog.style = \"dovecot\""
    ));
    site.signal(rustix::process::Signal::HUP);
    let reloaded = |log: &str| log.lines().find(|l| l.contains("settings reloaded")).map(str::to_owned);
    let line = wait_for("the reload", &site.at("log"), || reloaded(&site.log()));
    assert!(
        line.ends_with("dovecot: culver: settings reloaded; these count only after a restart: hostname"),
        "{line}"
    );
    assert!(site.log().contains("certificates loaded for localhost"));

    // Sessions of before go on; new ones have the new settings.
    before.ok("SELECT INBOX").unwrap();
    let mut after = Client::connect(address(&at, "imap")).unwrap();
    let reply = after.login("anna@example.org", "pass").unwrap();
    assert!(format!("{:?}", reply.code).contains("APPENDLIMIT=1024"), "{:?}", reply.code);

    // A mistake changes nothing.
    site.configure("imap.append_limit = \"lots\"");
    site.signal(rustix::process::Signal::HUP);
    wait_for("the refusal", &site.at("log"), || site.log().contains("settings not reloaded").then_some(()));
    after.ok("SELECT INBOX").unwrap();
    site.signal(rustix::process::Signal::TERM);
    assert!(site.wait().success());
}

#[test]
fn sessions_of_one_account_have_a_limit_that_names_itself() {
    let mut site = Site::new(&format!("{LISTEN}\nimap.max_sessions = 2"));
    site.account("anna", 4001);
    let imap = address(&site.start(), "imap");
    let mut all: Vec<Client> = (0..3).map(|_| Client::connect(imap).unwrap()).collect();
    all[0].login("anna@example.org", "pass").unwrap();
    all[1].login("anna@example.org", "pass").unwrap();
    let refused = all[2].command("LOGIN anna@example.org pass").unwrap();
    assert!(format!("{:?}", refused.code).contains("LIMIT") && refused.text.contains('2'), "{refused:?}");
    all[0].ok("LOGOUT").unwrap();
    let log = site.at("log");
    wait_for("the place", &log, || all[2].login("anna@example.org", "pass").ok());
}

/// sd_listen_fds(3): descriptors from 3 on, LISTEN_PID is the process itself. Python plays systemd.
#[test]
fn sockets_of_systemd_are_used() {
    const SYSTEMD: &str = "
import os, socket, sys
sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(2)]
high = [os.dup2(s.fileno(), 20 + i) for i, s in enumerate(sockets)]
for i in range(2): os.dup2(20 + i, 3 + i, inheritable=True)
print(*(s.getsockname()[1] for s in sockets), flush=True)
os.environ.update(LISTEN_FDS='2', LISTEN_FDNAMES='imaps:imap', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
";
    let mut site = Site::new("");
    let config = site.at("culver.toml");
    let mut python = Command::new("python3");
    python.args(["-c", SYSTEMD, CULVER, "serve", "--config"]).arg(config);
    let child = python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let Ok(child) = child else {
        println!("not run: socket activation: python3 is missing");
        return;
    };
    site.child = Some(child);
    let at = wait_for("the line that it is ready", &site.at("log"), || listeners(&site.log()));
    assert_eq!(at.len(), 2, "{at:?}");
    assert!(Client::connect(address(&at, "imap")).unwrap().ok("NOOP").is_ok());
    assert!(
        Client::connect_tls(address(&at, "imaps"), "localhost", &Trust::Anybody).unwrap().ok("NOOP").is_ok()
    );
    site.signal(rustix::process::Signal::TERM);
    assert!(site.wait().success());
}

/// Files belong to whom the mail belongs to, the process is nobody in particular, and what it cannot reach as one account it
/// cannot reach for another.
#[test]
fn two_accounts_two_owners_one_process_without_rights() {
    if !is_root() {
        println!("not run: owners of files: only root can make accounts of several users");
        return;
    }
    let mut site = Site::new(&format!("{LISTEN}\nuser = \"nobody\""));
    chown(site.at("state"), Some(65_534), Some(65_534)).unwrap();
    fs::set_permissions(site.at("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(site.at("log"), "").unwrap();
    chown(site.at("log"), Some(65_534), None).unwrap();
    chown(site.dir.path(), Some(65_534), None).unwrap();
    site.account("anna", 4001);
    site.account("bert", 4002);
    let imap = address(&site.start(), "imap");
    let pid = site.child.as_ref().unwrap().id();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches(':').split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Uid"), "65534 65534 65534 65534");
    // CAP_SETGID and CAP_SETUID are numbers 6 and 7.
    assert_eq!(
        (field("CapEff"), field("CapPrm")),
        ("00000000000000c0".to_owned(), "00000000000000c0".to_owned())
    );
    assert_eq!(
        (field("CapBnd"), field("CapAmb")),
        ("00000000000000c0".to_owned(), "0000000000000000".to_owned())
    );
    assert_eq!(field("NoNewPrivs"), "1");
    assert_eq!(field("Groups"), "");
    if site.log().contains("locked in by Landlock and seccomp") {
        assert_eq!(field("Seccomp"), "2");
    } else {
        println!("not run: the sandbox is not whole on this kernel: {}", site.log());
    }

    for (name, uid) in [("anna", 4001), ("bert", 4002)] {
        let mut client = Client::connect(imap).unwrap();
        client.login(&format!("{name}@example.org"), "pass").unwrap();
        client.append("INBOX", "", format!("Subject: of {name}\r\n\r\n{name}\r\n").as_bytes()).unwrap();
        client.ok("CREATE Mine").unwrap();
        client.ok("SELECT INBOX").unwrap();
        assert!(format!("{:?}", client.ok("FETCH 1 BODY[]").unwrap()).contains(name));
        let mail = site.at("home").join(name).join("Mail");
        let mut seen = 0;
        let mut open = vec![mail];
        while let Some(path) = open.pop() {
            let data = fs::symlink_metadata(&path).unwrap();
            assert_eq!((data.uid(), data.gid()), (uid, uid), "{}", path.display());
            assert_eq!(data.mode() & 0o077, 0, "{}", path.display());
            seen += 1;
            if data.is_dir() {
                open.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            }
        }
        assert!(seen > 10);
    }

    // Anna plants links to Bert's mail: a message, and a mailbox.
    let (anna, bert) = (site.at("home/anna/Mail"), site.at("home/bert/Mail"));
    let messages = ["cur", "new"].iter().flat_map(|folder| fs::read_dir(bert.join(folder)).unwrap());
    let message = messages.last().unwrap().unwrap().path();
    std::os::unix::fs::symlink(&message, anna.join("cur/1700000000.M1P1.planted:2,S")).unwrap();
    std::os::unix::fs::symlink(&bert, anna.join(".Planted")).unwrap();
    let mut client = Client::connect(imap).unwrap();
    client.login("anna@example.org", "pass").unwrap();
    client.ok("SELECT INBOX").unwrap();
    let fetched = client.command("FETCH 1:* BODY[]").unwrap();
    assert!(!format!("{fetched:?}").contains("of bert"), "{fetched:?}");
    let selected = client.command("SELECT Planted").unwrap();
    if selected.kind == culver_testkit::value::Kind::Ok {
        let fetched = client.command("FETCH 1:* BODY[]").unwrap();
        assert!(!format!("{fetched:?}").contains("of bert"), "{fetched:?}");
    }
    site.signal(rustix::process::Signal::TERM);
    assert!(site.wait().success());
}

/// `culver demo` goes on where it was.
#[test]
fn the_demo_can_be_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let start = || {
        let _ = fs::remove_file(dir.path().join("ports.json"));
        let out = fs::File::create(&log).unwrap();
        let mut demo = Command::new(CULVER);
        demo.args(["demo", "--base-port", "0", "--users", "2", "--dir"]).arg(dir.path());
        let child = demo.stdin(Stdio::null()).stderr(out.try_clone().unwrap()).stdout(out).spawn().unwrap();
        let port = wait_for("ports.json", &log, || {
            let text = fs::read_to_string(dir.path().join("ports.json")).ok()?;
            let port = text.split_once("\"imap\":")?.1.split([',', '}']).next()?.parse::<u16>().ok()?;
            Some(SocketAddr::from(([127, 0, 0, 1], port)))
        });
        (child, port)
    };
    let end = |mut child: Child| {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&child),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        assert!(wait_for("the end", &log, || child.try_wait().unwrap()).success());
    };
    let (child, at) = start();
    assert!(fs::read_to_string(&log).unwrap().contains("password demo"));
    let mut client = Client::connect(at).unwrap();
    client.login("demo#example.test", "demo").unwrap();
    let first = format!("{:?}", client.ok("STATUS INBOX (UIDVALIDITY UIDNEXT MESSAGES)").unwrap().untagged);
    client.ok("CREATE Kept").unwrap();
    Client::connect(at).unwrap().login("u0002@example.test", "pass").unwrap();
    end(child);
    let (child, at) = start();
    let mut client = Client::connect(at).unwrap();
    client.login("demo@example.test", "demo").unwrap();
    assert_eq!(
        format!("{:?}", client.ok("STATUS INBOX (UIDVALIDITY UIDNEXT MESSAGES)").unwrap().untagged),
        first
    );
    client.ok("SELECT Kept").unwrap();
    end(child);
}
