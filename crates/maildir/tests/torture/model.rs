//! What must be there, in a few lines: bodies by number, their UIDs, flags and dates, and what may have become of what
//! was not acknowledged.
//!
//! # What is promised, and checked
//!
//! * A message that was acknowledged is there, octet for octet; one that was not may be there, but then whole. (Of
//!   several in one APPEND, or one COPY, a stop may leave some.) A message under way in a MOVE is in one place at least.
//! * A UID stands for one message, for ever (per mailbox name and UIDVALIDITY). UIDNEXT and HIGHESTMODSEQ never fall, and
//!   a client that asks what changed since any HIGHESTMODSEQ that it saw comes to the right picture.
//! * UIDVALIDITY stays, unless it could not be written anywhere. Messages keep their UIDs over a kill; after a power loss, or if the index could not be written,
//!   they may get new ones above all that were given.
//! * Flags that were acknowledged are there after a kill. They may be lost, to a state that the message had before, by a
//!   power loss (but not those from before the mailbox was last closed in order), or by a kill or power loss while the
//!   index could not be written.
//! * What was acknowledged as expunged does not come back; after a power loss it may, as the message it was, but for flags that no
//!   name tells.

use super::history::{BOXES, FLAGS};
use culver_snapshot::Snapshot;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub type FlagSet = BTreeSet<String>;

pub fn flag_set(names: &str) -> FlagSet {
    names.split_whitespace().map(str::to_owned).collect()
}

/// The octets of a message, in wire form, from its number.
pub fn text(body: u64) -> String {
    let size = match body % 32 {
        0 => 300_000,
        1 | 2 => 20_000,
        n => n as usize * 40,
    };
    let mut out = format!("Subject: {body}\r\nFrom: torture@example.org\r\n\r\n");
    let mut word = body;
    while out.len() < size {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(body | 1);
        out.push_str(&format!("{word:x} of {body}"));
        out.push_str(if word.is_multiple_of(5) { "\r\n" } else { " " });
    }
    out
}

/// The number of a message, if it is whole.
pub fn number(octets: &[u8]) -> Result<u64, String> {
    let head = String::from_utf8_lossy(&octets[..octets.len().min(60)]).into_owned();
    let digits = head.strip_prefix("Subject: ").and_then(|t| t.split("\r\n").next());
    let body = digits.and_then(|t| t.parse().ok());
    let body =
        body.ok_or_else(|| format!("a message that nobody wrote, {} octets: {head:?}", octets.len()))?;
    let whole = text(body);
    if whole.as_bytes() == octets {
        return Ok(body);
    }
    let same = whole.bytes().zip(octets).take_while(|(a, b)| a == *b).count();
    Err(format!("message {body} has {} octets of {}, right up to {same}", octets.len(), whole.len()))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    There,
    /// Not acknowledged.
    MaybeIn,
    /// Its going was not acknowledged.
    MaybeOut,
    /// It was being moved: here or there.
    Moving,
}

#[derive(Clone, Debug)]
pub struct Item {
    pub body: u64,
    pub uid: Option<u32>,
    pub presence: Presence,
    pub flags: FlagSet,
    /// Flags that may be either way.
    pub loose: FlagSet,
    /// Flags that were set, and not set, at any time since all was surely on disk.
    pub since_on: FlagSet,
    pub since_off: FlagSet,
    /// The same since it came.
    pub ever_on: FlagSet,
    pub ever_off: FlagSet,
    /// It was not acknowledged, only seen after a kill: nobody has synced its name.
    pub shaky: bool,
    pub date: Option<i64>,
}

fn all_flags() -> impl Iterator<Item = String> {
    FLAGS.into_iter().chain(["\\Deleted"]).map(str::to_owned)
}

