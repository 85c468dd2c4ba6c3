//! Pieces: numbers, strings, sets, names.

use crate::ext::utf8::Dialect;
use crate::grammar::is_astring_char;
use culver_base::{UidSet, mutf7};

/// Strings longer than this go out as literals although they could be quoted, in octets: clients read long literals
/// better than long lines.
const MAX_QUOTED: usize = 1000;

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// `number`, `number64`
pub fn number(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    while n >= 100 {
        let pair = (n % 100) as usize * 2;
        n /= 100;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if n >= 10 {
        let pair = n as usize * 2;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        digits[at] = b'0' + n as u8;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Two digits, of a number below 100.
pub(super) fn pair(n: u64) -> [u8; 2] {
    let at = (n % 100) as usize * 2;
    [PAIRS[at], PAIRS[at + 1]]
}

/// `sequence-set`, `uid-set`. An empty set writes nothing; the caller must not send it.
pub fn uid_set(out: &mut Vec<u8>, set: &UidSet) {
    for (i, &(from, to)) in set.ranges().iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        number(out, u64::from(from));
        if from != to {
            out.push(b':');
            number(out, u64::from(to));
        }
    }
}

/// `quoted`, of printable bytes: backslash and quote are escaped.
pub fn quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let mut rest = bytes;
    while let Some(i) = memchr::memchr2(b'"', b'\\', rest) {
        out.extend_from_slice(&rest[..i]);
        out.extend_from_slice(&[b'\\', rest[i]]);
        rest = &rest[i + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// `{n}` and CRLF.
pub(super) fn literal_header(out: &mut Vec<u8>, len: u64) {
    out.push(b'{');
    number(out, len);
    out.extend_from_slice(b"}\r\n");
}

/// `string`: quoted where it can be, otherwise a literal.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() <= MAX_QUOTED && bytes.iter().all(|b| matches!(b, b' '..=b'~')) {
        quoted(out, bytes);
    } else {
        literal_header(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

/// `nstring`
pub fn nstring(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => string(out, bytes),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// `astring`: bare where it can be. `NIL` is quoted, for clients that look for it everywhere.
pub fn astring(out: &mut Vec<u8>, bytes: &[u8]) {
    let bare = !bytes.is_empty()
        && bytes.iter().all(|b| is_astring_char(*b) && *b != b']')
        && !bytes.eq_ignore_ascii_case(b"NIL");
    if bare { out.extend_from_slice(bytes) } else { string(out, bytes) }
}

/// `mailbox`: a name in Unicode, as the dialect writes it.
pub fn mailbox(out: &mut Vec<u8>, name: &str, dialect: Dialect) {
    if name.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'&') {
        astring(out, name.as_bytes());
    } else if !dialect.utf8 {
        astring(out, mutf7::encode(name).as_bytes());
    } else if name.len() <= MAX_QUOTED && !name.bytes().any(|b| b.is_ascii_control()) {
        quoted(out, name.as_bytes());
    } else {
        string(out, name.as_bytes());
    }
}

/// `text`: for people. Line ends and what is not ASCII are replaced, and an opening bracket too where it
/// would read as a response code.
pub(super) fn human(out: &mut Vec<u8>, text: &str, first: First) {
    let start = out.len();
    for c in text.chars() {
        out.push(match c {
            '[' if out.len() == start && first == First::MayBeCode => b'(',
            ' '..='~' => c as u8,
            c if c.is_control() => b' ',
            _ => b'?',
        });
    }
}

/// What a reader takes an opening bracket for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum First {
    /// The start of a response code.
    MayBeCode,
    /// A character like others.
    IsText,
}
