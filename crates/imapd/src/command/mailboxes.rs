//! CREATE, DELETE, RENAME, SUBSCRIBE and UNSUBSCRIBE (RFC 9051 §6.3.4 to §6.3.8): a line each of what the account
//! does.

use crate::context::Context;
use crate::names;
use crate::state::Authenticated;
use crate::stop::{Code, Done, Stop};
use culver_base::SpecialUse;
use culver_base::mailbox_name::SEPARATOR;
use culver_imap::Dialect;
use culver_imap::command::Name;
use culver_imap::response::{self, Code as WireCode, Namespace};
use culver_keeper::Keeper;
use culver_store::{Refusal, Subscribed};

/// CREATE, with special uses (RFC 6154 §3).
pub async fn create(
    user: &Authenticated,
    mailbox: &Name,
    uses: &[SpecialUse],
    unknown_use: Option<&str>,
    keeper: &Keeper,
) -> Result<Done, Stop> {
    let name = names::known(mailbox)?;
    if name.is_inbox() {
        return Err(Refusal::AlreadyExists.into());
    }
    name.can_be_created().map_err(|why| Refusal::Cannot(why.into()))?;
    if let Some(unknown) = unknown_use {
        let text = format!("{unknown} is no special use that this server knows");
        return Ok(Done::no(Code::Plain(WireCode::UseAttr), text));
    }
    if let Some(wrong) = uses.iter().find(|u| matches!(u, SpecialUse::All | SpecialUse::Flagged)) {
        let text = format!("{} is a view that this server does not make", wrong.as_str());
        return Ok(Done::no(Code::Plain(WireCode::UseAttr), text));
    }
    if let Some(limit) = keeper.too_many_mailboxes(&user.account).await? {
        let text = format!("The account may have {limit} mailboxes, and it has them: delete one first");
        return Err(Refusal::OverQuota(text).into());
    }
    user.mail.create(name, uses).await?;
    Ok(Done::ok("CREATE completed"))
}

/// DELETE.
pub async fn delete(user: &Authenticated, mailbox: &Name, keeper: &Keeper) -> Result<Done, Stop> {
    let name = names::known(mailbox)?;
    if name.is_inbox() {
        return Err(Refusal::Cannot("INBOX cannot be deleted".into()).into());
    }
    user.mail.delete(name).await?;
    keeper.stored(&user.account).await;
    Ok(Done::ok("DELETE completed"))
}

/// RENAME.
pub async fn rename(user: &Authenticated, from: &Name, to: &Name) -> Result<Done, Stop> {
    let (from, to) = (names::known(from)?, names::known(to)?);
    to.can_be_created().map_err(|why| Refusal::Cannot(why.into()))?;
    if to.is_inbox() || from == to {
        return Err(Refusal::AlreadyExists.into());
    }
    if to.is_below(from) {
        return Err(Refusal::Cannot("A mailbox cannot be moved below itself".into()).into());
    }
    user.mail.rename(from, to).await?;
    Ok(Done::ok("RENAME completed"))
}

/// SUBSCRIBE and UNSUBSCRIBE.
pub async fn subscribe(user: &Authenticated, mailbox: &Name, subscribed: Subscribed) -> Result<Done, Stop> {
    let name = names::known(mailbox)?;
    if subscribed == Subscribed::Yes {
        name.can_be_created().map_err(|why| Refusal::Cannot(why.into()))?;
    }
    user.mail.set_subscribed(name, subscribed).await?;
    Ok(Done::ok(match subscribed {
        Subscribed::Yes => "SUBSCRIBE completed",
        Subscribed::No => "UNSUBSCRIBE completed",
    }))
}

/// NAMESPACE (RFC 2342, RFC 9051 §6.3.10): one personal namespace without a prefix.
pub fn namespace(cx: &mut Context) -> Done {
    let personal = Namespace { prefix: "", separator: Some(SEPARATOR) };
    response::namespace(&mut cx.wire.out, &[personal], &[], &[], Dialect::UTF8);
    Done::ok("NAMESPACE completed")
}