impl Item {
    pub fn new(body: u64, flags: FlagSet, date: Option<i64>, presence: Presence) -> Self {
        // A keyword that has no letter yet is in the index alone.
        let ever_off = all_flags().filter(|f| !flags.contains(f) || !f.starts_with('\\')).collect();
        let ever_off: FlagSet = ever_off;
        Self {
            body,
            uid: None,
            presence,
            loose: FlagSet::new(),
            since_on: flags.clone(),
            since_off: ever_off.clone(),
            ever_on: flags.clone(),
            ever_off,
            shaky: false,
            flags,
            date,
        }
    }
    /// Flags became these, for sure or not.
    pub fn set_flags(&mut self, flags: FlagSet, sure: bool) {
        for f in self.flags.symmetric_difference(&flags) {
            if !sure {
                self.loose.insert(f.clone());
            }
            let (since, ever) = if flags.contains(f) {
                (&mut self.since_on, &mut self.ever_on)
            } else {
                (&mut self.since_off, &mut self.ever_off)
            };
            since.insert(f.clone());
            ever.insert(f.clone());
        }
        if sure {
            self.flags = flags;
        }
    }
    fn settle(&mut self) {
        if self.loose.is_empty() {
            self.since_on = self.flags.clone();
            self.since_off = all_flags().filter(|f| !self.flags.contains(f)).collect();
        }
    }
    fn allows(&self, seen: &FlagSet, trust: Trust) -> bool {
        let mut all: FlagSet = self.flags.clone();
        all.extend(seen.iter().cloned());
        all.iter().all(|f| {
            let on = seen.contains(f);
            let known = match (trust, on) {
                (Trust::All, _) => &self.loose,
                (Trust::WhatWasClosed, true) => &self.since_on,
                (Trust::WhatWasClosed, false) => &self.since_off,
                (Trust::Nothing, true) => &self.ever_on,
                (Trust::Nothing, false) => &self.ever_off,
            };
            self.flags.contains(f) == on || self.loose.contains(f) || known.contains(f)
        })
    }
}

/// Which flags must be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trust {
    All,
    WhatWasClosed,
    Nothing,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Existence {
    Yes,
    #[default]
    No,
    Maybe,
}

#[derive(Clone, Default, Debug)]
pub struct Mailbox {
    pub exists: Existence,
    pub validity: Option<u32>,
    pub items: Vec<Item>,
    pub expunged: Vec<Item>,
    /// Per UIDVALIDITY: HIGHESTMODSEQ and UIDNEXT that clients saw.
    pub floors: BTreeMap<u32, (u64, u32)>,
    /// What UIDs stand for.
    pub says: BTreeMap<(u32, u32), u64>,
    /// UIDNEXT when the last engine ended: UIDs that are given anew are above it.
    pub fence: u32,
    /// Its making (or renaming hither) was not acknowledged, only seen after a kill: nobody has synced its name.
    pub shaky: bool,
    /// Whose deletion was not acknowledged: a power loss may bring it back.
    pub ghost: Option<Box<Mailbox>>,
    /// What clients keep: HIGHESTMODSEQ, and flags by UID.
    pub cached: Vec<(u64, BTreeMap<u32, String>)>,
}

/// What happened since the last check.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum After {
    Nothing,
    Restart,
    Kill,
    PowerLoss,
}

/// A message as a client sees it.
pub struct Seen {
    pub uid: u32,
    pub body: u64,
    pub flags: FlagSet,
    pub date: i64,
}

/// A mailbox as a client sees it.
pub struct View {
    pub snapshot: Arc<Snapshot>,
    pub seen: Vec<Seen>,
}

#[derive(Default)]
pub struct Model {
    pub boxes: [Mailbox; BOXES.len()],
    pub bodies: u64,
    /// RENAMEs that were not answered, but seen to have been done.
    pub shaky_renames: Vec<(usize, usize)>,
    /// RENAMEs that were not answered.
    pub renaming: Vec<(usize, usize)>,
    pub subscribed: BTreeMap<String, bool>,
    /// The index could not be written for a while.
    pub hurt: bool,
    /// And not even marked: changes that were refused, but seen, are unknown after a stop.
    pub deaf: bool,
    /// Messages compared.
    pub checked: u64,
    pub came_back: u64,
    pub new_uids: u64,
    pub flags_lost: u64,
}

