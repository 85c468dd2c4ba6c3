//! STATUS (RFC 9051 §6.3.11), with HIGHESTMODSEQ (RFC 7162 §3.1.7), SIZE (RFC 8438), APPENDLIMIT
//! (RFC 7889) and DELETED-STORAGE (RFC 9208 §4.1.4).

use super::{Authenticated, StatusItem};
use crate::grammar::{List, Parser};
use culver_base::Malformed;

/// `status`
pub fn parse<'a>(p: &mut Parser<'a>) -> Result<Authenticated<'a>, Malformed> {
    p.sp()?;
    let mailbox = p.mailbox()?;
    p.sp()?;
    let items = items(p)?;
    Ok(Authenticated::Status { mailbox, items })
}

/// `"(" status-att *(SP status-att) ")"`, each kept once.
pub fn items(p: &mut Parser<'_>) -> Result<Vec<StatusItem>, Malformed> {
    let mut items = Vec::new();
    p.list("a list of status items", List::NotEmpty, |p| {
        let item = status_att(p)?;
        if !items.contains(&item) {
            items.push(item);
        }
        Ok(())
    })?;
    Ok(items)
}

/// `status-att`
fn status_att(p: &mut Parser<'_>) -> Result<StatusItem, Malformed> {
    let at = p.malformed("a status item such as MESSAGES");
    Ok(match p.word(at.expected)?.as_str() {
        "MESSAGES" => StatusItem::Messages,
        "RECENT" => StatusItem::Recent,
        "UIDNEXT" => StatusItem::UidNext,
        "UIDVALIDITY" => StatusItem::UidValidity,
        "UNSEEN" => StatusItem::Unseen,
        "DELETED" => StatusItem::Deleted,
        "DELETED-STORAGE" => StatusItem::DeletedStorage,
        "SIZE" => StatusItem::Size,
        "HIGHESTMODSEQ" => StatusItem::HighestModSeq,
        "APPENDLIMIT" => StatusItem::AppendLimit,
        _ => return Err(at),
    })
}
