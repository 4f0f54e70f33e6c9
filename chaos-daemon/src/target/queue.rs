//! Which queues (qdiscs) the devices of a namespace have.

use std::io;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::TcMessage;

use super::dump::{attribute, dump, text};
use super::visitor::LISTS;
use super::{Netns, TargetError};

/// Numbers of linux/rtnetlink.h.
const RTM_NEWQDISC: u16 = 36;
const TCA_KIND: u16 = 1;
const TCA_STATS: u16 = 3;

/// A queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Index of its device.
    pub ifindex: u32,
    /// What it hangs on, as linux/pkt_sched.h numbers it.
    pub parent: u32,
    /// Such as `fq`.
    pub kind: String,
    /// Packets that it has refused or let go of.
    pub drops: u32,
}

impl Queue {
    /// All of a namespace.
    ///
    /// # Errors
    /// The namespace is gone, or the kernel does not tell.
    pub fn all_of(netns: &Netns) -> Result<Vec<Self>, TargetError> {
        let looked = LISTS.visit(std::slice::from_ref(netns), list)?;
        let failed = |source| TargetError::io(format!("list the queues of {}", netns.label), source);
        looked.into_iter().try_fold(Vec::new(), |mut all, queues| {
            all.extend(queues?.map_err(failed)?);
            Ok(all)
        })
    }
}

fn list() -> io::Result<Vec<Queue>> {
    let question = RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default());
    dump(question, RTM_NEWQDISC, parse)
}

/// A `struct tcmsg` (20 bytes: family, padding, index, handle, parent, info) and its attributes.
fn parse(payload: &[u8]) -> Option<Queue> {
    let header: &[u8; 20] = payload.first_chunk()?;
    let word = |at: usize| header[at..].first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    // A `struct tc_stats`: bytes (8), packets, drops.
    let stats = attribute(&payload[20..], TCA_STATS);
    let drops = stats.and_then(|stats| stats.get(12..)?.first_chunk());
    Some(Queue {
        ifindex: word(4)?,
        parent: word(12)?,
        kind: text(attribute(&payload[20..], TCA_KIND)?),
        drops: drops.map_or(0, |drops| u32::from_ne_bytes(*drops)),
    })
}
