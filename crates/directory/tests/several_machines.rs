//! The built-in directory on PostgreSQL when things go wrong: the server is not there, goes, says nothing, has become a standby,
//! or somebody holds the lock. What is asked then is an outage and never "no such account", in bounded time, and the words say
//! what to do; afterwards everything works again without help.

#![allow(clippy::unwrap_used)]

mod places;

use culver_directory::builtin::{Builtin, NewUser, Problem};
use culver_directory::sql::{Host, Server};
use culver_directory::{Defaults, Directory, Login, Resolved, Source};
use places::PostgreSql;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn open(server: &Server) -> Arc<Builtin> {
    Arc::new(Builtin::on_postgresql(server.clone(), Defaults::default()).unwrap())
}

fn anna() -> Login {
    Login::parse(b"anna@example.com").unwrap()
}

/// A psql that holds what `sql` locks until it is dropped.
struct Holder(Child);

impl Holder {
    fn new(postgres: &PostgreSql, database: &str, sql: &str) -> Self {
        let bin = std::fs::read_dir("/usr/lib/postgresql").unwrap().map(|e| e.unwrap().path()).max().unwrap();
        let mut command = Command::new(bin.join("bin/psql"));
        command.arg("-h").arg(&postgres.server.socket).args(["-p", &postgres.server.port.to_string()]);
        command.args(["-U", "postgres", "-qAt", "-d", database]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        writeln!(child.stdin.as_mut().unwrap(), "{sql}; SELECT 'held';").unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "held"));
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages() {
    let Some(mut postgres) = PostgreSql::start() else { return };
    postgres.server.psql("CREATE DATABASE mail").unwrap();
    let settings = postgres.settings("mail");
    let builtin = open(&settings);
    builtin.add_domain("example.com").unwrap();
    builtin.add_user("anna@example.com", &NewUser::default()).unwrap();
    let directory = Directory::new(vec![builtin.clone()]);
    assert!(directory.find(&anna()).await.unwrap().is_some());

    // It goes: connections that lay idle are broken, new ones are refused.
    postgres.server.stop();
    for _ in 0..3 {
        let why = directory.find(&anna()).await.unwrap_err().to_string();
        assert!(why.contains("PostgreSQL cannot be reached") && why.contains("is it running"), "{why}");
        assert!(directory.resolve("anna@example.com").await.is_err());
        assert!(directory.has_domain("example.com").await.is_err());
        let problem = builtin.add_user("bob@example.com", &NewUser::default()).unwrap_err();
        assert!(matches!(problem, Problem::Server { .. }), "{problem}");
    }
    // A program that is started meanwhile comes up and waits for it.
    let late = open(&settings);
    assert!(late.find(&anna()).await.is_err());

    postgres.server.start().unwrap();
    for builtin in [&builtin, &late] {
        assert!(builtin.find(&anna()).await.unwrap().is_some());
    }
    builtin.add_user("bob@example.com", &NewUser::default()).unwrap();
    // Restarted while nobody asked: the broken connections are replaced without a word, for changes, too.
    postgres.server.stop();
    postgres.server.start().unwrap();
    builtin.set_password("bob@example.com", Some("{PLAIN}x")).unwrap();
    assert!(late.find(&anna()).await.unwrap().is_some());

    // A standby takes no changes, and is not asked.
    postgres.server.psql("ALTER DATABASE mail SET default_transaction_read_only = on").unwrap();
    postgres.server.stop();
    postgres.server.start().unwrap();
    let why = builtin.set_password("bob@example.com", None).unwrap_err().to_string();
    assert!(why.contains("does not allow writes"), "{why}");
    assert!(directory.find(&anna()).await.is_err());
    postgres.server.psql("ALTER DATABASE mail SET default_transaction_read_only = off").unwrap();
    builtin.set_password("bob@example.com", None).unwrap();

    // The tables of another version are nobody's to touch.
    postgres.server.stop();
    postgres.server.start().unwrap();
    Holder::new(&postgres, "mail", "UPDATE culver.version SET n = 99");
    let other = open(&settings);
    let why = other.find(&anna()).await.unwrap_err().to_string();
    assert!(why.contains("version 99"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_holds_the_lock() {
    let Some(postgres) = PostgreSql::start() else { return };
    postgres.server.psql("CREATE DATABASE mail").unwrap();
    let settings = Server { query_timeout: Duration::from_millis(500), ..postgres.settings("mail") };
    let patient = open(&postgres.settings("mail"));
    patient.add_domain("example.com").unwrap();
    let builtin = open(&settings);
    let lock =
        format!("BEGIN; SELECT pg_advisory_xact_lock({})", i64::from_str_radix("63756c766572", 16).unwrap());
    let holder = Holder::new(&postgres, "mail", &lock);
    let began = Instant::now();
    let why = builtin.add_user("anna@example.com", &NewUser::default()).unwrap_err().to_string();
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(why.contains("pg_stat_activity") || why.contains("query_timeout"), "{why}");
    // Who reads waits for nobody.
    assert!(builtin.find(&anna()).await.unwrap().is_none());
    assert!(builtin.has_domain("example.com").await.unwrap());
    drop(holder);
    builtin.add_user("anna@example.com", &NewUser::default()).unwrap();

    // A table that is locked: an outage in bounded time, not "no such account".
    let holder = Holder::new(&postgres, "mail", "BEGIN; LOCK TABLE culver.account");
    let began = Instant::now();
    let directory = Directory::new(vec![builtin.clone()]);
    let why = directory.find(&anna()).await.unwrap_err().to_string();
    assert!(why.contains("timeout"), "{why}");
    assert!(directory.resolve("anna@example.com").await.is_err());
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(holder);
    assert!(matches!(directory.resolve("anna@example.com").await.unwrap(), Resolved::Targets(_)));
}

/// Who may not make a schema is told what to do; made by the administrator it is used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights() {
    let Some(postgres) = PostgreSql::start() else { return };
    for sql in ["CREATE DATABASE mail", "CREATE ROLE culver LOGIN"] {
        postgres.server.psql(sql).unwrap();
    }
    let settings = Server { user: "culver".to_owned(), ..postgres.settings("mail") };
    let why = open(&settings).domains().unwrap_err().to_string();
    assert!(why.contains("permission denied") && why.contains("GRANT CREATE ON DATABASE"), "{why}");
    Holder::new(&postgres, "mail", "CREATE SCHEMA culver AUTHORIZATION culver");
    open(&settings).add_domain("example.com").unwrap();
    assert_eq!(open(&settings).domains().unwrap().len(), 1);
}

/// Something that takes connections and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_server() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let host = Host::Tcp("127.0.0.1".to_owned(), listener.local_addr().unwrap().port());
    let server = Server {
        hosts: vec![host],
        database: "mail".to_owned(),
        user: "culver".to_owned(),
        password: String::new(),
        tls: false,
        authorities: Default::default(),
        connections: 2,
        connect_timeout: Duration::from_millis(200),
        query_timeout: Duration::from_millis(200),
    };
    let (builtin, began) = (open(&server), Instant::now());
    let why = builtin.find(&anna()).await.unwrap_err().to_string();
    assert!(why.contains("connect_timeout"), "{why}");
    // What a session is offered asks nobody.
    assert!(!builtin.serves(culver_directory::Proof::ScramSha256));
    assert!(began.elapsed() < Duration::from_secs(5));
}
