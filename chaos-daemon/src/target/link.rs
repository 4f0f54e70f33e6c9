//! Asks the kernel, over rtnetlink, which interfaces the calling thread's network namespace has.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType};

use super::Interface;
use super::dump::{attribute, dump, text};
use super::stack;

/// Names of the devices that this daemon makes begin with this; no target includes them.
pub const OURS: &str = "chaos-line";

fn is_ours(name: &str) -> bool {
    name.starts_with(OURS)
}

/// Numbers of linux/rtnetlink.h, linux/if_link.h and linux/if.h.
const RTM_NEWLINK: u16 = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_INFO_KIND: u16 = 1;
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;

/// The link type, `ARPHRD_*` of linux/if_arp.h: it decides what a frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LinkType(pub(super) u16);

impl LinkType {
    const ETHERNET: u16 = 1;
    const RAW_IP: u16 = 519;
    const LOOPBACK: u16 = 772;
    const NONE: u16 = 0xfffe;

    pub(super) const fn can_be_parsed(self) -> bool {
        matches!(
            self.0,
            Self::ETHERNET | Self::RAW_IP | Self::LOOPBACK | Self::NONE
        )
    }

    /// Whether frames begin with an Ethernet header rather than with IP.
    const fn has_ethernet_header(self) -> bool {
        matches!(self.0, Self::ETHERNET | Self::LOOPBACK)
    }

    pub(super) fn text(self) -> String {
        let name = match self.0 {
            Self::ETHERNET => "Ethernet",
            Self::RAW_IP | Self::NONE => "raw IP",
            Self::LOOPBACK => "loopback",
            32 => "InfiniBand",
            280 => "CAN",
            512 => "PPP",
            768 | 769 => "IP tunnel",
            776 => "SIT",
            778 | 823 => "GRE",
            801..=803 => "IEEE 802.11",
            804 | 805 => "IEEE 802.15.4",
            number => return format!("ARPHRD {number}"),
        };
        format!("{name} (ARPHRD {})", self.0)
    }
}

/// An interface, with what decides whether it can be used.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) interface: Interface,
    pub(super) link_type: LinkType,
    /// Index of the bridge, bond or the like that it is a port of.
    pub(super) master: Option<u32>,
    /// Index of the interface below it, if that is in the same namespace. (Of a veth: its peer.)
    pub(super) below: Option<u32>,
}

/// All interfaces of the namespace that the calling thread is in, by index.
pub(super) fn list() -> io::Result<Vec<Link>> {
    let mut link = LinkMessage::default();
    // Without the statistics of every CPU the answer is a third of the size.
    link.attributes
        .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let mut links = dump(RouteNetlinkMessage::GetLink(link), RTM_NEWLINK, parse)?;
    links.retain(|link| !is_ours(&link.interface.name));
    links.sort_by_key(|link| link.interface.index);
    stack::cover(&mut links);
    Ok(links)
}

/// A `struct ifinfomsg` (16 bytes: family, padding, type, index, flags, change mask) and its attributes. Only the needed
/// attributes are read, so that what a newer kernel adds cannot make an interface vanish.
fn parse(payload: &[u8]) -> Option<Link> {
    let header: &[u8; 16] = payload.first_chunk()?;
    let word = |at: usize| header[at..].first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    let link_type = LinkType(u16::from_ne_bytes([header[2], header[3]]));
    let (index, flags) = (word(4)?, word(8)?);
    let attributes = &payload[16..];
    let name = text(attribute(attributes, IFLA_IFNAME)?);
    let kind = attribute(attributes, IFLA_LINKINFO).and_then(|info| attribute(info, IFLA_INFO_KIND));
    let other = |which| {
        attribute(attributes, which)?
            .first_chunk()
            .map(|bytes| u32::from_ne_bytes(*bytes))
    };
    let is_elsewhere = attribute(attributes, IFLA_LINK_NETNSID).is_some();
    Some(Link {
        interface: Interface {
            index,
            name,
            up: flags & IFF_UP != 0,
            loopback: flags & IFF_LOOPBACK != 0,
            kind: kind.map(text),
            ethernet: link_type.has_ethernet_header(),
            covered: false,
            switched: false,
        },
        link_type,
        master: other(IFLA_MASTER),
        below: other(IFLA_LINK).filter(|_| !is_elsewhere),
    })
}

/// Names and indexes of all interfaces of the calling thread's namespace, an eighth of the price of [`list`].
pub(super) fn names() -> io::Result<BTreeMap<String, u32>> {
    // /proc/net would be the thread-group leader's namespace.
    let text = fs::read_to_string("/proc/thread-self/net/dev")?;
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    let names = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .filter(|name| !is_ours(name));
    // One that vanished meanwhile has no index.
    Ok(names
        .filter_map(|name| Some((name.to_owned(), name_to_index(&socket, name).ok()?)))
        .collect())
}
