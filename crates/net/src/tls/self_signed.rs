//! A certificate that nobody vouches for, for the demo and for the first minutes of a new server.

use super::TlsError;
use rcgen::{CertificateParams, DnType, KeyPair};

/// Both as PEM.
pub struct SelfSigned {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// Makes a certificate (ECDSA P-256) for these host names and addresses.
///
/// # Errors
/// When a name can be no name in a certificate.
pub fn self_signed(names: &[&str]) -> Result<SelfSigned, TlsError> {
    let failed = |e: rcgen::Error| TlsError::Rustls(rustls::Error::General(e.to_string()));
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, names.first().cloned().unwrap_or_default());
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(SelfSigned { certificate: certificate.pem(), key: key.serialize_pem() })
}
