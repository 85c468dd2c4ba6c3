//! What a POP3 session does (RFC 1939). What it says is `culver-pop3`.
//!
//! A session is one task. It reads a line, carries it out against the maildrop that it saw at login, answers, and waits for the
//! next line with no buffer in hand. Messages are removed at QUIT and at no other end. No session opens a file.

pub mod command;
pub mod content;
pub mod context;
pub mod delay;
pub mod dispatch;
pub mod marks;
pub mod service;
pub mod session;
pub mod state;
pub mod stop;

pub use service::{DeleteType, Duplicates, Pop3Service, Pop3Settings};
