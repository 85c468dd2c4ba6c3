//! LIST (RFC 9051 §6.3.9; RFC 5258; LIST-STATUS: RFC 5819; SPECIAL-USE: RFC 6154) and what LSUB shares with it.

use crate::command::status;
use crate::context::Context;
use crate::pattern::Pattern;
use crate::state::Authenticated;
use crate::stop::{Done, Stop};
use culver_base::mailbox_name::SEPARATOR;
use culver_base::{MailboxName, SpecialUse};
use culver_imap::Dialect;
use culver_imap::command::{List, ListReturn, ListSelect, StatusItem};
use culver_imap::response::{self, ListEntry};
use culver_store::ListedMailbox;
use std::collections::BTreeMap;

/// LIST.
pub async fn run(user: &Authenticated, cmd: List, cx: &mut Context) -> Result<Done, Stop> {
    let dialect = user.enabled.dialect();
    if !cmd.extended && cmd.patterns.iter().all(String::is_empty) {
        // RFC 9051 §6.3.9: an empty pattern asks for the separator and the root of the reference.
        let attributes = Attributes { no_select: true, ..Attributes::default() };
        attributes.list(&mut cx.wire.out, &MailboxName::new(""), dialect);
        return Ok(Done::ok("LIST completed"));
    }
    let wants = Wants::new(&cmd);
    let patterns: Vec<Pattern> = cmd.patterns.iter().map(|p| Pattern::new(&cmd.reference, p)).collect();
    let statuses: Option<&[StatusItem]> = cmd.returns.iter().find_map(|r| match r {
        ListReturn::Status(items) => Some(items.as_slice()),
        _ => None,
    });
    let lines = lines(user, &wants, &patterns).await?;
    for (name, line) in &lines {
        line.attributes.list(&mut cx.wire.out, name, dialect);
        cx.wire.relieve().await?;
        if let Some(items) = statuses.filter(|_| line.selectable && line.matched) {
            // RFC 5819 §2: a mailbox whose status cannot be had has no STATUS line; the rest goes on.
            if let Ok(values) = status::values(user, name, items, cx.service.settings.append_limit).await {
                response::status_response(&mut cx.wire.out, name.as_str(), values, dialect);
                cx.wire.relieve().await?;
            }
        }
    }
    Ok(Done::ok("LIST completed"))
}

/// The attributes of a LIST response (RFC 9051 §7.3.1).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attributes {
    /// `\Noselect`
    pub no_select: bool,
    /// `\NonExistent`
    pub non_existent: bool,
    /// `\HasChildren` or `\HasNoChildren`, if it is known.
    pub has_children: Option<bool>,
    /// `\Subscribed`
    pub subscribed: bool,
    /// Special uses.
    pub special_use: Vec<SpecialUse>,
    /// CHILDINFO ("SUBSCRIBED") (RFC 5258 §3.5).
    pub child_info_subscribed: bool,
}

impl Attributes {
    /// Writes a LIST response.
    pub fn list(&self, out: &mut Vec<u8>, name: &MailboxName, dialect: Dialect) {
        let mut words = Vec::with_capacity(4);
        let mut word = |given: bool, text: &'static str| words.extend(given.then_some(text));
        word(self.non_existent, "\\NonExistent");
        word(self.no_select, "\\Noselect");
        word(self.has_children == Some(true), "\\HasChildren");
        word(self.has_children == Some(false), "\\HasNoChildren");
        word(self.subscribed, "\\Subscribed");
        words.extend(self.special_use.iter().map(|u| u.as_str()));
        let child_info: &[&str] = if self.child_info_subscribed { &["SUBSCRIBED"] } else { &[] };
        let entry = ListEntry {
            attributes: &words,
            separator: Some(SEPARATOR),
            name: name.as_str(),
            child_info,
            old_name: None,
        };
        response::list(out, &entry, dialect);
    }
}

/// What a LIST selects and returns.
struct Wants {
    subscribed_only: bool,
    special_use_only: bool,
    recursive: bool,
    /// Give `\Subscribed`?
    subscribed: bool,
    /// Extended syntax: the attributes that go with it.
    extended: bool,
}

impl Wants {
    fn new(cmd: &List) -> Self {
        let selects = |s| cmd.select.contains(&s);
        Self {
            subscribed_only: selects(ListSelect::Subscribed),
            special_use_only: selects(ListSelect::SpecialUse),
            recursive: selects(ListSelect::RecursiveMatch),
            subscribed: selects(ListSelect::Subscribed) || cmd.returns.contains(&ListReturn::Subscribed),
            extended: cmd.extended,
        }
    }

