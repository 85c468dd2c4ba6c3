//! One history: incarnations of the engine over one tree, the model beside them.

use super::dice::Dice;
use super::faults::{Fate, Layer, Point};
use super::history::{BOXES, History, Planned, Step};
use super::model::{After, Existence, Model, Seen, View, flag_set, number};
use super::outside::{self, Hurried};
use super::power::{Disk, Lost, Order};
use culver_base::{MailboxName, Uid};
use culver_maildir::dotlock::Holder;
use culver_maildir::{
    FlagWrites, MaildirAccount, MaildirMailbox, MaildirSettings, MaildirStore, StoreSettings,
};
use culver_snapshot::Snapshot;
use culver_store::io::{Calls, Io, IoSettings, System};
use culver_store::{Account, Layout, Mailbox, Place, Store};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;

/// No verb takes longer. Only there so that a hang ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// What histories found.
#[derive(Default)]
pub struct Counts {
    pub histories: u64,
    pub steps: u64,
    pub calls: u64,
    pub incarnations: u64,
    pub faults: BTreeMap<String, u64>,
    pub points: BTreeMap<Point, u64>,
    pub power_losses: u64,
    pub lost: Lost,
    pub checks: u64,
    pub sums: u64,
    pub checked: u64,
    pub flags_lost: u64,
    pub new_uids: u64,
    pub came_back: u64,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.histories += other.histories;
        self.steps += other.steps;
        self.calls += other.calls;
        self.incarnations += other.incarnations;
        for (k, n) in other.faults {
            *self.faults.entry(k).or_default() += n;
        }
        for (k, n) in other.points {
            *self.points.entry(k).or_default() += n;
        }
        self.power_losses += other.power_losses;
        self.lost.names += other.lost.names;
        self.lost.files_cut += other.lost.files_cut;
        self.lost.files_zeroed += other.lost.files_zeroed;
        self.checks += other.checks;
        self.sums += other.sums;
        self.checked += other.checked;
        self.flags_lost += other.flags_lost;
        self.new_uids += other.new_uids;
        self.came_back += other.came_back;
    }
}

/// How an incarnation ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Done,
    Shut,
    Kill,
    PowerLoss,
}

/// The engine, running.
pub struct Engine {
    pub layer: Arc<Layer>,
    pub store: MaildirStore,
    pub account: Option<Arc<MaildirAccount>>,
    pub open: BTreeMap<usize, Arc<MaildirMailbox>>,
    pub ears: Vec<watch::Receiver<Arc<Snapshot>>>,
}

pub struct World {
    temp: TempDir,
    pub history: History,
    pub dice: Dice,
    pub model: Model,
    pub disk: Option<Arc<Disk>>,
    pub counts: Counts,
    /// What was done, for whoever has to find out why it went wrong.
    pub trace: Vec<String>,
    pub at: usize,
    pub after: After,
    pub planned: Option<Planned>,
    next_fault: usize,
    boots: u64,
}

pub type Check = Result<(), String>;

impl World {
    pub fn new(history: History) -> Self {
        let shm = Path::new("/dev/shm");
        let temp =
            if shm.is_dir() { TempDir::new_in(shm).or_else(|_| TempDir::new()) } else { TempDir::new() };
        let temp = temp.unwrap();
        for dir in ["disk/mail", "disk/mail/.Work", "disk/state", "grave", "boot"] {
            std::fs::create_dir_all(temp.path().join(dir)).unwrap();
        }
        for dir in ["disk/mail", "disk/mail/.Work"] {
            for sub in ["cur", "new", "tmp"] {
                std::fs::create_dir_all(temp.path().join(dir).join(sub)).unwrap();
            }
        }
        let at = |sub: &str| temp.path().join(sub);
        let disk = history.power.map(|order: Order| Arc::new(Disk::new(at("disk"), at("grave"), order)));
        let mut model = Model::default();
        model.boxes[0].exists = Existence::Yes;
        model.boxes[1].exists = Existence::Yes;
        let mut world = Self {
            temp,
            dice: Dice::new(history.seed ^ 0x5eed),
            history,
            model,
            disk,
            counts: Counts { histories: 1, ..Counts::default() },
            trace: Vec::new(),
            at: 0,
            after: After::Nothing,
            planned: None,
            next_fault: 0,
            boots: 0,
        };
        world.boot();
        world
    }

