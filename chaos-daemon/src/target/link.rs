//! Asks the kernel, over rtnetlink, which interfaces the calling thread's network namespace has.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType};

use super::Interface;

/// Names of the devices that this daemon makes begin with this; no target includes them.
pub const OURS: &str = "chaos-line";

fn is_ours(name: &str) -> bool {
    name.starts_with(OURS)
}

/// Numbers of linux/netlink.h, linux/rtnetlink.h, linux/if_link.h and linux/if.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 16;
const RTM_NEWLINK: u16 = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
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
}

/// All interfaces of the namespace that the calling thread is in, by index.
pub(super) fn list() -> io::Result<Vec<Link>> {
    // The kernel marks a dump that a change cut in two; it settles after a try or so.
    for _ in 0..8 {
        if let Some(links) = dump()? {
            return Ok(links);
        }
    }
    Err(io::Error::other(
        "the interfaces change faster than they can be listed",
    ))
}

/// `None`: the list changed while it was read.
fn dump() -> io::Result<Option<Vec<Link>>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&request(), 0)?;
    let mut links = Vec::new();
    let mut whole = true;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
            whole &= message.flags() & NLM_F_DUMP_INTR == 0;
            match message.message_type() {
                NLMSG_DONE => {
                    links.sort_by_key(|link: &Link| link.interface.index);
                    return Ok(whole.then_some(links));
                }
                NLMSG_ERROR => return Err(error_of(message.payload())),
                RTM_NEWLINK => {
                    links.extend(parse(message.payload()).filter(|link| !is_ours(&link.interface.name)));
                }
                _ => {}
            }
            // Messages are padded to four bytes.
            let length = (message.length() as usize).next_multiple_of(4).min(rest.len());
            rest = &rest[length..];
        }
    }
}

fn request() -> Vec<u8> {
    let mut link = LinkMessage::default();
    // Without the statistics of every CPU the answer is a third of the size.
    link.attributes
        .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_DUMP | NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(RouteNetlinkMessage::GetLink(link)));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// An error message begins with the negated errno.
fn error_of(payload: &[u8]) -> io::Error {
    match payload.first_chunk() {
        Some(errno) => io::Error::from_raw_os_error(i32::from_ne_bytes(*errno).saturating_neg()),
        None => io::ErrorKind::InvalidData.into(),
    }
}

/// A `struct ifinfomsg` (16 bytes: family, padding, type, index, flags, change mask) and its attributes. Only the needed
/// attributes are read, so that what a newer kernel adds cannot make an interface vanish.
fn parse(payload: &[u8]) -> Option<Link> {
    let header: &[u8; 16] = payload.first_chunk()?;
    let word = |at: usize| header[at..].first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    let link_type = LinkType(u16::from_ne_bytes([header[2], header[3]]));
    let (index, flags) = (word(4)?, word(8)?);
    let name = text(attribute(&payload[16..], IFLA_IFNAME)?);
    let kind = attribute(&payload[16..], IFLA_LINKINFO).and_then(|info| attribute(info, IFLA_INFO_KIND));
    Some(Link {
        interface: Interface {
            index,
            name,
            up: flags & IFF_UP != 0,
            loopback: flags & IFF_LOOPBACK != 0,
            kind: kind.map(text),
            ethernet: link_type.has_ethernet_header(),
        },
        link_type,
    })
}

fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let mut all = NlasIterator::new(attributes).flatten();
    let found = all.find(|attribute| attribute.kind() == kind)?;
    let header = 4;
    found
        .into_inner()
        .get(header..)
        .map(|rest| &rest[..rest.len().min(found.value_length())])
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// Names and indexes of all interfaces of the calling thread's namespace, cheaper than [`list`]: what changes when one
/// comes, goes, or is made anew under its old name.
pub(super) fn glance() -> io::Result<BTreeMap<String, u32>> {
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
