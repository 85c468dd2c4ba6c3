//! ESEARCH (RFC 4731, RFC 9051 §6.4.4): what SEARCH shall return. Used by `command::search` and, as ESORT
//! (RFC 5267 §3), by `command::sort`.

use crate::command::SearchReturn;
use crate::grammar::{List, Parser};
use culver_base::Malformed;

impl Parser<'_> {
    /// `["RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")" SP]`
    pub fn search_return_opts(&mut self) -> Result<Option<Vec<SearchReturn>>, Malformed> {
        if !self.take_nocase("RETURN ") {
            return Ok(None);
        }
        let mut options = Vec::new();
        self.list("a list of return options", List::MayBeEmpty, |p| {
            let option = p.search_return_opt()?;
            if !options.contains(&option) {
                options.push(option);
            }
            Ok(())
        })?;
        self.sp()?;
        Ok(Some(options))
    }

    /// `search-return-opt`. An option we do not know is an error (RFC 4731 §3.1).
    fn search_return_opt(&mut self) -> Result<SearchReturn, Malformed> {
        let at = self.malformed("MIN, MAX, ALL, COUNT or SAVE");
        let word = self.word(at.expected)?;
        Ok(match word.as_str() {
            "MIN" => SearchReturn::Min,
            "MAX" => SearchReturn::Max,
            "ALL" => SearchReturn::All,
            "COUNT" => SearchReturn::Count,
            word => super::searchres::return_opt(word).ok_or(at)?,
        })
    }
}
