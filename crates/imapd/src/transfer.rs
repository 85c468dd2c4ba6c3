//! What COPY and MOVE share.

use crate::names;
use crate::state::Selected;
use crate::stop::{Code, Stop};
use culver_base::UidSet;
use culver_imap::command::{Numbering, Transfer as Command};
use culver_store::{Failure, Refusal, Transfer, Transferred};

/// Copies or moves what the command names; `None` when it names nothing (a UID command may).
pub async fn run(selected: &Selected, cmd: &Command, how: Transfer) -> Result<Option<Transferred>, Stop> {
    let uids = selected.resolve(&cmd.messages, cmd.numbering)?;
    let now = selected.mailbox.snapshot();
    let here: UidSet = now.select(&uids).map(|(_, r)| r.uid).collect();
    if cmd.numbering == Numbering::Sequence && here != uids {
        // RFC 2180 §4.4.1: nothing is copied rather than a part.
        return Err(Refusal::ExpungeIssued.into());
    }
    let name = names::known(&cmd.mailbox)?;
    let target = selected.user.mail.open_target(name).await.map_err(|f| match f {
        Failure::Refused(Refusal::NonExistent) => Refusal::TryCreate.into(),
        other => other,
    })?;
    if here.is_empty() {
        return Ok(None);
    }
    Ok(Some(selected.mailbox.transfer(&here, &target, how).await?))
}

/// COPYUID (RFC 4315 §3), if anything was copied.
pub fn copy_uid(done: Transferred) -> Option<Code> {
    if done.source.is_empty() {
        return None;
    }
    Some(Code::CopyUid {
        uid_validity: done.uid_validity,
        source: done.source.into_iter().collect(),
        target: done.target.into_iter().collect(),
    })
}
