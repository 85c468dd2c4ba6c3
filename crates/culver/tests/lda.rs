//! `culver deliver`: where mail ends up, and what the caller is told.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and plays other programs on the file system"
)]

use culver_testkit::{Culver, CulverOptions, Peer as _};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const EXE: &str = env!("CARGO_BIN_EXE_culver");

/// A configuration with a passwd-file of two accounts, and no server.
struct House {
    temp: TempDir,
}

impl House {
    fn new(more: &str) -> Self {
        let temp = tempfile::Builder::new().prefix("lda-").tempdir().unwrap();
        let at = temp.path().display();
        std::fs::create_dir(temp.path().join("state")).unwrap();
        let text = format!(
            "state_dir = \"{at}/state\"\nhostname = \"mail.example.org\"\n{more}\n[[directory]]\nsource = \"passwd-file\"\n\
             path = \"{at}/users\"\nhome = \"{at}/%u\"\n"
        );
        std::fs::write(temp.path().join("culver.toml"), text).unwrap();
        let ids = if root() { ":65534:65534" } else { "::" };
        let users = format!(
            "anna@example.org:{{PLAIN}}x{ids}::{at}/anna@example.org\nbob@example.org:{{PLAIN}}x{ids}::{at}/bob@example.org\n"
        );
        std::fs::write(temp.path().join("users"), users).unwrap();
        if root() {
            open_to_all(temp.path());
            for name in ["anna@example.org", "bob@example.org"] {
                let home = temp.path().join(name);
                std::fs::create_dir(&home).unwrap();
                std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
            }
        }
        Self { temp }
    }

    fn mail(&self, account: &str, mailbox: &str) -> Vec<PathBuf> {
        new_in(&self.temp.path().join(account).join("Mail").join(mailbox))
    }

    fn deliver(&self, arguments: &[&str], message: &str) -> (i32, String) {
        deliver(
            Command::new(EXE)
                .arg("deliver")
                .arg("-c")
                .arg(self.temp.path().join("culver.toml"))
                .args(arguments),
            message,
        )
    }
}

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

fn open_to_all(path: &Path) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

