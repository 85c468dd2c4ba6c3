//! SELECT and EXAMINE (RFC 9051 §6.3.2, §6.3.3; CONDSTORE and QRESYNC: RFC 7162 §3.1.8, §3.2.5).

use crate::command::fetch;
use crate::command::list::Attributes;
use crate::command::search::first_unseen;
use crate::context::Context;
use crate::fetch::Plan;
use crate::names;
use crate::state::{Access, Authenticated, Selected};
use crate::stop::{Code, Done, Stop};
use crate::sync;
use crate::view::View;
use culver_base::{Bound, SequenceSet, UidSet};
use culver_imap::command::{QResync, Select};
use culver_imap::response::{self, Code as WireCode};
use culver_snapshot::Snapshot;

/// Selects a mailbox. When it cannot be opened, the user comes back with the refusal: nothing is selected then.
pub async fn run(
    mut user: Authenticated,
    cmd: Select,
    access: Access,
    cx: &mut Context,
) -> Result<(Selected, Done), (Authenticated, Stop)> {
    if cmd.qresync.is_some() && !user.enabled.qresync {
        return Err((user, Done::bad("QRESYNC must be enabled first: ENABLE QRESYNC").into()));
    }
    let opened = match names::known(&cmd.mailbox) {
        Ok(name) => match user.mail.open(name).await {
            Ok(mailbox) => Ok((name.clone(), mailbox)),
            Err(failure) => Err(failure.into()),
        },
        Err(stop) => Err(stop),
    };
    let (name, mailbox) = match opened {
        Ok(opened) => opened,
        Err(stop) => return Err((user, stop)),
    };
    user.enabled.condstore |= cmd.condstore || cmd.qresync.is_some();
    let mut news = mailbox.watch();
    // With the watch held, new/ is emptied and what is recent is known.
    let first_recent = match access {
        Access::ReadWrite => {
            if let Err(failure) = mailbox.refresh().await {
                tracing::warn!(account = %user.name, mailbox = %name, "cannot look for new mail: {failure}");
            }
            mailbox.claim_recent()
        }
        Access::ReadOnly => mailbox.first_recent(),
    };
    let now = news.borrow_and_update().clone();
    let recent: UidSet = now.iter_from(now.lower_bound(first_recent)).map(|r| r.uid).collect();
    let view = View::new(now, recent);
    let mut selected =
        Selected { user, mailbox, name, view, access, saved: UidSet::new(), news, told_gone: false };
    greet(&mut selected, cx);
    if let Some(known) = cmd.qresync
        && let Err(stop) = resync(&mut selected, &known, cx).await
    {
        return Err((selected.user, stop));
    }
    let (code, text) = match access {
        Access::ReadWrite => (WireCode::ReadWrite, "Selected"),
        Access::ReadOnly => (WireCode::ReadOnly, "Examined"),
    };
    Ok((selected, Done::ok(text).with(Code::Plain(code))))
}

/// The untagged answers of RFC 9051 §6.3.2, and those of RFC 3501 §6.3.1 while IMAP4rev2 is off.
fn greet(selected: &mut Selected, cx: &mut Context) {
    let wire = &mut cx.wire;
    let snapshot = selected.view.snapshot().clone();
    let rev2 = selected.user.enabled.imap4rev2;
    sync::flags(&snapshot, selected.access, wire);
    response::exists(&mut wire.out, sync::count(snapshot.len()));
    if !rev2 {
        response::recent(&mut wire.out, sync::count(selected.view.recent_count()));
        if let Some(number) = first_unseen(selected) {
            ok(wire, WireCode::Unseen(number), "First unseen");
        }
    }
    ok(wire, WireCode::UidValidity(snapshot.uid_validity), "UIDs valid");
    ok(wire, WireCode::UidNext(snapshot.uid_next), "Predicted next UID");
    ok(wire, WireCode::HighestModSeq(snapshot.highest_mod_seq), "Highest mod-sequence");
    if rev2 {
        // RFC 9051 §6.3.2: the name as the server spells it.
        Attributes::default().list(&mut wire.out, &selected.name, selected.user.enabled.dialect());
    }
}

fn ok(wire: &mut crate::wire::Wire, code: WireCode<'static>, text: &str) {
    Code::Plain(code).untagged(&mut wire.out, text);
}

/// VANISHED (EARLIER) and the FETCHes of what changed since (RFC 7162 §3.2.5.1).
async fn resync(selected: &mut Selected, known: &QResync, cx: &mut Context) -> Result<(), Stop> {
    let view = selected.view.snapshot();
    if known.uid_validity != view.uid_validity {
        return Ok(());
    }
    let interesting = match &known.known_uids {
        Some(set) => set.resolve(view.uid_next.get().saturating_sub(1)),
        None => UidSet::all(),
    };
    let gone = match view.vanished.after(known.mod_seq) {
        Some(gone) => gone,
        None => missing_above(view, matching_prefix(view, known)),
    };
    let gone = gone.intersection(&interesting);
    if !gone.is_empty() {
        response::vanished(&mut cx.wire.out, response::Vanished::Earlier, &gone);
    }
    let changed: UidSet =
        view.select(&interesting).filter(|(_, r)| r.mod_seq > known.mod_seq).map(|(_, r)| r.uid).collect();
    let plan = Plan::resync(selected.user.enabled);
    fetch::send(selected, plan, changed, &UidSet::new(), &mut cx.wire).await?;
    Ok(())
}

/// The highest UID up to which the client's sequence match data agrees with the mailbox: up to there nothing is
/// missing (RFC 7162 §3.2.5.2).
fn matching_prefix(view: &Snapshot, known: &QResync) -> u32 {
    let Some((numbers, uids)) = &known.sequence_match else { return 0 };
    let (numbers, uids) = (numbers.resolve(0), uids.resolve(0));
    // Both lists are ascending and of one length; a client that lies is only told more than it needs.
    let agreeing = numbers
        .iter()
        .zip(uids.iter())
        .take_while(|(n, uid)| view.get(*n as usize - 1).is_some_and(|r| r.uid.get() == *uid));
    agreeing.map(|(_, uid)| uid).last().unwrap_or(0)
}

fn missing_above(view: &Snapshot, uid: u32) -> UidSet {
    let missing = view.missing_uids();
    if uid == 0 {
        return missing;
    }
    let above = SequenceSet::Ranges(vec![(Bound::Number(uid.saturating_add(1)), Bound::Number(u32::MAX))]);
    missing.intersection(&above.resolve(u32::MAX))
}
