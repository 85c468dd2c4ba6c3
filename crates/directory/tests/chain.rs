//! Chains of sources against the same chains in an installed Dovecot.
#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use culver_directory::chain::{Results, Rule, Skip};
use culver_directory::passwd_file::PasswdFile;
use culver_directory::{
    Account, Defaults, Directory, Fields, Fixed, Link, Login, Outage, Outcome, Prove, Secret, Serves, Side,
    Source, Verdict,
};
use culver_testkit::servers;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// Knows only passwords in the clear.
struct Clear(&'static str);

#[async_trait]
impl Prove for Clear {
    async fn prove(
        &self,
        source: &dyn Source,
        login: &Login,
        account: &Arc<Account>,
    ) -> Result<Verdict, Outage> {
        let right = match &account.secret {
            Secret::Stored(text) => *text == format!("{{PLAIN}}{}", self.0),
            Secret::AnyPassword => true,
            Secret::Ask => return source.check(login, self.0.as_bytes(), None).await,
            Secret::None => false,
        };
        Ok(if right { Verdict::Right } else { Verdict::Wrong })
    }
}

fn login(name: &str) -> Login {
    Login::parse(name.as_bytes()).unwrap()
}

const RULES: [(&str, Rule); 6] = [
    ("return-ok", Rule::ReturnOk),
    ("return-fail", Rule::ReturnFail),
    ("return", Rule::Return),
    ("continue-ok", Rule::ContinueOk),
    ("continue-fail", Rule::ContinueFail),
    ("continue", Rule::Continue),
];

const SKIPS: [(&str, Skip); 3] = [
    ("never", Skip::Never),
    ("authenticated", Skip::Authenticated),
    ("unauthenticated", Skip::Unauthenticated),
];

/// What a source says of the user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Says {
    Right,
    Wrong,
    Unknown,
    Nothing,
}

#[derive(Clone, Debug)]
struct Step {
    says: Says,
    rule: &'static str,
    skip: &'static str,
    deny: bool,
}

impl Step {
    fn new(says: Says, rule: &'static str) -> Self {
        Self { says, rule, skip: "never", deny: false }
    }

    fn result(&self) -> &'static str {
        match self.says {
            Says::Right => "result_success",
            Says::Wrong | Says::Unknown => "result_failure",
            Says::Nothing => "result_internalfail",
        }
    }

    fn file(&self, dir: &Path, domain: &str, place: usize) -> String {
        let path = dir.join(format!("{domain}.{place}"));
        let text = match self.says {
            Says::Right | Says::Nothing => format!("u@{domain}:{{PLAIN}}pw\n"),
            Says::Wrong => format!("u@{domain}:{{PLAIN}}other\n"),
            Says::Unknown => "somebody@else.example:{PLAIN}pw\n".to_owned(),
        };
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn dovecot(&self, path: &str, domain: &str) -> String {
        let deny = if self.deny { " deny = yes\n" } else { "" };
        let (result, rule, skip) = (self.result(), self.rule, self.skip);
        format!(
            "passdb {{\n driver = passwd-file\n args = username_format=%u {path}\n username_filter = *@{domain}\n \
             {result} = {rule}\n skip = {skip}\n{deny}}}\n"
        )
    }

    fn link(&self, path: &str) -> Link {
        let mut results = Results::default();
        let rule = RULES.iter().find(|(word, _)| *word == self.rule).unwrap().1;
        match self.result() {
            "result_success" => results.success = rule,
            "result_failure" => results.failure = rule,
            _ => results.outage = rule,
        }
        let source: Arc<dyn Source> = match self.says {
            Says::Nothing => Arc::new(Down),
            _ => Arc::new(PasswdFile::new(path, Defaults::default())),
        };
        let skip = SKIPS.iter().find(|(word, _)| *word == self.skip).unwrap().1;
        Link { results, skip, deny: self.deny, serves: Serves::Passwords, ..Link::new(source) }
    }
}

struct Down;

#[async_trait]
impl Source for Down {
    fn name(&self) -> &str {
        "down"
    }

    async fn find(&self, _: &Login) -> Result<Option<Arc<Account>>, Outage> {
        Err(Outage::new("down", "it burns"))
    }
}

