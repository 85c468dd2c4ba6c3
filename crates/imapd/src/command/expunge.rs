//! EXPUNGE (RFC 9051 §6.4.3) and UID EXPUNGE (RFC 4315 §2.1).

use crate::context::Context;
use crate::state::Selected;
use crate::stop::{Code, Done, Stop};
use culver_base::SequenceSet;
use culver_imap::command::Numbering;
use culver_imap::response::Code as WireCode;

/// EXPUNGE and UID EXPUNGE. What is gone is told by the sync that follows every command.
pub async fn run(selected: &mut Selected, uids: Option<SequenceSet>, cx: &mut Context) -> Result<Done, Stop> {
    let mailbox = selected.writable()?.clone();
    let uids = match uids {
        Some(set) => selected.resolve(&set, Numbering::Uid)?,
        None => selected.view.snapshot().uids(),
    };
    let gone = mailbox.expunge(&uids).await?;
    if !gone.is_empty() {
        cx.service.keeper.stored(&selected.user.account).await;
    }
    let highest = mailbox.snapshot().highest_mod_seq;
    // RFC 7162 §3.2.10: told with QRESYNC when something was expunged.
    let tells = selected.user.enabled.qresync && !gone.is_empty();
    Ok(Done::ok("EXPUNGE completed").with(tells.then_some(Code::Plain(WireCode::HighestModSeq(highest)))))
}
