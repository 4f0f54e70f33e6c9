//! BPF links by hand. aya falls back to netlink when a link cannot be made, and what netlink attaches
//! outlives us or takes the place of somebody else's program; a fault tool wants a link or an error.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use aya_obj::generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_link_info, bpf_link_type, bpf_prog_type};

/// `BPF_F_BEFORE` without a relative: the head of the chain (include/uapi/linux/bpf.h).
const FIRST: u32 = 1 << 3;
/// `XDP_FLAGS_DRV_MODE`: the driver's own hook or nothing.
const NATIVE: u32 = 1 << 2;

/// Where a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// tc egress by TCX.
    TcxEgress,
    /// tc ingress by TCX.
    TcxIngress,
    /// What leaves by a netkit device.
    NetkitPrimary,
    /// What leaves by its peer.
    NetkitPeer,
    /// XDP in the driver.
    XdpNative,
    /// Sockets opened in a cgroup.
    SocketCreate,
}

impl Hook {
    fn attach_type(self) -> bpf_attach_type {
        match self {
            Self::TcxEgress => bpf_attach_type::BPF_TCX_EGRESS,
            Self::TcxIngress => bpf_attach_type::BPF_TCX_INGRESS,
            Self::NetkitPrimary => bpf_attach_type::BPF_NETKIT_PRIMARY,
            Self::NetkitPeer => bpf_attach_type::BPF_NETKIT_PEER,
            Self::XdpNative => bpf_attach_type::BPF_XDP,
            Self::SocketCreate => bpf_attach_type::BPF_CGROUP_INET_SOCK_CREATE,
        }
    }

    fn flags(self) -> u32 {
        match self {
            Self::TcxEgress | Self::TcxIngress | Self::NetkitPrimary | Self::NetkitPeer => FIRST,
            Self::XdpNative => NATIVE,
            Self::SocketCreate => 0,
        }
    }
}

/// An attached program. Detached when dropped, or when the process dies, in whatever way.
#[derive(Debug)]
pub struct Link(OwnedFd);

impl Link {
    /// Attaches to a device of the calling thread's network namespace, first in order.
    pub fn device(program: BorrowedFd<'_>, ifindex: u32, hook: Hook) -> io::Result<Self> {
        Self::create(program, ifindex, hook)
    }

    /// Attaches to a cgroup directory.
    pub fn cgroup(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> io::Result<Self> {
        Self::create(program, cgroup.as_raw_fd().unsigned_abs(), Hook::SocketCreate)
    }

    /// Attaches to a tracepoint of the kernel, for every process of the host.
    pub fn raw_tracepoint(program: BorrowedFd<'_>, name: &CStr) -> io::Result<Self> {
        let mut attr = zeroed();
        attr.raw_tracepoint.name = name.as_ptr() as u64;
        attr.raw_tracepoint.prog_fd = program.as_raw_fd().unsigned_abs();
        let fd = bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr)?;
        // SAFETY: BPF_RAW_TRACEPOINT_OPEN returns a new descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self(first_to_go(fd)))
    }

    fn create(program: BorrowedFd<'_>, target: u32, hook: Hook) -> io::Result<Self> {
        let mut attr = zeroed();
        attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd().unsigned_abs();
        attr.link_create.__bindgen_anon_2.target_fd = target;
        attr.link_create.attach_type = hook.attach_type() as u32;
        attr.link_create.flags = hook.flags();
        let fd = bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr)?;
        // SAFETY: BPF_LINK_CREATE returns a new descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self(first_to_go(fd)))
    }

    /// Whether the device or cgroup still exists; a link to a dead one stays, but does nothing.
    pub fn alive(&self) -> bool {
        // SAFETY: plain integers and unions of them.
        let mut info: bpf_link_info = unsafe { std::mem::zeroed() };
        let mut attr = zeroed();
        attr.info.bpf_fd = self.0.as_raw_fd().unsigned_abs();
        attr.info.info_len = size_of::<bpf_link_info>() as u32;
        attr.info.info = (&raw mut info) as u64;
        if bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr).is_err() {
            return false;
        }
        // SAFETY: the kernel has filled the member that belongs to `type_`.
        unsafe {
            if info.type_ == bpf_link_type::BPF_LINK_TYPE_TCX as u32 {
                info.__bindgen_anon_1.tcx.ifindex != 0
            } else if info.type_ == bpf_link_type::BPF_LINK_TYPE_XDP as u32 {
                info.__bindgen_anon_1.xdp.ifindex != 0
            } else if info.type_ == bpf_link_type::BPF_LINK_TYPE_CGROUP as u32 {
                info.__bindgen_anon_1.cgroup.cgroup_id != 0
            } else {
                true
            }
        }
    }
}

