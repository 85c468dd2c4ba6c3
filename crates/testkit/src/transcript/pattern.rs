//! Does a response say what the transcript expects?

use super::expand::{self, Vars, variable};
use crate::value::{Kind, Response, Value, parse_values};
use anyhow::{Context, Result, bail};
use culver_base::{Cursor, InternalDate};

/// A parsed `S` line.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// `+`
    Continue,
    /// `closed`: the end of the connection.
    Closed,
    /// `gone 2:3`: the EXPUNGE responses of the step, whatever their order, take away just these messages, by the
    /// numbers they had before.
    Gone(Vec<(u64, u64)>),
    /// `a OK [CODE]`, `* NO|BAD`
    Status {
        /// `*` or the tag.
        tag: String,
        /// Any of these.
        kinds: Vec<Kind>,
        /// The code, if one is written.
        code: Option<Vec<Value>>,
    },
    /// `* ...`
    Data(Vec<Value>),
}

/// Reads the text of an `S` line. Literals are expanded now, bindings when it is compared.
///
/// # Errors
/// When the line makes no sense.
pub fn parse(text: &str, vars: &Vars) -> Result<Pattern> {
    if text == "closed" {
        return Ok(Pattern::Closed);
    }
    if text.starts_with('+') {
        return Ok(Pattern::Continue);
    }
    if let Some(set) = text.strip_prefix("gone ") {
        return Ok(Pattern::Gone(ranges(set).context("`gone` wants numbers")?));
    }
    let (tag, rest) = text.split_once(' ').context("a tag and a response")?;
    let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
    let kinds: Option<Vec<Kind>> = word.split('|').map(Kind::from_word).collect();
    if let Some(kinds) = kinds {
        let code = match after.strip_prefix('[') {
            Some(inside) => {
                let end = inside.rfind(']').context("] is missing")?;
                Some(parse_values(&inside.as_bytes()[..end])?)
            }
            None => None,
        };
        return Ok(Pattern::Status { tag: tag.to_owned(), kinds, code });
    }
    if tag != "*" {
        bail!("{text}: neither `*` nor a tagged OK, NO or BAD");
    }
    Ok(Pattern::Data(parse_values(&literals(rest, vars)?)?))
}

/// `{{...}}` as IMAP's own literals.
fn literals(text: &str, vars: &Vars) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        out.extend_from_slice(before.as_bytes());
        let (inside, after) = after.split_once("}}").context("}} is missing")?;
        for piece in expand::line(&format!("{{{{{inside}}}}}"), vars)? {
            out.extend_from_slice(&piece.bytes);
        }
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

impl Pattern {
    /// Compares, and binds what is not bound yet. When it does not match, `vars` is as before.
    pub fn matches(&self, response: &Response, vars: &mut Vars) -> bool {
        let mut bound = vars.clone();
        let found = match (self, response) {
            (Pattern::Continue, Response::Continue(_)) => true,
            (Pattern::Status { tag, kinds, code }, Response::Status { tag: t, kind, code: c, .. }) => {
                tag == t
                    && kinds.contains(kind)
                    && code.as_ref().is_none_or(|p| code_matches(p, c, &mut bound))
            }
            (Pattern::Data(p), Response::Data(d)) => data_matches(p, d, &mut bound),
            _ => false,
        };
        if found {
            *vars = bound;
        }
        found
    }

    /// `n` of a pattern `* n FETCH (...)` whose number is known.
    pub fn fetch_number(&self) -> Option<u64> {
        match self {
            Pattern::Data(p) if p.len() == 3 && p[1].is("FETCH") => p[0].number(),
            _ => None,
        }
    }
}

fn code_matches(p: &[Value], d: &[Value], vars: &mut Vars) -> bool {
    let Some(name) = p.first() else { return d.is_empty() };
    if d.is_empty() || !value(name, &d[0], vars) {
        return false;
    }
    if name.is("CAPABILITY") {
        return includes(&p[1..], &d[1..], vars);
    }
    if name.is("PERMANENTFLAGS") {
        let (Some(Value::List(p)), Some(Value::List(d))) = (p.get(1), d.get(1)) else { return false };
        return includes(p, d, vars);
    }
    p.len() == 1 || row(&p[1..], &d[1..], vars)
}

