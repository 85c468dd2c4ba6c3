//! Accounts from a passwd-file as Dovecot reads it: one line each, `user:password:uid:gid:gecos:home:shell:extra`.
//!
//! The path may have variables (`/etc/mail/%d/passwd`), then lines may leave the domain out; so they may when it is said
//! which domain they mean ([`PasswdFile::bare_names_in`]). A file is read again when
//! its time, size or inode has changed, which is looked at once a second at most. A second line for the same user is
//! reported and not used. A line that cannot be used is an outage for its user only.
//!
//! Of the extra fields these are honoured: `userdb_` uid, gid, home, mail (and mail_path, mail_driver, mail_home,
//! mail_control_path, mailbox_list_layout of 2.4), quota_rule (quota_storage_size, quota_message_count); user, password,
//! nopassword, nologin, reason, allow_nets. All others are handed on as [`crate::Account::extra`]; names of users and groups are those of `/etc/passwd` and `/etc/group`.

pub mod ids;
mod line;

pub use crate::fields::Unusable;
pub use line::Line;

use crate::login::domain_name;
use crate::{Account, Defaults, Fields, Login, Names, Outage, Source, expand};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a file is not looked at again.
const FRESH: Duration = Duration::from_secs(1);
/// Files kept in memory.
const FILES: usize = 10_000;

/// Accounts of passwd-files.
pub struct PasswdFile {
    inner: Arc<Inner>,
}

struct Inner {
    path: String,
    defaults: Defaults,
    /// What lines have that do not say otherwise.
    fields: Fields,
    /// The domain of names without one.
    domain: Option<String>,
    files: Mutex<HashMap<PathBuf, Loaded>>,
}

/// A file as it was read.
struct Loaded {
    looked: Instant,
    mark: Mark,
    lines: Arc<Lines>,
}

/// By user; the number of the line, from 1.
type Lines = HashMap<String, (usize, Line)>;

/// What tells that a file has changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mark {
    seconds: i64,
    nanoseconds: i64,
    size: u64,
    inode: u64,
}

impl PasswdFile {
    /// The file of this path. It need not exist yet.
    pub fn new(path: impl Into<String>, defaults: Defaults) -> Self {
        let (path, domain, fields) = (path.into(), None, Fields::default());
        Self { inner: Arc::new(Inner { path, defaults, fields, domain, files: Mutex::default() }) }
    }

    /// Names without a domain belong to this one. Without it they are nobody's, except in files whose path names the
    /// domain: a bare `anna` must not be `anna@` every domain that somebody types.
    #[must_use]
    pub fn bare_names_in(self, domain: &str) -> Self {
        self.with(|inner| inner.domain = domain_name(domain))
    }

    /// Every line has these fields unless it says otherwise.
    #[must_use]
    pub fn with_fields(self, fields: Fields) -> Self {
        self.with(|inner| inner.fields = fields)
    }

    fn with(self, change: impl FnOnce(&mut Inner)) -> Self {
        let Inner { path, defaults, fields, domain, .. } = &*self.inner;
        let (path, defaults, fields, domain) =
            (path.clone(), defaults.clone(), fields.clone(), domain.clone());
        let mut inner = Inner { path, defaults, fields, domain, files: Mutex::default() };
        change(&mut inner);
        Self { inner: Arc::new(inner) }
    }
}

impl PasswdFile {
    /// The names of all accounts. A path with variables is looked for in these domains.
    ///
    /// # Errors
    /// When a file cannot be read, or each user has one.
    pub async fn names_in(&self, domains: Vec<String>) -> Result<Vec<String>, Outage> {
        let inner = self.inner.clone();
        let found = tokio::task::spawn_blocking(move || inner.names(&domains)).await;
        let found = found.map_err(|why| Outage::new("passwd-file", why))?;
        found.map_err(|why| Outage::new("passwd-file", why))
    }
}

#[async_trait]
impl Source for PasswdFile {
    fn name(&self) -> &str {
        "passwd-file"
    }

    async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        let (inner, login) = (self.inner.clone(), login.clone());
        let found = tokio::task::spawn_blocking(move || inner.find(&login)).await;
        let found = found.map_err(|why| Outage::new("passwd-file", why))?;
        found.map_err(|why| Outage::new("passwd-file", why))
    }

    async fn names(&self) -> Result<Vec<String>, Outage> {
        self.names_in(Vec::new()).await
    }

    async fn has_domain(&self, domain: &str) -> Result<bool, Outage> {
        let (inner, domain) = (self.inner.clone(), domain.to_owned());
        let found = tokio::task::spawn_blocking(move || inner.has_domain(&domain)).await;
        let found = found.map_err(|why| Outage::new("passwd-file", why))?;
        found.map_err(|why| Outage::new("passwd-file", why))
    }
}

