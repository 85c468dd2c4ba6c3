//! ID (RFC 2971 §3.1).

use super::IdPairs;
use crate::grammar::{List, Parser};
use culver_base::Malformed;

/// Most pairs that a client may send (RFC 2971 §3.3).
pub const MAX_PAIRS: usize = 30;
/// Longest field name in octets (RFC 2971 §3.3).
pub const MAX_FIELD: usize = 30;
/// Longest value in octets (RFC 2971 §3.3).
pub const MAX_VALUE: usize = 1024;

/// `id`
pub fn parse<'a>(p: &mut Parser<'a>) -> Result<Option<IdPairs<'a>>, Malformed> {
    p.sp()?;
    if p.take_nocase("NIL") {
        return Ok(None);
    }
    let mut pairs = Vec::new();
    p.list("NIL or a list of fields", List::MayBeEmpty, |p| {
        let at = p.malformed("at most 30 fields, names of 30 octets and values of 1024");
        let field = p.string()?;
        p.sp()?;
        let value = p.nstring()?;
        let long = field.len() > MAX_FIELD || value.as_ref().is_some_and(|v| v.len() > MAX_VALUE);
        if long || pairs.len() == MAX_PAIRS {
            return Err(at);
        }
        pairs.push((field, value));
        Ok(())
    })?;
    Ok(Some(pairs))
}
