//! Functions for the fuzzer: any bytes, no panic, and what must hold for all of them.

use crate::structure::Structure;

/// Every part lies in its parent; any cut of the input gives the same structure.
pub fn scan(data: &[u8]) {
    let Some((cut, message)) = data.split_first() else { return };
    let whole = crate::scan(message);
    check(&whole, message.len() as u64);
    let at = usize::from(*cut).min(message.len());
    let mut scanner = crate::Scanner::new(crate::Limits::default());
    scanner.feed(&message[..at]);
    scanner.feed(&message[at..]);
    assert_eq!(scanner.finish(), whole, "a cut at {at} changes the structure");
    whole.envelope();
    whole.body();
    whole.body_structure();
}

fn check(structure: &Structure, size: u64) {
    assert_eq!(structure.size, size);
    for part in &structure.parts {
        assert!(part.header.start <= part.header.end && part.header.end <= size);
        assert!(part.body.start <= part.body.end && part.body.end <= size);
        if let Some(parent) = part.parent {
            let outer = &structure.parts[parent as usize].body;
            assert!(part.header.start >= outer.start && part.body.end <= outer.end, "{part:?} in {outer:?}");
        }
    }
}

/// Headers, addresses, words and dates.
pub fn header(data: &[u8]) {
    crate::envelope::envelope(data);
    crate::address::parse(data);
    crate::charset::decode_words(data);
    crate::date::sent_day(data);
    crate::fields::select(
        data,
        &crate::fields::Names::new(&["From", "Subject"]),
        crate::fields::Selection::Not,
    );
}

/// Transfer encodings and searching.
pub fn decode(data: &[u8]) {
    for encoding in [b"base64".as_slice(), b"quoted-printable", b"7bit", b"x"] {
        let _ = crate::transfer::decode(encoding, data);
    }
    let structure = crate::scan(data);
    crate::text::matches_text(data, &structure, "NEEDLE");
}

/// What is kept of a header and of a structure for SEARCH, SORT, THREAD, PREVIEW and BODY.
pub fn kept(data: &[u8]) {
    use crate::columns::{Column, Columns, columns};
    let made = columns(data);
    assert!(Columns::parse(&made).is_some());
    if let Some(c) = Columns::parse(data) {
        c.references().for_each(drop);
        c.text(Column::References);
        let _ = (c.sent(), c.sent_day(), c.is_reply());
    }
    crate::body::without_extension(data);
    crate::text::matches_parts(data, data, "NEEDLE");
    let structure = crate::scan(data);
    let body = crate::body::without_extension(&structure.body_structure());
    assert_eq!(body.as_deref(), Some(&structure.body()[..]));
    if let Some((part, range)) = crate::preview::source(&structure) {
        let (begin, end) = (range.start as usize, (range.end as usize).min(data.len()));
        assert!(
            crate::preview::preview(part, data.get(begin..end).unwrap_or_default()).chars().count() <= 200
        );
    }
}
