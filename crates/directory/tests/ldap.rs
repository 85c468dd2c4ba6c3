//! Accounts from a directory server that is really there: OpenLDAP from Debian's packages.
#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use async_trait::async_trait;
use culver_directory::ldap::{Attributes, LdapSource, Proving, Scope, Search, Server, Template, Within};
use culver_directory::{Account, Fixed, Serves};
use culver_directory::{
    CacheSettings, Cached, Defaults, Directory, Fields, Link, Login, Outage, Outcome, Prove, Secret, Source,
    Verdict,
};
use culver_testkit::servers;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

const READER: &str = "cn=reader,dc=example,dc=org";

/// Only the reader reads, and whoever has a password may bind. `bind_anon_dn` lets in who has a name and no password.
const RULES: &str = "allow bind_anon_dn\n\
    access to attrs=userPassword by dn.exact=cn=reader,dc=example,dc=org read by anonymous auth by * none\n\
    access to * by dn.exact=cn=reader,dc=example,dc=org read by anonymous auth by * none\n\
    sizelimit size.soft=100 size.hard=100 size.prtotal=unlimited\n";

const TREE: &str = r"dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: cn=reader,dc=example,dc=org
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: reader
userPassword: reader secret

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people

dn: ou=elsewhere,dc=example,dc=org
objectClass: referral
objectClass: extensibleObject
ou: elsewhere
ref: ldap://elsewhere.example.org/ou=elsewhere,dc=example,dc=org
";

fn person(uid: &str, cn: &str, mail: &str, more: &str) -> String {
    let rdn = if uid == "a,b+c" { r"a\,b\+c" } else { uid };
    format!(
        "\ndn: uid={rdn},ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nobjectClass: extensibleObject\n\
         uid: {uid}\ncn: {cn}\nsn: {cn}\nmail: {mail}\n{more}"
    )
}

fn tree() -> String {
    let mut tree = TREE.to_owned();
    tree += &person(
        "anna",
        "Anna",
        "anna@example.org",
        "userPassword: secret\nuidNumber: 1001\ngidNumber: 1002\nhomeDirectory: /srv/anna\nmailQuota: 1048576\n\
         description: 192.0.2.0/24\nmail: alias@example.org\n",
    );
    tree += &person(
        "bert",
        "Bert",
        "bert@example.org",
        "userPassword: plain text\nemployeeType: yes\ntitle: on_leave\n",
    );
    tree += &person("twice1", "Twice", "twice@example.org", "userPassword: x\n");
    tree += &person("twice2", "Twice", "twice@example.org", "userPassword: x\n");
    tree += &person("we(i)rd*", "Weird", "we(i)rd*@example.org", "userPassword: odd\n");
    tree += &person("a,b+c", "Comma", "a,b+c@example.org", "userPassword: comma\n");
    tree += &person("nopass", "Nopass", "nopass@example.org", "");
    tree
}

fn login(name: &str) -> Login {
    Login::parse(name.as_bytes()).unwrap()
}

fn server(uris: Vec<String>) -> Server {
    Server {
        uris,
        starttls: false,
        authorities: PathBuf::new(),
        bind_dn: READER.to_owned(),
        bind_password: "reader secret".to_owned(),
        connections: 3,
        connect_timeout: Duration::from_secs(5),
        query_timeout: Duration::from_secs(5),
    }
}

fn ldapi(running: &servers::Server) -> String {
    format!("ldapi://{}", running.socket.display().to_string().replace('/', "%2F"))
}

