//! RETR (RFC 1939 §5).

use crate::content::{self, Wanted};
use crate::context::Context;
use crate::state::Transaction;
use crate::stop::{Stop, no};
use culver_pop3::command::Number;
use culver_pop3::language::Text;

/// RETR.
pub async fn run(tx: &mut Transaction, number: Number, cx: &mut Context) -> Result<(), Stop> {
    let position = tx.find(number)?;
    let Some((uid, octets)) = tx.maildrop.get(position) else {
        return no(Text::NoSuchMessage(tx.maildrop.len()));
    };
    let sent = content::send(&tx.mailbox, uid, octets, Wanted::All, cx).await?;
    tx.counts.retr += 1;
    tx.counts.retr_octets += sent;
    tx.retrieved(position, cx).await;
    Ok(())
}
