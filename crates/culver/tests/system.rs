//! Users of the machine, as the source of accounts sees them: the helper process with PAM's own modules and those of pam_wrapper,
//! and users invented by nss_wrapper.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and makes its own files"
)]

use culver_directory::system::protocol::{Answer, Question};
use culver_directory::system::{Helper, System, SystemSettings};
use culver_directory::{Defaults, Fields, Login, Outage, Secret, Source as _, Verdict};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CULVER: &str = env!("CARGO_BIN_EXE_culver");
const FOLDER: &str = "/usr/lib/x86_64-linux-gnu";

/// A library of Debian's, wherever this architecture has it.
fn library(name: &str) -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").unwrap().flatten().map(|entry| entry.path());
    [PathBuf::from(FOLDER)]
        .into_iter()
        .chain(folders)
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
}

fn missing() -> bool {
    let there = library("pam_wrapper/pam_matrix.so").is_some() && library("libnss_wrapper.so").is_some();
    if !there {
        println!("not run: system users: libpam-wrapper or libnss-wrapper is missing: cargo xtask debian");
    }
    !there
}

/// A PAM service in a folder of the test's own, with the users that it knows and those that NSS knows.
struct Machine {
    dir: tempfile::TempDir,
    helper: Option<Child>,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap(), helper: None };
        fs::set_permissions(machine.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // pam_matrix's own format: user, password, service.
        let users = "anna:secret:mail\nbert:b\tc\\d:mail\nroot:secret:mail\ndaemon:secret:mail\nslow:secret:mail\n\
                     ghost:secret:mail\ncarl:secret:other\n";
        fs::write(machine.at("passwords"), users).unwrap();
        let root = machine.dir.path().display();
        let passwd = format!(
            "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/usr/sbin:/bin/sh\nanna:x:5001:5001::{root}/home/anna:/bin/sh\n\
             bert:x:5002:5002::{root}/home/100%:/bin/sh\nslow:x:5003:5003::{root}/home/slow:/bin/sh\n\
             nobody:x:65534:65534::/nonexistent:/bin/sh\n"
        );
        fs::write(machine.at("passwd"), passwd).unwrap();
        fs::write(machine.at("group"), "root:x:0:\n").unwrap();
        machine.service("mail", "auth required MATRIX verbose\naccount required MATRIX");
        machine
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    /// Writes the file of a service; MATRIX is the module that has the passwords.
    fn service(&self, name: &str, text: &str) {
        let module = library("pam_wrapper/pam_matrix.so").unwrap();
        let matrix = format!("{} passdb={}", module.display(), self.path("passwords"));
        let chatty = library("pam_wrapper/pam_chatty.so").unwrap().display().to_string();
        let text = text.replace("MATRIX", &matrix).replace("CHATTY", &chatty);
        fs::write(self.at(name), text + "\n").unwrap();
    }

    fn script(&self, name: &str, text: &str) -> String {
        fs::write(self.at(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(0o755)).unwrap();
        self.path(name)
    }

    /// Starts the helper for these services, and waits until it listens.
    fn start(&mut self, services: &[&str], arguments: &[&str]) {
        let mut command = Command::new(CULVER);
        command.args(["pam-helper", "--listen", &self.path("socket")]).args(arguments);
        for service in services {
            command.args(["--service", &self.path(service)]);
        }
        command
            .env("LD_PRELOAD", library("libnss_wrapper.so").unwrap())
            .env("NSS_WRAPPER_PASSWD", self.at("passwd"))
            .env("NSS_WRAPPER_GROUP", self.at("group"));
        self.helper = Some(command.stdin(Stdio::null()).spawn().unwrap());
        let until = Instant::now() + Duration::from_secs(30);
        while UnixStream::connect(self.at("socket")).is_err() {
            assert!(Instant::now() < until, "the helper does not listen");
            assert_eq!(self.helper.as_mut().unwrap().try_wait().unwrap(), None, "the helper ended");
            std::thread::yield_now();
        }
    }

    fn stop(&mut self) {
        if let Some(mut helper) = self.helper.take() {
            helper.kill().unwrap();
            helper.wait().unwrap();
        }
    }

    fn settings(&self, service: &str) -> SystemSettings {
        SystemSettings {
            service: Some(self.path(service)),
            user: "%n".to_owned(),
            users: true,
            first_valid_uid: 500,
            domains: vec!["example.org".to_owned(), "example.net".to_owned()],
            timeout: Duration::from_secs(30),
            fields: Fields::default(),
            defaults: Defaults { mail: "maildir:~/Maildir".to_owned(), ..Defaults::default() },
        }
    }

    fn source(&self, service: &str) -> System {
        System::new(self.settings(service), Helper::At(self.at("socket")))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
    }
}

fn login(name: &str) -> Login {
    Login::parse(format!("{name}@example.org").as_bytes()).unwrap()
}

async fn check(source: &System, user: &str, password: &str) -> Result<Verdict, String> {
    check_from(source, user, password, None).await
}

async fn check_from(
    source: &System,
    user: &str,
    password: &str,
    remote: Option<&str>,
) -> Result<Verdict, String> {
    let remote = remote.map(|ip| ip.parse().unwrap());
    source.check(&login(user), password.as_bytes(), remote).await.map_err(|why: Outage| why.why)
}

#[tokio::test]
async fn passwords_by_pam() {
    if missing() {
        return;
    }
    let mut machine = Machine::new();
    machine.service(
        "twice",
        "auth required MATRIX\nauth required MATRIX verbose\naccount required pam_permit.so",
    );
    machine.service(
        "chatty",
        "auth required CHATTY num_lines=16 info error\nauth required MATRIX\naccount required pam_permit.so",
    );
    // A prompt that shows what is typed asks for the name (as Dovecot takes it).
    machine.service("shown", "auth required MATRIX echo\naccount required pam_permit.so");
    machine.service("denied", "auth required pam_deny.so\naccount required pam_deny.so");
    machine.service("broken", "auth required pam_there_is_no_such.so\naccount required pam_permit.so");
    for (name, code) in [
        ("expired", "new_authtok_reqd"),
        ("stale", "authtok_expired"),
        ("disabled", "acct_expired"),
        ("refused", "perm_denied"),
        ("down", "authinfo_unavail"),
    ] {
        machine.service(name, &format!("auth required MATRIX\naccount required pam_debug.so acct={code}"));
    }
    let services = [
        "mail",
        "twice",
        "chatty",
        "shown",
        "denied",
        "broken",
        "expired",
        "stale",
        "disabled",
        "refused",
        "down",
        "not-there",
    ];
    machine.start(&services, &[]);
    let expired = Verdict::Disabled { reason: "it has expired".to_owned() };
    for (service, user, password, expected) in [
        ("mail", "anna", "secret", Verdict::Right),
        ("mail", "anna", "Secret", Verdict::Wrong),
        ("mail", "anna", "", Verdict::Wrong),
        ("mail", "anna", "secret\0", Verdict::Wrong),
        ("mail", "bert", "b\tc\\d", Verdict::Right),
        ("mail", "stranger", "secret", Verdict::Wrong),
        // Known to PAM and not to NSS.
        ("mail", "ghost", "secret", Verdict::Right),
        // pam_matrix lets this one use another service only.
        ("mail", "carl", "secret", Verdict::Wrong),
        // The right password of users below the least uid is never asked about.
        ("mail", "root", "secret", Verdict::Wrong),
        ("mail", "daemon", "secret", Verdict::Wrong),
        ("twice", "anna", "secret", Verdict::Right),
        ("twice", "anna", "wrong", Verdict::Wrong),
        ("chatty", "anna", "secret", Verdict::Right),
        ("shown", "anna", "secret", Verdict::Wrong),
        ("denied", "anna", "secret", Verdict::Wrong),
        ("expired", "anna", "secret", Verdict::Expired),
        ("expired", "anna", "wrong", Verdict::Wrong),
        ("stale", "anna", "secret", Verdict::Expired),
        ("disabled", "anna", "secret", expired),
        ("refused", "anna", "secret", Verdict::Wrong),
    ] {
        let found = check(&machine.source(service), user, password).await;
        assert_eq!(found, Ok(expected), "{service} {user} {password:?}");
    }
    for (service, word) in [
        ("broken", "PAM: Module is unknown"),
        ("down", "PAM: Authentication service cannot retrieve authentication info"),
        ("not-there", "there is no "),
        ("never-named", "was not started for the PAM service"),
    ] {
        let why = check(&machine.source(service), "anna", "secret").await.unwrap_err();
        assert!(why.contains(word), "{service}: {why}");
    }
    // A file that comes later is found without a new start.
    machine.service("not-there", "auth required MATRIX\naccount required pam_permit.so");
    assert_eq!(check(&machine.source("not-there"), "anna", "secret").await, Ok(Verdict::Right));
}

#[tokio::test]
async fn users_by_nss() {
    if missing() {
        return;
    }
    let mut machine = Machine::new();
    machine.start(&["mail"], &[]);
    let source = machine.source("mail");
    let home = machine.at("home");
    for (user, expected) in [
        ("anna", Some((5001, home.join("anna")))),
        ("bert", Some((5002, home.join("100%")))),
        ("root", None),
        ("daemon", None),
        ("stranger", None),
        ("ghost", None),
    ] {
        let found = source.find(&login(user)).await.unwrap();
        let found = found.map(|a| {
            assert_eq!(a.name, format!("{user}@example.org"));
            assert_eq!((a.uid, &a.secret), (a.gid, &Secret::Ask));
            assert_eq!(a.mail.root, a.home.as_ref().unwrap().join("Maildir"));
            (a.uid.unwrap(), a.home.clone().unwrap())
        });
        assert_eq!(found, expected, "{user}");
        assert_eq!(source.credentials(&login(user)).await.unwrap().is_some(), expected.is_some(), "{user}");
    }
    // One user, whichever of the domains; none in others.
    let other = Login::parse(b"anna@example.net").unwrap();
    assert_eq!(source.find(&other).await.unwrap().unwrap().name, "anna@example.org");
    assert_eq!(source.primary(&other), Some(login("anna")));
    assert_eq!(source.primary(&login("anna")), None);
    let stranger = Login::parse(b"anna@example.com").unwrap();
    assert!(source.find(&stranger).await.unwrap().is_none());
    assert!(source.credentials(&stranger).await.unwrap().is_none());
    assert!(source.has_domain("example.net").await.unwrap());
    assert!(!source.has_domain("example.com").await.unwrap());
    // Neither root and daemon, nor nobody.
    let mut names = source.names().await.unwrap();
    names.sort();
    assert_eq!(names, ["anna@example.org", "bert@example.org", "slow@example.org"]);
    // PAM alone: whoever it is, PAM may know them; but not those below the least uid.
    let pam = SystemSettings { users: false, ..machine.settings("mail") };
    let pam = System::new(pam, Helper::At(machine.at("socket")));
    let found = pam.credentials(&login("ghost")).await.unwrap().unwrap();
    assert!(!found.whole);
    assert_eq!(check(&pam, "ghost", "secret").await, Ok(Verdict::Right));
    assert_eq!(check(&pam, "root", "secret").await, Ok(Verdict::Wrong));
}

/// A module that hangs: its question is given up, others are answered meanwhile, and the next one too.
#[tokio::test]
async fn a_module_that_hangs() {
    if missing() {
        return;
    }
    let mut machine = Machine::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, machine.at("fifo"), rustix::fs::Mode::from_raw_mode(0o600))
        .unwrap();
    let hang = format!("[ \"$PAM_USER\" = slow ] && read line < {}\nexit 0", machine.path("fifo"));
    let script = machine.script("hang", &hang);
    machine.service(
        "mail",
        &format!(
            "auth required pam_exec.so quiet {script}\nauth required MATRIX\naccount required pam_permit.so"
        ),
    );
    machine.start(&["mail"], &["--workers", "2", "--timeout", "0.4"]);
    let source = machine.source("mail");
    let (slow, quick) = tokio::join!(check(&source, "slow", "secret"), async {
        let asked = Instant::now();
        let verdict = check(&source, "anna", "secret").await;
        (verdict, asked.elapsed())
    });
    let why = slow.unwrap_err();
    assert!(why.contains("took longer than 0.4 s"), "{why}");
    assert_eq!(quick.0, Ok(Verdict::Right), "after {:?}", quick.1);
    for _ in 0..4 {
        assert_eq!(check(&source, "anna", "secret").await, Ok(Verdict::Right));
    }
    // With all workers in it, questions wait and are answered afterwards.
    let (one, two, three) = tokio::join!(
        check(&source, "slow", "x"),
        check(&source, "slow", "y"),
        check(&source, "anna", "secret")
    );
    assert!(one.is_err() && two.is_err());
    assert_eq!(three, Ok(Verdict::Right));
    // Without readers a FIFO cannot be opened so (ENXIO): the scripts that hung are gone then.
    let open = || fs::File::options().write(true).custom_flags(libc::O_NONBLOCK).open(machine.at("fifo"));
    while open().is_ok() {
        std::thread::yield_now();
    }
}

