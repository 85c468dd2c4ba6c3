//! The administrator's queries: Dovecot's variables become parameters, whatever quotes stand around them.
//!
//! `WHERE name = '%n'` becomes `WHERE name = $1` with the value beside it, so no name that somebody types can ever become a
//! part of the query. A text in quotes which has more than a variable (`'%n@%d'`) is one parameter as a whole.

use crate::{Login, Names, expand};

/// Whose SQL it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// PostgreSQL: `$1`; texts stand in single quotes.
    PostgreSql,
    /// MySQL and MariaDB: `?`; texts stand in single or double quotes and may have backslashes.
    MySql,
    /// SQLite: `?1`.
    Sqlite,
}

/// A query with places for its parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// The query.
    pub text: String,
    /// What its parameters are made of.
    pub parameters: Vec<String>,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// When a variable is unknown, or stands where none can.
    pub fn parse(text: &str, dialect: Dialect) -> Result<Self, String> {
        let mut query = Self { text: String::with_capacity(text.len()), parameters: Vec::new() };
        let mut rest = text.trim().trim_end_matches(';');
        while let Some(first) = rest.chars().next() {
            let escapes = dialect == Dialect::MySql
                || (dialect == Dialect::PostgreSql && query.text.ends_with(['E', 'e']) && first == '\'');
            match first {
                '\'' => rest = query.quoted(rest, '\'', escapes, dialect)?,
                '"' if dialect == Dialect::MySql => rest = query.quoted(rest, '"', true, dialect)?,
                '"' | '`' => {
                    let end = rest[1..].find(first).ok_or("a name in quotes has no end")? + 2;
                    if rest[..end].contains('%') {
                        return Err(format!("{} is a name, and no variable can stand in one", &rest[..end]));
                    }
                    query.text.push_str(&rest[..end]);
                    rest = &rest[end..];
                }
                '-' if rest.starts_with("--") => {
                    rest = rest.split_once('\n').map_or("", |(_, behind)| behind);
                    query.text.push('\n');
                }
                '/' if rest.starts_with("/*") => {
                    rest = rest.split_once("*/").ok_or("a comment has no end")?.1;
                    query.text.push(' ');
                }
                '?' => return Err("write %u, %n or %d for a value, not `?`".to_owned()),
                '%' if rest.starts_with("%%") => {
                    query.text.push('%');
                    rest = &rest[2..];
                }
                '%' => {
                    let length = crate::location::variable(&rest[1..])
                        .ok_or("behind % there is no variable: write %% for the sign itself")?;
                    let (variable, behind) = rest.split_at(1 + length);
                    query.parameter(variable.to_owned(), dialect)?;
                    rest = behind;
                }
                other => {
                    query.text.push(other);
                    rest = &rest[other.len_utf8()..];
                }
            }
        }
        if query.text.trim().is_empty() {
            return Err("the query is empty".to_owned());
        }
        Ok(query)
    }

    /// A text in quotes; gives what is behind it.
    fn quoted<'a>(
        &mut self,
        text: &'a str,
        quote: char,
        escapes: bool,
        dialect: Dialect,
    ) -> Result<&'a str, String> {
        let mut inside = String::new();
        let mut chars = text.char_indices().skip(1).peekable();
        let end = loop {
            match chars.next() {
                None => return Err("a text in quotes has no end".to_owned()),
                Some((_, '\\')) if escapes => match chars.next() {
                    Some((_, next)) => inside.push(next),
                    None => return Err("a text in quotes has no end".to_owned()),
                },
                Some((_, c)) if c == quote && chars.peek().is_some_and(|(_, next)| *next == quote) => {
                    chars.next();
                    inside.push(quote);
                }
                Some((at, c)) if c == quote => break at + 1,
                Some((_, c)) => inside.push(c),
            }
        };
        if inside.replace("%%", "").contains('%') {
            if self.text.ends_with(['E', 'e']) && escapes && dialect == Dialect::PostgreSql {
                self.text.pop();
            }
            self.parameter(inside, dialect)?;
        } else {
            self.text.push_str(&text[..end].replace("%%", "%"));
        }
        Ok(&text[end..])
    }

    fn parameter(&mut self, template: String, dialect: Dialect) -> Result<(), String> {
        let names = Names { user: "user@example.org", home: None };
        expand(&template, &names).map_err(|why| why.to_string())?;
        self.parameters.push(template);
        let number = self.parameters.len();
        match dialect {
            Dialect::PostgreSql => self.text.push_str(&format!("${number}")),
            Dialect::MySql => self.text.push('?'),
            Dialect::Sqlite => self.text.push_str(&format!("?{number}")),
        }
        Ok(())
    }

    /// The values of the parameters for a login.
    ///
    /// # Errors
    /// Never for a query that was parsed.
    pub fn values(&self, login: &Login) -> Result<Vec<String>, String> {
        let names = Names { user: login.as_str(), home: None };
        self.parameters.iter().map(|p| expand(p, &names).map_err(|why| why.to_string())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_become_parameters() {
        let table: [(Dialect, &str, &str, &[&str]); 9] = [
            (
                Dialect::PostgreSql,
                "SELECT p FROM u WHERE n = '%n' AND d='%d';",
                "SELECT p FROM u WHERE n = $1 AND d=$2",
                &["%n", "%d"],
            ),
            (Dialect::MySql, "SELECT p FROM u WHERE n = \"%Ln\"", "SELECT p FROM u WHERE n = ?", &["%Ln"]),
            (
                Dialect::Sqlite,
                "SELECT 1 WHERE a = %{user | domain}",
                "SELECT 1 WHERE a = ?1",
                &["%{user | domain}"],
            ),
            (Dialect::PostgreSql, "SELECT '%n@%d', 'it''s %u'", "SELECT $1, $2", &["%n@%d", "it's %u"]),
            (
                Dialect::PostgreSql,
                "SELECT a %% 2 FROM t WHERE b LIKE 'x%%'",
                "SELECT a % 2 FROM t WHERE b LIKE 'x%'",
                &[],
            ),
            (Dialect::PostgreSql, "SELECT E'a\\'%u' FROM \"T\"", "SELECT $1 FROM \"T\"", &["a'%u"]),
            (
                Dialect::MySql,
                "SELECT 'a\\'b' FROM `t` WHERE u = '%u'",
                "SELECT 'a\\'b' FROM `t` WHERE u = ?",
                &["%u"],
            ),
            (
                Dialect::Sqlite,
                "SELECT 1 -- '%x'\nFROM t /* %u */ WHERE a='%1n'",
                "SELECT 1 \nFROM t   WHERE a=?1",
                &["%1n"],
            ),
            (Dialect::Sqlite, "SELECT 'ä' || '%u'", "SELECT 'ä' || ?1", &["%u"]),
        ];
        for (dialect, text, expected, parameters) in table {
            let query = Query::parse(text, dialect).unwrap();
            assert_eq!(
                (query.text.as_str(), &query.parameters[..]),
                (expected, &parameters.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>()[..]),
                "{text}"
            );
        }
        let login = Login::parse(b"o';drop--table@example.org").unwrap();
        let query = Query::parse("SELECT '%n@%d'", Dialect::PostgreSql).unwrap();
        assert_eq!(query.values(&login).unwrap(), [login.as_str()]);
    }

    #[test]
    fn what_cannot_be_a_query() {
        for (text, why) in [
            ("", "empty"),
            ("SELECT '%u", "no end"),
            ("SELECT \"%u\"", "no variable can stand"),
            ("SELECT %x", "not known"),
            ("SELECT '%x'", "not known"),
            ("SELECT 5 %", "no variable"),
            ("SELECT ?", "not `?`"),
            ("SELECT /* 1", "no end"),
        ] {
            let said = Query::parse(text, Dialect::PostgreSql).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }
}
