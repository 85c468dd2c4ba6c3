//! Accounts from databases that are really there: PostgreSQL and MariaDB from Debian's packages, and a file of SQLite.
#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use culver_directory::sql::{Dialect, Host, Queries, Query, Server, Sql};
use culver_directory::{
    Account, CacheSettings, Cached, Defaults, Directory, Fields, Login, Outage, Outcome, Prove, Secret,
    Source, Verdict,
};
use culver_testkit::servers;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TABLE: &str = "CREATE TABLE users (name varchar(64), domain varchar(64), password varchar(200), uid integer, gid integer, \
    home varchar(200), quota bigint, nologin varchar(3), nets varchar(100), alias varchar(64));
    INSERT INTO users VALUES ('anna', 'example.org', '{PLAIN}secret', 1001, 1002, '/srv/anna', 1048576, NULL, '192.0.2.0/24', NULL);
    INSERT INTO users VALUES ('bert', 'example.org', 'plain text', 1003, 1003, NULL, NULL, 'yes', NULL, NULL);
    INSERT INTO users VALUES ('twice', 'example.org', 'x', 1, 1, NULL, NULL, NULL, NULL, NULL);
    INSERT INTO users VALUES ('twice', 'example.org', 'x', 1, 1, NULL, NULL, NULL, NULL, NULL);
    INSERT INTO users VALUES ('short', 'example.org', '{PLAIN}other', 1, 1, NULL, NULL, NULL, NULL, 'anna');
    INSERT INTO users VALUES ('o''neill', 'example.org', '{PLAIN}irish', 1004, 1004, '/srv/o''neill', NULL, NULL, NULL, NULL);";

const PASSWORDS: &str = "SELECT password, nologin, nets AS allow_nets, alias AS \"user\" FROM users WHERE name = '%n' AND domain = '%d'";
const USERS: &str = "SELECT uid, gid, home, concat('*:bytes=', quota) AS quota_rule FROM users WHERE name = '%n' AND domain = '%d'";
const NAMES: &str = "SELECT name AS username, domain FROM users";

fn login(name: &str) -> Login {
    Login::parse(name.as_bytes()).unwrap()
}

fn server(hosts: Vec<Host>) -> Server {
    Server {
        hosts,
        database: String::new(),
        user: String::new(),
        password: String::new(),
        tls: false,
        authorities: PathBuf::new(),
        connections: 3,
        connect_timeout: Duration::from_secs(5),
        query_timeout: Duration::from_secs(5),
    }
}

fn queries(dialect: Dialect, password: &str, user: &str) -> Queries {
    let query = |text: &str| (!text.is_empty()).then(|| Query::parse(text, dialect).unwrap());
    Queries { password: query(password), user: query(user), iterate: query(NAMES) }
}

fn source(dialect: Dialect, server: Server, password: &str, user: &str) -> Sql {
    let defaults = Defaults { uid: Some(5000), gid: Some(5000), ..Defaults::default() };
    let mut fields = Fields::default();
    fields.add_pair("userdb_quota_rule=*:messages=7");
    Sql::new(dialect, server, queries(dialect, password, user), fields, defaults, "PLAIN").unwrap()
}

struct Clear<'a>(&'a str);

#[async_trait]
impl Prove for Clear<'_> {
    async fn prove(&self, _: &dyn Source, _: &Login, account: &Arc<Account>) -> Result<Verdict, Outage> {
        let right = account.secret == Secret::Stored(format!("{{PLAIN}}{}", self.0));
        Ok(if right { Verdict::Right } else { Verdict::Wrong })
    }
}

