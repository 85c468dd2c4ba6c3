//! What the configuration adds to a passwd-file: secondary domains, and the scheme of passwords that name none.

use async_trait::async_trait;
use culver_config::settings as set;
use culver_directory::passwd_file::PasswdFile;
use culver_directory::{Account, Login, Outage, Secret, Source};
use std::collections::HashMap;
use std::sync::Arc;

/// A passwd-file as `[[directory]]` describes it.
pub struct Passwd {
    file: PasswdFile,
    /// Secondary domain to primary.
    domains: HashMap<String, String>,
    /// Primary domains.
    primaries: Vec<String>,
    scheme: String,
}

impl Passwd {
    /// Over the file.
    pub fn new(file: PasswdFile, settings: &set::Directory) -> Self {
        let mut domains = HashMap::new();
        for domain in &settings.domain {
            for alias in &domain.aliases {
                domains.insert(alias.to_lowercase(), domain.name.to_lowercase());
            }
        }
        let primaries = settings.domain.iter().map(|d| d.name.to_lowercase()).collect();
        Self {
            file,
            domains,
            primaries,
            scheme: settings.default_scheme.trim_matches(['{', '}']).to_uppercase(),
        }
    }
}

#[async_trait]
impl Source for Passwd {
    fn name(&self) -> &str {
        "passwd-file"
    }

    async fn names(&self) -> Result<Vec<String>, Outage> {
        self.file.names_in(self.primaries.clone()).await
    }

    fn primary(&self, login: &Login) -> Option<Login> {
        let domain = self.domains.get(login.domain())?;
        Login::parse(format!("{}@{domain}", login.local()).as_bytes()).ok()
    }

    async fn has_domain(&self, domain: &str) -> Result<bool, Outage> {
        if self.domains.contains_key(domain) || self.primaries.iter().any(|primary| primary == domain) {
            return Ok(true);
        }
        self.file.has_domain(domain).await
    }

    async fn find(&self, login: &Login) -> Result<Option<Arc<Account>>, Outage> {
        let primary = self.primary(login);
        let found = self.file.find(primary.as_ref().unwrap_or(login)).await?;
        Ok(found.map(|account| match &account.secret {
            Secret::Stored(text) if bare(text) && self.scheme != "CRYPT" => {
                let secret = Secret::Stored(format!("{{{}}}{text}", self.scheme));
                Arc::new(Account { secret, ..Account::clone(&account) })
            }
            _ => account,
        }))
    }
}

/// Does the text say nothing of its scheme? `$1$...` is a crypt, `data[34]` libpam-pwdfile's, as Dovecot has it.
fn bare(text: &str) -> bool {
    !text.starts_with(['{', '$']) && !text.ends_with(']')
}

#[cfg(test)]
mod tests {
    use super::*;
    use culver_directory::builtin::Builtin;
    use culver_directory::{Action, Directory, Resolved, Target};

    #[tokio::test]
    async fn domains_and_schemes_of_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let text = "anna@example.org:secret:1000:1000::/home/anna\nbert@example.org:{PLAIN}x:1001:1001::/home/bert\n";
        std::fs::write(&path, text).unwrap();
        let settings = set::Directory {
            default_scheme: "plain".to_owned(),
            domain: vec![set::Domain {
                name: "example.org".to_owned(),
                aliases: vec!["Example.net".to_owned()],
            }],
            ..set::Directory::default()
        };
        let file = PasswdFile::new(path.to_string_lossy(), culver_directory::Defaults::default());
        let source = Passwd::new(file, &settings);
        let find = async |name: &str| source.find(&Login::parse(name.as_bytes()).unwrap()).await.unwrap();
        let anna = find("Anna#EXAMPLE.net").await.unwrap();
        assert_eq!(anna.name, "anna@example.org");
        assert!(matches!(&anna.secret, Secret::Stored(s) if s == "{PLAIN}secret"));
        let bert = find("bert@example.org").await.unwrap();
        assert!(matches!(&bert.secret, Secret::Stored(s) if s == "{PLAIN}x"));
        assert!(find("anna@example.com").await.is_none());
        // Routes of the built-in directory count in secondary domains of the configuration.
        let builtin = Builtin::open(&dir.path().join("d"), culver_directory::Defaults::default()).unwrap();
        builtin.add_domain("example.org").unwrap();
        builtin.add_route("info@example.org", &Action::Deliver(vec!["anna@example.net".to_owned()])).unwrap();
        let again = PasswdFile::new(path.to_string_lossy(), culver_directory::Defaults::default());
        let directory = Directory::new(vec![Arc::new(Passwd::new(again, &settings)), Arc::new(builtin)]);
        let found = directory.resolve("info@example.net").await.unwrap();
        assert!(
            matches!(&found, Resolved::Targets(t) if matches!(&t[..], [Target::Mailbox { account, .. }] if account.name == "anna@example.org"))
        );
        assert_eq!(source.names().await.unwrap(), ["anna@example.org", "bert@example.org"]);
        for (domain, known) in [("example.org", true), ("example.net", true), ("example.com", false)] {
            assert_eq!(source.has_domain(domain).await.unwrap(), known, "{domain}");
        }
        // A file for each domain, with bare names.
        std::fs::create_dir(dir.path().join("example.org")).unwrap();
        std::fs::write(dir.path().join("example.org/users"), "carl:x:1:1::/home/carl\n").unwrap();
        let path = dir.path().join("%d/users");
        let file = PasswdFile::new(path.to_string_lossy(), culver_directory::Defaults::default());
        assert!(Source::names(&file).await.is_err(), "which domains?");
        assert!(file.has_domain("example.org").await.unwrap(), "it has a file");
        assert!(!file.has_domain("example.com").await.unwrap());
        assert_eq!(Passwd::new(file, &settings).names().await.unwrap(), ["carl@example.org"]);
    }
}
