//! The built-in directory from outside.

#![allow(clippy::unwrap_used)]

use culver_directory::builtin::{Builtin, NewUser, Problem, What};
use culver_directory::{Defaults, Directory, Login, Proof, QuotaLimits, Secret, Source, Switch};
use std::sync::Arc;

fn password(text: &str) -> NewUser {
    NewUser { password: Some(text.to_owned()), ..NewUser::default() }
}

#[tokio::test]
async fn accounts_and_domains() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.sqlite");
    let open = || Builtin::open(&path, Defaults::default()).unwrap();
    let admin = open();
    assert!(matches!(admin.add_user("anna@example.com", &password("{PLAIN}x")), Err(Problem::NoDomain(_))));
    admin.add_domain("Example.COM").unwrap();
    admin.add_domain_alias("example.net", "example.com").unwrap();
    assert!(matches!(admin.add_domain("example.net"), Err(Problem::IsAlias(..))));
    assert!(matches!(admin.add_domain("example.com"), Err(Problem::DomainExists(_))));
    assert!(matches!(admin.add_domain_alias("a.example", "example.net"), Err(Problem::IsAlias(..))));
    assert!(matches!(admin.add_domain("not a domain"), Err(Problem::NotADomain(_))));
    assert_eq!(admin.add_user("Anna@example.net", &password("{PLAIN}x")).unwrap(), "anna@example.com");
    assert!(matches!(admin.add_user("anna@example.com", &password("{PLAIN}x")), Err(Problem::UserExists(_))));

    // The server has the same file open.
    let directory = Directory::new(vec![Arc::new(open())]);
    let find = async |name: &str| directory.find(&Login::parse(name.as_bytes()).unwrap()).await.unwrap();
    for name in ["anna@example.com", "ANNA#EXAMPLE.NET"] {
        let account = find(name).await.unwrap();
        assert_eq!(account.name, "anna@example.com");
        assert_eq!(account.mail.root.to_str(), Some("/var/vmail/example.com/anna/Maildir"));
        assert_eq!(account.secret, Secret::Stored("{PLAIN}x".to_owned()));
    }
    assert!(find("bob@example.com").await.is_none());
    admin.set_password("anna@example.net", Some("{PLAIN}y")).unwrap();
    assert_eq!(find("anna@example.com").await.unwrap().secret, Secret::Stored("{PLAIN}y".to_owned()));
    admin.set_password("anna@example.net", None).unwrap();
    assert_eq!(find("anna@example.com").await.unwrap().secret, Secret::None);

    let domains = admin.domains().unwrap();
    assert_eq!((domains.len(), domains[0].users, domains[0].aliases.len()), (1, 1, 1));
    assert_eq!(admin.users().unwrap().len(), 1);
    assert_eq!(Source::names(&admin).await.unwrap(), [admin.users().unwrap()[0].name.clone()]);
    admin.remove_user("anna@example.com").unwrap();
    assert!(matches!(admin.remove_user("anna@example.com"), Err(Problem::NoUser(_))));
    assert!(find("anna@example.com").await.is_none());
    // Nothing but the file stays: no -shm, no -wal.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn switches_quota_and_schemes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.sqlite");
    let open = || Builtin::open(&path, Defaults::default()).unwrap();
    let (admin, server) = (open(), open());
    admin.add_domain("example.com").unwrap();
    let quota = QuotaLimits { storage: Some(1 << 40), messages: Some(0) };
    let anna = NewUser { uid: Some(1001), gid: Some(1001), quota, ..password("{SCRAM-SHA-256}1,a,b,c") };
    admin.add_user("anna@example.com", &anna).unwrap();
    let login = Login::parse(b"anna@example.com").unwrap();
    let find = async || server.find(&login).await.unwrap().unwrap();
    let found = find().await;
    assert_eq!((found.quota, found.uid, found.login.clone()), (quota, Some(1001), Switch::On));
    assert!(server.serves(Proof::ScramSha256));

    admin.set_switch("anna@example.com", What::Login, Some("not paid")).unwrap();
    admin.set_switch("anna@example.com", What::Send, Some("")).unwrap();
    admin.set_switch("anna@example.com", What::Send, Some("spam sent")).unwrap();
    let found = find().await;
    assert_eq!(
        (found.login.off(), found.receive.off(), found.send.off()),
        (Some("not paid"), None, Some("spam sent"))
    );
    assert!(matches!(found.login, Switch::Off { since: Some(at), .. } if at > 1_700_000_000));
    admin.set_switch("anna@example.com", What::Login, None).unwrap();
    assert_eq!(find().await.login, Switch::On);
    assert!(matches!(admin.set_switch("bob@example.com", What::Login, None), Err(Problem::NoUser(_))));

    // One password that SCRAM cannot prove is enough, as soon as the server has looked again.
    admin.add_user("bob@example.com", &password("{ARGON2ID}x")).unwrap();
    find().await;
    assert!(!server.serves(Proof::ScramSha256) && !admin.serves(Proof::ScramSha256));
    admin.set_password("bob@example.com", None).unwrap();
    find().await;
    assert!(server.serves(Proof::ScramSha256));

    assert!(matches!(admin.remove_domain("example.com"), Err(Problem::DomainInUse(_, 2))));
    admin.add_domain_alias("example.net", "example.com").unwrap();
    admin.remove_domain("example.net").unwrap();
    admin.remove_user("anna@example.com").unwrap();
    admin.remove_user("bob@example.com").unwrap();
    admin.remove_domain("example.com").unwrap();
    assert!(matches!(admin.remove_domain("example.com"), Err(Problem::NoDomain(_))));
    // A uid needs a gid.
    admin.add_domain("example.com").unwrap();
    admin.add_user("anna@example.com", &NewUser { uid: Some(1001), ..NewUser::default() }).unwrap();
    assert!(server.find(&login).await.unwrap_err().to_string().contains("gid"));
}

