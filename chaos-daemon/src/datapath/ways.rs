//! Which line carries the packets of a fault.
//!
//! `delay` alone waits in the kernel, where that has the queue for it. But a packet takes one way only, and what several
//! faults do to it is done in their order: so where one of them needs the user line, all go by that.

use chaos_ebpf_common::abi::{Hook, flags};
use chaos_spec::api::Line;

use super::{
    Arm, Datapath, DatapathError, FaultId,
    arm::{Armed, ArmedPlace},
    clsact,
};
use crate::{
    plan::{self, Draft},
    target::{Identity, Interface, Place},
};

/// How the faults of one hook of a namespace travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tenants {
    /// By the kernel line, waiting.
    waiting: usize,
    /// In any other way.
    others: usize,
}

/// What a fault holds for its packets at one hook of one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// As people are told.
    pub line: Option<Line>,
    /// It holds the user line, be it only for packets that other faults name as well.
    pub thread: bool,
    /// It holds the kernel line.
    pub cable: bool,
}

impl Datapath {
    /// XDP for what XDP can do, unless a fault created earlier looks at the same packets in tc: XDP comes
    /// before tc, and faults act in the order of their creation.
    pub(super) fn arriving_hook(&self, arm: &Arm, place: &Place, space: u32) -> Hook {
        let can = self.capabilities.xdp_on(&place.interfaces)
            && arm.target.identity == Identity::Whole
            && plan::xdp_can_do(&arm.spec.fault);
        if !can {
            return Hook::Ingress;
        }
        let before = self.faults.get(&arm.id);
        let was = before.and_then(|old| {
            old.places
                .iter()
                .find(|p| p.space == space && p.hook != Hook::Egress)
                .map(|p| p.hook)
        });
        match was {
            Some(hook) => hook,
            None if self.index.armed(space, Hook::Ingress) => Hook::Ingress,
            None => Hook::Xdp,
        }
    }

    /// Marks drafts that can wait on the kernel line; else says why not.
    pub(super) fn fit_to_kernel(&self, arm: &Arm, drafts: &mut [Draft]) -> Option<&'static str> {
        let interfaces = || arm.target.places.iter().flat_map(|place| &place.interfaces);
        let plan = |draft: &Draft| match &draft.line {
            Some(line) => line.not_in_kernel(&draft.rule),
            None => Some("nothing of it waits"),
        };
        let paced = |place: &Place| clsact::pace(&place.netns, &place.interfaces);
        let why = self
            .capabilities
            .no_waits
            .or_else(|| drafts.iter().find_map(plan))
            .or_else(|| {
                interfaces()
                    .any(|i| i.loopback || !i.ethernet)
                    .then_some("its frames are not Ethernet")
            })
            .or_else(|| {
                // As for `cuts`: what comes back there has no socket, and the choice is open.
                let leaves = arm.spec.traffic.direction.has_egress() && self.capabilities.no_line.is_none();
                (leaves && arm.target.places.iter().any(paced))
                    .then_some("the device has a queue that paces by socket (fq, etf)")
            });
        if why.is_none() {
            for draft in drafts {
                draft.rule.flags |= flags::WAIT;
            }
        }
        why
    }

    /// The way that the packets of a fault take at a hook.
    ///
    /// # Errors
    /// It has to be the user line, and there is none.
    pub(super) fn way(
        &self,
        arm: &Arm,
        drafts: &[Draft],
        space: Option<u32>,
        hook: Hook,
    ) -> Result<Way, DatapathError> {
        let line = drafts.iter().find_map(|draft| draft.line_at(hook));
        let waits = drafts.iter().any(Draft::waits);
        if hook == Hook::Xdp {
            return Ok(Way {
                line,
                ..Way::default()
            });
        }
        let old = self.old_way(arm.id, space, hook);
        let open = space.and_then(|space| self.spaces.get(&space));
        let mut tenants = open
            .and_then(|open| open.tenants.get(&hook).copied())
            .unwrap_or_default();
        if let Some(old) = old {
            tenants.leave(old);
        }
        let way = if waits {
            // A fault that changes stays where its packets are, or new ones would overtake those that wait.
            let stays = old.is_some_and(|old| old.line == Some(Line::User));
            let thread = stays || tenants.others > 0;
            Way {
                line: Some(if thread { Line::User } else { Line::Kernel }),
                thread,
                cable: !thread,
            }
        } else {
            Way {
                line,
                thread: line == Some(Line::User) || tenants.waiting > 0,
                cable: false,
            }
        };
        match self.capabilities.no_line {
            Some(why) if way.thread => Err(DatapathError::Unsupported {
                what: "a delay together with another fault of the same packets".to_owned(),
                why: why.to_owned(),
            }),
            _ => Ok(way),
        }
    }

    fn old_way(&self, id: FaultId, space: Option<u32>, hook: Hook) -> Option<Way> {
        let mut places = self.faults.get(&id)?.places.iter();
        let same = |place: &&ArmedPlace| Some(place.space) == space && place.hook == hook;
        Some(places.find(same)?.way)
    }

    /// Opens what a fault needs for its packets at a hook, or counts one more user.
    pub(super) fn hold_way(
        &mut self,
        arm: &Arm,
        drafts: &[Draft],
        space: u32,
        interfaces: &[Interface],
        hook: Hook,
    ) -> Result<Way, DatapathError> {
        let mut way = self.way(arm, drafts, Some(space), hook)?;
        if way.cable
            && let Err(error) = self.hold_cables(space, interfaces)
        {
            if self.capabilities.no_line.is_some() {
                return Err(error);
            }
            tracing::warn!(%error, "no kernel line here; the user line takes it");
            way = Way {
                line: Some(Line::User),
                thread: true,
                cable: false,
            };
        }
        if way.thread {
            self.hold_lines(space, interfaces, hook)?;
        }
        if let Some(open) = self.spaces.get_mut(&space) {
            open.tenants.entry(hook).or_default().join(way);
        }
        Ok(way)
    }

    /// Gives it back. [`Datapath::close_lines`] has to follow.
    pub(super) fn let_go_way(&mut self, place: &ArmedPlace) {
        if place.way.thread {
            self.let_go_lines(place.space, &place.interfaces);
        }
        if place.way.cable {
            self.let_go_cables(place.space, &place.interfaces);
        }
        if let Some(open) = self.spaces.get_mut(&place.space)
            && let Some(tenants) = open.tenants.get_mut(&place.hook)
        {
            tenants.leave(place.way);
        }
    }
}

impl Tenants {
    fn join(&mut self, way: Way) {
        *self.of(way) += 1;
    }

    fn leave(&mut self, way: Way) {
        let count = self.of(way);
        *count = count.saturating_sub(1);
    }

    fn of(&mut self, way: Way) -> &mut usize {
        if way.cable {
            &mut self.waiting
        } else {
            &mut self.others
        }
    }
}

impl Armed {
    /// Whether the packets of some place go by the kernel line.
    pub fn is_cabled(&self, space: u32) -> bool {
        self.places
            .iter()
            .any(|place| place.space == space && place.way.cable)
    }
}
