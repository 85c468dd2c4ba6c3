//! The built-in directory from outside.

#![allow(clippy::unwrap_used)]

use culver_directory::builtin::{Builtin, NewUser, Problem};
use culver_directory::{Defaults, Directory, Login, Secret};
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
    admin.remove_user("anna@example.com").unwrap();
    assert!(matches!(admin.remove_user("anna@example.com"), Err(Problem::NoUser(_))));
    assert!(find("anna@example.com").await.is_none());
    // Nothing but the file stays: no -shm, no -wal.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
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
