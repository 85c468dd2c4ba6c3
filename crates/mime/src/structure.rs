//! The part tree, flat: children are indices, so that no depth of nesting needs a deep stack.

use crate::content::{Content, write_extension, write_parameters};
use crate::wire::{nstring, string};
use std::ops::Range;

/// What a part is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `multipart/*` with a boundary.
    Multipart,
    /// `message/rfc822` or `message/global`: its one child is the message inside.
    Message,
    /// Anything else.
    Leaf,
}

/// One part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The part around it.
    pub parent: Option<u32>,
    /// The parts in it, in order.
    pub children: Vec<u32>,
    /// Its header, with the empty line.
    pub header: Range<u64>,
    /// What follows, up to the line end before the next boundary.
    pub body: Range<u64>,
    /// Line ends in the body.
    pub body_lines: u64,
    /// What it is.
    pub kind: Kind,
    /// What its header says of its content.
    pub content: Content,
    /// ENVELOPE, for the message itself and for messages in it.
    pub envelope: Option<Vec<u8>>,
}

impl Part {
    /// Is it text (the default when no Content-Type is given)?
    pub fn is_text(&self) -> bool {
        self.kind == Kind::Leaf && (self.content.media.is_none() || self.content.is_type("text"))
    }
    /// Content-Transfer-Encoding, 7bit when missing.
    pub fn encoding(&self) -> &[u8] {
        self.content.encoding.as_deref().unwrap_or(b"7bit")
    }
}

/// A message's parts. The first one is the message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Structure {
    /// Flat, each before its children.
    pub parts: Vec<Part>,
    /// RFC822.SIZE.
    pub size: u64,
}

/// Where part numbers lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Located {
    /// Index of the part.
    pub index: usize,
    /// Is it the empty text that BODYSTRUCTURE shows in a multipart without parts? Then `index` is the multipart.
    pub stands_in: bool,
}

impl Structure {
    /// The part that numbers name (RFC 9051 §6.4.5.1): a message that is not multipart has one part 1, itself; numbers
    /// go on through `message/rfc822`.
    pub fn find(&self, numbers: &[u32]) -> Option<Located> {
        let mut here = 0usize;
        let mut as_message = true;
        let mut stands_in = false;
        for n in numbers {
            let mut part = self.parts.get(here)?;
            if !as_message && part.kind == Kind::Message {
                here = *part.children.first()? as usize;
                part = self.parts.get(here)?;
                as_message = true;
            }
            if stands_in {
                return None;
            }
            if part.kind == Kind::Multipart && part.children.is_empty() && *n == 1 {
                stands_in = true;
            } else if part.kind == Kind::Multipart {
                here = *part.children.get((*n as usize).checked_sub(1)?)? as usize;
            } else if !as_message || *n != 1 {
                return None;
            }
            as_message = false;
        }
        Some(Located { index: here, stands_in })
    }

    /// The part and its range, which is nothing for a part that only stands in.
    fn range(&self, numbers: &[u32], of: impl FnOnce(&Part) -> Range<u64>) -> Option<Range<u64>> {
        let located = self.find(numbers)?;
        let part = self.parts.get(located.index)?;
        Some(if located.stands_in { part.body.start..part.body.start } else { of(part) })
    }

    /// The message inside the part, if it is one.
    fn inner(&self, numbers: &[u32]) -> Option<&Part> {
        let part = self.parts.get(self.find(numbers)?.index)?;
        match part.kind {
            Kind::Message => self.parts.get(*part.children.first()? as usize),
            _ => None,
        }
    }

    /// `BODY[n]`
    pub fn content_of(&self, numbers: &[u32]) -> Option<Range<u64>> {
        self.range(numbers, |p| p.body.clone())
    }
    /// `BODY[n.MIME]`
    pub fn mime_of(&self, numbers: &[u32]) -> Option<Range<u64>> {
        self.range(numbers, |p| p.header.clone())
    }
    /// `BODY[n.HEADER]`: of a message in the message.
    pub fn header_of(&self, numbers: &[u32]) -> Option<Range<u64>> {
        self.inner(numbers).map(|p| p.header.clone())
    }
    /// `BODY[n.TEXT]`: of a message in the message.
    pub fn text_of(&self, numbers: &[u32]) -> Option<Range<u64>> {
        self.inner(numbers).map(|p| p.body.clone())
    }
    /// The Content-Transfer-Encoding of a part; `None` for composite ones, which have none (RFC 2045 §6.4).
    pub fn encoding_of(&self, located: Located) -> Option<&[u8]> {
        if located.stands_in {
            return Some(b"7bit");
        }
        self.parts.get(located.index).filter(|p| p.kind == Kind::Leaf).map(Part::encoding)
    }
    /// The message's own header.
    pub fn header(&self) -> Range<u64> {
        self.parts.first().map_or(0..0, |p| p.header.clone())
    }

