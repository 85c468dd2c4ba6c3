//! MOVE (RFC 6851, RFC 9051 §6.4.8).

use crate::context::Context;
use crate::state::Selected;
use crate::stop::{Code, Done, Stop};
use crate::transfer;
use culver_imap::command::Transfer;
use culver_imap::response::Code as WireCode;

/// MOVE and UID MOVE. COPYUID goes in an untagged OK before the EXPUNGEs (RFC 6851 §4.3).
pub async fn run(selected: &mut Selected, cmd: Transfer, cx: &mut Context) -> Result<Done, Stop> {
    selected.writable()?;
    let done = transfer::run(selected, &cmd, culver_store::Transfer::Move).await?;
    if let Some(code) = done.and_then(transfer::copy_uid) {
        code.untagged(&mut cx.wire.out, "Moved");
    }
    let highest = selected.mailbox.snapshot().highest_mod_seq;
    // RFC 7162 §3.2.10 by way of RFC 6851 §4.4: the client may drop its cached state up to here.
    let code = selected.user.enabled.qresync.then_some(Code::Plain(WireCode::HighestModSeq(highest)));
    Ok(Done::ok("MOVE completed").with(code))
}
