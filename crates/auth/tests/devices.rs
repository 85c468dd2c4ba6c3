//! App passwords, passwords that are stored anew, and blocks: against the built-in directory.

#![allow(clippy::unwrap_used)]

use culver_auth::app_password::{generate, stored};
use culver_auth::scheme::{Make, Stored, make};
use culver_auth::{Auth, AuthSettings, BlockSettings, Denied, Peer, Progress, Secured, sasl::Mechanism};
use culver_directory::builtin::{Builtin, Master, NewUser};
use culver_directory::{Defaults, Directory, Proof, Source};
use culver_events::{Event, Events, Recorded};
use culver_sasl::scram::{Client, Hash};
use std::sync::Arc;
use std::time::Duration;

struct House {
    auth: Arc<Auth>,
    builtin: Arc<Builtin>,
    recorded: Recorded,
    _folder: tempfile::TempDir,
}

fn house(settings: AuthSettings, users: &[(&str, &str)]) -> House {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("directory.sqlite");
    let builtin = Arc::new(Builtin::open(&path, Defaults::default()).unwrap());
    builtin.add_domain("example.com").unwrap();
    for (user, password) in users {
        let password = Some((*password).to_owned()).filter(|p| !p.is_empty());
        builtin
            .add_user(&format!("{user}@example.com"), &NewUser { password, ..NewUser::default() })
            .unwrap();
    }
    let (events, recorded) = Events::recorder();
    let settings = AuthSettings { failure_delay: Duration::ZERO, ..settings };
    let auth = Auth::new(Arc::new(Directory::new(vec![builtin.clone()])), settings, events);
    House { auth, builtin, recorded, _folder: folder }
}

fn peer(service: &'static str, remote: &str) -> Peer {
    Peer {
        remote: format!("{remote}:4000").parse().unwrap(),
        local: "198.51.100.1:993".parse().unwrap(),
        secured: Secured::Tls,
        service,
        session: "s1".to_owned(),
        certificate: None,
    }
}

impl House {
    async fn verify(&self, user: &str, password: &str, peer: &Peer) -> Result<String, Denied> {
        let user = format!("{user}@example.com");
        self.auth.verify(user.as_bytes(), password.as_bytes(), peer).await.map(|a| a.name.clone())
    }

    async fn scram(&self, user: &str, password: &str) -> Result<String, Denied> {
        let client = Client::new(Hash::Sha256, &format!("{user}@example.com"), password.as_bytes(), "abc");
        let mut exchange = self.auth.start(Mechanism::ScramSha256, &peer("imap", "192.0.2.1"), None);
        let Progress::Challenge(first) = exchange.step(client.first().as_bytes()).await else { panic!() };
        let (last, expected) = client.last(std::str::from_utf8(&first).unwrap()).unwrap();
        match exchange.step(last.as_bytes()).await {
            Progress::Done { account, final_message } => {
                assert_eq!(final_message.as_deref(), Some(expected.as_bytes()));
                Ok(account.name.clone())
            }
            Progress::Denied(denied) => Err(denied),
            Progress::Challenge(_) => panic!(),
        }
    }

    /// Makes an app password as the command line does.
    fn device(&self, user: &str, device: &str, services: &[&str]) -> String {
        let name = format!("{user}@example.com");
        let own = self.builtin.user(&name).unwrap().password.map(|p| Stored::parse(&p).unwrap());
        let own = own.and_then(|s| s.scram(Hash::Sha256));
        let services = services.iter().map(|s| (*s).to_owned()).collect();
        let shown = generate().unwrap();
        self.builtin
            .add_app_password(&name, &stored(device, &shown, own.as_ref(), services, 7).unwrap())
            .unwrap();
        shown
    }
}

