//! Where the daemon is, and how it is talked to there.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::ClientError;

/// A daemon's socket on this host, or its port on another.
#[derive(Clone)]
pub(crate) enum Place {
    Socket(PathBuf),
    Server(Server),
}

/// `https://HOST:PORT` with certificates, or `http://LOOPBACK:PORT` with a token.
#[derive(Clone)]
pub(crate) struct Server {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    token: Option<String>,
}

/// What a server is reached with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("--server {0}: write https://HOST:PORT, such as https://10.0.0.5:7443")]
    Address(String),
    #[error(
        "--server {server}: {missing} is missing – mTLS needs --cert, --key and --ca (`chaosctl pki issue` makes them)"
    )]
    Incomplete { server: String, missing: &'static str },
    #[error("--server {0}: without TLS only the loopback is talked to, for reading with --token-file")]
    Clear(String),
    #[error("{path}: {why}")]
    File { path: PathBuf, why: String },
}

/// Something to speak HTTP over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Place {
    /// A server by its URL.
    ///
    /// # Errors
    /// The URL is none, or what is needed to reach it is missing or unreadable.
    pub(crate) fn server(url: &str, with: &Credentials) -> Result<Self, PlaceError> {
        let address = || PlaceError::Address(url.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(address)?;
        let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or_else(address)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(address)?;
        let is_loopback =
            host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        match scheme {
            "https" => {
                let name = ServerName::try_from(host.clone()).map_err(|_| address())?;
                let tls = (TlsConnector::from(Arc::new(settings(url, with)?)), name);
                Ok(Self::Server(Server {
                    host,
                    port,
                    tls: Some(tls),
                    token: None,
                }))
            }
            "http" if is_loopback => Ok(Self::Server(Server {
                host,
                port,
                tls: None,
                token: with.token_file.as_deref().map(token).transpose()?,
            })),
            "http" => Err(PlaceError::Clear(url.to_owned())),
            _ => Err(address()),
        }
    }

    pub(super) fn token(&self) -> Option<&str> {
        match self {
            Self::Socket(_) => None,
            Self::Server(server) => server.token.as_deref(),
        }
    }

    /// What HTTP/1.1 wants to hear; a socket has none.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Socket(_) => "localhost",
            Self::Server(server) => &server.host,
        }
    }

    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>, ClientError> {
        match self {
            Self::Socket(socket) => match UnixStream::connect(socket).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(source) => Err(ClientError::at_socket(socket.clone(), source)),
            },
            Self::Server(server) => server.connect().await.map_err(|source| {
                let place = self.to_string();
                if is_refusal(&source) {
                    ClientError::TurnedAway { place, source }
                } else {
                    ClientError::Connect { place, source }
                }
            }),
        }
    }
}

impl Server {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        match &self.tls {
            Some((tls, name)) => Ok(Box::new(tls.connect(name.clone(), stream).await?)),
            None => Ok(Box::new(stream)),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(socket) => socket.display().fmt(f),
            Self::Server(Server { host, port, tls, .. }) => {
                let scheme = if tls.is_some() { "https" } else { "http" };
                if host.contains(':') {
                    write!(f, "{scheme}://[{host}]:{port}")
                } else {
                    write!(f, "{scheme}://{host}:{port}")
                }
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No token, no key.
        fmt::Display::fmt(self, f)
    }
}

/// Whether the other side said by an alert that it does not accept our certificate.
pub(super) fn is_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::AlertReceived(_)) = error.downcast_ref::<rustls::Error>() {
            return true;
        }
        // An I/O error hides what it was made of from `source`.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

fn settings(server: &str, with: &Credentials) -> Result<ClientConfig, PlaceError> {
    let missing = |missing| PlaceError::Incomplete {
        server: server.to_owned(),
        missing,
    };
    let certificate = with.certificate.as_deref().ok_or_else(|| missing("--cert"))?;
    let key = with.key.as_deref().ok_or_else(|| missing("--key"))?;
    let ca = with.ca.as_deref().ok_or_else(|| missing("--ca"))?;
    let mut roots = RootCertStore::empty();
    for root in certificates(ca)? {
        roots.add(root).map_err(|error| wrong(ca, error))?;
    }
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| wrong(ca, error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, secret)
        .map_err(|error| wrong(key, error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PlaceError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrong(path, error))?
        .collect();
    match all.map_err(|error| wrong(path, error))? {
        none if none.is_empty() => Err(wrong(path, "there is no certificate in it")),
        all => Ok(all),
    }
}

fn token(path: &Path) -> Result<String, PlaceError> {
    let text = std::fs::read_to_string(path).map_err(|error| wrong(path, error))?;
    let first = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('#'));
    first
        .map(str::to_owned)
        .ok_or_else(|| wrong(path, "there is no token in it"))
}

fn wrong(path: &Path, why: impl fmt::Display) -> PlaceError {
    PlaceError::File {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_needs_all_it_is_reached_with() {
        let none = Credentials::default();
        for (url, words) in [
            ("10.0.0.5:7443", "https://HOST:PORT"),
            ("https://10.0.0.5", "https://HOST:PORT"),
            ("ftp://10.0.0.5:21", "https://HOST:PORT"),
            ("https://10.0.0.5:7443", "--cert is missing"),
            ("http://10.0.0.5:9090", "only the loopback"),
        ] {
            let error = Place::server(url, &none).unwrap_err().to_string();
            assert!(error.contains(words), "{url}: {error}");
        }
        let place = Place::server("http://[::1]:9090/", &none).unwrap();
        assert_eq!(place.to_string(), "http://[::1]:9090");
    }
}
