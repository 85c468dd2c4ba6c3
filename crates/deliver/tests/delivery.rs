//! The delivery on a Maildir: answers, what lies on disk, and what is handed to the MTA.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panic and looks at files"
)]

use async_trait::async_trait;
use culver_base::MailboxName;
use culver_deliver::answer::OverQuota;
use culver_deliver::{
    Deliver, DeliveredTo, Envelope, Forwarder, Incoming, Message, Method, Missing, NoQuota, Notice, Quota,
    Recipient, Request, Settings, StoreShelf, Verdict, srs::Srs,
};
use culver_directory::{
    Account, Action, Directory, Layout, Login, MailLocation, Outage, Route, Source, Switch,
};
use culver_events::{Event, Events};
use culver_lmtp::{Address, Body, Reply, ReversePath};
use culver_maildir::{MaildirSettings, MaildirStore, StoreSettings};
use culver_store::Octets;
use culver_store::io::{Io, IoSettings};
use futures_util::StreamExt as _;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

/// Accounts and routes of `example.org`.
#[derive(Default)]
struct People {
    accounts: BTreeMap<String, Arc<Account>>,
    routes: BTreeMap<String, Action>,
    down: bool,
}

#[async_trait]
impl Source for People {
    fn name(&self) -> &str {
        "people"
    }
    async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        if self.down {
            return Err(Outage::new("people", "on strike"));
        }
        Ok(self.accounts.get(login.as_str()).cloned())
    }
    async fn route(&self, address: &Login) -> Result<Option<Route>, Outage> {
        let action = self.routes.get(address.as_str()).cloned();
        Ok(action.map(|action| Route { address: address.as_str().into(), action, enabled: Switch::On }))
    }
    async fn has_domain(&self, domain: &str) -> Result<bool, Outage> {
        Ok(domain == "example.org")
    }
}

/// Says of mailboxes what the test wants.
#[derive(Default)]
struct Judge(Mutex<BTreeMap<String, Verdict>>);

#[async_trait]
impl Quota for Judge {
    async fn admit(&self, account: &Account, _: &MailboxName, _: u64) -> culver_store::Result<Verdict> {
        Ok(self.0.lock().unwrap().get(&account.name).cloned().unwrap_or(Verdict::Fits))
    }
    async fn stored(&self, _: &Account) {}
}

struct House {
    temp: TempDir,
    io: Arc<Io>,
    deliver: Deliver,
    recorded: culver_events::Recorded,
}

impl House {
    fn new(people: People, quota: Arc<dyn Quota>, change: impl FnOnce(&mut Deliver)) -> Self {
        let temp = TempDir::new().unwrap();
        let mut people = people;
        for name in ["anna", "bob", "carl"] {
            let name = format!("{name}@example.org");
            let mail = MailLocation {
                root: temp.path().join("mail").join(&name),
                control: None,
                index: None,
                layout: Layout::MaildirPlusPlus,
            };
            people.accounts.insert(name.clone(), Arc::new(Account::new(name, mail)));
        }
        let io = Arc::new(Io::new(IoSettings { threads: 3, ..IoSettings::default() }).unwrap());
        let shared = Arc::new(MaildirSettings::new("test.example"));
        let store = MaildirStore::new(io.clone(), StoreSettings::new(temp.path().join("state"), shared));
        let (events, recorded) = Events::recorder();
        let mut deliver = Deliver {
            directory: Arc::new(Directory::new(vec![Arc::new(people)])),
            shelf: Arc::new(StoreShelf(Arc::new(store))),
            quota,
            forwarder: Forwarder {
                method: Method::Off,
                srs: None,
                hops: 100,
                patience: Duration::from_secs(10),
                host: "mail.example.org".into(),
            },
            events,
            io: io.clone(),
            settings: Settings {
                host: "mail.example.org".into(),
                detail_mailbox: false,
                missing: Missing::Refuse,
                delivered_to: DeliveredTo::Single,
                over_quota: OverQuota::Defer,
                parallel: 4,
            },
        };
        change(&mut deliver);
        Self { temp, io, deliver, recorded }
    }

    fn plain() -> Self {
        Self::new(People::default(), Arc::new(NoQuota), |_| ())
    }

    async fn recipient(&self, address: &str) -> Result<Recipient, Reply> {
        let request = Request { size: 10, mailbox: None, now: Duration::from_secs(1_700_000_000) };
        self.deliver.recipient(&Address::parse(address).unwrap(), request).await
    }

