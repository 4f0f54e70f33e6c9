//! The steps of [`chaos_ebpf_common::frame::parse`] over a packet in the kernel. What one step finds goes
//! through the scratch space to the next, where the verifier takes it for any number, and the walk over
//! extension headers is a `bpf_loop`: else it would walk every path through all of them.

use chaos_ebpf_common::frame::{
    EXTENSIONS, Fragment, extension, is_extension, link_layer, network, transport,
};

use crate::{
    action::fragment,
    each::{GO, STOP, each},
    skb::Window,
    work::{Work, forget},
};

/// Something with bytes at hand.
pub trait Source: Copy {
    /// The bytes.
    fn window(self) -> Window;
}

/// What parsing came to; the headers themselves are in the scratch space.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// IP, understood.
    Ip,
    /// Another protocol.
    Other,
    /// Cut short or malformed.
    Broken,
}

struct Walk<'a, S> {
    source: S,
    work: &'a mut Work,
    broken: bool,
}

/// Parses into `work.packet`; later fragments get the ports of their first.
#[inline(always)]
pub fn parse<S: Source>(source: S, ethertype: u16, work: &mut Work) -> Outcome {
    let Some((l3, kind)) = link_layer(&source.window(), ethertype) else {
        return Outcome::Other;
    };
    work.packet.l3 = l3;
    let l3 = forget(&work.packet.l3);
    let Some(packet) = network(&source.window(), l3, kind) else {
        return Outcome::Broken;
    };
    work.packet = packet;
    if work.packet.version == 6 && is_extension(work.packet.protocol) {
        let mut walk = Walk {
            source,
            work,
            broken: false,
        };
        each(EXTENSIONS, step::<S>, &mut walk);
        if walk.broken {
            return Outcome::Broken;
        }
        return end(source, walk.work);
    }
    end(source, work)
}

#[inline(always)]
fn end<S: Source>(source: S, work: &mut Work) -> Outcome {
    work.packet.l4 = forget(&work.packet.l4);
    if transport(&source.window(), &mut work.packet).is_none() {
        return Outcome::Broken;
    }
    if work.packet.fragment as u32 != Fragment::Whole as u32 {
        fragment::remember_or_recall(&mut work.packet);
    }
    Outcome::Ip
}

extern "C" fn step<S: Source>(_: u32, walk: &mut Walk<'_, S>) -> i64 {
    match extension(&walk.source.window(), &mut walk.work.packet) {
        Some(true) => GO,
        Some(false) => STOP,
        None => {
            walk.broken = true;
            STOP
        }
    }
}
