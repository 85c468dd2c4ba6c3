//! The answers.

use culver_quota::{Limits, State, Usage, percent};
use culver_store::{Layout, Owner, Place};

/// How an account stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// What it keeps.
    pub usage: Usage,
    /// Its mailboxes.
    pub mailboxes: u64,
    /// What it may keep.
    pub limits: Limits,
    /// How far it has come.
    pub state: State,
    /// When receiving will be disabled, while the clock runs.
    pub until: Option<i64>,
}

impl Standing {
    /// How full it is; `None` without limits.
    pub fn percent(&self) -> Option<u64> {
        percent(self.usage, self.limits)
    }

    /// What a user should know when logging in.
    pub fn alert(&self) -> Option<Alert> {
        let full = self.percent().unwrap_or(0);
        let text = match self.state {
            State::Within => return None,
            State::Warned { .. } | State::Border => {
                format!("Your mailbox is {full} % full: delete what you do not need")
            }
            State::Over { .. } => {
                let until = self.until.and_then(|until| u64::try_from(until).ok());
                let until =
                    until.map(day).map(|day| format!(" until {day}, or it will not receive mail any more"));
                format!("Your mailbox is full: delete something{}", until.unwrap_or_default())
            }
            State::Disabled { since } => {
                let since = u64::try_from(since).ok().map(day).unwrap_or_default();
                format!(
                    "Your mailbox has received no mail since {since}, because it was full for too long: delete something and ask for it to be enabled again"
                )
            }
        };
        Some(Alert { grave: grave(self.state), text })
    }
}

/// What a user should know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alert {
    /// How bad it is; 0 is nothing. A session says it again when it gets worse.
    pub grave: u8,
    /// In words.
    pub text: String,
}

fn grave(state: State) -> u8 {
    match state {
        State::Within => 0,
        State::Warned { percent } => percent.clamp(1, 99),
        // Worse is only what comes next.
        State::Border => 99,
        State::Over { .. } => 100,
        State::Disabled { .. } => 101,
    }
}

/// `2026-11-27`.
pub(crate) fn day(seconds: u64) -> String {
    let at = culver_events::clock::rfc3339(std::time::Duration::from_secs(seconds));
    at.split('T').next().unwrap_or_default().to_owned()
}

/// What is answered to a message that does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Full {
    /// Come back later (452 4.2.2): the sender's server tries again for days, in which there may be room.
    #[default]
    Later,
    /// Do not (552 5.2.2): the sender hears of it at once.
    Never,
}

/// May it be stored?
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Yes.
    Fits,
    /// There is no room for it.
    Over {
        /// Why, for whoever sends it.
        text: String,
        /// Is it worth while to come back?
        answer: Full,
    },
    /// It is larger than a message may be.
    TooBig {
        /// The limit, in octets.
        limit: u64,
    },
    /// The account receives nothing.
    Disabled {
        /// Why, as whoever sends it may read it.
        reason: String,
        /// Since when, in seconds of Unix time, where that is known.
        since: Option<i64>,
    },
}

/// Where the account's mail lies, as the store wants it.
pub fn place(account: &culver_directory::Account) -> Place {
    Place {
        account: account.name.clone(),
        owner: account.uid.zip(account.gid).map(|(uid, gid)| Owner { uid, gid }),
        root: account.mail.root.clone(),
        control: account.mail.control.clone(),
        index: account.mail.index.clone(),
        layout: match account.mail.layout {
            culver_directory::Layout::MaildirPlusPlus => Layout::MaildirPlusPlus,
            culver_directory::Layout::Fs => Layout::Fs,
        },
    }
}
