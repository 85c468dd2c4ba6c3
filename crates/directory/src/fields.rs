//! What a source says of a user in Dovecot's words, and the account that this comes to.
//!
//! A field belongs to the password's side (`password`, `nologin`, `allow_nets`, `user`) or, with `userdb_` before its name, to
//! the user's side (`userdb_uid`, `userdb_home`, `userdb_mail`, `userdb_quota_rule`). passwd-files, SQL, LDAP and the settings
//! of the configuration all end here, so that a field means the same wherever it comes from.

use crate::account::size;
use crate::passwd_file::ids;
use crate::{
    Account, Defaults, Layout, Login, MailLocation, Names, Network, NotALocation, QuotaLimits, Secret, Switch,
};

/// Fields in their order. Of two with the same name the first counts.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Fields {
    all: Vec<(String, String)>,
}

/// Fields cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unusable {
    /// The mail location, or the home.
    #[error(transparent)]
    Location(#[from] NotALocation),
    /// A uid or gid.
    #[error("{0:?} is neither a number above 0 nor a name of this system: write the number")]
    Id(String),
    /// A uid without gid: nobody knows as whom to write.
    #[error("there is a uid but no gid: write both")]
    NoGroup,
    /// An address in `allow_nets`.
    #[error("{0:?} in allow_nets is not a network")]
    Network(String),
    /// A driver of 2.4 other than Maildir.
    #[error("mail_driver={0} is not Maildir")]
    Driver(String),
}

/// On which side fields without a prefix are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The password's.
    Password,
    /// The user's.
    User,
}

impl Fields {
    /// Takes a field, unless there is one of this name.
    pub fn add(&mut self, side: Side, key: &str, value: impl Into<String>) {
        let key = match side {
            Side::Password => key.to_owned(),
            // `password` in the answer of a user query is no field of the user's side.
            Side::User if key.starts_with("userdb_") => key.to_owned(),
            Side::User => format!("userdb_{key}"),
        };
        if self.get(&key).is_none() {
            self.all.push((key, value.into()));
        }
    }

