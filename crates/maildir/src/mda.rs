//! Delivery as any MDA does it: a file in `tmp`, synced, then renamed into `new`, and the directory synced.
//!
//! For the delivery program, which may run while a server has the mailbox open, or as a user to whom the state folder is
//! closed. So it touches nothing but the Maildir: no index, no uidlist; `maildirsize` where it
//! is found. Whoever serves the mailbox finds the file in `new`
//! and gives it its UID, as with every other program's deliveries. The name tells both sizes, so that nobody has to count.

use crate::folders;
use crate::place::{Dirs, MailboxPlace};
use crate::shared;
use crate::store::MaildirStore;
use culver_base::MailboxName;
use culver_quota::Usage;
use culver_store::io::Fs;
use culver_store::{Place, Refusal, Result, Shared};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

/// What is done when there is no such mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Missing {
    /// It is made.
    Create,
    /// [`Refusal::NonExistent`]
    Refuse,
}

impl MaildirStore {
    /// Puts the message into the mailbox's `new`. INBOX is made when it is missing.
    ///
    /// # Errors
    /// When there is no such mailbox, or from the file system. Nothing can be seen of the message then.
    pub async fn drop_off(
        &self,
        place: &Place,
        mailbox: &MailboxName,
        message: Arc<Shared>,
        missing: Missing,
    ) -> Result<()> {
        let account = self.unopened(place);
        if missing == Missing::Create && !mailbox.is_inbox() {
            account.make_path(mailbox).await?;
        }
        let at = Arc::new(account.mailbox_place(mailbox)?);
        let label = at.label();
        let put = self.io().run(place.owner, move |fs| put(fs, &at, &message)).await?;
        match put {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Refusal::NonExistent.into()),
            other => other.map_err(|e| culver_store::error::from_io("delivering a message", &label, e)),
        }
    }
}

fn put(fs: &Fs, at: &Arc<MailboxPlace>, message: &Shared) -> io::Result<()> {
    let root = fs.make_root(&at.root)?;
    if at.name.is_inbox() {
        let inbox = root.open_dir(at.dir.as_os_str().as_bytes());
        folders::make_inbox(&inbox?)?;
    }
    let mut staged = shared::stage(fs, at, message)?;
    let dirs = Dirs::open(fs, at)?;
    let name = at.settings.base(staged.sizes);
    dirs.tmp()?.rename_new(&staged.name, &dirs.new, &name)?;
    staged.placed = true;
    dirs.new.sync()?;
    // As every program that delivers does by the rules of Maildir++.
    let came = Usage { storage: staged.sizes.stored.unwrap_or(0), messages: 1 };
    at.tell_maildirsize(fs, came, Usage::default());
    Ok(())
}
