//! A mailbox of 20,000 messages on a file system without room: a full quota stops storing, and nothing else.
//!
//! The disk is full in three forms, and the server's own state lies on it too.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and plays other programs on the file system"
)]

use culver_imapc::pop3::Pop3;
use culver_testkit::{Account, Client, Culver, CulverOptions, Kind, Peer};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const MESSAGES: usize = 20_000;
/// What the webmail asked for when Dovecot 1.0 said `BYE`.
const HEADERS: &str = "FETCH 1:* (INTERNALDATE FLAGS BODY.PEEK[HEADER.FIELDS \
                       (From Content-Type X-Priority Subject Importance Priority)])";

/// A file system of its own, taken away at the end.
struct Disk {
    root: PathBuf,
    _temp: TempDir,
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.root).output();
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let out = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr).trim()))
}

impl Disk {
    /// Makes one; the error says what this machine lacks.
    fn new(kind: &str) -> Result<Self, String> {
        let temp = TempDir::new().unwrap();
        let root = temp.path().join("disk");
        fs::create_dir(&root).unwrap();
        let image = temp.path().join("image");
        let disk = Self { root, _temp: temp };
        let (at, file) = (disk.root.to_str().unwrap(), image.to_str().unwrap());
        let size = |octets| fs::File::create(&image).unwrap().set_len(octets).unwrap();
        match kind {
            "tmpfs" => run("mount", &["-t", "tmpfs", "-o", "size=160m,mode=0755", "tmpfs", at])?,
            "ext4" => {
                size(256 << 20);
                run("mkfs.ext4", &["-q", "-F", "-m", "0", "-N", "32768", file])?;
                run("mount", &["-o", "loop", file, at])?;
            }
            "btrfs" => {
                size(1 << 30);
                run("mkfs.btrfs", &["-q", file])?;
                run("mount", &["-o", "loop", file, at])?;
            }
            other => unreachable!("{other}"),
        }
        if kind == "btrfs" {
            run("btrfs", &["quota", "enable", at])?;
            run("btrfs", &["subvolume", "create", disk.place(kind).to_str().unwrap()])?;
            run("btrfs", &["qgroup", "limit", "200M", disk.place(kind).to_str().unwrap()])?;
        }
        Ok(disk)
    }
    /// Where everything lies: on btrfs a subvolume with a limit of its own, so that the error is `EDQUOT`.
    fn place(&self, kind: &str) -> PathBuf {
        if kind == "btrfs" { self.root.join("limited") } else { self.root.clone() }
    }
}

fn fill(maildir: &Path) {
    for sub in ["cur", "new", "tmp"] {
        fs::create_dir_all(maildir.join(sub)).unwrap();
    }
    for n in 1..=MESSAGES {
        let text = format!(
            "From: a{n}@example.org\nSubject: message {n}\nX-Priority: 3\nMIME-Version: 1.0\n\
             Content-Type: multipart/mixed; boundary=b\n\n--b\n\n{n}\n--b\nContent-Type: text/html\n\n<p>\n--b--\n"
        );
        fs::write(maildir.join(format!("cur/{}.M{n}P1.h:2,", 1_600_000_000 + n)), text).unwrap();
    }
}

/// Takes all the room there is, to the last octet.
fn take_all(ballast: &Path) -> std::io::Error {
    let mut file = fs::File::create(ballast).unwrap();
    let mut last = None;
    for size in [1 << 20, 4096, 1] {
        let piece = vec![b'x'; size];
        while last.is_none() {
            last =
                file.write_all(&piece).and_then(|()| if size > 1 { file.sync_data() } else { Ok(()) }).err();
        }
        if size > 1 {
            last = None;
        }
    }
    last.unwrap()
}

fn log_in(server: &Culver, account: &Account) -> Client {
    let mut client = server.log_in(account).unwrap();
    client.set_patience(Duration::from_secs(60)).unwrap();
    client
}

/// Delivers by LMTP; gives the answer for the recipient.
fn deliver(server: &Culver, account: &Account, body: &[u8]) -> String {
    let mut socket = std::net::TcpStream::connect(server.lmtp()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut answers = BufReader::new(socket.try_clone().unwrap());
    let mut answer = || {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert!(answers.read_line(&mut line).unwrap() > 0, "the server hung up after {all}");
            let last = line.as_bytes().get(3) == Some(&b' ');
            all.push_str(&line);
            if last {
                return all;
            }
        }
    };
    answer();
    for command in ["LHLO test", "MAIL FROM:<a@example.org>", &format!("RCPT TO:<{}>", account.user), "DATA"]
    {
        socket.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        let said = answer();
        // A recipient may be refused before the message comes.
        if said.starts_with('4') || said.starts_with('5') {
            return said;
        }
    }
    socket.write_all(b"Subject: delivered\r\n\r\n").unwrap();
    for line in body.chunks(70) {
        socket.write_all(&[line, b"\r\n"].concat()).unwrap();
    }
    socket.write_all(b".\r\n").unwrap();
    answer()
}

