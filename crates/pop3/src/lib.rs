//! The language of POP3: lines, commands, answers, capabilities, languages. What is *said*; `culver-pop3d` is what is
//! *done*.
//!
//! Pure: no socket, clock, file or log. `frame` finds where a line ends, `command` understands it, `response` and
//! `content` write answers, `capability` is the table that CAPA, the documentation and the tests read, `language` has
//! every text for people.

pub mod capability;
pub mod command;
pub mod content;
pub mod frame;
pub mod fuzz;
pub mod language;
pub mod response;
pub mod surrogate;

pub use capability::{CAPABILITIES, Capability};
pub use command::{COMMANDS, Command, Malformed, parse};
pub use frame::{Framer, Step};
pub use language::{Language, Text};
pub use response::{Code, Status, Voice};
