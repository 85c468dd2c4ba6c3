//! Responses against the RFCs' examples.

use culver_base::{Bound, InternalDate, ModSeq, SeqNo, SequenceSet, SystemFlags, Uid, UidSet, UidValidity};
use culver_imap::Dialect;
use culver_imap::capability::{Circumstances, Literals, Login};
use culver_imap::command::{Numbering, StatusItem};
use culver_imap::response::{
    self, All, BodyName, Code, Condition, Esearch, FetchWriter, ListEntry, Namespace, Vanished,
};
use proptest::prelude::*;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("UTF-8")
}

fn line(want: &str, write: impl FnOnce(&mut Vec<u8>)) {
    assert_eq!(written(write), format!("{want}\r\n"));
}

fn set(ranges: &[(u32, u32)]) -> UidSet {
    let ranges = ranges.iter().map(|&(a, b)| (Bound::Number(a), Bound::Number(b))).collect();
    SequenceSet::Ranges(ranges).resolve(0)
}

fn seq(n: u32) -> SeqNo {
    SeqNo::new(n).expect("not 0")
}

fn uid(n: u32) -> Uid {
    Uid::new(n).expect("not 0")
}

fn mod_seq(n: u64) -> ModSeq {
    ModSeq::new(n).expect("63 bits")
}

#[test]
fn status_responses_and_their_codes() {
    use Condition::{Bad, Bye, No, Ok, PreAuth};
    let status = |want: &str, tag, condition, code: Option<Code<'_>>, text: &str| {
        line(want, |out| response::status(out, tag, condition, code.as_ref(), text));
    };
    status("a002 OK NOOP completed", Some("a002"), Ok, None, "NOOP completed");
    status("* BYE IMAP4rev2 Server logging out", None, Bye, None, "IMAP4rev2 Server logging out");
    status("* PREAUTH Hello", None, PreAuth, None, "Hello");
    status("a BAD -", Some("a"), Bad, None, "");
    status("a NO (x] y z?", Some("a"), No, None, "[x] y\nzü");
    status("a NO [LIMIT] [x]", Some("a"), No, Some(Code::Limit), "[x]");
    line("* OK hi", |out| response::greeting(out, Ok, None, "hi"));
    let validity = UidValidity::new(3_857_529_045).expect("not 0");
    let (source, destination) = (set(&[(304, 304), (319, 320)]), set(&[(3956, 3958)]));
    let caps = Circumstances {
        login: Login::Before,
        starttls: true,
        login_disabled: true,
        mechanisms: &["GSSAPI"],
        append_limit: None,
        literals: Literals::Plus,
        masked: &["IMAP4rev1", "LITERAL+", "ENABLE", "ID", "SASL-IR"],
    };
    for (code, want) in [
        (Code::Alert, "ALERT"),
        (Code::UidValidity(validity), "UIDVALIDITY 3857529045"),
        (Code::UidNext(uid(4392)), "UIDNEXT 4392"),
        (Code::Unseen(seq(12)), "UNSEEN 12"),
        (Code::PermanentFlags(&["\\Deleted", "\\Seen", "\\*"]), "PERMANENTFLAGS (\\Deleted \\Seen \\*)"),
        (Code::PermanentFlags(&[]), "PERMANENTFLAGS ()"),
        (Code::HighestModSeq(mod_seq(715_194_045_007)), "HIGHESTMODSEQ 715194045007"),
        (Code::NoModSeq, "NOMODSEQ"),
        (Code::Modified(&set(&[(7, 7), (9, 9)])), "MODIFIED 7,9"),
        (Code::BadCharset(&["UTF-8", "US-ASCII"]), "BADCHARSET (UTF-8 US-ASCII)"),
        (Code::BadCharset(&[]), "BADCHARSET"),
        (
            Code::AppendUid(UidValidity::new(38_505).expect("not 0"), &set(&[(3955, 3955)])),
            "APPENDUID 38505 3955",
        ),
        (
            Code::CopyUid {
                uid_validity: UidValidity::new(38_505).expect("not 0"),
                source: &source,
                destination: &destination,
            },
            "COPYUID 38505 304,319:320 3956:3958", // RFC 4315 §3
        ),
        (Code::Capability(&caps), "CAPABILITY IMAP4rev2 STARTTLS LOGINDISABLED AUTH=GSSAPI"),
        (Code::ReadOnly, "READ-ONLY"),
        (Code::ReadWrite, "READ-WRITE"),
        (Code::TryCreate, "TRYCREATE"),
        (Code::UnknownCte, "UNKNOWN-CTE"),
        (Code::Closed, "CLOSED"),
    ] {
        status(&format!("* OK [{want}] text"), None, Ok, Some(code), "text");
    }
    line("* CAPABILITY IMAP4rev2 STARTTLS LOGINDISABLED AUTH=GSSAPI", |out| response::capability(out, &caps));
    line("+ Ready for literal data", |out| response::continuation(out, "Ready for literal data"));
    line("+ ", |out| response::continuation(out, ""));
    line("* ENABLED CONDSTORE QRESYNC", |out| response::enabled(out, ["CONDSTORE", "QRESYNC"]));
    line("* ENABLED", |out| response::enabled(out, []));
    line("* ID NIL", |out| response::id(out, &[]));
    line(r#"* ID ("name" "Culver" "os" NIL)"#, |out| {
        response::id(out, &[("name", Some("Culver")), ("os", None)])
    });
}

