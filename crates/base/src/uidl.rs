//! What POP3's unique identifiers are made of: the template that Dovecot calls `pop3_uidl_format`.
//!
//! It stands in the configuration, is applied by the store, and is asked for by POP3: these may not know each other.

use crate::{Uid, UidValidity};

/// A template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UidlFormat(Vec<Piece>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    Uid(Radix),
    UidValidity(Radix),
    /// The base of the file's name; a message's GUID is the same unless the record says otherwise.
    Base,
    Guid,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Radix {
    Decimal,
    /// With leading zeros up to this width.
    Hex(usize),
}

impl Default for UidlFormat {
    /// Dovecot's: `%08Xu%08Xv`.
    fn default() -> Self {
        Self(vec![Piece::Uid(Radix::Hex(8)), Piece::UidValidity(Radix::Hex(8))])
    }
}

impl UidlFormat {
    /// Reads `pop3_uidl_format`, of Dovecot 2.3 (`%08Xu%08Xv`, `%v-%u`, `%f`, `%g`) or 2.4 (`%{uid | hex(8)}`). `None`: it has
    /// something that a Maildir does not (`%m`), is not understood, or would be the same for all messages.
    pub fn parse(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let (piece, behind) = match after.strip_prefix('{') {
                Some(inner) => {
                    let (inner, behind) = inner.split_once('}')?;
                    (long(inner)?, behind)
                }
                None => short(after)?,
            };
            pieces.push(piece);
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        let tells_apart = pieces.iter().any(|p| matches!(p, Piece::Uid(_) | Piece::Base | Piece::Guid));
        tells_apart.then_some(Self(pieces))
    }

    /// Does it need the name of a message's file?
    pub fn needs_base(&self) -> bool {
        self.0.iter().any(|p| matches!(p, Piece::Base | Piece::Guid))
    }

    /// Appends the identifier of a message. `guid` is the base unless the record has another.
    pub fn make(&self, uid: Uid, validity: UidValidity, base: &[u8], guid: &[u8], out: &mut Vec<u8>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Uid(radix) => number(uid.get(), *radix, out),
                Piece::UidValidity(radix) => number(validity.get(), *radix, out),
                Piece::Base => out.extend_from_slice(base),
                Piece::Guid => out.extend_from_slice(guid),
            }
        }
    }
}

fn number(n: u32, radix: Radix, out: &mut Vec<u8>) {
    let (base, width) = match radix {
        Radix::Decimal => (10, 1),
        Radix::Hex(width) => (16, width.max(1)),
    };
    let mut digits = [b'0'; 64];
    let (mut at, mut rest) = (digits.len(), n);
    while rest > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[(rest % base) as usize];
        rest /= base;
    }
    out.extend_from_slice(&digits[at.min(digits.len() - width.min(digits.len()))..]);
}

/// `08Xu`, `u`, `f`: digits for the width, `X` for hexadecimal, the variable.
fn short(text: &str) -> Option<(Piece, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let width: usize = if digits == 0 { 0 } else { text[..digits].parse().ok().filter(|w| *w <= 64)? };
    let (radix, at) = match text[digits..].strip_prefix('X') {
        Some(_) => (Radix::Hex(width), digits + 1),
        None => (Radix::Decimal, digits),
    };
    let piece = match text[at..].bytes().next()? {
        b'u' => Piece::Uid(radix),
        b'v' => Piece::UidValidity(radix),
        b'f' if at == 0 => Piece::Base,
        b'g' if at == 0 => Piece::Guid,
        b'%' if at == 0 => Piece::Text("%".to_owned()),
        _ => return None,
    };
    Some((piece, &text[at + 1..]))
}

/// `uid | hex(8)`
fn long(text: &str) -> Option<Piece> {
    let mut words = text.split('|').map(str::trim);
    let name = words.next()?;
    let radix = match (words.next(), words.next()) {
        (None, _) => Radix::Decimal,
        (Some("hex"), None) => Radix::Hex(0),
        (Some(filter), None) => {
            let width = filter.strip_prefix("hex(")?.strip_suffix(')')?;
            Radix::Hex(width.trim().parse().ok().filter(|w| *w <= 64)?)
        }
        _ => return None,
    };
    Some(match name {
        "uid" => Piece::Uid(radix),
        "uidvalidity" => Piece::UidValidity(radix),
        "filename" => Piece::Base,
        "guid" => Piece::Guid,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(format: &str, uid: u32, guid: &str) -> String {
        let (uid, validity) = (Uid::new(uid).unwrap(), UidValidity::new(1_700_000_000).unwrap());
        let mut out = Vec::new();
        UidlFormat::parse(format).unwrap().make(uid, validity, b"a.b.c", guid.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    /// Dovecot's documentation of pop3_uidl_format names these templates and where they come from.
    #[test]
    fn templates() {
        for (template, want) in [
            ("%08Xu%08Xv", "000000296553f100"),
            ("%{uid | hex(8)}%{uidvalidity | hex(8)}", "000000296553f100"),
            ("%v-%u", "1700000000-41"),
            ("%u", "41"),
            ("%Xu", "29"),
            ("%v.%u", "1700000000.41"),
            ("UID%u-%v", "UID41-1700000000"),
            ("%f", "a.b.c"),
            ("%g", "guid"),
        ] {
            assert_eq!(made(template, 41, "guid"), want, "{template}");
        }
        assert_eq!(UidlFormat::parse("%08Xu%08Xv"), Some(UidlFormat::default()));
        for bad in ["", "%m", "%", "%{uid", "%{uid | md5}", "%999Xu", "%v", "same"] {
            assert_eq!(UidlFormat::parse(bad), None, "{bad}");
        }
    }
}
