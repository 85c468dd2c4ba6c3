//! The administrator's hooks for steps of quotas, in the real server: an address, within the sandbox, and a program.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panic, and plays other programs on the file system"
)]

use culver_testkit::{Client, Peer, Served};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const EXE: &str = env!("CARGO_BIN_EXE_culver");

fn serve(settings: &str) -> Served {
    let temp = tempfile::Builder::new().prefix("hook-").tempdir().unwrap();
    start_on(temp, settings)
}

fn start_on(temp: TempDir, settings: &str) -> Served {
    let at = temp.path().display().to_string();
    fs::create_dir(temp.path().join("state")).unwrap();
    fs::create_dir(temp.path().join("mail")).unwrap();
    fs::write(temp.path().join("users"), "u0001@example.test:{PLAIN}pass:::::\n").unwrap();
    let config = format!(
        "state_dir = \"{at}/state\"\nlog.file = \"{at}/log\"\nlog.style = \"dovecot\"\nimap.listen = [\"127.0.0.1:0\"]\n\
         imaps.listen = []\npop3.listen = []\npop3s.listen = []\nmail.roots = [\"{at}/mail\"]\nquota.storage = \"1MiB\"\n\
         quota.hook_timeout = \"1s\"\n{settings}\n[[directory]]\nsource = \"passwd-file\"\npath = \"{at}/users\"\n\
         home = \"{at}/mail/%u\"\n"
    );
    Served::on(Path::new(EXE), temp, &config).unwrap()
}

fn log_in(server: &Served) -> Client {
    server.log_in(&server.account("u0001@example.test")).unwrap()
}

/// Another so many percent of the limit.
fn fill(client: &mut Client, percent: usize) {
    let octets = (1 << 20) * percent / 100;
    let head = "Subject: mail\r\n\r\n";
    client.append("INBOX", "", format!("{head}{}\r\n", "x".repeat(octets - head.len())).as_bytes()).unwrap();
}

/// Reads a request; gives its head and its body.
fn request(stream: &mut TcpStream) -> (String, Value) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    loop {
        let before = head.len();
        lines.read_line(&mut head).unwrap();
        if head[before..].trim().is_empty() {
            break;
        }
    }
    let length = head.to_lowercase();
    let length = length.lines().find_map(|l| l.strip_prefix("content-length:")).unwrap().trim().parse();
    let mut body = vec![0; length.unwrap()];
    lines.read_exact(&mut body).unwrap();
    (head, serde_json::from_slice(&body).unwrap())
}

/// Each step is posted, in order. An address that does not answer, or answers with an error, is logged and holds nothing up.
#[test]
fn an_address_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/quota?key=1", listener.local_addr().unwrap());
    let server = serve(&format!(
        "sandbox = true\nquota.hook_url = \"{url}\"\nquota.hook_header = \"Authorization: Bearer x\""
    ));
    let mut client = log_in(&server);
    let hear = || {
        let (mut stream, _) = listener.accept().unwrap();
        let (head, body) = request(&mut stream);
        (stream, head, body)
    };
    let answer = |mut stream: TcpStream, status: &str| {
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
    };
    fill(&mut client, 82);
    let (stream, head, body) = hear();
    assert!(head.starts_with("POST /quota?key=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("\nauthorization: bearer x\r\n"), "{head}");
    assert_eq!(body["account"], "u0001@example.test");
    assert_eq!((&body["step"], &body["threshold"]), (&"warned".into(), &80.into()), "{body}");
    assert_eq!((&body["messages"], &body["storage_limit"]), (&1.into(), &(1u64 << 20).into()), "{body}");
    answer(stream, "200 OK");
    fill(&mut client, 9);
    let (silent, _, body) = hear();
    assert_eq!(body["threshold"], 90);
    // Nobody waits for it.
    fill(&mut client, 5);
    client.ok("NOOP").unwrap();
    let (stream, _, body) = hear();
    assert_eq!(body["threshold"], 95);
    drop(silent);
    let log = server.log();
    assert!(log.contains("quota.hook for step warned failed: quota.hook_url: no answer within 1s"), "{log}");
    answer(stream, "500 Broken");
    fill(&mut client, 6);
    let (stream, _, body) = hear();
    assert_eq!(body["step"], "over");
    assert!(body["until"].as_i64() > body["at"].as_i64(), "{body}");
    answer(stream, "204 No Content");
    let log = server.log();
    assert!(log.contains("it answers 500"), "{log}");
}

/// A program has it all in its environment and on standard input. One that fails or hangs changes nothing.
#[test]
fn a_program_is_started() {
    let temp = tempfile::Builder::new().prefix("hook-").tempdir().unwrap();
    let at = temp.path().display().to_string();
    for pipe in ["first", "last"] {
        assert!(Command::new("mkfifo").arg(temp.path().join(pipe)).status().unwrap().success());
    }
    let script = temp.path().join("hook.sh");
    fs::write(
        &script,
        format!(
            "#!/bin/sh\ncase $CULVER_STEP$CULVER_THRESHOLD in\n\
             warned80) (env | grep ^CULVER_; cat) > {at}/first ;;\n\
             warned90) echo no such table >&2; exit 3 ;;\nwarned95) exec sleep 600 ;;\n\
             over*) cat > {at}/last ;;\nesac\n"
        ),
    )
    .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let server = start_on(temp, &format!("sandbox = false\nquota.hook = \"{}\"", script.display()));
    let mut client = log_in(&server);
    fill(&mut client, 83);
    // A pipe is open once both sides are.
    let told = fs::read_to_string(format!("{at}/first")).unwrap();
    for line in
        ["CULVER_ACCOUNT=u0001@example.test", "CULVER_THRESHOLD=80", "CULVER_PERCENT=82", "CULVER_MESSAGES=1"]
    {
        assert!(told.lines().any(|l| l == line), "{line}: {told}");
    }
    assert!(!told.contains("CULVER_UNTIL"), "{told}");
    let json: Value = serde_json::from_str(told.lines().find(|l| l.starts_with('{')).unwrap()).unwrap();
    assert_eq!(json["percent"], 82);
    fill(&mut client, 8);
    fill(&mut client, 5);
    fill(&mut client, 6);
    client.ok("NOOP").unwrap();
    let json: Value = serde_json::from_str(&fs::read_to_string(format!("{at}/last")).unwrap()).unwrap();
    assert_eq!(json["step"], "over");
    let log = server.log();
    assert!(log.contains("hook.sh: it ended with exit status: 3: no such table"), "{log}");
    assert!(log.contains("hook.sh: it did not end within 1s and was killed"), "{log}");
}

/// The sandbox and a program exclude each other, which is said before anything is served.
#[test]
fn the_sandbox_starts_no_program() {
    let temp = TempDir::new().unwrap();
    let config = temp.path().join("culver.toml");
    for (text, said) in [
        ("quota.hook = \"/bin/true\"", "quota.hook_url"),
        ("quota.hook_url = \"ftp://localhost/\"", "http://127.0.0.1:8080/quota"),
        (
            "lmtp.listen = [\"127.0.0.1:0\"]\ndeliver.forward.method = \"sendmail\"",
            "write \"smtp\" and the MTA's address in `relay`",
        ),
    ] {
        fs::write(&config, format!("state_dir = \"{}\"\n{text}\n", temp.path().display())).unwrap();
        for verb in [&["config", "check"][..], &["serve"]] {
            let out = Command::new(EXE).args(verb).arg("--config").arg(&config).output().unwrap();
            let told = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
            assert!(!out.status.success() && told.contains(said), "{verb:?}: {told}");
        }
    }
}
