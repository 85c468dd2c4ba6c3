//! An administrator's own texts of quota notices: exported, checked, used within the sandbox, and read again at a reload.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panic, and plays other programs on the file system"
)]

use culver_testkit::{Client, Peer, Served};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const EXE: &str = env!("CARGO_BIN_EXE_culver");
const USER: &str = "u0001@example.test";

fn culver(args: &[&str]) -> Output {
    Command::new(EXE).args(args).output().unwrap()
}

fn printed(out: &Output) -> String {
    String::from_utf8_lossy(&[&out.stdout[..], &out.stderr].concat()).into_owned()
}

/// Another so many percent of the limit.
fn fill(client: &mut Client, percent: usize) {
    let octets = (1 << 20) * percent / 100;
    let head = "Subject: mail\r\n\r\n";
    client.append("INBOX", "", format!("{head}{}\r\n", "x".repeat(octets - head.len())).as_bytes()).unwrap();
}

/// The newest message, once there are so many.
fn newest(client: &mut Client, messages: usize) -> String {
    for _ in 0..2000 {
        let reply = client.ok("STATUS INBOX (MESSAGES)").unwrap();
        if format!("{reply:?}").contains(&format!("MESSAGES {messages})")) {
            break;
        }
    }
    client.ok("SELECT INBOX").unwrap();
    let part = |client: &mut Client, part: &str| {
        format!("{:?}", client.ok(&format!("FETCH {messages} BODY.PEEK[{part}]")).unwrap())
    };
    part(client, "HEADER.FIELDS (SUBJECT CONTENT-LANGUAGE)") + &part(client, "TEXT")
}

