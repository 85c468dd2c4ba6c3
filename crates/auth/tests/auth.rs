//! Logins from outside: what is let in, what is told, what is logged.

#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use culver_auth::scheme::{Make, make};
use culver_auth::{
    Auth, AuthSettings, BlockSettings, ChannelBinding, Delay, Denied, Exchange, Peer, Progress, Secured,
    sasl::Mechanism,
};
use culver_directory::builtin::{Builtin, NewUser};
use culver_directory::passwd_file::PasswdFile;
use culver_directory::{
    Account, Defaults, Directory, Layout, Login, MailLocation, Network, Outage, Secret, Source, Switch,
};
use culver_events::{Event, Events, Recorded};
use culver_sasl::scram::{Client, Hash};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

struct Table(Vec<Account>);

#[async_trait]
impl Source for Table {
    fn name(&self) -> &str {
        "table"
    }

    async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        match login.local() {
            "broken" => Err(Outage::new("table", "on fire")),
            _ => Ok(self.0.iter().find(|a| a.name == login.as_str()).cloned().map(Arc::new)),
        }
    }
}

fn account(name: &str, stored: &str) -> Account {
    let mail = MailLocation { root: "/m".into(), control: None, index: None, layout: Layout::Fs };
    Account { secret: Secret::Stored(stored.to_owned()), ..Account::new(format!("{name}@example.com"), mail) }
}

fn auth(delay: Duration) -> (Arc<Auth>, Recorded) {
    let (events, recorded) = Events::recorder();
    let scram = make(Make::ScramSha256, "secret").unwrap();
    let unpaid = Switch::Off { reason: "unpaid".to_owned(), since: None };
    let accounts = vec![
        account("anna", &scram),
        account("plain", "{PLAIN}secret"),
        account("weak", "{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69"),
        account("odd", "{NOSUCH}x"),
        Account { login: unpaid, ..account("gone", &scram) },
        Account {
            allowed_networks: vec![Network::parse("192.0.2.0/24").unwrap()],
            ..account("near", &scram)
        },
        Account { secret: Secret::None, ..account("none", "") },
        Account { secret: Secret::AnyPassword, ..account("any", "") },
    ];
    let directory = Arc::new(Directory::new(vec![Arc::new(Table(accounts))]));
    let settings = AuthSettings {
        failure_delay: delay,
        mechanisms: Some(vec![
            Mechanism::ScramSha256Plus,
            Mechanism::ScramSha256,
            Mechanism::Plain,
            Mechanism::Login,
        ]),
        // Delays alone are looked at here.
        blocks: BlockSettings { guesses: 0, network_guesses: 0, ..BlockSettings::default() },
        ..AuthSettings::default()
    };
    (Auth::new(directory, settings, events), recorded)
}

fn peer(secured: Secured) -> Peer {
    Peer {
        remote: "198.51.100.7:4000".parse().unwrap(),
        local: "198.51.100.1:993".parse().unwrap(),
        secured,
        service: "imap",
        session: "s1".to_owned(),
        certificate: None,
    }
}

#[tokio::test]
async fn passwords() {
    let (auth, recorded) = auth(Duration::ZERO);
    let peer = peer(Secured::Tls);
    let try_it = async |user: &str, password: &str| {
        auth.verify(user.as_bytes(), password.as_bytes(), &peer).await.map(|a| a.name.clone())
    };
    for user in
        ["anna@example.com", "ANNA#example.com", "plain@example.com", "weak@example.com", "any@example.com"]
    {
        assert_eq!(try_it(user, "secret").await.unwrap(), user.to_lowercase().replace('#', "@"));
        // The second time from the cache.
        assert!(try_it(user, "secret").await.is_ok());
    }
    let weak = recorded.take().into_iter().filter(|e| matches!(e, Event::WeakPassword { .. })).count();
    assert_eq!(weak, 1);
    for (user, password) in [
        ("anna@example.com", "Secret"),
        ("anna@example.com", ""),
        ("nobody@example.com", "secret"),
        ("none@example.com", "secret"),
        ("none@example.com", ""),
        ("gone@example.com", "wrong"),
        ("near@example.com", "wrong"),
    ] {
        assert_eq!(try_it(user, password).await, Err(Denied::Credentials), "{user}");
    }
    assert_eq!(
        try_it("gone@example.com", "secret").await,
        Err(Denied::Disabled { reason: "unpaid".to_owned() })
    );
    assert_eq!(try_it("near@example.com", "secret").await, Err(Denied::NotAllowedHere));
    assert_eq!(try_it("odd@example.com", "secret").await, Err(Denied::Temporary));
    assert_eq!(try_it("broken@example.com", "secret").await, Err(Denied::Temporary));
    let Err(Denied::Syntax(text)) = try_it("anna", "secret").await else { panic!() };
    assert!(text.contains("domain is missing"));
    let events = recorded.take();
    assert_eq!(events.iter().filter(|e| matches!(e, Event::LoginFailed { .. })).count(), 12);
    assert_eq!(events.iter().filter(|e| matches!(e, Event::Fault { .. })).count(), 2);
    let Some(Event::LoginFailed { attempt, from }) = events.last() else { panic!() };
    assert_eq!((attempt.user.as_str(), attempt.method.as_str(), attempt.attempts), ("anna", "PLAIN", 12));
    assert_eq!((from.service, from.remote), ("imap", peer.remote));
}

