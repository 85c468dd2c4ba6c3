//! From the bytes of a message to its parts, pushed in pieces of any size.
//!
//! The scanner goes line by line and looks only at what begins a line: in a header for its end and, in broken mail,
//! for a boundary; in a body for the boundaries of the multiparts around it. What it keeps is a header while that is
//! being read (bounded), the first octets of a line, and the part tree (bounded in depth and number). Beyond
//! [`Limits`] nothing is refused: what lies deeper is the body of the last part that fits.
//!
//! Boundaries match as Dovecot matches them: by prefix, the longest one wins (RFC 2046 §5.1.1 lets white space follow;
//! real mail has worse).

use crate::content::Content;
use crate::envelope;
use crate::fields;
use crate::structure::{Kind, Part, Structure};
use memchr::memchr;

/// Bounds of what is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Parts inside of parts.
    pub depth: usize,
    /// Parts in all.
    pub parts: usize,
    /// Octets of one header that are looked at.
    pub header: usize,
}

impl Default for Limits {
    /// Dovecot has 100 levels and 10,000 parts as well; a header of 1 MiB is a thousand times a long one.
    fn default() -> Self {
        Self { depth: 100, parts: 10_000, header: 1024 * 1024 }
    }
}

/// Scans a whole message.
pub fn scan(message: &[u8]) -> Structure {
    let mut scanner = Scanner::new(Limits::default());
    scanner.feed(message);
    scanner.finish()
}

/// How much of a line is needed to compare it with boundaries (at most 70 octets by RFC 2046 §5.1.1).
const LINE_START: usize = 1024;

/// The push parser.
pub struct Scanner {
    limits: Limits,
    parts: Vec<Part>,
    /// Open parts from the message to the innermost; multiparts carry their boundary.
    open: Vec<Open>,
    /// Is the innermost open part's header being read?
    in_header: bool,
    /// What has been read of that header.
    header: Vec<u8>,
    /// The first octets of a line that has not ended.
    line: Vec<u8>,
    line_start: u64,
    /// Octets of the line so far.
    line_len: u64,
    at: u64,
    /// Line ends so far.
    lines: u64,
    /// Length of the line end before the current line: it belongs to a boundary that follows.
    last_end: u64,
    last_octet: Option<u8>,
}

struct Open {
    part: usize,
    boundary: Option<Vec<u8>>,
    /// Line ends counted when this part's body began.
    lines_before: u64,
}

impl Scanner {
    /// At the start of a message.
    pub fn new(limits: Limits) -> Self {
        let mut scanner = Self {
            limits,
            parts: Vec::new(),
            open: Vec::new(),
            in_header: true,
            header: Vec::new(),
            line: Vec::new(),
            line_start: 0,
            line_len: 0,
            at: 0,
            lines: 0,
            last_end: 0,
            last_octet: None,
        };
        scanner.begin_part(None, 0);
        scanner
    }

    fn begin_part(&mut self, parent: Option<usize>, at: u64) {
        let index = self.parts.len();
        self.parts.push(Part {
            parent: parent.map(|p| p as u32),
            children: Vec::new(),
            header: at..at,
            body: at..at,
            body_lines: 0,
            kind: Kind::Leaf,
            content: Content::default(),
            envelope: None,
        });
        if let Some(parent) = parent {
            self.parts[parent].children.push(index as u32);
        }
        self.open.push(Open { part: index, boundary: None, lines_before: 0 });
        self.in_header = true;
        self.header = Vec::new();
    }

