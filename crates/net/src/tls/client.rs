//! Certificates of clients: asked for, never demanded, and believed when one of our authorities has signed them.

use super::TlsError;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::path::PathBuf;
use std::sync::Arc;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Where the name stands in a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientName {
    /// The first address of electronic mail among the subject's alternative names (RFC 5280 §4.2.1.6).
    #[default]
    Address,
    /// The common name of the subject.
    CommonName,
}

/// Whose clients' certificates are believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificates {
    /// The authorities' certificates, as PEM.
    pub authorities: PathBuf,
    /// Where the name stands.
    pub name: ClientName,
}

impl ClientCertificates {
    /// A client without one is let in as before; one with another's certificate fails its handshake.
    pub(super) fn verifier(
        &self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let content =
            |why: &dyn ToString| TlsError::Content { file: self.authorities.clone(), why: why.to_string() };
        #[allow(clippy::disallowed_methods, reason = "the server's own file")]
        let pem = std::fs::read(&self.authorities)
            .map_err(|why| TlsError::Read { file: self.authorities.clone(), why })?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            roots.add(certificate.map_err(|e| content(&e))?).map_err(|e| content(&e))?;
        }
        if roots.is_empty() {
            return Err(content(&"there is no certificate in it"));
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        verifier.allow_unauthenticated().build().map_err(|e| content(&e))
    }
}

impl ClientName {
    /// The name in a certificate that was verified; `None` when it has none there.
    pub(super) fn of(self, certificate: &CertificateDer<'_>) -> Option<String> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        match self {
            Self::Address => {
                let names = certificate.subject_alternative_name().ok()??;
                names.value.general_names.iter().find_map(|name| match name {
                    GeneralName::RFC822Name(address) => Some((*address).to_owned()),
                    _ => None,
                })
            }
            Self::CommonName => {
                let mut names = certificate.subject().iter_common_name();
                // Two names would be two people.
                let name = names.next()?.as_str().ok()?.to_owned();
                names.next().is_none().then_some(name)
            }
        }
    }
}
