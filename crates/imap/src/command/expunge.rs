//! EXPUNGE (RFC 9051 §6.4.3), which has no arguments, and UID EXPUNGE (RFC 4315 §2.1), which has one.

use super::Selected;
use crate::grammar::Parser;
use culver_base::Malformed;

/// `uid-expunge`
pub fn parse_uid<'a>(p: &mut Parser<'a>) -> Result<Selected<'a>, Malformed> {
    p.sp()?;
    Ok(Selected::Expunge { uids: Some(p.sequence_set()?) })
}
