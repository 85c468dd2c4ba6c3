//! GETQUOTAROOT (RFC 9208 §4.1.2).

use super::Authenticated;
use crate::grammar::Parser;
use culver_base::Malformed;

/// `getquotaroot`
pub fn parse<'a>(p: &mut Parser<'a>) -> Result<Authenticated<'a>, Malformed> {
    p.sp()?;
    Ok(Authenticated::GetQuotaRoot(p.mailbox()?))
}
