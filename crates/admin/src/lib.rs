//! What an administrator does: every verb once, as a command that gives the text to print.
//!
//! Verbs print nothing themselves and end no process. Every [`AdminError`] says what to do.

mod app_password;
mod auth;
pub mod control;
mod domain;
mod error;
mod password;
pub mod quota;
mod route;
mod user;

pub use app_password::AppPasswordCommand;
pub use auth::{BlocksCommand, run_blocks};
pub use domain::{DomainCommand, run_domain};
pub use error::AdminError;
pub use password::{AskPassword, Terminal};
pub use quota::QuotaCommand;
pub use route::{ActionArgs, RouteCommand, add_route, change_route, run_route};
pub use user::{
    ChangeArgs, Or, PasswordArgs, Right, Scheme, UserCommand, list_all_users, run_user, run_user_asking,
};