/// The first version of the file, as it was made.
const VERSION_1: &str = "
    CREATE TABLE domain (name TEXT PRIMARY KEY NOT NULL) STRICT;
    CREATE TABLE domain_alias (name TEXT PRIMARY KEY NOT NULL, domain TEXT NOT NULL REFERENCES domain(name) ON DELETE CASCADE) STRICT;
    CREATE TABLE account (local TEXT NOT NULL, domain TEXT NOT NULL REFERENCES domain(name), password TEXT, home TEXT,
        mail TEXT, uid INTEGER, gid INTEGER, disabled TEXT, PRIMARY KEY (domain, local)) STRICT;
    INSERT INTO domain VALUES ('example.com');
    INSERT INTO account VALUES ('anna', 'example.com', '{PLAIN}x', NULL, NULL, 7, 8, NULL);
    INSERT INTO account VALUES ('bob', 'example.com', NULL, NULL, NULL, NULL, NULL, 'gone');
    PRAGMA user_version = 1;";

#[test]
fn files_of_other_versions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.sqlite");
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch(VERSION_1).unwrap();
    let builtin = Builtin::open(&path, Defaults::default()).unwrap();
    let users = builtin.users().unwrap();
    assert_eq!(
        (users[0].name.as_str(), users[0].uid, users[0].login.off()),
        ("anna@example.com", Some(7), None)
    );
    assert_eq!((users[1].name.as_str(), users[1].login.off()), ("bob@example.com", Some("gone")));
    raw.execute_batch("PRAGMA user_version = 99").unwrap();
    let problem = Builtin::open(&path, Defaults::default()).err().unwrap();
    assert!(problem.to_string().contains("newer program"), "{problem}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_command_line_writes_while_the_server_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.sqlite");
    let open = || Builtin::open(&path, Defaults::default()).unwrap();
    open().add_domain("example.com").unwrap();
    open().add_user("anna@example.com", &password("{PLAIN}0")).unwrap();
    // Each writer is a connection of its own, as another process would be.
    let writers: Vec<_> = (0..3)
        .map(|writer| {
            let builtin = open();
            tokio::task::spawn_blocking(move || {
                for n in 0..8 {
                    builtin.set_password("anna@example.com", Some(&format!("{{PLAIN}}{writer}{n}"))).unwrap();
                    builtin.add_user(&format!("u{writer}.{n}@example.com"), &NewUser::default()).unwrap();
                }
            })
        })
        .collect();
    let server = open();
    let login = Login::parse(b"anna@example.com").unwrap();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        let found = server.find(&login).await.unwrap().unwrap();
        assert!(matches!(&found.secret, Secret::Stored(text) if text.starts_with("{PLAIN}")));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(server.users().unwrap().len(), 25);
}

#[test]
fn a_file_that_is_no_database_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.sqlite");
    std::fs::write(&path, "this is not a database, it is a text that is long enough").unwrap();
    let problem = Builtin::open(&path, Defaults::default()).err().unwrap();
    assert!(problem.to_string().contains("directory.sqlite"), "{problem}");
    assert!(Builtin::open(&folder.path().join("missing/x"), Defaults::default()).is_err());
}
