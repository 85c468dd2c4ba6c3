//! Answers (RFC 9051 §7): an encoder that appends to a buffer and allocates nothing else on the way of a FETCH.
//!
//! Every function here writes one whole response with its CRLF, except those that write a piece (a number, a string, a set, a name), and
//! [`FetchWriter`], whose literals the caller streams. Nothing fails. What would not be allowed on the wire (line
//! ends in a text, 8-bit in human text) is replaced; names and strings take the form that can hold them.

mod fetch;
mod flags;
mod mailbox;
mod quota;
mod search;
mod sort;
mod status;
mod text;

pub use fetch::{BodyName, FetchWriter};
pub use flags::system_flags;
pub use mailbox::{
    ListEntry, Namespace, Vanished, exists, expunge, flags, list, lsub, namespace, recent, status_response,
    vanished,
};
pub use quota::{Resource, quota, quota_root};
pub use search::{All, Esearch, esearch, search};
pub use sort::{ThreadNode, ordered_set, sort, thread};
pub use status::{Code, Condition, capability, continuation, enabled, greeting, id, status};
pub use text::{astring, mailbox, nstring, number, quoted, string, uid_set};
