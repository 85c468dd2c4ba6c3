//! What single values of a source of accounts cannot show.

use crate::settings::{DatabaseTls, Directory, Driver, Serves, Source};
use std::time::Duration;

/// What is wrong with the built-in directory on a server.
pub fn builtin(here: &str, d: &Directory, error: &mut dyn FnMut(&str, String, &str)) {
    let at = |name: &str| format!("{here}.sql.{name}");
    if d.sql.driver != Driver::PostgreSql {
        let what = "the built-in directory is a file in state_dir, or lies on PostgreSQL".to_owned();
        error(&at("driver"), what, "take `driver` out, or write source = \"sql\" and your own queries");
    }
    for (name, query) in [
        ("password_query", &d.sql.password_query),
        ("user_query", &d.sql.user_query),
        ("iterate_query", &d.sql.iterate_query),
    ] {
        if !query.is_empty() {
            let what = "the built-in directory has tables and queries of its own".to_owned();
            error(&at(name), what, "take it out, or write source = \"sql\"");
        }
    }
    let others = [&d.sql.database, &d.sql.user, &d.sql.password];
    if d.sql.hosts.is_empty() && others.iter().any(|text| !text.is_empty()) {
        let instead = "write `hosts = [\"127.0.0.1\"]`, or the folder of a unix socket, in [directory.sql]";
        error(&at("hosts"), "nobody knows where the database is".to_owned(), instead);
    }
    hosts(&at, d, error);
    let far = (d.sql.connections, d.sql.connect_timeout, d.sql.query_timeout);
    limits(&at, far, error);
}

fn hosts(at: &dyn Fn(&str) -> String, d: &Directory, error: &mut dyn FnMut(&str, String, &str)) {
    for (k, host) in d.sql.hosts.iter().enumerate() {
        if host.is_empty() || host.contains([' ', '=', '@']) || (host.contains('/') && !host.starts_with('/'))
        {
            let what = format!("entry {} of hosts is no host", k + 1);
            error(&at("hosts"), what, "write \"db.example.org\", \"192.0.2.1:5433\" or \"/run/postgresql\"");
        }
    }
}

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
    hosts(&at, d, error);
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
    let far = (d.sql.connections, d.sql.connect_timeout, d.sql.query_timeout);
    limits(&at, far, error);
}

/// Connections and times of what is asked over the network.
fn limits(
    at: &dyn Fn(&str) -> String,
    (connections, connect, query): (u32, Duration, Duration),
    error: &mut dyn FnMut(&str, String, &str),
) {
    if connections == 0 {
        error(&at("connections"), "without connections nothing can be asked".to_owned(), "write at least 1");
    }
    for (name, value) in [("connect_timeout", connect), ("query_timeout", query)] {
        if value.is_zero() {
            error(&at(name), format!("with {name} = 0 there is never an answer"), "write \"5s\"");
        }
    }
}

