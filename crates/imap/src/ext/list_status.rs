//! LIST-STATUS (RFC 5819): STATUS of each listed mailbox. Used by `ext::list_extended`.

use crate::command::{ListReturn, status};
use crate::grammar::Parser;
use culver_base::Malformed;

impl Parser<'_> {
    /// `status-option` after its name.
    pub fn status_option(&mut self) -> Result<ListReturn, Malformed> {
        self.sp()?;
        status::items(self).map(ListReturn::Status)
    }
}
