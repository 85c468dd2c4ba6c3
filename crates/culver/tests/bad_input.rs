//! Bad input gets a clear answer and costs nobody else anything: the session goes on, memory stays bounded.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and plays other programs on the file system"
)]

use culver_testkit::transcript::actor;
use culver_testkit::{Account, Client, Culver, CulverOptions, Kind, Peer, Response, mail, peer};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn server() -> Box<dyn Peer> {
    peer::under_test(env!("CARGO_BIN_EXE_culver")).unwrap()
}

fn with_mail(server: &dyn Peer) -> (Account, Client) {
    let account = server.fresh_account();
    let mut client = server.log_in(&account).unwrap();
    for message in mail::fixture("ten.mbox").unwrap() {
        client.append("INBOX", "", &message.bytes).unwrap();
    }
    client.ok("SELECT INBOX").unwrap();
    (account, client)
}

/// xorshift64*: random bytes that are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }
}

const PIECES: [&str; 48] = [
    "a1",
    " ",
    " ",
    " ",
    "NOOP",
    "LOGIN",
    "SELECT",
    "FETCH",
    "UID",
    "STORE",
    "SEARCH",
    "LIST",
    "STATUS",
    "APPEND",
    "COPY",
    "MOVE",
    "EXPUNGE",
    "INBOX",
    "(",
    ")",
    "\"",
    "\\",
    "{3}\r\n",
    "{0}\r\n",
    "{2+}\r\n",
    "~{1}\r\n",
    "1:*",
    "*",
    "1,2",
    "4294967296",
    "BODY[",
    "]",
    "<0.1>",
    "HEADER.FIELDS",
    "FLAGS",
    "\\Seen",
    "+FLAGS",
    "RETURN",
    "NIL",
    "&AAA-",
    "\0",
    "\u{ff}",
    "\r",
    "\n",
    "%",
    "CHARSET",
    "UTF-8",
    "$",
];

