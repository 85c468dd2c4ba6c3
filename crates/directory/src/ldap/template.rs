//! Filters and names of entries with variables: values are escaped, so that nothing that somebody types can become a part of them.

use crate::location::variable;
use crate::{Login, Names, expand};

/// What a text becomes a part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Within {
    /// A filter (RFC 4515 §3).
    Filter,
    /// A distinguished name (RFC 4514 §2.4).
    Name,
}

impl Within {
    fn escape(self, value: &str) -> String {
        match self {
            Self::Filter => ldap3::ldap_escape(value).into_owned(),
            Self::Name => ldap3::dn_escape(value).into_owned(),
        }
    }
}

/// A filter, or the name of an entry, with variables.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    within: Within,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Variable(String),
}

impl Template {
    /// Reads one.
    ///
    /// # Errors
    /// When a variable is unknown, or a filter is none.
    pub fn parse(text: &str, within: Within) -> Result<Self, String> {
        let (mut parts, mut rest, mut plain) = (Vec::new(), text.trim(), String::new());
        while let Some((before, behind)) = rest.split_once('%') {
            plain.push_str(before);
            if let Some(behind) = behind.strip_prefix('%') {
                plain.push('%');
                rest = behind;
                continue;
            }
            let length =
                variable(behind).ok_or("behind % there is no variable: write %% for the sign itself")?;
            let whole = format!("%{}", &behind[..length]);
            expand(&whole, &Names { user: "user@example.org", home: None }).map_err(|why| why.to_string())?;
            parts.extend([Part::Text(std::mem::take(&mut plain)), Part::Variable(whole)]);
            rest = &behind[length..];
        }
        plain.push_str(rest);
        parts.push(Part::Text(plain));
        let template = Self { within, parts };
        if within == Within::Filter {
            let login = Login::parse(b"user@example.org").map_err(|why| why.to_string())?;
            let filter = template.fill(&login)?;
            ldap3::parse_filter(&filter).map_err(|()| "it is no filter, see RFC 4515".to_owned())?;
        }
        Ok(template)
    }

    /// Has it variables?
    pub fn varies(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Variable(_)))
    }

    /// With the values for a login.
    ///
    /// # Errors
    /// Never for a template that was parsed.
    pub fn fill(&self, login: &Login) -> Result<String, String> {
        let names = Names { user: login.as_str(), home: None };
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Variable(variable) => {
                    let value = expand(variable, &names).map_err(|why| why.to_string())?;
                    out.push_str(&self.within.escape(&value));
                }
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is typed is one value of the filter: it has as many conditions as the template.
        #[test]
        fn nothing_typed_becomes_a_part_of_a_filter(local in "[^@#/\\s\\p{Cc}.]{1,20}", text in ".{0,60}") {
            let _ = (Template::parse(&text, Within::Filter).err(), Template::parse(&text, Within::Name).err());
            let typed = format!("{local}@example.org");
            let Ok(login) = Login::parse(typed.as_bytes()) else { return Ok(()) };
            let filter = Template::parse("(&(a=b)(mail=%u))", Within::Filter).unwrap().fill(&login).unwrap();
            let parts = filter.matches(['(', ')']).count();
            prop_assert_eq!(parts, 6, "{}", filter);
            prop_assert!(!filter.contains('*') && ldap3::parse_filter(&filter).is_ok());
            let value = &filter["(&(a=b)(mail=".len()..filter.len() - 2];
            prop_assert_eq!(ldap3::ldap_unescape(value).unwrap(), login.as_str());
        }
    }

    fn filled(text: &str, within: Within, login: &str) -> String {
        let login = Login::parse(login.as_bytes()).unwrap();
        Template::parse(text, within).unwrap().fill(&login).unwrap()
    }

    /// The characters are those of RFC 4515 §3 and RFC 4514 §2.4.
    #[test]
    fn values_are_escaped() {
        let filter = |text, login| filled(text, Within::Filter, login);
        assert_eq!(filter("(mail=%u)", "anna@example.org"), "(mail=anna@example.org)");
        assert_eq!(filter("(mail=%u)", "*@example.org"), r"(mail=\2a@example.org)");
        assert_eq!(filter("(uid=%n)", "a)(uid=*@example.org"), r"(uid=a\29\28uid=\2a)");
        assert_eq!(filter("(uid=%n)", r"a\2a@example.org"), r"(uid=a\5c2a)");
        // Cut before it is escaped: no half of an escape is left over.
        assert_eq!(filter("(uid=%1n*)", "*b@example.org"), r"(uid=\2a*)");
        assert_eq!(filter("(&(a=100%%)(b=%{user | domain}))", "x@example.org"), "(&(a=100%)(b=example.org))");
        let name = |text, login| filled(text, Within::Name, login);
        assert_eq!(name("uid=%n,dc=org", "anna@example.org"), "uid=anna,dc=org");
        assert_eq!(name("uid=%n,dc=org", "a,ou=x@example.org"), r"uid=a\2cou\3dx,dc=org");
        assert_eq!(name("uid=%n,dc=org", "#a+b@example.org"), r"uid=\23a\2bb,dc=org");
        assert_eq!(name("uid=%n,dc=org", r#"a\"<>;@example.org"#), r"uid=a\5c\22\3c\3e\3b,dc=org");
    }

    #[test]
    fn what_is_no_template() {
        for (text, why) in [
            ("(mail=%x)", "not known"),
            ("(mail=5%)", "not known"),
            ("(mail=5%", "no variable"),
            ("(mail=%u", "no filter"),
            ("", "no filter"),
            ("(&(a=b)", "no filter"),
        ] {
            let said = Template::parse(text, Within::Filter).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
        assert!(Template::parse("uid=%x", Within::Name).is_err());
    }
}
