//! THREAD and UID THREAD (RFC 5256).

use super::{Numbering, Thread, ThreadAlgorithm};
use crate::grammar::Parser;
use culver_base::Malformed;

/// `thread`
pub fn parse<'a>(p: &mut Parser<'a>, numbering: Numbering) -> Result<Thread<'a>, Malformed> {
    p.sp()?;
    let at = p.malformed("ORDEREDSUBJECT or REFERENCES");
    let algorithm = match p.word(at.expected)?.as_str() {
        "ORDEREDSUBJECT" => ThreadAlgorithm::OrderedSubject,
        "REFERENCES" => ThreadAlgorithm::References,
        _ => return Err(at),
    };
    p.sp()?;
    let (charset, key) = super::search::criteria(p)?;
    Ok(Thread { numbering, algorithm, charset, key })
}