/// Every pair of answers and rules, the ways to pass over, and deny.
fn chains() -> Vec<Vec<Step>> {
    let all = [Says::Right, Says::Wrong, Says::Unknown, Says::Nothing];
    let mut chains = Vec::new();
    for one in all {
        for (rule, _) in RULES {
            chains.push(vec![Step::new(one, rule)]);
            for two in all {
                for (other, _) in RULES {
                    chains.push(vec![Step::new(one, rule), Step::new(two, other)]);
                }
            }
        }
        for two in [Says::Right, Says::Wrong] {
            let deny = Step { deny: true, ..Step::new(one, "continue") };
            chains.push(vec![
                deny.clone(),
                Step::new(two, if two == Says::Right { "return-ok" } else { "continue" }),
            ]);
            chains.push(vec![Step::new(two, "continue-ok"), deny]);
        }
    }
    for (skip, _) in SKIPS {
        for one in [Says::Right, Says::Wrong, Says::Nothing] {
            for rule in ["continue-ok", "continue-fail", "continue"] {
                for two in [Says::Right, Says::Wrong] {
                    let rule2 = if two == Says::Right { "return-ok" } else { "continue" };
                    let passed = Step { skip, ..Step::new(two, rule2) };
                    chains.push(vec![Step::new(one, rule), passed.clone()]);
                    chains.push(vec![Step::new(one, rule), passed, Step::new(Says::Nothing, "continue")]);
                }
            }
        }
    }
    chains
}

#[tokio::test]
async fn rules_as_dovecot_has_them() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut sections =
        "userdb {\n driver = static\n args = uid=1000 gid=1000 home=/nowhere allow_all_users=yes\n}\n"
            .to_owned();
    let mut cases = Vec::new();
    for (number, chain) in chains().into_iter().enumerate() {
        let domain = format!("c{number}.example");
        let mut links = Vec::new();
        for (place, step) in chain.iter().enumerate() {
            let path = step.file(folder.path(), &domain, place);
            if step.says == Says::Nothing {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            }
            write!(sections, "{}", step.dovecot(&path, &domain)).unwrap();
            links.push(step.link(&path));
        }
        let everybody = Fixed::new("static", Fields::default(), Defaults::default(), true);
        links.push(Link { serves: Serves::Accounts, ..Link::new(Arc::new(everybody)) });
        cases.push((chain, format!("u@{domain}"), Directory::chain(links)));
    }
    let mut ours = Vec::new();
    for (_, name, directory) in &cases {
        ours.push(match directory.authenticate(&login(name), &Clear("pw")).await {
            Ok(Outcome::Right(account)) => {
                assert_eq!(account.name, *name);
                "yes"
            }
            Ok(Outcome::Wrong { .. }) => "no",
            Ok(Outcome::Disabled { .. } | Outcome::Expired) => "disabled",
            Err(_) => "outage",
        });
    }
    assert!(ours.iter().filter(|o| **o == "outage").count() > 50);
    let Some(dovecot) = servers::dovecot_auth(&sections).unwrap() else {
        println!("not run: the chain in Dovecot: dovecot is missing");
        return;
    };
    let logins: Vec<_> = cases.iter().map(|(_, name, _)| (name.clone(), "pw".to_owned())).collect();
    let answers = servers::ask_dovecot(&dovecot.socket, &logins).unwrap();
    let mut different = Vec::new();
    for (((chain, ..), ours), answer) in cases.iter().zip(&ours).zip(&answers) {
        let theirs = match answer.split('\t').next() {
            Some("OK") => "yes",
            _ if answer.contains("temp") => "outage",
            _ if answer.contains("user_disabled") => "disabled",
            _ => "no",
        };
        if theirs != *ours {
            different.push(format!("{chain:?}: Dovecot {theirs}, Culver {ours}"));
        }
    }
    assert!(different.is_empty(), "{} of {}:\n{}", different.len(), cases.len(), different.join("\n"));
    println!("counted: chains compared with Dovecot: {}", cases.len());
}

fn file(folder: &Path, name: &str, text: &str) -> Arc<dyn Source> {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    Arc::new(PasswdFile::new(path.to_str().unwrap(), Defaults::default()))
}

