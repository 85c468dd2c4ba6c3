//! The table of capabilities (RFC 2449 §5): what CAPA, the documentation and the tests read.
//!
//! RFC 2449 §5: what is shown before login is shown after it as well, but for STLS, which shows where the command may be
//! given (RFC 2595 §4). What depends on the session comes in [`Circumstances`].

use crate::response::number;

/// When a capability is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Show {
    /// In both states.
    Always,
    /// In both, where a password may be sent.
    Passwords,
    /// In both, where there is a mechanism to offer.
    Mechanisms,
    /// Before login, where TLS can still be started.
    BeforeTls,
    /// In both, where logins have to keep apart.
    LoginDelay,
}

/// What follows the tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parameter {
    /// Nothing.
    None,
    /// These words.
    Words(&'static str),
    /// The SASL mechanisms.
    Mechanisms,
    /// Seconds between logins.
    LoginDelay,
    /// Days that messages are kept, or NEVER.
    Expire,
}

/// A row of [`CAPABILITIES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability {
    /// As it is shown.
    pub token: &'static str,
    /// The RFC that defines it.
    pub rfc: u16,
    /// When it is shown.
    pub show: Show,
    /// What is written after the tag.
    pub parameter: Parameter,
    /// The transcript that proves it.
    pub proof: &'static str,
}

const fn row(token: &'static str, rfc: u16, show: Show, proof: &'static str) -> Capability {
    Capability { token, rfc, show, parameter: Parameter::None, proof }
}

/// Everything that may be shown, in the order in which it is.
pub const CAPABILITIES: &[Capability] = &[
    row("TOP", 1939, Show::Always, "top"),
    row("UIDL", 1939, Show::Always, "uidl"),
    row("RESP-CODES", 2449, Show::Always, "resp-codes"),
    row("AUTH-RESP-CODE", 3206, Show::Always, "auth-resp-code"),
    row("PIPELINING", 2449, Show::Always, "pipelining"),
    Capability {
        parameter: Parameter::LoginDelay,
        ..row("LOGIN-DELAY", 2449, Show::LoginDelay, "login-delay")
    },
    Capability { parameter: Parameter::Expire, ..row("EXPIRE", 2449, Show::Always, "expire") },
    row("STLS", 2595, Show::BeforeTls, "stls"),
    row("USER", 1939, Show::Passwords, "user"),
    Capability { parameter: Parameter::Mechanisms, ..row("SASL", 5034, Show::Mechanisms, "sasl") },
    Capability { parameter: Parameter::Words("USER"), ..row("UTF8", 6856, Show::Always, "utf8") },
    row("LANG", 6856, Show::Always, "lang"),
    Capability {
        parameter: Parameter::Words("Culver"),
        ..row("IMPLEMENTATION", 2449, Show::Always, "implementation")
    },
];

/// How long messages stay on the server (RFC 2449 §6.7).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Expire {
    /// The server deletes nothing.
    #[default]
    Never,
    /// So many days at least.
    Days(u32),
}

impl Expire {
    /// Reads a setting: `never`, or days.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            word if word.eq_ignore_ascii_case("never") => Some(Self::Never),
            days => days.parse().ok().map(Self::Days),
        }
    }
}

/// Before or after login?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Login {
    /// Not yet.
    Before,
    /// Yes.
    After,
}

/// Whom the list is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Circumstances<'a> {
    /// Before or after login.
    pub login: Login,
    /// Could STLS be given: is there a certificate and no TLS yet?
    pub stls: bool,
    /// May a password be sent?
    pub passwords: bool,
    /// SASL mechanisms offered, in capitals.
    pub mechanisms: &'a [&'a str],
    /// Seconds between logins.
    pub login_delay: u64,
    /// How long messages stay.
    pub expire: Expire,
    /// Tags not to be shown.
    pub masked: &'a [&'a str],
}

