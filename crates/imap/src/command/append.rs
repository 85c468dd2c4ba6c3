//! APPEND (RFC 9051 §6.3.12), with MULTIAPPEND (RFC 3502), literal8 (RFC 3516) and UTF8 (RFC 6855 §4).

use super::{AppendMessage, Authenticated, Name};
use crate::ext::multiappend;
use crate::ext::utf8::Dialect;
use crate::frame::Frame;
use crate::grammar::{Parser, add_flag};
use culver_base::Malformed;

/// `append`
pub fn parse<'a>(p: &mut Parser<'a>) -> Result<Authenticated<'a>, Malformed> {
    p.sp()?;
    let mailbox = p.mailbox()?;
    let messages = multiappend::messages(p)?;
    Ok(Authenticated::Append { mailbox, messages })
}

/// `append-message` (RFC 3502): flags, date and data, each after a space.
pub fn message<'a>(p: &mut Parser<'a>) -> Result<AppendMessage<'a>, Malformed> {
    p.sp()?;
    let mut flags = Vec::new();
    if p.peek() == Some(b'(') {
        p.flag_list(|flag, at| add_flag(&mut flags, flag, at))?;
        p.sp()?;
    }
    let date = match p.peek() {
        Some(b'"') => {
            let date = p.date_time()?;
            p.sp()?;
            Some(date)
        }
        _ => None,
    };
    let (data, utf8) = match p.utf8_literal()? {
        Some(data) => (data, true),
        None => (p.literal()?, false),
    };
    Ok(AppendMessage { flags, date, data, utf8 })
}

/// The mailbox of an APPEND of which only the first bytes have come ([`crate::Framer::partial`]): what the session
/// needs to know before it takes a literal. `None` if it is no APPEND, or not so far yet.
pub fn target(partial: &[u8], dialect: Dialect) -> Option<Name> {
    let frame = Frame::of(partial);
    let mut p = Parser::new(&frame, dialect);
    p.tag().ok()?;
    p.sp().ok()?;
    if p.word("a command").ok()?.as_str() != "APPEND" {
        return None;
    }
    p.sp().ok()?;
    let name = p.mailbox().ok()?;
    p.sp().ok()?;
    Some(name)
}
