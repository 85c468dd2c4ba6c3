//! Framing: where commands end, whatever is in them.

use culver_imap::frame::TooLong;
use culver_imap::{Announced, Framer, Limits, Step};

const LIMITS: Limits = Limits { line: 100, inline_literal: 50, command: 200 };

/// What happened, in a form to compare.
#[derive(PartialEq, Debug)]
enum Did {
    Literal(u64, bool, bool),
    Aside(String),
    Command(String),
    Refused(Option<String>),
    TooLong(Option<String>),
}

#[derive(Clone, Copy)]
enum Decide {
    Inline,
    Aside,
    Refuse,
}

/// Feeds `input` in pieces, decides always alike. After a synchronizing literal is refused, its bytes do not come.
fn run(input: &[u8], piece: usize, decide: Decide) -> (Framer, Vec<Did>) {
    let mut framer = Framer::new(LIMITS);
    let mut did = Vec::new();
    let mut aside = Vec::new();
    for piece in input.chunks(piece) {
        let mut rest = piece;
        loop {
            let (used, step) = framer.push(rest);
            let tag = framer.tag().map(str::to_owned);
            match step {
                Step::More => {
                    assert_eq!(used, rest.len(), "More only once everything is used");
                    break;
                }
                Step::Literal(Announced { size, synchronizing, binary }) => {
                    did.push(Did::Literal(size, synchronizing, binary));
                    match decide {
                        Decide::Inline => framer.accept_inline(),
                        Decide::Aside => framer.set_aside(),
                        Decide::Refuse => framer.refuse(),
                    }
                }
                Step::Aside { len, end } => {
                    assert_eq!(len, used);
                    aside.extend_from_slice(&rest[..len]);
                    if end {
                        did.push(Did::Aside(String::from_utf8_lossy(&std::mem::take(&mut aside)).into()));
                    }
                }
                Step::Command => {
                    did.push(Did::Command(String::from_utf8_lossy(framer.take().bytes()).into()))
                }
                Step::Refused => did.push(Did::Refused(tag)),
                Step::TooLong => did.push(Did::TooLong(tag)),
            }
            rest = &rest[used..];
        }
    }
    (framer, did)
}

fn check(input: &str, decide: Decide, want: &[Did]) {
    for piece in 1..=input.len() {
        let (framer, did) = run(input.as_bytes(), piece, decide);
        assert_eq!(did, want, "{input:?} in pieces of {piece}");
        assert!(framer.is_idle(), "{input:?}");
    }
}

fn command(text: &str) -> Did {
    Did::Command(text.into())
}

#[test]
fn a_command_ends_with_its_line() {
    check("a NOOP\r\nb NOOP\nc\r\n", Decide::Inline, &[command("a NOOP"), command("b NOOP"), command("c")]);
    check("\r\na NOOP\r\n", Decide::Inline, &[command(""), command("a NOOP")]);
    check("a \r b\r\r\n", Decide::Inline, &[command("a \r b\r")]);
}

#[test]
fn a_literal_belongs_to_its_command() {
    check(
        "A001 LOGIN {11}\r\nFRED FOOBAR {7}\r\nfat man\r\nb NOOP\r\n",
        Decide::Inline,
        &[
            Did::Literal(11, true, false),
            Did::Literal(7, true, false),
            command("A001 LOGIN {11}\r\nFRED FOOBAR {7}\r\nfat man"),
            command("b NOOP"),
        ],
    );
    check(
        "a X {3+}\n\r\n{ ~{2+}\r\n\0\n\r\n",
        Decide::Inline,
        &[
            Did::Literal(3, false, false),
            Did::Literal(2, false, true),
            command("a X {3+}\n\r\n{ ~{2+}\r\n\0\n"),
        ],
    );
    check("a X {0}\r\n\r\n", Decide::Inline, &[Did::Literal(0, true, false), command("a X {0}\r\n")]);
    check("a X ({1}\r\nx)\r\n", Decide::Inline, &[Did::Literal(1, true, false), command("a X ({1}\r\nx)")]);
}

