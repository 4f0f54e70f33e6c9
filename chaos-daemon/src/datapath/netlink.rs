//! Requests to rtnetlink that change something, one at a time (include/uapi/linux/rtnetlink.h, if_link.h, pkt_sched.h).

use std::io;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Numbers of linux/rtnetlink.h and linux/netlink.h.
pub const RTM_NEWLINK: u16 = 16;
pub const RTM_DELLINK: u16 = 17;
pub const RTM_NEWQDISC: u16 = 36;
pub const NLM_F_CREATE: u16 = 0x400;
pub const NLM_F_EXCL: u16 = 0x200;
pub const TC_H_ROOT: u32 = u32::MAX;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const IFLA_IFNAME: u16 = 3;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;

/// A queue, or a class of one: where it is, and what it is called.
#[derive(Clone, Copy, Debug)]
pub struct At {
    pub ifindex: u32,
    pub handle: u32,
    pub parent: u32,
}

/// A socket of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Route(Socket);

impl Route {
    /// Opens one in the calling thread's namespace.
    ///
    /// # Errors
    /// No socket is to be had.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Makes a queue or a class.
    ///
    /// # Errors
    /// The kernel does not know this kind, or refuses.
    pub fn create_queue(&self, message: u16, at: At, kind: &[u8], options: &[u8]) -> io::Result<()> {
        let attributes = [attribute(TCA_KIND, kind), attribute(TCA_OPTIONS, options)].concat();
        self.ask_of_queue(message, NLM_F_CREATE, at, &attributes)
    }

    /// Something else about a queue or a class.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn ask_of_queue(&self, message: u16, flags: u16, at: At, attributes: &[u8]) -> io::Result<()> {
        // struct tcmsg: family, ifindex, handle, parent, info.
        let mut body: Vec<u8> = [0, at.ifindex, at.handle, at.parent, 0]
            .map(u32::to_ne_bytes)
            .concat();
        body.extend(attributes);
        self.ask(message, flags, &body)
    }

    /// Sends a request and waits for what the kernel says.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn ask(&self, message: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        // struct nlmsghdr: length, type, flags, sequence, port.
        const HEADER: usize = 16;
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend(((HEADER + body.len()) as u32).to_ne_bytes());
        bytes.extend(message.to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        self.0.send(&bytes, 0)?;
        let (answer, _) = self.0.recv_from_full()?;
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

/// A device by its name: a struct ifinfomsg (family, type, index, flags, and which of them are meant), and the name.
pub fn device(name: &str, flags: u32) -> Vec<u8> {
    let mut message = [0, 0, flags, flags].map(u32::to_ne_bytes).concat();
    message.extend(attribute(IFLA_IFNAME, &[name.as_bytes(), &[0]].concat()));
    message
}

/// A netlink attribute, padded to four bytes.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
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