/// A module that crashes takes its own process with it and nothing else.
#[tokio::test]
async fn a_module_that_crashes() {
    if missing() {
        return;
    }
    let mut machine = Machine::new();
    // The shell's parent is the process that has the module in it.
    let script = machine.script("crash", "[ \"$PAM_USER\" = slow ] && kill -ABRT $PPID\nexit 0");
    machine.service(
        "mail",
        &format!(
            "auth required pam_exec.so quiet {script}\nauth required MATRIX\naccount required pam_permit.so"
        ),
    );
    machine.start(&["mail"], &["--workers", "1"]);
    let source = machine.source("mail");
    for _ in 0..3 {
        let why = check(&source, "slow", "secret").await.unwrap_err();
        assert!(why.contains("has ended"), "{why}");
        assert_eq!(check(&source, "anna", "secret").await, Ok(Verdict::Right));
    }
}

/// The same with the signal that modules in C die of.
#[tokio::test]
async fn a_module_with_a_wild_pointer() {
    let compiler = Command::new("cc").arg("--version").stdin(Stdio::null()).output();
    if missing() || compiler.is_err() {
        println!("not run: a module with a wild pointer: there is no cc");
        return;
    }
    let mut machine = Machine::new();
    let module = "#include <string.h>\n#include <signal.h>\n\
                  int pam_get_user(void *, const char **, const char *);\n\
                  int pam_sm_authenticate(void *handle, int flags, int count, const char **words) {\n\
                      const char *user = 0;\n\
                      pam_get_user(handle, &user, 0);\n\
                      if (user && !strcmp(user, \"slow\")) *(volatile int *)16 = 1;\n\
                      return 25;\n\
                  }\n\
                  int pam_sm_setcred(void *handle, int flags, int count, const char **words) { return 25; }\n";
    fs::write(machine.at("wild.c"), module).unwrap();
    let mut build = Command::new("cc");
    build.args([
        "-shared",
        "-fPIC",
        "-w",
        "-o",
        &machine.path("wild.so"),
        &machine.path("wild.c"),
        "-l:libpam.so.0",
    ]);
    assert!(build.status().unwrap().success());
    // 25 is PAM_IGNORE.
    let service = format!(
        "auth required {}\nauth required MATRIX\naccount required pam_permit.so",
        machine.path("wild.so")
    );
    machine.service("mail", &service);
    machine.start(&["mail"], &["--workers", "1"]);
    let source = machine.source("mail");
    for _ in 0..3 {
        let why = check(&source, "slow", "secret").await.unwrap_err();
        assert!(why.contains("has ended"), "{why}");
        assert_eq!(check(&source, "anna", "secret").await, Ok(Verdict::Right));
    }
}

