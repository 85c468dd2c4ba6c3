//! EXAMINE (RFC 9051 §6.3.3).

use super::{Select, select};
use crate::grammar::Parser;
use culver_base::Malformed;

/// `examine`: written like SELECT.
pub fn parse(p: &mut Parser<'_>) -> Result<Select, Malformed> {
    select::parse(p)
}
