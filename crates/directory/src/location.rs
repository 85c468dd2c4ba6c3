//! Mail locations in Dovecot's words: `maildir:~/Maildir:LAYOUT=fs:CONTROL=/var/control/%u`.
//!
//! Only Maildir is understood. `INDEX=` tells where to look for what only Dovecot's index knows; other options that speak of
//! indexes and caches are read over: Culver keeps its own.

use crate::{Layout, MailLocation};
use std::path::{Path, PathBuf};

/// What variables stand for.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// `%u`, `%{user}`: the whole name.
    pub user: &'a str,
    /// `%h`, `%{home}` and a leading `~`.
    pub home: Option<&'a str>,
}

/// A mail location cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotALocation {
    /// Another format than Maildir.
    #[error("the mail location {0:?} is not a Maildir: write maildir:/path")]
    Format(String),
    /// `~` or `%h` without a home.
    #[error("{0:?} needs a home directory, and the account has none")]
    NoHome(String),
    /// A variable that is unknown.
    #[error(
        "{0:?} has a variable that is not known: use %u, %n, %d, %h (%1n, %Ln) or %{{user}}, %{{user | username}}, %{{user | domain}}, %{{home}}"
    )]
    Variable(String),
    /// A relative path.
    #[error("{0:?} is not an absolute path")]
    Relative(String),
    /// A layout that is unknown.
    #[error("the layout {0:?} is not known: use maildir++ or fs")]
    Layout(String),
}

/// Puts values in the place of variables, those of Dovecot 2.3 (`%d`, `%Ln`, `%1n`, `%{domain}`) and of 2.4
/// (`%{user | domain | substr(0, 1)}`).
///
/// # Errors
/// When a variable is unknown or has no value.
pub fn expand(text: &str, names: &Names<'_>) -> Result<String, NotALocation> {
    let unknown = || NotALocation::Variable(text.to_owned());
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let part = Part::parse(after).ok_or_else(unknown)?;
        let key = part.key.ok_or_else(unknown)?;
        let value = if matches!(key, "h" | "home") {
            names.home.ok_or_else(|| NotALocation::NoHome(text.to_owned()))?
        } else {
            names.value(key).ok_or_else(unknown)?
        };
        let mut value = part.modify(value);
        for filter in part.filters {
            value = filtered(filter, value, names).ok_or_else(unknown)?;
        }
        out.push_str(&value);
        rest = part.rest;
    }
    out.push_str(rest);
    Ok(out)
}

/// How many octets the variable has that begins behind a `%`; `None` when there is none.
pub(crate) fn variable(text: &str) -> Option<usize> {
    let part = Part::parse(text)?;
    part.key.map(|_| text.len() - part.rest.len())
}

impl Names<'_> {
    fn value(&self, key: &str) -> Option<&str> {
        let (local, domain) = self.user.rsplit_once('@').unwrap_or((self.user, ""));
        match key {
            "u" | "user" => Some(self.user),
            "n" | "username" => Some(local),
            "d" | "domain" => Some(domain),
            "%" => Some("%"),
            _ => None,
        }
    }
}

/// What stands behind a `%`.
struct Part<'a> {
    /// `%1.2n`: characters to leave out, and characters to take.
    cut: (usize, Option<usize>),
    lower: bool,
    upper: bool,
    /// The variable, short or long; `None` when it breaks off.
    key: Option<&'a str>,
    /// The filters of 2.4 behind it.
    filters: Vec<&'a str>,
    rest: &'a str,
}

impl<'a> Part<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (first, text) = number(text);
        let (cut, text) = match text.strip_prefix('.') {
            Some(text) => {
                let (width, text) = number(text);
                ((first?, Some(width?)), text)
            }
            None => ((0, first), text),
        };
        let mut part = Self { cut, lower: false, upper: false, key: None, filters: Vec::new(), rest: text };
        loop {
            let letter = part.rest.chars().next()?;
            let behind = &part.rest[letter.len_utf8()..];
            match letter {
                'L' => part.lower = true,
                'U' => part.upper = true,
                '{' => {
                    let (inner, behind) = behind.split_once('}')?;
                    let mut words = inner.split('|').map(str::trim);
                    part.key = words.next();
                    part.filters = words.collect();
                    part.rest = behind;
                    return Some(part);
                }
                _ => {
                    part.key = Some(&part.rest[..letter.len_utf8()]);
                    part.rest = behind;
                    return Some(part);
                }
            }
            part.rest = behind;
        }
    }

    fn modify(&self, value: &str) -> String {
        let (skip, width) = self.cut;
        // Dovecot: a width of 0 is none.
        let width = width.filter(|w| *w > 0).unwrap_or(usize::MAX);
        let value: String = value.chars().skip(skip).take(width).collect();
        match (self.lower, self.upper) {
            (_, true) => value.to_uppercase(),
            (true, _) => value.to_lowercase(),
            _ => value,
        }
    }
}

