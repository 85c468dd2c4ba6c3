//! Quota's life cycle with a real store, a real directory and a clock that is moved: five days in milliseconds, across
//! restarts.
#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use async_trait::async_trait;
use culver_base::{MailboxName, UidSet};
use culver_directory::builtin::{Builtin, Changed, Kept, NewUser, What};
use culver_directory::sql::Host;
use culver_directory::{Account, Defaults, Directory, Login, QuotaLimits};
use culver_events::{Event, Events, Recorded};
use culver_keeper::{
    Clock, Extra, Full, Hook, InboxNotices, Keeper, KeeperSettings, Parts, Standing, Told, Verdict, place,
};
use culver_maildir::{MaildirSettings, MaildirStore, StoreSettings};
use culver_quota::{Enabling, Limits, Policy, State};
use culver_store::io::{Io, IoSettings};
use culver_store::{FlagChange, Mailbox, NewMessage, Spooled, Store, StoreFlags, Transfer};
use culver_testkit::servers;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

const DAY: i64 = 86_400;
const USER: &str = "ada@example.org";

struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[derive(Default)]
struct Listening(Mutex<Vec<String>>);

#[async_trait]
impl Hook for Listening {
    async fn run(&self, account: &str, told: &Told) -> Result<(), String> {
        self.0.lock().unwrap().push(format!("{account} {}", told.step));
        Ok(())
    }
}

struct World {
    temp: TempDir,
    clock: Arc<Hands>,
    hook: Arc<Listening>,
    settings: KeeperSettings,
    /// The directory's database; without one it is a file.
    database: Option<culver_directory::sql::Server>,
    now: Option<Running>,
}

struct Running {
    keeper: Keeper,
    store: Arc<MaildirStore>,
    builtin: Arc<Builtin>,
    directory: Arc<Directory>,
    recorded: Recorded,
}

impl World {
    fn new(settings: KeeperSettings) -> Self {
        Self::on(None, settings)
    }

    fn on(database: Option<culver_directory::sql::Server>, settings: KeeperSettings) -> Self {
        let mut world = Self {
            temp: TempDir::new().unwrap(),
            clock: Arc::new(Hands(AtomicI64::new(1_800_000_000))),
            hook: Arc::default(),
            settings,
            database,
            now: None,
        };
        world.start();
        let builtin = &world.now().builtin;
        builtin.add_domain("example.org").unwrap();
        let quota = QuotaLimits { storage: Some(1_000_000), messages: None };
        builtin.add_user(USER, &NewUser { quota, ..NewUser::default() }).unwrap();
        world
    }

    fn start(&mut self) {
        self.now = Some(self.running("state"));
    }

    /// A server with this folder of its own.
    fn running(&self, state: &str) -> Running {
        let root = self.temp.path();
        let defaults = Defaults {
            mail: format!("maildir:{}/mail/%n", root.display()),
            home: None,
            uid: None,
            gid: None,
        };
        let open = || {
            let defaults = defaults.clone();
            Arc::new(match &self.database {
                None => Builtin::open(&root.join("directory.sqlite"), defaults).unwrap(),
                Some(server) => Builtin::on_postgresql(server.clone(), defaults).unwrap(),
            })
        };
        let builtin = open();
        let directory = Arc::new(Directory::new(vec![open()]));
        let io = Io::new(IoSettings { threads: 2, ..IoSettings::default() }).unwrap();
        let shared = MaildirSettings::new("test.example");
        let store =
            Arc::new(MaildirStore::new(Arc::new(io), StoreSettings::new(root.join(state), Arc::new(shared))));
        let (events, recorded) = Events::recorder();
        let parts = Parts {
            builtin: builtin.clone(),
            directory: directory.clone(),
            store: store.clone(),
            notices: Arc::new(InboxNotices::new(store.clone(), None)),
            hooks: vec![self.hook.clone()],
            events,
            clock: self.clock.clone(),
        };
        let keeper = Keeper::new(parts, self.settings.clone());
        Running { keeper, store, builtin, directory, recorded }
    }

    async fn restart(&mut self) {
        let running = self.now.take().unwrap();
        running.keeper.run_hooks().await;
        running.keeper.keep_usages().await;
        running.store.close().await;
        drop(running);
        self.start();
    }

    fn now(&self) -> &Running {
        self.now.as_ref().unwrap()
    }

    fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    async fn account(&self) -> Arc<Account> {
        self.now().directory.find(&Login::parse(USER.as_bytes()).unwrap()).await.unwrap().unwrap()
    }

    async fn mail(&self) -> Arc<dyn culver_store::Account> {
        self.now().store.account(&place(&*self.account().await)).await.unwrap()
    }

