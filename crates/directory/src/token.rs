//! Tokens of OAuth 2.0 (RFC 6749): what a login by OAUTHBEARER or XOAUTH2 brings in place of a password.

use crate::Outage;
use async_trait::async_trait;

/// What a token says that is good now.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TokenClaims {
    /// Whose it is, as the provider names them; the login rule is still to be applied.
    pub user: String,
    /// When it expires, in seconds of Unix time, where the provider says so.
    pub expires: Option<i64>,
    /// For which purposes it was given (RFC 6749 §3.3).
    pub scope: Vec<String>,
}

/// Why a token is not good: unknown, expired, revoked, or meant for somebody else. For the log, not for clients.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotGood(pub String);

/// Something that knows good tokens from bad ones.
#[async_trait]
pub trait TokenVerifier: Send + Sync {
    /// What this token says, or why it is not good.
    ///
    /// # Errors
    /// When that cannot be known now.
    async fn verify(&self, token: &str) -> Result<Result<TokenClaims, NotGood>, Outage>;

    /// The scope that tokens must have, for the clients whose token is refused (RFC 7628 §3.2.2).
    fn scope(&self) -> Option<&str> {
        None
    }

    /// Where the provider describes itself, for the same clients.
    fn configuration(&self) -> Option<&str> {
        None
    }
}
