//! APPEND (RFC 9051 §6.3.12; several messages: RFC 3502; APPENDUID: RFC 4315 §3; UTF8: RFC 6855 §4).

use crate::context::Context;
use crate::names;
use crate::state::Authenticated;
use crate::stop::{Code, Done, Stop};
use bytes::Bytes;
use culver_imap::command::{AppendMessage, Literal, Name};
use culver_imap::response::Code as WireCode;
use culver_store::{Failure, NewMessage, Refusal, Spooled};

/// APPEND. All messages are stored or none.
pub async fn run(
    user: &Authenticated,
    mailbox: &Name,
    messages: Vec<AppendMessage<'_>>,
    cx: &mut Context,
) -> Result<Done, Stop> {
    let name = names::known(mailbox)?;
    let target = user.mail.open_target(name).await.map_err(|f| match f {
        Failure::Refused(Refusal::NonExistent) => Refusal::TryCreate.into(),
        other => other,
    })?;
    let limit = cx.service.settings.append_limit;
    let mut new = Vec::with_capacity(messages.len());
    for message in messages {
        let body = match message.data {
            Literal::Inline { bytes: b"", .. } | Literal::SetAside { size: 0, .. } => {
                return Ok(Done::no(None, "A message must not be empty; nothing was stored"));
            }
            Literal::Inline { bytes, .. } => {
                if limit.is_some_and(|limit| bytes.len() as u64 > limit) {
                    return Err(Refusal::TooBig { limit: limit.unwrap_or_default() }.into());
                }
                Spooled::Memory(Bytes::copy_from_slice(bytes))
            }
            Literal::SetAside { index, .. } => match cx.aside.get_mut(index).and_then(Option::take) {
                Some(spooled) => spooled?,
                None => {
                    return Ok(Done::no(
                        Code::Plain(WireCode::ServerBug),
                        "The message was lost on its way in",
                    ));
                }
            },
        };
        new.push(NewMessage { body, flags: message.flags, internal_date: message.date });
    }
    let appended = target.append(new).await?;
    let code = Code::AppendUid(appended.uid_validity, appended.uids.into_iter().collect());
    Ok(Done::ok("APPEND completed").with(code))
}
