//! Nothing is acknowledged that is not on disk: with every call that writes failing once, and with a look at what was synced.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panic and looks at files"
)]

use async_trait::async_trait;
use culver_deliver::answer::OverQuota;
use culver_deliver::{
    Deliver, DeliveredTo, Envelope, Forwarder, Message, Method, Missing, NoQuota, Recipient, Request,
    Settings, StoreShelf,
};
use culver_directory::{Account, Directory, Layout, Login, MailLocation, Outage, Source};
use culver_events::Events;
use culver_lmtp::{Address, Body, Reply, ReversePath};
use culver_maildir::{MaildirSettings, MaildirStore, StoreSettings};
use culver_store::Store as _;
use culver_store::io::{Calls, Io, IoSettings, Resolve, System};
use futures_util::StreamExt as _;
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::fs::{OFlags, RenameFlags};
use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Fails the call with a number (of those that write, link, rename or sync), and knows which inodes were changed and not synced since.
#[derive(Default)]
struct State {
    counting: bool,
    count: usize,
    fail: Option<usize>,
    dirty: BTreeSet<u64>,
}

struct Watched {
    system: System,
    state: Arc<Mutex<State>>,
}

impl Watched {
    fn call(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        if !state.counting {
            return Ok(());
        }
        state.count += 1;
        if state.fail == Some(state.count) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(())
    }
    fn ino(&self, f: BorrowedFd<'_>) -> u64 {
        self.system.stat(f).map_or(0, |s| s.ino)
    }
    fn changed(&self, f: BorrowedFd<'_>) {
        let ino = self.ino(f);
        self.state.lock().unwrap().dirty.insert(ino);
    }
    fn synced(&self, f: BorrowedFd<'_>) {
        let ino = self.ino(f);
        self.state.lock().unwrap().dirty.remove(&ino);
    }
}

impl Calls for Watched {
    fn inner(&self) -> &dyn Calls {
        &self.system
    }
    fn open(
        &self,
        d: Option<BorrowedFd<'_>>,
        p: &[u8],
        f: OFlags,
        m: u32,
        r: Resolve,
    ) -> io::Result<OwnedFd> {
        if f.contains(OFlags::CREATE) {
            self.call()?;
        }
        self.system.open(d, p, f, m, r)
    }
    fn mkdir(&self, d: Option<BorrowedFd<'_>>, p: &[u8], m: u32) -> io::Result<()> {
        self.call()?;
        self.system.mkdir(d, p, m)
    }
    fn rename(
        &self,
        a: BorrowedFd<'_>,
        b: &[u8],
        c: BorrowedFd<'_>,
        d: &[u8],
        f: RenameFlags,
    ) -> io::Result<()> {
        self.call()?;
        self.system.rename(a, b, c, d, f)?;
        self.changed(c);
        Ok(())
    }
    fn link(&self, a: BorrowedFd<'_>, b: &[u8], c: BorrowedFd<'_>, d: &[u8]) -> io::Result<()> {
        self.call()?;
        self.system.link(a, b, c, d)
    }
    fn write(&self, f: BorrowedFd<'_>, b: &[u8]) -> io::Result<usize> {
        self.call()?;
        self.changed(f);
        self.system.write(f, b)
    }
    fn write_at(&self, f: BorrowedFd<'_>, b: &[u8], o: u64) -> io::Result<usize> {
        self.call()?;
        self.changed(f);
        self.system.write_at(f, b, o)
    }
    fn truncate(&self, f: BorrowedFd<'_>, l: u64) -> io::Result<()> {
        self.call()?;
        self.system.truncate(f, l)
    }
    fn sync(&self, f: BorrowedFd<'_>) -> io::Result<()> {
        self.call()?;
        self.synced(f);
        self.system.sync(f)
    }
    fn sync_data(&self, f: BorrowedFd<'_>) -> io::Result<()> {
        self.call()?;
        self.synced(f);
        self.system.sync_data(f)
    }
}

struct Everybody(PathBuf);

#[async_trait]
impl Source for Everybody {
    fn name(&self) -> &str {
        "everybody"
    }
    async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        let mail = MailLocation {
            root: self.0.join(login.as_str()),
            control: None,
            index: None,
            layout: Layout::MaildirPlusPlus,
        };
        Ok(Some(Arc::new(Account::new(login.as_str(), mail))))
    }
}

