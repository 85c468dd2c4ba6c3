//! LAST (RFC 1081), where it is switched on: the highest number that was ever retrieved.

use crate::context::Context;
use crate::state::Transaction;
use culver_pop3::response::{facts, number};

/// LAST.
pub fn run(tx: &Transaction, cx: &mut Context) {
    let mut last = Vec::new();
    number(&mut last, u64::from(tx.last));
    facts(&mut cx.wire.out, &[&last]);
}
