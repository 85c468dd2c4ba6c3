//! THREAD: which message answers which (RFC 5256 §3).
//!
//! Nothing here recurses: references nest as deep as their senders like. A chain is cut at [`DEEPEST`]; what follows
//! begins a thread of its own.

use crate::order::sent;
use culver_base::UidSet;
use culver_imap::command::Numbering;
use culver_imap::response::ThreadNode;
use culver_mime::columns::{Column, Columns};
use culver_snapshot::{Record, Snapshot};
use culver_store::ColumnTable;
use foldhash::fast::RandomState;
use std::collections::HashMap;

/// Longest way from a message to the top of its thread.
const DEEPEST: usize = 2_000;
const NONE: u32 = u32::MAX;

/// Threads as [`culver_imap::response::thread`] writes them.
#[derive(Default)]
pub struct Threads {
    /// Messages, and missing ones that hold several together.
    pub nodes: Vec<ThreadNode>,
    /// The first of each thread.
    pub roots: Vec<u32>,
}

/// What is known of one message that was found.
struct Found<'a> {
    number: u32,
    sent: i64,
    columns: Option<Columns<'a>>,
}

impl<'a> Found<'a> {
    fn subject(&self) -> &'a [u8] {
        self.columns.map_or(&b""[..], |c| c.text(Column::BaseSubject))
    }
    fn is_reply(&self) -> bool {
        self.columns.is_some_and(|c| c.is_reply())
    }
}

fn gather<'a>(
    view: &Snapshot,
    uids: &UidSet,
    numbering: Numbering,
    table: &'a ColumnTable,
) -> Vec<Found<'a>> {
    let mut walk = table.walk();
    let one = |(index, record): (usize, &Record)| {
        let columns = walk.get(record.uid);
        let number = match numbering {
            Numbering::Uid => record.uid.get(),
            Numbering::Sequence => index as u32 + 1,
        };
        Found { number, columns, sent: sent(record, columns) }
    };
    view.select(uids).map(one).collect()
}

/// ORDEREDSUBJECT: one level, by base subject and date.
pub fn by_subject(view: &Snapshot, uids: &UidSet, numbering: Numbering, table: &ColumnTable) -> Threads {
    let found = gather(view, uids, numbering, table);
    let mut order: Vec<u32> = (0..found.len() as u32).collect();
    let key = |i: &u32| (found[*i as usize].sent, *i);
    order.sort_unstable_by(|a, b| {
        let (x, y) = (&found[*a as usize], &found[*b as usize]);
        x.subject().cmp(y.subject()).then(key(a).cmp(&key(b)))
    });
    let mut threads = Threads::default();
    threads.nodes.extend(found.iter().map(|f| ThreadNode { number: Some(f.number), children: Vec::new() }));
    let mut last: Option<(&[u8], u32)> = None;
    for i in order {
        let subject = found[i as usize].subject();
        match last {
            Some((s, first)) if s == subject => threads.nodes[first as usize].children.push(i),
            _ => {
                threads.roots.push(i);
                last = Some((subject, i));
            }
        }
    }
    threads.roots.sort_unstable_by_key(key);
    threads
}

/// REFERENCES.
pub fn by_references(view: &Snapshot, uids: &UidSet, numbering: Numbering, table: &ColumnTable) -> Threads {
    let found = gather(view, uids, numbering, table);
    let mut forest = Forest::link(&found);
    forest.prune();
    forest.sort_roots();
    forest.merge_subjects();
    forest.finish()
}

/// Messages first, in their order; then those that are only referred to.
struct Forest<'f, 'a> {
    found: &'f [Found<'a>],
    children: Vec<Vec<u32>>,
    roots: Vec<u32>,
}