#[test]
fn mailbox_responses() {
    line("* 172 EXISTS", |out| response::exists(out, 172));
    line("* 1 RECENT", |out| response::recent(out, 1));
    line("* 44 EXPUNGE", |out| response::expunge(out, seq(44)));
    line("* VANISHED (EARLIER) 41,43:116,118", |out| {
        response::vanished(out, Vanished::Earlier, &set(&[(41, 41), (43, 116), (118, 118)]));
    });
    line("* VANISHED 405,407,410,425", |out| {
        response::vanished(out, Vanished::Now, &[405, 407, 410, 425].map(uid).into_iter().collect());
    });
    assert_eq!(written(|out| response::vanished(out, Vanished::Now, &UidSet::new())), "");
    line("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Junk)", |out| {
        response::flags(out, response::system_flags(SystemFlags::ALL).chain(["$Junk"]));
    });
    let list =
        |want: &str, entry: ListEntry<'_>| line(want, |out| response::list(out, &entry, Dialect::REV1));
    let named = |name| ListEntry { separator: Some('/'), name, ..ListEntry::default() };
    list("* LIST (\\Noselect) \"/\" \"\"", ListEntry { attributes: &["\\Noselect"], ..named("") });
    list("* LIST () \"/\" ~/Mail/meetings", named("~/Mail/meetings"));
    list(
        "* LIST (\\NonExistent \\Sent) \"/\" \"Sent Mail\"",
        ListEntry { attributes: &["\\NonExistent", "\\Sent"], ..named("Sent Mail") },
    );
    list(
        "* LIST () \"/\" foo2 (\"CHILDINFO\" (\"SUBSCRIBED\"))",
        ListEntry { child_info: &["SUBSCRIBED"], ..named("foo2") },
    );
    list(
        "* LIST () \"/\" NewMailbox (\"OLDNAME\" (OldMailbox))",
        ListEntry { old_name: Some("OldMailbox"), ..named("NewMailbox") },
    );
    list(
        "* LIST () NIL x (\"CHILDINFO\" (\"SUBSCRIBED\") \"OLDNAME\" (\"y z\"))",
        ListEntry { child_info: &["SUBSCRIBED"], old_name: Some("y z"), name: "x", ..ListEntry::default() },
    );
    list("* LIST () \"\\\\\" \"nil\"", ListEntry { separator: Some('\\'), ..named("nil") });
    // RFC 3501 §5.1.3
    list("* LIST () \"/\" ~peter/mail/&U,BTFw-/&ZeVnLIqe-", named("~peter/mail/台北/日本語"));
    line("* LIST () \"/\" \"台北\"", |out| response::list(out, &named("台北"), Dialect::UTF8));
    list("* LIST () \"/\" R&-D", named("R&D"));
    line("* LIST () \"/\" \"R&D\"", |out| response::list(out, &named("R&D"), Dialect::UTF8));
    line("* LSUB () \"/\" x", |out| response::lsub(out, &named("x"), Dialect::REV1));
    let items = [(StatusItem::Messages, Some(231)), (StatusItem::UidNext, Some(44_292))];
    line("* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)", |out| {
        response::status_response(out, "blurdybloop", items, Dialect::REV1);
    });
    line("* STATUS \"a b\" (HIGHESTMODSEQ 7 APPENDLIMIT NIL)", |out| {
        let items = [(StatusItem::HighestModSeq, Some(7)), (StatusItem::AppendLimit, None)];
        response::status_response(out, "a b", items, Dialect::REV1);
    });
    // RFC 9051 §6.3.10
    let space = |prefix, separator| Namespace { prefix, separator: Some(separator) };
    line("* NAMESPACE ((\"\" \"/\")) NIL ((\"Public Folders/\" \"/\"))", |out| {
        let shared = [space("Public Folders/", '/')];
        response::namespace(out, &[space("", '/')], &[], &shared, Dialect::REV1);
    });
    line("* NAMESPACE ((\"\" \"/\")(\"#mh/\" \"/\")) NIL NIL", |out| {
        response::namespace(out, &[space("", '/'), space("#mh/", '/')], &[], &[], Dialect::UTF8);
    });
}

