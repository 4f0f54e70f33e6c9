//! Faults and the lines of their namespaces.

use std::sync::Arc;

use chaos_ebpf_common::abi::{Hook, flags};

use super::{
    Arm, Datapath, DatapathError,
    arm::{Armed, ArmedRule},
    line::{Back, Line, LineRule},
    space::TcMode,
};
use crate::{plan::Draft, target::Interface};

impl Datapath {
    /// Fits drafts to what lines can be had: a fault that needs one is refused where there is none, one that would
    /// only be more exact does without.
    pub(super) fn fit(&self, arm: &Arm, drafts: &mut [Draft]) -> Result<(), DatapathError> {
        // What comes back to a loopback is routed anew, and 127.0.0.0/8 is then taken for a forgery
        // (net/ipv4/route.c, `ip_route_input_slow`).
        let looped = arm
            .target
            .places
            .iter()
            .flat_map(|place| &place.interfaces)
            .any(|i| i.loopback);
        let loopback =
            looped.then_some("packets of a loopback cannot come back from a line; name another interface");
        let Some(why) = self.capabilities.no_line.or(loopback) else {
            return Ok(());
        };
        for draft in drafts {
            if draft.rule.flags & flags::LINE != 0 {
                return Err(DatapathError::Unsupported {
                    what: "a fault that makes packets wait, or leaves their checksums wrong,".to_owned(),
                    why: why.to_owned(),
                });
            }
            draft.rule.flags &= !flags::LINE_BULK;
            draft.line = None;
        }
        Ok(())
    }

    /// Opens the lines of these devices for a fault, or counts one more user.
    pub(super) fn hold_lines(&mut self, space: u32, interfaces: &[Interface]) -> Result<(), DatapathError> {
        let Some(open) = self.spaces.get_mut(&space) else {
            return Err(DatapathError::Unknown(u64::from(space)));
        };
        let line = match &mut open.line {
            Some(line) => line,
            none => none.insert(Line::start(open.netns.clone(), &self.maps)?),
        };
        let mut back = match self.capabilities.tc {
            TcMode::Tcx => Back::Link(&open.programs.back),
            TcMode::Clsact => Back::Filter(Box::new(self.object.classifier(&open.programs.back)?)),
        };
        for (done, interface) in interfaces.iter().enumerate() {
            let held = line.hold(&open.netns, space, interface, &mut back, &mut self.maps);
            if let Err(error) = held {
                for interface in &interfaces[..done] {
                    line.let_go(space, interface.index, &mut self.maps);
                }
                return Err(error);
            }
        }
        let open_devices = line.len();
        let told = self.index.set_lines(&mut self.maps, space, open_devices);
        if told.is_err() {
            self.let_go_lines(space, interfaces);
        }
        told
    }

    /// Counts one user less.
    pub(super) fn let_go_lines(&mut self, space: u32, interfaces: &[Interface]) {
        let Some(line) = self.spaces.get_mut(&space).and_then(|open| open.line.as_mut()) else {
            return;
        };
        for interface in interfaces {
            line.let_go(space, interface.index, &mut self.maps);
        }
        let left = line.len();
        if let Err(error) = self.index.set_lines(&mut self.maps, space, left) {
            tracing::debug!(%error, "a namespace could not be told of its lines");
        }
    }

    /// Tells lines of the rules that a fault brings.
    pub(super) fn put_lined(&self, record: &Armed) {
        for (space, open) in &self.spaces {
            let Some(line) = &open.line else { continue };
            let rules: Vec<_> = lined(record, *space)
                .filter_map(|armed| {
                    let rule = LineRule {
                        rule: armed.rule,
                        plan: Arc::clone(armed.line.as_ref()?),
                        counters: Arc::clone(&record.lined),
                    };
                    Some((armed.slot, rule))
                })
                .collect();
            if !rules.is_empty() {
                line.put(rules);
            }
        }
    }

    /// Lets the lines know of rules that end now, and of those that come after them.
    pub(super) fn end_lined(&self, ending: &mut [Armed], successor: Option<&Armed>) {
        for (space, open) in &self.spaces {
            let Some(line) = &open.line else { continue };
            let ended: Vec<u32> = ending
                .iter()
                .filter(|record| !record.off_line)
                .flat_map(|record| lined_slots(record, *space))
                .collect();
            if !ended.is_empty() {
                let next = successor.map(|record| lined_slots(record, *space).collect());
                line.end(ended, next.unwrap_or_default());
            }
        }
        for record in ending {
            record.off_line = true;
        }
    }
}

/// The rules that a fault has on the line of a namespace.
fn lined(record: &Armed, space: u32) -> impl Iterator<Item = &ArmedRule> {
    record.rules.iter().filter(move |armed| {
        armed.name.netns == space && armed.name.hook != Hook::Xdp && armed.line.is_some()
    })
}

fn lined_slots(record: &Armed, space: u32) -> impl Iterator<Item = u32> {
    lined(record, space).map(|armed| armed.slot)
}
