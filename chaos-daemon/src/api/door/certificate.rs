//! Who a client certificate says its owner is, and a check that remembers whom it turned away.

use std::sync::{Arc, Mutex, PoisonError};

use chaos_spec::audit::hash_of;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The names in a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) common: String,
    pub(super) alternatives: Vec<String>,
    /// SHA-256 of the whole certificate, in hex.
    pub(super) fingerprint: String,
}

impl Names {
    /// Of a certificate that may be anything: what cannot be read is left empty.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Self {
        let fingerprint = hash_of(certificate);
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return Self {
                fingerprint,
                ..Self::default()
            };
        };
        let common = parsed
            .subject()
            .iter_common_name()
            .find_map(|name| name.as_str().ok())
            .unwrap_or_default()
            .to_owned();
        let extension = parsed.subject_alternative_name().ok().flatten();
        let alternatives = extension
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| match name {
                GeneralName::URI(name) | GeneralName::RFC822Name(name) | GeneralName::DNSName(name) => {
                    Some((*name).to_owned())
                }
                _ => None,
            })
            .collect();
        Self {
            common,
            alternatives,
            fingerprint,
        }
    }
}

/// Checks as another does, and keeps the names of the last certificate it saw: one connection, one of these.
#[derive(Debug)]
pub(super) struct Witness {
    inner: Arc<dyn ClientCertVerifier>,
    seen: Mutex<Option<Names>>,
}

impl Witness {
    pub(super) fn new(inner: Arc<dyn ClientCertVerifier>) -> Self {
        Self {
            inner,
            seen: Mutex::default(),
        }
    }

    /// Whose certificate was shown, whether it was good or not.
    pub(super) fn seen(&self) -> Option<Names> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientCertVerifier for Witness {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Names::of(certificate));
        self.inner.verify_client_cert(certificate, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