/// A line made of pieces of the language and of anything.
fn garbage(random: &mut Random) -> Vec<u8> {
    let mut line = Vec::new();
    for _ in 0..random.below(14) + 1 {
        if random.below(4) == 0 {
            for _ in 0..random.below(12) {
                line.push(random.next() as u8);
            }
        } else {
            line.extend_from_slice(PIECES[random.below(PIECES.len())].as_bytes());
        }
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// After garbage: is a NOOP answered? An open literal takes a few lines first.
fn comes_round(client: &mut Client) -> Result<(), String> {
    for i in 0..40 {
        let tag = format!("zz{i}");
        client.send(format!("\r\n{tag} NOOP\r\n").as_bytes()).map_err(|e| format!("{e:#}"))?;
    }
    client.send(b"last NOOP\r\n").map_err(|e| format!("{e:#}"))?;
    loop {
        match client.read() {
            Ok(Response::Status { tag, kind: Kind::Ok, .. }) if tag == "last" => return Ok(()),
            Ok(_) => {}
            Err(why) => return Err(format!("{why:#}")),
        }
    }
}

#[test]
fn garbage_in_every_state() {
    let server = server();
    let account = server.fresh_account();
    for state in ["before login", "after login", "selected", "idle", "authenticating"] {
        let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ state.len() as u64);
        for round in 0..60 {
            let mut client = match state {
                "before login" | "authenticating" => Client::connect(server.imap()).unwrap(),
                _ => server.log_in(&account).unwrap(),
            };
            match state {
                "selected" => drop(client.ok("SELECT INBOX").unwrap()),
                "idle" => {
                    client.ok("SELECT INBOX").unwrap();
                    client.send(b"i IDLE\r\n").unwrap();
                }
                "authenticating" => client.send(b"a AUTHENTICATE PLAIN\r\n").unwrap(),
                _ => {}
            }
            let mut sent = Vec::new();
            for _ in 0..8 {
                sent.extend(garbage(&mut random));
            }
            let _ = client.send(&sent);
            if let Err(why) = comes_round(&mut client) {
                panic!("{state}, round {round}: {why} after {}", sent.escape_ascii());
            }
        }
    }
}

#[test]
fn lines_and_literals_without_end() {
    let server = server();
    let account = server.fresh_account();
    for selected in [false, true] {
        let (_, mut client) = with_mail(&*server);
        if !selected {
            client.ok("UNSELECT").unwrap();
        }
        // 16 MB without a line end, then one: BAD, or the end of this session; nobody else notices.
        let chunk = vec![b'x'; 1 << 20];
        client.send(b"a NOOP ").unwrap();
        let sent =
            (0..16).try_for_each(|_| client.send(&chunk)).and_then(|()| client.send(b"\r\nb NOOP\r\n"));
        let answered = sent.is_ok()
            && loop {
                match client.read() {
                    Ok(Response::Status { tag, kind, .. }) if tag == "b" => break kind == Kind::Ok,
                    Ok(_) => {}
                    Err(_) => break false,
                }
            };
        println!("after a line of 16 MB the session {}", if answered { "goes on" } else { "has ended" });
        server.log_in(&account).unwrap().ok("NOOP").unwrap();
    }
    // Announced, never sent: the connection is just closed by us.
    let (_, mut client) = with_mail(&*server);
    client.send(b"a APPEND INBOX {1000000}\r\n").unwrap();
    drop(client);
    let (_, mut client) = with_mail(&*server);
    client.send(b"a APPEND INBOX {1000}\r\nhalf of it").unwrap();
    drop(client);
    server.log_in(&account).unwrap().ok("SELECT INBOX").unwrap();
}

#[test]
fn a_packet_of_ten_thousand_commands() {
    let server = server();
    let (_, mut client) = with_mail(&*server);
    let many: String = (0..10_000).map(|i| format!("p{i} NOOP\r\n")).collect();
    client.send(many.as_bytes()).unwrap();
    for i in 0..10_000 {
        let reply = client.finish(&format!("p{i}"), Vec::new()).unwrap();
        assert_eq!(reply.kind, Kind::Ok);
    }
}

#[test]
fn deep_mime() {
    // Values nest as deeply as the message does: their drop needs a large stack.
    let test = || {
        let server = server();
        let account = server.fresh_account();
        let mut client = server.log_in(&account).unwrap();
        client.ok("SELECT INBOX").unwrap();
        let multipart: String = (0..10_000)
            .map(|i| format!("Content-Type: multipart/mixed; boundary=\"b{i}\"\r\n\r\n--b{i}\r\n"))
            .collect();
        let message = "Content-Type: message/rfc822\r\n\r\n".repeat(10_000);
        let wide =
            format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\r\n\r\nx\r\n".repeat(50_000));
        for (uid, text) in [multipart, message, wide].iter().enumerate() {
            let uid = uid + 1;
            assert_eq!(client.append("INBOX", "", text.as_bytes()).unwrap().kind, Kind::Ok);
            for item in [
                "BODYSTRUCTURE",
                "BODY",
                "ENVELOPE",
                "BODY.PEEK[1.1.1.1]",
                "BODY.PEEK[1.MIME]",
                "RFC822.SIZE",
            ] {
                let start = Instant::now();
                let tag = client.tag();
                client.send(format!("{tag} UID FETCH {uid} {item}\r\n").as_bytes()).unwrap();
                while !client.read_raw().unwrap().starts_with(tag.as_bytes()) {}
                assert!(
                    start.elapsed() < Duration::from_secs(5),
                    "{item} of message {uid} took {:?}",
                    start.elapsed()
                );
            }
            let path = format!("BODY.PEEK[{}1]", "1.".repeat(9_000));
            client.command(&format!("UID FETCH {uid} {path}")).unwrap();
            client.ok("SEARCH TEXT nothing-has-this").unwrap();
        }
        client.ok("NOOP").unwrap();
    };
    std::thread::Builder::new().stack_size(256 << 20).spawn(test).unwrap().join().unwrap();
}

#[test]
fn huge_headers() {
    let server = server();
    let (_, mut client) = with_mail(&*server);
    let one = format!("Subject: {}\r\n\r\nbody\r\n", "s".repeat(5 << 20));
    let many = format!("{}\r\nbody\r\n", "X-Field: value\r\n".repeat(200_000));
    let to = format!("To: {}z@example.test\r\n\r\nbody\r\n", "a@example.test, ".repeat(100_000));
    let folded = format!("References: {}\r\n\r\nbody\r\n", "<x@example.test>\r\n ".repeat(100_000));
    for text in [one, many, to, folded] {
        let reply = client.append("INBOX", "", text.as_bytes()).unwrap();
        if reply.kind != Kind::Ok {
            assert!(reply.kind == Kind::No, "{reply:?}");
            continue;
        }
        for item in
            ["ENVELOPE", "BODYSTRUCTURE", "BODY.PEEK[HEADER]", "BODY.PEEK[HEADER.FIELDS (Subject To)]"]
        {
            let start = Instant::now();
            client.command(&format!("FETCH * {item}")).unwrap();
            assert!(start.elapsed() < Duration::from_secs(10), "{item} took {:?}", start.elapsed());
        }
        client.command("SEARCH SUBJECT nothing-has-this").unwrap();
        client.ok("NOOP").unwrap();
    }
}

#[test]
fn a_message_vanishes_during_fetch() {
    let server = server();
    let (account, mut client) = with_mail(&*server);
    client.ok("FETCH 1:* FLAGS").unwrap();
    let gone = file_with(&account, "Message-ID: <n5@");
    fs::remove_file(gone).unwrap();
    let reply = client.command("FETCH 1:* (UID BODY.PEEK[])").unwrap();
    let uids: Vec<u32> = reply
        .fetches()
        .filter(|(_, items)| items.iter().any(|(n, _)| *n == "BODY[]"))
        .map(|(n, _)| n)
        .collect();
    assert!(uids.len() >= 9, "the other nine come: {uids:?}");
    assert_ne!(reply.kind, Kind::Bad);
    assert!(reply.data("EXPUNGE").next().is_none(), "no EXPUNGE during FETCH");
    client.ok("NOOP").unwrap();
    assert_eq!(client.ok("FETCH 1:* UID").unwrap().fetches().count(), 9, "then it is known to be gone");
}

fn file_with(account: &Account, text: &str) -> std::path::PathBuf {
    for part in ["cur", "new"] {
        for entry in fs::read_dir(account.maildir.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if fs::read_to_string(&path).unwrap_or_default().contains(text) {
                return path;
            }
        }
    }
    panic!("no message with {text}");
}

#[test]
fn folders_that_are_not_whole() {
    let server = server();
    let (account, mut client) = with_mail(&*server);
    // Only new/, with a message in it.
    let path = account.maildir.join(".OnlyNew");
    actor::make_maildir(&path).unwrap();
    server.own(&path).unwrap();
    actor::deliver(&*server, &path, b"Subject: there\r\n\r\nx\r\n").unwrap();
    fs::remove_dir(path.join("cur")).unwrap();
    fs::remove_dir(path.join("tmp")).unwrap();
    // A file in the place of cur.
    let odd = account.maildir.join(".Odd");
    actor::make_maildir(&odd).unwrap();
    fs::remove_dir(odd.join("cur")).unwrap();
    fs::write(odd.join("cur"), b"what?").unwrap();
    server.own(&odd).unwrap();
    // Garbage in the place of the files that servers keep.
    let garbled = account.maildir.join(".Garbled");
    actor::make_maildir(&garbled).unwrap();
    for file in ["dovecot-uidlist", "dovecot-keywords", "subscriptions"] {
        fs::write(garbled.join(file), b"\x00\xff garbage\nmore 1 2 3\n").unwrap();
    }
    server.own(&garbled).unwrap();
    actor::deliver(&*server, &garbled, b"Subject: there\r\n\r\nx\r\n").unwrap();

    for name in ["OnlyNew", "Odd", "Garbled"] {
        let reply = client.command(&format!("SELECT {name}")).unwrap();
        assert_ne!(reply.kind, Kind::Bad, "{name}");
        if reply.kind == Kind::Ok {
            client.command("FETCH 1:* (UID FLAGS ENVELOPE)").unwrap();
            client.command("APPEND INBOX {0+}\r\n").unwrap();
        }
        client.ok("NOOP").unwrap();
    }
    let reply = client.ok("STATUS Garbled (MESSAGES)").unwrap();
    assert_eq!(reply.data("STATUS").next().unwrap()[2].list().unwrap()[1].number(), Some(1));
    // The folder goes while it is selected.
    client.ok("SELECT INBOX").unwrap();
    fs::remove_dir_all(account.maildir.join("cur")).unwrap();
    client.command("FETCH 1:* BODY.PEEK[]").unwrap();
    client.command("NOOP").unwrap();
    client.command("SELECT INBOX").unwrap();
    client.ok("CAPABILITY").unwrap();
}

/// A file system of its own for a Maildir, unmounted at the end.
struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).output();
    }
}

