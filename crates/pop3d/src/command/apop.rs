//! APOP (RFC 1939 §7): where the greeting had a timestamp.

use crate::context::Context;
use crate::state::Transaction;
use crate::stop::{Stop, no};
use culver_pop3::language::Text;

/// APOP.
pub async fn run(_user: &[u8], _digest: &[u8], _cx: &mut Context) -> Result<Transaction, Stop> {
    no(Text::NoApop)
}
