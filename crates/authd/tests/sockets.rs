//! Both sockets as their peers meet them.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{FAR, Raw, Server, plain};
use culver_auth::AuthSettings;
use culver_auth_protocol::client::{Answer, Base64};
use culver_auth_protocol::{Fields, master};
use culver_authd::ask::{Client, Master, NoAnswer};
use culver_events::{Event, Recorded};
use culver_sasl::Mechanism;
use culver_sasl::scram::{self, Hash};
use std::time::{Duration, Instant};

const PATIENT: Duration = Duration::from_secs(20);
/// What the sockets promise.
const PROMISED: Duration = Duration::from_secs(5);

fn failed(recorded: &Recorded) -> Vec<(String, String)> {
    let told = recorded.take().into_iter();
    told.filter_map(|e| match e {
        Event::LoginFailed { attempt, .. } => Some((attempt.user, attempt.reason)),
        _ => None,
    })
    .collect()
}

/// The order of all versions before 2.4: Exim waits for it before it says a word.
#[test]
fn the_handshake_comes_unasked() {
    let server = Server::hasty();
    let mut raw = Raw::connect(&server.client());
    let mut lines = Vec::new();
    while lines.last().is_none_or(|last| last != "DONE") {
        lines.push(raw.line().unwrap());
    }
    assert_eq!(lines[0], "VERSION\t1\t2");
    let words: Vec<&str> = lines.iter().map(|l| l.split('\t').next().unwrap()).collect();
    let mechanisms = words.iter().filter(|w| **w == "MECH").count();
    assert_eq!(words[1..=mechanisms], vec!["MECH"; mechanisms]);
    assert_eq!(words[mechanisms + 1..], ["SPID", "CUID", "COOKIE", "DONE"]);
    assert!(lines.contains(&"MECH\tPLAIN\tplaintext".to_owned()));
    assert!(lines.contains(&"MECH\tLOGIN\tplaintext".to_owned()));
    // Nobody has the data of the channel here.
    assert!(!lines.iter().any(|l| l.contains("PLUS")), "{lines:?}");
    let cookie = lines.iter().find_map(|l| l.strip_prefix("COOKIE\t")).unwrap();
    assert!(cookie.len() == 32 && cookie.bytes().all(|b| b.is_ascii_hexdigit()));
    let mut master = Raw::connect(&server.master());
    assert_eq!(master.line().unwrap(), "VERSION\t1\t1");
    assert!(master.line().unwrap().starts_with("SPID\t"));
}

#[test]
fn who_is_let_in_and_under_which_name() {
    let server = Server::hasty();
    let mut raw = Raw::client(&server.client(), 2);
    let mut id = 0;
    let mut ask = |user: &str, password: &str, fields: &str| {
        id += 1;
        let answer = raw.ask(&format!("AUTH\t{id}\t{}", plain(user, password, fields))).unwrap();
        answer.replacen(&format!("\t{id}"), "", 1)
    };
    // The canonical name, whatever was typed.
    for typed in
        ["anna@example.org", "ANNA@Example.ORG", "anna#example.org", "anna@example.net", "Anna#Example.Net"]
    {
        let more =
            if typed == "anna@example.org" { String::new() } else { format!("\toriginal_user={typed}") };
        assert_eq!(ask(typed, "secret", FAR), format!("OK\tuser=anna@example.org{more}"));
    }
    assert_eq!(ask("anna@example.org", "guess", FAR), "FAIL\tuser=anna@example.org");
    assert_eq!(ask("nobody@example.org", "guess", FAR), "FAIL\tuser=nobody@example.org");
    assert_eq!(
        ask("anna", "secret", FAR),
        "FAIL\tuser=anna\treason=The domain is missing in the user name: log in with the whole address, user@domain"
    );
    // Switched off: only who knows the password hears why.
    assert_eq!(
        ask("gone@example.org", "secret", FAR),
        "FAIL\tuser=gone@example.org\tcode=user_disabled\treason=This account is disabled: Gone fishing"
    );
    assert_eq!(ask("gone@example.org", "guess", FAR), "FAIL\tuser=gone@example.org");
    assert_eq!(
        ask("mute@example.org", "secret", FAR),
        "FAIL\tuser=mute@example.org\tcode=user_disabled\treason=This account may not send mail: too much spam"
    );
    assert_eq!(ask("mute@example.org", "guess", FAR), "FAIL\tuser=mute@example.org");
    let near = ask("near@example.org", "secret", FAR);
    assert!(near.starts_with("FAIL\tuser=near@example.org\tcode=authz_fail\treason="), "{near}");
    assert_eq!(ask("near@example.org", "secret", "rip=10.1.2.3\tsecured"), "OK\tuser=near@example.org");
    // Without TLS, from elsewhere; and on the machine itself.
    let open = ask("anna@example.org", "secret", "rip=192.0.2.1\tlip=192.0.2.2");
    assert!(open.starts_with("FAIL\tuser=anna@example.org\treason=Logging in needs TLS here"), "{open}");
    assert_eq!(
        ask("anna@example.org", "secret", "rip=192.0.2.2\tlip=192.0.2.2"),
        "OK\tuser=anna@example.org"
    );
    assert_eq!(ask("anna@example.org", "secret", "rip=::1\tlip=::1"), "OK\tuser=anna@example.org");

    let told = server.recorded.take();
    let logins = told.iter().filter(|e| matches!(e, Event::Login { .. })).count();
    assert_eq!(logins, 8);
    let first = told.iter().find_map(Event::origin).unwrap();
    assert_eq!((first.service, first.remote.to_string().as_str()), ("smtp", "192.0.2.1:0"));
    let mute = told.iter().any(|e| {
        matches!(e, Event::LoginFailed { attempt, .. } if attempt.reason == "sending is switched off: too much spam")
    });
    assert!(mute, "{told:?}");

    // An account that may not send may do all else.
    let mut raw = Raw::client(&server.client(), 2);
    let imap = plain("mute@example.org", "secret", FAR).replace("service=smtp", "service=imap");
    assert_eq!(raw.ask(&format!("AUTH\t1\t{imap}")).unwrap(), "OK\t1\tuser=mute@example.org");
}

