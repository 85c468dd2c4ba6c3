//! STAT (RFC 1939 §5): from the index; no message is opened.

use crate::context::Context;
use crate::state::Transaction;
use culver_pop3::response::{facts, number};

/// STAT.
pub fn run(tx: &Transaction, cx: &mut Context) {
    let (mut messages, mut octets) = (Vec::new(), Vec::new());
    number(&mut messages, tx.len() as u64);
    number(&mut octets, tx.octets());
    facts(&mut cx.wire.out, &[&messages, &octets]);
}