#[tokio::test]
async fn nothing_without_tls_but_on_loopback() {
    let (auth, _recorded) = auth(Duration::ZERO);
    assert!(auth.mechanisms(Secured::No).is_empty());
    let names = |secured| auth.mechanisms(secured).iter().map(|m| m.name()).collect::<Vec<_>>();
    assert_eq!(names(Secured::Loopback), ["SCRAM-SHA-256", "PLAIN", "LOGIN"]);
    assert_eq!(names(Secured::Tls), ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"]);
    let verdict = auth.verify(b"anna@example.com", b"secret", &peer(Secured::No)).await;
    assert_eq!(verdict.unwrap_err(), Denied::PrivacyRequired);
    assert!(auth.verify(b"anna@example.com", b"secret", &peer(Secured::Loopback)).await.is_ok());
}

#[tokio::test]
async fn scram_is_offered_when_it_serves_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.sqlite");
    let builtin = Arc::new(Builtin::open(&path, Defaults::default()).unwrap());
    let add = |name: &str, stored: &str| {
        let new = NewUser { password: Some(stored.to_owned()), ..NewUser::default() };
        builtin.add_user(name, &new).unwrap();
    };
    let names = |sources: Vec<Arc<dyn Source>>| {
        let auth =
            Auth::new(Arc::new(Directory::new(sources)), AuthSettings::default(), Events::recorder().0);
        auth.offered(&peer(Secured::Tls)).iter().map(|m| m.name()).collect::<Vec<_>>()
    };
    builtin.add_domain("example.com").unwrap();
    add("anna@example.com", &make(Make::ScramSha256, "secret").unwrap());
    add("bob@example.com", "{PLAIN}secret");
    let all = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"];
    assert_eq!(names(vec![builtin.clone()]), all);
    // A passwd-file cannot say so.
    let file = Arc::new(PasswdFile::new("/nowhere", Defaults::default()));
    assert_eq!(names(vec![builtin.clone(), file]), ["PLAIN", "LOGIN"]);
    add("carl@example.com", "$1$MgB9ROpV$pn1N7aSyf3gYUDW4ohmsD0");
    assert_eq!(names(vec![builtin.clone()]), ["PLAIN", "LOGIN"]);
}

#[tokio::test(start_paused = true)]
async fn failures_wait() {
    let (auth, recorded) = auth(Duration::from_secs(2));
    let peer = peer(Secured::Tls);
    let time = async |user: &str, password: &str| {
        let start = Instant::now();
        let verdict = auth.verify(user.as_bytes(), password.as_bytes(), &peer).await;
        (verdict.map(|a| a.name.clone()), start.elapsed().as_secs_f32().round())
    };
    // Whether it exists makes no difference, nor what its password is stored as.
    for (user, seconds) in [
        ("anna", 2.0),
        ("nobody", 2.0),
        ("plain", 2.0),
        ("weak", 4.0),
        ("none", 8.0),
        ("gone", 15.0),
        ("x", 15.0),
    ] {
        assert_eq!(time(&format!("{user}@example.com"), "wrong").await, (Err(Denied::Credentials), seconds));
    }
    // Who knows the password does not wait for others' failures, and neither do our own faults.
    assert_eq!(time("anna@example.com", "secret").await, (Ok("anna@example.com".to_owned()), 0.0));
    assert_eq!(time("broken@example.com", "secret").await, (Err(Denied::Temporary), 0.0));
    let events = recorded.take();
    assert!(
        events
            .iter()
            .any(|e| matches!(e, Event::LoginFailed { attempt, .. } if attempt.elapsed.as_secs() == 15))
    );
}