    async fn send(&self, message: &Message, to: &[&str]) -> Vec<Reply> {
        let mut recipients = Vec::new();
        for address in to {
            recipients.push(self.recipient(address).await.unwrap());
        }
        self.deliver.deliver(&envelope("sender@example.com"), message, &recipients).collect().await
    }

    fn files(&self, account: &str, mailbox: &str) -> Vec<PathBuf> {
        files(&self.temp.path().join("mail").join(format!("{account}@example.org")).join(mailbox).join("new"))
    }

    fn delivered(&self) -> Vec<String> {
        let told = self.recorded.take();
        told.iter()
            .filter_map(|e| match e {
                Event::Delivered { delivery, mailbox } => Some(format!("{} {mailbox}", delivery.account)),
                Event::Forwarded { delivery, to } => Some(format!("{} > {to}", delivery.account)),
                Event::DeliveryFailed { delivery, why } => Some(format!("{} ! {why}", delivery.account)),
                _ => None,
            })
            .collect()
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn envelope(sender: &str) -> Envelope {
    Envelope {
        service: "lmtp",
        session: "session".into(),
        sender: Address::parse(sender).map_or(ReversePath::Null, ReversePath::Address),
        body: Body::EightBitMime,
        utf8: false,
        helo: Some("mx.example.com".into()),
        peer: None,
        tls: false,
        at: Duration::from_secs(1_700_000_000),
    }
}

fn message(text: &str) -> Message {
    Message::in_memory(text.to_owned().into())
}

fn codes(replies: &[Reply]) -> Vec<u16> {
    replies.iter().map(|r| r.code).collect()
}

#[tokio::test]
async fn a_message_to_many_is_one_file() {
    let house = House::plain();
    let to = ["anna@example.org", "bob@example.org", "carl@example.org", "bob@example.org"];
    let replies = house.send(&message("Subject: x\r\n\r\nbody\r\n"), &to).await;
    assert_eq!(codes(&replies), [250; 4]);
    let all: Vec<PathBuf> = ["anna", "bob", "carl"].iter().flat_map(|a| house.files(a, "")).collect();
    assert_eq!(all.len(), 4);
    let stats: Vec<_> = all.iter().map(|f| std::fs::metadata(f).unwrap()).collect();
    assert!(stats.iter().all(|s| s.ino() == stats[0].ino()), "{all:?}");
    let text = std::fs::read_to_string(&all[0]).unwrap();
    assert!(text.starts_with("Return-Path: <sender@example.com>\nReceived: from mx.example.com\n"), "{text}");
    assert!(text.ends_with("Subject: x\n\nbody\n"));
    let size = format!(",S={}", text.len());
    assert!(all.iter().all(|f| f.to_string_lossy().contains(&size)));
    // The master goes with the delivery.
    let tmp = house.temp.path().join("mail/anna@example.org/tmp");
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while !files(&tmp).is_empty() && std::time::Instant::now() < end {
        tokio::task::yield_now().await;
    }
    assert_eq!(files(&tmp), Vec::<PathBuf>::new());
    assert!(stats[0].nlink() >= 4);
}

#[tokio::test]
async fn a_message_that_does_not_fit_into_memory_is_the_same() {
    let house = House::plain();
    let mut incoming = Incoming::new(house.io.clone(), house.temp.path().join("state/spool"), 1, None);
    let head = b"Subject: long\r\nMessage-ID: <1@x>\r\n\r\n";
    incoming.push(head).await;
    let line = [b'x'; 998];
    for _ in 0..300 {
        incoming.push(&line).await;
        incoming.push(b"\r\n").await;
    }
    let message = incoming.finish().await.unwrap();
    assert!(matches!(message.octets, Octets::File { .. }));
    assert_eq!(message.id().as_deref(), Some("<1@x>"));
    assert_eq!(files(&house.temp.path().join("state/spool")), Vec::<PathBuf>::new(), "it has no name");
    let replies = house.send(&message, &["anna@example.org", "bob@example.org"]).await;
    assert_eq!(codes(&replies), [250; 2]);
    let (anna, bob) = (house.files("anna", ""), house.files("bob", ""));
    let text = std::fs::read_to_string(&anna[0]).unwrap();
    assert_eq!(text.lines().filter(|l| l.as_bytes() == line).count(), 300);
    assert_eq!(std::fs::metadata(&anna[0]).unwrap().ino(), std::fs::metadata(&bob[0]).unwrap().ino());
}

#[tokio::test]
async fn limits_are_kept_and_the_rest_is_swallowed() {
    let house = House::plain();
    let mut incoming = Incoming::new(house.io.clone(), house.temp.path().join("spool"), 10, Some(100));
    for _ in 0..50 {
        incoming.push(&[b'x'; 100_000]).await;
    }
    let refused = incoming.finish().await.err().unwrap();
    assert_eq!((refused.code, refused.enhanced.unwrap().to_string().as_str()), (552, "5.3.4"));
}

#[tokio::test]
async fn delivered_to_as_it_is_set() {
    let both = ["anna@example.org", "anna+x@example.org"];
    for (setting, expected) in
        [(DeliveredTo::Single, [0, 0]), (DeliveredTo::Always, [1, 1]), (DeliveredTo::Never, [0, 0])]
    {
        let house = House::new(People::default(), Arc::new(NoQuota), |d| d.settings.delivered_to = setting);
        house.send(&message("\r\n"), &both).await;
        let texts: Vec<String> =
            house.files("anna", "").iter().map(|f| std::fs::read_to_string(f).unwrap()).collect();
        let found: Vec<usize> = texts.iter().map(|t| t.matches("\nDelivered-To: anna").count()).collect();
        assert_eq!(found, expected, "{setting:?}");
        house.send(&message("\r\n"), &["bob@example.org"]).await;
        let text = std::fs::read_to_string(&house.files("bob", "")[0]).unwrap();
        assert_eq!(text.contains("\nDelivered-To: bob@example.org\n"), setting != DeliveredTo::Never);
    }
}

#[tokio::test]
async fn details_lead_to_mailboxes_where_that_is_wished() {
    for (missing, folder) in
        [(Missing::Refuse, ""), (Missing::Create, ".lists"), (Missing::Subscribe, ".lists")]
    {
        let house = House::new(People::default(), Arc::new(NoQuota), |d| {
            d.settings.detail_mailbox = true;
            d.settings.missing = missing;
        });
        assert_eq!(codes(&house.send(&message("\r\n"), &["anna+lists@example.org"]).await), [250]);
        assert_eq!(house.files("anna", folder).len(), 1, "{missing:?}");
        let list = house.temp.path().join("mail/anna@example.org/subscriptions");
        assert_eq!(
            std::fs::read_to_string(list).is_ok_and(|l| l.contains("lists")),
            missing == Missing::Subscribe
        );
        // What can be no mailbox is no mailbox.
        assert_eq!(codes(&house.send(&message("\r\n"), &["anna+*@example.org"]).await), [250]);
        assert_eq!(house.files("anna", "").len(), if folder.is_empty() { 2 } else { 1 });
    }
}

#[tokio::test]
async fn who_is_not_there_and_who_cannot_be_asked() {
    let house = House::plain();
    let code = |r: Result<Recipient, Reply>| r.err().map(|r| (r.code, r.enhanced.unwrap().to_string()));
    assert_eq!(code(house.recipient("nobody@example.org").await), Some((550, "5.1.1".into())));
    assert_eq!(code(house.recipient("anna").await), Some((550, "5.1.1".into())));
    assert_eq!(code(house.recipient("anna@[192.0.2.1]").await), Some((550, "5.1.1".into())));
    let house = House::new(People { down: true, ..People::default() }, Arc::new(NoQuota), |_| ());
    assert_eq!(code(house.recipient("anna@example.org").await), Some((451, "4.4.3".into())));
}

#[tokio::test]
async fn quota_answers() {
    let judge = Arc::new(Judge::default());
    let set = |name: &str, verdict| judge.0.lock().unwrap().insert(format!("{name}@example.org"), verdict);
    set("anna", Verdict::Over { text: "full".into() });
    set("bob", Verdict::Disabled { reason: "over quota since May".into() });
    set("carl", Verdict::TooBig { limit: 5 });
    let house = House::new(People::default(), judge.clone(), |_| ());
    let reply = |house: &House, who: &str| {
        let reply = futures_util::FutureExt::now_or_never(house.recipient(who));
        reply.unwrap().err().map(|r| r.to_string())
    };
    assert_eq!(reply(&house, "anna@example.org").unwrap(), "452 4.2.2 full");
    assert_eq!(reply(&house, "bob@example.org").unwrap(), "550 5.2.1 over quota since May");
    assert!(reply(&house, "carl@example.org").unwrap().starts_with("552 5.2.3 "));
    let strict = House::new(People::default(), judge.clone(), |d| d.settings.over_quota = OverQuota::Reject);
    assert_eq!(reply(&strict, "anna@example.org").unwrap(), "552 5.2.2 full");
    // It is looked at again when the message is there.
    judge.0.lock().unwrap().clear();
    let recipients = [
        house.recipient("anna@example.org").await.unwrap(),
        house.recipient("bob@example.org").await.unwrap(),
    ];
    judge.0.lock().unwrap().insert("anna@example.org".into(), Verdict::Over { text: "full".into() });
    let replies: Vec<Reply> =
        house.deliver.deliver(&envelope("a@b.example"), &message("\r\n"), &recipients).collect().await;
    assert_eq!(codes(&replies), [452, 250]);
    assert_eq!(house.files("anna", "").len(), 0);
    // A notice comes all the same.
    let account = Account::clone(
        &house.deliver.directory.find(&Login::parse(b"anna@example.org").unwrap()).await.unwrap().unwrap(),
    );
    let notice = Notice { subject: "Your mailbox is full".into(), text: "Delete something.".into() };
    house.deliver.notice(&account, &notice, Duration::from_secs(1)).await.unwrap();
    let text = std::fs::read_to_string(&house.files("anna", "")[0]).unwrap();
    assert!(
        text.contains("\nSubject: Your mailbox is full\n")
            && text.contains("\nAuto-Submitted: auto-generated\n")
    );
}

#[tokio::test]
async fn a_target_that_cannot_have_it_is_told_and_the_others_have_it_once() {
    let judge = Arc::new(Judge::default());
    let mut people = People::default();
    let all = ["anna@example.org", "bob@example.org"].map(str::to_owned).to_vec();
    people.routes.insert("all@example.org".into(), Action::Deliver(all));
    people.routes.insert("no@example.org".into(), Action::Reject("Go away".into()));
    let house = House::new(people, judge.clone(), |_| ());
    assert_eq!(house.recipient("no@example.org").await.err().unwrap().to_string(), "550 5.7.1 Go away");
    assert_eq!(codes(&house.send(&message("\r\n"), &["all@example.org"]).await), [250]);
    assert_eq!(house.files("anna", "").len() + house.files("bob", "").len(), 2);
    // For good: the other one has it, the sender hears of it.
    judge.0.lock().unwrap().insert("bob@example.org".into(), Verdict::Disabled { reason: "gone".into() });
    assert_eq!(house.send(&message("\r\n"), &["all@example.org"]).await[0].to_string(), "550 5.2.1 gone");
    assert_eq!(house.files("anna", "").len(), 2);
    // For now: nobody has it, so that it comes once when it is tried again.
    judge.0.lock().unwrap().insert("bob@example.org".into(), Verdict::Over { text: "full".into() });
    assert_eq!(house.send(&message("\r\n"), &["all@example.org"]).await[0].to_string(), "452 4.2.2 full");
    assert_eq!(house.files("anna", "").len(), 2);
    let told = house.delivered();
    assert_eq!(told.len(), 5, "{told:?}");
    assert!(told[4].starts_with("bob@example.org ! 452 4.2.2"), "{told:?}");
}

/// An MTA that takes one message and says what it was told.
async fn mta(
    answers: &'static [(&'static str, &'static str)],
) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let heard = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 mta.example ESMTP\r\n").await.unwrap();
        let (mut heard, mut data) = (Vec::new(), false);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap() == 0 {
                return heard;
            }
            let line = line.strip_suffix("\r\n").unwrap().to_owned();
            heard.push(line.clone());
            let verb = if data { "." } else { line.split(' ').next().unwrap() };
            if data && line != "." {
                continue;
            }
            let own = answers.iter().find(|(v, _)| *v == verb).map(|(_, answer)| *answer);
            let answer = own.unwrap_or(match verb {
                "EHLO" => "250-mta.example\r\n250-SIZE\r\n250 8BITMIME",
                "DATA" => "354 go on",
                "." => "250 2.0.0 queued as 1",
                _ => "250 OK",
            });
            data = verb == "DATA" && answer.starts_with("354");
            stream.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
        }
    });
    (at, heard)
}

