//! Fuzz targets: any bytes, no panic, and what must hold whatever came.

use crate::ext::utf8::Dialect;
use crate::frame::{Frame, Framer, Limits, Step};
use crate::parse::parse;

/// Limits small enough for a fuzzer to reach them.
pub(crate) const SMALL: Limits = Limits { line: 64, inline_literal: 16, command: 96 };

/// What a framer came to, with the bytes of literals joined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    Literal(u64),
    Aside(Vec<u8>),
    Command(Frame),
    Refused(Option<String>),
    TooLong(Option<String>),
}

/// Frames `data` in pieces, deciding on literals by their size, and says what came.
pub(crate) fn frames(data: &[u8], limits: Limits, piece: usize) -> Vec<Seen> {
    let mut framer = Framer::new(limits);
    let mut seen = Vec::new();
    let mut aside = Vec::new();
    for piece in data.chunks(piece.max(1)) {
        let mut input = piece;
        loop {
            let (used, step) = framer.push(input);
            let (taken, rest) = input.split_at(used);
            input = rest;
            match step {
                Step::More => {
                    assert!(input.is_empty());
                    break;
                }
                Step::Literal(literal) => {
                    seen.push(Seen::Literal(literal.size));
                    match literal.size % 3 {
                        _ if literal.size > 1000 => framer.refuse(),
                        0 => framer.accept_inline(),
                        1 => framer.set_aside(),
                        _ => framer.refuse(),
                    }
                }
                Step::Aside { len, end } => {
                    assert_eq!(len, taken.len());
                    aside.extend_from_slice(taken);
                    if end {
                        seen.push(Seen::Aside(std::mem::take(&mut aside)));
                    }
                }
                Step::Command => seen.push(Seen::Command(framer.take())),
                Step::Refused => seen.push(Seen::Refused(framer.tag().map(str::to_owned))),
                Step::TooLong => seen.push(Seen::TooLong(framer.tag().map(str::to_owned))),
            }
            assert!(framer.partial().len() <= limits.command);
        }
    }
    seen
}

/// The first byte says how the rest is cut; uncut it must come to the same.
pub fn fuzz_frame(data: &[u8]) {
    let Some((&piece, data)) = data.split_first() else { return };
    let whole = frames(data, SMALL, data.len());
    assert_eq!(frames(data, SMALL, usize::from(piece)), whole);
    for seen in &whole {
        if let Seen::Command(frame) = seen {
            both(frame);
        }
    }
}

/// The parser on any bytes, framed or not.
pub fn fuzz_parse(data: &[u8]) {
    both(&Frame::of(data));
}

fn both(frame: &Frame) {
    for dialect in [Dialect::REV1, Dialect::UTF8] {
        match parse(frame, dialect) {
            Ok(tagged) => assert!(!tagged.command.row().name.is_empty()),
            Err(error) => assert!(error.malformed.at <= frame.bytes().len()),
        }
    }
}
