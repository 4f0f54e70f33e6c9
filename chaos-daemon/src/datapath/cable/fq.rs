//! The queues at the far end of a cable, one for each processor: fair queueing by the time at which each packet is to leave
//! (net/sched/sch_fq.c, include/uapi/linux/pkt_sched.h).

use std::io;

use super::super::netlink::{At, RTM_NEWQDISC, Route, TC_H_ROOT, attribute};

/// Packets that may wait, of all flows or of one: those of 2 s at 65,000 a second.
const PACKETS: u32 = 1 << 17;
/// What a flow may send before others have their turn: as much as a super-packet has.
const QUANTUM: u32 = 65_536;
/// Bits of a hash by which packets without a socket are told apart; see `action/wait.rs` of the programs.
const HASHES: u32 = (1 << 20) - 1;
/// Trees of flows, as a power of two: 8 KiB for each processor of the machine.
const TREES_LOG: u32 = 10;
/// Microseconds ahead that a packet may have to wait. Above all that is asked for, and what is above it waits so long.
const HORIZON: u32 = 600_000_000;

/// The queue of queues.
const MQ_MAJOR: u32 = 1;

const TCA_FQ_PLIMIT: u16 = 1;
const TCA_FQ_FLOW_PLIMIT: u16 = 2;
const TCA_FQ_QUANTUM: u16 = 3;
const TCA_FQ_INITIAL_QUANTUM: u16 = 4;
const TCA_FQ_RATE_ENABLE: u16 = 5;
const TCA_FQ_BUCKETS_LOG: u16 = 8;
const TCA_FQ_ORPHAN_MASK: u16 = 10;
const TCA_FQ_HORIZON: u16 = 14;
const TCA_FQ_HORIZON_DROP: u16 = 15;

/// Puts a queue of its own on each of the transmit queues of a device of the route's namespace.
///
/// # Errors
/// The kernel has no such queue, or refuses.
pub fn put_on_each(route: &Route, ifindex: u32, queues: u32) -> io::Result<()> {
    // A device with one has none to choose from (`mq_init`).
    if queues == 1 {
        return put_on(route, ifindex, TC_H_ROOT);
    }
    let root = At {
        ifindex,
        handle: MQ_MAJOR << 16,
        parent: TC_H_ROOT,
    };
    route.create_queue(RTM_NEWQDISC, root, b"mq\0", &[])?;
    for n in 1..=queues {
        put_on(route, ifindex, MQ_MAJOR << 16 | n)?;
    }
    Ok(())
}

/// Puts one at a place of a device of the route's namespace.
///
/// # Errors
/// As above.
pub fn put_on(route: &Route, ifindex: u32, parent: u32) -> io::Result<()> {
    let mut options: Vec<u8> = [
        (TCA_FQ_PLIMIT, PACKETS),
        (TCA_FQ_FLOW_PLIMIT, PACKETS),
        (TCA_FQ_QUANTUM, QUANTUM),
        (TCA_FQ_INITIAL_QUANTUM, QUANTUM),
        // Sockets have no say here.
        (TCA_FQ_RATE_ENABLE, 0),
        (TCA_FQ_BUCKETS_LOG, TREES_LOG),
        (TCA_FQ_ORPHAN_MASK, HASHES),
        (TCA_FQ_HORIZON, HORIZON),
    ]
    .iter()
    .flat_map(|(kind, number)| attribute(*kind, &number.to_ne_bytes()))
    .collect();
    options.extend(attribute(TCA_FQ_HORIZON_DROP, &[0]));
    let at = At {
        ifindex,
        handle: 0,
        parent,
    };
    route.create_queue(RTM_NEWQDISC, at, b"fq\0", &options)
}