fn data_matches(p: &[Value], d: &[Value], vars: &mut Vars) -> bool {
    if p.len() == 3 && p[1].is("FETCH") {
        let (Some(items), [n, word, Value::List(found)]) = (p[2].list(), d) else { return false };
        return word.is("FETCH")
            && value(&p[0], n, vars)
            && pairs(items, found, &["FLAGS", "UID", "MODSEQ"], vars);
    }
    let (Some(name), Some(found)) = (p.first(), d.first()) else { return false };
    let Some(word) = name.atom() else { return row(p, d, vars) };
    match word.to_ascii_uppercase().as_str() {
        "LIST" | "LSUB" => list_matches(p, d, vars),
        "STATUS" => {
            let ([_, n, Value::List(items)], [w, name, Value::List(found)]) = (p, d) else { return false };
            w.is("STATUS") && mailbox(n, name, vars) && pairs(items, found, &[], vars)
        }
        "CAPABILITY" | "ENABLED" => found.is(word) && includes(&p[1..], &d[1..], vars),
        "FLAGS" => match (p, d) {
            ([_, Value::List(p)], [w, Value::List(d)]) => w.is("FLAGS") && includes(p, d, vars),
            _ => false,
        },
        "SEARCH" => found.is("SEARCH") && search_matches(&p[1..], &d[1..], vars),
        "ESEARCH" => {
            let (head_p, items_p) = esearch_head(&p[1..]);
            let (head_d, items_d) = esearch_head(&d[1..]);
            found.is("ESEARCH") && row(head_p, head_d, vars) && pairs(items_p, items_d, &[], vars)
        }
        _ => row(p, d, vars),
    }
}

/// `(TAG x)` and `UID` before the pairs.
fn esearch_head(values: &[Value]) -> (&[Value], &[Value]) {
    let tag = usize::from(values.first().is_some_and(|v| v.list().is_some()));
    let uid = usize::from(values.get(tag).is_some_and(|v| v.is("UID")));
    values.split_at(tag + uid)
}

/// Numbers in any order, then perhaps `(MODSEQ n)`.
fn search_matches(p: &[Value], d: &[Value], vars: &mut Vars) -> bool {
    let split = |v: &[Value]| v.iter().position(|x| x.list().is_some()).unwrap_or(v.len());
    let (pn, pm) = p.split_at(split(p));
    let (dn, dm) = d.split_at(split(d));
    same_members(pn, dn, vars) && row(pm, dm, vars)
}

/// LIST and LSUB: attributes by meaning, delimiter, name, extended data.
fn list_matches(p: &[Value], d: &[Value], vars: &mut Vars) -> bool {
    const NEUTRAL: [&str; 5] =
        ["\\HasChildren", "\\HasNoChildren", "\\Marked", "\\Unmarked", "\\NoInferiors"];
    let ([_, Value::List(pa), psep, pname, pext @ ..], [_, Value::List(da), dsep, dname, dext @ ..]) = (p, d)
    else {
        return false;
    };
    let named = |v: &Value| pa.iter().any(|x| x.atom().is_some_and(|a| a == "..." || v.is(a)));
    p[0].is(d[0].atom().unwrap_or_default())
        && includes(pa, da, vars)
        && da.iter().all(|v| named(v) || NEUTRAL.iter().any(|n| v.is(n)))
        && value(psep, dsep, vars)
        && mailbox(pname, dname, vars)
        && row(pext, dext, vars)
}

/// Is every member of `p` in `d`, and none that `p` says no to (`!X`)?
fn includes(p: &[Value], d: &[Value], vars: &mut Vars) -> bool {
    p.iter().filter(|want| !want.is("...")).all(|want| match want.atom().and_then(|a| a.strip_prefix('!')) {
        Some(never) => !d.iter().any(|v| v.is(never)),
        None => d.iter().any(|v| value(want, v, vars)),
    })
}

