//! Running a search: texts are decoded and folded once, metadata decides what it can, the rest of the messages is
//! read by as many threads as there are processors. The search stops when the client leaves.

use crate::state::Selected;
use crate::stop::Stop;
use crate::wire::Wire;
use culver_base::{SearchKey, Uid, UidSet};
use culver_mime::columns::{Column, Columns};
use culver_mime::{date, fields, text};
use culver_snapshot::Place;
use culver_snapshot::search::{ContentTest, Query, Scope};
use culver_store::{Failure, Message, Refusal};
use futures_util::future::join_all;
use memchr::memmem::Finder;
use parking_lot::Mutex;
use std::borrow::Cow;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// What BADCHARSET offers; every other charset that can be decoded is taken too.
pub const CHARSETS: [&str; 2] = ["US-ASCII", "UTF-8"];

/// Messages that are looked at before others have a turn.
const YIELD: usize = 4096;

/// Why a key's texts cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Undecodable {
    /// The charset is unknown.
    Charset,
    /// A text is not valid in it.
    Text,
}

/// Decodes the texts of a key from `charset` (UTF-8 when missing: RFC 9051 §6.4.4).
pub fn decode(key: SearchKey<Cow<'_, [u8]>>, charset: Option<&str>) -> Result<SearchKey, Undecodable> {
    let charset = match charset {
        None => None,
        Some(name) => Some(text::charset(name).ok_or(Undecodable::Charset)?),
    };
    key.try_map(&mut |raw: Cow<'_, [u8]>| match charset {
        // Raw 8-bit texts without CHARSET are met in the wild; what is not UTF-8 can match nothing exactly.
        None => Ok(String::from_utf8_lossy(&raw).into_owned()),
        Some(charset) => text::decode_text(charset, &raw).ok_or(Undecodable::Text),
    })
}

/// The result of a search.
pub struct Found {
    /// In the session's view.
    pub uids: UidSet,
    /// How many messages could not be read.
    pub failed: usize,
}

/// Runs `key` over the session's view. Messages that are gone from the mailbox, although the session has not been
/// told yet, are not found (RFC 2180 §4.3).
pub async fn run(selected: &Selected, key: &SearchKey, wire: &mut Wire) -> Result<Found, Stop> {
    let mut found = in_view(selected, key, wire).await?;
    let now = selected.mailbox.snapshot();
    if !selected.view.is_current(&now) {
        found.uids = now.select(&found.uids).map(|(_, r)| r.uid).collect();
    }
    Ok(found)
}

/// The time of day for `YOUNGER` and `OLDER`, in seconds since 1970.
#[allow(clippy::disallowed_methods, reason = "this crate's one look at the clock")]
fn seconds_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64)
}

async fn in_view(selected: &Selected, key: &SearchKey, wire: &mut Wire) -> Result<Found, Stop> {
    let view = selected.view.snapshot();
    let now = seconds_now();
    let scope = Scope { view, recent: selected.view.recent(), saved: &selected.saved, now };
    let query = Query::new(&folded(key), &scope);
    if !query.needs_content() {
        return Ok(Found { uids: query.over_metadata(view), failed: 0 });
    }
    let mut uids = UidSet::new();
    let mut open = Vec::new();
    for record in view.iter() {
        match query.by_metadata(record) {
            Some(true) => uids.add(record.uid),
            Some(false) => {}
            None => open.push(record.uid),
        }
    }
    if query.content_tests().iter().any(|test| in_columns(test)) {
        open = by_columns(selected, &query, open, &mut uids).await;
    }
    if open.is_empty() {
        return Ok(Found { uids, failed: 0 });
    }
    let shared = Arc::new(Shared {
        query,
        view: view.clone(),
        result: Mutex::default(),
        cancelled: AtomicBool::new(false),
    });
    let _stop = CancelOnDrop(shared.clone());
    let share = open.len().div_ceil(threads()).max(64);
    let work = join_all(open.chunks(share).map(|part| read(selected, &shared, part.to_vec())));
    tokio::select! {
        _ = work => {}
        () = wire.gone() => return Err(Stop::Ended(io::ErrorKind::ConnectionAborted.into())),
    }
    let result = std::mem::take(&mut *shared.result.lock());
    let mut hits = result.hits;
    hits.sort_unstable();
    hits.extend(uids.uids());
    hits.sort_unstable();
    Ok(Found { uids: hits.into_iter().collect(), failed: result.failed })
}

/// Can the columns of a message answer it?
fn in_columns(test: &ContentTest) -> bool {
    match test {
        ContentTest::Header { name, text } => Column::of_field(name).is_some() && !text.contains('\n'),
        ContentTest::Sent(..) => true,
        _ => false,
    }
}

/// The texts of a query, made ready to be looked for in many columns.
struct Needles<'q>(Vec<(&'q str, Finder<'q>)>);

