//! LIST (RFC 9051 §6.3.9), with its options (RFC 5258, RFC 5819, RFC 6154).

use super::List;
use crate::grammar::Parser;
use culver_base::Malformed;

/// `list`
pub fn parse(p: &mut Parser<'_>) -> Result<List, Malformed> {
    p.sp()?;
    let mut list = List::default();
    if p.peek() == Some(b'(') {
        list.extended = true;
        list.select = p.list_select_opts()?;
        p.sp()?;
    }
    list.reference = p.reference()?;
    p.sp()?;
    if p.peek() == Some(b'(') {
        list.extended = true;
        list.patterns = p.patterns()?;
    } else {
        list.patterns = vec![p.list_mailbox()?];
    }
    if !p.at_end() {
        list.extended = true;
        p.sp()?;
        list.returns = p.list_return_opts()?;
    }
    Ok(list)
}