/// What is wrong with a source that asks directory servers.
pub fn ldap(here: &str, d: &Directory, error: &mut dyn FnMut(&str, String, &str)) {
    let at = |name: &str| format!("{here}.ldap.{name}");
    let ldap = &d.ldap;
    if ldap.uris.is_empty() {
        let instead = "write `uris = [\"ldaps://ldap.example.org\"]` in [directory.ldap]";
        error(&at("uris"), "nobody knows where the directory server is".to_owned(), instead);
    }
    for (k, uri) in ldap.uris.iter().enumerate() {
        let known = ["ldap://", "ldaps://", "ldapi://"].iter().find_map(|scheme| uri.strip_prefix(scheme));
        let host = known.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
        if host.is_none_or(|host| host.is_empty() || host.contains(['/', ' ', '?'])) {
            let what = format!("entry {} of uris is no address of a directory server", k + 1);
            let instead =
                "write \"ldaps://ldap.example.org\", or \"ldapi://%2Frun%2Fslapd%2Fldapi\" for a unix socket";
            error(&at("uris"), what, instead);
        }
    }
    if ldap.tls == DatabaseTls::StartTls && !ldap.uris.iter().any(|uri| uri.starts_with("ldap://")) {
        let what = "StartTLS is for ldap:// alone: ldaps:// has TLS from the start, a socket needs none";
        error(&at("tls"), what.to_owned(), "take it out");
    }
    if !ldap.bind_dn.is_empty() && ldap.bind_password.is_empty() {
        let what = "bind_dn without a password would be let in as nobody (RFC 4513 §5.1.2)";
        error(&at("bind_password"), what.to_owned(), "write it, or take bind_dn out");
    }
    if ldap.bind_dn.is_empty() && !ldap.bind_password.is_empty() {
        error(&at("bind_dn"), "there is a password, but no name".to_owned(), "write who searches");
    }
    if ldap.filter.is_empty() {
        if ldap.auth_bind_dn.is_empty() || d.serves != Serves::Passwords {
            let instead = "write one, such as \"(mail=%u)\"";
            error(&at("filter"), "without filter no account can be found".to_owned(), instead);
        }
    } else if !ldap.filter.contains('%') && !ldap.base.contains('%') {
        let what = "filter has no variable: it would give the same for everybody";
        error(&at("filter"), what.to_owned(), "compare an attribute with %u, or with %n");
    }
    if !ldap.auth_bind_dn.is_empty() {
        if !ldap.auth_bind {
            let what = "auth_bind_dn is for binds, and auth_bind is false";
            error(&at("auth_bind_dn"), what.to_owned(), "take one of them out");
        }
        if !ldap.auth_bind_dn.contains('%') {
            let what = "auth_bind_dn has no variable: everybody would be the same user";
            error(
                &at("auth_bind_dn"),
                what.to_owned(),
                "write it like \"uid=%n,ou=people,dc=example,dc=org\"",
            );
        }
    }
    let gives = |field: &str| ldap.attributes.iter().any(|row| row.split('=').nth(1) == Some(field));
    if !ldap.auth_bind && d.serves != Serves::Accounts && !gives("password") {
        let what = "no attribute becomes the password, and without auth_bind it is compared";
        error(&at("attributes"), what.to_owned(), "add \"userPassword=password\"");
    }
    limits(&at, (ldap.connections, ldap.connect_timeout, ldap.query_timeout), error);
}

/// What is wrong with a provider of tokens.
pub fn oauth2(here: &str, d: &Directory, error: &mut dyn FnMut(&str, String, &str)) {
    let at = |name: &str| format!("{here}.oauth2.{name}");
    let oauth2 = &d.oauth2;
    let (keys, url) = (&oauth2.keys, &oauth2.introspection_url);
    let ways = [!keys.is_empty(), !oauth2.jwks_uri.is_empty(), !url.is_empty()];
    match ways.into_iter().filter(|way| *way).count() {
        0 => {
            let instead = "write `keys`, `jwks_uri` or `introspection_url` in [directory.oauth2]";
            error(&at("keys"), "nothing says how tokens are checked".to_owned(), instead);
        }
        1 => {}
        _ => {
            let instead = "leave one of `keys`, `jwks_uri` and `introspection_url`";
            error(&at("keys"), "tokens are checked here, or the provider is asked".to_owned(), instead);
        }
    }
    for (k, file) in keys.iter().enumerate() {
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if !file.is_absolute() || !["json", "jwks", "pem", "crt", "secret"].contains(&ending) {
            let what =
                format!("entry {} of keys is no absolute path that ends in .json, .pem or .secret", k + 1);
            error(&at("keys"), what, "write \"/etc/culver/jwks.json\"");
        }
    }
    let addresses = [
        (url, "introspection_url", "tokens", "introspect"),
        (&oauth2.jwks_uri, "jwks_uri", "keys that are believed", "jwks.json"),
    ];
    for (url, name, what, path) in addresses.into_iter().filter(|(url, ..)| !url.is_empty()) {
        let host = url.strip_prefix("http://").map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
        let here = |host: &str| {
            ["127.0.0.1", "localhost", "[::1]"].iter().any(|own| {
                host.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
            })
        };
        if host.is_some_and(|host| !here(host)) {
            let what = format!("{what} would cross the network in the clear");
            error(&at(name), what, "write it with https://");
        } else if host.is_none() && !url.starts_with("https://") {
            let what = "this is no address of HTTP";
            error(&at(name), what.to_owned(), &format!("write \"https://id.example.org/{path}\""));
        }
    }
    if oauth2.timeout.is_zero() {
        error(&at("timeout"), "with timeout = 0 there is never an answer".to_owned(), "write \"5s\"");
    }
    if oauth2.username_claim.is_empty() {
        error(&at("username_claim"), "nothing says whose a token is".to_owned(), "write \"email\"");
    }
    if d.serves != Serves::Both || d.deny || d.master {
        let what = "a provider of tokens has no passwords and no accounts";
        error(here, what.to_owned(), "take `serves`, `deny` and `master` out");
    }
}

