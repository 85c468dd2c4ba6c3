//! What COPY and MOVE have in common: a set and a mailbox.

use super::{Numbering, Transfer};
use crate::grammar::Parser;
use culver_base::Malformed;

/// `SP sequence-set SP mailbox`
pub fn parse(p: &mut Parser<'_>, numbering: Numbering) -> Result<Transfer, Malformed> {
    p.sp()?;
    let messages = p.sequence_set()?;
    p.sp()?;
    let mailbox = p.mailbox()?;
    Ok(Transfer { numbering, messages, mailbox })
}
