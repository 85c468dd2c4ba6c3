//! Lines as Dovecot's documentation has them, and files that change.

use super::*;
use crate::{Layout, Secret, Switch};
use proptest::prelude::*;

fn account(text: &str) -> Result<Account, Unusable> {
    Line::parse(text).unwrap().account("anna@example.com", &Defaults::default())
}

#[test]
fn fields() {
    let full = "anna@example.com:{PLAIN}x:1001:1002::/srv/%d/%n::userdb_mail=maildir:~/Mail:LAYOUT=fs \
                allow_nets=192.0.2.0/24,::1 nologin reason=not_paid proxy_maybe=y userdb_quota_rule=*:bytes=1M";
    let anna = account(full).unwrap();
    assert_eq!((anna.uid, anna.gid), (Some(1001), Some(1002)));
    assert_eq!(anna.home.as_deref(), Some(Path::new("/srv/example.com/anna")));
    assert_eq!(anna.mail.root, Path::new("/srv/example.com/anna/Mail"));
    assert_eq!(anna.mail.layout, Layout::Fs);
    assert_eq!(anna.secret, Secret::Stored("{PLAIN}x".to_owned()));
    assert_eq!(anna.login.off(), Some("not paid"));
    assert_eq!((anna.quota.storage, anna.quota.messages), (Some(1 << 20), None));
    assert_eq!(anna.extra.into_iter().collect::<Vec<_>>(), [("proxy_maybe".to_owned(), "y".to_owned())]);
    assert_eq!(anna.allowed_networks.len(), 2);

    let short = account("anna@example.com:$1$a$b").unwrap();
    assert_eq!((short.uid, short.login), (None, Switch::On));
    assert_eq!(short.secret, Secret::Stored("$1$a$b".to_owned()));
    assert_eq!(short.mail.root, Path::new("/var/vmail/example.com/anna/Maildir"));
    assert_eq!(account("anna").unwrap().secret, Secret::None);
    assert_eq!(account("anna:::::::nopassword").unwrap().secret, Secret::AnyPassword);
    assert_eq!(account("anna:x:daemon:daemon").unwrap().uid, account("anna:x:1:1").unwrap().uid);
    assert_eq!(account("anna:x:5:6::/h::userdb_uid=7 userdb_gid=8 userdb_home=/i").unwrap().uid, Some(7));
    let newer =
        account("anna:x:::::: userdb_mail_driver=maildir userdb_mail_path=/m/%{user|domain}").unwrap();
    assert_eq!(newer.mail.root, Path::new("/m/example.com"));
    let quota = |text: &str| account(&format!("anna:x::::::{text}")).unwrap().quota;
    let table = [
        ("userdb_quota_rule=*:storage=2M userdb_quota_rule2=*:messages=5", (Some(2 << 20), Some(5))),
        ("userdb_quota_storage_size=1G userdb_quota_message_count=9", (Some(1 << 30), Some(9))),
        ("userdb_quota_rule2=Trash:storage=+10M userdb_quota_rule=*:storage=3", (Some(3 << 10), None)),
        ("userdb_quota_rule=*:storage=lots quota_rule=*:storage=1", (None, None)),
    ];
    for (text, expected) in table {
        let quota = quota(text);
        assert_eq!((quota.storage, quota.messages), expected, "{text}");
    }
}

#[test]
fn what_cannot_be_used() {
    for text in [
        "a:x:0:1",
        "a:x:1:0",
        "a:x:no-such-user:1",
        "a:x:root:1",
        "a:x:1:1::/h::userdb_mail=mbox:~/m",
        "a:x:1:1::relative",
        "a:x:1:1::::allow_nets=here",
        "a:x:1:1::::userdb_mail_driver=sdbox",
        "a:x:-1",
        "a:x:1000",
    ] {
        assert!(account(text).is_err(), "{text}");
    }
    for text in ["", "# comment", ":nobody", "\r"] {
        assert!(Line::parse(text).is_none(), "{text:?}");
    }
}