/// What every kind of database must do alike.
async fn conform(dialect: Dialect, server: &Server) {
    let users = match dialect {
        // || and not concat(), which SQLite of Debian 12 does not have; NULL as in MySQL's concat.
        Dialect::Sqlite | Dialect::PostgreSql => {
            USERS.replace("concat('*:bytes=', quota)", "'*:bytes=' || quota")
        }
        Dialect::MySql => USERS.to_owned(),
    };
    let passwords =
        if dialect == Dialect::MySql { PASSWORDS.replace('"', "`") } else { PASSWORDS.to_owned() };
    let sql = source(dialect, server.clone(), &passwords, &users);
    let anna = sql.credentials(&login("anna@example.org")).await.unwrap().unwrap();
    assert!(anna.whole);
    let anna = anna.account;
    assert_eq!(
        (anna.uid, anna.gid, anna.home.as_deref()),
        (Some(1001), Some(1002), Some(Path::new("/srv/anna")))
    );
    assert_eq!(anna.secret, Secret::Stored("{PLAIN}secret".to_owned()));
    assert_eq!((anna.quota.storage, anna.quota.messages), (Some(1 << 20), None));
    assert_eq!((anna.allowed_networks.len(), anna.login.off()), (1, None));
    // NULL is not there: defaults of the source count, a password without scheme gets the default one.
    let bert = sql.credentials(&login("bert@example.org")).await.unwrap().unwrap().account;
    assert_eq!(bert.secret, Secret::Stored("{PLAIN}plain text".to_owned()));
    assert_eq!(
        (bert.home.as_deref(), bert.quota.messages),
        (Some(Path::new("/var/vmail/example.org/bert")), Some(7))
    );
    assert!(bert.login.off().is_some());
    // Another name than the one that was typed.
    let short = sql.credentials(&login("short@example.org")).await.unwrap().unwrap().account;
    assert_eq!((short.name.as_str(), short.uid), ("anna@example.org", Some(1001)));
    assert_eq!(short.secret, Secret::Stored("{PLAIN}other".to_owned()));
    // Unknown is unknown; two rows are nobody's.
    assert_eq!(sql.find(&login("nobody@example.org")).await.unwrap(), None);
    assert_eq!(sql.credentials(&login("nobody@example.org")).await.unwrap(), None);
    let why = sql.credentials(&login("twice@example.org")).await.unwrap_err();
    assert!(why.why.contains("more than one row"), "{why}");
    // Names are values, never SQL.
    let irish = sql.find(&login("o'neill@example.org")).await.unwrap().unwrap();
    assert_eq!(irish.home.as_deref(), Some(Path::new("/srv/o'neill")));
    for evil in [
        "'or'1'='1@example.org",
        "x';drop--table@example.org",
        "\\'or(1=1)--@example.org",
        "%@example.org",
        "$1@example.org",
    ] {
        if let Ok(login) = Login::parse(evil.as_bytes()) {
            assert_eq!(sql.find(&login).await.unwrap(), None, "{evil}");
        }
    }
    let mut names = sql.names().await.unwrap();
    names.sort();
    names.dedup();
    assert_eq!(
        names,
        [
            "anna@example.org",
            "bert@example.org",
            "o'neill@example.org",
            "short@example.org",
            "twice@example.org"
        ]
    );
    // One query for both sides; the same name as a number.
    let prefetch = "SELECT password, uid AS userdb_uid, gid AS userdb_gid, home AS userdb_home FROM users WHERE name || '@' || domain = '%u'";
    let prefetch = if dialect == Dialect::MySql {
        prefetch.replace("name || '@' || domain", "concat(name, '@', domain)")
    } else {
        prefetch.to_owned()
    };
    let both = source(dialect, server.clone(), &prefetch, "");
    let found = both.credentials(&login("anna@example.org")).await.unwrap().unwrap();
    assert!(found.whole);
    assert_eq!(found.account.uid, Some(1001));
    assert_eq!(both.find(&login("anna@example.org")).await.unwrap().unwrap().uid, Some(1001));
    let number = source(dialect, server.clone(), "SELECT password FROM users WHERE uid = '%n'", "");
    assert!(number.credentials(&login("1001@example.org")).await.unwrap().is_some());
    // A query that is wrong tells what the database says.
    let wrong = source(dialect, server.clone(), "SELECT nothing FROM nowhere WHERE a = '%u'", "");
    let why = wrong.credentials(&login("anna@example.org")).await.unwrap_err();
    assert!(why.why.contains("password_query") && why.why.contains("nowhere"), "{why}");
    // Many at once, more than connections.
    let sql = Arc::new(sql);
    let many: Vec<_> = (0..40)
        .map(|_| {
            let sql = sql.clone();
            tokio::spawn(async move { sql.find(&login("anna@example.org")).await.unwrap().is_some() })
        })
        .collect();
    for one in many {
        assert!(one.await.unwrap());
    }
    let directory = Directory::new(vec![sql]);
    let right = directory.authenticate(&login("anna@example.org"), &Clear("secret")).await.unwrap();
    assert!(matches!(right, Outcome::Right(_)));
    let wrong = directory.authenticate(&login("anna@example.org"), &Clear("x")).await.unwrap();
    assert!(matches!(wrong, Outcome::Wrong { account: Some(_) }));
}

