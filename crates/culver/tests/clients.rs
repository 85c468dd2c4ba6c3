//! Real clients against a fresh server: mbsync, OfflineIMAP, neomutt, curl, Python's imaplib and IMAPClient.
//!
//! A client that is not installed is reported as not run.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and plays other programs on the file system"
)]

use culver_testkit::{Account, Client, Peer, mail, peer};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn server() -> Box<dyn Peer> {
    peer::under_test(env!("CARGO_BIN_EXE_culver")).unwrap()
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

/// An account with the ten messages of `ten.mbox`.
fn account_with_mail(server: &dyn Peer) -> (Account, Client) {
    let account = server.fresh_account();
    let mut client = server.log_in(&account).unwrap();
    for message in mail::fixture("ten.mbox").unwrap() {
        client.append("INBOX", &format!("\"{}\" ", message.date), &message.bytes).unwrap();
    }
    (account, client)
}

/// Fills in a file of `tests/clients`.
fn configure(name: &str, server: &dyn Peer, account: &Account, dir: &Path) -> PathBuf {
    let text = fs::read_to_string(mail::tests_dir().join("clients").join(name)).unwrap();
    let text = text
        .replace("@HOST@", "127.0.0.1")
        .replace("@PORT@", &server.imap().port().to_string())
        .replace("@USER@", &account.user)
        .replace("@PASSWORD@", &account.password)
        .replace("@DIR@", &dir.display().to_string());
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path
}

/// Runs it to its end, two minutes at most.
fn run(command: &mut Command, server: &dyn Peer) -> String {
    let mut limited = Command::new("timeout");
    limited.arg("120").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        limited.env(name, value.unwrap_or_default());
    }
    let out = limited.stdin(Stdio::null()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(
        out.status.success(),
        "{command:?}: {}\n{text}\nlog of the server:\n{}",
        out.status,
        server.log()
    );
    text
}

/// The messages in a Maildir, and the file whose text holds `needle`.
fn local(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for part in ["cur", "new"] {
        out.extend(fs::read_dir(dir.join(part)).unwrap().map(|e| e.unwrap().path()));
    }
    out
}

fn local_with(dir: &Path, needle: &str) -> Option<PathBuf> {
    local(dir).into_iter().find(|p| fs::read_to_string(p).unwrap_or_default().contains(needle))
}

fn has_flag(path: &Path, flag: char) -> bool {
    path.to_string_lossy().rsplit_once(":2,").is_some_and(|(_, flags)| flags.contains(flag))
}

fn set_local_flags(path: &Path, flags: &str) {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let base = name.split(":2,").next().unwrap();
    fs::rename(path, path.parent().unwrap().parent().unwrap().join("cur").join(format!("{base}:2,{flags}")))
        .unwrap();
}

fn found(client: &mut Client, key: &str) -> usize {
    let reply = client.ok(&format!("SEARCH {key}")).unwrap();
    reply.data("SEARCH").map(|v| v.len() - 1).sum()
}

/// What mbsync and OfflineIMAP both must do: get, then carry flags, deletions and new mail both ways.
fn two_way(client: &mut Client, inbox: &Path, sync: &dyn Fn()) {
    client.ok("CREATE Work").unwrap();
    client.append("Work", "", b"Subject: in Work\r\nMessage-ID: <w@example.test>\r\n\r\nx\r\n").unwrap();
    sync();
    assert_eq!(local(inbox).len(), 10, "the first run gets all");
    let work = inbox.parent().unwrap().join("Work");
    assert_eq!(local(&work).len(), 1, "folders come as well");

    // Here: a flag, a deletion, a new message. There: the same.
    set_local_flags(&local_with(inbox, "<n1@").unwrap(), "FS");
    fs::remove_file(local_with(inbox, "<n2@").unwrap()).unwrap();
    fs::write(
        inbox.join("new/1704067200.P1.testkit"),
        "Subject: local\nMessage-ID: <local@example.test>\n\nnew here\n",
    )
    .unwrap();
    client.ok("SELECT INBOX").unwrap();
    client.ok("STORE 5 +FLAGS (\\Answered)").unwrap();
    client.ok("STORE 6 +FLAGS (\\Deleted)").unwrap();
    client.ok("EXPUNGE").unwrap();
    client
        .append("INBOX", "", b"Subject: remote\r\nMessage-ID: <remote@example.test>\r\n\r\nnew there\r\n")
        .unwrap();
    sync();
    sync();
    assert_eq!(found(client, "ALL"), 10, "ten, less two, and two new");
    assert_eq!(found(client, "HEADER Message-ID n1@ FLAGGED SEEN"), 1, "our flag went there");
    assert_eq!(found(client, "HEADER Message-ID n2@"), 0, "our deletion went there");
    assert_eq!(found(client, "HEADER Message-ID local@"), 1, "our message went there");
    assert!(has_flag(&local_with(inbox, "<n5@").unwrap(), 'R'), "their flag came");
    assert!(local_with(inbox, "<n6@").is_none(), "their deletion came");
    assert!(local_with(inbox, "<remote@").is_some(), "their message came");
    assert_eq!(local(inbox).len(), 10);

    // Nothing to do: nothing changes.
    let before = found(client, "ALL");
    sync();
    assert_eq!((found(client, "ALL"), local(inbox).len()), (before, 10));
}

#[test]
fn mbsync() {
    if !have("mbsync", "isync") {
        return;
    }
    let server = server();
    let (account, mut client) = account_with_mail(&*server);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("mail")).unwrap();
    let config = configure("mbsyncrc", &*server, &account, dir.path());
    let sync = || {
        run(Command::new("mbsync").arg("-c").arg(&config).arg("-a").env("HOME", dir.path()), &*server);
    };
    two_way(&mut client, &dir.path().join("mail/INBOX"), &sync);
}

