//! STATUS (RFC 9051 §6.3.11; SIZE: RFC 8438; HIGHESTMODSEQ: RFC 7162 §3.1.7; APPENDLIMIT: RFC 7889;
//! DELETED-STORAGE: RFC 9208 §4.1.4).

use crate::context::Context;
use crate::names;
use crate::state::Authenticated;
use crate::stop::{Done, Stop};
use culver_base::{MailboxName, Uid};
use culver_imap::command::{Name, StatusItem};
use culver_imap::response;
use culver_store::Mailbox;
use parking_lot::Mutex;
use std::ops::ControlFlow;
use std::sync::Arc;

/// STATUS.
pub async fn run(
    user: &mut Authenticated,
    mailbox: &Name,
    items: &[StatusItem],
    cx: &mut Context,
) -> Result<Done, Stop> {
    let name = names::known(mailbox)?;
    // RFC 7162 §3.1: asking for HIGHESTMODSEQ switches CONDSTORE on.
    user.enabled.condstore |= items.contains(&StatusItem::HighestModSeq);
    let values = values(user, name, items, cx.service.settings.append_limit).await?;
    response::status_response(&mut cx.wire.out, name.as_str(), values, user.enabled.dialect());
    Ok(Done::ok("STATUS completed"))
}

/// The values asked for, in the order of the items.
pub async fn values(
    user: &Authenticated,
    name: &MailboxName,
    items: &[StatusItem],
    append_limit: Option<u64>,
) -> Result<Vec<(StatusItem, Option<u64>)>, Stop> {
    let mailbox = user.mail.open(name).await?;
    let size = match items.contains(&StatusItem::Size) {
        true => size(&mailbox).await?,
        false => 0,
    };
    let now = mailbox.snapshot();
    let counts = now.counts();
    let value = |item: &StatusItem| match item {
        StatusItem::Messages => Some(now.len() as u64),
        StatusItem::Recent => Some((now.len() - now.lower_bound(mailbox.first_recent())) as u64),
        StatusItem::UidNext => Some(u64::from(now.uid_next.get())),
        StatusItem::UidValidity => Some(u64::from(now.uid_validity.get())),
        StatusItem::Unseen => Some(counts.unseen as u64),
        StatusItem::Deleted => Some(counts.deleted as u64),
        StatusItem::DeletedStorage => Some(mailbox.usage().deleted.storage),
        StatusItem::Size => Some(size),
        StatusItem::HighestModSeq => Some(now.highest_mod_seq.get()),
        StatusItem::AppendLimit => append_limit,
    };
    Ok(items.iter().map(|item| (*item, value(item))).collect())
}

/// The sum of all RFC822.SIZEs: of those that nobody has counted yet, the message is asked.
async fn size(mailbox: &Arc<dyn Mailbox>) -> Result<u64, Stop> {
    let now = mailbox.snapshot();
    let known = now.counts().size;
    if now.counts().unsized_messages == 0 {
        return Ok(known);
    }
    let open: Vec<Uid> = now.iter().filter(|r| r.size.is_none()).map(|r| r.uid).collect();
    let sum = Arc::new(Mutex::new(0u64));
    let mut at = 0;
    while at < open.len() {
        let total = sum.clone();
        let visit = Box::new(move |message: &mut dyn culver_store::Message| {
            // One that cannot be read has no size to add.
            *total.lock() += message.size().unwrap_or(0);
            ControlFlow::Continue(())
        });
        match mailbox.visit(open[at..].to_vec(), visit).await.count {
            0 => break,
            n => at += n,
        }
    }
    let counted = *sum.lock();
    Ok(known + counted)
}