    pub fn root(&self) -> PathBuf {
        self.temp.path().join("disk/mail")
    }
    pub fn box_path(&self, at: usize) -> PathBuf {
        match at {
            0 => self.root(),
            n => self.root().join(format!(".{}", BOXES[n].replace('/', "."))),
        }
    }
    /// For other programs.
    pub fn calls(&self) -> Arc<dyn Calls> {
        match &self.disk {
            Some(disk) => disk.clone(),
            None => Arc::new(System::new()),
        }
    }
    fn boot(&mut self) {
        self.boots += 1;
        let id = format!("{:08x}-0000-4000-8000-000000000000\n", self.boots);
        std::fs::write(self.temp.path().join("boot/boot_id"), id).unwrap();
    }
    pub fn say(&mut self, text: impl Into<String>) {
        let text = text.into();
        tracing::debug!("{text}");
        self.trace.push(text);
    }

    /// Runs to the end.
    pub fn run(&mut self) -> Check {
        loop {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let layer =
                Arc::new(Layer::new(self.calls(), self.temp.path().join("boot/boot_id"), self.dice.next()));
            let threads = IoSettings { threads: 1, ..IoSettings::default() };
            let io = Arc::new(Io::with_calls(threads, layer.clone()).unwrap());
            let mut settings = MaildirSettings::new("test.example");
            settings.flag_delay =
                if self.history.lively { Duration::ZERO } else { Duration::from_secs(3600) };
            if self.history.sync_flags {
                settings.flag_writes = FlagWrites::Sync;
            }
            settings.lock_wait = Duration::from_secs(5);
            let hurried = Arc::new(Hurried { ticks: Default::default() });
            settings.locks = Holder::with(std::process::id(), "test.example", hurried);
            let store = StoreSettings::new(self.temp.path().join("disk/state"), Arc::new(settings));
            let end = {
                let _inside = runtime.enter();
                let store = MaildirStore::new(io.clone(), store);
                let mut engine = Engine {
                    layer: layer.clone(),
                    store,
                    account: None,
                    open: BTreeMap::new(),
                    ears: Vec::new(),
                };
                self.counts.incarnations += 1;
                let end = runtime.block_on(self.live(&mut engine));
                layer.stop();
                end
            };
            // With the runtime every task ends, as with the process; what they drop has no effect any more.
            drop(runtime);
            drop(io);
            self.counts.calls += layer.counts().0 as u64;
            for point in layer.struck() {
                *self.counts.faults.entry(point.fate.name()).or_default() += 1;
                *self.counts.points.entry(point).or_default() += 1;
            }
            let end = end?;
            if self.after == After::Nothing {
                self.model.ended();
            }
            match end {
                End::Done => return Ok(()),
                End::Shut => self.after = self.after.max(After::Restart),
                End::Kill => self.after = self.after.max(After::Kill),
                End::PowerLoss => {
                    let disk = self.disk.clone().unwrap();
                    let lost = disk.lose_power(&mut self.dice);
                    disk.take_as_it_is();
                    self.say(format!("    the power goes: {lost:?}"));
                    self.counts.power_losses += 1;
                    self.counts.lost.names += lost.names;
                    self.counts.lost.files_cut += lost.files_cut;
                    self.counts.lost.files_zeroed += lost.files_zeroed;
                    self.boot();
                    self.after = After::PowerLoss;
                    self.model.hurt |= layer.a_sync_failed();
                    self.model.power_lost();
                }
            }
            // It holds no pid and is waited for until it is half a minute old; that time is not spent here.
            outside::remove(&*self.calls(), &self.root(), "subscriptions.lock");
        }
    }