fn search(filter: &str, proving: Proving) -> Search {
    let rows = [
        "userPassword=password",
        "uidNumber=userdb_uid",
        "gidNumber=userdb_gid",
        "homeDirectory=userdb_home",
        "mailQuota=userdb_quota_rule=*:bytes=%$",
        "employeeType=nologin",
        "title=reason",
        "description=allow_nets",
        "=user=%{ldap:uid}@%d",
    ];
    Search {
        base: Template::parse("dc=example,dc=org", Within::Name).unwrap(),
        scope: Scope::Subtree,
        filter: (!filter.is_empty()).then(|| Template::parse(filter, Within::Filter).unwrap()),
        attributes: Attributes::parse(&rows.map(str::to_owned)).unwrap(),
        proving,
        iterate: Some(Template::parse("(objectClass=inetOrgPerson)", Within::Filter).unwrap()),
        iterate_attribute: "mail".to_owned(),
    }
}

fn source(server: Server, search: Search) -> LdapSource {
    let defaults = Defaults { uid: Some(5000), gid: Some(5000), ..Defaults::default() };
    let mut fields = Fields::default();
    fields.add_pair("userdb_quota_rule=*:messages=7");
    LdapSource::new(server, search, fields, defaults, "PLAIN").unwrap()
}

const BY_MAIL: &str = "(&(objectClass=inetOrgPerson)(mail=%u))";

/// As `auth` does it, without its schemes.
struct Clear<'a>(&'a str);

#[async_trait]
impl Prove for Clear<'_> {
    async fn prove(
        &self,
        source: &dyn Source,
        login: &Login,
        account: &Arc<Account>,
    ) -> Result<Verdict, Outage> {
        if account.secret == Secret::Ask {
            return source.check(login, self.0.as_bytes(), None).await;
        }
        let right = account.secret == Secret::Stored(format!("{{PLAIN}}{}", self.0));
        Ok(if right { Verdict::Right } else { Verdict::Wrong })
    }
}

async fn is_right(directory: &Directory, name: &str, password: &str) -> Result<bool, Outage> {
    let outcome = directory.authenticate(&login(name), &Clear(password)).await?;
    Ok(matches!(outcome, Outcome::Right(_)))
}

/// What is the same whether a password is compared or proved by a bind.
async fn conform(server: &Server, proving: Proving) {
    let ldap = source(server.clone(), search(BY_MAIL, proving.clone()));
    let found = ldap.credentials(&login("anna@example.org")).await.unwrap().unwrap();
    assert!(found.whole);
    let anna = found.account;
    assert_eq!(
        (anna.uid, anna.gid, anna.home.as_deref()),
        (Some(1001), Some(1002), Some(Path::new("/srv/anna")))
    );
    assert_eq!((anna.quota.storage, anna.quota.messages), (Some(1 << 20), None));
    assert_eq!((anna.allowed_networks.len(), anna.login.off()), (1, None));
    let expected = match proving {
        Proving::Compare => Secret::Stored("{PLAIN}secret".to_owned()),
        Proving::Bind | Proving::BindAs(_) => Secret::Ask,
    };
    assert_eq!(anna.secret, expected);
    assert_eq!(ldap.find(&login("anna@example.org")).await.unwrap().unwrap().uid, Some(1001));
    // Another name than the one that was typed.
    let alias = ldap.find(&login("alias@example.org")).await.unwrap().unwrap();
    assert_eq!((alias.name.as_str(), alias.uid), ("anna@example.org", Some(1001)));
    // What the entry does not say, the defaults of the source say.
    let bert = ldap.credentials(&login("bert@example.org")).await.unwrap().unwrap().account;
    assert_eq!((bert.uid, bert.quota.messages), (Some(5000), Some(7)));
    assert_eq!(bert.home.as_deref(), Some(Path::new("/var/vmail/example.org/bert")));
    assert_eq!(bert.login.off(), Some("on leave"));
    // Unknown is unknown; two entries are nobody's.
    for unknown in [
        "nobody@example.org",
        "*@example.org",
        "an*@example.org",
        "x)(mail=anna@example.org",
        "*)(uid=*@example.org",
    ] {
        assert_eq!(ldap.find(&login(unknown)).await.unwrap(), None, "{unknown}");
        assert_eq!(ldap.credentials(&login(unknown)).await.unwrap(), None, "{unknown}");
    }
    let weird = ldap.find(&login("we(i)rd*@example.org")).await.unwrap().unwrap();
    assert_eq!(weird.name, "we(i)rd*@example.org");
    let why = ldap.credentials(&login("twice@example.org")).await.unwrap_err();
    assert!(why.why.contains("more than one entry") && why.why.contains("uid=twice2"), "{why}");

    let directory = Directory::new(vec![Arc::new(ldap)]);
    for (name, password, right) in [
        ("anna@example.org", "secret", true),
        ("alias@example.org", "secret", true),
        ("anna@example.org", "Secret", false),
        ("anna@example.org", "", false),
        ("we(i)rd*@example.org", "odd", true),
        ("we(i)rd*@example.org", "secret", false),
        ("a,b+c@example.org", "comma", true),
        ("nopass@example.org", "x", false),
        ("nobody@example.org", "x", false),
        ("*@example.org", "secret", false),
    ] {
        assert_eq!(is_right(&directory, name, password).await.unwrap(), right, "{name} {password:?}");
        // Whoever bound, the reader searches.
        assert!(directory.find(&login("bert@example.org")).await.unwrap().is_some());
    }
    assert!(is_right(&directory, "twice@example.org", "x").await.is_err());
}