    async fn inbox(&self) -> Arc<dyn Mailbox> {
        self.mail().await.open(&MailboxName::inbox()).await.unwrap()
    }

    async fn admit(&self, octets: u64) -> Verdict {
        let account = self.account().await;
        self.now().keeper.admit(&account, &MailboxName::inbox(), octets, 1).await.unwrap()
    }

    /// What a delivery does.
    async fn deliver(&self, octets: usize) -> Verdict {
        let verdict = self.admit(octets as u64).await;
        if verdict == Verdict::Fits {
            self.store(octets).await;
            self.now().keeper.stored(&*self.account().await).await;
            self.now().keeper.tick().await;
        }
        verdict
    }

    async fn store(&self, octets: usize) {
        let head = b"Subject: mail\n\n";
        let body = [head.as_slice(), &vec![b'x'; octets - head.len()]].concat();
        let message =
            NewMessage { body: Spooled::Memory(body.into()), flags: Vec::new(), internal_date: None };
        self.inbox().await.append(vec![message]).await.unwrap();
    }

    async fn standing(&self) -> Standing {
        self.now().keeper.standing(&*self.account().await).await.unwrap()
    }

    async fn expunge(&self, which: impl Fn(usize) -> bool) {
        let inbox = self.inbox().await;
        let uids: UidSet =
            inbox.snapshot().iter().enumerate().filter(|(i, _)| which(*i)).map(|(_, r)| r.uid).collect();
        let deleted = vec![culver_base::Flag::parse("\\Deleted").unwrap()];
        let flags = StoreFlags { change: FlagChange::Add, flags: deleted, unchanged_since: None };
        inbox.set_flags(&uids, flags).await.unwrap();
        inbox.expunge(&uids).await.unwrap();
        self.now().keeper.stored(&*self.account().await).await;
        self.now().keeper.tick().await;
    }

