//! Why a verb was not done.

use culver_directory::builtin::Problem;

/// Why a verb was not done, and what to do. Each is told whole: none has a source that would be told again.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The directory says no.
    #[error("{0}{hint}", hint = hint(.0))]
    Directory(Problem),
    /// The password could not be read, or cannot be one.
    #[error("{0}")]
    Password(String),
    /// The stored password given with `--hash` cannot be used.
    #[error("--hash: {0}. Give it as {{SCHEME}}data, such as `doveadm pw` prints")]
    Hash(culver_auth::scheme::Unusable),
    /// The mail location cannot be used.
    #[error(transparent)]
    Location(#[from] culver_directory::NotALocation),
    /// The running server cannot be asked, or says no.
    #[error("{0}")]
    Control(String),
    /// The route would not do what it should.
    #[error("{0}")]
    Route(String),
    /// A limit cannot be read.
    #[error("{0}")]
    Quota(String),
    /// A source of accounts does not answer.
    #[error(transparent)]
    Outage(#[from] culver_directory::Outage),
    /// Some sources did not name their accounts.
    #[error("Accounts are missing in this list: {0}")]
    NotListed(String),
    /// No random numbers, or no JSON: never seen.
    #[error("{0} failed: try again")]
    Internal(&'static str),
}

impl From<Problem> for AdminError {
    fn from(problem: Problem) -> Self {
        Self::Directory(problem)
    }
}

impl From<culver_auth::scheme::Unusable> for AdminError {
    fn from(why: culver_auth::scheme::Unusable) -> Self {
        Self::Hash(why)
    }
}

/// The command that helps.
fn hint(problem: &Problem) -> String {
    match problem {
        Problem::NoDomain(name) => format!(" (culver domain add {name})"),
        Problem::NoDevice(name, _) | Problem::TooManyDevices(name, _) => {
            format!(" (culver user app-password list {name})")
        }
        Problem::NoUser(_) => " (culver user list)".to_owned(),
        Problem::UserExists(name) => format!(" (culver user passwd {name})"),
        Problem::DomainInUse(name, _) => format!(" (culver user list --domain {name})"),
        Problem::DomainExists(_) => " (culver domain list)".to_owned(),
        other => crate::route::hint(other).unwrap_or_default(),
    }
}
