//! SPECIAL-USE and CREATE-SPECIAL-USE (RFC 6154). `create-param` is used by `command::create`; the options of LIST are
//! words in `ext::list_extended`.

use crate::grammar::{List, Parser};
use culver_base::{Malformed, SpecialUse};

impl<'a> Parser<'a> {
    /// `[SP "(" create-param *(SP create-param) ")"]` (RFC 4466 §2.2): USE is the only one. Returns the uses we know
    /// and the first we do not.
    pub fn create_params(&mut self) -> Result<(Vec<SpecialUse>, Option<&'a str>), Malformed> {
        let (mut uses, mut unknown) = (Vec::new(), None);
        if self.at_end() {
            return Ok((uses, unknown));
        }
        self.sp()?;
        let mut seen = false;
        self.list("a list of CREATE parameters", List::NotEmpty, |p| {
            let at = p.malformed("USE, once");
            if seen || p.word(at.expected)?.as_str() != "USE" {
                return Err(at);
            }
            seen = true;
            p.sp()?;
            p.list("a list of special uses", List::MayBeEmpty, |p| {
                let at = p.malformed("a special use such as \\Sent");
                let name = p.flag()?;
                match SpecialUse::parse(name) {
                    Some(known) if uses.contains(&known) => {}
                    Some(known) => uses.push(known),
                    None if name.starts_with('\\') => unknown = unknown.or(Some(name)),
                    None => return Err(at),
                }
                Ok(())
            })
        })?;
        Ok((uses, unknown))
    }
}