    /// One incarnation.
    async fn live(&mut self, engine: &mut Engine) -> Result<End, String> {
        let mut heal_at = None;
        // A fault may come as early as while everything is opened anew.
        let early = self.next_fault().is_some() && self.dice.once_in(2);
        if early {
            heal_at = self.arm(engine);
        }
        if self.at > 0 {
            self.say(format!("--- started anew{}", if early { ", a fault waits" } else { "" }));
            // Before anything is open, what the last engine wrote down is believed.
            if !early && self.counts.incarnations.is_multiple_of(2) {
                self.check_usage(engine).await?;
            }
            self.open_all(engine).await?;
            if engine.layer.is_dead() {
                return Ok(self.stopped());
            }
            self.model.hurt |= engine.layer.index_is_hurt();
            self.model.deaf |= engine.layer.index_was_deaf();
            if early {
                engine.layer.heal();
                heal_at = None;
                self.say("    the fault ends");
            }
            self.check_all(engine).await?;
        }
        while self.at < self.history.steps.len() {
            if heal_at.is_none() && self.next_fault().is_some() {
                heal_at = self.arm(engine);
            }
            let step = self.history.steps[self.at].clone();
            self.say(format!("{}: {step:?}", self.at));
            self.counts.steps += 1;
            let this = self.at;
            self.at += 1;
            match step {
                Step::Kill => return Ok(End::Kill),
                Step::LosePower => return Ok(End::PowerLoss),
                Step::Shut => {
                    engine.layer.set_verb("shut");
                    let (_, before) = engine.layer.counts();
                    self.in_time("shutting down", engine.store.close()).await?;
                    if engine.layer.is_dead() {
                        return Ok(self.stopped());
                    }
                    self.model.hurt |= engine.layer.index_is_hurt();
                    self.model.deaf |= engine.layer.index_was_deaf();
                    if engine.layer.counts().1 == before && !engine.layer.is_failing() && !self.model.hurt {
                        let open: Vec<usize> = engine.open.keys().copied().collect();
                        open.into_iter().for_each(|at| self.model.settle(at));
                    }
                    return Ok(End::Shut);
                }
                other => self.step(engine, other).await?,
            }
            if self.history.lively {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            self.model.hurt |= engine.layer.index_is_hurt();
            self.model.deaf |= engine.layer.index_was_deaf();
            if engine.layer.is_dead() {
                return Ok(self.stopped());
            }
            if heal_at.is_some_and(|at| this >= at) {
                heal_at = None;
                engine.layer.heal();
                self.say("    the fault ends");
                self.works_again(engine).await?;
            }
        }
        engine.layer.heal();
        self.works_again(engine).await?;
        self.model.hurt |= engine.layer.index_is_hurt();
        self.model.deaf |= engine.layer.index_was_deaf();
        self.check_all(engine).await?;
        Ok(End::Done)
    }

    fn stopped(&mut self) -> End {
        let power = self.planned.is_some_and(|p| p.power);
        self.say(format!("    stopped{}", if power { ", and the power goes" } else { "" }));
        if power { End::PowerLoss } else { End::Kill }
    }

    fn next_fault(&self) -> Option<Planned> {
        self.history.faults.get(self.next_fault).copied().filter(|f| f.step <= self.at)
    }

    fn arm(&mut self, engine: &Engine) -> Option<usize> {
        let fault = self.next_fault()?;
        self.next_fault += 1;
        self.planned = Some(fault);
        self.say(format!("    armed: {fault:?}"));
        engine.layer.arm(fault.nth, fault.fate);
        Some(if fault.fate.is_stop() { usize::MAX } else { self.at + fault.lasts })
    }

    pub async fn in_time<T>(&mut self, what: &str, future: impl Future<Output = T>) -> Result<T, String> {
        tokio::time::timeout(PATIENCE, future).await.map_err(|_| format!("{what} hangs"))
    }

    // ---- opening ---------------------------------------------------------------------------------------------------

    /// Runs a verb. `Ok(None)`: it failed, as it may while a fault strikes, or the process is gone.
    pub async fn verb<T>(
        &mut self,
        layer: &Arc<Layer>,
        name: &'static str,
        future: impl Future<Output = culver_store::Result<T>>,
    ) -> Result<Option<T>, String> {
        layer.set_verb(name);
        let (_, before) = layer.counts();
        let done = self.in_time(name, future).await?;
        if layer.is_dead() {
            return Ok(None);
        }
        let struck = layer.counts().1 > before;
        match done {
            Ok(value) => Ok(Some(value)),
            Err(e) => {
                self.say(format!("    {name}: {e}"));
                if e.to_string().contains("panicked") {
                    return Err(format!("{name}: {e}"));
                }
                if !struck && !layer.is_failing() {
                    return Err(format!("{name} failed without a fault: {e}"));
                }
                Ok(None)
            }
        }
    }

    pub async fn account(&mut self, engine: &mut Engine) -> Result<Option<Arc<MaildirAccount>>, String> {
        if engine.account.is_none() {
            let place = Place {
                account: "ada@example.org".into(),
                owner: None,
                root: self.root(),
                control: None,
                index: None,
                layout: Layout::MaildirPlusPlus,
            };
            let layer = engine.layer.clone();
            engine.account = self.verb(&layer, "login", engine.store.maildir_account(&place)).await?;
        }
        Ok(engine.account.clone())
    }

    /// A mailbox that exists, as a session holds it.
    pub async fn mailbox(
        &mut self,
        engine: &mut Engine,
        at: usize,
    ) -> Result<Option<Arc<MaildirMailbox>>, String> {
        if let Some(m) = engine.open.get(&at) {
            if m.is_gone() {
                return Err(format!("{} was taken from its session", BOXES[at]));
            }
            return Ok(Some(m.clone()));
        }
        let Some(account) = self.account(engine).await? else { return Ok(None) };
        let layer = engine.layer.clone();
        let Some(m) = self.verb(&layer, "select", account.open_maildir(&MailboxName::new(BOXES[at]))).await?
        else {
            return Ok(None);
        };
        if self.history.watched {
            engine.ears.push(m.watch());
            m.claim_recent();
        }
        // What changed with a stop is for the check to judge.
        if self.after == After::Nothing {
            self.note(engine, at, &m)?;
        }
        engine.open.insert(at, m.clone());
        Ok(Some(m))
    }

    /// A client sees the mailbox as it is now.
    pub fn note(&mut self, engine: &Engine, at: usize, m: &MaildirMailbox) -> Check {
        let s = m.snapshot();
        if engine.layer.is_dead() || self.model.boxes[at].exists != Existence::Yes {
            return Ok(());
        }
        self.model.boxes[at].note_snapshot(&s, at)
    }

    async fn open_all(&mut self, engine: &mut Engine) -> Check {
        for at in 0..BOXES.len() {
            if self.model.boxes[at].exists == Existence::Yes && self.model.renaming.is_empty() {
                self.mailbox(engine, at).await?;
            }
        }
        Ok(())
    }

    // ---- checks ----------------------------------------------------------------------------------------------------

    /// Once a fault has ended, everything works, in the same engine and the same sessions.
    async fn works_again(&mut self, engine: &mut Engine) -> Check {
        self.model.hurt |= engine.layer.index_is_hurt();
        self.model.deaf |= engine.layer.index_was_deaf();
        self.check_all(engine).await?;
        let at = self.dice.roll(2);
        let new = super::history::NewText { flags: 2, date: None, spooled: self.dice.once_in(2) };
        let before = self.model.boxes[at].items.len();
        self.step(engine, Step::Append(at, vec![new])).await?;
        let picks = [before as u16; 2];
        self.step(engine, Step::Store(at, picks, 16, culver_store::FlagChange::Add)).await?;
        if self.dice.once_in(2) {
            self.step(engine, Step::Expunge(at, picks)).await?;
        }
        Ok(())
    }

    /// Looks at everything as a client does and compares.
    pub async fn check_all(&mut self, engine: &mut Engine) -> Check {
        self.counts.checks += 1;
        let layer = engine.layer.clone();
        let account = self.account(engine).await?.ok_or("no account")?;
        let listed = self.verb(&layer, "list", account.list()).await?.ok_or("no list")?;
        let mut views = BTreeMap::new();
        for (at, name) in BOXES.iter().enumerate() {
            if !listed.iter().any(|l| l.name == MailboxName::new(name) && l.selectable) {
                continue;
            }
            // Whether it is there at all was not known: a session opens it anew.
            if self.model.boxes[at].exists != Existence::Yes || !self.model.renaming.is_empty() {
                engine.open.remove(&at);
            }
            let m = self.mailbox(engine, at).await?.ok_or("no mailbox")?;
            self.verb(&layer, "refresh", m.refresh()).await?;
            views.insert(at, self.view(&m).await?);
        }
        if let Some(other) = listed.iter().find(|l| !BOXES.contains(&l.name.as_str()) && l.selectable) {
            return Err(format!("{} is there, which nobody made", other.name));
        }
        let subscribed = self.verb(&layer, "lsub", account.subscriptions()).await?.ok_or("no list")?;
        for (name, wanted) in self.model.subscribed.clone() {
            let is = subscribed.contains(&MailboxName::new(&name));
            if is != wanted {
                return Err(format!("{name} is subscribed: {is}, expected {wanted}"));
            }
        }
        let after = std::mem::replace(&mut self.after, After::Nothing);
        self.model.check(views, after)?;
        for (at, m) in engine.open.clone() {
            // Whether it was made was open until now.
            self.note(engine, at, &m)?;
        }
        if layer.index_is_hurt() {
            self.model.hurt = true;
        }
        self.check_usage(engine).await?;
        self.counts.checked = self.model.checked;
        self.counts.flags_lost = self.model.flags_lost;
        self.counts.new_uids = self.model.new_uids;
        self.counts.came_back = self.model.came_back;
        Ok(())
    }

    async fn view(&mut self, m: &Arc<MaildirMailbox>) -> Result<View, String> {
        let s = m.snapshot();
        let uids: Vec<Uid> = s.iter().map(|r| r.uid).collect();
        let read = self.read(m, uids).await?;
        let mut seen = Vec::new();
        for (r, octets) in s.iter().zip(read) {
            let octets = octets.map_err(|e| format!("UID {} cannot be read: {e}", r.uid))?;
            let body = number(&octets).map_err(|e| format!("UID {}: {e}", r.uid))?;
            if let Some(size) = r.size.filter(|size| *size != octets.len() as u64) {
                return Err(format!("UID {} has {} octets, RFC822.SIZE {size}", r.uid, octets.len()));
            }
            let system = culver_base::SystemFlags::NAMES.into_iter();
            let system = system.filter(|(f, _)| r.flags.system.contains(*f)).map(|(_, n)| n);
            let keywords = s.keywords.of(r.flags.keywords).map(|k| k.as_str());
            let flags = flag_set(&system.chain(keywords).collect::<Vec<_>>().join(" "));
            seen.push(Seen { uid: r.uid.get(), body, flags, date: r.internal_date.unix });
        }
        Ok(View { snapshot: s, seen })
    }

    /// The octets of messages.
    pub async fn read(
        &mut self,
        m: &Arc<MaildirMailbox>,
        uids: Vec<Uid>,
    ) -> Result<Vec<Result<Vec<u8>, String>>, String> {
        let got = Arc::new(Mutex::new(Vec::<Result<Vec<u8>, String>>::new()));
        let into = got.clone();
        let count = uids.len();
        let visit = m.visit(
            uids,
            Box::new(move |message| {
                let mut out = Vec::new();
                let done = message.read(0..u64::MAX, &mut out);
                into.lock().push(done.map(|()| out).map_err(|e| e.to_string()));
                ControlFlow::Continue(())
            }),
        );
        let visited = self.in_time("reading", visit).await?;
        let got = std::mem::take(&mut *got.lock());
        if visited.count != count || got.len() != count {
            return Err(format!("{} of {count} messages were visited", visited.count));
        }
        Ok(got)
    }

    /// The tree as it is.
    pub fn listing(&self) -> String {
        let mut out = String::new();
        let mut todo = vec![self.temp.path().join("disk")];
        while let Some(dir) = todo.pop() {
            out.push_str(&format!("{}:\n", dir.display()));
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    todo.push(path);
                    continue;
                }
                let octets = std::fs::read(&path).unwrap_or_default();
                let start =
                    String::from_utf8_lossy(&octets[..octets.len().min(300)]).escape_debug().to_string();
                out.push_str(&format!("    {} {} {start}\n", entry.file_name().display(), octets.len()));
            }
        }
        out
    }

    pub fn fate(&self) -> Option<Fate> {
        self.planned.map(|p| p.fate)
    }
}
