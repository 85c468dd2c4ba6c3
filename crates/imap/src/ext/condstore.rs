//! CONDSTORE (RFC 7162 §3.1): mod-sequences as conditions.
//!
//! Used by `command::fetch` (CHANGEDSINCE), `command::store` (UNCHANGEDSINCE) and `command::search` (MODSEQ). Its
//! parameter of SELECT and its items of FETCH and STATUS are words in those files.

use crate::command::Numbering;
use crate::grammar::{List, Parser};
use culver_base::{Malformed, ModSeq};

/// `fetch-modifiers`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct FetchModifiers {
    /// CHANGEDSINCE
    pub changed_since: Option<ModSeq>,
    /// VANISHED of QRESYNC
    pub vanished: bool,
}

impl Parser<'_> {
    /// `[SP "(" fetch-modifier *(SP fetch-modifier) ")"]` (RFC 4466 §2.4).
    pub(crate) fn fetch_modifiers(&mut self, numbering: Numbering) -> Result<FetchModifiers, Malformed> {
        let mut modifiers = FetchModifiers::default();
        if self.at_end() {
            return Ok(modifiers);
        }
        self.sp()?;
        let start = self.malformed("VANISHED only with CHANGEDSINCE and in UID FETCH");
        self.list("a list of FETCH modifiers", List::NotEmpty, |p| {
            let at = p.malformed("CHANGEDSINCE or VANISHED, once");
            match p.word(at.expected)?.as_str() {
                "CHANGEDSINCE" if modifiers.changed_since.is_none() => {
                    p.sp()?;
                    modifiers.changed_since = Some(p.mod_sequence()?);
                }
                "VANISHED" if !modifiers.vanished => modifiers.vanished = true,
                _ => return Err(at),
            }
            Ok(())
        })?;
        // RFC 7162 §3.2.6: BAD otherwise.
        if modifiers.vanished && (modifiers.changed_since.is_none() || numbering != Numbering::Uid) {
            return Err(start);
        }
        Ok(modifiers)
    }

    /// `["(" store-modifier ")" SP]` (RFC 4466 §2.5): UNCHANGEDSINCE is the only one.
    pub fn store_modifiers(&mut self) -> Result<Option<ModSeq>, Malformed> {
        if self.peek() != Some(b'(') {
            return Ok(None);
        }
        let mut unchanged_since = None;
        self.list("a list of STORE modifiers", List::NotEmpty, |p| {
            let at = p.malformed("UNCHANGEDSINCE, once");
            if unchanged_since.is_some() || p.word(at.expected)?.as_str() != "UNCHANGEDSINCE" {
                return Err(at);
            }
            p.sp()?;
            unchanged_since = Some(p.mod_sequence()?);
            Ok(())
        })?;
        self.sp()?;
        Ok(unchanged_since)
    }

    /// `[entry-name SP entry-type-req SP] mod-sequence-valzer` of `search-modsequence`. A message has one
    /// mod-sequence for all its flags, so that the entry makes no difference (RFC 7162 §3.1.5).
    pub fn search_modsequence(&mut self) -> Result<ModSeq, Malformed> {
        if self.peek() == Some(b'"') {
            let at = self.malformed("\"/flags/...\"");
            if !self.string()?.to_ascii_lowercase().starts_with(b"/flags/") {
                return Err(at);
            }
            self.sp()?;
            let at = self.malformed("priv, shared or all");
            if !matches!(self.word(at.expected)?.as_str(), "PRIV" | "SHARED" | "ALL") {
                return Err(at);
            }
            self.sp()?;
        }
        self.mod_sequence()
    }
}
