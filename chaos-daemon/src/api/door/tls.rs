//! TCP with TLS 1.3 on both sides: whoever has no certificate of our CA does not get to say a word.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chaos_spec::audit::{Entry, Kind, Who};
use chaos_spec::diagnostic::cut;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{Acceptor, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::certificate::{Names, Witness};
use super::{Door, Guest};
use crate::observe::Audit;
use crate::safety::{Caller, CertificatePeer};

/// How long a client may take over its handshake.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a refused client may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the daemon shows of itself, and whom it trusts. All PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: {why} – `chaosctl pki init` and `chaosctl pki issue` make what is needed")]
    File { path: PathBuf, why: String },
    #[error(
        "the certificate and the key do not work together: {0} – name the key that belongs to the certificate"
    )]
    Settings(rustls::Error),
    #[error("cannot listen on {address}: {source} – is the port taken?")]
    Listen { address: SocketAddr, source: io::Error },
}

/// A listening port, behind mTLS.
#[derive(Debug)]
pub struct TlsDoor {
    listener: TcpListener,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: Arc<dyn ClientCertVerifier>,
    audit: Audit,
}

impl TlsDoor {
    /// # Errors
    /// A file is not what it has to be, or the port cannot be had.
    pub async fn open(address: SocketAddr, files: &TlsFiles, audit: Audit) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| wrong(&files.key, error))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.client_ca)? {
            roots
                .add(certificate)
                .map_err(|error| wrong(&files.client_ca, error))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| wrong(&files.client_ca, error))?;
        let failed = |source| TlsError::Listen { address, source };
        let door = Self {
            listener: TcpListener::bind(address).await.map_err(failed)?,
            chain,
            key,
            clients,
            audit,
        };
        // Said at the start rather than to the first client.
        door.settings(Arc::clone(&door.clients))
            .map_err(TlsError::Settings)?;
        Ok(door)
    }

    fn settings(&self, clients: Arc<dyn ClientCertVerifier>) -> Result<ServerConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut settings = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(clients)
            .with_single_cert(self.chain.clone(), self.key.clone_key())?;
        // A resumed session would bring back a certificate without another look at its dates.
        settings.send_tls13_tickets = 0;
        settings.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(settings)
    }

    async fn shake_hands(
        &self,
        stream: TcpStream,
        witness: &Arc<Witness>,
    ) -> io::Result<TlsStream<TcpStream>> {
        let settings = self
            .settings(Arc::clone(witness) as _)
            .map_err(io::Error::other)?;
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let shaken = start.into_stream(Arc::new(settings)).into_fallible().await;
        match shaken {
            Ok(stream) => Ok(stream),
            Err((error, stream)) => {
                let_read(stream).await;
                Err(error)
            }
        }
    }

    fn turn_away(&self, address: SocketAddr, seen: Option<Names>, why: &str) {
        tracing::info!(%address, why, "a connection was turned away");
        let (name, fingerprint) = match seen {
            Some(names) => (Some(names.common), Some(names.fingerprint)),
            None => (None, None),
        };
        self.audit.note(Entry {
            kind: Kind::Refused,
            who: Some(Who {
                by: if fingerprint.is_some() {
                    "certificate"
                } else {
                    "nobody"
                }
                .to_owned(),
                name,
                fingerprint,
                address: Some(address.to_string()),
                ..Who::default()
            }),
            rule: Some("mtls".to_owned()),
            message: why.to_owned(),
            ..Entry::default()
        });
    }
}

impl Door for TlsDoor {
    type Raw = (TcpStream, SocketAddr);
    type Stream = TlsStream<TcpStream>;

    async fn accept(&self) -> io::Result<Self::Raw> {
        self.listener.accept().await
    }

    async fn admit(&self, (stream, address): Self::Raw) -> Option<(Guest, Self::Stream)> {
        // Small answers; a client that is gone without a word is closed by the patience for its next request.
        let _ = stream.set_nodelay(true);
        let witness = Arc::new(Witness::new(Arc::clone(&self.clients)));
        let shaken = tokio::time::timeout(PATIENCE, self.shake_hands(stream, &witness)).await;
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                self.turn_away(address, witness.seen(), &error.to_string());
                return None;
            }
            Err(_) => {
                self.turn_away(address, witness.seen(), "the handshake took too long");
                return None;
            }
        };
        let Names {
            common,
            alternatives,
            fingerprint,
        } = witness.seen()?;
        let peer = CertificatePeer {
            name: common,
            alternatives,
            fingerprint,
            address,
        };
        Some((Guest::Known(Caller::Certificate(peer)), stream))
    }

    fn plain(_: Self::Raw) -> Option<Self::Stream> {
        None
    }
}

/// A client that has begun to send its request would be reset, and not see the alert that tells why it was refused,
/// if what it sent were left unread.
async fn let_read(mut stream: TcpStream) {
    let rest = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // Whoever does not go away by itself is closed.
    let _ = tokio::time::timeout(FAREWELL, rest).await;
}

fn wrong(path: &Path, why: impl std::fmt::Display) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        // The reader of PEM quotes what it could not read, byte by byte.
        why: cut(why.to_string(), 200),
    }
}

/// All certificates in a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrong(path, error))?
        .collect();
    match all.map_err(|error| wrong(path, error))? {
        none if none.is_empty() => Err(wrong(path, "there is no certificate in it")),
        all => Ok(all),
    }
}
