//! TCP on the loopback, for reading with a bearer token: what a metrics collector on the same host needs.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use chaos_spec::audit::hash_of;
use tokio::net::{TcpListener, TcpStream};

use super::{Door, Guest};
use crate::api::problem::Refusal;

/// Shorter ones can be guessed.
const SHORTEST: usize = 16;

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the tokens {path} cannot be read ({source}) – check --token-file")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} belongs to uid {owner} with mode {mode:04o} – tokens are read only from a file that belongs to root, or \
         whom the daemon runs as, with mode 0600"
    )]
    Open { path: PathBuf, owner: u32, mode: u32 },
    #[error(
        "{path}:{line}: a token has at least {SHORTEST} characters – make one with `openssl rand -hex 32`"
    )]
    Short { path: PathBuf, line: usize },
    #[error("{0} has no token – write one a line")]
    None(PathBuf),
    #[error("cannot listen on {address}: {source} – is the port taken?")]
    Listen { address: SocketAddr, source: io::Error },
}

/// The tokens that may read. Only their hashes are kept.
#[derive(Clone, Debug)]
pub struct Tokens(Arc<Vec<String>>);

impl Tokens {
    /// Reads a file with a token on each line; empty lines and `#` lines are left out.
    ///
    /// # Errors
    /// It cannot be read, others may read it, or a token is too short.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |source| TokenError::Read {
            path: path.to_owned(),
            source,
        };
        let about = std::fs::metadata(path).map_err(unreadable)?;
        let (owner, mode) = (about.uid(), about.mode() & 0o7777);
        let is_ours = owner == 0 || owner == rustix::process::geteuid().as_raw();
        if !is_ours || mode & 0o177 != 0 {
            return Err(TokenError::Open {
                path: path.to_owned(),
                owner,
                mode,
            });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let mut tokens = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let token = line.trim();
            if token.is_empty() || token.starts_with('#') {
                continue;
            }
            if token.len() < SHORTEST {
                return Err(TokenError::Short {
                    path: path.to_owned(),
                    line: number + 1,
                });
            }
            tokens.push(hash_of(token.as_bytes()));
        }
        if tokens.is_empty() {
            return Err(TokenError::None(path.to_owned()));
        }
        Ok(Self(Arc::new(tokens)))
    }

    /// Whether a request shows one of them.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| hash_of(token.trim().as_bytes()));
        // Hashes are compared, whole and all of them: how long it takes tells nothing of a token.
        let known = shown.is_some_and(|shown| {
            self.0.iter().fold(false, |found, token| {
                found | is_equal(token.as_bytes(), shown.as_bytes())
            })
        });
        if known {
            return Ok(());
        }
        let detail = "this port is for reading with a bearer token: send `Authorization: Bearer TOKEN` with one that \
                      the daemon knows (--token-file)";
        Err(Refusal::new(StatusCode::UNAUTHORIZED, detail).of_kind("token", "no token, or a wrong one"))
    }
}

fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// A listening port on the loopback.
#[derive(Debug)]
pub struct TokenDoor {
    listener: TcpListener,
    tokens: Tokens,
}

impl TokenDoor {
    /// # Errors
    /// The port cannot be had.
    pub async fn open(address: SocketAddr, tokens: Tokens) -> Result<Self, TokenError> {
        let failed = |source| TokenError::Listen { address, source };
        Ok(Self {
            listener: TcpListener::bind(address).await.map_err(failed)?,
            tokens,
        })
    }
}

impl Door for TokenDoor {
    type Raw = (TcpStream, SocketAddr);
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<Self::Raw> {
        self.listener.accept().await
    }

    async fn admit(&self, (stream, address): Self::Raw) -> Option<(Guest, TcpStream)> {
        let tokens = self.tokens.clone();
        Some((Guest::Anonymous { tokens, address }, stream))
    }

    fn plain((stream, _): Self::Raw) -> Option<TcpStream> {
        Some(stream)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn only_a_known_token_reads() {
        let file = file(
            "# for Prometheus\n0123456789abcdef0123\n\nanother-long-token-1\n",
            0o600,
        );
        let tokens = Tokens::read(file.path()).unwrap();
        let check = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            tokens.check(&headers).is_ok()
        };
        assert!(check("Bearer 0123456789abcdef0123") && check("bearer another-long-token-1"));
        for wrong in [
            "Bearer 0123456789abcdef012",
            "Basic 0123456789abcdef0123",
            "Bearer ",
            "Bearer",
        ] {
            assert!(!check(wrong), "{wrong}");
        }
        assert!(tokens.check(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_file_that_others_may_read_and_short_tokens_are_refused() {
        let open = Tokens::read(file("0123456789abcdef0123\n", 0o640).path());
        assert!(matches!(open, Err(TokenError::Open { .. })));
        let short = Tokens::read(file("\nsecret\n", 0o600).path());
        assert!(matches!(short, Err(TokenError::Short { line: 2, .. })));
        assert!(matches!(
            Tokens::read(file("#\n", 0o400).path()),
            Err(TokenError::None(_))
        ));
    }
}
