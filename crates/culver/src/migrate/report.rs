//! What adoptions say: an account in a line or two, what is odd with what to do, and a sum.

use anyhow::Result;
use culver_maildir::adopt::{AdoptedAccount, AdoptedMailbox, How};
use culver_maildir::survey::{Keeper, MailboxSurvey};
use culver_store::Place;
use serde_json::{Value, json};

/// What a comparison by POP3 means today.
pub const POP3: &str = "POP3: Culver has no POP3 server yet; the old server's UIDLs and sizes were compared with those that stand in \
                        Culver's files and that its template makes";

/// Figures over mailboxes.
#[derive(Default)]
pub struct Sum {
    accounts: usize,
    /// Accounts of which something could not be adopted.
    pub failed: usize,
    mailboxes: usize,
    messages: usize,
    listed: usize,
    keywords: usize,
    indexed: (usize, usize),
    pop3: usize,
    dirty: usize,
    subscriptions: usize,
    odd: usize,
}

/// What is odd and what failed in an account, a sentence each.
fn troubles(account: &AdoptedAccount) -> impl Iterator<Item = (String, bool)> {
    let of_mailbox = |m: &AdoptedMailbox| {
        let name = m.name.as_str().escape_debug().to_string();
        let odd = m.found.iter().flat_map(|f| &f.odd).chain(&m.odd);
        let odd = odd.map(|text| (format!("{name}: {text}"), false));
        let failed = m.failure.iter().map(|text| (format!("{name}: NOT adopted: {text}"), true));
        odd.chain(failed).collect::<Vec<_>>()
    };
    let own = account.found.odd.iter().map(|text| (text.clone(), false));
    own.chain(account.mailboxes.iter().flat_map(of_mailbox))
}

impl Sum {
    /// Counts an account.
    pub fn add(&mut self, adopted: &Result<AdoptedAccount>) {
        self.accounts += 1;
        let Ok(account) = adopted else {
            self.failed += 1;
            return;
        };
        let troubles: Vec<_> = troubles(account).collect();
        self.failed += usize::from(troubles.iter().any(|(_, failed)| *failed));
        self.odd += troubles.len();
        self.subscriptions += account.found.subscriptions;
        self.mailboxes += account.mailboxes.len();
        for mailbox in &account.mailboxes {
            let Some(found) = &mailbox.found else { continue };
            self.messages += mailbox.now.as_ref().map_or(found.messages, |now| now.messages);
            self.listed += found.listed;
            self.keywords += found.keywords;
            self.indexed.0 += found.indexed.0;
            self.indexed.1 += found.indexed.1;
            self.pop3 += found.pop3.0;
            self.dirty += found.dirty;
        }
    }

    /// In words.
    pub fn text(&self, how: How) -> String {
        let Self { accounts, failed, mailboxes, messages, odd, .. } = self;
        let what = if how == How::DryRun { "looked at, nothing changed" } else { "adopted" };
        let done = accounts - failed;
        let mut text = format!(
            "Sum: {done} of {accounts} accounts {what}; {mailboxes} mailboxes, {messages} messages{}",
            self.details()
        );
        if *odd > 0 {
            text.push_str(&format!("\n{odd} things to look at, marked with ! above"));
        }
        text
    }

    /// `, 3 keywords, ...`
    fn details(&self) -> String {
        let mut text = String::new();
        let mut say = |n: usize, what: &str| {
            if n > 0 {
                text.push_str(&format!(", {n} {what}"));
            }
        };
        say(self.subscriptions, "subscriptions");
        say(self.keywords, "keywords with letters");
        say(self.indexed.0, "keywords out of the earlier server's index");
        say(self.indexed.1, "messages with such");
        say(self.messages.saturating_sub(self.listed), "messages without a UID until now");
        say(self.pop3, "POP3 UIDLs of their own");
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "accounts": self.accounts,
            "failed": self.failed,
            "mailboxes": self.mailboxes,
            "messages": self.messages,
            "messages_with_uid": self.listed,
            "subscriptions": self.subscriptions,
            "keywords": self.keywords,
            "imported_keywords": self.indexed.0,
            "imported_messages": self.indexed.1,
            "pop3_uidls": self.pop3,
            "dirty": self.dirty,
            "odd": self.odd,
        })
    }
}

