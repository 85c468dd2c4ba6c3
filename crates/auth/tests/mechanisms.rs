//! Every mechanism, from the client's side, against accounts of all kinds; master users; tokens; certificates.

#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use culver_auth::{
    Auth, AuthSettings, Backends, ChannelBinding, Denied, MASTERS, Memory, Peer, Progress, Secured,
    sasl::Mechanism,
};
use culver_directory::passwd_file::PasswdFile;
use culver_directory::{Defaults, Directory, NotGood, Outage, Source, TokenClaims, TokenVerifier};
use culver_events::{Event, Events, Recorded};
use culver_sasl::oauth::Bearer;
use culver_sasl::scram::{Client, Hash};
use culver_sasl::{apop, cram_md5, digest_md5};
use std::sync::Arc;
use std::time::Duration;

/// What `doveadm pw -u anna@example.com -p secret` (2.3.19) makes, for the schemes that serve a mechanism.
const USERS: &str = "\
plain@example.com:{PLAIN}secret::::::
cram@example.com:{CRAM-MD5}CRAM::::::
digest@example.com:{DIGEST-MD5}DIGEST::::::
sha1@example.com:{SCRAM-SHA-1}4096,+8ljJkT2LBpnCEC+NATczA==,OWCtpBcxOVtuxQRWirLlpUM1FR0=,x0v40D+sd8jvhl8nEsNon7pvTQI=::::::
sha256@example.com:{SCRAM-SHA-256}4096,tlG9zmEPgrlbmIq5f1P2bA==,IvnBESAwOjwegjN1w01saf8shGiocY+69PKmEk4+CKQ=,y6kxzmFd4H6AEbK86VFrjl+7ht9RGYuusqh5g//tze0=::::::
off@example.com:{PLAIN}secret::::::nologin=yes reason=left_us
shared@example.com:{PLAIN}secret::::::login_user=plain@example.com
lost@example.com:{PLAIN}secret::::::login_user=nobody@example.com
quick@example.com:{PLAIN}secret::::::nodelay
late@example.com:{PLAIN}secret::::::delay_until=1
never@example.com:{PLAIN}secret::::::delay_until=99999999999
guest@example.com:::::::
";

struct Tokens;

#[async_trait]
impl TokenVerifier for Tokens {
    async fn verify(&self, token: &str) -> Result<Result<TokenClaims, NotGood>, Outage> {
        match token {
            "down" => Err(Outage::new("tokens", "unreachable")),
            "bad" => Ok(Err(NotGood("it is bad".to_owned()))),
            user => Ok(Ok(TokenClaims { user: format!("{user}@example.com"), ..TokenClaims::default() })),
        }
    }

    fn scope(&self) -> Option<&str> {
        Some("mail")
    }
}

struct House {
    auth: Arc<Auth>,
    recorded: Recorded,
    _folder: tempfile::TempDir,
}

fn house(settings: AuthSettings) -> House {
    let folder = tempfile::tempdir().unwrap();
    let stored = |user: &str| {
        // RFC 2831 §2.1.2.1 and RFC 2104 §2, by the functions that the RFCs' examples test.
        let digest = hex::encode(digest_md5::hash(user, "example.com", b"secret"));
        let states = hex::encode(culver_sasl::hmac_md5::States::of(b"secret").to_bytes());
        (digest, states)
    };
    let (digest, states) = stored("digest");
    let users = USERS.replace("CRAM::", &format!("{states}::")).replace("DIGEST::", &format!("{digest}::"));
    std::fs::write(folder.path().join("users"), users).unwrap();
    std::fs::write(folder.path().join("masters"), "root:{PLAIN}master\nm@example.com:{PLAIN}master\n")
        .unwrap();
    let file = |name: &str| PasswdFile::new(folder.path().join(name).to_string_lossy(), Defaults::default());
    let (events, recorded) = Events::recorder();
    let masters: Arc<dyn Source> = Arc::new(file("masters").bare_names_in(MASTERS));
    let backends = Backends {
        directory: Arc::new(Directory::new(vec![Arc::new(file("users"))])),
        masters: Some(masters),
        tokens: Some(Arc::new(Tokens)),
        policy: None,
    };
    let settings = AuthSettings { failure_delay: Duration::ZERO, ..settings };
    let auth = Auth::build(backends, settings, events, Memory::new());
    House { auth, recorded, _folder: folder }
}

fn all() -> AuthSettings {
    AuthSettings {
        mechanisms: Some(Mechanism::ALL.to_vec()),
        master_separator: Some('*'),
        anonymous: Some("guest@example.com".to_owned()),
        ..AuthSettings::default()
    }
}

