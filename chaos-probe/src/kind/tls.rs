use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use chaos_spec::Tls;
use rustix::fs::{Mode, OFlags};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use crate::prober::ProbeError;

/// A client without a certificate of its own.
pub(super) fn connector(tls: &Tls) -> Result<TlsConnector, ProbeError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ProbeError::Request(format!("https ({error})")))?;
    let mut config = if tls.insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
            .with_no_client_auth()
    } else {
        builder.with_root_certificates(roots(tls)?).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(tls: &Tls) -> Result<RootCertStore, ProbeError> {
    let mut roots = RootCertStore::empty();
    let (file, found) = match &tls.ca_file {
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            ("the system's certificates".to_owned(), Ok(()))
        }
        Some(file) => {
            let mut read = || -> Result<(), String> {
                let text = small_file(file).map_err(|error| error.to_string())?;
                for certificate in CertificateDer::pem_slice_iter(&text) {
                    let certificate = certificate.map_err(|error| error.to_string())?;
                    roots.add(certificate).map_err(|error| error.to_string())?;
                }
                Ok(())
            };
            (file.clone(), read())
        }
    };
    let unusable = |why: String| ProbeError::Authorities {
        file: file.clone(),
        why,
    };
    found.map_err(unusable)?;
    if roots.is_empty() {
        return Err(unusable("there are none".to_owned()));
    }
    Ok(roots)
}

/// A file that somebody else has named: never waits for a writer, never reads without end.
fn small_file(path: &str) -> std::io::Result<Vec<u8>> {
    const MOST: u64 = 4 << 20;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let found = file.metadata()?;
    if !found.is_file() || found.len() > MOST {
        return Err(std::io::Error::other("it is no regular file of at most 4 MiB"));
    }
    let mut text = Vec::new();
    file.take(MOST).read_to_end(&mut text)?;
    Ok(text)
}

pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, ProbeError> {
    ServerName::try_from(host.to_owned()).map_err(|_| ProbeError::Request(format!("https://{host}")))
}

/// For `insecure: true`: whoever answers is believed to be who was meant. Signatures are checked all the same.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::fs::{CWD, FileType, mknodat};

    use super::*;

    /// Read on a thread of its own, for what this is about is a read that never ends.
    fn refusal(path: &Path) -> String {
        let path = path.to_str().unwrap().to_owned();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(small_file(&path)));
        let read = told.recv_timeout(std::time::Duration::from_secs(10));
        read.expect("it comes to an end").unwrap_err().to_string()
    }

    #[test]
    fn a_file_of_authorities_is_a_small_regular_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let text = path.to_str().unwrap();
        std::fs::write(&path, "a certificate").unwrap();
        assert_eq!(small_file(text).unwrap(), b"a certificate");
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(5 << 20)
            .unwrap();
        assert!(refusal(&path).contains("at most 4 MiB"));
        let fifo = dir.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for path in [fifo.as_path(), Path::new("/dev/zero"), dir.path()] {
            assert!(refusal(path).contains("no regular file"), "{}", path.display());
        }
        assert!(refusal(&dir.path().join("nothing")).contains("No such file"));
    }

    #[test]
    fn a_fifo_as_ca_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let tls = Tls {
            ca_file: Some(fifo.to_str().unwrap().to_owned()),
            ..Tls::default()
        };
        let error = connector(&tls).map(drop).unwrap_err().to_string();
        assert!(
            error.contains("fifo") && error.contains("no regular file"),
            "{error}"
        );
    }
}
