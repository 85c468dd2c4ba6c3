//! The program with users of the machine: the helper that it starts itself, from within the sandbox, and one that is a service of
//! its own. Logins by IMAP, deliveries by LMTP, and the verbs of administrators.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and makes its own files"
)]

use culver_testkit::{Client, Peer as _, Served};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const CULVER: &str = env!("CARGO_BIN_EXE_culver");
/// A user that every Debian has; uid and gid of `games`.
const USER: (&str, u32, u32) = ("games", 5, 60);

fn matrix() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten();
    folders.map(|folder| folder.path().join("pam_wrapper/pam_matrix.so")).find(|file| file.exists())
}

fn possible() -> bool {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let there = users.lines().any(|line| line.starts_with("games:x:5:60:"));
    let root = rustix::process::geteuid().is_root();
    if !root || !there || matrix().is_none() {
        println!("not run: system users in the program: needs root, Debian's user games, and libpam-wrapper");
        return false;
    }
    true
}

/// A folder with a PAM service, and the configuration that names it.
fn folder(system: &str, more: &str) -> (tempfile::TempDir, String) {
    let temp = tempfile::Builder::new().prefix("culver-").tempdir().unwrap();
    let root = temp.path().display().to_string();
    fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["state", "mail", "mail/games"] {
        fs::create_dir(temp.path().join(name)).unwrap();
    }
    chown(temp.path().join("mail/games"), Some(USER.1), Some(USER.2)).unwrap();
    fs::write(temp.path().join("passwords"), "games:secret:mail\nroot:secret:mail\n").unwrap();
    let module = format!("{} passdb={root}/passwords", matrix().unwrap().display());
    let service = format!("auth required {module}\naccount required {module}\n");
    fs::create_dir(temp.path().join("pam.d")).unwrap();
    fs::write(temp.path().join("pam.d/mail"), service).unwrap();
    let text = format!(
        "state_dir = \"{root}/state\"\nlog.file = \"{root}/log\"\nauth.failure_delay = \"0s\"\nauth.first_valid_uid = 2\n\
         imap.listen = [\"127.0.0.1:0\"]\nimaps.listen = []\nmail.roots = [\"{root}/mail\"]\nmail.location = \"{root}/mail/%n\"\n\
         lmtp.listen = []\nlmtp.unix = [{{ path = \"{root}/lmtp\" }}]\nauth_socket.master = [{{ path = \"{root}/master\" }}]\n{more}\n\
         [[directory]]\nsource = \"system\"\ndomains = [\"example.org\", \"example.net\"]\ncache.entries = 0\n\
         [directory.system]\npam_service = \"{root}/pam.d/mail\"\n{}\n",
        system.replace("ROOT", &root)
    );
    (temp, text)
}

fn culver(arguments: &[&str], server: &Served) -> Output {
    let config = server.dir().join("culver.toml");
    let mut command = Command::new(CULVER);
    command.args(arguments).arg("--config").arg(config).stdin(Stdio::null()).output().unwrap()
}

fn log_in(server: &Served, user: &str, password: &str) -> Result<Client, String> {
    let mut client = Client::connect(server.imap()).unwrap();
    client.login(user, password).map_err(|why| format!("{why:#}"))?;
    Ok(client)
}

/// Delivers a message; the answer to the recipient, and to the message if it was sent.
fn deliver(server: &Served, to: &str) -> String {
    let mut stream = UnixStream::connect(server.dir().join("lmtp")).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut reply = || {
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 0 && line.lines().last().unwrap().as_bytes()[3] == b'-' {
        }
        line
    };
    reply();
    let mut say = |text: String| {
        stream.write_all(text.as_bytes()).unwrap();
        reply()
    };
    say("LHLO test\r\n".to_owned());
    say("MAIL FROM:<a@example.com>\r\n".to_owned());
    let answer = say(format!("RCPT TO:<{to}>\r\n"));
    if !answer.starts_with("250") {
        return answer;
    }
    assert!(say("DATA\r\n".to_owned()).starts_with("354"));
    say("Subject: delivered\r\n\r\ntext\r\n.\r\n".to_owned())
}

