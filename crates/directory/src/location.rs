//! Mail locations in Dovecot's words: `maildir:~/Maildir:LAYOUT=fs:CONTROL=/var/control/%u`.
//!
//! Only Maildir is understood. Options that speak of indexes and caches are read over: Culver keeps its own.

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
        "{0:?} has a variable that is not known: use %u, %n, %d, %h or %{{user}}, %{{user | username}}, %{{user | domain}}, %{{home}}"
    )]
    Variable(String),
    /// A relative path.
    #[error("{0:?} is not an absolute path")]
    Relative(String),
    /// A layout that is unknown.
    #[error("the layout {0:?} is not known: use maildir++ or fs")]
    Layout(String),
}

/// Puts values in the place of variables, those of Dovecot 2.3 and of 2.4.
///
/// # Errors
/// When a variable is unknown or has no value.
pub fn expand(text: &str, names: &Names<'_>) -> Result<String, NotALocation> {
    let unknown = || NotALocation::Variable(text.to_owned());
    let home = || names.home.ok_or_else(|| NotALocation::NoHome(text.to_owned()));
    let (local, domain) = names.user.rsplit_once('@').unwrap_or((names.user, ""));
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let mut letters = after.chars();
        let letter = letters.next().ok_or_else(unknown)?;
        rest = letters.as_str();
        out.push_str(match letter {
            'u' => names.user,
            'n' => local,
            'd' => domain,
            'h' => home()?,
            '%' => "%",
            '{' => {
                let (inner, behind) = rest.split_once('}').ok_or_else(unknown)?;
                rest = behind;
                let inner: String = inner.chars().filter(|c| !c.is_whitespace()).collect();
                match inner.as_str() {
                    "user" => names.user,
                    "user|username" | "username" => local,
                    "user|domain" | "domain" => domain,
                    "home" => home()?,
                    _ => return Err(unknown()),
                }
            }
            _ => return Err(unknown()),
        });
    }
    out.push_str(rest);
    Ok(out)
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
        let mut location = Self { root, control: None, layout: Layout::default() };
        for option in parts {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            match key.to_ascii_uppercase().as_str() {
                "LAYOUT" => {
                    location.layout =
                        Layout::parse(value).ok_or_else(|| NotALocation::Layout(value.to_owned()))?;
                }
                "CONTROL" => location.control = Some(path(value, names)?),
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
        let at =
            |root: &str| MailLocation { root: root.into(), control: None, layout: Layout::MaildirPlusPlus };
        let table = [
            ("maildir:~/Maildir", at("/home/anna/Maildir")),
            ("maildir:~/Mail:LAYOUT=fs", MailLocation { layout: Layout::Fs, ..at("/home/anna/Mail") }),
            ("maildir:/var/vmail/%d/%n/", at("/var/vmail/example.com/anna")),
            ("/srv/%{user | domain}/%{user|username}", at("/srv/example.com/anna")),
            ("maildir:%h/m:INDEX=MEMORY", at("/home/anna/m")),
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
            "maildir:/m:LAYOUT=index",
        ] {
            assert!(MailLocation::parse(text, &ANNA).is_err(), "{text}");
        }
        let homeless = Names { user: "a@b", home: None };
        assert!(MailLocation::parse("maildir:~/m", &homeless).is_err());
    }
}
