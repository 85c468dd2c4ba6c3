//! The settings of OAuth 2.0 and OpenID providers.

use crate::item::choice;
use crate::section::section;
use std::path::PathBuf;
use std::time::Duration;

choice! {
    /// How a provider is asked about a token.
    IntrospectionMode {
        /// The token in a form, as RFC 7662 has it.
        "post" => Post,
        /// The token as `Authorization: Bearer`, for OpenID's userinfo and its like.
        "auth" => Auth,
        /// The token behind the address.
        "get" => Get,
    } default Post
}

section! {
    /// A provider of tokens (`source = "oauth2"`), for OAUTHBEARER and XOAUTH2. Tokens are checked here by `keys`, or the provider is
    /// asked at `introspection_url`. Where the mail of their users lies another source says.
    OAuth2 {
        /// Files with the keys that sign tokens (JWT): JWK sets (`.json`), public keys or certificates (`.pem`), a shared secret
        /// (`.secret`). They are read again when they change.
        keys: Vec<PathBuf> = Vec::new(), Restart, "[\"/etc/culver/jwks.json\"]";
        /// Where the provider publishes its keys as a JWK set (`jwks_uri` of its description). They are fetched again when a token names one
        /// that is unknown, once a minute at most. While it does not answer, keys fetched earlier go on to count.
        jwks_uri: String = String::new(), Restart, "\"https://id.example.org/jwks.json\"";
        /// The provider's introspection endpoint (RFC 7662).
        introspection_url: String = String::new(), Restart, "\"https://id.example.org/introspect\"";
        /// How it is asked, as Dovecot's setting of that name: `post` (RFC 7662), `auth` or `get`.
        introspection_mode: IntrospectionMode = IntrospectionMode::Post, Restart, "\"auth\"";
        /// As whom the server asks there.
        client_id: String = String::new(), Restart, "\"culver\"";
        /// With which secret. The configuration should then be readable by the service user only.
        client_secret: String = String::new(), Restart, "\"secret\"";
        /// Authorities (PEM) that sign the provider's certificate. Empty: those of the system.
        ca_file: PathBuf = PathBuf::new(), Restart, "\"/etc/ssl/id-ca.pem\"";
        /// An answer must come within this time.
        timeout: Duration = Duration::from_secs(10), Restart, "\"5s\"";
        /// Who must have issued the token (`iss`). Empty: anybody whose key is known.
        issuers: Vec<String> = Vec::new(), Restart, "[\"https://id.example.org/\"]";
        /// For whom it must be meant (`aud`). Empty: that is not looked at, and tokens for all programs of the provider count here.
        audience: String = String::new(), Restart, "\"mail\"";
        /// What it must be good for: words with blanks between. Clients whose token is refused hear it. Empty: that is not looked at.
        scope: String = String::new(), Restart, "\"openid email\"";
        /// The claim that has the user's address.
        username_claim: String = "email".to_owned(), Restart, "\"preferred_username\"";
        /// The domain of users who are named without one. Empty: they are nobody.
        username_domain: String = String::new(), Restart, "\"example.org\"";
        /// The provider's description of itself, which clients hear of whose token is refused.
        openid_configuration: String = String::new(), Restart, "\"https://id.example.org/.well-known/openid-configuration\"";
    }
}
