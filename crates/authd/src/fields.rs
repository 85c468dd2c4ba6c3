//! Accounts and refusals as fields of answers.

use culver_auth::Denied;
use culver_auth_protocol::Fields;
use culver_directory::{Account, Layout, MailLocation, QuotaLimits};

/// What a master is told of an account (`USER`), in the words and the order of Dovecot's userdb. `owner` has the ids of files
/// whose account names none.
pub fn user_fields(account: &Account, owner: (u32, u32)) -> Fields {
    let mut fields =
        Fields::new().with("uid", account.uid.unwrap_or(owner.0)).with("gid", account.gid.unwrap_or(owner.1));
    if let Some(home) = &account.home {
        fields = fields.with("home", home.display());
    }
    fields = fields.with("mail", location(&account.mail));
    if let Some(rule) = quota_rule(account.quota) {
        fields = fields.with("quota_rule", rule);
    }
    // What only Dovecot understands is handed on under Dovecot's name.
    for (key, value) in &account.extra {
        if let Some(key) = key.strip_prefix("userdb_") {
            fields = fields.with(key, value);
        }
    }
    fields
}

/// What a master is told of how an account logs in (`PASS`).
pub fn pass_fields(account: &Account) -> Fields {
    let mut fields = Fields::new().with("user", &account.name);
    if let Some(reason) = account.login.off() {
        fields = fields.with_flag("nologin");
        if !reason.is_empty() {
            fields = fields.with("reason", reason);
        }
    }
    fields
}

/// As Dovecot's `mail_location` writes it.
fn location(mail: &MailLocation) -> String {
    let mut text = format!("maildir:{}", mail.root.display());
    if mail.layout == Layout::Fs {
        text.push_str(":LAYOUT=fs");
    }
    for (name, path) in [("CONTROL", &mail.control), ("INDEX", &mail.index)] {
        if let Some(path) = path {
            text.push_str(&format!(":{name}={}", path.display()));
        }
    }
    text
}

/// As Dovecot 2.3's `quota_rule` writes it.
fn quota_rule(limits: QuotaLimits) -> Option<String> {
    let storage = limits.storage.map(|octets| {
        let units = [(1_u64 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "k")];
        match units.into_iter().find(|(size, _)| octets.is_multiple_of(*size)) {
            Some((size, unit)) => format!("storage={}{unit}", octets / size),
            None => format!("bytes={octets}"),
        }
    });
    let messages = limits.messages.map(|n| format!("messages={n}"));
    let parts: Vec<String> = storage.into_iter().chain(messages).collect();
    (!parts.is_empty()).then(|| format!("*:{}", parts.join(":")))
}

/// A code of FAIL, with the word that clients before version 1.2 look for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// It cannot be known now.
    Temporary,
    /// The password is right, but not in this name or from there.
    NotAuthorized,
    /// The account is switched off.
    Disabled,
}

impl Code {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Temporary => ("temp_fail", "temp"),
            Self::NotAuthorized => ("authz_fail", "authz"),
            Self::Disabled => ("user_disabled", "user_disabled"),
        }
    }
}

/// The fields of FAIL. `minor` is the client's version; `user` the name by the login rule, and as it was typed.
pub fn failure(minor: u32, user: Option<(&str, &str)>, code: Option<Code>, reason: Option<&str>) -> Fields {
    let mut fields = Fields::new();
    if let Some((user, typed)) = user {
        fields = fields.with("user", user);
        if typed != user {
            fields = fields.with("original_user", typed);
        }
    }
    if let Some(code) = code {
        let (code, word) = code.words();
        fields = fields.with("code", code);
        if minor < 2 {
            fields = fields.with_flag(word);
        }
    }
    match reason {
        Some(reason) if !reason.is_empty() => fields.with("reason", reason),
        _ => fields,
    }
}

/// What a refusal is called. A wrong password has neither code nor reason, as with Dovecot: MTAs show the reason.
pub fn refusal(denied: &Denied) -> (Option<Code>, Option<String>) {
    match denied {
        Denied::Credentials => (None, None),
        Denied::Temporary | Denied::TooManyFailures { .. } => (Some(Code::Temporary), None),
        Denied::Disabled { .. } => (Some(Code::Disabled), Some(denied.text())),
        Denied::NotAllowedHere => (Some(Code::NotAuthorized), Some(denied.text())),
        _ => (None, Some(denied.text())),
    }
}

/// What the owner of an account reads whose sending is switched off.
pub fn may_not_send(reason: &str) -> String {
    match reason {
        "" => "This account may not send mail: ask your administrator".to_owned(),
        reason => format!("This account may not send mail: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use culver_directory::Switch;

    #[test]
    fn an_account_as_dovecot_describes_it() {
        let mail = MailLocation {
            root: "/srv/anna/Mail".into(),
            control: Some("/c".into()),
            index: Some("/i".into()),
            layout: Layout::Fs,
        };
        let mut anna = Account::new("anna@example.org", mail);
        anna.home = Some("/srv/anna".into());
        anna.uid = Some(4001);
        anna.quota = QuotaLimits { storage: Some(100 << 20), messages: Some(1000) };
        anna.extra.insert("userdb_acl_groups".to_owned(), "staff".to_owned());
        anna.extra.insert("proxy_maybe".to_owned(), "yes".to_owned());
        anna.login = Switch::Off { reason: "Gone fishing".to_owned(), since: None };
        assert_eq!(
            user_fields(&anna, (1, 2)).to_string(),
            "\tuid=4001\tgid=2\thome=/srv/anna\tmail=maildir:/srv/anna/Mail:LAYOUT=fs:CONTROL=/c:INDEX=/i\
             \tquota_rule=*:storage=100M:messages=1000\tacl_groups=staff"
        );
        assert_eq!(pass_fields(&anna).to_string(), "\tuser=anna@example.org\tnologin\treason=Gone fishing");
    }

    #[test]
    fn quota_rules_come_back_as_they_were() {
        for (storage, messages) in [
            (Some(1), None),
            (Some(1 << 30), None),
            (Some(1536 << 10), Some(7)),
            (None, Some(1)),
            (Some(1001), Some(2)),
        ] {
            let limits = QuotaLimits { storage, messages };
            let mut read = QuotaLimits::default();
            read.add_rule(&quota_rule(limits).unwrap()).unwrap();
            assert_eq!(read, limits);
        }
        assert_eq!(quota_rule(QuotaLimits::default()), None);
    }

    #[test]
    fn failures_have_codes_and_for_old_clients_words() {
        let text = |minor| failure(minor, Some(("a@b", "a@b")), Some(Code::Temporary), None).to_string();
        assert_eq!(
            (text(2), text(1)),
            ("\tuser=a@b\tcode=temp_fail".into(), "\tuser=a@b\tcode=temp_fail\ttemp".into())
        );
        let (code, reason) = refusal(&Denied::Disabled { reason: "unpaid".to_owned() });
        assert_eq!(
            failure(2, Some(("a@b", "A@b")), code, reason.as_deref()).to_string(),
            "\tuser=a@b\toriginal_user=A@b\tcode=user_disabled\treason=This account is disabled: unpaid"
        );
        let (code, reason) = refusal(&Denied::Credentials);
        assert_eq!(failure(0, None, code, reason.as_deref()).to_string(), "");
    }
}