impl Mailbox {
    /// Another mailbox of this name begins.
    pub fn begin(&mut self, exists: Existence) {
        let (floors, says) = (std::mem::take(&mut self.floors), std::mem::take(&mut self.says));
        *self = Self { exists, floors, says, ..Self::default() };
    }
    pub fn item_of(&mut self, uid: u32) -> Option<&mut Item> {
        self.items.iter_mut().find(|i| i.uid == Some(uid))
    }
    /// A client was told this.
    pub fn note(&mut self, uid: u32, body: u64, at: usize) -> Result<(), String> {
        let validity = self.validity.unwrap_or_default();
        match self.says.insert((validity, uid), body) {
            Some(old) if old != body => {
                Err(format!("{} UID {uid} was message {old} and is message {body}", BOXES[at]))
            }
            _ => Ok(()),
        }
    }
    pub fn note_snapshot(&mut self, s: &Snapshot, at: usize) -> Result<(), String> {
        let validity = s.uid_validity.get();
        let known = *self.validity.get_or_insert(validity);
        if known != validity {
            return Err(format!("{} UIDVALIDITY was {known} and is {validity}", BOXES[at]));
        }
        let (highest, next) = (s.highest_mod_seq.get(), s.uid_next.get());
        let floor = self.floors.entry(validity).or_insert((highest, next));
        if highest < floor.0 {
            return Err(format!("{} HIGHESTMODSEQ fell from {} to {highest}", BOXES[at], floor.0));
        }
        if next < floor.1 {
            return Err(format!("{} UIDNEXT fell from {} to {next}", BOXES[at], floor.1));
        }
        *floor = (highest, next);
        Ok(())
    }
}

impl Model {
    pub fn new_body(&mut self) -> u64 {
        self.bodies += 1;
        self.bodies
    }

    /// All of a mailbox is on disk.
    pub fn settle(&mut self, at: usize) {
        self.boxes[at].items.iter_mut().for_each(Item::settle);
    }

    /// The power went: what was not acknowledged, but seen to be so, is open again.
    pub fn power_lost(&mut self) {
        for mailbox in &mut self.boxes {
            if mailbox.shaky && mailbox.exists == Existence::Yes {
                mailbox.exists = Existence::Maybe;
            }
            if mailbox.exists == Existence::No
                && let Some(ghost) = mailbox.ghost.take()
            {
                *mailbox = *ghost;
                mailbox.exists = Existence::Maybe;
                mailbox.items.iter_mut().for_each(|i| i.presence = Presence::MaybeIn);
            }
        }
        for (from, to) in std::mem::take(&mut self.shaky_renames) {
            if self.boxes[to].exists == Existence::Maybe && self.boxes[from].exists != Existence::Yes {
                self.boxes[from].exists = Existence::Maybe;
                self.renaming.push((to, from));
            }
        }
    }

    /// The engine ended.
    pub fn ended(&mut self) {
        for mailbox in &mut self.boxes {
            let floor = mailbox.validity.and_then(|v| mailbox.floors.get(&v));
            mailbox.fence = floor.map_or(0, |f| f.1);
        }
    }

    /// An answered RENAME, for one mailbox.
    pub fn rename(&mut self, from: usize, to: usize) {
        let mut moved = std::mem::take(&mut self.boxes[from]);
        self.boxes[from].floors = moved.floors.clone();
        self.boxes[from].says = moved.says.clone();
        let old = std::mem::take(&mut self.boxes[to]);
        for (validity, floor) in old.floors {
            moved.floors.entry(validity).or_insert(floor);
        }
        moved.says.extend(old.says);
        self.boxes[to] = moved;
    }

