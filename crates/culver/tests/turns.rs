//! Dovecot and Culver in turns on one Maildir: UIDs, flags, keywords, dates and subscriptions stay, both ways.
//!
//! The tree is copied from turn to turn with nothing but what is in it: no index of Dovecot's, no state of Culver's.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and plays other programs on the file system"
)]

use culver_testkit::{Account, Client, Culver, CulverOptions, Dovecot, Peer, Response, mail};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What a client remembers of an account, in one spelling.
fn picture(server: &dyn Peer, account: &Account) -> Vec<String> {
    let mut client = server.log_in(account).unwrap();
    let mut out = Vec::new();
    let list = client.ok("LIST \"\" *").unwrap();
    let there = list.data("LIST").filter(|v| !v[1].list().unwrap().iter().any(|a| a.is("\\Noselect")));
    let names: BTreeSet<String> = there.map(|v| v[3].text()).filter(|n| interesting(n)).collect();
    let subscribed: BTreeSet<String> = client
        .ok("LSUB \"\" *")
        .unwrap()
        .data("LSUB")
        .map(|v| v[3].text())
        .filter(|n| interesting(n))
        .collect();
    out.push(format!("mailboxes {names:?}, subscribed {subscribed:?}"));
    for name in names {
        let reply = client.ok(&format!("SELECT \"{name}\"")).unwrap();
        for response in &reply.untagged {
            if let Response::Status { code, .. } = response
                && code.first().is_some_and(|c| c.is("UIDVALIDITY") || c.is("UIDNEXT"))
            {
                out.push(format!("{name} {code:?}"));
            }
        }
        out.extend(messages(&mut client).into_iter().map(|m| format!("{name} {m}")));
    }
    out
}

/// Folders that a server gives to everybody are not the test's.
fn interesting(name: &str) -> bool {
    !["Drafts", "Junk", "Sent", "Trash"].contains(&name)
}

fn messages(client: &mut Client) -> Vec<String> {
    let reply = client.ok("UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])").unwrap();
    let mut out = Vec::new();
    for (_, items) in reply.fetches() {
        let value = |name: &str| items.iter().find(|(n, _)| *n == name).unwrap().1;
        let flags = value("FLAGS").list().unwrap().iter().map(|f| f.text().to_lowercase());
        let flags: BTreeSet<String> = flags.filter(|f| f != "\\recent").collect();
        let text = value("BODY[]").text();
        let id = text.lines().find(|l| l.starts_with("Message-ID")).unwrap_or("?");
        let date = value("INTERNALDATE").text();
        let date =
            culver_base::InternalDate::parse(&mut culver_base::Cursor::new(date.as_bytes())).unwrap().unix;
        out.push(format!("{:?} {} {date} {flags:?} {id}", value("UID").number(), value("RFC822.SIZE")));
    }
    out.sort();
    out
}

/// The tree as a new owner of the machine would get it: without what a server keeps for itself alone.
fn hand_over(from: &Account, server: &dyn Peer) -> Account {
    let to = server.fresh_account();
    let home = to.maildir.parent().unwrap();
    let _ = fs::remove_dir_all(&to.maildir);
    fs::create_dir_all(home).unwrap();
    let copied = Command::new("cp").arg("-a").arg(&from.maildir).arg(&to.maildir).status().unwrap();
    assert!(copied.success());
    forget_indexes(&to.maildir);
    server.own(home).unwrap();
    to
}

fn forget_indexes(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("dovecot.") {
            fs::remove_file(&path).unwrap();
        } else if path.is_dir() && name.starts_with('.') {
            forget_indexes(&path);
        }
    }
}

/// What a user does in a turn.
fn work(server: &dyn Peer, account: &Account, turn: u32) {
    let mut client = server.log_in(account).unwrap();
    for (i, message) in mail::fixture("ten.mbox").unwrap().into_iter().enumerate() {
        let flags = ["", "(\\Seen) ", "(\\Flagged $Forwarded) ", "(\\Answered Project) "][i % 4];
        client.append("INBOX", &format!("{flags}\"{}\" ", message.date), &message.bytes).unwrap();
    }
    let folder = format!("Work/{turn}");
    client.ok(&format!("CREATE {folder}")).unwrap();
    client.ok(&format!("SUBSCRIBE {folder}")).unwrap();
    client.ok("SELECT INBOX").unwrap();
    client.ok("STORE 2,4 +FLAGS (\\Deleted)").unwrap();
    client.ok("EXPUNGE").unwrap();
    client.ok("STORE 1 FLAGS (\\Draft Another)").unwrap();
    client.ok(&format!("COPY 1:3 {folder}")).unwrap();
    client.ok(&format!("MOVE 4 {folder}")).unwrap();
    client.ok("SUBSCRIBE INBOX").unwrap();
    client.ok("LOGOUT").unwrap();
}

fn culver() -> Culver {
    Culver::start(env!("CARGO_BIN_EXE_culver").as_ref(), CulverOptions::default()).unwrap()
}

#[test]
fn dovecot_culver_dovecot_culver() {
    if let Some(why) = Dovecot::missing() {
        println!("not run: in turns with dovecot: {why}");
        return;
    }
    let dovecot = Dovecot::start().unwrap();
    let first = dovecot.fresh_account();
    work(&dovecot, &first, 1);
    let wanted = picture(&dovecot, &first);

    let server = culver();
    let second = hand_over(&first, &server);
    assert_eq!(picture(&server, &second), wanted, "Culver takes over from Dovecot");
    work(&server, &second, 2);
    let wanted = picture(&server, &second);
    let kept = tempfile::tempdir().unwrap();
    // Stopped, so that all flags are in the file names.
    let second = stop_and_keep(server, &second, kept.path());

    let third = hand_over(&second, &dovecot);
    assert_eq!(picture(&dovecot, &third), wanted, "Dovecot takes over from Culver");
    work(&dovecot, &third, 3);
    let wanted = picture(&dovecot, &third);

    let server = culver();
    let fourth = hand_over(&third, &server);
    assert_eq!(picture(&server, &fourth), wanted, "and Culver again");
}

/// Ends the server by SIGTERM and gives its account's Maildir, which would go with it.
fn stop_and_keep(server: Culver, account: &Account, to: &Path) -> Account {
    let dir = server.stop().unwrap();
    let maildir = to.join("Mail");
    let inside = account.maildir.strip_prefix(dir.path()).unwrap();
    assert!(
        Command::new("cp").arg("-a").arg(dir.path().join(inside)).arg(&maildir).status().unwrap().success()
    );
    Account { maildir, ..account.clone() }
}
