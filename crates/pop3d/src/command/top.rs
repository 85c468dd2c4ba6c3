//! TOP (RFC 1939 §7). The message stays unseen.

use crate::content::{self, Wanted};
use crate::context::Context;
use crate::state::Transaction;
use crate::stop::{Stop, no};
use culver_pop3::command::Number;
use culver_pop3::language::Text;

/// TOP.
pub async fn run(tx: &mut Transaction, number: Number, lines: u64, cx: &mut Context) -> Result<(), Stop> {
    let position = tx.find(number)?;
    let Some((uid, octets)) = tx.maildrop.get(position) else {
        return no(Text::NoSuchMessage(tx.maildrop.len()));
    };
    let sent = content::send(&tx.mailbox, uid, octets, Wanted::Top { lines }, cx).await?;
    tx.counts.top += 1;
    tx.counts.top_octets += sent;
    Ok(())
}