/// The same members in any order, `\Recent` aside unless it is named.
fn same_members(p: &[Value], d: &[Value], vars: &mut Vars) -> bool {
    if p.iter().any(|v| v.is("...")) {
        let named: Vec<Value> = p.iter().filter(|v| !v.is("...")).cloned().collect();
        return includes(&named, d, vars);
    }
    let recent = p.iter().any(|v| v.is("\\Recent"));
    let mut left: Vec<&Value> = d.iter().filter(|v| recent || !v.is("\\Recent")).collect();
    for want in p {
        let Some(i) = left.iter().position(|v| value(want, v, vars)) else { return false };
        left.swap_remove(i);
    }
    left.is_empty()
}

/// Name and value, in any order; names in `extra` may come besides.
fn pairs(p: &[Value], d: &[Value], extra: &[&str], vars: &mut Vars) -> bool {
    let any = p.last().is_some_and(|v| v.is("..."));
    let p = if any { &p[..p.len() - 1] } else { p };
    let wanted = grouped(p);
    let found: Vec<&[Value]> = d.chunks(2).collect();
    let name_of = |pair: &[Value]| pair[0].atom().unwrap_or_default().to_ascii_uppercase();
    for pair in &wanted {
        let name = name_of(pair);
        let Some(have) = found.iter().rfind(|f| name_of(f) == name) else { return false };
        let (Some(want), Some(have)) = (pair.get(1), have.get(1)) else { return false };
        let good = match (name.as_str(), want, have) {
            ("FLAGS", Value::List(want), Value::List(have)) => same_members(want, have, vars),
            ("INTERNALDATE", Value::Str(want), Value::Str(have)) => same_moment(want, have),
            _ if want.is("~") => pair.get(2).is_some_and(|part| contains(part, have)),
            _ => value(want, have, vars),
        };
        if !good {
            return false;
        }
    }
    any || found.iter().all(|f| {
        let name = name_of(f);
        extra.contains(&name.as_str()) || wanted.iter().any(|w| name_of(w) == name)
    })
}

/// Are both the same moment? The day may have a zero or a blank before it, and the zone is free.
fn same_moment(a: &[u8], b: &[u8]) -> bool {
    let moment = |text| InternalDate::parse(&mut Cursor::new(text)).ok().map(|d| d.unix);
    a == b || (moment(a).is_some() && moment(a) == moment(b))
}

/// Pairs of a pattern, in which `~ "x"` is one value.
fn grouped(p: &[Value]) -> Vec<&[Value]> {
    let mut out = Vec::new();
    let mut i = 0;
    while i < p.len() {
        let len = if p.get(i + 1).is_some_and(|v| v.is("~")) { 3 } else { 2 };
        out.push(&p[i..p.len().min(i + len)]);
        i += len;
    }
    out
}

fn contains(part: &Value, have: &Value) -> bool {
    match (part, have) {
        (Value::Str(part), Value::Str(have)) => memchr::memmem::find(have, part).is_some(),
        _ => false,
    }
}

/// One after the other.
fn row(p: &[Value], d: &[Value], vars: &mut Vars) -> bool {
    let mut d = d.iter();
    let mut p = p.iter();
    while let Some(want) = p.next() {
        if want.is("...") {
            return true;
        }
        let Some(have) = d.next() else { return false };
        let good = if want.is("~") {
            p.next().is_some_and(|part| contains(part, have))
        } else {
            value(want, have, vars)
        };
        if !good {
            return false;
        }
    }
    d.next().is_none()
}

/// A mailbox name: atom and string are the same, INBOX in any case.
fn mailbox(p: &Value, d: &Value, vars: &mut Vars) -> bool {
    if value(p, d, vars) {
        return true;
    }
    match (p.bytes(), d.bytes()) {
        (Some(p), Some(d)) => {
            p == d || (p.eq_ignore_ascii_case(b"INBOX") && d.eq_ignore_ascii_case(b"INBOX"))
        }
        _ => false,
    }
}

