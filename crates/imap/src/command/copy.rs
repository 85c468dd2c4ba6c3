//! COPY and UID COPY (RFC 9051 §6.4.7).

use super::{Numbering, Transfer, transfer};
use crate::grammar::Parser;
use culver_base::Malformed;

/// `copy`
pub fn parse(p: &mut Parser<'_>, numbering: Numbering) -> Result<Transfer, Malformed> {
    transfer::parse(p, numbering)
}