/// A query that takes long is an outage, soon.
async fn slow(dialect: Dialect, server: &Server, query: &str) {
    let server = Server { query_timeout: Duration::from_millis(300), ..server.clone() };
    let sql = source(dialect, server, query, "");
    let began = Instant::now();
    let why = sql.credentials(&login("anna@example.org")).await.unwrap_err();
    assert!(why.why.contains("within query_timeout"), "{why}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

/// The server goes and comes back: outages in between, never a no; then it is used again.
async fn restart(dialect: Dialect, server: &Server, running: &mut servers::Server) {
    let passwords =
        if dialect == Dialect::MySql { PASSWORDS.replace('"', "`") } else { PASSWORDS.to_owned() };
    let sql: Arc<dyn Source> =
        Arc::new(source(dialect, server.clone(), &passwords, "SELECT uid, gid FROM users WHERE name = '%n'"));
    let settings = CacheSettings {
        entries: 10,
        ttl: Duration::ZERO,
        negative_ttl: Duration::ZERO,
        stale: Duration::from_secs(60),
    };
    let directory = Directory::new(vec![Arc::new(Cached::new(sql, settings))]);
    let anna = login("anna@example.org");
    assert!(directory.find(&anna).await.unwrap().is_some());
    running.stop();
    for _ in 0..3 {
        let why = directory.authenticate(&anna, &Clear("secret")).await.unwrap_err();
        assert!(why.to_string().contains("reached") || why.to_string().contains("hung up"), "{why}");
    }
    // Mail goes on to those who were known.
    assert!(directory.find(&anna).await.unwrap().is_some());
    assert!(directory.find(&login("bert@example.org")).await.is_err());
    running.start().unwrap();
    assert!(matches!(directory.authenticate(&anna, &Clear("secret")).await.unwrap(), Outcome::Right(_)));
}

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.sqlite");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch(TABLE).unwrap();
    let server = server(vec![Host::Unix(path.clone())]);
    conform(Dialect::Sqlite, &server).await;
    let forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS password FROM n WHERE i = -1 AND '%u' <> ''";
    slow(Dialect::Sqlite, &server, forever).await;
    let write =
        source(Dialect::Sqlite, server.clone(), "DELETE FROM users WHERE name = '%n' RETURNING password", "");
    let why = write.credentials(&login("anna@example.org")).await.unwrap_err();
    assert!(why.why.contains("readonly"), "{why}");
    let gone = Server { hosts: vec![Host::Unix(folder.path().join("none"))], ..server };
    let why =
        source(Dialect::Sqlite, gone, PASSWORDS, "").find(&login("anna@example.org")).await.unwrap_err();
    assert!(why.why.contains("check the path"), "{why}");
}

#[tokio::test]
async fn postgresql() {
    let Some(mut running) = servers::postgres().unwrap() else {
        println!("not run: PostgreSQL is missing");
        return;
    };
    running.psql(TABLE).unwrap();
    running.psql("CREATE ROLE mail LOGIN PASSWORD 'pg secret'; GRANT SELECT ON users TO mail").unwrap();
    let socket = Host::Unix(running.socket.join(format!(".s.PGSQL.{}", running.port)));
    let on_socket =
        Server { user: "mail".to_owned(), database: "postgres".to_owned(), ..server(vec![socket.clone()]) };
    conform(Dialect::PostgreSql, &on_socket).await;
    // A host that is down is passed over; a password (SCRAM) over TCP.
    let tcp = Server {
        hosts: vec![Host::Tcp("127.0.0.1".to_owned(), 1), Host::Tcp("127.0.0.1".to_owned(), running.port)],
        password: "pg secret".to_owned(),
        ..on_socket.clone()
    };
    let sql = source(Dialect::PostgreSql, tcp.clone(), PASSWORDS, "");
    assert!(sql.find(&login("anna@example.org")).await.unwrap().is_some());
    let wrong = Server { password: "wrong".to_owned(), ..tcp };
    let why =
        source(Dialect::PostgreSql, wrong, PASSWORDS, "").find(&login("anna@example.org")).await.unwrap_err();
    assert!(why.why.contains("password authentication failed"), "{why}");
    let types = "SELECT true AS nologin, 5::int8 AS a, 'x'::bytea AS b FROM users WHERE name = '%n'";
    let why = source(Dialect::PostgreSql, on_socket.clone(), types, "")
        .find(&login("anna@example.org"))
        .await
        .unwrap_err();
    assert!(why.why.contains("b::text"), "{why}");
    slow(
        Dialect::PostgreSql,
        &on_socket,
        "SELECT pg_sleep(20)::text AS password FROM users WHERE name = '%n'",
    )
    .await;
    restart(Dialect::PostgreSql, &on_socket, &mut running).await;
}

#[tokio::test]
async fn mariadb() {
    let Some(mut running) = servers::mariadb().unwrap() else {
        println!("not run: MariaDB is missing");
        return;
    };
    running.mariadb(&format!("USE mail; {TABLE} CREATE USER mail@'127.0.0.1' IDENTIFIED BY 'my secret'; GRANT SELECT ON mail.* TO mail@'127.0.0.1'")).unwrap();
    let tcp = Server {
        user: "mail".to_owned(),
        password: "my secret".to_owned(),
        database: "mail".to_owned(),
        ..server(vec![Host::Tcp("127.0.0.1".to_owned(), 1), Host::Tcp("127.0.0.1".to_owned(), running.port)])
    };
    conform(Dialect::MySql, &tcp).await;
    let on_socket = Server {
        user: "root".to_owned(),
        database: "mail".to_owned(),
        ..server(vec![Host::Unix(running.socket.clone())])
    };
    conform(Dialect::MySql, &on_socket).await;
    let wrong = Server { password: "wrong".to_owned(), ..tcp.clone() };
    let sql = source(Dialect::MySql, wrong, "SELECT password FROM users WHERE name = '%n'", "");
    let why = sql.find(&login("anna@example.org")).await.unwrap_err();
    assert!(why.why.contains("Access denied"), "{why}");
    slow(Dialect::MySql, &on_socket, "SELECT SLEEP(20) AS password FROM users WHERE name = '%n'").await;
    restart(Dialect::MySql, &on_socket, &mut running).await;
}

/// An authority, another one, and a certificate for 127.0.0.1 that the first has signed, with its key.
struct Certificates {
    authority: PathBuf,
    other: PathBuf,
    certificate: String,
    key: String,
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
    let (ours, other, key) = (authority("ours"), authority("other"), rcgen::KeyPair::generate().unwrap());
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ours).unwrap().pem();
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (authority, other) = (file("ca.pem", ours.pem()), file("other.pem", other.pem()));
    Certificates { authority, other, certificate, key: key.serialize_pem(), _dir: dir }
}