fn forwarding() -> People {
    let mut people = People::default();
    let to = |list: &[&str]| Action::Deliver(list.iter().map(|a| (*a).to_owned()).collect());
    people.routes.insert("away@example.org".into(), to(&["dora@elsewhere.example"]));
    people.routes.insert("anna@example.org".into(), to(&["anna@example.org", "dora@elsewhere.example"]));
    people
}

#[tokio::test]
async fn forwards_go_to_the_mta() {
    let (at, heard) = mta(&[]).await;
    let house = House::new(forwarding(), Arc::new(NoQuota), |d| d.forwarder.method = Method::Smtp(at.into()));
    let replies = house.send(&message("Subject: x\r\n\r\n.dot\r\nend"), &["away@example.org"]).await;
    assert_eq!(codes(&replies), [250]);
    let heard = heard.await.unwrap();
    assert_eq!(heard[0], "EHLO mail.example.org");
    assert!(heard[1].starts_with("MAIL FROM:<sender@example.com> SIZE="), "{heard:?}");
    assert!(heard[1].ends_with(" BODY=8BITMIME"));
    assert_eq!(heard[2], "RCPT TO:<dora@elsewhere.example>");
    assert_eq!(heard[4], "Delivered-To: away@example.org");
    assert!(heard[5].starts_with("Received: from mx.example.com"));
    assert_eq!(heard[heard.len() - 6..], ["Subject: x", "", "..dot", "end", ".", "QUIT"]);
    assert_eq!(house.delivered(), ["away@example.org > dora@elsewhere.example"]);
}

