//! IMAP data as a tree, so that answers can be compared by meaning and not by spelling.
//!
//! The parser takes what any server may send (RFC 9051 §9): atoms, numbers, quoted strings, literals, NIL and
//! parenthesised lists; `BODY[HEADER.FIELDS (A B)]<0>` is one atom. It knows nothing of commands. It is
//! generous where servers differ in spelling, and it fails with a text that shows the place. Lists may be nested as deep as
//! [`DEEPEST`], so that what walks a value need not fear for the stack.

use std::fmt;

/// Lists within lists.
pub const DEEPEST: usize = 500;

/// One value of a response.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// `NIL`
    Nil,
    /// Atom, number, flag, sequence set, section name.
    Atom(String),
    /// Quoted string or literal: the bytes, without the spelling.
    Str(Vec<u8>),
    /// A parenthesised list.
    List(Vec<Value>),
}

impl Value {
    /// The text of an atom.
    pub fn atom(&self) -> Option<&str> {
        match self {
            Value::Atom(a) => Some(a),
            _ => None,
        }
    }

    /// The bytes of an atom or a string, as in `astring`.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Atom(a) => Some(a.as_bytes()),
            Value::Str(s) => Some(s),
            Value::Nil => Some(b"NIL"),
            Value::List(_) => None,
        }
    }

    /// The text of an atom or a string, lossily.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes().unwrap_or_default()).into_owned()
    }

    /// The number that this atom is.
    pub fn number(&self) -> Option<u64> {
        self.atom()?.parse().ok()
    }

    /// The members of a list.
    pub fn list(&self) -> Option<&[Value]> {
        match self {
            Value::List(l) => Some(l),
            _ => None,
        }
    }

    /// Is it this atom, in any case?
    pub fn is(&self, word: &str) -> bool {
        self.atom().is_some_and(|a| a.eq_ignore_ascii_case(word))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("NIL"),
            Value::Atom(a) => f.write_str(a),
            Value::Str(s) if s.len() > 300 => write!(f, "\"{}...\"<{}>", s[..300].escape_ascii(), s.len()),
            Value::Str(s) => write!(f, "\"{}\"", s.escape_ascii()),
            Value::List(l) => {
                f.write_str("(")?;
                for (i, v) in l.iter().enumerate() {
                    write!(f, "{}{v}", if i == 0 { "" } else { " " })?;
                }
                f.write_str(")")
            }
        }
    }
}

/// The condition words of RFC 9051 §7.1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// OK
    Ok,
    /// NO
    No,
    /// BAD
    Bad,
    /// BYE
    Bye,
    /// PREAUTH
    PreAuth,
}

impl Kind {
    /// From its word, in any case.
    pub fn from_word(word: &str) -> Option<Kind> {
        Some(match word.to_ascii_uppercase().as_str() {
            "OK" => Kind::Ok,
            "NO" => Kind::No,
            "BAD" => Kind::Bad,
            "BYE" => Kind::Bye,
            "PREAUTH" => Kind::PreAuth,
            _ => return None,
        })
    }
}

/// One response of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Response {
    /// `+ text`
    Continue(String),
    /// `tag OK [CODE] text`; the tag is `*` for untagged ones.
    Status {
        /// `*` or a tag.
        tag: String,
        /// OK, NO, ...
        kind: Kind,
        /// What stood in brackets.
        code: Vec<Value>,
        /// Human text.
        text: String,
    },
    /// `* ...`
    Data(Vec<Value>),
}

/// Why bytes are no response.
#[derive(Debug)]
pub struct BadResponse(pub String);

impl fmt::Display for BadResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadResponse {}

/// Reads one response; `bytes` holds its line with all literals and may end in CRLF.
///
/// # Errors
/// With the offset, when it does not follow the common shape of responses.
pub fn parse_response(bytes: &[u8]) -> Result<Response, BadResponse> {
    let bytes = bytes.strip_suffix(b"\r\n").unwrap_or(bytes);
    if let Some(rest) = bytes.strip_prefix(b"+") {
        return Ok(Response::Continue(String::from_utf8_lossy(rest.trim_ascii_start()).into_owned()));
    }
    let mut p = Parser { bytes, at: 0 };
    let tag = p.word();
    if tag.is_empty() || !p.eat(b' ') {
        return Err(p.fail("a tag"));
    }
    let start = p.at;
    let word = p.word();
    if let Some(kind) = Kind::from_word(&word) {
        p.eat(b' ');
        let mut code = Vec::new();
        if p.eat(b'[') {
            code = p.values(b']')?;
            if !p.eat(b']') {
                return Err(p.fail("]"));
            }
            p.eat(b' ');
        }
        let text = String::from_utf8_lossy(&p.bytes[p.at..]).into_owned();
        return Ok(Response::Status { tag, kind, code, text });
    }
    if tag != "*" {
        return Err(p.fail("OK, NO or BAD after a tag"));
    }
    p.at = start;
    let values = p.values(b'\0')?;
    if p.at != p.bytes.len() {
        return Err(p.fail("the end of the line"));
    }
    Ok(Response::Data(values))
}

