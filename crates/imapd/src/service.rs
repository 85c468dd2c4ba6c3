//! What all IMAP sessions share.

use culver_auth::{Auth, Peer, Secured};
use culver_events::{Events, Origin, Transport};
use culver_imap::capability::{Circumstances, Literals, Login};
use culver_keeper::Keeper;
use culver_net::{BoxFuture, Connection, Serve, Shutdown, TlsAcceptor};
use culver_store::Store;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Settings of the IMAP service, each with the reason for its default.
#[derive(Clone, Debug)]
pub struct ImapSettings {
    /// The largest message taken by APPEND, in octets; shown as APPENDLIMIT.
    pub append_limit: Option<u64>,
    /// The longest command line, in octets. Clients send thousands of UIDs in one.
    pub line_limit: usize,
    /// Literals up to this size stay in memory; larger ones of APPEND go to the mailbox's `tmp/`.
    pub inline_literal: usize,
    /// A session without a command ends after this long. RFC 9051 §5.4: at least 30 minutes.
    pub idle_timeout: Duration,
    /// How often IDLE says that it is still there.
    pub idle_keepalive: Duration,
    /// A connection that has not logged in ends after this long.
    pub login_timeout: Duration,
    /// Are logins without TLS refused (except on loopback)?
    pub tls_required: bool,
    /// Capabilities that are not shown and cannot be enabled, in capitals.
    pub masked: BTreeSet<String>,
    /// Failed logins after which a connection is closed.
    pub failed_logins: u32,
    /// Sessions of one account from one network. A household with five clients needs a hundred.
    pub sessions: u32,
}

impl Default for ImapSettings {
    fn default() -> Self {
        Self {
            append_limit: Some(128 * 1024 * 1024),
            line_limit: 64 * 1024,
            inline_literal: 64 * 1024,
            idle_timeout: Duration::from_secs(30 * 60),
            idle_keepalive: Duration::from_secs(2 * 60),
            login_timeout: Duration::from_secs(60),
            tls_required: true,
            masked: BTreeSet::new(),
            failed_logins: 10,
            sessions: 200,
        }
    }
}

impl ImapSettings {
    /// Is this capability hidden?
    pub fn masked(&self, token: &str) -> bool {
        self.masked.contains(&token.to_ascii_uppercase())
    }
}

/// The IMAP service.
pub struct ImapService {
    /// Who is who.
    pub auth: Arc<Auth>,
    /// Where the mail is.
    pub store: Arc<dyn Store>,
    /// Keeps accounts to their quota.
    pub keeper: Arc<Keeper>,
    /// For STARTTLS; `None` when there is no certificate.
    pub tls: Option<TlsAcceptor>,
    /// What happened.
    pub events: Events,
    /// Settings.
    pub settings: ImapSettings,
}

impl ImapService {
    /// Are LOGIN and plaintext mechanisms refused to this peer for want of TLS?
    pub fn login_disabled(&self, peer: &Peer) -> bool {
        self.settings.tls_required && peer.secured == Secured::No
    }

    /// Hands the circumstances of a session to `then`: for CAPABILITY and its response code.
    pub fn with_circumstances<T>(
        &self,
        login: Login,
        peer: &Peer,
        then: impl FnOnce(&Circumstances<'_>) -> T,
    ) -> T {
        let mechanisms: Vec<&str> = match login {
            Login::After => Vec::new(),
            Login::Before => self.auth.offered(peer).iter().map(|m| m.name()).collect(),
        };
        let masked: Vec<&str> = self.settings.masked.iter().map(String::as_str).collect();
        then(&Circumstances {
            login,
            starttls: self.tls.is_some() && peer.secured != Secured::Tls,
            login_disabled: self.login_disabled(peer),
            mechanisms: &mechanisms,
            append_limit: self.settings.append_limit,
            literals: Literals::Plus,
            masked: &masked,
        })
    }
}

/// Where something came from, as the log names it.
pub fn origin(peer: &Peer) -> Origin {
    Origin {
        service: peer.service,
        remote: peer.remote,
        local: peer.local,
        transport: match peer.secured {
            Secured::No => Transport::Plain,
            Secured::Loopback => Transport::Loopback,
            Secured::Tls => Transport::Tls,
        },
        session: peer.session.clone(),
    }
}

impl Serve for ImapService {
    fn service(&self) -> &'static str {
        "imap"
    }

    fn serve(self: Arc<Self>, connection: Connection, shutdown: Shutdown) -> BoxFuture<'static, ()> {
        Box::pin(crate::session::run(self, connection, shutdown))
    }
}