#[test]
fn exchanges_interleave_and_none_waits_for_another() {
    let server = Server::hasty();
    let mut raw = Raw::client(&server.client(), 2);
    assert_eq!(raw.ask("AUTH\t1\tLOGIN\tservice=smtp").unwrap(), "CONT\t1\tVXNlcm5hbWU6");
    assert_eq!(
        raw.ask("AUTH\t2\tLOGIN\tservice=smtp\tresp=YW5uYUBleGFtcGxlLm9yZw==").unwrap(),
        "CONT\t2\tUGFzc3dvcmQ6"
    );
    // One that the directory does not answer.
    raw.send(&format!("AUTH\t3\t{}", plain("slow@example.org", "x", FAR)));
    assert_eq!(raw.ask("CONT\t1\tYW5uYUBleGFtcGxlLm9yZw==").unwrap(), "CONT\t1\tUGFzc3dvcmQ6");
    assert_eq!(raw.ask("CONT\t2\tc2VjcmV0").unwrap(), "OK\t2\tuser=anna@example.org");
    assert_eq!(raw.ask("CONT\t1\tYmFk").unwrap(), "FAIL\t1\tuser=anna@example.org");
    // Ids are free again once answered or cancelled.
    raw.send("CANCEL\t3\nCANCEL\t99");
    assert_eq!(
        raw.ask(&format!("AUTH\t3\t{}", plain("anna@example.org", "secret", FAR))).unwrap(),
        "OK\t3\tuser=anna@example.org"
    );
    // An empty challenge asks for the first message.
    assert_eq!(raw.ask("AUTH\t4\tPLAIN\tservice=smtp").unwrap(), "CONT\t4\t");
    assert_eq!(raw.ask("CONT\t4\tAGFubmFAZXhhbXBsZS5vcmcAc2VjcmV0").unwrap(), "OK\t4\tuser=anna@example.org");
    assert_eq!(raw.ask("CONT\t9\tYQ==").unwrap(), "FAIL\t9\treason=Authentication request timed out");
    assert_eq!(
        raw.ask("AUTH\t5\tPLAIN\tservice=smtp\tresp=!!!").unwrap(),
        "FAIL\t5\tcode=invalid_base64\treason=Invalid base64 data in initial response"
    );
    raw.ask("AUTH\t6\tLOGIN\tservice=smtp").unwrap();
    assert_eq!(
        raw.ask("CONT\t6\t!!!").unwrap(),
        "FAIL\t6\tcode=invalid_base64\treason=Invalid base64 data in continued response"
    );
    // Too many.
    for n in 0..500 {
        raw.send(&format!("AUTH\t{}\tLOGIN\tservice=smtp", 1000 + n));
    }
    for _ in 0..500 {
        assert!(raw.line().unwrap().starts_with("CONT\t"));
    }
    let over = raw.ask("AUTH\t2000\tLOGIN\tservice=smtp").unwrap();
    assert_eq!(over, "FAIL\t2000\tcode=temp_fail\treason=More than 500 exchanges at once on one connection");
}