/// Over TLS with the right authority; what the log says with a wrong one, and for another name.
async fn tls(dialect: Dialect, server: &Server, certificates: &Certificates, query: &str) {
    let ask =
        async |server: Server| source(dialect, server, query, "").find(&login("anna@example.org")).await;
    let good = Server { tls: true, authorities: certificates.authority.clone(), ..server.clone() };
    assert!(ask(good.clone()).await.unwrap().is_some());
    let other = Server { authorities: certificates.other.clone(), ..good.clone() };
    let why = ask(other).await.unwrap_err().why;
    assert!(why.contains("UnknownIssuer") && why.contains("ca_file"), "{why}");
    let Host::Tcp(_, port) = good.hosts[0] else { panic!("over a socket there is no TLS") };
    let named = Server { hosts: vec![Host::Tcp("localhost".to_owned(), port)], ..good };
    let why = ask(named).await.unwrap_err().why;
    assert!(why.contains("not valid for name"), "{why}");
}

#[tokio::test]
async fn postgresql_over_tls() {
    let certificates = certificates();
    let files = [("cert.pem", &certificates.certificate[..]), ("key.pem", &certificates.key)];
    let on = ["-c", "ssl=on", "-c", "ssl_cert_file=@DIR@/cert.pem", "-c", "ssl_key_file=@DIR@/key.pem"];
    let Some(running) = servers::postgres_with(&files, &on).unwrap() else {
        println!("not run: PostgreSQL is missing");
        return;
    };
    // The server itself says whether there is TLS.
    let query = "SELECT password, ssl::text AS note FROM users, pg_stat_ssl WHERE name = '%n' AND pid = pg_backend_pid() AND ssl";
    running.psql(TABLE).unwrap();
    running.psql("CREATE ROLE mail LOGIN PASSWORD 'pg secret'; GRANT SELECT ON users TO mail").unwrap();
    let at = |running: &servers::Server| Server {
        user: "mail".to_owned(),
        password: "pg secret".to_owned(),
        database: "postgres".to_owned(),
        ..server(vec![Host::Tcp("127.0.0.1".to_owned(), running.port)])
    };
    tls(Dialect::PostgreSql, &at(&running), &certificates, query).await;
    let plain = source(Dialect::PostgreSql, at(&running), query, "");
    assert_eq!(
        plain.find(&login("anna@example.org")).await.unwrap(),
        None,
        "without the setting there is none"
    );
    // A server that has none is not spoken to.
    let bare = servers::postgres().unwrap().unwrap();
    let needs = Server { tls: true, authorities: certificates.authority.clone(), ..at(&bare) };
    let why = source(Dialect::PostgreSql, needs, PASSWORDS, "").find(&login("anna@example.org")).await;
    let why = why.unwrap_err().why;
    assert!(why.contains("TLS") && why.contains("support"), "{why}");
}

