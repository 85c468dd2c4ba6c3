//! Addresses of the envelope (RFC 5321 §4.1.2, with UTF-8 by RFC 6531 §3.3).
//!
//! What an address means (case, `+detail`, whose domain it is) is for the directory. Here it is taken apart, and can be
//! written again: [`Address::to_string`] is the Mailbox of the grammar, quoted only where it must be.
//!
//! More lenient than the grammar in one point: dots may stand anywhere in the local part. Such senders exist (Japanese
//! mobile mail), and their mail has come this far.

use culver_base::Cursor;
use std::fmt;

/// The longest path with its angle brackets (RFC 5321 §4.5.3.1.3: 256), with room for UTF-8.
pub const LONGEST_PATH: usize = 1024;

/// An address of the envelope.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    /// The local part as it is meant: without quotes and backslashes.
    pub local: String,
    /// What stands behind the `@`; `None` when there is none (`<postmaster>`, and local users of simple machines).
    pub domain: Option<Domain>,
}

/// What stands behind the `@`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Domain {
    /// A name, as it was written.
    Name(String),
    /// An address literal, without its brackets.
    Literal(String),
}

/// The sender of the envelope.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ReversePath {
    /// `<>`: a message about a message, to which nobody may answer.
    Null,
    /// An address.
    Address(Address),
}

impl ReversePath {
    /// The address, if it is one.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Null => None,
            Self::Address(address) => Some(address),
        }
    }
}

/// Without brackets; empty for the null path.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl Address {
    /// From a Mailbox (`anna@example.org`) or a bare local part, without brackets. `None` when it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let mut c = Cursor::new(text.as_bytes());
        let address = mailbox(&mut c)?;
        c.is_at_end().then_some(address)
    }

    /// Does it hold anything but ASCII?
    pub fn is_international(&self) -> bool {
        let domain = match &self.domain {
            Some(Domain::Name(d) | Domain::Literal(d)) => d.is_ascii(),
            None => true,
        };
        !(domain && self.local.is_ascii())
    }

    /// The domain's name, if it has one.
    pub fn domain_name(&self) -> Option<&str> {
        match &self.domain {
            Some(Domain::Name(name)) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = !self.local.is_empty() && self.local.bytes().all(|b| is_atext(b) || b == b'.');
        if plain {
            f.write_str(&self.local)?;
        } else {
            f.write_str("\"")?;
            for c in self.local.chars() {
                if matches!(c, '"' | '\\') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
            f.write_str("\"")?;
        }
        match &self.domain {
            Some(Domain::Name(name)) => write!(f, "@{name}"),
            Some(Domain::Literal(literal)) => write!(f, "@[{literal}]"),
            None => Ok(()),
        }
    }
}

/// A Reverse-path: `<>` or a Path.
pub fn reverse_path(c: &mut Cursor<'_>) -> Option<ReversePath> {
    if c.rest().starts_with(b"<>") {
        c.take(b'<');
        c.take(b'>');
        return Some(ReversePath::Null);
    }
    path(c).map(ReversePath::Address)
}

/// A Path. A source route is passed over (RFC 5321 §3.6.1 and appendix C).
pub fn path(c: &mut Cursor<'_>) -> Option<Address> {
    let start = c.position();
    if !c.take(b'<') {
        return None;
    }
    if c.peek() == Some(b'@') {
        loop {
            c.take(b'@');
            domain(c)?;
            match c.next_byte("a source route").ok()? {
                b',' if c.peek() == Some(b'@') => {}
                b':' => break,
                _ => return None,
            }
        }
    }
    let address = mailbox(c)?;
    (c.take(b'>') && c.position() - start <= LONGEST_PATH).then_some(address)
}

fn mailbox(c: &mut Cursor<'_>) -> Option<Address> {
    let local = if c.take(b'"') { quoted(c)? } else { text(c.take_while(|b| is_atext(b) || b == b'.'))? };
    if local.is_empty() {
        return None;
    }
    let domain = if c.take(b'@') { Some(domain(c)?) } else { None };
    Some(Address { local, domain })
}

/// The rest of a Quoted-string.
fn quoted(c: &mut Cursor<'_>) -> Option<String> {
    let mut out = Vec::new();
    loop {
        match c.next_byte("the end of a quoted string").ok()? {
            b'"' => return String::from_utf8(out).ok(),
            b'\\' => match c.next_byte("a quoted pair").ok()? {
                b @ 0x20..=0x7e => out.push(b),
                _ => return None,
            },
            b @ (0x20..=0x7e | 0x80..) => out.push(b),
            _ => return None,
        }
    }
}

fn domain(c: &mut Cursor<'_>) -> Option<Domain> {
    if c.take(b'[') {
        // RFC 5321 §4.1.3: dcontent.
        let literal = text(c.take_while(|b| matches!(b, 0x21..=0x5a | 0x5e..=0x7e)))?;
        return (c.take(b']') && !literal.is_empty()).then_some(Domain::Literal(literal));
    }
    // Underscores are no part of the grammar, and of the world they are.
    let name = text(c.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | 0x80..)))?;
    (!name.is_empty()).then_some(Domain::Name(name))
}

