//! What `culver config check` says about mistakes, as an administrator reads it.
#![allow(clippy::unwrap_used, reason = "a test")]

use culver_config::{Severity, parse};

fn said(text: &str) -> String {
    parse(text)
        .problems
        .iter()
        .filter(|p| p.severity == Severity::Error)
        .map(|p| p.render("c.toml", text))
        .collect()
}

#[test]
fn mistakes_are_shown_at_their_place() {
    assert_eq!(
        said("[imap]\nidel_timeout = \"1h\"\n"),
        "c.toml:2:1: error: there is no setting `imap.idel_timeout`\n  |\n2 | idel_timeout = \"1h\"\n  | ^^^^^^^^^^^^\n  \
         = write `idle_timeout`\n"
    );
    assert_eq!(
        said("# ä\n\nimap.idle_timeout = 1800\n"),
        "c.toml:3:21: error: imap.idle_timeout: this length of time has no unit\n  |\n\
         3 | imap.idle_timeout = 1800\n  |                     ^^^^\n  = write \"1800s\" if seconds are meant\n"
    );
    assert_eq!(
        said("log = { style = \"jason\" }\n"),
        "c.toml:1:17: error: log.style: `jason` is not known here\n  |\n1 | log = { style = \"jason\" }\n  \
         |                 ^^^^^^^\n  = write \"json\"; known are \"plain\", \"dovecot\", \"json\"\n"
    );
}

