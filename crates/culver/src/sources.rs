//! The sources of accounts, as `[[directory]]` describes them.

use crate::passwd::Passwd;
use crate::system::Helpers;
use anyhow::{Context as _, Result};
use culver_config::Settings;
use culver_config::settings::{self as set, Source};
use culver_directory::builtin::Builtin;
use culver_directory::chain::{Results, Rule, Skip};
use culver_directory::ldap::{self, Attributes, LdapSource, Proving, Scope, Search, Template, Within};
use culver_directory::oauth2::{
    Endpoint, How, Introspection, Keys, Mode, OAuth2, Providers, Published, Rules,
};
use culver_directory::passwd_file::PasswdFile;
use culver_directory::sql::{Dialect, Host, Queries, Query, Server, Sql};
use culver_directory::{
    CacheSettings, Cached, Defaults, Directory, Fields, Fixed, Link, Serves, Source as AccountSource,
    TokenVerifier,
};
use std::sync::Arc;
use std::time::Duration;

/// The accounts.
///
/// # Errors
/// When a source cannot be opened.
pub fn directory(settings: &Settings) -> Result<Arc<Directory>> {
    directory_with(settings, Helpers::start(settings)?)
}

/// The accounts, with helpers that were started before.
///
/// # Errors
/// When a source cannot be opened.
pub fn directory_with(settings: &Settings, mut helpers: Helpers) -> Result<Arc<Directory>> {
    let mut links = Vec::new();
    for (index, row) in settings.directory.iter().enumerate().filter(|(_, row)| row.source != Source::OAuth2)
    {
        let source = match row.source {
            Source::System => {
                let more = (fields(row), defaults(settings, row));
                cached(row, Arc::new(helpers.source(settings, (index, row), more)?))
            }
            _ => source(settings, row)?,
        };
        links.push(link(source, row));
    }
    Ok(Arc::new(Directory::chain(links).with_delimiters(&settings.mail.recipient_delimiter)))
}

fn source(settings: &Settings, row: &set::Directory) -> Result<Arc<dyn AccountSource>> {
    Ok(match row.source {
        Source::Builtin => Arc::new(builtin(settings, row)?),
        Source::PasswdFile => {
            let file = PasswdFile::new(row.path.to_string_lossy(), defaults(settings, row));
            let mut file = file.with_fields(fields(row));
            if let [only] = &row.domain[..] {
                file = file.bare_names_in(&only.name);
            }
            Arc::new(Passwd::new(file, row))
        }
        Source::Sql => cached(row, Arc::new(sql(settings, row)?)),
        Source::System => anyhow::bail!("it needs its helper"),
        Source::Ldap => cached(row, Arc::new(ldap(settings, row)?)),
        Source::OAuth2 => anyhow::bail!("a provider of tokens has no accounts"),
        Source::Static => {
            Arc::new(Fixed::new("static", fields(row), defaults(settings, row), row.allow_all_users))
        }
    })
}

/// With a memory, if the configuration wants one.
fn cached(row: &set::Directory, source: Arc<dyn AccountSource>) -> Arc<dyn AccountSource> {
    if row.cache.entries == 0 { source } else { Arc::new(Cached::new(source, cache(row))) }
}

fn cache(row: &set::Directory) -> CacheSettings {
    let set::Cache { entries, ttl, negative_ttl, stale } = row.cache;
    CacheSettings { entries: entries as usize, ttl, negative_ttl, stale }
}

/// Who knows good tokens.
///
/// # Errors
/// When keys cannot be read, or an address is none.
pub fn tokens(settings: &Settings) -> Result<Option<Arc<dyn TokenVerifier>>> {
    let rows = settings.directory.iter().filter(|row| row.source == Source::OAuth2);
    let providers = rows.map(provider).collect::<Result<Vec<_>, String>>();
    let providers = providers.map_err(|why| anyhow::anyhow!("directory.oauth2: {why}"))?;
    Ok(Providers::new(providers).map(|all| Arc::new(all) as _))
}