#[test]
fn scram_ends_with_the_servers_signature() {
    let server = Server::hasty();
    let mut always = Client::connect(&server.client(), PATIENT).unwrap();
    assert!(always.handshake.mechanisms.iter().any(|(name, _)| name == "PLAIN"));
    let settings = AuthSettings { mechanisms: Some(vec![Mechanism::ScramSha256]), ..AuthSettings::default() };
    let server = Server::start(settings);
    for (id, extra) in [(1, ""), (2, "\tfinal-resp-ok")] {
        always = Client::connect(&server.client(), PATIENT).unwrap();
        let client = scram::Client::new(Hash::Sha256, "anna@example.org", b"secret", "abcdef");
        let first = Base64::Octets(client.first().as_bytes().to_vec());
        always.send(&format!("AUTH\t{id}\tSCRAM-SHA-256\tservice=smtp\t{FAR}{extra}\tresp={first}")).unwrap();
        let Answer::Continue { data: Base64::Octets(challenge), .. } = always.answer().unwrap() else {
            panic!()
        };
        let (last, signature_wanted) = client.last(std::str::from_utf8(&challenge).unwrap()).unwrap();
        always.send(&format!("CONT\t{id}\t{}", Base64::Octets(last.into_bytes()))).unwrap();
        if extra.is_empty() {
            let Answer::Continue { data: Base64::Octets(signature), .. } = always.answer().unwrap() else {
                panic!()
            };
            assert_eq!(signature, signature_wanted.as_bytes());
            always.send(&format!("CONT\t{id}\t")).unwrap();
        }
        let Answer::Ok { fields, .. } = always.answer().unwrap() else { panic!() };
        assert_eq!(fields.get("user"), Some("anna@example.org"));
        assert_eq!(fields.has("resp"), !extra.is_empty());
    }
}

/// EXTERNAL works for clients that say whom a certificate names.
#[test]
fn a_certificate_is_proof_where_its_name_is_told() {
    let server = Server::hasty();
    let mut raw = Raw::client(&server.client(), 2);
    let external =
        |id: u32, fields: &str| format!("AUTH\t{id}\tEXTERNAL\tservice=imap\t{FAR}{fields}\tresp=");
    let named = "\tvalid-client-cert\tcert_username=Anna@example.org";
    assert_eq!(raw.ask(&external(1, named)).unwrap(), "OK\t1\tuser=anna@example.org");
    let none = raw.ask(&external(2, "\tcert_username=anna@example.org")).unwrap();
    assert!(none.starts_with("FAIL\t2\treason="), "{none}");
    assert_eq!(raw.ask(&external(3, "")).unwrap(), "FAIL\t3\treason=That mechanism is not offered here");
}

/// Postfix and Exim take FAIL for a wrong password, whatever its code; both take the connection's end for a temporary
/// failure.
#[test]
fn an_outage_is_no_wrong_password() {
    let server = Server::hasty();
    let broken = plain("broken@example.org", "secret", FAR);
    let mta = plain("broken@example.org", "secret", &format!("nologin\t{FAR}"));
    let mut raw = Raw::client(&server.client(), 2);
    assert_eq!(
        raw.ask(&format!("AUTH\t1\t{broken}")).unwrap(),
        "FAIL\t1\tuser=broken@example.org\tcode=temp_fail"
    );
    let mut raw = Raw::client(&server.client(), 1);
    assert_eq!(
        raw.ask(&format!("AUTH\t1\t{broken}")).unwrap(),
        "FAIL\t1\tuser=broken@example.org\tcode=temp_fail\ttemp"
    );
    assert_eq!(raw.ask(&format!("AUTH\t2\t{mta}")), None);
    // Others' exchanges on the connection are not thrown away.
    let mut raw = Raw::client(&server.client(), 1);
    raw.ask("AUTH\t1\tLOGIN\tservice=smtp").unwrap();
    assert_eq!(
        raw.ask(&format!("AUTH\t2\t{mta}")).unwrap(),
        "FAIL\t2\tuser=broken@example.org\tcode=temp_fail\ttemp"
    );
    raw.ask("CONT\t1\tYW5uYUBleGFtcGxlLm9yZw==").unwrap();
    assert_eq!(raw.ask("CONT\t1\tc2VjcmV0").unwrap(), "OK\t1\tuser=anna@example.org");
    let told = server.recorded.take();
    assert!(
        told.iter().any(|e| matches!(e, Event::Fault { what, .. } if what.contains("on fire"))),
        "{told:?}"
    );
}

