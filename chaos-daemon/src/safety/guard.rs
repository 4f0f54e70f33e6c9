//! Traffic that no fault touches, whatever it names. Checked in the kernel before any rule.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use chaos_spec::api::Guard;
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
    #[error("`{0}` is no address or prefix – write NAME=CIDR, such as `backup=10.9.0.0/16`")]
    NotCidr(String),
}

impl Default for GuardList {
    /// SSH and DHCP: without them nobody can come and put things right.
    fn default() -> Self {
        let entry = |name: &str, protocol, first, last| GuardEntry {
            name: name.to_owned(),
            what: GuardWhat::Ports {
                protocol,
                ports: first..=last,
            },
        };
        Self {
            entries: vec![
                entry("ssh", GuardProtocol::Tcp, 22, 22),
                entry("dhcp", GuardProtocol::Udp, 67, 68),
                entry("dhcp", GuardProtocol::Udp, 546, 547),
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
        for text in ports {
            list.entries.extend(parse_ports(text)?);
        }
        for text in cidrs {
            list.entries.push(parse_cidr(text)?);
        }
        Ok(list)
    }

    /// Keeps the ports that the API listens on out of every fault: whoever could start one must be able to end it.
    pub fn protect_api(&mut self, ports: &[u16]) {
        self.entries.extend(ports.iter().map(|port| GuardEntry {
            name: "api".to_owned(),
            what: GuardWhat::Ports {
                protocol: GuardProtocol::Tcp,
                ports: *port..=*port,
            },
        }));
    }

    /// For people, one line for each name, what is always protected first.
    pub fn describe(&self) -> Vec<Guard> {
        let always = [
            ("neighbours", "ARP and IPv6 neighbour and router discovery"),
            ("own", "the sockets of the daemon itself"),
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

    #[test]
    fn ports_lists_and_ranges_are_read() {
        let list = GuardList::with(&["etcd=tcp/2379-2380, 2382".to_owned()], &[]).unwrap();
        let added = &list.entries[3..];
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
            list.entries[3..]
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
        assert_eq!(names, ["neighbours", "own", "ssh", "dhcp"]);
        let dhcp = GuardList::default().describe().pop().unwrap();
        assert_eq!(dhcp.protects, "udp 67-68, udp 546-547");
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
