//! What most packets meet: nobody who names them, or one rule that does nothing but lose. Decided on what fits into
//! registers; whatever is less plain is left to the careful way, which begins anew.

use chaos_ebpf_common::{
    abi::{Netns, Rule, Scope, control, loss},
    clock::lease_held,
    flow::Flow,
    frame::{Packet, plain},
    front::{self, Known},
    index::cell_of,
    matching::{Subject, matches},
};

use crate::{
    action::{self, Loses},
    guard::guarded,
    hook::treat::over,
    maps::{CELL_FRONT, Control, RULES, known},
    search::in_trie,
    skb::{Window, any},
    work::now,
};

/// What a glance tells.
pub enum Glance {
    /// No rule names the packet.
    Nobody,
    /// This one does, and no other.
    One(Seen),
    /// It takes a closer look.
    Unsure,
}

/// A packet and the only rule that names it.
pub struct Seen {
    /// Its headers.
    pub packet: Packet,
    /// Its ends.
    pub flow: Flow,
    /// The rule.
    pub rule: &'static Rule,
}

/// A packet at hand, as a hook sees it.
pub struct Sight {
    /// Its bytes.
    pub window: Window,
    /// What the kernel knows of its protocol, network byte order, or 0.
    pub ethertype: u16,
    /// Its device, as [`crate::device`] says.
    pub ifindex: u32,
    /// The hook.
    pub hook: u32,
}

/// Looks at a packet that belongs to one scope.
#[inline(always)]
pub fn glance(control: Control, sight: &Sight, scope: Scope) -> Glance {
    let epoch = control.read(control::EPOCH);
    let Some(packet) = plain(&sight.window, sight.ethertype) else {
        return Glance::Unsure;
    };
    let packet = any_packet(packet, epoch);
    let flow = Flow::of(&packet, sight.hook);
    let Some(value) = sole(scope, &flow) else {
        return Glance::Unsure;
    };
    if value == front::NONE {
        return certain(control, epoch, Glance::Nobody);
    }
    let Some(rule) = RULES.get(front::slot(value)) else {
        return Glance::Unsure;
    };
    let subject = Subject {
        packet: &packet,
        flow: &flow,
        ifindex: sight.ifindex,
        epoch,
    };
    let named = matches(rule, &subject, |set| in_trie(set, flow.remote));
    let glance = if named {
        Glance::One(Seen { packet, flow, rule })
    } else {
        Glance::Nobody
    };
    certain(control, epoch, glance)
}

/// Whether a packet that one rule names is lost; nothing when that rule does more than lose by chance, or a safety net
/// says no: the careful way then counts and tells.
#[inline(always)]
pub fn loses(control: Control, netns: &Netns, seen: &Seen, wire_packets: u32) -> Option<Loses> {
    // A chain's steps would go too deep from here (see `action::Next::Reset`).
    if seen.rule.drop.model != loss::CHANCE
        || !action::only_loses(seen.rule)
        || guarded(control, &seen.packet, &seen.flow, netns)
    {
        return None;
    }
    let now = now();
    if !lease_held(control.read(control::LEASE), now)
        || over(seen.rule, now, control.read(control::BOOT_OFFSET))
    {
        return None;
    }
    Some(action::lose_by_chance(seen.rule, wire_packets))
}

/// The same packet, of which the verifier knows nothing: else it would walk all that follows once for each protocol.
#[inline(always)]
fn any_packet(packet: Packet, unknown: u64) -> Packet {
    let byte = |b: u8| any(b as u64, unknown) as u8;
    Packet {
        source_port: any(packet.source_port as u64, unknown) as u16,
        destination_port: any(packet.destination_port as u64, unknown) as u16,
        protocol: byte(packet.protocol),
        tcp_flags: byte(packet.tcp_flags),
        icmp_type: byte(packet.icmp_type),
        ..packet
    }
}

/// Rules are taken away only after a new epoch: when there is none, none can have been missed.
#[inline(always)]
fn certain(control: Control, epoch: u64, glance: Glance) -> Glance {
    if control.read(control::EPOCH) == epoch {
        glance
    } else {
        Glance::Unsure
    }
}

/// What the fronts say of the cells of a scope: the value of the only rule to look at, or [`front::NONE`]; nothing
/// when there are several, or one front does not know.
#[inline(always)]
fn sole(scope: Scope, flow: &Flow) -> Option<u64> {
    let mut value = front::NONE;
    // By hand, since LLVM makes a loop of a loop, and of each key what could be a constant.
    ask::<0>(scope, flow, &mut value)?;
    ask::<1>(scope, flow, &mut value)?;
    ask::<2>(scope, flow, &mut value)?;
    ask::<3>(scope, flow, &mut value)?;
    ask::<4>(scope, flow, &mut value)?;
    ask::<5>(scope, flow, &mut value)?;
    ask::<6>(scope, flow, &mut value)?;
    ask::<7>(scope, flow, &mut value)?;
    Some(value)
}

#[inline(always)]
fn ask<const SHAPE: u32>(scope: Scope, flow: &Flow, value: &mut u64) -> Option<()> {
    if scope.shapes & 1 << SHAPE == 0 {
        return Some(());
    }
    match known(&CELL_FRONT, &cell_of(scope.id, SHAPE, flow)) {
        Known::Absent => Some(()),
        Known::Value(found) if *value == front::NONE => {
            *value = found;
            Some(())
        }
        _ => None,
    }
}
