//! A line of a passwd-file: `user:password:uid:gid:gecos:home:shell:extra fields`.

use super::ids;
use crate::account::size;
use crate::{
    Account, Defaults, Layout, MailLocation, Names, Network, NotALocation, QuotaLimits, Secret, Switch,
};

/// A line, its fields not yet looked into.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// The name in the first field, in lower case: with a domain or, in a file for one domain, without.
    pub user: String,
    password: String,
    uid: String,
    gid: String,
    home: String,
    extra: Vec<(String, String)>,
}

/// A line cannot be used.
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

impl Line {
    /// Takes a line apart; `None` for empty lines and comments.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() || text.starts_with(['#', ':']) {
            return None;
        }
        // The eighth field is the rest of the line, colons included.
        let mut fields = text.splitn(8, ':');
        let mut field = || fields.next().unwrap_or_default().to_owned();
        let user = field().trim().to_lowercase();
        let [password, uid, gid, _gecos, home, _shell, extra] = std::array::from_fn(|_| field());
        let extra = extra.split_ascii_whitespace().map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "yes"));
            (key.to_owned(), value.to_owned())
        });
        Some(Self { user, password, uid, gid, home, extra: extra.collect() })
    }

    /// The account of this line under its canonical name.
    ///
    /// # Errors
    /// When a field cannot be used.
    pub fn account(&self, name: &str, defaults: &Defaults) -> Result<Account, Unusable> {
        let names = Names { user: name, home: None };
        let home = self.user_side("home").or_else(|| self.user_side("mail_home")).or(filled(&self.home));
        let home = home.or(defaults.home.as_deref());
        let home = home.map(|h| crate::location::path(h, &names)).transpose()?;
        let text = home.as_deref().map(|h| h.to_string_lossy().into_owned());
        let names = Names { home: text.as_deref(), ..names };
        let uid = self.user_side("uid").or(filled(&self.uid));
        let gid = self.user_side("gid").or(filled(&self.gid));
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
            extra: self.extra.iter().filter(|(key, _)| !is_understood(key)).cloned().collect(),
        })
    }

    /// The canonical name that the line gives in place of the one that was typed (`user=`).
    pub fn renamed(&self) -> Option<&str> {
        self.password_side("user")
    }

    fn secret(&self) -> Secret {
        let password = self.password_side("password").or(filled(&self.password));
        match (self.password_side("nopassword"), password) {
            (Some(no), _) if is_yes(no) => Secret::AnyPassword,
            (_, Some(password)) => Secret::Stored(password.to_owned()),
            (_, None) => Secret::None,
        }
    }

    fn login(&self) -> Switch {
        if !self.password_side("nologin").is_some_and(is_yes) {
            return Switch::On;
        }
        // Words of a reason are joined by underscores: a value ends at a space.
        let reason = self.password_side("reason").unwrap_or_default().replace('_', " ");
        Switch::Off { reason, since: None }
    }

    /// `quota_rule`, `quota_rule2`, ... of 2.3, or the two settings of 2.4. What cannot be read is no limit: mail that
    /// is refused for a slip of the pen is worse.
    fn quota(&self) -> QuotaLimits {
        let mut quota = QuotaLimits::default();
        for (key, value) in &self.extra {
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
        let text = match (self.user_side("mail"), self.user_side("mail_path")) {
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

    fn user_side(&self, key: &str) -> Option<&str> {
        self.extra
            .iter()
            .find(|(name, _)| name.strip_prefix("userdb_") == Some(key))
            .map(|(_, value)| value.as_str())
    }

    fn password_side(&self, key: &str) -> Option<&str> {
        self.extra.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

fn is_quota_rule(key: &str) -> bool {
    key.strip_prefix("quota_rule").is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

/// Is the extra field one that becomes a part of the account?
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
    matches!(value.to_ascii_lowercase().as_str(), "yes" | "y" | "1" | "true" | "")
}

fn id(text: &str, by_name: impl FnOnce(&str) -> Option<u32>) -> Result<u32, Unusable> {
    let id = text.parse().ok().or_else(|| by_name(text));
    // 0 is root: no mail is touched as root.
    id.filter(|id| *id != 0).ok_or_else(|| Unusable::Id(text.to_owned()))
}