/// Everything that is the same whoever started the helper.
fn works(server: &Served) {
    for (user, password, expected) in [
        ("games@example.org", "secret", Ok(())),
        ("Games@Example.Net", "secret", Ok(())),
        ("games@example.org", "wrong", Err("AUTHENTICATIONFAILED")),
        ("games@example.com", "secret", Err("AUTHENTICATIONFAILED")),
        ("root@example.org", "secret", Err("AUTHENTICATIONFAILED")),
        ("nobody-at-all@example.org", "secret", Err("AUTHENTICATIONFAILED")),
    ] {
        match (log_in(server, user, password), expected) {
            (Ok(_), Ok(())) => {}
            (Err(why), Err(expected)) if why.contains(expected) => {}
            (found, _) => {
                let found = found.map(|_| ());
                panic!("{user} {password}: {found:?}; the log:\n{}", server.log())
            }
        }
    }
    assert!(deliver(server, "games@example.net").starts_with("250"), "{}", server.log());
    assert!(deliver(server, "root@example.org").starts_with("550"), "{}", server.log());
    assert!(deliver(server, "nobody-at-all@example.org").starts_with("550"));
    let mut games = log_in(server, "games@example.org", "secret").unwrap();
    let selected = games.ok("SELECT INBOX").unwrap();
    assert!(format!("{selected:?}").contains("[1, EXISTS]"), "{selected:?}");
    let new = fs::read_dir(server.dir().join("mail/games/cur")).unwrap();
    let new = new.chain(fs::read_dir(server.dir().join("mail/games/new")).unwrap());
    let owners: Vec<_> =
        new.map(|file| file.unwrap().metadata().unwrap()).map(|m| (m.uid(), m.gid())).collect();
    assert_eq!(owners, [(USER.1, USER.2)]);
    // The running server is asked, and without it the same comes out.
    let right = culver(&["auth", "test", "games@example.org", "secret"], server);
    assert!(right.status.success(), "{right:?}");
    let wrong = culver(&["auth", "test", "games@example.org", "wrong"], server);
    assert_eq!(wrong.status.code(), Some(77), "{wrong:?}");
    let lookup = culver(&["auth", "lookup", "games@example.net"], server);
    let text = String::from_utf8(lookup.stdout).unwrap();
    assert!(text.contains("/usr/games") && text.contains("60"), "{text}");
    let unknown = culver(&["auth", "lookup", "root@example.org"], server);
    assert_eq!(unknown.status.code(), Some(67), "{unknown:?}");
}

