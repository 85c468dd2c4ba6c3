//! SORT and UID SORT (RFC 5256), with RETURN (RFC 5267 §3) and the keys of SORT=DISPLAY (RFC 5957).

use super::{Numbering, Order, Sort, SortCriterion, SortKey};
use crate::grammar::{List, Parser};
use culver_base::Malformed;

/// `sort`
pub fn parse<'a>(p: &mut Parser<'a>, numbering: Numbering) -> Result<Sort<'a>, Malformed> {
    p.sp()?;
    let returns = p.search_return_opts()?;
    let mut program = Vec::new();
    p.list("a list of sort keys", List::NotEmpty, |p| {
        program.push(criterion(p)?);
        Ok(())
    })?;
    p.sp()?;
    let (charset, key) = super::search::criteria(p)?;
    Ok(Sort { numbering, returns, program, charset, key })
}

/// `sort-criterion`
fn criterion(p: &mut Parser<'_>) -> Result<SortCriterion, Malformed> {
    let order = if p.take_nocase("REVERSE ") { Order::Descending } else { Order::Ascending };
    let at = p.malformed("a sort key such as DATE or REVERSE SUBJECT");
    let key = match p.word(at.expected)?.as_str() {
        "ARRIVAL" => SortKey::Arrival,
        "CC" => SortKey::Cc,
        "DATE" => SortKey::Date,
        "DISPLAYFROM" => SortKey::DisplayFrom,
        "DISPLAYTO" => SortKey::DisplayTo,
        "FROM" => SortKey::From,
        "SIZE" => SortKey::Size,
        "SUBJECT" => SortKey::Subject,
        "TO" => SortKey::To,
        _ => return Err(at),
    };
    Ok(SortCriterion { key, order })
}
