//! One lookup of one name: the hosts file, else A and AAAA together.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chaos_spec::Hostname;
use hickory_resolver::config::{
    NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::name_server::TokioConnectionProvider;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::proto::xfer::Protocol;
use hickory_resolver::proto::{ProtoError, ProtoErrorKind};
use hickory_resolver::{ResolveError, TokioResolver, system_conf};
use tokio::time::{Instant, sleep, timeout};

use super::hosts::HostsFile;
use super::{Servers, TargetError};

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// An answer is good for its TTL, within these bounds: the lower spares the servers, the upper bounds a forgotten name.
const FRESH_AT_LEAST: Duration = Duration::from_secs(1);
const FRESH_AT_MOST: Duration = Duration::from_secs(300);
/// How soon to ask again about a name that does not exist or could not be asked about, and how often to look at the hosts file.
const AGAIN: Duration = Duration::from_secs(5);
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// One try at one server; there are two. Together they stay well below the 5 s that an answer may be late.
const TRY: Duration = Duration::from_millis(1500);
const ALL_TRIES: Duration = Duration::from_secs(4);

/// What is known of a name after a lookup.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    /// Of both families. After a failure, those of the family that failed are the earlier ones.
    pub(super) addresses: BTreeSet<IpAddr>,
    /// Whether one of the lookups failed (no answer, or SERVFAIL); that a name does not exist is an answer.
    pub(super) failed: bool,
    /// When to ask again.
    pub(super) fresh_for: Duration,
}

/// What a name server said about one family.
enum Said {
    Addresses { addresses: Vec<IpAddr>, ttl: u32 },
    Nothing { ttl: Option<u32> },
    Failed(String),
}

pub(super) struct Resolver {
    client: TokioResolver,
    servers: Vec<SocketAddr>,
    pub(super) hosts: HostsFile,
}

impl Resolver {
    pub(super) fn new(source: &Servers) -> Result<Self, TargetError> {
        let (servers, config, options) = match source {
            Servers::System => read_conf(Path::new(RESOLV_CONF)).or_else(|error| {
                // No file, or one without a server: the C library asks the host itself then.
                tracing::warn!(%error, "asking the name server on 127.0.0.1");
                Ok(fixed(&[(Ipv4Addr::LOCALHOST, 53).into()]))
            }),
            Servers::File(path) => read_conf(path),
            Servers::Addresses(addresses) if addresses.is_empty() => Err(TargetError::Resolver {
                file: PathBuf::from("list"),
                reason: "it is empty".to_owned(),
            }),
            Servers::Addresses(addresses) => Ok(fixed(addresses)),
        }?;
        let mut builder = TokioResolver::builder_with_config(config, TokioConnectionProvider::default())
            .with_options(options);
        let options = builder.options_mut();
        // The cache is ours: an answer is kept until the next one, and never answered from twice.
        options.cache_size = 0;
        options.use_hosts_file = ResolveHosts::Never;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        options.timeout = TRY;
        options.attempts = 1;
        Ok(Self {
            client: builder.build(),
            servers,
            hosts: HostsFile::default(),
        })
    }

    pub(super) fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// `before` fills in for a family that cannot be asked about now.
    pub(super) async fn look_up(&self, host: &Hostname, before: &Answer) -> Answer {
        let addresses = self.hosts.addresses(host.as_str());
        if !addresses.is_empty() {
            return Answer {
                addresses,
                failed: false,
                // A change of the file ends the wait earlier.
                fresh_for: FRESH_AT_MOST,
            };
        }
        let (v4, v6) = tokio::join!(self.ask(host, RecordType::A), self.ask(host, RecordType::AAAA));
        let mut answer = Answer {
            addresses: BTreeSet::new(),
            failed: false,
            fresh_for: FRESH_AT_MOST,
        };
        for (said, is_family) in [
            (v4, IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
            (v6, IpAddr::is_ipv6),
        ] {
            let fresh_for = match said {
                Said::Addresses { addresses, ttl } => {
                    answer.addresses.extend(addresses);
                    seconds(ttl)
                }
                Said::Nothing { ttl } => ttl.map_or(AGAIN, seconds),
                Said::Failed(reason) => {
                    tracing::warn!(%host, reason, "a name cannot be looked up; its last addresses stay");
                    answer.failed = true;
                    answer
                        .addresses
                        .extend(before.addresses.iter().filter(|address| is_family(address)));
                    AFTER_FAILURE
                }
            };
            answer.fresh_for = answer.fresh_for.min(fresh_for);
        }
        if answer.addresses.is_empty() {
            // Somebody may be about to create the name: do not wait for a long negative TTL.
            answer.fresh_for = answer.fresh_for.min(AGAIN);
        }
        answer.fresh_for = answer.fresh_for.max(FRESH_AT_LEAST);
        answer
    }

    /// Returns after `time`, or when the hosts file was written.
    pub(super) async fn wait(&self, time: Duration) {
        let end = Instant::now() + time;
        let written: Option<SystemTime> = self.hosts.written();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            sleep(left.min(AGAIN)).await;
            if self.hosts.written() != written {
                return;
            }
        }
    }

