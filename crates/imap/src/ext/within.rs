//! WITHIN (RFC 5032): OLDER and YOUNGER. Used by `command::search`.

use crate::grammar::Parser;
use culver_base::Malformed;

impl Parser<'_> {
    /// The interval of OLDER and YOUNGER, in seconds.
    pub fn interval(&mut self) -> Result<u32, Malformed> {
        self.nz_number("a number of seconds from 1")
    }
}
