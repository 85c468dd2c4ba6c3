//! Accounts in a directory server, by LDAP (RFC 4511), as Dovecot asks one.
//!
//! An entry is searched for; its attributes become fields ([`Attributes`]). A password is proved by a bind as that entry, or
//! compared with the attribute that is mapped to `password`. No entry is an unknown user; more than one is an outage, since
//! nobody can know which of them is meant. `invalidCredentials` and `noSuchObject` are a wrong password; whatever else a
//! server says, or its silence, is an outage with its words in the log. Referrals are not followed.
//!
//! An empty password is wrong and no server is asked: it would be an unauthenticated bind (RFC 4513 §5.1.2), which many servers
//! let in.

mod attributes;
mod connection;
mod template;

pub use attributes::Attributes;
pub use template::{Template, Within};

use crate::fields::Fields;
use crate::{Account, Credentials, Defaults, Login, Outage, Secret, Source, Verdict};
use async_trait::async_trait;
use attributes::Values;
use connection::{Connections, Entries, Question, said};
use ldap3::{LdapResult, SearchEntry};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use ldap3::Scope;

/// Where the servers are and how they are asked.
#[derive(Clone, Debug)]
pub struct Server {
    /// Their addresses, `ldap://`, `ldaps://` or `ldapi://`; the first one that answers is used.
    pub uris: Vec<String>,
    /// Is TLS asked for on `ldap://` and needed?
    pub starttls: bool,
    /// The authorities; empty for those of the system.
    pub authorities: PathBuf,
    /// Who searches; empty for nobody in particular.
    pub bind_dn: String,
    /// Their password.
    pub bind_password: String,
    /// Users who bind at once.
    pub connections: u32,
    /// A connection must stand within this time.
    pub connect_timeout: Duration,
    /// An answer must come within this time.
    pub query_timeout: Duration,
}

/// How a password is proved.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proving {
    /// By a bind as the entry that was found.
    Bind,
    /// By a bind with this name.
    BindAs(Template),
    /// The entry has it, in the attribute that is mapped to `password`.
    Compare,
}

/// What is asked.
#[derive(Clone, Debug)]
pub struct Search {
    /// Where searches begin.
    pub base: Template,
    /// How far they go.
    pub scope: Scope,
    /// The entry of a user; `None`: nothing is searched for, and whoever can bind is an account.
    pub filter: Option<Template>,
    /// Attributes and their fields.
    pub attributes: Attributes,
    /// How passwords are proved.
    pub proving: Proving,
    /// The entries of all accounts.
    pub iterate: Option<Template>,
    /// The attribute with their address.
    pub iterate_attribute: String,
}

/// A source that asks directory servers.
pub struct LdapSource {
    connections: Connections,
    search: Search,
    fields: Fields,
    defaults: Defaults,
    scheme: String,
    /// The entries that logins were just found to mean.
    found: Mutex<HashMap<String, (String, Instant)>>,
    referred: AtomicBool,
}

/// An entry that was found so long ago need not be searched for again.
const FRESH: Duration = Duration::from_secs(5);

/// Entries that are remembered for that time.
const MOST_FOUND: usize = 10_000;

/// Entries that a page of a listing has (RFC 2696).
const PAGE: i32 = 500;

// RFC 4511 §4.1.9.
const SUCCESS: u32 = 0;
const SIZE_LIMIT_EXCEEDED: u32 = 4;
const REFERRAL: u32 = 10;
const NO_SUCH_OBJECT: u32 = 32;
const INAPPROPRIATE_AUTHENTICATION: u32 = 48;
const INVALID_CREDENTIALS: u32 = 49;

/// An entry.
struct Entry {
    dn: String,
    fields: Fields,
    name: Login,
}