#[test]
fn every_kind_of_mistake_has_an_answer() {
    for (text, what, instead) in [
        ("state_dir = 5", "this is a number, but a path is wanted", "quotes"),
        ("state_dir = \"var\"", "not an absolute path", "from the root"),
        ("sandbox = \"no\"", "this is a text, but true or false is wanted", "without quotes"),
        ("imap = 5", "`imap` is a section", "[imap]"),
        ("[mailbox]\nname = \"x\"", "`mailbox` is a list of sections", "[[mailbox]]"),
        ("mailbox = [1]", "`mailbox[0]` is a list of sections", "[[mailbox]]"),
        ("[[mailbox]]\n", "has no name", "name ="),
        ("[[mailbox]]\nname = \"a\"\n[[mailbox]]\nname = \"A\"", "named twice", "take one"),
        ("[[mailbox]]\nname = \"../x\"", "no mailbox name", "levels"),
        ("[imap]\nlisten = [\"localhost:143\"]", "no address with a port", "0.0.0.0:143"),
        ("[imap]\nappend_limit = \"1.5MB\"", "no size", "64MiB"),
        ("[imap]\nappend_limit = -1", "no size", "64MiB"),
        ("max_connections = 99999999999", "out of range", "4294967295"),
        ("[[tls.certificate]]\ncertificate = \"/c\"", "has no `key`", "both"),
        ("[[directory]]\nsource = \"passwd-file\"", "needs its path", "/etc/culver/users"),
        ("[[directory]]\nsource = \"passwdfile\"", "not known here", "write \"passwd-file\""),
        ("[[directory]]\nsource = \"static\"", "without any field", "password={PLAIN}"),
        ("[[directory]]\nresult_success = \"continue_ok\"", "not known here", "write \"continue-ok\""),
        ("[[directory]]\nserves = \"passwords\"", "no source serves accounts", "source = \"static\""),
        ("[[directory]]\nserves = \"accounts\"", "no source serves passwords", "take `serves` out"),
        ("[[directory]]\ndeny = true\nmaster = true\n[[directory]]", "deny and master", "take one"),
        (
            "[[directory]]\nmaster = true\nserves = \"accounts\"",
            "known by their passwords",
            "take `serves` out",
        ),
        ("[[directory]]\nallow_all_users = true", "only static", "source = \"static\""),
        ("[[directory]]\ndomains = [\"a@b\"]", "no domain", "example.org"),
        ("[[directory]]\nsource = \"sql\"", "where the database is", "hosts ="),
        ("[[directory]]\nsource = \"sql\"\n[directory.sql]\nhosts = [\"a\"]", "nobody can log in", "serves"),
        ("[[directory]]\nsource = \"sql\"\nsql.driver = \"sqlite\"", "needs its file", "path ="),
        ("[[directory]]\nsource = \"sql\"\nsql.hosts = [\"a b\"]", "no host", "db.example.org"),
        ("[[directory]]\nsource = \"sql\"\nsql.password_query = \"SELECT 1\"", "no variable", "'%u'"),
        ("[[directory]]\nsource = \"sql\"\nserves = \"accounts\"", "needs user_query", "SELECT home"),
        ("[[directory]]\nsource = \"sql\"\nsql.driver = \"oracle\"", "not known here", "postgresql"),
        ("[[directory]]\nsource = \"ldap\"", "where the directory server is", "uris ="),
        ("[[directory]]\nsource = \"ldap\"\nldap.uris = [\"ldap.example.org\"]", "no address", "ldaps://"),
        (
            "[[directory]]\nsource = \"ldap\"\nldap.uris = [\"ldaps://a\"]\nldap.tls = \"starttls\"",
            "ldap:// alone",
            "out",
        ),
        (
            "[[directory]]\nsource = \"ldap\"\nldap.bind_dn = \"cn=a\"",
            "without a password",
            "take bind_dn out",
        ),
        ("[[directory]]\nsource = \"ldap\"\nldap.filter = \"(uid=a)\"", "same for everybody", "%u"),
        ("[[directory]]\nsource = \"ldap\"\nldap.filter = \"\"", "without filter", "mail=%u"),
        ("[[directory]]\nsource = \"ldap\"\nldap.auth_bind_dn = \"cn=a\"", "no variable", "uid=%n"),
        (
            "[[directory]]\nsource = \"ldap\"\nldap.auth_bind = false\nldap.attributes = []",
            "no attribute becomes the password",
            "userPassword=password",
        ),
        ("[[directory]]\nsource = \"ldap\"\nldap.connections = 0", "without connections", "at least 1"),
        ("[[directory]]\nsource = \"oauth2\"", "how tokens are checked", "introspection_url"),
        (
            "[[directory]]\nsource = \"oauth2\"\noauth2.jwks_uri = \"http://id.example.org/\"",
            "would cross the network in the clear",
            "https://",
        ),
        (
            "[[directory]]\nsource = \"oauth2\"\noauth2.keys = [\"/k.json\"]\noauth2.jwks_uri = \"https://id.example.org/\"",
            "tokens are checked here, or the provider is asked",
            "leave one of",
        ),
        (
            "[[directory]]\nsource = \"oauth2\"\noauth2.keys = [\"/etc/culver/key\"]",
            "ends in .json",
            "jwks.json",
        ),
        (
            "[[directory]]\nsource = \"oauth2\"\noauth2.introspection_url = \"http://id.example.org/\"",
            "in the clear",
            "https://",
        ),
        (
            "[[directory]]\nsource = \"oauth2\"\noauth2.introspection_url = \"http://localhost.example.org/\"",
            "in the clear",
            "https://",
        ),
        ("[[directory]]\nsource = \"oauth2\"\noauth2.introspection_url = \"id\"", "no address", "https://"),
        ("[[directory]]\nsource = \"oauth2\"\nserves = \"passwords\"", "no passwords", "take `serves`"),
        (
            "[[directory]]\nsource = \"oauth2\"\noauth2.keys = [\"/k.json\"]",
            "no source serves accounts",
            "static",
        ),
        ("[[directory]]\nfields = [\"a=b\"]", "no such fields", "culver user"),
        ("[[directory]]\nfields = [\"=x\"]", "has no name", "name=value"),
        ("[mail]\nroots = [\"home\"]", "not an absolute path", "from the root"),
        ("[imap\nlisten = []", "not TOML", "name = value"),
        ("hostname = \"a\"\nhostname = \"b\"", "not TOML", "name = value"),
        ("tls.certificate.key = 1\n", "list of sections", "[[tls.certificate]]"),
    ] {
        let said = said(text);
        assert!(said.contains(what) && said.contains(instead), "{text}: {said}");
    }
}