/// Gives a link a high number. When a process dies, the kernel lets go of its descriptors from the highest down
/// (`close_files` queues them, `task_work_run` takes the last first), and network devices take tens of
/// milliseconds to go: links have to be gone before.
fn first_to_go(fd: OwnedFd) -> OwnedFd {
    const HIGH: libc::rlim_t = 1 << 14;
    // SAFETY: plain integers, filled by the call.
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let above = (limit.rlim_cur / 2).min(HIGH) as libc::c_int;
    // SAFETY: plain integers.
    let high = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, above) };
    if high < 0 {
        return fd;
    }
    // SAFETY: a new descriptor that nobody else owns.
    unsafe { OwnedFd::from_raw_fd(high) }
}

/// Has the kernel make room for links' high numbers now. Later, a process with threads would wait for a grace period for it
/// (`expand_fdtable`), 10 to 30 ms, when its first fault begins.
pub fn make_room_for_links(any: BorrowedFd<'_>) -> io::Result<()> {
    any.try_clone_to_owned().map(first_to_go).map(drop)
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Gives a program a name in a BPF file system.
pub fn pin(program: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut attr = zeroed();
    attr.__bindgen_anon_4.pathname = path.as_ptr() as u64;
    attr.__bindgen_anon_4.bpf_fd = program.as_raw_fd().unsigned_abs();
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(drop)
}

/// One packet for [`test_run`].
#[derive(Clone, Debug, Default)]
pub struct TestPacket<'a> {
    /// The frame, from its link layer.
    pub frame: &'a [u8],
    /// Device it is said to be at, in the calling thread's namespace; 0 = its loopback.
    pub ifindex: u32,
    /// Wire packets it stands for. tc only.
    pub gso_segs: u32,
    /// MSS of a super-packet. tc only.
    pub gso_size: u32,
}

/// What a program did to a [`TestPacket`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestResult {
    /// Its return value.
    pub verdict: u32,
    /// The frame afterwards.
    pub frame: Vec<u8>,
    /// Mean nanoseconds a run.
    pub nanoseconds: u32,
}

/// Runs a tc (`context` = true) or XDP program `repeat` times over a packet, by BPF_PROG_TEST_RUN.
pub fn test_run(
    program: BorrowedFd<'_>,
    packet: &TestPacket<'_>,
    context: bool,
    repeat: u32,
) -> io::Result<TestResult> {
    // Answers are longer than what they answer.
    let mut out = vec![0u8; packet.frame.len() + 2048];
    // `struct __sk_buff` as words; the kernel wants all but a few of them zero.
    const IFINDEX: usize = 10;
    const GSO_SEGS: usize = 41;
    const GSO_SIZE: usize = 44;
    let mut skb = [0u32; 48];
    skb[IFINDEX] = packet.ifindex;
    skb[GSO_SEGS] = packet.gso_segs;
    skb[GSO_SIZE] = packet.gso_size;
    let mut attr = zeroed();
    attr.test.prog_fd = program.as_raw_fd().unsigned_abs();
    attr.test.data_in = packet.frame.as_ptr() as u64;
    attr.test.data_size_in = packet.frame.len() as u32;
    attr.test.data_out = out.as_mut_ptr() as u64;
    attr.test.data_size_out = out.len() as u32;
    attr.test.repeat = repeat;
    // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let xdp = [0, packet.frame.len() as u32, 0, packet.ifindex, 0, 0];
    if context {
        attr.test.ctx_in = skb.as_ptr() as u64;
        attr.test.ctx_size_in = size_of_val(&skb) as u32;
    } else if packet.ifindex != 0 {
        attr.test.ctx_in = xdp.as_ptr() as u64;
        attr.test.ctx_size_in = size_of_val(&xdp) as u32;
    }
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr)?;
    // SAFETY: the kernel has filled this member of the union.
    let (verdict, length, nanoseconds) =
        unsafe { (attr.test.retval, attr.test.data_size_out, attr.test.duration) };
    out.truncate(length as usize);
    Ok(TestResult {
        verdict,
        frame: out,
        nanoseconds,
    })
}

