//! The rules of RFC 9051 §9 that several commands share, one method per rule under the rule's own name.
//!
//! A [`Parser`] is base's cursor over the bytes of one frame, with the session's dialect and the literals that
//! were set aside. Strict where the RFC is: one SP is one space. Whatever is refused says where.

use crate::command::{Literal, Name};
use crate::ext::utf8::Dialect;
use crate::frame::Frame;
use culver_base::cursor::is_atom_char;
use culver_base::date::Date;
use culver_base::{Bound, Cursor, Flag, InternalDate, Keyword, Malformed, ModSeq, SequenceSet};
use memchr::memchr2;
use std::borrow::Cow;
use std::ops::{Deref, DerefMut};

/// `number64`: at most 2^63 - 1.
pub const NUMBER64_MAX: u64 = i64::MAX as u64;

/// The position in a frame, and what is needed to understand it.
#[derive(Clone, Copy, Debug)]
pub struct Parser<'a> {
    cursor: Cursor<'a>,
    frame: &'a Frame,
    /// How names and strings are to be read.
    pub dialect: Dialect,
}

impl<'a> Deref for Parser<'a> {
    type Target = Cursor<'a>;
    fn deref(&self) -> &Cursor<'a> {
        &self.cursor
    }
}

impl DerefMut for Parser<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.cursor
    }
}

/// A keyword of the grammar in capitals, as much of it as any of ours has. Longer ones are no word of ours
/// and read as the empty string.
#[derive(Clone, Copy, Debug)]
pub struct Word {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl Word {
    const MAX: usize = 24;

    fn new(run: &[u8]) -> Self {
        let mut word = Self { bytes: [0; Self::MAX], len: 0 };
        if let Some(to) = word.bytes.get_mut(..run.len()) {
            to.copy_from_slice(run);
            to.make_ascii_uppercase();
            word.len = run.len();
        }
        word
    }

    /// In capitals.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }
}

/// `ASTRING-CHAR`: an atom's characters and `]`.
pub const fn is_astring_char(b: u8) -> bool {
    is_atom_char(b) || b == b']'
}

/// `list-char`: an astring's characters and the wildcards.
pub const fn is_list_char(b: u8) -> bool {
    is_astring_char(b) || matches!(b, b'%' | b'*')
}

/// `tag`: any ASTRING-CHAR except `+`.
pub const fn is_tag_char(b: u8) -> bool {
    is_astring_char(b) && b != b'+'
}

/// Letters, digits and what joins them in our keywords. Stops at `[`, which an atom would swallow.
pub const fn is_word_char(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+')
}

impl<'a> Parser<'a> {
    /// At the start of `frame`.
    pub fn new(frame: &'a Frame, dialect: Dialect) -> Self {
        Self { cursor: Cursor::new(frame.bytes()), frame, dialect }
    }

    /// `SP`: exactly one.
    pub fn sp(&mut self) -> Result<(), Malformed> {
        self.expect(b' ', "a space")
    }

    /// A keyword of the grammar.
    pub fn word(&mut self, expected: &'static str) -> Result<Word, Malformed> {
        self.take_while1(is_word_char, expected).map(Word::new)
    }

    /// Nothing but spaces is left. Outlook Express and others leave them at the end of a line.
    pub fn end(&mut self) -> Result<(), Malformed> {
        self.take_while(|b| b == b' ');
        if self.is_at_end() { Ok(()) } else { Err(self.malformed("the end of the command")) }
    }

    /// Is nothing but spaces left?
    pub fn at_end(&self) -> bool {
        self.rest().iter().all(|b| *b == b' ')
    }

    /// A run of `accept`, which only takes ASCII, as text.
    fn ascii(&mut self, accept: impl Fn(u8) -> bool, expected: &'static str) -> Result<&'a str, Malformed> {
        let at = self.malformed(expected);
        std::str::from_utf8(self.take_while1(accept, expected)?).map_err(|_| at)
    }

    /// `tag`
    pub fn tag(&mut self) -> Result<&'a str, Malformed> {
        self.ascii(is_tag_char, "a tag")
    }

