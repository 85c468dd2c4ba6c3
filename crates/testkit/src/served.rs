//! `culver serve` on a configuration that the test chooses: a passwd-file with accounts `u0001@example.test`, ... whose
//! password is `pass`, in the clear.

use crate::client::Client;
use crate::peer::{Account, Peer, Process, START, wait_until};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// Accounts that there are.
const USERS: u32 = 100;

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// See the head of the file.
#[derive(Debug)]
pub struct Served {
    // Before `temp`: the process ends first, then its folder goes.
    process: Process,
    temp: TempDir,
    addresses: Vec<(String, SocketAddr)>,
    used: AtomicU32,
}

impl Served {
    /// Starts the program at `exe` and waits until it greets. `settings` are further lines of the configuration, before any
    /// section. With a certificate there are imaps and pop3s as well.
    ///
    /// # Errors
    /// When it does not get ready; the text holds its log.
    pub fn start(exe: &Path, settings: &str, pair: Option<&Pair>) -> Result<Self> {
        let temp = tempfile::Builder::new().prefix("culver-").tempdir()?;
        let dir = temp.path();
        let root = dir.display();
        fs::create_dir(dir.join("state"))?;
        let mut users = String::new();
        for n in 1..=USERS {
            writeln!(users, "u{n:04}@example.test:{{PLAIN}}pass:::::")?;
        }
        fs::write(dir.join("users"), users)?;
        // The test may want a port of its own.
        let pop3 = if settings.contains("pop3.listen") { "" } else { "pop3.listen = [\"127.0.0.1:0\"]\n" };
        let mut text = format!(
            "state_dir = \"{root}/state\"\nsandbox = false\nlog.file = \"{root}/log\"\nlog.style = \"dovecot\"\n\
             auth.failure_delay = \"0s\"\nimap.listen = [\"127.0.0.1:0\"]\nimaps.listen = [\"127.0.0.1:0\"]\n\
             {pop3}pop3s.listen = [\"127.0.0.1:0\"]\n{settings}\n\
             [[directory]]\nsource = \"passwd-file\"\npath = \"{root}/users\"\nhome = \"{root}/mail/%u\"\n"
        );
        if let Some(pair) = pair {
            fs::write(dir.join("key.pem"), &pair.key)?;
            fs::write(dir.join("cert.pem"), &pair.certificate)?;
            write!(
                text,
                "[[tls.certificate]]\ncertificate = \"{root}/cert.pem\"\nkey = \"{root}/key.pem\"\n"
            )?;
        }
        Self::on(exe, temp, &text)
    }

    /// Starts it on a folder that the test has made ready, with this configuration, which must write its log to `log` there
    /// and listen for IMAP.
    ///
    /// # Errors
    /// As [`Served::start`].
    pub fn on(exe: &Path, temp: TempDir, config: &str) -> Result<Self> {
        let dir = temp.path();
        fs::write(dir.join("culver.toml"), config)?;
        let errors = fs::File::create(dir.join("stderr"))?;
        let child = Command::new(exe)
            .arg("serve")
            .arg("--config")
            .arg(dir.join("culver.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("starting {}", exe.display()))?;
        let mut process = Process(child);
        let log = dir.join("log");
        let ready = wait_until(START, &mut process, || {
            let addresses = listeners(&fs::read_to_string(&log)?).context("the line that it is ready")?;
            Client::connect(address(&addresses, "imap").context("imap")?)?;
            Ok(addresses)
        });
        let addresses = ready.map_err(|why| {
            let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
            why.context(format!("the log of culver:\n{}{}", read("stderr"), read("log")))
        })?;
        Ok(Self { process, temp, addresses, used: AtomicU32::new(0) })
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        self.temp.path()
    }

    /// Where it listens under this name (`lmtp`).
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        address(&self.addresses, name)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The account of this address.
    pub fn account(&self, user: &str) -> Account {
        let maildir: PathBuf = self.dir().join("mail").join(user).join("Mail");
        Account { user: user.to_owned(), password: "pass".to_owned(), maildir }
    }
}

/// `... is ready on imap 127.0.0.1:1, imaps 127.0.0.1:2, lmtp unix:/run/x`, of which those with ports.
fn listeners(log: &str) -> Option<Vec<(String, SocketAddr)>> {
    let line = log.lines().find(|l| l.contains("is ready on "))?;
    let (_, list) = line.split_once("is ready on ")?;
    let pairs = list.split(", ").filter_map(|one| one.split_once(' '));
    Some(pairs.filter_map(|(name, at)| Some((name.to_owned(), at.trim().parse().ok()?))).collect())
}

fn address(all: &[(String, SocketAddr)], name: &str) -> Option<SocketAddr> {
    all.iter().find(|(n, _)| n == name).map(|(_, a)| *a)
}

impl Peer for Served {
    fn name(&self) -> &'static str {
        "culver"
    }
    fn imap(&self) -> SocketAddr {
        address(&self.addresses, "imap").unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }
    fn imaps(&self) -> Option<SocketAddr> {
        address(&self.addresses, "imaps")
    }
    fn pop3(&self) -> Option<SocketAddr> {
        address(&self.addresses, "pop3")
    }
    fn pop3s(&self) -> Option<SocketAddr> {
        address(&self.addresses, "pop3s")
    }
    fn fresh_account(&self) -> Account {
        let n = self.used.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(n <= USERS, "the test needs more than {USERS} accounts");
        self.account(&format!("u{n:04}@example.test"))
    }
    fn log(&self) -> String {
        fs::read_to_string(self.dir().join("log")).unwrap_or_default()
    }
    fn own(&self, _: &Path) -> Result<()> {
        Ok(()) // It runs as the user who started it.
    }
}
