//! SUBSCRIBE (RFC 9051 §6.3.7).

use super::Name;
use crate::grammar::Parser;
use culver_base::Malformed;

/// `subscribe`
pub fn parse(p: &mut Parser<'_>) -> Result<Name, Malformed> {
    p.sp()?;
    p.mailbox()
}
