//! Handlers, a file for each command.

pub mod apop;
pub mod auth;
pub mod capa;
pub mod dele;
pub mod lang;
pub mod last;
pub mod list;
pub mod login;
pub mod pass;
pub mod quit;
pub mod retr;
pub mod rset;
pub mod stat;
pub mod stls;
pub mod top;
pub mod uidl;
pub mod user;
pub mod utf8;