impl Circumstances<'_> {
    /// Is this row shown?
    pub fn shows(&self, capability: &Capability) -> bool {
        let now = match capability.show {
            Show::Always => true,
            Show::Passwords => self.passwords,
            Show::Mechanisms => !self.mechanisms.is_empty(),
            Show::BeforeTls => self.login == Login::Before && self.stls,
            Show::LoginDelay => self.login_delay > 0,
        };
        now && !self.masked.iter().any(|mask| mask.eq_ignore_ascii_case(capability.token))
    }
}

/// Writes the lines, without the status line and the end.
pub fn render(out: &mut Vec<u8>, circumstances: &Circumstances<'_>) {
    for capability in CAPABILITIES.iter().filter(|c| circumstances.shows(c)) {
        out.extend_from_slice(capability.token.as_bytes());
        match (capability.parameter, circumstances.expire) {
            (Parameter::None, _) => {}
            (Parameter::Words(words), _) => {
                out.push(b' ');
                out.extend_from_slice(words.as_bytes());
            }
            (Parameter::Mechanisms, _) => {
                for mechanism in circumstances.mechanisms {
                    out.push(b' ');
                    out.extend_from_slice(mechanism.as_bytes());
                }
            }
            (Parameter::LoginDelay, _) => {
                out.push(b' ');
                number(out, circumstances.login_delay);
            }
            (Parameter::Expire, Expire::Never) => out.extend_from_slice(b" NEVER"),
            (Parameter::Expire, Expire::Days(days)) => {
                out.push(b' ');
                number(out, u64::from(days));
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Circumstances<'_> = Circumstances {
        login: Login::Before,
        stls: true,
        passwords: false,
        mechanisms: &[],
        login_delay: 0,
        expire: Expire::Never,
        masked: &[],
    };

    fn shown(circumstances: &Circumstances<'_>) -> Vec<String> {
        let mut out = Vec::new();
        render(&mut out, circumstances);
        String::from_utf8(out).expect("tags are ASCII").lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_list_follows_the_circumstances() {
        let list = shown(&PLAIN);
        assert!(list.contains(&"STLS".to_owned()) && list.contains(&"EXPIRE NEVER".to_owned()), "{list:?}");
        assert!(!list.iter().any(|l| l == "USER" || l.starts_with("SASL") || l.starts_with("LOGIN-DELAY")));
        let tls = Circumstances {
            stls: false,
            passwords: true,
            mechanisms: &["PLAIN", "LOGIN"],
            login_delay: 900,
            expire: Expire::Days(60),
            masked: &["utf8", "LANG"],
            ..PLAIN
        };
        let list = shown(&tls);
        for line in ["USER", "SASL PLAIN LOGIN", "LOGIN-DELAY 900", "EXPIRE 60", "IMPLEMENTATION Culver"] {
            assert!(list.iter().any(|l| l == line), "{line}: {list:?}");
        }
        assert!(!list.iter().any(|l| l == "STLS" || l.starts_with("UTF8") || l == "LANG"));
    }

    /// RFC 2449 §5: whatever is announced before login is announced after it, but for STLS (RFC 2595 §4).
    #[test]
    fn after_login_nothing_but_stls_is_missing() {
        let mut before = shown(&Circumstances { passwords: true, mechanisms: &["PLAIN"], ..PLAIN });
        let after =
            shown(&Circumstances { login: Login::After, passwords: true, mechanisms: &["PLAIN"], ..PLAIN });
        before.retain(|l| l != "STLS");
        assert_eq!(before, after);
    }

    #[test]
    fn rows_are_distinct() {
        for (i, c) in CAPABILITIES.iter().enumerate() {
            assert!(CAPABILITIES[i + 1..].iter().all(|d| d.token != c.token && d.proof != c.proof));
        }
        assert_eq!(Expire::parse("Never"), Some(Expire::Never));
        assert_eq!(Expire::parse("30"), Some(Expire::Days(30)));
        assert_eq!(Expire::parse("soon"), None);
    }
}
