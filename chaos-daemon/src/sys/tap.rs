//! A TAP device: a network device whose other end is a descriptor.

use std::{
    ffi::CStr,
    fs::OpenOptions,
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    os::unix::fs::OpenOptionsExt,
};

/// Numbers of linux/if_tun.h.
const IFF_TAP: i16 = 0x0002;
const IFF_NO_PI: i16 = 0x1000;
const IFF_VNET_HDR: i16 = 0x4000;
const TUN_F_CSUM: u32 = 0x01;
const TUN_F_TSO4: u32 = 0x02;
const TUN_F_TSO6: u32 = 0x04;
const TUN_F_TSO_ECN: u32 = 0x08;
const TUN_F_USO4: u32 = 0x20;
const TUN_F_USO6: u32 = 0x40;

nix::ioctl_write_int!(
    /// Which offloads the reader understands.
    tun_set_offload,
    b'T',
    208
);
/// `TUNSETIFF`: `_IOW('T', 202, int)`, which takes an `ifreq` all the same.
const TUNSETIFF: libc::Ioctl = 0x4004_54ca;

/// An open TAP device. It goes with its descriptor, that is, with the process, in whatever way that ends.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
    name: String,
    ifindex: u32,
}

impl Tap {
    /// Whether this host has such devices, and lets us at them.
    pub fn available() -> bool {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/net/tun")
            .is_ok()
    }

    /// Makes a device in the calling thread's network namespace, up, without addresses. `pattern` has a `%d` for
    /// the first free number; `backlog` is how many frames may wait to be read.
    ///
    /// # Errors
    /// The kernel has no TUN, or refuses.
    pub fn open(pattern: &str, mtu: u32, backlog: u32) -> io::Result<Self> {
        let fd = OwnedFd::from(
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
                .open("/dev/net/tun")?,
        );
        let mut request = request(pattern)?;
        request.ifr_ifru.ifru_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
        // SAFETY: TUNSETIFF reads and writes an ifreq.
        ioctl(unsafe { libc::ioctl(fd.as_raw_fd(), TUNSETIFF, &raw mut request) })?;
        // SAFETY: the kernel has ended the name with a zero.
        let name = unsafe { CStr::from_ptr(request.ifr_name.as_ptr()) }
            .to_string_lossy()
            .into_owned();
        let ifindex = nix::net::if_::if_nametoindex(name.as_str())?;
        without_ipv6(&name)?;
        let tap = Self { fd, name, ifindex };
        let number = |value: u32| libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX);
        tap.configure(libc::SIOCSIFMTU, |r| r.ifr_ifru.ifru_mtu = number(mtu))?;
        tap.configure(libc::SIOCSIFTXQLEN, |r| r.ifr_ifru.ifru_metric = number(backlog))?;
        tap.configure(libc::SIOCSIFFLAGS, |r| {
            r.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_NOARP) as i16;
        })?;
        Ok(tap)
    }

    /// Name of the device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Index of the device.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// Whether frames are read as super-packets with checksums still to be made, or each as it is on the wire.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_super_packets(&self, on: bool) -> io::Result<()> {
        const TCP: u32 = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
        let set = |flags: u32| {
            // SAFETY: an integer argument.
            unsafe { tun_set_offload(self.fd.as_raw_fd(), libc::c_ulong::from(flags)) }
        };
        if !on {
            set(0)?;
        } else if set(TCP | TUN_F_USO4 | TUN_F_USO6).is_err() {
            // UDP segmentation came with Linux 6.2.
            set(TCP)?;
        }
        Ok(())
    }

    /// Reads one frame with its virtio header into `buffer`; `None` when there is none.
    ///
    /// # Errors
    /// The device is gone.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match nix::unistd::read(&self.fd, buffer) {
            Ok(length) => Ok(Some(length)),
            Err(nix::errno::Errno::EAGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets a frame arrive at the device: its virtio header and itself, in pieces.
    ///
    /// # Errors
    /// The kernel refuses the frame, or the device is gone.
    pub fn write(&self, frame: &[io::IoSlice<'_>]) -> io::Result<()> {
        nix::sys::uio::writev(&self.fd, frame)?;
        Ok(())
    }

    fn configure(&self, what: libc::Ioctl, fill: impl FnOnce(&mut libc::ifreq)) -> io::Result<()> {
        let socket = nix::sys::socket::socket(
            nix::sys::socket::AddressFamily::Inet,
            nix::sys::socket::SockType::Datagram,
            nix::sys::socket::SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        let mut request = request(&self.name)?;
        fill(&mut request);
        // SAFETY: these calls read an ifreq.
        ioctl(unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw const request) })
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Has the kernel send no router solicitations out of a new device of the calling thread's namespace.
///
/// # Errors
/// It has IPv6, and does not let go of it.
pub fn without_ipv6(name: &str) -> io::Result<()> {
    match std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1") {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: an ifreq is plain bytes.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    Ok(request)
}

fn ioctl(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