    async fn ask(&self, host: &Hostname, family: RecordType) -> Said {
        // Without a final dot the name is relative: the search list of resolv.conf applies, as for every program.
        let name = match Name::from_ascii(host.as_str()) {
            Ok(name) => name,
            Err(error) => return Said::Failed(error.to_string()),
        };
        match timeout(ALL_TRIES, self.client.lookup(name, family)).await {
            Err(_) => Said::Failed("no name server answers".to_owned()),
            Ok(Err(error)) => said_by(&error),
            Ok(Ok(lookup)) => {
                let addresses: Vec<_> = lookup.iter().filter_map(|data| data.ip_addr()).collect();
                // Of a chain of aliases, the shortest-lived link counts.
                let ttl = lookup.record_iter().map(|record| record.ttl()).min();
                match (addresses.is_empty(), ttl) {
                    (false, Some(ttl)) => Said::Addresses { addresses, ttl },
                    (_, ttl) => Said::Nothing { ttl },
                }
            }
        }
    }
}

/// Tells "there is none" from "could not be asked".
fn said_by(error: &ResolveError) -> Said {
    match error.proto().map(ProtoError::kind) {
        Some(ProtoErrorKind::NoRecordsFound {
            response_code: ResponseCode::NXDomain | ResponseCode::NoError,
            negative_ttl,
            ..
        }) => Said::Nothing { ttl: *negative_ttl },
        Some(ProtoErrorKind::NoRecordsFound { response_code, .. }) => Said::Failed(response_code.to_string()),
        _ => Said::Failed(error.to_string()),
    }
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into()).clamp(FRESH_AT_LEAST, FRESH_AT_MOST)
}

type Conf = (Vec<SocketAddr>, ResolverConfig, ResolverOpts);

fn read_conf(path: &Path) -> Result<Conf, TargetError> {
    let unusable = |reason: String| TargetError::Resolver {
        file: path.to_owned(),
        reason,
    };
    let text = fs::read_to_string(path).map_err(|source| unusable(source.to_string()))?;
    let (config, options) =
        system_conf::parse_resolv_conf(&text).map_err(|error| unusable(error.to_string()))?;
    let mut servers: Vec<_> = config
        .name_servers()
        .iter()
        .map(|server| server.socket_addr)
        .collect();
    servers.dedup();
    let config = ResolverConfig::from_parts(
        config.domain().cloned(),
        config.search().to_vec(),
        name_servers(&servers),
    );
    Ok((servers, config, options))
}

fn fixed(servers: &[SocketAddr]) -> Conf {
    let config = ResolverConfig::from_parts(None, Vec::new(), name_servers(servers));
    (servers.to_vec(), config, ResolverOpts::default())
}

fn name_servers(servers: &[SocketAddr]) -> Vec<NameServerConfig> {
    let configs = servers.iter().flat_map(|&server| {
        [Protocol::Udp, Protocol::Tcp].map(|protocol| {
            let mut config = NameServerConfig::new(server, protocol);
            // As the C library: the first server's "does not exist" is believed.
            config.trust_negative_responses = true;
            config
        })
    });
    configs.collect()
}
