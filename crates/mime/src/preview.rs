//! PREVIEW (RFC 8970): the first words that a reader would see.
//!
//! From the first text/plain part that is not an attachment, else from text/html without its markup, else from another
//! text. White space is collapsed, quoted lines are left out while there are others.

use crate::structure::{Kind, Part, Structure};
use crate::{charset, transfer};
use std::ops::Range;

/// Characters of a preview at most (RFC 8970 §3.3: SHOULD).
const LENGTH: usize = 200;
/// Octets of the part that are looked at.
const LOOKED_AT: u64 = 32 << 10;

/// Where the preview comes from: the part, and the octets of it that are needed. `None`: there is no text, and the
/// preview is empty.
pub fn source(structure: &Structure) -> Option<(&Part, Range<u64>)> {
    let shown = |p: &&Part| p.kind == Kind::Leaf && p.body.start < p.body.end && !p.content.is_attachment();
    let plain =
        |p: &&Part| p.content.media.is_none() || p.content.is_type("text") && p.content.is_subtype("plain");
    let html = |p: &&Part| p.content.is_type("text") && p.content.is_subtype("html");
    let mut leaves = structure.parts.iter().filter(shown);
    let text = |p: &&Part| p.content.is_type("text");
    let part =
        leaves.clone().find(plain).or_else(|| leaves.clone().find(html)).or_else(|| leaves.find(text))?;
    Some((part, part.body.start..part.body.end.min(part.body.start + LOOKED_AT)))
}

/// The preview, from the octets that [`source`] named.
pub fn preview(part: &Part, octets: &[u8]) -> String {
    let Ok(decoded) = transfer::decode(part.encoding(), octets) else { return String::new() };
    let name = part.content.parameter("charset").and_then(|c| std::str::from_utf8(c).ok());
    let text = match name.and_then(charset::charset) {
        Some(charset) => charset.decode(&decoded),
        None => String::from_utf8_lossy(&decoded).into_owned(),
    };
    if part.content.is_subtype("html") {
        return collapsed(plain_of_html(&text).chars());
    }
    let own = text.lines().filter(|l| !l.starts_with('>'));
    let found = collapsed(own.flat_map(|l| l.chars().chain([' '])));
    if found.is_empty() {
        let quoted = text.lines().map(|l| l.trim_start_matches(['>', ' ']));
        return collapsed(quoted.flat_map(|l| l.chars().chain([' '])));
    }
    found
}

/// At most [`LENGTH`] characters, white space and control characters as single spaces.
fn collapsed(text: impl Iterator<Item = char>) -> String {
    let mut out = String::new();
    let (mut count, mut gap) = (0, false);
    for c in text {
        if c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{34f}' | '\u{ad}')
        {
            gap = count > 0;
            continue;
        }
        let more = 1 + usize::from(gap);
        if count + more > LENGTH {
            break;
        }
        if std::mem::take(&mut gap) {
            out.push(' ');
        }
        out.push(c);
        count += more;
    }
    out
}

/// Elements whose content is not shown.
const HIDDEN: [&str; 5] = ["head", "style", "script", "title", "template"];

/// What a reader sees of HTML: without tags, comments and hidden elements, with the common entities resolved.
fn plain_of_html(html: &str) -> String {
    let mut out = String::with_capacity(html.len() / 2);
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('&') {
            let (c, len) = entity(rest);
            out.push(c);
            rest = &rest[len..];
            continue;
        }
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |i| &comment[i + 3..]);
            continue;
        }
        let end = rest.find('>').map_or(rest.len(), |i| i + 1);
        let tag = rest[1..end].trim_end_matches('>');
        let name = tag.split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or("");
        rest = &rest[end..];
        if let Some(hidden) = HIDDEN.iter().find(|h| name.eq_ignore_ascii_case(h))
            && !tag.ends_with('/')
        {
            rest = behind_end_of(rest, hidden);
        }
        // Words of different cells and paragraphs are different words; those of <b>old</b>er are not.
        if !["b", "i", "u", "a", "em", "font", "span", "strong"].iter().any(|n| {
            tag.trim_start_matches('/').split_whitespace().next().is_some_and(|t| t.eq_ignore_ascii_case(n))
        }) {
            out.push(' ');
        }
    }
    out.push_str(rest);
    out
}

