//! BODY out of BODYSTRUCTURE: the same tree without extension data (RFC 9051 §7.5.2), for those who keep only the
//! longer one.

/// BODY as wire bytes, from BODYSTRUCTURE as this crate writes it. `None` when it is not one.
pub fn without_extension(body_structure: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader { octets: body_structure, at: 0 };
    let mut out = Vec::with_capacity(body_structure.len());
    // Where we are in each body that is open, from the outermost one.
    let mut open: Vec<Body> = Vec::new();
    loop {
        let token = reader.next()?;
        match (open.last_mut(), token) {
            (None, b"(") => open.push(Body::default()),
            (None, _) => return None,
            (Some(body), b"(") if body.fields == 0 => {
                // A body first: it is a multipart. Or one more of its parts.
                body.multipart = true;
                open.push(Body::default());
            }
            (Some(body), b"(") if body.takes_body() => {
                body.fields += 1;
                out.push(b' ');
                open.push(Body::default());
            }
            (Some(body), b")") => {
                // The least of each kind of body must have been there.
                if body.fields < if body.multipart { 1 } else { 7 } {
                    return None;
                }
                out.push(b')');
                open.pop();
                if open.is_empty() {
                    return (reader.at == body_structure.len()).then_some(out);
                }
                continue;
            }
            (Some(body), token) => {
                let whole = if token == b"(" { reader.list()? } else { token };
                if body.keeps(whole) {
                    if body.fields > 0 || body.multipart {
                        out.push(b' ');
                    }
                    out.extend_from_slice(whole);
                }
                body.fields += 1;
                continue;
            }
        }
        out.push(b'(');
    }
}

/// How far a body has been read.
#[derive(Default)]
struct Body {
    multipart: bool,
    /// Fields so far; of a multipart those behind its parts.
    fields: usize,
    kind: Kind,
}

#[derive(Default, PartialEq)]
enum Kind {
    #[default]
    Other,
    Text,
    /// `message`, subtype still to come.
    MessageMaybe,
    /// A message whose inner one may follow.
    Message,
    /// A message with its inner one.
    Whole,
}

impl Body {
    /// Is a parenthesis now the body of the message inside?
    fn takes_body(&self) -> bool {
        self.kind == Kind::Whole && self.fields == 8
    }

    /// Does BODY have this field?
    fn keeps(&mut self, field: &[u8]) -> bool {
        if self.multipart {
            return self.fields == 0;
        }
        match self.fields {
            0 if field.eq_ignore_ascii_case(b"\"text\"") => self.kind = Kind::Text,
            0 if field.eq_ignore_ascii_case(b"\"message\"") => self.kind = Kind::MessageMaybe,
            1 if self.kind == Kind::MessageMaybe
                && (field.eq_ignore_ascii_case(b"\"rfc822\"")
                    || field.eq_ignore_ascii_case(b"\"global\"")) =>
            {
                self.kind = Kind::Message;
            }
            7 if self.kind == Kind::Message && field.starts_with(b"(") => self.kind = Kind::Whole,
            _ => (),
        }
        match self.kind {
            Kind::Text => self.fields < 8,
            Kind::Whole => self.fields < 10,
            _ => self.fields < 7,
        }
    }
}

struct Reader<'a> {
    octets: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(n)?;
        let token = self.octets.get(self.at..end)?;
        self.at = end;
        Some(token)
    }

    /// A parenthesis, a string, a literal, or an atom.
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.octets.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
        let rest = self.octets.get(self.at..)?;
        match rest.first()? {
            b'(' | b')' => self.take(1),
            b'"' => {
                let mut end = 1;
                loop {
                    end += memchr::memchr2(b'"', b'\\', rest.get(end..)?)?;
                    match rest[end] {
                        b'"' => return self.take(end + 1),
                        _ => end += 2,
                    }
                }
            }
            b'{' => {
                let brace = memchr::memchr(b'}', rest)?;
                let n: usize = std::str::from_utf8(&rest[1..brace]).ok()?.parse().ok()?;
                self.take(n.checked_add(brace + 3)?)
            }
            _ => self.take(memchr::memchr3(b' ', b'(', b')', rest).unwrap_or(rest.len()).max(1)),
        }
    }

    /// A list whose parenthesis was just read: all of it, both parentheses included.
    fn list(&mut self) -> Option<&'a [u8]> {
        let begin = self.at - 1;
        let mut depth = 1usize;
        while depth > 0 {
            match self.next()? {
                b"(" => depth += 1,
                b")" => depth -= 1,
                _ => (),
            }
        }
        self.octets.get(begin..self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn extension_data_is_left_out() {
        // RFC 9051 §7.5.2: the second is what BODY says of the first.
        let long = br#"(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1152 23 NIL NIL NIL NIL)("message" "rfc822" NIL NIL NIL "7bit" 9 (NIL "a)" NIL NIL NIL NIL NIL NIL NIL NIL) ("image" "png" NIL NIL NIL "base64" 4 NIL ("attachment" ("filename" "x (1)")) NIL NIL) 2 NIL NIL NIL NIL) "MIXED" ("boundary" {3}
\")) NIL NIL NIL)"#;
        let long = String::from_utf8_lossy(long).replace("{3}\n", "{3}\r\n");
        let short = r#"(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 1152 23)("message" "rfc822" NIL NIL NIL "7bit" 9 (NIL "a)" NIL NIL NIL NIL NIL NIL NIL NIL) ("image" "png" NIL NIL NIL "base64" 4) 2) "MIXED")"#;
        assert_eq!(
            without_extension(long.as_bytes()).map(|b| String::from_utf8(b).unwrap()),
            Some(short.into())
        );
        for end in 0..long.len() {
            assert_eq!(without_extension(&long.as_bytes()[..end]), None, "{end}");
        }
    }

    proptest! {
        #[test]
        fn it_is_what_the_structure_says(
            parts in proptest::collection::vec((0usize..9, "[a-z\\\"(){} ]{0,6}"), 0..12)
        ) {
            let mut mail = String::new();
            for (i, (kind, text)) in parts.iter().enumerate() {
                let quoted = text.replace(['\\', '"'], "");
                mail += &match kind {
                    0..3 => format!("Content-Type: multipart/mixed; boundary=b{i}\r\n\r\n--b{i}\r\n"),
                    3 => format!("Content-Type: message/rfc822; a=\"{quoted}\"\r\n\r\n"),
                    4 => format!("Subject: {text}\r\n"),
                    5 => format!("Content-Type: image/png; name=\"{quoted}\"\r\nContent-ID: {text}\r\n\r\n{text}\r\n"),
                    6 => format!("\r\n--b{}\r\n", i / 2),
                    7 => format!("\r\n--b{}--\r\n", i / 2),
                    _ => format!("Content-Disposition: inline; filename=\"{quoted}\"\r\nContent-Description: {text}\r\n"),
                };
            }
            let s = crate::scan(mail.as_bytes());
            let body = without_extension(&s.body_structure());
            prop_assert_eq!(body.map(|b| String::from_utf8_lossy(&b).into_owned()), Some(String::from_utf8_lossy(&s.body()).into_owned()));
        }
    }
}
