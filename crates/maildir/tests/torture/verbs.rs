//! The steps: what each does to the engine, and to the model when it is answered, or not.

use super::history::{BOXES, FLAGS, NewText, Step, names, renames};
use super::model::{Existence, FlagSet, Item, Presence, flag_set, number, text};
use super::outside;
use super::world::{Check, Engine, World};
use culver_base::{Flag, InternalDate, MailboxName, Uid, UidSet};
use culver_maildir::MaildirMailbox;
use culver_store::{Account, FlagChange, Mailbox, NewMessage, Spooled, StoreFlags, Subscribed, Transfer};
use std::sync::Arc;

fn flags(names: &str) -> Vec<Flag> {
    names.split_whitespace().map(|n| Flag::parse(n).unwrap()).collect()
}

fn changed(old: &FlagSet, change: FlagChange, names: &FlagSet) -> FlagSet {
    match change {
        FlagChange::Add => old.union(names).cloned().collect(),
        FlagChange::Remove => old.difference(names).cloned().collect(),
        FlagChange::Replace => names.clone(),
    }
}

/// Messages of the mailbox by number, modulo.
fn some(m: &MaildirMailbox, picks: [u16; 2]) -> UidSet {
    let s = m.snapshot();
    let at = |p: u16| s.get(usize::from(p) % s.len().max(1)).map(|r| r.uid);
    picks.into_iter().filter_map(at).collect()
}

impl World {
    fn is_here(&self, at: usize) -> bool {
        self.model.boxes[at].exists == Existence::Yes
    }

    /// Files that came from outside have their UIDs from now on.
    fn learn(&mut self, at: usize, m: &MaildirMailbox, uids: &[Uid], bodies: &[u64]) -> Check {
        let s = m.snapshot();
        let mailbox = &mut self.model.boxes[at];
        for (uid, body) in uids.iter().zip(bodies) {
            mailbox.note(uid.get(), *body, at)?;
            if mailbox.item_of(uid.get()).is_some() {
                continue;
            }
            let items = &mut mailbox.items;
            let unknown =
                |p: Presence| move |i: &&mut Item| i.uid.is_none() && i.body == *body && i.presence == p;
            let there = items.iter_mut().any(|mut i| unknown(Presence::There)(&mut i));
            let wanted = if there { Presence::There } else { Presence::MaybeIn };
            match items.iter_mut().find(unknown(wanted)) {
                Some(item) => item.uid = Some(uid.get()),
                None => return Err(format!("{} UID {uid} is message {body}, unknown", BOXES[at])),
            }
        }
        drop(s);
        Ok(())
    }

    /// Picks messages and learns what they are. `None`: they cannot be had for now.
    async fn picked(
        &mut self,
        engine: &mut Engine,
        at: usize,
        picks: [u16; 2],
    ) -> Result<Option<(Arc<MaildirMailbox>, UidSet)>, String> {
        let Some(m) = self.mailbox(engine, at).await? else { return Ok(None) };
        let set = some(&m, picks);
        let unknown: Vec<Uid> =
            set.uids().filter(|u| self.model.boxes[at].item_of(u.get()).is_none()).collect();
        if !unknown.is_empty() {
            engine.layer.set_verb("fetch");
            let (_, before) = engine.layer.counts();
            let read = self.read(&m, unknown.clone()).await?;
            if engine.layer.is_dead() {
                return Ok(None);
            }
            let mut bodies = Vec::new();
            for octets in read {
                match octets {
                    Ok(octets) => bodies.push(number(&octets)?),
                    Err(_) if engine.layer.counts().1 > before => return Ok(None),
                    Err(e) => return Err(format!("{}: {e}", BOXES[at])),
                }
            }
            self.learn(at, &m, &unknown, &bodies)?;
        }
        self.note(engine, at, &m)?;
        self.say(format!("    of {set}, HIGHESTMODSEQ {}", m.snapshot().highest_mod_seq));
        Ok((!set.is_empty()).then_some((m, set)))
    }

