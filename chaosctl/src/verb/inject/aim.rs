//! Whose traffic, and which of it: the flags that every fault has.

use std::str::FromStr;

use chaos_spec::{
    Chance, Cidr, Connections, Direction, Hostname, InterfaceTarget, PortRange, Protocol, Remote, Target,
    TargetKind, Traffic,
};
use clap::Args;

use super::amount::words;
use crate::failure::Failure;

/// Exactly one of the first six
#[derive(Args, Debug)]
#[command(next_help_heading = "Target: one of the first six")]
#[group(multiple = true)]
pub(super) struct Aim {
    /// A cgroup and everything below it, such as /system.slice/orders.service.
    #[arg(long, value_name = "PATH", group = "target")]
    cgroup: Option<String>,
    /// A process: the sockets that it opened itself, and connections accepted from its listeners.
    #[arg(long, value_name = "N", group = "target")]
    pid: Option<u32>,
    /// A network namespace, by name or path.
    #[arg(long, value_name = "NAME", group = "target")]
    netns: Option<String>,
    /// A container, by id or name.
    #[arg(long, value_name = "ID", group = "target")]
    container: Option<String>,
    /// One interface, here or in another network namespace.
    #[arg(long, value_name = "IF[@NETNS]", group = "target", value_parser = interface)]
    interface: Option<InterfaceTarget>,
    /// Everything in the daemon's own network namespace.
    #[arg(long, group = "target")]
    host: bool,
    /// Only these interfaces of the target; by default all but the loopback, each packet once.
    #[arg(long, value_name = "IF", value_delimiter = ',')]
    interfaces: Vec<String>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Traffic, seen from the target")]
pub(super) struct Filter {
    /// What it sends, what arrives, or both.
    #[arg(long, value_name = "WAY", default_value = "egress")]
    #[arg(value_parser = words::<Direction>(&["egress", "ingress", "both"]))]
    direction: Direction,
    /// IPv4 and IPv6 alike.
    #[arg(long, value_name = "WORD", default_value = "any")]
    #[arg(value_parser = words::<Protocol>(&["any", "tcp", "udp", "icmp"]))]
    protocol: Protocol,
    /// The other end: a network, an address or a host name; may be given again.
    #[arg(long, value_name = "CIDR|HOST", value_delimiter = ',')]
    remote: Vec<RemoteEnd>,
    /// Networks to leave out; may be given again.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    except: Vec<Cidr>,
    /// Ports of the other end, 5432 or 6000-6010; may be given again.
    #[arg(long, value_name = "P[-Q]", value_delimiter = ',')]
    remote_port: Vec<PortRange>,
    /// Ports of the target's own end; may be given again.
    #[arg(long, value_name = "P[-Q]", value_delimiter = ',')]
    local_port: Vec<PortRange>,
    /// Only segments that open a TCP connection, or all but those.
    #[arg(long, value_name = "WORD", default_value = "any")]
    #[arg(value_parser = words::<Connections>(&["any", "new", "established"]))]
    connections: Connections,
    /// Share of the flows that are hit; a flow stays in or out for its life.
    #[arg(long, value_name = "CHANCE")]
    flows: Option<Chance>,
}

/// `--remote` takes names and networks alike.
#[derive(Clone, Debug)]
enum RemoteEnd {
    Net(Cidr),
    Host(Hostname),
}

impl Aim {
    pub(super) fn target(self) -> Result<Target, Failure> {
        let kinds = [
            self.cgroup.map(TargetKind::Cgroup),
            self.pid.map(TargetKind::Pid),
            self.netns.map(TargetKind::Netns),
            self.container.map(TargetKind::Container),
            self.interface.map(TargetKind::Interface),
            self.host.then_some(TargetKind::Host),
        ];
        match kinds.into_iter().flatten().next() {
            Some(kind) => Ok(Target {
                kind,
                interfaces: self.interfaces,
            }),
            None => Err(Failure::Usage(
                "no target is named – add one of --cgroup PATH, --pid N, --netns NAME, --container ID, \
                 --interface IF[@NETNS] or --host"
                    .to_owned(),
            )),
        }
    }
}

impl Filter {
    pub(super) fn traffic(self) -> Traffic {
        let mut remote = Remote {
            except: self.except,
            ports: self.remote_port,
            ..Remote::default()
        };
        for end in self.remote {
            match end {
                RemoteEnd::Net(net) => remote.cidrs.push(net),
                RemoteEnd::Host(host) => remote.hosts.push(host),
            }
        }
        let traffic = Traffic {
            direction: self.direction,
            protocol: self.protocol,
            connections: self.connections,
            flows: self.flows,
            ..Traffic::default()
        };
        traffic.with_remote(remote).with_local_ports(self.local_port)
    }
}

impl FromStr for RemoteEnd {
    type Err = chaos_spec::units::AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Only a network has a slash or a colon, and a name of digits and dots alone is a mistyped address.
        let address = text.contains(['/', ':']) || text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if address {
            text.parse().map(Self::Net)
        } else {
            text.parse().map(Self::Host)
        }
    }
}

fn interface(text: &str) -> Result<InterfaceTarget, String> {
    let (name, netns) = match text.split_once('@') {
        Some((name, netns)) => (name, Some(netns.to_owned())),
        None => (text, None),
    };
    if name.is_empty() || netns.as_deref() == Some("") {
        return Err("a name is missing – write `eth0` or `eth0@blue`".to_owned());
    }
    Ok(InterfaceTarget {
        name: name.to_owned(),
        netns,
    })
}
