//! Traffic that no fault touches, whatever it names. Checked in the kernel before any rule.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

use chaos_ebpf_common::guard::{FIRST_NAMED, NEIGHBOURS, OWN};
use chaos_spec::api::Guard;
use chaos_spec::policy::Policy;
use ipnet::IpNet;

/// What the guard protects, by name. ARP, neighbour discovery and the daemon's own sockets are protected as well;
/// they need no entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardList {
    pub entries: Vec<GuardEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardEntry {
    pub name: String,
    pub what: GuardWhat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardWhat {
    /// Packets with one of these ports at either end.
    Ports {
        protocol: GuardProtocol,
        ports: RangeInclusive<u16>,
    },
    /// Packets to or from these addresses.
    Net(IpNet),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GuardProtocol {
    Tcp,
    Udp,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    #[error("`{0}` has no name – write NAME=tcp/PORT, such as `etcd=tcp/2379-2380`")]
    NoName(String),
    #[error("`{0}` names no protocol – write NAME=tcp/PORT or NAME=udp/PORT, such as `etcd=tcp/2379-2380`")]
    NoProtocol(String),
    #[error("`{0}` is no port or range of ports – write 1 to 65535, such as `2379` or `2379-2380`")]
    NotPorts(String),
    #[error("`{0}` is taken – give it another name")]
    Reserved(String),
    #[error("{0} names are more than the {MOST_NAMES} that fit – join some under one name")]
    TooMany(usize),
    #[error("`{0}` is no address or prefix – write NAME=CIDR, such as `backup=10.9.0.0/16`")]
    NotCidr(String),
}

/// What every host has.
const NEIGHBOURS_NAME: &str = "neighbours";
const OWN_NAME: &str = "own";
/// What the node's policy denies.
const POLICY_NAME: &str = "policy";
/// The ports of the API.
const API_NAME: &str = "api";
/// Names that no fault lifts. A configuration may add ports to `api`, and they are as fixed as its own.
const FIXED: [&str; 3] = [OWN_NAME, POLICY_NAME, API_NAME];
/// The bit of those that are not the daemon's own sockets.
const FIXED_BIT: u64 = 1 << FIRST_NAMED;
/// One bit of a word for each.
const MOST_NAMES: usize = 64 - FIRST_NAMED as usize - 1;

impl Default for GuardList {
    /// SSH and DHCP: without them nobody can come and put things right. And the metadata service of clouds, from
    /// which a machine has its credentials.
    fn default() -> Self {
        let entry = |name: &str, protocol, first, last| GuardEntry {
            name: name.to_owned(),
            what: GuardWhat::Ports {
                protocol,
                ports: first..=last,
            },
        };
        let address = |name: &str, address: IpAddr| GuardEntry {
            name: name.to_owned(),
            what: GuardWhat::Net(address.into()),
        };
        Self {
            entries: vec![
                entry("ssh", GuardProtocol::Tcp, 22, 22),
                entry("dhcp", GuardProtocol::Udp, 67, 68),
                entry("dhcp", GuardProtocol::Udp, 546, 547),
                address("metadata", IpAddr::from([169, 254, 169, 254])),
                address("metadata", IpAddr::from([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254])),
            ],
        }
    }
}

impl GuardList {
    /// The defaults and what the configuration adds: `ports` as NAME=tcp/PORTS, `cidrs` as NAME=CIDR.
    ///
    /// # Errors
    /// The first entry that cannot be read.
    pub fn with(ports: &[String], cidrs: &[String]) -> Result<Self, GuardError> {
        let mut list = Self::default();
        list.entries.extend(discover(Path::new("/")));
        for text in ports {
            list.entries.extend(parse_ports(text)?);
        }
        for text in cidrs {
            list.entries.push(parse_cidr(text)?);
        }
        let reserved = |name: &str| [NEIGHBOURS_NAME, OWN_NAME, POLICY_NAME].contains(&name);
        if let Some(entry) = list.entries.iter().find(|entry| reserved(&entry.name)) {
            return Err(GuardError::Reserved(entry.name.clone()));
        }
        match list.names().len() {
            count if count > MOST_NAMES => Err(GuardError::TooMany(count)),
            _ => Ok(list),
        }
    }

    /// This list and what a policy denies, whichever fault names it.
    #[must_use]
    pub fn and_denied(&self, policy: &Policy) -> Self {
        let mut list = self.clone();
        let entry = |what| GuardEntry {
            name: POLICY_NAME.to_owned(),
            what,
        };
        for ports in &policy.deny.ports {
            list.entries
                .extend([GuardProtocol::Tcp, GuardProtocol::Udp].map(|protocol| {
                    entry(GuardWhat::Ports {
                        protocol,
                        ports: ports.ports(),
                    })
                }));
        }
        let nets = policy
            .deny
            .cidrs
            .iter()
            .map(|cidr| entry(GuardWhat::Net(cidr.net())));
        list.entries.extend(nets);
        list
    }

    /// Names of guards that faults may lift, in the order of their bits.
    pub fn names(&self) -> Vec<&str> {
        let mut names = vec![NEIGHBOURS_NAME];
        for entry in &self.entries {
            if !FIXED.contains(&entry.name.as_str()) && !names.contains(&entry.name.as_str()) {
                names.push(&entry.name);
            }
        }
        names
    }

    /// The bit of a guard in the kernel; a name keeps it whatever a policy adds. `None`: there is no such guard.
    pub fn bit(&self, name: &str) -> Option<u64> {
        if name == OWN_NAME {
            return Some(OWN);
        }
        if FIXED.contains(&name) {
            return Some(FIXED_BIT);
        }
        let place = self.names().iter().position(|known| *known == name)?;
        Some(match place {
            0 => NEIGHBOURS,
            place => 1 << (FIRST_NAMED as usize + place),
        })
    }

    /// Keeps the ports that the API listens on out of every fault: whoever could start one must be able to end it.
    pub fn protect_api(&mut self, ports: &[u16]) {
        self.entries.extend(ports.iter().map(|port| GuardEntry {
            name: API_NAME.to_owned(),
            what: GuardWhat::Ports {
                protocol: GuardProtocol::Tcp,
                ports: *port..=*port,
            },
        }));
    }

    /// For people, one line for each name, what is always protected first.
    pub fn describe(&self) -> Vec<Guard> {
        let always = [
            (NEIGHBOURS_NAME, "ARP and IPv6 neighbour and router discovery"),
            (OWN_NAME, "the sockets of the daemon itself"),
        ];
        let mut guards: Vec<Guard> = always
            .map(|(name, protects)| Guard {
                name: name.to_owned(),
                protects: protects.to_owned(),
            })
            .into();
        for entry in &self.entries {
            match guards.iter_mut().find(|guard| guard.name == entry.name) {
                Some(guard) => guard.protects = format!("{}, {}", guard.protects, entry.what),
                None => guards.push(Guard {
                    name: entry.name.clone(),
                    protects: entry.what.to_string(),
                }),
            }
        }
        guards
    }
}

impl fmt::Display for GuardWhat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports { protocol, ports } => {
                let word = match protocol {
                    GuardProtocol::Tcp => "tcp",
                    GuardProtocol::Udp => "udp",
                };
                write!(f, "{word} {}", ports.start())?;
                if ports.start() == ports.end() {
                    Ok(())
                } else {
                    write!(f, "-{}", ports.end())
                }
            }
            Self::Net(net) => net.fmt(f),
        }
    }
}

