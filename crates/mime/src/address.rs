//! Addresses as ENVELOPE needs them (RFC 5322 §3.4; groups: RFC 9051 §7.5.2), undecoded and forgiving.
//!
//! What is broken is shown as Dovecot shows it: a missing domain is `MISSING_DOMAIN`, a missing local part
//! `MISSING_MAILBOX`, so that clients see that something was there.

use crate::wire::{nstring, text};

/// One element of an address list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Address {
    /// Display name, unquoted.
    pub name: Option<Vec<u8>>,
    /// Source route.
    pub route: Option<Vec<u8>>,
    /// Local part; of the start of a group its name.
    pub mailbox: Option<Vec<u8>>,
    /// Domain; `None` marks the start and the end of a group.
    pub host: Option<Vec<u8>>,
}

impl Address {
    /// `address` (RFC 9051 §9).
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(b'(');
        text(out, self.name.as_deref());
        for part in [&self.route, &self.mailbox, &self.host] {
            out.push(b' ');
            nstring(out, part.as_deref());
        }
        out.push(b')');
    }
}

/// More than any real field holds.
const MOST: usize = 100_000;

/// Reads a whole list. The value is unfolded.
pub fn parse(value: &[u8]) -> Vec<Address> {
    let mut p = Parser { rest: value, comment: Vec::new() };
    let mut out = Vec::new();
    let mut in_group = false;
    loop {
        p.comment.clear();
        p.white();
        match p.peek() {
            None => break,
            Some(b',') => {
                p.next();
            }
            Some(b';') => {
                p.next();
                if std::mem::take(&mut in_group) {
                    out.push(Address::default());
                }
            }
            Some(_) => p.element(&mut out, &mut in_group),
        }
        if out.len() > MOST {
            break;
        }
    }
    if in_group {
        out.push(Address::default());
    }
    out
}

struct Parser<'a> {
    rest: &'a [u8],
    /// The last comment met: the name of `a@b (Name)`.
    comment: Vec<u8>,
}

/// A word of a phrase or local part.
struct Words {
    /// Words with single spaces.
    phrase: Vec<u8>,
    /// As a local part: no spaces around dots.
    local: Vec<u8>,
    /// Are there words that no dot joins? Then it is no local part.
    apart: bool,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }
    fn next(&mut self) -> Option<u8> {
        let (b, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*b)
    }

    /// The octets up to the first of which `ends` holds.
    fn run(&mut self, ends: impl Fn(u8) -> bool) -> &'a [u8] {
        let at = self.rest.iter().position(|b| ends(*b)).unwrap_or(self.rest.len());
        let (run, rest) = self.rest.split_at(at);
        self.rest = rest;
        run
    }

    /// White space and comments.
    fn white(&mut self) {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\r' | b'\n') => {
                    self.next();
                }
                Some(b'(') => self.take_comment(),
                _ => return,
            }
        }
    }

    fn take_comment(&mut self) {
        self.next();
        let mut depth = 1;
        let mut text = Vec::new();
        while let Some(b) = self.next() {
            match b {
                b'(' => depth += 1,
                b')' => depth -= 1,
                b'\\' => {
                    text.extend(self.next());
                    continue;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
            text.push(b);
        }
        self.comment = text;
    }

    /// Atoms, quoted strings and dots, up to a special.
    fn words(&mut self) -> Words {
        let mut w = Words { phrase: Vec::new(), local: Vec::new(), apart: false };
        let mut gap = false;
        loop {
            let before = self.rest.len();
            self.white();
            gap |= self.rest.len() < before;
            match self.peek() {
                Some(b'"') => {
                    self.next();
                    w.apart |= gap && w.local.last().is_some_and(|b| *b != b'.');
                    if gap && !w.phrase.is_empty() {
                        w.phrase.push(b' ');
                    }
                    loop {
                        let run = self.run(|b| matches!(b, b'"' | b'\\'));
                        w.phrase.extend_from_slice(run);
                        w.local.extend_from_slice(run);
                        let (Some(b'\\'), Some(quoted)) = (self.next(), self.peek()) else { break };
                        self.next();
                        w.phrase.push(quoted);
                        w.local.push(quoted);
                    }
                }
                Some(b) if !ends_word(b) => {
                    w.apart |= gap && b != b'.' && w.local.last().is_some_and(|b| *b != b'.');
                    if gap && !w.phrase.is_empty() {
                        w.phrase.push(b' ');
                    }
                    let run = self.run(|b| ends_word(b) || is_white(b));
                    w.phrase.extend_from_slice(run);
                    w.local.extend_from_slice(run);
                }
                _ => return w,
            }
            gap = false;
        }
    }

    fn domain(&mut self) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::new();
        loop {
            let before = self.rest.len();
            self.white();
            let gap = self.rest.len() < before && out.last().is_some_and(|b| *b != b'.');
            match self.peek() {
                Some(b) if gap && b != b'.' => return out,
                Some(b'[') => {
                    while let Some(b) = self.next() {
                        out.push(b);
                        if b == b']' {
                            break;
                        }
                    }
                }
                Some(b) if !ends_domain(b) => {
                    out.extend_from_slice(self.run(|b| ends_domain(b) || b == b'['))
                }
                _ => return out,
            }
        }
    }

    /// A mailbox, or the start of a group.
    fn element(&mut self, out: &mut Vec<Address>, in_group: &mut bool) {
        let words = self.words();
        match self.peek() {
            Some(b'<') => {
                self.next();
                let name = Some(words.phrase).filter(|n| !n.is_empty());
                let mut address = self.angle();
                self.white();
                if self.peek() == Some(b'>') {
                    self.next();
                }
                address.name = name;
                fill(&mut address);
                out.push(address);
                self.skip_to_separator();
            }
            Some(b':') if !*in_group => {
                self.next();
                *in_group = true;
                out.push(Address { mailbox: Some(words.phrase), ..Address::default() });
            }
            Some(b'@') => {
                self.next();
                let host = self.domain();
                self.white();
                let name = Some(std::mem::take(&mut self.comment)).filter(|n| !n.is_empty());
                let mut address = match words.apart {
                    false => Address { name, route: None, mailbox: Some(words.local), host: Some(host) },
                    true => Address { name: Some(words.phrase), ..Address::default() },
                };
                fill(&mut address);
                out.push(address);
                self.skip_to_separator();
            }
            other => {
                if !words.local.is_empty() {
                    let name = Some(std::mem::take(&mut self.comment)).filter(|n| !n.is_empty());
                    let mut address = Address { name, mailbox: Some(words.local), ..Address::default() };
                    fill(&mut address);
                    out.push(address);
                }
                if !matches!(other, None | Some(b',' | b';')) {
                    self.next();
                    self.skip_to_separator();
                }
            }
        }
    }

    /// `[route ":"] local "@" domain`
    fn angle(&mut self) -> Address {
        let mut address = Address::default();
        self.white();
        if self.peek() == Some(b'@') {
            let mut route = Vec::new();
            while let Some(b) = self.peek().filter(|b| !matches!(b, b':' | b'>')) {
                if !b.is_ascii_whitespace() {
                    route.push(b);
                }
                self.next();
            }
            if self.peek() == Some(b':') {
                self.next();
                address.route = Some(route);
            }
        }
        let words = self.words();
        address.mailbox = Some(words.local);
        if self.peek() == Some(b'@') {
            self.next();
            address.host = Some(self.domain());
        }
        // Nonsense before the closing bracket is passed over.
        while let Some(b) = self.peek().filter(|b| !matches!(b, b'>' | b',')) {
            let _ = b;
            self.next();
        }
        address
    }

    /// Passes over what cannot belong to an address.
    fn skip_to_separator(&mut self) {
        loop {
            self.white();
            match self.peek() {
                None | Some(b',' | b';') => return,
                Some(b'"') => {
                    self.words();
                }
                Some(_) => {
                    self.next();
                }
            }
        }
    }
}