fn story(kind: &str) {
    let disk = match Disk::new(kind) {
        Ok(disk) => disk,
        Err(why) => {
            println!("not run: a full {kind}: {why}");
            return;
        }
    };
    let dir = disk.place(kind);
    let options = CulverOptions { dir: Some(dir.clone()), users: 1 };
    let server = Culver::start(Path::new(env!("CARGO_BIN_EXE_culver")), options).unwrap();
    let account = server.fresh_account();
    fill(&account.maildir);
    server.own(&account.maildir).unwrap();
    // Trash is there, as with everybody who has logged in once.
    log_in(&server, &account).ok("STATUS Trash (MESSAGES)").unwrap();
    let ballast = dir.join("ballast");
    let error = take_all(&ballast);
    println!("{kind}: {error}");

    // The mailbox was never opened before: nothing is known of it, and nothing can be written down.
    let mut client = log_in(&server, &account);
    let selected = client.ok("SELECT INBOX").unwrap();
    assert!(
        selected.untagged.iter().any(|r| format!("{r:?}").contains("EXISTS")),
        "{kind}: {:?}",
        selected.untagged
    );
    assert_eq!(client.ok(HEADERS).unwrap().fetches().count(), MESSAGES, "{kind}");
    assert_eq!(client.ok("FETCH 777 (FLAGS BODYSTRUCTURE)").unwrap().fetches().count(), 1, "{kind}");
    client.ok("STORE 1:100 +FLAGS (\\Seen)").unwrap();
    client.ok("STORE 1:10 +FLAGS (\\Deleted)").unwrap();
    client.ok("EXPUNGE").unwrap();
    let full = client.append("INBOX", "", &vec![b'y'; 200_000]).unwrap();
    assert_eq!(full.kind, Kind::No, "{kind}: {full:?}");
    assert!(format!("{:?}", full.code).contains("OVERQUOTA"), "{kind}: {full:?}");
    // Mail that comes in waits at the sender's: 4.2.2 (RFC 3463 §3.3) or 4.3.1 (§3.4).
    let refused = deliver(&server, &account, &vec![b'z'; 200_000]);
    assert!(refused.starts_with("452 4.2.2") || refused.starts_with("452 4.3.1"), "{kind}: {refused}");
    // btrfs refuses every rename in a full quota group, and nobody can move a file there; removing them works.
    let moved = client.command("MOVE 1:10 Trash").unwrap();
    let in_trash = if kind == "btrfs" && moved.kind == Kind::No {
        assert!(format!("{:?}", moved.code).contains("OVERQUOTA"), "{moved:?}");
        0
    } else {
        assert_eq!(moved.kind, Kind::Ok, "{kind}: {moved:?}");
        10
    };
    let left = MESSAGES - 10 - in_trash;
    client.ok("LOGOUT").unwrap();

    // Another session sees all that was done.
    let mut client = log_in(&server, &account);
    client.ok("SELECT INBOX").unwrap();
    assert_eq!(client.ok("UID FETCH 1:* (FLAGS)").unwrap().fetches().count(), left, "{kind}");
    let seen = client.ok("SEARCH RETURN (COUNT) SEEN").unwrap();
    let seen = seen.data("ESEARCH").next().unwrap().last().unwrap().number();
    assert_eq!(seen, Some(90 - in_trash as u64), "{kind}: 100 were seen, 10 of them expunged");
    client.ok("LOGOUT").unwrap();

    let left = by_pop3(&server, &account, left, kind);

    // There is room again, and nobody has to do anything.
    fs::remove_file(&ballast).unwrap();
    if kind == "btrfs" {
        run("btrfs", &["filesystem", "sync", disk.root.to_str().unwrap()]).unwrap();
    }
    let mut client = log_in(&server, &account);
    assert_eq!(
        client.append("INBOX", "", b"Subject: room\r\n\r\nagain\r\n").unwrap().kind,
        Kind::Ok,
        "{kind}"
    );
    let delivered = deliver(&server, &account, b"again");
    assert!(delivered.starts_with("250 "), "{kind}: {delivered}");
    client.ok("SELECT INBOX").unwrap();
    assert_eq!(client.ok("UID FETCH 1:* (UID)").unwrap().fetches().count(), left + 2, "{kind}");
    client.ok("SELECT Trash").unwrap();
    let trash = client.ok("UID FETCH 1:* (BODY.PEEK[])").unwrap();
    assert_eq!(trash.fetches().count(), in_trash, "{kind}");
    drop(server);
    // And all of it is on the disk.
    let files = files_of(&account.maildir);
    assert_eq!(files, left + 2, "{kind}");
}

/// Lists all by POP3, reads some and deletes three; how many are left.
fn by_pop3(server: &Culver, account: &Account, there: usize, kind: &str) -> usize {
    let log_in = || {
        let mut pop3 = Pop3::connect(server.pop3().unwrap(), None).unwrap();
        pop3.set_patience(Duration::from_secs(60)).unwrap();
        pop3.login(&account.user, &account.password).unwrap();
        pop3
    };
    let count =
        |pop3: &mut Pop3| pop3.ok("STAT").unwrap().split(' ').next().unwrap().parse::<usize>().unwrap();
    let mut pop3 = log_in();
    assert_eq!(count(&mut pop3), there, "{kind}");
    assert_eq!(pop3.uidl().unwrap().len(), there, "{kind}");
    for n in (1..=there).step_by(there / 20) {
        assert!(pop3.lines(&format!("RETR {n}")).unwrap().len() > 10, "{kind}: {n}");
    }
    for n in [1, 2, there] {
        pop3.ok(&format!("DELE {n}")).unwrap();
    }
    pop3.ok("QUIT").unwrap();
    let mut pop3 = log_in();
    assert_eq!(count(&mut pop3), there - 3, "{kind}");
    pop3.quit();
    there - 3
}

fn files_of(maildir: &Path) -> usize {
    ["cur", "new"].iter().map(|sub| fs::read_dir(maildir.join(sub)).unwrap().count()).sum()
}

#[test]
fn tmpfs() {
    story("tmpfs");
}

#[test]
fn ext4() {
    story("ext4");
}

#[test]
fn btrfs_quota_group() {
    story("btrfs");
}