#[test]
fn all_mistakes_are_found_in_one_go() {
    let text = "hostnme = \"a\"\n[imap]\nidle_timeout = 5\n[[mailbox]]\nnme = \"x\"\n";
    assert_eq!(said(text).matches("error").count(), 3);
}

#[test]
fn doubtful_settings_are_warned_of() {
    let parsed = parse("[auth]\nrequire_tls = false\n[imap]\nidle_timeout = \"5m\"\n");
    assert!(!parsed.has_errors());
    assert_eq!(parsed.problems.len(), 3);
    for (text, warned) in [
        ("sql.password_query = \"SELECT p FROM u WHERE n = '%n'\"", true),
        ("domains = [\"example.org\"]\nsql.password_query = \"SELECT p FROM u WHERE n = '%n'\"", false),
        ("sql.password_query = \"SELECT p FROM u WHERE n = '%n' AND d = '%d'\"", false),
        ("sql.password_query = \"SELECT p FROM u WHERE n = '%{user | username}'\"", true),
        ("sql.password_query = \"SELECT p FROM u WHERE n = '%u'\"", false),
        ("serves = \"accounts\"\nsql.user_query = \"SELECT p FROM u WHERE n = '%Ln'\"", true),
    ] {
        let source = "source = \"sql\"\npath = \"/u.sqlite\"\nsql.driver = \"sqlite\"";
        let parsed = parse(&format!("[[directory]]\n{source}\n{text}\n[[directory]]\n"));
        assert!(!parsed.has_errors(), "{text}");
        assert_eq!(parsed.problems.iter().any(|p| p.what.contains("every domain")), warned, "{text}");
    }
    let ldap = "[[directory]]\nsource = \"ldap\"\nldap.uris = [\"ldaps://a\"]\nldap.filter = \"(uid=%n)\"\n";
    assert!(parse(ldap).problems.iter().any(|p| p.what.contains("every domain")));
    let based = format!("{ldap}ldap.base = \"ou=%d,dc=example\"\n");
    assert!(!parse(&based).problems.iter().any(|p| p.what.contains("every domain")));
}

#[test]
fn the_example_of_a_real_server() {
    let parsed = parse(
        "hostname = \"mail.example.org\"\nuser = \"culver\"\n\n[log]\nstyle = \"dovecot\"\n\n[[tls.certificate]]\n\
         certificate = \"/etc/ssl/mail.pem\"\nkey = \"/etc/ssl/mail.key\"\n\n[[directory]]\nsource = \"passwd-file\"\n\
         path = \"/etc/culver/users\"\n\n[[directory]]\n\n[mail]\nlocation = \"~/Maildir\"\n",
    );
    assert_eq!(parsed.problems, []);
    assert_eq!(parsed.settings.directory.len(), 2);
    assert_eq!(parsed.settings.mail.location, "~/Maildir");
    assert_eq!(parsed.settings.mailbox.len(), 5);
}

/// Cuts and single changed octets of a text that uses everything: never a panic, and the fuzz target's promises hold.
#[test]
fn any_cut_and_any_changed_octet() {
    let text =
        "hostname='h'\nmailbox=[]\nimap={listen=['[::1]:1'],idle_timeout='1h'}\n[[directory]]\nuid=0x10\n";
    for cut in 0..text.len() {
        culver_config::fuzz::fuzz_config(&text.as_bytes()[..cut]);
        for octet in [0, b'\n', b'[', b']', b'=', b'"', b'.', b'{', 0xff] {
            let mut changed = text.as_bytes().to_vec();
            changed[cut] = octet;
            culver_config::fuzz::fuzz_config(&changed);
        }
    }
}