fn value(p: &Value, d: &Value, vars: &mut Vars) -> bool {
    match (p, d) {
        (Value::Atom(a), _) if a == "?" => true,
        (Value::List(p), Value::List(d)) => row(p, d, vars),
        (Value::Nil, Value::Nil) => true,
        (Value::Str(p), Value::Str(d)) => p == d,
        (Value::Atom(a), d) if a.contains('$') => atom_with_names(a, d, vars),
        (Value::Atom(a), d) if a.starts_with('>') && a.len() > 1 => {
            a[1..].parse::<u64>().is_ok_and(|n| d.number().is_some_and(|m| m > n))
        }
        (Value::Atom(a), Value::Atom(b)) => a.eq_ignore_ascii_case(b) || same_set(a, b),
        // `(TAG a)` stands for `(TAG "a")`: where an atom is expected, a string of the same bytes will do.
        (Value::Atom(a), Value::Str(b)) => a.as_bytes() == b,
        _ => false,
    }
}

/// `$x`, `>$x`, `$y>$x`, and names inside a word.
fn atom_with_names(pattern: &str, d: &Value, vars: &mut Vars) -> bool {
    let Some(found) = d.bytes().map(|b| String::from_utf8_lossy(b).into_owned()) else { return false };
    if let Some((bind, old)) = pattern.split_once('>') {
        let old = variable(old).and_then(|(name, _)| vars.get(name)).and_then(|v| v.parse::<u64>().ok());
        let (Some(old), Ok(new)) = (old, found.parse::<u64>()) else { return false };
        return new > old && (bind.is_empty() || word(bind, &found, vars));
    }
    if word(pattern, &found, &mut vars.clone()) {
        return word(pattern, &found, vars);
    }
    // All bound: perhaps the same set in another spelling.
    expand::raw(&pattern.replace('\\', "\\\\"), vars).ok().is_some_and(|p| {
        same_set(&String::from_utf8_lossy(&p), &found) || p.eq_ignore_ascii_case(found.as_bytes())
    })
}

/// Literal stretches and names, from the left; a name takes as little as it can.
fn word(pattern: &str, found: &str, vars: &mut Vars) -> bool {
    let (mut p, mut d) = (pattern, found);
    while !p.is_empty() {
        if let Some((name, after)) = variable(p) {
            if let Some(known) = vars.get(name).cloned() {
                if after.starts_with('+') {
                    return false; // `$x+1`: left to the expansion
                }
                let Some(rest) = d.strip_prefix(known.as_str()) else { return false };
                d = rest;
            } else {
                let end = match after.chars().next() {
                    None | Some('$') => d.len(),
                    Some(c) => d.find(c).unwrap_or(d.len()),
                };
                if end == 0 {
                    return false;
                }
                vars.insert(name.to_owned(), d[..end].to_owned());
                d = &d[end..];
            }
            p = after;
        } else {
            let c = p.chars().next().unwrap_or_default();
            let Some(f) = d.chars().next() else { return false };
            if !c.eq_ignore_ascii_case(&f) {
                return false;
            }
            p = &p[c.len_utf8()..];
            d = &d[f.len_utf8()..];
        }
    }
    d.is_empty()
}

/// Are both sequence sets, and the same numbers?
fn same_set(a: &str, b: &str) -> bool {
    matches!((ranges(a), ranges(b)), (Some(a), Some(b)) if a == b)
}

/// The numbers that messages had before these EXPUNGEs, given in their order.
pub fn numbers_before(expunges: &[u64]) -> Option<Vec<(u64, u64)>> {
    let mut gone: Vec<u64> = Vec::new();
    for &n in expunges {
        // The n-th of those that are left.
        let mut before = n;
        gone.sort_unstable();
        for &g in &gone {
            before += u64::from(g <= before);
        }
        gone.push(before);
    }
    let text: Vec<String> = gone.iter().map(u64::to_string).collect();
    ranges(&text.join(","))
}

