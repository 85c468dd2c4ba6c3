//! Telling a session what happened to its mailbox: EXPUNGE or VANISHED, EXISTS, RECENT, FLAGS, FETCH.

use crate::state::{Access, Enabled, Selected};
use crate::stop::Stop;
use crate::view::Expunges;
use crate::wire::Wire;
use culver_base::{SeqNo, UidSet};
use culver_imap::response::{self, Code, Condition, FetchWriter};
use culver_snapshot::{Presence, Record, Snapshot};

/// Moves the view as far as allowed and writes what the client must hear.
pub async fn tell(selected: &mut Selected, wire: &mut Wire, expunges: Expunges) -> Result<(), Stop> {
    let now = selected.news.borrow_and_update().clone();
    if now.presence == Presence::Gone {
        return tell_gone(selected, wire, &now, expunges).await;
    }
    if selected.view.is_current(&now) {
        return Ok(());
    }
    let enabled = selected.user.enabled;
    let news = selected.view.advance(&now, expunges);
    if !news.expunged.is_empty() {
        if enabled.qresync {
            let uids: UidSet = news.expunged.iter().map(|(_, uid)| *uid).collect();
            response::vanished(&mut wire.out, response::Vanished::Now, &uids);
        } else {
            for (index, _) in news.expunged.iter().rev() {
                response::expunge(&mut wire.out, SeqNo::from_index(*index));
                wire.relieve().await?;
            }
        }
    }
    if news.arrived > 0 {
        let len = selected.view.snapshot().len();
        if selected.access == Access::ReadWrite {
            let first = selected.mailbox.claim_recent();
            let from = len - news.arrived;
            let fresh = selected.view.snapshot().iter_from(from).map(|r| r.uid).filter(|uid| *uid >= first);
            let fresh: UidSet = fresh.collect();
            selected.view.add_recent(fresh);
        }
        response::exists(&mut wire.out, count(len));
        if !enabled.imap4rev2 {
            response::recent(&mut wire.out, count(selected.view.recent_count()));
        }
    }
    if news.keywords_added {
        flags(selected.view.snapshot(), selected.access, wire);
    }
    for index in news.changed {
        if let Some(record) = selected.view.snapshot().get(index) {
            let how = Told { uid: enabled.qresync || enabled.imap4rev2, mod_seq: enabled.condstore };
            flags_of(&mut wire.out, selected, SeqNo::from_index(index), record, how);
        }
        wire.relieve().await?;
    }
    Ok(())
}

/// The mailbox was deleted by somebody else: its messages go as expunged ones do and the client reads why. The
/// session stays where it is until it selects something else (RFC 2180 §3.2).
async fn tell_gone(
    selected: &mut Selected,
    wire: &mut Wire,
    last: &std::sync::Arc<Snapshot>,
    expunges: Expunges,
) -> Result<(), Stop> {
    if selected.told_gone || expunges == Expunges::Hold {
        return Ok(());
    }
    selected.told_gone = true;
    let mut edit = last.edit();
    edit.remove(&UidSet::all());
    let news = selected.view.advance(&std::sync::Arc::new(edit.finish()), Expunges::Tell);
    if !news.expunged.is_empty() {
        if selected.user.enabled.qresync {
            let uids: UidSet = news.expunged.iter().map(|(_, uid)| *uid).collect();
            response::vanished(&mut wire.out, response::Vanished::Now, &uids);
        } else {
            for (index, _) in news.expunged.iter().rev() {
                response::expunge(&mut wire.out, SeqNo::from_index(*index));
                wire.relieve().await?;
            }
        }
    }
    let text = "The selected mailbox has been deleted; select another one";
    response::status(&mut wire.out, None, Condition::No, Some(&Code::NonExistent), text);
    Ok(())
}

/// A number of messages as the wire has it.
pub fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// What goes with FLAGS in an unsolicited FETCH.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Told {
    /// UID
    pub uid: bool,
    /// MODSEQ
    pub mod_seq: bool,
}

/// One FETCH with FLAGS.
pub fn flags_of(out: &mut Vec<u8>, selected: &Selected, number: SeqNo, record: &Record, how: Told) {
    let mut fetch = FetchWriter::begin(out, number);
    if how.uid {
        fetch.uid(record.uid);
    }
    write_flags(&mut fetch, selected.view.snapshot(), selected.view.recent(), record, selected.user.enabled);
    if how.mod_seq {
        fetch.mod_seq(record.mod_seq);
    }
    fetch.end();
}

/// FLAGS of a message, `\Recent` last and only for IMAP4rev1.
pub fn write_flags(
    fetch: &mut FetchWriter<'_>,
    snapshot: &Snapshot,
    recent: &UidSet,
    record: &Record,
    enabled: Enabled,
) {
    let recent = (!enabled.imap4rev2 && recent.has(record.uid)).then_some("\\Recent");
    let keywords = snapshot.keywords.of(record.flags.keywords).map(|k| k.as_str());
    fetch.flags_of(record.flags.system, keywords.chain(recent));
}

/// FLAGS and PERMANENTFLAGS (RFC 9051 §7.3.5, §7.1).
pub fn flags(snapshot: &Snapshot, access: Access, wire: &mut Wire) {
    let names = || {
        let system = culver_base::SystemFlags::NAMES.iter().map(|(_, name)| *name);
        system.chain(snapshot.keywords.names().iter().map(|k| k.as_str()))
    };
    response::flags(&mut wire.out, names());
    let (permanent, text): (Vec<&str>, _) = match access {
        Access::ReadOnly => (Vec::new(), "Read-only mailbox"),
        Access::ReadWrite => {
            let new = snapshot.keywords.has_room().then_some("\\*");
            (names().chain(new).collect(), "Flags that are kept")
        }
    };
    let code = Code::PermanentFlags(&permanent);
    response::status(&mut wire.out, None, Condition::Ok, Some(&code), text);
}