#[test]
fn search_responses() {
    line("* SEARCH 2 84 882", |out| response::search(out, [2, 84, 882], None));
    line("* SEARCH", |out| response::search(out, [], Some(mod_seq(5))));
    line("* SEARCH 2 5 23 (MODSEQ 917162500)", |out| {
        response::search(out, [2, 5, 23], Some(mod_seq(917_162_500)));
    });
    let none = Esearch {
        tag: Some("A284"),
        numbering: Numbering::Sequence,
        min: None,
        max: None,
        all: None,
        count: None,
        mod_seq: None,
    };
    let esearch = |want: &str, found: Esearch<'_>| line(want, |out| response::esearch(out, &found));
    esearch("* ESEARCH (TAG \"A284\")", none);
    esearch("* ESEARCH (TAG \"A284\")", Esearch { all: Some(All::Set(&UidSet::new())), ..none });
    esearch("* ESEARCH (TAG \"A284\") MIN 2 COUNT 3", Esearch { min: Some(2), count: Some(3), ..none });
    let found = set(&[(4, 18), (21, 21), (28, 28)]);
    esearch(
        "* ESEARCH UID COUNT 17 ALL 4:18,21,28",
        Esearch {
            tag: None,
            numbering: Numbering::Uid,
            count: Some(17),
            all: Some(All::Set(&found)),
            ..none
        },
    );
    esearch(
        "* ESEARCH (TAG \"A284\") UID MIN 7 MAX 3800 MODSEQ 9",
        Esearch {
            numbering: Numbering::Uid,
            min: Some(7),
            max: Some(3800),
            mod_seq: Some(mod_seq(9)),
            ..none
        },
    );
}

