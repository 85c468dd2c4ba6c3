//! Forwarding to a submission server: Debian's Postfix, which takes mail from elsewhere in TLS and after a login only, and asks Culver's
//! auth socket about that.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and plays other programs on the file system"
)]

use culver_testkit::Served;
use culver_testkit::mta::{Postfix, Sink};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const EXE: &str = env!("CARGO_BIN_EXE_culver");

/// The answer to a message for this address, by LMTP.
fn deliver(at: SocketAddr, to: &str) -> String {
    let mut out = TcpStream::connect(at).unwrap();
    let mut lines = BufReader::new(out.try_clone().unwrap()).lines();
    let mut answer = || loop {
        let line = lines.next().unwrap().unwrap();
        if line.as_bytes().get(3) != Some(&b'-') {
            return line;
        }
    };
    answer();
    for command in
        ["LHLO test.example".to_owned(), "MAIL FROM:<b@example.net>".into(), format!("RCPT TO:<{to}>")]
    {
        write!(out, "{command}\r\n").unwrap();
        let said = answer();
        assert!(said.starts_with("250"), "{command}: {said}");
    }
    write!(out, "DATA\r\n").unwrap();
    answer();
    write!(out, "Subject: on its way\r\n\r\nx\r\n.\r\n").unwrap();
    answer()
}

/// A server that forwards out@example.org to the recipient, with these settings of `[deliver.forward]`.
fn forwarding(shared: &Path, forward: &str) -> Served {
    let _ = fs::remove_file(shared.join("auth"));
    let settings = format!(
        "lmtp.listen = [\"127.0.0.1:0\"]\nauth.require_tls = false\n[[auth_socket.client]]\npath = \"{}/auth\"\nmode = \"0666\"\n\
         [deliver.forward]\n{forward}\n[[directory]]\nsource = \"builtin\"",
        shared.display()
    );
    let server = Served::start(Path::new(EXE), &settings, None).unwrap();
    for line in [
        &["domain", "add", "example.org"][..],
        &["route", "add", "out@example.org", "--to", "boss@example.com"],
    ] {
        let out = Command::new(EXE).args(line).arg("--config").arg(server.dir().join("culver.toml")).output();
        let out = out.unwrap();
        assert!(out.status.success(), "{line:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
    server
}

#[test]
fn in_tls_and_with_a_login() {
    if let Some(why) = Postfix::missing() {
        println!("not run: forwarding to a submission server: {why}");
        return;
    }
    let shared = TempDir::new().unwrap();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let pair = culver_net::tls::self_signed(&["localhost"]).unwrap();
    let (certificate, key) = (shared.path().join("cert.pem"), shared.path().join("key.pem"));
    fs::write(&certificate, &pair.certificate).unwrap();
    fs::write(&key, &pair.key).unwrap();
    let other = culver_net::tls::self_signed(&["localhost"]).unwrap();
    fs::write(shared.path().join("other.pem"), &other.certificate).unwrap();
    let sink = Sink::start().unwrap();
    let postfix = Postfix::start(
        &format!(
            "smtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\nsmtpd_tls_security_level = may\n\
             smtpd_tls_auth_only = yes\nsmtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = {}/auth\n\
             smtpd_relay_restrictions = permit_sasl_authenticated, reject\nrelayhost = [127.0.0.1]:{}\n",
            certificate.display(),
            key.display(),
            shared.path().display(),
            sink.address().port()
        ),
        "",
    )
    .unwrap();
    let port = postfix.smtp().port();
    let trusted = certificate.display().to_string();
    let stranger = shared.path().join("other.pem").display().to_string();
    let forward = |host: &str, tls: &str, ca: &str, password: &str| {
        let login = if password.is_empty() {
            String::new()
        } else {
            format!("user = \"u0001@example.test\"\npassword = \"{password}\"\n")
        };
        let text = format!("relay = \"{host}:{port}\"\ntls = \"{tls}\"\nca_file = \"{ca}\"\n{login}");
        let server = forwarding(shared.path(), &text);
        let said = deliver(server.address("lmtp").unwrap(), "out@example.org");
        (said, culver_testkit::Peer::log(&server))
    };
    let (said, log) = forward("localhost", "starttls", &trusted, "pass");
    assert!(said.starts_with("250"), "{said}\n{log}\n{}", postfix.log());
    assert!(sink.received("boss@example.com").unwrap().data.contains("Subject: on its way"));
    assert!(postfix.log().contains("sasl_username=u0001@example.test"), "{}", postfix.log());
    // What an administrator has to mend is tried again, and said in the log.
    for (host, tls, ca, password, why) in [
        ("localhost", "starttls", &trusted, "wrong", "the server does not let u0001@example.test in"),
        ("localhost", "starttls", &stranger, "pass", "TLS with localhost: "),
        ("127.0.0.1", "starttls", &trusted, "pass", "TLS with 127.0.0.1: "),
        // Without TLS Postfix offers no login at all.
        ("localhost", "off", &trusted, "pass", "offers neither AUTH PLAIN nor LOGIN"),
        ("localhost", "implicit", &trusted, "pass", "TLS with localhost: "),
    ] {
        let (said, log) = forward(host, tls, ca, password);
        assert!(said.starts_with("451 4.4.1"), "{tls} {password}: {said}\n{log}");
        assert!(log.contains(why), "{why}: {log}");
    }
    // And without a login it is Postfix that says no.
    let (said, log) = forward("localhost", "starttls", &trusted, "");
    assert!(said.starts_with("554 5.7.1"), "{said}\n{log}");
}
