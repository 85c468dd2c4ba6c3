//! STORE: flags change in the record and the journal; the file's name follows (`flush.rs`).

use crate::core::{Core, Result, keyword_ops};
use crate::model::Op;
use culver_base::{Flag, SystemFlags, UidSet};
use culver_snapshot::{Flags, KeywordBits};
use culver_store::{FlagChange, Refusal, StoreFlags, Stored};

impl Core {
    /// Flags as bits. New keywords are added to `added`; those that no longer fit are left out and `true` comes back.
    pub fn bits_of(&self, flags: &[Flag], added: &mut Vec<culver_base::Keyword>) -> (Flags, bool) {
        let mut out = Flags::default();
        let mut full = false;
        for flag in flags {
            match flag {
                Flag::System(s) => out.system = out.system.with(*s),
                Flag::Keyword(k) => match self.model.keyword_bit(k, added) {
                    Some(bit) => out.keywords.0 |= bit.0,
                    None => full = true,
                },
            }
        }
        (out, full)
    }

    /// Changes flags.
    pub fn set_flags(&mut self, uids: &UidSet, change: &StoreFlags) -> Result<Stored> {
        self.check_here()?;
        let mut added = Vec::new();
        let (wanted, full) = match change.change {
            // What is taken away need not be in the table.
            FlagChange::Remove => {
                let known = |f: &&Flag| match f {
                    Flag::System(_) => true,
                    Flag::Keyword(k) => self.model.snapshot.keywords.find(k).is_some(),
                };
                let known: Vec<Flag> = change.flags.iter().filter(known).cloned().collect();
                self.bits_of(&known, &mut added)
            }
            _ => self.bits_of(&change.flags, &mut added),
        };
        let mut stored = Stored::default();
        let mut ops = Vec::new();
        let mut seen = UidSet::new();
        for (_, r) in self.model.snapshot.select(uids) {
            seen.add(r.uid);
            if change.unchanged_since.is_some_and(|m| r.mod_seq > m) {
                stored.modified.add(r.uid);
                continue;
            }
            let flags = apply(change.change, r.flags, wanted);
            stored.changed.add(r.uid);
            if flags != r.flags {
                ops.push(Op::Flags(r.uid, flags));
            }
        }
        stored.missing = uids.difference(&seen);
        if full {
            let text =
                "The mailbox has 64 different keywords, the most that it can hold; the others were set";
            stored.refused = Some(Refusal::Limit(text.into()));
        }
        self.commit(keyword_ops(added).chain(ops).collect());
        stored.mod_seq = self.model.snapshot.highest_mod_seq;
        Ok(stored)
    }
}

fn apply(change: FlagChange, old: Flags, flags: Flags) -> Flags {
    match change {
        FlagChange::Add => Flags {
            system: old.system.with(flags.system),
            keywords: KeywordBits(old.keywords.0 | flags.keywords.0),
        },
        FlagChange::Remove => Flags {
            system: old.system.without(flags.system),
            keywords: KeywordBits(old.keywords.0 & !flags.keywords.0),
        },
        FlagChange::Replace => {
            Flags { system: SystemFlags::from_bits(flags.system.bits()), keywords: flags.keywords }
        }
    }
}
