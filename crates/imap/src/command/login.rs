//! LOGIN (RFC 9051 §6.2.3).

use super::NotAuthenticated;
use crate::grammar::Parser;
use culver_base::Malformed;

/// `login`
pub fn parse<'a>(p: &mut Parser<'a>) -> Result<NotAuthenticated<'a>, Malformed> {
    p.sp()?;
    let user = p.astring("a user name")?;
    p.sp()?;
    let password = p.astring("a password")?;
    Ok(NotAuthenticated::Login { user, password })
}
