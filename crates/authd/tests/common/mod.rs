//! A server of both sockets in a temporary folder, over a directory that can fail.
#![allow(dead_code, reason = "not every test program uses all of it")]

use async_trait::async_trait;
use culver_auth::{Auth, AuthSettings};
use culver_authd::{AuthdService, ClientService, Finished, MasterService};
use culver_directory::{
    Account, Directory, Layout, Login, MailLocation, Network, Outage, QuotaLimits, Secret, Source, Switch,
};
use culver_events::{Events, Recorded};
use culver_net::{Front, Listener, Serve, Stopper, Tasks, UnixPath};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub struct Table {
    accounts: Vec<Account>,
}

#[async_trait]
impl Source for Table {
    fn name(&self) -> &str {
        "table"
    }

    async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        match login.local() {
            "broken" => return Err(Outage::new("table", "on fire")),
            "slow" => std::future::pending().await,
            _ => {}
        }
        // example.net is a secondary domain.
        let name = login.as_str().replace("@example.net", "@example.org");
        Ok(self.accounts.iter().find(|a| a.name == name).cloned().map(Arc::new))
    }

    async fn names(&self) -> Result<Vec<String>, Outage> {
        Ok(self.accounts.iter().map(|a| a.name.clone()).collect())
    }
}

pub fn account(name: &str) -> Account {
    let home = PathBuf::from(format!("/srv/{name}"));
    let mail =
        MailLocation { root: home.join("Mail"), control: None, index: None, layout: Layout::MaildirPlusPlus };
    let secret = Secret::Stored("{PLAIN}secret".to_owned());
    let (uid, gid) = (Some(4001), Some(4001));
    Account { secret, uid, gid, home: Some(home), ..Account::new(format!("{name}@example.org"), mail) }
}

pub fn off(reason: &str) -> Switch {
    Switch::Off { reason: reason.to_owned(), since: None }
}

pub fn accounts() -> Vec<Account> {
    let quota = QuotaLimits { storage: Some(100 << 20), messages: None };
    vec![
        Account { quota, ..account("anna") },
        Account { login: off("Gone fishing"), ..account("gone") },
        Account { send: off("too much spam"), ..account("mute") },
        Account { allowed_networks: vec![Network::parse("10.0.0.0/8").unwrap()], ..account("near") },
    ]
}

pub struct Server {
    pub dir: tempfile::TempDir,
    pub recorded: Recorded,
    stopper: Stopper,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    pub fn start(settings: AuthSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (events, recorded) = Events::recorder();
        let listen = |name: &str| {
            let at = UnixPath { path: dir.path().join(name), mode: 0o600, uid: None, gid: None };
            Listener::bind_unix(name, &at).unwrap()
        };
        let listeners = (listen("client"), listen("master"));
        let stopper = Stopper::new();
        let shutdown = stopper.shutdown();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let directory = Arc::new(Directory::new(vec![Arc::new(Table { accounts: accounts() })]));
                let service = Arc::new(AuthdService {
                    auth: Auth::new(directory.clone(), settings, events.clone()),
                    directory,
                    events: events.clone(),
                    finished: Finished::default(),
                    owner: (0, 0),
                });
                let tasks = Tasks::new(events.clone());
                let front = Front {
                    tls: None,
                    tasks: tasks.clone(),
                    events,
                    shutdown,
                    room: Arc::new(tokio::sync::Semaphore::new(1000)),
                };
                let client: Arc<dyn Serve> = Arc::new(ClientService(service.clone()));
                let master: Arc<dyn Serve> = Arc::new(MasterService(service));
                tokio::join!(
                    culver_net::accept(listeners.0, client, front.clone()),
                    culver_net::accept(listeners.1, master, front),
                );
                tasks.drain(Duration::from_secs(10)).await;
            });
        });
        Self { dir, recorded, stopper, thread: Some(thread) }
    }
}

impl Server {
    /// Failures wait for nothing.
    pub fn hasty() -> Self {
        Self::start(AuthSettings { failure_delay: Duration::ZERO, ..AuthSettings::default() })
    }

    pub fn client(&self) -> PathBuf {
        self.dir.path().join("client")
    }

    pub fn master(&self) -> PathBuf {
        self.dir.path().join("master")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopper.stop();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A connection as lines.
pub struct Raw {
    stream: UnixStream,
    got: Vec<u8>,
}

impl Raw {
    pub fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { stream, got: Vec::new() }
    }

    /// Connects to a client socket, reads its handshake and says who we are.
    pub fn client(path: &Path, minor: u32) -> Self {
        let mut raw = Self::connect(path);
        while raw.line().unwrap() != "DONE" {}
        raw.send(&format!("VERSION\t1\t{minor}\nCPID\t4711"));
        raw
    }

    /// The same for a master socket.
    pub fn master(path: &Path) -> Self {
        let mut raw = Self::connect(path);
        while !raw.line().unwrap().starts_with("SPID") {}
        raw.send("VERSION\t1\t1");
        raw
    }

    pub fn send(&mut self, text: &str) {
        // The server may have closed: that is seen when its answer is read.
        let _ = self.stream.write_all(format!("{text}\n").as_bytes());
    }

    /// The next line; `None` when the server has closed.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.got.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.got.drain(..=end).collect();
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(n) if n > 0 => self.got.extend_from_slice(&bytes[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => panic!("no line within 20 s"),
                _ => return None,
            }
        }
    }

    pub fn ask(&mut self, text: &str) -> Option<String> {
        self.send(text);
        self.line()
    }
}

/// PLAIN of a user, as the rest of an AUTH line behind its id.
pub fn plain(user: &str, password: &str, fields: &str) -> String {
    use std::fmt::Write as _;
    let mut response = String::new();
    let message = format!("\0{user}\0{password}");
    for group in message.as_bytes().chunks(3) {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let word = group.iter().fold(0_u32, |word, b| word << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        for n in 0..4 {
            let letter = char::from(ALPHABET[(word >> (18 - 6 * n) & 63) as usize]);
            let _ = write!(response, "{}", if n <= group.len() { letter } else { '=' });
        }
    }
    format!("PLAIN\tservice=smtp\t{fields}\tresp={response}")
}

/// A peer by TLS whose failures are not counted.
pub const FAR: &str = "rip=192.0.2.1\tlip=127.0.0.1\tsecured\tno-penalty";