    pub async fn step(&mut self, engine: &mut Engine, step: Step) -> Check {
        match step {
            Step::Append(at, texts) => self.append(engine, at, texts).await,
            Step::Store(at, picks, bits, change) => {
                self.store(engine, at, picks, &names(bits), change).await.map(drop)
            }
            Step::Expunge(at, picks) => self.expunge(engine, at, picks).await,
            Step::Copy(at, picks, to) => self.transfer(engine, at, picks, to, Transfer::Copy).await,
            Step::Move(at, picks, to) => self.transfer(engine, at, picks, to, Transfer::Move).await,
            Step::Refresh(at) => self.refresh(engine, at).await,
            Step::Read(at, pick) => {
                if self.is_here(at)
                    && let Some((m, set)) = self.picked(engine, at, [pick; 2]).await?
                {
                    engine.layer.set_verb("fetch");
                    let (_, before) = engine.layer.counts();
                    let uids: Vec<Uid> = set.uids().collect();
                    for octets in self.read(&m, uids).await? {
                        match octets {
                            Ok(octets) => drop(number(&octets)?),
                            Err(_) if engine.layer.counts().1 > before || engine.layer.is_dead() => (),
                            Err(e) => return Err(e),
                        }
                    }
                }
                Ok(())
            }
            Step::Close(at) => self.close(engine, at).await,
            Step::Create(at) => self.create(engine, at).await,
            Step::Delete(at) => self.delete(engine, at).await,
            Step::Rename(from, to) => self.rename(engine, from, to).await,
            Step::Subscribe(at) => {
                let Some(account) = self.account(engine).await? else { return Ok(()) };
                let name = BOXES[at].to_owned();
                let wanted = !self.model.subscribed.get(&name).copied().unwrap_or(false);
                let what = if wanted { Subscribed::Yes } else { Subscribed::No };
                let layer = engine.layer.clone();
                let mailbox = MailboxName::new(&name);
                self.model.subscribed.remove(&name);
                let done = self.verb(&layer, "subscribe", account.set_subscribed(&mailbox, what)).await?;
                if done.is_some() {
                    self.model.subscribed.insert(name, wanted);
                }
                Ok(())
            }
            Step::List => {
                let Some(account) = self.account(engine).await? else { return Ok(()) };
                let layer = engine.layer.clone();
                self.verb(&layer, "list", account.list()).await.map(drop)
            }
            Step::Deliver(at) => {
                if self.is_here(at) {
                    let body = self.model.new_body();
                    // Delivered by the wire's line ends now and then.
                    let octets = text(body);
                    let octets = if body.is_multiple_of(3) { octets } else { octets.replace("\r\n", "\n") };
                    let base = format!("{}.M{body}P9.mda", 1_600_000_000 + body);
                    let done = outside::deliver(&*self.calls(), &self.box_path(at), &base, octets.as_bytes());
                    if done {
                        let item = Item::new(body, FlagSet::new(), None, Presence::There);
                        self.model.boxes[at].items.push(item);
                    }
                }
                Ok(())
            }
            Step::Touch(at, pick, bits) => self.touch(engine, at, pick, bits).await,
            Step::Age => {
                outside::age(&self.root());
                if let Some(disk) = &self.disk {
                    disk.has_aged(&self.root());
                }
                Ok(())
            }
            Step::Shut | Step::Kill | Step::LosePower => Ok(()),
        }
    }

