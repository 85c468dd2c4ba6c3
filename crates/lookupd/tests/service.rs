//! Look-ups and policy requests as MTAs send them, over a socket.

#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use culver_directory::builtin::{Builtin, NewUser, What};
use culver_directory::{Account, Action, Defaults, Directory, Login, Outage, Source};
use culver_events::Events;
use culver_lookupd::{ByDirectory, Lookup, Map, Maps, Policy, Recipients, Verdict};
use culver_net::{Encryption, Front, Listener, Serve, Stopper, Tasks, accept};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A source that can go away.
struct Moody(Arc<AtomicBool>);

#[async_trait]
impl Source for Moody {
    fn name(&self) -> &str {
        "moody"
    }

    async fn find(&self, _: &Login) -> Result<Option<Arc<Account>>, Outage> {
        if self.0.load(Ordering::SeqCst) { Err(Outage::new("moody", "away")) } else { Ok(None) }
    }

    async fn has_domain(&self, _: &str) -> Result<bool, Outage> {
        if self.0.load(Ordering::SeqCst) { Err(Outage::new("moody", "away")) } else { Ok(false) }
    }
}

struct House {
    lookup: SocketAddr,
    policy: SocketAddr,
    builtin: Arc<Builtin>,
    away: Arc<AtomicBool>,
    stopper: Stopper,
    tasks: Tasks,
    _folder: tempfile::TempDir,
}

/// bob is full for messages above 1000 octets.
struct Small(ByDirectory);

#[async_trait]
impl Recipients for Small {
    async fn verdict(&self, address: &str, octets: u64) -> Verdict {
        match self.0.verdict(address, octets).await {
            Verdict::Taken if address.starts_with("bob@") && octets > 1000 => {
                Verdict::Refused("452 4.2.2 The mailbox is full".to_owned())
            }
            other => other,
        }
    }
}

