//! The ways in: each says who is at the other end.

mod certificate;
#[cfg(test)]
mod hostile;
mod tls;
mod token;
mod unix;

use std::io;

use axum::http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};

pub use tls::{TlsDoor, TlsError, TlsFiles};
pub use token::{TokenDoor, TokenError, Tokens};

use super::problem::Refusal;
use crate::safety::Caller;

/// Something that accepts connections.
pub(super) trait Door: Send + Sync + 'static {
    type Raw: Send + 'static;
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection; nothing of what it sent has been read.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Raw>> + Send;

    /// Finds out who it is. None: it was turned away, and that is taken down.
    fn admit(&self, raw: Self::Raw) -> impl Future<Output = Option<(Guest, Self::Stream)>> + Send;

    /// For somebody who cannot be admitted for lack of room. None: without a word.
    fn plain(raw: Self::Raw) -> Option<Self::Stream>;
}

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(super) enum Guest {
    /// The same person for as long as the connection lasts.
    Known(Caller),
    /// Each request has to show a token.
    Anonymous {
        tokens: Tokens,
        address: std::net::SocketAddr,
    },
}

impl Guest {
    /// Who makes this request.
    ///
    /// # Errors
    /// It shows no token, or a wrong one.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        match self {
            Self::Known(caller) => Ok(caller.clone()),
            Self::Anonymous { tokens, address } => {
                tokens.check(headers)?;
                Ok(Caller::Token { address: *address })
            }
        }
    }
}
