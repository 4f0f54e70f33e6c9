//! Probes: one look at something that should be well. Health checks take them one after another; so may whatever
//! else wants to know how a system is.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::is_default;
use super::lists::not_empty;
use crate::{Endpoint, HttpUrl};

/// What is looked at: exactly one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    Http(HttpProbe),
    Tcp(TcpProbe),
    Grpc(GrpcProbe),
    Dns(DnsProbe),
    Exec(ExecProbe),
    Prometheus(PrometheusProbe),
}

/// A request to a web server. Redirects are not followed: they are answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpProbe {
    pub url: HttpUrl,
    /// GET when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// What is sent as the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: Tls,
}

/// How the other end of an `https` connection is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the authorities to believe, instead of those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// `true`: believe any certificate.
    #[serde(default, skip_serializing_if = "is_default")]
    pub insecure: bool,
}

/// Whether something accepts connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpProbe {
    pub address: Endpoint,
}

/// The gRPC health protocol (`grpc.health.v1.Health/Check`), without TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrpcProbe {
    pub address: Endpoint,
    /// Which service; left out: the server as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

/// A question to a name server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsProbe {
    /// An address, with a port unless it is 53; left out: the first of /etc/resolv.conf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    pub name: String,
    #[serde(default, rename = "type", skip_serializing_if = "is_default")]
    pub record: RecordType,
    /// For `A` and `AAAA`: all of these must be in the answer.
    #[serde(
        default,
        deserialize_with = "addresses",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub answers: Vec<IpAddr>,
}

/// A name server: `192.0.2.53`, `192.0.2.53:5353`, `[2001:db8::53]:53`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Server(pub SocketAddr);

/// Which records are asked for; there has to be one at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RecordType {
    #[default]
    A,
    AAAA,
    CNAME,
    MX,
    NS,
    PTR,
    SOA,
    SRV,
    TXT,
}

/// A program: exit status 0 is well. No shell; it runs as the daemon does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecProbe {
    /// The program, by absolute path, and its arguments.
    #[serde(deserialize_with = "not_empty")]
    pub command: Vec<String>,
}

/// An instant query that gives one number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PrometheusProbe {
    /// Of the server, without `/api/v1/query`.
    pub url: HttpUrl,
    pub query: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tls: Tls,
}

/// The kinds side by side, as they are written: exactly one may be there.
pub(crate) struct OneProbe {
    pub http: Option<HttpProbe>,
    pub tcp: Option<TcpProbe>,
    pub grpc: Option<GrpcProbe>,
    pub dns: Option<DnsProbe>,
    pub exec: Option<ExecProbe>,
    pub prometheus: Option<PrometheusProbe>,
}

const KINDS: &str = "`http`, `tcp`, `grpc`, `dns`, `exec` or `prometheus`";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProbeChoiceError {
    #[error("nothing is probed – write exactly one of {KINDS}")]
    None,
    #[error("{0} are named together – keep exactly one of {KINDS}, and write another check for the other")]
    Several(String),
}

impl OneProbe {
    pub(crate) fn chosen(self) -> Result<Probe, ProbeChoiceError> {
        let mut probes = Vec::new();
        probes.extend(self.http.map(Probe::Http));
        probes.extend(self.tcp.map(Probe::Tcp));
        probes.extend(self.grpc.map(Probe::Grpc));
        probes.extend(self.dns.map(Probe::Dns));
        probes.extend(self.exec.map(Probe::Exec));
        probes.extend(self.prometheus.map(Probe::Prometheus));
        let names: Vec<_> = probes.iter().map(|probe| format!("`{}`", probe.word())).collect();
        let mut probes = probes.into_iter();
        match (probes.next(), probes.next()) {
            (Some(probe), None) => Ok(probe),
            (None, _) => Err(ProbeChoiceError::None),
            (Some(_), Some(_)) => Err(ProbeChoiceError::Several(names.join(" and "))),
        }
    }
}

impl From<Probe> for OneProbe {
    fn from(probe: Probe) -> Self {
        let mut kinds = Self {
            http: None,
            tcp: None,
            grpc: None,
            dns: None,
            exec: None,
            prometheus: None,
        };
        match probe {
            Probe::Http(probe) => kinds.http = Some(probe),
            Probe::Tcp(probe) => kinds.tcp = Some(probe),
            Probe::Grpc(probe) => kinds.grpc = Some(probe),
            Probe::Dns(probe) => kinds.dns = Some(probe),
            Probe::Exec(probe) => kinds.exec = Some(probe),
            Probe::Prometheus(probe) => kinds.prometheus = Some(probe),
        }
        kinds
    }
}

impl Probe {
    /// The field that names it in a spec.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Grpc(_) => "grpc",
            Self::Dns(_) => "dns",
            Self::Exec(_) => "exec",
            Self::Prometheus(_) => "prometheus",
        }
    }
}

impl std::fmt::Display for Probe {
    /// `http http://127.0.0.1:8080/healthz`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Http(probe) => write!(f, " {}", probe.url),
            Self::Tcp(probe) => write!(f, " {}", probe.address),
            Self::Grpc(GrpcProbe { address, service }) => match service {
                Some(service) => write!(f, " {address}/{service}"),
                None => write!(f, " {address}"),
            },
            Self::Dns(probe) => write!(f, " {} {:?}", probe.name, probe.record),
            Self::Exec(probe) => write!(f, " {}", probe.command.join(" ")),
            Self::Prometheus(probe) => write!(f, " {}", probe.query),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no address of a name server – write an IP address, such as `192.0.2.53`, or one with a port, such as \
     `192.0.2.53:5353`"
)]
pub struct ServerError(String);

/// A list that is not empty. The standard library's own words for what is no address are no help.
fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    #[derive(Deserialize)]
    #[serde(try_from = "String")]
    struct Address(IpAddr);

    impl TryFrom<String> for Address {
        type Error = String;

        fn try_from(text: String) -> Result<Self, String> {
            let address = text.parse().map(Self);
            address.map_err(|_| format!("`{text}` is no address – write for example `10.0.0.7`"))
        }
    }

    let addresses: Vec<Address> = not_empty(deserializer)?;
    Ok(addresses.into_iter().map(|Address(address)| address).collect())
}

impl TryFrom<String> for Server {
    type Error = ServerError;

    fn try_from(text: String) -> Result<Self, ServerError> {
        let bare = text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
        match bare.or_else(|_| text.parse::<SocketAddr>()) {
            Ok(address) if address.port() > 0 => Ok(Self(address)),
            _ => Err(ServerError(text)),
        }
    }
}

impl From<Server> for String {
    fn from(server: Server) -> Self {
        if server.0.port() == 53 {
            server.0.ip().to_string()
        } else {
            server.0.to_string()
        }
    }
}
