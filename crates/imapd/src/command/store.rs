//! STORE (RFC 9051 §6.4.6; UNCHANGEDSINCE: RFC 7162 §3.1.3).

use crate::context::Context;
use crate::state::Selected;
use crate::stop::{Code, Done, Stop};
use crate::sync::{Told, flags_of};
use culver_base::{Flag, SeqNo, UidSet};
use culver_imap::command::{Change, Numbering, Store};
use culver_imap::response::FetchWriter;
use culver_snapshot::{Flags, KeywordBits, Snapshot};
use culver_store::{FlagChange, Refusal, StoreFlags};

/// STORE and UID STORE.
pub async fn run(selected: &mut Selected, cmd: Store, cx: &mut Context) -> Result<Done, Stop> {
    if cmd.unchanged_since.is_some() {
        selected.user.enabled.condstore = true;
    }
    let mailbox = selected.writable()?.clone();
    let uids = selected.resolve(&cmd.messages, cmd.numbering)?;
    let change = match cmd.change {
        Change::Add => FlagChange::Add,
        Change::Remove => FlagChange::Remove,
        Change::Replace => FlagChange::Replace,
    };
    let request = StoreFlags { change, flags: cmd.flags.clone(), unchanged_since: cmd.unchanged_since };
    let stored = mailbox.set_flags(&uids, request).await?;
    let now = mailbox.snapshot();
    // What the client may assume: all that was stored as asked, less what others did at the same time.
    let done = uids.difference(&stored.modified).difference(&stored.missing);
    let told = if cmd.silent { as_predicted(selected, &cmd, change, &done, &now) } else { done.clone() };
    selected.view.absorb(&told, &now);
    let keywords_grew = now.keywords.names().len() > selected.view.snapshot().keywords.names().len();
    if keywords_grew {
        selected.view.learn_keywords(&now);
        crate::sync::flags(selected.view.snapshot(), selected.access, &mut cx.wire);
    }
    let enabled = selected.user.enabled;
    let with_uid = cmd.numbering == Numbering::Uid || enabled.qresync;
    for (index, record) in selected.view.snapshot().select(&told) {
        let number = SeqNo::from_index(index);
        if !cmd.silent {
            let how = Told { uid: with_uid, mod_seq: enabled.condstore };
            flags_of(&mut cx.wire.out, selected, number, record, how);
        } else if enabled.condstore && stored.changed.has(record.uid) {
            // RFC 7162 §3.1.3: the new mod-sequence is told even when SILENT.
            let mut fetch = FetchWriter::begin(&mut cx.wire.out, number);
            if with_uid {
                fetch.uid(record.uid);
            }
            fetch.mod_seq(record.mod_seq);
            fetch.end();
        }
        cx.wire.relieve().await?;
    }
    if let Some(refusal) = stored.refused {
        return Ok(refusal.into());
    }
    let modified = (!stored.modified.is_empty()).then(|| match cmd.numbering {
        Numbering::Uid => stored.modified.clone(),
        Numbering::Sequence => {
            let mut numbers = UidSet::new();
            selected.view.snapshot().select(&stored.modified).for_each(|(i, _)| numbers.insert(i as u32 + 1));
            numbers
        }
    });
    if cmd.numbering == Numbering::Sequence && !stored.missing.is_empty() {
        // RFC 2180 §4.2.
        return Ok(Refusal::ExpungeIssued.into());
    }
    Ok(match modified {
        Some(set) => Done { text: "Conditional STORE failed for some".into(), ..Done::ok("") }
            .with(Code::Modified(set)),
        None => Done::ok("STORE completed"),
    })
}

/// Those of `done` whose flags are now what the client computes from its own picture.
fn as_predicted(
    selected: &Selected,
    cmd: &Store,
    change: FlagChange,
    done: &UidSet,
    now: &Snapshot,
) -> UidSet {
    let named = named(&cmd.flags, now);
    let view = selected.view.snapshot();
    view.select(done)
        .filter(|(_, old)| {
            let (s, k) = (old.flags.system, old.flags.keywords.0);
            let (system, keywords) = match change {
                FlagChange::Add => (s.with(named.system), k | named.keywords.0),
                FlagChange::Remove => (s.without(named.system), k & !named.keywords.0),
                FlagChange::Replace => (named.system, named.keywords.0),
            };
            let predicted = Flags { system, keywords: KeywordBits(keywords) };
            now.by_uid(old.uid).is_some_and(|r| r.flags == predicted)
        })
        .map(|(_, old)| old.uid)
        .collect()
}

fn named(flags: &[Flag], snapshot: &Snapshot) -> Flags {
    let mut named = Flags::default();
    for flag in flags {
        match flag {
            Flag::System(f) => named.system = named.system.with(*f),
            Flag::Keyword(k) => {
                let bits = snapshot.keywords.find(k).unwrap_or_default();
                named.keywords = KeywordBits(named.keywords.0 | bits.0);
            }
        }
    }
    named
}