fn mount<'a>(at: &'a Path, options: &str) -> Option<Mount<'a>> {
    let out = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
    out.is_ok_and(|o| o.status.success()).then_some(Mount(at))
}

#[test]
fn full_disk() {
    let server = server();
    let account = server.fresh_account();
    fs::create_dir_all(&account.maildir).unwrap();
    server.own(account.maildir.parent().unwrap()).unwrap();
    let Some(_mount) = mount(&account.maildir, "size=256k,mode=0777") else {
        println!("not run: a full disk: this user may not mount a tmpfs");
        return;
    };
    let mut client = server.log_in(&account).unwrap();
    client.ok("SELECT INBOX").unwrap();
    let message = format!("Subject: x\r\n\r\n{}", "0123456789abcdef\r\n".repeat(1_000));
    let mut stored = 0;
    let full = loop {
        let reply = client.append("INBOX", "", message.as_bytes()).unwrap();
        if reply.kind != Kind::Ok {
            break reply;
        }
        stored += 1;
        assert!(stored < 100, "256 KB hold all this?");
    };
    assert_eq!(full.kind, Kind::No, "{full:?}");
    assert!(
        !full.code.is_empty(),
        "a full disk has a response code (RFC 5530: OVERQUOTA, LIMIT or SERVERBUG...): {full:?}"
    );
    // All that was promised is there, and can be read, flagged and expunged.
    assert!(stored >= 2);
    assert_eq!(client.ok("FETCH 1:* BODY.PEEK[]").unwrap().fetches().count(), stored);
    client.ok("STORE 1:* +FLAGS (\\Seen)").unwrap();
    client.ok("STORE 1 +FLAGS (\\Deleted)").unwrap();
    client.ok("EXPUNGE").unwrap();
    assert_eq!(client.append("INBOX", "", message.as_bytes()).unwrap().kind, Kind::Ok, "there is room again");
}

