//! SEARCH (RFC 9051 §6.4.4; ESEARCH: RFC 4731; SAVE: RFC 5182; MODSEQ: RFC 7162 §3.1.5; WITHIN: RFC 5032).

use crate::context::Context;
use crate::query;
use crate::state::Selected;
use crate::stop::{Code, Done, Stop};
use culver_base::{ModSeq, SearchKey, SeqNo, SystemFlags, UidSet};
use culver_imap::command::{Numbering, Search, SearchReturn};
use culver_imap::response::{self, All, Code as WireCode, Esearch};
use std::borrow::Cow;

/// SEARCH and UID SEARCH.
pub async fn run(selected: &mut Selected, cmd: Search<'_>, cx: &mut Context) -> Result<Done, Stop> {
    let saves = cmd.returns.as_ref().is_some_and(|r| r.contains(&SearchReturn::Save));
    let outcome = search(selected, cmd, cx).await;
    if saves && outcome.as_ref().map_or(true, |done| done.condition != crate::stop::Completion::Ok) {
        // RFC 5182 §2.1: when the search fails, the variable becomes empty.
        selected.saved = UidSet::new();
    }
    outcome
}

/// What the criteria of SEARCH, SORT or THREAD find.
pub enum Outcome {
    /// This; and was it asked by MODSEQ?
    Found(query::Found, bool),
    /// They are refused.
    Refused(Done),
}

/// Runs the criteria of SEARCH, SORT or THREAD.
pub async fn criteria(
    selected: &mut Selected,
    key: SearchKey<Cow<'_, [u8]>>,
    charset: Option<&str>,
    cx: &mut Context,
) -> Result<Outcome, Stop> {
    let key = match query::decode(key, charset) {
        Ok(key) => key,
        Err(query::Undecodable::Charset) => {
            let code = Code::Plain(WireCode::BadCharset(&query::CHARSETS));
            return Ok(Outcome::Refused(Done::no(code, "That CHARSET is not known here")));
        }
        Err(query::Undecodable::Text) => {
            let text = "A search text is not valid in the CHARSET given";
            return Ok(Outcome::Refused(Done::no(None, text)));
        }
    };
    let by_mod_seq = key.any(&mut |k| matches!(k, SearchKey::ModSeq(_)));
    if by_mod_seq {
        selected.user.enabled.condstore = true;
    }
    let key = in_view(key, selected)?;
    Ok(Outcome::Found(query::run(selected, &key, &mut cx.wire).await?, by_mod_seq))
}

/// The tagged answer: NO when messages could not be read.
pub fn completed(found: &query::Found, ok: &'static str) -> Done {
    if found.failed > 0 {
        let text = format!("{} messages could not be read; the others were searched", found.failed);
        return Done::no(Code::Plain(WireCode::ServerBug), text);
    }
    Done::ok(ok)
}

async fn search(selected: &mut Selected, cmd: Search<'_>, cx: &mut Context) -> Result<Done, Stop> {
    if selected.user.enabled.utf8 && cmd.charset.is_some() {
        // RFC 6855 §3: once UTF8=ACCEPT is on, CHARSET must not be given.
        return Ok(Done::bad("CHARSET must not be given once UTF8=ACCEPT is enabled: texts are UTF-8"));
    }
    let (found, by_mod_seq) = match criteria(selected, cmd.key, cmd.charset, cx).await? {
        Outcome::Found(found, by_mod_seq) => (found, by_mod_seq),
        Outcome::Refused(done) => return Ok(done),
    };
    let enabled = selected.user.enabled;
    let highest = by_mod_seq.then(|| highest(selected, &found.uids)).flatten();
    let numbers = |uids: &UidSet| match cmd.numbering {
        Numbering::Uid => uids.clone(),
        Numbering::Sequence => {
            let numbers = selected.view.snapshot().select(uids).map(|(i, _)| SeqNo::from_index(i).get());
            let mut set = UidSet::new();
            numbers.for_each(|n| set.insert(n));
            set
        }
    };
    match cmd.returns {
        None if !enabled.imap4rev2 => {
            response::search(&mut cx.wire.out, numbers(&found.uids).iter(), highest);
        }
        returns => {
            let returns = returns.unwrap_or_default();
            let wants = |r| returns.contains(&r);
            let set = numbers(&found.uids);
            let all = wants(SearchReturn::All) || returns.is_empty();
            let only_save = returns == [SearchReturn::Save];
            if wants(SearchReturn::Save) {
                selected.saved = saved(&returns, &found.uids);
            }
            if !only_save {
                let answer = Esearch {
                    tag: Some(&cx.tag),
                    numbering: cmd.numbering,
                    min: wants(SearchReturn::Min).then(|| set.first()).flatten(),
                    max: wants(SearchReturn::Max).then(|| set.last()).flatten(),
                    all: all.then_some(All::Set(&set)),
                    count: wants(SearchReturn::Count).then(|| set.len()),
                    mod_seq: by_mod_seq
                        .then(|| returned_mod_seq(selected, &returns, &found.uids).or(highest))
                        .flatten(),
                };
                response::esearch(&mut cx.wire.out, &answer);
            }
        }
    }
    Ok(completed(&found, "SEARCH completed"))
}

/// Sequence numbers beyond the view are BAD, in a search key as anywhere.
fn in_view(key: SearchKey, selected: &Selected) -> Result<SearchKey, Stop> {
    let mut wrong = None;
    key.any(&mut |k| {
        if let SearchKey::Sequence(set) = k {
            // An empty mailbox has no number at all; a search in it finds nothing and is no error.
            if !selected.view.snapshot().is_empty() {
                wrong = wrong.take().or(selected.resolve(set, Numbering::Sequence).err());
            }
        }
        false
    });
    wrong.map_or(Ok(key), Err)
}

/// What SAVE keeps: MIN and MAX alone keep only those (RFC 5182 §2.4).
pub fn saved(returns: &[SearchReturn], found: &UidSet) -> UidSet {
    let has = |r| returns.contains(&r);
    if has(SearchReturn::All)
        || has(SearchReturn::Count)
        || !(has(SearchReturn::Min) || has(SearchReturn::Max))
    {
        return found.clone();
    }
    let mut kept = UidSet::new();
    if has(SearchReturn::Min) {
        found.first().into_iter().for_each(|n| kept.insert(n));
    }
    if has(SearchReturn::Max) {
        found.last().into_iter().for_each(|n| kept.insert(n));
    }
    kept
}

/// The highest mod-sequence among them.
pub fn highest(selected: &Selected, uids: &UidSet) -> Option<ModSeq> {
    selected.view.snapshot().select(uids).map(|(_, r)| r.mod_seq).max()
}

/// MODSEQ beside MIN or MAX alone is that of the message returned, of both the higher one (RFC 4731 §3.2).
fn returned_mod_seq(selected: &Selected, returns: &[SearchReturn], found: &UidSet) -> Option<ModSeq> {
    let kept = saved(returns, found);
    highest(selected, &kept)
}

/// The first unseen message: for the UNSEEN response code of SELECT (RFC 3501 §6.3.1).
pub fn first_unseen(selected: &Selected) -> Option<SeqNo> {
    let view = selected.view.snapshot();
    if view.counts().unseen == 0 {
        return None;
    }
    view.iter().position(|r| !r.flags.system.contains(SystemFlags::SEEN)).map(SeqNo::from_index)
}
