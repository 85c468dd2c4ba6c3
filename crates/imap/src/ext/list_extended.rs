//! LIST-EXTENDED (RFC 5258, RFC 9051 §6.3.9): options of LIST and several patterns. Used by `command::list`.

use crate::command::{ListReturn, ListSelect};
use crate::grammar::{List, Parser};
use culver_base::Malformed;

impl Parser<'_> {
    /// `list-select-opts`
    pub fn list_select_opts(&mut self) -> Result<Vec<ListSelect>, Malformed> {
        let start = self.malformed("RECURSIVEMATCH only with SUBSCRIBED");
        let mut options = Vec::new();
        self.list("a list of selection options", List::MayBeEmpty, |p| {
            let at = p.malformed("SUBSCRIBED, REMOTE, RECURSIVEMATCH or SPECIAL-USE");
            let option = match p.word(at.expected)?.as_str() {
                "SUBSCRIBED" => ListSelect::Subscribed,
                "REMOTE" => ListSelect::Remote,
                "RECURSIVEMATCH" => ListSelect::RecursiveMatch,
                "SPECIAL-USE" => ListSelect::SpecialUse,
                _ => return Err(at), // RFC 5258 §3: unknown options are BAD.
            };
            if !options.contains(&option) {
                options.push(option);
            }
            Ok(())
        })?;
        // The grammar's `list-select-mod-opt` needs a `list-select-base-opt`: "(REMOTE RECURSIVEMATCH)" is not allowed.
        if options.contains(&ListSelect::RecursiveMatch) && !options.contains(&ListSelect::Subscribed) {
            return Err(start);
        }
        Ok(options)
    }

    /// `patterns`
    pub fn patterns(&mut self) -> Result<Vec<String>, Malformed> {
        let mut patterns = Vec::new();
        self.list("a list of patterns", List::NotEmpty, |p| {
            patterns.push(p.list_mailbox()?);
            Ok(())
        })?;
        Ok(patterns)
    }

    /// `list-return-opts`
    pub fn list_return_opts(&mut self) -> Result<Vec<ListReturn>, Malformed> {
        let at = self.malformed("RETURN or the end of the command");
        if !self.take_nocase("RETURN ") {
            return Err(at);
        }
        let mut options = Vec::new();
        self.list("a list of return options", List::MayBeEmpty, |p| {
            let at = p.malformed("SUBSCRIBED, CHILDREN, SPECIAL-USE or STATUS");
            let option = match p.word(at.expected)?.as_str() {
                "SUBSCRIBED" => ListReturn::Subscribed,
                "CHILDREN" => ListReturn::Children,
                "SPECIAL-USE" => ListReturn::SpecialUse,
                "STATUS" => p.status_option()?,
                _ => return Err(at),
            };
            if !options.contains(&option) {
                options.push(option);
            }
            Ok(())
        })?;
        Ok(options)
    }
}
