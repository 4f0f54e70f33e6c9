//! Rules that wait on the kernel line: what its program reads of them, and the cables it sends their packets into.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use aya::{maps::PerCpuValues, programs::ProgramFd};
use chaos_ebpf_common::abi::{Cable as CableEntry, LineKey, Wait, Way, applications, control, waits};

use super::{
    Datapath, DatapathError,
    cable::{Cable, Ends, Far},
    closing::Closing,
    object::Maps,
    slots::Slots,
    space::TcMode,
};
use crate::{
    plan::{self, Draft, Jitter},
    safety::clock::monotonic_ns,
    target::Interface,
};

/// What a packet may be late by, beyond its time, before it is out of the line, nanoseconds.
const LATENESS: u64 = 50_000_000;

/// Where the rules of one version of a fault have what they say of waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub index: u32,
    /// Of its jitter, when that is not the normal one.
    shape: u32,
}

/// Places in `WAITS` and `SHAPES`, the programs, and the namespace at the far ends.
pub(super) struct Waits {
    rules: Slots,
    shapes: Slots,
    /// Kept, so that they stay in `PROGRAMS` and where they are attached.
    programs: Option<[ProgramFd; 3]>,
    far: Option<Arc<Far>>,
    /// The device of the cable that was laid last, and how long packets have been on their way through another, which is
    /// much the same for all.
    newest: Option<LineKey>,
    learnt: Way,
    /// Near ends of cables that nobody uses any more, and when the last packet is out, CLOCK_MONOTONIC nanoseconds.
    late: Vec<(LineKey, u64)>,
}

impl Waits {
    pub fn new(far: Option<Far>) -> Self {
        Self {
            rules: Slots::new("delays of the kernel line", 0, waits::RULES),
            shapes: Slots::new(
                "distributions of the kernel line",
                waits::NORMAL + 1,
                waits::SHAPES,
            ),
            programs: None,
            far: far.map(Arc::new),
            newest: None,
            learnt: Way::default(),
            late: Vec::new(),
        }
    }

    /// Keeps what a cable has learnt, if it has.
    fn note(&mut self, entry: &CableEntry) {
        if let Some(learnt) = entry.way.handed_on() {
            self.learnt = learnt;
        }
    }
}

/// The cables of a namespace.
#[derive(Default)]
pub struct Cables {
    by_device: HashMap<u32, Cable>,
    /// Of their near ends.
    resume: Option<ProgramFd>,
    /// Packets that those have lost which are closed.
    closed: u64,
}

impl Cables {
    /// Packets lost between the ends of those that are open, so far, and for want of room in their queues.
    pub fn losing(&self, space: u32, maps: &Maps) -> u64 {
        let queued = |ifindex: &u32| {
            maps.cables
                .get(&key(space, *ifindex), 0)
                .map_or(0, |entry| entry.lost)
        };
        let Some(any) = self.by_device.values().next() else {
            return 0;
        };
        let refused = any.refused();
        let lost = |(ifindex, cable): (&u32, &Cable)| queued(ifindex) + cable.dropped(&refused);
        self.by_device.iter().map(lost).sum()
    }

    /// The same of all of them, closed ones too.
    pub fn lost(&self, space: u32, maps: &Maps) -> u64 {
        self.closed + self.losing(space, maps)
    }
}