fn house() -> House {
    let folder = tempfile::tempdir().unwrap();
    let builtin = Arc::new(Builtin::open(&folder.path().join("d.sqlite"), Defaults::default()).unwrap());
    builtin.add_domain("example.com").unwrap();
    builtin.add_domain_alias("example.net", "example.com").unwrap();
    for name in ["anna", "bob", "carl"] {
        builtin.add_user(&format!("{name}@example.com"), &NewUser::default()).unwrap();
    }
    let to = |targets: &[&str]| Action::Deliver(targets.iter().map(|t| (*t).to_owned()).collect());
    builtin.add_route("info@example.com", &to(&["anna@example.com", "boss@example.org"])).unwrap();
    builtin.add_route("out@example.com", &to(&["a@example.org", "b@example.org"])).unwrap();
    builtin.add_route("old@example.com", &Action::Reject("Ask at the desk".to_owned())).unwrap();
    builtin.set_switch("carl@example.com", What::Receive, Some("moved away")).unwrap();
    builtin.set_switch("carl@example.com", What::Send, Some("spam sent")).unwrap();
    let away = Arc::new(AtomicBool::new(false));
    let directory = Arc::new(Directory::new(vec![builtin.clone(), Arc::new(Moody(away.clone()))]));
    let recipients: Arc<dyn Recipients> = Arc::new(Small(ByDirectory(directory.clone())));
    let (stopper, events) = (Stopper::new(), Events::recorder().0);
    let tasks = Tasks::new(events.clone());
    let front = Front {
        tls: None,
        tasks: tasks.clone(),
        events,
        shutdown: stopper.shutdown(),
        room: Arc::new(tokio::sync::Semaphore::new(50)),
    };
    let listen = |service: Arc<dyn Serve>| {
        let listener = Listener::bind("x", Encryption::OnRequest, "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.tcp_address().unwrap();
        tasks.spawn("accept", accept(listener, service, front.clone()));
        address
    };
    let maps = Arc::new(Maps { directory: directory.clone(), recipients: recipients.clone() });
    let lookup = listen(Arc::new(Lookup { maps, tcp_map: Some(Map::Mailbox) }));
    let policy = listen(Arc::new(Policy { directory, recipients }));
    House { lookup, policy, builtin, away, stopper, tasks, _folder: folder }
}

/// Sends, says that no more comes, and reads to the end.
async fn talk(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut out = Vec::new();
    stream.read_to_end(&mut out).await.unwrap();
    String::from_utf8(out).unwrap()
}

fn netstring(text: &str) -> String {
    format!("{}:{text},", text.len())
}

#[tokio::test]
async fn the_maps_by_socketmap() {
    let house = house();
    let table = [
        ("domain example.com", "OK example.com"),
        ("domain Example.NET", "OK example.net"),
        ("domain example.org", "NOTFOUND "),
        ("domain anna@example.com", "NOTFOUND "),
        ("mailbox anna@example.com", "OK anna@example.com"),
        ("mailbox Anna+x@Example.NET", "OK Anna+x@Example.NET"),
        ("mailbox info@example.net", "OK info@example.net"),
        ("mailbox out@example.com", "OK out@example.com"),
        ("mailbox carl@example.com", "OK carl@example.com"),
        ("mailbox old@example.com", "OK old@example.com"),
        ("mailbox dora@example.com", "NOTFOUND "),
        ("mailbox anna", "NOTFOUND "),
        ("mailbox @example.com", "NOTFOUND "),
        ("virtual out@example.net", "OK a@example.org,b@example.org"),
        ("virtual info@example.com", "NOTFOUND "),
        ("virtual anna@example.com", "NOTFOUND "),
        ("alias info@example.com", "OK anna@example.com,boss@example.org"),
        ("alias anna@example.com", "NOTFOUND "),
        ("access anna@example.com", "NOTFOUND "),
        ("access carl@example.net", "OK 550 5.2.1 moved away"),
        ("access old@example.com", "OK 550 5.7.1 Ask at the desk"),
        ("sender anna@example.net", "OK anna@example.com"),
        ("sender info@example.com", "OK anna@example.com"),
        ("sender carl@example.com", "NOTFOUND "),
        ("sender out@example.com", "NOTFOUND "),
    ];
    // All on one connection, sent before the first answer is read.
    let questions: String = table.iter().map(|(question, _)| netstring(question)).collect();
    let answers: String = table.iter().map(|(_, answer)| netstring(answer)).collect();
    assert_eq!(talk(house.lookup, questions.as_bytes()).await, answers);
    let wrong = talk(house.lookup, netstring("nosuch x@example.com").as_bytes()).await;
    assert!(wrong.contains("PERM there is no such map; maps are domain, mailbox, virtual"), "{wrong}");
    assert!(talk(house.lookup, b"7:mailbox,").await.contains("PERM write a map's name"));
    // Nothing is answered after what cannot be framed.
    let broken = talk(house.lookup, b"99999:mailbox anna@example.com,").await;
    assert!(broken.contains("PERM that is no netstring") && broken.ends_with(','), "{broken}");

    let all = Action::Deliver(vec!["anna@example.com".to_owned()]);
    house.builtin.add_route("*@example.com", &all).unwrap();
    assert_eq!(
        talk(house.lookup, netstring("mailbox dora@example.com").as_bytes()).await,
        "19:OK dora@example.com,"
    );
    assert_eq!(talk(house.lookup, netstring("sender dora@example.com").as_bytes()).await, "9:NOTFOUND ,");
}

#[tokio::test]
async fn tcp_table_and_lines() {
    let house = house();
    let table = "get anna@example.com\nget dora@example.com\nget anna%2Bx%40example.net\nget\nget a b\n";
    let expected = "200 anna@example.com\n500 not%20found\n200 anna+x@example.net\n";
    let answers = talk(house.lookup, table.as_bytes()).await;
    assert_eq!(answers.lines().take(3).collect::<String>(), expected.replace('\n', ""), "{answers}");
    // `get` alone is a line of the other language, which ends the connection.
    assert!(answers.contains("PERM write a map's name"), "{answers}");
    assert_eq!(talk(house.lookup, b"get a b\n").await, "400 that%20is%20no%20request%20of%20tcp_table\n");
    for (question, answer) in [
        ("mailbox anna@example.com\n", "OK anna@example.com"),
        ("access carl@example.com\r\n", "OK 550 5.2.1 moved away"),
        ("mailbox dora@example.com\n", "NOTFOUND"),
        // Exim waits for the end, and what follows is nobody's.
        ("mailbox dora@example.com\nmailbox anna@example.com\n", "NOTFOUND"),
        ("domain example.net\n", "OK example.net"),
        // No end of the line: no question.
        ("domain example.net", ""),
    ] {
        assert_eq!(talk(house.lookup, question.as_bytes()).await, answer, "{question}");
    }
    let long = [b"mailbox ".as_slice(), &[b'x'; 5000]].concat();
    assert_eq!(talk(house.lookup, &long).await, "PERM a line has 4096 octets at most");
}

fn policy(recipient: &str, size: u64, user: &str) -> String {
    format!(
        "request=smtpd_access_policy\nprotocol_state=RCPT\nsender=a@example.org\nrecipient={recipient}\nsize={size}\n\
         sasl_username={user}\n\n"
    )
}

#[tokio::test]
async fn the_policy() {
    let house = house();
    let table = [
        (policy("anna@example.com", 0, ""), "DUNNO"),
        (policy("dora@example.com", 0, ""), "DUNNO"),
        (policy("x@example.org", 0, ""), "DUNNO"),
        (policy("", 0, ""), "DUNNO"),
        (policy("carl@example.com", 0, ""), "550 5.2.1 moved away"),
        (policy("old@example.com", 0, ""), "550 5.7.1 Ask at the desk"),
        (policy("bob@example.com", 1000, ""), "DUNNO"),
        (policy("bob@example.com", 1001, ""), "452 4.2.2 The mailbox is full"),
        (policy("x@example.org", 0, "anna@example.com"), "DUNNO"),
        (
            policy("x@example.org", 0, "Carl@example.net"),
            "554 5.7.1 This account may not send mail: spam sent",
        ),
        ("request=other\nrecipient=carl@example.com\n\n".to_owned(), "DUNNO"),
    ];
    let questions: String = table.iter().map(|(question, _)| question.as_str()).collect();
    let answers: String = table.iter().map(|(_, answer)| format!("action={answer}\n\n")).collect();
    assert_eq!(talk(house.policy, questions.as_bytes()).await, answers);
    for bad in ["hello\n", "\n", &format!("request=x\n{}", "a=b\n".repeat(5000))] {
        let answer = talk(house.policy, bad.as_bytes()).await;
        assert!(answer.starts_with("action=451 4.3.5 that is no policy request"), "{answer}");
    }
    assert_eq!(talk(house.policy, b"request=x\n").await, "");
}

#[tokio::test]
async fn an_outage_is_a_temporary_failure() {
    let house = house();
    house.away.store(true, Ordering::SeqCst);
    for (question, answer) in [
        ("mailbox dora@example.com", "TEMP the directory of accounts does not answer"),
        ("access dora@example.com", "TEMP the directory of accounts does not answer"),
        ("virtual dora@example.com", "TEMP the directory of accounts does not answer"),
        ("domain example.org", "TEMP the directory of accounts does not answer"),
        // What is known without the source.
        ("domain example.com", "OK example.com"),
        ("mailbox anna@example.com", "OK anna@example.com"),
    ] {
        assert_eq!(talk(house.lookup, netstring(question).as_bytes()).await, netstring(answer), "{question}");
    }
    let answer = talk(house.lookup, b"get dora@example.com\n").await;
    assert!(answer.starts_with("400 the%20directory"), "{answer}");
    assert!(talk(house.lookup, b"mailbox dora@example.com\n").await.starts_with("TEMP "));
    let answer = talk(house.policy, policy("dora@example.com", 0, "").as_bytes()).await;
    assert!(answer.starts_with("action=451 4.4.3 "), "{answer}");
    let answer = talk(house.policy, policy("anna@example.com", 0, "dora@example.com").as_bytes()).await;
    assert!(answer.starts_with("action=451 4.4.3 "), "{answer}");
}

#[tokio::test]
async fn waiting_connections_end_with_the_server() {
    let house = house();
    let mut stream = TcpStream::connect(house.lookup).await.unwrap();
    stream.write_all(netstring("domain example.com").as_bytes()).await.unwrap();
    let mut answer = [0; 18];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"14:OK example.com,");
    house.stopper.stop();
    assert_eq!(house.tasks.drain(std::time::Duration::from_secs(5)).await, 0);
    assert_eq!(stream.read(&mut answer).await.unwrap(), 0);
}
