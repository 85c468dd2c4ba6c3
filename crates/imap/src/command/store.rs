//! STORE and UID STORE (RFC 9051 §6.4.6), with UNCHANGEDSINCE (RFC 7162 §3.1.3).

use super::{Change, Numbering, Store};
use crate::grammar::{Parser, add_flag};
use culver_base::{Flag, Malformed};

/// `store`
pub fn parse(p: &mut Parser<'_>, numbering: Numbering) -> Result<Store, Malformed> {
    p.sp()?;
    let messages = p.sequence_set()?;
    p.sp()?;
    let unchanged_since = p.store_modifiers()?;
    let (change, silent) = store_att(p)?;
    p.sp()?;
    let flags = store_flags(p)?;
    Ok(Store { numbering, messages, change, flags, silent, unchanged_since })
}

/// The first half of `store-att-flags`: what to do, and `.SILENT`.
fn store_att(p: &mut Parser<'_>) -> Result<(Change, bool), Malformed> {
    let at = p.malformed("FLAGS, +FLAGS or -FLAGS");
    Ok(match p.word(at.expected)?.as_str() {
        "FLAGS" => (Change::Replace, false),
        "FLAGS.SILENT" => (Change::Replace, true),
        "+FLAGS" => (Change::Add, false),
        "+FLAGS.SILENT" => (Change::Add, true),
        "-FLAGS" => (Change::Remove, false),
        "-FLAGS.SILENT" => (Change::Remove, true),
        _ => return Err(at),
    })
}

/// The second half: `flag-list / (flag *(SP flag))`.
fn store_flags(p: &mut Parser<'_>) -> Result<Vec<Flag>, Malformed> {
    let mut flags = Vec::new();
    if p.peek() == Some(b'(') {
        p.flag_list(|flag, at| settable(&mut flags, flag, at))?;
        return Ok(flags);
    }
    loop {
        let at = p.malformed("a flag that can be set");
        settable(&mut flags, p.flag()?, at)?;
        if p.at_end() {
            return Ok(flags);
        }
        p.sp()?;
    }
}

/// `flag` does not include `\Recent` (RFC 9051 §9).
fn settable(flags: &mut Vec<Flag>, flag: &str, at: Malformed) -> Result<(), Malformed> {
    if flag.eq_ignore_ascii_case("\\Recent") { Err(at) } else { add_flag(flags, flag, at) }
}