fn peer() -> Peer {
    Peer {
        remote: "198.51.100.7:4000".parse().unwrap(),
        local: "198.51.100.1:993".parse().unwrap(),
        secured: Secured::Tls,
        service: "imap",
        session: "s1".to_owned(),
        certificate: None,
    }
}

type Verdict = Result<String, Denied>;

fn name(progress: Progress) -> Verdict {
    match progress {
        Progress::Done { account, .. } => Ok(account.name.clone()),
        Progress::Denied(denied) => Err(denied),
        Progress::Challenge(text) => panic!("challenge {:?}", String::from_utf8_lossy(&text)),
    }
}

fn text(progress: Progress) -> String {
    let Progress::Challenge(challenge) = progress else { panic!("{progress:?}") };
    String::from_utf8(challenge).unwrap()
}

impl House {
    async fn once(&self, mechanism: Mechanism, message: &[u8]) -> Progress {
        self.auth.start(mechanism, &peer(), None).step(message).await
    }

    async fn cram(&self, user: &str, password: &str) -> Verdict {
        let mut exchange = self.auth.start(Mechanism::CramMd5, &peer(), None);
        let challenge = text(exchange.step(b"").await);
        name(
            exchange.step(cram_md5::answer(user, password.as_bytes(), challenge.as_bytes()).as_bytes()).await,
        )
    }

    async fn digest(&self, user: &str, realm: &str, password: &str) -> Verdict {
        let mut exchange = self.auth.start(Mechanism::DigestMd5, &peer(), None);
        let challenge = text(exchange.step(b"").await);
        let (answer, proof) =
            digest_md5::answer(user, realm, password.as_bytes(), challenge.as_bytes(), "cn", "imap/x")
                .unwrap();
        let progress = exchange.step(answer.as_bytes()).await;
        if let Progress::Done { final_message, .. } = &progress {
            assert_eq!(final_message.as_deref(), Some(proof.as_bytes()));
        }
        name(progress)
    }

    async fn scram(&self, mechanism: Mechanism, user: &str, password: &str) -> Verdict {
        let hash = mechanism.scram().unwrap();
        let client = Client::new(hash, user, password.as_bytes(), "abc");
        let exporter = mechanism.binds_channel().then(|| b"exported".to_vec());
        let client = if exporter.is_some() { client.bound("tls-exporter", b"exported") } else { client };
        let channel = ChannelBinding { exporter, end_point: None };
        let mut exchange = self.auth.start(mechanism, &peer(), Some(channel));
        let first = match exchange.step(client.first().as_bytes()).await {
            Progress::Challenge(first) => String::from_utf8(first).unwrap(),
            other => return name(other),
        };
        let (last, expected) = client.last(&first).unwrap();
        let progress = exchange.step(last.as_bytes()).await;
        if let Progress::Done { final_message, .. } = &progress {
            assert_eq!(final_message.as_deref(), Some(expected.as_bytes()));
        }
        name(progress)
    }
}

#[tokio::test]
async fn challenges_of_md5() {
    let house = house(all());
    let good = |user: &str| Ok(format!("{user}@example.com"));
    assert_eq!(house.cram("plain@example.com", "secret").await, good("plain"));
    assert_eq!(house.cram("CRAM#example.com", "secret").await, good("cram"));
    for user in ["plain", "cram", "sha256", "nobody"] {
        assert_eq!(
            house.cram(&format!("{user}@example.com"), "wrong").await,
            Err(Denied::Credentials),
            "{user}"
        );
    }
    assert_eq!(house.cram("sha256@example.com", "secret").await, Err(Denied::Credentials));
    assert_eq!(
        house.cram("off@example.com", "secret").await,
        Err(Denied::Disabled { reason: "left us".to_owned() })
    );

    assert_eq!(house.digest("plain@example.com", "", "secret").await, good("plain"));
    assert_eq!(house.digest("plain@example.com", "mail.example.com", "secret").await, good("plain"));
    assert_eq!(house.digest("plain", "example.com", "secret").await, good("plain"));
    assert_eq!(house.digest("digest", "example.com", "secret").await, good("digest"));
    // A stored hash is of the two parts, so the client has to send them so.
    assert_eq!(house.digest("digest@example.com", "", "secret").await, Err(Denied::Credentials));
    for user in ["plain", "digest", "cram", "nobody"] {
        assert_eq!(house.digest(user, "example.com", "wrong").await, Err(Denied::Credentials), "{user}");
    }
    // An answer to another challenge is worth nothing.
    let mut exchange = house.auth.start(Mechanism::DigestMd5, &peer(), None);
    text(exchange.step(b"").await);
    let old = digest_md5::challenge("old");
    let (answer, _) =
        digest_md5::answer("plain@example.com", "", b"secret", old.as_bytes(), "c", "imap/x").unwrap();
    assert_eq!(name(exchange.step(answer.as_bytes()).await), Err(Denied::Credentials));
    for mechanism in [Mechanism::CramMd5, Mechanism::DigestMd5] {
        assert!(matches!(name(house.once(mechanism, b"early").await), Err(Denied::Syntax(_))));
        let mut exchange = house.auth.start(mechanism, &peer(), None);
        let (one, two) = (text(exchange.step(b"").await), text(house.once(mechanism, b"").await));
        assert_ne!(one, two, "a challenge came twice");
        assert!(matches!(name(exchange.step(b"nonsense").await), Err(Denied::Syntax(_))));
    }
}