#[test]
fn every_answer_comes_within_five_seconds() {
    let server =
        Server::start(AuthSettings { failure_delay: Duration::from_secs(12), ..AuthSettings::default() });
    let (client, master) = (server.client(), server.master());
    std::thread::scope(|scope| {
        let timed = |text: String, nologin: bool| {
            let client = client.clone();
            scope.spawn(move || {
                let mut raw = Raw::client(&client, 2);
                let begun = Instant::now();
                let fields = if nologin { format!("nologin\t{text}") } else { text };
                (raw.ask(&format!("AUTH\t1\t{fields}")), begun.elapsed())
            })
        };
        let counted = "rip=198.51.100.7\tsecured";
        let wrong = timed(plain("anna@example.org", "guess", counted), false);
        let unknown = timed(plain("nobody@example.org", "guess", FAR), false);
        let slow = timed(plain("slow@example.org", "secret", FAR), false);
        let mta = timed(plain("slow@example.org", "secret", &format!("nologin\t{FAR}")), false);
        let lookup = scope.spawn(move || {
            let mut raw = Raw::master(&master);
            let begun = Instant::now();
            (raw.ask("USER\t1\tslow@example.org\tservice=lmtp"), begun.elapsed())
        });
        for (what, asked, answer) in [
            ("wrong", wrong, Some("FAIL\t1\tuser=anna@example.org")),
            ("unknown", unknown, Some("FAIL\t1\tuser=nobody@example.org")),
            ("slow", slow, Some("FAIL\t1\tuser=slow@example.org\tcode=temp_fail")),
            ("mta", mta, None),
            ("look-up", lookup, Some("FAIL\t1")),
        ] {
            let (line, took) = asked.join().unwrap();
            assert_eq!(line.as_deref(), answer, "{what}");
            assert!(took < PROMISED && took > Duration::from_secs(3), "{what} took {took:?}");
        }
    });
}

