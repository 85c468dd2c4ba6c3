//! Content-Type, Content-Disposition and kin (RFC 2045 §5.1, RFC 2183, RFC 2231): tokens and parameters.

use crate::wire::{nstring, string};

/// A value with parameters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Parameterised {
    /// The value itself: `text/plain`, `attachment`.
    pub value: Vec<u8>,
    /// Names and values, continuations joined (RFC 2231 §3).
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What Content-Type says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MediaType {
    /// `text`
    pub kind: Vec<u8>,
    /// `plain`
    pub subtype: Vec<u8>,
    /// Names and values, continuations joined (RFC 2231 §3).
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What the header of a part says of its content.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Content {
    /// Content-Type; `None` when the field is missing or makes no sense.
    pub media: Option<MediaType>,
    /// Content-ID
    pub id: Option<Vec<u8>>,
    /// Content-Description
    pub description: Option<Vec<u8>>,
    /// Content-Transfer-Encoding
    pub encoding: Option<Vec<u8>>,
    /// Content-MD5
    pub md5: Option<Vec<u8>>,
    /// Content-Disposition
    pub disposition: Option<Parameterised>,
    /// Content-Language
    pub language: Vec<Vec<u8>>,
    /// Content-Location
    pub location: Option<Vec<u8>>,
}

impl Content {
    /// Reads one field, if it is one of these. Later ones replace earlier ones.
    pub fn field(&mut self, name: &[u8], value: &[u8]) {
        let is = |n: &str| name.eq_ignore_ascii_case(n.as_bytes());
        let text = || Some(value.to_vec());
        if is("Content-Type") {
            // Of several the first counts, as with Dovecot: the later ones were often added on the way.
            self.media = self.media.take().or_else(|| content_type(value));
        } else if is("Content-ID") {
            self.id = text();
        } else if is("Content-Description") {
            self.description = text();
        } else if is("Content-Transfer-Encoding") {
            let mut t = Tokens::new(value);
            t.white();
            let token = t.token();
            self.encoding = self.encoding.take().or_else(|| Some(token.to_vec()).filter(|e| !e.is_empty()));
        } else if is("Content-MD5") {
            self.md5 = text();
        } else if is("Content-Disposition") {
            let mut t = Tokens::new(value);
            t.white();
            let value = t.token().to_vec();
            if !value.is_empty() {
                self.disposition = Some(Parameterised { value, parameters: t.parameters() });
            }
        } else if is("Content-Language") {
            let mut t = Tokens::new(value);
            self.language = t.list();
        } else if is("Content-Location") {
            self.location = text();
        }
    }

    /// A parameter of Content-Type.
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        let media = self.media.as_ref()?;
        media
            .parameters
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, v)| v.as_slice())
    }

    /// Is the type this?
    pub fn is_type(&self, kind: &str) -> bool {
        self.media.as_ref().is_some_and(|m| m.kind.eq_ignore_ascii_case(kind.as_bytes()))
    }

    /// Does its Content-Disposition say that it is not to be shown in place?
    pub fn is_attachment(&self) -> bool {
        self.disposition.as_ref().is_some_and(|d| d.value.eq_ignore_ascii_case(b"attachment"))
    }

    /// Is the subtype this?
    pub fn is_subtype(&self, sub: &str) -> bool {
        self.media.as_ref().is_some_and(|m| m.subtype.eq_ignore_ascii_case(sub.as_bytes()))
    }
}

fn content_type(value: &[u8]) -> Option<MediaType> {
    let mut t = Tokens::new(value);
    t.white();
    let kind = t.token().to_vec();
    t.white();
    if kind.is_empty() || !t.take(b'/') {
        return None;
    }
    t.white();
    let subtype = t.token().to_vec();
    if subtype.is_empty() {
        return None;
    }
    Some(MediaType { kind, subtype, parameters: t.parameters() })
}