#[tokio::test]
async fn a_password_for_each_device() {
    let scram = make(Make::ScramSha256, "secret").unwrap();
    let house = house(AuthSettings::default(), &[("anna", &scram), ("bob", "{PLAIN}secret"), ("carl", "")]);
    let imap = peer("imap", "192.0.2.1");
    let phone = house.device("anna", "Phone", &[]);
    let tablet = house.device("anna", "Tablet", &["imap", "smtp"]);
    for (user, password) in
        [("anna", &phone), ("anna", &phone.replace('-', " ").to_uppercase()), ("anna", &tablet)]
    {
        assert_eq!(house.verify(user, password, &imap).await, Ok("anna@example.com".to_owned()));
    }
    assert!(house.verify("anna", "secret", &imap).await.is_ok(), "the account's own password stays");
    assert_eq!(house.verify("bob", &phone, &imap).await, Err(Denied::Credentials));
    assert_eq!(house.verify("anna", &generate().unwrap(), &imap).await, Err(Denied::Credentials));
    let pop3 = peer("pop3", "192.0.2.1");
    assert!(house.verify("anna", &phone, &pop3).await.is_ok());
    assert_eq!(house.verify("anna", &tablet, &pop3).await, Err(Denied::NotAllowedHere));
    // An account may have nothing else.
    let only = house.device("carl", "Phone", &[]);
    assert!(house.verify("carl", &only, &imap).await.is_ok());
    assert_eq!(house.verify("carl", "", &imap).await, Err(Denied::Credentials));

    // SCRAM stays offered, and proves any of them, typed either way.
    assert!(house.auth.mechanisms(Secured::Tls).contains(&Mechanism::ScramSha256));
    let bobs = house.device("bob", "Phone", &[]);
    for (user, password) in [
        ("anna", "secret"),
        ("anna", &phone),
        ("anna", &phone.replace('-', "")),
        ("anna", &tablet),
        ("bob", "secret"),
        ("bob", &bobs),
        ("carl", &only),
    ] {
        assert_eq!(house.scram(user, password).await, Ok(format!("{user}@example.com")), "{user} {password}");
    }
    assert_eq!(house.scram("anna", &only).await, Err(Denied::Credentials));
    // Proofs that are not kept of app passwords are offered no more.
    assert!(!house.builtin.serves(Proof::Clear) && house.builtin.serves(Proof::ScramSha256));
    // A new password of another salt: app passwords go on by PLAIN, SCRAM would not prove them and is offered no more.
    house.builtin.set_password("anna@example.com", Some(&make(Make::ScramSha256, "new").unwrap())).unwrap();
    assert!(!house.builtin.serves(Proof::ScramSha256));
    assert!(house.verify("anna", &phone, &imap).await.is_ok());

    house.builtin.remove_app_password("anna@example.com", "Phone").unwrap();
    assert_eq!(house.verify("anna", &phone, &imap).await, Err(Denied::Credentials));
    assert!(house.builtin.remove_app_password("anna@example.com", "Phone").is_err());
    house.builtin.remove_user("anna@example.com").unwrap();
    house.builtin.add_user("anna@example.com", &NewUser::default()).unwrap();
    assert!(house.builtin.list_app_passwords("anna@example.com").unwrap().is_empty());
}

#[tokio::test]
async fn the_last_use_is_written_beside_logins() {
    let house = house(AuthSettings::default(), &[("anna", "{PLAIN}secret")]);
    let phone = house.device("anna", "Phone", &[]);
    house.device("anna", "Tablet", &[]);
    let before = culver_events::clock::now().as_secs();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let writer = tokio::spawn(house.auth.clone().background(async move {
        let _ = stopped.await;
    }));
    assert!(house.verify("anna", &phone, &peer("imap", "192.0.2.9")).await.is_ok());
    // What still waits is written at the end.
    assert!(house.scram("anna", &phone).await.is_ok());
    drop(stop);
    writer.await.unwrap();
    let all = house.builtin.list_app_passwords("anna@example.com").unwrap();
    let used: Vec<_> =
        all.iter().map(|p| (p.device.as_str(), p.used.as_ref().map(|(_, a)| a.as_str()))).collect();
    assert_eq!(used, [("Phone", Some("192.0.2.9")), ("Tablet", None)]);
    assert!(all[0].used.as_ref().unwrap().0 >= i64::try_from(before).unwrap());
}

#[tokio::test]
async fn masters_of_the_built_in_directory() {
    let house = house(AuthSettings::default(), &[("anna", "{PLAIN}secret"), ("boss", "{PLAIN}master")]);
    let plain = async |message: &str| {
        let mut exchange = house.auth.start(Mechanism::Plain, &peer("imap", "192.0.2.1"), None);
        match exchange.step(message.as_bytes()).await {
            Progress::Done { account, .. } => Ok(account.name.clone()),
            Progress::Denied(denied) => Err(denied),
            Progress::Challenge(_) => panic!(),
        }
    };
    let message = "anna@example.com\0boss@example.com\0master";
    assert_eq!(plain(message).await, Err(Denied::NotAllowedHere));
    house.builtin.set_master("boss@example.com", Master::Yes).unwrap();
    assert!(house.builtin.is_master("boss@example.com").unwrap());
    assert_eq!(plain(message).await, Ok("anna@example.com".to_owned()));
    // The app password of a master's telephone opens the master's mail alone.
    let phone = house.device("boss", "Phone", &[]);
    assert_eq!(plain(&format!("\0boss@example.com\0{phone}")).await, Ok("boss@example.com".to_owned()));
    assert_eq!(
        plain(&format!("anna@example.com\0boss@example.com\0{phone}")).await,
        Err(Denied::NotAllowedHere)
    );
    house.builtin.set_master("boss@example.com", Master::No).unwrap();
    assert_eq!(plain(message).await, Err(Denied::NotAllowedHere));
}

