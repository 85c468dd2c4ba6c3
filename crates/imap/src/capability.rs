//! The table of capabilities (RFC 9051 §6.1.1): what CAPABILITY, the documentation and the tests read.
//!
//! A row says when a capability is shown and which transcript proves it. What a session adds (mechanisms, limits, masks)
//! comes in [`Circumstances`]; [`render`] writes the list for them.

use crate::response::number;

/// When a capability is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Show {
    /// Always.
    Always,
    /// Before login.
    BeforeLogin,
    /// Before login, where TLS can still be started.
    BeforeTls,
    /// Before login, where LOGIN would be refused.
    LoginDisabled,
    /// After login.
    AfterLogin,
    /// Always, where LITERAL+ is offered rather than LITERAL-.
    LiteralPlus,
    /// Always, where LITERAL- is offered rather than LITERAL+ (RFC 7888 §5: never both).
    LiteralMinus,
}

/// What follows the token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parameter {
    /// Nothing.
    None,
    /// A mechanism, and the token once for each.
    Mechanism,
    /// `=` and the limit of APPEND in octets, if there is one; otherwise each mailbox has its own (RFC 7889 §3).
    AppendLimit,
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
    /// What is written after the token.
    pub parameter: Parameter,
    /// The transcript that proves it.
    pub proof: &'static str,
}

const fn row(token: &'static str, rfc: u16, show: Show, proof: &'static str) -> Capability {
    Capability { token, rfc, show, parameter: Parameter::None, proof }
}

/// Everything that may be shown, in the order in which it is.
pub const CAPABILITIES: &[Capability] = &[
    row("IMAP4rev1", 3501, Show::Always, "imap4rev1"),
    row("IMAP4rev2", 9051, Show::Always, "imap4rev2"),
    row("LITERAL+", 7888, Show::LiteralPlus, "literal-plus"),
    row("LITERAL-", 7888, Show::LiteralMinus, "literal-minus"),
    row("ENABLE", 5161, Show::Always, "enable"),
    row("ID", 2971, Show::Always, "id"),
    row("SASL-IR", 4959, Show::BeforeLogin, "sasl-ir"),
    row("STARTTLS", 9051, Show::BeforeTls, "starttls"),
    row("LOGINDISABLED", 9051, Show::LoginDisabled, "logindisabled"),
    Capability { parameter: Parameter::Mechanism, ..row("AUTH=", 9051, Show::BeforeLogin, "authenticate") },
    row("IDLE", 2177, Show::AfterLogin, "idle"),
    row("NAMESPACE", 2342, Show::AfterLogin, "namespace"),
    row("CHILDREN", 3348, Show::AfterLogin, "children"),
    row("MULTIAPPEND", 3502, Show::AfterLogin, "multiappend"),
    row("BINARY", 3516, Show::AfterLogin, "binary"),
    row("UNSELECT", 3691, Show::AfterLogin, "unselect"),
    row("UIDPLUS", 4315, Show::AfterLogin, "uidplus"),
    row("ESEARCH", 4731, Show::AfterLogin, "esearch"),
    row("WITHIN", 5032, Show::AfterLogin, "within"),
    row("SEARCHRES", 5182, Show::AfterLogin, "searchres"),
    row("SORT", 5256, Show::AfterLogin, "sort"),
    row("THREAD=ORDEREDSUBJECT", 5256, Show::AfterLogin, "thread-orderedsubject"),
    row("THREAD=REFERENCES", 5256, Show::AfterLogin, "thread-references"),
    row("ESORT", 5267, Show::AfterLogin, "esort"),
    row("SORT=DISPLAY", 5957, Show::AfterLogin, "sort-display"),
    row("LIST-EXTENDED", 5258, Show::AfterLogin, "list-extended"),
    row("LIST-STATUS", 5819, Show::AfterLogin, "list-status"),
    row("SPECIAL-USE", 6154, Show::AfterLogin, "special-use"),
    row("CREATE-SPECIAL-USE", 6154, Show::AfterLogin, "create-special-use"),
    row("MOVE", 6851, Show::AfterLogin, "move"),
    row("UTF8=ACCEPT", 6855, Show::AfterLogin, "utf8-accept"),
    row("CONDSTORE", 7162, Show::AfterLogin, "condstore"),
    row("QRESYNC", 7162, Show::AfterLogin, "qresync"),
    row("STATUS=SIZE", 8438, Show::AfterLogin, "status-size"),
    row("QUOTA", 9208, Show::AfterLogin, "quota"),
    row("QUOTA=RES-STORAGE", 9208, Show::AfterLogin, "quota-storage"),
    row("QUOTA=RES-MESSAGE", 9208, Show::AfterLogin, "quota-message"),
    row("QUOTA=RES-MAILBOX", 9208, Show::AfterLogin, "quota-mailbox"),
    row("PREVIEW", 8970, Show::AfterLogin, "preview"),
    Capability {
        parameter: Parameter::AppendLimit,
        ..row("APPENDLIMIT", 7889, Show::AfterLogin, "appendlimit")
    },
];

/// Has the user logged in?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Login {
    /// Not yet.
    Before,
    /// Yes.
    After,
}

/// Which of the two forms of RFC 7888 is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Literals {
    /// LITERAL+: of any size.
    Plus,
    /// LITERAL-: up to 4096 octets.
    Minus,
}

