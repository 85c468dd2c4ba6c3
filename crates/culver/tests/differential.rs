//! The same Maildir in Culver and in Dovecot: zero unexplained differences.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and plays other programs on the file system"
)]

use culver_testkit::differential::{Pair, Part, parts, unexplained};
use culver_testkit::{Culver, CulverOptions, Dovecot, Peer, mail, tree};
use std::path::PathBuf;

/// Messages per FETCH.
const BLOCK: usize = 100;

/// The folders that `culver demo` gives to every account.
const SPECIAL: &str = "namespace inbox {\n mailbox Drafts {\n auto = subscribe\n special_use = \\Drafts\n }\n \
    mailbox Sent {\n auto = subscribe\n special_use = \\Sent\n }\n mailbox Junk {\n auto = subscribe\n special_use = \\Junk\n }\n \
    mailbox Trash {\n special_use = \\Trash\n }\n}\n";

#[test]
fn culver_and_dovecot() {
    if let Some(why) = Dovecot::missing() {
        println!("not run: differential test: {why}");
        return;
    }
    let corpus = mail::corpus("ordinary").unwrap();
    println!("{} messages of {}", corpus.files.len(), corpus.origin);
    let theirs = Dovecot::start_with(SPECIAL).unwrap();
    // CULVER_DIFFERENTIAL_SELF=1 compares Dovecot with itself: that the test can be trusted when it finds nothing.
    let ours: Box<dyn Peer> = match std::env::var_os("CULVER_DIFFERENTIAL_SELF") {
        Some(_) => Box::new(Dovecot::start_with(SPECIAL).unwrap()),
        None => {
            Box::new(Culver::start(env!("CARGO_BIN_EXE_culver").as_ref(), CulverOptions::default()).unwrap())
        }
    };
    let (a, b) = (ours.fresh_account(), theirs.fresh_account());
    tree::fill(&*ours, &a, &corpus.files).unwrap();
    tree::fill(&theirs, &b, &corpus.files).unwrap();
    let mut pair = Pair::new((&*ours, a), (&theirs, b)).unwrap();
    folders(&mut pair);
    fetch(&mut pair, &corpus.files);
    order(&mut pair, &corpus.files);
    let step = (corpus.files.len() / 250).max(1);
    let sample: Vec<PathBuf> = corpus.files.iter().step_by(step).cloned().collect();
    search(&mut pair, &sample);

    let whole = !corpus.origin.starts_with("generated");
    println!("{} values compared, {} differ", pair.compared, pair.differences.len());
    println!("not compared, for dovecot ended the session: {}", pair.peer_ended.len());
    let (left, unused) = unexplained(pair.differences).unwrap();
    let report: String = left.iter().map(|d| format!("{d}\n")).collect();
    let path = mail::target_dir().join("differential.txt");
    std::fs::write(&path, &report).unwrap();
    println!("{}", report.lines().take(150).collect::<Vec<_>>().join("\n"));
    assert!(left.is_empty(), "{} unexplained differences, all in {}", left.len(), path.display());
    assert!(!whole || unused.is_empty(), "rows of accepted.toml that nothing uses: {unused:#?}");
}

fn folders(pair: &mut Pair) {
    for command in [
        "LIST \"\" *",
        "LIST \"\" %",
        "LIST \"\" Work/%",
        "LIST \"\" *2024*",
        "LIST Work/ *",
        "LIST \"\" Orphan*",
        "LIST \"\" %/%",
        "LIST \"\" inbox",
        "LIST \"\" \"\"",
        "LSUB \"\" *",
        "LSUB \"\" %",
        "LSUB \"\" Work/*",
        "LIST (SUBSCRIBED) \"\" *",
        "LIST \"\" * RETURN (SUBSCRIBED CHILDREN)",
        "LIST \"\" (Work/% Trash) RETURN (STATUS (MESSAGES UNSEEN UIDNEXT UIDVALIDITY SIZE))",
        "STATUS INBOX (MESSAGES UNSEEN UIDNEXT UIDVALIDITY SIZE)",
        "STATUS Work/2024 (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)",
        "STATUS Entw&APw-rfe (MESSAGES UNSEEN SIZE)",
        "STATUS Nothing (MESSAGES)",
    ] {
        pair.rows(command).unwrap();
    }
}

