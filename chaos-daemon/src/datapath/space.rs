//! A target namespace: its programs, and where they are attached.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::{AsFd, BorrowedFd},
};

use aya::programs::ProgramFd;
use chaos_ebpf_common::abi::Hook;
use chaos_spec::api::Mode;

use super::{
    DatapathError,
    clsact::{self, Filter, Qdisc},
    line::Line,
    object::{Object, Programs},
    waits::Cables,
    ways::Tenants,
};
use crate::{
    safety::journal::Journal,
    sys::{bpf, socket::netns_cookie},
    target::{Interface, Netns},
};

/// How programs get to tc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcMode {
    /// BPF links, first in order; gone with the process.
    Tcx,
    /// A clsact qdisc and netlink filters; these outlive the process, and the lease makes them harmless.
    Clsact,
}

enum Attached {
    /// A link that is still to be made: [`Space::attach_due`].
    Due,
    Link(bpf::Link),
    Filter(Filter),
}

struct Place {
    attached: Attached,
    users: usize,
    name: String,
}

impl Place {
    fn is_filter(&self) -> bool {
        matches!(self.attached, Attached::Filter(_))
    }
}

/// Descriptors of a namespace's programs.
pub struct ProgramFds<'a> {
    /// tc egress.
    pub egress: BorrowedFd<'a>,
    /// tc ingress.
    pub ingress: BorrowedFd<'a>,
    /// XDP, once a fault has used it.
    pub xdp: Option<BorrowedFd<'a>>,
}

/// A target namespace.
pub struct Space {
    /// Index into the `NETNS` map.
    pub index: u32,
    /// Cookie, for the tagger.
    pub cookie: u64,
    /// The namespace.
    pub netns: Netns,
    pub programs: Programs,
    xdp: Option<ProgramFd>,
    /// The user line, once a fault has needed one.
    pub line: Option<Line>,
    /// The kernel line, of devices on which faults need it.
    pub cables: Cables,
    /// Devices of this namespace that are in `COVERED`.
    pub covered: HashSet<u32>,
    /// How the faults of each hook travel.
    pub tenants: HashMap<Hook, Tenants>,
    places: HashMap<(u32, Hook), Place>,
    /// clsact qdiscs of ours, by device.
    qdiscs: HashMap<u32, Qdisc>,
}

impl Space {
    /// Gives programs a namespace; attaches nothing yet.
    pub fn open(index: u32, netns: Netns, programs: Programs) -> Result<Self, DatapathError> {
        let cookie = netns
            .run(netns_cookie)?
            .map_err(|e| DatapathError::system("read the namespace's cookie", e))?;
        Ok(Self {
            index,
            cookie,
            netns,
            programs,
            xdp: None,
            line: None,
            cables: Cables::default(),
            covered: HashSet::new(),
            tenants: HashMap::new(),
            places: HashMap::new(),
            qdiscs: HashMap::new(),
        })
    }