#[test]
fn own_texts_are_sent() {
    let temp = tempfile::Builder::new().prefix("texts-").tempdir().unwrap();
    let at = temp.path().display().to_string();
    let texts = temp.path().join("texts");
    let config = temp.path().join("culver.toml").display().to_string();
    let folder = texts.display().to_string();
    let out = culver(&["quota", "template", "--export", &folder]);
    assert!(out.status.success() && printed(&out).contains("Wrote 15 texts"), "{}", printed(&out));
    let again = culver(&["quota", "template", "--export", &folder]);
    assert!(!again.status.success() && printed(&again).contains("is there already"), "{}", printed(&again));
    // A language of our own, of which one text is broken.
    let write = |name: &str, text: &str| {
        fs::create_dir_all(texts.join("it")).unwrap();
        fs::write(texts.join("it").join(name), text).unwrap();
    };
    write("warned.txt", "Subject: Casella al {percent} %\n\n{account}: {used} di {limit}.\n");
    write("over.txt", "Subject: Piena\n\n{account}\nfino al {untill}\n");
    for folder in ["state", "mail"] {
        fs::create_dir(temp.path().join(folder)).unwrap();
    }
    fs::write(temp.path().join("users"), format!("{USER}:{{PLAIN}}pass:::::\n")).unwrap();
    let text = format!(
        "state_dir = \"{at}/state\"\nlog.file = \"{at}/log\"\nlog.style = \"dovecot\"\nimap.listen = [\"127.0.0.1:0\"]\n\
         imaps.listen = []\npop3.listen = []\npop3s.listen = []\nmail.roots = [\"{at}/mail\"]\nquota.storage = \"1MiB\"\n\
         quota.warnings = [50]\nquota.last_message = \"1MiB\"\nquota.templates = \"{folder}\"\nsandbox = true\n\
         [[directory]]\nsource = \"passwd-file\"\npath = \"{at}/users\"\nhome = \"{at}/mail/%u\"\n"
    );
    fs::write(&config, &text).unwrap();
    let wrong = format!("{folder}/it/over.txt:4: there is no {{untill}}: known are {{account}}");
    let check = culver(&["config", "check", "--config", &config]);
    assert!(check.status.success() && printed(&check).contains(&wrong), "{}", printed(&check));

    let server = Served::on(Path::new(EXE), temp, &text).unwrap();
    let mut client = server.log_in(&server.account(USER)).unwrap();
    assert_eq!(server.log().matches(&wrong).count(), 1, "{}", server.log());
    let set = |language: &str| culver(&["quota", "set", USER, "--language", language, "--config", &config]);
    let refused = set("tlh");
    let there = "there are notices in en, de, fr, it";
    assert!(!refused.status.success() && printed(&refused).contains(there), "{}", printed(&refused));
    let accepted = set("it");
    assert!(accepted.status.success(), "{}", printed(&accepted));

    // 61 % of 1 MiB: 639631 octets and two for the last line, 624.6 KiB.
    fill(&mut client, 61);
    let notice = newest(&mut client, 2);
    assert!(notice.contains("Subject: Casella al 60 %\\r\\n"), "{notice}");
    assert!(notice.contains(&format!("{USER}: 624.6 KiB di 1 MiB.\\r\\n")), "{notice}");
    assert!(notice.contains("Content-Language: it\\r\\n"), "{notice}");
    // The broken one is English, and mail goes on.
    fill(&mut client, 30);
    fill(&mut client, 12);
    let notice = newest(&mut client, 5);
    assert!(notice.contains("Subject: Your mailbox is full\\r\\n"), "{notice}");

    // Put right, it is used after a reload.
    fs::write(texts.join("it/over.txt"), "Subject: Piena\n\nfino al {until}\n").unwrap();
    fs::write(texts.join("it/below.txt"), "Subject: Di nuovo posto\n\n{percent}\n").unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(server.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    for _ in 0..20_000 {
        if server.log().contains("settings reloaded") {
            break;
        }
        client.ok("NOOP").unwrap();
    }
    client.ok("SELECT INBOX").unwrap();
    client.ok("STORE 1,3:4 +FLAGS (\\Deleted)").unwrap();
    client.ok("EXPUNGE").unwrap();
    let notice = newest(&mut client, 3);
    assert!(notice.contains("Subject: Di nuovo posto\\r\\n"), "{notice}");
    assert_eq!(server.log().matches(&wrong).count(), 1, "{}", server.log());
    let check = culver(&["config", "check", "--config", &config]);
    assert!(check.status.success() && !printed(&check).contains("over.txt"), "{}", printed(&check));
}

/// What the folder has that is no text is told, and a folder that is not there stops nothing.
#[test]
fn the_folder_is_checked() {
    let temp = tempfile::tempdir().unwrap();
    let texts = temp.path().join("texts");
    let config = temp.path().join("culver.toml");
    let check = |settings: &str| {
        let folder = texts.display();
        let text =
            format!("state_dir = \"{}\"\nquota.templates = \"{folder}\"\n{settings}", temp.path().display());
        fs::write(&config, text).unwrap();
        printed(&culver(&["config", "check", "--config", &config.display().to_string()]))
    };
    let said = check("");
    assert!(
        said.contains("warning: ") && said.contains("No such file") && said.contains("can be used"),
        "{said}"
    );
    for folder in ["de_AT", "it", ".git"] {
        fs::create_dir_all(texts.join(folder)).unwrap();
    }
    fs::write(texts.join("README"), "x").unwrap();
    fs::write(texts.join("it/warn.txt"), "x").unwrap();
    fs::write(texts.join("it/warned.txt~"), "x").unwrap();
    fs::create_dir(texts.join("it/over.txt")).unwrap();
    fs::write(texts.join("it/below.txt"), b"Subject: caf\xe9\n\nx\n").unwrap();
    let said = check("quota.language = \"es\"");
    for what in [
        "de_AT: de_AT is the tag of no language",
        "warn.txt: users are told of no such step: files are warned.txt, over.txt, below.txt, disabled.txt, enabled.txt",
        "over.txt: this is no file",
        "below.txt:1: this is no UTF-8",
        "quota.language: there are no notices in \"es\": choose from en, de, fr, it",
    ] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let told =
        said.lines().filter(|line| line.contains("/texts/") || line.contains("quota.language")).count();
    assert_eq!(told, 5, "{said}");
    let relative = "quota.templates = \"texts\"\n";
    fs::write(&config, relative).unwrap();
    let out = culver(&["config", "check", "--config", &config.display().to_string()]);
    assert!(!out.status.success() && printed(&out).contains("quota.templates is not an absolute path"));
}
