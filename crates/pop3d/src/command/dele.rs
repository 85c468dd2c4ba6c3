//! DELE (RFC 1939 §5): a mark, until QUIT.

use crate::context::Context;
use crate::state::Transaction;
use crate::stop::Stop;
use culver_pop3::command::Number;
use culver_pop3::language::Text;

/// DELE.
pub fn run(tx: &mut Transaction, number: Number, cx: &mut Context) -> Result<(), Stop> {
    let position = tx.find(number)?;
    let octets = tx.maildrop.get(position).map_or(0, |(_, octets)| octets);
    tx.deleted.add(position, octets);
    cx.ok(&Text::Deleted(number.get()));
    Ok(())
}