/// Digits at the beginning, and the rest. More than three are no width of anything.
fn number(text: &str) -> (Option<usize>, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()).min(3);
    (text[..end].parse().ok(), &text[end..])
}

fn filtered(filter: &str, value: String, names: &Names<'_>) -> Option<String> {
    let part = |key| Names { user: &value, ..*names }.value(key).map(str::to_owned);
    match filter {
        "username" | "domain" => part(filter),
        "lower" => Some(value.to_lowercase()),
        "upper" => Some(value.to_uppercase()),
        _ => {
            let arguments = filter.strip_prefix("substr(")?.strip_suffix(')')?;
            let (skip, take) = arguments.split_once(',').map_or((arguments, None), |(s, t)| (s, Some(t)));
            let skip = skip.trim().parse().ok()?;
            let take = take.map_or(Some(usize::MAX), |t| t.trim().parse().ok())?;
            Some(value.chars().skip(skip).take(take).collect())
        }
    }
}

impl MailLocation {
    /// Reads a location with its variables.
    ///
    /// # Errors
    /// When it is not a Maildir below an absolute path.
    pub fn parse(text: &str, names: &Names<'_>) -> Result<Self, NotALocation> {
        let places = if let Some(places) = text.strip_prefix("maildir:") {
            places
        } else if text.starts_with(['/', '~', '%']) {
            text
        } else {
            return Err(NotALocation::Format(text.to_owned()));
        };
        let mut parts = places.split(':');
        let root = path(parts.next().unwrap_or_default(), names)?;
        let mut location = Self { root, control: None, index: None, layout: Layout::default() };
        for option in parts {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            match key.to_ascii_uppercase().as_str() {
                "LAYOUT" => {
                    location.layout =
                        Layout::parse(value).ok_or_else(|| NotALocation::Layout(value.to_owned()))?;
                }
                "CONTROL" => location.control = Some(path(value, names)?),
                "INDEX" if value != "MEMORY" => location.index = Some(path(value, names)?),
                _ => {}
            }
        }
        Ok(location)
    }
}

/// A path with its variables; `~` at its beginning is the home.
pub(crate) fn path(text: &str, names: &Names<'_>) -> Result<PathBuf, NotALocation> {
    let expanded = if text == "~" || text.starts_with("~/") {
        let home = names.home.ok_or_else(|| NotALocation::NoHome(text.to_owned()))?;
        format!("{home}{}", expand(&text[1..], names)?)
    } else {
        expand(text, names)?
    };
    let path = Path::new(&expanded);
    if !path.is_absolute() {
        return Err(NotALocation::Relative(text.to_owned()));
    }
    // Dovecot's paths often end in a slash.
    Ok(path.components().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: Names<'static> = Names { user: "anna@example.com", home: Some("/home/anna") };

    #[test]
    fn locations_as_dovecot_writes_them() {
        let at = |root: &str| MailLocation {
            root: root.into(),
            control: None,
            index: None,
            layout: Layout::MaildirPlusPlus,
        };
        let table = [
            ("maildir:~/Maildir", at("/home/anna/Maildir")),
            ("maildir:~/Mail:LAYOUT=fs", MailLocation { layout: Layout::Fs, ..at("/home/anna/Mail") }),
            ("maildir:/var/vmail/%d/%n/", at("/var/vmail/example.com/anna")),
            ("/srv/%{user | domain}/%{user|username}", at("/srv/example.com/anna")),
            ("maildir:%h/m:INDEX=MEMORY", at("/home/anna/m")),
            (
                "maildir:~/m:INDEX=/i/%u",
                MailLocation { index: Some("/i/anna@example.com".into()), ..at("/home/anna/m") },
            ),
            ("maildir:/m/%d/%1n/%n", at("/m/example.com/a/anna")),
            ("maildir:/m/%1.2n/%Un/%L{domain}", at("/m/nn/ANNA/example.com")),
            ("maildir:/m/%{user | username | substr(0, 1) | upper}/%{domain}", at("/m/A/example.com")),
            ("maildir:/m/100%%", at("/m/100%")),
            (
                "maildir:/m/%u:CONTROL=/c/%u",
                MailLocation { control: Some("/c/anna@example.com".into()), ..at("/m/anna@example.com") },
            ),
        ];
        for (text, location) in table {
            assert_eq!(MailLocation::parse(text, &ANNA), Ok(location), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for text in [
            "mbox:~/mail",
            "",
            "maildir:",
            "maildir:mail",
            "maildir:/m/%x",
            "maildir:/%{",
            "maildir:/m%",
            "maildir:/m%1",
            "maildir:/m%.1n",
            "maildir:/m/%Hn",
            "maildir:/m/%{user | md5}",
            "maildir:/m/%{user | substr(x)}",
            "maildir:/m:LAYOUT=index",
        ] {
            assert!(MailLocation::parse(text, &ANNA).is_err(), "{text}");
        }
        let homeless = Names { user: "a@b", home: None };
        assert!(MailLocation::parse("maildir:~/m", &homeless).is_err());
    }
}
