//! SEARCHRES (RFC 5182): SAVE, and `$` for what was saved.
//!
//! Used by `ext::esearch` for the return option. `$` stands wherever `sequence-set` does: see `sequence_set`
//! in `grammar`.

use crate::command::SearchReturn;

/// `"SAVE"`
pub(crate) fn return_opt(word: &str) -> Option<SearchReturn> {
    (word == "SAVE").then_some(SearchReturn::Save)
}
