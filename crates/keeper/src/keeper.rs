//! [`Keeper`]: see the head of the crate.

use crate::clock::Clock;
use crate::hook::{HOOKED, Hooked, Hooks, Told};
use crate::judge::{self, Coming, reason, state_of};
use crate::notice::{Notice, Notices};
use crate::standing::{Alert, Full, Standing, Verdict, place};
use crate::templates::Language;
use culver_base::MailboxName;
use culver_directory::builtin::{Builtin, Changed, Kept, KeptAccount, Problem, SetLimits};
use culver_directory::{Account, Directory, Login};
use culver_events::{Event, Events};
use culver_quota::{Enabling, Fit, Limits, Policy, State, Step, Usage, enable, step};
use culver_store::{AccountUsage, Failure, Look, Store};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Usages are written down, and what is due is looked for, so often.
const PACE: Duration = Duration::from_secs(20);
/// Accounts whose files are counted in one go.
const CHECKS: usize = 16;
/// Steps of one account that wait to be told; older ones are forgotten.
const MOST_PENDING: usize = 32;
/// A user's notice gets so long.
const TELLING: Duration = Duration::from_secs(60);
/// Meanwhile no other server with the same directory tells the same; in seconds, and longer than [`TELLING`].
const TURN: i64 = 90;

/// A mailbox with room of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extra {
    /// Its name.
    pub mailbox: MailboxName,
    /// Percent of the limits on top.
    pub percent: u32,
}

/// What is kept to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeeperSettings {
    /// The life cycle.
    pub policy: Policy,
    /// Limits of accounts of which nobody says any.
    pub limits: Limits,
    /// Octets by which the last message may go beyond the limit.
    pub last_message: u64,
    /// Mailboxes with more room.
    pub extras: Vec<Extra>,
    /// What senders are answered while an account is full.
    pub full: Full,
    /// The language of those who have none of their own.
    pub language: Language,
    /// Seconds between two counts of all files of an account; 0 for never.
    pub check_every: i64,
}

impl Default for KeeperSettings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            limits: Limits::default(),
            last_message: 10 << 20,
            extras: Vec::new(),
            full: Full::Later,
            language: Language::En,
            check_every: 86_400,
        }
    }
}

/// What a keeper is made of.
pub struct Parts {
    /// Where states are kept.
    pub builtin: Arc<Builtin>,
    /// Who is who, for accounts that nobody is logged in to.
    pub directory: Arc<Directory>,
    /// The mail.
    pub store: Arc<dyn Store>,
    /// Who tells users.
    pub notices: Arc<dyn Notices>,
    /// Who else is told.
    pub hooks: Hooks,
    /// What happened.
    pub events: Events,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Keeps accounts to their quota.
pub struct Keeper {
    parts: Parts,
    settings: Mutex<Arc<KeeperSettings>>,
    /// Standings of accounts that are not simply within; `None` until they were looked at.
    known: Mutex<HashMap<String, Option<Standing>>>,
    /// Usages that are not written down yet.
    seen: Mutex<HashMap<String, (u64, u64, i64)>>,
    /// Accounts with something to be told.
    untold: Mutex<BTreeSet<String>>,
    /// Steps that hooks have not heard of.
    hooked: Hooked,
    /// Sessions that want to hear of a new state while they wait.
    watched: Mutex<HashMap<String, watch::Sender<State>>>,
    /// Somebody tells.
    telling: tokio::sync::Mutex<()>,
    wake: Notify,
}

/// What is kept of an account and what it may keep.
struct Read {
    kept: Option<Kept>,
    limits: Limits,
}

impl Keeper {
    /// A keeper. Accounts that were left with something to be told are told at the first [`Self::tick`].
    pub fn new(parts: Parts, settings: KeeperSettings) -> Self {
        let keeper = Self {
            parts,
            settings: Mutex::new(Arc::new(settings)),
            known: Mutex::default(),
            seen: Mutex::default(),
            untold: Mutex::default(),
            hooked: Hooked::default(),
            watched: Mutex::default(),
            telling: tokio::sync::Mutex::default(),
            wake: Notify::new(),
        };
        // So that the first tick comes at once.
        keeper.wake.notify_one();
        keeper
    }