#[tokio::test]
async fn mariadb_over_tls() {
    let certificates = certificates();
    let files = [("cert.pem", &certificates.certificate[..]), ("key.pem", &certificates.key)];
    let on = ["--ssl-cert=@DIR@/cert.pem", "--ssl-key=@DIR@/key.pem"];
    let Some(running) = servers::mariadb_with(&files, &on).unwrap() else {
        println!("not run: MariaDB is missing");
        return;
    };
    // This user is let in by TLS alone.
    let user = "CREATE USER mail@'127.0.0.1' IDENTIFIED BY 'my secret' REQUIRE SSL; GRANT SELECT ON mail.* TO mail@'127.0.0.1'";
    running.mariadb(&format!("USE mail; {TABLE} {user}")).unwrap();
    let at = |running: &servers::Server| Server {
        user: "mail".to_owned(),
        password: "my secret".to_owned(),
        database: "mail".to_owned(),
        ..server(vec![Host::Tcp("127.0.0.1".to_owned(), running.port)])
    };
    let query = "SELECT password FROM users WHERE name = '%n'";
    tls(Dialect::MySql, &at(&running), &certificates, query).await;
    let why = source(Dialect::MySql, at(&running), query, "").find(&login("anna@example.org")).await;
    assert!(why.unwrap_err().why.contains("Access denied"));
    let bare = servers::mariadb().unwrap().unwrap();
    let needs = Server { tls: true, authorities: certificates.authority.clone(), ..at(&bare) };
    let why =
        source(Dialect::MySql, needs, query, "").find(&login("anna@example.org")).await.unwrap_err().why;
    assert!(why.contains("TLS") || why.contains("SSL") || why.contains("secure"), "{why}");
}
