//! FETCH and UID FETCH (RFC 9051 §6.4.5, RFC 3501 §6.4.5), with BINARY (RFC 3516), MODSEQ, CHANGEDSINCE and VANISHED
//! (RFC 7162).

use super::{Fetch, FetchItem, Numbering, Rfc822, Section, SectionOf};
use crate::ext::condstore::FetchModifiers;
use crate::grammar::{List, Parser};
use culver_base::Malformed;
use std::borrow::Cow;

/// `fetch`
pub fn parse<'a>(p: &mut Parser<'a>, numbering: Numbering) -> Result<Fetch<'a>, Malformed> {
    p.sp()?;
    let messages = p.sequence_set()?;
    p.sp()?;
    let mut items = Vec::new();
    if numbering == Numbering::Uid {
        // RFC 9051 §6.4.9: the answer has the UID, asked for or not.
        items.push(FetchItem::Uid);
    }
    if p.peek() == Some(b'(') {
        p.list("a list of data items", List::NotEmpty, |p| {
            let item = fetch_att(p)?;
            add(&mut items, item);
            Ok(())
        })?;
    } else if !fetch_macro(p, &mut items) {
        let item = fetch_att(p)?;
        add(&mut items, item);
    }
    let FetchModifiers { changed_since, vanished } = p.fetch_modifiers(numbering)?;
    Ok(Fetch { numbering, messages, items, changed_since, vanished })
}

/// What is asked for twice is answered once.
fn add<'a>(items: &mut Vec<FetchItem<'a>>, item: FetchItem<'a>) {
    // Beyond a few items the search costs more than the second answer.
    if items.len() > 64 || !items.contains(&item) {
        items.push(item);
    }
}

/// `"ALL" / "FULL" / "FAST"`, only when alone.
fn fetch_macro(p: &mut Parser<'_>, items: &mut Vec<FetchItem<'_>>) -> bool {
    use FetchItem::{Body, Envelope, Flags, InternalDate, Size};
    let mut ahead = *p;
    let Ok(word) = ahead.word("a data item") else { return false };
    let expanded: &[FetchItem<'static>] = match word.as_str() {
        "FAST" => &[Flags, InternalDate, Size],
        "ALL" => &[Flags, InternalDate, Size, Envelope],
        "FULL" => &[Flags, InternalDate, Size, Envelope, Body],
        _ => return false,
    };
    *p = ahead;
    items.extend_from_slice(expanded);
    true
}

/// `fetch-att`
fn fetch_att<'a>(p: &mut Parser<'a>) -> Result<FetchItem<'a>, Malformed> {
    let at = p.malformed("a data item such as FLAGS or BODY[]");
    let word = p.word(at.expected)?;
    let bracket = p.peek() == Some(b'[');
    Ok(match word.as_str() {
        "UID" => FetchItem::Uid,
        "FLAGS" => FetchItem::Flags,
        "INTERNALDATE" => FetchItem::InternalDate,
        "ENVELOPE" => FetchItem::Envelope,
        "BODYSTRUCTURE" => FetchItem::BodyStructure,
        "MODSEQ" => FetchItem::ModSeq,
        "PREVIEW" => FetchItem::Preview { lazy: p.take_nocase(" (LAZY)") },
        "RFC822" => FetchItem::Rfc822(Rfc822::All),
        "RFC822.SIZE" => FetchItem::Size,
        "RFC822.HEADER" => FetchItem::Rfc822(Rfc822::Header),
        "RFC822.TEXT" => FetchItem::Rfc822(Rfc822::Text),
        "BODY" if !bracket => FetchItem::Body,
        word @ ("BODY" | "BODY.PEEK") => {
            let peek = word == "BODY.PEEK";
            FetchItem::Section { section: section(p)?, partial: p.partial()?, peek }
        }
        word @ ("BINARY" | "BINARY.PEEK") => {
            let peek = word == "BINARY.PEEK";
            FetchItem::Binary { part: p.section_binary()?, partial: p.partial()?, peek }
        }
        "BINARY.SIZE" => FetchItem::BinarySize { part: p.section_binary()? },
        _ => return Err(at),
    })
}

/// `section`
fn section<'a>(p: &mut Parser<'a>) -> Result<Section<'a>, Malformed> {
    p.expect(b'[', "[ and a section")?;
    if p.take(b']') {
        return Ok(Section { part: Vec::new(), of: SectionOf::Everything });
    }
    let mut part = Vec::new();
    let mut of = SectionOf::Everything;
    if p.peek().is_some_and(|b| b.is_ascii_digit()) {
        part = p.section_part()?;
        if p.take(b'.') {
            of = section_text(p)?;
        }
    } else {
        let at = p.malformed("HEADER, HEADER.FIELDS, TEXT or a part number");
        of = section_text(p)?;
        if of == SectionOf::Mime {
            return Err(at); // Only a part has a MIME header (RFC 9051 §6.4.5.1).
        }
    }
    p.expect(b']', "] after the section")?;
    Ok(Section { part, of })
}

/// `section-text`
fn section_text<'a>(p: &mut Parser<'a>) -> Result<SectionOf<'a>, Malformed> {
    let at = p.malformed("HEADER, HEADER.FIELDS, TEXT or MIME");
    Ok(match p.word(at.expected)?.as_str() {
        "HEADER" => SectionOf::Header,
        "HEADER.FIELDS" => SectionOf::HeaderFields(header_list(p)?),
        "HEADER.FIELDS.NOT" => SectionOf::HeaderFieldsNot(header_list(p)?),
        "TEXT" => SectionOf::Text,
        "MIME" => SectionOf::Mime,
        _ => return Err(at),
    })
}

/// `SP header-list`
fn header_list<'a>(p: &mut Parser<'a>) -> Result<Vec<Cow<'a, [u8]>>, Malformed> {
    p.sp()?;
    let mut names = Vec::new();
    p.list("a list of header fields", List::NotEmpty, |p| {
        names.push(p.astring("the name of a header field")?);
        Ok(())
    })?;
    Ok(names)
}
