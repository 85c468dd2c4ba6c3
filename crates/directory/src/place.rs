//! Where an account's mail lies, in the words of the store.

use crate::account::{Account, Layout};
use culver_store::{Owner, Place};

impl Account {
    /// Where its mail lies and whose it is, as the store wants it.
    pub fn place(&self) -> Place {
        Place {
            account: self.name.clone(),
            owner: self.uid.zip(self.gid).map(|(uid, gid)| Owner { uid, gid }),
            root: self.mail.root.clone(),
            control: self.mail.control.clone(),
            index: self.mail.index.clone(),
            layout: match self.mail.layout {
                Layout::MaildirPlusPlus => culver_store::Layout::MaildirPlusPlus,
                Layout::Fs => culver_store::Layout::Fs,
            },
        }
    }
}
