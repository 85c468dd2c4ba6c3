//! What SEARCH, SORT and THREAD want of a message's header: decoded, folded and compact, so that those of a whole
//! mailbox can lie in memory and nothing has to be parsed again.
//!
//! ```text
//! fields that are there, a bit each, u8   is it a reply u8
//! sent: seconds since 1970 i64 (i64::MIN: not known)   its day, in its own zone, since 1970 i32 (i32::MIN: not known)
//! lengths of the texts, u16 each   the texts
//! ```
//! Numbers are little-endian. Texts are UTF-8, folded by [`crate::text::fold`] where they are compared without
//! case. A text that is longer than [`LONGEST`] is left out; then [`Columns::is_partial`] says that the header has to be
//! asked.

use crate::address::{self, Address};
use crate::{charset, date, fields, subject, text};
use culver_base::date::Date;

/// Longest text that is kept, in octets.
pub const LONGEST: usize = 8 << 10;
/// References that are kept, the last ones.
const REFERENCES: usize = 100;

/// A text of the columns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Column {
    /// All Subject fields, as SEARCH compares them.
    Subject,
    /// All From fields.
    From,
    /// All To fields.
    To,
    /// All Cc fields.
    Cc,
    /// All Bcc fields.
    Bcc,
    /// The base subject (RFC 5256 §2.1).
    BaseSubject,
    /// The local part of the first address in From (RFC 5256 §3).
    FromMailbox,
    /// Of the first in To.
    ToMailbox,
    /// Of the first in Cc.
    CcMailbox,
    /// The display name of the first address in From, or the address (RFC 5957 §3).
    DisplayFrom,
    /// Of the first in To.
    DisplayTo,
    /// The message's own id, not folded.
    MessageId,
    /// The ids that it refers to, a line each, not folded (RFC 5256 §3, REFERENCES).
    References,
}

const COUNT: usize = Column::References as usize + 1;
const FIXED: usize = 2 + 8 + 4;
const TEXTS: usize = FIXED + 2 * COUNT;
/// The bit that says that a text was left out.
const PARTIAL: u8 = 1 << 7;

/// The fields that SEARCH asks for.
const SEARCHED: [(Column, &[u8]); 5] = [
    (Column::Subject, b"Subject"),
    (Column::From, b"From"),
    (Column::To, b"To"),
    (Column::Cc, b"Cc"),
    (Column::Bcc, b"Bcc"),
];

impl Column {
    /// The column of a field that SEARCH names.
    pub fn of_field(name: &str) -> Option<Self> {
        SEARCHED.iter().find(|(_, n)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(c, _)| *c)
    }
}

/// Makes the columns of a message's own header, in wire form.
pub fn columns(header: &[u8]) -> Vec<u8> {
    let mut texts: [String; COUNT] = Default::default();
    let (mut there, mut partial, mut reply) = (0u8, false, false);
    let mut first_of: [Option<Vec<u8>>; 5] = Default::default();
    let (mut own_id, mut references, mut in_reply_to) = (None, None, None);
    let mut sent = None;
    for field in fields::iter(header) {
        if let Some(i) = SEARCHED.iter().position(|(_, name)| field.is(name)) {
            let value = field.unfolded();
            let decoded = charset::decode_words(&value);
            let folded = text::fold(&decoded);
            let all = &mut texts[i];
            if there & 1 << i != 0 {
                // A text that is looked for has no line end in it.
                all.push('\n');
            } else if i == 0 {
                let normal = subject::normalise(&decoded);
                let base = subject::base(&normal);
                reply = base.is_reply;
                texts[Column::BaseSubject as usize] = text::fold(base.text);
            }
            texts[i].push_str(&folded);
            there |= 1 << i;
            first_of[i].get_or_insert(value);
        } else if field.is(b"Message-ID") {
            own_id = own_id.or_else(|| ids(&field.unfolded()).next());
        } else if field.is(b"References") {
            let found: Vec<String> = ids(&field.unfolded()).collect();
            references = references.or(Some(found)).filter(|f| !f.is_empty());
        } else if field.is(b"In-Reply-To") {
            in_reply_to = in_reply_to.or_else(|| ids(&field.unfolded()).next());
        } else if field.is(b"Date") {
            sent = Some(date::sent(&field.unfolded()));
        }
    }
    for (field, mailbox, display) in [
        (Column::From, Column::FromMailbox, Some(Column::DisplayFrom)),
        (Column::To, Column::ToMailbox, Some(Column::DisplayTo)),
        (Column::Cc, Column::CcMailbox, None),
    ] {
        let Some(value) = &first_of[field as usize] else { continue };
        let Some(first) = address::parse(value).into_iter().next() else { continue };
        texts[mailbox as usize] = text::fold(&lossy(first.mailbox.as_deref()));
        if let Some(display) = display {
            texts[display as usize] = text::fold(&displayed(&first));
        }
    }
    texts[Column::MessageId as usize] = own_id.unwrap_or_default();
    let mut references = references.unwrap_or_else(|| in_reply_to.into_iter().collect());
    references.drain(..references.len().saturating_sub(REFERENCES));
    texts[Column::References as usize] = references.join("\n");
    for text in &mut texts {
        if text.len() > LONGEST {
            partial = true;
            text.clear();
        }
    }
    let (unix, day) = sent.unwrap_or_default();
    let mut out = Vec::with_capacity(TEXTS + texts.iter().map(String::len).sum::<usize>());
    out.push(there | if partial { PARTIAL } else { 0 });
    out.push(u8::from(reply));
    out.extend_from_slice(&unix.unwrap_or(i64::MIN).to_le_bytes());
    let day = day.and_then(|d: Date| i32::try_from(d.days_since_epoch()).ok()).unwrap_or(i32::MIN);
    out.extend_from_slice(&day.to_le_bytes());
    for text in &texts {
        // LONGEST is below.
        out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    }
    for text in &texts {
        out.extend_from_slice(text.as_bytes());
    }
    out
}

