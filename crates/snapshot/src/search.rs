//! SEARCH over a snapshot (RFC 9051 §6.4.4): what metadata alone can decide is decided here; the rest is named,
//! so that only those messages are opened for which it matters.
//!
//! A key is first compiled against the view: sets become UIDs, keywords become bits, times become moments. Then
//! [`Query::by_metadata`] gives yes, no or "it depends on the content"; [`Query::matches`] asks for the content.

use crate::{KeywordBits, Record, Snapshot};
use culver_base::date::Date;
use culver_base::{ModSeq, SearchKey, SequenceSet, SystemFlags, UidSet};
use std::convert::Infallible;

/// What a search is evaluated against.
pub struct Scope<'a> {
    /// The session's view.
    pub view: &'a Snapshot,
    /// What is recent to the session.
    pub recent: &'a UidSet,
    /// `$` (RFC 5182).
    pub saved: &'a UidSet,
    /// Seconds since 1970, for OLDER and YOUNGER.
    pub now: i64,
}

/// What only the message itself can tell. Texts are as the caller prepared them (decoded, folded).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ContentTest {
    /// A header field contains a text; an empty text: the field is there.
    Header {
        /// Field name.
        name: String,
        /// What it must contain.
        text: String,
    },
    /// The body contains a text.
    Body(String),
    /// Header or body contain a text.
    Text(String),
    /// The day of the Date field compared with this one.
    Sent(Comparison, Date),
    /// RFC822.SIZE is above.
    Larger(u64),
    /// RFC822.SIZE is below.
    Smaller(u64),
}

/// How two days are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// Earlier.
    Before,
    /// The same.
    On,
    /// The same or later.
    Since,
}

impl Comparison {
    /// Does `day` stand so to `reference`?
    pub fn holds(self, day: Date, reference: Date) -> bool {
        match self {
            Self::Before => day < reference,
            Self::On => day == reference,
            Self::Since => day >= reference,
        }
    }
}

#[derive(Clone, Debug)]
enum Test {
    Const(bool),
    And(Vec<Test>),
    Or(Box<Test>, Box<Test>),
    Not(Box<Test>),
    Flag(SystemFlags),
    Keyword(KeywordBits),
    Uids(UidSet),
    Arrived(Comparison, Date),
    ArrivedUpTo(i64),
    ModSeq(ModSeq),
    Content(ContentTest),
}

/// A compiled search.
#[derive(Clone, Debug)]
pub struct Query {
    test: Test,
}

impl Query {
    /// Compiles `key` for `scope`.
    pub fn new(key: &SearchKey, scope: &Scope<'_>) -> Self {
        Self { test: compile(key, scope) }
    }

    /// Can it be decided without opening any message?
    pub fn needs_content(&self) -> bool {
        fn any(t: &Test) -> bool {
            match t {
                Test::And(all) => all.iter().any(any),
                Test::Or(a, b) => any(a) || any(b),
                Test::Not(t) => any(t),
                Test::Content(_) => true,
                _ => false,
            }
        }
        any(&self.test)
    }

    /// Every content test in it.
    pub fn content_tests(&self) -> Vec<&ContentTest> {
        fn collect<'a>(t: &'a Test, out: &mut Vec<&'a ContentTest>) {
            match t {
                Test::And(all) => all.iter().for_each(|t| collect(t, out)),
                Test::Or(a, b) => {
                    collect(a, out);
                    collect(b, out);
                }
                Test::Not(t) => collect(t, out),
                Test::Content(c) => out.push(c),
                _ => {}
            }
        }
        let mut out = Vec::new();
        collect(&self.test, &mut out);
        out
    }

    /// What metadata says; `None` when the content decides.
    pub fn by_metadata(&self, record: &Record) -> Option<bool> {
        metadata(&self.test, record)
    }

    /// The whole answer; `content` is asked only where metadata leaves it open.
    pub fn matches<E>(
        &self,
        record: &Record,
        content: &mut impl FnMut(&ContentTest) -> Result<bool, E>,
    ) -> Result<bool, E> {
        full(&self.test, record, content)
    }

    /// All matching UIDs of a view when no message needs to be opened.
    pub fn over_metadata(&self, view: &Snapshot) -> UidSet {
        view.iter()
            .filter(|r| {
                let never = &mut |_: &ContentTest| Ok::<_, Infallible>(false);
                let Ok(hit) = self.matches(r, never);
                hit
            })
            .map(|r| r.uid)
            .collect()
    }
}