    async fn append(&mut self, engine: &mut Engine, at: usize, texts: Vec<NewText>) -> Check {
        if !self.is_here(at) {
            return Ok(());
        }
        let Some(m) = self.mailbox(engine, at).await? else { return Ok(()) };
        let (account, layer) = (self.account(engine).await?.ok_or("no account")?, engine.layer.clone());
        let (mut messages, mut items) = (Vec::new(), Vec::new());
        for new in &texts {
            let body = self.model.new_body();
            let octets = text(body);
            let body_in = if new.spooled {
                let name = MailboxName::new(BOXES[at]);
                let Some(mut spool) = self.verb(&layer, "spool", account.spool(&name)).await? else {
                    return Ok(());
                };
                for piece in octets.into_bytes().chunks(100_000) {
                    spool.write(piece.to_vec().into()).await;
                }
                match self.verb(&layer, "spool", spool.finish()).await? {
                    Some(spooled) => spooled,
                    // Nothing can be seen of it.
                    None => return Ok(()),
                }
            } else {
                Spooled::Memory(octets.into())
            };
            let names = names(new.flags);
            let mut item = Item::new(body, flag_set(&names), new.date, Presence::MaybeIn);
            item.loose = item.flags.clone();
            items.push(item);
            let internal_date = new.date.map(InternalDate::utc);
            messages.push(NewMessage { body: body_in, flags: flags(&names), internal_date });
        }
        let done = self.verb(&layer, "append", m.append(messages)).await?;
        if let Some(done) = &done {
            if done.uids.len() != items.len() {
                return Err(format!("APPEND of {} messages gave {:?}", items.len(), done.uids));
            }
            for (item, uid) in items.iter_mut().zip(&done.uids) {
                item.uid = Some(uid.get());
                item.presence = Presence::There;
                item.loose.clear();
                self.model.boxes[at].note(uid.get(), item.body, at)?;
            }
        }
        self.model.boxes[at].items.extend(items);
        self.note(engine, at, &m)
    }

    /// `None`: nothing was to be stored, or it was not answered.
    async fn store(
        &mut self,
        engine: &mut Engine,
        at: usize,
        picks: [u16; 2],
        names: &str,
        change: FlagChange,
    ) -> Result<Option<(Arc<MaildirMailbox>, UidSet)>, String> {
        if !self.is_here(at) {
            return Ok(None);
        }
        let Some((m, set)) = self.picked(engine, at, picks).await? else { return Ok(None) };
        let (layer, wanted) = (engine.layer.clone(), flag_set(names));
        let what = StoreFlags { change, flags: flags(names), unchanged_since: None };
        let done = self.verb(&layer, "store", m.set_flags(&set, what)).await?;
        if done.is_none() && !layer.is_dead() && self.fate().is_some_and(|f| f.is_full()) {
            return Err("STORE failed on a full disk".into());
        }
        self.model.hurt |= layer.index_is_hurt();
        self.model.deaf |= layer.index_was_deaf();
        for uid in set.iter() {
            let sure = done.as_ref().is_some_and(|d| d.changed.contains(uid));
            if let Some(item) = self.model.boxes[at].item_of(uid) {
                let new = changed(&item.flags, change, &wanted);
                item.set_flags(new, sure);
            }
        }
        self.note(engine, at, &m)?;
        Ok(done.map(|_| (m, set)))
    }

    async fn expunge(&mut self, engine: &mut Engine, at: usize, picks: [u16; 2]) -> Check {
        let stored = self.store(engine, at, picks, "\\Deleted", FlagChange::Add).await?;
        let Some((m, set)) = stored else { return Ok(()) };
        let layer = engine.layer.clone();
        let (_, before) = layer.counts();
        let gone = self.verb(&layer, "expunge", m.expunge(&set)).await?;
        if gone.is_none() && !layer.is_dead() && self.fate().is_some_and(|f| f.is_full()) {
            return Err("EXPUNGE failed on a full disk".into());
        }
        if let Some(gone) = gone.as_ref().filter(|g| **g != set)
            && layer.counts().1 == before
        {
            return Err(format!("EXPUNGE of {set} removed {gone}"));
        }
        let mailbox = &mut self.model.boxes[at];
        for uid in set.iter() {
            let Some(index) = mailbox.items.iter().position(|i| i.uid == Some(uid)) else { continue };
            if gone.as_ref().is_some_and(|g| g.contains(uid)) {
                let item = mailbox.items.remove(index);
                // Others may be told apart from it only by their UID.
                mailbox.expunged.push(item);
            } else if gone.is_none() {
                mailbox.items[index].presence = Presence::MaybeOut;
            }
        }
        self.note(engine, at, &m)
    }

