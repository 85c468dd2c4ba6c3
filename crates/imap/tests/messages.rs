//! FETCH, STORE and SEARCH: the RFCs' examples and what lies around them.

mod common;

use common::{parsed, refused, selected, set};
use culver_base::date::Date;
use culver_base::{Flag, Keyword, ModSeq, SearchKey as K, SequenceSet, SystemFlags};
use culver_imap::Dialect;
use culver_imap::command::{
    Change, Fetch, FetchItem as F, Numbering, Rfc822, Search, SearchReturn as R, Section, SectionOf,
    Selected, Store,
};
use culver_imap::response::{BodyName, FetchWriter};
use std::borrow::Cow;

fn fetched<T>(text: &str, check: impl FnOnce(Fetch<'_>) -> T) -> T {
    selected(text, |command| match command {
        Selected::Fetch(fetch) => check(fetch),
        other => panic!("{other:?}"),
    })
}

fn section(part: &[u32], of: SectionOf<'static>) -> Section<'static> {
    Section { part: part.to_vec(), of }
}

fn fields(names: &[&'static str]) -> Vec<Cow<'static, [u8]>> {
    names.iter().map(|n| Cow::Borrowed(n.as_bytes())).collect()
}

#[test]
fn fetch_takes_items_and_macros() {
    let items =
        |text: &str, want: &[F<'static>]| fetched(text, |fetch| assert_eq!(fetch.items, want, "{text}"));
    items("A003 FETCH 4 FAST", &[F::Flags, F::InternalDate, F::Size]);
    items("A003 FETCH 4 all", &[F::Flags, F::InternalDate, F::Size, F::Envelope]);
    items("A003 FETCH 4 FULL", &[F::Flags, F::InternalDate, F::Size, F::Envelope, F::Body]);
    items("a UID FETCH 4 FAST", &[F::Uid, F::Flags, F::InternalDate, F::Size]);
    items("a UID FETCH 4 (FLAGS UID)", &[F::Uid, F::Flags]);
    items("a FETCH 4 FLAGS ", &[F::Flags]);
    items("a FETCH 4 (FLAGS FLAGS)", &[F::Flags]);
    items("a FETCH 4 (BODY BODYSTRUCTURE MODSEQ)", &[F::Body, F::BodyStructure, F::ModSeq]);
    items(
        "a fetch 4 (rfc822 rfc822.header rfc822.text rfc822.size)",
        &[F::Rfc822(Rfc822::All), F::Rfc822(Rfc822::Header), F::Rfc822(Rfc822::Text), F::Size],
    );
    let body = |section, partial, peek| F::Section { section, partial, peek };
    items(
        "A654 FETCH 2:4 (FLAGS BODY[HEADER.FIELDS (DATE FROM)])",
        &[F::Flags, body(section(&[], SectionOf::HeaderFields(fields(&["DATE", "FROM"]))), None, false)],
    );
    items("a FETCH 1 BODY[]", &[body(section(&[], SectionOf::Everything), None, false)]);
    items(
        "a FETCH 1 BODY.PEEK[]<0.2048>",
        &[body(section(&[], SectionOf::Everything), Some((0, 2048)), true)],
    );
    items(
        "a FETCH 1 body.peek[1.2.mime]<0.100>",
        &[body(section(&[1, 2], SectionOf::Mime), Some((0, 100)), true)],
    );
    items("a FETCH 1 BODY[4.2.2.1]", &[body(section(&[4, 2, 2, 1], SectionOf::Everything), None, false)]);
    items("a FETCH 1 BODY[4.1.TEXT]", &[body(section(&[4, 1], SectionOf::Text), None, false)]);
    items(
        "a FETCH 1 BODY[3.HEADER.FIELDS.NOT (\"X Y\" {2+}\r\nTo)]",
        &[body(section(&[3], SectionOf::HeaderFieldsNot(fields(&["X Y", "To"]))), None, false)],
    );
    // RFC 3516 §4.2
    items("a FETCH 1 BINARY[1.2]", &[F::Binary { part: vec![1, 2], partial: None, peek: false }]);
    items("a FETCH 1 BINARY.PEEK[]<5.6>", &[F::Binary { part: vec![], partial: Some((5, 6)), peek: true }]);
    items("a FETCH 1 (BINARY.SIZE[7])", &[F::BinarySize { part: vec![7] }]);
    for wrong in [
        "a FETCH 1",
        "a FETCH 1 ()",
        "a FETCH 1 (ALL)",
        "a FETCH 1 FOO",
        "a FETCH 1 FLAGS UID",
        "a FETCH 1 (FLAGS",
        "a FETCH 1 (FLAGS  UID)",
        "a FETCH 1 BODY.PEEK",
        "a FETCH 1 BODY[",
        "a FETCH 1 BODY[0]",
        "a FETCH 1 BODY[1.]",
        "a FETCH 1 BODY[MIME]",
        "a FETCH 1 BODY[1..2]",
        "a FETCH 1 BODY[1.FOO]",
        "a FETCH 1 BODY[HEADER.FIELDS]",
        "a FETCH 1 BODY[HEADER.FIELDS ()]",
        "a FETCH 1 BODY[]<0>",
        "a FETCH 1 BODY[]<0.0>",
        "a FETCH 1 BODY[]<1.9223372036854775808>",
        "a FETCH 1 BINARY[1.TEXT]",
        "a FETCH 1 BINARY.SIZE",
        "a FETCH 1 BINARY.SIZE[1]<0.1>",
        "a FETCH 0 FLAGS",
        "a FETCH FLAGS 1",
    ] {
        refused(wrong, Dialect::REV1);
    }
}

#[test]
fn fetch_takes_the_modifiers_of_rfc_7162() {
    let check = |text: &str, numbering, ranges: &[(u32, u32)], since: u64, vanished| {
        fetched(text, |fetch| {
            assert_eq!(fetch.numbering, numbering, "{text}");
            assert_eq!(fetch.messages, set(ranges), "{text}");
            assert_eq!((fetch.changed_since, fetch.vanished), (ModSeq::new(since), vanished), "{text}");
        });
    };
    check("s100 UID FETCH 1:* (FLAGS) (CHANGEDSINCE 12345)", Numbering::Uid, &[(1, 0)], 12345, false);
    check(
        "s100 UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)",
        Numbering::Uid,
        &[(300, 500)],
        12345,
        true,
    );
    check("s UID FETCH 300:500 FLAGS (VANISHED CHANGEDSINCE 1)", Numbering::Uid, &[(300, 500)], 1, true);
    check(
        "s FETCH 1 ALL (CHANGEDSINCE 9223372036854775807)",
        Numbering::Sequence,
        &[(1, 1)],
        i64::MAX as u64,
        false,
    );
    for wrong in [
        "a UID FETCH 1 FLAGS ()",
        "a UID FETCH 1 FLAGS (VANISHED)",
        "a FETCH 1 FLAGS (CHANGEDSINCE 1 VANISHED)",
        "a FETCH 1 FLAGS (CHANGEDSINCE)",
        "a FETCH 1 FLAGS (CHANGEDSINCE 1 CHANGEDSINCE 2)",
        "a FETCH 1 FLAGS (CHANGEDSINCE 9223372036854775808)",
        "a FETCH 1 FLAGS (FOO)",
        "a FETCH 1 FLAGS CHANGEDSINCE 1",
    ] {
        refused(wrong, Dialect::REV1);
    }
}

/// The response names a section as the client did.
#[test]
fn sections_are_printed_as_they_were_asked_for() {
    for text in [
        "BODY[]",
        "BODY[HEADER]",
        "BODY[TEXT]",
        "BODY[1]",
        "BODY[1.2.3]",
        "BODY[1.MIME]",
        "BODY[4.2.HEADER]",
        "BODY[HEADER.FIELDS (From To)]",
        "BODY[2.HEADER.FIELDS.NOT (x-a \"B C\")]",
        "BODY[]<17>",
        "BODY[1.TEXT]<0>",
        "BINARY[]",
        "BINARY[3.1]<4>",
        "RFC822",
        "RFC822.HEADER",
        "RFC822.TEXT",
    ] {
        let asked = text.replace('>', ".5>");
        fetched(&format!("a FETCH 1 {asked}"), |fetch| {
            let name = match &fetch.items[0] {
                F::Section { section, partial, .. } => {
                    BodyName::Section { section, origin: partial.map(|p| p.0) }
                }
                F::Binary { part, partial, .. } => BodyName::Binary { part, origin: partial.map(|p| p.0) },
                F::Rfc822(old) => BodyName::Rfc822(*old),
                other => panic!("{other:?}"),
            };
            let mut out = Vec::new();
            let mut writer = FetchWriter::begin(&mut out, culver_base::SeqNo::MIN);
            writer.bytes(name, b"hello");
            writer.end();
            assert_eq!(String::from_utf8_lossy(&out), format!("* 1 FETCH ({text} {{5}}\r\nhello)\r\n"));
        });
    }
}

#[test]
fn store_takes_flags_and_unchangedsince() {
    let system = |f| Flag::System(f);
    let keyword = |k| Flag::Keyword(Keyword::new(k).expect("in range"));
    let check = |text: &str, want: Store| selected(text, |c| assert_eq!(c, Selected::Store(want), "{text}"));
    let store = |ranges: &[(u32, u32)], change, silent, flags: &[Flag]| Store {
        numbering: Numbering::Sequence,
        messages: set(ranges),
        change,
        flags: flags.to_vec(),
        silent,
        unchanged_since: None,
    };
    let deleted = [system(SystemFlags::DELETED)];
    let seen = [system(SystemFlags::SEEN)];
    check("A003 STORE 2:4 +FLAGS (\\Deleted)", store(&[(2, 4)], Change::Add, false, &deleted));
    check("a store 1 flags ()", store(&[(1, 1)], Change::Replace, false, &[]));
    check("a store 1 -flags.silent \\sEEN", store(&[(1, 1)], Change::Remove, true, &seen));
    check("A160 STORE 7 +FLAGS.SILENT (\\Deleted)", store(&[(7, 7)], Change::Add, true, &deleted));
    check(
        "A330 STORE 7 -FLAGS.SILENT (\\Answered \\Seen)",
        store(&[(7, 7)], Change::Remove, true, &[system(SystemFlags::ANSWERED), system(SystemFlags::SEEN)]),
    );
    check(
        "m STORE 42 FLAGS f1 f2 $f3",
        store(&[(42, 42)], Change::Replace, false, &[keyword("f1"), keyword("f2"), keyword("$f3")]),
    );
    check("a STORE 1 FLAGS (\\Foo x)", store(&[(1, 1)], Change::Replace, false, &[keyword("x")]));
    check(
        "F284 STORE $ +FLAGS.Silent (\\Deleted)",
        Store { messages: SequenceSet::Saved, ..store(&[], Change::Add, true, &deleted) },
    );
    // RFC 7162 §3.1.3
    check(
        "a103 UID STORE 6,4,8 (UNCHANGEDSINCE 12121230045) +FLAGS.SILENT (\\Deleted)",
        Store {
            numbering: Numbering::Uid,
            unchanged_since: ModSeq::new(12_121_230_045),
            ..store(&[(6, 6), (4, 4), (8, 8)], Change::Add, true, &deleted)
        },
    );
    check(
        "a102 STORE 12 (UNCHANGEDSINCE 0) +FLAGS.SILENT ($MDNSent)",
        Store {
            unchanged_since: Some(ModSeq::ZERO),
            ..store(&[(12, 12)], Change::Add, true, &[keyword("$MDNSent")])
        },
    );
    check(
        "A150 STORE 1:2 (UNCHANGEDSINCE 96) +FLAGS.SILENT \\Seen",
        Store { unchanged_since: ModSeq::new(96), ..store(&[(1, 2)], Change::Add, true, &seen) },
    );
    for wrong in [
        "a STORE 1 FLAGS",
        "a STORE 1 +FLAGS (\\Recent)",
        "a STORE 1 +FLAGS \\recent",
        "a STORE 1 FOO (x)",
        "a STORE 1 +FLAGS (x",
        "a STORE 1 +FLAGS (x  y)",
        "a STORE 1 + FLAGS (x)",
        "a STORE 1 (UNCHANGEDSINCE) FLAGS ()",
        "a STORE 1 (UNCHANGEDSINCE 1)FLAGS ()",
        "a STORE 1 () FLAGS ()",
        "a STORE 1 FLAGS (a]b)",
    ] {
        refused(wrong, Dialect::REV1);
    }
    refused(&format!("a STORE 1 FLAGS ({})", "k".repeat(256)), Dialect::REV1);
}

type Key = K<Cow<'static, [u8]>>;

fn text(t: &'static str) -> Cow<'static, [u8]> {
    Cow::Borrowed(t.as_bytes())
}

fn header(name: &'static str, t: &'static str) -> Key {
    K::Header { name: text(name), text: text(t) }
}

fn not(key: Key) -> Key {
    K::Not(Box::new(key))
}

fn or(a: Key, b: Key) -> Key {
    K::Or(Box::new(a), Box::new(b))
}

fn day(year: u16, month: u8, day: u8) -> Date {
    Date::new(year, month, day).expect("in range")
}

fn searched<T>(text: &str, check: impl FnOnce(Search<'_>) -> T) -> T {
    selected(text, |command| match command {
        Selected::Search(search) => check(search),
        other => panic!("{other:?}"),
    })
}

#[test]
fn every_search_key_is_understood() {
    let check = |text: &str, want: Key| {
        searched(&format!("a SEARCH {text}"), |s| assert_eq!(s.key, want, "{text}"));
    };
    let answered = || K::Flag(SystemFlags::ANSWERED);
    let seen = || K::Flag(SystemFlags::SEEN);
    for (text, key) in [
        ("ALL", K::All),
        ("ANSWERED", answered()),
        ("UNANSWERED", not(answered())),
        ("DELETED", K::Flag(SystemFlags::DELETED)),
        ("UNDELETED", not(K::Flag(SystemFlags::DELETED))),
        ("DRAFT", K::Flag(SystemFlags::DRAFT)),
        ("UNDRAFT", not(K::Flag(SystemFlags::DRAFT))),
        ("FLAGGED", K::Flag(SystemFlags::FLAGGED)),
        ("UNFLAGGED", not(K::Flag(SystemFlags::FLAGGED))),
        ("SEEN", seen()),
        ("unseen", not(seen())),
        ("NEW", K::New),
        ("OLD", K::Old),
        ("RECENT", K::Recent),
        ("KEYWORD $Junk", K::Keyword(Keyword::new("$Junk").expect("in range"))),
        ("UNKEYWORD $Junk", not(K::Keyword(Keyword::new("$Junk").expect("in range")))),
        ("BEFORE 1-Feb-1994", K::Before(day(1994, 2, 1))),
        ("ON \"01-feb-1994\"", K::On(day(1994, 2, 1))),
        ("SINCE 28-Oct-2006", K::Since(day(2006, 10, 28))),
        ("SENTBEFORE 1-Feb-1994", K::SentBefore(day(1994, 2, 1))),
        ("SENTON 1-Feb-1994", K::SentOn(day(1994, 2, 1))),
        ("SENTSINCE 1-Feb-1994", K::SentSince(day(1994, 2, 1))),
        ("LARGER 50000", K::Larger(50_000)),
        ("SMALLER 0", K::Smaller(0)),
        ("YOUNGER 259200", K::Younger(259_200)), // RFC 5032 §4
        ("OLDER 1", K::Older(1)),
        ("BCC x", header("Bcc", "x")),
        ("CC \"\"", header("Cc", "")),
        ("from maria@example.com", header("From", "maria@example.com")),
        ("SUBJECT {5+}\r\na b c", header("Subject", "a b c")),
        ("TO x", header("To", "x")),
        ("HEADER Message-ID <x@y>", header("Message-ID", "<x@y>")),
        ("BODY x", K::Body(text("x"))),
        ("TEXT \"string not in mailbox\"", K::Text(text("string not in mailbox"))),
        ("1:5,7", K::Sequence(set(&[(1, 5), (7, 7)]))),
        ("*", K::Sequence(set(&[(0, 0)]))),
        ("$", K::Sequence(SequenceSet::Saved)),
        ("UID $", K::Uid(SequenceSet::Saved)),
        ("UID 1:*", K::Uid(set(&[(1, 0)]))),
        ("MODSEQ 620162338", K::ModSeq(ModSeq::new(620_162_338).expect("in range"))),
        ("MODSEQ 0", K::ModSeq(ModSeq::ZERO)),
        ("MODSEQ \"/flags/\\\\draft\" all 620162338", K::ModSeq(ModSeq::new(620_162_338).expect("in range"))),
        ("(SEEN)", seen()),
        ("((SEEN) ALL)", K::And(vec![seen(), K::All])),
        ("NOT NOT SEEN", not(not(seen()))),
        // RFC 7162 §3.1.5
        (
            "OR NOT MODSEQ 720162338 LARGER 50000",
            or(not(K::ModSeq(ModSeq::new(720_162_338).expect("in range"))), K::Larger(50_000)),
        ),
        (
            "FLAGGED SINCE 1-Feb-1994 NOT FROM \"Smith\"",
            K::And(vec![
                K::Flag(SystemFlags::FLAGGED),
                K::Since(day(1994, 2, 1)),
                not(header("From", "Smith")),
            ]),
        ),
    ] {
        check(text, key);
    }
    for wrong in [
        "",
        "FOO",
        "NOT",
        "OR SEEN",
        "()",
        "(SEEN",
        "SEEN)",
        "NOT(SEEN)",
        "FROM",
        "HEADER From",
        "KEYWORD \\Seen",
        "BEFORE 30-Feb-2000",
        "BEFORE \"1-Feb-2000",
        "LARGER x",
        "LARGER 9223372036854775808",
        "OLDER 0",
        "UID",
        "UID x",
        "0",
        "MODSEQ \"/flags/x\" 5",
        "MODSEQ \"x\" all 5",
        "MODSEQ",
        "SEEN  ALL",
        "SUBJECT {3+}\r\na\0b",
        "SUBJECT (x)",
    ] {
        refused(&format!("a SEARCH {wrong}"), Dialect::REV1);
    }
}

#[test]
fn search_takes_return_options_and_a_charset() {
    let check = |text: &str, numbering, returns: Option<&[R]>, charset: Option<&str>, key: Key| {
        searched(text, |search| {
            assert_eq!(search.numbering, numbering, "{text}");
            assert_eq!(search.returns.as_deref(), returns, "{text}");
            assert_eq!(search.charset, charset, "{text}");
            assert_eq!(search.key, key, "{text}");
        });
    };
    let (seq, uid) = (Numbering::Sequence, Numbering::Uid);
    let flagged = || K::Flag(SystemFlags::FLAGGED);
    check("A283 SEARCH RETURN () FLAGGED", seq, Some(&[]), None, flagged());
    check("A282 SEARCH RETURN (MIN COUNT) FLAGGED", seq, Some(&[R::Min, R::Count]), None, flagged());
    check("a search return (all all max) flagged", seq, Some(&[R::All, R::Max]), None, flagged());
    check(
        "A285 UID SEARCH RETURN (MIN MAX) 1:5000",
        uid,
        Some(&[R::Min, R::Max]),
        None,
        K::Sequence(set(&[(1, 5000)])),
    );
    check(
        "C286 SEARCH RETURN (MAX SAVE MIN COUNT) SINCE 12-Feb-2006 NOT FROM \"Smith\"",
        seq,
        Some(&[R::Max, R::Save, R::Min, R::Count]),
        None,
        K::And(vec![K::Since(day(2006, 2, 12)), not(header("From", "Smith"))]),
    );
    check(
        "A301 UID SEARCH UID $ SMALLER 4096",
        uid,
        None,
        None,
        K::And(vec![K::Uid(SequenceSet::Saved), K::Smaller(4096)]),
    );
    let either = || or(K::Sequence(SequenceSet::Saved), K::Sequence(set(&[(1, 1), (3000, 3021)])));
    check(
        "P283 SEARCH CHARSET UTF-8 (OR $ 1,3000:3021) TEXT {8+}\r\nмать",
        seq,
        None,
        Some("UTF-8"),
        K::And(vec![either(), K::Text(text("мать"))]),
    );
    check(
        "B283 SEARCH RETURN (SAVE) CHARSET \"KOI8-R\" (OR $ 1,3000:3021) TEXT {4}\r\nXXXX",
        seq,
        Some(&[R::Save]),
        Some("KOI8-R"),
        K::And(vec![either(), K::Text(text("XXXX"))]),
    );
    for wrong in [
        "a SEARCH RETURN",
        "a SEARCH RETURN ()",
        "a SEARCH RETURN (FOO) ALL",
        "a SEARCH RETURN(ALL) ALL",
        "a SEARCH CHARSET UTF-8",
        "a SEARCH CHARSET \"\" ALL",
        "a SEARCH ALL CHARSET UTF-8",
    ] {
        refused(wrong, Dialect::REV1);
    }
}

#[test]
fn searches_are_bounded_in_depth_and_number() {
    let nested = |n: usize| format!("a SEARCH {}ALL", "NOT ".repeat(n));
    parsed(&nested(99), Dialect::REV1, |_, _| ());
    assert_eq!(refused(&nested(100), Dialect::REV1).malformed.expected, "at most 100 levels of search keys");
    refused(&format!("a SEARCH {}", "(".repeat(10_000)), Dialect::REV1);
    let many = |n: usize| format!("a SEARCH {}", vec!["ALL"; n].join(" "));
    parsed(&many(10_000), Dialect::REV1, |_, _| ());
    refused(&many(10_001), Dialect::REV1);
}
