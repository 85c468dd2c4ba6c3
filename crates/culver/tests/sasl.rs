//! Logins from outside the house: gsasl, curl and imaplib against every mechanism; certificates of clients; the verbs that
//! ask the running server; and the policy service, which hears from Culver what it hears from Dovecot.
//!
//! What is not installed is reported as not run.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and plays other programs on the file system"
)]

use culver_testkit::{Client, Dovecot, Peer as _};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const CULVER: &str = env!("CARGO_BIN_EXE_culver");

/// A server with a folder of its own, and accounts in the built-in directory.
struct Site {
    dir: tempfile::TempDir,
    child: Option<Child>,
    imap: SocketAddr,
}

fn wait_for<T>(what: &str, log: &Path, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        let told = || fs::read_to_string(log).unwrap_or_default();
        assert!(Instant::now() < until, "{what} did not come; the log:\n{}", told());
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Site {
    /// With these lines in `[auth]` and `[tls]`, and these accounts with passwords as stored.
    fn start(auth: &str, tls: &str, users: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().display().to_string();
        for name in ["state", "home"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let pair = culver_net::tls::self_signed(&["localhost"]).unwrap();
        fs::write(dir.path().join("key.pem"), pair.key).unwrap();
        fs::write(dir.path().join("cert.pem"), pair.certificate).unwrap();
        authorities(dir.path());
        let tls = tls.replace("@DIR@", &root);
        let text = format!(
            "state_dir = \"{root}/state\"\nsandbox = false\nlog.file = \"{root}/log\"\nmail.roots = [\"{root}/home\"]\n\
             imap.listen = [\"127.0.0.1:0\"]\nimaps.listen = []\n[auth]\nfailure_delay = \"0s\"\n{auth}\n[tls]\n{tls}\n\
             [[tls.certificate]]\ncertificate = \"{root}/cert.pem\"\nkey = \"{root}/key.pem\"\n\
             [[directory]]\nsource = \"builtin\"\nhome = \"{root}/home/%n\"\n"
        );
        fs::write(dir.path().join("culver.toml"), text).unwrap();
        let mut site = Self { dir, child: None, imap: "127.0.0.1:0".parse().unwrap() };
        site.culver(&["domain", "add", "example.org"]);
        for (user, stored) in users {
            site.culver(&["user", "add", &format!("{user}@example.org"), "--hash", stored]);
        }
        site.serve();
        site
    }

    fn serve(&mut self) {
        let errors = fs::File::create(self.at("stderr")).unwrap();
        let mut serve = Command::new(CULVER);
        serve.args(["serve", "--config"]).arg(self.at("culver.toml"));
        self.child = Some(serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn().unwrap());
        let log = self.at("log");
        self.imap = wait_for("the line that it is ready", &self.at("stderr"), || {
            let text = fs::read_to_string(&log).ok()?;
            let line = text.lines().find(|l| l.contains("is ready on "))?;
            line.split("imap ").nth(1)?.split(',').next()?.trim().parse().ok()
        });
    }

    /// Ends it without a warning, and does this before it is started again, with an empty log.
    fn restart(&mut self, between: impl FnOnce(&Self)) {
        let child = self.child.as_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        fs::remove_file(self.at("log")).unwrap();
        between(self);
        self.serve();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a verb; its output, which must be good.
    fn culver(&self, args: &[&str]) -> String {
        let out = self.verb(args);
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    fn verb(&self, args: &[&str]) -> std::process::Output {
        let mut command = Command::new(CULVER);
        command.args(args).arg("--config").arg(self.at("culver.toml")).stdin(Stdio::null()).output().unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap_or_default()
    }

    fn log_in(&self, user: &str, password: &str) -> Result<(), String> {
        let mut client = Client::connect(self.imap).unwrap();
        client.login(&format!("{user}@example.org"), password).map(|_| ()).map_err(|e| e.to_string())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An authority, a client's certificate that it has signed, and one that another authority has signed.
fn authorities(dir: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
    for (name, user) in [("client", "anna@example.org"), ("other", "bob@example.org")] {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(dir.join(format!("{name}-ca.pem")), ca.self_signed(&ca_key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names.push(SanType::Rfc822Name(user.try_into().unwrap()));
        fs::write(dir.join(format!("{name}.pem")), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

fn have(program: &str) -> bool {
    let found =
        std::env::var_os("PATH").is_some_and(|p| std::env::split_paths(&p).any(|d| d.join(program).exists()));
    if !found {
        println!("not run: {program}: apt-get install {program}");
    }
    found
}

/// Runs a client, for a minute at most. Its output, and whether it was content.
fn run(command: &mut Command) -> (bool, String) {
    let mut limited = Command::new("timeout");
    limited.arg("60").arg(command.get_program()).args(command.get_args());
    let out = limited.stdin(Stdio::null()).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out.status.success(), text)
}

const ALL: &str = "mechanisms = [\"SCRAM-SHA-256-PLUS\", \"SCRAM-SHA-256\", \"SCRAM-SHA-1-PLUS\", \"SCRAM-SHA-1\", \
                   \"EXTERNAL\", \"DIGEST-MD5\", \"CRAM-MD5\", \"PLAIN\", \"LOGIN\", \"ANONYMOUS\"]\n\
                   anonymous_user = \"guest@example.org\"\nblock_after = 0\nblock_network_after = 0\nmax_failures = 100";

#[test]
fn gsasl_logs_in_by_every_mechanism_and_by_none_with_a_wrong_password() {
    if !have("gsasl") {
        return;
    }
    let users = [("anna", "{PLAIN}pass"), ("guest", "{PLAIN}x")];
    let site = Site::start(ALL, "client_ca = \"@DIR@/client-ca.pem\"", &users);
    let gsasl = |mechanism: &str, password: &str, more: &[&str]| {
        let mut command = Command::new("gsasl");
        command
            .arg("--imap")
            .arg(format!("--connect=localhost:{}", site.imap.port()))
            .args(["-m", mechanism]);
        command.args([
            "-a",
            "anna@example.org",
            "-p",
            password,
            "-r",
            "",
            "--quality-of-protection=qop-auth",
        ]);
        run(command.args(["-n", "trace", "--hostname=localhost"]).args(more))
    };
    let ca = format!("--x509-ca-file={}", site.at("cert.pem").display());
    let in_the_clear: &[&str] = &["--no-starttls"];
    let by_tls: &[&str] = &["--starttls", &ca];
    for (mechanism, more) in [
        ("PLAIN", in_the_clear),
        ("LOGIN", in_the_clear),
        ("CRAM-MD5", in_the_clear),
        ("DIGEST-MD5", in_the_clear),
        ("SCRAM-SHA-1", in_the_clear),
        ("SCRAM-SHA-256", in_the_clear),
        ("PLAIN", by_tls),
        ("SCRAM-SHA-1-PLUS", by_tls),
        ("SCRAM-SHA-256-PLUS", by_tls),
    ] {
        let (good, text) = gsasl(mechanism, "pass", more);
        assert!(good && text.contains("finished"), "{mechanism} {more:?}: {text}\n{}", site.log());
        let (good, text) = gsasl(mechanism, "wrong", more);
        assert!(!good || !text.contains("finished (server trusted)"), "{mechanism} {more:?}: {text}");
        let log = site.log();
        let line = log.lines().rfind(|l| l.contains("login failed")).unwrap_or_default().to_owned();
        assert!(line.contains("anna@example.org") && line.contains(mechanism), "{mechanism}: {line}");
    }
    let (good, text) = gsasl("ANONYMOUS", "", in_the_clear);
    assert!(good && site.log().contains("login of guest@example.org by ANONYMOUS"), "{text}");
    // By certificate: anna's, of an authority that is trusted; bob's is of another one.
    let files = |name: &str| {
        let at = |kind: &str, end: &str| {
            format!("--x509-{kind}-file={}", site.at(&format!("{name}.{end}")).display())
        };
        [at("cert", "pem"), at("key", "key")]
    };
    let [cert, key] = files("client");
    let (good, text) = gsasl("EXTERNAL", "", &["--starttls", &ca, &cert, &key]);
    assert!(good && site.log().contains("login of anna@example.org by EXTERNAL"), "{text}\n{}", site.log());
    let [cert, key] = files("other");
    let (good, _) = gsasl("EXTERNAL", "", &["--starttls", &ca, &cert, &key]);
    assert!(!good && !site.log().contains("login of bob@example.org"));
    let (good, _) = gsasl("EXTERNAL", "", by_tls);
    assert!(!good, "without a certificate EXTERNAL is not offered");
}

#[test]
fn curl_and_imaplib_agree() {
    let site = Site::start(ALL, "", &[("anna", "{PLAIN}pass")]);
    if have("curl") {
        for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5"] {
            let curl = |password: &str| {
                let mut command = Command::new("curl");
                command.args(["-sS", "-u", &format!("anna@example.org:{password}")]);
                command.args(["--login-options", &format!("AUTH={mechanism}")]);
                run(command.arg(format!("imap://{}/", site.imap)).args(["-X", "NOOP"]))
            };
            let (good, text) = curl("pass");
            assert!(good, "{mechanism}: {text}\n{}", site.log());
            assert!(site.log().contains(&format!("login of anna@example.org by {mechanism}")));
            assert!(!curl("wrong").0, "{mechanism}");
        }
    }
    if have("python3") {
        let program = format!(
            "import imaplib\nm = imaplib.IMAP4('127.0.0.1', {})\nprint(m.login_cram_md5('anna@example.org', 'pass'))",
            site.imap.port()
        );
        let (good, text) = run(Command::new("python3").args(["-c", &program]));
        assert!(good && text.contains("OK"), "{text}");
    }
}

#[test]
fn verbs_that_ask_the_running_server() {
    let site = Site::start(
        "block_after = 3\nmax_failures = 100",
        "",
        &[("anna", "{PLAIN}pass"), ("bob", "{PLAIN}pass")],
    );
    assert_eq!(site.culver(&["auth", "blocks", "list"]), "Nobody is blocked\n");
    for _ in 0..2 {
        for guess in ["one", "two"] {
            assert!(site.log_in("anna", guess).is_err());
        }
    }
    assert_eq!(site.log_in("anna", "pass"), Ok(()), "two guesses, however often, are below the limit");
    for guess in ["one", "two", "three"] {
        assert!(site.log_in("anna", guess).is_err());
    }
    let why = site.log_in("anna", "pass").unwrap_err();
    assert!(why.contains("3 different passwords were tried from your network"), "{why}");
    assert_eq!(site.log_in("bob", "pass"), Ok(()));
    let listed: Value = serde_json::from_str(&site.culver(&["auth", "blocks", "list", "--json"])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(
        (&listed[0]["account"], &listed[0]["network"]),
        (&json!("anna@example.org"), &json!("127.0.0.1"))
    );
    assert!(
        site.log().contains("anna@example.org blocked from 127.0.0.1 for 900 s after 3 different guesses")
    );
    assert!(!site.verb(&["auth", "blocks", "lift"]).status.success(), "which ones must be said");
    let lifted = site.culver(&["auth", "blocks", "lift", "Anna#example.org"]);
    assert!(lifted.starts_with("Lifted (1)") || lifted.contains("Lifted (1)"), "{lifted}");
    assert_eq!(site.log_in("anna", "pass"), Ok(()));
    // App passwords of the command line count at once, and their use is written.
    let made: Value = serde_json::from_str(&site.culver(&[
        "user",
        "app-password",
        "add",
        "anna@example.org",
        "Phone",
        "--json",
    ]))
    .unwrap();
    let app = made["password"].as_str().unwrap();
    assert_eq!(site.log_in("anna", app), Ok(()));
    assert_eq!(site.log_in("anna", "pass"), Ok(()));
    let used = wait_for("the last use", &site.at("log"), || {
        let listed = site.culver(&["user", "app-password", "list", "anna@example.org", "--json"]);
        let listed: Value = serde_json::from_str(&listed).unwrap();
        listed[0]["address"].as_str().map(str::to_owned)
    });
    assert_eq!(used, "127.0.0.1");
    site.culver(&["user", "app-password", "remove", "anna@example.org", "Phone"]);
    assert!(site.log_in("anna", app).is_err());
    // A master of the built-in directory.
    site.culver(&["user", "master", "bob@example.org"]);
    let (good, text) = if have("curl") {
        let mut command = Command::new("curl");
        command.args(["-sS", "-u", "bob@example.org:pass", "--sasl-authzid", "anna@example.org"]);
        run(command
            .args(["--login-options", "AUTH=PLAIN"])
            .arg(format!("imap://{}/", site.imap))
            .args(["-X", "NOOP"]))
    } else {
        return;
    };
    assert!(
        good && site.log().contains("bob@example.org logs in as anna@example.org"),
        "{text}\n{}",
        site.log()
    );
}

/// Blocks are there again after a server that ended by force; a file of them that is damaged is passed over, with one line.
#[test]
fn blocks_outlast_a_restart() {
    let users = [("anna", "{PLAIN}pass"), ("bob", "{PLAIN}pass")];
    let mut site = Site::start("block_after = 3\nmax_failures = 100", "", &users);
    let path = site.at("state/blocks");
    let kept = |anna: bool| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        (!text.is_empty() && text.contains("anna@example.org") == anna).then_some(())
    };
    let block = |site: &Site| {
        for guess in ["one", "two", "three"] {
            assert!(site.log_in("anna", guess).is_err());
        }
        assert!(site.log_in("anna", "pass").is_err());
        wait_for("the file of blocks", &site.at("log"), || kept(true));
    };
    block(&site);
    for _ in 0..2 {
        site.restart(|_| ());
        let why = site.log_in("anna", "pass").unwrap_err();
        assert!(why.contains("3 different passwords were tried from your network"), "{why}");
        assert_eq!(site.log_in("bob", "pass"), Ok(()));
        assert!(site.culver(&["auth", "blocks", "list"]).contains("anna@example.org"));
        assert!(!site.log().contains("state/blocks"), "{}", site.log());
    }
    site.culver(&["auth", "blocks", "lift", "anna@example.org"]);
    wait_for("the file without her", &site.at("log"), || kept(false));
    site.restart(|_| ());
    assert_eq!(site.log_in("anna", "pass"), Ok(()));

    block(&site);
    let good = fs::read(site.at("state/blocks")).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for damaged in [flipped, good[..good.len() / 2].to_vec(), Vec::new(), vec![0; good.len()]] {
        site.restart(|site| fs::write(site.at("state/blocks"), &damaged).unwrap());
        assert_eq!(site.log_in("anna", "pass"), Ok(()));
        assert_eq!(site.log().matches("state/blocks: it is damaged").count(), 1, "{}", site.log());
        // It is written anew at once.
        site.restart(|_| ());
        assert!(!site.log().contains("state/blocks"), "{}", site.log());
    }
    // The same file, whole again.
    site.restart(|site| fs::write(site.at("state/blocks"), &good).unwrap());
    assert!(site.log_in("anna", "pass").is_err());

    // What cannot be written is told once, and blocks go on.
    fs::create_dir(site.at("state/blocks.new")).unwrap();
    for user in ["bob", "bob", "carl"] {
        for guess in ["one", "two", "three"] {
            assert!(site.log_in(user, guess).is_err());
        }
    }
    assert!(site.log_in("bob", "pass").is_err());
    wait_for("the line", &site.at("log"), || {
        site.log().contains("state/blocks cannot be written").then_some(())
    });
    assert_eq!(site.log().matches("state/blocks cannot be written").count(), 1, "{}", site.log());
}

#[test]
fn nobody_answers_where_no_server_runs() {
    let mut site = Site::start("", "", &[]);
    let child = site.child.as_mut().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let out = site.verb(&["auth", "blocks", "list"]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && text.contains("no server answers"), "{text}");
}

/// A policy service that writes down what it is asked.
struct Service {
    at: SocketAddr,
    heard: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = Self { at: listener.local_addr().unwrap(), heard: Arc::default() };
        let heard = service.heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, heard) = (stream.unwrap(), heard.clone());
                std::thread::spawn(move || while answer(&stream, &heard).is_some() {});
            }
        });
        service
    }

    /// What was heard until the report of a login that ended so, without what differs by session.
    fn until_report(&self, success: bool) -> Vec<(String, Value)> {
        let heard = wait_for("a report", Path::new(""), || {
            let mut heard = self.heard.lock().unwrap();
            let end = heard.iter().any(|(command, told)| command == "report" && told["success"] == success);
            end.then(|| std::mem::take(&mut *heard))
        });
        let known = heard.into_iter().map(|(command, mut told)| {
            let told_all = told.as_object_mut().unwrap();
            assert!(!told_all.remove("session_id").unwrap().as_str().unwrap().is_empty());
            // 2.3 does not say it, 2.4 does.
            told_all.remove("fail_type");
            (command, told)
        });
        known.collect()
    }
}

/// One request and its answer; `None` at the end.
fn answer(stream: &TcpStream, heard: &Mutex<Vec<(String, Value)>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let command = line.strip_prefix("POST /?command=")?.strip_suffix(" HTTP/1.1\r\n")?.to_owned();
    let mut length = 0;
    let mut headers = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        headers.push_str(&line.to_ascii_lowercase());
    }
    // Dovecot keeps the space of its setting.
    let headers = headers.replace(":  ", ": ");
    assert!(headers.contains("authorization: basic d2zvcmnlonnly3jlda=="), "{headers}");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let told: Value = serde_json::from_slice(&body).unwrap();
    let refused = told["login"].as_str().unwrap().starts_with("refused");
    heard.lock().unwrap().push((command, told));
    let body =
        if refused { json!({"status": -1, "msg": "not today"}) } else { json!({"status": 0, "msg": ""}) };
    let body = body.to_string();
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()
}

#[test]
fn the_policy_service_hears_from_culver_what_it_hears_from_dovecot() {
    let service = Service::start();
    let header = "Authorization: Basic d2ZvcmNlOnNlY3JldA==";
    let users = [("good", "{PLAIN}pass"), ("refused", "{PLAIN}pass")];
    let auth = format!(
        "policy_url = \"http://{}/\"\npolicy_nonce = \"nonsense\"\npolicy_header = \"{header}\"",
        service.at
    );
    let site = Site::start(&auth, "", &users);
    let tries = [("good", "pass", true), ("good", "wrong", false), ("refused", "pass", false)];
    let mut ours = Vec::new();
    for (user, password, success) in tries {
        let done = site.log_in(user, password);
        assert_eq!(done.is_ok(), success, "{done:?}");
        if user == "refused" {
            let why = done.unwrap_err();
            assert!(why.contains("not today"), "{why}");
        }
        ours.push(service.until_report(success));
    }
    let good = json!({
        "device_id": "", "login": "good@example.org", "protocol": "imap", "pwhash": "0419", "remote": "127.0.0.1",
        "tls": false,
    });
    assert_eq!(ours[0][0], ("allow".to_owned(), good.clone()));
    assert_eq!(ours[0][1], ("allow".to_owned(), good));
    assert_eq!(ours[2][1].1["policy_reject"], true);
    // Whom nobody answers: logins go on.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let auth = format!(
        "policy_url = \"http://{}/\"\npolicy_nonce = \"x\"\npolicy_timeout = \"50ms\"",
        silent.local_addr().unwrap()
    );
    let alone = Site::start(&auth, "", &users);
    assert_eq!(alone.log_in("good", "pass"), Ok(()));
    assert!(alone.log().contains("the policy service has no say"), "{}", alone.log());

    if let Some(why) = Dovecot::missing() {
        println!("not run: Dovecot's own requests: {why}");
        return;
    }
    let dovecot = Dovecot::start_with(&format!(
        "auth_policy_server_url = http://{}/\nauth_policy_hash_nonce = nonsense\nauth_policy_server_api_header = {header}\n",
        service.at
    ))
    .unwrap();
    // It logged in once to see that it is ready.
    service.until_report(true);
    for ((user, password, success), ours) in tries.into_iter().zip(ours) {
        let mut client = Client::connect(dovecot.imap()).unwrap();
        assert_eq!(client.login(&format!("{user}@example.org"), password).is_ok(), success);
        assert_eq!(ours, service.until_report(success), "{user} {password}");
    }
}
