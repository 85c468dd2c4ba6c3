//! Mailbox names from clients.

use crate::stop::{Code, Done, Stop};
use culver_base::MailboxName;
use culver_imap::command::Name;
use culver_imap::response::Code as WireCode;

/// The name, or the refusal of one that no encoding explains.
pub fn known(name: &Name) -> Result<&MailboxName, Stop> {
    match name {
        Name::Known(name) => Ok(name),
        Name::Undecodable(shown) => {
            let text = format!("The mailbox name {shown:?} is neither modified UTF-7 nor UTF-8");
            Err(Done::no(Code::Plain(WireCode::Cannot), text).into())
        }
    }
}
