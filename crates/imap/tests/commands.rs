//! Commands of the RFCs' examples, except FETCH, STORE and SEARCH, which have tables of their own.

mod common;

use common::{authenticated, name, parsed, refused, selected, set};
use culver_base::{InternalDate, ModSeq, SequenceSet, SpecialUse, UidValidity};
use culver_imap::command::{
    Any, AppendMessage, Authenticated as A, COMMANDS, Command, List, ListReturn, ListSelect, Literal, Name,
    NotAuthenticated as N, Numbering, QResync, Select, Selected as S, States, StatusItem, Transfer,
    append_target,
};
use culver_imap::{Dialect, Frame, Framer, Limits, Step, parse};
use std::borrow::Cow;

fn bytes(text: &str) -> Cow<'_, [u8]> {
    Cow::Borrowed(text.as_bytes())
}

#[test]
fn commands_for_any_state() {
    let any = |text: &str, want: Any<'_>| {
        parsed(text, Dialect::REV1, |_, command| assert_eq!(command, Command::Any(want), "{text}"))
    };
    any("a001 CAPABILITY", Any::Capability);
    any("a002 NOOP", Any::Noop);
    any("a002 noop  ", Any::Noop);
    any("A023 LOGOUT", Any::Logout);
    // RFC 2971 §3.1
    any("a042 ID NIL", Any::Id(None));
    let pairs = [("name", "sodr"), ("version", "19.34"), ("vendor", "Pink Floyd Music Limited")];
    any(
        r#"a023 ID ("name" "sodr" "version" "19.34" "vendor" "Pink Floyd Music Limited")"#,
        Any::Id(Some(pairs.iter().map(|(f, v)| (bytes(f), Some(bytes(v)))).collect())),
    );
    any(r#"a ID ("os" NIL)"#, Any::Id(Some(vec![(bytes("os"), None)])));
    any("a ID ()", Any::Id(Some(Vec::new())));
    let pair = |n| format!("a ID ({})", vec!["\"a\" \"b\""; n].join(" "));
    parsed(&pair(30), Dialect::REV1, |_, _| ());
    refused(&pair(31), Dialect::REV1);
    refused(&format!("a ID (\"{}\" NIL)", "x".repeat(31)), Dialect::REV1);
    refused(&format!("a ID (\"x\" \"{}\")", "x".repeat(1025)), Dialect::REV1);
}

