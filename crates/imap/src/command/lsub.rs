//! LSUB (RFC 3501 §6.3.9).

use super::Authenticated;
use crate::grammar::Parser;
use culver_base::Malformed;

/// `lsub`
pub fn parse<'a>(p: &mut Parser<'a>) -> Result<Authenticated<'a>, Malformed> {
    p.sp()?;
    let reference = p.reference()?;
    p.sp()?;
    let pattern = p.list_mailbox()?;
    Ok(Authenticated::Lsub { reference, pattern })
}
