//! TLS 1.2 and 1.3 by rustls and aws-lc-rs: certificates by name, replaced while running, sessions resumed.
//!
//! Promises that a certificate that cannot be read never takes a working one away, and that a new certificate counts
//! from the next handshake on, without a restart. Sessions of before go on.

mod certificates;
mod client;
mod self_signed;

pub use certificates::Certificates;
pub use client::{ClientCertificates, ClientName};
pub use self_signed::{SelfSigned, self_signed};

use crate::socket::Socket;
use crate::tasks::Shutdown;
use arc_swap::ArcSwap;
use culver_events::{Event, Events};
use rustls::server::ServerConfig;
use rustls_pki_types::CertificateDer;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::server::TlsStream;

/// Where a certificate and its key lie, as PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateFiles {
    /// The certificate, followed by those between it and the authority's.
    pub certificate: PathBuf,
    /// Its private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// The oldest version that is spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Oldest {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {file}: {why}. The server's user must be able to read it", file = file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The file holds something else.
    #[error("{file}: {why}", file = file.display())]
    Content {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// There is none.
    #[error("no certificate is configured")]
    None,
    /// rustls refuses.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Does TLS handshakes. Cloning is cheap, and all clones see a new certificate.
#[derive(Clone)]
pub struct TlsAcceptor {
    acceptor: tokio_rustls::TlsAcceptor,
    shared: Arc<Shared>,
}

struct Shared {
    current: Arc<ArcSwap<Certificates>>,
    client_name: ClientName,
}

impl TlsAcceptor {
    /// With these certificates; the first is for clients that name no server or an unknown one.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn new(files: &[CertificateFiles], oldest: Oldest) -> Result<Self, TlsError> {
        Self::asking(files, oldest, None)
    }

    /// The same, asking clients for certificates too.
    ///
    /// # Errors
    /// When a certificate, or the authorities' file, cannot be used.
    pub fn asking(
        files: &[CertificateFiles],
        oldest: Oldest,
        clients: Option<&ClientCertificates>,
    ) -> Result<Self, TlsError> {
        let current = Arc::new(ArcSwap::from_pointee(Certificates::load(files)?));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions: &[&rustls::SupportedProtocolVersion] = match oldest {
            Oldest::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            Oldest::Tls13 => &[&rustls::version::TLS13],
        };
        let verifier = clients.map(|clients| clients.verifier(&provider)).transpose()?;
        let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
        let mut config = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        }
        .with_cert_resolver(Arc::new(certificates::BySni(current.clone())));
        // Resumption without memory on our side. The ticketer's keys change by themselves every six hours, and those of the
        // last period still count. One ticket a session is enough for a client that comes back.
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 1;
        Ok(Self {
            acceptor: Arc::new(config).into(),
            shared: Arc::new(Shared { current, client_name: clients.map(|c| c.name).unwrap_or_default() }),
        })
    }

    /// Reads the certificates anew from these files. When one cannot be used, all the old ones stay.
    ///
    /// # Errors
    /// As [`TlsAcceptor::new`].
    pub fn reload(&self, files: &[CertificateFiles]) -> Result<(), TlsError> {
        self.shared.current.store(Arc::new(Certificates::load(files)?));
        Ok(())
    }

    /// The certificates in use.
    pub fn certificates(&self) -> Arc<Certificates> {
        self.shared.current.load_full()
    }

    /// Reads the certificates anew whenever their files change, until the server stops. Looks every `interval`; what a
    /// failed attempt found wrong is told once for each change.
    pub async fn watch(self, interval: Duration, events: Events, shutdown: Shutdown) {
        let mut failed = None;
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = shutdown.wait() => return,
            }
            let current = self.certificates();
            let files = current.files();
            let stamp = certificates::stamp(&files);
            if stamp == current.stamp() || failed.as_ref() == Some(&stamp) {
                continue;
            }
            match self.reload(&files) {
                Ok(()) => {
                    failed = None;
                    events.emit(Event::CertificatesLoaded { names: self.certificates().names() });
                }
                Err(e) => {
                    // Certificate and key are often written one after the other: the next look finds both.
                    failed = Some(stamp);
                    let file = files.iter().map(|f| f.certificate.display().to_string()).collect::<Vec<_>>();
                    events.emit(Event::CertificateProblem { file: file.join(", "), why: e.to_string() });
                }
            }
        }
    }

    pub(crate) async fn handshake(&self, socket: Socket) -> io::Result<TlsStream<Socket>> {
        self.acceptor.accept(socket).await
    }

    /// The name in a client's certificate, which has been verified.
    pub(crate) fn client_name(&self, certificate: &CertificateDer<'_>) -> Option<String> {
        self.shared.client_name.of(certificate)
    }

    /// `tls-server-end-point` of the certificate that a client of this server name gets.
    pub(crate) fn end_point(&self, server_name: Option<&str>) -> Option<Vec<u8>> {
        self.shared.current.load().end_point(server_name)
    }
}
