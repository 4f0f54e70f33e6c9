//! A hierarchical token bucket on a device of ours, by netlink (net/sched/sch_htb.c, include/uapi/linux/pkt_sched.h).

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Major number of the bucket's handle, which packets carry in their priority.
pub use chaos_ebpf_common::line::GATE_MAJOR as MAJOR;

/// Packets that may wait in one class. Each belongs to a socket, whose buffer bounds them; one that found no room here
/// would be forgotten, and its sender held back no longer.
const CLASS_PACKETS: u32 = 1 << 18;
/// Bytes that a class may send before others have their turn; given because the kernel would complain of its own.
const QUANTUM: u32 = 65_536;

/// Numbers of linux/rtnetlink.h and linux/netlink.h.
const RTM_NEWQDISC: u16 = 36;
const RTM_NEWTCLASS: u16 = 40;
const RTM_DELTCLASS: u16 = 41;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TC_H_ROOT: u32 = u32::MAX;
const TCA_HTB_PARMS: u16 = 1;
const TCA_HTB_INIT: u16 = 2;
const TCA_HTB_RATE64: u16 = 6;
const TCA_HTB_CEIL64: u16 = 7;
/// `TC_LINKLAYER_ETHERNET`: the kernel computes, and needs no table of rates.
const ETHERNET: u8 = 1;

/// The bucket of one device.
#[derive(Debug)]
pub struct Htb {
    socket: Socket,
    ifindex: u32,
}

impl Htb {
    /// Puts it on a device of the calling thread's network namespace, in place of the queue there is.
    ///
    /// # Errors
    /// The kernel has no HTB, or refuses.
    pub fn put_on(ifindex: u32) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let htb = Self { socket, ifindex };
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
        self.ask(RTM_DELTCLASS, 0, MAJOR << 16 | u32::from(minor), 0, &[])
    }

    fn create(&self, message: u16, handle: u32, parent: u32, kind: &[u8], options: &[u8]) -> io::Result<()> {
        let attributes = [attribute(TCA_KIND, kind), attribute(TCA_OPTIONS, options)].concat();
        self.ask(message, NLM_F_CREATE, handle, parent, &attributes)
    }

    fn ask(&self, message: u16, flags: u16, handle: u32, parent: u32, attributes: &[u8]) -> io::Result<()> {
        // struct nlmsghdr: length, type, flags, sequence, port; struct tcmsg: family, ifindex, handle, parent, info.
        const HEADERS: usize = 16 + 20;
        let mut bytes = Vec::with_capacity(HEADERS + attributes.len());
        bytes.extend(((HEADERS + attributes.len()) as u32).to_ne_bytes());
        bytes.extend(message.to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        for number in [0, 0, 0, self.ifindex, handle, parent, 0] {
            bytes.extend(u32::to_ne_bytes(number));
        }
        bytes.extend(attributes);
        self.socket.send(&bytes, 0)?;
        let (answer, _) = self.socket.recv_from_full()?;
        match (answer.get(4..6), answer.get(16..20)) {
            (Some(kind), Some(code)) if u16::from_ne_bytes([kind[0], kind[1]]) == NLMSG_ERROR => {
                match i32::from_ne_bytes([code[0], code[1], code[2], code[3]]) {
                    0 => Ok(()),
                    code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                }
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// A netlink attribute, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = value.len() + 4;
    let mut bytes = Vec::with_capacity(length.next_multiple_of(4));
    bytes.extend((length as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_say_their_length_without_the_padding() {
        assert_eq!(attribute(1, b"htb\0"), [8, 0, 1, 0, b'h', b't', b'b', 0]);
        assert_eq!(
            attribute(1, b"pfifo\0"),
            [10, 0, 1, 0, b'p', b'f', b'i', b'f', b'o', 0, 0, 0]
        );
    }
}