#[tokio::test]
async fn scram_of_both_hashes() {
    let house = house(all());
    use Mechanism::{ScramSha1, ScramSha1Plus, ScramSha256, ScramSha256Plus};
    for (mechanism, user) in [
        (ScramSha1, "sha1"),
        (ScramSha1Plus, "sha1"),
        (ScramSha256, "sha256"),
        (ScramSha256Plus, "sha256"),
        (ScramSha1, "plain"),
        (ScramSha256Plus, "plain"),
    ] {
        let user = format!("{user}@example.com");
        assert_eq!(house.scram(mechanism, &user, "secret").await, Ok(user.clone()), "{mechanism:?}");
        assert_eq!(house.scram(mechanism, &user, "wrong").await, Err(Denied::Credentials));
    }
    // Stored for the other hash, and not there at all: alike.
    for user in ["sha256", "cram", "nobody"] {
        let user = format!("{user}@example.com");
        assert_eq!(house.scram(ScramSha1, &user, "secret").await, Err(Denied::Credentials));
    }
    // What binds must be offered for the same hash, or `y` would be taken for an attack.
    assert_eq!(Hash::Sha1, ScramSha1Plus.scram().unwrap());
}

#[tokio::test]
async fn apop_needs_the_clear_password() {
    let house = house(all());
    let timestamp = "<1896.697170952@dbc.mtview.ca.us>";
    let apop = async |user: &str, password: &str| {
        let digest = apop::digest(timestamp, password.as_bytes());
        let done = house.auth.apop(user.as_bytes(), timestamp, digest.as_bytes(), &peer()).await;
        done.map(|a| a.name.clone())
    };
    assert_eq!(apop("Plain#example.com", "secret").await, Ok("plain@example.com".to_owned()));
    for (user, password) in [("plain", "wrong"), ("cram", "secret"), ("nobody", "secret")] {
        assert_eq!(apop(&format!("{user}@example.com"), password).await, Err(Denied::Credentials));
    }
    assert!(matches!(apop("off@example.com", "secret").await, Err(Denied::Disabled { .. })));
    assert!(matches!(apop("plain", "secret").await, Err(Denied::Syntax(_))));
}

#[tokio::test]
async fn tokens() {
    let house = house(all());
    let bearer =
        |user: Option<&str>, token: &str| Bearer { user: user.map(str::to_owned), token: token.to_owned() };
    for mechanism in [Mechanism::OAuthBearer, Mechanism::XOAuth2] {
        let message = |user, token| {
            let bearer = bearer(user, token);
            if mechanism == Mechanism::XOAuth2 { bearer.to_xoauth2() } else { bearer.to_text() }
        };
        for user in [None, Some("sha1@example.com"), Some("SHA1#example.com")] {
            let done = house.once(mechanism, message(user, "sha1").as_bytes()).await;
            assert_eq!(name(done), Ok("sha1@example.com".to_owned()));
        }
        // A token opens nobody else's mail.
        let other = house.once(mechanism, message(Some("plain@example.com"), "sha1").as_bytes()).await;
        assert_eq!(name(other), Err(Denied::NotAllowedHere));
        let off = house.once(mechanism, message(None, "off").as_bytes()).await;
        assert!(matches!(name(off), Err(Denied::Disabled { .. })));
        assert_eq!(
            name(house.once(mechanism, message(None, "down").as_bytes()).await),
            Err(Denied::Temporary)
        );
        assert!(matches!(name(house.once(mechanism, b"nonsense").await), Err(Denied::Syntax(_))));
        for token in ["bad", "", "nobody"] {
            // RFC 7628 §3.2.2 and §3.2.3: the error first, the end after the client's answer.
            let mut exchange = house.auth.start(mechanism, &peer(), None);
            let error = text(exchange.step(message(Some("a@example.com"), token).as_bytes()).await);
            let expected = if mechanism == Mechanism::XOAuth2 {
                r#"{"status":"401","schemes":"bearer","scope":"mail"}"#
            } else {
                r#"{"status":"invalid_token","scope":"mail"}"#
            };
            assert_eq!(error, expected);
            assert_eq!(name(exchange.step(b"\x01").await), Err(Denied::Credentials));
        }
    }
    let failed: Vec<_> =
        house.recorded.take().into_iter().filter(|e| matches!(e, Event::LoginFailed { .. })).collect();
    assert_eq!(failed.len(), 2 * 7);
}

