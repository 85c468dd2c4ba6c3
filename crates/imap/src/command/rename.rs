//! RENAME (RFC 9051 §6.3.6).

use super::Authenticated;
use crate::grammar::Parser;
use culver_base::Malformed;

/// `rename`
pub fn parse<'a>(p: &mut Parser<'a>) -> Result<Authenticated<'a>, Malformed> {
    p.sp()?;
    let from = p.mailbox()?;
    p.sp()?;
    let to = p.mailbox()?;
    Ok(Authenticated::Rename { from, to })
}