/// Where they come from is PAM's rhost, and what Dovecot says beside it.
#[tokio::test]
async fn where_they_come_from() {
    if missing() {
        return;
    }
    let mut machine = Machine::new();
    fs::write(
        machine.at("rules"),
        "+ : anna : 192.0.2.0/24 2001:db8::/32\n+ : bert : culver\n- : ALL : ALL\n",
    )
    .unwrap();
    let access = format!("pam_access.so nodefgroup accessfile={}", machine.path("rules"));
    machine.service("access", &format!("auth required MATRIX\naccount required {access}"));
    let told = format!("echo \"$PAM_USER,$PAM_RHOST,$PAM_RUSER,$PAM_TTY\" >> {}", machine.path("told"));
    let script = machine.script("tell", &told);
    let service = format!(
        "auth required pam_exec.so quiet {script}\nauth required MATRIX\naccount required pam_permit.so"
    );
    machine.service("telling", &service);
    machine.start(&["access", "telling"], &[]);
    let source = machine.source("access");
    for (user, remote, expected) in [
        ("anna", Some("192.0.2.7"), Verdict::Right),
        ("anna", Some("198.51.100.7"), Verdict::Wrong),
        ("anna", Some("2001:db8::7"), Verdict::Right),
        ("anna", Some("2001:db9::7"), Verdict::Wrong),
        ("anna", None, Verdict::Wrong),
        ("slow", Some("192.0.2.7"), Verdict::Wrong),
        // Without an address pam_access goes by the terminal.
        ("bert", None, Verdict::Right),
        ("bert", Some("192.0.2.7"), Verdict::Wrong),
    ] {
        let password = if user == "bert" { "b\tc\\d" } else { "secret" };
        let found = check_from(&source, user, password, remote).await;
        assert_eq!(found, Ok(expected), "{user} {remote:?}");
    }
    let source = machine.source("telling");
    for remote in [Some("192.0.2.7"), Some("2001:db8::7"), None] {
        assert_eq!(check_from(&source, "anna", "secret", remote).await, Ok(Verdict::Right));
    }
    let told = fs::read_to_string(machine.at("told")).unwrap();
    assert_eq!(told, "anna,192.0.2.7,anna,culver\nanna,2001:db8::7,anna,culver\nanna,,anna,culver\n");
}

