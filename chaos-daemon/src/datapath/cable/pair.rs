//! The two devices of a cable (include/uapi/linux/if_link.h, linux/veth.h).

use std::io;

use super::super::netlink::{NLM_F_CREATE, NLM_F_EXCL, RTM_NEWLINK, Route, attribute, device};
use crate::sys::bpf;

/// The largest that they take: frames are as long as their devices make them.
const MTU: u32 = 65_535;

const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_NETKIT_PEER_INFO: u16 = 1;
const IFLA_NETKIT_PEER_POLICY: u16 = 4;
const IFLA_NETKIT_MODE: u16 = 5;
/// Frames with Ethernet headers.
const NETKIT_L2: u32 = 0;
/// Without a program, what comes from the far end is lost: nobody else is to see it.
const NETKIT_DROP: u32 = 2;

/// What the devices are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of which one has its program run where the other one sends.
    Netkit,
    /// Of which one receives what the other one sends.
    Veth,
}

impl Kind {
    /// Where the program of the near end meets what comes from the far end.
    pub fn hook(self) -> bpf::Hook {
        match self {
            Self::Netkit => bpf::Hook::NetkitPeer,
            Self::Veth => bpf::Hook::TcxIngress,
        }
    }

    /// Makes both, down: the near end in the namespace of the route, the far end, with so many queues, in another one.
    ///
    /// # Errors
    /// The kernel does not have this kind, or refuses.
    pub fn make(self, route: &Route, near: &str, far: &str, netns: i32, queues: u32) -> io::Result<()> {
        let namespace = attribute(IFLA_NET_NS_FD, &netns.to_ne_bytes());
        let peer = [described(far, queues), namespace].concat();
        let word = |kind: u16, number: u32| attribute(kind, &number.to_ne_bytes());
        let (name, data): (&[u8], _) = match self {
            Self::Netkit => (
                b"netkit\0",
                [
                    attribute(IFLA_NETKIT_PEER_INFO, &peer),
                    word(IFLA_NETKIT_PEER_POLICY, NETKIT_DROP),
                    word(IFLA_NETKIT_MODE, NETKIT_L2),
                ]
                .concat(),
            ),
            Self::Veth => (b"veth\0", attribute(VETH_INFO_PEER, &peer)),
        };
        let info = [attribute(IFLA_INFO_KIND, name), attribute(IFLA_INFO_DATA, &data)].concat();
        let message = [described(near, 1), attribute(IFLA_LINKINFO, &info)].concat();
        route.ask(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &message)
    }
}

fn described(name: &str, queues: u32) -> Vec<u8> {
    let mut all = device(name, 0);
    for (kind, number) in [
        (IFLA_MTU, MTU),
        (IFLA_NUM_TX_QUEUES, queues),
        (IFLA_NUM_RX_QUEUES, 1),
    ] {
        all.extend(attribute(kind, &number.to_ne_bytes()));
    }
    all
}
