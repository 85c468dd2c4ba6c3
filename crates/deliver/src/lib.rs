//! Delivery: recipient -> route -> quota -> store, one way for LMTP, the delivery program and the server's own notices.
//!
//! Promises that nothing is acknowledged that is not on disk (or, for what is forwarded, in the MTA's queue), that each
//! recipient has its own answer, and that a message to many is parsed once and kept once where owner and file system
//! allow. What goes wrong for one recipient is no other's matter.
//!
//! Answers are replies of LMTP with enhanced codes: temporary trouble is 4xx, so that whoever has the queue tries again,
//! and what will not get better is 5xx with words for the sender.
//!
//! It knows no protocol's session: `lmtpd` and the program `culver deliver` do.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod answer;
pub mod binary;
pub mod client;
mod date;
mod deliver;
pub mod forward;
mod message;
mod notice;
mod quota;
mod recipient;
mod shelf;
pub mod srs;
mod trace;

pub use deliver::{Deliver, Settings};
pub use forward::{Forwarder, Method, Relay, Secure};
pub use message::{Incoming, Message};
pub use notice::Notice;
pub use quota::{NoQuota, Quota, Verdict};
pub use recipient::{Recipient, Request};
pub use shelf::{Missing, Shelf, StoreShelf, place};
pub use trace::{DeliveredTo, Envelope};