#[tokio::test(start_paused = true)]
async fn hanging_up_does_not_make_guessing_faster() {
    let (auth, _recorded) = auth(Duration::from_secs(2));
    let peer = peer(Secured::Tls);
    let mut looked_at = 0;
    for n in 0..200 {
        let password = format!("guess{n}");
        let verify = auth.verify(b"plain@example.com", password.as_bytes(), &peer);
        // The client waits for a moment and hangs up.
        match tokio::time::timeout(Duration::from_millis(1), verify).await {
            Err(_) => looked_at += 1,
            Ok(verdict) => {
                let Err(Denied::TooManyFailures { wait }) = verdict else { panic!() };
                assert!(wait <= Duration::from_secs(15));
            }
        }
    }
    assert_eq!(looked_at, 50);
    // Others are not concerned.
    let other = Peer { remote: "198.51.100.8:4000".parse().unwrap(), ..peer };
    assert!(auth.verify(b"plain@example.com", b"secret", &other).await.is_ok());
}

/// The rest of an exchange, given the answers.
async fn answer(mut exchange: Exchange, messages: &[&[u8]]) -> Progress {
    let mut last = None;
    for message in messages {
        last = Some(exchange.step(message).await);
    }
    last.unwrap()
}

fn name(progress: Progress) -> Result<String, Denied> {
    match progress {
        Progress::Done { account, .. } => Ok(account.name.clone()),
        Progress::Denied(denied) => Err(denied),
        Progress::Challenge(text) => panic!("challenge {text:?}"),
    }
}

#[tokio::test]
async fn plain_and_login() {
    let (auth, _recorded) = auth(Duration::ZERO);
    let start = |mechanism| auth.start(mechanism, &peer(Secured::Tls), None);
    let plain = async |text: &[u8]| name(answer(start(Mechanism::Plain), &[text]).await);
    assert_eq!(plain(b"\0anna@example.com\0secret").await.unwrap(), "anna@example.com");
    assert_eq!(plain(b"Anna@example.com\0anna@example.com\0secret").await.unwrap(), "anna@example.com");
    assert_eq!(plain(b"plain@example.com\0anna@example.com\0secret").await, Err(Denied::NotAllowedHere));
    assert_eq!(plain(b"\0anna@example.com\0wrong").await, Err(Denied::Credentials));
    assert!(matches!(plain(b"anna").await, Err(Denied::Syntax(_))));
    let mut exchange = start(Mechanism::Login);
    assert!(matches!(exchange.step(b"").await, Progress::Challenge(c) if c == b"Username:"));
    assert!(matches!(exchange.step(b"anna@example.com").await, Progress::Challenge(c) if c == b"Password:"));
    assert_eq!(name(exchange.step(b"secret").await).unwrap(), "anna@example.com");
    assert!(matches!(exchange.step(b"secret").await, Progress::Denied(_)));
    let early = answer(start(Mechanism::Login), &[b"anna@example.com", b"secret"]).await;
    assert_eq!(name(early).unwrap(), "anna@example.com");
}