    /// From now on.
    pub fn set(&self, settings: KeeperSettings) {
        *self.settings.lock() = Arc::new(settings);
    }

    /// What is kept to now.
    pub fn settings(&self) -> Arc<KeeperSettings> {
        self.settings.lock().clone()
    }

    // ---- questions -------------------------------------------------------------------------------------------------

    /// May a delivery be stored in this mailbox? `octets` and `messages` are what comes together.
    ///
    /// # Errors
    /// When the account's mail cannot be looked at.
    pub async fn admit(
        &self,
        account: &Account,
        mailbox: &MailboxName,
        octets: u64,
        messages: u64,
    ) -> Result<Verdict, Failure> {
        let read = self.read(&account.name, account).await;
        if let Some(off) = judge::disabled(account, read.kept.as_ref(), &self.settings().policy) {
            return Ok(off);
        }
        self.fit(account, mailbox, octets, messages, &read).await
    }

    /// Is there room for what the user stores, whether or not the account receives mail?
    ///
    /// # Errors
    /// When the account's mail cannot be looked at.
    pub async fn room(
        &self,
        account: &Account,
        mailbox: &MailboxName,
        octets: u64,
        messages: u64,
    ) -> Result<Verdict, Failure> {
        let read = self.read(&account.name, account).await;
        self.fit(account, mailbox, octets, messages, &read).await
    }

    async fn fit(
        &self,
        account: &Account,
        mailbox: &MailboxName,
        octets: u64,
        messages: u64,
        read: &Read,
    ) -> Result<Verdict, Failure> {
        let limits = read.limits;
        let settings = self.settings();
        let usage = match (limits.storage, limits.messages) {
            (None, None) => Usage::default(),
            _ => self.usage(account, limits, Look::Known).await?.counted(),
        };
        let coming = Coming { mailbox, octets, messages };
        let asked = |usage| judge::fits(usage, limits, coming, &settings);
        let mut answer = asked(usage);
        if matches!(answer, Fit::Over(_)) {
            // Other programs may have made room.
            answer = asked(self.usage(account, limits, Look::Now).await?.counted());
        }
        Ok(judge::verdict(answer, &settings))
    }

    /// May a mailbox be made? `Some`: no, with the limit.
    ///
    /// # Errors
    /// When the account's mail cannot be looked at.
    pub async fn too_many_mailboxes(&self, account: &Account) -> Result<Option<u64>, Failure> {
        let limits = self.read(&account.name, account).await.limits;
        let Some(limit) = limits.mailboxes else { return Ok(None) };
        let there = self.usage(account, limits, Look::Known).await?.mailboxes.len() as u64;
        Ok((there >= limit).then_some(limit))
    }

    /// How it stands. What other programs did is seen; a step that is due is taken.
    ///
    /// # Errors
    /// When the account's mail cannot be looked at.
    pub async fn standing(&self, account: &Account) -> Result<Standing, Failure> {
        // Whoever asks may have logged in long ago.
        let now = self.account(&account.name).await;
        self.look(now.as_deref().unwrap_or(account), Look::Now).await
    }

    /// Something was stored or expunged: takes the steps that follow from it. Failures are logged, nothing else.
    pub async fn stored(&self, account: &Account) {
        if let Err(error) = self.look(account, Look::Known).await {
            tracing::warn!(account = %account.name, %error, "the quota cannot be looked at for now");
        }
    }

    /// What a user should know when logging in, as far as it was looked at.
    pub fn alert(&self, account: &Account) -> Option<Alert> {
        self.known.lock().get(&account.name)?.as_ref()?.alert()
    }

    /// The same at a login, where it is worth a look. Costs nothing for those who are within.
    pub async fn greeting(&self, account: &Account) -> Option<Alert> {
        let known = self.known.lock().get(&account.name).cloned()?;
        match known {
            Some(standing) => standing.alert(),
            None => self.look(account, Look::Known).await.ok()?.alert(),
        }
    }

    /// Hears when the account's state changes: for sessions that wait.
    pub fn watch(&self, account: &Account) -> watch::Receiver<State> {
        let mut watched = self.watched.lock();
        // Those that nobody waits for any more.
        watched.retain(|_, sender| sender.receiver_count() > 0);
        watched.entry(account.name.clone()).or_insert_with(|| watch::Sender::new(State::Within)).subscribe()
    }

