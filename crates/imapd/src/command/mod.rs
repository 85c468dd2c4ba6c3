//! The handlers: one file for each command, or for commands that are a line each.

pub mod append;
pub mod authenticate;
pub mod copy;
pub mod enable;
pub mod expunge;
pub mod fetch;
pub mod id;
pub mod idle;
pub mod list;
pub mod login;
pub mod mailboxes;
pub mod r#move;
pub mod quota;
pub mod search;
pub mod select;
pub mod sort;
pub mod status;
pub mod store;
pub mod thread;
