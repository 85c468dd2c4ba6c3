//! The policy service: a program such as weakforced that hears of every login and has a say, asked as Dovecot asks it, by
//! JSON over HTTP. `allow` is asked before the password is looked at, and again once it was right; `report` tells how it ended.
//!
//! The service fails open: when it does not answer in time, logins go on as without it, and the log says so. Reports are
//! sent beside logins, in order; when too many wait, the newest are dropped, which the log says too.

use culver_directory::http::{Endpoint, Post};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};

/// How the service is asked. The defaults are Dovecot's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicySettings {
    /// Where it is: `http://localhost:4001/`. `?command=allow` is put behind it.
    pub url: String,
    /// The authorities that sign its certificate, for `https`; empty for those of the system.
    pub authorities: PathBuf,
    /// A header that it wants, `Name: value`; a text without a colon is the value of `X-API-Key`.
    pub header: String,
    /// It has so long to answer.
    pub timeout: Duration,
    /// What is hashed with passwords; the same on all servers that ask the same service.
    pub nonce: String,
}

/// What the service says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Go on.
    Allow,
    /// Go on, but not at once.
    Delay(Duration),
    /// No, with the text that it has for the client.
    Reject(String),
}

/// One login, as the service hears of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempted {
    /// The account that somebody wants to be let in as.
    pub login: String,
    /// The first bits of a hash of name and password: enough to tell guesses apart.
    pub pwhash: String,
    /// The client's address.
    pub remote: String,
    /// The service, such as `imap`.
    pub protocol: &'static str,
    /// The session's id.
    pub session: String,
    /// Does TLS protect it?
    pub tls: bool,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// They are in.
    Success,
    /// They are not; why, in the words of Dovecot 2.4: `credentials`, `account`, `disabled`, `policy`.
    Failed(&'static str),
}

/// Bits of the hash that are told.
const BITS: usize = 12;
/// Reports that wait.
const WAITING: usize = 1000;
/// The longest delay that is obeyed.
const LONGEST_DELAY: u64 = 30;

/// The service.
pub struct Policy {
    settings: PolicySettings,
    endpoint: Endpoint,
    reports: mpsc::Sender<Value>,
    waiting: Mutex<mpsc::Receiver<Value>>,
}

impl Policy {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// When the address is not one of HTTP, or the authorities cannot be read.
    pub fn new(settings: PolicySettings) -> Result<Self, String> {
        let endpoint = Endpoint::new(&settings.url, &settings.authorities, settings.timeout)?
            .named("culver/auth-policy-client", "auth.policy_ca_file");
        let (reports, waiting) = mpsc::channel(WAITING);
        Ok(Self { endpoint, reports, waiting: Mutex::new(waiting), settings })
    }

    /// What is told of a password: the first bits of SHA-256 over the nonce, the name, a NUL and the password.
    pub fn hash(&self, login: &str, password: &[u8]) -> String {
        let hash = Sha256::new().chain_update(&self.settings.nonce).chain_update(login).chain_update([0]);
        let hash = hash.chain_update(password).finalize();
        let bits = (u32::from(hash[0]) << 8 | u32::from(hash[1])) >> (16 - BITS);
        format!("{bits:04x}")
    }

    /// May this login go on?
    ///
    /// # Errors
    /// When the service gives no answer that could be understood.
    pub async fn allow(&self, login: &Attempted) -> Result<Verdict, String> {
        let answer = self.ask("allow", &Value::Object(request(login))).await?;
        let status = answer["status"].as_i64().ok_or("its answer has no status")?;
        Ok(match status {
            0 => Verdict::Allow,
            1.. => Verdict::Delay(Duration::from_secs(status.unsigned_abs().min(LONGEST_DELAY))),
            _ => Verdict::Reject(answer["msg"].as_str().unwrap_or_default().chars().take(200).collect()),
        })
    }

    /// Tells how a login ended, soon. `false` when too many reports wait already.
    pub fn report(&self, login: &Attempted, ended: Ended) -> bool {
        let mut told = request(login);
        told.insert("success".to_owned(), (ended == Ended::Success).into());
        told.insert("policy_reject".to_owned(), (ended == Ended::Failed("policy")).into());
        if let Ended::Failed(why) = ended {
            told.insert("fail_type".to_owned(), why.into());
        }
        self.reports.try_send(Value::Object(told)).is_ok()
    }

    /// Sends reports, for ever; `failed` hears what went wrong.
    pub async fn send_reports(&self, failed: impl Fn(String)) {
        let mut waiting = self.waiting.lock().await;
        while let Some(report) = waiting.recv().await {
            if let Err(why) = self.ask("report", &report).await {
                failed(why);
            }
        }
    }

    async fn ask(&self, command: &str, body: &Value) -> Result<Value, String> {
        self.exchange(command, body).await.map_err(|why| format!("{}: {why}", self.settings.url))
    }

    async fn exchange(&self, command: &str, body: &Value) -> Result<Value, String> {
        // Dovecot: an address that ends in & has parameters of its own.
        let join = if self.endpoint.path().ends_with('&') { "" } else { "?" };
        let more = format!("{join}command={command}");
        let post = Post { more: &more, header: &self.settings.header, json: body.to_string() };
        let body = self.endpoint.post(post).await?;
        // Reports need no answer.
        if body.is_empty() { Ok(json!({})) } else { serde_json::from_slice(&body).map_err(|e| e.to_string()) }
    }
}

fn request(login: &Attempted) -> Map<String, Value> {
    let Attempted { login, pwhash, remote, protocol, session, tls } = login;
    let fields = [
        // Dovecot fills it from IMAP's ID.
        ("device_id", json!("")),
        ("login", json!(login)),
        ("protocol", json!(protocol)),
        ("pwhash", json!(pwhash)),
        ("remote", json!(remote)),
        ("session_id", json!(session)),
        ("tls", json!(tls)),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(url: &str) -> Result<Policy, String> {
        let (url, header, nonce) = (url.to_owned(), String::new(), "nonsense".to_owned());
        let (authorities, timeout) = (PathBuf::new(), Duration::from_secs(2));
        Policy::new(PolicySettings { url, authorities, header, timeout, nonce })
    }

    /// What Dovecot 2.3.19 sent with `auth_policy_hash_nonce = nonsense`.
    #[test]
    fn hashes_are_those_of_dovecot() {
        let policy = policy("http://localhost:4001/").unwrap();
        for (login, password, pwhash) in [
            ("good@example.org", "pass", "0419"),
            ("good@example.org", "wrong", "0f8e"),
            ("good@example.org", "", "0b36"),
            ("tar@example.org", "pass", "03ca"),
        ] {
            assert_eq!(policy.hash(login, password.as_bytes()), pwhash);
        }
    }
}
