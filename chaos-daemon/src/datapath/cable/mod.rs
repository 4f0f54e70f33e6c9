//! The kernel line of a device, for packets that do nothing but wait: a veth pair whose near end, in the target's
//! namespace, has an `fq` queue, and whose far end is in a namespace of the daemon's own. The programs do all the rest
//! (`action/wait.rs`, `hook/back.rs`).

mod far;
mod fq;

use std::{io, sync::Arc};

use aya::programs::{ProgramFd, SchedClassifier};
use nix::net::if_::if_nametoindex;

pub use far::Far;

use super::{
    DatapathError,
    lost::Lost,
    netlink::{NLM_F_CREATE, NLM_F_EXCL, RTM_DELLINK, RTM_NEWLINK, Route, attribute},
    resume::Resume,
};
use crate::{
    sys::{bpf, tap::without_ipv6},
    target::{Netns, OURS},
};

/// The largest that a veth takes: frames are as long as their devices make them.
const MTU: u32 = 65_535;
/// More devices of ours than any namespace has.
const NAMES: u32 = 1 << 16;

/// Numbers of linux/if_link.h, linux/veth.h and linux/if.h.
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFF_UP: u32 = 1;
const IFF_NOARP: u32 = 0x80;

/// The programs at the ends, and how they get there.
pub struct Ends<'a> {
    pub near: Resume<'a>,
    pub far: Resume<'a>,
}

impl<'a> Ends<'a> {
    /// By TCX.
    pub fn links(near: &'a ProgramFd, far: &'a ProgramFd) -> Self {
        Self {
            near: Resume::Link(near),
            far: Resume::Link(far),
        }
    }

    /// By netlink.
    pub fn filters(near: SchedClassifier, far: SchedClassifier) -> Self {
        Self {
            near: Resume::Filter(Box::new(near)),
            far: Resume::Filter(Box::new(far)),
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
        if let Err(error) = self.route.ask(RTM_DELLINK, 0, &named(&self.far, 0)) {
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
        let (route, near_name) = netns.run(|| make(far.fd(), &name))?.map_err(failed)?;
        let turns = far.netns.run(|| ends.far.attach(&name))?.map_err(failed)?;
        far.steer(&name);
        let resumes = netns.run(|| {
            without_ipv6(&near_name)?;
            let near = if_nametoindex(near_name.as_str())?;
            fq::put_on(&route, near)?;
            Ok::<_, io::Error>((near, ends.near.attach(&near_name)?))
        })?;
        let (near, resumes) = resumes.map_err(failed)?;
        for (route, name) in [(&devices.route, &name), (&route, &near_name)] {
            route
                .ask(RTM_NEWLINK, 0, &named(name, IFF_UP | IFF_NOARP))
                .map_err(failed)?;
        }
        Ok(Self {
            users: 0,
            near,
            far: Arc::clone(far),
            told: None,
            devices,
            _links: turns.into_iter().chain(resumes).collect(),
        })
    }

    /// Packets lost between its ends.
    pub fn dropped(&self) -> u64 {
        self.far.dropped(&self.devices.far)
    }

    /// Has it say what it has lost so far, and, when it goes, the rest.
    pub fn tell(&mut self, lost: Lost) {
        lost.add(self.dropped());
        self.told = Some(lost);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        if let Some(told) = &self.told {
            told.add(self.dropped().saturating_sub(told.here()));
        }
    }
}

/// Makes the pair, both down, and gives the near end the first free name.
fn make(far: i32, far_name: &str) -> io::Result<(Route, String)> {
    let route = Route::open()?;
    for n in 0..NAMES {
        let name = format!("{OURS}{n}");
        match route.ask(
            RTM_NEWLINK,
            NLM_F_CREATE | NLM_F_EXCL,
            &pair(&name, far, far_name),
        ) {
            Ok(()) => return Ok((route, name)),
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn pair(near: &str, far: i32, far_name: &str) -> Vec<u8> {
    let described = |name: &str| {
        let mut all = named(name, 0);
        for (kind, number) in [(IFLA_MTU, MTU), (IFLA_NUM_TX_QUEUES, 1), (IFLA_NUM_RX_QUEUES, 1)] {
            all.extend(attribute(kind, &number.to_ne_bytes()));
        }
        all
    };
    let namespace = attribute(IFLA_NET_NS_FD, &far.to_ne_bytes());
    let peer = [described(far_name), namespace].concat();
    let info = [
        attribute(IFLA_INFO_KIND, b"veth\0"),
        attribute(IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &peer)),
    ];
    [described(near), attribute(IFLA_LINKINFO, &info.concat())].concat()
}

/// A device by its name: a struct ifinfomsg (family, type, index, flags, and which of them are meant), and the name.
fn named(name: &str, flags: u32) -> Vec<u8> {
    let mut message = [0, 0, flags, flags].map(u32::to_ne_bytes).concat();
    message.extend(attribute(IFLA_IFNAME, &[name.as_bytes(), &[0]].concat()));
    message
}
