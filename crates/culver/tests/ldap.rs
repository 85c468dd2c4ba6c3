//! The program with its accounts in OpenLDAP: who gets in, where their mail lies, what they hear while the directory server is away.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and makes its own files"
)]

use culver_testkit::{Client, Peer as _, Served, servers};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

const CULVER: &str = env!("CARGO_BIN_EXE_culver");

/// A stored password, as OpenLDAP's own tool makes it.
fn hash(arguments: &[&str]) -> String {
    let out =
        Command::new("/usr/sbin/slappasswd").args(["-n", "-s", "secret"]).args(arguments).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn tree() -> String {
    let mut tree =
        "dn: dc=example,dc=org\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\n"
            .to_owned();
    let crypt = hash(&["-h", "{CRYPT}", "-c", "$6$%.16s"]);
    for (uid, password, more) in [
        ("anna", hash(&["-h", "{SSHA}"]), "mailQuota: 2097152\n"),
        ("bert", crypt, ""),
        ("carl", hash(&["-h", "{SMD5}"]), "employeeType: yes\ntitle: gone_fishing\n"),
        ("dora", hash(&["-h", "{SHA}"]), "description: 192.0.2.0/24\n"),
    ] {
        tree += &format!(
            "\ndn: uid={uid},dc=example,dc=org\nobjectClass: inetOrgPerson\nobjectClass: extensibleObject\nuid: {uid}\n\
             cn: {uid}\nsn: {uid}\nmail: {uid}@example.org\nhomeDirectory: mail/{uid}\nuserPassword: {password}\n{more}"
        );
    }
    tree
}

fn served(running: &servers::Server, more: &str) -> Served {
    let temp = tempfile::Builder::new().prefix("culver-").tempdir().unwrap();
    let root = temp.path().display().to_string();
    fs::create_dir(temp.path().join("state")).unwrap();
    let uri = format!("ldapi://{}", running.socket.display().to_string().replace('/', "%2F"));
    let text = format!(
        "state_dir = \"{root}/state\"\nlog.file = \"{root}/log\"\nauth.failure_delay = \"0s\"\n\
         imap.listen = [\"127.0.0.1:0\"]\nimaps.listen = []\nmail.roots = [\"{root}\"]\nauth_socket.master = [{{ path = \"{root}/master\" }}]\n\
         [[directory]]\nsource = \"ldap\"\nname = \"staff\"\ncache.entries = 0\n[directory.ldap]\nuris = [\"{uri}\"]\n\
         bind_dn = \"cn=admin,dc=example,dc=org\"\nbind_password = \"admin secret\"\nbase = \"dc=example,dc=org\"\n\
         iterate_filter = \"(objectClass=inetOrgPerson)\"\n\
         attributes = [\"userPassword=password\", \"homeDirectory=userdb_home={root}/%$\", \
         \"mailQuota=userdb_quota_rule=*:bytes=%$\", \"employeeType=nologin\", \"title=reason\", \"description=allow_nets\"]\n{more}\n"
    );
    Served::on(Path::new(CULVER), temp, &text).unwrap()
}

fn log_in(server: &Served, user: &str, password: &str) -> Result<Client, String> {
    let mut client = Client::connect(server.imap()).unwrap();
    client.login(user, password).map_err(|why| format!("{why:#}"))?;
    Ok(client)
}

fn log_in_as(server: &Served, more: &str) {
    for (user, password, expected) in [
        ("anna@example.org", "secret", Ok(())),
        ("Anna#example.org", "secret", Ok(())),
        ("bert@example.org", "secret", Ok(())),
        ("anna@example.org", "wrong", Err("AUTHENTICATIONFAILED")),
        ("anna@example.org", "", Err("AUTHENTICATIONFAILED")),
        ("*@example.org", "secret", Err("AUTHENTICATIONFAILED")),
        ("nobody@example.org", "secret", Err("AUTHENTICATIONFAILED")),
        ("carl@example.org", "secret", Err("gone fishing")),
        ("dora@example.org", "secret", Err("AUTHORIZATIONFAILED")),
    ] {
        match (log_in(server, user, password), expected) {
            (Ok(_), Ok(())) => {}
            (Err(why), Err(expected)) if why.contains(expected) => {}
            (found, expected) => {
                let found = found.map(|_| ());
                panic!(
                    "{more}: {user} {password:?}: {found:?} and not {expected:?}; the log:\n{}",
                    server.log()
                )
            }
        }
    }
}

#[test]
fn accounts_in_openldap() {
    if !Path::new("/usr/sbin/slappasswd").exists() {
        println!("not run: slapd is missing");
        return;
    }
    let mut running = servers::slapd("", &tree()).unwrap().unwrap();
    for more in ["auth_bind = false", "auth_bind = true", "auth_bind_dn = \"uid=%n,dc=example,dc=org\""] {
        let server = served(&running, more);
        log_in_as(&server, more);
        let mut anna = log_in(&server, "anna@example.org", "secret").unwrap();
        anna.append("INBOX", "", b"Subject: x\r\n\r\ny\r\n").unwrap();
        assert!(server.dir().join("mail/anna").is_dir());
        let quota = anna.ok("GETQUOTAROOT INBOX").unwrap();
        assert!(format!("{quota:?}").contains("2048"), "{quota:?}");

        running.stop();
        let why = log_in(&server, "anna@example.org", "secret").map(|_| ()).unwrap_err();
        assert!(why.contains("UNAVAILABLE"), "{why}");
        assert!(server.log().contains("staff: search"), "{}", server.log());
        assert!(server.log().contains("no LDAP server can be reached"), "{}", server.log());
        // Who is in stays in.
        anna.ok("SELECT INBOX").unwrap();
        running.start().unwrap();
        log_in(&server, "anna@example.org", "secret").unwrap();
        assert_eq!(
            names(&server.dir().join("master")),
            ["anna@example.org", "bert@example.org", "carl@example.org", "dora@example.org"]
        );
    }
}

/// All accounts, as Dovecot's master protocol lists them.
fn names(socket: &Path) -> Vec<String> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"VERSION\t1\t1\nLIST\t1\tservice=test\n").unwrap();
    let mut names = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["LIST", "1", name] => names.push(name.to_owned()),
            ["DONE", ..] => break,
            ["FAIL", ..] => panic!("{line}"),
            _ => {}
        }
    }
    names
}