impl LdapSource {
    /// With these servers. Nothing is connected yet.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub fn new(
        server: Server,
        search: Search,
        fields: Fields,
        defaults: Defaults,
        scheme: &str,
    ) -> Result<Self, String> {
        let connections = Connections::new(server)?;
        let (found, referred) = (Mutex::default(), AtomicBool::default());
        Ok(Self { connections, search, fields, defaults, scheme: scheme.to_owned(), found, referred })
    }

    /// Is the attribute with the password read?
    fn compares(&self) -> bool {
        self.search.proving == Proving::Compare
    }

    fn question(&self, base: String, filter: String, attributes: Vec<String>, entries: Entries) -> Question {
        Question { base, scope: self.search.scope, filter, attributes, entries }
    }

    /// The entry of a login.
    async fn entry(&self, login: &Login, filter: &Template) -> Result<Option<Entry>, Outage> {
        let filter = filter.fill(login).map_err(outage)?;
        let base = self.search.base.fill(login).map_err(outage)?;
        let wanted = self.search.attributes.wanted(self.compares());
        let question = self.question(base, filter, wanted, Entries::Most(2));
        let Question { base, filter, .. } = &question;
        let found = self.connections.search(&question).await;
        let (mut entries, result) = found.map_err(|why| outage(format!("search {filter}: {why}")))?;
        self.tell_of_referrals(&result);
        if entries.len() > 1 {
            let both = format!("{} and {}", entries[0].dn, entries[1].dn);
            let why = format!("{filter} finds more than one entry for {login} ({both}): make it find one");
            return Err(outage(why));
        }
        match result.rc {
            SUCCESS => {}
            NO_SUCH_OBJECT if self.search.base.varies() => return Ok(None),
            _ => return Err(self.refused(&format!("search {filter}"), base, &result)),
        }
        let Some(entry) = entries.pop() else { return Ok(None) };
        let dn = entry.dn.clone();
        let fields = self.search.attributes.fields(login, &values(entry), self.compares());
        let mut fields = fields.map_err(outage)?;
        let name = fields.canonical(login);
        let name = name.map_err(|why| outage(format!("the entry {dn} gives {why}")))?;
        fields.complete_password(&self.scheme);
        Ok(Some(Entry { dn, fields, name }))
    }

    /// A search that did not end well.
    fn refused(&self, what: &str, base: &str, result: &LdapResult) -> Outage {
        let more = match result.rc {
            NO_SUCH_OBJECT => format!(": is there an entry {base} (`base`), and may bind_dn read it?"),
            REFERRAL => format!(": name the server that has {base} in `uris` ({})", result.refs.join(", ")),
            SIZE_LIMIT_EXCEEDED => ": raise the server's size limit for bind_dn".to_owned(),
            _ => String::new(),
        };
        outage(format!("{what}: {}{more}", said(result)))
    }

    fn tell_of_referrals(&self, result: &LdapResult) {
        if !result.refs.is_empty() && result.rc != REFERRAL && !self.referred.swap(true, Ordering::Relaxed) {
            let to = result.refs.join(", ");
            tracing::warn!(
                "ldap: referrals to {to} are not followed: name a server in `uris` that has all entries"
            );
        }
    }

    fn account(&self, mut fields: Fields, login: &Login) -> Result<Account, Outage> {
        fields.fill(&self.fields);
        let account = fields.account(login.as_str(), &self.defaults);
        account.map_err(|why| outage(format!("account {login}: {why}")))
    }

    /// As whom this login binds; `None` when there is no such entry.
    async fn bind_name(&self, login: &Login) -> Result<Option<String>, Outage> {
        if let Proving::BindAs(name) = &self.search.proving {
            return name.fill(login).map(Some).map_err(outage);
        }
        let found = self.found.lock().remove(login.as_str());
        if let Some((dn, at)) = found
            && at.elapsed() < FRESH
        {
            return Ok(Some(dn));
        }
        let Some(filter) = &self.search.filter else { return Ok(None) };
        Ok(self.entry(login, filter).await?.map(|entry| entry.dn))
    }

    fn remember(&self, login: &Login, dn: String) {
        let mut found = self.found.lock();
        if found.len() >= MOST_FOUND {
            found.retain(|_, (_, at)| at.elapsed() < FRESH);
            if found.len() >= MOST_FOUND {
                found.clear();
            }
        }
        found.insert(login.as_str().to_owned(), (dn, Instant::now()));
    }
}

fn outage(why: impl ToString) -> Outage {
    Outage::new("ldap", why)
}

