//! The enum of what happened.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How important a line is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Only for people who look for a bug.
    Debug,
    /// What happens every day.
    Info,
    /// Somebody should look when there is time.
    Warning,
    /// Something was not done.
    Error,
}

impl Level {
    /// Its name in small letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What hides a connection's bytes from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Nothing.
    Plain,
    /// Nothing, but they never leave the machine.
    Loopback,
    /// TLS.
    Tls,
}

/// Where something came from: one connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The protocol: `imap`, `pop3`, ...
    pub service: &'static str,
    /// The client.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// How it came.
    pub transport: Transport,
    /// The session's id, the same in every line about it.
    pub session: String,
}

/// A login that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// The name as the client gave it. Any bytes that were UTF-8; renderings clean it.
    pub user: String,
    /// The mechanism, such as `PLAIN`.
    pub method: String,
    /// Why, for the log only; clients are told less.
    pub reason: String,
    /// How many logins have failed on this connection, this one included.
    pub attempts: u32,
    /// Since the connection began.
    pub elapsed: Duration,
}

/// What a POP3 session has done.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MaildropCounts {
    /// TOP commands.
    pub top: u64,
    /// Octets sent for them.
    pub top_octets: u64,
    /// RETR commands.
    pub retr: u64,
    /// Octets sent for them.
    pub retr_octets: u64,
    /// Messages deleted at QUIT.
    pub deleted: usize,
    /// Messages in the maildrop at login.
    pub messages: usize,
    /// Their octets.
    pub octets: u64,
}

/// A message on its way to one recipient.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// How it came: `lmtp`, `lda`, or `notice` for the server's own.
    pub service: &'static str,
    /// The session's id.
    pub session: String,
    /// The canonical name of the account, or the address that forwards.
    pub account: String,
    /// Its Message-ID, if it has one.
    pub message_id: Option<String>,
    /// The sender of the envelope; empty for `<>`.
    pub sender: String,
    /// Octets.
    pub size: u64,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The server runs.
    Started {
        /// Its version.
        version: String,
        /// What it listens on, such as `imap 0.0.0.0:143`.
        listeners: Vec<String>,
    },
    /// The server was asked to stop and says goodbye to its sessions.
    Stopping {
        /// Sessions that are open.
        sessions: usize,
    },
    /// The server has stopped.
    Stopped {
        /// Sessions that did not end in time and were cut.
        cut: usize,
    },
    /// The settings were read again.
    Reloaded {
        /// Settings that changed but only count after a restart.
        need_restart: Vec<String>,
    },
    /// They could not be read; the old ones stay.
    ReloadFailed {
        /// What is wrong, and what to do.
        why: String,
    },
    /// Certificates were read (again).
    CertificatesLoaded {
        /// The names they are for.
        names: Vec<String>,
    },
    /// A certificate could not be read; the old one stays in use.
    CertificateProblem {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// A service listens no more, or cannot accept for now.
    AcceptFailed {
        /// The listener.
        listener: String,
        /// The error, and what to do.
        why: String,
    },
    /// A TLS handshake failed: often a client that speaks TLS 1.1, or a scanner.
    HandshakeFailed {
        /// Who.
        from: Origin,
        /// Why.
        why: String,
    },
    /// Somebody logged in.
    Login {
        /// The canonical name.
        account: String,
        /// The mechanism.
        method: String,
        /// From where.
        from: Origin,
    },
    /// Somebody who may, such as a master user, is about to log in as somebody else.
    LoginAs {
        /// Whose mail it is.
        account: String,
        /// Who has proven who they are.
        by: String,
        /// From where.
        from: Origin,
    },
    /// An account has nearly as many sessions from one network as it may have.
    SessionsNearLimit {
        /// The canonical name.
        account: String,
        /// How many are open.
        open: u32,
        /// How many may be.
        limit: u32,
        /// From where the last one came.
        from: Origin,
    },
    /// Somebody guessed too much and is not looked at for a while.
    Blocked {
        /// The network, as its first address.
        network: IpAddr,
        /// The account that is blocked from there, as its name was given; `None` for all.
        account: Option<String>,
        /// After so many different guesses.
        guesses: u32,
        /// For how long.
        seconds: u64,
        /// Where the last guess came from.
        from: Origin,
    },
    /// A login failed.
    LoginFailed {
        /// What was tried.
        attempt: Attempt,
        /// From where.
        from: Origin,
    },
    /// An account's password is stored by a scheme that is weak by today's measure.
    WeakPassword {
        /// The canonical name.
        account: String,
        /// The scheme, such as `CRYPT`.
        scheme: String,
    },
    /// A password that was stored by a weak scheme has been stored anew, when its owner logged in with it.
    PasswordRehashed {
        /// The canonical name.
        account: String,
        /// The scheme that it had.
        scheme: String,
    },
    /// A session ended.
    SessionEnded {
        /// Who; `None` when nobody had logged in.
        account: Option<String>,
        /// Why, such as `Logged out`.
        why: String,
        /// Octets from the client.
        received: u64,
        /// Octets to the client.
        sent: u64,
        /// From where.
        from: Origin,
    },
    /// A POP3 session ended that had logged in.
    MaildropClosed {
        /// Who.
        account: String,
        /// Why, such as `Logged out`.
        why: String,
        /// What was done.
        counts: MaildropCounts,
        /// From where.
        from: Origin,
    },
    /// A message was stored.
    Delivered {
        /// Which, and whose.
        delivery: Delivery,
        /// In which mailbox.
        mailbox: String,
    },
    /// A message was handed to the MTA for somebody else.
    Forwarded {
        /// Which, and who forwards it.
        delivery: Delivery,
        /// To whom.
        to: String,
    },
    /// A message was not taken.
    DeliveryFailed {
        /// Which, and for whom.
        delivery: Delivery,
        /// What the peer was told.
        why: String,
    },
    /// Something that the server derives (index, cache, uidlist) was wrong and has been made anew.
    Repaired {
        /// Whose.
        account: String,
        /// In which mailbox; empty for the account as a whole.
        mailbox: String,
        /// The file.
        file: String,
        /// What was wrong with it.
        why: String,
    },
    /// Something could not be done: our fault or the disk's.
    Fault {
        /// For whom; empty when for nobody in particular.
        account: String,
        /// What was being done, and the cause, and what an administrator may do.
        what: String,
        /// The session's id; empty when there is none.
        session: String,
    },
    /// An account took a step of its quota's life cycle.
    Quota {
        /// Whose.
        account: String,
        /// The step: `warned`, `over`, `over-again`, `border`, `below`, `eased`, `disabled`, `enabled`.
        step: String,
        /// How full it is, in percent.
        percent: u64,
        /// Octets that it keeps.
        storage: u64,
        /// Messages.
        messages: u64,
        /// When something will come of it, in seconds of Unix time: for `over`, when receiving is disabled.
        until: Option<i64>,
    },
    /// A count of all files found another sum than was kept; it is put right.
    QuotaDrift {
        /// Whose.
        account: String,
        /// Octets and messages that were known.
        known: (u64, u64),
        /// Octets and messages that are there.
        counted: (u64, u64),
    },
    /// A task of the server panicked. Its session has ended; all others go on.
    TaskPanicked {
        /// The task's name.
        task: String,
        /// The panic's message.
        message: String,
    },
    /// A line that is no event of its own: from `tracing`, or about the server's start.
    Message {
        /// How important.
        level: Level,
        /// Which part of the house says it.
        target: String,
        /// The text.
        text: String,
    },
}

