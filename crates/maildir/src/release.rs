//! Preparing the way back to Dovecot: everything that lags behind is written, and what cannot go along is told.
//!
//! File names, `dovecot-uidlist`, `dovecot-keywords` and `subscriptions` hold all that Dovecot reads. Two things do not go
//! there by themselves:
//!
//! * HIGHESTMODSEQ. Clients remember ours, which is far above Dovecot's; unless Dovecot's is lifted above it *before it looks
//!   at what has changed*, it would tell them for years that nothing has. [`Released::mod_seq`] is the number.
//! * Keywords without a letter (above 26 in one mailbox). Dovecot keeps such in its index alone, and knows those that it had.
//!
//! Dovecot's own index is not touched. A mailbox that cannot be released is told and does not stop the others.

use crate::core::Core;
use crate::flush::Flushed;
use crate::mailbox::MaildirMailbox;
use crate::store::MaildirStore;
use crate::sync::Force;
use crate::uidlist;
use crate::{keywords, subscriptions};
use culver_base::MailboxName;
use culver_snapshot::KeywordBits;
use culver_store::io::Fs;
use culver_store::{Account, Place, Result};
use std::time::Duration;

/// How often what another program or the disk hinders is tried again, and the pause between.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// One mailbox.
#[derive(Clone, Debug)]
pub struct Released {
    /// Its name.
    pub name: MailboxName,
    /// Messages.
    pub messages: usize,
    /// HIGHESTMODSEQ: what Dovecot's must be lifted to.
    pub mod_seq: u64,
    /// Keywords without a letter, and how many messages have each.
    pub without_letter: Vec<(String, usize)>,
    /// What the administrator should know.
    pub odd: Vec<String>,
    /// Why it is not ready.
    pub failure: Option<String>,
}

/// Releases an account. `begins` hears of each mailbox: its place among all, their number, its name.
///
/// # Errors
/// When the account cannot be opened or listed.
pub async fn release(
    store: &MaildirStore,
    place: &Place,
    begins: &mut (dyn FnMut(usize, usize, &MailboxName) + Send),
) -> Result<Vec<Released>> {
    let account = store.maildir_account(place).await?;
    let list = account.list().await?;
    let names: Vec<MailboxName> = list.iter().filter(|m| m.selectable).map(|m| m.name.clone()).collect();
    let mut all = Vec::with_capacity(names.len());
    for (i, name) in names.iter().enumerate() {
        begins(i, names.len(), name);
        let mut one = Released {
            name: name.clone(),
            messages: 0,
            mod_seq: 0,
            without_letter: Vec::new(),
            odd: Vec::new(),
            failure: None,
        };
        let done = match account.open_maildir(name).await {
            Ok(mailbox) => mailbox.release(&mut one).await,
            Err(e) => Err(e),
        };
        one.failure = done.err().map(|e| e.to_string()).or(one.failure);
        all.push(one);
    }
    drop(account);
    store.close_account(place).await;
    Ok(all)
}

impl MaildirMailbox {
    /// Writes what is due, and says what is left.
    async fn release(&self, report: &mut Released) -> Result<()> {
        self.look(Force::Scan).await?;
        let mut tries = 0;
        loop {
            match self.flush_once().await? {
                Flushed::All => break,
                Flushed::More => (),
                Flushed::Look | Flushed::Soon | Flushed::Later if tries < TRIES => {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                _ => break,
            }
        }
        let (names_behind, list_behind, locks) = self.job(|core, fs| core.still_due(fs)).await?;
        if names_behind > 0 {
            report.failure = Some(format!(
                "{names_behind} file names do not show their flags yet: is the disk full, or a directory not writable? Run the command again when that is mended"
            ));
        } else if list_behind {
            report.failure = Some(
                "dovecot-uidlist or dovecot-keywords cannot be written: is the disk full, or does another program hold the lock? Run the command again when that is mended"
                    .to_owned(),
            );
        }
        for name in locks {
            report.odd.push(format!(
                "{name} is there: another program is at work, or died; Dovecot removes what is stale"
            ));
        }
        let core = self.core.lock().await;
        let s = &core.model.snapshot;
        report.messages = s.len();
        report.mod_seq = s.highest_mod_seq.get();
        for keyword in s.keywords.names().iter().filter(|k| core.letters.find(k).is_none()) {
            let bit = s.keywords.find(keyword).unwrap_or(KeywordBits(0)).0;
            let count = s.iter().filter(|r| r.flags.keywords.0 & bit != 0).count();
            // `unknown-7` is the letter itself.
            if count > 0 && !keyword.as_str().starts_with("unknown-") {
                report.without_letter.push((keyword.as_str().to_owned(), count));
            }
        }
        drop(core);
        self.close().await;
        Ok(())
    }
}

impl Core {
    /// How many messages lag behind on disk, does a list, and locks that lie there.
    fn still_due(&mut self, fs: &Fs) -> (usize, bool, Vec<String>) {
        let mut locks = Vec::new();
        if let Ok(dirs) = self.dirs(fs) {
            for name in [uidlist::LOCK, keywords::TEMPORARY, subscriptions::LOCK] {
                if dirs.control.exists(name).unwrap_or(false) {
                    locks.push(name.escape_ascii().to_string());
                }
            }
        }
        (self.model.behind.len(), self.list_wants_writing(), locks)
    }
}