    /// Compares everything with what clients see now, and takes that for true from now on.
    pub fn check(&mut self, mut views: BTreeMap<usize, View>, after: After) -> Result<(), String> {
        for (from, to) in std::mem::take(&mut self.renaming) {
            if self.boxes[from].exists != Existence::No
                && !views.contains_key(&from)
                && views.contains_key(&to)
            {
                self.rename(from, to);
                self.boxes[to].shaky = true;
                self.shaky_renames.push((from, to));
            }
        }
        let lax = self.hurt || after == After::PowerLoss;
        let mut wanted: BTreeMap<u64, i64> = BTreeMap::new();
        for (at, mailbox) in self.boxes.iter_mut().enumerate() {
            let there = views.contains_key(&at);
            match mailbox.exists {
                Existence::Yes if !there => return Err(format!("{} is gone", BOXES[at])),
                Existence::No if there => {
                    return Err(format!("{} is there, which nobody made", BOXES[at]));
                }
                _ => (),
            }
            if !there {
                let ghost = (mailbox.exists == Existence::Maybe).then(|| Box::new(mailbox.clone()));
                mailbox.begin(Existence::No);
                mailbox.ghost = ghost;
                continue;
            }
            mailbox.shaky |= mailbox.exists == Existence::Maybe;
            if mailbox.exists == Existence::Maybe && mailbox.items.is_empty() {
                mailbox.validity = None;
            }
            mailbox.exists = Existence::Yes;
            if self.deaf && after != After::Nothing {
                mailbox.cached.clear();
                if let Some(validity) = mailbox.validity
                    && let Some(floor) = mailbox.floors.get_mut(&validity)
                {
                    floor.0 = 0;
                }
            }
            // It was made while nothing could be written.
            let validity = views[&at].snapshot.uid_validity.get();
            if lax
                && after != After::Nothing
                && mailbox
                    .validity
                    .is_some_and(|old| validity > old || validity < old && mailbox.items.is_empty())
            {
                mailbox.validity = None;
                mailbox.cached.clear();
                mailbox.items.iter_mut().chain(&mut mailbox.expunged).for_each(|i| i.uid = None);
            }
            for item in &mailbox.items {
                let sure = item.presence == Presence::There && !(item.shaky && after == After::PowerLoss);
                if sure || item.presence == Presence::Moving {
                    *wanted.entry(item.body).or_default() += 1;
                }
            }
        }
        for (at, view) in std::mem::take(&mut views) {
            for seen in &view.seen {
                *wanted.entry(seen.body).or_default() -= 1;
            }
            self.check_one(at, view, after, lax)?;
        }
        if let Some((body, _)) = wanted.iter().find(|(_, n)| **n > 0) {
            return Err(format!("message {body} is lost"));
        }
        (self.hurt, self.deaf) = (false, false);
        Ok(())
    }