/// The processes that this one has started.
fn children_of(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split(' ').filter_map(|id| id.parse().ok()).collect::<Vec<_>>()).collect()
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// A helper that the server started and that is killed: what it was asked is an outage, and what comes next gets another.
#[tokio::test]
async fn a_helper_that_is_killed() {
    if missing() {
        return;
    }
    let mut machine = Machine::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, machine.at("fifo"), rustix::fs::Mode::from_raw_mode(0o600))
        .unwrap();
    let hang = format!("[ \"$PAM_USER\" = slow ] && read line < {}\nexit 0", machine.path("fifo"));
    let script = machine.script("hang", &hang);
    machine.service(
        "mail",
        &format!(
            "auth required pam_exec.so quiet {script}\nauth required MATRIX\naccount required pam_permit.so"
        ),
    );
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new(CULVER);
    command.args(["pam-helper", "--parent", "--service", &machine.path("mail")]);
    command
        .env("LD_PRELOAD", library("libnss_wrapper.so").unwrap())
        .env("NSS_WRAPPER_PASSWD", machine.at("passwd"))
        .env("NSS_WRAPPER_GROUP", machine.at("group"));
    machine.helper = Some(command.stdin(std::os::fd::OwnedFd::from(theirs)).spawn().unwrap());
    // The command has the other end too; with it the parent would never see ours close.
    drop(command);
    let parent = machine.helper.as_ref().unwrap().id();
    let source = System::new(machine.settings("mail"), Helper::Started(ours));
    // Nobody has asked for one yet.
    assert_eq!(children_of(parent), [0; 0]);
    assert_eq!(check(&source, "anna", "secret").await, Ok(Verdict::Right));
    let [first] = children_of(parent)[..] else { panic!("{:?}", children_of(parent)) };

    let open = || fs::File::options().write(true).custom_flags(libc::O_NONBLOCK).open(machine.at("fifo"));
    let (slow, ()) = tokio::join!(check(&source, "slow", "secret"), async {
        while open().is_err() {
            tokio::task::yield_now().await;
        }
        kill(first);
    });
    let why = slow.unwrap_err();
    assert!(why.contains("it has hung up"), "{why}");
    // The one after it is there at once, that one's successor after a second.
    for _ in 0..2 {
        assert_eq!(check(&source, "anna", "secret").await, Ok(Verdict::Right));
        assert_eq!(check(&source, "anna", "wrong").await, Ok(Verdict::Wrong));
        let [next] = children_of(parent)[..] else { panic!("{:?}", children_of(parent)) };
        assert_ne!(next, first);
        kill(next);
        while check(&source, "anna", "secret").await == Ok(Verdict::Right) && children_of(parent) == [next] {
            tokio::task::yield_now().await;
        }
    }
    // Now it takes longer than anybody waits for: an outage that says so, told without delay to those who come later.
    let why = loop {
        match check(&source, "anna", "secret").await {
            Err(why) if why.contains("again and again") => break why,
            _ => children_of(parent).into_iter().for_each(kill),
        }
    };
    assert!(why.contains("after a pause"), "{why}");
    let asked = Instant::now();
    assert!(check(&source, "anna", "secret").await.is_err());
    assert!(asked.elapsed() < Duration::from_secs(1));
    // It ends with the server, also while it pauses.
    drop(source);
    let ended = machine.helper.take().unwrap().wait().unwrap();
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn a_helper_that_goes_and_comes_back() {
    if missing() {
        return;
    }
    let mut machine = Machine::new();
    let source = machine.source("mail");
    let why = check(&source, "anna", "secret").await.unwrap_err();
    assert!(why.contains("culver-pam-helper.service"), "{why}");
    for _ in 0..2 {
        machine.start(&["mail"], &[]);
        assert_eq!(check(&source, "anna", "secret").await, Ok(Verdict::Right));
        assert!(source.find(&login("anna")).await.unwrap().is_some());
        machine.stop();
        assert!(check(&source, "anna", "secret").await.is_err());
        assert!(source.find(&login("anna")).await.is_err());
        assert!(source.names().await.is_err());
    }
}

