//! What a message is made of: parts with their offsets, ENVELOPE, BODYSTRUCTURE, decoded text.
//!
//! Any bytes are a message. Nothing here panics, recurses by the depth of a message, or takes more than linear time,
//! and what is kept of a message is bounded. All offsets, sizes and line counts are those of the wire form (CRLF).

pub mod address;
pub mod body;
pub mod charset;
pub mod columns;
pub mod content;
pub mod date;
pub mod envelope;
pub mod fields;
pub mod fuzz;
pub mod lines;
pub mod preview;
pub mod scan;
pub mod structure;
pub mod subject;
pub mod text;
pub mod transfer;
mod wire;

pub use scan::{Limits, Scanner, scan};
pub use structure::{Kind, Located, Part, Structure};