/// `body-fld-param`: parameters or NIL.
pub fn write_parameters(out: &mut Vec<u8>, parameters: &[(Vec<u8>, Vec<u8>)], default_charset: bool) {
    let needs_charset =
        default_charset && !parameters.iter().any(|(n, _)| n.eq_ignore_ascii_case(b"charset"));
    if parameters.is_empty() && !needs_charset {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for (i, (name, value)) in parameters.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        string(out, name);
        out.push(b' ');
        string(out, value);
    }
    if needs_charset {
        if !parameters.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(b"\"charset\" \"us-ascii\"");
    }
    out.push(b')');
}

/// MD5, disposition, language and location: the end of BODYSTRUCTURE.
pub fn write_extension(out: &mut Vec<u8>, content: &Content) {
    match &content.disposition {
        None => out.extend_from_slice(b"NIL"),
        Some(d) => {
            out.push(b'(');
            string(out, &d.value);
            out.push(b' ');
            write_parameters(out, &d.parameters, false);
            out.push(b')');
        }
    }
    out.push(b' ');
    match content.language.as_slice() {
        [] => out.extend_from_slice(b"NIL"),
        many => {
            out.push(b'(');
            for (i, tag) in many.iter().enumerate() {
                if i > 0 {
                    out.push(b' ');
                }
                string(out, tag);
            }
            out.push(b')');
        }
    }
    out.push(b' ');
    nstring(out, content.location.as_deref());
}

struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Tokens<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }
    fn take(&mut self, byte: u8) -> bool {
        match self.rest.split_first() {
            Some((b, rest)) if *b == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }
    /// White space and comments (RFC 5322 §3.2.2), nested without recursion.
    fn white(&mut self) {
        let mut depth = 0usize;
        let mut i = 0;
        while let Some(b) = self.rest.get(i) {
            match b {
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b'\\' if depth > 0 => i += 1,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if depth > 0 => {}
                _ => break,
            }
            i += 1;
        }
        self.rest = self.rest.get(i..).unwrap_or_default();
    }
    fn run(&mut self, accept: impl Fn(u8) -> bool) -> &'a [u8] {
        let n = self.rest.iter().position(|b| !accept(*b)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(n);
        self.rest = rest;
        run
    }
    /// `token` (RFC 2045 §5.1); 8-bit octets pass.
    fn token(&mut self) -> &'a [u8] {
        self.run(|b| b > 0x20 && b != 0x7f && !b"()<>@,;:\\\"/[]?=".contains(&b))
    }
    /// A parameter's value without quotes: what stands there up to the next `;`, as sloppy mail has it.
    fn value(&mut self) -> Vec<u8> {
        if self.take(b'"') {
            let mut out = Vec::new();
            while let Some((b, rest)) = self.rest.split_first() {
                self.rest = rest;
                match b {
                    b'"' => return out,
                    b'\\' => {
                        if let Some((b, rest)) = self.rest.split_first() {
                            self.rest = rest;
                            out.push(*b);
                        }
                    }
                    b => out.push(*b),
                }
            }
            return out;
        }
        if self.rest.starts_with(b"=?") {
            // An encoded word, which has no place here (RFC 2047 §5) and is met all the same.
            return self.run(|b| b > 0x20 && b != 0x7f && b != b';').to_vec();
        }
        self.run(|b| b > 0x20 && b != 0x7f && !b"()<>@,;:\\\"/[]".contains(&b)).to_vec()
    }
    fn parameters(&mut self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut plain = Vec::new();
        let mut continued: Vec<(Vec<u8>, u32, bool, Vec<u8>)> = Vec::new();
        loop {
            // Whatever stands before the next `;` is passed over.
            self.run(|b| b != b';');
            if !self.take(b';') || plain.len() + continued.len() > 1000 {
                break;
            }
            self.white();
            let name = self.token().to_vec();
            self.white();
            if name.is_empty() || !self.take(b'=') {
                continue;
            }
            self.white();
            let value = self.value();
            match continuation(&name) {
                Some((base, index, extended)) => continued.push((base, index, extended, value)),
                None => plain.push((name, value)),
            }
        }
        join(&mut plain, continued);
        plain
    }
    fn list(&mut self) -> Vec<Vec<u8>> {
        let mut tags = Vec::new();
        loop {
            self.white();
            let tag = self.token().to_vec();
            if !tag.is_empty() && tags.len() < 100 {
                tags.push(tag);
            }
            self.white();
            if !self.take(b',') {
                return tags;
            }
        }
    }
}