impl<'q> Needles<'q> {
    fn new(query: &'q Query) -> Self {
        let texts = query.content_tests().into_iter().filter_map(|test| match test {
            ContentTest::Header { text, .. } => Some(text.as_str()),
            _ => None,
        });
        Self(texts.map(|t| (t, Finder::new(t))).collect())
    }

    /// `None`: the message has to be asked.
    fn answer(&self, test: &ContentTest, columns: Option<Columns<'_>>) -> Option<bool> {
        let columns = columns.filter(|c| !c.is_partial())?;
        match test {
            ContentTest::Header { name, text } if in_columns(test) => {
                let column = Column::of_field(name)?;
                let (_, finder) = self.0.iter().find(|(t, _)| *t == text)?;
                Some(columns.has(column) && finder.find(columns.text(column)).is_some())
            }
            ContentTest::Sent(how, day) => Some(columns.sent_day().is_some_and(|d| how.holds(d, *day))),
            _ => None,
        }
    }
}

/// Decides what the columns decide. Hits go to `uids`; what is left comes back.
async fn by_columns(selected: &Selected, query: &Query, open: Vec<Uid>, uids: &mut UidSet) -> Vec<Uid> {
    let view = selected.view.snapshot();
    let table = selected.mailbox.columns(&open.iter().copied().collect()).await;
    let needles = Needles::new(query);
    let (mut walk, mut place) = (table.walk(), Place::default());
    let mut left = Vec::new();
    for (i, uid) in open.into_iter().enumerate() {
        if i % YIELD == YIELD - 1 {
            tokio::task::yield_now().await;
        }
        let Some((_, record)) = view.seek(uid, &mut place) else { continue };
        let columns = walk.get(uid);
        match query.matches(record, &mut |test| needles.answer(test, columns).ok_or(())) {
            Ok(true) => uids.add(uid),
            Ok(false) => {}
            Err(()) => left.push(uid),
        }
    }
    left
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get)
}

struct Shared {
    query: Query,
    view: culver_snapshot::Snapshot,
    result: Mutex<Tally>,
    cancelled: AtomicBool,
}

#[derive(Default)]
struct Tally {
    hits: Vec<Uid>,
    failed: usize,
}

/// A session that stops waiting stops the reading too.
struct CancelOnDrop(Arc<Shared>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }
}

async fn read(selected: &Selected, shared: &Arc<Shared>, uids: Vec<Uid>) {
    let mut at = 0;
    while at < uids.len() {
        let job = shared.clone();
        let visited = selected
            .mailbox
            .visit(
                uids[at..].to_vec(),
                Box::new(move |message| {
                    if job.cancelled.load(Ordering::Relaxed) {
                        return ControlFlow::Break(());
                    }
                    let Some(record) = job.view.by_uid(message.uid()) else {
                        return ControlFlow::Continue(());
                    };
                    match job.query.matches(record, &mut |test| content(test, message)) {
                        Ok(true) => job.result.lock().hits.push(record.uid),
                        Ok(false) => {}
                        // Gone since: it matches nothing any more.
                        Err(Failure::Refused(Refusal::ExpungeIssued)) => {}
                        Err(_) => job.result.lock().failed += 1,
                    }
                    ControlFlow::Continue(())
                }),
            )
            .await;
        if visited.count == 0 || shared.cancelled.load(Ordering::Relaxed) {
            return;
        }
        at += visited.count;
    }
}

/// Folds every text once, as the messages' texts will be.
fn folded(key: &SearchKey) -> SearchKey {
    let folded = key.clone().try_map(&mut |t: String| Ok::<_, std::convert::Infallible>(text::fold(&t)));
    match folded {
        Ok(key) => key,
        Err(never) => match never {},
    }
}

/// Asks one message. The search program's texts are folded; field names are compared without regard to case.
fn content(test: &ContentTest, message: &mut dyn Message) -> Result<bool, Failure> {
    match test {
        ContentTest::Header { name, text } => {
            let bulky = fields::is_bulky(name.as_bytes());
            let header = if bulky { message.header()? } else { message.lean_header()? };
            Ok(text::matches_header(&header, name, text))
        }
        ContentTest::Sent(how, day) => {
            let header = message.lean_header()?;
            Ok(date::sent_day(&header).is_some_and(|d| how.holds(d, *day)))
        }
        ContentTest::Larger(n) => Ok(message.size()? > *n),
        ContentTest::Smaller(n) => Ok(message.size()? < *n),
        ContentTest::Body(needle) => {
            let parts = message.text_parts()?;
            Ok(text::matches_parts(&message.octets(0..SEARCHED)?, &parts, needle))
        }
        ContentTest::Text(needle) => {
            let structure = message.structure()?;
            Ok(text::matches_text(&message.octets(0..SEARCHED)?, &structure, needle))
        }
    }
}

/// The most of one message that BODY and TEXT look at.
const SEARCHED: u64 = 64 * 1024 * 1024;