/// What follows `</name>`; nothing when it never ends.
fn behind_end_of<'a>(html: &'a str, name: &str) -> &'a str {
    let mut rest = html;
    while let Some(at) = rest.find("</") {
        rest = &rest[at + 2..];
        if rest.get(..name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name)) {
            return rest.find('>').map_or("", |i| &rest[i + 1..]);
        }
    }
    ""
}

/// A character and the octets that stand for it; `&` itself when they are no entity we know.
fn entity(text: &str) -> (char, usize) {
    let end = text.bytes().take(12).position(|b| b == b';');
    let Some(end) = end else { return ('&', 1) };
    let name = &text[1..end];
    let number = match name.strip_prefix("#x").or_else(|| name.strip_prefix("#X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => name.strip_prefix('#').and_then(|n| n.parse().ok()),
    };
    let c = match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        "zwnj" => Some('\u{200c}'),
        "auml" => Some('ä'),
        "ouml" => Some('ö'),
        "uuml" => Some('ü'),
        "Auml" => Some('Ä'),
        "Ouml" => Some('Ö'),
        "Uuml" => Some('Ü'),
        "szlig" => Some('ß'),
        "eacute" => Some('é'),
        "egrave" => Some('è'),
        "agrave" => Some('à'),
        "ccedil" => Some('ç'),
        "euro" => Some('€'),
        "copy" => Some('©'),
        "reg" => Some('®'),
        "hellip" => Some('…'),
        "ndash" => Some('–'),
        "mdash" => Some('—'),
        "rsquo" => Some('’'),
        "lsquo" => Some('‘'),
        "ldquo" => Some('“'),
        "rdquo" => Some('”'),
        "bull" => Some('•'),
        "middot" => Some('·'),
        _ => number.and_then(char::from_u32),
    };
    c.map_or(('&', 1), |c| (c, end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(mail: &str) -> String {
        let mail = mail.replace('\n', "\r\n");
        let s = crate::scan(mail.as_bytes());
        source(&s).map_or_else(String::new, |(part, range)| {
            preview(part, &mail.as_bytes()[range.start as usize..range.end as usize])
        })
    }

    #[test]
    fn what_a_reader_sees_first() {
        let multi = "Content-Type: multipart/mixed; boundary=b\n\n";
        let html = "Content-Type: text/html; charset=utf-8\n\n";
        let table = [
            ("\nHello,\n\n  this is   it.\n".to_owned(), "Hello, this is it."),
            ("\n> quoted\n> more\nMy answer\n".to_owned(), "My answer"),
            ("\n> only quoted\n".to_owned(), "only quoted"),
            (String::new(), ""),
            (format!("{html}<html><head><title>No</title><style>p {{}}</style></head><body><p>Gr&uuml;&#223;e</p><!-- x --><p>a&nbsp;<b>b</b>c &amp; d"), "Grüße a bc & d"),
            (format!("{multi}--b\nContent-Type: image/png\n\nxx\n--b\n{html}<p>h\n--b\n\nplain\n--b--\n"), "plain"),
            (format!("{multi}--b\nContent-Disposition: attachment\n\nno\n--b\n{html}<p>yes</p>\n--b--\n"), "yes"),
            ("Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=iso-8859-1\n\nR3L832U=\n".to_owned(), "Grüße"),
            ("Content-Type: image/png\n\nxx\n".to_owned(), ""),
        ];
        for (mail, want) in table {
            assert_eq!(of(&mail), want, "{mail}");
        }
        assert_eq!(of(&format!("\n{}", "ab ".repeat(100))).chars().count(), 200);
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "(<|>|&|;|/|a|style|</style>|<!--|#x|ü| |\n){0,40}") {
            let html = of(&format!("Content-Type: text/html; charset=utf-8\n\n{text}"));
            prop_assert!(html.chars().count() <= LENGTH);
            let plain = of(&format!("\n{text}"));
            prop_assert!(plain.chars().count() <= LENGTH);
        }
    }
}