    /// What an account may keep.
    pub async fn limits(&self, account: &Account) -> Limits {
        self.read(&account.name, account).await.limits
    }

    /// Counts every file. Gives what was known before, if that was wrong.
    ///
    /// # Errors
    /// When the account's mail cannot be looked at.
    pub async fn recount(&self, account: &Account) -> Result<Option<Usage>, Failure> {
        let limits = self.limits(account).await;
        // What other programs did is no mistake of ours.
        self.usage(account, limits, Look::Now).await?;
        let counted = self.usage(account, limits, Look::Recount).await?;
        if let Some(known) = counted.mistaken {
            let counted = counted.counted();
            self.parts.events.emit(Event::QuotaDrift {
                account: account.name.clone(),
                known: (known.storage, known.messages),
                counted: (counted.storage, counted.messages),
            });
        }
        let mistaken = counted.mistaken;
        self.look(account, Look::Known).await?;
        Ok(mistaken)
    }

    /// What is kept of all accounts that were ever looked at and have a limit, sorted by name.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn all(&self) -> Result<Vec<KeptAccount>, Problem> {
        self.keep_usages().await;
        self.builtin(|builtin| builtin.quotas()).await
    }

    /// Changes the limits that are set here for an account of any source, or for a domain. Gives the name under which
    /// they stand.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn set_limits(
        &self,
        name: &str,
        change: impl FnOnce(&mut SetLimits) + Send + 'static,
    ) -> Result<String, Problem> {
        let name = name.to_owned();
        self.builtin(move |builtin| builtin.set_limits(&name, change)).await
    }

    /// Enables receiving again, by hand. `false`: it was not disabled.
    ///
    /// # Errors
    /// When the account's mail cannot be looked at.
    pub async fn enable(&self, account: &Account) -> Result<bool, Failure> {
        let read = self.read(&account.name, account).await;
        if !read.kept.as_ref().is_some_and(|kept| matches!(state_of(kept), State::Disabled { .. })) {
            return Ok(false);
        }
        let usage = self.usage(account, read.limits, Look::Now).await?.counted();
        self.take(account, usage, read.limits, Hand::Enables).await;
        Ok(true)
    }

    // ---- the background --------------------------------------------------------------------------------------------

    /// Comes back when [`Self::tick`] has something to do, or might.
    pub async fn wait(&self) {
        let _ = tokio::time::timeout(PACE, self.wake.notified()).await;
    }

    /// Writes down what was seen, takes steps that are due by the clock, tells what is to be told, counts.
    pub async fn tick(&self) {
        self.keep_usages().await;
        let all = match self.builtin(|builtin| builtin.quotas()).await {
            Ok(all) => all,
            Err(problem) => {
                self.failed("reading what is kept of quotas", &problem);
                return;
            }
        };
        let (now, settings) = (self.parts.clock.now(), self.settings());
        let mut checks = 0;
        {
            let mut known = self.known.lock();
            for (name, _) in all.iter().filter(|(_, kept)| state_of(kept) != State::Within) {
                known.entry(name.clone()).or_insert(None);
            }
        }
        for (name, kept) in all {
            if !kept.pending.is_empty() {
                self.untold.lock().insert(name.clone());
            }
            // A clock that was set back moves the end, too.
            let due = match state_of(&kept) {
                State::Over { since } => {
                    since > now || state_of(&kept).due(&settings.policy).is_some_and(|due| due <= now)
                }
                // Whoever deleted something may have done so where nobody told us.
                State::Disabled { .. } => settings.policy.enabling == Enabling::ByItself,
                _ => false,
            };
            let check = settings.check_every > 0
                && kept.checked != 0
                && now.saturating_sub(kept.checked) >= settings.check_every
                && checks < CHECKS;
            if !due && !check {
                continue;
            }
            let Some(account) = self.account(&name).await else { continue };
            let done = if check {
                checks += 1;
                let done = self.recount(&account).await.map(drop);
                self.note_check(&name, now).await;
                done
            } else {
                self.look(&account, Look::Now).await.map(drop)
            };
            if let Err(error) = done {
                tracing::warn!(account = %name, %error, "the quota cannot be looked at for now");
            }
        }
        self.tell_all().await;
    }

    /// Writes down what was seen; before the server ends, too.
    pub async fn keep_usages(&self) {
        let seen = std::mem::take(&mut *self.seen.lock());
        if seen.is_empty() {
            return;
        }
        let rows: Vec<_> = seen.into_iter().map(|(name, (s, m, at))| (name, s, m, at)).collect();
        if let Err(problem) = self.builtin(move |builtin| builtin.keep_usages(&rows)).await {
            self.failed("writing down what accounts keep", &problem);
        }
    }

    async fn note_check(&self, name: &str, now: i64) {
        let name = name.to_owned();
        let noted = self.builtin(move |builtin| {
            builtin.change_quota(&name, |kept| {
                kept.checked = now;
                (Changed::Kept, ())
            })
        });
        if let Err(problem) = noted.await {
            self.failed("writing down a count", &problem);
        }
    }

    /// Tells users and hooks what waits.
    async fn tell_all(&self) {
        let Ok(_turn) = self.telling.try_lock() else { return };
        let names = std::mem::take(&mut *self.untold.lock());
        for name in names {
            if tokio::time::timeout(TELLING, self.tell(&name)).await.is_err() {
                tracing::warn!(account = %name, "telling of a quota's steps took too long; it is tried again");
                self.untold.lock().insert(name);
            }
        }
    }

    /// It was not told: whoever comes next may try.
    async fn end_turn(&self, name: &str) {
        self.untold.lock().insert(name.to_owned());
        let of = name.to_owned();
        let ended = self.builtin(move |builtin| {
            builtin.change_quota(&of, |kept| {
                kept.telling = 0;
                (Changed::Kept, ())
            })
        });
        if let Err(problem) = ended.await {
            self.failed("writing down that a user was not told", &problem);
        }
    }

    async fn tell(&self, name: &str) {
        let (of, now) = (name.to_owned(), self.parts.clock.now());
        let read = self.builtin(move |builtin| {
            let (_, own, domain) = builtin.quota(&of)?;
            let kept = builtin.change_quota(&of, |kept| take_turn(kept, now))?;
            Ok((kept, own.language.or(domain.language)))
        });
        let (kept, language) = match read.await {
            Ok((Turn::Ours(kept), language)) => (kept, language),
            Ok((Turn::Nothing, _)) => return,
            Ok((Turn::Others, _)) => {
                self.untold.lock().insert(name.to_owned());
                return;
            }
            Err(problem) => return self.failed("reading what is kept of quotas", &problem),
        };
        let pending = pending(&kept);
        let Some(account) = self.account(name).await else { return };
        // Of several steps at once, the last one says it all to the user.
        if let Some(told) = pending.iter().rev().find(|told| told.to_user) {
            let settings = self.settings();
            let language = account.extra.get("language").or(language.as_ref());
            let language = language.and_then(|tag| Language::parse(tag)).unwrap_or(settings.language);
            let notice = Notice::new(name, language, told.clone(), self.parts.clock.now());
            if let Err(error) = self.parts.notices.notice(&account, notice).await {
                tracing::warn!(account = %name, %error, "a notice cannot be delivered for now; it is tried again");
                self.end_turn(name).await;
                return;
            }
        }
        let (of, done) = (name.to_owned(), kept.pending);
        let cleared = self.builtin(move |builtin| {
            builtin.change_quota(&of, |kept| {
                kept.telling = 0;
                // What came meanwhile stays.
                match kept.pending.strip_prefix(&done).map(str::to_owned) {
                    Some(rest) => {
                        let all = rest.is_empty();
                        kept.pending = rest;
                        (Changed::Kept, all)
                    }
                    None => (Changed::Kept, false),
                }
            })
        });
        match cleared.await {
            Ok(true) => (),
            Ok(false) => {
                self.untold.lock().insert(name.to_owned());
                self.wake.notify_one();
            }
            Err(problem) => self.failed("writing down that a user was told", &problem),
        }
        if self.parts.hooks.is_empty() {
            return;
        }
        for told in &pending {
            if !self.hooked.put(name, told) {
                let what = format!("quota.hook does not hear of step {}: {HOOKED} wait already", told.step);
                self.hook_failed(name, what);
            }
        }
    }

    /// Comes back when [`Self::run_hooks`] has something to do.
    pub async fn wait_for_hooks(&self) {
        self.hooked.wait().await;
    }

    /// Tells hooks what waits for them, in order. What one of them does, or does not, holds nobody up but the next call of
    /// a hook.
    pub async fn run_hooks(&self) {
        while let Some((name, told)) = self.hooked.next() {
            for hook in &self.parts.hooks {
                if let Err(why) = hook.run(&name, &told).await {
                    self.hook_failed(&name, format!("quota.hook for step {} failed: {why}", told.step));
                }
            }
        }
    }

    fn hook_failed(&self, name: &str, what: String) {
        self.parts.events.emit(Event::Fault { account: name.to_owned(), what, session: String::new() });
    }

    // ---- one look --------------------------------------------------------------------------------------------------

    async fn look(&self, account: &Account, look: Look) -> Result<Standing, Failure> {
        let read = self.read(&account.name, account).await;
        let limits = read.limits;
        let limited = limits.storage.is_some() || limits.messages.is_some();
        if !limited && read.kept.is_none() && look == Look::Known {
            return Ok(Standing {
                usage: Usage::default(),
                mailboxes: 0,
                limits,
                state: State::Within,
                until: None,
            });
        }
        let usage = self.usage(account, limits, look).await?;
        let (counted, mailboxes) = (usage.counted(), usage.mailboxes.len() as u64);
        let kept = read.kept.unwrap_or_default();
        let now = self.parts.clock.now();
        if limited {
            self.seen.lock().insert(account.name.clone(), (counted.storage, counted.messages, now));
        }
        let hand = match state_of(&kept) {
            // Not by what a session knows that began before.
            State::Disabled { .. } if kept.switched && account.receive.off().is_none() => {
                match self.account(&account.name).await {
                    Some(now) if now.receive.off().is_none() => Hand::Enabled,
                    _ => Hand::Off,
                }
            }
            _ => Hand::Off,
        };
        let policy = &self.settings().policy;
        let (mut state, steps) = next(&kept, counted, limits, policy, now, hand);
        if state != state_of(&kept) || !steps.is_empty() {
            state = self.take(account, counted, limits, hand).await.unwrap_or(state);
        }
        let standing = Standing { usage: counted, mailboxes, limits, state, until: state.due(policy) };
        {
            let mut known = self.known.lock();
            if state == State::Within {
                known.remove(&account.name);
            } else {
                known.insert(account.name.clone(), Some(standing.clone()));
            }
        }
        if let Some(watched) = self.watched.lock().get(&account.name) {
            watched.send_if_modified(|before| std::mem::replace(before, state) != state);
        }
        Ok(standing)
    }

    /// Takes the steps that are due, and writes them down before anybody hears of them.
    async fn take(&self, account: &Account, usage: Usage, limits: Limits, hand: Hand) -> Option<State> {
        let (settings, now) = (self.settings(), self.parts.clock.now());
        let name = account.name.clone();
        let taken = self.builtin(move |builtin| {
            let policy = &settings.policy;
            builtin.change_quota(&name, |kept| {
                let before = state_of(kept);
                let (state, steps) = next(kept, usage, limits, policy, now, hand);
                let (word, percent, since) = state.parts();
                (kept.state, kept.percent, kept.since) = (word.to_owned(), percent, since);
                (kept.storage, kept.messages, kept.seen) = (usage.storage, usage.messages, now);
                if kept.checked == 0 {
                    kept.checked = now;
                }
                let told: Vec<Told> =
                    steps.iter().map(|s| Told::new(*s, usage, limits, now, policy.grace)).collect();
                note(kept, &told);
                let changed = if steps.contains(&Step::Disabled) {
                    Changed::ReceiveOff { reason: reason(policy), since: now }
                } else if steps.iter().any(|s| matches!(s, Step::Enabled { .. })) {
                    Changed::ReceiveOn
                } else if state != before || !steps.is_empty() {
                    Changed::Kept
                } else {
                    Changed::Nothing
                };
                (changed, (state, told))
            })
        });
        match taken.await {
            Ok((state, told)) => {
                for told in &told {
                    self.parts.events.emit(Event::Quota {
                        account: account.name.clone(),
                        step: told.step.clone(),
                        percent: told.percent,
                        storage: told.storage,
                        messages: told.messages,
                        until: told.until,
                    });
                }
                if !told.is_empty() {
                    self.untold.lock().insert(account.name.clone());
                    self.wake.notify_one();
                }
                Some(state)
            }
            Err(problem) => {
                self.failed("writing down a step of a quota", &problem);
                None
            }
        }
    }

    async fn usage(&self, account: &Account, limits: Limits, look: Look) -> Result<AccountUsage, Failure> {
        let mail = self.parts.store.account(&place(account)).await?;
        mail.announce_limits(limits.storage, limits.messages);
        mail.usage(look).await
    }

    /// What is kept of an account, and what it may keep. When the file cannot be read, that is what its source says.
    async fn read(&self, name: &str, account: &Account) -> Read {
        let of = name.to_owned();
        let (kept, own, domain) = match self.builtin(move |builtin| builtin.quota(&of)).await {
            Ok(read) => read,
            Err(problem) => {
                self.failed("reading what is kept of quotas", &problem);
                (None, SetLimits::default(), SetLimits::default())
            }
        };
        Read { kept, limits: judge::limits(account, &own, &domain, &self.settings()) }
    }

    async fn account(&self, name: &str) -> Option<Arc<Account>> {
        let login = Login::parse(name.as_bytes()).ok()?;
        match self.parts.directory.find(&login).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(account = name, %error, "the account cannot be looked up for now");
                None
            }
        }
    }

    async fn builtin<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Builtin) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let builtin = self.parts.builtin.clone();
        let beside = builtin.clone();
        let done = tokio::task::spawn_blocking(move || work(&builtin)).await;
        done.unwrap_or_else(|why| Err(beside.failed(why)))
    }

    fn failed(&self, doing: &str, problem: &Problem) {
        self.parts.events.emit(Event::Fault {
            account: String::new(),
            what: format!("{doing}: {problem}"),
            session: String::new(),
        });
    }
}