async fn scram(
    auth: &Arc<Auth>,
    mechanism: Mechanism,
    client: Client,
    channel: Option<ChannelBinding>,
) -> Result<String, Denied> {
    let mut exchange = auth.start(mechanism, &peer(Secured::Tls), channel);
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

#[tokio::test]
async fn scram_with_and_without_a_channel() {
    let (auth, _recorded) = auth(Duration::ZERO);
    let client = |user: &str, password: &str| Client::new(Hash::Sha256, user, password.as_bytes(), "abc");
    let plus = Mechanism::ScramSha256Plus;
    let bare =
        async |user, password| scram(&auth, Mechanism::ScramSha256, client(user, password), None).await;
    assert_eq!(bare("Anna#example.com", "secret").await.unwrap(), "anna@example.com");
    assert_eq!(bare("plain@example.com", "secret").await.unwrap(), "plain@example.com");
    for user in
        ["anna@example.com", "nobody@example.com", "none@example.com", "weak@example.com", "gone@example.com"]
    {
        assert_eq!(bare(user, "wrong").await, Err(Denied::Credentials), "{user}");
    }
    // Stored as MD5: SCRAM cannot be done.
    assert_eq!(bare("weak@example.com", "secret").await, Err(Denied::Credentials));
    assert!(matches!(bare("gone@example.com", "secret").await, Err(Denied::Disabled { .. })));
    assert!(matches!(bare("anna", "secret").await, Err(Denied::Syntax(_))));
    assert_eq!(bare("broken@example.com", "secret").await, Err(Denied::Temporary));

    let channel = ChannelBinding { exporter: Some(b"exported".to_vec()), end_point: Some(b"hash".to_vec()) };
    for (kind, data) in [("tls-exporter", &b"exported"[..]), ("tls-server-end-point", b"hash")] {
        let bound = || client("anna@example.com", "secret").bound(kind, data);
        assert!(scram(&auth, plus, bound(), Some(channel.clone())).await.is_ok());
        assert!(matches!(scram(&auth, plus, bound(), None).await, Err(Denied::Syntax(_))));
        assert!(matches!(
            scram(&auth, Mechanism::ScramSha256, bound(), Some(channel.clone())).await,
            Err(Denied::Syntax(_))
        ));
    }
    let wrong = client("anna@example.com", "secret").bound("tls-exporter", b"another");
    assert_eq!(scram(&auth, plus, wrong, Some(channel.clone())).await, Err(Denied::Credentials));
    let none = client("anna@example.com", "secret");
    assert!(matches!(scram(&auth, plus, none, Some(channel.clone())).await, Err(Denied::Syntax(_))));
    // The client could bind, and thinks that we cannot: somebody hid it.
    let hidden = answer(
        auth.start(Mechanism::ScramSha256, &peer(Secured::Tls), Some(channel)),
        &[b"y,,n=anna@example.com,r=abc"],
    )
    .await;
    assert!(matches!(name(hidden), Err(Denied::Syntax(_))));
}

#[tokio::test]
async fn names_that_do_not_exist_have_a_salt_that_stays() {
    let (auth, _recorded) = auth(Duration::ZERO);
    let salt = async |user: &str| {
        let first = format!("n,,n={user}@example.com,r=abc");
        let mut exchange = auth.start(Mechanism::ScramSha256, &peer(Secured::Tls), None);
        let Progress::Challenge(text) = exchange.step(first.as_bytes()).await else { panic!() };
        String::from_utf8(text).unwrap().split(',').nth(1).unwrap().to_owned()
    };
    assert_eq!(salt("nobody").await, salt("nobody").await);
    assert_ne!(salt("nobody").await, salt("noone").await);
    assert_eq!(salt("nobody").await.len(), salt("anna").await.len());
}

/// Clients of the auth socket give up after ten seconds: the wait has an end, and who shares an address is not counted.
#[tokio::test(start_paused = true)]
async fn a_wait_can_have_an_end_and_need_not_be_counted() {
    let (auth, _) = auth(Duration::from_secs(2));
    let wrong = async |user: &str, delay: Delay| {
        let begun = Instant::now();
        let mut exchange = auth.start(Mechanism::Plain, &peer(Secured::Tls), None).delayed(delay);
        let progress = exchange.step(format!("\0{user}@example.com\0guess").as_bytes()).await;
        assert!(matches!(progress, Progress::Denied(Denied::Credentials)), "{progress:?}");
        begun.elapsed().as_secs()
    };
    let four = Duration::from_secs(4);
    for n in 0..5 {
        assert_eq!(wrong(&format!("a{n}"), Delay { at_most: four, counted: false }).await, 2);
    }
    let mut waits = Vec::new();
    for n in 0..6 {
        waits.push(wrong(&format!("b{n}"), Delay { at_most: four, counted: true }).await);
    }
    assert_eq!(waits, [2, 2, 2, 4, 4, 4]);
    // They were counted all the same.
    assert_eq!(wrong("c", Delay::default()).await, 15);
}

/// Behind an MTA no -PLUS mechanism is offered, so a client that could use one says rightly that it saw none.
#[tokio::test]
async fn who_cannot_be_offered_channel_binding_is_believed() {
    let (auth, _) = auth(Duration::ZERO);
    let mut exchange = auth.start(Mechanism::ScramSha256, &peer(Secured::Tls), None);
    let progress = exchange.step(b"y,,n=anna@example.com,r=abcdef").await;
    assert!(matches!(progress, Progress::Challenge(_)), "{progress:?}");
}
