//! A hierarchical token bucket on a device of ours, by netlink (net/sched/sch_htb.c, include/uapi/linux/pkt_sched.h).

use std::io;

use super::super::netlink::{At, RTM_NEWQDISC, Route, TC_H_ROOT, attribute};

/// Major number of the bucket's handle, which packets carry in their priority.
pub use chaos_ebpf_common::line::GATE_MAJOR as MAJOR;

/// Packets that may wait in one class. Each belongs to a socket, whose buffer bounds them; one that found no room here
/// would be forgotten, and its sender held back no longer.
const CLASS_PACKETS: u32 = 1 << 18;
/// Bytes that a class may send before others have their turn; given because the kernel would complain of its own.
const QUANTUM: u32 = 65_536;

/// Numbers of linux/rtnetlink.h and linux/pkt_sched.h.
const RTM_NEWTCLASS: u16 = 40;
const RTM_DELTCLASS: u16 = 41;
const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_INIT: u16 = 2;
const TCA_HTB_RATE64: u16 = 6;
const TCA_HTB_CEIL64: u16 = 7;
/// `TC_LINKLAYER_ETHERNET`: the kernel computes, and needs no table of rates.
const ETHERNET: u8 = 1;

/// The bucket of one device.
#[derive(Debug)]
pub struct Htb {
    route: Route,
    ifindex: u32,
}

impl Htb {
    /// Puts it on a device of the calling thread's network namespace, in place of the queue there is.
    ///
    /// # Errors
    /// The kernel has no HTB, or refuses.
    pub fn put_on(ifindex: u32) -> io::Result<Self> {
        let route = Route::open()?;
        let htb = Self { route, ifindex };
        // struct tc_htb_glob: version, rate2quantum, default class, debug, direct packets.
        let global: Vec<u8> = [3_u32, 10, 0, 0, 0].map(u32::to_ne_bytes).concat();
        let options = attribute(TCA_HTB_INIT, &global);
        htb.create(RTM_NEWQDISC, MAJOR << 16, TC_H_ROOT, b"htb\0", &options)?;
        Ok(htb)
    }

    /// A class of `rate` bytes a second that lets `burst` bytes go at once.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add(&self, minor: u16, rate: u64, burst: u64) -> io::Result<()> {
        let rate = rate.max(1);
        // A struct tc_ratespec: cell_log, linklayer, overhead, cell_align, mpu, rate.
        let mut spec = vec![0, ETHERNET, 0, 0, 0, 0, 0, 0];
        spec.extend(u32::try_from(rate).unwrap_or(u32::MAX).to_ne_bytes());
        // Ticks of 64 ns.
        let buffer = u128::from(burst) * 1_000_000_000 / u128::from(rate) / 64;
        let buffer = u32::try_from(buffer).unwrap_or(u32::MAX);
        // struct tc_htb_opt: rate, ceil, buffer, cbuffer, quantum, level, prio.
        let mut parameters = [spec.as_slice(), &spec].concat();
        for number in [buffer, buffer, QUANTUM, 0, 0] {
            parameters.extend(number.to_ne_bytes());
        }
        let options = [
            attribute(TCA_HTB_PARMS, &parameters),
            attribute(TCA_HTB_RATE64, &rate.to_ne_bytes()),
            attribute(TCA_HTB_CEIL64, &rate.to_ne_bytes()),
        ]
        .concat();
        let class = MAJOR << 16 | u32::from(minor);
        self.create(RTM_NEWTCLASS, class, MAJOR << 16, b"htb\0", &options)?;
        // struct tc_fifo_qopt. The queue that a class has by itself is as short as the device's.
        let limit = CLASS_PACKETS.to_ne_bytes();
        let queue = self.create(RTM_NEWQDISC, 0, class, b"pfifo\0", &limit);
        if queue.is_err() {
            // Without one, nothing would wait.
            let _ = self.remove(minor);
        }
        queue
    }

    /// Takes a class away, with all that waits in it.
    ///
    /// # Errors
    /// There is none.
    pub fn remove(&self, minor: u16) -> io::Result<()> {
        let at = self.at(MAJOR << 16 | u32::from(minor), 0);
        self.route.ask_of_queue(RTM_DELTCLASS, 0, at, &[])
    }

    fn create(&self, message: u16, handle: u32, parent: u32, kind: &[u8], options: &[u8]) -> io::Result<()> {
        self.route
            .create_queue(message, self.at(handle, parent), kind, options)
    }

    fn at(&self, handle: u32, parent: u32) -> At {
        At {
            ifindex: self.ifindex,
            handle,
            parent,
        }
    }
}