/// Hanging up early hides no guess.
#[test]
fn a_guess_is_counted_when_its_client_has_gone() {
    let server = Server::hasty();
    let mut raw = Raw::client(&server.client(), 2);
    raw.send(&format!("AUTH\t1\t{}", plain("anna@example.org", "guess", FAR)));
    drop(raw);
    let until = Instant::now() + PATIENT;
    let told = loop {
        let told = failed(&server.recorded);
        if !told.is_empty() {
            break told;
        }
        assert!(Instant::now() < until, "the failure was not told");
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(told, [("anna@example.org".to_owned(), "password mismatch".to_owned())]);
}

/// As Dovecot does, with the reason in the log.
#[test]
fn what_breaks_the_protocol_ends_the_connection() {
    let server = Server::hasty();
    let ok = format!("AUTH\t1\t{}", plain("anna@example.org", "secret", FAR));
    let hello = "VERSION\t1\t2\nCPID\t1\n";
    let long = format!("{hello}AUTH\t1\tPLAIN\tservice=smtp\tresp={}", "A".repeat(17_000));
    for text in [
        ok.clone(),
        format!("CPID\t1\n{ok}"),
        format!("VERSION\t1\t2\n{ok}"),
        "VERSION\t2\t0".to_owned(),
        format!("{hello}CPID\t2"),
        format!("{hello}\n"),
        format!("{hello}FOO\t1"),
        format!("{hello}AUTH\t1\tNOSUCH\tservice=smtp"),
        format!("{hello}AUTH\t0\tPLAIN\tservice=smtp"),
        format!("{hello}AUTH\t1\tPLAIN"),
        long,
    ] {
        let mut raw = Raw::connect(&server.client());
        while raw.line().unwrap() != "DONE" {}
        raw.send(&text);
        assert_eq!(raw.line(), None, "{text:?}");
        let told = server.recorded.take();
        let closed = |e: &Event| matches!(e, Event::Message { text, .. } if text.starts_with("a client connection closed: "));
        assert!(told.iter().any(closed), "{text:?}: {told:?}");
    }
    let mut raw = Raw::client(&server.client(), 2);
    raw.ask("AUTH\t1\tLOGIN\tservice=smtp").unwrap();
    assert_eq!(raw.ask("AUTH\t1\tLOGIN\tservice=smtp"), None, "the id is in use");
    for text in [
        "USER\t1\tanna@example.org\tservice=x",
        "VERSION\t2\t0",
        "VERSION\t1\t1\nFOO\t1",
        "VERSION\t1\t1\nUSER\t1\ta@b",
    ] {
        let mut raw = Raw::connect(&server.master());
        for _ in 0..2 {
            raw.line().unwrap();
        }
        raw.send(text);
        assert_eq!(raw.line(), None, "{text:?}");
    }
}

#[test]
fn a_master_looks_accounts_up() {
    let server = Server::hasty();
    let mut raw = Raw::master(&server.master());
    let user = "USER\t1\tanna@example.org\tuid=4001\tgid=4001\thome=/srv/anna\tmail=maildir:/srv/anna/Mail\t\
                quota_rule=*:storage=100M";
    assert_eq!(raw.ask("USER\t1\tanna@example.org\tservice=lmtp").unwrap(), user);
    assert_eq!(raw.ask("USER\t1\tANNA#example.net\tservice=lmtp\trip=192.0.2.1").unwrap(), user);
    assert_eq!(raw.ask("USER\t2\tnobody@example.org\tservice=lmtp").unwrap(), "NOTFOUND\t2");
    assert_eq!(raw.ask("USER\t3\tanna\tservice=lmtp").unwrap(), "NOTFOUND\t3");
    assert_eq!(raw.ask("USER\t4\tbroken@example.org\tservice=lmtp").unwrap(), "FAIL\t4");
    assert_eq!(raw.ask("PASS\t5\tanna@example.org\tservice=imap").unwrap(), "PASS\t5\tuser=anna@example.org");
    assert_eq!(
        raw.ask("PASS\t6\tgone@example.org\tservice=imap").unwrap(),
        "PASS\t6\tuser=gone@example.org\tnologin\treason=Gone fishing"
    );
    assert_eq!(raw.ask("PASS\t7\tbroken@example.org\tservice=imap").unwrap(), "FAIL\t7");
    raw.send("LIST\t8\tservice=x");
    let mut listed = Vec::new();
    while listed.last().is_none_or(|l: &String| l.starts_with("LIST")) {
        listed.push(raw.line().unwrap());
    }
    let names = ["anna", "gone", "mute", "near"].map(|n| format!("LIST\t8\t{n}@example.org"));
    assert_eq!(listed[..4], names);
    assert_eq!(listed[4..], ["DONE\t8\t"]);
    assert_eq!(raw.ask("CACHE-FLUSH\t9").unwrap(), "OK\t9\t0");
    // One that is slow holds no other up.
    raw.send("USER\t10\tslow@example.org\tservice=lmtp");
    assert_eq!(raw.ask("USER\t1\tanna@example.org\tservice=lmtp").unwrap(), user);
}

#[test]
fn a_finished_exchange_is_told_once_to_the_master_who_has_its_cookie() {
    let server = Server::hasty();
    let mut client = Client::connect(&server.client(), PATIENT).unwrap();
    let fields = || Fields::parse(FAR);
    let answer = client.plain(7, "imap", "anna@example.org", b"secret", fields()).unwrap();
    assert!(matches!(answer, Answer::Ok { .. }), "{answer:?}");
    let mut master = Master::connect(&server.master(), PATIENT).unwrap();
    let mut finished = |exchange, cookie: &str| {
        let request = master::Request::Finished {
            id: 1,
            client: std::process::id(),
            exchange,
            cookie: cookie.to_owned(),
            fields: Fields::new(),
        };
        master.ask(&request).unwrap()
    };
    let cookie = client.handshake.cookie.clone();
    assert_eq!(finished(7, "0123456789abcdef0123456789abcdef"), master::Answer::Fail(1));
    let master::Answer::User { user, fields: told, .. } = finished(7, &cookie) else { panic!() };
    assert_eq!(
        (user.as_str(), told.get("home"), told.get("auth_mech")),
        ("anna@example.org", Some("/srv/anna"), Some("PLAIN"))
    );
    assert_eq!(finished(7, &cookie), master::Answer::Fail(1));
    // Nobody is to ask for those with `nologin`, nor when the client has gone.
    client.plain(8, "smtp", "anna@example.org", b"secret", fields().with_flag("nologin")).unwrap();
    assert_eq!(finished(8, &cookie), master::Answer::Fail(1));
    client.plain(9, "imap", "anna@example.org", b"secret", fields()).unwrap();
    // Each socket says what it is.
    assert!(matches!(Client::connect(&server.master(), Duration::from_secs(1)), Err(NoAnswer::Io(_))));
    let mut wrong = Master::connect(&server.client(), PATIENT).unwrap();
    assert!(matches!(wrong.answer(), Err(NoAnswer::Io(_))));
}