/// Does somebody enable it?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hand {
    /// No.
    Off,
    /// By our own verb.
    Enables,
    /// By the account's switch.
    Enabled,
}

fn next(
    kept: &Kept,
    usage: Usage,
    limits: Limits,
    policy: &Policy,
    now: i64,
    hand: Hand,
) -> (State, Vec<Step>) {
    let state = state_of(kept);
    match hand {
        Hand::Off => step(state, usage, limits, policy, now),
        Hand::Enables | Hand::Enabled => enable(state, usage, limits, policy, now),
    }
}

/// One step a line.
/// Whose turn it is to tell an account's steps.
enum Turn {
    /// There is nothing to tell.
    Nothing,
    /// Another server does it.
    Others,
    /// It is ours until [`TURN`] has passed.
    Ours(Kept),
}

/// Of several servers with one directory, one tells a step. Who falls silent loses the turn; a clock that was set back takes it
/// from nobody for longer.
fn take_turn(kept: &mut Kept, now: i64) -> (Changed, Turn) {
    if kept.pending.is_empty() {
        return (Changed::Nothing, Turn::Nothing);
    }
    if kept.telling > now && kept.telling <= now + TURN {
        return (Changed::Nothing, Turn::Others);
    }
    kept.telling = now + TURN;
    (Changed::Kept, Turn::Ours(kept.clone()))
}

fn pending(kept: &Kept) -> Vec<Told> {
    kept.pending.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn note(kept: &mut Kept, told: &[Told]) {
    for told in told {
        if let Ok(line) = serde_json::to_string(told) {
            kept.pending.push_str(&line);
            kept.pending.push('\n');
        }
    }
    let lines = kept.pending.lines().count();
    if lines > MOST_PENDING {
        let rest: Vec<&str> = kept.pending.lines().skip(lines - MOST_PENDING).collect();
        kept.pending = rest.join("\n") + "\n";
    }
}
