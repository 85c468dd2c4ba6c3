//! ENABLE (RFC 5161, RFC 9051 §6.3.1).

use crate::context::Context;
use crate::state::Authenticated;
use crate::stop::Done;
use culver_imap::response;

/// Switches on what is known, and says which of them were. Unknown names are no error (RFC 5161 §3.1).
pub fn run(user: &mut Authenticated, names: &[&str], cx: &mut Context) -> Done {
    let mut enabled = Vec::new();
    for name in names {
        let upper = name.to_ascii_uppercase();
        let (token, newly) = match upper.as_str() {
            "CONDSTORE" => ("CONDSTORE", !std::mem::replace(&mut user.enabled.condstore, true)),
            "QRESYNC" => {
                user.enabled.condstore = true;
                ("QRESYNC", !std::mem::replace(&mut user.enabled.qresync, true))
            }
            "IMAP4REV2" => ("IMAP4rev2", !std::mem::replace(&mut user.enabled.imap4rev2, true)),
            "UTF8=ACCEPT" => ("UTF8=ACCEPT", !std::mem::replace(&mut user.enabled.utf8, true)),
            _ => continue,
        };
        if newly && !cx.service.settings.masked(token) {
            enabled.push(token);
        }
    }
    response::enabled(&mut cx.wire.out, enabled);
    Done::ok("ENABLE completed")
}
