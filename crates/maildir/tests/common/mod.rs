//! A Maildir in a temporary folder, and a server's view of it.

#![allow(dead_code, reason = "each test file uses a part")]

use culver_base::{Flag, InternalDate, MailboxName, SystemFlags, Uid, UidSet};
use culver_maildir::place::MailboxPlace;
use culver_maildir::watch::Watcher;
use culver_maildir::{FlagWrites, MaildirMailbox, MaildirSettings};
use culver_snapshot::Snapshot;
use culver_store::io::{Calls, Io, IoSettings, System};
use culver_store::{FlagChange, Mailbox, NewMessage, Spooled, StoreFlags};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

pub struct House {
    pub temp: TempDir,
    pub io: Arc<Io>,
    calls: Arc<dyn Calls>,
    pub settings: Arc<MaildirSettings>,
    pub watcher: Arc<Watcher>,
}

fn pool(calls: &Arc<dyn Calls>) -> Arc<Io> {
    let threads = IoSettings { threads: 3, ..IoSettings::default() };
    Arc::new(Io::with_calls(threads, calls.clone()).unwrap())
}

impl House {
    pub fn new() -> Self {
        Self::with(FlagWrites::Lazy)
    }
    pub fn with(flag_writes: FlagWrites) -> Self {
        Self::at(TempDir::new().unwrap(), flag_writes)
    }
    /// Where nothing waits for a disk, if there is such a place: for thousands of small cases.
    pub fn in_memory(flag_writes: FlagWrites) -> Self {
        let temp = tempfile::Builder::new().tempdir_in("/dev/shm").or_else(|_| TempDir::new()).unwrap();
        Self::at(temp, flag_writes)
    }
    fn at(temp: TempDir, flag_writes: FlagWrites) -> Self {
        let mut settings = MaildirSettings::new("test.example");
        settings.flag_writes = flag_writes;
        settings.flag_delay = Duration::from_millis(5);
        settings.lock_wait = Duration::from_millis(200);
        let calls: Arc<dyn Calls> = Arc::new(System::new());
        let this = Self {
            temp,
            io: pool(&calls),
            calls,
            settings: Arc::new(settings),
            watcher: Arc::new(Watcher::default()),
        };
        this.make("");
        this
    }
    /// As when the process is started anew: no job of the old one runs any more.
    pub fn next_process(&mut self) {
        let calls: Arc<dyn Calls> = Arc::new(System::new());
        self.io = pool(&calls);
        self.watcher = Arc::default();
        let old = std::mem::replace(&mut self.calls, calls);
        // The threads of the old pool hold it until they end.
        while Arc::strong_count(&old) > 1 {
            std::thread::yield_now();
        }
    }
    pub fn root(&self) -> PathBuf {
        self.temp.path().join("mail")
    }
    pub fn state(&self) -> PathBuf {
        self.temp.path().join("state")
    }
    pub fn make(&self, dir: &str) {
        for sub in ["cur", "new", "tmp"] {
            std::fs::create_dir_all(self.root().join(dir).join(sub)).unwrap();
        }
    }
    pub fn place(&self, dir: &str) -> MailboxPlace {
        MailboxPlace {
            account: "ada@example.org".into(),
            name: MailboxName::new(if dir.is_empty() { "INBOX" } else { dir.trim_start_matches('.') }),
            owner: None,
            root: self.root(),
            dir: dir.into(),
            control: self.root().join(dir),
            index: None,
            control_root: self.root(),
            state: self.state().join(if dir.is_empty() { "INBOX" } else { dir }),
            io: self.io.clone(),
            settings: self.settings.clone(),
            watcher: self.watcher.clone(),
        }
    }
    pub async fn open(&self, dir: &str) -> Arc<MaildirMailbox> {
        MaildirMailbox::open(self.place(dir)).await.unwrap()
    }
    /// What a delivery agent does.
    pub fn deliver(&self, dir: &str, base: &str, body: &str) {
        let tmp = self.root().join(dir).join("tmp").join(base);
        std::fs::write(&tmp, body).unwrap();
        std::fs::rename(tmp, self.root().join(dir).join("new").join(base)).unwrap();
    }
    /// Names in `cur` and `new`, as `cur/NAME`.
    pub fn files(&self, dir: &str) -> Vec<String> {
        files(&self.root().join(dir))
    }
}

