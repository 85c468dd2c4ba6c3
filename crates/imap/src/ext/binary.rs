//! BINARY (RFC 3516): decoded parts in FETCH, literals with NUL in APPEND.
//!
//! `section-binary` is used by `command::fetch`; `literal8` is read by `Parser::literal` of `grammar`, for which
//! `command::append` asks.

use crate::grammar::Parser;
use culver_base::Malformed;

impl Parser<'_> {
    /// `section-binary`: part numbers, or nothing for the whole message.
    pub fn section_binary(&mut self) -> Result<Vec<u32>, Malformed> {
        self.expect(b'[', "[ and a part number")?;
        let part = if self.peek() == Some(b']') { Vec::new() } else { self.section_part()? };
        self.expect(b']', "] after the part number")?;
        Ok(part)
    }
}