fn provider(row: &set::Directory) -> Result<OAuth2, String> {
    let oauth2 = &row.oauth2;
    let how = if !oauth2.jwks_uri.is_empty() {
        let endpoint = Endpoint::new(&oauth2.jwks_uri, &oauth2.ca_file, oauth2.timeout)?;
        How::Published(Box::new(Published::new(endpoint, Duration::from_secs(60))))
    } else if oauth2.introspection_url.is_empty() {
        How::Keys(Keys::new(&oauth2.keys)?)
    } else {
        How::Introspection(Box::new(Introspection {
            endpoint: Endpoint::new(&oauth2.introspection_url, &oauth2.ca_file, oauth2.timeout)?,
            mode: match oauth2.introspection_mode {
                set::IntrospectionMode::Post => Mode::Post,
                set::IntrospectionMode::Auth => Mode::Auth,
                set::IntrospectionMode::Get => Mode::Get,
            },
            client_id: oauth2.client_id.clone(),
            client_secret: oauth2.client_secret.clone(),
        }))
    };
    let rules = Rules {
        issuers: oauth2.issuers.clone(),
        audience: oauth2.audience.clone(),
        scope: oauth2.scope.clone(),
        username_claim: oauth2.username_claim.clone(),
        domain: oauth2.username_domain.clone(),
        domains: row.domains.iter().map(|d| d.to_lowercase()).collect(),
        openid_configuration: oauth2.openid_configuration.clone(),
    };
    let name = if row.name.is_empty() { "oauth2" } else { &row.name };
    OAuth2::new(name, how, rules, cache(row))
}

/// The database of a source, and how it is spoken to.
fn database(row: &set::Directory) -> Result<(Dialect, Server)> {
    let sql = &row.sql;
    let (dialect, port) = match sql.driver {
        set::Driver::PostgreSql => (Dialect::PostgreSql, 5432),
        set::Driver::MySql => (Dialect::MySql, 3306),
        set::Driver::Sqlite => (Dialect::Sqlite, 0),
    };
    let host = |text: &String| {
        Host::parse(text, port).with_context(|| {
            format!("directory.sql.hosts: {text} is no host: write it like db.example.org:{port}")
        })
    };
    let hosts = match sql.driver {
        set::Driver::Sqlite => vec![Host::Unix(row.path.clone())],
        _ => sql.hosts.iter().map(host).collect::<Result<_>>()?,
    };
    let server = Server {
        hosts,
        database: sql.database.clone(),
        user: sql.user.clone(),
        password: sql.password.clone(),
        tls: sql.tls == set::DatabaseTls::StartTls,
        authorities: sql.ca_file.clone(),
        connections: sql.connections,
        connect_timeout: sql.connect_timeout,
        query_timeout: sql.query_timeout,
    };
    Ok((dialect, server))
}

fn sql(settings: &Settings, row: &set::Directory) -> Result<Sql> {
    let sql = &row.sql;
    let (dialect, server) = database(row)?;
    let query = |name: &str, text: &str| {
        let wrong = |why: String| anyhow::anyhow!("directory.sql.{name}: {why}: {text}");
        Some(text)
            .filter(|text| !text.is_empty())
            .map(|text| Query::parse(text, dialect).map_err(wrong))
            .transpose()
    };
    let queries = Queries {
        password: query("password_query", &sql.password_query)?,
        user: query("user_query", &sql.user_query)?,
        iterate: query("iterate_query", &sql.iterate_query)?,
    };
    let source =
        Sql::new(dialect, server, queries, fields(row), defaults(settings, row), &row.default_scheme);
    source.map_err(|why| anyhow::anyhow!("directory.sql: {why}"))
}

