//! The configuration: TOML text in, settings with spans out.
//!
//! Pure: knows no file, clock or socket. Every setting is written once, in [`settings`]: its name, type, default,
//! documentation, example, and whether a reload is enough. From there come the typed [`Settings`], what
//! `culver config check` finds wrong, `culver config show`, the default file and the reference page.
//!
//! Promises: all problems are found in one go, each with line and column and what to write instead; a text with errors
//! gives no settings that could be served with by mistake.

mod check;
mod check_sources;
pub mod fuzz;
mod item;
mod nearest;
mod print;
mod problem;
mod section;
pub mod settings;
mod value;

pub use check::MECHANISMS;
pub use print::{changes_for_restart, differing, default_file, reference, show};
pub use problem::{Problem, Severity};
pub use section::{Applies, Row};
pub use settings::Settings;
pub use value::{Mode, Size};

use std::collections::BTreeMap;
use std::ops::Range;

/// Where in the text each setting stands, by its path such as `imap.idle_timeout` or `mailbox[1].name`.
pub type Origins = BTreeMap<String, Range<usize>>;

/// What a text came to.
#[derive(Debug)]
pub struct Parsed {
    /// The settings; of no use when there are errors.
    pub settings: Settings,
    /// Everything that is wrong or doubtful, in the order of the text.
    pub problems: Vec<Problem>,
    /// What was set in the text; all else has its default.
    pub origins: Origins,
}

impl Parsed {
    /// Is there something that must be repaired before the server can start?
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|p| p.severity == Severity::Error)
    }
}

/// Reads a configuration. Never fails: what is wrong stands in [`Parsed::problems`].
pub fn parse(text: &str) -> Parsed {
    let mut reader = section::Reader::default();
    let (table, errors) = toml::de::DeTable::parse_recoverable(text);
    for error in errors {
        reader.problems.push(Problem::syntax(error.message(), error.span()));
    }
    let mut settings = Settings::default();
    section::Section::read(&mut settings, table.get_ref(), &mut reader);
    let mut parsed = Parsed { settings, problems: reader.problems, origins: reader.origins };
    if !parsed.has_errors() {
        check::check(&mut parsed);
    }
    parsed.problems.sort_by_key(|p| p.span.as_ref().map_or(usize::MAX, |s| s.start));
    parsed
}