const PEOPLE: [&str; 3] = ["anna@example.org", "bob@example.org", "carl@example.org"];

/// One delivery to all, with call number `fail` failing. Gives the replies and how many calls there were.
async fn deliver(base: &Path, fail: Option<usize>) -> (Vec<Reply>, usize) {
    let temp = tempfile::tempdir_in(base).unwrap();
    let state = Arc::new(Mutex::new(State { fail, ..State::default() }));
    let calls = Watched { system: System::new(), state: state.clone() };
    let io = Arc::new(
        Io::with_calls(IoSettings { threads: 2, ..IoSettings::default() }, Arc::new(calls)).unwrap(),
    );
    let mut shared = MaildirSettings::new("test.example");
    (shared.flag_delay, shared.lock_wait) = (Duration::ZERO, Duration::from_millis(100));
    let settings = StoreSettings::new(temp.path().join("state"), Arc::new(shared));
    let store = Arc::new(MaildirStore::new(io.clone(), settings));
    let (events, _recorded) = Events::recorder();
    let host = "mail.example.org".to_owned();
    let deliver = Deliver {
        directory: Arc::new(Directory::new(vec![Arc::new(Everybody(temp.path().join("mail")))])),
        shelf: Arc::new(StoreShelf(store.clone())),
        quota: Arc::new(NoQuota),
        forwarder: Forwarder {
            method: Method::Off,
            srs: None,
            hops: 100,
            patience: Duration::from_secs(1),
            host: host.clone(),
        },
        events,
        io,
        settings: Settings {
            host,
            detail_mailbox: false,
            missing: Missing::Refuse,
            delivered_to: DeliveredTo::Single,
            over_quota: OverQuota::Defer,
            parallel: 1,
        },
    };
    let mut recipients: Vec<Recipient> = Vec::new();
    for address in PEOPLE {
        let request = Request { size: 0, mailbox: None, now: Duration::ZERO };
        recipients.push(deliver.recipient(&Address::parse(address).unwrap(), request).await.unwrap());
    }
    let envelope = Envelope {
        service: "lmtp",
        session: "s".into(),
        sender: ReversePath::Null,
        body: Body::SevenBit,
        utf8: false,
        helo: None,
        peer: None,
        tls: false,
        at: Duration::ZERO,
    };
    let message = Message::in_memory("Subject: x\r\n\r\nbody\r\n".to_owned().into());
    state.lock().unwrap().counting = true;
    let mut replies = Vec::new();
    let mut stream = std::pin::pin!(deliver.deliver(&envelope, &message, &recipients));
    while let Some(reply) = stream.next().await {
        let new = temp.path().join("mail").join(PEOPLE[replies.len()]).join("new");
        let files: Vec<PathBuf> =
            std::fs::read_dir(&new).into_iter().flatten().map(|e| e.unwrap().path()).collect();
        if reply.is_positive() {
            assert_eq!(files.len(), 1, "call {fail:?}: {reply}");
            assert!(std::fs::read_to_string(&files[0]).unwrap().ends_with("Subject: x\n\nbody\n"));
            let state = state.lock().unwrap();
            for path in [&files[0], &new] {
                let ino = std::fs::metadata(path).unwrap().ino();
                assert!(!state.dirty.contains(&ino), "call {fail:?}: {} is not on disk", path.display());
            }
        } else {
            assert!(reply.is_transient(), "call {fail:?}: {reply}");
        }
        replies.push(reply);
    }
    let count = {
        let mut state = state.lock().unwrap();
        state.counting = false;
        state.count
    };
    store.close().await;
    (replies, count)
}

#[tokio::test]
async fn whatever_fails_and_whenever() {
    let base = tempfile::Builder::new().tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (replies, calls) = deliver(base.path(), None).await;
    assert!(replies.iter().all(Reply::is_positive), "{replies:?}");
    let mut refused = 0;
    for fail in 1..=calls {
        let (replies, _) = deliver(base.path(), Some(fail)).await;
        assert_eq!(replies.len(), PEOPLE.len());
        refused += replies.iter().filter(|r| !r.is_positive()).count();
    }
    // Each of the three needs its directory, its file or link, and its syncs.
    assert!(refused > 10, "{refused} of {calls}");
}
