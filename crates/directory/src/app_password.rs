//! App passwords: one for each device, so that a lost telephone costs one password and not the account's.

/// An app password as stored.
#[derive(Clone, PartialEq, Eq)]
pub struct AppPassword {
    /// What the user calls the device.
    pub device: String,
    /// The password as stored for PLAIN.
    pub password: String,
    /// The same for SCRAM-SHA-256, without the scheme: once for each way to type it.
    pub scram: Vec<String>,
    /// Services it is for, such as `imap`; empty for all.
    pub services: Vec<String>,
    /// When it was made, in seconds of Unix time.
    pub created: i64,
    /// When it was used last, and from which address.
    pub used: Option<(i64, String)>,
}
