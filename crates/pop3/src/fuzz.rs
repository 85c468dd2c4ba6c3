//! Fuzz targets: any bytes, no panic, and what must hold whatever came.

use crate::command::parse;
use crate::content::{Nuls, Stuffer, Top};
use crate::frame::{Framer, LONGEST, Step};
use crate::response::{Status, Voice};
use crate::{Text, response, surrogate};

/// Framing and grammar: the first octet says how the rest is cut; uncut it must come to the same.
pub fn fuzz_pop3(data: &[u8]) {
    let Some((&piece, data)) = data.split_first() else { return };
    let whole = lines(data, data.len());
    assert_eq!(lines(data, usize::from(piece)), whole);
    for line in &whole {
        if let Ok(command) = parse(line) {
            assert!(!command.row().name.is_empty());
        }
        let mut out = Vec::new();
        let text = String::from_utf8_lossy(line);
        response::status(&mut out, Voice::default(), Status::Err, None, &Text::Other(&text));
        assert!(out.len() <= 512 && out.iter().filter(|b| **b == b'\n').count() == 1);
    }
}

fn lines(data: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let (mut framer, mut input, mut out) = (Framer::default(), Vec::new(), Vec::new());
    for piece in data.chunks(piece.max(1)) {
        input.extend_from_slice(piece);
        loop {
            match framer.step(&input) {
                Step::More => break,
                Step::Line { len, used } => {
                    out.push(input[..len].to_vec());
                    input.drain(..used);
                }
                Step::Dropped(n) | Step::TooLong(n) => drop(input.drain(..n)),
            }
        }
        assert!(input.len() < LONGEST);
    }
    out
}

/// A message on its way out: stuffing, TOP and surrogates, in pieces and whole.
pub fn fuzz_pop3_message(data: &[u8]) {
    let Some((&piece, data)) = data.split_first() else { return };
    let piece = usize::from(piece).max(1);
    assert_eq!(sent(data, piece), sent(data, data.len().max(1)));
    for lines in [0, 1, 3] {
        let cut = |piece: usize| {
            let mut top = Top::new(lines);
            data.chunks(piece).map(|p| top.take(p)).sum::<usize>()
        };
        assert_eq!(cut(piece), cut(data.len().max(1)));
    }
    if let Some(header) = surrogate::header(data)
        && std::str::from_utf8(data).is_ok()
    {
        assert!(header.is_ascii());
    }
}

fn sent(data: &[u8], piece: usize) -> Vec<u8> {
    let (mut stuffer, mut out, mut scratch) = (Stuffer::new(Nuls::Kept), Vec::new(), Vec::new());
    for piece in data.chunks(piece) {
        out.extend_from_slice(stuffer.piece(piece, &mut scratch));
    }
    out.extend_from_slice(stuffer.end());
    assert!(out == b".\r\n" || out.ends_with(b"\n.\r\n"));
    out
}