    /// The next octets.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr(b'\n', rest);
            let (piece, next) = rest.split_at(end.map_or(rest.len(), |i| i + 1));
            rest = next;
            let complete = end.is_some();
            let before = if piece.len() > 1 { Some(piece[piece.len() - 2]) } else { self.last_octet };
            self.at += piece.len() as u64;
            self.line_len += piece.len() as u64;
            self.last_octet = piece.last().copied();
            if self.in_header {
                let room = self.limits.header.saturating_sub(self.header.len());
                self.header.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            if complete {
                let ending = if before == Some(b'\r') && self.line_len > 1 { 2 } else { 1 };
                if self.line.is_empty() {
                    self.end_line(&piece[..piece.len().min(LINE_START)], ending);
                } else {
                    let mut line = std::mem::take(&mut self.line);
                    let room = LINE_START.saturating_sub(line.len());
                    line.extend_from_slice(&piece[..piece.len().min(room)]);
                    self.end_line(&line, ending);
                }
                self.line_start = self.at;
                self.line_len = 0;
                self.last_end = ending;
            } else {
                let room = LINE_START.saturating_sub(self.line.len());
                self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            }
        }
    }

    /// A whole line has come; `line` is its beginning. `ending` is the length of its line end, 0 at the end of all.
    fn end_line(&mut self, line: &[u8], ending: u64) {
        let lines_before = self.lines;
        self.lines += u64::from(ending > 0);
        if line.starts_with(b"--")
            && let Some((level, closing)) = self.boundary(line)
        {
            self.at_boundary(level, closing, lines_before);
        } else if self.in_header && self.line_len == ending && ending > 0 {
            self.close_header(self.at);
        }
    }

    /// The innermost open multipart whose boundary this is, the longest boundary first; and is it the closing one?
    fn boundary(&self, line: &[u8]) -> Option<(usize, bool)> {
        let text = &line[2..];
        let mut best: Option<(usize, usize)> = None;
        for (level, open) in self.open.iter().enumerate().rev() {
            if let Some(boundary) = &open.boundary
                && text.starts_with(boundary)
                && best.is_none_or(|(_, len)| boundary.len() > len)
            {
                best = Some((level, boundary.len()));
            }
        }
        best.map(|(level, len)| (level, text[len..].starts_with(b"--")))
    }

    fn at_boundary(&mut self, level: usize, closing: bool, lines_before: u64) {
        if self.in_header {
            // The header had no empty line: it ends where the boundary's line begins.
            let cut = self.header.len().saturating_sub(self.line_len as usize);
            self.header.truncate(cut);
            self.close_header(self.line_start);
            self.in_header = false;
            self.header = Vec::new();
        }
        // The line end before the boundary belongs to it (RFC 2046 §5.1.1).
        while self.open.len() > level + 1 {
            self.close_part(self.line_start, self.last_end, lines_before);
        }
        let Some(parent) = self.open.last().map(|open| open.part) else { return };
        if !closing && self.parts.len() < self.limits.parts {
            self.begin_part(Some(parent), self.at);
        }
    }

    /// The innermost part's header ends at `end`; what the part is decides how its body is read.
    fn close_header(&mut self, end: u64) {
        self.in_header = false;
        let header = std::mem::take(&mut self.header);
        let level = self.open.len();
        let Some(open) = self.open.last_mut() else { return };
        let index = open.part;
        let parent = self.parts[index].parent.map(|p| p as usize);
        open.lines_before = self.lines;
        let is_message = parent.is_none_or(|p| self.parts[p].kind == Kind::Message);
        let mut content = Content::default();
        for field in fields::iter(&header) {
            if field.name.len() > 7 && field.name[..8.min(field.name.len())].eq_ignore_ascii_case(b"Content-")
            {
                content.field(field.name, &field.unfolded());
            }
        }
        let digest = parent.is_some_and(|p| {
            self.parts[p].kind == Kind::Multipart && self.parts[p].content.is_subtype("digest")
        });
        let deep = level >= self.limits.depth;
        let boundary = content.parameter("boundary").map(|b| b.trim_ascii_end().to_vec());
        if content.is_type("multipart") && boundary.is_none() {
            // Without a boundary it cannot be what it says: plain text, as RFC 2045 §5.2 treats what makes no sense.
            content.media = None;
        }
        let kind = if content.is_type("multipart") && boundary.is_some() && !deep {
            Kind::Multipart
        } else if !deep
            && self.parts.len() < self.limits.parts
            && (content.is_type("message") && (content.is_subtype("rfc822") || content.is_subtype("global"))
                || content.media.is_none() && digest)
        {
            Kind::Message
        } else {
            Kind::Leaf
        };
        let part = &mut self.parts[index];
        part.header.end = end;
        part.body = end..end;
        part.kind = kind;
        part.content = content;
        if is_message {
            part.envelope = Some(envelope::envelope(&header));
        }
        match kind {
            Kind::Multipart => open.boundary = boundary,
            Kind::Message => self.begin_part(Some(index), end),
            Kind::Leaf => {}
        }
    }

    /// The innermost part ends at `end`, less the line end that belongs to the boundary; `lines` line ends came before.
    fn close_part(&mut self, end: u64, line_end: u64, lines: u64) {
        let Some(open) = self.open.pop() else { return };
        let part = &mut self.parts[open.part];
        if end == part.header.end && end >= part.header.start + line_end {
            // A boundary follows the header at once: the line end before it is the boundary's (RFC 2046 §5.1.1).
            part.header.end = end - line_end;
            part.body = part.header.end..part.header.end;
            part.body_lines = 0;
            let nothing = part.body.clone();
            let inner = part.children.first().copied().filter(|_| part.kind == Kind::Message);
            if let Some(inner) = inner.and_then(|c| self.parts.get_mut(c as usize)) {
                inner.header = nothing.clone();
                inner.body = nothing;
            }
        } else {
            let owns_line_end = end >= part.body.start + line_end;
            part.body.end = if owns_line_end { end - line_end } else { end.max(part.body.start) };
            let boundarys = u64::from(line_end > 0 && owns_line_end);
            part.body_lines = lines.saturating_sub(open.lines_before).saturating_sub(boundarys);
        }
        let index = open.part;
        let last = self.parts[index].children.last().copied();
        if let Some(last) = last.and_then(|c| self.parts.get(c as usize)) {
            // A part whose boundary is followed by an outer one at once begins behind the line end they share.
            let end = last.body.end.max(last.header.end);
            let body = &mut self.parts[index].body;
            body.end = body.end.max(end);
        }
    }

    /// The end of the message.
    pub fn finish(mut self) -> Structure {
        if self.line_len > 0 {
            let line = std::mem::take(&mut self.line);
            self.end_line(&line, 0);
        }
        while self.in_header {
            self.close_header(self.at);
        }
        while !self.open.is_empty() {
            self.close_part(self.at, 0, self.lines);
        }
        Structure { parts: self.parts, size: self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(message: &[u8], range: std::ops::Range<u64>) -> String {
        String::from_utf8(message[range.start as usize..range.end as usize].to_vec()).unwrap()
    }

    /// The message of RFC 9051 §6.4.5.1's part numbers, with text in each part.
    const NESTED: &str = "Subject: outer\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\npreamble\r\n\
        --a\r\n\r\none\r\n--a\r\nContent-Type: application/octet-stream\r\n\r\ntwo\r\n\
        --a\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\nContent-Type: multipart/mixed; boundary=ab\r\n\r\n\
        --ab\r\n\r\nthree.one\r\n--ab\r\n\r\nthree.two\r\n--ab--\r\nepilogue\r\n--a--\r\n";

    #[test]
    fn part_numbers_go_through_messages() {
        let m = NESTED.as_bytes();
        let s = scan(m);
        let at = |n: &[u32]| s.content_of(n).map(|r| text(m, r));
        assert_eq!(at(&[1]).as_deref(), Some("one"));
        assert_eq!(at(&[2]).as_deref(), Some("two"));
        assert_eq!(at(&[3, 1]).as_deref(), Some("three.one"));
        assert_eq!(at(&[3, 2]).as_deref(), Some("three.two"));
        assert_eq!(at(&[4]), None);
        assert_eq!(at(&[1, 1]), None);
        assert_eq!(
            s.mime_of(&[2]).map(|r| text(m, r)).as_deref(),
            Some("Content-Type: application/octet-stream\r\n\r\n")
        );
        assert!(s.header_of(&[3]).map(|r| text(m, r)).unwrap().starts_with("Subject: inner"));
        assert!(s.text_of(&[3]).map(|r| text(m, r)).unwrap().ends_with("--ab--\r\nepilogue"));
        assert_eq!(s.header_of(&[1]), None);
    }

    #[test]
    fn the_body_structure_of_rfc_9051() {
        // RFC 9051 §7.5.2: a text of 3028 octets and 92 lines.
        let body = format!("{}\r\n", "x".repeat(30)).repeat(92);
        let pad = 3028 - body.len();
        let message =
            format!("Content-Type: TEXT/PLAIN; CHARSET=US-ASCII\r\n\r\n{}{}", "y".repeat(pad), body);
        let got = String::from_utf8(scan(message.as_bytes()).body()).unwrap();
        assert_eq!(got, "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7bit\" 3028 92)");
    }

    #[test]
    fn depth_costs_nothing() {
        let mut m = String::new();
        for i in 0..100_000 {
            m.push_str(&format!("Content-Type: multipart/mixed; boundary=b{i:06}\r\n\r\n--b{i:06}\r\n"));
        }
        let s = scan(m.as_bytes());
        assert!(s.parts.len() <= Limits::default().depth + 1);
        assert!(!s.body_structure().is_empty());
        let s = scan("Content-Type: message/rfc822\r\n\r\n".repeat(100_000).as_bytes());
        assert!(s.parts.len() <= Limits::default().depth + 1);
        let many =
            format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\r\n\r\nx\r\n".repeat(50_000));
        assert_eq!(scan(many.as_bytes()).parts.len(), Limits::default().parts);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn any_cut_gives_the_same(
            lines in proptest::collection::vec(prop_oneof![
                Just("--a\r\n"), Just("--a--\r\n"), Just("--ab\r\n"), Just("\r\n"), Just("\n"), Just("text\r\n"),
                Just("Content-Type: multipart/mixed; boundary=a\r\n"),
                Just("Content-Type: multipart/digest; boundary=\"ab\"\r\n"),
                Just("Content-Type: message/rfc822\r\n"), Just("--a"), Just("\r"),
            ], 0..24),
            cut in any::<u8>(),
        ) {
            let mut data = vec![cut];
            data.extend(lines.concat().into_bytes());
            crate::fuzz::scan(&data);
        }
        #[test]
        fn any_bytes_are_a_message(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            crate::fuzz::scan(&data);
            crate::fuzz::header(&data);
            crate::fuzz::decode(&data);
        }
    }
}