    /// ENVELOPE as wire bytes.
    pub fn envelope(&self) -> Vec<u8> {
        self.parts.first().and_then(|p| p.envelope.clone()).unwrap_or_default()
    }
    /// BODY as wire bytes.
    pub fn body(&self) -> Vec<u8> {
        self.render(Extension::Without)
    }
    /// BODYSTRUCTURE as wire bytes.
    pub fn body_structure(&self) -> Vec<u8> {
        self.render(Extension::With)
    }

    /// Walks the tree with a stack of its own: entering a part, then what follows its children.
    fn render(&self, extension: Extension) -> Vec<u8> {
        let mut out = Vec::new();
        let mut todo = vec![Step::Enter(0)];
        while let Some(step) = todo.pop() {
            let (Step::Enter(index) | Step::Leave(index)) = step;
            let Some(part) = self.parts.get(index) else { continue };
            match (step, part.kind) {
                (Step::Enter(_), Kind::Multipart) => {
                    out.push(b'(');
                    if part.children.is_empty() {
                        // A multipart without parts is not allowed: one empty text part stands in, as with Dovecot.
                        out.extend_from_slice(
                            b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0",
                        );
                        out.extend_from_slice(match extension {
                            Extension::With => b" NIL NIL NIL NIL)".as_slice(),
                            Extension::Without => b")",
                        });
                    }
                    todo.push(Step::Leave(index));
                    todo.extend(part.children.iter().rev().map(|c| Step::Enter(*c as usize)));
                }
                (Step::Leave(_), Kind::Multipart) => multipart_end(&mut out, part, extension),
                (Step::Enter(_), Kind::Message) => {
                    single(&mut out, part);
                    out.push(b' ');
                    let inner = part.children.first().map(|c| *c as usize);
                    let envelope = inner.and_then(|i| self.parts.get(i)).and_then(|p| p.envelope.as_deref());
                    out.extend_from_slice(envelope.unwrap_or(EMPTY_ENVELOPE));
                    out.push(b' ');
                    todo.push(Step::Leave(index));
                    todo.extend(inner.map(Step::Enter));
                }
                (Step::Leave(_), Kind::Message) => {
                    out.push(b' ');
                    single_end(&mut out, part, extension);
                }
                (Step::Enter(_), Kind::Leaf) => {
                    single(&mut out, part);
                    if part.is_text() {
                        out.push(b' ');
                        single_end(&mut out, part, extension);
                    } else {
                        extension_data(&mut out, part, extension);
                        out.push(b')');
                    }
                }
                (Step::Leave(_), Kind::Leaf) => {}
            }
        }
        out
    }
}

const EMPTY_ENVELOPE: &[u8] = b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Extension {
    With,
    Without,
}

#[derive(Clone, Copy)]
enum Step {
    Enter(usize),
    Leave(usize),
}

/// `(type subtype parameters id description encoding octets`
fn single(out: &mut Vec<u8>, part: &Part) {
    out.push(b'(');
    match &part.content.media {
        Some(media) => {
            string(out, &media.kind);
            out.push(b' ');
            string(out, &media.subtype);
            out.push(b' ');
            write_parameters(out, &media.parameters, part.is_text());
        }
        None if part.kind == Kind::Message => out.extend_from_slice(b"\"message\" \"rfc822\" NIL"),
        None => out.extend_from_slice(b"\"text\" \"plain\" (\"charset\" \"us-ascii\")"),
    }
    out.push(b' ');
    nstring(out, part.content.id.as_deref());
    out.push(b' ');
    nstring(out, part.content.description.as_deref());
    out.push(b' ');
    string(out, part.encoding());
    out.extend_from_slice(format!(" {}", part.body.end - part.body.start).as_bytes());
}

/// Lines, extension data, the end.
fn single_end(out: &mut Vec<u8>, part: &Part, extension: Extension) {
    out.extend_from_slice(part.body_lines.to_string().as_bytes());
    extension_data(out, part, extension);
    out.push(b')');
}

fn extension_data(out: &mut Vec<u8>, part: &Part, extension: Extension) {
    if extension == Extension::With {
        out.push(b' ');
        nstring(out, part.content.md5.as_deref());
        out.push(b' ');
        write_extension(out, &part.content);
    }
}

fn multipart_end(out: &mut Vec<u8>, part: &Part, extension: Extension) {
    out.push(b' ');
    let (sub, parameters) = match &part.content.media {
        Some(media) => (media.subtype.as_slice(), media.parameters.as_slice()),
        None => (b"mixed".as_slice(), [].as_slice()),
    };
    string(out, sub);
    if extension == Extension::With {
        out.push(b' ');
        write_parameters(out, parameters, false);
        out.push(b' ');
        write_extension(out, &part.content);
    }
    out.push(b')');
}