fn compile(key: &SearchKey, scope: &Scope<'_>) -> Test {
    use SearchKey as K;
    let not = |t| Test::Not(Box::new(t));
    let recent = || Test::Uids(scope.recent.clone());
    match key {
        K::All => Test::Const(true),
        K::And(keys) => {
            let mut tests: Vec<Test> = keys.iter().map(|k| compile(k, scope)).collect();
            tests.sort_by_key(cost);
            Test::And(tests)
        }
        K::Or(a, b) => {
            let (a, b) = (Box::new(compile(a, scope)), Box::new(compile(b, scope)));
            if cost(&b) < cost(&a) { Test::Or(b, a) } else { Test::Or(a, b) }
        }
        K::Not(k) => not(compile(k, scope)),
        K::Flag(f) => Test::Flag(*f),
        K::Keyword(k) => scope.view.keywords.find(k).map_or(Test::Const(false), Test::Keyword),
        K::Recent => recent(),
        K::New => Test::And(vec![recent(), not(Test::Flag(SystemFlags::SEEN))]),
        K::Old => not(recent()),
        K::Sequence(SequenceSet::Saved) | K::Uid(SequenceSet::Saved) => Test::Uids(scope.saved.clone()),
        K::Sequence(set) => {
            let len = u32::try_from(scope.view.len()).unwrap_or(u32::MAX);
            Test::Uids(scope.view.uids_at(&set.resolve(len)))
        }
        K::Uid(set) => Test::Uids(set.resolve(scope.view.last_uid().map_or(0, |u| u.get()))),
        K::Before(d) => Test::Arrived(Comparison::Before, *d),
        K::On(d) => Test::Arrived(Comparison::On, *d),
        K::Since(d) => Test::Arrived(Comparison::Since, *d),
        K::SentBefore(d) => Test::Content(ContentTest::Sent(Comparison::Before, *d)),
        K::SentOn(d) => Test::Content(ContentTest::Sent(Comparison::On, *d)),
        K::SentSince(d) => Test::Content(ContentTest::Sent(Comparison::Since, *d)),
        K::Larger(n) => Test::Content(ContentTest::Larger(*n)),
        K::Smaller(n) => Test::Content(ContentTest::Smaller(*n)),
        // RFC 5032 §3: within the interval that ends now, its boundary included, is YOUNGER.
        K::Older(seconds) => Test::ArrivedUpTo(scope.now - i64::from(*seconds)),
        K::Younger(seconds) => not(Test::ArrivedUpTo(scope.now - i64::from(*seconds) - 1)),
        K::Header { name, text } => {
            Test::Content(ContentTest::Header { name: name.clone(), text: text.clone() })
        }
        K::Body(text) => Test::Content(ContentTest::Body(text.clone())),
        K::Text(text) => Test::Content(ContentTest::Text(text.clone())),
        K::ModSeq(m) => Test::ModSeq(*m),
    }
}

/// What is cheaper is asked first: metadata, then headers, then bodies.
fn cost(test: &Test) -> u8 {
    match test {
        Test::And(all) => all.iter().map(cost).max().unwrap_or(0),
        Test::Or(a, b) => cost(a).max(cost(b)),
        Test::Not(t) => cost(t),
        Test::Content(ContentTest::Body(_) | ContentTest::Text(_)) => 2,
        Test::Content(_) => 1,
        _ => 0,
    }
}

fn metadata(test: &Test, r: &Record) -> Option<bool> {
    match test {
        Test::Const(v) => Some(*v),
        Test::And(all) => {
            let mut open = false;
            for t in all {
                match metadata(t, r) {
                    Some(false) => return Some(false),
                    Some(true) => {}
                    None => open = true,
                }
            }
            if open { None } else { Some(true) }
        }
        Test::Or(a, b) => match (metadata(a, r), metadata(b, r)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        },
        Test::Not(t) => metadata(t, r).map(|v| !v),
        Test::Flag(f) => Some(r.flags.system.contains(*f)),
        Test::Keyword(bits) => Some(r.flags.keywords.0 & bits.0 != 0),
        Test::Uids(set) => Some(set.has(r.uid)),
        Test::Arrived(how, day) => Some(how.holds(r.internal_date.day(), *day)),
        Test::ArrivedUpTo(moment) => Some(r.internal_date.unix <= *moment),
        Test::ModSeq(m) => Some(r.mod_seq >= *m),
        Test::Content(ContentTest::Larger(n)) => r.size.map(|s| s > *n),
        Test::Content(ContentTest::Smaller(n)) => r.size.map(|s| s < *n),
        Test::Content(_) => None,
    }
}