#[tokio::test]
async fn passwords_by_bind_and_by_comparison() {
    let Some(running) = servers::slapd(RULES, &tree()).unwrap() else {
        println!("not run: slapd is missing");
        return;
    };
    let reachable = server(vec![ldapi(&running)]);
    conform(&reachable, Proving::Compare).await;
    conform(&reachable, Proving::Bind).await;
    // One that is down is passed over.
    let tcp = vec!["ldap://127.0.0.1:1".to_owned(), format!("ldap://127.0.0.1:{}", running.port)];
    conform(&server(tcp.clone()), Proving::Bind).await;

    // This server lets in who shows a name and no password; we do not.
    let dn = "uid=anna,ou=people,dc=example,dc=org";
    let mut whoami = Command::new("ldapwhoami");
    whoami.args(["-x", "-H", &ldapi(&running), "-D", dn, "-w", ""]);
    assert!(whoami.output().unwrap().status.success());
    let ldap = source(reachable.clone(), search(BY_MAIL, Proving::Bind));
    assert_eq!(ldap.check(&login("anna@example.org"), b"", None).await.unwrap(), Verdict::Wrong);
    assert_eq!(ldap.check(&login("anna@example.org"), b"\xff", None).await.unwrap(), Verdict::Wrong);
    assert_eq!(ldap.check(&login("nobody@example.org"), b"x", None).await.unwrap(), Verdict::Wrong);

    // Many at once, more than connections.
    let ldap = Arc::new(ldap);
    let many: Vec<_> = (0..40)
        .map(|n| {
            let ldap = ldap.clone();
            tokio::spawn(async move {
                let (anna, right) = (login("anna@example.org"), n % 2 == 0);
                let verdict =
                    ldap.check(&anna, if right { b"secret" } else { b"wrong" }, None).await.unwrap();
                (verdict == Verdict::Right) == right && ldap.find(&anna).await.unwrap().is_some()
            })
        })
        .collect();
    for one in many {
        assert!(one.await.unwrap());
    }

    // The name for the bind is a template; nothing is read by the users themselves.
    let name = Template::parse("uid=%n,ou=people,dc=example,dc=org", Within::Name).unwrap();
    conform_by_name(&reachable, &name).await;

    // The server's words when the configuration is wrong.
    let told = async |server: Server, search: Search| {
        let why = source(server, search).credentials(&login("anna@example.org")).await;
        why.unwrap_err().why
    };
    let wrong = Server { bind_password: "wrong".to_owned(), ..reachable.clone() };
    let why = told(wrong, search(BY_MAIL, Proving::Bind)).await;
    assert!(why.contains("bind_dn cn=reader") && why.contains("49 (invalidCredentials)"), "{why}");
    let mut astray = search(BY_MAIL, Proving::Bind);
    astray.base = Template::parse("ou=nowhere,dc=example,dc=org", Within::Name).unwrap();
    let why = told(reachable.clone(), astray.clone()).await;
    assert!(why.contains("32 (noSuchObject)") && why.contains("`base`"), "{why}");
    // With a variable in it, a base that is not there is an unknown user.
    astray.base = Template::parse("ou=%d,dc=example,dc=org", Within::Name).unwrap();
    assert_eq!(source(reachable.clone(), astray).find(&login("anna@example.org")).await.unwrap(), None);
    let mut away = search(BY_MAIL, Proving::Bind);
    away.base = Template::parse("ou=elsewhere,dc=example,dc=org", Within::Name).unwrap();
    let why = told(reachable.clone(), away).await;
    assert!(why.contains("10 (referral)") && why.contains("elsewhere.example.org"), "{why}");
    let mut short = search(BY_MAIL, Proving::Compare);
    short.attributes = Attributes::parse(&["mail=userdb_uid".to_owned()]).unwrap();
    let why = told(reachable, short).await;
    assert!(why.contains("anna@example.org") && why.contains("number"), "{why}");
}

