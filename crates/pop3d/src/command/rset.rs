//! RSET (RFC 1939 §5; RFC 1081 for LAST): nothing is deleted, nothing was retrieved.

use crate::context::Context;
use crate::marks::Marks;
use crate::state::Transaction;
use culver_base::UidSet;
use culver_pop3::language::Text;

/// RSET.
pub fn run(tx: &mut Transaction, cx: &mut Context) {
    tx.deleted = Marks::default();
    // Dovecot: what was retrieved before counts as not retrieved.
    tx.newly_seen = UidSet::new();
    tx.last = tx.last_at_login;
    cx.ok(&Text::Reset);
}
