//! SETQUOTA (RFC 9208 §4.1.3): understood, to be refused.

use super::Authenticated;
use crate::grammar::{List, Parser};
use culver_base::Malformed;

/// `setquota`
pub fn parse<'a>(p: &mut Parser<'a>) -> Result<Authenticated<'a>, Malformed> {
    p.sp()?;
    let root = p.astring("the name of a quota root")?;
    p.sp()?;
    p.list("a list of resources and limits", List::MayBeEmpty, |p| {
        p.atom("a resource such as STORAGE")?;
        p.sp()?;
        p.number64("a limit").map(drop)
    })?;
    Ok(Authenticated::SetQuota { root })
}