/// The first value of each attribute, as text.
fn values(entry: SearchEntry) -> Values {
    let mut values = Values::new();
    for (name, all) in entry.bin_attrs {
        values.extend(all.first().map(|v| (name.to_lowercase(), String::from_utf8_lossy(v).into_owned())));
    }
    for (name, all) in entry.attrs {
        values.extend(all.into_iter().next().map(|value| (name.to_lowercase(), value)));
    }
    values
}

#[async_trait]
impl Source for LdapSource {
    fn name(&self) -> &str {
        "ldap"
    }

    async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        let Some(filter) = &self.search.filter else { return Ok(None) };
        let Some(entry) = self.entry(login, filter).await? else { return Ok(None) };
        Ok(Some(Arc::new(self.account(entry.fields, &entry.name)?)))
    }

    async fn credentials(&self, login: &Login) -> Result<Option<Credentials>, Outage> {
        let (fields, name) = match &self.search.filter {
            None => (Fields::default(), login.clone()),
            Some(filter) => {
                let Some(entry) = self.entry(login, filter).await? else { return Ok(None) };
                self.remember(login, entry.dn);
                (entry.fields, entry.name)
            }
        };
        let mut account = self.account(fields, &name)?;
        if !self.compares() {
            account.secret = Secret::Ask;
        }
        Ok(Some(Credentials { account: Arc::new(account), whole: self.search.filter.is_some() }))
    }

    async fn check(
        &self,
        login: &Login,
        password: &[u8],
        _remote: Option<IpAddr>,
    ) -> Result<Verdict, Outage> {
        let Ok(password) = std::str::from_utf8(password) else {
            // RFC 4513 §5.1.3 sends passwords as they are, and the library sends text.
            return Ok(Verdict::Wrong);
        };
        if password.is_empty() || self.compares() {
            return Ok(Verdict::Wrong);
        }
        let Some(name) = self.bind_name(login).await? else { return Ok(Verdict::Wrong) };
        if name.is_empty() {
            // RFC 4513 §5.1.1: that would be anonymous.
            return Err(outage(format!("the entry of {login} has no name, so nobody can bind as it")));
        }
        let bound = self.connections.bind(&name, password).await;
        let bound = bound.map_err(|why| outage(format!("bind as {name}: {why}")))?;
        match bound.rc {
            SUCCESS => Ok(Verdict::Right),
            // 48: the entry has no password.
            INVALID_CREDENTIALS | NO_SUCH_OBJECT | INAPPROPRIATE_AUTHENTICATION => Ok(Verdict::Wrong),
            _ => Err(outage(format!("bind as {name}: {}", said(&bound)))),
        }
    }

    fn knows_everybody(&self) -> bool {
        self.search.filter.is_none()
    }

    async fn names(&self) -> Result<Vec<String>, Outage> {
        let Some(filter) = &self.search.iterate else {
            let why = "it has no iterate_filter: set one; of its domains alone, name them in `domains`";
            return Err(outage(why));
        };
        if self.search.base.varies() || filter.varies() {
            return Err(outage(
                "its accounts cannot be listed: base or iterate_filter differ from login to login",
            ));
        }
        let nobody = Login::parse(b"nobody@localhost").map_err(outage)?;
        let (filter, base) =
            (filter.fill(&nobody).map_err(outage)?, self.search.base.fill(&nobody).map_err(outage)?);
        let wanted = vec![self.search.iterate_attribute.clone()];
        let question = self.question(base, filter, wanted, Entries::Pages(PAGE));
        let found = self.connections.search(&question).await;
        let (entries, result) = found.map_err(|why| outage(format!("iterate_filter: {why}")))?;
        self.tell_of_referrals(&result);
        if result.rc != SUCCESS {
            return Err(self.refused("iterate_filter", &question.base, &result));
        }
        let attribute = self.search.iterate_attribute.to_lowercase();
        let mut names = Vec::with_capacity(entries.len());
        for entry in entries {
            let dn = entry.dn.clone();
            let Some(address) = values(entry).remove(&attribute) else { continue };
            match Login::parse(address.as_bytes()) {
                Ok(login) => names.push(login.to_string()),
                Err(why) => tracing::warn!("iterate_filter: {address:?} of {dn} cannot be an account: {why}"),
            }
        }
        Ok(names)
    }
}