#[tokio::test]
async fn passwords_from_one_source_and_homes_from_another() {
    let folder = tempfile::tempdir().unwrap();
    let passwords = file(
        folder.path(),
        "passwords",
        "anna@example.org:{PLAIN}pw:::::: allow_nets=192.0.2.0/24 a=1\nbert@example.org:{PLAIN}pw\n",
    );
    let homes = file(folder.path(), "homes", "anna@example.org:{PLAIN}other:1001:1001::/srv/anna:: b=2\n");
    let directory = Directory::chain(vec![
        Link { serves: Serves::Passwords, ..Link::new(passwords) },
        Link { serves: Serves::Accounts, ..Link::new(homes) },
    ]);
    let Outcome::Right(anna) =
        directory.authenticate(&login("anna@example.org"), &Clear("pw")).await.unwrap()
    else {
        panic!()
    };
    assert_eq!((anna.uid, anna.home.as_deref()), (Some(1001), Some(Path::new("/srv/anna"))));
    assert_eq!((anna.allowed_networks.len(), anna.extra.len()), (1, 2));
    // The home's password opens nothing.
    let wrong = directory.authenticate(&login("anna@example.org"), &Clear("other")).await.unwrap();
    assert!(matches!(wrong, Outcome::Wrong { account: Some(_) }));
    // Right, but nobody knows where the mail lies: not the client's fault.
    let why = directory.authenticate(&login("bert@example.org"), &Clear("pw")).await.unwrap_err();
    assert!(why.to_string().contains("no source that serves accounts"), "{why}");
    assert_eq!(directory.find(&login("bert@example.org")).await.unwrap(), None);
    assert_eq!(directory.names().await.unwrap(), ["anna@example.org"]);
}

#[tokio::test]
async fn static_accounts_exist_when_somebody_knows_their_password() {
    let folder = tempfile::tempdir().unwrap();
    let passwords = file(folder.path(), "passwords", "anna@example.org:{PLAIN}pw\n");
    let mut fields = Fields::default();
    fields.add(Side::User, "home", "/srv/%d/%n");
    fields.add(Side::User, "uid", "5000");
    fields.add(Side::User, "gid", "5000");
    let fixed = |all| Arc::new(Fixed::new("static", fields.clone(), Defaults::default(), all));
    let chain = |all| {
        let passwords = Link { serves: Serves::Passwords, ..Link::new(passwords.clone()) };
        Directory::chain(vec![passwords, Link { serves: Serves::Accounts, ..Link::new(fixed(all)) }])
    };
    let anna = chain(false).find(&login("anna@example.org")).await.unwrap().unwrap();
    assert_eq!((anna.uid, anna.home.as_deref()), (Some(5000), Some(Path::new("/srv/example.org/anna"))));
    assert_eq!(chain(false).find(&login("bert@example.org")).await.unwrap(), None);
    assert!(chain(true).find(&login("bert@example.org")).await.unwrap().is_some());
    // Whoever could not be asked may know them.
    let mut links = vec![Link { serves: Serves::Passwords, ..Link::new(Arc::new(Down)) }];
    links.push(Link { serves: Serves::Accounts, ..Link::new(fixed(false)) });
    assert!(Directory::chain(links).find(&login("bert@example.org")).await.is_err());
}

#[tokio::test]
async fn masters_are_looked_for_apart_and_domains_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let masters = file(folder.path(), "masters", "root@example.org:{PLAIN}master\n");
    let users = file(folder.path(), "users", "anna@example.org:{PLAIN}pw\nanna@example.net:{PLAIN}pw\n");
    let directory = Directory::chain(vec![
        Link { master: true, ..Link::new(masters) },
        Link { domains: vec!["example.org".to_owned()], ..Link::new(users) },
    ]);
    let (anna, root) = (login("anna@example.org"), login("root@example.org"));
    assert_eq!(
        directory.authenticate(&root, &Clear("master")).await.unwrap(),
        Outcome::Wrong { account: None }
    );
    assert_eq!(directory.find(&root).await.unwrap(), None);
    let proved = directory.authenticate_master(&root, &Clear("master")).await.unwrap();
    assert!(matches!(proved, Outcome::Right(_)));
    let wrong = directory.authenticate_master(&root, &Clear("pw")).await.unwrap();
    assert!(matches!(wrong, Outcome::Wrong { account: Some(_) }));
    let nobody = directory.authenticate_master(&anna, &Clear("pw")).await.unwrap();
    assert_eq!(nobody, Outcome::Wrong { account: None });
    assert_eq!(directory.find(&login("anna@example.net")).await.unwrap(), None);
    assert_eq!(directory.names().await.unwrap(), ["anna@example.org"]);
}