    async fn transfer(
        &mut self,
        engine: &mut Engine,
        at: usize,
        picks: [u16; 2],
        to: usize,
        how: Transfer,
    ) -> Check {
        if !self.is_here(at) || !self.is_here(to) {
            return Ok(());
        }
        let Some((m, set)) = self.picked(engine, at, picks).await? else { return Ok(()) };
        let Some(target) = self.mailbox(engine, to).await? else { return Ok(()) };
        let layer = engine.layer.clone();
        let into: Arc<dyn Mailbox> = target.clone();
        let verb = if how == Transfer::Copy { "copy" } else { "move" };
        let (_, before) = layer.counts();
        let done = self.verb(&layer, verb, m.transfer(&set, &into, how)).await?;
        let mut moved = Vec::new();
        for uid in set.iter() {
            let Some(index) = self.model.boxes[at].items.iter().position(|i| i.uid == Some(uid)) else {
                continue;
            };
            let mut new = self.model.boxes[at].items[index].clone();
            new.uid = None;
            match &done {
                Some(done) => {
                    let Some(n) = done.source.iter().position(|u| u.get() == uid) else {
                        if layer.counts().1 == before {
                            return Err(format!("{verb} passed over UID {uid}"));
                        }
                        continue;
                    };
                    new.uid = Some(done.target[n].get());
                    new.presence = Presence::There;
                    self.model.boxes[to].note(done.target[n].get(), new.body, to)?;
                    if how == Transfer::Move {
                        self.model.boxes[at].items.remove(index);
                    }
                }
                None => {
                    new.presence = Presence::MaybeIn;
                    if how == Transfer::Move {
                        self.model.boxes[at].items[index].presence = Presence::Moving;
                    } else {
                        new.loose = new.flags.clone();
                    }
                }
            }
            // Its flags go along, but a keyword may have no letter there.
            let old = Item::new(new.body, new.flags.clone(), new.date, new.presence);
            new.since_off.extend(old.since_off);
            new.ever_off.extend(old.ever_off);
            moved.push(new);
        }
        self.model.boxes[to].items.extend(moved);
        self.note(engine, at, &m)?;
        self.note(engine, to, &target)
    }

    async fn refresh(&mut self, engine: &mut Engine, at: usize) -> Check {
        if !self.is_here(at) {
            return Ok(());
        }
        let Some(m) = self.mailbox(engine, at).await? else { return Ok(()) };
        let layer = engine.layer.clone();
        if self.verb(&layer, "refresh", m.refresh()).await?.is_none() {
            return Ok(());
        }
        // A client fetches what is new.
        let unknown: Vec<Uid> = m.snapshot().iter().map(|r| r.uid).collect();
        let unknown: Vec<Uid> =
            unknown.into_iter().filter(|u| self.model.boxes[at].item_of(u.get()).is_none()).collect();
        layer.set_verb("fetch");
        let read = self.read(&m, unknown.clone()).await?;
        if layer.is_dead() {
            return Ok(());
        }
        for (uid, octets) in unknown.into_iter().zip(read) {
            if let Ok(octets) = octets {
                self.learn(at, &m, &[uid], &[number(&octets)?])?;
            }
        }
        self.note(engine, at, &m)
    }

    async fn close(&mut self, engine: &mut Engine, at: usize) -> Check {
        if !self.is_here(at) {
            return Ok(());
        }
        let Some(m) = self.mailbox(engine, at).await? else { return Ok(()) };
        let layer = engine.layer.clone();
        layer.set_verb("close");
        let (_, before) = layer.counts();
        self.in_time("close", m.close()).await?;
        self.model.hurt |= layer.index_is_hurt();
        self.model.deaf |= layer.index_was_deaf();
        if layer.counts().1 == before && !layer.is_dead() && !layer.is_failing() && !self.model.hurt {
            self.model.settle(at);
        }
        self.note(engine, at, &m)
    }

