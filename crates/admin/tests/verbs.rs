//! The verbs, as typed.

#![allow(clippy::unwrap_used)]

use clap::Parser;
use culver_admin::{
    AdminError, AskPassword, DomainCommand, RouteCommand, UserCommand, run_domain, run_route, run_user_asking,
};
use culver_directory::builtin::Builtin;
use culver_directory::{Defaults, Directory, Login, Source as _};
use std::sync::Arc;

#[derive(Parser)]
enum Typed {
    #[command(subcommand)]
    User(UserCommand),
    #[command(subcommand)]
    Domain(DomainCommand),
    #[command(subcommand)]
    Route(RouteCommand),
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
        Typed::Route(command) => {
            let again = Builtin::open(builtin.place().as_ref(), Defaults::default()).unwrap();
            let directory = Directory::new(vec![Arc::new(again)]);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(run_route(&command, builtin, &directory)).map_err(|e| e.to_string())
        }
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

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn routes() {
    let folder = tempfile::tempdir().unwrap();
    let builtin = Builtin::open(&folder.path().join("directory.sqlite"), Defaults::default()).unwrap();
    let run = |line: &str| run_with(&builtin, line);
    assert!(run("route list").unwrap().contains("culver route add"));
    assert!(
        run("route add info@example.com --to anna@example.com")
            .unwrap_err()
            .contains("culver domain add example.com")
    );
    run("domain add example.com").unwrap();
    run("domain alias example.net example.com").unwrap();
    let refused = run("route add info@example.com --to anna@example.com").unwrap_err();
    assert!(
        refused.contains("no account or route anna@example.com (culver user list --domain example.com)"),
        "{refused}"
    );
    run("user add anna@example.com --no-password").unwrap();
    run("user add bob@example.com --no-password").unwrap();
    assert_eq!(
        run("route add Info@example.net --to anna@example.com --to boss@example.org").unwrap(),
        "Mail for info@example.com goes to anna@example.com, boss@example.org"
    );
    let refused = run("route add info@example.com --to anna@example.com").unwrap_err();
    assert!(refused.contains("(culver route show info@example.com)"), "{refused}");
    assert!(run("route add x@example.com").unwrap_err().contains("--reject TEXT"));
    assert!(run("route add x@example.com --to y").unwrap_err().contains("write targets like"));
    assert!(
        run("route add x@example.com --to x@example.net")
            .unwrap_err()
            .contains("culver user add x@example.net")
    );
    assert!(run("route add x@example.com --reject no --to a@example.com").is_err());
    assert!(run("route add x@example.com --to info@example.com").is_ok());
    let refused = run("route change info@example.com --also x@example.com").unwrap_err();
    assert!(
        refused.contains("leads back to info@example.com (by x@example.com, info@example.com)"),
        "{refused}"
    );
    run("route change info@example.com --not boss@example.org --also bob@example.com").unwrap();
    let shown = json(&run("route show info@example.com --json").unwrap());
    assert_eq!(shown["targets"], serde_json::json!(["anna@example.com", "bob@example.com"]));
    assert_eq!(shown["way"]["mailboxes"][1]["user"], "bob@example.com");
    let refused = run("route change info@example.com --not boss@example.org").unwrap_err();
    assert!(refused.contains("its targets are anna@example.com, bob@example.com"), "{refused}");
    let refused = run("route change x@example.com --not info@example.com").unwrap_err();
    assert!(refused.contains("culver route remove x@example.com"), "{refused}");
    // A forward that keeps a copy.
    run("route add bob@example.com --to bob@example.org --keep-copy").unwrap();
    let tested = run("route test bob+x@example.net").unwrap();
    assert!(
        tested.contains("bob@example.com, with the detail x") && tested.contains("bob@example.org"),
        "{tested}"
    );
    run("route change bob@example.com --reject Gone").unwrap();
    assert!(
        run("route change bob@example.com --also anna@example.com")
            .unwrap_err()
            .contains("give it some with --to")
    );
    assert_eq!(json(&run("route test bob@example.com --json").unwrap())["text"], "Gone");
    run("route disable info@example.com --reason holidays").unwrap();
    let list = run("route list").unwrap();
    assert!(list.contains("holidays") && list.contains("is refused: Gone"), "{list}");
    let tested = json(&run("route test x@example.com --json").unwrap());
    assert_eq!((&tested["result"], &tested["reason"]), (&"disabled".into(), &"holidays".into()));
    run("route enable info@example.com").unwrap();
    let to_anna = json(&run("route list --to anna@example.net --json").unwrap());
    assert_eq!((to_anna.as_array().unwrap().len(), &to_anna[0]["route"]), (1, &"info@example.com".into()));
    assert_eq!(json(&run("route list --domain example.net --json").unwrap()).as_array().unwrap().len(), 3);
    assert!(run("route list --domain example.org").unwrap_err().contains("culver domain add"));
    let refused = run("user remove anna@example.com").unwrap_err();
    assert!(
        refused.contains("info@example.com") && refused.contains("culver route list --to anna@example.com"),
        "{refused}"
    );
    run("route add *@example.net --to anna@example.com").unwrap();
    assert!(run("route show *@example.com").unwrap().contains("anna@example.com"));
    assert!(run("route test nobody@example.com").unwrap().contains("*@example.com"));
    assert!(run("route test nobody@example.org").unwrap().contains("nobody has this address"));
    assert!(
        run("route remove y@example.com").unwrap_err().contains("culver route list --domain example.com")
    );
    let shown = json(&run("domain show example.net --json").unwrap());
    assert_eq!(
        (&shown["domain"], &shown["routes"], &shown["users"]),
        (&"example.com".into(), &4.into(), &2.into())
    );
    for route in ["info", "x", "bob", "*"] {
        run(&format!("route remove {route}@example.com")).unwrap();
    }
    run("user remove anna@example.com").unwrap();
}

#[test]
fn changes_and_new_names() {
    let folder = tempfile::tempdir().unwrap();
    let builtin = Builtin::open(&folder.path().join("directory.sqlite"), Defaults::default()).unwrap();
    let run = |line: &str| run_with(&builtin, line);
    run("domain add example.com").unwrap();
    run("domain alias example.net example.com").unwrap();
    run("domain alias example.org example.com").unwrap();
    run("user add anna@example.com --no-password --quota 1G").unwrap();
    run("user add bob@example.com --no-password").unwrap();
    assert!(run("user change anna@example.com").is_err());
    assert!(run("user change carl@example.com --quota 1G").unwrap_err().contains("culver user list"));
    assert!(run("user change anna@example.com --home relative").unwrap_err().contains("absolute"));
    assert!(run("user change anna@example.com --uid 0").unwrap_err().contains("above 0, or default"));
    run("user change anna@example.net --home /srv/%n --uid 7 --gid 8 --messages 100 --quota none").unwrap();
    let anna = builtin.user("anna@example.com").unwrap();
    assert_eq!((anna.home.as_deref(), anna.uid, anna.gid), (Some("/srv/%n"), Some(7), Some(8)));
    assert_eq!((anna.quota.storage, anna.quota.messages), (None, Some(100)));
    run("user change anna@example.com --uid default --gid default").unwrap();
    assert_eq!(builtin.user("anna@example.com").unwrap().uid, None);

    // A new name: mail stays, switches and routes follow.
    run("user disable anna@example.com --what send --reason spam").unwrap();
    run("route add info@example.com --to Anna@example.net").unwrap();
    run("route add anna@example.com --to a@example.com.invalid --keep-copy").unwrap();
    assert!(run("user rename anna@example.com bob@example.net").unwrap_err().contains("exists already"));
    assert!(run("user rename anna@example.com info@example.net").unwrap_err().contains("culver route show"));
    assert!(run("user rename anna@example.com anne@example.info").unwrap_err().contains("culver domain add"));
    let root = |name: &str| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(builtin.find(&Login::parse(name.as_bytes()).unwrap())).unwrap();
        found.map(|account| account.mail.root.display().to_string())
    };
    assert_eq!(root("bob@example.com").as_deref(), Some("/var/vmail/example.com/bob/Maildir"));
    run("user change anna@example.com --home /srv/%n --mail maildir:~/Mail").unwrap();
    let text = run("user rename anna@example.com Anne@example.net --keep-address").unwrap();
    assert!(text.contains("Mail for anna@example.com goes to anne@example.com"), "{text}");
    assert_eq!(root("anne@example.com").as_deref(), Some("/srv/anna/Mail"));
    assert_eq!(root("anna@example.com"), None);
    assert_eq!(builtin.user("anne@example.com").unwrap().send.off(), Some("spam"));
    let route = |name: &str| builtin.route_at(name).unwrap().action;
    let to = |targets: &[&str]| {
        culver_directory::Action::Deliver(targets.iter().map(|t| (*t).to_owned()).collect())
    };
    assert_eq!(route("info@example.com"), to(&["anne@example.com"]));
    assert_eq!(route("anne@example.com"), to(&["anne@example.com", "a@example.com.invalid"]));
    assert_eq!(route("anna@example.com"), to(&["anne@example.com"]));

    // Another primary domain: nothing that anybody types changes.
    assert!(run("domain primary example.com").unwrap_err().contains("primary domain already"));
    assert!(run("domain primary example.info").unwrap_err().contains("culver domain add"));
    assert!(run("domain primary example.net").unwrap().contains("example.net is the primary domain now"));
    let domains = json(&run("domain list --json").unwrap());
    assert_eq!(domains[0]["aliases"], serde_json::json!(["example.com", "example.org"]));
    assert_eq!((&domains[0]["users"], &domains[0]["routes"]), (&2.into(), &3.into()));
    assert_eq!(builtin.user("anne@example.org").unwrap().name, "anne@example.net");
    assert_eq!(builtin.user("anne@example.com").unwrap().send.off(), Some("spam"));
    assert_eq!(root("bob@example.com").as_deref(), Some("/var/vmail/example.com/bob/Maildir"));
    assert_eq!(root("anne@example.com").as_deref(), Some("/srv/anna/Mail"));
    assert_eq!(builtin.route_at("info@example.com").unwrap().address, "info@example.net");
}
