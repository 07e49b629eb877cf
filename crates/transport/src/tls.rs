//! TLS on both sides: who we are, and whom we trust.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

pub use rustls_pki_types::CertificateDer;

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// A certificate, key or trust store that cannot be used. The operator must change it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// The text holds no certificate.
    #[error("no certificate found: expected PEM with `-----BEGIN CERTIFICATE-----`")]
    NoCertificate,
    /// The text holds no private key.
    #[error("no private key found: expected PEM with `-----BEGIN PRIVATE KEY-----`")]
    NoKey,
    /// The PEM text is damaged.
    #[error("{what} is not valid PEM: {reason}")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// What the reader says.
        reason: String,
    },
    /// The certificate and the key do not belong together, or cannot be used.
    #[error("certificate and private key cannot be used together: {0}")]
    Mismatch(String),
    /// A certificate to trust cannot be used.
    #[error("certificate {number} of the given authorities cannot be used: {reason}")]
    Authority {
        /// The place in the list, from 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The machine has no certificate authorities.
    #[error(
        "this machine has no certificate authorities ({0}): install them (Debian: `apt install ca-certificates`), set `SSL_CERT_FILE`, or give the server's own authority"
    )]
    NoSystemAuthorities(String),
}

/// Whom to believe when calling a server over TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// The certificate authorities of this machine.
    #[default]
    System,
    /// These authorities and no others.
    Certificates(Vec<CertificateDer<'static>>),
}

/// What a listener shows to its clients: a certificate chain and its private key.
#[derive(Clone)]
pub struct Identity {
    server: Arc<ServerConfig>,
}

impl Identity {
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// Reads one or more certificates from PEM text.
///
/// # Errors
/// The text is damaged or holds no certificate.
pub fn parse_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Damaged {
            what: "the certificate",
            reason: error.to_string(),
        })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    Ok(certificates)
}

/// Reads a certificate chain (leaf first) and its private key from PEM texts, and sees that they belong together.
///
/// # Errors
/// Either text is damaged or empty, or the two do not belong together.
pub fn identity(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Identity, TlsError> {
    let chain = parse_certificates(certificate_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| match error {
        rustls_pki_types::pem::Error::NoItemsFound => TlsError::NoKey,
        // The reader's text speaks of markers, never of the key's content.
        other => TlsError::Damaged {
            what: "the private key",
            reason: other.to_string(),
        },
    })?;
    let mut server = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::Mismatch(error.to_string()))?;
    server.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Ok(Identity {
        server: Arc::new(server),
    })
}

/// True when the two sides have agreed on HTTP/2.
pub(crate) fn is_http2(agreed: Option<&[u8]>) -> bool {
    agreed == Some(HTTP2)
}

/// What a caller needs to speak TLS to servers it trusts this way.
pub(crate) fn client(trust: &Trust) -> Result<Arc<ClientConfig>, TlsError> {
    static SYSTEM: OnceLock<Result<Arc<ClientConfig>, TlsError>> = OnceLock::new();
    match trust {
        // One for all, so that sessions are resumed and the store is read once.
        Trust::System => SYSTEM
            .get_or_init(|| Ok(client_trusting(system_authorities()?)))
            .clone(),
        Trust::Certificates(certificates) => {
            let mut authorities = RootCertStore::empty();
            for (at, certificate) in certificates.iter().enumerate() {
                authorities
                    .add(certificate.clone())
                    .map_err(|error| TlsError::Authority {
                        number: at + 1,
                        reason: error.to_string(),
                    })?;
            }
            if authorities.is_empty() {
                return Err(TlsError::NoCertificate);
            }
            Ok(client_trusting(authorities))
        }
    }
}

fn client_trusting(authorities: RootCertStore) -> Arc<ClientConfig> {
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(authorities)
        .with_no_client_auth();
    client.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    Arc::new(client)
}

fn system_authorities() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut authorities = RootCertStore::empty();
    // A machine's store may hold a few oddities; they are no reason to trust none.
    let (_added, _ignored) = authorities.add_parsable_certificates(found.certs);
    if authorities.is_empty() {
        let reasons: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(TlsError::NoSystemAuthorities(if reasons.is_empty() {
            "none found".to_owned()
        } else {
            reasons.join("; ")
        }));
    }
    Ok(authorities)
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_damaged_texts_are_told_apart() {
        assert!(matches!(
            parse_certificates(b""),
            Err(TlsError::NoCertificate)
        ));
        let damaged = b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            parse_certificates(damaged),
            Err(TlsError::Damaged { .. })
        ));
        assert!(matches!(
            client(&Trust::Certificates(vec![])),
            Err(TlsError::NoCertificate)
        ));
    }
}