/// What keeps a Kubernetes node in its cluster, where this is one.
fn discover(root: &Path) -> Vec<GuardEntry> {
    let tcp = |name: &str, ports| GuardEntry {
        name: name.to_owned(),
        what: GuardWhat::Ports {
            protocol: GuardProtocol::Tcp,
            ports,
        },
    };
    let mut found = Vec::new();
    let kubeconfig = std::fs::read_to_string(root.join("etc/kubernetes/kubelet.conf")).ok();
    if kubeconfig.is_some() || root.join("var/lib/kubelet/config.yaml").exists() {
        let port = kubeconfig.as_deref().and_then(api_server_port).unwrap_or(6443);
        found.push(tcp("kubelet", 10250..=10250));
        found.push(tcp("api-server", port..=port));
    }
    if root.join("etc/kubernetes/manifests/etcd.yaml").exists() {
        found.push(tcp("etcd", 2379..=2380));
    }
    found
}

/// From `server: https://10.0.0.1:6443` of a kubeconfig.
fn api_server_port(kubeconfig: &str) -> Option<u16> {
    let server = kubeconfig
        .lines()
        .find_map(|line| line.trim().strip_prefix("server:"))?;
    let authority = server
        .trim()
        .trim_matches('"')
        .split("//")
        .nth(1)?
        .split('/')
        .next()?;
    match authority.rsplit_once(':') {
        Some((_, port)) if !port.contains(']') => port.parse().ok(),
        _ => Some(443),
    }
}

