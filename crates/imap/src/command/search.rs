//! SEARCH and UID SEARCH (RFC 9051 §6.4.4, RFC 3501 §6.4.4), with RETURN (RFC 4731, RFC 5182), MODSEQ (RFC 7162) and
//! OLDER and YOUNGER (RFC 5032).

use super::{Numbering, Search};
use crate::grammar::Parser;
use culver_base::{Malformed, SearchKey, SystemFlags};
use std::borrow::Cow;

/// How deep OR, NOT and parentheses may nest. Everything that walks a key goes this deep at most; the
/// deepest that programs are known to send are chains of OR over some ten alternatives.
pub const MAX_DEPTH: usize = 100;
/// How many keys one SEARCH may have, so that evaluation and memory stay bounded.
pub const MAX_KEYS: usize = 10_000;

type Key<'a> = SearchKey<Cow<'a, [u8]>>;

/// `search`
pub fn parse<'a>(p: &mut Parser<'a>, numbering: Numbering) -> Result<Search<'a>, Malformed> {
    p.sp()?;
    let returns = p.search_return_opts()?;
    let charset = if p.take_nocase("CHARSET ") {
        let charset = p.charset()?;
        p.sp()?;
        Some(charset)
    } else {
        None
    };
    Ok(Search { numbering, returns, charset, key: keys(p)? })
}

/// `search-criteria` of SORT and THREAD (RFC 5256 §5): the charset is not optional there.
pub fn criteria<'a>(p: &mut Parser<'a>) -> Result<(&'a str, Key<'a>), Malformed> {
    let charset = p.charset()?;
    p.sp()?;
    Ok((charset, keys(p)?))
}

/// `search-key *(SP search-key)` to the end.
fn keys<'a>(p: &mut Parser<'a>) -> Result<Key<'a>, Malformed> {
    let mut keys = Vec::new();
    let mut left = MAX_KEYS;
    loop {
        keys.push(search_key(p, MAX_DEPTH, &mut left)?);
        if p.at_end() {
            return Ok(all_of(keys));
        }
        p.sp()?;
    }
}

/// Several keys are their intersection.
fn all_of(mut keys: Vec<Key<'_>>) -> Key<'_> {
    match keys.pop() {
        Some(key) if keys.is_empty() => key,
        Some(key) => {
            keys.push(key);
            SearchKey::And(keys)
        }
        None => SearchKey::All,
    }
}

/// `search-key`, at most `depth` levels, of which at most `left` more may come.
fn search_key<'a>(p: &mut Parser<'a>, depth: usize, left: &mut usize) -> Result<Key<'a>, Malformed> {
    let depth = depth.checked_sub(1).ok_or(p.malformed("at most 100 levels of search keys"))?;
    *left = left.checked_sub(1).ok_or(p.malformed("at most 10000 search keys"))?;
    match p.peek() {
        Some(b'(') => {
            let mut keys = Vec::new();
            p.list("search keys", crate::grammar::List::NotEmpty, |p| {
                keys.push(search_key(p, depth, left)?);
                Ok(())
            })?;
            return Ok(all_of(keys));
        }
        Some(b'0'..=b'9' | b'*' | b'$') => return p.sequence_set().map(SearchKey::Sequence),
        _ => {}
    }
    let at = p.malformed("a search key");
    let word = p.word(at.expected)?;
    Ok(match word.as_str() {
        "ALL" => SearchKey::All,
        "ANSWERED" => SearchKey::Flag(SystemFlags::ANSWERED),
        "DELETED" => SearchKey::Flag(SystemFlags::DELETED),
        "DRAFT" => SearchKey::Flag(SystemFlags::DRAFT),
        "FLAGGED" => SearchKey::Flag(SystemFlags::FLAGGED),
        "SEEN" => SearchKey::Flag(SystemFlags::SEEN),
        "UNANSWERED" => not(SearchKey::Flag(SystemFlags::ANSWERED)),
        "UNDELETED" => not(SearchKey::Flag(SystemFlags::DELETED)),
        "UNDRAFT" => not(SearchKey::Flag(SystemFlags::DRAFT)),
        "UNFLAGGED" => not(SearchKey::Flag(SystemFlags::FLAGGED)),
        "UNSEEN" => not(SearchKey::Flag(SystemFlags::SEEN)),
        "RECENT" => SearchKey::Recent,
        "NEW" => SearchKey::New,
        "OLD" => SearchKey::Old,
        "KEYWORD" => SearchKey::Keyword(sp(p)?.flag_keyword()?),
        "UNKEYWORD" => not(SearchKey::Keyword(sp(p)?.flag_keyword()?)),
        "BEFORE" => SearchKey::Before(sp(p)?.date()?),
        "ON" => SearchKey::On(sp(p)?.date()?),
        "SINCE" => SearchKey::Since(sp(p)?.date()?),
        "SENTBEFORE" => SearchKey::SentBefore(sp(p)?.date()?),
        "SENTON" => SearchKey::SentOn(sp(p)?.date()?),
        "SENTSINCE" => SearchKey::SentSince(sp(p)?.date()?),
        "LARGER" => SearchKey::Larger(sp(p)?.number64("octets")?),
        "SMALLER" => SearchKey::Smaller(sp(p)?.number64("octets")?),
        "OLDER" => SearchKey::Older(sp(p)?.interval()?),
        "YOUNGER" => SearchKey::Younger(sp(p)?.interval()?),
        "BCC" => header(b"Bcc", p)?,
        "CC" => header(b"Cc", p)?,
        "FROM" => header(b"From", p)?,
        "SUBJECT" => header(b"Subject", p)?,
        "TO" => header(b"To", p)?,
        "HEADER" => {
            let name = sp(p)?.astring("the name of a header field")?;
            SearchKey::Header { name, text: text(p)? }
        }
        "BODY" => SearchKey::Body(text(p)?),
        "TEXT" => SearchKey::Text(text(p)?),
        "UID" => SearchKey::Uid(sp(p)?.sequence_set()?),
        "MODSEQ" => SearchKey::ModSeq(sp(p)?.search_modsequence()?),
        "NOT" => not(search_key(sp(p)?, depth, left)?),
        "OR" => {
            let one = search_key(sp(p)?, depth, left)?;
            let other = search_key(sp(p)?, depth, left)?;
            SearchKey::Or(Box::new(one), Box::new(other))
        }
        _ => return Err(at),
    })
}

/// `SP`, and on.
fn sp<'p, 'a>(p: &'p mut Parser<'a>) -> Result<&'p mut Parser<'a>, Malformed> {
    p.sp()?;
    Ok(p)
}

fn not(key: Key<'_>) -> Key<'_> {
    SearchKey::Not(Box::new(key))
}

/// `SP astring`
fn text<'a>(p: &mut Parser<'a>) -> Result<Cow<'a, [u8]>, Malformed> {
    sp(p)?.astring("a text to look for")
}

fn header<'a>(name: &'static [u8], p: &mut Parser<'a>) -> Result<Key<'a>, Malformed> {
    Ok(SearchKey::Header { name: Cow::Borrowed(name), text: text(p)? })
}