    /// Subjects of notices in INBOX, in their order, decoded.
    async fn notices(&self) -> Vec<String> {
        let inbox = self.inbox().await;
        let uids = inbox.snapshot().uids().uids().collect();
        let found = Arc::new(Mutex::new(Vec::new()));
        let into = found.clone();
        let visit = Box::new(move |message: &mut dyn culver_store::Message| {
            let mut out = Vec::new();
            message.read(0..u64::MAX, &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            if text.contains("Auto-Submitted: auto-generated\r\n") {
                let subject = text.split("\r\nSubject: ").nth(1).unwrap();
                into.lock().unwrap().push(subject.split("\r\n").next().unwrap().to_owned());
            }
            ControlFlow::Continue(())
        });
        inbox.visit(uids, visit).await;
        std::mem::take(&mut *found.lock().unwrap())
    }

    fn steps(&self) -> Vec<String> {
        let events = self.now().recorded.take();
        let step = |e| match e {
            Event::Quota { step, .. } => Some(step),
            Event::Fault { what, .. } => Some(what),
            _ => None,
        };
        events.into_iter().filter_map(step).collect()
    }
}

fn tight() -> KeeperSettings {
    KeeperSettings { last_message: 0, ..KeeperSettings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_days_across_restarts() {
    five_days(World::new(KeeperSettings::default())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_days_on_postgresql() {
    let Some(server) = servers::postgres().unwrap() else {
        println!("not run: PostgreSQL is missing");
        return;
    };
    let database = culver_directory::sql::Server {
        hosts: vec![Host::Unix(server.socket.join(format!(".s.PGSQL.{}", server.port)))],
        database: "postgres".to_owned(),
        user: "postgres".to_owned(),
        password: String::new(),
        tls: false,
        authorities: std::path::PathBuf::new(),
        connections: 4,
        connect_timeout: Duration::from_secs(5),
        query_timeout: Duration::from_secs(20),
    };
    five_days(World::on(Some(database), KeeperSettings::default())).await;
}

/// The customer's story, with the soft quota.
async fn five_days(mut world: World) {
    // Warnings at 80, 90 and 95 %.
    for size in [790_000, 10_000, 100_000, 50_000] {
        assert_eq!(world.deliver(size).await, Verdict::Fits);
    }
    assert_eq!(
        world.notices().await,
        ["Your mailbox is 80 % full", "Your mailbox is 90 % full", "Your mailbox is 95 % full"]
    );
    world.restart().await;
    // Notices count as well; the last message may go beyond the limit.
    assert_eq!(world.deliver(60_000).await, Verdict::Fits);
    let standing = world.standing().await;
    let began = world.clock.now();
    assert_eq!(standing.state, State::Over { since: began });
    assert_eq!(standing.until, Some(began + 5 * DAY));
    assert_eq!(world.notices().await.len(), 4);
    assert_eq!(world.notices().await[3], "Your mailbox is full");
    // In the grace time: what does not fit is deferred; the user is alerted; reading works.
    let Verdict::Over { answer: Full::Later, text } = world.admit(1_000).await else { panic!() };
    assert!(text.contains("full"));
    let account = world.account().await;
    assert!(world.now().keeper.alert(&account).unwrap().text.contains("2027-01-20"));
    // Four days and some, through restarts: nothing happens.
    for _ in 0..4 {
        world.pass(DAY);
        world.restart().await;
        world.now().keeper.tick().await;
        assert_eq!(world.steps(), [""; 0]);
    }
    world.pass(DAY - 1);
    world.now().keeper.tick().await;
    assert_eq!(world.standing().await.state, State::Over { since: began });
    // The fifth is over while the server is down.
    let running = world.now.take().unwrap();
    running.store.close().await;
    drop(running);
    world.pass(1);
    world.start();
    world.now().keeper.tick().await;
    assert_eq!(world.steps(), ["disabled"]);
    assert_eq!(world.standing().await.state, State::Disabled { since: began + 5 * DAY });
    assert_eq!(world.notices().await.len(), 5);
    let reason = "The mailbox has been full for 5 days".to_owned();
    assert_eq!(
        world.admit(1).await,
        Verdict::Disabled { reason: reason.clone(), since: Some(began + 5 * DAY) }
    );
    // The switch that everybody asks says so.
    let user = world.now().builtin.user(USER).unwrap();
    assert_eq!(user.receive.off(), Some(reason.as_str()));
    assert_eq!(user.login.off(), None);
    // Deleting is not enough: somebody enables it.
    world.expunge(|i| i < 3).await;
    assert!(matches!(world.standing().await.state, State::Disabled { .. }));
    world.restart().await;
    // As `culver route enable` and the pages do: the switch.
    world.now().builtin.set_switch(USER, What::Receive, None).unwrap();
    assert!(matches!(world.standing().await.state, State::Within | State::Warned { .. }));
    world.now().keeper.tick().await;
    assert_eq!(world.steps(), ["enabled"]);
    assert_eq!(world.notices().await.last().unwrap(), "Your mailbox receives mail again");
    assert_eq!(world.admit(1_000).await, Verdict::Fits);
    world.now().keeper.run_hooks().await;
    let told = world.hook.0.lock().unwrap().clone();
    let expected =
        ["warned", "warned", "warned", "over", "disabled", "enabled"].map(|s| format!("{USER} {s}"));
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_itself_or_by_our_own_verb() {
    let policy = Policy { enabling: Enabling::ByItself, ..Policy::default() };
    let world = World::new(KeeperSettings { policy, ..tight() });
    assert_eq!(world.deliver(500_000).await, Verdict::Fits);
    assert_eq!(world.deliver(500_000).await, Verdict::Fits);
    world.pass(5 * DAY);
    world.now().keeper.tick().await;
    assert!(matches!(world.admit(1).await, Verdict::Disabled { .. }));
    world.expunge(|i| i == 0).await;
    assert_eq!(world.admit(1_000).await, Verdict::Fits);
    assert_eq!(world.now().builtin.user(USER).unwrap().receive.off(), None);

    let world = World::new(tight());
    assert_eq!(world.deliver(500_000).await, Verdict::Fits);
    assert_eq!(world.deliver(500_000).await, Verdict::Fits);
    let account = world.account().await;
    assert!(!world.now().keeper.enable(&account).await.unwrap(), "it is not disabled");
    world.pass(6 * DAY);
    world.now().keeper.tick().await;
    assert!(world.now().keeper.enable(&*world.account().await).await.unwrap());
    // Still full: five days more.
    assert_eq!(world.standing().await.until, Some(world.clock.now() + 5 * DAY));
    assert!(matches!(world.admit(1).await, Verdict::Over { .. }));
}

/// Over quota nothing but storing is refused.
#[tokio::test(flavor = "multi_thread")]
async fn everything_but_storing_works() {
    let world = World::new(tight());
    while world.deliver(100_000).await == Verdict::Fits {}
    assert!(matches!(world.admit(100_000).await, Verdict::Over { .. }));
    let mail = world.mail().await;
    let other = MailboxName::new("Other");
    mail.create(&other, &[]).await.unwrap();
    let (inbox, target) = (world.inbox().await, mail.open(&other).await.unwrap());
    let uids: Vec<_> = inbox.snapshot().uids().uids().collect();
    assert!(uids.len() > 8);
    let one = |i: usize| -> UidSet { [uids[i]].into_iter().collect() };
    assert_eq!(inbox.transfer(&one(0), &target, Transfer::Move).await.unwrap().target.len(), 1);
    assert_eq!(inbox.transfer(&one(1), &target, Transfer::Copy).await.unwrap().target.len(), 1);
    let before = world.standing().await.usage;
    world.expunge(|i| i < 2).await;
    let after = world.standing().await.usage;
    // Two messages went, and the notice came that says so.
    assert_eq!(world.notices().await.last().unwrap(), "Your mailbox has room again");
    let went = before.minus(after);
    assert!(went.messages == 1 && (199_000..200_000).contains(&went.storage), "{went:?}");
}

/// A Trash with more room, messages that are too large, and limits from everywhere.
#[tokio::test(flavor = "multi_thread")]
async fn limits() {
    let extra = Extra { mailbox: MailboxName::new("Trash"), percent: 10 };
    let limits = Limits { messages: Some(10), message_size: Some(600_000), ..Limits::default() };
    let world = World::new(KeeperSettings { extras: vec![extra], limits, ..tight() });
    let account = world.account().await;
    let keeper = &world.now().keeper;
    assert_eq!(world.admit(600_001).await, Verdict::TooBig { limit: 600_000 });
    assert_eq!(world.deliver(500_000).await, Verdict::Fits);
    assert_eq!(world.deliver(450_000).await, Verdict::Fits);
    assert!(matches!(world.admit(100_000).await, Verdict::Over { .. }));
    let trash = MailboxName::new("Trash");
    assert_eq!(keeper.admit(&account, &trash, 100_000, 1).await.unwrap(), Verdict::Fits);
    // For the domain: more than the default; for the account: no limit of messages.
    world.now().builtin.set_limits("example.org", |l| l.messages = Some(1)).unwrap();
    assert!(matches!(world.admit(1).await, Verdict::Over { .. }));
    world.now().builtin.set_limits(USER, |l| l.messages = Some(Limits::NONE)).unwrap();
    let account = world.account().await;
    assert_eq!(keeper.limits(&account).await.messages, None);
    assert_eq!(keeper.limits(&account).await.storage, Some(1_000_000));
    // Mailboxes.
    world.now().builtin.set_limits(USER, |l| l.mailboxes = Some(2)).unwrap();
    assert_eq!(keeper.too_many_mailboxes(&account).await.unwrap(), None);
    world.mail().await.create(&trash, &[]).await.unwrap();
    assert_eq!(keeper.too_many_mailboxes(&account).await.unwrap(), Some(2));
}

/// A stop between a step and its telling loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_told_is_told_at_the_next_start() {
    let mut world = World::new(tight());
    let builtin = &world.now().builtin;
    builtin.set_limits(USER, |l| l.language = Some("de-AT".to_owned())).unwrap();
    world.store(850_000).await;
    world.now().keeper.stored(&*world.account().await).await;
    assert_eq!(world.steps(), ["warned"]);
    assert!(world.notices().await.is_empty());
    world.restart().await;
    world.now().keeper.tick().await;
    assert_eq!(world.notices().await, ["Ihr Postfach ist zu 85 % voll"]);
    world.now().keeper.tick().await;
    assert_eq!(world.notices().await.len(), 1);
    // A count of everything finds nothing wrong, and a day later it is made by itself.
    assert_eq!(world.now().keeper.recount(&*world.account().await).await.unwrap(), None);
    world.pass(DAY);
    world.now().keeper.tick().await;
    assert_eq!(world.steps(), [""; 0]);
}

/// Of several servers with one directory, one tells a step; one that falls silent meanwhile loses its turn.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_servers_one_tells() {
    let world = World::new(tight());
    world.store(850_000).await;
    world.now().keeper.stored(&*world.account().await).await;
    // It said that it would tell, and nobody heard of it again.
    let now = world.clock.now();
    let silent = |until: i64| {
        let silent = |kept: &mut Kept| {
            kept.telling = until;
            (Changed::Kept, ())
        };
        world.now().builtin.change_quota(USER, silent).unwrap();
    };
    silent(now + 90);
    let other = world.running("another");
    let both = async || {
        tokio::join!(world.now().keeper.tick(), other.keeper.tick());
    };
    for passed in [0, 89] {
        world.clock.0.store(now + passed, Ordering::SeqCst);
        both().await;
        assert!(world.notices().await.is_empty(), "{passed}");
    }
    world.pass(1);
    both().await;
    assert_eq!(world.notices().await, ["Your mailbox is 85 % full"]);
    for keeper in [&world.now().keeper, &other.keeper] {
        keeper.run_hooks().await;
    }
    assert_eq!(*world.hook.0.lock().unwrap(), [format!("{USER} warned")]);
    // A turn that ends too late to be one is a clock's mistake.
    world.store(60_000).await;
    world.now().keeper.stored(&*world.account().await).await;
    silent(world.clock.now() + DAY);
    both().await;
    assert_eq!(world.notices().await.len(), 2);
    other.store.close().await;
}