async fn conform_by_name(reachable: &Server, name: &Template) {
    let by_uid = "(uid=%n)";
    let ldap = source(reachable.clone(), search(by_uid, Proving::BindAs(name.clone())));
    let directory = Directory::new(vec![Arc::new(ldap)]);
    for (who, password, right) in [
        ("anna@example.org", "secret", true),
        ("anna@example.org", "x", false),
        ("a,b+c@example.org", "comma", true),
        ("anna,ou=people@example.org", "secret", false),
    ] {
        assert_eq!(is_right(&directory, who, password).await.unwrap(), right, "{who}");
    }
    // Without a filter nothing is searched for: who can bind is somebody, and another source says where the mail lies.
    let nobody = Server { bind_dn: String::new(), bind_password: String::new(), ..reachable.clone() };
    let ldap = source(nobody, search("", Proving::BindAs(name.clone())));
    let fixed = Fixed::new("static", Fields::default(), Defaults::default(), true);
    let directory = Directory::chain(vec![
        Link { serves: Serves::Passwords, ..Link::new(Arc::new(ldap)) },
        Link { serves: Serves::Accounts, ..Link::new(Arc::new(fixed)) },
    ]);
    assert!(is_right(&directory, "anna@example.org", "secret").await.unwrap());
    assert!(!is_right(&directory, "anna@example.org", "x").await.unwrap());
    assert!(!is_right(&directory, "nobody@example.org", "secret").await.unwrap());
}

#[tokio::test]
async fn names_come_in_pages() {
    let mut tree = tree();
    // More than the server tells at once, and more than a page.
    for n in 0..600 {
        tree += &person(&format!("p{n}"), "P", &format!("p{n}@example.org"), "");
    }
    let Some(running) = servers::slapd(RULES, &tree).unwrap() else {
        println!("not run: slapd is missing");
        return;
    };
    let mut search = search(BY_MAIL, Proving::Bind);
    let names = source(server(vec![ldapi(&running)]), search.clone()).names().await.unwrap();
    assert_eq!(names.len(), 607);
    for name in ["bert@example.org", "we(i)rd*@example.org", "p0@example.org", "p599@example.org"] {
        assert!(names.iter().any(|n| n == name), "{name}");
    }
    search.iterate = None;
    let why = source(server(vec![ldapi(&running)]), search).names().await.unwrap_err();
    assert!(why.why.contains("iterate_filter"), "{why}");
}

