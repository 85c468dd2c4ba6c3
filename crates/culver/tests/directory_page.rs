//! docs/directory.md: each configuration on it is one, and those with a database, a directory server or a passwd-file let in the
//! accounts that the page puts there.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and makes its own files"
)]

use culver_testkit::page::Page;
use culver_testkit::{Client, Peer as _, Served, servers};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};

const CULVER: &str = env!("CARGO_BIN_EXE_culver");

#[test]
fn every_configuration_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let page = Page::read("directory.md");
    let blocks = page.all("toml");
    assert!(blocks.len() >= 12, "{}", blocks.len());
    for block in blocks {
        let file = folder.path().join("culver.toml");
        fs::write(&file, block).unwrap();
        let out = Command::new(CULVER).args(["config", "check", "--config"]).arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && !said.contains("error"), "{block}\n{said}");
    }
}

/// The block of the page that has this text; `changes` are what is different here.
fn block(page: &Page, with: &str, changes: &[(&str, String)]) -> String {
    let blocks = page.all("toml");
    let mut found = blocks.into_iter().filter(|block| block.contains(with));
    let mut text = found.next().unwrap_or_else(|| panic!("the page has no block with {with}")).to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old} is not in\n{text}");
        text = text.replace(old, new);
    }
    // Files belong to whoever runs the test.
    text.lines()
        .filter(|line| !line.starts_with("uid =") && !line.starts_with("gid ="))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn served(directory: &str, files: &[(&str, &str)]) -> Served {
    let temp = tempfile::Builder::new().prefix("culver-").tempdir().unwrap();
    let root = temp.path().display().to_string();
    fs::create_dir(temp.path().join("state")).unwrap();
    for (name, text) in files {
        fs::write(temp.path().join(name), text).unwrap();
    }
    let directory = directory.replace("/var/vmail", &format!("{root}/mail")).replace("@DIR@", &root);
    let text = format!(
        "state_dir = \"{root}/state\"\nsandbox = false\nlog.file = \"{root}/log\"\nauth.failure_delay = \"0s\"\n\
         imap.listen = [\"127.0.0.1:0\"]\nimaps.listen = []\nmail.roots = [\"{root}\"]\n{directory}"
    );
    Served::on(Path::new(CULVER), temp, &text).unwrap()
}

fn log_in(server: &Served, user: &str, password: &str) -> Result<Client, String> {
    let mut client = Client::connect(server.imap()).unwrap();
    client.login(user, password).map_err(|why| format!("{why:#}"))?;
    Ok(client)
}

/// anna has a GiB and gets in; bert is disabled; of others nothing is known.
fn lets_in(server: &Served, what: &str) {
    let mut anna = log_in(server, "anna@example.org", "secret")
        .unwrap_or_else(|why| panic!("{what}: {why}\n{}", server.log()));
    anna.append("INBOX", "", b"Subject: x\r\n\r\ny\r\n").unwrap();
    assert!(server.dir().join("mail/example.org/anna").is_dir(), "{what}");
    let quota = format!("{:?}", anna.ok("GETQUOTAROOT INBOX").unwrap());
    // In KiB (RFC 9208 §5.1).
    assert!(quota.contains("1048576"), "{what}: {quota}");
    for (user, password) in [
        ("anna@example.org", "wrong"),
        ("anna@example.com", "secret"),
        ("nobody@example.org", "secret"),
        ("bert@example.org", "secret"),
        ("%@example.org", "secret"),
        ("*@example.org", "secret"),
    ] {
        let why = log_in(server, user, password).map(|_| ()).unwrap_err();
        assert!(!why.contains("UNAVAILABLE"), "{what}: {user}: {why}\n{}", server.log());
    }
}

#[test]
fn the_passwd_file() {
    let page = Page::read("directory.md");
    let [users] = page.all("passwd")[..] else { panic!("the page has one passwd-file") };
    let own = block(
        &page,
        "source = \"passwd-file\"\npath = \"/etc/culver/users\"\nhome",
        &[("/etc/culver", "@DIR@".to_owned())],
    );
    lets_in(&served(&own, &[("users", users)]), "passwd-file");
}

/// LMTP's answer to a recipient.
fn recipient(server: &Served, address: &str) -> String {
    let stream = TcpStream::connect(server.address("lmtp").unwrap()).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    let mut say = |command: &str| {
        (&stream).write_all(command.as_bytes()).unwrap();
        lines.find(|line| line.as_bytes().get(3) == Some(&b' ')).unwrap()
    };
    say("");
    say("LHLO test.example\r\n");
    say("MAIL FROM:<x@example.net>\r\n");
    say(&format!("RCPT TO:<{address}>\r\n"))
}

