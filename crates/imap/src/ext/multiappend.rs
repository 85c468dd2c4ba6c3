//! MULTIAPPEND (RFC 3502): several messages in one APPEND. Used by `command::append`.

use crate::command::{AppendMessage, append};
use crate::grammar::Parser;
use culver_base::Malformed;

/// `1*append-message`. Each literal costs the client an announcement, so that the length of lines bounds them.
pub(crate) fn messages<'a>(p: &mut Parser<'a>) -> Result<Vec<AppendMessage<'a>>, Malformed> {
    let mut messages = vec![append::message(p)?];
    while !p.at_end() {
        messages.push(append::message(p)?);
    }
    Ok(messages)
}
