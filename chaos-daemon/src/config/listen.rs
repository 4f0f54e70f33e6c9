//! Where the daemon listens on the network, and on which terms.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::api::TlsFiles;

/// The ports that are opened besides the socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    /// Open to client certificates.
    pub mtls: Vec<SocketAddr>,
    pub files: Option<TlsFiles>,
    /// Open to bearer tokens: on the loopback, for reading.
    pub reading: Vec<SocketAddr>,
    pub tokens: Option<PathBuf>,
}

/// As it was written.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// `IP:PORT`, `https://IP:PORT` or `http://IP:PORT`.
    pub(super) addresses: Vec<String>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) tokens: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("--listen {0}: this is no address – write IP:PORT, such as 10.0.0.5:7443 or [::1]:7443")]
    Address(String),
    #[error(
        "--listen {0}: the network gets mTLS or nothing – name --tls-cert, --tls-key and --tls-client-ca \
         (`chaosctl pki init` and `chaosctl pki issue` make them), or use the unix socket, for instance through `ssh -L`"
    )]
    NoTls(SocketAddr),
    #[error("mTLS needs --tls-cert, --tls-key and --tls-client-ca together; {0} is missing")]
    Incomplete(&'static str),
    #[error("--tls-cert and its kin are there, but nothing listens – name an address with --listen")]
    Unused,
    #[error(
        "--listen http://{0}: tokens are for the loopback only, for they travel in the clear – listen on 127.0.0.1 or \
         [::1], or use certificates (--tls-cert, --tls-key, --tls-client-ca)"
    )]
    NotLoopback(SocketAddr),
    #[error(
        "--listen http://{0}: this port is for reading with a token, and nobody has one – name --token-file"
    )]
    NoTokens(SocketAddr),
}

impl Listen {
    /// # Errors
    /// Every [`ListenError`].
    pub(super) fn settle(wanted: Wanted) -> Result<Self, ListenError> {
        let files = match (wanted.certificate, wanted.key, wanted.client_ca) {
            (None, None, None) => None,
            (Some(certificate), Some(key), Some(client_ca)) => Some(TlsFiles {
                certificate,
                key,
                client_ca,
            }),
            (None, ..) => return Err(ListenError::Incomplete("--tls-cert")),
            (_, None, _) => return Err(ListenError::Incomplete("--tls-key")),
            (.., None) => return Err(ListenError::Incomplete("--tls-client-ca")),
        };
        let (mut mtls, mut reading) = (Vec::new(), Vec::new());
        for text in &wanted.addresses {
            let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
            let address: SocketAddr = rest
                .trim_end_matches('/')
                .parse()
                .ok()
                .filter(|address: &SocketAddr| address.port() != 0)
                .ok_or_else(|| ListenError::Address(text.clone()))?;
            // Without certificates a loopback address is one for tokens, if there are any.
            let by_token = files.is_none() && wanted.tokens.is_some() && address.ip().is_loopback();
            match scheme {
                "http" if !address.ip().is_loopback() => return Err(ListenError::NotLoopback(address)),
                "http" if wanted.tokens.is_none() => return Err(ListenError::NoTokens(address)),
                "http" => reading.push(address),
                "" if by_token => reading.push(address),
                "" | "https" if files.is_some() => mtls.push(address),
                "" | "https" => return Err(ListenError::NoTls(address)),
                _ => return Err(ListenError::Address(text.clone())),
            }
        }
        if files.is_some() && mtls.is_empty() {
            return Err(ListenError::Unused);
        }
        Ok(Self {
            mtls,
            files,
            reading,
            tokens: wanted.tokens,
        })
    }

    /// The ports of the API.
    pub fn ports(&self) -> Vec<u16> {
        let all = self.mtls.iter().chain(&self.reading);
        all.map(SocketAddr::port).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(addresses: &[&str], tokens: bool) -> Wanted {
        Wanted {
            addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
            tokens: tokens.then(|| "tokens".into()),
            ..Wanted::default()
        }
    }

    #[test]
    fn the_network_gets_mtls_or_nothing() {
        for (address, tokens) in [
            ("0.0.0.0:7443", false),
            ("0.0.0.0:7443", true),
            ("192.0.2.7:7443", true),
            ("127.0.0.1:7443", false),
            ("https://[::1]:7443", true),
        ] {
            let error = Listen::settle(wanted(&[address], tokens)).unwrap_err();
            assert!(matches!(error, ListenError::NoTls(_)), "{address}: {error}");
        }
        let mut whole = wanted(&["0.0.0.0:7443"], false);
        whole.certificate = Some("a".into());
        assert!(matches!(
            Listen::settle(whole.clone()),
            Err(ListenError::Incomplete("--tls-key"))
        ));
        whole.key = Some("b".into());
        whole.client_ca = Some("c".into());
        assert_eq!(Listen::settle(whole.clone()).unwrap().ports(), [7443]);
        whole.addresses.clear();
        assert!(matches!(Listen::settle(whole), Err(ListenError::Unused)));
    }

    #[test]
    fn tokens_stay_on_the_loopback() {
        let away = Listen::settle(wanted(&["http://192.0.2.7:9090"], true));
        assert!(matches!(away, Err(ListenError::NotLoopback(_))));
        let none = Listen::settle(wanted(&["http://127.0.0.1:9090"], false));
        assert!(matches!(none, Err(ListenError::NoTokens(_))));
        let good = Listen::settle(wanted(&["127.0.0.1:9090", "http://[::1]:9090"], true));
        assert_eq!(good.unwrap().reading.len(), 2);
        for wrong in ["7443", "localhost:7443", "127.0.0.1:0", "ftp://127.0.0.1:9090"] {
            assert!(matches!(
                Listen::settle(wanted(&[wrong], true)),
                Err(ListenError::Address(_))
            ));
        }
    }
}