impl Datapath {
    /// Writes what a fault says of waiting, and has its drafts name the place. Where there is no room, they go by the
    /// user line.
    pub(super) fn put_wait(&mut self, drafts: &mut [Draft]) -> Result<Option<Place>, DatapathError> {
        let Some(plan) = drafts
            .iter()
            .find(|draft| draft.waits())
            .and_then(|draft| draft.line.as_deref()?.delay.clone())
        else {
            return Ok(None);
        };
        let place = self.load_waits().and_then(|()| self.place_of(&plan));
        let place = match place {
            Ok(place) => place,
            Err(error) if self.capabilities.no_line.is_none() => {
                tracing::warn!(%error, "no kernel line; the user line takes it");
                drafts.iter_mut().for_each(Draft::use_thread);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        for draft in drafts.iter_mut().filter(|draft| draft.waits()) {
            draft.rule.application = place.index;
        }
        Ok(Some(place))
    }

    fn place_of(&mut self, plan: &plan::DelayPlan) -> Result<Place, DatapathError> {
        let shape = match &plan.jitter {
            Jitter::Shape(table) if plan.delay.jitter > 0 => {
                let shape = self.waits.shapes.take()?;
                if let Err(error) = self.maps.shapes.set(shape, table.as_ref(), 0) {
                    self.waits.shapes.give(shape);
                    return Err(DatapathError::map("SHAPES", error));
                }
                shape
            }
            _ => waits::NORMAL,
        };
        let place = self.waits.rules.take().map(|index| Place { index, shape });
        let place = place.and_then(|place| {
            let wait = Wait {
                latency: plan.delay.latency,
                jitter: plan.delay.jitter,
                correlation: plan.delay.correlation,
                freshness: plan.delay.freshness,
                shape,
                keeps_order: u32::from(plan.keep_order),
            };
            match self.maps.waits.set(place.index, wait, 0) {
                Ok(()) => Ok(place),
                Err(error) => {
                    self.waits.rules.give(place.index);
                    Err(DatapathError::map("WAITS", error))
                }
            }
        });
        if place.is_err() && shape != waits::NORMAL {
            self.waits.shapes.give(shape);
        }
        place
    }

    /// Gives a place back when no rule names it any more.
    pub(super) fn free_wait(&mut self, place: Place) {
        self.waits.rules.give(place.index);
        if place.shape != waits::NORMAL {
            self.waits.shapes.give(place.shape);
        }
    }

    fn load_waits(&mut self) -> Result<(), DatapathError> {
        if self.waits.programs.is_some() {
            return Ok(());
        }
        let programs = self.object.loader.waits()?;
        self.maps
            .shapes
            .set(waits::NORMAL, plan::normal(), 0)
            .map_err(|e| DatapathError::map("SHAPES", e))?;
        if let Some(far) = &self.waits.far {
            let homes = far
                .homes()
                .map_err(|e| DatapathError::system("count the processors", e))?;
            let homes = PerCpuValues::try_from(homes.iter().map(|home| home.0).collect::<Vec<_>>())
                .map_err(|e| DatapathError::system("count the processors", e))?;
            self.maps
                .homes
                .set(0, homes, 0)
                .map_err(|e| DatapathError::map("HOMES", e))?;
        }
        self.maps
            .programs
            .set(applications::WAIT, &programs[0], 0)
            .map_err(|e| DatapathError::map("PROGRAMS", e))?;
        self.waits.programs = Some(programs);
        Ok(())
    }

    /// Lays the cables of these devices, or counts one more user. All or none.
    pub(super) fn hold_cables(&mut self, space: u32, interfaces: &[Interface]) -> Result<(), DatapathError> {
        for (done, interface) in interfaces.iter().enumerate() {
            if let Err(error) = self.hold_cable(space, interface.index) {
                self.let_go_cables(space, &interfaces[..done]);
                return Err(error);
            }
        }
        Ok(())
    }

    fn hold_cable(&mut self, space: u32, ifindex: u32) -> Result<(), DatapathError> {
        let (Some(open), Some(far), Some([_, turn, stay])) =
            (self.spaces.get_mut(&space), &self.waits.far, &self.waits.programs)
        else {
            return Err(DatapathError::Unknown(u64::from(space)));
        };
        let cables = &mut open.cables;
        if let Some(cable) = cables.by_device.get_mut(&ifindex) {
            cable.users += 1;
            return Ok(());
        }
        let resume = match &mut cables.resume {
            Some(resume) => resume,
            none => none.insert(self.object.loader.resume(space)?),
        };
        let mut ends = match self.capabilities.tc {
            TcMode::Tcx => Ends::links(resume, turn, stay),
            TcMode::Clsact => Ends::filters(self.object.classifier(resume)?, self.object.classifier(turn)?),
        };
        let mut cable = Cable::lay(&open.netns, far, &mut ends)?;
        cable.users = 1;
        let entry = |ifindex| CableEntry {
            ifindex,
            ..CableEntry::default()
        };
        let map = &mut self.maps.cables;
        let (here, back) = (key(space, ifindex), key(space, cable.near));
        if let Some(open) = self.waits.newest.and_then(|newest| map.get(&newest, 0).ok()) {
            self.waits.note(&open);
        }
        let first = CableEntry {
            way: self.waits.learnt,
            ..entry(cable.near)
        };
        let known = map
            .insert(back, entry(ifindex), 0)
            .and_then(|()| map.insert(here, first, 0));
        if let Err(error) = known {
            // Absent when this was what failed.
            let _ = map.remove(&back);
            return Err(DatapathError::map("CABLES", error));
        }
        cables.by_device.insert(ifindex, cable);
        self.waits.newest = Some(here);
        self.count_cables();
        Ok(())
    }

    /// Tells the programs how many there are.
    fn count_cables(&self) {
        let all = self.spaces.values().map(|space| space.cables.by_device.len());
        self.maps
            .control
            .store(control::CABLES, all.sum::<usize>() as u64);
    }

    /// Counts one user less. [`Datapath::close_lines`] has to follow.
    pub(super) fn let_go_cables(&mut self, space: u32, interfaces: &[Interface]) {
        for interface in interfaces {
            let Some(open) = self.spaces.get_mut(&space) else {
                return;
            };
            let Some(cable) = open.cables.by_device.get_mut(&interface.index) else {
                continue;
            };
            cable.users = cable.users.saturating_sub(1);
            if cable.users > 0 {
                continue;
            }
            let Some(cable) = open.cables.by_device.remove(&interface.index) else {
                continue;
            };
            self.count_cables();
            let lost = self.close_cable(space, interface.index, cable);
            if let Some(open) = self.spaces.get_mut(&space) {
                open.cables.closed += lost;
            }
        }
    }

    /// Begins to close a cable, once the last packet that waits in it is out: the queue lets none go before its time. Says
    /// how many it has lost.
    fn close_cable(&mut self, space: u32, ifindex: u32, mut cable: Cable) -> u64 {
        let (here, back) = (key(space, ifindex), key(space, cable.near));
        let map = &mut self.maps.cables;
        let entry = map.get(&here, 0).unwrap_or_default();
        self.waits.note(&entry);
        if let Err(error) = map.remove(&here) {
            tracing::debug!(%error, "a kernel line was not in its map");
        }
        self.lost.add(entry.lost);
        let between = self.lost.of_another();
        cable.tell(between.clone());
        let empty = entry.until.saturating_add(LATENESS);
        self.waits.late.push((back, empty));
        let left = Duration::from_nanos(empty.saturating_sub(monotonic_ns()));
        let closing = Closing {
            empty: Instant::now().checked_add(left),
            ..Closing::of(Box::new(cable))
        };
        self.closing.push((space, closing));
        entry.lost + between.here()
    }

    /// Forgets the near ends of cables in which nothing waits any more.
    pub(super) fn forget_near_ends(&mut self) {
        let now = monotonic_ns();
        let map = &mut self.maps.cables;
        self.waits.late.retain(|(back, empty)| {
            let over = *empty < now;
            if over && let Err(error) = map.remove(back) {
                tracing::debug!(%error, "a kernel line was not in its map");
            }
            !over
        });
    }
}

fn key(netns: u32, ifindex: u32) -> LineKey {
    LineKey { netns, ifindex }
}
