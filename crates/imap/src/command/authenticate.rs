//! AUTHENTICATE (RFC 9051 §6.2.2), with the initial response of SASL-IR (RFC 4959).

use super::NotAuthenticated;
use crate::grammar::Parser;
use culver_base::Malformed;

/// `authenticate`, its first line. The client's further lines are read by [`crate::Framer::line`].
pub fn parse<'a>(p: &mut Parser<'a>) -> Result<NotAuthenticated<'a>, Malformed> {
    p.sp()?;
    let mechanism = p.atom("a SASL mechanism")?;
    if p.at_end() {
        return Ok(NotAuthenticated::Authenticate { mechanism, initial: None });
    }
    // Some clients write two spaces here.
    p.sp()?;
    p.take_while(|b| b == b' ');
    let initial = p.take_while1(is_base64, "an initial response in BASE64, or =")?;
    Ok(NotAuthenticated::Authenticate { mechanism, initial: Some(initial) })
}

/// `base64-char` and the padding. Whether they stand in the right places the decoder says.
fn is_base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')
}