#[test]
fn what_only_looks_like_an_announcement_is_none() {
    for line in [
        "a LOGIN x \"{3}\"",
        "a LOGIN x \"y {3}",
        "a LOGIN x \"y\\\" {3}",
        "a LOGIN x {3} ",
        "a LOGIN x y{3}",
        "a LOGIN x {}",
        "a LOGIN x {+}",
        "a LOGIN x {3-}",
        "a LOGIN x {-3}",
        "a LOGIN x \"{3+}\"",
    ] {
        check(&format!("{line}\r\nb NOOP\r\n"), Decide::Inline, &[command(line), command("b NOOP")]);
    }
    // Bytes that do not wait are on their way, wherever they were announced (RFC 7888 §3).
    check(
        "a LOGIN x \"y{3+}\r\n\r\nz\r\nb NOOP\r\n",
        Decide::Inline,
        &[Did::Literal(3, false, false), command("a LOGIN x \"y{3+}\r\n\r\nz"), command("b NOOP")],
    );
    // Quotes begin anew after a literal.
    check(
        "a X \"{2+}\r\nab {1}\r\nc\r\n",
        Decide::Inline,
        &[Did::Literal(2, false, false), Did::Literal(1, true, false), command("a X \"{2+}\r\nab {1}\r\nc")],
    );
}

#[test]
fn literals_set_aside_come_out_whole() {
    check(
        "a APPEND x {5}\r\nhello {0+}\r\n ~{3+}\r\n\r\n\n\r\nb NOOP\r\n",
        Decide::Aside,
        &[
            Did::Literal(5, true, false),
            Did::Aside("hello".into()),
            Did::Literal(0, false, false),
            Did::Aside(String::new()),
            Did::Literal(3, false, true),
            Did::Aside("\r\n\n".into()),
            command("a APPEND x {5}\r\n {0+}\r\n ~{3+}\r\n"),
            command("b NOOP"),
        ],
    );
}

#[test]
fn refused_literals_leave_the_next_command_whole() {
    check(
        "a1 APPEND x {5}\r\nb NOOP\r\n",
        Decide::Refuse,
        &[Did::Literal(5, true, false), command("b NOOP")],
    );
    check(
        "a1 APPEND x {7+}\r\nx\r\nc d\n {2+}\r\n\r\n rest\r\nb NOOP\r\n",
        Decide::Refuse,
        &[Did::Literal(7, false, false), Did::Refused(Some("a1".into())), command("b NOOP")],
    );
    // A synchronizing literal in the rest of a refused command never comes.
    check(
        "a1 APPEND x {1+}\r\nx {5}\r\nb NOOP\r\n",
        Decide::Refuse,
        &[Did::Literal(1, false, false), Did::Refused(Some("a1".into())), command("b NOOP")],
    );
    // What does not fit is skipped, although accepted.
    let long = "x".repeat(51);
    check(
        &format!("a1 X {{51}}\r\n{long} y\r\nb NOOP\r\n"),
        Decide::Inline,
        &[Did::Literal(51, true, false), Did::Refused(Some("a1".into())), command("b NOOP")],
    );
    let (framer, did) = run(b"a {99999999999999999999+}\r\nxxx", 5, Decide::Refuse);
    assert_eq!(did, [Did::Literal(u64::MAX, false, false)]);
    assert!(!framer.is_idle());
}

#[test]
fn lines_that_are_too_long_are_skipped_with_their_literals() {
    let fits = format!("a {}", "x".repeat(96)); // 98 and the line end
    check(&format!("{fits}\r\nb NOOP\r\n"), Decide::Inline, &[command(&fits), command("b NOOP")]);
    let long = format!("t7 {}", "x".repeat(200));
    let gone = || Did::TooLong(Some("t7".into()));
    check(&format!("{long}\r\nb NOOP\r\n"), Decide::Inline, &[gone(), command("b NOOP")]);
    check(
        &format!("{long} {{9+}}\r\nb\r\nc\r\nd\r z\r\nb NOOP\r\n"),
        Decide::Inline,
        &[gone(), command("b NOOP")],
    );
    check(&format!("{long} {{9}}\r\nb NOOP\r\n"), Decide::Inline, &[gone(), command("b NOOP")]);
    // The limit holds for all lines of a command together.
    let half = "y".repeat(60);
    check(
        &format!("t7 {half} {{1+}}\r\nx {half}\r\nb NOOP\r\n"),
        Decide::Aside,
        &[Did::Literal(1, false, false), Did::Aside("x".into()), gone(), command("b NOOP")],
    );
    let nobody = "x".repeat(200);
    check(&format!("{nobody}\r\n"), Decide::Inline, &[Did::TooLong(None)]);
}