    /// `atom`
    pub fn atom(&mut self, expected: &'static str) -> Result<&'a str, Malformed> {
        self.ascii(is_atom_char, expected)
    }

    /// `number`: 32 bits.
    pub fn number32(&mut self, expected: &'static str) -> Result<u32, Malformed> {
        Ok(self.number(u64::from(u32::MAX), expected)? as u32)
    }

    /// `nz-number`
    pub fn nz_number(&mut self, expected: &'static str) -> Result<u32, Malformed> {
        let at = self.malformed(expected);
        match self.number32(expected)? {
            0 => Err(at),
            n => Ok(n),
        }
    }

    /// `number64`
    pub fn number64(&mut self, expected: &'static str) -> Result<u64, Malformed> {
        self.number(NUMBER64_MAX, expected)
    }

    /// `nz-number64`
    pub fn nz_number64(&mut self, expected: &'static str) -> Result<u64, Malformed> {
        let at = self.malformed(expected);
        match self.number64(expected)? {
            0 => Err(at),
            n => Ok(n),
        }
    }

    /// `literal`, and `literal8` (RFC 3516): the announcement which the framer has seen, and what it announced.
    pub fn literal(&mut self) -> Result<Literal<'a>, Malformed> {
        let binary = self.take(b'~');
        self.expect(b'{', "a literal")?;
        let size = self.number64("the size of a literal")?;
        self.take(b'+');
        self.expect(b'}', "} after the size of a literal")?;
        self.take(b'\r');
        self.expect(b'\n', "the bytes of a literal")?;
        if let Some((index, aside)) = self.frame.aside_at(self.position()) {
            return Ok(Literal::SetAside { index, size: aside.size, binary });
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let bytes = self.take_n(size, "the bytes of a literal")?;
        Ok(Literal::Inline { bytes, binary })
    }

    /// `quoted`. In UTF-8 dialect its bytes must be UTF-8 (RFC 6855 §3); before, any 8-bit byte passes, as
    /// clients send passwords and search texts so.
    fn quoted(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        const WANT: &str = "a quoted string";
        const CLOSE: &str = "the end of a quoted string";
        let at = self.malformed(WANT);
        self.expect(b'"', WANT)?;
        let mut text: Cow<'a, [u8]> = Cow::Borrowed(&[]);
        loop {
            let rest = self.rest();
            let n = memchr2(b'"', b'\\', rest).ok_or(self.malformed(CLOSE))?;
            let run = self.take_n(n, CLOSE)?;
            if run.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
                return Err(at);
            }
            match &mut text {
                Cow::Borrowed([]) => text = Cow::Borrowed(run),
                text => text.to_mut().extend_from_slice(run),
            }
            if self.take(b'"') {
                break;
            }
            self.expect(b'\\', CLOSE)?;
            match self.peek() {
                Some(b @ (b'"' | b'\\')) => {
                    self.take(b);
                    text.to_mut().push(b);
                }
                _ => return Err(self.malformed("\" or \\ after \\")),
            }
        }
        if self.dialect.utf8 && std::str::from_utf8(&text).is_err() {
            return Err(Malformed { expected: "UTF-8 in a quoted string", ..at });
        }
        Ok(text)
    }

    /// `string`. Its literal must be in the frame and hold no NUL.
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, Malformed> {
        let at = self.malformed("a string");
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => match self.literal()? {
                Literal::Inline { bytes, .. } if !bytes.contains(&0) => Ok(Cow::Borrowed(bytes)),
                Literal::Inline { .. } => Err(Malformed { expected: "a literal without NUL", ..at }),
                Literal::SetAside { .. } => Err(Malformed { expected: "a shorter literal", ..at }),
            },
            _ => Err(at),
        }
    }

