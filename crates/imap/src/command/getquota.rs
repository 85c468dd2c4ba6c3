//! GETQUOTA (RFC 9208 §4.1.1).

use super::Authenticated;
use crate::grammar::Parser;
use culver_base::Malformed;

/// `getquota`
pub fn parse<'a>(p: &mut Parser<'a>) -> Result<Authenticated<'a>, Malformed> {
    p.sp()?;
    Ok(Authenticated::GetQuota { root: p.astring("the name of a quota root")? })
}