#[tokio::test]
async fn certificates() {
    let house = house(all());
    let external = async |certificate: Option<&str>, authorize: &str| {
        let peer = Peer { certificate: certificate.map(str::to_owned), ..peer() };
        let mut exchange = house.auth.start(Mechanism::External, &peer, None);
        name(exchange.step(authorize.as_bytes()).await)
    };
    let sha1 = Ok("sha1@example.com".to_owned());
    assert_eq!(external(Some("sha1@example.com"), "").await, sha1);
    assert_eq!(external(Some("sha1@example.com"), "Sha1@example.com").await, sha1);
    assert_eq!(external(Some("sha1@example.com"), "plain@example.com").await, Err(Denied::NotAllowedHere));
    assert_eq!(external(Some("nobody@example.com"), "").await, Err(Denied::Credentials));
    assert!(matches!(external(None, "sha1@example.com").await, Err(Denied::Syntax(_))));
    assert!(matches!(external(Some("off@example.com"), "").await, Err(Denied::Disabled { .. })));
    // It is offered to those who have one.
    assert!(!house.auth.offered(&peer()).contains(&Mechanism::External));
    let with = Peer { certificate: Some("x".to_owned()), ..peer() };
    assert!(house.auth.offered(&with).contains(&Mechanism::External));
}

#[tokio::test]
async fn anonymous() {
    let house = house(all());
    assert_eq!(name(house.once(Mechanism::Anonymous, b"sirhc").await), Ok("guest@example.com".to_owned()));
    let without = self::house(AuthSettings { anonymous: None, ..all() });
    assert!(!without.auth.mechanisms(Secured::Tls).contains(&Mechanism::Anonymous));
    assert!(matches!(name(without.once(Mechanism::Anonymous, b"sirhc").await), Err(Denied::Syntax(_))));
}

#[tokio::test]
async fn masters() {
    let house = house(all());
    let plain = async |message: &str| name(house.once(Mechanism::Plain, message.as_bytes()).await);
    let sha1 = || Ok("sha1@example.com".to_owned());
    for message in [
        "\0sha1@example.com*root\0master",
        "\0Sha1#example.com*m@example.com\0master",
        "sha1@example.com\0root\0master",
        "sha1@example.com\0m@example.com\0master",
    ] {
        assert_eq!(plain(message).await, sha1(), "{message}");
    }
    // A disabled account is open to masters; one that does not exist to nobody.
    assert_eq!(plain("off@example.com\0root\0master").await, Ok("off@example.com".to_owned()));
    assert_eq!(plain("nobody@example.com\0root\0master").await, Err(Denied::NotAllowedHere));
    assert_eq!(plain("sha1@example.com\0root\0wrong").await, Err(Denied::Credentials));
    assert_eq!(plain("\0sha1@example.com*root\0secret").await, Err(Denied::Credentials));
    // Who is no master is nobody else; and a master has no mail of its own.
    assert_eq!(plain("sha1@example.com\0plain@example.com\0secret").await, Err(Denied::NotAllowedHere));
    assert_eq!(plain("\0sha1@example.com*plain@example.com\0secret").await, Err(Denied::NotAllowedHere));
    assert_eq!(plain("\0m@example.com\0master").await, Err(Denied::Credentials));
    // Other mechanisms carry masters too.
    assert_eq!(house.cram("sha1@example.com*root", "master").await, sha1());
    assert_eq!(house.scram(Mechanism::ScramSha256, "sha1@example.com*root", "master").await, sha1());
    assert_eq!(house.digest("sha1@example.com*root", "", "master").await, sha1());
    let both: Vec<_> = house
        .recorded
        .take()
        .into_iter()
        .filter_map(|e| match e {
            Event::LoginAs { account, by, .. } => Some((account, by)),
            _ => None,
        })
        .collect();
    assert_eq!(both.len(), 8);
    assert_eq!(both[0], ("sha1@example.com".to_owned(), "root".to_owned()));
    assert_eq!(both[1], ("sha1@example.com".to_owned(), "m@example.com".to_owned()));
    // Without the setting an asterisk is a letter.
    let plainly = self::house(AuthSettings { master_separator: None, ..all() });
    let done = plainly.once(Mechanism::Plain, b"\0sha1@example.com*root\0master").await;
    assert!(name(done).is_err());
}

