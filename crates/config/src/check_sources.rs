//! What single values of a source of accounts cannot show.

use crate::settings::{Directory, Driver, Serves};

/// What is wrong with a source that asks a database.
pub fn sql(here: &str, d: &Directory, error: &mut dyn FnMut(&str, String, &str)) {
    let at = |name: &str| format!("{here}.sql.{name}");
    if d.sql.driver == Driver::Sqlite {
        if d.path.as_os_str().is_empty() {
            error(
                here,
                "SQLite needs its file".to_owned(),
                "write `path = \"/var/lib/mail/users.sqlite\"` in [[directory]]",
            );
        } else if !d.path.is_absolute() {
            error(
                &format!("{here}.path"),
                format!("{here}.path is not an absolute path"),
                "write it from the root",
            );
        }
        if !d.sql.hosts.is_empty() {
            error(&at("hosts"), "SQLite has no hosts".to_owned(), "take it out, or name another driver");
        }
    } else if d.sql.hosts.is_empty() {
        let instead = "write `hosts = [\"127.0.0.1\"]`, or the path of a unix socket, in [directory.sql]";
        error(&at("hosts"), "nobody knows where the database is".to_owned(), instead);
    }
    for (k, host) in d.sql.hosts.iter().enumerate() {
        if host.is_empty() || host.contains([' ', '=', '@']) || (host.contains('/') && !host.starts_with('/'))
        {
            let what = format!("entry {} of hosts is no host", k + 1);
            error(&at("hosts"), what, "write \"db.example.org\", \"192.0.2.1:5433\" or \"/run/postgresql\"");
        }
    }
    if d.serves != Serves::Accounts && d.sql.password_query.is_empty() {
        let instead = "write one in [directory.sql], or `serves = \"accounts\"` in [[directory]]";
        error(&at("password_query"), "without password_query nobody can log in".to_owned(), instead);
    }
    if d.serves == Serves::Accounts && d.sql.user_query.is_empty() {
        let instead = "write one in [directory.sql]: SELECT home, uid, gid FROM users WHERE ...";
        error(&at("user_query"), "a source of accounts needs user_query".to_owned(), instead);
    }
    for (name, query) in [("password_query", &d.sql.password_query), ("user_query", &d.sql.user_query)] {
        if !query.is_empty() && !query.contains('%') {
            let instead = "compare a column with '%u', or with '%n' and '%d'";
            error(
                &at(name),
                format!("{name} has no variable: it would give the same for everybody"),
                instead,
            );
        }
    }
    if d.sql.connections == 0 {
        error(&at("connections"), "without connections nothing can be asked".to_owned(), "write at least 1");
    }
    for (name, value) in [("connect_timeout", d.sql.connect_timeout), ("query_timeout", d.sql.query_timeout)]
    {
        if value.is_zero() {
            error(&at(name), format!("with {name} = 0 there is never an answer"), "write \"5s\"");
        }
    }
}