    /// Takes fields written as `key=value`; a key alone is true.
    pub fn add_pair(&mut self, pair: &str) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, "yes"));
        self.add(Side::Password, key, value);
    }

    /// Fields that these do not have are taken from the others.
    pub fn fill(&mut self, others: &Self) {
        for (key, value) in &others.all {
            self.add(Side::Password, key, value.as_str());
        }
    }

    /// A password without a scheme gets this one. `$1$...` is a crypt, `data[34]` libpam-pwdfile's, as Dovecot has it.
    pub fn complete_password(&mut self, scheme: &str) {
        let scheme = scheme.trim_matches(['{', '}']).to_uppercase();
        for (key, value) in &mut self.all {
            let bare = !value.starts_with(['{', '$']) && !value.ends_with(']');
            if key == "password" && !value.is_empty() && bare && scheme != "CRYPT" {
                *value = format!("{{{scheme}}}{value}");
            }
        }
    }

    /// Is there anything of the user's side?
    pub fn has_user_side(&self) -> bool {
        self.all.iter().any(|(key, _)| key.starts_with("userdb_"))
    }

    /// A field of the user's side, by its name without prefix.
    pub fn user_side(&self, key: &str) -> Option<&str> {
        self.all
            .iter()
            .find(|(name, _)| name.strip_prefix("userdb_") == Some(key))
            .map(|(_, value)| value.as_str())
    }

    /// A field of the password's side.
    pub fn password_side(&self, key: &str) -> Option<&str> {
        self.get(key)
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.all.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The canonical name that stands in place of the one that was typed (`user=`).
    pub fn renamed(&self) -> Option<&str> {
        self.password_side("user").and_then(filled)
    }

    /// The name that stands in place of the one that was typed: `user`, or `username` and `domain`.
    ///
    /// # Errors
    /// When it is none.
    pub fn canonical(&self, login: &Login) -> Result<Login, String> {
        let field = |key| self.password_side(key).and_then(filled);
        let (user, domain) = (field("user").or(field("username")), field("domain"));
        let whole = match (user, domain) {
            (None, _) => return Ok(login.clone()),
            (Some(user), _) if user.contains('@') => user.to_owned(),
            (Some(user), Some(domain)) => format!("{user}@{domain}"),
            (Some(user), None) => format!("{user}@{}", login.domain()),
        };
        Login::parse(whole.as_bytes()).map_err(|why| format!("{whole:?} as the name of {login}: {why}"))
    }

    /// The account under its canonical name.
    ///
    /// # Errors
    /// When a field cannot be used.
    pub fn account(&self, name: &str, defaults: &Defaults) -> Result<Account, Unusable> {
        let names = Names { user: name, home: None };
        let home = self.user_side("home").or_else(|| self.user_side("mail_home")).and_then(filled);
        let home = home.or(defaults.home.as_deref());
        let home = home.map(|h| crate::location::path(h, &names)).transpose()?;
        let text = home.as_deref().map(|h| h.to_string_lossy().into_owned());
        let names = Names { home: text.as_deref(), ..names };
        let uid = self.user_side("uid").and_then(filled);
        let gid = self.user_side("gid").and_then(filled);
        let uid = uid.map(|t| id(t, ids::user)).transpose()?.or(defaults.uid);
        let gid = gid.map(|t| id(t, ids::group)).transpose()?.or(defaults.gid);
        if uid.is_some() && gid.is_none() {
            return Err(Unusable::NoGroup);
        }
        let allowed = self.password_side("allow_nets").unwrap_or_default();
        let allowed = allowed.split(',').map(str::trim).filter(|net| !net.is_empty());
        Ok(Account {
            name: name.to_owned(),
            secret: self.secret(),
            uid,
            gid,
            mail: self.mail(&names, defaults)?,
            login: self.login(),
            receive: Switch::On,
            send: Switch::On,
            quota: self.quota(),
            allowed_networks: allowed
                .map(|net| Network::parse(net).ok_or_else(|| Unusable::Network(net.to_owned())))
                .collect::<Result<_, _>>()?,
            home,
            master: false,
            extra: self.all.iter().filter(|(key, _)| !is_understood(key)).cloned().collect(),
        })
    }

    fn secret(&self) -> Secret {
        match (self.password_side("nopassword"), self.password_side("password").and_then(filled)) {
            (Some(no), _) if is_yes(no) => Secret::AnyPassword,
            (_, Some(password)) => Secret::Stored(password.to_owned()),
            (_, None) => Secret::None,
        }
    }

    fn login(&self) -> Switch {
        if !self.password_side("nologin").is_some_and(is_yes) {
            return Switch::On;
        }
        // Words of a reason are joined by underscores: in a passwd-file a value ends at a space.
        let reason = self.password_side("reason").unwrap_or_default().replace('_', " ");
        Switch::Off { reason, since: None }
    }

    /// `quota_rule`, `quota_rule2`, ... of 2.3, or the two settings of 2.4. What cannot be read is no limit: mail that
    /// is refused for a slip of the pen is worse.
    fn quota(&self) -> QuotaLimits {
        let mut quota = QuotaLimits::default();
        for (key, value) in &self.all {
            if key.strip_prefix("userdb_").is_some_and(is_quota_rule) {
                let _ = quota.add_rule(value);
            }
        }
        let limit = |key| self.user_side(key).and_then(|text| size(text, 1)).filter(|n| *n > 0);
        quota.storage = limit("quota_storage_size").or(quota.storage);
        quota.messages = limit("quota_message_count").or(quota.messages);
        quota
    }

    /// `mail` of 2.3, or `mail_driver`, `mail_path`, `mailbox_list_layout` and `mail_control_path` of 2.4.
    fn mail(&self, names: &Names<'_>, defaults: &Defaults) -> Result<MailLocation, Unusable> {
        if let Some(driver) = self.user_side("mail_driver").filter(|d| !d.eq_ignore_ascii_case("maildir")) {
            return Err(Unusable::Driver(driver.to_owned()));
        }
        let text = match (self.user_side("mail").and_then(filled), self.user_side("mail_path")) {
            (Some(mail), _) => mail.to_owned(),
            (None, Some(path)) => format!("maildir:{path}"),
            (None, None) => defaults.mail.clone(),
        };
        let mut mail = MailLocation::parse(&text, names)?;
        if let Some(layout) = self.user_side("mailbox_list_layout") {
            mail.layout = Layout::parse(layout).ok_or_else(|| NotALocation::Layout(layout.to_owned()))?;
        }
        if let Some(control) = self.user_side("mail_control_path") {
            mail.control = Some(crate::location::path(control, names)?);
        }
        Ok(mail)
    }
}

fn is_quota_rule(key: &str) -> bool {
    key.strip_prefix("quota_rule").is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

/// Is the field one that becomes a part of the account?
fn is_understood(key: &str) -> bool {
    match key.strip_prefix("userdb_") {
        Some(key) => {
            is_quota_rule(key)
                || matches!(
                    key,
                    "uid"
                        | "gid"
                        | "home"
                        | "mail"
                        | "mail_home"
                        | "mail_path"
                        | "mail_driver"
                        | "mail_control_path"
                        | "mailbox_list_layout"
                        | "quota_storage_size"
                        | "quota_message_count"
                )
        }
        None => matches!(key, "user" | "password" | "nopassword" | "nologin" | "reason" | "allow_nets"),
    }
}

fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn is_yes(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "yes" | "y" | "1" | "true" | "t" | "")
}

fn id(text: &str, by_name: impl FnOnce(&str) -> Option<u32>) -> Result<u32, Unusable> {
    let id = text.parse().ok().or_else(|| by_name(text));
    // 0 is root: no mail is touched as root.
    id.filter(|id| *id != 0).ok_or_else(|| Unusable::Id(text.to_owned()))
}