#[tokio::test]
async fn files_that_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passwd");
    let source = PasswdFile::new(path.to_str().unwrap(), Defaults::default());
    let login = Login::parse(b"anna@example.com").unwrap();
    let secret = async || source.find(&login).await.map(|a| a.map(|a| a.secret.clone()));
    assert!(secret().await.is_err(), "no file is an outage");
    fs::write(
        &path,
        "# users\n\nAnna@Example.com:one\nanna@example.com:two\nbob@example.com:x:0:0\nanna:three\n",
    )
    .unwrap();
    assert_eq!(secret().await.unwrap(), Some(Secret::Stored("one".to_owned())));
    fs::write(&path, "anna@example.com:changed\n").unwrap();
    assert_eq!(secret().await.unwrap(), Some(Secret::Stored("one".to_owned())), "looked at once a second");
    for loaded in source.inner.files.lock().values_mut() {
        loaded.looked -= FRESH;
    }
    assert_eq!(secret().await.unwrap(), Some(Secret::Stored("changed".to_owned())));
    let bob = Login::parse(b"bob@example.com").unwrap();
    assert_eq!(source.find(&bob).await.unwrap(), None);
}

#[tokio::test]
async fn a_bad_line_is_an_outage_for_its_user_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passwd");
    fs::write(&path, "anna@example.com:x\nbob@example.com:x:0:0\n").unwrap();
    let source = PasswdFile::new(path.to_str().unwrap(), Defaults::default());
    assert!(source.find(&Login::parse(b"anna@example.com").unwrap()).await.unwrap().is_some());
    let why = source.find(&Login::parse(b"bob@example.com").unwrap()).await.unwrap_err();
    assert!(why.to_string().contains("line 2"), "{why}");
}

#[tokio::test]
async fn a_file_for_each_domain() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("example.com")).unwrap();
    fs::write(folder.path().join("example.com/passwd"), "anna:x\nbob@example.com:y\n").unwrap();
    let source = PasswdFile::new(format!("{}/%d/passwd", folder.path().display()), Defaults::default());
    let known =
        async |name: &str| source.find(&Login::parse(name.as_bytes()).unwrap()).await.unwrap().is_some();
    assert!(known("anna@example.com").await);
    assert!(known("bob@example.com").await);
    assert!(!known("carl@example.com").await);
    assert!(!known("anna@example.net").await);
}

#[tokio::test]
async fn a_name_that_opens_another_account() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passwd");
    let text = "short@example.com:{PLAIN}a::::::user=anna@example.com allow_nets=::1\n\
                anna@example.com:{PLAIN}b:1001:1002::/srv/anna\n\
                alone@example.com:{PLAIN}c::::::user=bob@example.com\n\
                bad@example.com:{PLAIN}d::::::user=bob\n";
    fs::write(&path, text).unwrap();
    let source = PasswdFile::new(path.to_str().unwrap(), Defaults::default());
    let find = async |name: &str| source.find(&Login::parse(name.as_bytes()).unwrap()).await;
    let anna = find("short@example.com").await.unwrap().unwrap();
    assert_eq!(
        (anna.name.as_str(), anna.uid, anna.allowed_networks.len()),
        ("anna@example.com", Some(1001), 1)
    );
    assert_eq!(anna.home.as_deref(), Some(Path::new("/srv/anna")));
    assert_eq!(anna.secret, Secret::Stored("{PLAIN}a".to_owned()));
    assert_eq!(find("alone@example.com").await.unwrap().unwrap().name, "bob@example.com");
    assert!(find("bad@example.com").await.unwrap_err().to_string().contains("line 4"));
}

#[tokio::test]
async fn bare_names_belong_to_the_domain_that_was_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passwd");
    fs::write(&path, "anna:x\n").unwrap();
    let source = || PasswdFile::new(path.to_str().unwrap(), Defaults::default());
    let anna = |domain: &str| Login::parse(format!("anna@{domain}").as_bytes()).unwrap();
    assert_eq!(source().find(&anna("example.com")).await.unwrap(), None);
    let source = source().bare_names_in("Example.com");
    assert_eq!(source.find(&anna("example.com")).await.unwrap().unwrap().name, "anna@example.com");
    assert_eq!(source.find(&anna("example.net")).await.unwrap(), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_line_does_harm(text in "([ -~äß]{0,8}:){0,8}(userdb_(mail|uid|home)=[ -~]{0,10} ?)?[ -~]{0,20}") {
        crate::fuzz::fuzz_passwd_line(text.as_bytes());
        crate::fuzz::fuzz_login(text.as_bytes());
    }
}
