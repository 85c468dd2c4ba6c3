//! What an account keeps, against the files that are there: the sums that the engine believes, and its own full count.

use super::history::BOXES;
use super::world::{Check, Engine, World};
use culver_base::MailboxName;
use culver_quota::Usage;
use culver_store::{Account, AccountUsage, Look};
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Names change while a lively engine is looked at.
const LOOKS: usize = 5;

impl World {
    /// The sums, mailbox by mailbox, and nothing that a full count puts right.
    pub async fn check_usage(&mut self, engine: &mut Engine) -> Check {
        let layer = engine.layer.clone();
        let account = self.account(engine).await?.ok_or("no account")?;
        let mut wrong = String::new();
        for _ in 0..LOOKS {
            let known = self.verb(&layer, "usage", account.usage(Look::Now)).await?.ok_or("no usage")?;
            if layer.is_dead() {
                return Ok(());
            }
            wrong = self.compare(&known, "known");
            if wrong.is_empty() {
                break;
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        self.counts.sums += 1;
        let counted = self.verb(&layer, "recount", account.usage(Look::Recount)).await?.ok_or("no count")?;
        match counted.mistaken {
            Some(known) if !self.history.lively => {
                Err(format!("a full count gives {:?}, known was {known:?}", counted.counted()))
            }
            _ => Ok(()),
        }
    }

    fn compare(&self, usage: &AccountUsage, word: &str) -> String {
        let mut wrong = String::new();
        for (at, name) in BOXES.iter().enumerate() {
            let told = usage.mailboxes.iter().find(|m| m.name == MailboxName::new(name));
            let told = told.map_or(Usage::default(), |m| m.usage);
            let there = count(&self.box_path(at));
            if told != there {
                wrong.push_str(&format!("{name}: {word} {told:?}, on disk {there:?}\n"));
            }
        }
        wrong
    }
}

/// Every message once, with the size that its name tells, or its file.
fn count(mailbox: &Path) -> Usage {
    let (mut seen, mut usage) = (BTreeSet::new(), Usage::default());
    for folder in ["new", "cur"] {
        let Ok(entries) = std::fs::read_dir(mailbox.join(folder)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
            let base = name.split(':').next().unwrap_or_default().to_owned();
            if name.starts_with('.') || !seen.insert(base.clone()) {
                continue;
            }
            let told = base.split(',').find_map(|field| field.strip_prefix("S=")?.parse().ok());
            let size = told.or_else(|| Some(entry.metadata().ok()?.len()));
            usage = usage.plus(Usage { storage: size.unwrap_or(0), messages: 1 });
        }
    }
    usage
}