    fn check_one(&mut self, at: usize, view: View, after: After, lax: bool) -> Result<(), String> {
        let (name, s) = (BOXES[at], &view.snapshot);
        let (mut checked, mut new_uids, mut came_back, mut flags_lost) = (0, 0, 0, 0);
        let mailbox = &mut self.boxes[at];
        let fence = if lax && after != After::Nothing { mailbox.fence } else { u32::MAX };
        mailbox.note_snapshot(s, at)?;
        let mut left = std::mem::take(&mut mailbox.items);
        let mut now = Vec::new();
        for seen in &view.seen {
            if seen.uid >= s.uid_next.get() {
                return Err(format!("{name} UID {} is not below UIDNEXT {}", seen.uid, s.uid_next));
            }
            mailbox.note(seen.uid, seen.body, at)?;
            let find =
                |test: &dyn Fn(&Item) -> bool| left.iter().position(|i| i.body == seen.body && test(i));
            // What must be there comes before what may be.
            let anew = |i: &Item| i.uid.is_none() || seen.uid >= fence;
            let found = find(&|i| i.uid == Some(seen.uid))
                .or_else(|| find(&|i| i.uid.is_none() && i.presence == Presence::There))
                .or_else(|| find(&|i| anew(i) && i.presence == Presence::There))
                .or_else(|| find(&anew));
            let mut forgotten = false;
            let mut item = match found {
                Some(found) => left.remove(found),
                None => {
                    let back = mailbox
                        .expunged
                        .iter()
                        .position(|i| i.body == seen.body && (i.uid == Some(seen.uid) || anew(i)));
                    match back.filter(|_| after == After::PowerLoss) {
                        Some(back) => {
                            came_back += 1;
                            forgotten = true;
                            mailbox.expunged.remove(back)
                        }
                        None => {
                            let known: Vec<_> = left.iter().filter(|i| i.body == seen.body).collect();
                            return Err(format!(
                                "{name} UID {} is message {}, which should not be there (expunged as {:?}, known as {known:?})",
                                seen.uid,
                                seen.body,
                                mailbox.expunged.iter().find(|i| i.body == seen.body).map(|i| i.uid)
                            ));
                        }
                    }
                }
            };
            // The index knows nothing of what was expunged: of one that comes back only the name tells flags.
            let trust = match (lax, self.hurt || forgotten) {
                (_, true) => Trust::Nothing,
                (true, false) => Trust::WhatWasClosed,
                (false, false) => Trust::All,
            };
            if !item.allows(&seen.flags, trust) {
                return Err(format!(
                    "{name} UID {} (message {}) has flags {:?}, expected {:?} loose {:?}{}",
                    seen.uid,
                    seen.body,
                    seen.flags,
                    item.flags,
                    item.loose,
                    if lax { format!(", at any time {:?}", item.ever_on) } else { String::new() }
                ));
            }
            if item.presence == Presence::There
                && let Some(date) = item.date.filter(|d| *d != seen.date)
            {
                return Err(format!(
                    "{name} UID {} (message {}) has the date {}, expected {date}",
                    seen.uid, seen.body, seen.date
                ));
            }
            checked += 1;
            new_uids += u64::from(item.uid.is_some_and(|u| u != seen.uid));
            flags_lost += u64::from(lax && item.loose.is_empty() && item.flags != seen.flags);
            item.uid = Some(seen.uid);
            item.shaky |= item.presence != Presence::There;
            item.presence = Presence::There;
            item.loose.clear();
            item.set_flags(seen.flags.clone(), true);
            item.date = Some(seen.date);
            now.push(item);
        }
        // What a MOVE or an EXPUNGE may have taken may be taken back by a power loss, and so may the going of what came by a verb
        // that was not answered: nobody has synced it.
        mailbox.expunged.extend(left.iter().filter(|i| i.presence != Presence::There).cloned());
        let may_go = |i: &Item| i.shaky && after == After::PowerLoss;
        if let Some(lost) = left.iter().find(|i| i.presence == Presence::There && !may_go(i)) {
            return Err(format!("{name} message {} (UID {:?}) is lost", lost.body, lost.uid));
        }
        mailbox.items = now;
        // Clients that come back after any time.
        let pictures: BTreeMap<u32, String> = view
            .seen
            .iter()
            .map(|m| (m.uid, m.flags.iter().cloned().collect::<Vec<_>>().join(" ")))
            .collect();
        for (since, cache) in &mailbox.cached {
            let mut picture = cache.clone();
            let mod_seq = culver_base::ModSeq::new(*since).unwrap_or(culver_base::ModSeq::ZERO);
            for u in s.vanished.after(mod_seq).unwrap_or_else(|| s.missing_uids()).iter() {
                picture.remove(&u);
            }
            for r in s.iter().filter(|r| r.mod_seq.get() > *since) {
                picture.insert(r.uid.get(), pictures[&r.uid.get()].clone());
            }
            if picture != pictures {
                return Err(format!(
                    "{name} a client that asks what changed since {since} (HIGHESTMODSEQ {}) sees {picture:?}, there is {pictures:?}, mod-sequences {:?}",
                    s.highest_mod_seq,
                    s.iter().map(|r| r.mod_seq.get()).collect::<Vec<_>>()
                ));
            }
        }
        mailbox.cached.push((s.highest_mod_seq.get(), pictures));
        if mailbox.cached.len() > 6 {
            mailbox.cached.remove(0);
        }
        self.checked += checked;
        self.new_uids += new_uids;
        self.came_back += came_back;
        self.flags_lost += flags_lost;
        Ok(())
    }
}