impl<'f, 'a> Forest<'f, 'a> {
    /// Step 1 and 2.
    fn link(found: &'f [Found<'a>]) -> Self {
        let mut by_id: HashMap<&[u8], u32, RandomState> =
            HashMap::with_capacity_and_hasher(2 * found.len(), RandomState::default());
        for (i, f) in found.iter().enumerate() {
            let id = f.columns.map_or(&b""[..], |c| c.text(Column::MessageId));
            if !id.is_empty() {
                // Of several with the same id the first one has it.
                by_id.entry(id).or_insert(i as u32);
            }
        }
        let mut parents = vec![NONE; found.len()];
        for (i, f) in found.iter().enumerate() {
            let mut last = NONE;
            for id in f.columns.iter().flat_map(|c| c.references()) {
                let node = *by_id.entry(id).or_insert_with(|| {
                    parents.push(NONE);
                    parents.len() as u32 - 1
                });
                if last != NONE && parents[node as usize] == NONE && !reaches(&parents, last, node) {
                    parents[node as usize] = last;
                }
                last = node;
            }
            // (B): what the message itself says counts more than what others say of it.
            parents[i] = NONE;
            if last != NONE && !reaches(&parents, last, i as u32) {
                parents[i] = last;
            }
        }
        let mut children = vec![Vec::new(); parents.len()];
        let mut roots = Vec::new();
        for (i, parent) in parents.iter().enumerate() {
            match children.get_mut(*parent as usize) {
                Some(siblings) => siblings.push(i as u32),
                None => roots.push(i as u32),
            }
        }
        Self { found, children, roots }
    }

    fn is_dummy(&self, i: u32) -> bool {
        i as usize >= self.found.len()
    }

    /// Every node below the roots, each before its children.
    fn in_order(&self) -> Vec<u32> {
        let mut order = Vec::with_capacity(self.children.len());
        let mut open = self.roots.clone();
        while let Some(i) = open.pop() {
            order.push(i);
            open.extend(&self.children[i as usize]);
        }
        order
    }

    /// Step 3: dummies give way to their children, except at the top where there are several.
    fn prune(&mut self) {
        for i in self.in_order().into_iter().rev() {
            let children = std::mem::take(&mut self.children[i as usize]);
            let pruned = self.without_dummies(children);
            self.children[i as usize] = pruned;
        }
        let roots = std::mem::take(&mut self.roots);
        for root in roots {
            match &self.children[root as usize][..] {
                [] if self.is_dummy(root) => (),
                [only] if self.is_dummy(root) => self.roots.push(*only),
                _ => self.roots.push(root),
            }
        }
    }

    /// The children of dummies, which have been pruned already, in their place.
    fn without_dummies(&mut self, nodes: Vec<u32>) -> Vec<u32> {
        if !nodes.iter().any(|i| self.is_dummy(*i)) {
            return nodes;
        }
        let mut out = Vec::with_capacity(nodes.len());
        for i in nodes {
            if self.is_dummy(i) {
                out.append(&mut self.children[i as usize]);
            } else {
                out.push(i);
            }
        }
        out
    }

    /// Of a dummy that of its first child. Equal dates: as they are in the mailbox.
    fn date(&self, i: u32) -> (i64, u32) {
        let shown =
            if self.is_dummy(i) { self.children[i as usize].first().copied().unwrap_or(i) } else { i };
        (self.found.get(shown as usize).map_or(0, |f| f.sent), shown)
    }

    fn sort_children(&mut self, i: u32) {
        let mut children = std::mem::take(&mut self.children[i as usize]);
        children.sort_by_cached_key(|c| self.date(*c));
        self.children[i as usize] = children;
    }

    /// Step 4.
    fn sort_roots(&mut self) {
        for root in self.roots.clone() {
            if self.is_dummy(root) {
                self.sort_children(root);
            }
        }
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_by_cached_key(|r| self.date(*r));
        self.roots = roots;
    }

    /// The message that speaks for a thread: itself, or the first one below a dummy.
    fn speaker(&self, root: u32) -> Option<&'f Found<'a>> {
        let i = if self.is_dummy(root) { *self.children[root as usize].first()? } else { root };
        self.found.get(i as usize)
    }

    /// Step 5: threads with one subject are one thread.
    fn merge_subjects(&mut self) {
        let mut table: HashMap<&'a [u8], u32, RandomState> = HashMap::default();
        for root in self.roots.clone() {
            let Some(speaker) = self.speaker(root).filter(|s| !s.subject().is_empty()) else { continue };
            let held = *table.entry(speaker.subject()).or_insert(root);
            let replaces = !self.is_dummy(held)
                && (self.is_dummy(root)
                    || self.speaker(held).is_some_and(Found::is_reply) && !speaker.is_reply());
            if held != root && replaces {
                table.insert(speaker.subject(), root);
            }
        }
        let roots = std::mem::take(&mut self.roots);
        let mut gone = vec![false; self.children.len()];
        let mut kept = Vec::with_capacity(roots.len());
        for root in roots {
            if gone[root as usize] {
                continue;
            }
            let speaker = self.speaker(root).filter(|s| !s.subject().is_empty());
            let held = speaker.and_then(|s| Some((s, *table.get(s.subject())?)));
            let Some((speaker, held)) = held.filter(|(_, held)| *held != root) else {
                kept.push(root);
                continue;
            };
            let is_reply = speaker.is_reply() && !self.is_dummy(root);
            let held_is_reply = !self.is_dummy(held) && self.speaker(held).is_some_and(Found::is_reply);
            if self.is_dummy(held) && self.is_dummy(root) {
                let mut children = std::mem::take(&mut self.children[root as usize]);
                self.children[held as usize].append(&mut children);
            } else if self.is_dummy(held) || is_reply && !held_is_reply {
                self.children[held as usize].push(root);
            } else {
                let both = self.children.len() as u32;
                self.children.push(vec![held, root]);
                gone[held as usize] = true;
                gone.push(false);
                table.insert(speaker.subject(), both);
                kept.push(both);
            }
        }
        kept.retain(|r| !gone[*r as usize]);
        self.roots = kept;
    }

    /// Step 6, and the result.
    fn finish(mut self) -> Threads {
        for i in self.in_order().into_iter().rev() {
            self.sort_children(i);
        }
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_by_cached_key(|r| self.date(*r));
        let number = |i: usize| self.found.get(i).map(|f| f.number);
        let nodes = self.children.into_iter().enumerate();
        Threads {
            nodes: nodes.map(|(i, children)| ThreadNode { number: number(i), children }).collect(),
            roots,
        }
    }
}

/// Is `node` among `from` and those above it, or is the way up too long?
fn reaches(parents: &[u32], from: u32, node: u32) -> bool {
    let mut at = from;
    for _ in 0..DEEPEST {
        if at == node {
            return true;
        }
        match parents.get(at as usize) {
            Some(parent) => at = *parent,
            None => return false,
        }
    }
    true
}
