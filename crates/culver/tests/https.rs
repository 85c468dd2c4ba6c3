//! The policy service and the hooks of quotas by HTTPS: Python's server with a certificate of a private authority, and clients that
//! trust it or another one.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and makes its own files"
)]

use culver_testkit::{Client, Peer as _, Served};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const CULVER: &str = env!("CARGO_BIN_EXE_culver");
/// Debian's.
const PYTHON: &str = "/usr/bin/python3";

/// Says its port, then each request as a line of JSON, and refuses logins whose name begins with `refused`.
const SERVER: &str = r#"
import http.server, json, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        heard = {"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, "body": body}
        refused = body.get("login", "").startswith("refused")
        answer = json.dumps({"status": -1 if refused else 0, "msg": "not today"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        print(json.dumps(heard), flush=True)
    def log_message(self, *words): pass
class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, address): pass
server = Server(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_port, flush=True)
server.serve_forever()
"#;

struct Service {
    child: Child,
    lines: Receiver<String>,
    port: u16,
}

impl Service {
    fn start(folder: &Path) -> Option<Self> {
        let mut python = Command::new(PYTHON);
        let python = python.args(["-c", SERVER]).current_dir(folder).stdin(Stdio::null());
        let Ok(mut child) = python.stdout(Stdio::piped()).spawn() else {
            println!("not run: HTTPS for the policy service and hooks: {PYTHON} is missing");
            return None;
        };
        let (tell, lines_told) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map_while(Result::ok).all(|line| tell.send(line).is_ok()));
        let mut service = Self { child, lines: lines_told, port: 0 };
        service.port = service.line().parse().unwrap();
        Some(service)
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(30)).expect("a line of the service")
    }

    fn hear(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with a certificate for 127.0.0.1, its authority and another one.
fn certificates() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = |name: &str| {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap()
    };
    let (ours, other, key) = (authority("ours"), authority("other"), rcgen::KeyPair::generate().unwrap());
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ours).unwrap();
    for (name, text) in [
        ("ca.pem", ours.pem()),
        ("other.pem", other.pem()),
        ("cert.pem", certificate.pem()),
        ("key.pem", key.serialize_pem()),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// A server whose policy service and hook are there, believed when this authority has signed.
fn served(port: u16, authority: &Path) -> Served {
    let temp = tempfile::Builder::new().prefix("culver-").tempdir().unwrap();
    let root = temp.path().display().to_string();
    fs::create_dir(temp.path().join("state")).unwrap();
    let user = |name: &str| format!("{name}@example.org:{{PLAIN}}pass::::::userdb_quota_rule=*:storage=1M\n");
    fs::write(temp.path().join("users"), user("anna") + &user("refused")).unwrap();
    let ca = authority.display();
    let text = format!(
        "state_dir = \"{root}/state\"\nlog.file = \"{root}/log\"\n\
         imap.listen = [\"127.0.0.1:0\"]\nimaps.listen = []\nmail.roots = [\"{root}/mail\"]\n\
         auth.failure_delay = \"0s\"\nauth.policy_url = \"https://127.0.0.1:{port}/?key=1&\"\nauth.policy_nonce = \"x\"\n\
         auth.policy_ca_file = \"{ca}\"\nauth.policy_header = \"Authorization: Basic d2ZvcmNlOnNlY3JldA==\"\n\
         quota.hook_url = \"https://127.0.0.1:{port}/quota\"\nquota.hook_ca_file = \"{ca}\"\n\
         quota.hook_header = \"Authorization: Bearer x\"\n\
         [[directory]]\nsource = \"passwd-file\"\npath = \"{root}/users\"\nhome = \"{root}/mail/%n\"\n"
    );
    fs::create_dir(temp.path().join("mail")).unwrap();
    Served::on(Path::new(CULVER), temp, &text).unwrap()
}

fn log_in(server: &Served, user: &str) -> Result<Client, String> {
    let mut client = Client::connect(server.imap()).unwrap();
    client.login(&format!("{user}@example.org"), "pass").map_err(|why| format!("{why:#}"))?;
    Ok(client)
}

/// More than four fifths of the limit: a step that hooks are told.
fn fill(client: &mut Client) {
    let text = format!("Subject: mail\r\n\r\n{}\r\n", "x".repeat((1 << 20) * 82 / 100));
    client.append("INBOX", "", text.as_bytes()).unwrap();
}

#[test]
fn policy_and_hooks_by_https() {
    let folder = certificates();
    let Some(service) = Service::start(folder.path()) else { return };
    let server = served(service.port, &folder.path().join("ca.pem"));
    let mut client = log_in(&server, "anna").unwrap();
    for command in ["allow", "allow", "report"] {
        let heard = service.hear();
        assert_eq!(heard["path"], format!("/?key=1&command={command}"), "{heard}");
        assert_eq!(heard["headers"]["authorization"], "Basic d2ZvcmNlOnNlY3JldA==", "{heard}");
        assert_eq!(heard["headers"]["host"], format!("127.0.0.1:{}", service.port));
        assert_eq!(heard["headers"]["user-agent"], "culver/auth-policy-client");
        assert_eq!(heard["headers"]["content-type"], "application/json");
        assert_eq!(heard["body"]["login"], "anna@example.org");
    }
    let why = log_in(&server, "refused").map(drop).unwrap_err();
    assert!(why.contains("not today"), "{why}");
    while service.hear()["path"] != "/?key=1&command=report" {}
    fill(&mut client);
    let heard = service.hear();
    assert_eq!(heard["path"], "/quota", "{heard}");
    assert_eq!(heard["headers"]["authorization"], "Bearer x");
    assert_eq!(heard["headers"]["user-agent"], "culver/quota");
    assert_eq!((&heard["body"]["step"], &heard["body"]["threshold"]), (&"warned".into(), &80.into()));
    assert!(!server.log().contains("TLS"), "{}", server.log());
}

/// Who has another authority's certificate hears nothing; logins go on, and the log says which setting to look at.
#[test]
fn another_authority() {
    let folder = certificates();
    let Some(service) = Service::start(folder.path()) else { return };
    let server = served(service.port, &folder.path().join("other.pem"));
    let mut client = log_in(&server, "refused").unwrap();
    fill(&mut client);
    let until = std::time::Instant::now() + Duration::from_secs(30);
    for (what, setting) in
        [("the policy service has no say", "auth.policy_ca_file"), ("quota.hook_url", "quota.hook_ca_file")]
    {
        let told = || {
            let log = server.log();
            log.lines().any(|line| {
                line.contains(what)
                    && line.contains("UnknownIssuer")
                    && line.contains(&format!("is {setting} right?"))
            })
        };
        while !told() {
            assert!(std::time::Instant::now() < until, "{what}: {}", server.log());
            std::thread::yield_now();
        }
    }
}

#[test]
fn authorities_that_are_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("culver.toml");
    let missing = folder.path().join("none.pem").display().to_string();
    for (text, setting) in [
        (
            format!(
                "auth.policy_url = \"https://127.0.0.1/\"\nauth.policy_nonce = \"x\"\nauth.policy_ca_file = \"{missing}\""
            ),
            "auth.policy_url",
        ),
        (
            format!("quota.hook_url = \"https://127.0.0.1/\"\nquota.hook_ca_file = \"{missing}\""),
            "quota.hook_url",
        ),
    ] {
        let state = folder.path().join("state").display().to_string();
        let text = format!(
            "state_dir = \"{state}\"\nsandbox = false\nimap.listen = [\"127.0.0.1:0\"]\nimaps.listen = []\n{text}\n\
             [[directory]]\nsource = \"static\"\nfields = [\"password=x\"]\n"
        );
        fs::write(&config, text).unwrap();
        let out = Command::new(CULVER)
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success(), "{told}");
        assert!(told.contains(setting) && told.contains(&missing), "{told}");
    }
}
