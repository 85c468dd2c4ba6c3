//! Connections, plain and by TLS, that never wait for ever.

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a client waits for bytes unless told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A connection.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// Whose certificates are good.
#[derive(Clone)]
pub enum Trust {
    /// Anybody's: it is known by other means who answers, or does not matter.
    Anybody,
    /// Those that lead to one of these.
    Roots(Arc<rustls::RootCertStore>),
}

impl Trust {
    /// The authorities in a PEM file.
    ///
    /// # Errors
    /// When it cannot be read, or has none.
    pub fn in_file(path: &Path) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        let all = CertificateDer::pem_file_iter(path).with_context(|| path.display().to_string())?;
        for certificate in all {
            // One that is odd does not spoil the others.
            let _ = roots.add(certificate.with_context(|| path.display().to_string())?);
        }
        anyhow::ensure!(!roots.is_empty(), "{}: there is no certificate in it", path.display());
        Ok(Self::Roots(Arc::new(roots)))
    }
}

/// Connects.
pub fn connect(addr: SocketAddr) -> Result<TcpStream> {
    let socket =
        TcpStream::connect_timeout(&addr, PATIENCE).with_context(|| format!("connecting to {addr}"))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Goes on by TLS, with the server of this name.
pub fn by_tls(socket: TcpStream, host: &str, trust: &Trust) -> Result<Box<dyn Stream>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let config = match trust {
        Trust::Anybody => {
            config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        }
        Trust::Roots(roots) => config.with_root_certificates(roots.clone()),
    };
    let name = ServerName::try_from(host.to_owned())?;
    let connection = rustls::ClientConnection::new(Arc::new(config.with_no_client_auth()), name)?;
    let mut stream = rustls::StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).context("TLS handshake")?;
    }
    Ok(Box::new(stream))
}

/// Takes every certificate.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
