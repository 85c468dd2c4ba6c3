//! FETCH (RFC 9051 §6.4.5; CHANGEDSINCE and VANISHED: RFC 7162 §3.1.4.1, §3.2.6; BINARY: RFC 3516).
//!
//! What the snapshot knows is written at once. For the rest, batches of messages are visited where files may be
//! read: a batch ends when a quarter of a megabyte waits, and is sent while the next one is being made, so that a
//! slow client stops the reading. A large section is not part of the batch but a reader of its own, streamed.
//!
//! A message that cannot be read costs only itself: the others are sent, and the command ends in NO naming it.

use crate::context::Context;
use crate::fetch::{Piece, Plan, Rendered};
use crate::state::{Access, Selected};
use crate::stop::{Code, Done, Stop};
use crate::wire::Wire;
use culver_base::{SystemFlags, Uid, UidSet};
use culver_imap::command::{Fetch, Numbering};
use culver_imap::response::{self, Code as WireCode};
use culver_store::{Failure, FlagChange, Refusal, StoreFlags, Visited};
use parking_lot::Mutex;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A batch ends once so many octets of answers wait.
const BATCH: usize = 256 * 1024;

/// FETCH and UID FETCH.
pub async fn run(selected: &mut Selected, cmd: Fetch<'_>, cx: &mut Context) -> Result<Done, Stop> {
    if cmd.vanished && !(selected.user.enabled.qresync && cmd.numbering == Numbering::Uid) {
        return Ok(Done::bad("VANISHED needs UID FETCH and ENABLE QRESYNC"));
    }
    let mut uids = selected.resolve(&cmd.messages, cmd.numbering)?;
    if let Some(since) = cmd.changed_since {
        selected.user.enabled.condstore = true;
        if cmd.vanished {
            tell_vanished(selected, &cmd, since, &mut cx.wire);
        }
        let view = selected.view.snapshot();
        uids = view.select(&uids).filter(|(_, r)| r.mod_seq > since).map(|(_, r)| r.uid).collect();
    }
    let plan = Plan::new(&cmd, selected.user.enabled);
    if plan.asks_mod_seq {
        selected.user.enabled.condstore = true;
    }
    let newly_seen = mark_seen(selected, &plan, &uids).await?;
    let failed = send(selected, plan, uids, &newly_seen, &mut cx.wire).await?;
    Ok(answer(selected, failed))
}

/// Sends FETCH responses for `uids` in the session's view. Gives back what could not be read.
pub async fn send(
    selected: &Selected,
    plan: Plan,
    uids: UidSet,
    newly_seen: &UidSet,
    wire: &mut Wire,
) -> Result<Vec<(Uid, Failure)>, Stop> {
    let view = selected.view.snapshot();
    if !plan.needs_message {
        let mut unsized_uids = UidSet::new();
        for (index, record) in view.select(&uids) {
            if plan.needs_size && record.size.is_none() {
                unsized_uids.add(record.uid);
                continue;
            }
            plan.metadata(&mut wire.out, view, selected.view.recent(), index, record, newly_seen);
            if wire.is_full() {
                wire.flush().await?;
            }
        }
        if unsized_uids.is_empty() {
            return Ok(Vec::new());
        }
        return send_visited(selected, plan, unsized_uids, newly_seen, wire).await;
    }
    send_visited(selected, plan, uids, newly_seen, wire).await
}

async fn send_visited(
    selected: &Selected,
    plan: Plan,
    uids: UidSet,
    newly_seen: &UidSet,
    wire: &mut Wire,
) -> Result<Vec<(Uid, Failure)>, Stop> {
    let list: Vec<Uid> = uids.uids().collect();
    let work = Arc::new(Work {
        plan,
        view: selected.view.snapshot().clone(),
        recent: selected.view.recent().clone(),
        newly_seen: newly_seen.clone(),
        batch: Mutex::default(),
    });
    let mut at = 0;
    let mut failed = Vec::new();
    let mut ready: Option<Rendered> = None;
    let mut spare = Vec::new();
    while at < list.len() || ready.is_some() {
        let making = async {
            if at == list.len() {
                return None;
            }
            *work.batch.lock() = Rendered::reusing(std::mem::take(&mut spare));
            Some(batch(selected, &work, list[at..].to_vec()).await)
        };
        let sending = async {
            match ready.take() {
                Some(batch) => batch.send(wire, &mut failed).await,
                None => Ok(Vec::new()),
            }
        };
        let (made, sent) = tokio::join!(making, sending);
        spare = sent?;
        ready = made.map(|(visited, batch)| {
            // A batch without progress would never end; what is left cannot be had.
            at += if visited.count == 0 { list.len() - at } else { visited.count };
            batch
        });
    }
    Ok(failed)
}

struct Work {
    plan: Plan,
    view: culver_snapshot::Snapshot,
    recent: UidSet,
    newly_seen: UidSet,
    batch: Mutex<Rendered>,
}

