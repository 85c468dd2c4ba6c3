//! What an account is.

use culver_base::Network;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// An account as a source describes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The canonical name, `user@domain`, in lower case. Logs and storage use it whatever the client typed.
    pub name: String,
    /// What proves the login.
    pub secret: Secret,
    /// Who owns its files; `None` when the server's own user does.
    pub uid: Option<u32>,
    /// The group of its files.
    pub gid: Option<u32>,
    /// Its home directory.
    pub home: Option<PathBuf>,
    /// Where its mail lies.
    pub mail: MailLocation,
    /// May it log in?
    pub login: Switch,
    /// May mail be delivered to it?
    pub receive: Switch,
    /// May it submit mail?
    pub send: Switch,
    /// How much it may keep.
    pub quota: QuotaLimits,
    /// Networks it may log in from; empty for all.
    pub allowed_networks: Vec<Network>,
    /// May it log in as anybody else, with its own password?
    pub master: bool,
    /// What the source says beside this, by the source's words (`proxy_maybe`, `userdb_acl_groups`). Nothing here is
    /// understood.
    pub extra: BTreeMap<String, String>,
}

impl Account {
    /// An account of which nothing is known but its name and where its mail lies: nobody can log in to it.
    pub fn new(name: impl Into<String>, mail: MailLocation) -> Self {
        Self {
            name: name.into(),
            secret: Secret::None,
            uid: None,
            gid: None,
            home: None,
            mail,
            login: Switch::On,
            receive: Switch::On,
            send: Switch::On,
            quota: QuotaLimits::default(),
            allowed_networks: Vec::new(),
            master: false,
            extra: BTreeMap::new(),
        }
    }
}

/// May an account do something?
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum Switch {
    /// Yes.
    #[default]
    On,
    /// No.
    Off {
        /// Why, as the user may read it; may be empty.
        reason: String,
        /// Since when, in seconds of Unix time, where the source knows.
        since: Option<i64>,
    },
}

impl Switch {
    /// Why not; `None` when it may.
    pub fn off(&self) -> Option<&str> {
        match self {
            Self::On => None,
            Self::Off { reason, .. } => Some(reason),
        }
    }
}

/// How much an account may keep; `None` for no limit of its own.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct QuotaLimits {
    /// Octets.
    pub storage: Option<u64>,
    /// Messages.
    pub messages: Option<u64>,
}

impl QuotaLimits {
    /// Takes a quota rule of Dovecot 2.3 in, such as `*:storage=1G:messages=1000`; rules for single mailboxes are not
    /// limits of the account. `None` when it is not such a rule.
    pub fn add_rule(&mut self, rule: &str) -> Option<()> {
        let mut changed = *self;
        for limit in rule.strip_prefix("*:")?.split(':') {
            let (key, value) = limit.split_once('=')?;
            match key {
                // Dovecot: storage counts kilobytes unless a unit says otherwise, bytes counts octets.
                "storage" => changed.storage = Some(size(value, 1024)?),
                "bytes" => changed.storage = Some(size(value, 1)?),
                "messages" => changed.messages = Some(size(value, 1)?),
                _ => return None,
            }
            // Dovecot: 0 is no limit.
            changed.storage = changed.storage.filter(|limit| *limit > 0);
            changed.messages = changed.messages.filter(|limit| *limit > 0);
        }
        *self = changed;
        Some(())
    }
}

/// A size such as `500`, `1G` or `1GB`, in octets; `unit` is what a bare number counts.
pub(crate) fn size(text: &str, unit: u64) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let factor = match text[end..].trim_start().to_ascii_lowercase().as_str() {
        "" => unit,
        "b" => 1,
        "k" | "kb" | "ki" => 1 << 10,
        "m" | "mb" | "mi" => 1 << 20,
        "g" | "gb" | "gi" => 1 << 30,
        "t" | "tb" | "ti" => 1 << 40,
        _ => return None,
    };
    text[..end].parse::<u64>().ok()?.checked_mul(factor)
}

/// What proves a login.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A password as stored, such as `{SCRAM-SHA-256}4096,...`. Without a scheme it is CRYPT, as Dovecot has it.
    Stored(String),
    /// Every password is right (`nopassword`).
    AnyPassword,
    /// Only the source itself can tell: [`crate::Source::check`].
    Ask,
    /// No password is right.
    None,
}

/// Shows which kind it is, never the text: accounts end up in logs.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stored(_) => "Stored(..)",
            Self::AnyPassword => "AnyPassword",
            Self::Ask => "Ask",
            Self::None => "None",
        })
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("name", &self.name).field("mail", &self.mail).finish_non_exhaustive()
    }
}

/// Where mail lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailLocation {
    /// The Maildir of INBOX, which in `MaildirPlusPlus` also holds all others.
    pub root: PathBuf,
    /// Where Dovecot's control files are when not beside the mail (`CONTROL=`).
    pub control: Option<PathBuf>,
    /// Where Dovecot's own indexes are when not beside the mail (`INDEX=`). Culver only reads them.
    pub index: Option<PathBuf>,
    /// How mailboxes are named on disk.
    pub layout: Layout,
}

/// How the tree of mailboxes is laid out on disk.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Layout {
    /// `.Parent.Child` directly below the root.
    #[default]
    MaildirPlusPlus,
    /// `Parent/Child`, as directories.
    Fs,
}

impl Layout {
    /// By its name in Dovecot's settings, in any case of letters.
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "maildir++" => Some(Self::MaildirPlusPlus),
            "fs" => Some(Self::Fs),
            _ => None,
        }
    }
}

/// What an account has when nothing else is said of it. Paths may have variables, see [`crate::expand`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Defaults {
    /// Where mail lies, such as `maildir:/var/vmail/%d/%n/Maildir`.
    pub mail: String,
    /// The home directory, such as `/var/vmail/%d/%n`.
    pub home: Option<String>,
    /// The owner of the files.
    pub uid: Option<u32>,
    /// Their group.
    pub gid: Option<u32>,
}

impl Default for Defaults {
    fn default() -> Self {
        let home = "/var/vmail/%d/%n";
        Self { mail: format!("maildir:{home}/Maildir"), home: Some(home.to_owned()), uid: None, gid: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quota_rules() {
        let limits = |storage, messages| Some(QuotaLimits { storage, messages });
        let table = [
            ("*:storage=1G", limits(Some(1 << 30), None)),
            ("*:storage=100", limits(Some(102_400), None)),
            ("*:bytes=100:messages=7", limits(Some(100), Some(7))),
            ("*:storage=0", limits(None, None)),
            ("*:storage=5MB", limits(Some(5 << 20), None)),
            ("Trash:storage=1G", None),
            ("*:storage=1X", None),
            ("*:storage=99999999999999T", None),
            ("*:storage", None),
            ("*:ignore", None),
            ("", None),
        ];
        for (rule, expected) in table {
            let mut limits = QuotaLimits::default();
            assert_eq!(limits.add_rule(rule).map(|()| limits), expected, "{rule}");
        }
    }
}