fn ldap(settings: &Settings, row: &set::Directory) -> Result<LdapSource> {
    let ldap = &row.ldap;
    let template = |name: &str, text: &str, within| {
        let wrong = |why: String| anyhow::anyhow!("directory.ldap.{name}: {why}: {text}");
        Template::parse(text, within).map_err(wrong)
    };
    let filter = |name: &str, text: &str| {
        Some(text)
            .filter(|text| !text.is_empty())
            .map(|text| template(name, text, Within::Filter))
            .transpose()
    };
    let attributes = Attributes::parse(&ldap.attributes);
    let attributes = attributes.map_err(|why| anyhow::anyhow!("directory.ldap.attributes: {why}"))?;
    let proving = match (ldap.auth_bind, &ldap.auth_bind_dn[..]) {
        (false, _) => Proving::Compare,
        (true, "") => Proving::Bind,
        (true, name) => Proving::BindAs(template("auth_bind_dn", name, Within::Name)?),
    };
    let search = Search {
        base: template("base", &ldap.base, Within::Name)?,
        scope: match ldap.scope {
            set::LdapScope::Subtree => Scope::Subtree,
            set::LdapScope::OneLevel => Scope::OneLevel,
            set::LdapScope::Base => Scope::Base,
        },
        filter: filter("filter", &ldap.filter)?,
        attributes,
        proving,
        iterate: filter("iterate_filter", &ldap.iterate_filter)?,
        iterate_attribute: ldap.iterate_attribute.clone(),
    };
    let server = ldap::Server {
        uris: ldap.uris.clone(),
        starttls: ldap.tls == set::DatabaseTls::StartTls,
        authorities: ldap.ca_file.clone(),
        bind_dn: ldap.bind_dn.clone(),
        bind_password: ldap.bind_password.clone(),
        connections: ldap.connections,
        connect_timeout: ldap.connect_timeout,
        query_timeout: ldap.query_timeout,
    };
    let source = LdapSource::new(server, search, fields(row), defaults(settings, row), &row.default_scheme);
    source.map_err(|why| anyhow::anyhow!("directory.ldap: {why}"))
}

/// A source in its place.
fn link(source: Arc<dyn AccountSource>, row: &set::Directory) -> Link {
    Link {
        source,
        name: Some(row.name.clone()).filter(|name| !name.is_empty()),
        serves: match row.serves {
            set::Serves::Both => Serves::Both,
            set::Serves::Passwords => Serves::Passwords,
            set::Serves::Accounts => Serves::Accounts,
        },
        results: Results {
            success: rule(row.result_success),
            failure: rule(row.result_failure),
            outage: rule(row.result_internalfail),
        },
        skip: match row.skip {
            set::Skip::Never => Skip::Never,
            set::Skip::Authenticated => Skip::Authenticated,
            set::Skip::Unauthenticated => Skip::Unauthenticated,
        },
        deny: row.deny,
        master: row.master,
        domains: row.domains.iter().map(|d| d.to_lowercase()).collect(),
    }
}

fn rule(rule: set::Rule) -> Rule {
    match rule {
        set::Rule::ReturnOk => Rule::ReturnOk,
        set::Rule::ReturnFail => Rule::ReturnFail,
        set::Rule::Return => Rule::Return,
        set::Rule::ContinueOk => Rule::ContinueOk,
        set::Rule::ContinueFail => Rule::ContinueFail,
        set::Rule::Continue => Rule::Continue,
    }
}

/// The built-in directory of this source.
///
/// # Errors
/// When its file cannot be opened, or the authorities of its server cannot be read.
pub fn builtin(settings: &Settings, row: &set::Directory) -> Result<Builtin> {
    let defaults = defaults(settings, row);
    if row.sql.hosts.is_empty() {
        return Ok(Builtin::open(&builtin_file(settings), defaults)?);
    }
    Ok(Builtin::on_postgresql(database(row)?.1, defaults)?)
}

/// The source that is the built-in directory, or one like it for what is kept of accounts of other sources.
pub fn builtin_row(settings: &Settings) -> set::Directory {
    settings.directory.iter().find(|row| row.source == Source::Builtin).cloned().unwrap_or_default()
}

/// Its file, when it is one.
pub fn builtin_file(settings: &Settings) -> std::path::PathBuf {
    settings.state_dir.join("directory.sqlite")
}

fn fields(row: &set::Directory) -> Fields {
    let mut fields = Fields::default();
    for pair in &row.fields {
        fields.add_pair(pair);
    }
    fields
}

/// What accounts have of which the source says nothing.
fn defaults(settings: &Settings, row: &set::Directory) -> Defaults {
    Defaults {
        mail: location(settings),
        home: Some(row.home.clone()).filter(|h| !h.is_empty()),
        uid: Some(row.uid).filter(|id| *id > 0),
        gid: Some(row.gid).filter(|id| *id > 0),
    }
}

/// `mail.location` and `mail.layout` as one location, as Dovecot writes it.
fn location(settings: &Settings) -> String {
    let layout = settings.mail.layout.word();
    format!("maildir:{}:LAYOUT={layout}", settings.mail.location)
}
