//! What single values cannot show: settings that contradict each other.

use crate::Parsed;
use crate::problem::Problem;
use crate::settings::{
    Directory, ForwardMethod, ForwardTls, Pop3, Pop3Delete, Serves, Settings, Source, SpecialUse,
};
use culver_base::{Keyword, UidlFormat};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

/// The SASL mechanisms by name. The program's tests compare it with the mechanisms themselves.
pub const MECHANISMS: [&str; 12] = [
    "SCRAM-SHA-256-PLUS",
    "SCRAM-SHA-256",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-1",
    "EXTERNAL",
    "OAUTHBEARER",
    "XOAUTH2",
    "DIGEST-MD5",
    "CRAM-MD5",
    "PLAIN",
    "LOGIN",
    "ANONYMOUS",
];

/// Adds what it finds to the problems.
pub fn check(parsed: &mut Parsed) {
    let mut found = Vec::new();
    let s = &parsed.settings;
    let at = |path: &str| -> Option<Range<usize>> {
        // The nearest enclosing section that stands in the text.
        let mut path = path;
        loop {
            if let Some(span) = parsed.origins.get(path) {
                return Some(span.clone());
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    };
    let mut error =
        |path: &str, what: String, instead: &str| found.push(Problem::error(at(path), what, instead));

    let absolute = |path: &Path| path.as_os_str().is_empty() || path.is_absolute();
    if s.state_dir.as_os_str().is_empty() || !s.state_dir.is_absolute() {
        error(
            "state_dir",
            "state_dir is not an absolute path".to_owned(),
            "write it from the root: \"/var/lib/culver\"",
        );
    }
    if !absolute(&s.log.file) {
        error("log.file", "log.file is not an absolute path".to_owned(), "write it from the root");
    }
    for (i, c) in s.tls.certificate.iter().enumerate() {
        for (name, path) in [("certificate", &c.certificate), ("key", &c.key)] {
            if path.as_os_str().is_empty() {
                let what = format!("this certificate has no `{name}`");
                error(
                    &format!("tls.certificate[{i}]"),
                    what,
                    "a [[tls.certificate]] needs both `certificate` and `key`",
                );
            } else if !path.is_absolute() {
                let key = format!("tls.certificate[{i}].{name}");
                error(&key, format!("{key} is not an absolute path"), "write it from the root");
            }
        }
    }
    for (name, path) in [
        ("auth.master_users", &s.auth.master_users),
        ("tls.client_ca", &s.tls.client_ca),
        ("auth.policy_ca_file", &s.auth.policy_ca_file),
        ("quota.hook_ca_file", &s.quota.hook_ca_file),
    ] {
        if !absolute(path) {
            error(name, format!("{name} is not an absolute path"), "write it from the root");
        }
    }
    if !s.auth.policy_url.is_empty() && !is_http(&s.auth.policy_url) {
        error(
            "auth.policy_url",
            "auth.policy_url is no address of HTTP".to_owned(),
            "write it like \"http://localhost:4001/\"",
        );
    }
    if !s.auth.policy_url.is_empty() && s.auth.policy_nonce.is_empty() {
        error(
            "auth.policy_url",
            "a policy service needs auth.policy_nonce".to_owned(),
            "write a long random text, the same on all servers that ask it",
        );
    }
    for name in &s.auth.mechanisms {
        if !MECHANISMS.contains(&name.to_ascii_uppercase().as_str()) {
            let what = format!("{name:?} is no mechanism that Culver speaks");
            error("auth.mechanisms", what, &format!("choose from {}", MECHANISMS.join(", ")));
        }
    }
    if s.auth.master_separator.chars().count() > 1 || s.auth.master_separator.contains(['@', '#', '/', '.']) {
        let what = format!("auth.master_separator is {:?}", s.auth.master_separator);
        error("auth.master_separator", what, "write one character that is in no user name, such as \"*\"");
    }
    for (i, d) in s.directory.iter().enumerate() {
        let here = format!("directory[{i}]");
        match d.source {
            Source::PasswdFile if d.path.as_os_str().is_empty() => {
                error(
                    &here,
                    "a passwd-file needs its path".to_owned(),
                    "write `path = \"/etc/culver/users\"`",
                );
            }
            Source::PasswdFile if !d.path.is_absolute() => {
                let key = format!("{here}.path");
                error(&key, format!("{key} is not an absolute path"), "write it from the root");
            }
            Source::Builtin if !d.path.as_os_str().is_empty() => {
                let key = format!("{here}.path");
                error(
                    &key,
                    "the built-in directory has no path of its own".to_owned(),
                    "take it out, or write source = \"passwd-file\"",
                );
            }
            Source::Builtin => crate::check_sources::builtin(&here, d, &mut error),
            Source::System => crate::check_sources::system(&here, d, &mut error),
            Source::Sql => crate::check_sources::sql(&here, d, &mut error),
            Source::Ldap => crate::check_sources::ldap(&here, d, &mut error),
            Source::OAuth2 => crate::check_sources::oauth2(&here, d, &mut error),
            Source::Static if d.fields.is_empty() && d.serves != Serves::Accounts => {
                error(
                    &here,
                    "static accounts without any field: nobody could log in".to_owned(),
                    "write `fields = [\"password={PLAIN}secret\"]`, or `serves = \"accounts\"`",
                );
            }
            _ => {}
        }
        let builtins = s.directory[..i].iter().filter(|o| o.source == Source::Builtin).count();
        if d.source == Source::Builtin && builtins > 0 {
            error(&here, "the built-in directory is named twice".to_owned(), "take one of them out");
        }
        if d.master && d.serves == Serves::Accounts {
            error(
                &format!("{here}.master"),
                "master users are known by their passwords, and this source serves accounts only".to_owned(),
                "take `serves` out",
            );
        }
        if d.deny && d.master {
            error(
                &format!("{here}.deny"),
                "deny and master together mean nothing".to_owned(),
                "take one of them out",
            );
        }
        if d.source == Source::Builtin && !d.fields.is_empty() {
            error(
                &format!("{here}.fields"),
                "accounts of the built-in directory have no such fields".to_owned(),
                "use `culver user`, or another source",
            );
        }
        if d.allow_all_users && d.source != Source::Static {
            error(
                &format!("{here}.allow_all_users"),
                "only static accounts can be for all".to_owned(),
                "take it out, or write source = \"static\"",
            );
        }
        for (k, domain) in d.domains.iter().enumerate() {
            if domain.is_empty() || domain.contains(['@', '/', ' ']) {
                let what = format!("entry {} of domains is no domain", k + 1);
                error(&format!("{here}.domains"), what, "write it like \"example.org\"");
            }
        }
        for (k, field) in d.fields.iter().enumerate() {
            if field.starts_with('=') || field.is_empty() {
                let what = format!("entry {} of fields has no name", k + 1);
                error(
                    &format!("{here}.fields"),
                    what,
                    "write `name=value`, such as \"userdb_quota_rule=*:storage=1G\"",
                );
            }
        }
        for (j, domain) in d.domain.iter().enumerate() {
            if domain.name.is_empty() {
                error(
                    &format!("{here}.domain[{j}]"),
                    "this domain has no name".to_owned(),
                    "write `name = \"example.org\"`",
                );
            }
        }
    }
    let proves = |d: &Directory| d.serves != Serves::Accounts && !d.deny && !d.master;
    if !s.directory.is_empty() && !s.directory.iter().any(proves) {
        error(
            "directory[0]",
            "no source serves passwords: nobody could log in".to_owned(),
            "take `serves` out of one",
        );
    }
    let knows =
        |d: &Directory| d.serves != Serves::Passwords && !d.deny && !d.master && d.source != Source::OAuth2;
    if !s.directory.is_empty() && !s.directory.iter().any(knows) {
        error(
            "directory[0]",
            "no source serves accounts: nobody would know where mail lies".to_owned(),
            "take `serves` out of one, or add a [[directory]] with source = \"static\" and serves = \"accounts\"",
        );
    }
    if s.directory.is_empty() {
        error(
            "directory",
            "there is no source of accounts".to_owned(),
            "take `directory` out for the built-in one",
        );
    }
    let mut names = BTreeMap::new();
    let mut roles: BTreeMap<&str, usize> = BTreeMap::new();
    for (i, m) in s.mailbox.iter().enumerate() {
        let here = format!("mailbox[{i}]");
        if m.name.is_empty() {
            error(&here, "this mailbox has no name".to_owned(), "write `name = \"Sent\"`");
        } else if m.name.split('/').any(|level| level.is_empty() || level == "." || level == "..") {
            error(
                &format!("{here}.name"),
                "this is no mailbox name".to_owned(),
                "write levels with one `/` between, as in \"Archive/2026\"",
            );
        } else if names.insert(m.name.to_lowercase(), i).is_some() {
            error(&here, format!("the mailbox {} is named twice", m.name), "take one of them out");
        }
        if m.special_use != SpecialUse::None && roles.insert(m.special_use.word(), i).is_some() {
            let what = format!("two mailboxes have the role \"{}\"", m.special_use.word());
            error(&format!("{here}.special_use"), what, "leave the role with one of them");
        }
    }
    for (i, root) in s.mail.roots.iter().enumerate() {
        if !root.is_absolute() {
            error(
                "mail.roots",
                format!("entry {} of mail.roots is not an absolute path", i + 1),
                "write it from the root",
            );
        }
    }
    if s.mail.location.is_empty() {
        error("mail.location", "mail.location is empty".to_owned(), "write \"~/Mail\"");
    }
    for (path, value, least) in [
        ("imap.login_timeout", s.imap.login_timeout, Duration::from_secs(1)),
        ("imap.idle_timeout", s.imap.idle_timeout, Duration::from_secs(1)),
        ("imap.idle_keepalive", s.imap.idle_keepalive, Duration::from_secs(1)),
        ("lmtp.timeout", s.lmtp.timeout, Duration::from_secs(1)),
        ("deliver.forward.timeout", s.deliver.forward.timeout, Duration::from_secs(1)),
    ] {
        if value < least {
            error(path, format!("{path} is too short to be meant"), "write at least \"1s\"");
        }
    }
    for (list, sockets) in [("client", &s.auth_socket.client), ("master", &s.auth_socket.master)] {
        for (i, socket) in sockets.iter().enumerate() {
            if !socket.path.is_absolute() {
                let here = format!("auth_socket.{list}[{i}]");
                let what = format!("{here} has no path, or one that is not absolute");
                error(&here, what, "write `path = \"/run/culver/auth\"`");
            }
        }
    }
    for (i, socket) in s.lmtp.unix.iter().enumerate() {
        if !socket.path.is_absolute() {
            let key = format!("lmtp.unix[{i}].path");
            error(
                &key,
                format!("{key} is not an absolute path"),
                "write it from the root: \"/run/culver/lmtp\"",
            );
        }
    }
    for address in &s.lmtp.listen {
        if address.port() == 25 {
            // RFC 2033 §5
            error("lmtp.listen", "port 25 is for SMTP".to_owned(), "write another port, such as 24");
        }
    }
    for (path, count) in
        [("lmtp.max_recipients", s.lmtp.max_recipients), ("deliver.parallel", s.deliver.parallel)]
    {
        if count == 0 {
            error(path, format!("{path} is 0: nothing could be delivered"), "write at least 1");
        }
    }
    let forward = &s.deliver.forward;
    if !forward.srs_domain.is_empty() && forward.srs_secret.is_empty() {
        error(
            "deliver.forward.srs_domain",
            "senders cannot be rewritten without a secret".to_owned(),
            "write `srs_secret = \"a long random text\"`",
        );
    }
    let host = forward.relay.rsplit_once(':').map_or("", |(host, _)| host);
    let near = host == "localhost" || host == "[::1]" || host.starts_with("127.");
    if !forward.user.is_empty() && forward.tls == ForwardTls::Off && !near {
        error(
            "deliver.forward.user",
            "the password would cross the network in the clear".to_owned(),
            "write `tls = \"starttls\"`",
        );
    }
    if !forward.user.is_empty() && forward.password.is_empty() {
        error("deliver.forward.user", "there is no password for it".to_owned(), "write `password`");
    }
    if !absolute(&forward.ca_file) {
        error("deliver.forward.ca_file", "this is not an absolute path".to_owned(), "write it from the root");
    }
    if forward.method == ForwardMethod::Smtp && !forward.relay.contains(':') {
        error("deliver.forward.relay", "the relay has no port".to_owned(), "write \"127.0.0.1:25\"");
    }
    if s.sandbox && forward.method == ForwardMethod::Sendmail && serves_lmtp(s) {
        error(
            "deliver.forward.method",
            "the sandbox does not let the server start sendmail: what comes by LMTP could not be forwarded"
                .to_owned(),
            "write \"smtp\" and the MTA's address in `relay`, or, if it must be, sandbox = false",
        );
    }
    if s.imap.line_limit.0 < 8192 {
        error(
            "imap.line_limit",
            "lines that short break clients".to_owned(),
            "write at least \"8KiB\" (RFC 9051 §4)",
        );
    }
    if s.max_connections == 0 {
        error(
            "max_connections",
            "nobody could connect".to_owned(),
            "write the number of connections you want at once",
        );
    }
    if s.imap.max_sessions == 0 {
        error(
            "imap.max_sessions",
            "nobody could log in".to_owned(),
            "write the number of sessions you want to allow",
        );
    }

    pop3(&s.pop3, &mut error);
    quota(s, &mut error);

    let mut warn =
        |path: &str, what: &str, instead: &str| found.push(Problem::warning(at(path), what, instead));
    for (i, d) in s.directory.iter().enumerate() {
        if crate::check_sources::forgets_domain(d) {
            warn(
                &format!("directory[{i}]"),
                "its questions leave the domain out: its users are accounts in every domain that somebody types",
                "write `domains = [\"example.org\"]`, or compare with %u or %d",
            );
        }
    }
    if s.imap.idle_timeout < Duration::from_secs(30 * 60) {
        warn(
            "imap.idle_timeout",
            "clients may count on 30 minutes (RFC 9051 §5.4)",
            "write at least \"30m\"",
        );
    }
    if s.pop3.idle_timeout < Duration::from_secs(10 * 60) {
        warn("pop3.idle_timeout", "clients may count on 10 minutes (RFC 1939 §3)", "write at least \"10m\"");
    }
    if s.tls.certificate.is_empty() {
        let what = "there is no certificate: imaps is off, and from other machines nobody can log in";
        warn("tls.certificate", what, "add [[tls.certificate]] with `certificate` and `key`");
    }
    if !s.auth.require_tls {
        warn(
            "auth.require_tls",
            "passwords may cross the network in the clear",
            "write `true` once all clients use TLS",
        );
    }
    parsed.problems.extend(found);
}

/// Does mail come by LMTP? Sockets may also be handed over by systemd, which the configuration does not say.
fn serves_lmtp(s: &Settings) -> bool {
    !s.lmtp.listen.is_empty() || !s.lmtp.unix.is_empty()
}

fn quota(s: &Settings, error: &mut dyn FnMut(&str, String, &str)) {
    let quota = &s.quota;
    if !quota.hook.as_os_str().is_empty() {
        if !quota.hook.is_absolute() {
            error("quota.hook", "quota.hook is not an absolute path".to_owned(), "write it from the root");
        }
        if s.sandbox {
            error(
                "quota.hook",
                "the sandbox does not let the server start programs".to_owned(),
                "use quota.hook_url, to which each step is posted, or, if it must be, sandbox = false",
            );
        }
    }
    if !quota.hook_url.is_empty() && !is_http(&quota.hook_url) {
        error(
            "quota.hook_url",
            "quota.hook_url is no address of HTTP".to_owned(),
            "write it like \"http://127.0.0.1:8080/quota\"",
        );
    }
    let header = quota.hook_header.contains(':') && !quota.hook_header.contains(['\r', '\n']);
    if !quota.hook_header.is_empty() && !header {
        error("quota.hook_header", "this is no header".to_owned(), "write it like \"X-Key: secret\"");
    }
    if quota.hook_timeout < Duration::from_secs(1) {
        error(
            "quota.hook_timeout",
            "quota.hook_timeout is too short to be meant".to_owned(),
            "write at least \"1s\"",
        );
    }
}

fn pop3(pop3: &Pop3, error: &mut dyn FnMut(&str, String, &str)) {
    for (path, value) in
        [("pop3.login_timeout", pop3.login_timeout), ("pop3.idle_timeout", pop3.idle_timeout)]
    {
        if value < Duration::from_secs(1) {
            error(path, format!("{path} is too short to be meant"), "write at least \"1s\"");
        }
    }
    if pop3.max_sessions == 0 {
        error(
            "pop3.max_sessions",
            "nobody could log in".to_owned(),
            "write the number of sessions you want to allow",
        );
    }
    if UidlFormat::parse(&pop3.uidl_format).is_none() {
        error(
            "pop3.uidl_format",
            "this is not understood, or would be the same for all messages".to_owned(),
            "use %u, %v, %f, %g, %08Xu, or the words of Dovecot 2.4 for these; %m is for mbox only",
        );
    }
    let expire = pop3.expire.trim();
    if !expire.eq_ignore_ascii_case("never") && expire.parse::<u32>().is_err() {
        error("pop3.expire", "this is no number of days".to_owned(), "write \"never\", or days as in \"60\"");
    }
    let flag = &pop3.deleted_flag;
    if !flag.is_empty() && Keyword::new(flag).is_none() {
        error(
            "pop3.deleted_flag",
            "this cannot be a keyword".to_owned(),
            "write letters and digits without blanks, as in \"$POP3Deleted\"",
        );
    }
    if pop3.delete_type == Pop3Delete::Flag && flag.is_empty() {
        error(
            "pop3.delete_type",
            "there is no keyword to give to deleted messages".to_owned(),
            "set pop3.deleted_flag as well, or write \"expunge\"",
        );
    }
    for name in &pop3.client_workarounds {
        if !["outlook-no-nuls", "oe-ns-eoh"].contains(&name.as_str()) {
            error(
                "pop3.client_workarounds",
                format!("there is no workaround {name}"),
                "known are \"outlook-no-nuls\" and \"oe-ns-eoh\"",
            );
        }
    }
}

/// An address that something may be posted to.
fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}