fn fetch(pair: &mut Pair, files: &[PathBuf]) {
    pair.select("INBOX").unwrap();
    let mut structures = Vec::new();
    for first in (1..=files.len()).step_by(BLOCK) {
        let set = format!("{first}:{}", (first + BLOCK - 1).min(files.len()));
        let answer =
            pair.fetch(&set, "FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE", files).unwrap();
        for (uid, items) in answer {
            structures.extend(items.get("BODYSTRUCTURE").map(|s| (uid, parts(s))));
        }
        for items in [
            "BODY.PEEK[]",
            "BODY.PEEK[HEADER] BODY.PEEK[TEXT] BODY.PEEK[]<100.200> BODY.PEEK[TEXT]<0.37> BODY.PEEK[TEXT]<1000000.10>",
            "BODY.PEEK[HEADER.FIELDS (From To Cc Subject Date Message-ID Received Content-Type X-Nothing)]",
            "BODY.PEEK[HEADER.FIELDS.NOT (From To Cc Subject Date Message-ID Received DKIM-Signature)]",
            "BODY.PEEK[HEADER.FIELDS (Received)]<10.50> RFC822.HEADER",
        ] {
            pair.fetch(&set, items, files).unwrap();
        }
    }
    for (uid, parts) in structures {
        let (mut items, mut binary) = (Vec::new(), Vec::new());
        for (number, kind) in parts.iter().take(40) {
            items.push(format!("BODY.PEEK[{number}] BODY.PEEK[{number}.MIME] BODY.PEEK[{number}]<5.20>"));
            match kind {
                Part::Leaf => binary.push(format!("BINARY.SIZE[{number}] BINARY.PEEK[{number}]")),
                Part::Message => items.push(format!(
                    "BODY.PEEK[{number}.HEADER] BODY.PEEK[{number}.TEXT] \
                     BODY.PEEK[{number}.HEADER.FIELDS (Subject From)] \
                     BODY.PEEK[{number}.HEADER.FIELDS.NOT (Received)]"
                )),
                Part::Multipart => {}
            }
        }
        // BINARY by itself: what cannot be decoded fails the whole command.
        for items in [items, binary] {
            if !items.is_empty() {
                pair.fetch(&uid.to_string(), &items.join(" "), files).unwrap();
            }
        }
    }
}

/// In INBOX, with every message of the corpus.
fn order(pair: &mut Pair, files: &[PathBuf]) {
    for key in ["ARRIVAL", "SIZE", "DATE", "SUBJECT", "FROM", "TO", "CC", "DISPLAYFROM", "DISPLAYTO"] {
        pair.sort(&format!("SORT ({key}) UTF-8 ALL"), files).unwrap();
    }
    for program in ["REVERSE DATE", "REVERSE SUBJECT DATE", "CC SUBJECT REVERSE SIZE"] {
        pair.sort(&format!("SORT ({program}) UTF-8 LARGER 2000"), files).unwrap();
    }
    for algorithm in ["ORDEREDSUBJECT", "REFERENCES"] {
        pair.thread(&format!("THREAD {algorithm} UTF-8 ALL"), files).unwrap();
    }
}

fn search(pair: &mut Pair, files: &[PathBuf]) {
    pair.select("Sample").unwrap();
    for key in [
        "ALL",
        "SEEN",
        "UNSEEN",
        "FLAGGED",
        "UNFLAGGED",
        "ANSWERED",
        "DELETED",
        "DRAFT",
        "UNDRAFT",
        "KEYWORD $Forwarded",
        "UNKEYWORD Project",
        "SMALLER 4000",
        "LARGER 20000",
        "NOT LARGER 3000",
        "UID 5:20",
        "5:20 UID 10:*",
        "*",
        "ON 5-Jan-2024",
        "BEFORE 5-Jan-2024",
        "SINCE 8-Jan-2024",
        "SENTON 1-Jan-2015",
        "SENTBEFORE 1-Jan-2010",
        "SENTSINCE 1-Jan-2018",
        "SENTSINCE 1-Jan-2005 SENTBEFORE 1-Jan-2012",
        "FROM com",
        "FROM \"a\"",
        "FROM \"john\"",
        "TO list",
        "TO \"@lists\"",
        "CC linux",
        "BCC x",
        "SUBJECT patch",
        "SUBJECT re",
        "SUBJECT \"Re: \"",
        "SUBJECT test",
        "SUBJECT \"[PATCH\"",
        "SUBJECT \"usrp\"",
        "HEADER Message-ID \"@\"",
        "HEADER In-Reply-To \"\"",
        "HEADER X-Mailer \"\"",
        "HEADER User-Agent mozilla",
        "HEADER Content-Type multipart",
        "HEADER Received \"from\"",
        "HEADER List-Id \"\"",
        "HEADER References \"gmail\"",
        "BODY hello",
        "BODY the",
        "BODY \"thank\"",
        "BODY \"signature\"",
        "BODY href",
        "BODY \"linux\"",
        "BODY \"diff --git\"",
        "TEXT received",
        "TEXT \"boundary\"",
        "TEXT unsubscribe",
        "TEXT attachment",
        "OR SUBJECT patch FROM com",
        "NOT SUBJECT re NOT FROM com",
        "OR (SEEN SMALLER 9000) (BODY thanks FLAGGED)",
        "BODY kernel NOT SUBJECT kernel",
    ] {
        let command = format!("SEARCH {key}");
        pair.search(&[command.as_bytes()], files).unwrap();
    }
    for (key, text) in [
        ("SUBJECT", "ü"),
        ("SUBJECT", "é"),
        ("FROM", "ö"),
        ("BODY", "für"),
        ("BODY", "é"),
        ("TEXT", "日本"),
        ("BODY", "Привет"),
        ("SUBJECT", "Ü"),
        ("BODY", "“"),
        ("TEXT", "ñ"),
    ] {
        let command = format!("SEARCH CHARSET UTF-8 {key} ");
        pair.search(&[command.as_bytes(), text.as_bytes()], files).unwrap();
    }
    pair.search(&[b"SEARCH CHARSET ISO-8859-1 BODY ", b"f\xFCr"], files).unwrap();
}