/// A sequence set as merged ranges.
pub fn ranges(text: &str) -> Option<Vec<(u64, u64)>> {
    let mut out: Vec<(u64, u64)> = Vec::new();
    for part in text.split(',') {
        let (a, b) = part.split_once(':').unwrap_or((part, part));
        if ![a, b].iter().all(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit())) {
            return None;
        }
        let (a, b): (u64, u64) = (a.parse().ok()?, b.parse().ok()?);
        out.push((a.min(b), a.max(b)));
    }
    out.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (a, b) in out {
        match merged.last_mut() {
            Some(last) if a <= last.1.saturating_add(1) => last.1 = last.1.max(b),
            _ => merged.push((a, b)),
        }
    }
    Some(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::parse_response;

    fn check(pattern: &str, response: &str, vars: &mut Vars) -> bool {
        let pattern = parse(pattern, vars).unwrap();
        pattern.matches(&parse_response(response.as_bytes()).unwrap(), vars)
    }

    #[test]
    fn meanings() {
        let table = [
            ("* 1 FETCH (UID 2)", "* 1 FETCH (FLAGS () UID 2)", true),
            ("* 1 FETCH (UID 2)", "* 1 FETCH (UID 2 ENVELOPE NIL)", false),
            ("* 1 FETCH (FLAGS (\\Seen a))", "* 1 FETCH (FLAGS (A \\Recent \\SEEN))", true),
            ("* 1 FETCH (FLAGS (\\Seen))", "* 1 FETCH (FLAGS ())", false),
            ("* 1 FETCH (BODY[] {{a\\r\\n}})", "* 1 FETCH (BODY[] \"a\r\n\")", true),
            ("* 1 FETCH (BODY[] ~\"b\")", "* 1 FETCH (BODY[] \"abc\")", true),
            ("* 1 FETCH (BODY[] ~\"b\" UID 4)", "* 1 FETCH (BODY[] \"ac\" UID 4)", false),
            (
                "* 1 FETCH (INTERNALDATE \"01-Jan-2024 10:00:00 +0000\")",
                "* 1 FETCH (INTERNALDATE \" 1-Jan-2024 11:00:00 +0100\")",
                true,
            ),
            ("* SEARCH 1 2", "* SEARCH 2 1", true),
            ("* SEARCH 1 2", "* SEARCH 1 2 3", false),
            ("* SEARCH 1 (MODSEQ 4)", "* SEARCH 1 (MODSEQ 4)", true),
            ("* ESEARCH (TAG a) UID COUNT 2 ALL 1:2", "* ESEARCH (TAG \"a\") UID ALL 1,2 COUNT 2", true),
            ("* ESEARCH (TAG a) COUNT 2", "* ESEARCH (TAG \"a\") UID COUNT 2", false),
            ("* VANISHED (EARLIER) 1,2,3", "* VANISHED (EARLIER) 1:3", true),
            ("* LIST () \"/\" inbox", "* LIST (\\HasNoChildren) \"/\" \"INBOX\"", true),
            ("* LIST (!\\NonExistent) \"/\" a", "* LIST (\\NonExistent) \"/\" a", false),
            ("* LIST () \"/\" a", "* LIST (\\Sent) \"/\" a", false),
            ("a NO|BAD", "a BAD x", true),
            ("a NO [TRYCREATE]", "a NO x", false),
            ("a OK [COPYUID ? 1:2 $a:$b]", "a OK [COPYUID 9 1:2 3:4] x", true),
            ("* OK [PERMANENTFLAGS (\\*)]", "* OK [PERMANENTFLAGS (\\Seen \\*)] x", true),
            ("* CAPABILITY A !B", "* CAPABILITY A C", true),
        ];
        for (p, r, wanted) in table {
            assert_eq!(check(p, r, &mut Vars::new()), wanted, "{p} against {r}");
        }
    }

    #[test]
    fn expunges() {
        for row in [&[2, 2][..], &[3, 2], &[2, 2]] {
            assert_eq!(numbers_before(row), ranges("2:3"), "{row:?}");
        }
        assert_eq!(numbers_before(&[1, 3, 1]), ranges("1,2,4"));
    }

    #[test]
    fn names() {
        let mut vars = Vars::new();
        assert!(check("* 1 FETCH (MODSEQ ($old))", "* 1 FETCH (MODSEQ (5))", &mut vars));
        assert!(!check("* 1 FETCH (MODSEQ ($old))", "* 1 FETCH (MODSEQ (6))", &mut vars));
        assert!(check("* 1 FETCH (MODSEQ ($new>$old))", "* 1 FETCH (MODSEQ (6))", &mut vars));
        assert!(!check("* 1 FETCH (MODSEQ (>$new))", "* 1 FETCH (MODSEQ (6))", &mut vars));
        assert!(check("* SEARCH $old+2", "* SEARCH 7", &mut vars));
        assert_eq!(vars["new"], "6");
    }
}
