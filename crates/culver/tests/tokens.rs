//! Logins with tokens, from outside the house: curl and imaplib by OAUTHBEARER and XOAUTH2, tokens signed by PyJWT, and a provider
//! that the test plays.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test says what it did not run, fails by panic, and makes its own files"
)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use culver_testkit::{Peer as _, Served};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

/// Debian's: its modules are not another one's.
const PYTHON: &str = "/usr/bin/python3";

const CULVER: &str = env!("CARGO_BIN_EXE_culver");

/// Answers by what stands in the token: `USER:good` is good, at `broken` it breaks, nothing else is good.
fn provider() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut text, mut octets) = (String::new(), [0; 4096]);
            while !text.contains("token_type_hint=access_token") {
                match stream.read(&mut octets) {
                    Ok(n) if n > 0 => text.push_str(&String::from_utf8_lossy(&octets[..n])),
                    _ => break,
                }
            }
            let token =
                text.split("\r\ntoken=").nth(1).and_then(|rest| rest.split('&').next()).unwrap_or_default();
            let (status, body) = match token.split_once("%3A") {
                Some((user, "good")) => (
                    "200 OK",
                    format!("{{\"active\":true,\"email\":\"{user}@example.org\",\"scope\":\"mail\"}}"),
                ),
                _ if token.contains("broken") => ("503 Service Unavailable", String::new()),
                _ => ("200 OK", "{\"active\":false}".to_owned()),
            };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    at
}

