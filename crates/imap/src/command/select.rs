//! SELECT (RFC 9051 §6.3.2), with the parameters of RFC 7162.

use super::Select;
use crate::grammar::{List, Parser};
use culver_base::Malformed;

/// `select`, with `select-params` of RFC 4466 §2.1.
pub fn parse(p: &mut Parser<'_>) -> Result<Select, Malformed> {
    p.sp()?;
    let mailbox = p.mailbox()?;
    let mut select = Select { mailbox, condstore: false, qresync: None };
    if !p.at_end() {
        p.sp()?;
        p.list("a list of SELECT parameters", List::NotEmpty, |p| select_param(p, &mut select))?;
    }
    Ok(select)
}

/// `select-param`
fn select_param(p: &mut Parser<'_>, select: &mut Select) -> Result<(), Malformed> {
    let at = p.malformed("CONDSTORE or QRESYNC, once");
    match p.word(at.expected)?.as_str() {
        "CONDSTORE" if !select.condstore => select.condstore = true,
        "QRESYNC" if select.qresync.is_none() => select.qresync = Some(p.qresync_param()?),
        _ => return Err(at),
    }
    Ok(())
}