#[test]
fn read_only_disk() {
    let server = server();
    let (account, mut client) = with_mail(&*server);
    client.ok("LOGOUT").unwrap();
    // The same folder over itself, read only.
    let at = &account.maildir;
    let bound =
        Command::new("mount").arg("--bind").arg(at).arg(at).output().is_ok_and(|o| o.status.success());
    let _mount = Mount(at);
    let locked = bound
        && Command::new("mount")
            .args(["-o", "remount,ro,bind"])
            .arg(at)
            .output()
            .is_ok_and(|o| o.status.success());
    if !locked {
        println!("not run: a read-only disk: this user may not mount");
        return;
    }
    let mut client = server.log_in(&account).unwrap();
    assert_ne!(client.command("SELECT INBOX").unwrap().kind, Kind::Bad);
    let reply = client.command("FETCH 1:* BODY.PEEK[]").unwrap();
    assert_eq!(reply.fetches().count(), 10, "reading works: {reply:?}");
    let reply = client.append("INBOX", "", b"Subject: x\r\n\r\nx\r\n").unwrap();
    assert_eq!(reply.kind, Kind::No, "{reply:?}");
    client.command("STORE 1 +FLAGS (\\Flagged)").unwrap();
    client.command("STORE 2 +FLAGS (\\Deleted)").unwrap();
    client.command("EXPUNGE").unwrap();
    assert_eq!(client.command("CREATE New").unwrap().kind, Kind::No);
    client.ok("NOOP").unwrap();
    drop(client);
}

#[test]
fn memory_stays_bounded() {
    if std::env::var_os("CULVER_TEST_PEER").is_some() {
        return;
    }
    let server = Culver::start(env!("CARGO_BIN_EXE_culver").as_ref(), CulverOptions::default()).unwrap();
    let account = server.fresh_account();
    let mut client = server.log_in(&account).unwrap();
    client.ok("SELECT INBOX").unwrap();
    let (before, _) = server.memory().unwrap();
    let big = format!(
        "Subject: big\r\n\r\n{}",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n".repeat(400_000)
    );
    assert_eq!(client.append("INBOX", "", big.as_bytes()).unwrap().kind, Kind::Ok);
    client.ok("FETCH 1 (BODYSTRUCTURE ENVELOPE)").unwrap();
    client.ok("FETCH 1 BODY.PEEK[]<20000000.1000>").unwrap();
    // A client that asks for much and reads nothing.
    let mut deaf: Vec<Client> = (0..8).map(|_| server.log_in(&account).unwrap()).collect();
    for client in &mut deaf {
        client.ok("SELECT INBOX").unwrap();
        for i in 0..4 {
            client.send(format!("f{i} FETCH 1 BODY.PEEK[]\r\n").as_bytes()).unwrap();
        }
    }
    // Many that announce much and send little.
    let mut slow: Vec<Client> = (0..20).map(|_| server.log_in(&account).unwrap()).collect();
    for client in &mut slow {
        client.send(b"a APPEND INBOX {20000000}\r\n").unwrap();
    }
    // Lines without end, before login.
    let mut endless: Vec<Client> = (0..20).map(|_| Client::connect(server.imap()).unwrap()).collect();
    let chunk = vec![b'x'; 1 << 20];
    for client in &mut endless {
        for _ in 0..4 {
            let _ = client.send(&chunk);
        }
    }
    assert_eq!(client.ok("FETCH 1 BODY.PEEK[]").unwrap().fetches().count(), 1);
    let (after, highest) = server.memory().unwrap();
    println!("{before} KB before, {after} KB after, {highest} KB at the highest");
    assert!(highest < before + 120 * 1024, "{before} KB before, at the highest {highest} KB");
}
