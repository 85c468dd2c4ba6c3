//! QUIT after login: the UPDATE state (RFC 1939 §6).
//!
//! Exactly the messages that this session marked are removed, whatever came or went meanwhile. It works without room on the
//! disk. The answer comes when it is done, and the claim is free by then.

use crate::context::Context;
use crate::service::DeleteType;
use crate::state::Transaction;
use crate::stop::{End, Stop};
use culver_base::{Flag, UidSet};
use culver_pop3::language::Text;
use culver_pop3::response::Code;
use culver_store::{Failure, FlagChange, StoreFlags};

/// QUIT.
pub async fn run(mut tx: Box<Transaction>, cx: &mut Context) -> (Box<Transaction>, Result<(), Stop>) {
    let marked: UidSet = tx.deleted.iter().filter_map(|at| tx.maildrop.get(at)).map(|(uid, _)| uid).collect();
    let done = remove(&tx, &marked, cx).await;
    if done.is_ok() {
        tx.counts.deleted = tx.deleted.count();
        // Nobody needs to know whether they were seen.
        tx.newly_seen = tx.newly_seen.difference(&marked);
    }
    tx.leave(cx).await;
    match done {
        Ok(()) if tx.deleted.count() > 0 => cx.ok(&Text::GoodbyeDeleted(tx.deleted.count())),
        Ok(()) => cx.ok(&Text::Goodbye),
        Err(why) => {
            tracing::warn!(account = %tx.name, session = %cx.peer.session, "messages could not be deleted: {why}");
            cx.err(Some(Code::SysTemp), &Text::NotAllDeleted);
        }
    }
    (tx, Err(Stop::Ended(End::Quit)))
}

/// An error also when some of them are left.
async fn remove(tx: &Transaction, marked: &UidSet, cx: &Context) -> Result<(), String> {
    if marked.is_empty() {
        return Ok(());
    }
    let told = |failure: Failure| failure.to_string();
    match &cx.service.settings.delete_type {
        DeleteType::Expunge => {
            tx.mailbox.remove(marked).await.map_err(told)?;
            // There may be room again.
            cx.service.keeper.stored(&tx.account).await;
            let left = tx.mailbox.snapshot().select(marked).count();
            if left > 0 { Err(format!("{left} of {} are left", marked.len())) } else { Ok(()) }
        }
        DeleteType::Flag(keyword) => {
            let flag = StoreFlags {
                change: FlagChange::Add,
                flags: vec![Flag::Keyword(keyword.clone())],
                unchanged_since: None,
            };
            let stored = tx.mailbox.set_flags(marked, flag).await.map_err(told)?;
            stored.refused.map_or(Ok(()), |refused| Err(refused.to_string()))
        }
    }
}