    fn selects(&self, mailbox: &ListedMailbox) -> bool {
        (!self.subscribed_only || mailbox.subscribed)
            && (!self.special_use_only || !mailbox.special_use.is_empty())
    }
}

#[derive(Default)]
struct Line {
    attributes: Attributes,
    selectable: bool,
    /// Itself meets the selection criteria (and not only a child of it).
    matched: bool,
}

async fn lines(
    user: &Authenticated,
    wants: &Wants,
    patterns: &[Pattern],
) -> Result<BTreeMap<MailboxName, Line>, Stop> {
    let mut all: BTreeMap<MailboxName, ListedMailbox> = BTreeMap::new();
    for mailbox in user.mail.list().await?.iter() {
        all.insert(mailbox.name.clone(), mailbox.clone());
    }
    let mut absent = Vec::new();
    if wants.subscribed_only {
        for name in user.mail.subscriptions().await?.iter() {
            if !all.contains_key(name) {
                absent.push(name.clone());
            }
        }
    }
    for name in absent {
        // RFC 9051 §6.3.9.4: a subscribed name is listed even when there is no such mailbox.
        let below = |n: &MailboxName| n.is_below(&name);
        let has_children = all.keys().any(below);
        let gone = ListedMailbox {
            name: name.clone(),
            selectable: false,
            has_children,
            special_use: Vec::new(),
            subscribed: true,
        };
        all.insert(name, gone);
    }
    let shown = |name: &MailboxName| patterns.iter().any(|p| p.matches(name));
    let mut lines: BTreeMap<MailboxName, Line> = BTreeMap::new();
    for mailbox in all.values().filter(|m| wants.selects(m)) {
        if shown(&mailbox.name) {
            let line = lines.entry(mailbox.name.clone()).or_default();
            line.matched = true;
            line.fill(mailbox, wants);
        }
        if !wants.recursive {
            continue;
        }
        // RECURSIVEMATCH: a parent that matches the pattern tells of a child that is selected, unless the child
        // is listed itself (RFC 5258 §3, §4: CHILDINFO is for children that the patterns do not show).
        if shown(&mailbox.name) {
            continue;
        }
        let mut above = mailbox.name.parent();
        while let Some(parent) = above {
            if shown(&parent) {
                let line = lines.entry(parent.clone()).or_default();
                line.attributes.child_info_subscribed = true;
                match all.get(&parent) {
                    Some(known) => line.fill(known, wants),
                    None => {
                        line.attributes.non_existent = true;
                        line.attributes.has_children = Some(true);
                    }
                }
            }
            above = parent.parent();
        }
    }
    Ok(lines)
}

impl Line {
    fn fill(&mut self, mailbox: &ListedMailbox, wants: &Wants) {
        self.selectable = mailbox.selectable;
        let a = &mut self.attributes;
        // \NonExistent implies \Noselect; the plain command names both for clients of old (RFC 5258 §3).
        a.non_existent = !mailbox.selectable;
        a.no_select = !mailbox.selectable && !wants.extended;
        a.has_children = Some(mailbox.has_children);
        a.subscribed = wants.subscribed && mailbox.subscribed;
        a.special_use = mailbox.special_use.clone();
    }
}

/// LSUB (RFC 3501 §6.3.9): subscribed names. A `%` that stops above a subscribed name shows that level as
/// `\Noselect`.
pub async fn lsub(
    user: &Authenticated,
    reference: &str,
    pattern: &str,
    cx: &mut Context,
) -> Result<Done, Stop> {
    let dialect = user.enabled.dialect();
    let wanted = Pattern::new(reference, pattern);
    let mut lines: BTreeMap<MailboxName, bool> = BTreeMap::new();
    for name in user.mail.subscriptions().await?.iter() {
        if wanted.matches(name) {
            lines.insert(name.clone(), true);
            continue;
        }
        let mut above = name.parent();
        while let Some(parent) = above.filter(|_| pattern.ends_with('%')) {
            if wanted.matches(&parent) {
                lines.entry(parent.clone()).or_insert(false);
            }
            above = parent.parent();
        }
    }
    for (name, itself) in lines {
        let attributes: &[&str] = if itself { &[] } else { &["\\Noselect"] };
        let entry =
            ListEntry { attributes, separator: Some(SEPARATOR), name: name.as_str(), ..ListEntry::default() };
        response::lsub(&mut cx.wire.out, &entry, dialect);
        cx.wire.relieve().await?;
    }
    Ok(Done::ok("LSUB completed"))
}