#[test]
fn offlineimap() {
    if !have("offlineimap", "offlineimap3") {
        return;
    }
    let server = server();
    let (account, mut client) = account_with_mail(&*server);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("mail")).unwrap();
    let config = configure("offlineimaprc", &*server, &account, dir.path());
    let sync = || {
        // By file times it sees local changes to the second; so it looks at everything.
        run(Command::new("offlineimap").arg("-c").arg(&config).arg("-o").env("HOME", dir.path()), &*server);
    };
    two_way(&mut client, &dir.path().join("mail/INBOX"), &sync);
}

#[test]
fn neomutt() {
    if !have("neomutt", "neomutt") || !have("script", "bsdutils") {
        return;
    }
    let server = server();
    let (account, mut client) = account_with_mail(&*server);
    client.ok("CREATE Saved").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let config = configure("neomuttrc", &*server, &account, dir.path());
    // Flags one, copies another, deletes a third, and leaves. It wants a terminal, which `script` plays.
    let keys = "<tag-pattern>~s\\\"Number 3\\\"<enter><tag-prefix><set-flag>!\
                <tag-pattern>~A<enter><untag-pattern>~A<enter>\
                <limit>~s\\\"Number 4\\\"<enter><copy-message>=Saved<enter>\
                <limit>~s\\\"Number 5\\\"<enter><delete-message><limit>~A<enter><sync-mailbox><exit>";
    let line = format!("neomutt -n -F {} -e 'push \"{keys}\"'", config.display());
    run(
        Command::new("script")
            .args(["-q", "-e", "-c", &line, "/dev/null"])
            .env("HOME", dir.path())
            .env("TERM", "xterm"),
        &*server,
    );
    client.ok("SELECT INBOX").unwrap();
    assert_eq!(found(&mut client, "FLAGGED"), 1);
    assert_eq!(found(&mut client, "HEADER Message-ID n3@ FLAGGED"), 1);
    assert_eq!(found(&mut client, "HEADER Message-ID n5@"), 0);
    assert_eq!(found(&mut client, "ALL"), 9);
    client.ok("SELECT Saved").unwrap();
    assert_eq!(found(&mut client, "HEADER Message-ID n4@"), 1);
}

#[test]
fn curl() {
    if !have("curl", "curl") {
        return;
    }
    let server = server();
    let (account, mut client) = account_with_mail(&*server);
    let mut bases = vec![format!("imap://127.0.0.1:{}", server.imap().port())];
    bases.extend(server.imaps().map(|a| format!("imaps://127.0.0.1:{}", a.port())));
    for (i, base) in bases.iter().enumerate() {
        let curl = |args: &[&str]| {
            let who = format!("{}:{}", account.user, account.password);
            run(Command::new("curl").args(["-sS", "-k", "-u", &who]).args(args), &*server)
        };
        assert!(curl(&[base]).contains("INBOX"));
        assert!(curl(&[&format!("{base}/INBOX;UID=3")]).contains("Text 3"));
        assert!(curl(&[&format!("{base}/INBOX;UID=3;SECTION=TEXT")]).starts_with("Text 3"));
        assert!(curl(&[&format!("{base}/INBOX?SUBJECT%20%22Number%207%22")]).contains("SEARCH 7"));
        assert!(curl(&[&format!("{base}/INBOX"), "-X", "STORE 8 +FLAGS (\\Flagged)"]).contains("Flagged"));
        let file = mail::tests_dir().join("mail/four.mbox");
        curl(&["-T", &file.display().to_string(), &format!("{base}/INBOX")]);
        client.ok("SELECT INBOX").unwrap();
        assert_eq!(found(&mut client, "ALL"), 11 + i);
        assert_eq!(found(&mut client, "FLAGGED"), 1);
    }
}

/// A script of `tests/clients` by this Python.
fn python(python: &Path, script: &str, server: &dyn Peer) {
    let account = server.fresh_account();
    let path = mail::tests_dir().join("clients").join(script);
    let tls = server.imaps().map_or(0, |a| a.port());
    let (port, tls) = (server.imap().port().to_string(), tls.to_string());
    let out = run(
        Command::new(python).arg(path).args(["127.0.0.1", &port, &tls, &account.user, &account.password]),
        server,
    );
    assert!(out.contains("done"), "{out}");
}

#[test]
fn imaplib() {
    if have("python3", "python3") {
        python(Path::new("python3"), "imaplib_session.py", &*server());
    }
}

#[test]
fn imapclient() {
    if !have("python3", "python3 python3-imapclient") {
        return;
    }
    let knows = |python: &Path| {
        let out = Command::new(python).args(["-c", "import imapclient"]).output();
        out.is_ok_and(|o| o.status.success())
    };
    // Debian's package, or one that pip puts into a folder of this build.
    let venv = mail::target_dir().join("imapclient-venv");
    let own = venv.join("bin/python3");
    let candidates = [PathBuf::from("/usr/bin/python3"), PathBuf::from("python3"), own.clone()];
    let mut python3 = candidates.iter().find(|p| knows(p)).cloned();
    if python3.is_none() {
        let made = Command::new("python3")
            .args(["-m", "venv"])
            .arg(&venv)
            .output()
            .is_ok_and(|o| o.status.success());
        if made {
            let pip = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "IMAPClient"];
            let _ = Command::new(&own).args(pip).output();
        }
        python3 = knows(&own).then_some(own);
    }
    match python3 {
        Some(python3) => python(&python3, "imapclient_session.py", &*server()),
        None => println!("not run: IMAPClient: apt-get install python3-imapclient"),
    }
}