/// The processes that this one has started: the helpers' parents of a server, the helper of a parent.
fn children_of(pid: u32) -> Vec<u32> {
    let children = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let lists = children.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split(' ').filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

fn only_child(pid: u32) -> u32 {
    let children = children_of(pid);
    let [child] = children[..] else { panic!("{children:?}") };
    child
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn the_helper_that_the_server_starts() {
    if !possible() {
        return;
    }
    // The server is the user nobody, in the sandbox; the helper stays root.
    let (temp, text) = folder("", "user = \"nobody\"");
    chown(temp.path().join("state"), Some(65534), Some(65534)).unwrap();
    fs::write(temp.path().join("log"), "").unwrap();
    chown(temp.path().join("log"), Some(65534), Some(65534)).unwrap();
    let server = Served::on(Path::new(CULVER), temp, &text).unwrap();
    works(&server);
    let parent = only_child(server.pid());
    let helper = only_child(parent);
    assert_eq!(fs::metadata(format!("/proc/{parent}")).unwrap().uid(), 0);
    assert_eq!(fs::metadata(format!("/proc/{helper}")).unwrap().uid(), 0);
    assert_eq!(fs::metadata(format!("/proc/{}", server.pid())).unwrap().uid(), 65534);

    // A helper that dies is started again, and the log has a line of it.
    assert!(!server.log().contains("was started again"), "{}", server.log());
    kill(helper);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while let Err(why) = log_in(&server, "games@example.org", "secret") {
        // Whoever asks the one that is just dying.
        assert!(why.contains("UNAVAILABLE"), "{why}");
        assert!(std::time::Instant::now() < until, "it is not started again: {}", server.log());
    }
    let again = only_child(parent);
    assert_ne!(again, helper);
    assert_eq!(server.log().matches("was started again").count(), 1, "{}", server.log());
    assert!(server.log().contains("(signal: 9 (SIGKILL))"), "{}", server.log());
    assert!(deliver(&server, "games@example.org").starts_with("250"), "{}", server.log());
    // The helper does not need its parent.
    kill(parent);
    while is_alive(parent) {
        std::thread::yield_now();
    }
    log_in(&server, "games@example.org", "secret").unwrap();

    // Without both: an outage, for logins and for mail, and the log says what to do.
    kill(again);
    while is_alive(again) {
        std::thread::yield_now();
    }
    let why = log_in(&server, "games@example.org", "secret").map(|_| ()).unwrap_err();
    assert!(why.contains("UNAVAILABLE"), "{why}");
    assert!(deliver(&server, "games@example.org").starts_with("451"), "{}", server.log());
    assert!(server.log().contains("restart culver"), "{}", server.log());
}

/// pam_access sees the client's address, whatever was remembered of logins from elsewhere.
#[test]
fn who_may_come_from_where() {
    if !possible() {
        return;
    }
    let (temp, text) = folder("", "");
    let root = temp.path().display().to_string();
    let service = fs::read_to_string(temp.path().join("pam.d/mail")).unwrap();
    let access = format!("{service}account required pam_access.so nodefgroup accessfile={root}/access\n");
    fs::write(temp.path().join("pam.d/mail"), access).unwrap();
    fs::write(temp.path().join("access"), "+ : games : 127.0.0.1\n- : ALL : ALL\n").unwrap();
    let text = text.replace("cache.entries = 0", "cache.entries = 100");
    let client = format!("auth_socket.client = [{{ path = \"{root}/client\" }}]\nauth_socket.master");
    let text = text.replace("auth_socket.master", &client);
    assert!(text.contains("cache.entries = 100") && text.contains("/client"));
    let server = Served::on(Path::new(CULVER), temp, &text).unwrap();
    log_in(&server, "games@example.org", "secret").unwrap();
    // The one from elsewhere comes by the auth socket.
    let test = |ip: &str| {
        culver(&["auth", "test", "games@example.org", "secret", "-x", &format!("rip={ip}")], &server)
            .status
            .code()
    };
    assert_eq!([test("127.0.0.1"), test("192.0.2.1"), test("127.0.0.1")], [Some(0), Some(77), Some(0)]);
    fs::write(server.dir().join("access"), "- : ALL : ALL\n").unwrap();
    assert_eq!(test("192.0.2.2"), Some(77));
}

#[test]
fn the_helper_ends_with_the_server() {
    if !possible() {
        return;
    }
    let (temp, text) = folder("", "");
    let server = Served::on(Path::new(CULVER), temp, &text).unwrap();
    log_in(&server, "games@example.org", "secret").unwrap();
    let parent = only_child(server.pid());
    let helper = only_child(parent);
    drop(server);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while is_alive(helper) || is_alive(parent) {
        assert!(std::time::Instant::now() < until, "it goes on");
        std::thread::yield_now();
    }
}

#[test]
fn a_helper_of_its_own() {
    if !possible() {
        return;
    }
    let (temp, text) = folder("helper = \"ROOT/run/socket\"", "user = \"nobody\"");
    let root = temp.path().display().to_string();
    chown(temp.path().join("state"), Some(65534), Some(65534)).unwrap();
    fs::write(temp.path().join("log"), "").unwrap();
    chown(temp.path().join("log"), Some(65534), Some(65534)).unwrap();
    fs::create_dir(temp.path().join("run")).unwrap();
    let server = Served::on(Path::new(CULVER), temp, &text).unwrap();
    // It is not there yet: the configuration's check and the log say so, logins fail for the moment.
    let check = culver(&["config", "check"], &server);
    let told = String::from_utf8(check.stdout).unwrap();
    assert!(told.contains(&format!("there is no helper at {root}/run/socket")), "{told}");
    assert!(server.log().contains("there is no helper at"), "{}", server.log());
    let why = log_in(&server, "games@example.org", "secret").map(|_| ()).unwrap_err();
    assert!(why.contains("UNAVAILABLE"), "{why}");
    assert!(server.log().contains("culver-pam-helper.service"), "{}", server.log());

    let socket = format!("{root}/run/socket");
    let mut helper = Command::new(CULVER);
    helper.args(["pam-helper", "--listen", &socket, "--owner", "nobody", "--first-valid-uid", "2"]);
    let mut helper = Ended(helper.args(["--service", &format!("{root}/pam.d/mail")]).spawn().unwrap());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // It is bound first, and given to the server's user then.
    let is_theirs = || fs::metadata(&socket).is_ok_and(|found| found.uid() == 65534);
    while !is_theirs() || UnixStream::connect(&socket).is_err() {
        assert!(
            std::time::Instant::now() < until,
            "the helper does not listen, or its socket is not the server's"
        );
        std::thread::yield_now();
    }
    works(&server);
    let check = culver(&["config", "check"], &server);
    assert!(!String::from_utf8(check.stdout).unwrap().contains("there is no helper"));
    fs::remove_file(server.dir().join("pam.d/mail")).unwrap();
    let check = culver(&["config", "check"], &server);
    assert!(String::from_utf8(check.stdout).unwrap().contains("there is no PAM service"));
    let why = log_in(&server, "games@example.org", "secret").map(|_| ()).unwrap_err();
    assert!(why.contains("UNAVAILABLE"), "{why}");
    helper.0.kill().unwrap();
    helper.0.wait().unwrap();
}

/// A process that ends with the test, also when it fails.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