/// A tc program that only says "next": the yardstick that measurements of [`test_run`] are taken against.
pub fn load_empty_classifier() -> io::Result<OwnedFd> {
    const NEXT: i32 = -1;
    load(
        bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS,
        &[set_register(0, NEXT), EXIT],
    )
}

/// An XDP program that only drops: the yardstick for those that look before they do.
pub fn load_bare_xdp_drop() -> io::Result<OwnedFd> {
    const XDP_DROP: i32 = 1;
    load(
        bpf_prog_type::BPF_PROG_TYPE_XDP,
        &[set_register(0, XDP_DROP), EXIT],
    )
}

/// Sends `count` copies of a frame out of a device of the calling thread's namespace, as fast as one CPU can, from XDP
/// to XDP: a veth takes them when there is an XDP program at its other end.
pub fn send_by_xdp(ifindex: u32, frame: &[u8], count: u32) -> io::Result<()> {
    /// `bpf_redirect`, as a call.
    const REDIRECT: u64 = 23 << 32 | 0x85;
    const LIVE_FRAMES: u32 = 1 << 1;
    let ifindex = i32::try_from(ifindex).map_err(io::Error::other)?;
    let code = [set_register(1, ifindex), set_register(2, 0), REDIRECT, EXIT];
    let program = load(bpf_prog_type::BPF_PROG_TYPE_XDP, &code)?;
    let mut attr = zeroed();
    attr.test.prog_fd = program.as_raw_fd().unsigned_abs();
    attr.test.data_in = frame.as_ptr() as u64;
    attr.test.data_size_in = frame.len() as u32;
    attr.test.repeat = count;
    attr.test.flags = LIVE_FRAMES;
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr).map(drop)
}

/// `exit`, as the kernel has it in memory.
const EXIT: u64 = 0x95;

/// `r = value`
const fn set_register(register: u64, value: i32) -> u64 {
    (value as u64) << 32 | register << 8 | 0xb7
}

/// Loads a program that is so short that it is written by hand.
fn load(kind: bpf_prog_type, code: &[u64]) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    attr.__bindgen_anon_3.prog_type = kind as u32;
    attr.__bindgen_anon_3.insn_cnt = code.len() as u32;
    attr.__bindgen_anon_3.insns = code.as_ptr() as u64;
    attr.__bindgen_anon_3.license = c"Dual MIT/GPL".as_ptr() as u64;
    let fd = bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr)?;
    // SAFETY: BPF_PROG_LOAD returns a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Ids of all maps of the kernel. Opens none: to open and close a program array whose last descriptor has just been
/// closed makes the kernel (seen on 6.18) clear it a second time and keep it for ever
/// (`prog_array_map_clear` takes a reference for a work that may already wait, and the work gives one back).
pub fn map_ids() -> Vec<u32> {
    let next = |id: &u32| {
        let mut attr = zeroed();
        attr.__bindgen_anon_6.__bindgen_anon_1.start_id = *id;
        bpf(bpf_cmd::BPF_MAP_GET_NEXT_ID, &mut attr).ok()?;
        // SAFETY: the kernel has filled this member of the union.
        Some(unsafe { attr.__bindgen_anon_6.next_id })
    };
    std::iter::successors(next(&0), next).collect()
}

/// Whether the kernel has TCX (6.6): asks who is attached to a device, which attaches nothing.
pub fn has_tcx() -> bool {
    const LOOPBACK: u32 = 1;
    let mut attr = zeroed();
    attr.query.__bindgen_anon_1.target_ifindex = LOOPBACK;
    attr.query.attach_type = bpf_attach_type::BPF_TCX_INGRESS as u32;
    match bpf(bpf_cmd::BPF_PROG_QUERY, &mut attr) {
        Ok(_) => true,
        // Known attach type, but nobody is attached there.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

fn zeroed() -> bpf_attr {
    // SAFETY: a union of plain integers; the kernel wants unused bytes zero.
    unsafe { std::mem::zeroed() }
}

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i32> {
    // SAFETY: the attribute is valid for its whole size, and its pointers outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            std::ptr::from_mut(attr),
            size_of::<bpf_attr>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as i32)
    }
}
