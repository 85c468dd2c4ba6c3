//! COPY (RFC 9051 §6.4.7; COPYUID: RFC 4315 §3).

use crate::context::Context;
use crate::state::Selected;
use crate::stop::{Done, Stop};
use crate::transfer;
use culver_imap::command::Transfer;

/// COPY and UID COPY.
pub async fn run(selected: &mut Selected, cmd: Transfer, cx: &mut Context) -> Result<Done, Stop> {
    selected.present()?;
    let done = transfer::run(selected, &cmd, culver_store::Transfer::Copy).await?;
    cx.service.keeper.stored(&selected.user.account).await;
    Ok(Done::ok("COPY completed").with(done.and_then(transfer::copy_uid)))
}
