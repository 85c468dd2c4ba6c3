//! SEARCH (RFC 3501 §7.2.5) and ESEARCH (RFC 9051 §7.3.4), with MODSEQ (RFC 7162 §3.1.5, §3.1.10).

use super::sort::ordered_set;
use super::text::{number, quoted, uid_set};
use crate::command::Numbering;
use culver_base::{ModSeq, UidSet};

/// SEARCH. `mod_seq` is left out when nothing was found, as the grammar wants.
pub fn search(out: &mut Vec<u8>, found: impl IntoIterator<Item = u32>, mod_seq: Option<ModSeq>) {
    out.extend_from_slice(b"* SEARCH");
    let before = out.len();
    for n in found {
        out.push(b' ');
        number(out, u64::from(n));
    }
    if let Some(mod_seq) = mod_seq.filter(|_| out.len() > before) {
        out.extend_from_slice(b" (MODSEQ ");
        number(out, mod_seq.get());
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}

/// What was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum All<'a> {
    /// By SEARCH.
    Set(&'a UidSet),
    /// By SORT, in this order (RFC 5267 §3.1).
    Ordered(&'a [u32]),
}

/// What ESEARCH says. What is `None` is not there; so is an empty `all` (RFC 4731 §3.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Esearch<'a> {
    /// The tag of the command that asked.
    pub tag: Option<&'a str>,
    /// Are the numbers UIDs?
    pub numbering: Numbering,
    /// MIN
    pub min: Option<u32>,
    /// MAX
    pub max: Option<u32>,
    /// ALL
    pub all: Option<All<'a>>,
    /// COUNT
    pub count: Option<u64>,
    /// MODSEQ
    pub mod_seq: Option<ModSeq>,
}

/// ESEARCH
pub fn esearch(out: &mut Vec<u8>, found: &Esearch<'_>) {
    out.extend_from_slice(b"* ESEARCH");
    if let Some(tag) = found.tag {
        out.extend_from_slice(b" (TAG ");
        quoted(out, tag.as_bytes());
        out.push(b')');
    }
    if found.numbering == Numbering::Uid {
        out.extend_from_slice(b" UID");
    }
    let mut item = |name: &[u8], value: Option<u64>| {
        if let Some(value) = value {
            out.extend_from_slice(name);
            number(out, value);
        }
    };
    item(b" MIN ", found.min.map(u64::from));
    item(b" MAX ", found.max.map(u64::from));
    item(b" COUNT ", found.count);
    item(b" MODSEQ ", found.mod_seq.map(ModSeq::get));
    match found.all {
        Some(All::Set(all)) if !all.is_empty() => {
            out.extend_from_slice(b" ALL ");
            uid_set(out, all);
        }
        Some(All::Ordered(all)) if !all.is_empty() => {
            out.extend_from_slice(b" ALL ");
            ordered_set(out, all);
        }
        _ => (),
    }
    out.extend_from_slice(b"\r\n");
}
