use std::fmt;
use std::net::SocketAddr;

use chaos_spec::audit::Who;
use serde::{Deserialize, Serialize};

/// Who asked for a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Caller {
    /// The other end of the unix socket, by the credentials that the kernel reports.
    Unix(UnixPeer),
    /// The owner of a client certificate.
    Certificate(CertificatePeer),
    /// Whoever has a bearer token.
    Token { address: SocketAddr },
    /// The daemon itself, on behalf of a signal that it was sent. Signals do not say who sent them.
    Signal,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnixPeer {
    pub uid: u32,
    pub gid: u32,
    /// Groups besides `gid`.
    pub groups: Vec<u32>,
    /// Absent when the caller's pid namespace cannot be seen from here.
    pub pid: Option<i32>,
    /// Name of `uid`, when the host knows one.
    pub user: Option<String>,
    /// The program, as it was when the connection was made.
    pub exe: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificatePeer {
    /// The common name.
    pub name: String,
    /// Alternative names: URIs, e-mail addresses and DNS names.
    pub alternatives: Vec<String>,
    /// SHA-256 of the certificate, in hex.
    pub fingerprint: String,
    pub address: SocketAddr,
}

impl Caller {
    /// For the audit log.
    pub fn who(&self) -> Who {
        match self {
            Self::Unix(peer) => Who {
                by: "unix".to_owned(),
                uid: Some(peer.uid),
                gid: Some(peer.gid),
                pid: peer.pid,
                name: peer.user.clone(),
                exe: peer.exe.clone(),
                ..Who::default()
            },
            Self::Certificate(peer) => Who {
                by: "certificate".to_owned(),
                name: Some(peer.name.clone()),
                fingerprint: Some(peer.fingerprint.clone()),
                address: Some(peer.address.to_string()),
                ..Who::default()
            },
            Self::Token { address } => Who {
                by: "token".to_owned(),
                address: Some(address.to_string()),
                ..Who::default()
            },
            Self::Signal => Who {
                by: "signal".to_owned(),
                ..Who::default()
            },
        }
    }

    /// The same person, without the process that asked: that will have gone.
    #[must_use]
    pub fn lasting(&self) -> Self {
        match self {
            Self::Unix(peer) => Self::Unix(UnixPeer {
                pid: None,
                exe: None,
                ..peer.clone()
            }),
            other => other.clone(),
        }
    }

    /// What tells one person from another: two connections of the same identity are the same person.
    pub fn identity(&self) -> String {
        match self {
            Self::Unix(peer) => format!("uid:{}", peer.uid),
            Self::Certificate(peer) => format!("certificate:{}", peer.name),
            Self::Token { .. } => "token".to_owned(),
            Self::Signal => "signal".to_owned(),
        }
    }
}

impl fmt::Display for Caller {
    /// `root (uid 0, gid 0, pid 4711)`, `alice (certificate 3f2a…, 192.0.2.7:4711)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(peer) => {
                let user = peer.user.as_deref().unwrap_or("?");
                write!(f, "{user} (uid {}, gid {}", peer.uid, peer.gid)?;
                match peer.pid {
                    Some(pid) => write!(f, ", pid {pid})"),
                    None => f.write_str(")"),
                }
            }
            Self::Certificate(peer) => {
                const SHORT: usize = 16;
                let print = peer.fingerprint.get(..SHORT).unwrap_or(&peer.fingerprint);
                write!(f, "{} (certificate {print}, {})", peer.name, peer.address)
            }
            Self::Token { address } => write!(f, "a token from {address}"),
            Self::Signal => f.write_str("a signal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_told_in_one_line() {
        let peer = UnixPeer {
            uid: 7,
            gid: 8,
            pid: Some(9),
            user: Some("tester".to_owned()),
            ..UnixPeer::default()
        };
        assert_eq!(Caller::Unix(peer).to_string(), "tester (uid 7, gid 8, pid 9)");
        let peer = CertificatePeer {
            name: "alice".to_owned(),
            alternatives: Vec::new(),
            fingerprint: "3f2a".repeat(16),
            address: "192.0.2.7:4711".parse().unwrap(),
        };
        let caller = Caller::Certificate(peer);
        assert_eq!(
            caller.to_string(),
            "alice (certificate 3f2a3f2a3f2a3f2a, 192.0.2.7:4711)"
        );
        assert_eq!(caller.identity(), "certificate:alice");
    }
}
