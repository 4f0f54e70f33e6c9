//! A packet socket: frames out of a device, many in one call.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// Numbers of linux/if_packet.h.
const PACKET_VNET_HDR: libc::c_int = 15;
/// Bytes of frames that may wait in the device's queue.
const SEND_BUFFER: libc::c_int = 64 << 20;
/// Where a frame says its protocol: behind a virtio header (linux/virtio_net.h, 10 bytes) and two addresses.
const PROTOCOL: usize = 10 + 12;
/// Most frames of one call.
pub const BATCH: usize = 64;

/// A frame to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Virtio header and frame, one after the other.
    pub pieces: &'a [IoSlice<'a>],
    /// Its mark.
    pub mark: u32,
}

impl Outgoing<'_> {
    /// EtherType, network byte order. Its first piece holds all headers.
    fn protocol(&self) -> Option<u16> {
        let bytes = self.pieces.first()?.get(PROTOCOL..PROTOCOL + 2)?;
        Some(u16::from_ne_bytes(bytes.try_into().ok()?))
    }
}

/// Sends out of one device; frames that arrive are none of its business.
#[derive(Debug)]
pub struct Sender {
    fd: OwnedFd,
    cookie: u64,
    /// Where to, for devices of which the kernel has to be told the protocol of each frame.
    told: Option<libc::sockaddr_ll>,
}

#[repr(C)]
struct MarkMessage {
    header: libc::cmsghdr,
    mark: u32,
    _pad: u32,
}

impl Sender {
    /// For a device of the calling thread's network namespace. `tell`: the kernel cannot read the protocol of a frame for this
    /// device (an ipvlan that routes drops such frames on Linux 6.1).
    ///
    /// # Errors
    /// The kernel refuses, or there is no such device.
    pub fn open(ifindex: u32, tell: bool) -> io::Result<Self> {
        // Protocol 0: nothing is received.
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        set(&fd, libc::SOL_PACKET, PACKET_VNET_HDR, 1)?;
        set(&fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SEND_BUFFER)?;
        // SAFETY: plain integers.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = libc::c_int::try_from(ifindex).map_err(io::Error::other)?;
        // SAFETY: an address of the size given.
        let bound = unsafe {
            libc::bind(
                fd.as_raw_fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        };
        if bound < 0 {
            return Err(io::Error::last_os_error());
        }
        let cookie = super::socket::cookie(fd.as_fd())?;
        Ok(Self {
            fd,
            cookie,
            told: tell.then_some(address),
        })
    }

    /// The socket's cookie, by which programs know its packets.
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    /// Sends up to [`BATCH`] frames and says how many were taken; fewer when one was refused.
    ///
    /// # Errors
    /// The first was refused.
    pub fn send(&self, frames: &[Outgoing<'_>]) -> io::Result<usize> {
        let frames = &frames[..frames.len().min(BATCH)];
        let mut marks = [const { MaybeUninit::<MarkMessage>::uninit() }; BATCH];
        let mut places = [const { MaybeUninit::<libc::sockaddr_ll>::uninit() }; BATCH];
        let mut messages = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
        for (i, frame) in frames.iter().enumerate() {
            // SAFETY: plain integers and pointers.
            let message = messages[i].write(unsafe { std::mem::zeroed() });
            // An `IoSlice` is an iovec; the kernel only reads it.
            message.msg_hdr.msg_iov = frame.pieces.as_ptr().cast_mut().cast();
            message.msg_hdr.msg_iovlen = frame.pieces.len() as _;
            if let Some(told) = self.told
                && let Some(protocol) = frame.protocol()
            {
                let place = places[i].write(libc::sockaddr_ll {
                    sll_protocol: protocol,
                    ..told
                });
                message.msg_hdr.msg_name = (&raw mut *place).cast();
                message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            }
            if frame.mark != 0 {
                // SAFETY: plain integers.
                let mark = marks[i].write(unsafe { std::mem::zeroed() });
                mark.header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<u32>()) as _;
                mark.header.cmsg_level = libc::SOL_SOCKET;
                mark.header.cmsg_type = libc::SO_MARK;
                mark.mark = frame.mark;
                message.msg_hdr.msg_control = (&raw mut *mark).cast();
                message.msg_hdr.msg_controllen = size_of::<MarkMessage>() as _;
            }
        }
        // SAFETY: as many messages as there are frames have been written; they describe memory that outlives the call.
        let sent = unsafe {
            libc::sendmmsg(
                self.fd.as_raw_fd(),
                messages.as_mut_ptr().cast(),
                frames.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(sent.unsigned_abs() as usize)
        }
    }
}

fn set(fd: &impl AsFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let fd: BorrowedFd<'_> = fd.as_fd();
    // SAFETY: an int of the size given.
    let failed = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