impl Event {
    /// A login over IMAP.
    pub fn login(account: impl Into<String>, method: impl Into<String>, from: Origin) -> Self {
        Self::Login { account: account.into(), method: method.into(), from }
    }

    /// The end of a session.
    pub fn session_ended(
        account: Option<String>,
        why: impl Into<String>,
        received: u64,
        sent: u64,
        from: Origin,
    ) -> Self {
        Self::SessionEnded { account, why: why.into(), received, sent, from }
    }

    /// A plain line.
    pub fn message(level: Level, target: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Message { level, target: target.into(), text: text.into() }
    }

    /// How important it is.
    pub fn level(&self) -> Level {
        match self {
            Self::Started { .. }
            | Self::Stopping { .. }
            | Self::Stopped { cut: 0 }
            | Self::Reloaded { .. }
            | Self::CertificatesLoaded { .. }
            | Self::Login { .. }
            | Self::LoginAs { .. }
            | Self::PasswordRehashed { .. }
            | Self::LoginFailed { .. }
            | Self::SessionEnded { .. }
            | Self::MaildropClosed { .. }
            | Self::Quota { .. }
            | Self::Delivered { .. }
            | Self::Forwarded { .. }
            | Self::DeliveryFailed { .. } => Level::Info,
            Self::SessionsNearLimit { .. } | Self::Blocked { .. } => Level::Warning,
            Self::HandshakeFailed { .. } => Level::Info,
            Self::Stopped { .. }
            | Self::WeakPassword { .. }
            | Self::Repaired { .. }
            | Self::QuotaDrift { .. } => Level::Warning,
            Self::ReloadFailed { .. }
            | Self::CertificateProblem { .. }
            | Self::AcceptFailed { .. }
            | Self::Fault { .. }
            | Self::TaskPanicked { .. } => Level::Error,
            Self::Message { level, .. } => *level,
        }
    }

    /// Its name in machine-readable renderings.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Stopping { .. } => "stopping",
            Self::Stopped { .. } => "stopped",
            Self::Reloaded { .. } => "reloaded",
            Self::ReloadFailed { .. } => "reload-failed",
            Self::CertificatesLoaded { .. } => "certificates-loaded",
            Self::CertificateProblem { .. } => "certificate-problem",
            Self::AcceptFailed { .. } => "accept-failed",
            Self::HandshakeFailed { .. } => "handshake-failed",
            Self::Login { .. } => "login",
            Self::LoginAs { .. } => "login-as",
            Self::SessionsNearLimit { .. } => "sessions-near-limit",
            Self::Blocked { .. } => "blocked",
            Self::LoginFailed { .. } => "login-failed",
            Self::WeakPassword { .. } => "weak-password",
            Self::PasswordRehashed { .. } => "password-rehashed",
            Self::SessionEnded { .. } => "session-ended",
            Self::MaildropClosed { .. } => "maildrop-closed",
            Self::Delivered { .. } => "delivered",
            Self::Forwarded { .. } => "forwarded",
            Self::DeliveryFailed { .. } => "delivery-failed",
            Self::Repaired { .. } => "repaired",
            Self::Quota { .. } => "quota",
            Self::QuotaDrift { .. } => "quota-drift",
            Self::Fault { .. } => "fault",
            Self::TaskPanicked { .. } => "task-panicked",
            Self::Message { .. } => "message",
        }
    }

    /// The connection it is about.
    pub fn origin(&self) -> Option<&Origin> {
        match self {
            Self::HandshakeFailed { from, .. }
            | Self::Login { from, .. }
            | Self::LoginAs { from, .. }
            | Self::SessionsNearLimit { from, .. }
            | Self::Blocked { from, .. }
            | Self::LoginFailed { from, .. }
            | Self::SessionEnded { from, .. }
            | Self::MaildropClosed { from, .. } => Some(from),
            _ => None,
        }
    }
}