/// Whom the list is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Circumstances<'a> {
    /// Before or after login.
    pub login: Login,
    /// Could STARTTLS be given: is TLS configured and not in use yet?
    pub starttls: bool,
    /// Would LOGIN be refused for want of TLS?
    pub login_disabled: bool,
    /// SASL mechanisms offered now, in capitals.
    pub mechanisms: &'a [&'a str],
    /// Octets of the largest message that APPEND takes.
    pub append_limit: Option<u64>,
    /// LITERAL+ or LITERAL-.
    pub literals: Literals,
    /// Tokens not to be shown, in any case: `CONDSTORE`, `AUTH=PLAIN`, `APPENDLIMIT`.
    pub masked: &'a [&'a str],
}

impl Circumstances<'_> {
    /// Is this row shown? Of one with parameters: at least once, if it has any to show.
    pub fn shows(&self, capability: &Capability) -> bool {
        let before = self.login == Login::Before;
        let now = match capability.show {
            Show::Always => true,
            Show::BeforeLogin => before,
            Show::BeforeTls => before && self.starttls,
            Show::LoginDisabled => before && self.login_disabled,
            Show::AfterLogin => !before,
            Show::LiteralPlus => self.literals == Literals::Plus,
            Show::LiteralMinus => self.literals == Literals::Minus,
        };
        now && !self.is_masked(capability.token, "")
    }

    fn is_masked(&self, token: &str, parameter: &str) -> bool {
        self.masked.iter().any(|mask| {
            mask.len() == token.len() + parameter.len()
                && mask.get(..token.len()).is_some_and(|front| front.eq_ignore_ascii_case(token))
                && mask.get(token.len()..).is_some_and(|back| back.eq_ignore_ascii_case(parameter))
        })
    }
}

/// Writes the capabilities, divided by spaces.
pub fn render(out: &mut Vec<u8>, circumstances: &Circumstances<'_>) {
    let start = out.len();
    let mut token = |parts: &[&str]| {
        if out.len() > start {
            out.push(b' ');
        }
        for part in parts {
            out.extend_from_slice(part.as_bytes());
        }
    };
    for capability in CAPABILITIES.iter().filter(|c| circumstances.shows(c)) {
        match (capability.parameter, circumstances.append_limit) {
            (Parameter::Mechanism, _) => {
                for mechanism in circumstances.mechanisms {
                    if !circumstances.is_masked(capability.token, mechanism) {
                        token(&[capability.token, mechanism]);
                    }
                }
            }
            (Parameter::AppendLimit, Some(limit)) => {
                let mut digits = Vec::with_capacity(20);
                number(&mut digits, limit);
                token(&[capability.token, "=", std::str::from_utf8(&digits).unwrap_or("0")]);
            }
            _ => token(&[capability.token]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(circumstances: &Circumstances<'_>) -> String {
        let mut out = Vec::new();
        render(&mut out, circumstances);
        String::from_utf8(out).expect("tokens are ASCII")
    }

    const PLAIN: Circumstances<'_> = Circumstances {
        login: Login::Before,
        starttls: true,
        login_disabled: true,
        mechanisms: &[],
        append_limit: None,
        literals: Literals::Plus,
        masked: &[],
    };

    #[test]
    fn the_list_follows_the_circumstances() {
        assert_eq!(shown(&PLAIN), "IMAP4rev1 IMAP4rev2 LITERAL+ ENABLE ID SASL-IR STARTTLS LOGINDISABLED");
        let tls = Circumstances {
            starttls: false,
            login_disabled: false,
            mechanisms: &["PLAIN", "SCRAM-SHA-256"],
            literals: Literals::Minus,
            ..PLAIN
        };
        assert_eq!(
            shown(&tls),
            "IMAP4rev1 IMAP4rev2 LITERAL- ENABLE ID SASL-IR AUTH=PLAIN AUTH=SCRAM-SHA-256"
        );
        let masked = Circumstances { masked: &["auth=plain", "imap4REV2", "AUTH"], ..tls };
        assert_eq!(shown(&masked), "IMAP4rev1 LITERAL- ENABLE ID SASL-IR AUTH=SCRAM-SHA-256");
        let after = Circumstances { login: Login::After, append_limit: Some(52_428_800), ..PLAIN };
        let list = shown(&after);
        assert!(list.ends_with(" STATUS=SIZE QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE QUOTA=RES-MAILBOX PREVIEW APPENDLIMIT=52428800"), "{list}");
        assert!(!list.contains("STARTTLS") && !list.contains("LOGINDISABLED") && !list.contains("SASL-IR"));
        let list = shown(&Circumstances { append_limit: None, masked: &["QRESYNC"], ..after });
        assert!(list.ends_with(" CONDSTORE STATUS=SIZE QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE QUOTA=RES-MAILBOX PREVIEW APPENDLIMIT"), "{list}");
    }

    #[test]
    fn the_two_literal_capabilities_are_never_shown_together() {
        for literals in [Literals::Plus, Literals::Minus] {
            let list = shown(&Circumstances { literals, ..PLAIN });
            assert_eq!(list.matches("LITERAL").count(), 1, "{list}");
        }
    }

    #[test]
    fn rows_are_distinct_and_commands_refer_to_them() {
        for (i, c) in CAPABILITIES.iter().enumerate() {
            assert!(CAPABILITIES[i + 1..].iter().all(|d| d.token != c.token && d.proof != c.proof));
        }
        for row in crate::command::COMMANDS {
            if let Some(capability) = row.capability {
                assert!(CAPABILITIES.iter().any(|c| c.token == capability), "{capability}");
            }
        }
    }
}
