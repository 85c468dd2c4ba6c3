//! UTF8 (RFC 6856 §2.1): headers in UTF-8 are sent as they are from now on.

use crate::context::Context;
use culver_pop3::language::Text;

/// UTF8.
pub fn run(cx: &mut Context) {
    cx.utf8 = true;
    cx.ok(&Text::Utf8IsOn);
}