fn lossy(octets: Option<&[u8]>) -> String {
    charset::decode_words(octets.unwrap_or_default())
}

/// RFC 5957 §3: the display name, decoded; without one the address as it stands.
fn displayed(address: &Address) -> String {
    let name = lossy(address.name.as_deref());
    if !name.trim().is_empty() {
        return name;
    }
    match (&address.mailbox, &address.host) {
        (Some(mailbox), Some(host)) => format!("{}@{}", lossy(Some(mailbox)), lossy(Some(host))),
        (Some(mailbox), None) => lossy(Some(mailbox)),
        _ => String::new(),
    }
}

/// The message ids in a field, without their angle brackets, quoting undone (RFC 5256 §3: two spellings of an id are
/// one id).
fn ids(value: &[u8]) -> impl Iterator<Item = String> {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            let begin = memchr::memchr(b'<', rest)?;
            rest = &rest[begin + 1..];
            let mut id = Vec::new();
            let (mut quoted, mut at, mut whole) = (false, 0, false);
            while let Some(&b) = rest.get(at) {
                at += 1;
                match b {
                    b'"' => quoted = !quoted,
                    b'\\' if quoted && at < rest.len() => {
                        id.push(rest[at]);
                        at += 1;
                    }
                    b'>' if !quoted => {
                        whole = true;
                        break;
                    }
                    b'<' if !quoted => {
                        at -= 1;
                        break;
                    }
                    b' ' | b'\t' if !quoted => (),
                    b => id.push(b),
                }
            }
            rest = &rest[at..];
            let has_both = memchr::memchr(b'@', &id).is_some_and(|i| i > 0 && i + 1 < id.len());
            if whole && has_both && !id.contains(&b'\n') {
                return Some(String::from_utf8_lossy(&id).into_owned());
            }
        }
    })
}

/// Columns that were made before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Columns<'a> {
    octets: &'a [u8],
}

impl<'a> Columns<'a> {
    /// From what [`columns`] made; `None` when it is something else.
    pub fn parse(octets: &'a [u8]) -> Option<Self> {
        let this = Self { octets };
        let all: usize = (0..COUNT).map(|i| this.len(i)).sum();
        (octets.len() >= TEXTS && octets.len() == TEXTS + all).then_some(this)
    }

    /// From octets of which [`Self::parse`] has held once. Of others the answers are wrong, but there are some.
    pub fn again(octets: &'a [u8]) -> Self {
        Self { octets }
    }