#[test]
fn a_command_has_a_limit_in_memory() {
    // Four literals of 50 octets would be more than 200 with their lines.
    let literal = format!("{{50+}}\r\n{} ", "x".repeat(50));
    let text = format!("t7 X {}\r\nb NOOP\r\n", literal.repeat(4));
    let (framer, did) = run(text.as_bytes(), 7, Decide::Inline);
    assert_eq!(did[did.len() - 2..], [Did::Refused(Some("t7".into())), command("b NOOP")]);
    assert!(framer.is_idle());
}

#[test]
fn an_idle_framer_holds_nothing() {
    let mut framer = Framer::new(LIMITS);
    assert!(framer.is_idle());
    assert_eq!(framer.push(b"a NO"), (4, Step::More));
    assert!(!framer.is_idle());
    assert_eq!(framer.partial(), b"a NO");
    assert_eq!(framer.push(b"OP\r\nb"), (4, Step::Command));
    assert_eq!(framer.push(b"b"), (0, Step::Command), "told until taken");
    assert_eq!(framer.take().bytes(), b"a NOOP");
    assert!(framer.is_idle() && framer.partial().is_empty());
    assert!(framer.take().bytes().is_empty());
}

#[test]
fn tag_and_verb_are_known_when_a_literal_is_announced() {
    let mut framer = Framer::new(LIMITS);
    let (_, step) = framer.push(b"A044 BLURDYBLOOP {40}\r\n");
    assert_eq!(step, Step::Literal(Announced { size: 40, synchronizing: true, binary: false }));
    assert_eq!((framer.tag(), framer.verb()), (Some("A044"), Some("BLURDYBLOOP")));
    assert!(framer.fits_inline());
    framer.refuse();
    assert_eq!(framer.tag(), Some("A044"));
    assert!(framer.is_idle());
    let (_, step) = framer.push(b"+x LOGIN {51}\r\n");
    assert!(matches!(step, Step::Literal(_)));
    assert_eq!((framer.tag(), framer.verb()), (None, None));
    assert!(!framer.fits_inline());
}

#[test]
fn single_lines_are_read_between_commands() {
    let lines = |input: &[u8], piece: usize| {
        let mut framer = Framer::new(LIMITS);
        let mut seen = Vec::new();
        for piece in input.chunks(piece) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (used, line) = framer.line(rest, 8);
                rest = &rest[used..];
                seen.extend(line);
            }
        }
        assert!(framer.is_idle());
        seen
    };
    let input = b"DONE\r\ndone\n\r\n12345678\r\n12345678\n123456789\n123456789\r\nlong long long long {3+}\r\nend\r\n";
    let ok = |line: &str| Ok(line.as_bytes().to_vec());
    for piece in 1..=input.len() {
        assert_eq!(
            lines(input, piece),
            [
                ok("DONE"),
                ok("done"),
                ok(""),
                ok("12345678"),
                ok("12345678"),
                Err(TooLong),
                Err(TooLong),
                Err(TooLong),
                ok("end")
            ],
            "in pieces of {piece}"
        );
    }
    // A command and a line in one packet.
    let mut framer = Framer::new(LIMITS);
    let input = b"a IDLE\r\nDONE\r\nb NOOP\r\n";
    let (used, step) = framer.push(input);
    assert_eq!((used, step), (8, Step::Command));
    framer.take();
    assert_eq!(framer.line(&input[8..], 100), (6, Some(Ok(b"DONE".to_vec()))));
    assert_eq!(framer.push(&input[14..]), (8, Step::Command));
}
