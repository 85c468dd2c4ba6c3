//! DELETE (RFC 9051 §6.3.5).

use super::Name;
use crate::grammar::Parser;
use culver_base::Malformed;

/// `delete`
pub fn parse(p: &mut Parser<'_>) -> Result<Name, Malformed> {
    p.sp()?;
    p.mailbox()
}
