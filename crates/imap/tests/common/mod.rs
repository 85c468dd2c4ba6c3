//! What the tables share.
#![allow(dead_code, reason = "each test binary uses its part")]

use culver_base::{Bound, MailboxName, SequenceSet};
use culver_imap::command::{Authenticated, Command, Name, Selected};
use culver_imap::{Dialect, Frame, Framer, Limits, ParseError, Step, parse};

/// Frames one command; every literal is taken into the frame. Line ends are CRLF.
pub fn framed(text: &str) -> Frame {
    let bytes = format!("{text}\r\n");
    let mut framer = Framer::new(Limits::default());
    let mut input = bytes.as_bytes();
    loop {
        let (used, step) = framer.push(input);
        input = &input[used..];
        match step {
            Step::Literal(_) => framer.accept_inline(),
            Step::Command => {
                assert!(input.is_empty(), "{text:?} is more than one command");
                return framer.take();
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
}

/// Hands the parsed command to `check`.
pub fn parsed<R>(text: &str, dialect: Dialect, check: impl FnOnce(&str, Command<'_>) -> R) -> R {
    let frame = framed(text);
    match parse(&frame, dialect) {
        Ok(tagged) => check(tagged.tag, tagged.command),
        Err(error) => panic!("{text:?}: {error}"),
    }
}

pub fn authenticated<R>(text: &str, check: impl FnOnce(Authenticated<'_>) -> R) -> R {
    parsed(text, Dialect::REV1, |_, command| match command {
        Command::Authenticated(command) => check(command),
        other => panic!("{text:?}: {other:?}"),
    })
}

pub fn selected<R>(text: &str, check: impl FnOnce(Selected<'_>) -> R) -> R {
    parsed(text, Dialect::REV1, |_, command| match command {
        Command::Selected(command) => check(command),
        other => panic!("{text:?}: {other:?}"),
    })
}

pub fn refused(text: &str, dialect: Dialect) -> ParseError {
    let frame = framed(text);
    match parse(&frame, dialect) {
        Ok(tagged) => panic!("{text:?}: {tagged:?}"),
        Err(error) => error,
    }
}

pub fn name(text: &str) -> Name {
    Name::Known(MailboxName::new(text))
}

/// A set of plain ranges; 0 stands for `*`.
pub fn set(ranges: &[(u32, u32)]) -> SequenceSet {
    let bound = |n| if n == 0 { Bound::Star } else { Bound::Number(n) };
    SequenceSet::Ranges(ranges.iter().map(|&(a, b)| (bound(a), bound(b))).collect())
}
