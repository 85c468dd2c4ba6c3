//! Why somebody is not let in.

use std::time::Duration;

/// Why somebody is not let in, as far as the client may know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Denied {
    /// The name or the password is wrong; which of them is not said.
    Credentials,
    /// The name breaks the login rule (or the exchange its grammar), with the text that says so.
    Syntax(String),
    /// The password was right, but the account may not log in.
    Disabled {
        /// The reason that the administrator left.
        reason: String,
    },
    /// We cannot know now.
    Temporary,
    /// The password was right, but not from there, or not in this name.
    NotAllowedHere,
    /// Not without TLS.
    PrivacyRequired,
    /// There were so many failures from that network that this one was not even looked at.
    TooManyFailures {
        /// After this long it makes sense to try again.
        wait: Duration,
    },
    /// There were so many guesses from that network that nothing is looked at for a while.
    Blocked {
        /// How many guesses it takes.
        guesses: u32,
        /// After this long it is over.
        wait: Duration,
    },
    /// The policy service says no.
    Policy {
        /// Its words for the client; may be empty.
        text: String,
    },
    /// The account has as many sessions from that network as it may have. The password was right.
    TooManySessions {
        /// How many that is.
        most: u32,
    },
}

impl Denied {
    /// What the client reads, on one line.
    pub fn text(&self) -> String {
        let text = match self {
            Self::Credentials => "The user name or the password is wrong",
            Self::Syntax(text) => text,
            Self::Disabled { reason } if reason.is_empty() => {
                "This account is disabled: ask your administrator"
            }
            Self::Disabled { reason } => return format!("This account is disabled: {}", one_line(reason)),
            Self::Temporary => "Logging in is not possible for the moment: try again in a few minutes",
            Self::NotAllowedHere => "This account may not log in from here or in that name",
            Self::PrivacyRequired => "Logging in needs TLS here: use STARTTLS or a port with TLS",
            Self::Policy { text } if text.is_empty() => "Logging in is refused by the policy of this server",
            Self::Policy { text } => text,
            Self::Blocked { guesses, wait } => {
                let minutes = wait.as_secs().div_ceil(60).max(1);
                return format!(
                    "{guesses} different passwords were tried from your network, which is the limit: try again in {minutes} minutes"
                );
            }
            Self::TooManySessions { most } => {
                return format!(
                    "This account has {most} sessions from your network already, which is the limit"
                );
            }
            Self::TooManyFailures { .. } => {
                "50 failed logins of your network are waiting already, which is the limit: try again in a minute"
            }
        };
        one_line(text)
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
