//! What an account is.

use std::fmt;
use std::net::IpAddr;
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
    /// Set when it may not log in: the reason, as the user may read it.
    pub disabled: Option<String>,
    /// Networks it may log in from; empty for all.
    pub allowed_networks: Vec<Network>,
}

/// What proves a login.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A password as stored, such as `{SCRAM-SHA-256}4096,...`. Without a scheme it is CRYPT, as Dovecot has it.
    Stored(String),
    /// Every password is right (`nopassword`).
    AnyPassword,
    /// No password is right.
    None,
}

/// Shows which kind it is, never the text: accounts end up in logs.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stored(_) => "Stored(..)",
            Self::AnyPassword => "AnyPassword",
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

/// A network such as `192.0.2.0/24` (`allow_nets`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Parses `address` or `address/bits`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |b| b.parse().ok())?;
        (bits <= most).then_some(Self { address, bits })
    }

    /// Is the address in it? An IPv4 address written as IPv6 counts as IPv4.
    pub fn contains(self, other: IpAddr) -> bool {
        match (self.address, other.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                u32::from(a) & mask == u32::from(b) & mask
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                u128::from(a) & mask == u128::from(b) & mask
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let inside = |net: &str, ip: &str| Network::parse(net).unwrap().contains(ip.parse().unwrap());
        assert!(inside("192.0.2.0/24", "192.0.2.200"));
        assert!(inside("192.0.2.0/24", "::ffff:192.0.2.200"));
        assert!(!inside("192.0.2.0/24", "192.0.3.1"));
        assert!(inside("0.0.0.0/0", "203.0.113.9"));
        assert!(!inside("0.0.0.0/0", "2001:db8::1"));
        assert!(inside("2001:db8::/32", "2001:db8:1::1"));
        assert!(inside("192.0.2.1", "192.0.2.1"));
        assert!(!inside("192.0.2.1", "192.0.2.2"));
        for bad in ["", "192.0.2.0/33", "x/3", "::/129", "192.0.2.0/"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }
}
