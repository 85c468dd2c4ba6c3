//! Which attributes become which fields, as Dovecot's `pass_attrs` and `user_attrs` say it.
//!
//! `attribute=field` takes the value as it is; `attribute=field=text` puts it in the place of `%$`; `=field=text` is a text in
//! which `%{ldap:attribute}` (or `%{ldap:attribute:otherwise}`) and the variables of the login stand for their values. An
//! attribute with more than one value counts with its first, as in Dovecot.

use crate::fields::{Fields, Side};
use crate::{Login, Names, expand};
use std::collections::HashMap;

/// An entry's attributes by their names in lower case.
pub type Values = HashMap<String, String>;

/// One row of the list.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Mapping {
    field: String,
    /// The attribute without which there is no such field.
    attribute: Option<String>,
    text: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    /// With variables of the login.
    Text(String),
    /// An attribute, in lower case, and what stands for it when there is none.
    Attribute(String, String),
}

/// The list.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Attributes(Vec<Mapping>);

impl Attributes {
    /// Reads the list.
    ///
    /// # Errors
    /// When a row is none.
    pub fn parse(rows: &[String]) -> Result<Self, String> {
        rows.iter()
            .map(|row| mapping(row).map_err(|why| format!("{row:?}: {why}")))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// What the server is asked for; `proof`: also what passwords are stored in.
    pub fn wanted(&self, proof: bool) -> Vec<String> {
        let mut wanted = Vec::new();
        for mapping in self.0.iter().filter(|m| proof || m.field != "password") {
            let parts = mapping.text.iter().filter_map(|part| match part {
                Part::Attribute(name, _) => Some(name),
                Part::Text(_) => None,
            });
            for name in mapping.attribute.iter().chain(parts) {
                if !wanted.contains(name) {
                    wanted.push(name.clone());
                }
            }
        }
        // RFC 4511 §4.5.1.8: an empty list means all; this means none.
        if wanted.is_empty() { vec!["1.1".to_owned()] } else { wanted }
    }

    /// Does a row give this field?
    pub fn gives(&self, field: &str) -> bool {
        self.0.iter().any(|mapping| mapping.field == field)
    }

    /// The fields of an entry.
    ///
    /// # Errors
    /// Never for a list that was parsed.
    pub fn fields(&self, login: &Login, values: &Values, proof: bool) -> Result<Fields, String> {
        let mut fields = Fields::default();
        let names = Names { user: login.as_str(), home: None };
        for mapping in self.0.iter().filter(|m| proof || m.field != "password") {
            if mapping.attribute.as_ref().is_some_and(|name| !values.contains_key(name)) {
                continue;
            }
            let (mut text, mut empty) = (String::new(), !mapping.text.is_empty());
            for part in &mapping.text {
                match part {
                    Part::Text(part) => text.push_str(&expand(part, &names).map_err(|why| why.to_string())?),
                    Part::Attribute(name, otherwise) => {
                        let value = values.get(name).unwrap_or(otherwise);
                        empty &= value.is_empty();
                        text.push_str(value);
                    }
                }
            }
            // A text around an attribute that is not there (`*:bytes=`) says nothing.
            let has_attribute = mapping.text.iter().any(|part| matches!(part, Part::Attribute(..)));
            if !(has_attribute && empty) {
                fields.add(Side::Password, &mapping.field, text);
            }
        }
        Ok(fields)
    }
}

fn mapping(row: &str) -> Result<Mapping, String> {
    let (attribute, rest) = row.split_once('=').ok_or("write attribute=field")?;
    let attribute = Some(attribute.trim().to_lowercase()).filter(|name| !name.is_empty());
    let (field, text) = rest.split_once('=').map_or((rest, None), |(field, text)| (field, Some(text)));
    let field = field.trim();
    if field.is_empty() {
        return Err("the field has no name: write attribute=field".to_owned());
    }
    let text = match (&attribute, text) {
        (Some(name), None) => vec![Part::Attribute(name.clone(), String::new())],
        (None, None) => return Err("write =field=text, or an attribute before it".to_owned()),
        (_, Some(text)) => parts(text, attribute.as_deref())?,
    };
    Ok(Mapping { field: field.to_owned(), attribute, text })
}

fn parts(text: &str, own: Option<&str>) -> Result<Vec<Part>, String> {
    let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
    let names = Names { user: "user@example.org", home: None };
    while let Some((before, behind)) = rest.split_once('%') {
        plain.push_str(before);
        if let Some(behind) = behind.strip_prefix('$') {
            let own = own.ok_or("%$ needs an attribute before the field")?;
            parts.extend([
                Part::Text(std::mem::take(&mut plain)),
                Part::Attribute(own.to_owned(), String::new()),
            ]);
            rest = behind;
        } else if let Some(behind) = behind.strip_prefix("{ldap:") {
            let (inner, behind) = behind.split_once('}').ok_or("%{ldap: has no end")?;
            let (name, otherwise) = inner.split_once(':').unwrap_or((inner, ""));
            if name.is_empty() {
                return Err("%{ldap:} names no attribute".to_owned());
            }
            let part = Part::Attribute(name.to_lowercase(), otherwise.to_owned());
            parts.extend([Part::Text(std::mem::take(&mut plain)), part]);
            rest = behind;
        } else {
            let length = crate::location::variable(behind).unwrap_or_default();
            plain.push('%');
            plain.push_str(&behind[..length]);
            rest = &behind[length..];
        }
    }
    plain.push_str(rest);
    parts.push(Part::Text(plain));
    parts.retain(|part| *part != Part::Text(String::new()));
    for part in &parts {
        if let Part::Text(text) = part {
            expand(text, &names).map_err(|why| why.to_string())?;
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rows: &[&str]) -> Result<Attributes, String> {
        Attributes::parse(&rows.iter().map(|row| (*row).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn rows() {
        let list = read(&[
            "userPassword=password",
            "homeDirectory=userdb_home",
            "mailQuota=userdb_quota_rule=*:bytes=%$",
            "=userdb_mail=maildir:~/%{ldap:mailDir:Mail}:LAYOUT=fs",
            "=allow_nets=%{ldap:nets}",
            "=userdb_note=%n of %{ldap:cn}, 100%%",
            "=nodelay=",
        ])
        .unwrap();
        let login = Login::parse(b"anna@example.org").unwrap();
        let values = |pairs: &[(&str, &str)]| -> Values {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        assert_eq!(
            list.wanted(true),
            ["userpassword", "homedirectory", "mailquota", "maildir", "nets", "cn"]
        );
        assert_eq!(list.wanted(false), ["homedirectory", "mailquota", "maildir", "nets", "cn"]);
        let some = values(&[("userpassword", "{PLAIN}x"), ("mailquota", "100"), ("cn", "Anna 5%")]);
        let fields = list.fields(&login, &some, true).unwrap();
        assert_eq!(fields.password_side("password"), Some("{PLAIN}x"));
        assert_eq!(fields.user_side("home"), None);
        assert_eq!(fields.user_side("quota_rule"), Some("*:bytes=100"));
        assert_eq!(fields.user_side("mail"), Some("maildir:~/Mail:LAYOUT=fs"));
        assert_eq!(fields.password_side("allow_nets"), None);
        assert_eq!(fields.user_side("note"), Some("anna of Anna 5%, 100%"));
        assert_eq!(fields.password_side("nodelay"), Some(""));
        assert_eq!(list.fields(&login, &some, false).unwrap().password_side("password"), None);
        assert_eq!(Attributes::default().wanted(true), ["1.1"]);
        assert!(list.gives("password") && !list.gives("user"));
    }

    #[test]
    fn what_is_no_row() {
        for (row, why) in [
            ("mail", "attribute=field"),
            ("mail=", "no name"),
            ("=home", "=field=text"),
            ("=home=%$", "needs an attribute"),
            ("=home=%{ldap:x", "no end"),
            ("=home=%{ldap:}", "no attribute"),
            ("=home=%x", "not known"),
            ("=home=5%", "not known"),
        ] {
            let said = read(&[row]).unwrap_err();
            assert!(said.contains(why), "{row}: {said}");
        }
    }
}