fn full<E>(
    test: &Test,
    r: &Record,
    content: &mut impl FnMut(&ContentTest) -> Result<bool, E>,
) -> Result<bool, E> {
    if let Some(decided) = metadata(test, r) {
        return Ok(decided);
    }
    match test {
        Test::And(all) => {
            for t in all {
                if !full(t, r, content)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Test::Or(a, b) => Ok(full(a, r, content)? || full(b, r, content)?),
        Test::Not(t) => Ok(!full(t, r, content)?),
        Test::Content(c) => content(c),
        // Everything else is decided by metadata.
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Flags, MailboxId};
    use culver_base::{Bound, InternalDate, Keyword, Uid, UidValidity};

    fn mailbox() -> Snapshot {
        let m = ModSeq::new(5).unwrap();
        let s = Snapshot::empty(MailboxId([0; 16]), UidValidity::MIN, Uid::MIN, m);
        let mut e = s.edit();
        let junk = e.keywords().find_or_add(&Keyword::new("$Junk").unwrap()).unwrap();
        for uid in [2, 4, 6, 8] {
            e.push(Record {
                uid: Uid::new(uid).unwrap(),
                flags: Flags {
                    system: if uid > 4 { SystemFlags::SEEN } else { SystemFlags::NONE },
                    keywords: if uid == 8 { junk } else { KeywordBits::default() },
                },
                mod_seq: ModSeq::new(u64::from(uid)).unwrap(),
                internal_date: InternalDate::utc(86_400 * i64::from(uid)),
                size: (uid != 6).then_some(u64::from(uid) * 100),
                save_date: 0,
            });
        }
        e.finish_loading()
    }

    fn found(key: SearchKey) -> String {
        let view = mailbox();
        let (recent, saved) = (UidSet::one(Uid::new(8).unwrap()), UidSet::one(Uid::new(4).unwrap()));
        let scope = Scope { view: &view, recent: &recent, saved: &saved, now: 86_400 * 8 };
        Query::new(&key, &scope).over_metadata(&view).to_string()
    }

    #[test]
    fn metadata_keys() {
        use SearchKey as K;
        let range = |a, b| SequenceSet::Ranges(vec![(a, b)]);
        let n = Bound::Number;
        let day = |d| Date::new(1970, 1, d).unwrap();
        let table: Vec<(SearchKey, &str)> = vec![
            (K::All, "2,4,6,8"),
            (K::Flag(SystemFlags::SEEN), "6,8"),
            (K::Not(Box::new(K::Flag(SystemFlags::SEEN))), "2,4"),
            (K::Keyword(Keyword::new("$junk").unwrap()), "8"),
            (K::Keyword(Keyword::new("other").unwrap()), ""),
            (K::Recent, "8"),
            (K::New, ""),
            (K::Old, "2,4,6"),
            (K::Sequence(range(n(2), n(3))), "4,6"),
            (K::Sequence(SequenceSet::Saved), "4"),
            (K::Uid(range(n(3), n(6))), "4,6"),
            (K::Uid(range(n(90), Bound::Star)), "8"),
            (K::On(day(5)), "4"),
            (K::Before(day(5)), "2"),
            (K::Since(day(5)), "4,6,8"),
            (K::Younger(2 * 86_400), "6,8"),
            (K::Older(2 * 86_400), "2,4,6"),
            (K::ModSeq(ModSeq::new(6).unwrap()), "6,8"),
            (K::Larger(400), "8"),
            (K::Or(Box::new(K::Recent), Box::new(K::Larger(100))), "2,4,8"),
        ];
        for (key, want) in table {
            assert_eq!(found(key.clone()), want, "{key:?}");
        }
    }

    #[test]
    fn content_is_asked_for_only_where_it_matters() {
        let view = mailbox();
        let none = UidSet::new();
        let scope = Scope { view: &view, recent: &none, saved: &none, now: 0 };
        let key = SearchKey::And(vec![SearchKey::Body("x".into()), SearchKey::Flag(SystemFlags::SEEN)]);
        let q = Query::new(&key, &scope);
        assert!(q.needs_content());
        let mut asked = 0;
        for r in view.iter() {
            let hit = q.matches(r, &mut |_| {
                asked += 1;
                Ok::<_, Infallible>(true)
            });
            assert_eq!(hit, Ok(r.flags.system.contains(SystemFlags::SEEN)));
        }
        assert_eq!(asked, 2);
    }
}
