//! Fuzz targets: any bytes, no panic, and what must hold whatever came.

use crate::command::{Command, LONGEST_LINE, parse};
use crate::data::{Stuff, Unstuff};
use crate::line::{Lines, Step};
use crate::reply::Reader;

/// Lines, commands and replies. The first byte says how the rest is cut; uncut it must come to the same.
pub fn fuzz_lmtp(data: &[u8]) {
    let Some((&piece, data)) = data.split_first() else { return };
    let whole = lines(data, data.len());
    assert_eq!(lines(data, usize::from(piece)), whole);
    let mut reader = Reader::default();
    for line in whole.iter().flatten() {
        match parse(line) {
            Ok(Command::Mail(mail)) => {
                if let Some(address) = mail.from.address() {
                    let again = crate::Address::parse(&address.to_string());
                    assert_eq!(again.as_ref(), Some(address));
                }
            }
            Ok(_) => {}
            Err(reply) => {
                let mut out = Vec::new();
                reply.write(&mut out);
                assert!(reply.code >= 500 && out.ends_with(b"\r\n"));
            }
        }
        if reader.push(line).is_err() {
            reader = Reader::default();
        }
    }
}

fn lines(data: &[u8], piece: usize) -> Vec<Option<Vec<u8>>> {
    let mut lines = Lines::new(LONGEST_LINE);
    let mut out = Vec::new();
    for piece in data.chunks(piece.max(1)) {
        let mut rest = piece;
        loop {
            let (used, step) = lines.push(rest);
            rest = &rest[used..];
            match step {
                Step::More => break,
                Step::Line => out.push(Some(lines.line().to_vec())),
                Step::TooLong => out.push(None),
            }
        }
    }
    out
}

/// A message by DATA: the same in pieces, and what comes out can be sent again.
pub fn fuzz_lmtp_data(data: &[u8]) {
    let Some((&piece, data)) = data.split_first() else { return };
    let whole = message(data, data.len());
    assert_eq!(message(data, usize::from(piece)), whole);
    let (octets, _) = whole;
    let (mut stuff, mut wire) = (Stuff::default(), Vec::new());
    stuff.push(&octets, &mut wire);
    stuff.end(&mut wire);
    let (again, end) = message(&wire, wire.len());
    assert_eq!(end, Some(wire.len()));
    assert!(again.len() >= octets.len());
}

fn message(data: &[u8], piece: usize) -> (Vec<u8>, Option<usize>) {
    let (mut state, mut out, mut taken) = (Unstuff::default(), Vec::new(), 0);
    for piece in data.chunks(piece.max(1)) {
        let (n, end) = state.push(piece, &mut out);
        taken += n;
        if end {
            return (out, Some(taken));
        }
    }
    (out, None)
}
