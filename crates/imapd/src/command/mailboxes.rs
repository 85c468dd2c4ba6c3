//! CREATE, DELETE, RENAME, SUBSCRIBE and UNSUBSCRIBE (RFC 9051 §6.3.4 to §6.3.8): a line each of what the account
//! does.

use crate::context::Context;
use crate::names;
use crate::state::Authenticated;
use crate::stop::{Done, Stop};
use culver_base::SpecialUse;
use culver_imap::command::Name;
use culver_imap::response::Code;
use culver_store::{Refusal, Subscribed};

/// CREATE, with special uses (RFC 6154 §3).
pub async fn create(user: &Authenticated, mailbox: &Name, uses: &[SpecialUse]) -> Result<Done, Stop> {
    let name = names::known(mailbox)?;
    if name.is_inbox() {
        return Err(Refusal::AlreadyExists.into());
    }
    name.can_be_created().map_err(|why| Refusal::Cannot(why.into()))?;
    if let Some(wrong) = uses.iter().find(|u| matches!(u, SpecialUse::All | SpecialUse::Flagged)) {
        let text = format!("{} is a view that this server does not make", wrong.as_str());
        return Ok(Done::no(Some(Code::UseAttr), text));
    }
    user.mail.create(name, uses).await?;
    Ok(Done::ok("CREATE completed"))
}

/// DELETE.
pub async fn delete(user: &Authenticated, mailbox: &Name) -> Result<Done, Stop> {
    let name = names::known(mailbox)?;
    if name.is_inbox() {
        return Err(Refusal::Cannot("INBOX cannot be deleted".into()).into());
    }
    user.mail.delete(name).await?;
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
    culver_imap::response::namespace(&mut cx.wire.out, "", super::list::NAMESPACE_SEPARATOR);
    Done::ok("NAMESPACE completed")
}