    /// The programs.
    pub fn program_fds(&self) -> ProgramFds<'_> {
        ProgramFds {
            egress: self.programs.egress.as_fd(),
            ingress: self.programs.ingress.as_fd(),
            xdp: self.xdp.as_ref().map(AsFd::as_fd),
        }
    }

    /// Whether nothing is attached here.
    pub fn is_idle(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether anything is attached to this device.
    pub fn is_on(&self, ifindex: u32) -> bool {
        self.places.keys().any(|(at, _)| *at == ifindex)
    }

    /// Attaches to a hook of these devices, or counts one more user where that has been done. All or none. Where links
    /// are to be made, [`Space::attach_due`] has to follow.
    pub fn hold(
        &mut self,
        object: &Object,
        interfaces: &[Interface],
        hook: Hook,
        mode: TcMode,
        journal: &mut Journal,
    ) -> Result<(), DatapathError> {
        let missing: Vec<&Interface> = interfaces
            .iter()
            .filter(|interface| !self.places.contains_key(&(interface.index, hook)))
            .collect();
        if !missing.is_empty() {
            let made = match (hook, mode) {
                (Hook::Xdp, _) => self.attach_xdp(object, &missing)?,
                (_, TcMode::Tcx) => missing.iter().map(|_| Attached::Due).collect(),
                (_, TcMode::Clsact) => self.attach_clsact(object, &missing, hook, journal)?,
            };
            for (interface, attached) in missing.iter().zip(made) {
                let place = Place {
                    attached,
                    users: 0,
                    name: interface.name.clone(),
                };
                self.places.insert((interface.index, hook), place);
            }
        }
        for interface in interfaces {
            if let Some(place) = self.places.get_mut(&(interface.index, hook)) {
                place.users += 1;
            }
        }
        Ok(())
    }

    /// Counts one user less and detaches where nobody is left.
    pub fn let_go(&mut self, interfaces: &[Interface], hook: Hook, journal: &mut Journal) {
        let mut filters = Vec::new();
        for interface in interfaces {
            let key = (interface.index, hook);
            let Some(place) = self.places.get_mut(&key) else {
                continue;
            };
            place.users = place.users.saturating_sub(1);
            if place.users == 0
                && let Some(Place {
                    attached: Attached::Filter(filter),
                    ..
                }) = self.places.remove(&key)
            {
                filters.push(filter);
            }
        }
        if !filters.is_empty() {
            let qdiscs = self.take_idle_qdiscs();
            clsact::remove(&self.netns, filters, qdiscs, journal);
        }
    }

    /// Our qdiscs on devices where no filter of ours is left.
    fn take_idle_qdiscs(&mut self) -> Vec<Qdisc> {
        let places = &self.places;
        let used = |ifindex: &u32| {
            places
                .iter()
                .any(|((at, _), place)| at == ifindex && place.is_filter())
        };
        self.qdiscs
            .extract_if(|ifindex, _| !used(ifindex))
            .map(|(_, qdisc)| qdisc)
            .collect()
    }

    /// How a hook of a device is attached.
    pub fn mode(&self, ifindex: u32, hook: Hook) -> Option<Mode> {
        self.places
            .get(&(ifindex, hook))
            .map(|place| match (hook, &place.attached) {
                (Hook::Xdp, _) => Mode::XdpNative,
                (_, Attached::Link(_) | Attached::Due) => Mode::Tcx,
                (_, Attached::Filter(_)) => Mode::Clsact,
            })
    }

    /// Whether this hook of this device is attached and the device still exists.
    pub fn alive(&self, ifindex: u32, hook: Hook) -> bool {
        match self.places.get(&(ifindex, hook)) {
            Some(Place {
                attached: Attached::Link(link),
                ..
            }) => link.alive(),
            Some(Place { name, .. }) => {
                let name = name.clone();
                self.netns
                    .run(move || {
                        nix::net::if_::if_nametoindex(name.as_str()).is_ok_and(|found| found == ifindex)
                    })
                    .unwrap_or(false)
            }
            None => false,
        }
    }

    /// Whether the link to this hook of a device is still to be made.
    pub fn is_due(&self, ifindex: u32, hook: Hook) -> bool {
        let place = self.places.get(&(ifindex, hook));
        place.is_some_and(|place| matches!(place.attached, Attached::Due))
    }

    /// Makes the links that are due. One that fails stays due, as do those after it.
    pub fn attach_due(&mut self) -> Result<(), DatapathError> {
        let due: Vec<(u32, Hook)> = self
            .places
            .keys()
            .copied()
            .filter(|(ifindex, hook)| self.is_due(*ifindex, *hook))
            .collect();
        for hook in [Hook::Egress, Hook::Ingress] {
            let indices: Vec<u32> = due
                .iter()
                .filter(|(_, at)| *at == hook)
                .map(|(index, _)| *index)
                .collect();
            if indices.is_empty() {
                continue;
            }
            let (program, at) = match hook {
                Hook::Egress => (&self.programs.egress, bpf::Hook::TcxEgress),
                _ => (&self.programs.ingress, bpf::Hook::TcxIngress),
            };
            for (index, link) in indices.iter().zip(self.link_all(program, &indices, at)?) {
                if let Some(place) = self.places.get_mut(&(*index, hook)) {
                    place.attached = Attached::Link(link);
                }
            }
        }
        Ok(())
    }

    fn attach_xdp(
        &mut self,
        object: &Object,
        interfaces: &[&Interface],
    ) -> Result<Vec<Attached>, DatapathError> {
        let program = match self.xdp.take() {
            Some(program) => program,
            None => object.loader.xdp(self.index)?,
        };
        let indices: Vec<u32> = interfaces.iter().map(|interface| interface.index).collect();
        let made = self.link_all(&program, &indices, bpf::Hook::XdpNative);
        self.xdp = Some(program);
        Ok(made?.into_iter().map(Attached::Link).collect())
    }

    /// Links to these devices, all or none.
    fn link_all(
        &self,
        program: &ProgramFd,
        indices: &[u32],
        at: bpf::Hook,
    ) -> Result<Vec<bpf::Link>, DatapathError> {
        let links: Result<Vec<bpf::Link>, (u32, io::Error)> = self.netns.run(|| {
            let link = |index: &u32| bpf::Link::device(program.as_fd(), *index, at).map_err(|e| (*index, e));
            indices.iter().map(link).collect()
        })?;
        links.map_err(|(index, e)| {
            let name = self.places.iter().find(|((known, _), _)| *known == index);
            let name = name.map_or_else(|| format!("device {index}"), |(_, place)| place.name.clone());
            DatapathError::system(format!("attach {at:?} to {name} in {}", self.netns.label), e)
        })
    }

    fn attach_clsact(
        &mut self,
        object: &Object,
        interfaces: &[&Interface],
        hook: Hook,
        journal: &mut Journal,
    ) -> Result<Vec<Attached>, DatapathError> {
        let egress = hook == Hook::Egress;
        let mut program = object.classifier(if egress {
            &self.programs.egress
        } else {
            &self.programs.ingress
        })?;
        let mut made = Vec::new();
        for interface in interfaces {
            match clsact::add(&self.netns, interface, egress, &mut program, journal) {
                Ok((filter, qdisc)) => {
                    made.push(filter);
                    self.qdiscs.extend(qdisc.map(|qdisc| (interface.index, qdisc)));
                }
                Err(error) => {
                    let qdiscs = self.take_idle_qdiscs();
                    clsact::remove(&self.netns, made, qdiscs, journal);
                    return Err(error);
                }
            }
        }
        Ok(made.into_iter().map(Attached::Filter).collect())
    }
}
