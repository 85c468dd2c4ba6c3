//! Certificates from files, chosen by the name that a client asks for.

use super::{CertificateFiles, TlsError};
use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// A set of certificates, never changed once loaded.
#[derive(Debug)]
pub struct Certificates {
    all: Vec<One>,
    /// Names in lower case; `*.example.org` under just that.
    by_name: HashMap<String, usize>,
    stamp: Stamp,
}

#[derive(Debug)]
struct One {
    files: CertificateFiles,
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    end_point: Option<Vec<u8>>,
    not_after: i64,
}

/// When and how large the files are: differs when they were replaced.
pub(super) type Stamp = Vec<Option<(SystemTime, u64)>>;

impl Certificates {
    /// Reads them.
    ///
    /// # Errors
    /// On the first that cannot be used: all or none.
    pub fn load(files: &[CertificateFiles]) -> Result<Self, TlsError> {
        // Taken before reading: a change in between is seen as one.
        let stamp = stamp(files);
        let all = files.iter().map(load).collect::<Result<Vec<One>, TlsError>>()?;
        if all.is_empty() {
            return Err(TlsError::None);
        }
        let mut by_name = HashMap::new();
        for (index, one) in all.iter().enumerate() {
            for name in &one.names {
                by_name.entry(name.clone()).or_insert(index);
            }
        }
        Ok(Self { all, by_name, stamp })
    }

    /// All names that they are for.
    pub fn names(&self) -> Vec<String> {
        self.all.iter().flat_map(|one| one.names.iter().cloned()).collect()
    }

    /// When the first of them ends, in seconds since 1970.
    pub fn not_after(&self) -> i64 {
        self.all.iter().map(|one| one.not_after).min().unwrap_or_default()
    }

    pub(super) fn files(&self) -> Vec<CertificateFiles> {
        self.all.iter().map(|one| one.files.clone()).collect()
    }

    pub(super) fn stamp(&self) -> Stamp {
        self.stamp.clone()
    }

    pub(super) fn end_point(&self, name: Option<&str>) -> Option<Vec<u8>> {
        self.choose(name).end_point.clone()
    }

    /// The certificate of the very name, or of its wildcard (RFC 9525 §6.3: for one label), or the first.
    fn choose(&self, name: Option<&str>) -> &One {
        let index = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            self.by_name.get(&name).or_else(|| {
                let (_, domain) = name.split_once('.')?;
                self.by_name.get(&format!("*.{domain}"))
            })
        });
        &self.all[index.copied().unwrap_or(0)]
    }
}

#[allow(clippy::disallowed_methods, reason = "certificates are the server's own files")]
pub(super) fn stamp(files: &[CertificateFiles]) -> Stamp {
    let both = files.iter().flat_map(|f| [&f.certificate, &f.key]);
    both.map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    })
    .collect()
}

#[allow(clippy::disallowed_methods, reason = "certificates are the server's own files")]
fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|why| TlsError::Read { file: path.to_owned(), why })
}

fn load(files: &CertificateFiles) -> Result<One, TlsError> {
    let bad = |path: &Path, why: String| TlsError::Content { file: path.to_owned(), why };
    let chain = CertificateDer::pem_slice_iter(&read(&files.certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| bad(&files.certificate, format!("is not valid PEM: {e}")))?;
    let Some(leaf) = chain.first() else {
        return Err(bad(&files.certificate, "holds no certificate (-----BEGIN CERTIFICATE-----)".to_owned()));
    };
    let Facts { names, end_point, not_after } = facts(leaf).map_err(|why| bad(&files.certificate, why))?;
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?)
        .map_err(|e| bad(&files.key, format!("holds no private key that can be read: {e}")))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = CertifiedKey::from_der(chain, key, &provider).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => {
            bad(&files.key, format!("is not the key of {}", files.certificate.display()))
        }
        e => bad(&files.key, e.to_string()),
    })?;
    Ok(One { files: files.clone(), key: Arc::new(key), names, end_point, not_after })
}

/// What of a certificate is of use here.
struct Facts {
    names: Vec<String>,
    end_point: Option<Vec<u8>>,
    not_after: i64,
}

fn facts(leaf: &CertificateDer<'_>) -> Result<Facts, String> {
    let (_, parsed) = X509Certificate::from_der(leaf).map_err(|e| format!("is no X.509 certificate: {e}"))?;
    let mut names: Vec<String> = Vec::new();
    if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
        for name in &alternatives.value.general_names {
            if let GeneralName::DNSName(name) = name {
                names.push(name.to_ascii_lowercase());
            }
        }
    }
    if names.is_empty() {
        // Old certificates have only a common name.
        let common = parsed.subject().iter_common_name().filter_map(|c| c.as_str().ok());
        names.extend(common.map(str::to_ascii_lowercase));
    }
    // RFC 5929 §4.1: the hash of the certificate's signature; SHA-256 in place of MD5 and SHA-1. Of signatures without a
    // single hash (EdDSA, PSS) it says nothing.
    let end_point = match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Some(Sha256::digest(leaf).to_vec()),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(Sha384::digest(leaf).to_vec()),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(Sha512::digest(leaf).to_vec()),
        _ => None,
    };
    Ok(Facts { names, end_point, not_after: parsed.validity().not_after.timestamp() })
}

/// Chooses at the time of the handshake.
#[derive(Debug)]
pub(super) struct BySni(pub(super) Arc<ArcSwap<Certificates>>);

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().choose(hello.server_name()).key.clone())
    }
}
