//! Properties: any bytes, any cut, and strings that come back.

use culver_base::Malformed;
use culver_imap::command::{Authenticated, Command, Name, NotAuthenticated};
use culver_imap::fuzz::{fuzz_frame, fuzz_parse};
use culver_imap::{Dialect, Frame, Framer, Limits, Step, parse, response};
use proptest::prelude::*;

/// Bytes that look like IMAP: words and signs of the grammar, thrown together.
fn imap_like() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "a ",
        "UID ",
        "FETCH ",
        "STORE ",
        "SEARCH ",
        "APPEND ",
        "LIST ",
        "SELECT ",
        "LOGIN ",
        "STATUS ",
        "CREATE ",
        "BODY",
        "[",
        "]",
        ".PEEK",
        "HEADER.FIELDS ",
        "1",
        "2:*",
        "$",
        ",",
        "<0.1>",
        "(",
        ")",
        "\"",
        "\\",
        "{0}",
        "{1+}",
        "{2}",
        "~{3+}",
        "{4+}\r\n",
        "{6}\r\n",
        "\r\n",
        "\n",
        "\r",
        " ",
        "x",
        "NIL",
        "FLAGS ",
        "RETURN ",
        "QRESYNC ",
        "CHANGEDSINCE 1",
        "NOT ",
        "OR ",
        "\0",
        "\u{fc}",
        "1-Feb-2000",
        "UTF8 ",
        "USE ",
        "\\Seen",
        "&",
        "%",
        "*",
    ]);
    proptest::collection::vec(word, 0..24).prop_map(|words| words.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn any_bytes_are_framed_and_parsed_without_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz_frame(&data);
        fuzz_parse(&data);
    }

    #[test]
    fn bytes_that_look_like_imap_too(data in imap_like(), piece in 1u8..9) {
        fuzz_frame(&[&[piece], data.as_slice()].concat());
        fuzz_parse(&[b"a ", data.as_slice()].concat());
    }

    /// What our `astring` writes, our parser reads: also as a literal that comes through the framer.
    #[test]
    fn strings_come_back(user in proptest::collection::vec(1u8.., 0..40), password in "[ -~]{0,12}") {
        let mut line = b"a LOGIN ".to_vec();
        response::astring(&mut line, &user);
        line.push(b' ');
        response::string(&mut line, password.as_bytes());
        line.extend_from_slice(b"\r\n");
        let frame = framed(&line);
        match parse(&frame, Dialect::REV1).map(|tagged| tagged.command) {
            Ok(Command::NotAuthenticated(NotAuthenticated::Login { user: u, password: p })) => {
                prop_assert_eq!(u.as_ref(), user.as_slice());
                prop_assert_eq!(p.as_ref(), password.as_bytes());
            }
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }

    #[test]
    fn names_come_back(name in "[ -~äß台\u{1F4E7}]{0,12}", utf8 in any::<bool>()) {
        let dialect = Dialect { utf8 };
        let mut line = b"a DELETE ".to_vec();
        response::mailbox(&mut line, &name, dialect);
        line.extend_from_slice(b"\r\n");
        let frame = framed(&line);
        match parse(&frame, dialect).map(|tagged| tagged.command) {
            Ok(Command::Authenticated(Authenticated::Delete(Name::Known(known)))) => {
                prop_assert_eq!(known, culver_base::MailboxName::new(&name));
            }
            other => return Err(TestCaseError::fail(format!("{other:?}"))),
        }
    }

    /// The position of a refusal lies in the command, and there is a word for what is missing.
    #[test]
    fn a_refusal_points_into_the_command(data in imap_like()) {
        let frame = Frame::of(data.as_slice());
        if let Err(error) = parse(&frame, Dialect::REV1) {
            let Malformed { at, expected } = error.malformed;
            prop_assert!(at <= data.len() && !expected.is_empty());
        }
    }
}

fn framed(bytes: &[u8]) -> Frame {
    let mut framer = Framer::new(Limits::default());
    let mut input = bytes;
    loop {
        let (used, step) = framer.push(input);
        input = &input[used..];
        match step {
            Step::Literal(_) => framer.accept_inline(),
            Step::Command => return framer.take(),
            other => panic!("{other:?}"),
        }
    }
}