#[tokio::test]
async fn weak_passwords_are_stored_anew_when_that_is_asked_for() {
    // MD5("secret"), by md5sum.
    let weak = "{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69";
    let users = [("anna", weak), ("bob", "{PLAIN}secret")];
    let imap = peer("imap", "192.0.2.1");
    let stays = house(AuthSettings::default(), &users);
    assert!(stays.verify("anna", "secret", &imap).await.is_ok());
    assert_eq!(stays.builtin.user("anna@example.com").unwrap().password.as_deref(), Some(weak));

    let house = house(AuthSettings { rehash: Some(Make::ScramSha256), ..AuthSettings::default() }, &users);
    assert_eq!(house.verify("anna", "wrong", &imap).await, Err(Denied::Credentials));
    assert_eq!(house.builtin.user("anna@example.com").unwrap().password.as_deref(), Some(weak));
    assert!(!house.auth.mechanisms(Secured::Tls).contains(&Mechanism::ScramSha256));
    assert!(house.verify("anna", "secret", &imap).await.is_ok());
    let now = house.builtin.user("anna@example.com").unwrap().password.unwrap();
    assert!(now.starts_with("{SCRAM-SHA-256}"), "{now}");
    assert!(house.auth.mechanisms(Secured::Tls).contains(&Mechanism::ScramSha256));
    assert!(house.scram("anna", "secret").await.is_ok());
    assert!(house.verify("bob", "secret", &imap).await.is_ok());
    let events = house.recorded.take();
    let told = events.iter().filter(|e| matches!(e, Event::PasswordRehashed { .. })).count();
    assert_eq!((told, events.iter().any(|e| matches!(e, Event::WeakPassword { .. }))), (1, false));
}

#[tokio::test]
async fn who_guesses_too_much_is_blocked() {
    let blocks = BlockSettings { guesses: 3, network_guesses: 6, ..BlockSettings::default() };
    let house = house(
        AuthSettings { blocks, ..AuthSettings::default() },
        &[("anna", "{PLAIN}secret"), ("bob", "{PLAIN}secret")],
    );
    let (home, away) = (peer("imap", "192.0.2.1"), peer("imap", "192.0.2.2"));
    // A telephone with an old password does no harm.
    for _ in 0..20 {
        assert_eq!(house.verify("anna", "old", &home).await, Err(Denied::Credentials));
    }
    assert!(house.verify("anna", "secret", &home).await.is_ok());
    for guess in ["one", "two", "three"] {
        assert_eq!(house.verify("anna", guess, &home).await, Err(Denied::Credentials));
    }
    // Now nothing is looked at, whatever the mechanism; the text states the limit.
    let denied = house.verify("anna", "secret", &home).await.unwrap_err();
    assert!(matches!(denied, Denied::Blocked { guesses: 3, .. }), "{denied:?}");
    let text = denied.text();
    assert!(
        text.starts_with("3 different passwords were tried") && text.ends_with("in 15 minutes"),
        "{text}"
    );
    let mut exchange = house.auth.start(Mechanism::ScramSha256, &home, None);
    let first = exchange.step(b"n,,n=anna@example.com,r=abc").await;
    assert!(matches!(first, Progress::Denied(Denied::Blocked { .. })));
    // Others there, and she elsewhere, are not concerned.
    assert!(house.verify("bob", "secret", &home).await.is_ok());
    assert!(house.verify("anna", "secret", &away).await.is_ok());
    let blocked = house.auth.memory().blocked();
    assert_eq!(blocked.len(), 1);
    assert_eq!(blocked[0].account.as_deref(), Some("anna@example.com"));
    // Then it is the network's turn: guesses for names that do not exist count as well.
    for user in ["x", "y"] {
        assert_eq!(house.verify(user, "one", &home).await, Err(Denied::Credentials));
    }
    assert!(matches!(house.verify("bob", "secret", &home).await, Err(Denied::Blocked { guesses: 6, .. })));
    assert!(house.verify("bob", "secret", &away).await.is_ok());
    let told: Vec<_> = house
        .recorded
        .take()
        .into_iter()
        .filter_map(|e| match e {
            Event::Blocked { account, guesses, .. } => Some((account, guesses)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(Some("anna@example.com".to_owned()), 3), (None, 6)]);
    // Lifted, they are looked at again.
    let lifted = house.auth.memory().lift(|network, _| network == home.remote.ip());
    assert_eq!(lifted.len(), 2);
    assert!(house.verify("anna", "secret", &home).await.is_ok());
}

#[tokio::test]
async fn places_for_sessions_are_counted_and_the_limit_is_stated() {
    let house = house(AuthSettings::default(), &[]);
    let (imap, pop3) = (peer("imap", "192.0.2.1"), peer("pop3", "192.0.2.1"));
    let seats: Vec<_> = (0..5).map(|_| house.auth.seat("anna@example.com", &imap, 5).unwrap()).collect();
    let Err(denied) = house.auth.seat("anna@example.com", &imap, 5) else { panic!() };
    assert_eq!(denied, Denied::TooManySessions { most: 5 });
    assert!(denied.text().contains("5 sessions from your network"));
    assert!(house.auth.seat("anna@example.com", &pop3, 5).is_ok());
    let warned: Vec<_> = house.recorded.take();
    assert!(matches!(&warned[..], [Event::SessionsNearLimit { open: 4, limit: 5, .. }]), "{warned:?}");
    drop(seats);
    assert!(house.auth.seat("anna@example.com", &imap, 5).is_ok());
}