pub fn files(mailbox: &Path) -> Vec<String> {
    let mut out = Vec::new();
    for sub in ["cur", "new"] {
        for e in std::fs::read_dir(mailbox.join(sub)).unwrap() {
            out.push(format!("{sub}/{}", e.unwrap().file_name().into_string().unwrap()));
        }
    }
    out.sort();
    out
}

pub fn uid(n: u32) -> Uid {
    Uid::new(n).unwrap()
}
pub fn uids(list: &[u32]) -> UidSet {
    list.iter().map(|n| uid(*n)).collect()
}
pub fn flags(names: &str) -> Vec<Flag> {
    names.split_whitespace().map(|n| Flag::parse(n).unwrap()).collect()
}
pub fn message(body: &str, names: &str) -> NewMessage {
    NewMessage {
        body: Spooled::Memory(body.to_owned().into()),
        flags: flags(names),
        internal_date: Some(InternalDate::utc(1_000_000_000)),
    }
}
pub fn store(change: FlagChange, names: &str) -> StoreFlags {
    StoreFlags { change, flags: flags(names), unchanged_since: None }
}

/// UID and flags of everything, as text.
pub fn picture(s: &Snapshot) -> BTreeMap<u32, String> {
    s.iter().map(|r| (r.uid.get(), names_of(s, r.flags).join(" "))).collect()
}
/// System flags and keywords by name, in the alphabet's order.
pub fn names_of(s: &Snapshot, flags: culver_snapshot::Flags) -> Vec<&str> {
    let system = SystemFlags::NAMES.into_iter().filter(|(f, _)| flags.system.contains(*f)).map(|(_, n)| n);
    let mut names: Vec<&str> = system.chain(s.keywords.of(flags.keywords).map(|k| k.as_str())).collect();
    names.sort_unstable();
    names
}
pub fn show(s: &Snapshot) -> String {
    let each: Vec<String> = picture(s).into_iter().map(|(u, f)| format!("{u}({f})")).collect();
    each.join(" ")
}

/// The whole of a message in wire form.
pub async fn body(mailbox: &dyn Mailbox, uid: Uid) -> Result<String, String> {
    let got = Arc::new(Mutex::new(Err("not visited".to_owned())));
    let into = got.clone();
    mailbox
        .visit(
            vec![uid],
            Box::new(move |m| {
                let mut out = Vec::new();
                let done = m.read(0..u64::MAX, &mut out);
                *into.lock().unwrap() =
                    done.map(|()| String::from_utf8(out).unwrap()).map_err(|e| e.to_string());
                ControlFlow::Continue(())
            }),
        )
        .await;
    Arc::try_unwrap(got).map_or_else(|got| got.lock().unwrap().clone(), |got| got.into_inner().unwrap())
}

/// What the cache may know: RFC822.SIZE, ENVELOPE, BODY, BODYSTRUCTURE, a field.
pub async fn summary(mailbox: &dyn Mailbox, uid: Uid) -> Vec<String> {
    let got = Arc::new(Mutex::new(Vec::new()));
    let into = got.clone();
    mailbox
        .visit(
            vec![uid],
            Box::new(move |m| {
                let subject = m.lean_header().unwrap();
                let subject = culver_mime::fields::last(&subject, b"Subject").unwrap().unfolded();
                let size = m.size().unwrap();
                let octets: [bytes::Bytes; 5] = [
                    size.to_string().into(),
                    m.envelope().unwrap(),
                    m.body().unwrap(),
                    m.body_structure().unwrap(),
                    subject.into(),
                ];
                *into.lock().unwrap() = octets.map(|o| String::from_utf8(o.to_vec()).unwrap()).to_vec();
                ControlFlow::Continue(())
            }),
        )
        .await;
    got.lock().unwrap().clone()
}

/// The same from the message alone.
pub fn summary_of(text: &str) -> Vec<String> {
    let structure = culver_mime::scan(text.as_bytes());
    let header = &text[..text.find("\r\n\r\n").unwrap() + 4];
    let subject = culver_mime::fields::last(header.as_bytes(), b"Subject").unwrap().unfolded();
    let octets = [
        text.len().to_string().into_bytes(),
        culver_mime::envelope::envelope(header.as_bytes()),
        structure.body(),
        structure.body_structure(),
        subject,
    ];
    octets.map(|o| String::from_utf8(o).unwrap()).to_vec()
}

pub async fn flushed(mailbox: &MaildirMailbox) {
    mailbox.close().await;
}
