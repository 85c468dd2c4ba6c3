//! Who is who: accounts, what they log in with and where their mail lies, from one or more sources.
//!
//! [`Login::parse`] is the login rule, the only door for a name that a client typed. [`Directory`] asks its sources in
//! order, and follows routes ([`Directory::resolve`]). Passwords are carried here as stored and never looked into: that is
//! `culver-auth`'s subject. Nothing is cached here except what a source must read as a whole.
//!
//! A source that cannot answer is an [`Outage`]; it is never reported as "no such account".

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod account;
mod app_password;
pub mod builtin;
mod directory;
pub mod fuzz;
mod location;
mod login;
pub mod passwd_file;
mod place;
mod route;
mod token;

pub use account::{Account, Defaults, Layout, MailLocation, QuotaLimits, Secret, Switch};
pub use app_password::AppPassword;
pub use culver_base::Network;
pub use directory::{Directory, Outage, Proof, Source};
pub use location::{Names, NotALocation, expand};
pub use login::{Login, Syntax};
pub use route::{Action, DEPTH, Resolved, Route, TARGETS, Target, Way};
pub use token::{TokenClaims, TokenVerifier};
