//! What all IMAP sessions share.

use crate::state::{Authenticated, State};
use culver_auth::{Auth, Peer, Secured};
use culver_events::{Event, Events};
use culver_imap::capability::{self, Circumstances};
use culver_net::TlsAcceptor;
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

    /// The tokens of CAPABILITY for a session.
    pub fn capabilities(&self, user: Option<&Authenticated>, peer: &Peer) -> Vec<String> {
        let mechanisms = match user {
            Some(_) => Vec::new(),
            None => self.auth.mechanisms(peer.secured).iter().map(|m| m.name().to_owned()).collect(),
        };
        let circumstances = Circumstances {
            logged_in: user.is_some(),
            start_tls: self.tls.is_some() && peer.secured != Secured::Tls && user.is_none(),
            login_disabled: self.login_disabled(peer),
            mechanisms,
            append_limit: self.settings.append_limit,
        };
        let mut tokens = capability::tokens(&circumstances);
        tokens.retain(|t| !self.settings.masked(t));
        tokens
    }

    /// A login, for the log.
    pub fn log_login(&self, account: &str, method: &'static str, peer: &Peer) {
        self.events.emit(Event::login(account, method, peer.remote, peer.local, peer.secured == Secured::Tls, &peer.session));
    }

    /// The capabilities of a state.
    pub fn capabilities_in(&self, state: &State, peer: &Peer) -> Vec<String> {
        self.capabilities(state.user(), peer)
    }
}
