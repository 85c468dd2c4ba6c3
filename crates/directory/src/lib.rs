//! Who is who: accounts, what they log in with and where their mail lies, from one or more sources.
//!
//! [`Login::parse`] is the login rule, the only door for a name that a client typed. [`Directory`] asks its sources in
//! order, by Dovecot's rules, and follows routes ([`Directory::resolve`]). Passwords are carried here as stored and never
//! looked into: that is `culver-auth`'s subject. What a source that is far away said is remembered for a moment ([`Cached`]).
//!
//! A source that cannot answer is an [`Outage`]; it is never reported as "no such account".

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod account;
mod app_password;
pub mod builtin;
mod cached;
pub mod chain;
mod directory;
mod fields;
mod fixed;
pub mod fuzz;
pub mod http;
pub mod ldap;
mod location;
mod login;
pub mod oauth2;
pub mod passwd_file;
mod place;
mod pool;
mod postgresql;
mod route;
pub mod sql;
pub mod system;
pub mod tls;
mod token;

pub use account::{Account, Defaults, Layout, MailLocation, QuotaLimits, Secret, Switch};
pub use app_password::AppPassword;
pub use cached::{CacheSettings, Cached};
pub use culver_base::Network;
pub use directory::{Credentials, Directory, Link, Outage, Outcome, Proof, Prove, Serves, Source, Verdict};
pub use fields::{Fields, Side, Unusable};
pub use fixed::Fixed;
pub use location::{Names, NotALocation, expand};
pub use login::{Login, Syntax};
pub use route::{Action, DEPTH, Resolved, Route, TARGETS, Target, Way};
pub use token::{NotGood, TokenClaims, TokenVerifier};
