//! What an IMAP session does. What it says is `culver-imap`.
//!
//! A session is one task. It reads a command, carries it out against an [`Arc<dyn
//! Mailbox>`](culver_store::Mailbox), tells what has happened to the mailbox meanwhile, answers, and waits for the
//! next one with no buffer in hand. No session opens a file.

mod alert;
pub mod command;
pub mod context;
pub mod dispatch;
pub mod fetch;
pub mod names;
pub mod order;
pub mod pattern;
pub mod query;
pub mod service;
pub mod session;
pub mod state;
pub mod stop;
pub mod sync;
pub mod threads;
pub mod transfer;
pub mod view;
pub mod wire;

pub use culver_keeper::place;
pub use service::{ImapService, ImapSettings};