/// Two machines on one database: what is typed on one is true on the other at once.
#[test]
fn the_built_in_directory_of_several_machines() {
    let page = Page::read("directory.md");
    let Some(mut running) = servers::postgres().unwrap() else {
        println!("not run: PostgreSQL is missing");
        return;
    };
    // As the page says.
    running.psql("CREATE ROLE culver LOGIN PASSWORD 'secret'").unwrap();
    running.psql("CREATE DATABASE mail OWNER culver").unwrap();
    let socket = running.socket.join(format!(".s.PGSQL.{}", running.port)).display().to_string();
    let changes = [
        ("\"db1.example.org\", \"db2.example.org\"", format!("\"{socket}\"")),
        ("tls = \"starttls\"\n", String::new()),
    ];
    let own = block(
        &page,
        "source = \"builtin\"\nhome = \"/var/vmail/%d/%n\"\nuid = 5000\ngid = 5000\n\n[directory.sql]",
        &changes,
    );
    let own = format!("lmtp.listen = [\"127.0.0.1:0\"]\n{own}");
    let machines = [served(&own, &[]), served(&own, &[])];
    let run = |machine: usize, words: &[&str]| {
        let mut command = Command::new(CULVER);
        command.args(words).arg("--config").arg(machines[machine].dir().join("culver.toml"));
        let out = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        (out.status.success(), said)
    };
    let done = |machine: usize, words: &[&str]| {
        let (well, said) = run(machine, words);
        assert!(well, "{words:?}: {said}");
        said
    };
    done(0, &["domain", "add", "example.org"]);
    done(1, &["domain", "alias", "example.net", "example.org"]);
    done(0, &["user", "add", "anna@example.org", "--hash", "{PLAIN}secret", "--quota", "1G"]);
    let (well, said) = run(1, &["user", "add", "anna@example.net"]);
    assert!(!well && said.contains("anna@example.org exists already"), "{said}");
    assert!(done(1, &["user", "list"]).contains("anna@example.org"));
    for machine in &machines {
        log_in(machine, "anna@example.net", "secret")
            .unwrap_or_else(|why| panic!("{why}\n{}", machine.log()));
        assert!(recipient(machine, "anna@example.net").starts_with("250 "));
        assert!(recipient(machine, "info@example.org").starts_with("550 "));
    }
    // A password, a route, a switch, a limit: the other machine knows at once.
    done(1, &["user", "passwd", "anna@example.org", "--hash", "{PLAIN}other"]);
    assert!(log_in(&machines[0], "anna@example.org", "secret").is_err());
    log_in(&machines[0], "anna@example.org", "other").unwrap();
    done(0, &["route", "add", "info@example.net", "--to", "anna@example.org"]);
    assert!(recipient(&machines[1], "info@example.org").starts_with("250 "));
    done(1, &["quota", "set", "anna@example.org", "--storage", "3M"]);
    let mut client = log_in(&machines[0], "anna@example.org", "other").unwrap();
    let quota = format!("{:?}", client.ok("GETQUOTAROOT INBOX").unwrap());
    assert!(quota.contains("3072"), "{quota}");
    done(0, &["user", "disable", "anna@example.org", "--reason", "moved away"]);
    let why = log_in(&machines[1], "anna@example.org", "other").map(drop).unwrap_err();
    assert!(why.contains("moved away"), "{why}");
    done(1, &["user", "enable", "anna@example.org"]);

    // The database goes: later, not no. It comes back: nothing has to be done.
    running.stop();
    for machine in &machines {
        let why = log_in(machine, "anna@example.org", "other").map(drop).unwrap_err();
        assert!(why.contains("UNAVAILABLE"), "{why}");
        assert!(recipient(machine, "anna@example.org").starts_with("451 "));
        assert!(machine.log().contains("PostgreSQL cannot be reached"), "{}", machine.log());
    }
    let (well, said) = run(0, &["user", "list"]);
    assert!(!well && said.contains("is it running"), "{said}");
    running.start().unwrap();
    for machine in &machines {
        log_in(machine, "anna@example.org", "other").unwrap();
        assert!(recipient(machine, "anna@example.org").starts_with("250 "));
    }
}

