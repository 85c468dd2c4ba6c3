//! What is wrong with a configuration, shown at its place.

use std::fmt::Write as _;
use std::ops::Range;

/// Can the server start in spite of it?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// No.
    Error,
    /// Yes, but it is hardly what was meant.
    Warning,
}

/// One finding.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// Octets of the text; `None` when it is about something that is missing.
    pub span: Option<Range<usize>>,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

impl Problem {
    pub(crate) fn error(
        span: Option<Range<usize>>,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Error, span, what: what.into(), instead: instead.into() }
    }

    pub(crate) fn warning(
        span: Option<Range<usize>>,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, span, what: what.into(), instead: instead.into() }
    }

    pub(crate) fn syntax(message: &str, span: Option<Range<usize>>) -> Self {
        let instead = "write it as TOML: `name = value`, texts in \"quotes\", sections in [brackets]";
        Self::error(span, format!("this is not TOML: {message}"), instead)
    }

    /// Line and column, both from 1; the column counts characters.
    pub fn position(&self, text: &str) -> Option<(usize, usize)> {
        let start = floor(text, self.span.as_ref()?.start);
        let before = &text[..start];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Some((line, column))
    }

    /// As it is shown: place, what is wrong, the line with a caret, what to write.
    pub fn render(&self, file: &str, text: &str) -> String {
        let kind = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let mut out = String::new();
        match (self.position(text), &self.span) {
            (Some((line, column)), Some(span)) => {
                let _ = writeln!(out, "{file}:{line}:{column}: {kind}: {}", self.what);
                let source = text.lines().nth(line - 1).unwrap_or_default();
                let shown: String = source.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                let margin = " ".repeat(line.to_string().len());
                let rest = source.chars().count().saturating_sub(column - 1);
                let (start, end) = (floor(text, span.start), floor(text, span.end));
                let wanted = text[start..end.max(start)].chars().count();
                let carets = "^".repeat(wanted.clamp(1, rest.max(1)));
                let _ = writeln!(out, "{margin} |\n{line} | {shown}");
                let _ = writeln!(out, "{margin} | {}{carets}", " ".repeat(column - 1));
                let _ = writeln!(out, "{margin} = {}", self.instead);
            }
            _ => {
                let _ = writeln!(out, "{file}: {kind}: {}\n  = {}", self.what, self.instead);
            }
        }
        out
    }
}

fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