fn split_name(text: &str) -> Result<(&str, &str), GuardError> {
    match text.split_once('=') {
        Some((name, rest)) if !name.trim().is_empty() => Ok((name.trim(), rest.trim())),
        _ => Err(GuardError::NoName(text.to_owned())),
    }
}

/// `etcd=tcp/2379-2380,2382`
fn parse_ports(text: &str) -> Result<Vec<GuardEntry>, GuardError> {
    let (name, rest) = split_name(text)?;
    let no_protocol = || GuardError::NoProtocol(text.to_owned());
    let (protocol, ports) = rest.split_once('/').ok_or_else(no_protocol)?;
    let protocol = match protocol.trim() {
        "tcp" => GuardProtocol::Tcp,
        "udp" => GuardProtocol::Udp,
        _ => return Err(no_protocol()),
    };
    ports
        .split(',')
        .map(|range| {
            let range = range.trim();
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let bound = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
            match (bound(first), bound(last)) {
                (Some(first), Some(last)) if first <= last => Ok(GuardEntry {
                    name: name.to_owned(),
                    what: GuardWhat::Ports {
                        protocol,
                        ports: first..=last,
                    },
                }),
                _ => Err(GuardError::NotPorts(range.to_owned())),
            }
        })
        .collect()
}

/// `backup=10.9.0.0/16`, `bastion=192.0.2.7`
fn parse_cidr(text: &str) -> Result<GuardEntry, GuardError> {
    let (name, rest) = split_name(text)?;
    let net = IpNet::from_str(rest)
        .or_else(|_| rest.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| GuardError::NotCidr(rest.to_owned()))?;
    Ok(GuardEntry {
        name: name.to_owned(),
        what: GuardWhat::Net(net.trunc()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries that are always there; on a Kubernetes node there are more.
    const DEFAULTS: usize = 5;

    #[test]
    fn ports_lists_and_ranges_are_read() {
        let list = GuardList::with(&["etcd=tcp/2379-2380, 2382".to_owned()], &[]).unwrap();
        let added = &list.entries[DEFAULTS..];
        assert_eq!(
            added
                .iter()
                .map(|entry| entry.what.to_string())
                .collect::<Vec<_>>(),
            ["tcp 2379-2380", "tcp 2382"]
        );
        assert!(added.iter().all(|entry| entry.name == "etcd"));
    }

    #[test]
    fn addresses_and_prefixes_are_read() {
        let cidrs = ["a=10.9.8.7/16", "b=192.0.2.7", "c=2001:db8::/32"].map(str::to_owned);
        let list = GuardList::with(&[], &cidrs).unwrap();
        assert_eq!(
            list.entries[DEFAULTS..]
                .iter()
                .map(|entry| entry.what.to_string())
                .collect::<Vec<_>>(),
            ["10.9.0.0/16", "192.0.2.7/32", "2001:db8::/32"]
        );
    }

    #[test]
    fn the_defaults_are_always_in() {
        let names: Vec<_> = GuardList::default()
            .describe()
            .into_iter()
            .map(|guard| guard.name)
            .collect();
        assert_eq!(names, ["neighbours", "own", "ssh", "dhcp", "metadata"]);
        assert_eq!(
            GuardList::default().names(),
            ["neighbours", "ssh", "dhcp", "metadata"]
        );
        let described = GuardList::default().describe();
        assert_eq!(described[3].protects, "udp 67-68, udp 546-547");
        assert_eq!(described[4].protects, "169.254.169.254/32, fd00:ec2::254/128");
    }

    #[test]
    fn every_name_has_a_bit_of_its_own_which_a_policy_does_not_move() {
        let list = GuardList::with(&["a=tcp/1".to_owned()], &["b=10.0.0.0/8".to_owned()]).unwrap();
        let text = "apiVersion: chaos-daemon.dev/v1alpha1\nkind: Policy\ndeny: {ports: [5432], cidrs: [10.1.0.0/16]}\n";
        let policy = chaos_spec::policy::LocatedPolicy::parse("p.yaml", text.as_bytes()).unwrap();
        let stricter = list.and_denied(&policy.policy);
        assert_eq!(stricter.entries.len(), list.entries.len() + 3);
        assert_eq!(list.names(), stricter.names());
        let mut seen = FIXED_BIT | OWN;
        for name in list.names() {
            let bit = list.bit(name).unwrap();
            assert_eq!(stricter.bit(name), Some(bit));
            assert_eq!((bit.count_ones(), seen & bit), (1, 0), "{name}");
            seen |= bit;
        }
        assert_eq!(stricter.bit("policy"), Some(FIXED_BIT));
        assert_eq!((list.bit("own"), list.bit("api")), (Some(OWN), Some(FIXED_BIT)));
        assert_eq!(list.bit("nobody"), None);
    }

    #[test]
    fn a_kubernetes_node_keeps_its_cluster() {
        let root = tempfile::tempdir().unwrap();
        assert!(discover(root.path()).is_empty());
        let folder = root.path().join("etc/kubernetes");
        std::fs::create_dir_all(folder.join("manifests")).unwrap();
        let config = "clusters:\n- cluster:\n    server: https://[fd00::1]:7443\n  name: x\n";
        std::fs::write(folder.join("kubelet.conf"), config).unwrap();
        std::fs::write(folder.join("manifests/etcd.yaml"), "").unwrap();
        let found: Vec<_> = discover(root.path())
            .into_iter()
            .map(|entry| format!("{} {}", entry.name, entry.what))
            .collect();
        assert_eq!(
            found,
            ["kubelet tcp 10250", "api-server tcp 7443", "etcd tcp 2379-2380"]
        );
        assert_eq!(api_server_port("server: https://api.example.org"), Some(443));
        assert_eq!(api_server_port("server: https://[fd00::1]/x"), Some(443));
        assert_eq!(api_server_port("nothing"), None);
    }

    #[test]
    fn names_that_are_taken_are_refused() {
        for name in ["own", "policy", "neighbours"] {
            let error = GuardList::with(&[format!("{name}=tcp/1")], &[]).unwrap_err();
            assert_eq!(error, GuardError::Reserved(name.to_owned()));
        }
        let list = GuardList::with(&["api=tcp/8443".to_owned()], &[]).unwrap();
        assert!(!list.names().contains(&"api"), "whoever adds to it fixes it");
        assert_eq!(list.bit("api"), Some(FIXED_BIT));
    }

    #[test]
    fn what_cannot_be_read_is_refused_with_a_remedy() {
        for text in [
            "tcp/22",
            "=tcp/22",
            "a=22",
            "a=sctp/22",
            "a=tcp/0",
            "a=tcp/70000",
            "a=tcp/9-1",
            "a=tcp/",
            "a=tcp/x",
        ] {
            let error = GuardList::with(&[text.to_owned()], &[]).unwrap_err();
            assert!(error.to_string().contains("write"), "{text}: {error}");
        }
        for text in ["10.0.0.0/8", "a=10.0.0.0/33", "a=host"] {
            assert!(GuardList::with(&[], &[text.to_owned()]).is_err(), "{text}");
        }
    }
}
