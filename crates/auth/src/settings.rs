//! What logins are told by the configuration, and whom they ask.

use crate::blocks::BlockSettings;
use crate::policy::Policy;
use crate::scheme::Make;
use culver_directory::{Directory, Source, TokenVerifier};
use culver_sasl::Mechanism;
use std::sync::Arc;
use std::time::Duration;

/// Settings, each with the reason for its default.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// How long the first failures of a network wait; it grows from the fourth on, up to 15 seconds. Zero for never.
    pub failure_delay: Duration,
    /// What is offered, in this order, whether it serves all accounts or not; `None` for [what serves
    /// all](Auth::mechanisms). Clients take the strongest mechanism before anybody knows who they are: an account whose
    /// password is stored otherwise could then not log in.
    pub mechanisms: Option<Vec<Mechanism>>,
    /// Is nothing taken without TLS, except on loopback?
    pub tls_required: bool,
    /// What stands between a user and the master who logs in as them: `*`. `None`: that form does not exist.
    pub master_separator: Option<char>,
    /// The account that ANONYMOUS opens.
    pub anonymous: Option<String>,
    /// When somebody is blocked.
    pub blocks: BlockSettings,
    /// How a password that is stored by a weak scheme is stored anew when its owner logs in with it; `None`: it stays.
    pub rehash: Option<Make>,
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            failure_delay: Duration::from_secs(2),
            mechanisms: None,
            tls_required: true,
            master_separator: None,
            anonymous: None,
            blocks: BlockSettings::default(),
            rehash: None,
        }
    }
}

/// What is asked about names, passwords and tokens.
#[derive(Clone)]
pub struct Backends {
    /// The accounts.
    pub directory: Arc<Directory>,
    /// Who may log in as anybody, beside the accounts that are marked so.
    pub masters: Option<Arc<dyn Source>>,
    /// Who knows good tokens; without, OAUTHBEARER and XOAUTH2 do not exist.
    pub tokens: Option<Arc<dyn TokenVerifier>>,
    /// Who has a say in logins.
    pub policy: Option<Arc<Policy>>,
}

impl Backends {
    /// Only a directory.
    pub fn new(directory: Arc<Directory>) -> Self {
        Self { directory, masters: None, tokens: None, policy: None }
    }
}
