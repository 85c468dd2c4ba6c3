//! APPEND (RFC 9051 §6.3.12; several messages: RFC 3502; APPENDUID: RFC 4315 §3; UTF8: RFC 6855 §4).

use crate::context::Context;
use crate::names;
use crate::state::Authenticated;
use crate::stop::{Code, Done, Stop};
use bytes::Bytes;
use culver_base::MailboxName;
use culver_imap::command::{AppendMessage, Literal, Name};
use culver_imap::response::Code as WireCode;
use culver_keeper::{Keeper, Verdict};
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
    if cx.admitted != 1 || new.len() != 1 {
        let octets = new.iter().map(|message| match &message.body {
            Spooled::Memory(bytes) => bytes.len() as u64,
            Spooled::Engine { size, .. } => *size,
            // Made by deliveries alone.
            Spooled::Shared(shared) => shared.head().len() as u64 + shared.body().len(),
        });
        let octets = octets.sum();
        admit(user, name, octets, new.len() as u64, &cx.service.keeper).await?;
    }
    let appended = target.append(new).await?;
    cx.service.keeper.stored(&user.account).await;
    let code = Code::AppendUid(appended.uid_validity, appended.uids.into_iter().collect());
    Ok(Done::ok("APPEND completed").with(code))
}

/// Is there room? Before a literal is taken where possible, so that nobody uploads in vain.
pub async fn admit(
    user: &Authenticated,
    mailbox: &MailboxName,
    octets: u64,
    messages: u64,
    keeper: &Keeper,
) -> Result<(), Stop> {
    match keeper.room(&user.account, mailbox, octets, messages).await? {
        // Whether mail is received from others is no matter here.
        Verdict::Fits | Verdict::Disabled { .. } => Ok(()),
        Verdict::TooBig { limit } => Err(Refusal::TooBig { limit }.into()),
        Verdict::Over { text, .. } => {
            let text = format!("{text}; delete something first. Reading, moving and deleting work");
            Err(Refusal::OverQuota(text).into())
        }
    }
}