#[tokio::test]
async fn the_server_goes_and_comes_back() {
    let Some(mut running) = servers::slapd(RULES, &tree()).unwrap() else {
        println!("not run: slapd is missing");
        return;
    };
    let ldap = source(server(vec![ldapi(&running)]), search(BY_MAIL, Proving::Bind));
    let none = Duration::ZERO;
    let settings =
        CacheSettings { entries: 10, ttl: none, negative_ttl: none, stale: Duration::from_secs(60) };
    let directory = Directory::new(vec![Arc::new(Cached::new(Arc::new(ldap), settings))]);
    let anna = login("anna@example.org");
    assert!(is_right(&directory, "anna@example.org", "secret").await.unwrap());
    assert!(directory.find(&anna).await.unwrap().is_some());
    running.stop();
    for password in ["secret", "wrong"] {
        let why = is_right(&directory, "anna@example.org", password).await.unwrap_err();
        assert!(why.to_string().contains("no LDAP server can be reached"), "{why}");
    }
    // Mail goes on to those who were known.
    assert!(directory.find(&anna).await.unwrap().is_some());
    assert!(directory.find(&login("bert@example.org")).await.is_err());
    running.start().unwrap();
    assert!(is_right(&directory, "anna@example.org", "secret").await.unwrap());
    assert!(!is_right(&directory, "anna@example.org", "wrong").await.unwrap());
    // Connections that were open when it was restarted, and nobody noticed.
    running.stop();
    running.start().unwrap();
    assert!(is_right(&directory, "anna@example.org", "secret").await.unwrap());
}

#[tokio::test]
async fn what_is_remembered() {
    let Some(running) = servers::slapd(RULES, &tree()).unwrap() else {
        println!("not run: slapd is missing");
        return;
    };
    let long = Duration::from_secs(600);
    let settings = CacheSettings { entries: 10, ttl: long, negative_ttl: long, stale: long };
    let change =
        "dn: uid=anna,ou=people,dc=example,dc=org\nchangetype: modify\nreplace: userPassword\nuserPassword: ";
    for proving in [Proving::Compare, Proving::Bind] {
        running.ldapmodify(&format!("{change}secret\n")).unwrap();
        let ldap = source(server(vec![ldapi(&running)]), search(BY_MAIL, proving.clone()));
        let directory = Directory::new(vec![Arc::new(Cached::new(Arc::new(ldap), settings))]);
        let right = async |password| is_right(&directory, "anna@example.org", password).await.unwrap();
        assert!(right("secret").await && right("secret").await && !right("changed").await);
        running.ldapmodify(&format!("{change}changed\n")).unwrap();
        if proving == Proving::Bind {
            // Only right answers are remembered: the new password counts at once, and the old one for a while.
            assert!(right("changed").await && right("secret").await);
        }
        assert!(directory.flush(Some(&login("anna@example.org"))) > 0);
        assert!(right("changed").await && !right("secret").await);
    }
}

struct Certificates {
    authority: PathBuf,
    other: PathBuf,
    slapd: String,
    _dir: tempfile::TempDir,
}

fn certificates() -> Certificates {
    let dir = tempfile::tempdir().unwrap();
    let authority = |name: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, other) = (authority("ours"), authority("other"));
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ours).unwrap();
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (authority, other) = (file("ca.pem", ours.pem()), file("other.pem", other.pem()));
    let (certificate, key) = (file("cert.pem", certificate.pem()), file("key.pem", key.serialize_pem()));
    let mut slapd = RULES.to_owned();
    writeln!(slapd, "TLSCACertificateFile {}", authority.display()).unwrap();
    writeln!(slapd, "TLSCertificateFile {}", certificate.display()).unwrap();
    writeln!(slapd, "TLSCertificateKeyFile {}", key.display()).unwrap();
    Certificates { authority, other, slapd, _dir: dir }
}