    async fn create(&mut self, engine: &mut Engine, at: usize) -> Check {
        if self.model.boxes[at].exists != Existence::No {
            return Ok(());
        }
        let Some(account) = self.account(engine).await? else { return Ok(()) };
        let layer = engine.layer.clone();
        let name = MailboxName::new(BOXES[at]);
        let done = self.verb(&layer, "create", account.create(&name, &[])).await?;
        self.model.boxes[at].begin(if done.is_some() { Existence::Yes } else { Existence::Maybe });
        engine.open.remove(&at);
        Ok(())
    }

    async fn delete(&mut self, engine: &mut Engine, at: usize) -> Check {
        if !self.is_here(at) {
            return Ok(());
        }
        let Some(account) = self.account(engine).await? else { return Ok(()) };
        let layer = engine.layer.clone();
        let name = MailboxName::new(BOXES[at]);
        let done = self.verb(&layer, "delete", account.delete(&name)).await?;
        engine.open.remove(&at);
        match done {
            Some(()) => self.model.boxes[at].begin(Existence::No),
            None => self.model.boxes[at].exists = Existence::Maybe,
        }
        Ok(())
    }

    async fn rename(&mut self, engine: &mut Engine, from: usize, to: usize) -> Check {
        let pairs = renames(from, to);
        let free = |t: usize| self.model.boxes[t].exists == Existence::No;
        let known = |f: usize| self.model.boxes[f].exists != Existence::Maybe;
        if !self.is_here(from) || pairs.is_empty() || !pairs.iter().all(|(f, t)| known(*f) && free(*t)) {
            return Ok(());
        }
        let Some(account) = self.account(engine).await? else { return Ok(()) };
        let layer = engine.layer.clone();
        let (old, new) = (MailboxName::new(BOXES[from]), MailboxName::new(BOXES[to]));
        let done = self.verb(&layer, "rename", account.rename(&old, &new)).await?;
        for (f, t) in pairs {
            if !self.is_here(*f) {
                continue;
            }
            let open = engine.open.remove(f);
            if done.is_some() {
                self.model.rename(*f, *t);
                if let Some(m) = open {
                    engine.open.insert(*t, m);
                }
            } else {
                self.model.boxes[*f].exists = Existence::Maybe;
                self.model.boxes[*t].exists = Existence::Maybe;
                self.model.renaming.push((*f, *t));
            }
        }
        Ok(())
    }

    async fn touch(&mut self, engine: &mut Engine, at: usize, pick: u16, bits: u8) -> Check {
        if !self.is_here(at) {
            return Ok(());
        }
        let all = [(1, 'F'), (2, 'R'), (3, 'D'), (0, 'S')];
        let letters: String = all.iter().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, c)| *c).collect();
        let mut dice = super::dice::Dice::new(u64::from(pick));
        let touched = outside::touch(&*self.calls(), &self.box_path(at), &mut dice, &letters);
        let Some((octets, added)) = touched else { return Ok(()) };
        let octets = String::from_utf8(octets).map_err(|e| e.to_string())?;
        let body = number(octets.replace("\r\n", "\n").replace('\n', "\r\n").as_bytes())?;
        let names: FlagSet = all
            .iter()
            .filter(|(_, c)| added.contains(*c))
            .map(|(i, _)| FLAGS[*i as usize].to_owned())
            .collect();
        // Set behind our back and taken in at once: else what a session does meanwhile is in no order with it.
        let Some(m) = self.mailbox(engine, at).await? else { return self.touched(at, body, &names, false) };
        let layer = engine.layer.clone();
        let seen = self.verb(&layer, "refresh", m.refresh()).await?.is_some();
        let sure = seen && !layer.is_dead();
        self.touched(at, body, &names, sure)
    }

    fn touched(&mut self, at: usize, body: u64, names: &FlagSet, sure: bool) -> Check {
        let several = self.model.boxes[at].items.iter().filter(|i| i.body == body).count() > 1;
        for item in self.model.boxes[at].items.iter_mut().filter(|i| i.body == body) {
            let new = item.flags.union(names).cloned().collect();
            item.set_flags(new, sure && !several);
        }
        Ok(())
    }
}
