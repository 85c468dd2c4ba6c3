//! Responses about mailboxes (RFC 9051 §7.2, §7.3, §7.4): LIST, STATUS, NAMESPACE, FLAGS, EXISTS, EXPUNGE and VANISHED.

use super::text::{mailbox, number, quoted, uid_set};
use crate::command::StatusItem;
use crate::ext::utf8::Dialect;
use culver_base::{SeqNo, UidSet};

/// Words divided by spaces.
pub(super) fn words<'a>(out: &mut Vec<u8>, words: impl IntoIterator<Item = &'a str>) {
    for (i, word) in words.into_iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word.as_bytes());
    }
}

/// FLAGS
pub fn flags<'a>(out: &mut Vec<u8>, names: impl IntoIterator<Item = &'a str>) {
    out.extend_from_slice(b"* FLAGS (");
    words(out, names);
    out.extend_from_slice(b")\r\n");
}

fn counted(out: &mut Vec<u8>, n: u64, what: &str) {
    out.extend_from_slice(b"* ");
    number(out, n);
    out.push(b' ');
    out.extend_from_slice(what.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// EXISTS
pub fn exists(out: &mut Vec<u8>, messages: u32) {
    counted(out, u64::from(messages), "EXISTS");
}

/// RECENT (RFC 3501 §7.3.2)
pub fn recent(out: &mut Vec<u8>, messages: u32) {
    counted(out, u64::from(messages), "RECENT");
}

/// EXPUNGE
pub fn expunge(out: &mut Vec<u8>, number: SeqNo) {
    counted(out, u64::from(number.get()), "EXPUNGE");
}

/// Which of its two meanings VANISHED has (RFC 7162 §3.2.10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vanished {
    /// `(EARLIER)`: gone before, in answer to SELECT or UID FETCH. Sequence numbers stay.
    Earlier,
    /// Gone now, instead of EXPUNGE.
    Now,
}

/// VANISHED (RFC 7162 §3.2.10). Nothing for an empty set.
pub fn vanished(out: &mut Vec<u8>, when: Vanished, uids: &UidSet) {
    if uids.is_empty() {
        return;
    }
    out.extend_from_slice(match when {
        Vanished::Earlier => b"* VANISHED (EARLIER) ",
        Vanished::Now => b"* VANISHED ",
    });
    uid_set(out, uids);
    out.extend_from_slice(b"\r\n");
}

/// What LIST says of a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ListEntry<'a> {
    /// `\HasChildren`, `\Noselect`, `\Sent`, ...
    pub attributes: &'a [&'a str],
    /// Hierarchy separator; `None` where there is no hierarchy.
    pub separator: Option<char>,
    /// Its name in Unicode; empty in answer to `LIST "" ""`.
    pub name: &'a str,
    /// CHILDINFO (RFC 5258 §3.5): the selection options that children match.
    pub child_info: &'a [&'a str],
    /// OLDNAME (RFC 9051 §6.3.9.7): the name under which it was known, or by which the client called it.
    pub old_name: Option<&'a str>,
}

/// LIST
pub fn list(out: &mut Vec<u8>, entry: &ListEntry<'_>, dialect: Dialect) {
    listed(out, b"* LIST (", entry, dialect);
    if entry.child_info.is_empty() && entry.old_name.is_none() {
        out.extend_from_slice(b"\r\n");
        return;
    }
    out.extend_from_slice(b" (");
    if !entry.child_info.is_empty() {
        out.extend_from_slice(b"\"CHILDINFO\" (");
        for (i, option) in entry.child_info.iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            quoted(out, option.as_bytes());
        }
        out.push(b')');
        if entry.old_name.is_some() {
            out.push(b' ');
        }
    }
    if let Some(name) = entry.old_name {
        out.extend_from_slice(b"\"OLDNAME\" (");
        mailbox(out, name, dialect);
        out.push(b')');
    }
    out.extend_from_slice(b")\r\n");
}

/// LSUB (RFC 3501 §7.2.3), which has no extended data.
pub fn lsub(out: &mut Vec<u8>, entry: &ListEntry<'_>, dialect: Dialect) {
    listed(out, b"* LSUB (", entry, dialect);
    out.extend_from_slice(b"\r\n");
}

fn listed(out: &mut Vec<u8>, head: &[u8], entry: &ListEntry<'_>, dialect: Dialect) {
    out.extend_from_slice(head);
    words(out, entry.attributes.iter().copied());
    out.extend_from_slice(b") ");
    separator(out, entry.separator);
    out.push(b' ');
    mailbox(out, entry.name, dialect);
}

/// `DQUOTE QUOTED-CHAR DQUOTE / nil`
fn separator(out: &mut Vec<u8>, separator: Option<char>) {
    match separator {
        Some(c) => quoted(out, c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// STATUS. A value of `None` is NIL, which only APPENDLIMIT may be (RFC 7889 §3.2).
pub fn status_response(
    out: &mut Vec<u8>,
    name: &str,
    items: impl IntoIterator<Item = (StatusItem, Option<u64>)>,
    dialect: Dialect,
) {
    out.extend_from_slice(b"* STATUS ");
    mailbox(out, name, dialect);
    out.extend_from_slice(b" (");
    for (i, (item, value)) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(match item {
            StatusItem::Messages => b"MESSAGES ",
            StatusItem::Recent => b"RECENT ",
            StatusItem::UidNext => b"UIDNEXT ",
            StatusItem::UidValidity => b"UIDVALIDITY ",
            StatusItem::Unseen => b"UNSEEN ",
            StatusItem::Deleted => b"DELETED ",
            StatusItem::DeletedStorage => b"DELETED-STORAGE ",
            StatusItem::Size => b"SIZE ",
            StatusItem::HighestModSeq => b"HIGHESTMODSEQ ",
            StatusItem::AppendLimit => b"APPENDLIMIT ",
        });
        match value {
            Some(value) => number(out, value),
            None => out.extend_from_slice(b"NIL"),
        }
    }
    out.extend_from_slice(b")\r\n");
}

/// A namespace: its prefix in Unicode, and its hierarchy separator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Namespace<'a> {
    /// What its names begin with; may be empty.
    pub prefix: &'a str,
    /// `None` where there is no hierarchy.
    pub separator: Option<char>,
}

/// NAMESPACE (RFC 9051 §7.3.3): personal, other users', shared; NIL where there is none.
pub fn namespace(
    out: &mut Vec<u8>,
    personal: &[Namespace<'_>],
    other: &[Namespace<'_>],
    shared: &[Namespace<'_>],
    dialect: Dialect,
) {
    out.extend_from_slice(b"* NAMESPACE");
    for kind in [personal, other, shared] {
        out.push(b' ');
        if kind.is_empty() {
            out.extend_from_slice(b"NIL");
            continue;
        }
        out.push(b'(');
        for space in kind {
            out.push(b'(');
            // The prefix is a `string`: never bare.
            if dialect.utf8 {
                quoted(out, space.prefix.as_bytes());
            } else {
                quoted(out, culver_base::mutf7::encode(space.prefix).as_bytes());
            }
            out.push(b' ');
            separator(out, space.separator);
            out.push(b')');
        }
        out.push(b')');
    }
    out.extend_from_slice(b"\r\n");
}