fn new_in(mailbox: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(mailbox.join("new")).into_iter().flatten().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

/// Exit code and standard error.
fn deliver(command: &mut Command, message: &str) -> (i32, String) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have ended without reading.
    let _ = child.stdin.take().unwrap().write_all(message.as_bytes());
    let output = child.wait_with_output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn without_a_server() {
    let house = House::new("[deliver]\ndetail_mailbox = true\ncreate_mailboxes = true");
    let message = "From sender@example.com  Fri Nov 27 22:00:00 2026\nSubject: x\n\nbody\n";
    assert_eq!(house.deliver(&["-d", "anna@example.org"], message).0, 0);
    let files = house.mail("anna@example.org", "");
    assert_eq!(files.len(), 1);
    let text = std::fs::read_to_string(&files[0]).unwrap();
    assert!(
        text.starts_with(
            "Return-Path: <sender@example.com>\nDelivered-To: anna@example.org\nReceived: by mail.example.org"
        ),
        "{text}"
    );
    assert!(text.ends_with("\nSubject: x\n\nbody\n"), "{text}");
    assert!(files[0].to_string_lossy().contains(&format!(",S={},W=", text.len())), "{files:?}");
    if root() {
        let meta = std::fs::metadata(&files[0]).unwrap();
        assert_eq!((meta.uid(), meta.mode() & 0o777), (65534, 0o600));
    }
    // No index, no list: that is for whoever serves the mailbox.
    let beside: Vec<_> = std::fs::read_dir(house.temp.path().join("anna@example.org/Mail"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(beside.iter().all(|name| ["cur", "new", "tmp"].iter().any(|part| name == part)), "{beside:?}");
    assert_eq!(std::fs::read_dir(house.temp.path().join("state")).unwrap().count(), 0);

    // Mailboxes, senders, files.
    let file = house.temp.path().join("message");
    std::fs::write(&file, "Return-Path: <old@example.com>\r\nSubject: y\r\n\r\n").unwrap();
    let path = file.to_str().unwrap();
    assert_eq!(
        house.deliver(&["-d", "anna@example.org", "-m", "Lists/Rust", "-f", "<>", "-p", path], "").0,
        0
    );
    let files = house.mail("anna@example.org", ".Lists.Rust");
    let text = std::fs::read_to_string(&files[0]).unwrap();
    assert!(text.starts_with("Return-Path: <>\n") && text.matches("Return-Path").count() == 1, "{text}");
    assert_eq!(house.deliver(&["-d", "anna@example.org", "-a", "anna+lists@example.org"], message).0, 0);
    assert_eq!(house.mail("anna@example.org", ".lists").len(), 1);
}

#[test]
fn what_callers_are_told() {
    let house = House::new("");
    let (code, said) = house.deliver(&["-d", "nobody@example.org"], "\n");
    assert_eq!(code, 67, "{said}");
    assert!(said.starts_with("5.1.1 "), "{said}");
    assert_eq!(house.deliver(&["-d", "no-such-user-here"], "\n").0, 67);
    assert_eq!(house.deliver(&["--no-such-option"], "\n").0, 64);
    assert_eq!(house.deliver(&["-d", "anna@example.org", "-m", "a//b"], "\n").0, 64);
    // A mailbox that is not there is no reason to refuse mail.
    assert_eq!(house.deliver(&["-e", "-k", "-d", "anna@example.org", "-m", "Nowhere"], "\n").0, 0);
    assert_eq!(house.mail("anna@example.org", "").len(), 1);
    // What an administrator can mend is tried again.
    let broken = Command::new(EXE)
        .args(["deliver", "-c", "/nowhere/culver.toml", "-d", "anna@example.org"])
        .output()
        .unwrap();
    assert_eq!(broken.status.code(), Some(75));
    std::fs::remove_file(house.temp.path().join("users")).unwrap();
    let (code, said) = house.deliver(&["-d", "anna@example.org"], "\n");
    assert_eq!(code, 75, "{said}");
    // No room to write.
    let full = House::new("");
    let home = full.temp.path().join("anna@example.org");
    if !root() {
        std::fs::create_dir(&home).unwrap();
    }
    std::fs::set_permissions(&home, std::os::unix::fs::PermissionsExt::from_mode(0o500)).unwrap();
    let (code, said) = full.deliver(&["-d", "anna@example.org"], "\n");
    assert_eq!(code, 75, "{said}");
}

/// Without a server the program asks the quota itself: what does not fit is tried again during the grace time, or refused,
/// and an account whose receiving is disabled gets nothing. Dovecot 2.3: 75 with `quota_full_tempfail`, else 77 with `-e`.
#[test]
fn over_quota() {
    let message = |octets: usize| format!("Subject: x\n\n{}\n", "x".repeat(octets));
    for (setting, code, said) in [("defer", 75, "4.2.2 "), ("reject", 77, "5.2.2 ")] {
        let house = House::new(&format!(
            "quota.storage = \"100KiB\"\nquota.last_message = \"0\"\ndeliver.over_quota = \"{setting}\""
        ));
        let to_anna = |octets| house.deliver(&["-d", "anna@example.org"], &message(octets));
        assert_eq!(to_anna(60_000).0, 0);
        let (exit, text) = to_anna(50_000);
        assert_eq!(exit, code, "{text}");
        assert!(text.starts_with(said) && text.contains("quota of storage"), "{text}");
        assert_eq!(house.mail("anna@example.org", "").len(), 1);
        // Other mailboxes count as well; others' accounts do not.
        assert_eq!(house.deliver(&["-d", "bob@example.org"], &message(50_000)).0, 0);
        assert_eq!(to_anna(30_000).0, 0);
        // Larger than all there is: it need not come again.
        let (exit, text) = to_anna(200_000);
        assert_eq!((exit, text.starts_with("5.2.3 ")), (77, true), "{text}");
        // Room.
        std::fs::remove_file(&house.mail("anna@example.org", "")[0]).unwrap();
        assert_eq!(to_anna(20_000).0, 0);
        // Nothing was written but mail.
        assert_eq!(std::fs::read_dir(house.temp.path().join("state")).unwrap().count(), 0);
    }

    // What is set for the account counts before the configuration, and lies in the state folder.
    let house = House::new("quota.storage = \"1MiB\"\nquota.last_message = \"0\"\nquota.grace = \"0s\"");
    let config = house.temp.path().join("culver.toml");
    let quota = |arguments: &[&str]| {
        let out =
            Command::new(EXE).arg("quota").args(arguments).arg("--config").arg(&config).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    quota(&["set", "anna@example.org", "--messages", "1"]);
    // A file of Maildir++ is kept right, as by every other MDA.
    let maildir = house.temp.path().join("anna@example.org/Mail");
    let to_anna = || house.deliver(&["-d", "anna@example.org"], &message(10));
    assert_eq!(to_anna().0, 0);
    let length = std::fs::metadata(&house.mail("anna@example.org", "")[0]).unwrap().len();
    let size_file = maildir.join("maildirsize");
    std::fs::write(&size_file, format!("1C\n{length} 1\n")).unwrap();
    if root() {
        std::os::unix::fs::chown(&size_file, Some(65534), Some(65534)).unwrap();
    }
    let (exit, text) = to_anna();
    assert_eq!((exit, text.contains("number of messages")), (75, true), "{text}");
    quota(&["set", "anna@example.org", "--messages", "2"]);
    assert_eq!(to_anna().0, 0);
    let text = std::fs::read_to_string(&size_file).unwrap();
    assert_eq!(
        text.lines().skip(1).map(|l| l.split(' ').nth(1).unwrap()).collect::<Vec<_>>(),
        ["1", "1"],
        "{text}"
    );
    // Over, and then disabled: the next looks of whoever keeps the states.
    assert!(quota(&["show", "anna@example.org"]).contains("over"));
    quota(&["show", "anna@example.org"]);
    let (exit, text) = to_anna();
    assert_eq!((exit, text.starts_with("5.2.1 ")), (77, true), "{text}");
}

/// Is there such a program? Says so if not.
fn have(program: &str, package: &str) -> bool {
    let found = ["/usr/bin", "/usr/sbin"].iter().any(|dir| Path::new(dir).join(program).exists());
    if !found {
        println!("not run: culver deliver by {program}: apt-get install {package}");
    }
    found
}

/// The line by which other programs start it, as their configurations have it.
fn command_line(house: &House) -> String {
    format!("{EXE} deliver -c {}", house.temp.path().join("culver.toml").display())
}

/// maildrop sorts, and hands what we say on to its caller.
#[test]
fn by_maildrop() {
    if !have("maildrop", "maildrop") {
        return;
    }
    let house = House::new(
        "quota.storage = \"20KiB\"\nquota.last_message = \"0\"\n[deliver]\ncreate_mailboxes = true",
    );
    let line = command_line(&house);
    let filter = house.temp.path().join("filter");
    let rules = format!(
        "if (/^Subject: junk/)\n{{\n to \"| {line} -d anna@example.org -m Junk\"\n}}\nto \"| {line} -d anna@example.org\"\n"
    );
    std::fs::write(&filter, rules).unwrap();
    std::fs::set_permissions(&filter, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let drop = |message: &str| deliver(Command::new("maildrop").arg(&filter), message);
    let body = "x".repeat(15_000);
    assert_eq!(drop("From: a@example.net\nSubject: junk\n\nx\n").0, 0);
    assert_eq!(house.mail("anna@example.org", ".Junk").len(), 1);
    assert_eq!(drop(&format!("Subject: y\n\n{body}\n")).0, 0);
    assert_eq!(house.mail("anna@example.org", "").len(), 1);
    let (code, said) = drop(&format!("Subject: y\n\n{body}\n"));
    assert_eq!((code, said.contains("4.2.2")), (75, true), "{said}");
    let (code, said) = drop(&format!("Subject: y\n\n{body}{body}\n"));
    assert_eq!((code, said.contains("5.2.3")), (77, true), "{said}");
}

/// fetchmail takes mail from one account and hands it to the other's delivery; what is not taken stays where it was.
#[test]
fn by_fetchmail() {
    if !have("fetchmail", "fetchmail") {
        return;
    }
    let house = House::new("quota.storage = \"20KiB\"\nquota.last_message = \"0\"");
    let source = Culver::start(Path::new(EXE), CulverOptions { users: 1, ..Default::default() }).unwrap();
    let account = source.fresh_account();
    let mut client = source.log_in(&account).unwrap();
    let body = "x".repeat(15_000);
    for subject in ["one", "two"] {
        let message = format!("From: a@example.net\r\nSubject: {subject}\r\n\r\n{body}\r\n");
        client.append("INBOX", "", message.as_bytes()).unwrap();
    }
    let at = house.temp.path();
    let rc = at.join("fetchmailrc");
    let text = format!(
        "set no bouncemail\npoll 127.0.0.1 service {} protocol pop3 uidl\n user \"{}\" password \"{}\" is \"anna@example.org\" here\n \
         sslproto '' fetchall no keep mda \"{} -d %T\"\n",
        source.pop3().unwrap().port(),
        account.user,
        account.password,
        command_line(&house)
    );
    std::fs::write(&rc, text).unwrap();
    std::fs::set_permissions(&rc, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let out = Command::new("timeout")
        .args(["60", "fetchmail", "--nosyslog", "-v", "-f"])
        .arg(&rc)
        .arg("--pidfile")
        .arg(at.join("pid"))
        .env("FETCHMAILHOME", at)
        .env("HOME", at)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    let files = house.mail("anna@example.org", "");
    assert_eq!(files.len(), 1, "{said}");
    // fetchmail's Received names the local host as it pleases.
    let text = String::from_utf8_lossy(&std::fs::read(&files[0]).unwrap()).into_owned();
    assert!(text.contains("Subject: one\n") && text.contains("Delivered-To: anna@example.org\n"), "{text}");
    // The second did not fit.
    client.ok("SELECT INBOX").unwrap();
    let left = client.ok("FETCH 1:* BODY.PEEK[HEADER.FIELDS (Subject)]").unwrap();
    assert_eq!((left.fetches().count(), format!("{left:?}").contains("two")), (1, true), "{left:?}\n{said}");
}

/// As `.forward` starts it: as the user, with nothing but the home.
#[test]
fn for_the_user_who_calls() {
    if !root() {
        println!("not run: culver deliver for another user: needs root");
        return;
    }
    let house = House::new("");
    let config = house.temp.path().join("culver.toml");
    let mail = house.temp.path().join("mail");
    std::fs::create_dir(&mail).unwrap();
    std::os::unix::fs::chown(&mail, Some(65534), Some(65534)).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace(
            "[[directory]]",
            &format!("[mail]\nlocation = \"{}/%u/Maildir\"\n[[directory]]", mail.display()),
        ),
    )
    .unwrap();
    // The binary may lie where only root can go.
    let exe = house.temp.path().join("culver");
    std::fs::hard_link(EXE, &exe).or_else(|_| std::fs::copy(EXE, &exe).map(drop)).unwrap();
    let mut command = Command::new(&exe);
    command
        .arg("deliver")
        .arg("-c")
        .arg(&config)
        .args(["-f", "sender@example.com"])
        .uid(65534)
        .gid(65534)
        .current_dir("/");
    let (code, said) = deliver(&mut command, "Subject: x\n\n");
    assert_eq!(code, 0, "{said}");
    assert_eq!(said, "");
    let files = new_in(&mail.join("nobody/Maildir"));
    assert_eq!(files.len(), 1);
    assert_eq!(std::fs::metadata(&files[0]).unwrap().uid(), 65534);
    // root has to say whose.
    assert_eq!(house.deliver(&[], "\n").0, 64);
    assert_eq!(house.deliver(&["-d", "nobody"], "\n").0, 0);
    assert_eq!(new_in(&mail.join("nobody/Maildir")).len(), 2);
}

#[test]
fn a_server_that_runs_is_given_the_message() {
    let server = Culver::start(Path::new(EXE), CulverOptions { users: 3, ..Default::default() }).unwrap();
    let temp = TempDir::new().unwrap();
    let config = temp.path().join("culver.toml");
    // A directory that knows nobody: whoever is known is so to the server.
    let text = format!(
        "state_dir = \"{}\"\n[[lmtp.unix]]\npath = \"{}\"\n[[directory]]\nsource = \"passwd-file\"\npath = \"/nowhere/users\"\n",
        temp.path().display(),
        server.lmtp_socket().display()
    );
    std::fs::write(&config, text).unwrap();
    let call = |arguments: &[&str]| {
        deliver(
            Command::new(EXE).arg("deliver").arg("-c").arg(&config).args(arguments),
            "Subject: handed\n\n.dot\n",
        )
    };
    let (code, said) = call(&["-d", "u0001@example.test", "-f", "sender@example.com"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(call(&["-d", "u0001@example.test", "-m", "Junk"]).0, 0);
    let (code, said) = call(&["-d", "nobody@example.test"]);
    assert_eq!(code, 67, "{said}");
    let mail = server.dir().join("mail/u0001@example.test/Mail");
    let text = std::fs::read_to_string(&new_in(&mail)[0]).unwrap();
    assert!(
        text.starts_with("Return-Path: <sender@example.com>\nDelivered-To: u0001@example.test\n"),
        "{text}"
    );
    assert!(text.ends_with("Subject: handed\n\n.dot\n"), "{text}");
    assert_eq!(new_in(&mail.join(".Junk")).len(), 1);
}
