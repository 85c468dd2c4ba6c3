//! The built-in directory from outside.

#![allow(clippy::unwrap_used)]

mod places;

use culver_directory::builtin::{Builtin, Changed, Master, NewUser, Problem, What};
use culver_directory::{
    Action, AppPassword, Defaults, Directory, Login, Proof, QuotaLimits, Route, Secret, Source, Switch,
};
use places::{Place, PostgreSql};
use std::sync::Arc;

fn password(text: &str) -> NewUser {
    NewUser { password: Some(text.to_owned()), ..NewUser::default() }
}

async fn accounts_and_domains(place: &Place) {
    let open = || place.open();
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
    if let Place::File(folder) = place {
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

async fn switches_quota_and_schemes(place: &Place) {
    let open = || place.open();
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
    assert!(!server.serves(Proof::ScramSha256));
    admin.find(&login).await.unwrap();
    assert!(!admin.serves(Proof::ScramSha256));
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

/// What is the same in both.
async fn everything(place: impl Fn() -> Place) {
    accounts_and_domains(&place()).await;
    switches_quota_and_schemes(&place()).await;
    new_names(&place()).await;
    what_logins_write(&place()).await;
    quotas(&place());
    the_command_line_writes_while_the_server_reads(&place()).await;
    everybody_at_once(&place()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_a_file() {
    everything(Place::file).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_postgresql() {
    let Some(server) = PostgreSql::start() else { return };
    everything(|| server.place()).await;
}

#[test]
fn files_of_other_versions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.sqlite");
    let raw = rusqlite::Connection::open(&path).unwrap();
    for (version, said) in
        [(5, "before the first release"), (99, "newer program"), (-1, "before the first release")]
    {
        raw.execute_batch(&format!("PRAGMA user_version = {version}")).unwrap();
        let problem = Builtin::open(&path, Defaults::default()).err().unwrap();
        assert!(problem.to_string().contains(said), "{problem}");
    }
}

async fn the_command_line_writes_while_the_server_reads(place: &Place) {
    let open = || place.open();
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

/// Everything that belongs to a name follows it.
async fn new_names(place: &Place) {
    let admin = place.open();
    admin.add_domain("example.com").unwrap();
    admin.add_domain_alias("example.net", "example.com").unwrap();
    admin.add_domain_alias("example.org", "example.com").unwrap();
    for name in ["anna@example.com", "bob@example.com"] {
        admin.add_user(name, &password("{PLAIN}x")).unwrap();
    }
    let telephone = AppPassword {
        device: "telephone".to_owned(),
        password: "{PLAIN}y".to_owned(),
        scram: vec!["4096,c2FsdA==,a,b".to_owned()],
        services: vec!["imap".to_owned()],
        created: 7,
        used: None,
    };
    admin.add_app_password("anna@example.com", &telephone).unwrap();
    admin.set_master("anna@example.com", Master::Yes).unwrap();
    admin.set_switch("anna@example.com", What::Send, Some("spam")).unwrap();
    admin.set_limits("anna@example.com", |limits| limits.mailboxes = Some(3)).unwrap();
    admin.set_limits("example.com", |limits| limits.storage = Some(4)).unwrap();
    admin.keep_usages(&[("anna@example.com".to_owned(), 5, 6, 7)]).unwrap();
    let to = |targets: &[&str]| Action::Deliver(targets.iter().map(|t| (*t).to_owned()).collect());
    admin.add_route("info@example.com", &to(&["Anna@example.net", "x@example.edu"])).unwrap();
    admin.add_route("anna@example.com", &to(&["anna@example.com", "bob@example.com"])).unwrap();

    let all_of = async |name: &str| {
        let user = admin.user(name).unwrap();
        let (kept, own, domain) = admin.quota(&user.name).unwrap();
        let found = place.open().find(&Login::parse(name.as_bytes()).unwrap()).await.unwrap().unwrap();
        assert!(found.master && found.send.off() == Some("spam"), "{name}");
        assert!(admin.list_app_passwords(name).unwrap() == [telephone.clone()]);
        let kept = kept.unwrap();
        assert_eq!(
            (kept.storage, kept.messages, kept.seen, own.mailboxes, domain.storage),
            (5, 6, 7, Some(3), Some(4))
        );
        (user.name, user.home)
    };
    all_of("anna@example.com").await;
    assert!(matches!(admin.rename_user("anna@example.com", "bob@example.net"), Err(Problem::UserExists(_))));
    let names = admin.rename_user("anna@example.com", "marie@example.net").unwrap();
    assert_eq!(names, ("anna@example.com".to_owned(), "marie@example.com".to_owned()));
    // Its mail stays where it was.
    let home = Some("/var/vmail/example.com/anna".to_owned());
    assert_eq!(all_of("marie@example.com").await, ("marie@example.com".to_owned(), home.clone()));
    let routes = |builtin: &Builtin| {
        let of = |route: Route| match route.action {
            Action::Deliver(targets) => format!("{}: {}", route.address, targets.join(" ")),
            Action::Reject(text) => format!("{}: {text}", route.address),
        };
        builtin.routes().unwrap().into_iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(
        routes(&admin),
        [
            "info@example.com: marie@example.com x@example.edu",
            "marie@example.com: marie@example.com bob@example.com"
        ]
    );
    assert_eq!(admin.promote_domain("example.net").unwrap(), "example.com");
    assert_eq!(all_of("marie@example.com").await, ("marie@example.net".to_owned(), home));
    let domains = admin.domains().unwrap();
    assert_eq!(
        (domains[0].name.as_str(), &domains[0].aliases[..]),
        ("example.net", &["example.com".to_owned(), "example.org".to_owned()][..])
    );
    assert_eq!((domains.len(), domains[0].users, domains[0].routes), (1, 2, 2));
    assert_eq!(routes(&admin)[0], "info@example.net: marie@example.com x@example.edu");
    assert!(matches!(admin.promote_domain("example.net"), Err(Problem::IsPrimary(_))));
    // And goes with it.
    admin.remove_route("info@example.org").unwrap();
    admin.change_route("marie@example.com", &Action::Reject("Gone".to_owned())).unwrap();
    assert_eq!(routes(&admin), ["marie@example.net: Gone"]);
    admin.remove_user("marie@example.com").unwrap();
    assert_eq!(admin.quota("marie@example.net").unwrap().0, None);
    admin.add_user("marie@example.com", &NewUser::default()).unwrap();
    assert!(!admin.is_master("marie@example.com").unwrap());
    assert!(admin.list_app_passwords("marie@example.com").unwrap().is_empty());
}

/// App passwords, their use, and passwords that are hashed anew.
async fn what_logins_write(place: &Place) {
    let (admin, server) = (place.open(), place.open());
    admin.add_domain("example.com").unwrap();
    admin.add_user("anna@example.com", &password("{SCRAM-SHA-256}4096,c2FsdA==,a,b")).unwrap();
    let login = Login::parse(b"anna@example.com").unwrap();
    let serves = async || {
        server.find(&login).await.unwrap().unwrap();
        server.serves(Proof::ScramSha256)
    };
    assert!(serves().await);
    let new = |salted: &str| AppPassword {
        device: "telephone".to_owned(),
        password: "{PLAIN}y".to_owned(),
        scram: vec![format!("{salted},a,b")],
        services: vec!["imap".to_owned(), "pop3".to_owned()],
        created: 7,
        used: None,
    };
    // The same salt: one proof serves both passwords.
    admin.add_app_password("anna@example.com", &new("4096,c2FsdA==")).unwrap();
    assert!(serves().await);
    server.app_password_used("anna@example.com", "telephone", 9, "192.0.2.1").await.unwrap();
    let used = admin.list_app_passwords("anna@example.com").unwrap();
    assert_eq!((used.len(), used[0].used.clone()), (1, Some((9, "192.0.2.1".to_owned()))));
    assert_eq!(used[0].services, ["imap", "pop3"]);
    // Another salt, in the old one's place: its use is forgotten, and SCRAM cannot serve both.
    admin.add_app_password("anna@example.net", &new("4096,eA==")).unwrap_err();
    admin.add_app_password("anna@example.com", &new("4096,eA==")).unwrap();
    assert_eq!(admin.list_app_passwords("anna@example.com").unwrap()[0].used, None);
    assert!(!serves().await);
    admin.remove_app_password("anna@example.com", "telephone").unwrap();
    assert!(matches!(admin.remove_app_password("anna@example.com", "telephone"), Err(Problem::NoDevice(..))));
    assert!(serves().await);
    let old = "{SCRAM-SHA-256}4096,c2FsdA==,a,b";
    assert!(!server.replace_password("anna@example.com", "{PLAIN}other", "{PLAIN}new").await.unwrap());
    assert!(server.replace_password("anna@example.com", old, "{PLAIN}new").await.unwrap());
    assert_eq!(admin.user("anna@example.com").unwrap().password.as_deref(), Some("{PLAIN}new"));
}

/// What is kept of quota.
fn quotas(place: &Place) {
    let admin = place.open();
    admin.add_domain("example.com").unwrap();
    admin.add_user("anna@example.com", &NewUser::default()).unwrap();
    // Of accounts of other sources, too; what is more than a number can be is the most that it can.
    assert_eq!(
        admin.set_limits("Eve@elsewhere.example", |l| l.storage = Some(u64::MAX)).unwrap(),
        "eve@elsewhere.example"
    );
    assert_eq!(admin.quota("eve@elsewhere.example").unwrap().1.storage, Some(i64::MAX as u64));
    admin.set_limits("eve@elsewhere.example", |l| *l = Default::default()).unwrap();
    assert_eq!(admin.quota("eve@elsewhere.example").unwrap(), Default::default());
    admin
        .set_limits("anna@example.com", |l| (l.storage, l.language) = (Some(9), Some("de".to_owned())))
        .unwrap();
    assert_eq!(admin.user("anna@example.com").unwrap().quota.storage, Some(9));
    assert_eq!(admin.quota("anna@example.com").unwrap().1.language.as_deref(), Some("de"));

    let off = |name: &str| {
        let off = Changed::ReceiveOff { reason: "full for five days".to_owned(), since: 11 };
        admin
            .change_quota(name, |kept| {
                kept.state = "disabled".to_owned();
                (off, ())
            })
            .unwrap();
    };
    let switched = |name: &str| admin.quota(name).unwrap().0.unwrap().switched;
    off("anna@example.com");
    off("eve@elsewhere.example");
    assert_eq!((switched("anna@example.com"), switched("eve@elsewhere.example")), (true, false));
    let receive = || admin.user("anna@example.com").unwrap().receive;
    assert_eq!(receive(), Switch::Off { reason: "full for five days".to_owned(), since: Some(11) });
    let on = || admin.change_quota("anna@example.com", |_| (Changed::ReceiveOn, ())).unwrap();
    on();
    assert_eq!((receive(), switched("anna@example.com")), (Switch::On, false));
    // What staff turned off is not ours to turn on.
    admin.set_switch("anna@example.com", What::Receive, Some("moved")).unwrap();
    off("anna@example.com");
    on();
    assert_eq!(receive().off(), Some("moved"));
    admin
        .keep_usages(&[("anna@example.com".to_owned(), 1, 2, 3), ("carl@x.example".to_owned(), 4, 5, 6)])
        .unwrap();
    let all: Vec<_> =
        admin.quotas().unwrap().into_iter().map(|(n, k)| (n, k.storage, k.messages, k.seen)).collect();
    let expected =
        [("anna@example.com", 1, 2, 3), ("carl@x.example", 4, 5, 6), ("eve@elsewhere.example", 0, 0, 0)];
    assert_eq!(all, expected.map(|(name, s, m, at)| (name.to_owned(), s, m, at)));
}

/// Several machines want the same names: each is given once, and everybody else hears that it is taken.
async fn everybody_at_once(place: &Place) {
    place.open().add_domain("example.com").unwrap();
    let machines: Vec<_> = (0..4)
        .map(|_| {
            let builtin = place.open();
            tokio::task::spawn_blocking(move || {
                let mut made = 0;
                for n in 0..10 {
                    match builtin.add_user(&format!("u{n}@example.com"), &NewUser::default()) {
                        Ok(_) => made += 1,
                        Err(Problem::UserExists(_)) => {}
                        Err(other) => panic!("{other}"),
                    }
                    // Each counts one up in what is read and written in one transaction.
                    builtin
                        .change_quota("u@example.com", |kept| {
                            kept.messages += 1;
                            (Changed::Kept, ())
                        })
                        .unwrap();
                }
                made
            })
        })
        .collect();
    let mut made = 0;
    for machine in machines {
        made += machine.await.unwrap();
    }
    assert_eq!(made, 10);
    assert_eq!(place.open().quota("u@example.com").unwrap().0.unwrap().messages, 40);
}