impl Inner {
    fn names<'a>(&'a self, domains: &'a [String]) -> Result<Vec<String>, String> {
        let path = |local: &str, domain: &str| {
            let user = format!("{local}@{domain}");
            expand(&self.path, &Names { user: &user, home: None }).map_err(|why| why.to_string())
        };
        let varies = path("a", "a.example")? != path("b", "b.example")?;
        if varies && path("a", "a.example")? != path("b", "a.example")? {
            return Err(format!("{}: each user has a file of its own: give accounts one by one", self.path));
        }
        if varies && domains.is_empty() {
            return Err(format!(
                "{}: each domain has a file of its own: name the domains in the configuration, domain = [{{ name = \"example.org\" }}]",
                self.path
            ));
        }
        let files: Vec<(PathBuf, Option<&'a str>)> = if varies {
            let file = |d: &'a String| Ok::<_, String>((PathBuf::from(path("a", d)?), Some(d.as_str())));
            domains.iter().map(file).collect::<Result<_, _>>()?
        } else {
            vec![(PathBuf::from(path("a", "a.example")?), self.domain.as_deref())]
        };
        let mut names = Vec::new();
        for (path, domain) in files {
            let lines = match self.lines(&path, Instant::now()) {
                Ok(lines) => lines,
                Err(why) if varies && why.kind() == io::ErrorKind::NotFound => continue,
                Err(why) => {
                    return Err(format!("{}: {why}: check the path and who may read it", path.display()));
                }
            };
            for (user, (number, line)) in lines.iter().filter(|(_, (_, line))| line.renamed().is_none()) {
                let whole = match domain {
                    Some(domain) if !user.contains('@') => format!("{user}@{domain}"),
                    _ => line.user.clone(),
                };
                match Login::parse(whole.as_bytes()) {
                    Ok(login) => names.push(login.to_string()),
                    Err(why) => {
                        tracing::warn!("{} line {number}: {user} cannot be an account: {why}", path.display())
                    }
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// A domain is known by its file, or by an account in the one file. Where each user has a file of its own, no domain
    /// is known but those that the configuration names.
    fn has_domain(&self, domain: &str) -> Result<bool, String> {
        let path = |user: &str| {
            expand(&self.path, &Names { user, home: None }).map(PathBuf::from).map_err(|why| why.to_string())
        };
        let file = path(&format!("a@{domain}"))?;
        if file != path(&format!("b@{domain}"))? {
            return Ok(false);
        }
        let varies = file != Path::new(&self.path);
        match self.lines(&file, Instant::now()) {
            Ok(_) if varies => Ok(true),
            Ok(lines) => {
                let own = |user: &str| {
                    user.rsplit_once('@').is_some_and(|(_, own)| own.eq_ignore_ascii_case(domain))
                };
                Ok(self.domain.as_deref() == Some(domain) || lines.keys().any(|user| own(user)))
            }
            Err(why) if varies && why.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(why) => Err(format!("{}: {why}: check the path and who may read it", file.display())),
        }
    }

    fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, String> {
        let names = Names { user: login.as_str(), home: None };
        let path = PathBuf::from(expand(&self.path, &names).map_err(|why| why.to_string())?);
        let varies = path != Path::new(&self.path);
        let lines = match self.lines(&path, Instant::now()) {
            Ok(lines) => lines,
            // No file for this domain: the domain is not ours.
            Err(why) if varies && why.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(format!("{}: {why}: check the path and who may read it", path.display())),
        };
        let of = |login: &Login| {
            let bare = varies || self.domain.as_deref() == Some(login.domain());
            lines.get(login.as_str()).or_else(|| bare.then(|| lines.get(login.local())).flatten())
        };
        let Some((number, line)) = of(login) else { return Ok(None) };
        let failed = |number: usize, why: &dyn ToString| {
            format!("{} line {number}: {}", path.display(), why.to_string())
        };
        let Some(name) = line.renamed() else {
            let account = self.account(line, login.as_str());
            return account.map(|a| Some(Arc::new(a))).map_err(|why| failed(*number, &why));
        };
        // Dovecot: `user=` names whom the password opens; the rest is read from that user's own line, if there is one.
        let name = Login::parse(name.as_bytes()).map_err(|why| failed(*number, &why))?;
        let typed = self.account(line, name.as_str()).map_err(|why| failed(*number, &why))?;
        let Some((number, own)) = of(&name) else { return Ok(Some(Arc::new(typed))) };
        let own = self.account(own, name.as_str()).map_err(|why| failed(*number, &why))?;
        let Account { secret, login, allowed_networks, .. } = typed;
        Ok(Some(Arc::new(Account { secret, login, allowed_networks, ..own })))
    }

    fn account(&self, line: &Line, name: &str) -> Result<Account, Unusable> {
        line.account_with(&self.fields, name, &self.defaults)
    }

    /// The lines of a file, read again when it has changed.
    fn lines(&self, path: &Path, now: Instant) -> io::Result<Arc<Lines>> {
        let mut files = self.files.lock();
        if let Some(loaded) = files.get(path)
            && now.saturating_duration_since(loaded.looked) < FRESH
        {
            return Ok(loaded.lines.clone());
        }
        let mark = Mark::of(path).inspect_err(|_| {
            files.remove(path);
        })?;
        if let Some(loaded) = files.get_mut(path)
            && loaded.mark == mark
        {
            loaded.looked = now;
            return Ok(loaded.lines.clone());
        }
        let lines = Arc::new(read(path)?);
        if files.len() >= FILES {
            files.clear();
        }
        files.insert(path.to_owned(), Loaded { looked: now, mark, lines: lines.clone() });
        Ok(lines)
    }
}

impl Mark {
    #[allow(clippy::disallowed_methods, reason = "the administrator's file, not a user's")]
    fn of(path: &Path) -> io::Result<Self> {
        let data = fs::metadata(path)?;
        let (seconds, nanoseconds) = (data.mtime(), data.mtime_nsec());
        Ok(Self { seconds, nanoseconds, size: data.size(), inode: data.ino() })
    }
}

#[allow(clippy::disallowed_methods, reason = "the administrator's file, not a user's")]
fn read(path: &Path) -> io::Result<Lines> {
    let text = fs::read(path)?;
    let mut lines = Lines::new();
    for (index, text) in String::from_utf8_lossy(&text).lines().enumerate() {
        let Some(line) = Line::parse(text) else { continue };
        let number = index + 1;
        match lines.entry(line.user.clone()) {
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert((number, line));
            }
            std::collections::hash_map::Entry::Occupied(first) => {
                let first = first.get().0;
                tracing::warn!(
                    "{} line {number}: {} is in line {first} already, which counts",
                    path.display(),
                    line.user
                );
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests;
