//! The parameters behind a command: `key=value`, or a bare `key`.

use crate::escape::{escape, unescape};
use std::fmt;

/// Parameters in their order.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Fields(Vec<(String, Option<String>)>);

impl Fields {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// From the part of a line behind its fixed fields.
    pub fn parse(text: &str) -> Self {
        let fields = text.split('\t').filter(|field| !field.is_empty());
        let fields = fields.map(|field| match field.split_once('=') {
            Some((key, value)) => (unescape(key), Some(unescape(value))),
            None => (unescape(field), None),
        });
        Self(fields.collect())
    }

    /// Adds `key=value`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.0.push((key.to_owned(), Some(value.to_string())));
        self
    }

    /// Adds a bare `key`.
    #[must_use]
    pub fn with_flag(mut self, key: &str) -> Self {
        self.0.push((key.to_owned(), None));
        self
    }

    /// The value of the first of this name; `None` when there is none, or it is bare.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).and_then(|(_, value)| value.as_deref())
    }

    /// Is there one of this name, with or without a value?
    pub fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_deref()))
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Each with a TAB before it.
impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.0 {
            match value {
                Some(value) => write!(f, "\t{}={}", escape(key), escape(value))?,
                None => write!(f, "\t{}", escape(key))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsed_and_printed() {
        let fields = Fields::parse("user=anna@example.org\tnologin\treason=Gone\u{1}tfishing=yes");
        assert_eq!(fields.get("user"), Some("anna@example.org"));
        assert_eq!(fields.get("reason"), Some("Gone\tfishing=yes"));
        assert!(fields.has("nologin") && fields.get("nologin").is_none() && !fields.has("login"));
        assert_eq!(fields.to_string(), "\tuser=anna@example.org\tnologin\treason=Gone\u{1}tfishing=yes");
        assert!(Fields::parse("").is_empty() && Fields::parse("\t\t").is_empty());
    }
}