#[test]
fn commands_before_login() {
    let check = |text: &str, want: N<'_>| {
        parsed(text, Dialect::REV1, |_, command| {
            assert_eq!(command, Command::NotAuthenticated(want), "{text}")
        })
    };
    let auth = |mechanism, initial| N::Authenticate { mechanism, initial };
    check("a002 STARTTLS", N::StartTls);
    check("A001 AUTHENTICATE GSSAPI", auth("GSSAPI", None));
    check("c1 authenticate PLAIN ", auth("PLAIN", None));
    check("a AUTHENTICATE PLAIN dGVzdAB0ZXN0AHRlc3Q=", auth("PLAIN", Some(b"dGVzdAB0ZXN0AHRlc3Q=")));
    check("a AUTHENTICATE PLAIN  dGVzdAB0ZXN0AHRlc3Q=", auth("PLAIN", Some(b"dGVzdAB0ZXN0AHRlc3Q=")));
    check("A01 AUTHENTICATE EXTERNAL =", auth("EXTERNAL", Some(b"=")));
    let login = |user, password| N::Login { user: bytes(user), password: bytes(password) };
    check("a001 LOGIN SMITH SESAME", login("SMITH", "SESAME"));
    check(r#"a LOGIN "fred" "foo""#, login("fred", "foo"));
    // RFC 9051 §4.3, RFC 7888 §3
    check("A001 LOGIN {11}\r\nFRED FOOBAR {7}\r\nfat man", login("FRED FOOBAR", "fat man"));
    check("A001 LOGIN {11+}\r\nFRED FOOBAR {7+}\r\nfat man", login("FRED FOOBAR", "fat man"));
    check("A001 LOGIN \"FRED FOOBAR\" \"fat man\"", login("FRED FOOBAR", "fat man"));
    check(r#"a LOGIN "a\"b\\c" """#, login("a\"b\\c", ""));
    check("a LOGIN {0+}\r\n \"\"", login("", ""));
    check("a LOGIN x]y ]", login("x]y", "]"));
    check("a LOGIN fred {6+}\r\na\r\nb\r\n", login("fred", "a\r\nb\r\n"));
    for wrong in [
        "a LOGIN",
        "a LOGIN fred",
        "a LOGIN fred  foo",
        "a LOGIN fred foo bar",
        "a LOGIN fred f(oo",
        "a LOGIN \"fred foo",
        "a LOGIN fr\"ed foo",
        "a LOGIN \"fr\\ed\" foo",
        "a LOGIN \"x\"y foo",
        "a LOGIN ~{3+}\r\nabc d",
        "a LOGIN fred {3+}\r\na\0b",
        "a STARTTLS now",
        "a AUTHENTICATE PLAIN x y",
        "a AUTHENTICATE PLAIN *",
        "a AUTHENTICATE",
    ] {
        let error = refused(wrong, Dialect::REV1);
        assert_eq!((error.tag.as_deref(), error.unknown_command), (Some("a"), false), "{wrong:?}");
    }
}

#[test]
fn eight_bit_in_quotes_must_be_utf8_once_utf8_is_spoken() {
    let frame = Frame::of(b"a LOGIN \"m\xfcller\" \"x\"".as_slice());
    assert!(parse(&frame, Dialect::REV1).is_ok());
    assert!(parse(&frame, Dialect::UTF8).is_err()); // RFC 6855 §3: BAD
    let frame = Frame::of("a LOGIN \"müller\" \"x\"");
    assert!(parse(&frame, Dialect::UTF8).is_ok());
}

#[test]
fn commands_with_one_mailbox() {
    let check = |text: &str, want: A<'_>| authenticated(text, |command| assert_eq!(command, want, "{text}"));
    check("A683 DELETE blurdybloop", A::Delete(name("blurdybloop")));
    check("g delete \"/archive/projects/experiment-iv\"", A::Delete(name("/archive/projects/experiment-iv")));
    check("a SUBSCRIBE #news.comp.mail.mime", A::Subscribe(name("#news.comp.mail.mime")));
    check("a UNSUBSCRIBE #news.comp.mail.mime", A::Unsubscribe(name("#news.comp.mail.mime")));
    check("a RENAME blurdybloop sarasoop", A::Rename { from: name("blurdybloop"), to: name("sarasoop") });
    check("a RENAME inbox {8+}\r\nold-mail", A::Rename { from: name("INBOX"), to: name("old-mail") });
    check("A001 NAMESPACE", A::Namespace);
    check("A002 IDLE", A::Idle);
    check("t2 ENABLE CONDSTORE X-GOOD-IDEA", A::Enable(vec!["CONDSTORE", "X-GOOD-IDEA"]));
    check("t2 ENABLE UTF8=ACCEPT ", A::Enable(vec!["UTF8=ACCEPT"]));
    for wrong in
        ["a DELETE", "a DELETE a b", "a RENAME a", "a ENABLE", "a ENABLE (x)", "a IDLE now", "a DELETE x{3}"]
    {
        refused(wrong, Dialect::REV1);
    }
}

#[test]
fn names_are_read_in_the_dialect() {
    let of = |text: &str, dialect| {
        parsed(text, dialect, |_, command| match command {
            Command::Authenticated(A::Delete(name)) => name,
            other => panic!("{other:?}"),
        })
    };
    // RFC 3501 §5.1.3
    assert_eq!(of("a DELETE &U,BTFw-", Dialect::REV1), name("台北"));
    assert_eq!(of("a DELETE \"台北\"", Dialect::REV1), name("台北"));
    assert_eq!(of("a DELETE {6+}\r\n台北", Dialect::REV1), name("台北"));
    assert_eq!(of("a DELETE \"台北\"", Dialect::UTF8), name("台北"));
    assert_eq!(of("a DELETE &U,BTFw-", Dialect::UTF8), name("&U,BTFw-"));
    assert_eq!(of("a DELETE \"R&D\"", Dialect::UTF8), name("R&D"));
    assert_eq!(of("a DELETE \"R&D\"", Dialect::REV1), Name::Undecodable("R&D".into()));
    assert_eq!(of("a DELETE \"R&-D\"", Dialect::REV1), name("R&D"));
    assert_eq!(of("a DELETE iNbOx", Dialect::REV1), name("INBOX"));
    let latin1 = Frame::of(b"a DELETE \"M\xfcll\"".as_slice());
    let Ok(tagged) = parse(&latin1, Dialect::REV1) else { panic!("refused") };
    assert_eq!(tagged.command, Command::Authenticated(A::Delete(Name::Undecodable("M\u{fffd}ll".into()))));
}

#[test]
fn create_takes_special_uses() {
    let check = |text: &str, mailbox: &str, uses: &[SpecialUse], unknown: Option<&str>| {
        authenticated(text, |command| {
            let special_use = uses.to_vec();
            assert_eq!(command, A::Create { mailbox: name(mailbox), special_use, unknown_use: unknown });
        })
    };
    check("A003 CREATE owatagusiam/", "owatagusiam", &[], None);
    check("A004 CREATE owatagusiam/blurdybloop", "owatagusiam/blurdybloop", &[], None);
    // RFC 6154 §5.3
    check(
        "t2 CREATE MySpecial (USE (\\Drafts \\Sent))",
        "MySpecial",
        &[SpecialUse::Drafts, SpecialUse::Sent],
        None,
    );
    check("t3 create Everything (use (\\all))", "Everything", &[SpecialUse::All], None);
    check("t CREATE x (USE (\\Foo \\Sent \\Bar))", "x", &[SpecialUse::Sent], Some("\\Foo"));
    check("t CREATE x (USE ())", "x", &[], None);
    for wrong in ["a CREATE x ()", "a CREATE x (USE)", "a CREATE x (USE (Sent))", "a CREATE x (FOO (\\Sent))"]
    {
        refused(wrong, Dialect::REV1);
    }
}

#[test]
fn select_and_examine_take_parameters() {
    let plain = |mailbox: &str| Select { mailbox: name(mailbox), condstore: false, qresync: None };
    let check = |text: &str, want: Select| {
        authenticated(text, |command| assert_eq!(command, A::Select(want), "{text}"));
    };
    check("A142 SELECT INBOX", plain("INBOX"));
    check("d select inbox", plain("INBOX"));
    check("A142 SELECT INBOX (CONDSTORE)", Select { condstore: true, ..plain("INBOX") });
    authenticated("A932 EXAMINE blurdybloop", |c| assert_eq!(c, A::Examine(plain("blurdybloop"))));
    // RFC 7162 §3.2.5
    let resync = |mod_seq, known, sequence_match| Select {
        qresync: Some(QResync {
            uid_validity: UidValidity::new(67_890_007).expect("in range"),
            mod_seq: ModSeq::new(mod_seq).expect("in range"),
            known_uids: known,
            sequence_match,
        }),
        ..plain("INBOX")
    };
    check(
        "A02 SELECT INBOX (QRESYNC (67890007 20050715194045000 41,43:211,214:541))",
        resync(20_050_715_194_045_000, Some(set(&[(41, 41), (43, 211), (214, 541)])), None),
    );
    check("a SELECT INBOX (QRESYNC (67890007 5))", resync(5, None, None));
    let (a, b) = (set(&[(1, 3)]), set(&[(5, 5), (7, 8)]));
    check("a SELECT INBOX (QRESYNC (67890007 5 (1:3 5,7:8)))", resync(5, None, Some((a.clone(), b.clone()))));
    check(
        "a SELECT INBOX (QRESYNC (67890007 5 1:300 (1:3 5,7:8)))",
        resync(5, Some(set(&[(1, 300)])), Some((a, b))),
    );
    authenticated(
        "B04 SELECT INBOX (QRESYNC (67890007 90060115194045000 1:29997 (5000,7500,9000,9990:9999 \
         15000,22500,27000,29970,29973,29976,29979,29982,29985,29988,29991,29994,29997)))",
        |_| (),
    );
    authenticated("a SELECT x (QRESYNC (1 2) CONDSTORE)", |_| ());
    for wrong in [
        "a SELECT x ()",
        "a SELECT x (FOO)",
        "a SELECT x (CONDSTORE CONDSTORE)",
        "a SELECT x (QRESYNC)",
        "a SELECT x (QRESYNC (0 1))",
        "a SELECT x (QRESYNC (1 1 1:*))",
        "a SELECT x (QRESYNC (1 1 $))",
        "a SELECT x (QRESYNC (1 1 (1:3 5:6)))",
        "a SELECT x (QRESYNC (1 1 (3,1 5,6)))",
        "a SELECT x (QRESYNC (1 9223372036854775808))",
    ] {
        refused(wrong, Dialect::REV1);
    }
}

#[test]
fn list_takes_options_and_patterns() {
    use ListSelect::{RecursiveMatch, Remote, Subscribed};
    let basic = |reference: &str, pattern: &str| List {
        reference: reference.into(),
        patterns: vec![pattern.into()],
        ..List::default()
    };
    let check = |text: &str, want: List| authenticated(text, |c| assert_eq!(c, A::List(want), "{text}"));
    check("A101 LIST \"\" \"\"", basic("", ""));
    check("A102 LIST #news.comp.mail.misc \"\"", basic("#news.comp.mail.misc", ""));
    check("A202 LIST ~/Mail/ %", basic("~/Mail/", "%"));
    check("A682 LIST \"\" *", basic("", "*"));
    check("A002 LIST \"\" \"Other Users/%\"", basic("", "Other Users/%"));
    check("a LIST \"\" x]%", basic("", "x]%"));
    check("a LIST \"\" &ANY-*", basic("", "Ö*"));
    check("a LIST \"\" R&D*", basic("", "R&D*"));
    let extended = |select: &[ListSelect], pattern: &str, returns: &[ListReturn]| List {
        select: select.to_vec(),
        returns: returns.to_vec(),
        extended: true,
        ..basic("", pattern)
    };
    // RFC 5258 §5, RFC 9051 §6.3.9.8
    check("A02 LIST (SUBSCRIBED) \"\" \"*\"", extended(&[Subscribed], "*", &[]));
    check("A03 LIST () \"\" \"%\" RETURN (CHILDREN)", extended(&[], "%", &[ListReturn::Children]));
    check(
        "A04 LIST (REMOTE) \"\" \"%\" RETURN (CHILDREN)",
        extended(&[Remote], "%", &[ListReturn::Children]),
    );
    check("A05 LIST (REMOTE SUBSCRIBED) \"\" \"*\"", extended(&[Remote, Subscribed], "*", &[]));
    check(
        "A06 LIST (REMOTE) \"\" \"*\" RETURN (SUBSCRIBED)",
        extended(&[Remote], "*", &[ListReturn::Subscribed]),
    );
    check(
        "C04 LIST (SUBSCRIBED RECURSIVEMATCH) \"\" \"%\" RETURN (CHILDREN)",
        extended(&[Subscribed, RecursiveMatch], "%", &[ListReturn::Children]),
    );
    check("a LIST \"\" % return ()", extended(&[], "%", &[]));
    let patterns = ["INBOX", "Drafts", "Sent/%"].map(String::from).to_vec();
    check(
        "BBB LIST \"\" (\"INBOX\" \"Drafts\" \"Sent/%\")",
        List { patterns, extended: true, ..List::default() },
    );
    // RFC 6154 §5.2
    check("t3 LIST (SPECIAL-USE) \"\" \"*\"", extended(&[ListSelect::SpecialUse], "*", &[]));
    check("t2 LIST \"\" \"%\" RETURN (SPECIAL-USE)", extended(&[], "%", &[ListReturn::SpecialUse]));
    // RFC 5819 §3
    let status = ListReturn::Status(vec![StatusItem::Messages, StatusItem::Unseen]);
    check("A01 LIST \"\" % RETURN (STATUS (MESSAGES UNSEEN))", extended(&[], "%", &[status]));
    authenticated("A12 LSUB \"#news.\" \"comp.mail.*\"", |c| {
        assert_eq!(c, A::Lsub { reference: "#news.".into(), pattern: "comp.mail.*".into() });
    });
    for wrong in [
        "a LIST \"\"",
        "a LIST (RECURSIVEMATCH) \"\" *",
        "a LIST (REMOTE RECURSIVEMATCH) \"\" *",
        "a LIST (FOO) \"\" *",
        "a LIST \"\" ()",
        "a LIST \"\" * (CHILDREN)",
        "a LIST \"\" * RETURN",
        "a LIST \"\" * RETURN (FOO)",
        "a LIST \"\" * RETURN (STATUS ())",
        "a LIST % *",
    ] {
        refused(wrong, Dialect::REV1);
    }
}

#[test]
fn status_takes_items() {
    use StatusItem::{AppendLimit, Deleted, HighestModSeq, Messages, Recent, Size, UidNext, Unseen};
    let check = |text: &str, mailbox: &str, items: &[StatusItem]| {
        authenticated(text, |command| {
            assert_eq!(command, A::Status { mailbox: name(mailbox), items: items.to_vec() }, "{text}");
        });
    };
    check("A042 STATUS blurdybloop (UIDNEXT MESSAGES)", "blurdybloop", &[UidNext, Messages]);
    check(
        "a STATUS blurdybloop (UIDNEXT MESSAGES HIGHESTMODSEQ)",
        "blurdybloop",
        &[UidNext, Messages, HighestModSeq],
    );
    check("k2 status inbox (messages recent unseen)", "INBOX", &[Messages, Recent, Unseen]);
    check("a STATUS x (SIZE DELETED APPENDLIMIT SIZE)", "x", &[Size, Deleted, AppendLimit]);
    for wrong in
        ["a STATUS x", "a STATUS x ()", "a STATUS x (FOO)", "a STATUS x MESSAGES", "a STATUS x (SIZE"]
    {
        refused(wrong, Dialect::REV1);
    }
}

fn appended<R>(text: &str, check: impl FnOnce(Name, Vec<AppendMessage<'_>>) -> R) -> R {
    authenticated(text, |command| match command {
        A::Append { mailbox, messages } => check(mailbox, messages),
        other => panic!("{other:?}"),
    })
}

#[test]
fn append_takes_one_message_or_several() {
    let inline = |bytes| Literal::Inline { bytes, binary: false };
    appended("A003 APPEND saved-messages (\\Seen) {3+}\r\nabc", |mailbox, messages| {
        assert_eq!(mailbox, name("saved-messages"));
        assert_eq!(messages.len(), 1);
        assert_eq!(format!("{:?}", messages[0].flags), "[System([\"\\\\Seen\"])]");
        assert_eq!((messages[0].date, messages[0].data, messages[0].utf8), (None, inline(b"abc"), false));
    });
    // RFC 3502, its example with shorter messages
    appended(
        "A003 APPEND saved-messages (\\Seen) {5}\r\nfirst (\\Seen) \" 7-Feb-1994 22:43:04 -0800\" {6}\r\nsecond",
        |_, messages| {
            assert_eq!(messages.len(), 2);
            assert_eq!(messages[0].data, inline(b"first"));
            assert_eq!(messages[1].data, inline(b"second"));
            // 1994-02-08 06:43:04 UTC by date(1)
            assert_eq!(messages[1].date, Some(InternalDate { unix: 760_689_784, offset: -480 }));
        },
    );
    appended("a APPEND x ~{3+}\r\na\0b ", |_, messages| {
        assert_eq!(messages[0].data, Literal::Inline { bytes: b"a\0b", binary: true });
    });
    // RFC 6855 §4
    appended("a APPEND x () UTF8 (~{3+}\r\nabc) {0+}\r\n", |_, messages| {
        assert!(messages[0].utf8 && messages[0].flags.is_empty());
        assert_eq!(messages[0].data, Literal::Inline { bytes: b"abc", binary: true });
        assert_eq!(messages[1].data, inline(b""));
    });
    appended("a APPEND x (\\Recent \\Foo $Junk) {1+}\r\nx", |_, messages| {
        assert_eq!(messages[0].flags.len(), 1)
    });
    for wrong in [
        "a APPEND x",
        "a APPEND x abc",
        "a APPEND x \"abc\"",
        "a APPEND x () \"abc\" {1+}\r\nx",
        "a APPEND x {1+}\r\nx{1+}\r\nx",
        "a APPEND x {1+}\r\nx y",
        "a APPEND x UTF8 (~{1+}\r\nx",
        "a APPEND x (\\Seen){1+}\r\nx",
    ] {
        refused(wrong, Dialect::REV1);
    }
}

#[test]
fn literals_set_aside_are_known_by_index_and_size() {
    let mut framer = Framer::new(Limits::default());
    let mut input: &[u8] = b"a APPEND \"M&APw-ll\" (\\Seen) {5+}\r\nfirst ~{6+}\r\nsecond\r\nb NOOP\r\n";
    let mut stored = Vec::new();
    let frame = loop {
        let (used, step) = framer.push(input);
        match step {
            Step::Literal(_) => {
                assert_eq!((framer.tag(), framer.verb()), (Some("a"), Some("APPEND")));
                assert_eq!(append_target(framer.partial(), Dialect::REV1), Some(name("Müll")));
                framer.set_aside();
            }
            Step::Aside { .. } => stored.push(&input[..used]),
            Step::Command => break framer.take(),
            other => panic!("{other:?}"),
        }
        input = &input[used..];
    };
    assert_eq!(stored, [b"first".as_slice(), b"second"]);
    assert_eq!(frame.aside_count(), 2);
    let Ok(tagged) = parse(&frame, Dialect::REV1) else { panic!("refused") };
    let Command::Authenticated(A::Append { messages, .. }) = tagged.command else { panic!("no APPEND") };
    let data: Vec<_> = messages.iter().map(|m| m.data).collect();
    assert_eq!(
        data,
        [
            Literal::SetAside { index: 0, size: 5, binary: false },
            Literal::SetAside { index: 1, size: 6, binary: true },
        ]
    );
    assert_eq!(append_target(b"a APPEND x", Dialect::REV1), None);
    assert_eq!(append_target(b"a NOOP x ", Dialect::REV1), None);
}

#[test]
fn commands_on_a_selected_mailbox() {
    let check = |text: &str, want: S<'_>| selected(text, |command| assert_eq!(command, want, "{text}"));
    check("FXXZ CHECK", S::Check);
    check("A341 CLOSE", S::Close);
    check("A342 UNSELECT", S::Unselect);
    check("A202 EXPUNGE", S::Expunge { uids: None });
    check("A003 UID EXPUNGE 3000:3002", S::Expunge { uids: Some(set(&[(3000, 3002)])) });
    let transfer = |numbering, messages, mailbox| Transfer { numbering, messages, mailbox: name(mailbox) };
    check("A003 COPY 2:4 MEETING", S::Copy(transfer(Numbering::Sequence, set(&[(2, 4)]), "MEETING")));
    check("n1 uid copy 1:* oldmail", S::Copy(transfer(Numbering::Uid, set(&[(1, 0)]), "oldmail")));
    check(
        "E283 COPY $ \"Other Messages\"",
        S::Copy(transfer(Numbering::Sequence, SequenceSet::Saved, "Other Messages")),
    );
    check("a UID MOVE 42:69 foo", S::Move(transfer(Numbering::Uid, set(&[(42, 69)]), "foo")));
    check(
        "a MOVE *,*:3,7 foo",
        S::Move(transfer(Numbering::Sequence, set(&[(0, 0), (0, 3), (7, 7)]), "foo")),
    );
    for wrong in [
        "a EXPUNGE 1",
        "a UID EXPUNGE",
        "a COPY 0 x",
        "a COPY 1, x",
        "a COPY 1:2:3 x",
        "a COPY 4294967296 x",
        "a COPY $,1 x",
        "a COPY 1 ",
        "a COPY  1 x",
    ] {
        refused(wrong, Dialect::REV1);
    }
}

#[test]
fn a_refusal_knows_what_it_can() {
    let of = |text: &str| {
        let error = refused(text, Dialect::REV1);
        (error.tag, error.unknown_command)
    };
    let tag = |t: &str| Some(t.to_owned());
    assert_eq!(of("A442 XPIG-LATIN"), (tag("A442"), true));
    assert_eq!(of("a UID XTHREAD x"), (tag("a"), true));
    assert_eq!(of("a UID"), (tag("a"), false));
    assert_eq!(of("a NOOPX"), (tag("a"), true));
    assert_eq!(of("a"), (tag("a"), false));
    assert_eq!(of("a  NOOP"), (tag("a"), false));
    assert_eq!(of(""), (None, false));
    assert_eq!(of("+ NOOP"), (None, false));
    assert_eq!(of("* NOOP"), (None, false));
    assert_eq!(of("a NOOP x"), (tag("a"), false));
    let error = refused("a1 STATUS x (MESSAGES FOO)", Dialect::REV1);
    assert_eq!(error.malformed.at, 22);
    assert_eq!(error.to_string(), "expected a status item such as MESSAGES at byte 22");
}

#[test]
fn every_command_has_its_row() {
    let samples = [
        "CAPABILITY",
        "NOOP",
        "LOGOUT",
        "ID NIL",
        "STARTTLS",
        "AUTHENTICATE X",
        "LOGIN a b",
        "ENABLE X",
        "SELECT x",
        "EXAMINE x",
        "CREATE x",
        "DELETE x",
        "RENAME x y",
        "SUBSCRIBE x",
        "UNSUBSCRIBE x",
        "LIST x y",
        "LSUB x y",
        "NAMESPACE",
        "STATUS x (SIZE)",
        "GETQUOTA x",
        "GETQUOTAROOT x",
        "SETQUOTA x (STORAGE 1)",
        "APPEND x {0+}\r\n",
        "IDLE",
        "CHECK",
        "CLOSE",
        "UNSELECT",
        "EXPUNGE",
        "SEARCH ALL",
        "SORT (REVERSE DATE SUBJECT) UTF-8 ALL",
        "THREAD REFERENCES UTF-8 ALL",
        "FETCH 1 UID",
        "STORE 1 FLAGS ()",
        "COPY 1 x",
        "MOVE 1 x",
        "UID EXPUNGE 1",
        "UID SEARCH ALL",
        "UID SORT RETURN () (DISPLAYFROM) us-ascii SEEN",
        "UID THREAD ORDEREDSUBJECT UTF-8 ALL",
        "UID FETCH 1 UID",
        "UID STORE 1 FLAGS ()",
        "UID COPY 1 x",
        "UID MOVE 1 x",
    ];
    assert_eq!(samples.len(), COMMANDS.len());
    for (sample, row) in samples.iter().zip(COMMANDS) {
        parsed(&format!("a {sample}"), Dialect::REV1, |_, command| {
            assert_eq!(command.row(), row, "{sample}");
            assert!(sample.starts_with(row.name));
            let states = match command {
                Command::Any(_) => States::Any,
                Command::NotAuthenticated(_) => States::NotAuthenticated,
                Command::Authenticated(_) => States::Authenticated,
                Command::Selected(_) => States::Selected,
            };
            assert_eq!(row.states, states, "{sample}");
        });
    }
}