    /// `nstring`
    pub fn nstring(&mut self) -> Result<Option<Cow<'a, [u8]>>, Malformed> {
        if self.take_nocase("NIL") { Ok(None) } else { self.string().map(Some) }
    }

    /// `astring`
    pub fn astring(&mut self, expected: &'static str) -> Result<Cow<'a, [u8]>, Malformed> {
        match self.peek() {
            Some(b'"' | b'{') => self.string(),
            _ => self.take_while1(is_astring_char, expected).map(Cow::Borrowed),
        }
    }

    /// `charset`: an astring that needed no escapes.
    pub fn charset(&mut self) -> Result<&'a str, Malformed> {
        let at = self.malformed("a charset");
        match self.astring("a charset")? {
            Cow::Borrowed(bytes) if !bytes.is_empty() => std::str::from_utf8(bytes).map_err(|_| at),
            _ => Err(at),
        }
    }

    /// `mailbox`
    pub fn mailbox(&mut self) -> Result<Name, Malformed> {
        let bytes = self.astring("a mailbox name")?;
        Ok(self.dialect.name(&bytes))
    }

    /// `mailbox` as the reference of LIST, which names no mailbox.
    pub fn reference(&mut self) -> Result<String, Malformed> {
        let bytes = self.astring("a reference name")?;
        Ok(self.dialect.text(&bytes))
    }

    /// `list-mailbox`
    pub fn list_mailbox(&mut self) -> Result<String, Malformed> {
        let bytes = match self.peek() {
            Some(b'"' | b'{') => self.string()?,
            _ => Cow::Borrowed(self.take_while1(is_list_char, "a mailbox name or pattern")?),
        };
        Ok(self.dialect.text(&bytes))
    }

    /// `flag`, as its text.
    pub fn flag(&mut self) -> Result<&'a str, Malformed> {
        let start = self.rest();
        self.take(b'\\');
        let name = self.atom("a flag")?;
        let n = usize::from(start.first() == Some(&b'\\')) + name.len();
        Ok(std::str::from_utf8(&start[..n]).unwrap_or(name))
    }

    /// `flag-list`, what is in it handed to `each` with where it stood.
    pub fn flag_list(
        &mut self,
        mut each: impl FnMut(&'a str, Malformed) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.list("a list of flags", List::MayBeEmpty, |p| {
            let at = p.malformed("a flag that can be set");
            each(p.flag()?, at)
        })
    }

    /// `"(" item *(SP item) ")"`
    pub fn list(
        &mut self,
        expected: &'static str,
        empty: List,
        mut item: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.expect(b'(', expected)?;
        if empty == List::MayBeEmpty && self.take(b')') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take(b')') {
                return Ok(());
            }
            self.expect(b' ', "a space or )")?;
        }
    }

    /// `flag-keyword`
    pub fn flag_keyword(&mut self) -> Result<Keyword, Malformed> {
        let at = self.malformed("a keyword of at most 255 bytes");
        Keyword::new(self.atom("a keyword")?).ok_or(at)
    }

    /// `seq-number`
    fn seq_number(&mut self) -> Result<Bound, Malformed> {
        if self.take(b'*') {
            return Ok(Bound::Star);
        }
        self.nz_number("a message number or *").map(Bound::Number)
    }

    /// `sequence-set`, with `$` of RFC 5182.
    pub fn sequence_set(&mut self) -> Result<SequenceSet, Malformed> {
        if self.take(b'$') {
            return Ok(SequenceSet::Saved);
        }
        let mut ranges = Vec::new();
        loop {
            let from = self.seq_number()?;
            let to = if self.take(b':') { self.seq_number()? } else { from };
            ranges.push((from, to));
            if !self.take(b',') {
                return Ok(SequenceSet::Ranges(ranges));
            }
        }
    }

    /// `date`
    pub fn date(&mut self) -> Result<Date, Malformed> {
        let quoted = self.take(b'"');
        let date = Date::parse(self)?;
        if quoted {
            self.expect(b'"', "\" after the date")?;
        }
        Ok(date)
    }

    /// `date-time`
    pub fn date_time(&mut self) -> Result<InternalDate, Malformed> {
        self.expect(b'"', "a date-time")?;
        let date = InternalDate::parse(self)?;
        self.expect(b'"', "\" after the date-time")?;
        Ok(date)
    }

    /// `mod-sequence-valzer`; also stands in for `mod-sequence-value`, for 0 there can mean but one thing.
    pub fn mod_sequence(&mut self) -> Result<ModSeq, Malformed> {
        let at = self.malformed("a mod-sequence");
        ModSeq::new(self.number64("a mod-sequence")?).ok_or(at)
    }

    /// `partial`
    pub fn partial(&mut self) -> Result<Option<(u64, u64)>, Malformed> {
        if !self.take(b'<') {
            return Ok(None);
        }
        let first = self.number64("the first octet")?;
        self.expect(b'.', ". between first octet and count")?;
        let count = self.nz_number64("a count of octets from 1")?;
        self.expect(b'>', "> after the count of octets")?;
        Ok(Some((first, count)))
    }

    /// `section-part`
    pub fn section_part(&mut self) -> Result<Vec<u32>, Malformed> {
        let mut part = vec![self.nz_number("a part number")?];
        // A dot before a letter belongs to section-text.
        while let [b'.', b'0'..=b'9', ..] = self.rest() {
            self.take(b'.');
            part.push(self.nz_number("a part number")?);
        }
        Ok(part)
    }
}