/// Do the questions of this source leave the domain out, so that every domain that somebody types has its accounts?
pub fn forgets_domain(d: &Directory) -> bool {
    let asked = match d.source {
        Source::Sql if d.serves == Serves::Accounts => vec![&d.sql.user_query],
        Source::Sql => vec![&d.sql.password_query],
        Source::Ldap => vec![&d.ldap.filter, &d.ldap.base, &d.ldap.auth_bind_dn],
        _ => return false,
    };
    let has = |words: &[&str]| asked.iter().any(|text| words.iter().any(|word| text.contains(word)));
    d.domains.is_empty()
        && has(&["%n", "%Ln", "username"])
        && !has(&["%u", "%Lu", "%d", "%Ld", "%{user}", "domain"])
}

/// What is wrong with a source that asks PAM and NSS.
pub fn system(here: &str, d: &Directory, error: &mut dyn FnMut(&str, String, &str)) {
    let at = |name: &str| format!("{here}.system.{name}");
    let system = &d.system;
    if d.domains.is_empty() {
        let what = "users of the machine have no domain, and logins need one";
        let instead = "write `domains = [\"example.org\"]` in [[directory]]: anna is then anna@example.org";
        error(here, what.to_owned(), instead);
    }
    if system.pam_service.is_empty() && d.serves != Serves::Accounts {
        let instead = "name the PAM service, or write `serves = \"accounts\"` in [[directory]]";
        error(&at("pam_service"), "without a PAM service nobody can log in".to_owned(), instead);
    }
    if system.pam_service.contains('/') && !system.pam_service.starts_with('/') {
        let what = "pam_service is neither a name nor an absolute path";
        error(&at("pam_service"), what.to_owned(), "write \"culver\", or \"/etc/culver/pam\"");
    }
    if system.pam_service.chars().any(|c| c.is_ascii_uppercase()) && !system.pam_service.contains('/') {
        let what = "PAM knows names of services in small letters only";
        error(&at("pam_service"), what.to_owned(), "write it and the file's name in small letters");
    }
    if !system.user.contains('%') {
        let what = "user has no variable: everybody would be the same user";
        error(&at("user"), what.to_owned(), "write \"%n\" or \"%u\"");
    }
    if !system.helper.as_os_str().is_empty() && !system.helper.is_absolute() {
        let what = "helper is not an absolute path";
        error(&at("helper"), what.to_owned(), "write it from the root: \"/run/culver-pam-helper/socket\"");
    }
    if system.workers == 0 || system.workers > 256 {
        error(&at("workers"), "workers is not between 1 and 256".to_owned(), "write 4");
    }
    if system.timeout.is_zero() {
        error(&at("timeout"), "with timeout = 0 there is never an answer".to_owned(), "write \"30s\"");
    }
}
