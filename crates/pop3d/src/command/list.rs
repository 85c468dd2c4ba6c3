//! LIST (RFC 1939 §5): sizes from the index, sent as they are written.

use crate::context::Context;
use crate::state::Transaction;
use crate::stop::Stop;
use culver_pop3::command::Number;
use culver_pop3::language::Text;
use culver_pop3::response::{self, scan_listing};

/// LIST.
pub async fn run(tx: &Transaction, asked: Option<Number>, cx: &mut Context) -> Result<(), Stop> {
    if let Some(asked) = asked {
        let position = tx.find(asked)?;
        let octets = tx.maildrop.get(position).map_or(0, |(_, octets)| octets);
        cx.wire.out.extend_from_slice(b"+OK ");
        scan_listing(&mut cx.wire.out, asked.get(), octets);
        return Ok(());
    }
    cx.ok(&Text::Messages { messages: tx.len(), octets: tx.octets() });
    for (position, (_, octets)) in tx.maildrop.iter().enumerate() {
        if !tx.deleted.has(position) {
            scan_listing(&mut cx.wire.out, Number::of_position(position).get(), octets);
            if cx.wire.is_full() {
                cx.wire.flush().await?;
            }
        }
    }
    response::end(&mut cx.wire.out);
    Ok(())
}
