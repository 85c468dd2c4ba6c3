//! Special uses that clients gave to mailboxes (CREATE-SPECIAL-USE, RFC 6154 §3), and those that the configuration
//! gives. Pure.
//!
//! Kept as text in the account's state: `<uses> TAB <name>`, a mailbox a line, names in Unicode. A mailbox in the file
//! has exactly the uses written there; one that is not in it has those of the configuration, unless another mailbox
//! was given that use.

use culver_base::{MailboxName, SpecialUse};

/// The name of the file in the account's state.
pub const NAME: &[u8] = b"special-use";

/// What the account's file holds.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SpecialUses {
    given: Vec<(MailboxName, Vec<SpecialUse>)>,
}

impl SpecialUses {
    /// Reads the file's content. Lines that cannot be read are skipped.
    pub fn read(text: &[u8]) -> Self {
        let mut all = Self::default();
        for line in String::from_utf8_lossy(text).lines() {
            let Some((uses, name)) = line.split_once('\t') else { continue };
            let uses: Vec<SpecialUse> = uses.split(' ').filter_map(SpecialUse::parse).collect();
            if !name.is_empty() {
                all.set(&MailboxName::new(name), &uses);
            }
        }
        all
    }

    /// The file's content.
    pub fn write(&self) -> Vec<u8> {
        let mut out = String::new();
        for (name, uses) in &self.given {
            let uses: Vec<&str> = uses.iter().map(|u| u.as_str()).collect();
            out.push_str(&uses.join(" "));
            out.push('\t');
            out.push_str(name.as_str());
            out.push('\n');
        }
        out.into_bytes()
    }

    /// Gives a mailbox its uses. An empty list takes away what the configuration gives.
    pub fn set(&mut self, name: &MailboxName, uses: &[SpecialUse]) {
        self.given.retain(|(n, _)| n != name);
        let mut uses = uses.to_vec();
        uses.sort_unstable();
        uses.dedup();
        self.given.push((name.clone(), uses));
    }

    /// Forgets a mailbox; `false` when it is not there.
    pub fn forget(&mut self, name: &MailboxName) -> bool {
        let before = self.given.len();
        self.given.retain(|(n, _)| n != name);
        self.given.len() < before
    }

    /// Follows the renaming of a mailbox and of those below it; `false` when none of them is there.
    pub fn rename(&mut self, from: &MailboxName, to: &MailboxName) -> bool {
        let mut changed = false;
        for (name, _) in &mut self.given {
            if let Some(new) = name.moved(from, to) {
                *name = new;
                changed = true;
            }
        }
        changed
    }

    /// The uses of a mailbox; `defaults` are those of the configuration.
    pub fn of(&self, name: &MailboxName, defaults: &[(MailboxName, SpecialUse)]) -> Vec<SpecialUse> {
        if let Some((_, uses)) = self.given.iter().find(|(n, _)| n == name) {
            return uses.clone();
        }
        let taken = |u: &SpecialUse| self.given.iter().any(|(_, uses)| uses.contains(u));
        defaults.iter().filter(|(n, u)| n == name && !taken(u)).map(|(_, u)| *u).collect()
    }

    /// The mailbox that a client gave this use.
    pub fn holder(&self, use_: SpecialUse) -> Option<&MailboxName> {
        self.given.iter().find(|(_, uses)| uses.contains(&use_)).map(|(n, _)| n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_counts_before_the_configuration() {
        let name = MailboxName::new;
        let defaults = [(name("Sent"), SpecialUse::Sent), (name("Trash"), SpecialUse::Trash)];
        let mut all = SpecialUses::default();
        assert_eq!(all.of(&name("Sent"), &defaults), [SpecialUse::Sent]);
        all.set(&name("Gesendet"), &[SpecialUse::Sent, SpecialUse::Archive]);
        assert_eq!(all.of(&name("Sent"), &defaults), []);
        assert_eq!(all.of(&name("Gesendet"), &defaults), [SpecialUse::Archive, SpecialUse::Sent]);
        assert_eq!(all.write(), "\\Archive \\Sent\tGesendet\n".as_bytes());
        assert_eq!(SpecialUses::read(&all.write()), all);
        assert!(all.rename(&name("Gesendet"), &name("a/b")));
        assert_eq!(all.holder(SpecialUse::Sent), Some(&name("a/b")));
        assert!(all.forget(&name("a/b")) && !all.forget(&name("a/b")));
        assert_eq!(SpecialUses::read(b"\\Nonsense\tx\nrubbish\n").of(&name("x"), &defaults), []);
    }
}
