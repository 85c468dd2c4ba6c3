//! MOVE and UID MOVE (RFC 9051 §6.4.8, RFC 6851).

use super::{Numbering, Transfer, transfer};
use crate::grammar::Parser;
use culver_base::Malformed;

/// `move`
pub fn parse(p: &mut Parser<'_>, numbering: Numbering) -> Result<Transfer, Malformed> {
    transfer::parse(p, numbering)
}
