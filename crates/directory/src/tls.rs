//! TLS to servers that accounts come from, and to the one that takes forwarded mail.

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The authorities of Debian and most other systems.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The file of authorities: the one of the setting, or the system's.
pub(crate) fn authorities(file: &Path) -> PathBuf {
    if file.as_os_str().is_empty() { PathBuf::from(SYSTEM) } else { file.to_owned() }
}

/// A client that trusts the authorities in this file; empty for those of the system.
///
/// # Errors
/// When the file cannot be read or has none.
pub fn client(file: &Path) -> Result<Arc<ClientConfig>, String> {
    let file = authorities(file);
    let failed = |why: &dyn ToString| format!("{}: {}", file.display(), why.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&file).map_err(|e| failed(&e))? {
        let (certificate, known) = (certificate.map_err(|e| failed(&e))?, roots.len());
        let added = roots.add(certificate);
        // Among the system's there may be some that rustls does not like.
        if known == 0 && Path::new(SYSTEM) != file {
            added.map_err(|e| failed(&e))?;
        }
    }
    if roots.is_empty() {
        return Err(failed(&"it has no certificate in it"));
    }
    trusting(roots)
}

/// A client that trusts nobody, for servers that are spoken to without TLS.
///
/// # Errors
/// Never.
pub(crate) fn nobody() -> Result<Arc<ClientConfig>, String> {
    trusting(RootCertStore::empty())
}

fn trusting(roots: RootCertStore) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|e| e.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config))
}