/// One account, in words.
pub fn adopted(name: &str, place: Option<&Place>, how: How, adopted: &Result<AdoptedAccount>) -> String {
    let root = place.map(|p| format!(" ({})", p.root.display())).unwrap_or_default();
    let account = match adopted {
        Ok(account) => account,
        Err(e) => return format!("{name}{root}: NOT adopted: {e:#}"),
    };
    let mut sum = Sum::default();
    sum.add(adopted);
    let mut text =
        format!("{name}{root}: {} mailboxes, {} messages{}", sum.mailboxes, sum.messages, sum.details());
    if let Some((octets, messages)) = account.found.usage {
        text.push_str(&format!("; maildirsize says {octets} octets in {messages} messages"));
    }
    let highest = account.mailboxes.iter().filter_map(|m| m.found.as_ref()?.mod_seq).max();
    if let Some(highest) = highest {
        let now = account.mailboxes.iter().filter_map(|m| Some(m.now.as_ref()?.mod_seq)).min();
        let now = now.map(|n| format!(", Culver's begin at {n}")).unwrap_or_default();
        text.push_str(&format!("; Dovecot's mod-sequences went to {highest}{now}"));
    }
    if how == How::Adopt && account.mailboxes.iter().any(|m| keeper(m) == Some(Keeper::Courier)) {
        text.push_str("; UIDs are Courier's");
    }
    for (trouble, _) in troubles(account) {
        text.push_str(&format!("\n  ! {trouble}"));
    }
    text
}

fn keeper(mailbox: &AdoptedMailbox) -> Option<Keeper> {
    Some(mailbox.found.as_ref()?.keeper)
}

/// One account, for programs.
pub fn adopted_json(name: &str, place: Option<&Place>, adopted: &Result<AdoptedAccount>) -> Value {
    let account = match adopted {
        Ok(account) => account,
        Err(e) => return json!({ "user": name, "failure": format!("{e:#}") }),
    };
    let found = |f: &MailboxSurvey| {
        json!({
            "keeper": match f.keeper {
                Keeper::Dovecot => "dovecot-uidlist",
                Keeper::OldDovecot => "dovecot-uidlist version 1",
                Keeper::Courier => "courierimapuiddb",
                Keeper::Nobody => "",
            },
            "uid_validity": f.uid_validity,
            "messages": f.messages,
            "messages_with_uid": f.listed,
            "keywords": f.keywords,
            "imported_keywords": f.indexed.0,
            "imported_messages": f.indexed.1,
            "highest_mod_seq": f.mod_seq,
            "dirty": f.dirty,
            "pop3_uidls": f.pop3.0,
            "pop3_orders": f.pop3.1,
            "odd": f.odd,
        })
    };
    let mailbox = |m: &AdoptedMailbox| {
        json!({
            "name": m.name.as_str(),
            "found": m.found.as_ref().map(found),
            "now": m.now.as_ref().map(|now| json!({
                "messages": now.messages,
                "uid_validity": now.uid_validity,
                "uid_next": now.uid_next,
                "highest_mod_seq": now.mod_seq,
                "keywords": now.keywords,
            })),
            "odd": m.odd,
            "failure": m.failure,
        })
    };
    json!({
        "user": name,
        "root": place.map(|p| p.root.display().to_string()),
        "subscriptions": account.found.subscriptions,
        "maildirsize": account.found.usage.map(|(octets, messages)| json!({ "octets": octets, "messages": messages })),
        "mailboxes": account.mailboxes.iter().map(mailbox).collect::<Vec<_>>(),
        "odd": account.found.odd,
    })
}