fn is_white(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// The specials that end an atom, and a quotation mark.
fn ends_word(b: u8) -> bool {
    matches!(b, b'<' | b'>' | b'@' | b',' | b';' | b':' | b'(' | b')' | b'[' | b']' | b'"')
}

fn ends_domain(b: u8) -> bool {
    is_white(b) || matches!(b, b'<' | b'>' | b'@' | b',' | b';' | b':' | b'(' | b')' | b'"')
}

fn fill(address: &mut Address) {
    if address.mailbox.as_ref().is_none_or(Vec::is_empty) {
        address.mailbox = Some(b"MISSING_MAILBOX".to_vec());
    }
    if address.host.as_ref().is_none_or(Vec::is_empty) {
        address.host = Some(b"MISSING_DOMAIN".to_vec());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(value: &str) -> String {
        let mut out = Vec::new();
        parse(value.as_bytes()).iter().for_each(|a| a.write(&mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_rfcs_examples() {
        // RFC 5322 appendix A.1.2, A.1.3, A.5.
        assert_eq!(
            wire("\"Joe Q. Public\" <john.q.public@example.com>"),
            "(\"Joe Q. Public\" NIL \"john.q.public\" \"example.com\")"
        );
        assert_eq!(
            wire("A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;"),
            "(NIL NIL \"A Group\" NIL)(\"Ed Jones\" NIL \"c\" \"a.test\")(NIL NIL \"joe\" \"where.test\")\
             (\"John\" NIL \"jdoe\" \"one.test\")(NIL NIL NIL NIL)"
        );
        assert_eq!(
            wire("Undisclosed recipients:;"),
            "(NIL NIL \"Undisclosed recipients\" NIL)(NIL NIL NIL NIL)"
        );
        assert_eq!(
            wire("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>"),
            "(\"Pete\" NIL \"pete\" \"silly.test\")"
        );
        // RFC 822's route, and the old way of naming by a comment.
        assert_eq!(wire("X <@a.test,@b.test:x@c.test>"), "(\"X\" \"@a.test,@b.test\" \"x\" \"c.test\")");
        assert_eq!(wire("a@b (Anton)"), "(\"Anton\" NIL \"a\" \"b\")");
    }
}