fn served() -> Option<(Served, HashMap<String, String>)> {
    let temp = tempfile::Builder::new().prefix("culver-").tempdir().unwrap();
    let root = temp.path().display().to_string();
    fs::create_dir(temp.path().join("state")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../directory/tests/tokens.py");
    let mut python = Command::new(PYTHON);
    if !python.args(["-c", "import jwt, cryptography"]).output().is_ok_and(|out| out.status.success()) {
        println!("not run: python3-jwt or python3-cryptography is missing");
        return None;
    }
    let out = Command::new(PYTHON).arg(script).arg(temp.path()).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let users = "anna@example.org:{PLAIN}pass:::::\nbert@example.org:{PLAIN}pass:::::\ncarl@example.org:::::::nologin reason=gone_fishing\n";
    fs::write(temp.path().join("users"), users).unwrap();
    let text = format!(
        "state_dir = \"{root}/state\"\nlog.file = \"{root}/log\"\nauth.failure_delay = \"0s\"\n\
         imap.listen = [\"127.0.0.1:0\"]\nimaps.listen = []\npop3.listen = [\"127.0.0.1:0\"]\npop3s.listen = []\nmail.roots = [\"{root}\"]\n\
         [[directory]]\nsource = \"oauth2\"\nname = \"signed\"\noauth2.keys = [\"{root}/jwks.json\"]\n\
         oauth2.issuers = [\"https://id.example.org/\"]\noauth2.audience = \"mail\"\n\
         [[directory]]\nsource = \"oauth2\"\nname = \"asked\"\noauth2.introspection_url = \"http://{}/\"\n\
         oauth2.scope = \"mail\"\noauth2.openid_configuration = \"https://id.example.org/.well-known/openid-configuration\"\n\
         [[directory]]\nsource = \"passwd-file\"\npath = \"{root}/users\"\nhome = \"{root}/mail/%n\"\n",
        provider()
    );
    let tokens = serde_json::from_slice(&out.stdout).unwrap();
    Some((Served::on(Path::new(CULVER), temp, &text).unwrap(), tokens))
}

/// One AUTHENTICATE with an initial response; the challenge that it is answered by, if any, and the end.
fn authenticate(server: &Served, mechanism: &str, message: &str) -> (Option<String>, String) {
    let mut stream = TcpStream::connect(server.imap()).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let greeting = lines.next().unwrap().unwrap();
    assert!(greeting.contains(&format!("AUTH={mechanism}")), "{greeting}");
    write!(stream, "a AUTHENTICATE {mechanism} {}\r\n", STANDARD.encode(message)).unwrap();
    let mut challenge = None;
    loop {
        let line = lines.next().unwrap().unwrap();
        if let Some(text) = line.strip_prefix("+ ") {
            challenge = Some(String::from_utf8(STANDARD.decode(text).unwrap()).unwrap());
            // RFC 7628 §3.2.3; XOAUTH2 wants an empty line.
            let answer = if mechanism == "OAUTHBEARER" { "AQ==" } else { "" };
            write!(stream, "{answer}\r\n").unwrap();
        } else if line.starts_with("a ") {
            return (challenge, line);
        }
    }
}

fn bearer(user: &str, token: &str) -> String {
    let user = if user.is_empty() { String::new() } else { format!("a={user}") };
    format!("n,{user},\x01host=localhost\x01auth=Bearer {token}\x01\x01")
}

#[test]
fn who_gets_in_with_which_token() {
    let Some((server, tokens)) = served() else { return };
    let signed = &tokens["RS256"];
    for (user, token) in [
        ("", &signed[..]),
        ("anna@example.org", signed),
        ("Anna#example.org", signed),
        ("anna@example.org", &tokens["ed"]),
        ("", "anna:good"),
        ("bert@example.org", "bert:good"),
    ] {
        let (challenge, end) = authenticate(&server, "OAUTHBEARER", &bearer(user, token));
        assert!(challenge.is_none() && end.starts_with("a OK"), "{user}: {end}\n{}", server.log());
    }
    assert!(server.log().contains("login of bert@example.org by OAUTHBEARER"), "{}", server.log());
    let (_, end) =
        authenticate(&server, "XOAUTH2", &format!("user=anna@example.org\x01auth=Bearer {signed}\x01\x01"));
    assert!(end.starts_with("a OK"), "{end}");

    // RFC 7628 §3.2.2: the client hears what it needs before it hears no.
    for (token, why) in [
        (&tokens["expired"][..], "signed: it ended"),
        (&tokens["none"], "algorithm \"none\""),
        (&tokens["public as secret"], "no key for HS256"),
        ("bad", "asked: the provider says that it is not active"),
    ] {
        let (challenge, end) = authenticate(&server, "OAUTHBEARER", &bearer("anna@example.org", token));
        let told: serde_json::Value = serde_json::from_str(&challenge.unwrap()).unwrap();
        let at = "https://id.example.org/.well-known/openid-configuration";
        let expected =
            serde_json::json!({"status": "invalid_token", "scope": "mail", "openid-configuration": at});
        assert_eq!(told, expected);
        assert!(end.starts_with("a NO [AUTHENTICATIONFAILED]"), "{end}");
        assert!(server.log().contains(why), "{}", server.log());
    }
    let (challenge, end) =
        authenticate(&server, "XOAUTH2", "user=anna@example.org\x01auth=Bearer bad\x01\x01");
    assert!(
        challenge.unwrap().contains("\"status\":\"401\"") && end.starts_with("a NO [AUTHENTICATIONFAILED]")
    );

    // Whose token it is decides; nobody is let in as somebody else.
    for token in [&signed[..], "anna:good"] {
        let (challenge, end) = authenticate(&server, "OAUTHBEARER", &bearer("bert@example.org", token));
        assert!(challenge.is_none() && end.starts_with("a NO [AUTHORIZATIONFAILED]"), "{challenge:?} {end}");
        let (_, end) = authenticate(
            &server,
            "XOAUTH2",
            &format!("user=bert@example.org\x01auth=Bearer {token}\x01\x01"),
        );
        assert!(end.starts_with("a NO [AUTHORIZATIONFAILED]"), "{end}");
    }
    // An account that the directory does not know, or does not let in.
    let (_, end) = authenticate(&server, "OAUTHBEARER", &bearer("", "nobody:good"));
    assert!(end.starts_with("a NO [AUTHENTICATIONFAILED]"), "{end}");
    let (_, end) = authenticate(&server, "OAUTHBEARER", &bearer("", "carl:good"));
    assert!(end.contains("gone fishing"), "{end}");
    // While the provider cannot be asked.
    let (_, end) = authenticate(&server, "OAUTHBEARER", &bearer("", "anna:broken"));
    assert!(end.starts_with("a NO [UNAVAILABLE]"), "{end}");
    assert!(server.log().contains("asked: it answers 503"), "{}", server.log());
    // The provider's keys are others now; the fence around the server lets it read the new file.
    let (rotated, jwks) = (server.dir().join("rotated.json"), server.dir().join("jwks.json"));
    let (_, end) = authenticate(&server, "OAUTHBEARER", &bearer("", &tokens["two"]));
    assert!(end.starts_with("a NO"), "{end}");
    fs::rename(rotated, jwks).unwrap();
    let (_, end) = authenticate(&server, "OAUTHBEARER", &bearer("", &tokens["two"]));
    assert!(end.starts_with("a OK"), "{end}\n{}", server.log());
}

/// By POP3 (RFC 5034 §4): the same tokens, the same refusals, and what RFC 3206 and RFC 2449 §8 call them.
#[test]
fn tokens_by_pop3() {
    let Some((server, tokens)) = served() else { return };
    let auth = |mechanism: &str, message: &str| {
        let mut stream = TcpStream::connect(server.pop3().unwrap()).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let mut line = || lines.next().unwrap().unwrap();
        assert!(line().starts_with("+OK"));
        write!(stream, "CAPA\r\n").unwrap();
        let mut sasl = String::new();
        loop {
            match line() {
                end if end == "." => break,
                one if one.starts_with("SASL ") => sasl = one,
                _ => {}
            }
        }
        assert!(sasl.split(' ').any(|name| name == mechanism), "{sasl}");
        write!(stream, "AUTH {mechanism} {}\r\n", STANDARD.encode(message)).unwrap();
        let mut answer = line();
        let challenge = answer.strip_prefix("+ ").map(|text| STANDARD.decode(text).unwrap());
        if challenge.is_some() {
            write!(stream, "{}\r\n", if mechanism == "OAUTHBEARER" { "AQ==" } else { "" }).unwrap();
            answer = line();
        }
        // The session goes on, in the state that the answer says.
        write!(stream, "STAT\r\n").unwrap();
        assert_eq!(line().starts_with("+OK"), answer.starts_with("+OK"));
        (challenge.map(|text| String::from_utf8(text).unwrap()), answer)
    };
    let xoauth2 = |user: &str, token: &str| format!("user={user}\x01auth=Bearer {token}\x01\x01");
    for (mechanism, message) in [
        ("OAUTHBEARER", bearer("anna@example.org", &tokens["RS256"])),
        ("OAUTHBEARER", bearer("", "bert:good")),
        ("XOAUTH2", xoauth2("anna@example.org", &tokens["RS256"])),
    ] {
        let (challenge, end) = auth(mechanism, &message);
        assert!(challenge.is_none() && end.starts_with("+OK"), "{mechanism}: {end}\n{}", server.log());
    }
    let (challenge, end) = auth("OAUTHBEARER", &bearer("anna@example.org", &tokens["expired"]));
    let challenge: serde_json::Value = serde_json::from_str(&challenge.unwrap()).unwrap();
    assert_eq!(challenge["status"], "invalid_token");
    assert!(end.starts_with("-ERR [AUTH]"), "{end}");
    let (challenge, end) = auth("XOAUTH2", &xoauth2("anna@example.org", "bad"));
    assert!(challenge.unwrap().contains("\"status\":\"401\"") && end.starts_with("-ERR [AUTH]"), "{end}");
    // As somebody else, and while the provider cannot be asked.
    let (_, end) = auth("OAUTHBEARER", &bearer("bert@example.org", "anna:good"));
    assert!(end.starts_with("-ERR [AUTH]"), "{end}");
    let (_, end) = auth("OAUTHBEARER", &bearer("", "anna:broken"));
    assert!(end.starts_with("-ERR [SYS/TEMP]"), "{end}");
}

#[test]
fn curl_and_imaplib_bring_tokens() {
    let Some((server, tokens)) = served() else { return };
    let token = &tokens["p256"];
    // Asked for XOAUTH2, curl takes OAUTHBEARER all the same where the server has both.
    for mechanism in ["OAUTHBEARER", "XOAUTH2"] {
        let curl = |token: &str| {
            let mut command = Command::new("curl");
            command.args(["-sS", "-u", "anna@example.org:", "--oauth2-bearer", token]);
            command.args(["--login-options", &format!("AUTH={mechanism}"), "-X", "NOOP"]);
            command.arg(format!("imap://{}/", server.imap())).output()
        };
        let Ok(good) = curl(token) else {
            println!("not run: curl is missing");
            return;
        };
        assert!(good.status.success(), "{mechanism}: {good:?}\n{}", server.log());
        assert!(server.log().contains("login of anna@example.org by OAUTHBEARER"), "{}", server.log());
        assert!(!curl("bad").unwrap().status.success(), "{mechanism}");
    }
    let program = "import imaplib, sys\nm = imaplib.IMAP4('127.0.0.1', int(sys.argv[1]))\n\
        answer = f'user=anna@example.org\\1auth=Bearer {sys.argv[2]}\\1\\1'.encode()\n\
        print(m.authenticate('XOAUTH2', lambda _: answer))\nprint(m.select())\n";
    let imaplib = |token: &str| {
        let mut python = Command::new(PYTHON);
        python.args(["-c", program, &server.imap().port().to_string(), token]).output().unwrap()
    };
    let good = imaplib(token);
    assert!(good.status.success(), "{good:?}");
    assert!(server.log().contains("login of anna@example.org by XOAUTH2"), "{}", server.log());
    let bad = imaplib("bad");
    assert!(
        !bad.status.success() && String::from_utf8_lossy(&bad.stderr).contains("AUTHENTICATIONFAILED"),
        "{bad:?}"
    );
}
