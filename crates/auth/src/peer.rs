//! Who is at the other end, and what is known of the way there.

use culver_events::{Origin, Transport};
use std::net::SocketAddr;
use std::time::Duration;

/// What hides the bytes of a connection from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Secured {
    /// Nothing.
    No,
    /// TLS.
    Tls,
    /// They do not leave the machine.
    Loopback,
}

/// Who is at the other end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// The client.
    pub remote: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// How the connection is protected.
    pub secured: Secured,
    /// The protocol, as logs name it: `imap`.
    pub service: &'static str,
    /// The session's id in logs.
    pub session: String,
    /// The name in the client's TLS certificate, when it has shown one that an authority we trust has signed.
    pub certificate: Option<String>,
}

impl Peer {
    pub(crate) fn origin(&self) -> Origin {
        Origin {
            service: self.service,
            remote: self.remote,
            local: self.local,
            transport: match self.secured {
                Secured::No => Transport::Plain,
                Secured::Tls => Transport::Tls,
                Secured::Loopback => Transport::Loopback,
            },
            session: self.session.clone(),
        }
    }
}

/// What names a TLS channel (RFC 5056).
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ChannelBinding {
    /// `tls-exporter` (RFC 9266); only TLS 1.3 has it.
    pub exporter: Option<Vec<u8>>,
    /// `tls-server-end-point` (RFC 5929 §4).
    pub end_point: Option<Vec<u8>>,
}

/// How a failure waits, for exchanges that cannot do as all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delay {
    /// The answer comes after this long, however long it should wait: for protocols whose clients give up.
    pub at_most: Duration,
    /// Do failures count against the client's network, and do the network's earlier ones count here? `false` where many
    /// people share one address (webmail), or where there is none.
    pub counted: bool,
}

impl Default for Delay {
    fn default() -> Self {
        Self { at_most: Duration::MAX, counted: true }
    }
}
