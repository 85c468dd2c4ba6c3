//! Quota from end to end: IMAP, LMTP, the command line beside a running server, and Dovecot on the same tree.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and plays other programs on the file system"
)]

use culver_testkit::{Account, Client, Culver, CulverOptions, Dovecot, Peer};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

fn start() -> Culver {
    let exe = env!("CARGO_BIN_EXE_culver").as_ref();
    let server = Culver::start(exe, CulverOptions { users: 3, ..Default::default() }).unwrap();
    let config = format!("state_dir = \"{}\"\n", server.dir().join("state").display());
    fs::write(server.dir().join("cli.toml"), config).unwrap();
    server
}

/// `culver quota ...` as JSON.
fn quota(server: &Culver, args: &[&str]) -> serde_json::Value {
    let config = server.dir().join("cli.toml");
    let out = Command::new(env!("CARGO_BIN_EXE_culver"))
        .arg("quota")
        .args(args)
        .args(["--json", "--config"])
        .arg(config)
        .output()
        .unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn message(octets: usize) -> String {
    let head = "From: a@example.org\r\nSubject: mail\r\n\r\n";
    format!("{head}{}\r\n", "x".repeat(octets - head.len() - 2 + 4))
}

/// The last answer to a delivery by LMTP: of RCPT or of the message.
fn deliver(server: &Culver, to: &str, text: &str) -> String {
    let mut out = TcpStream::connect(server.lmtp()).unwrap();
    let mut lines = BufReader::new(out.try_clone().unwrap()).lines();
    let mut answer = || loop {
        let line = lines.next().unwrap().unwrap();
        if line.as_bytes().get(3) != Some(&b'-') {
            return line;
        }
    };
    answer();
    for command in ["LHLO test.example", "MAIL FROM:<b@example.net>"] {
        write!(out, "{command}\r\n").unwrap();
        answer();
    }
    write!(out, "RCPT TO:<{to}>\r\n").unwrap();
    let rcpt = answer();
    if !rcpt.starts_with("250") {
        return rcpt;
    }
    write!(out, "DATA\r\n").unwrap();
    assert!(answer().starts_with("354"));
    write!(out, "{text}.\r\n").unwrap();
    answer()
}

fn usage(client: &mut Client) -> (u64, u64) {
    let reply = client.ok("GETQUOTA \"User quota\"").unwrap();
    let values = reply.data("QUOTA").next().unwrap().to_vec();
    let list = values[2].list().unwrap();
    (list[1].number().unwrap(), list[4].number().unwrap())
}

/// The customer's story, with the soft quota: over it nothing but storing is refused.
#[test]
fn over_quota() {
    let server = start();
    let account = server.fresh_account();
    let user = account.user.as_str();
    quota(&server, &["set", user, "--storage", "1M"]);
    for _ in 0..9 {
        assert!(deliver(&server, user, &message(100_000)).starts_with("250"));
    }
    assert_eq!(quota(&server, &["show", user])["state"], "warned");
    // The last message may go beyond the limit.
    let mut n = 0;
    let refused = loop {
        let answer = deliver(&server, user, &message(100_000));
        if !answer.starts_with("250") {
            break answer;
        }
        n += 1;
        assert!(n < 4);
    };
    assert!(refused.starts_with("452 4.2.2"), "{refused}");
    let shown = quota(&server, &["show", user]);
    assert_eq!(shown["state"], "over");
    assert!(shown["until"].as_i64() > shown["since"].as_i64());
    let listed = quota(&server, &["list", "--over"]);
    assert_eq!(listed[0]["account"], user);
    assert_eq!(listed[0]["storage"], shown["storage"], "one number everywhere");

    let mut client = Client::connect(server.imap()).unwrap();
    let login = client.login(user, &account.password).unwrap();
    assert!(format!("{:?}", login.untagged).contains("ALERT"), "{:?}", login.untagged);
    let (storage, messages) = usage(&mut client);
    assert_eq!(storage, shown["storage"].as_u64().unwrap().div_ceil(1024));
    assert_eq!(messages, shown["messages"].as_u64().unwrap());
    // APPEND is refused before the message is taken; one that does not wait is dropped, and the session goes on.
    client.send(b"x1 APPEND INBOX {50000}\r\n").unwrap();
    let refused = client.finish("x1", Vec::new()).unwrap();
    assert!(format!("{refused:?}").contains("OVERQUOTA"), "{refused:?}");
    client.send(format!("x2 APPEND INBOX {{50000+}}\r\n{}\r\n", "x".repeat(50_000)).as_bytes()).unwrap();
    let refused = client.finish("x2", Vec::new()).unwrap();
    assert!(format!("{refused:?}").contains("OVERQUOTA"), "{refused:?}");
    // Everything else works.
    client.ok("SELECT INBOX").unwrap();
    client
        .ok("FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (From Content-Type X-Priority Subject Importance)])")
        .unwrap();
    client.ok("STORE 1:3 +FLAGS (\\Deleted \\Seen)").unwrap();
    client.ok("MOVE 4 Trash").unwrap();
    client.ok("COPY 4 Trash").unwrap();
    client.ok("EXPUNGE").unwrap();
    assert!(usage(&mut client).0 < storage);
    assert!(deliver(&server, user, &message(10_000)).starts_with("250"));
    let after = quota(&server, &["recalc", user]);
    assert_eq!(after[0]["mistaken"], serde_json::Value::Null, "a full count finds nothing wrong");
    // Notices came in, in spite of all.
    client.ok("SELECT INBOX").unwrap();
    let found = client.ok("SEARCH SUBJECT \"Your mailbox is full\"").unwrap();
    assert_eq!(found.data("SEARCH").next().unwrap().len(), 2, "{found:?}");
}

/// POP3's QUIT makes room: nobody has to look first.
#[test]
fn room_by_pop3() {
    let server = start();
    let account = server.fresh_account();
    let user = account.user.as_str();
    quota(&server, &["set", user, "--storage", "1M", "--messages", "none"]);
    for _ in 0..3 {
        assert!(deliver(&server, user, &message(350_000)).starts_with("250"));
    }
    assert_eq!(quota(&server, &["list", "--over"])[0]["account"], user);
    let mut out = TcpStream::connect(server.pop3().unwrap()).unwrap();
    let mut lines = BufReader::new(out.try_clone().unwrap()).lines();
    let mut say = |command: &str| {
        write!(out, "{command}").unwrap();
        let line = lines.next().unwrap().unwrap();
        assert!(line.starts_with("+OK"), "{command}: {line}");
    };
    let login = [format!("USER {user}\r\n"), format!("PASS {}\r\n", account.password)];
    for command in ["", &login[0], &login[1], "DELE 1\r\n", "DELE 2\r\n", "QUIT\r\n"] {
        say(command);
    }
    // The list is what is kept; it looks at nothing.
    assert_eq!(quota(&server, &["list", "--over"]), serde_json::json!([]));
    assert!(deliver(&server, user, &message(350_000)).starts_with("250"));
}

/// What a session is told of the quota, and when.
#[test]
fn alerts() {
    let server = start();
    let account = server.fresh_account();
    let user = account.user.as_str();
    quota(&server, &["set", user, "--storage", "1M"]);
    let alerts = |reply: &culver_testkit::Reply| {
        reply.untagged.iter().filter(|line| format!("{line:?}").contains("ALERT")).count()
    };
    let mut client = Client::connect(server.imap()).unwrap();
    assert_eq!(alerts(&client.login(user, &account.password).unwrap()), 0);
    assert_eq!(alerts(&client.ok("SELECT INBOX").unwrap()), 0);
    assert!(deliver(&server, user, &message(900_000)).starts_with("250"));
    // It has got worse: once, and not with every command.
    assert_eq!(alerts(&client.ok("NOOP").unwrap()), 1);
    for quiet in ["NOOP", "FETCH 1 FLAGS", "EXAMINE INBOX", "SELECT INBOX", "CHECK"] {
        assert_eq!(alerts(&client.ok(quiet).unwrap()), 0, "{quiet}");
    }
    // Worse again, while another session waits.
    let mut other = Client::connect(server.imap()).unwrap();
    assert_eq!(alerts(&other.login(user, &account.password).unwrap()), 1);
    assert_eq!(alerts(&other.ok("NOOP").unwrap()), 0);
    other.send(b"i1 IDLE\r\n").unwrap();
    assert!(deliver(&server, user, &message(200_000)).starts_with("250"));
    loop {
        let line = other.read_raw().unwrap();
        assert!(!line.starts_with(b"i1 "), "IDLE ended");
        if String::from_utf8_lossy(&line).contains("* OK [ALERT] Your mailbox is full") {
            break;
        }
    }
    other.send(b"DONE\r\n").unwrap();
    assert_eq!(alerts(&other.finish("i1", Vec::new()).unwrap()), 0);
    // Whoever showed nothing of the login's may show that of the first mailbox; later ones are silent.
    assert_eq!(alerts(&other.ok("EXAMINE INBOX").unwrap()), 1);
    assert_eq!(alerts(&other.ok("SELECT Trash").unwrap()), 0);
    assert_eq!(alerts(&client.ok("SELECT INBOX").unwrap()), 1);
    // Better is no alarm, and worse after that is one again.
    client.ok("STORE 1:* +FLAGS (\\Deleted)").unwrap();
    assert_eq!(alerts(&client.ok("EXPUNGE").unwrap()), 0);
    assert_eq!(alerts(&client.ok("NOOP").unwrap()), 0);
    assert!(deliver(&server, user, &message(900_000)).starts_with("250"));
    assert_eq!(alerts(&client.ok("NOOP").unwrap()), 1);
}

/// Runs doveadm on the account's tree, which is lent to Dovecot's user for it.
fn doveadm(dovecot: &Dovecot, account: &Account, args: &[&str]) -> String {
    let location = format!("mail_location=maildir:{}", account.maildir.display());
    dovecot.own(&account.maildir).unwrap();
    for above in account.maildir.ancestors().skip(1).take(3) {
        fs::set_permissions(above, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let out = Command::new("doveadm")
        .arg("-c")
        .arg(dovecot.config())
        .args(["-o", &location])
        .args(args)
        .output()
        .unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Dovecot with `quota = maildir` and Culver on one tree: both say the same after whatever either does.
#[test]
fn dovecot_counts_the_same() {
    if let Some(why) = Dovecot::missing() {
        println!("not run: quota beside dovecot: {why}");
        return;
    }
    let dovecot = Dovecot::start_with(
        "mail_plugins = quota\nplugin {\n quota = maildir:User quota\n quota_rule = *:storage=1G:messages=1000\n}",
    )
    .unwrap();
    let server = start();
    let account = server.fresh_account();
    quota(&server, &["set", &account.user, "--storage", "1G", "--messages", "1000"]);
    let mut client = server.log_in(&account).unwrap();
    let agree = |when: &str| {
        let ours = quota(&server, &["show", &account.user]);
        let theirs = doveadm(&dovecot, &account, &["-f", "tab", "quota", "get", "-u", &account.user]);
        let value = |kind: &str| -> u64 {
            let line = theirs.lines().find(|l| l.split('\t').nth(1) == Some(kind)).unwrap();
            line.split('\t').nth(2).unwrap().parse().unwrap()
        };
        assert_eq!(value("MESSAGE"), ours["messages"].as_u64().unwrap(), "{when}\n{theirs}");
        assert_eq!(value("STORAGE"), ours["storage"].as_u64().unwrap().div_ceil(1024), "{when}\n{theirs}");
    };
    let append = |client: &mut Client, octets: usize| {
        client.append("INBOX", "", message(octets).as_bytes()).unwrap();
    };
    append(&mut client, 10_000);
    append(&mut client, 20_000);
    doveadm(&dovecot, &account, &["quota", "recalc", "-u", &account.user]);
    let file = account.maildir.join("maildirsize");
    assert!(file.exists());
    agree("after Dovecot counted");
    append(&mut client, 30_000);
    client.ok("SELECT INBOX").unwrap();
    client.ok("COPY 1 Trash").unwrap();
    client.ok("STORE 2 +FLAGS (\\Deleted)").unwrap();
    client.ok("EXPUNGE").unwrap();
    let lines = fs::read_to_string(&file).unwrap();
    assert!(lines.lines().count() >= 5, "Culver adds lines:\n{lines}");
    agree("after Culver's verbs");
    let mail = server.dir().join("mail.txt");
    fs::write(&mail, message(5_000)).unwrap();
    fs::set_permissions(&mail, fs::Permissions::from_mode(0o644)).unwrap();
    let file_name = mail.to_str().unwrap();
    doveadm(&dovecot, &account, &["save", "-u", &account.user, "-m", "INBOX", file_name]);
    agree("after Dovecot saved one");
    let victim = fs::read_dir(account.maildir.join(".Trash/new")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(victim).unwrap();
    agree("after somebody removed a file");
    append(&mut client, 1_000);
    agree("at the end");
}