fn text(octets: &[u8]) -> Option<String> {
    std::str::from_utf8(octets).ok().map(str::to_owned)
}

/// `atext` of RFC 5322 §3.2.3, with UTF8-non-ascii.
fn is_atext(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b) || b >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<Address> {
        let mut c = Cursor::new(text.as_bytes());
        let address = path(&mut c)?;
        c.is_at_end().then_some(address)
    }

    #[test]
    fn the_rfcs_examples_and_more() {
        // RFC 5321 §4.1.1.3, §4.1.2, §4.1.3; RFC 6531 §3.3.
        let table = [
            ("<userx@y.foo.org>", "userx", Some("y.foo.org"), "userx@y.foo.org"),
            ("<@hosta.int,@jkl.org:userc@d.bar.org>", "userc", Some("d.bar.org"), "userc@d.bar.org"),
            ("<Postmaster>", "Postmaster", None, "Postmaster"),
            (
                "<\"Joe.\\\\Blow\"@example.org>",
                "Joe.\\Blow",
                Some("example.org"),
                "\"Joe.\\\\Blow\"@example.org",
            ),
            ("<\"anna\"@example.org>", "anna", Some("example.org"), "anna@example.org"),
            ("<\"a b\"@example.org>", "a b", Some("example.org"), "\"a b\"@example.org"),
            ("<a..b.@example.org>", "a..b.", Some("example.org"), "a..b.@example.org"),
            ("<jürgen@bücher.example>", "jürgen", Some("bücher.example"), "jürgen@bücher.example"),
        ];
        for (written, local, domain, again) in table {
            let address = read(written).unwrap();
            assert_eq!((address.local.as_str(), address.domain_name()), (local, domain), "{written}");
            assert_eq!(address.to_string(), again);
        }
        assert_eq!(
            read("<a@[IPv6:2001:db8::1]>").unwrap().domain,
            Some(Domain::Literal("IPv6:2001:db8::1".into()))
        );
        for bad in [
            "<>", "a@b", "<a@b", "<a@>", "<@b>", "<a b@c>", "<a@b>x", "<a@b c>", "<\"a@b>", "<a@[]>",
            "<a\r@b>",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        let long = format!("<{}@example.org>", "a".repeat(2000));
        assert_eq!(read(&long), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(local in "[ -~äß]{1,30}", domain in prop::option::of("[a-z]{1,9}(\\.[a-z]{1,9})?")) {
            let address = Address { local, domain: domain.map(Domain::Name) };
            prop_assert_eq!(read(&format!("<{address}>")), Some(address.clone()));
            prop_assert_eq!(Address::parse(&address.to_string()), Some(address));
        }
    }
}