#[test]
fn fetch_responses() {
    let fetch = |want: &str, n: u32, write: &dyn Fn(&mut FetchWriter<'_>)| {
        line(want, |out| {
            let mut writer = FetchWriter::begin(out, seq(n));
            write(&mut writer);
            writer.end();
        });
    };
    fetch("* 23 FETCH (FLAGS (\\Seen) RFC822.SIZE 44827 UID 447)", 23, &|w| {
        w.flags_of(SystemFlags::SEEN, []);
        w.size(44_827);
        w.uid(uid(447));
    });
    fetch("* 7 FETCH (MODSEQ (12121231777) FLAGS ())", 7, &|w| {
        w.mod_seq(mod_seq(12_121_231_777));
        w.flags([]);
    });
    fetch("* 12 FETCH (INTERNALDATE \"17-Jul-1996 02:44:25 -0700\")", 12, &|w| {
        w.internal_date(InternalDate { unix: 837_596_665, offset: -420 });
    });
    fetch("* 1 FETCH (ENVELOPE (x) BODY (y) BODYSTRUCTURE (z))", 1, &|w| {
        w.envelope(b"(x)");
        w.body(b"(y)");
        w.body_structure(b"(z)");
    });
    let part = [1, 2];
    let binary = BodyName::Binary { part: &part, origin: Some(3) };
    fetch("* 1 FETCH (BINARY.SIZE[1.2] 9 BINARY[1.2]<3> {1}\r\nx)", 1, &|w| {
        w.binary_size(&part, 9);
        w.bytes(binary, b"x");
    });
    fetch("* 1 FETCH (BINARY[1.2]<3> ~{3}\r\na\0b BINARY[1.2]<3> NIL)", 1, &|w| {
        w.bytes(binary, b"a\0b");
        w.nil(binary);
    });
    // Streamed: the buffer is sent and emptied in between.
    let (mut sent, mut out) = (Vec::new(), Vec::new());
    let mut writer = FetchWriter::begin(&mut out, seq(4_294_967_295));
    writer.literal(BodyName::Rfc822(culver_imap::command::Rfc822::All), 5);
    sent.append(writer.out());
    sent.extend_from_slice(b"hello");
    writer.uid(uid(1));
    writer.end();
    sent.append(&mut out);
    assert_eq!(String::from_utf8_lossy(&sent), "* 4294967295 FETCH (RFC822 {5}\r\nhello UID 1)\r\n");
}

#[test]
fn strings_take_the_form_that_can_hold_them() {
    let string = |bytes: &[u8]| written(|out| response::string(out, bytes));
    assert_eq!(string(b""), "\"\"");
    assert_eq!(string(b"a\"b\\c"), "\"a\\\"b\\\\c\"");
    assert_eq!(string(b"a\r\nb"), "{4}\r\na\r\nb");
    assert_eq!(string("ü".as_bytes()), "{2}\r\nü");
    assert!(string(&[b'x'; 1001]).starts_with("{1001}\r\n"));
    assert_eq!(written(|out| response::nstring(out, None)), "NIL");
    let astring = |bytes: &[u8]| written(|out| response::astring(out, bytes));
    assert_eq!(astring(b"INBOX"), "INBOX");
    assert_eq!(astring(b"NiL"), "\"NiL\"");
    assert_eq!(astring(b"a%"), "\"a%\"");
    assert_eq!(astring(b""), "\"\"");
}

proptest! {
    #[test]
    fn numbers_read_as_the_standard_library_writes_them(n in any::<u64>(), shift in 0u32..64) {
        let n = n >> shift;
        prop_assert_eq!(written(|out| response::number(out, n)), n.to_string());
    }

    #[test]
    fn dates_read_as_base_writes_them(unix in 0i64..200_000_000_000, offset in -1439i16..1440) {
        let date = InternalDate { unix, offset };
        let mut out = Vec::new();
        let mut writer = FetchWriter::begin(&mut out, SeqNo::MIN);
        writer.internal_date(date);
        writer.end();
        prop_assert_eq!(String::from_utf8_lossy(&out), format!("* 1 FETCH (INTERNALDATE \"{date}\")\r\n"));
    }

    #[test]
    fn sets_read_as_base_writes_them(uids in proptest::collection::vec(1u32..50, 0..20)) {
        let set: UidSet = uids.into_iter().map(uid).collect();
        prop_assert_eq!(written(|out| response::uid_set(out, &set)), set.to_string());
    }

    /// What is for people never ends a line, and what follows the condition is never taken for a code.
    #[test]
    fn human_text_stays_on_its_line(text in ".{0,20}") {
        let got = written(|out| response::status(out, Some("a"), Condition::No, None, &text));
        prop_assert!(got.starts_with("a NO ") && got.ends_with("\r\n") && !got.starts_with("a NO ["));
        prop_assert!(got[..got.len() - 2].bytes().all(|b| matches!(b, b' '..=b'~')));
    }
}
