//! The verbs, as typed.

#![allow(clippy::unwrap_used)]

use clap::Parser;
use culver_admin::{AdminError, AskPassword, DomainCommand, UserCommand, run_domain, run_user_asking};
use culver_directory::Defaults;
use culver_directory::builtin::Builtin;

#[derive(Parser)]
enum Typed {
    #[command(subcommand)]
    User(UserCommand),
    #[command(subcommand)]
    Domain(DomainCommand),
}

struct Says(&'static str);

impl AskPassword for Says {
    fn on_terminal(&mut self, _: &str) -> Result<String, AdminError> {
        Ok(self.0.to_owned())
    }

    fn on_stdin(&mut self) -> Result<String, AdminError> {
        Ok(format!("{} of stdin", self.0))
    }
}

fn run_with(builtin: &Builtin, line: &str) -> Result<String, String> {
    let words = std::iter::once("culver").chain(line.split(' '));
    match Typed::try_parse_from(words).map_err(|e| e.to_string())? {
        Typed::User(command) => {
            run_user_asking(&command, builtin, &mut Says("secret")).map_err(|e| e.to_string())
        }
        Typed::Domain(command) => run_domain(&command, builtin).map_err(|e| e.to_string()),
    }
}

#[test]
fn from_nothing_to_an_account_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let builtin = Builtin::open(&folder.path().join("directory.sqlite"), Defaults::default()).unwrap();
    let run = |line: &str| run_with(&builtin, line);
    assert!(run("user list").unwrap().contains("culver user add"));
    assert!(run("user add anna@example.com").unwrap_err().contains("culver domain add example.com"));
    assert!(run("user add anna").unwrap_err().contains("domain is missing"));
    run("domain add example.com").unwrap();
    run("domain alias example.net example.com").unwrap();
    assert_eq!(run("user add Anna@example.net").unwrap(), "Added anna@example.com");
    assert!(run("user add anna@example.com").unwrap_err().contains("culver user passwd anna@example.com"));
    let stored = builtin.user("anna@example.com").unwrap().password.unwrap();
    let verify = |stored: &str, password: &str| {
        culver_auth::scheme::Stored::parse(stored)
            .unwrap()
            .verify(password.as_bytes(), "anna@example.com")
            .unwrap()
    };
    assert!(stored.starts_with("{SCRAM-SHA-256}100000,") && verify(&stored, "secret"));
    run("user passwd anna@example.com --stdin --scheme argon2id").unwrap();
    let stored = builtin.user("anna@example.com").unwrap().password.unwrap();
    assert!(stored.starts_with("{ARGON2ID}$argon2id$") && verify(&stored, "secret of stdin"));
    assert!(run("user passwd anna@example.com --hash {NOSUCH}x").unwrap_err().contains("--hash"));
    run("user passwd anna@example.com --hash {PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69").unwrap();
    assert!(run("user list").unwrap().contains("PLAIN-MD5 (weak)"));
    let shown: serde_json::Value =
        serde_json::from_str(&run("user show anna@example.net --json").unwrap()).unwrap();
    assert_eq!((&shown["user"], &shown["scheme"]), (&"anna@example.com".into(), &"PLAIN-MD5 (weak)".into()));
    assert!(!shown.to_string().contains("5ebe"));
    assert!(run("user show anna@example.com").unwrap().contains("default"));
    let domains: serde_json::Value = serde_json::from_str(&run("domain list --json").unwrap()).unwrap();
    assert_eq!(domains[0]["aliases"][0], "example.net");
    run("user passwd anna@example.com --no-password").unwrap();
    assert!(run("user list --domain example.com").unwrap().contains("none"));
    assert!(run("user add bob@example.com --mail mbox:x").unwrap_err().contains("Maildir"));
    assert!(run("user add bob@example.com --uid 0").is_err());
    assert!(run("user disable anna@example.com --reason unpaid").unwrap().contains("may not log in"));
    assert!(run("user disable anna@example.net --what send").unwrap().contains("may not send mail"));
    assert!(run("user list").unwrap().contains("unpaid"));
    let shown: serde_json::Value =
        serde_json::from_str(&run("user show anna@example.com --json").unwrap()).unwrap();
    assert_eq!((&shown["login"]["reason"], &shown["login"]["enabled"]), (&"unpaid".into(), &false.into()));
    assert_eq!((&shown["send"]["enabled"], &shown["receive"]["enabled"]), (&false.into(), &true.into()));
    assert_eq!(run("user enable anna@example.com").unwrap(), "anna@example.com may log in");
    assert!(!run("user list").unwrap().contains("unpaid"));
    assert!(run("user disable bob@example.com").unwrap_err().contains("culver user list"));
    assert!(run("domain remove example.com").unwrap_err().contains("culver user list --domain example.com"));

    let file = folder.path().join("password");
    std::fs::write(&file, "from the file\nnot this\n").unwrap();
    for (scheme, start) in [
        ("sha512-crypt", "{SHA512-CRYPT}$6$"),
        ("blf-crypt", "{BLF-CRYPT}$2y$"),
        ("plain", "{PLAIN}from the file"),
    ] {
        run_with(
            &builtin,
            &format!("user passwd anna@example.com --scheme {scheme} --password-file {}", file.display()),
        )
        .unwrap();
        let stored = builtin.user("anna@example.com").unwrap().password.unwrap();
        assert!(stored.starts_with(start) && verify(&stored, "from the file"), "{stored}");
    }
    assert!(
        run("user passwd anna@example.com --password-file /no/such/file").unwrap_err().contains("may read")
    );
    assert!(run("user passwd anna@example.com --password-file /x --stdin").is_err());
    assert!(run("user add carl@example.com --no-password --quota 2G").is_ok());
    assert_eq!(builtin.user("carl@example.com").unwrap().quota.storage, Some(2 << 30));
    for bad in ["0", "x", "-1", "1X", "1:messages=1"] {
        assert!(
            run_with(&builtin, &format!("user add dora@example.com --no-password --quota={bad}")).is_err(),
            "{bad}"
        );
    }
    run("user remove carl@example.com").unwrap();
    run("user remove anna@example.com").unwrap();
    assert!(run("user remove anna@example.com").unwrap_err().contains("culver user list"));
    assert!(run("user show bob@example.com").is_err());
    run("domain remove example.net").unwrap();
    assert_eq!(run("domain remove Example.com").unwrap(), "Removed the domain example.com");
    assert!(run("domain list").unwrap().contains("culver domain add"));
}

#[test]
fn help_speaks_of_the_verb() {
    let help = |line: &str| {
        let words = std::iter::once("culver").chain(line.split(' '));
        Typed::try_parse_from(words).err().unwrap().to_string()
    };
    assert!(help("user add --help").starts_with("Adds an account. Asks for its password"));
    assert!(help("user passwd --help").starts_with("Sets a new password"));
    assert!(help("domain alias --help").starts_with("Adds a secondary domain"));
}
