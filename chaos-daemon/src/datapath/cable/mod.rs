//! The kernel line of a device, for packets that do nothing but wait: a pair of devices, the near end in the target's
//! namespace, the far end in one of the daemon's own. The programs do all the rest (`action/wait.rs`, `hook/back.rs`).
//!
//! A packet goes in by the near end. At the far end each flow is received by one processor, its home, which turns it round
//! and has it wait in an `fq` queue that no other processor uses. So one and the same lets a flow's packets go, in their
//! order. Where the kernel has netkit (Linux 6.7), programs run where a device sends: a packet that comes from the processor
//! it is to wait on goes right into the queue, and goes on right after it. Through a veth it has to be received both times.

mod far;
mod fq;
mod pair;

use std::{io, sync::Arc};

use aya::programs::{ProgramFd, SchedClassifier};
use nix::net::if_::if_nametoindex;

pub use far::{Far, Refused};

use self::pair::Kind;
use super::{
    DatapathError,
    lost::Lost,
    netlink::{RTM_DELLINK, RTM_NEWLINK, Route, device},
    resume::Resume,
};
use crate::{
    sys::{bpf, tap::without_ipv6},
    target::{Netns, OURS},
};

/// More devices of ours than any namespace has.
const NAMES: u32 = 1 << 16;
/// Numbers of linux/if.h.
const IFF_UP: u32 = 1;
const IFF_NOARP: u32 = 0x80;

/// The programs at the ends, and how they get there.
pub struct Ends<'a> {
    near: Resume<'a>,
    far: Resume<'a>,
    /// What saves packets the way to the far end, where devices can have that.
    stay: Option<Resume<'a>>,
}

impl<'a> Ends<'a> {
    /// By TCX.
    pub fn links(near: &'a ProgramFd, far: &'a ProgramFd, stay: &'a ProgramFd) -> Self {
        Self {
            near: Resume::Link(near),
            far: Resume::Link(far),
            stay: Some(Resume::Link(stay)),
        }
    }

    /// By netlink.
    pub fn filters(near: SchedClassifier, far: SchedClassifier) -> Self {
        Self {
            near: Resume::Filter(Box::new(near)),
            far: Resume::Filter(Box::new(far)),
            stay: None,
        }
    }
}

/// A cable. Its devices go when it is dropped, or with the process.
#[derive(Debug)]
pub struct Cable {
    pub users: usize,
    /// Index of the near end.
    pub near: u32,
    far: Arc<Far>,
    /// Index of the far end.
    far_index: u32,
    /// What is known of what it has lost, once it is closing.
    told: Option<Lost>,
    /// Goes before the links: one to a device that has gone goes quickly.
    devices: Devices,
    _links: Vec<bpf::Link>,
}

/// What deletes the devices. Asked at the far end, which is there even when the target's namespace has gone.
#[derive(Debug)]
struct Devices {
    route: Route,
    far: String,
}

impl Drop for Devices {
    fn drop(&mut self) {
        // It may have gone with the target's namespace.
        if let Err(error) = self.route.ask(RTM_DELLINK, 0, &device(&self.far, 0)) {
            tracing::debug!(%error, "a kernel line was not there any more");
        }
    }
}

impl Cable {
    /// Lays one from a namespace.
    ///
    /// # Errors
    /// The kernel refuses; nothing is left of the attempt.
    pub fn lay(netns: &Netns, far: &Arc<Far>, ends: &mut Ends<'_>) -> Result<Self, DatapathError> {
        let failed = |e| DatapathError::system(format!("lay a kernel line in {}", netns.label), e);
        let name = format!("{OURS}{}", far.number());
        let devices = Devices {
            route: far.netns.run(Route::open)?.map_err(failed)?,
            far: name.clone(),
        };
        let (route, near_name) = netns.run(|| make(far, &name))?.map_err(failed)?;
        let turns = far.netns.run(|| {
            let index = if_nametoindex(name.as_str())?;
            fq::put_on_each(&devices.route, index, far.queues())?;
            Ok::<_, io::Error>((index, ends.far.attach(&name, bpf::Hook::TcxIngress)?))
        })?;
        let (far_index, turns) = turns.map_err(failed)?;
        far.steer(&name);
        let resumes = netns.run(|| {
            without_ipv6(&near_name)?;
            let near = if_nametoindex(near_name.as_str())?;
            let stays = match &mut ends.stay {
                Some(stay) if far.kind == Kind::Netkit => {
                    stay.attach(&near_name, bpf::Hook::NetkitPrimary)?
                }
                _ => None,
            };
            Ok::<_, io::Error>((near, [ends.near.attach(&near_name, far.kind.hook())?, stays]))
        })?;
        let (near, near_links) = resumes.map_err(failed)?;
        for (route, name) in [(&devices.route, &name), (&route, &near_name)] {
            route
                .ask(RTM_NEWLINK, 0, &device(name, IFF_UP | IFF_NOARP))
                .map_err(failed)?;
        }
        Ok(Self {
            users: 0,
            near,
            far: Arc::clone(far),
            far_index,
            told: None,
            devices,
            _links: turns
                .into_iter()
                .chain(near_links.into_iter().flatten())
                .collect(),
        })
    }

    /// What the queues of all cables have refused.
    pub fn refused(&self) -> Refused {
        self.far.refused()
    }

    /// Packets lost between its ends, of which the queues have lost what is said here by device.
    pub fn dropped(&self, by_queues: &Refused) -> u64 {
        self.far.dropped(&self.devices.far) + by_queues.of(self.far_index)
    }

    /// Has it say what it has lost so far, and, when it goes, the rest.
    pub fn tell(&mut self, lost: Lost) {
        lost.add(self.dropped(&self.refused()));
        self.told = Some(lost);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        if let Some(told) = &self.told {
            told.add(self.dropped(&self.refused()).saturating_sub(told.here()));
        }
    }
}

/// Makes the pair, both down, and gives the near end the first free name.
fn make(far: &Far, far_name: &str) -> io::Result<(Route, String)> {
    let route = Route::open()?;
    for n in 0..NAMES {
        let name = format!("{OURS}{n}");
        match far.kind.make(&route, &name, far_name, far.fd(), far.queues()) {
            Ok(()) => return Ok((route, name)),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}
