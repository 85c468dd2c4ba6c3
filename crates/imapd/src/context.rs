//! What a handler has besides its state: the wire, the service, who is at the other end.

use crate::service::ImapService;
use crate::wire::Wire;
use culver_auth::Peer;
use culver_net::Shutdown;
use culver_store::{Failure, Spooled};
use std::sync::Arc;

/// One session's surroundings.
pub struct Context {
    /// Bytes in and out.
    pub wire: Wire,
    /// Shared by all sessions.
    pub service: Arc<ImapService>,
    /// Who connected, and how.
    pub peer: Peer,
    /// Tells when the server wants to stop.
    pub shutdown: Shutdown,
    /// The tag of the command in progress.
    pub tag: String,
    /// Literals of the command in progress that were set aside, in their order.
    pub aside: Vec<Option<Result<Spooled, Failure>>>,
    /// Messages of the APPEND in progress whose room was asked for before they came.
    pub admitted: usize,
    /// Failed logins on this connection.
    pub failed_logins: u32,
}