#[tokio::test]
async fn tls() {
    let certificates = certificates();
    let Some(running) = servers::slapd(&certificates.slapd, &tree()).unwrap() else {
        println!("not run: slapd is missing");
        return;
    };
    let plain = format!("ldap://127.0.0.1:{}", running.port);
    let tls = format!("ldaps://127.0.0.1:{}", running.tls_port);
    for (uri, starttls) in [(&plain, true), (&tls, false)] {
        let good =
            Server { starttls, authorities: certificates.authority.clone(), ..server(vec![uri.clone()]) };
        let directory = Directory::new(vec![Arc::new(source(good.clone(), search(BY_MAIL, Proving::Bind)))]);
        assert!(is_right(&directory, "anna@example.org", "secret").await.unwrap(), "{uri}");
        assert!(!is_right(&directory, "anna@example.org", "x").await.unwrap(), "{uri}");
        let bad = Server { authorities: certificates.other.clone(), ..good.clone() };
        let directory = Directory::new(vec![Arc::new(source(bad, search(BY_MAIL, Proving::Bind)))]);
        let why = is_right(&directory, "anna@example.org", "secret").await.unwrap_err().to_string();
        assert!(why.contains("UnknownIssuer") && why.contains("ca_file"), "{why}");
        // The certificate is for the address, not for this name of the same machine.
        let named = good.uris[0].replace("127.0.0.1", "localhost");
        let named = Server { uris: vec![named], ..good };
        let directory = Directory::new(vec![Arc::new(source(named, search(BY_MAIL, Proving::Bind)))]);
        let why = is_right(&directory, "anna@example.org", "secret").await.unwrap_err().to_string();
        assert!(why.contains("certificate not valid for name"), "{why}");
    }
    // A server without certificates: no password goes out.
    let bare = servers::slapd(RULES, &tree()).unwrap().unwrap();
    let uri = format!("ldap://127.0.0.1:{}", bare.port);
    let needs = Server { starttls: true, authorities: certificates.authority.clone(), ..server(vec![uri]) };
    let why =
        source(needs, search(BY_MAIL, Proving::Bind)).find(&login("anna@example.org")).await.unwrap_err();
    assert!(why.why.contains("StartTLS is refused"), "{why}");
    let missing = Server { starttls: true, authorities: "/nonexistent".into(), ..server(vec![plain]) };
    let made = LdapSource::new(
        missing,
        search(BY_MAIL, Proving::Bind),
        Fields::default(),
        Defaults::default(),
        "CRYPT",
    );
    assert!(made.err().unwrap().contains("/nonexistent"));
}

/// Something that listens and is no directory server: it says this, and then nothing.
fn fake(says: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            open.push(std::thread::spawn(move || {
                let mut octets = [0; 1024];
                while stream.read(&mut octets).is_ok_and(|n| n > 0) {
                    let _ = stream.write_all(says);
                }
            }));
        }
    });
    format!("ldap://127.0.0.1:{port}")
}

#[tokio::test]
async fn what_is_no_directory_server_is_an_outage() {
    // The last is an answer to message 1 whose result code is missing (RFC 4511 §4.1.9).
    for says in [
        &b""[..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x30\x05\x02\x01\x01\x65\x00",
        b"\x30\x84\xff\xff\xff\xff",
    ] {
        let limit = Duration::from_millis(300);
        let server = Server { connect_timeout: limit, query_timeout: limit, ..server(vec![fake(says)]) };
        let nobody = Server { bind_dn: String::new(), ..server.clone() };
        for server in [server, nobody] {
            let ldap = source(server, search(BY_MAIL, Proving::Bind));
            let began = Instant::now();
            let why = ldap.find(&login("anna@example.org")).await.unwrap_err().why;
            let told =
                ["query_timeout", "connect_timeout", "hung up", "ended", "cannot be understood", "I/O"];
            assert!(told.iter().any(|text| why.contains(text)), "{says:?}: {why}");
            assert!(began.elapsed() < Duration::from_secs(5));
        }
    }
}