/// May a list be `()`?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum List {
    /// Yes.
    MayBeEmpty,
    /// At least one.
    NotEmpty,
}

/// Adds `flag` if it is one that a message can carry. Flag extensions (`\Foo`) are dropped: no client may count
/// on those that PERMANENTFLAGS does not name (RFC 9051 §7.1).
pub fn add_flag(flags: &mut Vec<Flag>, flag: &str, at: Malformed) -> Result<(), Malformed> {
    match Flag::parse(flag) {
        Some(flag) => flags.push(flag),
        None if flag.starts_with('\\') => {}
        None => return Err(at),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The classes as RFC 9051 §9 and RFC 5234 §B.1 define them.
    #[test]
    fn byte_classes_are_the_rfcs() {
        for b in 0..=u8::MAX {
            let ctl = b <= 0x1f || b == 0x7f;
            let char_ = (0x01..=0x7f).contains(&b);
            let list_wildcards = b == b'%' || b == b'*';
            let quoted_specials = b == b'"' || b == b'\\';
            let resp_specials = b == b']';
            let atom_specials = matches!(b, b'(' | b')' | b'{' | b' ')
                || ctl
                || list_wildcards
                || quoted_specials
                || resp_specials;
            let atom_char = char_ && !atom_specials;
            let astring_char = atom_char || resp_specials;
            assert_eq!(is_atom_char(b), atom_char, "ATOM-CHAR {b:#x}");
            assert_eq!(is_astring_char(b), astring_char, "ASTRING-CHAR {b:#x}");
            assert_eq!(is_list_char(b), atom_char || list_wildcards || resp_specials, "list-char {b:#x}");
            assert_eq!(is_tag_char(b), astring_char && b != b'+', "tag {b:#x}");
            // Our keywords must end where atoms do, if not before.
            assert!(!is_word_char(b) || atom_char, "word {b:#x}");
        }
    }

    #[test]
    fn words_are_read_in_capitals_up_to_their_length() {
        let frame = Frame::of("header.Fields.not[");
        let mut p = Parser::new(&frame, Dialect::REV1);
        assert_eq!(p.word("").map(|w| w.as_str().to_owned()).as_deref(), Ok("HEADER.FIELDS.NOT"));
        assert_eq!(p.peek(), Some(b'['));
        assert_eq!(Word::new(&[b'A'; 25]).as_str(), "");
    }

    /// `TEXT-CHAR` in quotes: every CHAR but CR and LF, quoted-specials escaped; 8-bit passes before UTF-8.
    #[test]
    fn quoted_strings_hold_what_the_abnf_lets_them() {
        for b in 0..=u8::MAX {
            let frame = Frame::of([b'"', b, b'"']);
            let plain = Parser::new(&frame, Dialect::REV1).string().is_ok_and(|s| *s == [b]);
            assert_eq!(plain, !matches!(b, 0 | b'\r' | b'\n' | b'"' | b'\\'), "{b:#x}");
            let frame = Frame::of([b'"', b'\\', b, b'"']);
            let escaped = Parser::new(&frame, Dialect::REV1).string().is_ok_and(|s| *s == [b]);
            assert_eq!(escaped, matches!(b, b'"' | b'\\'), "{b:#x}");
        }
    }
}