/// Reads a row of values that fills all of `bytes`.
///
/// # Errors
/// With the offset.
pub fn parse_values(bytes: &[u8]) -> Result<Vec<Value>, BadResponse> {
    let mut p = Parser { bytes, at: 0 };
    let values = p.values(b'\0')?;
    if p.at == bytes.len() { Ok(values) } else { Err(p.fail("a value")) }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn fail(&self, wanted: &str) -> BadResponse {
        let rest = &self.bytes[self.at.min(self.bytes.len())..];
        let shown = &rest[..rest.len().min(60)];
        BadResponse(format!(
            "at octet {}: wanted {wanted}, found {:?}",
            self.at,
            shown.escape_ascii().to_string()
        ))
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|b| b != b' ' && b != b'\r') {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned()
    }

    /// Values up to the end, `)` or `stop`. Lists are kept on a stack of our own, as tests nest deeply.
    fn values(&mut self, stop: u8) -> Result<Vec<Value>, BadResponse> {
        let mut stack: Vec<Vec<Value>> = Vec::new();
        let mut row: Vec<Value> = Vec::new();
        loop {
            match self.peek() {
                None => break,
                Some(b) if b == stop && stack.is_empty() => break,
                Some(b' ') => self.at += 1,
                Some(b'(') => {
                    if stack.len() == DEEPEST {
                        return Err(self.fail("lists that are not nested so deep"));
                    }
                    self.at += 1;
                    stack.push(std::mem::take(&mut row));
                }
                Some(b')') => {
                    let Some(outer) = stack.pop() else { break };
                    self.at += 1;
                    let inner = std::mem::replace(&mut row, outer);
                    row.push(Value::List(inner));
                }
                Some(b'"') => row.push(self.quoted()?),
                Some(b'{') => row.push(self.literal()?),
                Some(b'~') if self.bytes.get(self.at + 1) == Some(&b'{') => {
                    self.at += 1;
                    row.push(self.literal()?);
                }
                Some(_) => row.push(self.atom(stop)?),
            }
        }
        if stack.is_empty() { Ok(row) } else { Err(self.fail(")")) }
    }

    fn quoted(&mut self) -> Result<Value, BadResponse> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.fail("\"")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Value::Str(out));
                }
                Some(b'\\') => {
                    out.extend(self.bytes.get(self.at + 1));
                    self.at += 2;
                }
                Some(b) => {
                    out.push(b);
                    self.at += 1;
                }
            }
        }
    }

    fn literal(&mut self) -> Result<Value, BadResponse> {
        let head = literal_size(&self.bytes[self.at..]).ok_or_else(|| self.fail("{n}CRLF"))?;
        let start = self.at + head.1;
        let end = start + head.0;
        let bytes = self.bytes.get(start..end).ok_or_else(|| self.fail("all octets of a literal"))?;
        self.at = end;
        Ok(Value::Str(bytes.to_vec()))
    }

    fn atom(&mut self, stop: u8) -> Result<Value, BadResponse> {
        let start = self.at;
        while let Some(b) = self.peek() {
            match b {
                b' ' | b'(' | b')' | b'"' | b'{' => break,
                _ if b == stop => break,
                // A section with its list of header names belongs to the atom.
                b'[' => {
                    let len = memchr::memchr(b']', &self.bytes[self.at..]).ok_or_else(|| self.fail("]"))?;
                    self.at += len + 1;
                }
                _ => self.at += 1,
            }
        }
        if start == self.at {
            return Err(self.fail("a value"));
        }
        let text = String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
        Ok(if text.eq_ignore_ascii_case("NIL") { Value::Nil } else { Value::Atom(section(text)) })
    }
}

/// Section names are compared in one spelling: capitals, header names without quotes.
fn section(atom: String) -> String {
    let upper = atom.to_ascii_uppercase();
    if upper.starts_with("BODY[") || upper.starts_with("BINARY") { upper.replace('"', "") } else { atom }
}

/// `{n}` or `{n+}` at the start, with its CRLF: (n, length of all this).
fn literal_size(bytes: &[u8]) -> Option<(usize, usize)> {
    let close = memchr::memchr(b'}', bytes)?;
    let digits = bytes[1..close].strip_suffix(b"+").unwrap_or(&bytes[1..close]);
    let size = std::str::from_utf8(digits).ok()?.parse().ok()?;
    bytes[close + 1..].starts_with(b"\r\n").then_some((size, close + 3))
}

/// The size announced at the end of a line (`... {n}` CRLF), if a literal follows it.
pub fn announced(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\r\n")?;
    let open = memchr::memrchr(b'{', line)?;
    let digits = line[open + 1..].strip_suffix(b"}")?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(bytes: &[u8]) -> String {
        match parse_response(bytes).unwrap() {
            Response::Data(v) => Value::List(v).to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn shapes() {
        assert_eq!(
            data(b"* 1 FETCH (FLAGS (\\Seen) BODY[] {3}\r\na\r\n)\r\n"),
            "(1 FETCH (FLAGS (\\Seen) BODY[] \"a\\r\\n\"))"
        );
        assert_eq!(
            data(b"* 1 FETCH (BODY[HEADER.FIELDS (From \"To\")]<0> NIL)"),
            "(1 FETCH (BODY[HEADER.FIELDS (FROM TO)]<0> NIL))"
        );
        assert_eq!(data(b"* LIST () \"/\" \"a\\\"b\""), "(LIST () \"/\" \"a\\\"b\")");
        match parse_response(b"a OK [COPYUID 1 2:3 (4)] done [x]\r\n").unwrap() {
            Response::Status { tag, kind: Kind::Ok, code, text } => {
                assert_eq!((tag.as_str(), code.len(), text.as_str()), ("a", 4, "done [x]"));
            }
            other => panic!("{other:?}"),
        }
        assert!(
            matches!(parse_response(b"* OK [PERMANENTFLAGS (\\*)] x"), Ok(Response::Status { code, .. }) if code.len() == 2)
        );
        assert!(parse_response(b"* 1 FETCH (").is_err());
        assert_eq!(announced(b"x {12}\r\n"), Some(12));
        assert_eq!(announced(b"x {}\r\n"), None);
    }
}
