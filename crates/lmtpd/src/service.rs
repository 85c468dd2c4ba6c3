//! What all LMTP sessions share.

use culver_base::Network;
use culver_deliver::Deliver;
use culver_events::Events;
use culver_net::{BoxFuture, Connection, Serve, Shutdown, TlsAcceptor};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Settings of the LMTP service.
#[derive(Clone, Debug)]
pub struct LmtpSettings {
    /// Our name in the greeting.
    pub host: String,
    /// The largest message, in octets; `None` for no limit.
    pub message_limit: Option<u64>,
    /// Recipients of one message. MTAs send the rest with another.
    pub recipients: usize,
    /// Messages up to this size are held in memory while they arrive.
    pub inline: usize,
    /// Where longer ones go.
    pub spool: PathBuf,
    /// A session from which nothing was heard for so long is ended. RFC 5321 §4.5.3.2.7: at least 5 minutes.
    pub timeout: Duration,
    /// Who may say for whom it speaks (XCLIENT) and name mailboxes (XMAILBOX), beside peers on unix sockets.
    pub trusted: Vec<Network>,
}

/// The LMTP service.
pub struct LmtpService {
    /// What becomes of messages.
    pub deliver: Arc<Deliver>,
    /// For STARTTLS; `None` when there is no certificate.
    pub tls: Option<TlsAcceptor>,
    /// What happened.
    pub events: Events,
    /// Settings.
    pub settings: LmtpSettings,
}

impl Serve for LmtpService {
    fn service(&self) -> &'static str {
        "lmtp"
    }

    fn serve(self: Arc<Self>, connection: Connection, shutdown: Shutdown) -> BoxFuture<'static, ()> {
        Box::pin(crate::session::run(self, connection, shutdown))
    }
}