    fn len(self, i: usize) -> usize {
        let at = FIXED + 2 * i;
        self.octets.get(at..at + 2).map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])))
    }

    /// A text; empty when it is not there.
    pub fn text(self, column: Column) -> &'a [u8] {
        let i = column as usize;
        let begin = TEXTS + (0..i).map(|j| self.len(j)).sum::<usize>();
        self.octets.get(begin..begin + self.len(i)).unwrap_or_default()
    }

    /// Is there a field of this column's name? For those that SEARCH names.
    pub fn has(self, column: Column) -> bool {
        self.octets
            .first()
            .is_some_and(|bits| (column as usize) < SEARCHED.len() && bits & 1 << column as u8 != 0)
    }

    /// Was a text too long to be kept?
    pub fn is_partial(self) -> bool {
        self.octets.first().is_none_or(|bits| bits & PARTIAL != 0)
    }

    /// Is it a reply or a forward, as far as its subject tells (RFC 5256 §3)?
    pub fn is_reply(self) -> bool {
        self.octets.get(1) == Some(&1)
    }

    /// When it was sent, in seconds since 1970 (RFC 5256 §2.2).
    pub fn sent(self) -> Option<i64> {
        let octets = self.octets.get(2..10)?.try_into().ok()?;
        Some(i64::from_le_bytes(octets)).filter(|t| *t != i64::MIN)
    }

    /// The day in its Date field, time and zone ignored (RFC 9051 §6.4.4: SENTON and kin).
    pub fn sent_day(self) -> Option<Date> {
        let octets = self.octets.get(10..14)?.try_into().ok()?;
        let days = i32::from_le_bytes(octets);
        (days != i32::MIN).then(|| Date::from_days(i64::from(days)))
    }

    /// The ids that it refers to, the oldest first.
    pub fn references(self) -> impl Iterator<Item = &'a [u8]> {
        self.text(Column::References).split(|b| *b == b'\n').filter(|id| !id.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(header: &str) -> Vec<u8> {
        columns(header.replace('\n', "\r\n").as_bytes())
    }

    #[test]
    fn what_a_header_says() {
        let octets = of(
            "From: =?utf-8?q?J=C3=B6rg?= <Joerg@example.org>, b@c\nTo: plain@example.org\nSubject: Re: [x] Gr\u{fc}\u{df}e\nDate: Fri, 21 Nov 1997 09:55:06 -0600\nMessage-ID: <\"a b\"@c>\nReferences: <1@x> nonsense <2@x> <broken\nIn-Reply-To: <3@x>\n\n",
        );
        let c = Columns::parse(&octets).unwrap();
        let text = |column| std::str::from_utf8(c.text(column)).unwrap();
        assert_eq!(text(Column::From), text::fold("J\u{f6}rg <Joerg@example.org>, b@c"));
        assert_eq!(text(Column::FromMailbox), "JOERG");
        assert_eq!(text(Column::DisplayFrom), text::fold("J\u{f6}rg"));
        assert_eq!(text(Column::DisplayTo), "PLAIN@EXAMPLE.ORG");
        assert_eq!(text(Column::BaseSubject), text::fold("Gr\u{fc}\u{df}e"));
        assert!(c.is_reply() && !c.is_partial());
        // Arithmetic: 10186 days since 1970, 15:55:06 UTC.
        assert_eq!(c.sent(), Some(10_186 * 86_400 + 15 * 3600 + 55 * 60 + 6));
        assert_eq!(c.sent_day(), Date::new(1997, 11, 21));
        assert_eq!(text(Column::MessageId), "a b@c");
        assert_eq!(c.references().collect::<Vec<_>>(), [b"1@x", b"2@x"]);
        assert!(
            c.has(Column::From) && c.has(Column::Subject) && !c.has(Column::Cc) && !c.has(Column::References)
        );
    }

    #[test]
    fn without_references_the_first_id_replied_to_counts() {
        let octets = of("References: none\nIn-Reply-To: your mail <a@b> of <c@d>\n\n");
        let c = Columns::parse(&octets).unwrap();
        assert_eq!(c.references().collect::<Vec<_>>(), [b"a@b"]);
        assert_eq!((c.sent(), c.sent_day()), (None, None));
    }

    #[test]
    fn a_text_too_long_is_left_out_and_said_to_be() {
        let octets = of(&format!("Subject: {}\nFrom: a@b\n\n", "x".repeat(LONGEST + 1)));
        let c = Columns::parse(&octets).unwrap();
        assert!(c.is_partial() && c.has(Column::Subject));
        assert_eq!(c.text(Column::From), b"A@B");
    }

    proptest! {
        #[test]
        fn a_search_gets_the_same_answer(header in "((Subject|FROM|cc|X-Y): [ a-c=?ß]{0,9}\r\n){0,5}", needle in "[a-c ]{0,2}") {
            let octets = columns(header.as_bytes());
            let c = Columns::parse(&octets).unwrap();
            let folded = text::fold(&needle);
            for (column, name) in SEARCHED {
                let name = std::str::from_utf8(name).unwrap();
                let want = text::matches_header(header.as_bytes(), name, &folded);
                let found = c.has(column) && memchr::memmem::find(c.text(column), folded.as_bytes()).is_some();
                prop_assert_eq!(found, want, "{}", name);
            }
        }

        #[test]
        fn any_octets_are_read_or_refused(octets in any::<Vec<u8>>(), cut in any::<prop::sample::Index>()) {
            let real = of("From: a@b\nReferences: <a@b> <c@d>\n\n");
            prop_assert!(Columns::parse(&real[..cut.index(real.len())]).is_none());
            if let Some(c) = Columns::parse(&octets) {
                c.references().for_each(drop);
                c.text(Column::References);
            }
        }
    }
}
