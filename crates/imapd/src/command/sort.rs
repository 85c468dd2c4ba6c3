//! SORT (RFC 5256; ESORT: RFC 5267 §3; keys of RFC 5957; MODSEQ: RFC 7162 §3.1.9).

use crate::command::search::{Outcome, completed, criteria, highest, saved};
use crate::context::Context;
use crate::order;
use crate::state::Selected;
use crate::stop::{Completion, Done, Stop};
use culver_base::{ModSeq, Uid, UidSet};
use culver_imap::command::{Numbering, SearchReturn, Sort};
use culver_imap::response::{self, All, Esearch};
use culver_store::ColumnTable;
use std::sync::Arc;

/// SORT and UID SORT.
pub async fn run(selected: &mut Selected, cmd: Sort<'_>, cx: &mut Context) -> Result<Done, Stop> {
    let saves = cmd.returns.as_ref().is_some_and(|r| r.contains(&SearchReturn::Save));
    let outcome = sort(selected, cmd, cx).await;
    if saves && outcome.as_ref().map_or(true, |done| done.condition != Completion::Ok) {
        // RFC 5182 §2.1: when the search fails, the variable becomes empty.
        selected.saved = UidSet::new();
    }
    outcome
}

async fn sort(selected: &mut Selected, cmd: Sort<'_>, cx: &mut Context) -> Result<Done, Stop> {
    let (found, by_mod_seq) = match criteria(selected, cmd.key, Some(cmd.charset), cx).await? {
        Outcome::Found(found, by_mod_seq) => (found, by_mod_seq),
        Outcome::Refused(done) => return Ok(done),
    };
    let table = if order::needs_columns(&cmd.program) {
        selected.mailbox.columns(&found.uids).await
    } else {
        Arc::<ColumnTable>::default()
    };
    let sorted = order::sort(selected.view.snapshot(), &found.uids, &cmd.program, &table);
    let numbers: Vec<u32> = sorted
        .iter()
        .map(|(index, uid)| match cmd.numbering {
            Numbering::Uid => uid.get(),
            Numbering::Sequence => *index as u32 + 1,
        })
        .collect();
    let mod_seq = by_mod_seq.then(|| highest(selected, &found.uids)).flatten();
    match cmd.returns {
        None => response::sort(&mut cx.wire.out, &numbers, mod_seq),
        Some(returns) => {
            let wants = |r| returns.contains(&r);
            if wants(SearchReturn::Save) {
                selected.saved = kept(&returns, &found.uids, &sorted);
            }
            if returns != [SearchReturn::Save] {
                let all = wants(SearchReturn::All) || returns.is_empty();
                let answer = Esearch {
                    tag: Some(&cx.tag),
                    numbering: cmd.numbering,
                    min: wants(SearchReturn::Min).then(|| numbers.first().copied()).flatten(),
                    max: wants(SearchReturn::Max).then(|| numbers.last().copied()).flatten(),
                    all: all.then_some(All::Ordered(&numbers)),
                    count: wants(SearchReturn::Count).then_some(numbers.len() as u64),
                    mod_seq: by_mod_seq.then(|| told(selected, &returns, &found.uids, &sorted)).flatten(),
                };
                response::esearch(&mut cx.wire.out, &answer);
            }
        }
    }
    Ok(completed(&found, "SORT completed"))
}

/// What SAVE keeps: MIN and MAX alone keep only those, in the order of the sort (RFC 5182 §2.4, RFC 5267 §3.1).
fn kept(returns: &[SearchReturn], found: &UidSet, sorted: &[(usize, Uid)]) -> UidSet {
    if saved(returns, found) == *found {
        return found.clone();
    }
    let mut out = UidSet::new();
    let ends = [(SearchReturn::Min, sorted.first()), (SearchReturn::Max, sorted.last())];
    for (option, end) in ends {
        if let Some((_, uid)) = end.filter(|_| returns.contains(&option)) {
            out.insert(uid.get());
        }
    }
    out
}

/// MODSEQ beside MIN or MAX alone is that of the messages returned (RFC 4731 §3.2).
fn told(
    selected: &Selected,
    returns: &[SearchReturn],
    found: &UidSet,
    sorted: &[(usize, Uid)],
) -> Option<ModSeq> {
    highest(selected, &kept(returns, found, sorted))
}
