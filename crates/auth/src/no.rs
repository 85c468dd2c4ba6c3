//! Why somebody is not let in: for the client, and for the log.

use crate::denied::Denied;
use culver_directory::Account;

/// Why not: for the client, and for the log.
pub(crate) struct No {
    pub denied: Denied,
    pub reason: String,
    /// Is the account one whose failures do not wait (`nodelay`)?
    pub no_delay: bool,
    /// What tells this guess from others, where it is known.
    pub guess: Option<u64>,
    /// What the policy service was told of the password.
    pub pwhash: Option<String>,
}

impl No {
    pub fn because(denied: Denied, reason: &str) -> Self {
        Self { denied, reason: reason.to_owned(), no_delay: false, guess: None, pwhash: None }
    }

    /// They do not know the password, or whatever else proves it.
    pub fn wrong(reason: &str) -> Self {
        Self::because(Denied::Credentials, reason)
    }

    pub fn syntax(text: String) -> Self {
        Self {
            reason: text.clone(),
            denied: Denied::Syntax(text),
            no_delay: false,
            guess: None,
            pwhash: None,
        }
    }

    /// It was this guess.
    pub fn guessed(self, fingerprint: u64) -> Self {
        Self { guess: Some(fingerprint), ..self }
    }

    /// It was this account's proof that failed.
    pub fn of(mut self, account: &Account) -> Self {
        let set = account.extra.get("nodelay");
        self.no_delay =
            set.is_some_and(|v| !matches!(v.to_ascii_lowercase().as_str(), "no" | "n" | "0" | "false"));
        self
    }
}