/// `name*0`, `name*1*` (RFC 2231 §3).
fn continuation(name: &[u8]) -> Option<(Vec<u8>, u32, bool)> {
    let (name, extended) = match name.strip_suffix(b"*") {
        Some(n) => (n, true),
        None => (name, false),
    };
    let star = name.iter().position(|b| *b == b'*')?;
    let digits = std::str::from_utf8(&name[star + 1..]).ok()?;
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((name[..star].to_vec(), digits.parse().ok()?, extended))
}

/// Joins continuations in their order; where one of them is extended, so is the whole (its name keeps the star).
fn join(plain: &mut Vec<(Vec<u8>, Vec<u8>)>, mut continued: Vec<(Vec<u8>, u32, bool, Vec<u8>)>) {
    continued.sort_by(|a, b| a.0.to_ascii_lowercase().cmp(&b.0.to_ascii_lowercase()).then(a.1.cmp(&b.1)));
    let mut at = 0;
    while at < continued.len() {
        let name = continued[at].0.clone();
        let mut end = at;
        while end < continued.len()
            && continued[end].0.eq_ignore_ascii_case(&name)
            && continued[end].1 as usize == end - at
        {
            end += 1;
        }
        let pieces = &continued[at..end];
        if pieces.is_empty() {
            // A gap: this piece stands for itself under its own name.
            let (name, index, extended, value) = &continued[at];
            let star = if *extended { "*" } else { "" };
            let own = [name.as_slice(), format!("*{index}{star}").as_bytes()].concat();
            plain.push((own, value.clone()));
            at += 1;
            continue;
        }
        let any = pieces.iter().any(|p| p.2);
        let mut value = Vec::new();
        for (i, (_, _, extended, piece)) in pieces.iter().enumerate() {
            if any && !extended {
                if i == 0 {
                    value.extend_from_slice(b"''");
                }
                for b in piece {
                    if b.is_ascii_alphanumeric() || b"!#$&+-.^_`{|}~".contains(b) {
                        value.push(*b);
                    } else {
                        value.extend_from_slice(format!("%{b:02x}").as_bytes());
                    }
                }
            } else {
                value.extend_from_slice(piece);
            }
        }
        plain.push((if any { [name.as_slice(), b"*"].concat() } else { name }, value));
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(value: &str) -> Vec<(String, String)> {
        let kind = content_type(value.as_bytes()).unwrap();
        let s = |b: Vec<u8>| String::from_utf8(b).unwrap();
        kind.parameters.into_iter().map(|(a, b)| (s(a), s(b))).collect()
    }

    #[test]
    fn the_rfcs_examples() {
        // RFC 2231 §3 and §4.1.
        let p = parameters(
            "message/external-body; access-type=URL; URL*0=\"ftp://\"; URL*1=\"cs.utk.edu/pub/moore/x\"",
        );
        assert_eq!(p[1], ("URL".into(), "ftp://cs.utk.edu/pub/moore/x".into()));
        let p = parameters(
            "application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20; \
             title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"",
        );
        assert_eq!(p[0].0, "title*");
        assert!(p[0].1.starts_with("us-ascii'en'This%20is%20even%20more%20%2A%2A%2Afun"));
        let p = parameters("text/plain (a (nested) comment) ; charset = \"us\\\"ascii\" (x); format=flowed");
        assert_eq!(p, [("charset".into(), "us\"ascii".into()), ("format".into(), "flowed".into())]);
    }
}
