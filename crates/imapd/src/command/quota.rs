//! GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208 §4.1). An account is one quota root, whose name is that which Dovecot's
//! administrators give it.

use crate::context::Context;
use crate::names;
use crate::state::Authenticated;
use crate::stop::{Code, Done, Stop};
use culver_imap::command::Name;
use culver_imap::response::{self, Code as WireCode, Resource};
use culver_keeper::Standing;

/// The name of the quota root.
const ROOT: &[u8] = b"User quota";

/// GETQUOTA.
pub async fn of_root(user: &Authenticated, root: &[u8], cx: &mut Context) -> Result<Done, Stop> {
    if let Some(no) = unknown(root) {
        return Ok(no);
    }
    tell(user, cx).await?;
    Ok(Done::ok("GETQUOTA completed"))
}

/// GETQUOTAROOT. The mailbox need not exist (RFC 9208 §4.1.2).
pub async fn of_mailbox(user: &Authenticated, mailbox: &Name, cx: &mut Context) -> Result<Done, Stop> {
    let name = names::known(mailbox)?;
    response::quota_root(&mut cx.wire.out, name.as_str(), ROOT, user.enabled.dialect());
    tell(user, cx).await?;
    Ok(Done::ok("GETQUOTAROOT completed"))
}

/// SETQUOTA: limits are the administrator's, who has `culver quota set` for it. QUOTASET is not offered.
pub fn set(root: &[u8]) -> Done {
    unknown(root).unwrap_or_else(|| {
        Done::no(Code::Plain(WireCode::NoPerm), "Limits are set by the administrator, not over IMAP")
    })
}

fn unknown(root: &[u8]) -> Option<Done> {
    (root != ROOT).then(|| {
        Done::no(Code::Plain(WireCode::NonExistent), "There is no quota root of that name: see GETQUOTAROOT")
    })
}

async fn tell(user: &Authenticated, cx: &mut Context) -> Result<(), Stop> {
    let standing = cx.service.keeper.standing(&user.account).await?;
    response::quota(&mut cx.wire.out, ROOT, &resources(&standing));
    Ok(())
}

/// What is limited (RFC 9208 §4.2.1: the rest is not named). STORAGE counts units of 1024 octets (§5.1).
fn resources(standing: &Standing) -> Vec<Resource> {
    let (usage, limits) = (standing.usage, standing.limits);
    let storage = limits.storage.map(|limit| ("STORAGE", usage.storage.div_ceil(1024), limit.div_ceil(1024)));
    let messages = limits.messages.map(|limit| ("MESSAGE", usage.messages, limit));
    let mailboxes = limits.mailboxes.map(|limit| ("MAILBOX", standing.mailboxes, limit));
    storage.into_iter().chain(messages).chain(mailboxes).collect()
}