/// More questions than processes, and none is mistaken for another; who loses interest disturbs nobody.
#[tokio::test]
async fn many_questions_at_once() {
    if missing() {
        return;
    }
    let mut machine = Machine::new();
    machine.start(&["mail"], &["--workers", "3"]);
    let source = machine.source("mail");
    let asked = (0..60).map(|n| {
        let source = &source;
        async move {
            let password = if n % 3 == 0 { "secret" } else { "wrong" };
            if n % 5 == 0 {
                let _ = tokio::time::timeout(Duration::from_micros(n * 20), check(source, "anna", password))
                    .await;
                return;
            }
            let expected = if n % 3 == 0 { Verdict::Right } else { Verdict::Wrong };
            assert_eq!(check(source, "anna", password).await, Ok(expected), "question {n}");
        }
    });
    futures_util::future::join_all(asked).await;
}

/// What the socket is, and what it takes.
#[test]
fn the_helpers_socket() {
    if missing() {
        return;
    }
    let mut machine = Machine::new();
    machine.start(&["mail"], &[]);
    let mode = fs::metadata(machine.at("socket")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Other lines than the protocol's end the conversation, and only that.
    for line in [&b"EHLO example.org\r\n"[..], b"1\texec\t/bin/sh\n", b"\n", &[b'x'; 20_000]] {
        let mut stream = UnixStream::connect(machine.at("socket")).unwrap();
        let _ = stream.write_all(line);
        let mut answer = String::new();
        let read = BufReader::new(stream).read_line(&mut answer);
        assert!(matches!(read, Ok(0) | Err(_)), "{answer}");
    }
    // The services are the administrator's to name, not the server's.
    let service = "/tmp/elsewhere/service".to_owned();
    let question =
        Question::Password { service, user: "anna".to_owned(), password: b"secret".to_vec(), remote: None };
    let mut stream = UnixStream::connect(machine.at("socket")).unwrap();
    stream.write_all(&question.encode(7)).unwrap();
    let mut line = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut line).unwrap();
    let Some((7, Answer::Outage { why })) = Answer::parse(line.strip_suffix(b"\n").unwrap()) else {
        panic!("{line:?}")
    };
    assert!(why.contains("--service /tmp/elsewhere/service"), "{why}");
    // A file that is no socket is not taken away.
    machine.stop();
    fs::remove_file(machine.at("socket")).unwrap();
    fs::write(machine.at("socket"), "mine").unwrap();
    let mut command = Command::new(CULVER);
    command.args(["pam-helper", "--listen", &machine.path("socket")]);
    assert!(!command.stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    assert_eq!(fs::read(machine.at("socket")).unwrap(), b"mine");
}
