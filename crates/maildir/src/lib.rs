//! The store on Maildir: what lies on disk is plain Maildir with Dovecot's companions, written under Dovecot's
//! locks, so that either program can serve the same tree, also in turns.

pub mod compressed;
pub mod dotlock;
pub mod filename;
pub mod fuzz;
pub mod keywords;
pub mod layout;
pub mod special_use;
pub mod subscriptions;
pub mod uidlist;
pub mod uidvalidity;
