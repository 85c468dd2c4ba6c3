//! What happened: one enum for the whole house, one file per rendering.
//!
//! Whoever does something worth telling emits an [`Event`] into [`Events`] and does not know who listens. Here it
//! becomes a line: plain text, text in Dovecot's words (so that fail2ban rules go on working), or JSON. Lines of
//! `tracing` (faults, debugging) go through the same sink and look the same.
//!
//! Emitting never fails and never panics: a line that cannot be written is lost.

pub mod clock;
mod dovecot;
mod event;
mod json;
mod plain;
mod sink;
mod text;
mod trace;

pub use event::{Attempt, Delivery, Event, Level, MaildropCounts, Origin, Transport};
pub use sink::{Destination, Events, Recorded, Style};
pub use trace::install;