#[tokio::test]
async fn a_copy_stays_and_senders_are_rewritten() {
    let (at, heard) = mta(&[]).await;
    let house = House::new(forwarding(), Arc::new(NoQuota), |d| {
        d.forwarder.method = Method::Smtp(at.into());
        d.forwarder.srs = Some(Srs::new("secret", "srs.example.org"));
    });
    assert_eq!(codes(&house.send(&message("\r\n"), &["anna@example.org"]).await), [250]);
    assert_eq!(house.files("anna", "").len(), 1);
    let heard = heard.await.unwrap();
    let sender = heard[1].strip_prefix("MAIL FROM:<").unwrap().split('>').next().unwrap();
    assert!(
        sender.starts_with("SRS0=") && sender.ends_with("=example.com=sender@srs.example.org"),
        "{sender}"
    );
    // The bounce finds its way; a forged one does not.
    assert!(house.recipient(sender).await.is_ok());
    let forged = house.recipient("SRS0=AAAA=AA=example.com=sender@srs.example.org").await;
    assert_eq!(forged.err().unwrap().code, 550);
}

#[tokio::test]
async fn what_the_mta_says_is_what_the_sender_hears() {
    for (answers, expected) in [
        (&[("RCPT", "550 5.1.1 no such user")][..], "550 5.1.1 no such user"),
        (&[("MAIL", "452 4.3.1 full")], "452 4.3.1 full"),
        (&[(".", "554 5.7.1 spam")], "554 5.7.1 spam"),
        (&[("DATA", "250 what")], "451 4.5.0 "),
    ] {
        let (at, _heard) = mta(answers).await;
        let house =
            House::new(forwarding(), Arc::new(NoQuota), |d| d.forwarder.method = Method::Smtp(at.into()));
        let reply = house.send(&message("\r\n"), &["away@example.org"]).await[0].to_string();
        assert!(reply.starts_with(expected), "{reply}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let house =
        House::new(forwarding(), Arc::new(NoQuota), |d| d.forwarder.method = Method::Smtp(closed.into()));
    assert_eq!(codes(&house.send(&message("\r\n"), &["away@example.org"]).await), [451]);
    let loops = "Delivered-To: away@example.org\r\n\r\n";
    let reply = house.send(&message(loops), &["away@example.org"]).await[0].to_string();
    assert!(reply.starts_with("554 5.4.6 "), "{reply}");
}

#[tokio::test]
async fn sendmail_takes_it_too() {
    let house = House::plain();
    let program = house.temp.path().join("sendmail");
    let told = house.temp.path().join("told");
    let script = format!(
        "#!/bin/sh\n(echo \"$@\"; cat) > {}\ncase \"$*\" in *dora*) exit 0;; *) echo no >&2; exit 67;; esac\n",
        told.display()
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let mut people = forwarding();
    people.routes.insert("x@example.org".into(), Action::Deliver(vec!["x@elsewhere.example".into()]));
    let house = House::new(people, Arc::new(NoQuota), |d| d.forwarder.method = Method::Sendmail(program));
    let replies = house.send(&message("Subject: x\r\n\r\n.\r\nend\r\n"), &["away@example.org"]).await;
    assert_eq!(codes(&replies), [250]);
    let text = std::fs::read_to_string(&told).unwrap();
    assert!(
        text.starts_with(
            "-i -f sender@example.com -- dora@elsewhere.example\nDelivered-To: away@example.org\n"
        ),
        "{text}"
    );
    assert!(text.ends_with("\nSubject: x\n\n.\nend\n"));
    let replies = house.send(&message("\r\n"), &["x@example.org"]).await;
    assert_eq!(codes(&replies), [550]);
}
