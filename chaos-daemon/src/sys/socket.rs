//! Sockets of others, and the identity of a network namespace.

use std::{
    io,
    net::UdpSocket,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

const SO_NETNS_COOKIE: libc::c_int = 71;
const SO_PEERGROUPS: libc::c_int = 59;

/// The cookie of the calling thread's network namespace: a number never used twice (Linux 5.14).
pub fn netns_cookie() -> io::Result<u64> {
    let socket = UdpSocket::bind("0.0.0.0:0").or_else(|_| UdpSocket::bind("[::]:0"))?;
    number(socket.as_fd(), SO_NETNS_COOKIE)
}

/// Whether a descriptor is a network namespace, and none of another kind.
///
/// # Errors
/// It is no namespace at all.
pub fn is_network_namespace(file: BorrowedFd<'_>) -> io::Result<bool> {
    // _IO(0xb7, 3), since Linux 4.11.
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: this request takes no argument and only reads the descriptor.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    if kind < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(kind == libc::CLONE_NEWNET)
}

/// The cookie of a socket, as `bpf_get_socket_cookie` gives it.
pub fn cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    number(socket, libc::SO_COOKIE)
}

fn number(socket: BorrowedFd<'_>, option: libc::c_int) -> io::Result<u64> {
    let mut number = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into `number`.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut number).cast(),
            &raw mut length,
        )
    };
    if failed == 0 {
        Ok(number)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The groups of whoever is at the other end of a unix socket, as they were when it connected.
pub fn peer_groups(socket: impl AsFd) -> io::Result<Vec<u32>> {
    // The most that a process can have is NGROUPS_MAX, 65536; nearly everybody has a few.
    let mut groups = vec![0u32; 64];
    loop {
        let mut length = (groups.len() * size_of::<u32>()) as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes into `groups`.
        let failed = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let needed = length as usize / size_of::<u32>();
        if failed == 0 {
            groups.truncate(needed);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || needed <= groups.len() {
            return Err(error);
        }
        groups.resize(needed, 0);
    }
}

/// Whether a descriptor is an IPv4 or IPv6 socket.
pub fn is_internet(socket: BorrowedFd<'_>) -> bool {
    let mut domain: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: as above.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_DOMAIN,
            (&raw mut domain).cast(),
            &raw mut length,
        )
    };
    failed == 0 && (domain == libc::AF_INET || domain == libc::AF_INET6)
}

/// A process, held so that its number cannot be reused under our hands.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// Takes hold of a process.
    pub fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: plain integers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            Err(io::Error::last_os_error())
        } else {
            // SAFETY: a new descriptor that nobody else owns.
            Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
        }
    }

    /// A copy of one of its descriptors.
    pub fn descriptor(&self, number: i32) -> io::Result<OwnedFd> {
        // SAFETY: plain integers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, self.0.as_raw_fd(), number, 0) };
        if fd < 0 {
            Err(io::Error::last_os_error())
        } else {
            // SAFETY: a new descriptor that nobody else owns.
            Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
        }
    }
}
