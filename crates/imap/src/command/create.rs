//! CREATE (RFC 9051 §6.3.4), with USE (RFC 6154 §3).

use super::{Authenticated, Name};
use crate::grammar::Parser;
use culver_base::mailbox_name::SEPARATOR;
use culver_base::{MailboxName, Malformed};

/// `create`, with `create-param` of RFC 4466 §2.2.
pub fn parse<'a>(p: &mut Parser<'a>) -> Result<Authenticated<'a>, Malformed> {
    p.sp()?;
    let mailbox = without_trailing_separator(p.mailbox()?);
    let (special_use, unknown_use) = p.create_params()?;
    Ok(Authenticated::Create { mailbox, special_use, unknown_use })
}

/// A trailing separator says that names will be made below this one (RFC 9051 §6.3.4); here every mailbox may
/// have children.
fn without_trailing_separator(name: Name) -> Name {
    match &name {
        Name::Known(known) => match known.as_str().strip_suffix(SEPARATOR) {
            Some(shorter) => Name::Known(MailboxName::new(shorter)),
            None => name,
        },
        Name::Undecodable(_) => name,
    }
}