#[test]
fn databases() {
    let page = Page::read("directory.md");
    let [table] = page.all("sql")[..] else { panic!("the page has one table") };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.sqlite");
    rusqlite::Connection::open(&file).unwrap().execute_batch(table).unwrap();
    let path = ("/var/lib/mail/users.sqlite", file.display().to_string());
    lets_in(&served(&block(&page, "driver = \"sqlite\"\npassword_query", &[path]), &[]), "SQLite");
    match servers::postgres().unwrap() {
        None => println!("not run: PostgreSQL is missing"),
        Some(running) => {
            running.psql(table).unwrap();
            running.psql("CREATE ROLE culver LOGIN; GRANT SELECT ON users TO culver").unwrap();
            let socket = running.socket.join(format!(".s.PGSQL.{}", running.port)).display().to_string();
            let changes =
                [("/run/postgresql", socket), ("database = \"mail\"", "database = \"postgres\"".to_owned())];
            lets_in(&served(&block(&page, "driver = \"postgresql\"", &changes), &[]), "PostgreSQL");
        }
    }
    match servers::mariadb().unwrap() {
        None => println!("not run: MariaDB is missing"),
        Some(running) => {
            let user = "CREATE USER culver@localhost IDENTIFIED BY 'secret'; GRANT SELECT ON mail.* TO culver@localhost";
            running.mariadb(&format!("USE mail; {table} {user}")).unwrap();
            let socket = ("/run/mysqld/mysqld.sock", running.socket.display().to_string());
            lets_in(&served(&block(&page, "driver = \"mysql\"", &[socket]), &[]), "MariaDB");
        }
    }
}

#[test]
fn a_directory_server() {
    let page = Page::read("directory.md");
    let [tree] = page.all("ldif")[..] else { panic!("the page has one tree") };
    let Some(running) = servers::slapd("", tree).unwrap() else {
        println!("not run: slapd is missing");
        return;
    };
    let uri = format!("\"ldapi://{}\"", running.socket.display().to_string().replace('/', "%2F"));
    let two = ("\"ldaps://ldap1.example.org\", \"ldaps://ldap2.example.org\"", uri.clone());
    let own = block(&page, "attributes = [\"=user=", &[two]);
    let server = served(&own, &[]);
    lets_in(&server, "LDAP, by bind");
    log_in(&server, "A.Example@example.org", "secret").unwrap();
    assert!(server.log().contains("login of anna@example.org"), "{}", server.log());
    let one = ("\"ldap://ldap1.example.org\"", uri.clone());
    lets_in(
        &served(&block(&page, "auth_bind = false", &[one, ("tls = \"starttls\"\n", String::new())]), &[]),
        "LDAP, compared",
    );
    let one = ("\"ldaps://ldap1.example.org\"", uri);
    lets_in(
        &served(&block(&page, "serves = \"passwords\"", &[one]), &[]),
        "LDAP for passwords, static for accounts",
    );
}

#[test]
fn several_in_a_chain() {
    let page = Page::read("directory.md");
    let [users] = page.all("passwd")[..] else { panic!("the page has one passwd-file") };
    let database = tempfile::tempdir().unwrap();
    let file = database.path().join("users.sqlite");
    let table = "CREATE TABLE users (name, password); INSERT INTO users VALUES ('carl', '{PLAIN}shop'), ('gone', '{PLAIN}shop')";
    rusqlite::Connection::open(&file).unwrap().execute_batch(table).unwrap();
    let changes = [
        ("/var/lib/shop/users.sqlite", file.display().to_string()),
        ("/etc/culver/", "@DIR@/".to_owned()),
        ("source = \"builtin\"", "source = \"builtin\"\nhome = \"/var/vmail/%d/%n\"".to_owned()),
        ("sql.driver", "home = \"/var/vmail/%d/%n\"\nsql.driver".to_owned()),
        ("users\"\n", "users\"\nhome = \"/var/vmail/%d/%n\"\n".to_owned()),
    ];
    let own = block(&page, "deny = true", &changes);
    let server = served(&own, &[("users", users), ("gone", "gone@shop.example.org\n")]);
    // Whom which source has: the database has no iterate_query, and the list says that it is not whole.
    let mut command = Command::new(CULVER);
    command.args(["user", "list", "--all", "--json", "--config"]).arg(server.dir().join("culver.toml"));
    let out = command.stdin(Stdio::null()).output().unwrap();
    let (listed, said) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(!out.status.success() && said.contains("iterate_query"), "{said}");
    assert!(listed.contains("\"source\":\"passwd-file\",\"user\":\"anna@example.org\""), "{listed}\n{said}");
    for (user, password, right) in [
        ("anna@example.org", "secret", true),
        ("carl@shop.example.org", "shop", true),
        ("carl@example.org", "shop", false),
        ("gone@shop.example.org", "shop", false),
    ] {
        assert_eq!(log_in(&server, user, password).is_ok(), right, "{user}\n{}", server.log());
    }
}
