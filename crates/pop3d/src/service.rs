//! What all POP3 sessions share.

use crate::delay::LastLogins;
use culver_auth::{Auth, Peer, Secured};
use culver_base::{Keyword, UidlFormat};
use culver_events::{Events, Origin, Transport};
use culver_keeper::Keeper;
use culver_net::{BoxFuture, Connection, Serve, Shutdown, TlsAcceptor};
use culver_pop3::capability::{Circumstances, Expire, Login};
use culver_pop3::content::Nuls;
use culver_pop3::language::Language;
use culver_store::{Sizes, Store};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What becomes of messages with the same unique identifier.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Duplicates {
    /// They keep it.
    #[default]
    Allow,
    /// The second gets `-2` behind it, and so on.
    Rename,
}

/// What QUIT does with messages that were deleted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum DeleteType {
    /// They are removed.
    #[default]
    Expunge,
    /// They get this keyword, and POP3 does not show them any more.
    Flag(Keyword),
}

/// Settings of the POP3 service, each with the reason for its default.
#[derive(Clone, Debug)]
pub struct Pop3Settings {
    /// A session without a command ends after this long. RFC 1939 §3: at least 10 minutes.
    pub idle_timeout: Duration,
    /// A connection that has not logged in ends after this long.
    pub login_timeout: Duration,
    /// Are passwords refused without TLS (except on loopback)?
    pub tls_required: bool,
    /// The server's name, in APOP's timestamp.
    pub hostname: String,
    /// Capabilities that are neither shown nor served, in capitals.
    pub masked: BTreeSet<String>,
    /// Failed logins after which a connection is closed.
    pub failed_logins: u32,
    /// Sessions of one account from one network.
    pub sessions: u32,
    /// What `LANG *` chooses.
    pub language: Language,
    /// Between two logins of one account.
    pub login_delay: Duration,
    /// How long messages stay, as EXPIRE tells.
    pub expire: Expire,
    /// What unique identifiers are made of.
    pub uidl_format: UidlFormat,
    /// What becomes of equal ones.
    pub duplicates: Duplicates,
    /// Are identifiers that clients were told stored with the message?
    pub save_uidl: bool,
    /// Does an X-UIDL field of the message count?
    pub reuse_xuidl: bool,
    /// Do messages stay unseen when they are retrieved?
    pub no_flag_updates: bool,
    /// What sizes may cost.
    pub sizes: Sizes,
    /// One session at a time?
    pub lock_session: bool,
    /// Is there LAST?
    pub enable_last: bool,
    /// Messages with this keyword are not shown.
    pub deleted_flag: Option<Keyword>,
    /// What QUIT does.
    pub delete_type: DeleteType,
    /// `outlook-no-nuls`
    pub nuls: Nuls,
    /// `oe-ns-eoh`: is an empty line sent behind a header that has none?
    pub end_of_header: bool,
}

impl Default for Pop3Settings {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(10 * 60),
            login_timeout: Duration::from_secs(60),
            tls_required: true,
            hostname: "localhost".to_owned(),
            masked: BTreeSet::new(),
            failed_logins: 10,
            sessions: 50,
            language: Language::English,
            login_delay: Duration::ZERO,
            expire: Expire::Never,
            uidl_format: UidlFormat::default(),
            duplicates: Duplicates::Allow,
            save_uidl: false,
            reuse_xuidl: false,
            no_flag_updates: false,
            sizes: Sizes::Exact,
            lock_session: false,
            enable_last: false,
            deleted_flag: None,
            delete_type: DeleteType::Expunge,
            nuls: Nuls::Kept,
            end_of_header: false,
        }
    }
}

/// The POP3 service.
pub struct Pop3Service {
    /// Who is who.
    pub auth: Arc<Auth>,
    /// Where the mail is.
    pub store: Arc<dyn Store>,
    /// Keeps accounts to their quota.
    pub keeper: Arc<Keeper>,
    /// For STLS; `None` when there is no certificate.
    pub tls: Option<TlsAcceptor>,
    /// What happened.
    pub events: Events,
    /// Settings.
    pub settings: Pop3Settings,
    /// When accounts logged in last; shared by services that follow each other at a reload.
    pub last_logins: LastLogins,
}

impl Pop3Service {
    /// Are passwords refused to this peer for want of TLS?
    pub fn needs_tls(&self, peer: &Peer) -> bool {
        self.settings.tls_required && peer.secured == Secured::No
    }

    /// APOP's timestamp (RFC 1939 §7), never the same twice; `None` where APOP would not serve every account, or may not
    /// be used: a client that sees one may ask for nothing else.
    pub fn timestamp(&self, peer: &Peer) -> Option<String> {
        if self.needs_tls(peer) || self.settings.masked.contains("APOP") || !self.auth.serves_apop() {
            return None;
        }
        let host = &self.settings.hostname;
        let host: String =
            host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')).collect();
        Some(format!("<{}@{}>", peer.session, if host.is_empty() { "localhost" } else { &host }))
    }

    /// Hands the circumstances of a session to `then`: for CAPA.
    pub fn with_circumstances<T>(
        &self,
        login: Login,
        peer: &Peer,
        then: impl FnOnce(&Circumstances<'_>) -> T,
    ) -> T {
        let mechanisms: Vec<&str> = self.auth.offered(peer).iter().map(|m| m.name()).collect();
        let masked: Vec<&str> = self.settings.masked.iter().map(String::as_str).collect();
        then(&Circumstances {
            login,
            stls: self.tls.is_some() && peer.secured != Secured::Tls,
            passwords: !self.needs_tls(peer),
            mechanisms: &mechanisms,
            // RFC 2449 §6.5: whole seconds.
            login_delay: self.settings.login_delay.as_secs(),
            expire: self.settings.expire,
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

impl Serve for Pop3Service {
    fn service(&self) -> &'static str {
        "pop3"
    }

    fn serve(self: Arc<Self>, connection: Connection, shutdown: Shutdown) -> BoxFuture<'static, ()> {
        Box::pin(crate::session::run(self, connection, shutdown))
    }
}
