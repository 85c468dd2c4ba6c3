//! The login rule: which account a name means that somebody typed.
//!
//! Lower-cased; `#` counts as `@` when there is no `@` (some clients cut a name at `@`); the domain is required.
//! Whether the domain exists, and whose secondary domain it is, is for the sources.

use std::fmt;

/// A name that follows the rule: `local@domain`, lower case.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Login {
    text: String,
    at: usize,
}

/// Why a name is no login. The texts are for the person who typed it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Syntax {
    /// It is not UTF-8 or has control characters.
    #[error("The user name has characters that cannot be in one: type it again as user@domain")]
    Characters,
    /// It is empty.
    #[error("The user name is empty: log in as user@domain")]
    Empty,
    /// It has no domain.
    #[error("The domain is missing in the user name: log in with the whole address, user@domain")]
    DomainMissing,
    /// There is nothing before the `@`.
    #[error("There is nothing before the @ in the user name: log in as user@domain")]
    LocalMissing,
    /// There is more than one `@`, or the domain cannot be one.
    #[error("The user name is not an address: log in as user@domain")]
    NotAnAddress,
    /// It is too long.
    #[error("The user name is too long: an address has 254 octets at most")]
    TooLong,
}

impl Login {
    /// The longest login, in octets (RFC 5321 §4.5.3.1.3, less the angle brackets).
    pub const MAX: usize = 254;

    /// Applies the rule.
    ///
    /// # Errors
    /// When the name breaks it; the text says how to do better.
    pub fn parse(name: &[u8]) -> Result<Self, Syntax> {
        if name.len() > 4 * Self::MAX {
            return Err(Syntax::TooLong);
        }
        let name = std::str::from_utf8(name).map_err(|_| Syntax::Characters)?.trim();
        if name.is_empty() {
            return Err(Syntax::Empty);
        }
        // A slash would make two directories of one name where mail locations use %n.
        if name.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/') {
            return Err(Syntax::Characters);
        }
        let name = name.to_lowercase();
        let at = name.rfind('@').or_else(|| name.rfind('#')).ok_or(Syntax::DomainMissing)?;
        let (local, domain) = (&name[..at], &name[at + 1..]);
        if domain.is_empty() {
            return Err(Syntax::DomainMissing);
        }
        if local.is_empty() {
            return Err(Syntax::LocalMissing);
        }
        // RFC 5322 §3.2.3 has no dot at the beginning either; `.` and `..` would mean other directories.
        if local.contains('@') || local.starts_with('.') {
            return Err(Syntax::NotAnAddress);
        }
        let domain = domain_name(domain).ok_or(Syntax::NotAnAddress)?;
        let text = format!("{local}@{domain}");
        if text.len() > Self::MAX || local.len() > 64 {
            return Err(Syntax::TooLong);
        }
        Ok(Self { at: local.len(), text })
    }

    /// `local@domain`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What is before the `@`.
    pub fn local(&self) -> &str {
        &self.text[..self.at]
    }

    /// What is behind it: A-labels, lower case.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A domain in its canonical form: A-labels in lower case, no dot at the end. `None` when it cannot be one.
pub fn domain_name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let domain =
        if text.is_ascii() { text.to_ascii_lowercase() } else { idna::domain_to_ascii(text).ok()? };
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    (domain.len() <= 253 && domain.split('.').all(label)).then_some(domain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rule() {
        let good = [
            ("anna@example.com", "anna@example.com"),
            ("Anna@Example.COM", "anna@example.com"),
            ("anna#example.com", "anna@example.com"),
            ("a#b@example.com", "a#b@example.com"),
            ("a#b#example.com", "a#b@example.com"),
            (" anna@example.com ", "anna@example.com"),
            ("anna@example.com.", "anna@example.com"),
            ("anna@localhost", "anna@localhost"),
            ("anna@BÜCHER.example", "anna@xn--bcher-kva.example"),
            ("ÄNNE@example.com", "änne@example.com"),
        ];
        for (typed, canonical) in good {
            assert_eq!(Login::parse(typed.as_bytes()).map(|l| l.to_string()), Ok(canonical.to_owned()));
        }
        let long = format!("{}@example.com", "a".repeat(65));
        let bad: [(&[u8], Syntax); 12] = [
            (b"", Syntax::Empty),
            (b"  ", Syntax::Empty),
            (b"anna", Syntax::DomainMissing),
            (b"anna@", Syntax::DomainMissing),
            (b"@example.com", Syntax::LocalMissing),
            (b"an\0na@example.com", Syntax::Characters),
            (b"an\xffna@example.com", Syntax::Characters),
            (b"../x@example.com", Syntax::Characters),
            (b"a@b@example.com", Syntax::NotAnAddress),
            (b"..@example.com", Syntax::NotAnAddress),
            (b"a@exa..mple", Syntax::NotAnAddress),
            (long.as_bytes(), Syntax::TooLong),
        ];
        for (typed, why) in bad {
            assert_eq!(Login::parse(typed), Err(why), "{typed:?}");
        }
        assert!(Syntax::DomainMissing.to_string().contains("domain is missing"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn what_is_canonical_stays(name in "[ -~äß@#.]{0,40}") {
            if let Ok(login) = Login::parse(name.as_bytes()) {
                prop_assert_eq!(Login::parse(login.as_str().as_bytes()), Ok(login.clone()));
                prop_assert_eq!(format!("{}@{}", login.local(), login.domain()), login.as_str());
            }
        }
    }
}