async fn batch(selected: &Selected, work: &Arc<Work>, uids: Vec<Uid>) -> (Visited, Rendered) {
    let job = work.clone();
    let visited = selected
        .mailbox
        .visit(
            uids,
            Box::new(move |message| {
                let mut batch = job.batch.lock();
                let Some((index, record)) = batch.seek(&job.view, message.uid()) else {
                    return ControlFlow::Continue(());
                };
                batch.message(&job.plan, &job.view, &job.recent, index, record, &job.newly_seen, message);
                if batch.octets() >= BATCH { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            }),
        )
        .await;
    let rendered = std::mem::take(&mut *work.batch.lock());
    (visited, rendered)
}

impl Rendered {
    /// Gives back a buffer to be used again.
    async fn send(self, wire: &mut Wire, failed: &mut Vec<(Uid, Failure)>) -> Result<Vec<u8>, Stop> {
        failed.extend(self.failed);
        let mut spare = Vec::new();
        for piece in self.pieces {
            match piece {
                Piece::Octets(octets) => {
                    wire.send(&octets).await?;
                    spare = octets;
                }
                Piece::Stream(mut reader) => {
                    while reader.remaining() > 0 {
                        // The length has been announced: a failure now cannot be answered, only the session ended.
                        let octets = reader.next().await.map_err(|e| {
                            Stop::Ended(std::io::Error::other(format!(
                                "a message broke off in the middle: {e}"
                            )))
                        })?;
                        wire.send(&octets).await?;
                    }
                }
            }
        }
        Ok(spare)
    }
}

/// Sets `\Seen` where the plan says so (RFC 9051 §6.4.5.1, BODY[<section>]). A mailbox that cannot be written,
/// over quota or read-only, does not stop the reading.
async fn mark_seen(selected: &mut Selected, plan: &Plan, uids: &UidSet) -> Result<UidSet, Stop> {
    if !plan.sets_seen || selected.access == Access::ReadOnly {
        return Ok(UidSet::new());
    }
    let unseen: UidSet = selected
        .view
        .snapshot()
        .select(uids)
        .filter(|(_, r)| !r.flags.system.contains(SystemFlags::SEEN))
        .map(|(_, r)| r.uid)
        .collect();
    if unseen.is_empty() {
        return Ok(unseen);
    }
    let seen = StoreFlags {
        change: FlagChange::Add,
        flags: vec![culver_base::Flag::System(SystemFlags::SEEN)],
        unchanged_since: None,
    };
    match selected.mailbox.set_flags(&unseen, seen).await {
        Ok(stored) => {
            let now = selected.mailbox.snapshot();
            selected.view.absorb(&stored.changed, &now);
            Ok(stored.changed)
        }
        Err(_) => Ok(UidSet::new()),
    }
}

/// VANISHED (EARLIER) for UID FETCH (RFC 7162 §3.2.6): before the FETCH responses, and for the named UIDs only.
fn tell_vanished(selected: &Selected, cmd: &Fetch<'_>, since: culver_base::ModSeq, wire: &mut Wire) {
    let view = selected.view.snapshot();
    let asked = cmd.messages.resolve(view.uid_next.get().saturating_sub(1).max(1));
    let gone = view.vanished.after(since).unwrap_or_else(|| view.missing_uids()).intersection(&asked);
    if !gone.is_empty() {
        response::vanished(&mut wire.out, response::Vanished::Earlier, &gone);
    }
}

/// The tagged answer: OK, or NO naming what could not be read.
pub fn answer(selected: &Selected, failed: Vec<(Uid, Failure)>) -> Done {
    let Some((first, why)) = failed.first() else { return Done::ok("FETCH completed") };
    let all_gone = failed.iter().all(|(_, f)| matches!(f, Failure::Refused(Refusal::ExpungeIssued)));
    if all_gone {
        return Done::no(
            Code::Plain(WireCode::ExpungeIssued),
            "Some of the messages are gone; the others were sent",
        );
    }
    for (uid, failure) in &failed {
        tracing::warn!(account = %selected.user.name, mailbox = %selected.name, %uid, "a message could not be sent: {failure}");
    }
    let code = match why {
        Failure::Refused(Refusal::Cannot(_)) => Some(Code::Plain(WireCode::UnknownCte)),
        Failure::Refused(refusal) => Done::from(refusal.clone()).code,
        Failure::Fault(_) => Some(Code::Plain(WireCode::ServerBug)),
    };
    let text = match (why, failed.len()) {
        (Failure::Refused(refusal), 1) => {
            format!("The message with UID {first} could not be sent: {refusal}")
        }
        (Failure::Fault(_), 1) => format!("The message with UID {first} cannot be read for now"),
        (_, n) => format!("{n} messages could not be read, the first has UID {first}; the others were sent"),
    };
    Done::no(code, text)
}