#[tokio::test(start_paused = true)]
async fn extra_fields() {
    let house = house(all());
    let verify = async |user: &str, password: &str| {
        let user = format!("{user}@example.com");
        house.auth.verify(user.as_bytes(), password.as_bytes(), &peer()).await.map(|a| a.name.clone())
    };
    assert_eq!(verify("shared", "secret").await, Ok("plain@example.com".to_owned()));
    assert_eq!(verify("lost", "secret").await, Err(Denied::NotAllowedHere));
    assert_eq!(verify("late", "secret").await, Ok("late@example.com".to_owned()));
    assert_eq!(verify("never", "secret").await, Err(Denied::Temporary));
    let slow = AuthSettings { failure_delay: Duration::from_secs(2), ..all() };
    let (events, _recorded) = Events::recorder();
    let auth = Auth::build(house.auth.backends().clone(), slow, events, Memory::new());
    for (user, seconds) in [("quick@example.com", 0), ("plain@example.com", 2)] {
        let begun = tokio::time::Instant::now();
        assert!(auth.verify(user.as_bytes(), b"wrong", &peer()).await.is_err());
        assert_eq!(begun.elapsed().as_secs(), seconds, "{user}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_guessed_from_everywhere_makes_guesses_slow() {
    let house = house(all());
    let (events, _recorded) = Events::recorder();
    let slow = AuthSettings { failure_delay: Duration::from_secs(2), ..all() };
    let auth = Auth::build(house.auth.backends().clone(), slow, events, Memory::new());
    let mut waits = Vec::new();
    for network in 0..6 {
        let peer = Peer { remote: format!("192.0.2.{network}:1").parse().unwrap(), ..peer() };
        let begun = tokio::time::Instant::now();
        assert!(auth.verify(b"sha1@example.com", b"wrong", &peer).await.is_err());
        waits.push(begun.elapsed().as_secs());
    }
    // Time passes while they wait, but not so much that failures are forgiven.
    assert_eq!(waits, [2, 2, 2, 4, 8, 15]);
    // The owner does not wait, and is forgiven.
    let begun = tokio::time::Instant::now();
    assert!(auth.verify(b"sha1@example.com", b"secret", &peer()).await.is_ok());
    assert_eq!(begun.elapsed().as_secs(), 0);
    let begun = tokio::time::Instant::now();
    assert!(auth.verify(b"sha1@example.com", b"wrong", &peer()).await.is_err());
    assert_eq!(begun.elapsed().as_secs(), 2);
}

#[tokio::test]
async fn what_is_offered_without_a_setting() {
    let house = house(AuthSettings::default());
    let names = |auth: &Auth| auth.mechanisms(Secured::Tls).iter().map(|m| m.name()).collect::<Vec<_>>();
    // A passwd-file cannot tell how all its passwords are stored.
    assert_eq!(names(&house.auth), ["EXTERNAL", "OAUTHBEARER", "XOAUTH2", "PLAIN", "LOGIN"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.sqlite");
    let builtin = Arc::new(culver_directory::builtin::Builtin::open(&path, Defaults::default()).unwrap());
    builtin.add_domain("example.com").unwrap();
    let add = |user: &str, stored: &str| {
        let password = Some(stored.to_owned());
        let new = culver_directory::builtin::NewUser { password, ..Default::default() };
        builtin.add_user(&format!("{user}@example.com"), &new).unwrap();
    };
    let auth = Auth::new(
        Arc::new(Directory::new(vec![builtin.clone()])),
        AuthSettings::default(),
        Events::recorder().0,
    );
    add("a", "{PLAIN}secret");
    assert!(auth.serves_apop());
    assert_eq!(
        names(&auth),
        [
            "SCRAM-SHA-256-PLUS",
            "SCRAM-SHA-256",
            "SCRAM-SHA-1-PLUS",
            "SCRAM-SHA-1",
            "EXTERNAL",
            "CRAM-MD5",
            "PLAIN",
            "LOGIN"
        ]
    );
    add("b", "{SCRAM-SHA-1}4096,x,y,z");
    assert!(!auth.serves_apop());
    assert_eq!(names(&auth), ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "EXTERNAL", "PLAIN", "LOGIN"]);
    add("c", "{CRAM-MD5}x");
    assert_eq!(names(&auth), ["EXTERNAL", "PLAIN", "LOGIN"]);
}
