//! ENABLE (RFC 9051 §6.3.1, RFC 5161).

use crate::grammar::Parser;
use culver_base::Malformed;

/// `enable`: names of capabilities, known or not.
pub fn parse<'a>(p: &mut Parser<'a>) -> Result<Vec<&'a str>, Malformed> {
    let mut names = Vec::new();
    loop {
        p.sp()?;
        names.push(p.atom("a capability")?);
        if p.at_end() {
            return Ok(names);
        }
    }
}
